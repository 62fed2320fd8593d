#include "storage/batch.h"

#include <assert.h>

enum {
	BATCH_CHANGES_KEPT = 16384,
	BATCH_BYTES_KEPT = 1 << 20,
};

void batch_release(struct batch *batch)
{
	free(batch->changes);
	free(batch->rows);
	buf_release(&batch->bytes);
	*batch = (struct batch){0};
}

void batch_add(struct batch *batch, struct bytes key, struct bytes value, bool deleted)
{
	assert(batch->n < batch->cap);
	batch->changes[batch->n++] = (struct kv_change){key, value, deleted};
}

/* Of the batch's bytes, which never move: all were reserved. */
static struct bytes batch_bytes(const struct batch *batch, size_t from)
{
	return bytes_of(batch->bytes.data + from, batch->bytes.len - from);
}

static struct bytes batch_key(struct batch *batch, const struct row_key *key)
{
	size_t from = batch->bytes.len;

	buf_append_bytes(&batch->bytes, row_key_bytes(key));
	return batch_bytes(batch, from);
}

/* Room for the index of all rows and one change more. */
static void batch_reserve(struct batch *batch, const struct pending *work)
{
	size_t bytes = 0;

	for (size_t i = 0; i < work->n; i++) {
		bytes += 2 * batch->rows[i]->key.len + INDEX_BYTES_MAX;
	}
	if (batch->cap < 4 * work->n + 1) {
		batch->cap = 8 * work->n + 1;
		batch->changes = x_realloc(batch->changes, batch->cap * sizeof *batch->changes);
	}
	buf_reserve(&batch->bytes, bytes);
}

/* That a row the store never had is not there needs no saying. */
static void batch_add_row(struct batch *batch, const struct pending_row *row)
{
	bool there = !row->known || (row->stored.at.index != 0 && !row->stored.deleted);

	if (row->state.how == PENDING_PUT) {
		batch_add(batch, row->key, row->state.value, false);
	} else if (row->state.how == PENDING_DELETED && there) {
		batch_add(batch, row->key, bytes_of(NULL, 0), true);
	}
}

static bool batch_moves_index(const struct pending_row *row)
{
	return row->indexed || row->state.forgotten;
}

/* Where the store's index has it now. */
static void batch_drop_by_index(struct batch *batch, const struct pending_row *row)
{
	struct row_key by;

	if (batch_moves_index(row) && row->stored.at.index != 0) {
		by = index_by_key(&row->stored.at);
		batch_add(batch, batch_key(batch, &by), bytes_of(NULL, 0), true);
	}
}

static void batch_add_by_index(struct batch *batch, const struct pending_indexed *indexed)
{
	const struct pending_row *row = indexed->row;
	struct bytes key;
	struct row_key by;
	size_t from;

	if (row->state.forgotten || modification_compare(&row->index.at, &indexed->at) != 0) {
		return;
	}
	by = index_by_key(&indexed->at);
	key = batch_key(batch, &by);
	from = batch->bytes.len;
	index_row_encode(&row->index, &batch->bytes);
	batch_add(batch, key, batch_bytes(batch, from), false);
}

static void batch_add_index_of(struct batch *batch, const struct pending_row *row)
{
	struct row_key of = index_of_key(row->key);
	struct bytes key;
	size_t from;

	if (row->state.forgotten && row->stored.at.index != 0) {
		batch_add(batch, batch_key(batch, &of), bytes_of(NULL, 0), true);
	} else if (row->indexed && !row->state.forgotten) {
		key = batch_key(batch, &of);
		from = batch->bytes.len;
		index_of_encode(&row->index, &batch->bytes);
		batch_add(batch, key, batch_bytes(batch, from), false);
	}
}

/* What a large batch took is not kept for small ones. */
static void batch_clear(struct batch *batch)
{
	if (batch->cap > BATCH_CHANGES_KEPT || batch->bytes.cap > BATCH_BYTES_KEPT) {
		batch_release(batch);
	}
	batch->n = 0;
	buf_clear(&batch->bytes);
}

void batch_make(struct batch *batch, const struct pending *work)
{
	size_t n = work->n;

	batch_clear(batch);
	if (batch->rows_cap < n) {
		batch->rows_cap = 2 * n;
		batch->rows = x_realloc(batch->rows, batch->rows_cap * sizeof *batch->rows);
	}
	pending_list(work, batch->rows);
	batch_reserve(batch, work);
	for (size_t i = 0; i < n; i++) {
		batch_add_row(batch, batch->rows[i]);
	}
	for (size_t i = 0; i < n; i++) {
		batch_drop_by_index(batch, batch->rows[i]);
	}
	for (size_t i = 0; i < work->n_indexed; i++) {
		batch_add_by_index(batch, &work->indexed[i]);
	}
	for (size_t i = 0; i < n; i++) {
		batch_add_index_of(batch, batch->rows[i]);
	}
}

static int batch_compare(const void *a, const void *b)
{
	return bytes_compare(
		((const struct kv_change *)a)->key, ((const struct kv_change *)b)->key);
}

void batch_sort(struct batch *batch)
{
	if (batch->n > 1) {
		qsort(batch->changes, batch->n, sizeof *batch->changes, batch_compare);
	}
}
