/* The rows of a point: which of all entries are live is found by sorting small records, so that
 * memory stays bounded; then the snapshots' indexes, each in order already, are merged. */
#include <assert.h>
#include <string.h>

#include "backup/point.h"
#include "backup/sorter.h"
#include "backup/stream.h"
#include "storage/index_store.h"

enum {
	KEY_PART = 16,
	AT_BYTES = 12,			       /* A modification index. */
	ENTRY_BYTES = KEY_PART + AT_BYTES + 4, /* Start of the key's hash, when, dead or not. */
	DEAD_AT = KEY_PART + AT_BYTES,
};

struct point_rows {
	const struct point *point;
	struct sorter *winners; /* AT_BYTES of each live row. */
	struct index_root *root;
	uint64_t live;
	struct point_source {
		struct stream *stream;
		struct index_entry entry;
		bool more;
	} sources[POINT_SNAPSHOTS_MAX];
	unsigned n;
	struct point_source *current; /* Whose entry was given last. */
	uint8_t end_root[HASH_BYTES]; /* Set at the end. */
};

static void point_at_put(const struct index_entry *entry, uint8_t to[AT_BYTES])
{
	store_u64(to, entry->index);
	store_u32(to + 8, entry->ordinal);
}

static int point_sort_snapshot(const struct point *point, const struct backup_manifest *manifest,
	const struct key *key, struct sorter *sorter, struct err *e)
{
	struct stream *stream = stream_new(point->repository, manifest, key);
	uint8_t record[ENTRY_BYTES] = {0}, hash[HASH_BYTES];
	struct index_entry entry;
	bool more = true;
	int rc = 0;

	while (rc == 0 && more) {
		rc = stream_next(stream, &entry, &more, e);
		if (rc != 0 || !more) {
			break;
		}
		hash_sha256(entry.key, hash);
		memcpy(record, hash, KEY_PART);
		point_at_put(&entry, record + KEY_PART);
		record[DEAD_AT] = entry.tombstone;
		rc = sorter_add(sorter, record, e);
	}
	stream_free(stream);
	return rc;
}

/* The last record of each key is its newest; it wins unless it is a tombstone. */
static int point_winners(struct point_rows *rows, struct sorter *sorter, struct err *e)
{
	uint8_t last[ENTRY_BYTES];
	const uint8_t *record = NULL;
	bool any = false;
	int rc;

	for (;;) {
		rc = sorter_next(sorter, &record, e);
		if (rc != 0) {
			return rc;
		}
		if (any && (record == NULL || memcmp(record, last, KEY_PART) != 0) &&
			!last[DEAD_AT]) {
			rc = sorter_add(rows->winners, last + KEY_PART, e);
			rows->live++;
		}
		if (rc != 0 || record == NULL) {
			break;
		}
		memcpy(last, record, ENTRY_BYTES);
		any = true;
	}
	return rc != 0 ? rc : sorter_finish(rows->winners, e);
}

/* The key of each snapshot, before anything is read. */
static int point_keys(const struct point *point, const struct backup_key_set *keys,
	const struct key *ret_keys[POINT_SNAPSHOTS_MAX], struct err *e)
{
	for (unsigned i = 0; i < point->n; i++) {
		const struct backup_manifest *m = &point->snapshots[i].manifest;
		int rc = backup_key_set_find(keys, m->kid, &ret_keys[i], e);

		if (rc != 0) {
			return err_wrap(
				e, rc, "snapshot of index %llu", (unsigned long long)m->index);
		}
	}
	return 0;
}

static int point_sort(
	struct point_rows *rows, const struct key *const *keys, const char *scratch, struct err *e)
{
	struct sorter *sorter = sorter_new(ENTRY_BYTES, BACKUP_SORT_BYTES, scratch);
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < rows->point->n; i++) {
		rc = point_sort_snapshot(
			rows->point, &rows->point->snapshots[i].manifest, keys[i], sorter, e);
	}
	if (rc == 0) {
		rc = sorter_finish(sorter, e);
	}
	if (rc == 0) {
		rc = point_winners(rows, sorter, e);
	}
	sorter_free(sorter);
	return rc;
}

static int point_source_step(struct point_source *source, struct err *e)
{
	return stream_next(source->stream, &source->entry, &source->more, e);
}

/* The point of the cycle that journal increments stand on, without reading a value. */
static int point_check_cycle(const struct point *point, const struct backup_key_set *set,
	const char *scratch, struct err *e)
{
	_cleanup_(x_freep) struct point *cycle = x_memdup(point, sizeof *point);
	struct point_rows *rows = NULL;
	struct index_entry entry;
	bool more = true;
	int rc;

	cycle->n -= point->n_journals;
	cycle->n_journals = 0;
	memmove(cycle->snapshots, cycle->snapshots + point->n_journals,
		cycle->n * sizeof *cycle->snapshots);
	rc = point_rows_new(cycle, set, scratch, &rows, e);
	while (rc == 0 && more) {
		rc = point_rows_next(rows, &entry, &more, e);
	}
	point_rows_free(rows);
	return rc;
}

int point_rows_new(const struct point *point, const struct backup_key_set *set, const char *scratch,
	struct point_rows **ret_rows, struct err *e)
{
	const struct key *keys[POINT_SNAPSHOTS_MAX];
	struct point_rows *rows;
	int rc = point_keys(point, set, keys, e);

	if (rc == 0 && point->n_journals > 0) {
		rc = point_check_cycle(point, set, scratch, e);
	}
	if (rc != 0) {
		return rc;
	}
	rows = x_calloc(1, sizeof *rows);
	rows->point = point;
	rows->root = index_root_new();
	rows->winners = sorter_new(AT_BYTES, BACKUP_SORT_BYTES, scratch);
	rc = point_sort(rows, keys, scratch, e);
	for (unsigned i = 0; rc == 0 && i < point->n; i++) {
		struct point_source *source = &rows->sources[rows->n++];

		source->stream =
			stream_new(point->repository, &point->snapshots[i].manifest, keys[i]);
		rc = point_source_step(source, e);
	}
	if (rc != 0) {
		point_rows_free(rows);
		return rc;
	}
	*ret_rows = rows;
	return 0;
}

void point_rows_free(struct point_rows *rows)
{
	if (rows == NULL) {
		return;
	}
	for (unsigned i = 0; i < rows->n; i++) {
		stream_free(rows->sources[i].stream);
	}
	sorter_free(rows->winners);
	if (rows->root != NULL) {
		uint8_t unused[HASH_BYTES];

		index_root_end(rows->root, unused);
	}
	free(rows);
}

void point_rows_root(const struct point_rows *rows, uint8_t ret_root[HASH_BYTES])
{
	assert(rows->root == NULL);
	memcpy(ret_root, rows->end_root, HASH_BYTES);
}

uint64_t point_rows_live(const struct point_rows *rows)
{
	return rows->live;
}

/* The source whose entry comes first; of equal ones the newest snapshot's. NULL: none has any. */
static struct point_source *point_first(struct point_rows *rows)
{
	struct point_source *first = NULL;

	for (unsigned i = 0; i < rows->n; i++) {
		struct point_source *source = &rows->sources[i];

		if (source->more &&
			(first == NULL || index_entry_compare(&source->entry, &first->entry) < 0)) {
			first = source;
		}
	}
	return first;
}

/* Moves all sources past the winner last given. */
static int point_pass(struct point_rows *rows, struct err *e)
{
	struct index_entry at;
	int rc = 0;

	if (rows->current == NULL) {
		return 0;
	}
	at = rows->current->entry;
	rows->current = NULL;
	for (unsigned i = 0; rc == 0 && i < rows->n; i++) {
		while (rc == 0 && rows->sources[i].more &&
			index_entry_compare(&rows->sources[i].entry, &at) <= 0) {
			rc = point_source_step(&rows->sources[i], e);
		}
	}
	return rc;
}

/* Skips what lost, up to the winner. */
static int point_seek(struct point_rows *rows, const uint8_t *winner, struct err *e)
{
	for (;;) {
		struct point_source *first = point_first(rows);
		uint8_t at[AT_BYTES];
		int order, rc;

		if (first == NULL) {
			return err_set(e, KLUIS_ECORRUPT, "the index changed while it was read");
		}
		point_at_put(&first->entry, at);
		order = memcmp(at, winner, AT_BYTES);
		if (order == 0) {
			rows->current = first;
			return 0;
		}
		if (order > 0) {
			return err_set(e, KLUIS_ECORRUPT, "the index changed while it was read");
		}
		rc = point_source_step(first, e);
		if (rc != 0) {
			return rc;
		}
	}
}

static int point_end(struct point_rows *rows, struct err *e)
{
	const struct backup_manifest *m = &rows->point->snapshots[0].manifest;

	index_root_end(rows->root, rows->end_root);
	rows->root = NULL;
	if (m->type != MANIFEST_JOURNAL && memcmp(rows->end_root, m->state_root, HASH_BYTES) != 0) {
		return err_set(
			e, KLUIS_EVERIFY, "the rows do not come to the manifest's state root");
	}
	return 0;
}

int point_rows_next(
	struct point_rows *rows, struct index_entry *ret_entry, bool *ret_more, struct err *e)
{
	const struct index_entry *entry;
	const uint8_t *winner = NULL;
	struct index_row row;
	int rc;

	assert(rows->root != NULL);
	rc = point_pass(rows, e);
	if (rc == 0) {
		rc = sorter_next(rows->winners, &winner, e);
	}
	if (rc == 0 && winner == NULL) {
		*ret_more = false;
		return point_end(rows, e);
	}
	if (rc == 0) {
		rc = point_seek(rows, winner, e);
	}
	if (rc != 0) {
		return rc;
	}
	entry = &rows->current->entry;
	row = (struct index_row){
		.at = {.index = entry->index, .ordinal = entry->ordinal}, .key = entry->key};
	memcpy(row.hash, entry->value_hash, HASH_BYTES);
	index_root_add(rows->root, &row);
	*ret_entry = *entry;
	*ret_more = true;
	return 0;
}

int point_rows_value(struct point_rows *rows, struct buf *to, struct err *e)
{
	assert(rows->current != NULL);
	return stream_value(rows->current->stream, &rows->current->entry, to, e);
}
