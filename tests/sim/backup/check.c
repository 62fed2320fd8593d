#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "base/wire.h"
#include "storage/key_codec.h"
#include "tests/sim/backup/fortnight.h"

/* --- the truth ------------------------------------------------------------------------------- */

static int hash_compare(const void *a, const void *b)
{
	return memcmp(a, b, HASH_BYTES);
}

static void row_hash(struct bytes key, struct bytes value, uint8_t ret_hash[HASH_BYTES])
{
	_cleanup_(hash_release) struct hash hash = {NULL};
	uint8_t len[4];

	store_u32(len, (uint32_t)key.len);
	hash_init(&hash);
	hash_update(&hash, bytes_of(len, sizeof len));
	hash_update(&hash, key);
	hash_update(&hash, value);
	hash_final(&hash, ret_hash);
}

void truth_add(struct fortnight *f, uint64_t id, const struct kv_view *view, uint64_t index)
{
	static const uint8_t first = 0, end = KEY_DERIVED_FIRST;
	struct kv_iter *iter = kv_iter_new(view, bytes_of(&first, 1), bytes_of(&end, 1));
	struct truth truth = {.id = id, .index = index};

	while (kv_iter_next(iter)) {
		if ((truth.n & (truth.n - 1)) == 0) {
			truth.rows = x_realloc(
				truth.rows, (truth.n == 0 ? 1 : 2 * truth.n) * sizeof *truth.rows);
		}
		row_hash(kv_iter_key(iter), kv_iter_value(iter), truth.rows[truth.n++]);
	}
	if (kv_iter_status(iter, NULL) != 0 || truth.n == 0) {
		abort();
	}
	kv_iter_free(iter);
	qsort(truth.rows, truth.n, sizeof *truth.rows, hash_compare);
	f->truths = x_realloc(f->truths, (f->n_truths + 1) * sizeof *f->truths);
	f->truths[f->n_truths++] = truth;
}

void truths_free(struct fortnight *f)
{
	for (size_t i = 0; i < f->n_truths; i++) {
		free(f->truths[i].rows);
	}
	free(f->truths);
}

static const struct truth *truth_of(const struct fortnight *f, uint64_t id, uint64_t index)
{
	for (size_t i = 0; i < f->n_truths; i++) {
		if (f->truths[i].id == id && f->truths[i].index == index) {
			return &f->truths[i];
		}
	}
	assert(!"a snapshot of nothing");
	return NULL;
}

/* --- a point restores ------------------------------------------------------------------------ */

static int point_compare(
	struct fortnight *f, struct point_rows *rows, const struct truth *truth, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct index_entry entry;
	uint8_t hash[HASH_BYTES];
	bool more = true;
	size_t n = 0;
	int rc;

	for (;;) {
		rc = point_rows_next(rows, &entry, &more, e);
		if (rc != 0 || !more) {
			break;
		}
		buf_clear(&value);
		rc = point_rows_value(rows, &value, e);
		if (rc != 0) {
			break;
		}
		n++;
		row_hash(entry.key, buf_bytes(&value), hash);
		if (bsearch(hash, truth->rows, truth->n, sizeof *truth->rows, hash_compare) ==
			NULL) {
			return err_set(e, KLUIS_EVERIFY, "a row that was not there, of family %s",
				row_key_family_name(entry.key.data[0]));
		}
	}
	f->stats.points++;
	f->stats.rows += n;
	/* Keys do not come twice, so that as many of the right ones are all. */
	return rc != 0 || n == truth->n ? rc
					: err_set(e, KLUIS_EVERIFY, "%zu rows of %zu", n, truth->n);
}

static int point_restore(struct fortnight *f, struct repository *repository,
	const uint8_t manifest_hash[HASH_BYTES], const struct truth *truth, struct err *e)
{
	struct point_rows *rows = NULL;
	struct point *point = NULL;
	int rc = point_open(repository, manifest_hash, &f->trust, &point, e);

	if (rc == 0) {
		rc = point_rows_new(point, &f->keys, f->dir, &rows, e);
	}
	if (rc == 0) {
		rc = point_compare(f, rows, truth, e);
	}
	point_rows_free(rows);
	point_free(point);
	return rc;
}

/* A site that is down has its disk all the same: an operator may read it. */
static int point_restore_at(struct site *site, const uint8_t manifest_hash[HASH_BYTES],
	const struct truth *truth, struct err *e)
{
	struct repository *repository = site->repository;
	int rc = repository == NULL ? repository_open(site->path, &repository, e) : 0;

	if (rc == 0) {
		rc = point_restore(site->f, repository, manifest_hash, truth, e);
	}
	if (repository != site->repository) {
		repository_close(repository);
	}
	return rc;
}

static void check_point_at(struct site *site, const struct snapshot_row *row)
{
	struct fortnight *f = site->f;
	struct err e = {0};

	if (point_restore_at(site, row->manifest_hash, truth_of(f, row->id, row->index), &e) != 0) {
		fortnight_violate(f, CHECK_POINT, "snapshot %llu cycle %llu at site %llu: %s",
			(unsigned long long)row->id, (unsigned long long)row->cycle,
			(unsigned long long)site->node, e.text);
	}
}

/* Restoring takes nearly all the time of a run. */
static bool looks_at(const struct fortnight *f, enum check check)
{
	return f->options.only == CHECK_ALL || f->options.only == check;
}

/* At one site of those that have it. */
static void check_point(struct fortnight *f, const struct snapshot_row *row)
{
	unsigned from = (unsigned)random_below(f->random, SITES);

	for (unsigned i = 0; i < SITES; i++) {
		struct site *site = &f->site[(from + i) % SITES];

		if (promise_whole_at(site, row)) {
			if (looks_at(f, CHECK_POINT)) {
				check_point_at(site, row);
			}
			return;
		}
	}
	check_whole_nowhere(f, row);
}

void check_points(struct fortnight *f, bool all)
{
	const struct snapshot_row *points[POINTS_MAX];
	size_t n = promise_points(f, points);

	if (n == 0 || !(looks_at(f, CHECK_POINT) || looks_at(f, CHECK_HELD))) {
		return;
	}
	if (f->in_pieces) {
		check_lost(f); /* What was brought since may have made them whole. */
	} else {
		check_held(f);
	}
	if (!all) {
		check_point(f, points[0]);
		check_point(f, points[random_below(f->random, n)]);
	}
	for (size_t i = 0; all && i < n && !f->failed; i++) {
		check_point(f, points[i]);
	}
}

/* --- the newest minute ----------------------------------------------------------------------- */

/* A cycle was confirmed that reaches as far: then it may go. */
static bool minute_covered(const struct fortnight *f, uint64_t index)
{
	struct snapshot_state_row state;

	cluster_state(f, &state);
	return state.confirmed_index >= index;
}

/* Who said that it holds the newest one does. */
static void check_minute_held(struct fortnight *f)
{
	const struct journal_row *row = &f->journal;

	for (unsigned i = 0; i < row->n_holders; i++) {
		_cleanup_(x_freep) struct manifest_name *names = NULL;
		struct site *site = site_of(f, row->holder[i].node);
		size_t n = site == NULL || site->lost ? 0 : promise_names(site, &names);

		if (site != NULL && !site->lost && row->holder[i].number == row->number &&
			!minute_covered(f, row->index) &&
			!promise_has(names, n, row->manifest_hash)) {
			fortnight_violate(f, CHECK_MINUTE,
				"site %llu has not journal %u, which it confirmed",
				(unsigned long long)row->holder[i].node, row->number);
		}
	}
}

/* At one site: as with any cycle, not every one that confirmed it has all cycles below. */
void check_minute(struct fortnight *f)
{
	const struct journal_row *row = &f->journal;
	unsigned from = (unsigned)random_below(f->random, SITES);
	const struct truth *truth;
	struct err e = {0};
	int rc = KLUIS_ENOTFOUND;

	if (!looks_at(f, CHECK_MINUTE)) {
		return;
	}
	check_minute_held(f);
	if (minute_covered(f, row->confirmed_index)) {
		return;
	}
	truth = truth_of(f, row->confirmed_index, row->confirmed_index);
	for (unsigned i = 0; rc != 0 && i < SITES; i++) {
		rc = point_restore_at(&f->site[(from + i) % SITES], row->confirmed_hash, truth, &e);
	}
	if (rc != 0 && !f->in_pieces) {
		fortnight_violate(f, CHECK_MINUTE, "journal %u of index %llu: %s: %s",
			row->confirmed, (unsigned long long)row->confirmed_index, err_name(rc),
			e.text);
	}
}

void check_everywhere(struct fortnight *f)
{
	const struct snapshot_row *points[POINTS_MAX];
	size_t n = promise_points(f, points);

	if (n == 0) {
		fortnight_violate(f, CHECK_CALM, "nothing can be restored at all");
		return;
	}
	for (unsigned i = 0; i < SITES && !f->failed; i++) {
		for (size_t k = 0; k < n; k++) {
			if (!promise_whole_at(&f->site[i], points[k])) {
				fortnight_violate(f, CHECK_CALM,
					"site %u has not all of snapshot %llu cycle %llu", i + 1,
					(unsigned long long)points[k]->id,
					(unsigned long long)points[k]->cycle);
				return;
			}
		}
		check_half(&f->site[i]);
		check_point_at(&f->site[i], points[0]);
		check_point_at(&f->site[i], points[n - 1]);
	}
}

/* --- records --------------------------------------------------------------------------------- */

static bool row_of_cycle(const struct snapshot_row *row)
{
	return row->kind != SNAPSHOT_MANUAL && row->state != SNAPSHOT_FAILED;
}

/* One taker a slot; and what an increment builds on was confirmed. */
void check_records(struct fortnight *f)
{
	const struct snapshot_row *last = NULL, *base;

	for (size_t i = 0; i < f->n_rows; i++) {
		const struct snapshot_row *row = &f->rows[i];

		if (!row_of_cycle(row)) {
			continue;
		}
		if (last != NULL && row->slot <= last->slot) {
			fortnight_violate(f, CHECK_TAKER, "snapshots %llu and %llu of one slot",
				(unsigned long long)last->id, (unsigned long long)row->id);
		}
		base = cluster_record(f, row->base_id);
		if (base != NULL &&
			(base->state != SNAPSHOT_CONFIRMED || base->cycle + 1 != row->cycle ||
				base->index != row->base_index)) {
			fortnight_violate(f, CHECK_TAKER, "snapshot %llu is built on %llu",
				(unsigned long long)row->id, (unsigned long long)base->id);
		}
		last = row;
	}
}

/* The first try of a cycle: later ones may hold it for longer. */
static bool row_is_first(const struct fortnight *f, const struct snapshot_row *row)
{
	for (size_t i = 0; i < f->n_rows; i++) {
		if (f->rows[i].state == SNAPSHOT_FAILED && f->rows[i].kind != SNAPSHOT_MANUAL &&
			f->rows[i].slot == row->slot) {
			return false;
		}
	}
	return true;
}

/* Until it lets the claim go, and that runs out. */
static void check_hung_ship(struct fortnight *f, const struct snapshot_row *row)
{
	const struct site *site = site_of(f, row->node);

	if (site != NULL && row->state == SNAPSHOT_SHIPPED && row->id == site->ship.id &&
		site_ship_hangs(site) &&
		f->true_ms - site->ship.hung_ms > 2 * CLAIM_MS + 2 * TICK_MS &&
		row->claim_expires_ms > cluster_now(f) && row_is_first(f, row)) {
		fortnight_violate(f, CHECK_HUNG,
			"site %llu does not ship snapshot %llu, and holds its claim",
			(unsigned long long)site->node, (unsigned long long)row->id);
	}
}

void check_hung(struct fortnight *f)
{
	for (size_t i = 0; i < f->n_rows; i++) {
		const struct snapshot_row *row = &f->rows[i];
		const struct site *site = site_of(f, row->node);

		if (site != NULL && row->state == SNAPSHOT_RUNNING &&
			row->kind != SNAPSHOT_MANUAL && row->id == site->take.row.id &&
			f->true_ms < site->take.hung_until &&
			f->true_ms - site->take.hung_ms > CLAIM_MS + 2 * TICK_MS &&
			row->claim_expires_ms > cluster_now(f)) {
			fortnight_violate(f, CHECK_HUNG,
				"site %llu hangs with snapshot %llu, and holds its claim",
				(unsigned long long)site->node, (unsigned long long)row->id);
		}
		check_hung_ship(f, row);
	}
}

/* --- repositories ---------------------------------------------------------------------------- */

static void check_manifest(struct site *site, const struct manifest_name *name)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	uint8_t hash[HASH_BYTES];
	struct err e = {0};
	int rc = repository_get_manifest(site->repository, name, &bytes, &e);

	if (rc == 0) {
		rc = backup_manifest_open_held(
			buf_bytes(&bytes), &site->f->trust, &m, hash, NULL, &e);
	}
	if (rc != 0 || memcmp(hash, name->hash, HASH_BYTES) != 0) {
		fortnight_violate(site->f, CHECK_HALF, "site %llu: half a manifest: %s",
			(unsigned long long)site->node, e.text);
		return;
	}
	for (uint32_t i = 0; i < m.n_index + m.n_packs; i++) {
		if (!object_whole(site, &m.objects[i])) {
			fortnight_violate(site->f, CHECK_HALF,
				"site %llu: an object of snapshot %llu cycle %u is not whole",
				(unsigned long long)site->node, (unsigned long long)m.id, m.cycle);
			return;
		}
	}
}

/* Calls each for every name in <repository>/<below>. */
static void each_name(struct site *site, const char *below,
	void (*each)(struct site *site, const char *name, void *data), void *data)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", site->path, below);
	struct dirent *entry;
	DIR *dir = opendir(path);

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.') {
			each(site, entry->d_name, data);
		}
	}
	if (dir != NULL) {
		(void)closedir(dir); /* Only read. */
	}
}

static void none_each(struct site *site, const char *name, void *data)
{
	fortnight_violate(site->f, CHECK_HALF, "site %llu: '%s/%s' is left behind",
		(unsigned long long)site->node, (const char *)data, name);
}

static void manifest_each(struct site *site, const char *name, void *data)
{
	struct manifest_name parsed;

	(void)data;
	if (manifest_name_parse(name, &parsed)) {
		check_manifest(site, &parsed);
	} else {
		none_each(site, name, (void *)(uintptr_t) "manifests");
	}
}

static void receipt_each(struct site *site, const char *name, void *data)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/receipts/%s", site->path, name);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct receipt receipt;

	(void)data;
	if (strlen(name) != HEX_LEN(HASH_BYTES) + 1 + 16 ||
		file_read(path, RECEIPT_BYTES, &bytes, NULL) != 0 ||
		receipt_open(buf_bytes(&bytes), &site->f->trust, &receipt, NULL) != 0) {
		none_each(site, name, (void *)(uintptr_t) "receipts");
	}
}

void check_half(struct site *site)
{
	each_name(site, "tmp", none_each, (void *)(uintptr_t) "tmp");
	each_name(site, "manifests", manifest_each, NULL);
	each_name(site, "receipts", receipt_each, NULL);
}

/* --- forgetting ------------------------------------------------------------------------------ */

static void check_needed(struct site *site, const struct manifest_name *gone,
	const struct manifest_name *left, size_t n)
{
	struct fortnight *f = site->f;
	const struct snapshot_row *points[POINTS_MAX], *chain[BACKUP_SLICES];
	size_t n_points = promise_points(f, points);

	if (promise_has(left, n, gone->hash)) {
		return;
	}
	for (size_t i = 0; i < n_points; i++) {
		size_t links = promise_chain(f, points[i], chain);

		for (size_t k = 0; k < links; k++) {
			if (memcmp(chain[k]->manifest_hash, gone->hash, HASH_BYTES) == 0) {
				fortnight_violate(f, CHECK_NEEDED,
					"site %llu pruned cycle %llu, which cycle %llu needs",
					(unsigned long long)site->node,
					(unsigned long long)chain[k]->cycle,
					(unsigned long long)points[i]->cycle);
				return;
			}
		}
	}
}

/* A snapshot that lies here, as an outsider sees it. */
struct held {
	struct backup_manifest m;
	uint64_t received_ms;
	bool known, confirmed, pinned;
};

static void held_load(struct site *site, const struct manifest_name *name, struct held *ret_held)
{
	_cleanup_(buf_release) struct buf manifest = BUF_INIT, bytes = BUF_INIT;
	struct receive_config config = site_receiver(site);
	const struct snapshot_row *row = receive_record(&config, name->hash);
	struct receipt receipt;
	uint8_t hash[HASH_BYTES];

	memset(ret_held, 0, sizeof *ret_held);
	if (repository_get_manifest(site->repository, name, &manifest, NULL) != 0 ||
		backup_manifest_parse(buf_bytes(&manifest), &ret_held->m, hash, NULL) != 0) {
		abort(); /* check_half() says it better. */
	}
	ret_held->known = row != NULL;
	ret_held->confirmed = row != NULL && row->state == SNAPSHOT_CONFIRMED;
	ret_held->pinned = row != NULL && row->pinned;
	ret_held->received_ms =
		ret_held->m.node == site->node ? ret_held->m.wall_ms : site_wall_ms(site);
	if (repository_get_receipt(site->repository, name->hash, site->node, &bytes, NULL) == 0 &&
		receipt_open(buf_bytes(&bytes), &site->f->trust, &receipt, NULL) == 0) {
		ret_held->received_ms = receipt.received_ms;
	}
}

/* Whether all that is 14 days old and not among the 83 newest cycles had to go. */
static bool held_fresh(const struct held *held, size_t n, uint64_t wall_ms)
{
	const struct held *newest = NULL;

	for (size_t i = 0; i < n; i++) {
		if (held[i].known && (newest == NULL || held[i].m.index > newest->m.index)) {
			newest = &held[i];
		}
	}
	return newest != NULL && newest->received_ms <= wall_ms &&
	       wall_ms - newest->received_ms <= 8ULL * 3600 * 1000;
}

/* A pinned point keeps itself and the 41 cycles below it, and nothing else. */
static bool held_for(const struct held *pinned, const struct held *one)
{
	uint32_t cycle = one->m.cycle, top = pinned->m.cycle;

	return pinned == one || (one->m.type != MANIFEST_JOURNAL && !one->m.manual &&
					one->m.index < pinned->m.index && cycle <= top &&
					cycle + BACKUP_SLICES > top);
}

static bool held_too_long(
	const struct held *held, size_t n, const struct held *one, uint64_t wall_ms)
{
	bool seen[4096] = {false}, of_cycle = one->known && !one->m.manual;
	unsigned newer = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t cycle = held[i].m.cycle;
		bool behind = of_cycle ? cycle > one->m.cycle : held[i].m.index > one->m.index;

		if (held[i].pinned && held_for(&held[i], one)) {
			return false;
		}
		if (held[i].confirmed && !held[i].m.manual && behind && cycle < ARRAY_SIZE(seen) &&
			!seen[cycle]) {
			seen[cycle] = true;
			newer++;
		}
	}
	return one->received_ms <= wall_ms && wall_ms - one->received_ms > 14 * DAY_MS &&
	       (one->m.manual || newer >= 83);
}

/* Objects and receipts go with the last manifest that names them. */
struct kept {
	const struct manifest_name *names;
	size_t n;
	const struct held *held;
	uint64_t wall_ms;
};

static bool kept_names_object(const struct kept *kept, const uint8_t hash[HASH_BYTES])
{
	for (size_t i = 0; i < kept->n; i++) {
		const struct backup_manifest *m = &kept->held[i].m;

		for (uint32_t k = 0; k < m->n_index + m->n_packs; k++) {
			if (memcmp(m->objects[k].hash, hash, HASH_BYTES) == 0) {
				return true;
			}
		}
	}
	return false;
}

static void kept_object_each(struct site *site, const char *name, void *data)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/objects/%.2s/%s", site->path, name, name);
	const struct kept *kept = data;
	uint8_t hash[HASH_BYTES];
	struct stat st;

	if (hex_decode(name, hash, sizeof hash) != 0 || stat(path, &st) != 0 ||
		(!kept_names_object(kept, hash) &&
			(uint64_t)st.st_mtim.tv_sec * 1000 + DAY_MS + 1000 < kept->wall_ms)) {
		fortnight_violate(site->f, CHECK_KEPT, "site %llu keeps '%s', which nothing names",
			(unsigned long long)site->node, name);
	}
}

static void kept_directory_each(struct site *site, const char *name, void *data)
{
	_cleanup_(x_freep) char *below = x_asprintf("objects/%s", name);

	each_name(site, below, kept_object_each, data);
}

static void kept_receipt_each(struct site *site, const char *name, void *data)
{
	const struct kept *kept = data;
	char hex[HEX_LEN(HASH_BYTES) + 1] = "";
	uint8_t hash[HASH_BYTES];

	(void)snprintf(hex, sizeof hex, "%.*s", (int)HEX_LEN(HASH_BYTES), name);
	if (hex_decode(hex, hash, sizeof hash) != 0 || !promise_has(kept->names, kept->n, hash)) {
		fortnight_violate(site->f, CHECK_KEPT, "site %llu keeps the receipt '%s'",
			(unsigned long long)site->node, name);
	}
}

static void check_kept(
	struct site *site, const struct manifest_name *names, size_t n, uint64_t wall_ms)
{
	_cleanup_(x_freep) struct held *held = x_calloc(n + 1, sizeof *held);
	struct kept kept;
	bool fresh;

	for (size_t i = 0; i < n; i++) {
		held_load(site, &names[i], &held[i]);
	}
	fresh = held_fresh(held, n, wall_ms);
	for (size_t i = 0; i < n; i++) {
		if (fresh && held_too_long(held, n, &held[i], wall_ms)) {
			fortnight_violate(site->f, CHECK_KEPT,
				"site %llu keeps snapshot %llu cycle %u, received %llu h ago",
				(unsigned long long)site->node, (unsigned long long)held[i].m.id,
				held[i].m.cycle,
				(unsigned long long)((wall_ms - held[i].received_ms) / 3600000));
		}
	}
	kept = (struct kept){.names = names, .n = n, .held = held, .wall_ms = wall_ms};
	each_name(site, "objects", kept_directory_each, &kept);
	each_name(site, "receipts", kept_receipt_each, &kept);
	for (size_t i = 0; i < n; i++) {
		backup_manifest_release(&held[i].m);
	}
}

/* A copy of what a number took that is gone. */
static void count_ended(struct site *site, const struct manifest_name *gone,
	const struct manifest_name *left, size_t n)
{
	struct receive_config config = site_receiver(site);
	const struct snapshot_row *row = receive_record(&config, gone->hash);

	site->f->stats.ended += row != NULL && site_of(site->f, row->node) == NULL &&
				!promise_has(left, n, gone->hash);
}

void check_pruned(
	struct site *site, const struct manifest_name *before, size_t n_before, uint64_t wall_ms)
{
	_cleanup_(x_freep) struct manifest_name *names = NULL;
	size_t n = promise_names(site, &names);

	for (size_t i = 0; n < n_before && i < n_before; i++) {
		check_needed(site, &before[i], names, n);
		count_ended(site, &before[i], names, n);
	}
	check_kept(site, names, n, wall_ms);
}
