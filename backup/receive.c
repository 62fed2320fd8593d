#include "backup/receive_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/ship.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/text.h"

enum { COPY_BYTES = 1 << 20, READ_BYTES = 256 * 1024, KEEP_EVERY_S = 3600 };

static bool record_is_whole(const struct snapshot_row *row)
{
	return row->state == SNAPSHOT_SHIPPED || row->state == SNAPSHOT_CONFIRMED;
}

const struct snapshot_row *receive_record(
	const struct receive_config *config, const uint8_t manifest_hash[32])
{
	for (size_t i = 0; i < config->n_records; i++) {
		const struct snapshot_row *row = &config->records[i];

		if (record_is_whole(row) &&
			memcmp(row->manifest_hash, manifest_hash, HASH_BYTES) == 0) {
			return row;
		}
	}
	return NULL;
}

static uint64_t receive_newest_cycle(const struct receive_config *config)
{
	uint64_t newest = 0;

	for (size_t i = 0; i < config->n_records; i++) {
		const struct snapshot_row *row = &config->records[i];

		if (record_is_whole(row) && row->cycle > newest) {
			newest = row->cycle;
		}
	}
	return newest;
}

static bool receive_was_accepted(
	const struct receive_report *report, const uint8_t manifest_hash[32])
{
	for (unsigned i = 0; i < report->n_accepted; i++) {
		if (memcmp(report->accepted[i].manifest_hash, manifest_hash, HASH_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

/* Its taker brings it; when that is no member any more, whoever has confirmed it. */
static bool receive_may_bring(const struct receive *rx, const struct snapshot_row *row)
{
	return row->node == rx->sender ||
	       (ship_taker_gone(row, &rx->config->members) && ship_confirmed_by(row, rx->sender));
}

static void receive_await(struct receive *rx)
{
	const struct receive_config *config = rx->config;

	rx->awaited = (struct drop_quota){.bytes = 0};
	rx->expected = false;
	for (size_t i = 0; i < config->n_records; i++) {
		const struct snapshot_row *row = &config->records[i];

		if (record_is_whole(row) && receive_may_bring(rx, row) &&
			!ship_confirmed_by(row, config->node) &&
			!receive_was_accepted(rx->report, row->manifest_hash)) {
			rx->expected = true;
			rx->awaited.bytes += row->bytes + BACKUP_MANIFEST_BYTES_MAX;
			rx->awaited.files += row->objects + 1;
		}
		rx->expected =
			rx->expected || (row->state == SNAPSHOT_RUNNING && row->node == rx->sender);
	}
}

static void receive_refuse(struct receive *rx, const struct err *why)
{
	rx->report->refused++;
	(void)snprintf(rx->report->reason, sizeof rx->report->reason, "%.*s",
		(int)sizeof rx->report->reason - 1, why->text); /* Cut text is still text. */
}

static bool receive_old(const struct receive *rx, const struct drop_entry *entry)
{
	uint64_t began_ms = rx->config->began_ms;
	uint64_t since_ms = entry->modified_ms > began_ms ? entry->modified_ms : began_ms;

	return rx->wall_ms > since_ms && rx->wall_ms - since_ms > BACKUP_LEFTOVER_MS;
}

/* What the disk lost goes as rubbish does: it comes again, and holds nothing else up. */
static int receive_unread(int errnum, const char *what, struct err *e)
{
	return file_is_lost(errnum)
		       ? err_set(e, KLUIS_ECORRUPT, "%s that the disk cannot read any more", what)
		       : err_set_errno(e, errnum, "read %s of the drop", what);
}

static int receive_read_manifest(
	struct receive *rx, const struct drop_entry *entry, struct buf *to, struct err *e)
{
	_cleanup_(x_closep) int fd = -1;
	int rc = drop_open(&rx->drop, entry, &fd, e);
	size_t room = BACKUP_MANIFEST_BYTES_MAX + 1;

	while (rc == 0 && to->len < room) {
		size_t before = to->len,
		       want = room - before < READ_BYTES ? room - before : READ_BYTES;
		ssize_t n = FAULT_POINT("receive.read") ? (errno = EIO, -1)
							: read(fd, buf_extend(to, want), want);

		to->len = before + (n > 0 ? (size_t)n : 0);
		if (n < 0 && errno != EINTR) {
			return receive_unread(errno, "a manifest", e);
		}
		if (n == 0) {
			break;
		}
	}
	return rc;
}

/* The log gave the snapshot its number, taker, cycle and base; its taker may say nothing else. */
static bool receive_as_recorded(const struct backup_manifest *m, const struct snapshot_row *row)
{
	bool full = row->kind != SNAPSHOT_INCREMENT;

	return m->id == row->id && m->node == row->node && m->index == row->index &&
	       m->term == row->term && m->cycle == row->cycle &&
	       m->manual == (row->kind == SNAPSHOT_MANUAL) && (m->type == MANIFEST_FULL) == full &&
	       (full || m->from == row->base_index) &&
	       memcmp(m->state_root, row->state_root, HASH_BYTES) == 0;
}

/* The log named it, or something that is built on it: its hash says all. Its taker may have died
 * since, so whose drop it is in does not matter. */
static int receive_check_journal(struct receive *rx, const struct backup_manifest *m, struct err *e)
{
	struct manifest_name below;
	int rc;

	if (m->type != MANIFEST_JOURNAL) {
		return err_set(e, KLUIS_EVERIFY, "the log calls a snapshot a journal increment");
	}
	rc = repository_find(rx->config->repository, m->base, &below, e);
	return rc == KLUIS_ENOTFOUND ? KLUIS_EAGAIN : rc;
}

/* Everything that the manifest and the log can tell. KLUIS_EAGAIN: it may still be on its way. */
static int receive_check_manifest(struct receive *rx, const struct drop_entry *entry,
	struct bytes bytes, struct backup_manifest *ret_manifest, uint8_t ret_hash[32],
	struct err *e)
{
	const struct receive_config *c = rx->config;
	const struct snapshot_row *row = receive_record(c, entry->name.hash);
	struct backup_manifest *m = ret_manifest;
	/* The log takes no more of a number that is gone: its former key is as good as its last. */
	int rc = row != NULL && ship_taker_gone(row, &c->members)
			 ? backup_manifest_open_held(bytes, c->trust, m, ret_hash, NULL, e)
			 : backup_manifest_open(bytes, c->trust, m, ret_hash, e);

	if (rc == KLUIS_ECORRUPT || rc == KLUIS_EVERSION) {
		return receive_old(rx, entry) ? rc : KLUIS_EAGAIN;
	}
	if (rc != 0) {
		return rc;
	}
	if (memcmp(ret_hash, entry->name.hash, HASH_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "a manifest under another one's name");
	}
	if (row != NULL && !receive_may_bring(rx, row)) {
		return err_set(e, KLUIS_EVERIFY, "a manifest of node %llu in the drop of node %llu",
			(unsigned long long)m->node, (unsigned long long)rx->sender);
	}
	if (memcmp(m->cluster_id, c->cluster_id, ID_BYTES) != 0 ||
		memcmp(m->lineage, c->lineage, ID_BYTES) != 0) {
		return err_set(e, KLUIS_ELINEAGE, "a manifest of another cluster or lineage");
	}
	if (row == NULL) {
		return receive_check_journal(rx, m, e);
	}
	if (!receive_as_recorded(m, row)) {
		return err_set(e, KLUIS_EVERIFY,
			"the manifest of snapshot %llu says something else than the log",
			(unsigned long long)row->id);
	}
	if (!m->manual && m->cycle + (uint64_t)BACKUP_CYCLES_KEPT < rx->newest_cycle) {
		return err_set(e, KLUIS_EGONE,
			"an old manifest again: cycle %u, the newest is %llu", m->cycle,
			(unsigned long long)rx->newest_cycle);
	}
	return 0;
}

static int receive_copy(struct receive *rx, int from, uint64_t bytes, struct repository_file *to,
	uint8_t ret_hash[HASH_BYTES], struct err *e)
{
	const atomic_bool *cancel = rx->config->cancel;
	_cleanup_(x_freep) uint8_t *chunk = x_malloc_aligned(FILE_BLOCK_BYTES, COPY_BYTES);
	_cleanup_(hash_release) struct hash hash = {NULL};
	uint64_t done = 0;

	/* A site's page cache is for its own store: five others' copies would push it out. */
	file_set_direct(repository_file_fd(to));
	hash_init(&hash);
	for (;;) {
		ssize_t n = FAULT_POINT("receive.read") ? (errno = EIO, -1)
							: read(from, chunk, COPY_BYTES);

		if (cancel != NULL && atomic_load(cancel)) {
			return err_set(e, KLUIS_ECLOSED, "stopped");
		}
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return receive_unread(errno, "an object", e);
		}
		done += (uint64_t)n;
		if (n == 0 || done > bytes) {
			break;
		}
		if (pace_wait(rx->pace, (uint64_t)n, cancel, NULL, e) != 0) {
			return KLUIS_ECLOSED;
		}
		hash_update(&hash, bytes_of(chunk, (size_t)n));
		if (file_write_all(repository_file_fd(to), bytes_of(chunk, (size_t)n)) != 0) {
			return err_set_errno(e, errno, "write to the repository");
		}
		file_write_behind(repository_file_fd(to));
	}
	hash_final(&hash, ret_hash);
	return 0;
}

int receive_take(struct receive *rx, const struct drop_entry *entry, struct publisher *publisher,
	struct err *e)
{
	struct manifest_object object = {.bytes = entry->bytes};
	_cleanup_(x_closep) int fd = -1;
	struct repository_file *file = NULL;
	int rc = drop_open(&rx->drop, entry, &fd, e);

	if (rc == 0) {
		rc = repository_file_new(rx->config->repository, &file, e);
	}
	if (rc == 0) {
		rc = receive_copy(rx, fd, entry->bytes, file, object.hash, e);
	}
	if (rc == 0 && memcmp(object.hash, entry->name.hash, HASH_BYTES) != 0) {
		rc = err_set(e, KLUIS_EVERIFY, "an object whose bytes are not what its name says");
	}
	if (rc != 0) {
		repository_file_discard(file);
		return rc;
	}
	return publisher_add(publisher, file, &object, e);
}

bool receive_held(struct receive *rx, const struct manifest_object *object)
{
	_cleanup_(x_closep) int fd = -1;
	uint64_t bytes = 0;

	return repository_open_object(rx->config->repository, object->hash, &fd, &bytes, NULL) ==
		       0 &&
	       bytes == object->bytes;
}

/* An upload of this object with the right size; n: none. */
static size_t receive_find(const struct receive *rx, const struct manifest_object *object)
{
	size_t at = drop_find(&rx->drop, false, object->hash);

	for (; at < rx->drop.n && drop_is(&rx->drop, at, false, object->hash); at++) {
		if (!rx->drop.entries[at].gone && rx->drop.entries[at].bytes == object->bytes) {
			return at;
		}
	}
	return rx->drop.n;
}

/* What is here already, and no manifest of the repository names yet, does not get old meanwhile. */
static void receive_keep(const struct receive *rx, const struct manifest_object *object)
{
	struct timespec when = {.tv_sec = (time_t)(rx->wall_ms / 1000)};
	struct timespec both[2] = {when, when};
	_cleanup_(x_closep) int fd = -1;
	uint64_t bytes = 0;
	struct stat st;

	if (repository_open_object(rx->config->repository, object->hash, &fd, &bytes, NULL) == 0 &&
		fstat(fd, &st) == 0 && st.st_mtim.tv_sec + KEEP_EVERY_S < when.tv_sec) {
		(void)futimens(fd, both); /* Else it comes once more. */
	}
}

/* Marks what the manifest needs. KLUIS_EAGAIN: something is missing yet. */
static int receive_look(struct receive *rx, const struct backup_manifest *m)
{
	int rc = 0;

	for (uint32_t i = 0; i < m->n_index + m->n_packs; i++) {
		size_t at = receive_find(rx, &m->objects[i]);

		if (at == rx->drop.n || rx->drop.entries[at].stand_in) {
			receive_keep(rx, &m->objects[i]);
		}
		if (at < rx->drop.n) {
			rx->wanted[at] = true;
		} else if (!receive_held(rx, &m->objects[i])) {
			rc = KLUIS_EAGAIN;
		}
	}
	return rc;
}

static int receive_take_object(struct receive *rx, const struct manifest_object *object,
	struct publisher *publisher, struct err *e)
{
	bool taken = receive_held(rx, object);

	while (!taken) {
		size_t at = receive_find(rx, object);
		int rc;

		if (at == rx->drop.n || rx->in_vain >= RECEIVE_IN_VAIN_MAX) {
			return KLUIS_EAGAIN;
		}
		if (rx->drop.entries[at].stand_in &&
			drop_is_empty(&rx->drop, &rx->drop.entries[at])) {
			rc = drop_remove(&rx->drop, &rx->drop.entries[at], e);
			if (rc != 0) {
				return rc;
			}
			continue; /* What it stood for is gone. */
		}
		rc = receive_take(rx, &rx->drop.entries[at], publisher, e);
		taken = rc == 0;
		if (rc == KLUIS_EVERIFY || rc == KLUIS_ECORRUPT) {
			receive_refuse(rx, e);
			rx->in_vain++;
			rc = drop_remove(&rx->drop, &rx->drop.entries[at], e);
		}
		if (rc != 0) {
			return rc;
		}
	}
	return 0;
}

/* Every upload of the manifest's objects, and the manifest, are done with. */
static int receive_clear(struct receive *rx, const struct backup_manifest *m, struct err *e)
{
	for (uint32_t i = 0; i < m->n_index + m->n_packs; i++) {
		size_t at = drop_find(&rx->drop, false, m->objects[i].hash);

		for (; at < rx->drop.n && drop_is(&rx->drop, at, false, m->objects[i].hash); at++) {
			int rc = drop_remove(&rx->drop, &rx->drop.entries[at], e);

			if (rc != 0) {
				return rc;
			}
		}
	}
	return 0;
}

static void receive_report_add(struct receive *rx, const struct backup_manifest *m,
	const uint8_t hash[32], const uint8_t receipt[RECEIPT_BYTES])
{
	struct receive_report *report = rx->report;
	struct receive_accepted *row;

	report->accepted =
		x_realloc(report->accepted, (report->n_accepted + 1) * sizeof *report->accepted);
	row = &report->accepted[report->n_accepted++];
	*row = (struct receive_accepted){
		.id = m->id, .index = m->index, .cycle = m->cycle, .manual = m->manual};
	memcpy(row->manifest_hash, hash, HASH_BYTES);
	memcpy(row->receipt, receipt, RECEIPT_BYTES);
}

/* Ours from an earlier scan, unless it was damaged; else a new one with the time of now. */
static int receive_receipt(struct receive *rx, const struct backup_manifest *m,
	const uint8_t hash[32], uint8_t ret_receipt[RECEIPT_BYTES], struct err *e)
{
	_cleanup_(buf_release) struct buf old = BUF_INIT;
	struct receipt receipt = receipt_of(m, hash, rx->config->node, rx->wall_ms), receipt_old;
	int rc = repository_get_receipt(rx->config->repository, hash, rx->config->node, &old, NULL);

	if (rc == 0 && receipt_open(buf_bytes(&old), rx->config->trust, &receipt_old, NULL) == 0 &&
		receipt_old.node == rx->config->node &&
		memcmp(receipt_old.manifest_hash, hash, HASH_BYTES) == 0) {
		memcpy(ret_receipt, old.data, RECEIPT_BYTES);
		return 0;
	}
	rc = receipt_encode(&receipt, rx->config->signer, ret_receipt, e);
	if (rc != 0) {
		return rc;
	}
	return repository_put_receipt(
		rx->config->repository, &receipt, bytes_of(ret_receipt, RECEIPT_BYTES), e);
}

/* One is made durable while the next one is read. */
static int receive_take_objects(struct receive *rx, const struct backup_manifest *m, struct err *e)
{
	struct publisher *publisher = publisher_new(NULL, NULL);
	int rc = 0, done;

	rx->pace = m->type == MANIFEST_JOURNAL ? NULL : rx->config->pace;

	for (uint32_t i = 0; rc == 0 && i < m->n_index + m->n_packs; i++) {
		rc = receive_take_object(rx, &m->objects[i], publisher, e);
	}
	done = publisher_finish(publisher, rc == 0 ? e : NULL); /* What was good stays. */
	publisher_free(publisher);
	return rc != 0 ? rc : done;
}

static int receive_promote(struct receive *rx, const struct backup_manifest *m,
	const uint8_t hash[32], struct bytes bytes, struct err *e)
{
	uint8_t receipt[RECEIPT_BYTES];
	int rc = receive_take_objects(rx, m, e);

	if (rc == 0) {
		rc = repository_put_manifest(rx->config->repository, bytes, e);
	}
	if (rc == 0) {
		rc = receive_receipt(rx, m, hash, receipt, e);
	}
	if (rc != 0) {
		return rc;
	}
	if (!receive_was_accepted(rx->report, hash)) { /* Another copy of it lies here, too. */
		receive_report_add(rx, m, hash, receipt);
	}
	return receive_clear(rx, m, e);
}

/* Copies of one manifest stand side by side: one is enough. */
static void receive_want(struct receive *rx, const struct drop_entry *entry)
{
	size_t self = (size_t)(entry - rx->drop.entries);
	bool wanted = false;

	for (size_t at = drop_find(&rx->drop, true, entry->name.hash); at < self; at++) {
		wanted = wanted || rx->wanted[at];
	}
	rx->wanted[self] = !wanted;
}

static bool receive_ours_to_report(int rc)
{
	return rc != KLUIS_EVERIFY && rc != KLUIS_ECORRUPT && rc != KLUIS_EVERSION &&
	       rc != KLUIS_ELINEAGE && rc != KLUIS_EGONE;
}

/* --- journal increments ---------------------------------------------------------------------- */

static bool receive_stands(const struct receive *rx, const uint8_t hash[HASH_BYTES])
{
	for (size_t i = 0; i < rx->n_journals; i++) {
		if (memcmp(rx->journals[i], hash, HASH_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

static void receive_stand(struct receive *rx, const uint8_t hash[HASH_BYTES])
{
	if (rx->n_journals < RECEIVE_JOURNALS_MAX && !receive_stands(rx, hash)) {
		memcpy(rx->journals[rx->n_journals++], hash, HASH_BYTES);
	}
}

/* What an upload under this manifest hash is built on stands, too, unless it is here. */
static void receive_stand_below(
	struct receive *rx, const struct drop_entry *entry, const uint8_t hash[HASH_BYTES])
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct manifest_name below;
	uint8_t found[HASH_BYTES];

	if (receive_read_manifest(rx, entry, &bytes, NULL) == 0 &&
		backup_manifest_open(buf_bytes(&bytes), rx->config->trust, &m, found, NULL) == 0 &&
		memcmp(found, hash, HASH_BYTES) == 0 && m.type == MANIFEST_JOURNAL &&
		repository_find(rx->config->repository, m.base, &below, NULL) != 0) {
		receive_stand(rx, m.base);
	}
}

static void receive_stand_all(struct receive *rx)
{
	const struct receive_config *c = rx->config;

	if (c->journal == NULL || c->journal->number == 0) {
		return;
	}
	receive_stand(rx, c->journal->manifest_hash);
	for (size_t i = 0; i < c->n_journals && i < JOURNAL_SEEN; i++) {
		receive_stand(rx, c->journals[i]);
	}
	for (size_t i = 0; i < rx->n_journals; i++) {
		const uint8_t *hash = rx->journals[i];
		size_t at = drop_find(&rx->drop, true, hash);

		for (; at < rx->drop.n && drop_is(&rx->drop, at, true, hash); at++) {
			receive_stand_below(rx, &rx->drop.entries[at], hash);
		}
	}
}

static int receive_manifest(struct receive *rx, struct drop_entry *entry, struct err *e)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	uint8_t hash[HASH_BYTES];
	int rc = 0;

	if (drop_too_large(entry)) {
		rc = err_set(e, KLUIS_EVERIFY, "a manifest larger than any");
	} else if (receive_record(rx->config, entry->name.hash) == NULL &&
		   !receive_stands(rx, entry->name.hash)) {
		/* Not even opened. The record may be on its way to this site. */
		rc = receive_old(rx, entry)
			     ? err_set(e, KLUIS_EVERIFY, "a manifest that the log does not know")
			     : KLUIS_EAGAIN;
	}
	if (rc == 0) {
		rc = receive_read_manifest(rx, entry, &bytes, e);
	}
	if (rc == 0) {
		rc = receive_check_manifest(rx, entry, buf_bytes(&bytes), &m, hash, e);
	}
	if (rc == 0) {
		receive_want(rx, entry);
		rc = receive_look(rx, &m);
		if (rc == 0) {
			rc = receive_promote(rx, &m, hash, buf_bytes(&bytes), e);
		}
		if (rc == KLUIS_EAGAIN && receive_old(rx, entry)) {
			rc = err_set(e, KLUIS_ECORRUPT,
				"what the manifest of cycle %u names never came", m.cycle);
		}
	}
	if (rc == KLUIS_EAGAIN) {
		rx->report->waiting++;
		return 0;
	}
	if (rc != 0 && receive_ours_to_report(rc)) {
		return rc;
	}
	if (rc != 0) {
		receive_refuse(rx, e);
	}
	return drop_remove(&rx->drop, entry, e);
}

/* Objects that nothing asks for: those that are too old to be on their way, or larger than any. */
static int receive_leftovers(struct receive *rx, struct err *e)
{
	for (size_t i = 0; i < rx->drop.n; i++) {
		struct drop_entry *entry = &rx->drop.entries[i];

		if (entry->gone || entry->name.manifest || rx->wanted[i] ||
			(!receive_old(rx, entry) && !drop_too_large(entry))) {
			continue;
		}
		rx->report->leftovers++;
		if (drop_remove(&rx->drop, entry, e) != 0) {
			return e->code;
		}
	}
	return 0;
}

static int receive_foreign(struct receive *rx, struct err *e)
{
	uint64_t old_ms = rx->wall_ms > BACKUP_LEFTOVER_MS ? rx->wall_ms - BACKUP_LEFTOVER_MS : 0;
	unsigned removed = 0;
	int rc;

	if (rx->drop.foreign == 0) {
		return 0;
	}
	if (rx->report->over_quota) {
		old_ms = UINT64_MAX;
	} else if (rx->config->began_ms > old_ms) {
		old_ms = 0;
	}
	rc = drop_remove_foreign(&rx->drop, old_ms, &removed, e);
	rx->report->leftovers += removed;
	return rc;
}

static bool receive_over_quota(const struct receive *rx)
{
	const struct drop_quota *quota = &rx->config->quota;

	return (quota->bytes != 0 && drop_bytes(&rx->drop) > quota->bytes + rx->awaited.bytes) ||
	       (quota->files != 0 && drop_files(&rx->drop) > quota->files + rx->awaited.files);
}

/* Stand-ins, which hold no bytes, last. */
static int receive_age_compare(const void *left, const void *right)
{
	const struct drop_entry *a = *(struct drop_entry *const *)left,
				*b = *(struct drop_entry *const *)right;

	if (a->stand_in != b->stand_in) {
		return a->stand_in ? 1 : -1;
	}
	return a->modified_ms < b->modified_ms ? -1 : a->modified_ms > b->modified_ms;
}

/* What is wanted stays, however much it is: the log bounds it. */
static int receive_evict(struct receive *rx, struct err *e)
{
	_cleanup_(x_freep) struct drop_entry **by_age =
		x_calloc(rx->drop.n + 1, sizeof(struct drop_entry *));
	size_t n = 0;

	for (size_t i = 0; i < rx->drop.n; i++) {
		if (!rx->drop.entries[i].gone && !rx->wanted[i]) {
			by_age[n++] = &rx->drop.entries[i];
		}
	}
	if (n > 0) {
		qsort(by_age, n, sizeof(struct drop_entry *), receive_age_compare);
	}
	for (size_t i = 0; i < n && receive_over_quota(rx); i++) {
		rx->report->evicted++;
		if (drop_remove(&rx->drop, by_age[i], e) != 0) {
			return e->code;
		}
	}
	return 0;
}

/* What others are built on first. */
static int receive_journals(struct receive *rx, struct err *e)
{
	int rc = 0;

	receive_stand_all(rx);
	for (size_t i = rx->n_journals; rc == 0 && i > 0; i--) {
		const uint8_t *hash = rx->journals[i - 1];
		size_t at = drop_find(&rx->drop, true, hash);

		for (; rc == 0 && at < rx->drop.n && drop_is(&rx->drop, at, true, hash); at++) {
			rc = receive_manifest(rx, &rx->drop.entries[at], e);
		}
	}
	return rc;
}

static int receive_run(struct receive *rx, struct err *e)
{
	struct err why = {0};
	int rc, early = 0;

	rx->newest_cycle = receive_newest_cycle(rx->config);
	rx->report->foreign = rx->drop.foreign;
	receive_await(rx);
	rx->report->over_quota = receive_over_quota(rx);
	rc = receive_journals(rx, e);
	rx->report->waiting = 0; /* All that wait are looked at once more. */
	for (size_t i = 0; rc == 0 && i < rx->drop.n; i++) {
		if (rx->drop.entries[i].name.manifest && !rx->drop.entries[i].gone) {
			rc = receive_manifest(rx, &rx->drop.entries[i], e);
		}
	}
	receive_await(rx);
	rx->report->early_ms = rx->config->early_ms;
	if (rc == 0 && rx->expected) {
		early = receive_early(rx, &why); /* Cleaning up may be what it lacks. */
	}
	if (rc == 0) {
		rc = receive_leftovers(rx, e);
	}
	if (rc == 0) {
		rc = receive_cut(rx, e);
	}
	if (rc == 0) {
		rc = receive_foreign(rx, e);
	}
	if (rc == 0 && receive_over_quota(rx)) {
		rc = receive_evict(rx, e);
	}
	rx->report->bytes = drop_bytes(&rx->drop);
	rx->report->files = drop_files(&rx->drop);
	return rc != 0 || early == 0 ? rc : err_set(e, early, "%s", why.text);
}

int receive_scan(const struct receive_config *config, const char *drop, uint64_t sender,
	uint64_t wall_ms, struct receive_report *ret_report, struct err *e)
{
	struct receive rx = {
		.config = config, .sender = sender, .wall_ms = wall_ms, .n_journals = 0};
	struct err why = {0}; /* receive_refuse() reads it, so it may not be NULL. */
	int rc;

	assert(sender != 0 && sender != config->node);
	memset(ret_report, 0, sizeof *ret_report);
	rx.report = ret_report;
	rc = drop_scan(drop, &rx.drop, e);
	if (rc != 0) {
		return rc;
	}
	rx.wanted = x_calloc(rx.drop.n + 1, sizeof *rx.wanted);
	rc = receive_run(&rx, &why);
	free(rx.wanted);
	drop_release(&rx.drop);
	if (rc != 0) {
		receive_report_release(ret_report);
		return err_set(e, rc, "drop '%s': %s", drop, why.text);
	}
	return 0;
}

void receive_report_release(struct receive_report *report)
{
	free(report->accepted);
	report->accepted = NULL;
	report->n_accepted = 0;
}
