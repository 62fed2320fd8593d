/* A whole backup repository of sites that lie: their keys sign whatever an input says of a chain of
 * three cycles and three journal increments, and of the objects that these name: { u8 which point |
 * { u8 which manifest | u8 what | u64 value }... }. Nothing of it is read past what it is, what
 * plan, levels of verification and restore say of a point agrees, and whoever signed it, rows that
 * end well under a cycle's state root are the rows of that root. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "backup/journal.h"
#include "backup/restore.h"
#include "backup/verify.h"
#include "base/file.h"
#include "base/log.h"
#include "tests/unit/backup/lib/site.h"

enum { CYCLES = 3, JOURNALS = 3, POINTS = CYCLES + JOURNALS, ROWS = 30, KEYS = 30 };
enum { VALUE_BYTES = 300, CHANGES_MAX = 16, OBJECTS_MAX = 8 };

static struct backup_sites sites;
static struct backup_model model[POINTS]; /* As of each point. */

static struct manifest {
	struct backup_manifest m;
	struct manifest_object objects[OBJECTS_MAX];
	uint8_t hash[HASH_BYTES];
	unsigned based_on; /* POINTS: on nothing. */
	unsigned signer;
	bool gone;
	uint64_t name_index;
} made[POINTS];

enum what {
	TYPE,
	MANUAL,
	SLICE,
	CLUSTER,
	LINEAGE,
	INDEX,
	TERM,
	FROM,
	CYCLE,
	NUMBER,
	BASE,
	STATE_ROOT,
	TIMES,
	LIVE,
	TOMBSTONES,
	VALUES,
	NODE,
	ID,
	KID,
	SPLIT,
	OBJECT_BYTES,
	OBJECT_OF_ANOTHER,
	OBJECTS_LESS,
	OBJECT_SWAP,
	NAME,
	GONE,
	SIGNER,
	WHAT_N
};

/* --- what an honest site made ----------------------------------------------------------------- */

static void base_remove(void)
{
	(void)(file_remove_tree(sites.dir, NULL) == 0);
}

static void base_load(unsigned i)
{
	struct manifest *to = &made[i];
	int rc = point_manifest(sites.repository[0], to->hash, &sites.trust, &to->m, NULL);

	assert(rc == 0 && to->m.n_index + to->m.n_packs <= OBJECTS_MAX);
	to->based_on = i == 0 ? POINTS : i - 1;
	to->name_index = to->m.index;
}

static void base_make(void)
{
	struct backup_model now;

	log_init("fuzz", LOG_LEVEL_ERR);
	backup_sites_init(&sites, KEY_KEM_X25519);
	(void)atexit(base_remove);
	backup_model_init(&now, 1);
	for (unsigned i = 0; i < POINTS; i++) {
		backup_model_change(&now, ROWS, KEYS, VALUE_BYTES);
		if (i < CYCLES) {
			backup_model_snapshot(&now, &sites, 1, false, made[i].hash);
		} else {
			backup_model_journal(&now, &sites, 1, i - CYCLES + 1, &made[i - 1].m,
				made[i - 1].hash, made[i].hash);
		}
		backup_model_copy(&model[i], &now);
		base_load(i);
	}
	backup_model_release(&now);
}

/* --- what an input makes of it ---------------------------------------------------------------- */

static void change_id_fields(struct manifest *f, enum what what, uint64_t value)
{
	struct backup_manifest *m = &f->m;

	switch (what) {
	case TYPE:
		m->type = (enum manifest_type)(value % 4);
		break;
	case MANUAL:
		m->manual = !m->manual;
		break;
	case SLICE:
		m->slice = (unsigned)(value & 0xff);
		break;
	case CLUSTER:
		m->cluster_id[value % ID_BYTES] ^= 1;
		break;
	case LINEAGE:
		m->lineage[value % ID_BYTES] ^= 1;
		break;
	case KID:
		m->kid[value % KID_BYTES] ^= 1;
		break;
	case STATE_ROOT:
		m->state_root[value % HASH_BYTES] ^= 1;
		break;
	default:
		m->state_hash[value % HASH_BYTES] ^= 1;
		m->cluster_time_ms = m->wall_ms = value;
		break;
	}
}

static uint64_t *change_number_of(struct backup_manifest *m, enum what what)
{
	switch (what) {
	case INDEX:
		return &m->index;
	case TERM:
		return &m->term;
	case FROM:
		return &m->from;
	case LIVE:
		return &m->live;
	case TOMBSTONES:
		return &m->tombstones;
	case VALUES:
		return &m->value_bytes;
	case ID:
		return &m->id;
	default:
		return &m->node;
	}
}

static void change_objects(struct manifest *f, enum what what, uint64_t value)
{
	struct backup_manifest *m = &f->m;
	uint32_t n = m->n_index + m->n_packs, at = (uint32_t)(value % n);
	const struct manifest *other = &made[(value >> 8) % POINTS];
	struct manifest_object object = m->objects[at];

	switch (what) {
	case SPLIT: /* What is an index, what a pack. */
		m->n_index = at + 1;
		m->n_packs = n - m->n_index;
		break;
	case OBJECT_BYTES:
		m->objects[at].bytes = value >> 8;
		break;
	case OBJECT_OF_ANOTHER:
		m->objects[at] =
			other->m.objects[(value >> 16) % (other->m.n_index + other->m.n_packs)];
		break;
	case OBJECT_SWAP:
		m->objects[at] = m->objects[(value >> 8) % n];
		m->objects[(value >> 8) % n] = object;
		break;
	default: /* One fewer. */
		if (m->n_packs > 0) {
			m->n_packs--;
		} else if (m->n_index > 1) {
			m->n_index--;
		}
		break;
	}
}

static void change(struct manifest *f, enum what what, uint64_t value)
{
	switch (what) {
	case CYCLE:
		f->m.cycle = (uint32_t)value;
		break;
	case NUMBER:
		f->m.number = (uint32_t)value;
		break;
	case BASE: /* On another one, or on none: what stands above is not made yet. */
		f->based_on = (unsigned)(value % (POINTS + 1));
		break;
	case NAME:
		f->name_index = value;
		break;
	case GONE:
		f->gone = true;
		break;
	case SIGNER:
		f->signer = (unsigned)(value % BACKUP_SITES);
		break;
	case SPLIT:
	case OBJECT_BYTES:
	case OBJECT_OF_ANOTHER:
	case OBJECTS_LESS:
	case OBJECT_SWAP:
		change_objects(f, what, value);
		break;
	case INDEX:
	case TERM:
	case FROM:
	case LIVE:
	case TOMBSTONES:
	case VALUES:
	case ID:
	case NODE:
		*change_number_of(&f->m, what) = value;
		break;
	default:
		change_id_fields(f, what, value);
		break;
	}
}

/* A field that two manifests share says the same in both: else nothing would be built on a change.
 */
static void change_all(struct manifest forged[POINTS], struct wire *w)
{
	for (unsigned k = 0; k < CHANGES_MAX && w->left.len >= 10; k++) {
		unsigned which = wire_u8(w);
		enum what what = (enum what)(wire_u8(w) % WHAT_N);
		uint64_t value = wire_u64(w);

		for (unsigned i = 0; i < POINTS; i++) {
			if (which % (POINTS + 1) == i || which % (POINTS + 1) == POINTS) {
				change(&forged[i], what, value);
			}
		}
	}
}

static void forged_write(const struct manifest *f, struct bytes bytes)
{
	struct manifest_name name = {.index = f->name_index};
	char text[MANIFEST_NAME_BYTES];
	_cleanup_(x_freep) char *path = NULL;
	int rc;

	memcpy(name.lineage, f->m.lineage, ID_BYTES);
	memcpy(name.hash, f->hash, HASH_BYTES);
	manifest_name_format(&name, text);
	path = x_asprintf("%s/manifests/%s", repository_path(sites.repository[0]), text);
	rc = file_write(path, bytes, 0600, NULL);
	assert(rc == 0);
}

/* Signs all from the bottom up, so that each names what it is built on as it is now. What no
 * manifest can say is not written. */
static void forged_sign(struct manifest forged[POINTS])
{
	for (unsigned i = 0; i < POINTS; i++) {
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;
		struct manifest *f = &forged[i];

		memset(f->m.base, 0, HASH_BYTES);
		if (f->based_on < POINTS) {
			memcpy(f->m.base, forged[f->based_on].hash, HASH_BYTES);
		}
		if (!f->gone && backup_manifest_encode(&f->m, sites.signer[f->signer], &bytes,
					f->hash, NULL) == 0) {
			forged_write(f, buf_bytes(&bytes));
		}
	}
}

static void forged_make(struct manifest forged[POINTS], struct wire *w)
{
	_cleanup_(x_freep) char *dir =
		x_asprintf("%s/manifests", repository_path(sites.repository[0]));
	int rc = file_remove_tree(dir, NULL);

	rc = rc != 0 ? rc : file_make_dirs(dir, 0700, NULL);
	assert(rc == 0);
	for (unsigned i = 0; i < POINTS; i++) {
		forged[i] = made[i];
		memcpy(forged[i].objects, made[i].m.objects,
			(made[i].m.n_index + made[i].m.n_packs) * sizeof *made[i].m.objects);
	}
	for (unsigned i = 0; i < POINTS; i++) {
		forged[i].m.objects = forged[i].objects;
	}
	change_all(forged, w);
	forged_sign(forged);
}

/* --- what readers make of that ---------------------------------------------------------------- */

static bool row_is(
	const struct backup_row *row, const struct index_entry *entry, struct bytes value)
{
	return row != NULL && bytes_equal(entry->key, bytes_str(row->key)) &&
	       entry->index == row->index && entry->ordinal == row->ordinal &&
	       bytes_equal(value, buf_bytes(&row->value));
}

/* A point is of one cluster's one lineage, and nothing is left out between what it is made of. */
static void assert_continues(const struct point *point)
{
	for (unsigned i = 1; i < point->n; i++) {
		const struct backup_manifest *above = &point->snapshots[i - 1].manifest,
					     *below = &point->snapshots[i].manifest;

		assert(above->from == below->index && above->index > below->index);
		assert(memcmp(above->cluster_id, below->cluster_id, ID_BYTES) == 0 &&
			memcmp(above->lineage, below->lineage, ID_BYTES) == 0);
		assert(memcmp(above->base, point->snapshots[i].hash, HASH_BYTES) == 0);
		assert(below->type != MANIFEST_JOURNAL || above->type == MANIFEST_JOURNAL);
	}
	assert(point->snapshots[point->n - 1].manifest.type == MANIFEST_FULL);
}

/* 0: a restore would succeed; *ret_same: with the rows of this model. */
static int try_restore(struct repository *repository, const uint8_t hash[HASH_BYTES],
	const struct backup_model *as, bool *ret_same)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct point *point = NULL;
	struct point_rows *rows = NULL;
	struct index_entry entry;
	size_t at = 0;
	bool more = true, same = true;
	int rc = point_open(repository, hash, &sites.trust, &point, NULL);

	if (rc == 0) {
		assert_continues(point);
	}
	rc = rc == 0 ? point_rows_new(point, &sites.keys, sites.dir, &rows, NULL) : rc;
	while (rc == 0 && (rc = point_rows_next(rows, &entry, &more, NULL)) == 0 && more) {
		buf_clear(&value);
		rc = point_rows_value(rows, &value, NULL);
		same = same && row_is(backup_model_next(as, &at), &entry, buf_bytes(&value));
	}
	*ret_same = rc == 0 && same && backup_model_next(as, &at) == NULL;
	point_rows_free(rows);
	point_free(point);
	return rc;
}

/* Whose rows these have to be, by the state root; POINTS: nobody's. */
static unsigned root_of(const struct manifest *f)
{
	unsigned i = 0;

	while (i < CYCLES && memcmp(made[i].m.state_root, f->m.state_root, HASH_BYTES) != 0) {
		i++;
	}
	return i < CYCLES && f->m.type != MANIFEST_JOURNAL ? i : POINTS;
}

static void look(struct repository *repository, const struct manifest *f, unsigned of, bool changed)
{
	struct backup_manifest parent = {0};
	struct restore_plan plan;
	struct verify_report report;
	uint8_t hash[HASH_BYTES];
	unsigned root = root_of(f);
	bool same;
	int restored = try_restore(repository, f->hash, &model[root < POINTS ? root : of], &same);
	int planned = restore_plan(repository, f->hash, &sites.trust, &plan, NULL);

	assert(changed || (restored == 0 && same && planned == 0));
	assert(restored != 0 || planned == 0);
	assert(restored != 0 || root == POINTS || same);
	assert(planned != 0 || (plan.snapshots >= 1 && plan.snapshots <= POINTS &&
				       plan.journals < plan.snapshots));
	for (unsigned level = 1; level <= 3; level++) {
		int rc = verify_snapshot(repository, f->hash, &sites.trust, level, &sites.keys,
			sites.dir, &report, NULL);

		assert(changed || rc == 0);
		assert(rc != 0 || report.level == level);
		/* The highest level promises that a restore succeeds. */
		assert(level < 3 || rc != 0 || restored == 0);
	}
	if (journal_find_parent(repository, f->hash, f->m.number % 1000 + 1, &sites.trust, &parent,
		    hash, NULL) == 0) {
		backup_manifest_release(&parent);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire w = wire_of(bytes_of(data, size));
	struct manifest forged[POINTS];
	struct repository *repository = NULL;
	struct manifest_name *names = NULL;
	unsigned of;
	size_t n = 0;
	int rc;

	if (size == 0) {
		return 0;
	}
	if (made[0].m.n_index == 0) {
		base_make();
	}
	of = wire_u8(&w) % POINTS;
	forged_make(forged, &w);
	rc = repository_open(repository_path(sites.repository[0]), &repository, NULL);
	assert(rc == 0);
	rc = repository_list(repository, &names, &n, NULL, NULL);
	assert(rc == 0 && n <= POINTS);
	look(repository, &forged[of], of, size >= 11);
	free(names);
	repository_close(repository);
	return 0;
}
