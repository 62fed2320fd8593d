#include "storage/journal_store.h"

#include <assert.h>

#include "storage/import.h"
#include "storage/index_store.h"
#include "storage/row.h"

void journal_row_encode(const struct journal_row *row, struct buf *to)
{
	assert(row->n_holders <= SITES_MAX);
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->base_id);
	buf_put_u64(to, row->base_cycle);
	buf_put_u32(to, row->number);
	buf_put_u64(to, row->node);
	buf_put_u64(to, row->index);
	buf_put_u64(to, row->term);
	buf_put_u64(to, row->time_ms);
	buf_put_u64(to, row->created_ms);
	buf_append(to, row->manifest_hash, sizeof row->manifest_hash);
	buf_put_u32(to, row->confirmed);
	buf_put_u64(to, row->confirmed_index);
	buf_put_u64(to, row->confirmed_time_ms);
	buf_append(to, row->confirmed_hash, sizeof row->confirmed_hash);
	buf_put_u8(to, row->n_holders);
	for (unsigned i = 0; i < row->n_holders; i++) {
		buf_put_u64(to, row->holder[i].node);
		buf_put_u32(to, row->holder[i].number);
	}
}

static void journal_holders(struct wire *w, struct journal_row *row)
{
	row->n_holders = wire_u8(w);
	if (row->n_holders > SITES_MAX) {
		wire_fail(w);
		row->n_holders = 0;
	}
	for (unsigned i = 0; i < row->n_holders; i++) {
		row->holder[i].node = wire_u64(w);
		row->holder[i].number = wire_u32(w);
	}
}

int journal_row_decode(struct bytes value, struct journal_row *ret_row, struct err *e)
{
	struct wire w = row_wire(value);
	struct journal_row row = {0};
	int rc;

	row.base_id = wire_u64(&w);
	row.base_cycle = wire_u64(&w);
	row.number = wire_u32(&w);
	row.node = wire_u64(&w);
	row.index = wire_u64(&w);
	row.term = wire_u64(&w);
	row.time_ms = wire_u64(&w);
	row.created_ms = wire_u64(&w);
	wire_copy(&w, row.manifest_hash, sizeof row.manifest_hash);
	row.confirmed = wire_u32(&w);
	row.confirmed_index = wire_u64(&w);
	row.confirmed_time_ms = wire_u64(&w);
	wire_copy(&w, row.confirmed_hash, sizeof row.confirmed_hash);
	journal_holders(&w, &row);
	rc = row_end(NULL, &w, KEY_JOURNAL, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int journal_store_get(const struct kv_view *view, struct journal_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_JOURNAL);
	int rc = row_get(view, &key, &value, e);

	if (rc == KLUIS_ENOTFOUND) {
		*ret_row = (struct journal_row){0};
		return 0;
	}
	return rc == 0 ? journal_row_decode(buf_bytes(&value), ret_row, e) : rc;
}

void journal_store_put(struct txn *txn, const struct journal_row *row)
{
	struct row_key key = row_key_begin(KEY_JOURNAL);
	struct buf value = BUF_INIT;

	journal_row_encode(row, &value);
	row_put(txn, &key, &value);
}

uint32_t journal_held(const struct journal_row *row, uint64_t node)
{
	for (unsigned i = 0; i < row->n_holders; i++) {
		if (row->holder[i].node == node) {
			return row->holder[i].number;
		}
	}
	return 0;
}

int journal_changed(const struct kv_view *view, uint64_t after, bool *ret_changed, struct err *e)
{
	struct index_iter *iter = index_iter_new(view, after, UINT64_MAX);
	struct index_row row;
	unsigned looked = 0;
	bool changed = false;
	int rc;

	/* So many of them at once are worth an increment by themselves. */
	while (!changed && index_iter_next(iter, &row)) {
		changed = ++looked > JOURNAL_LOOK_ROWS ||
			  !(import_drops(row.key) || row.key.data[0] == KEY_EXPIRE_STATE);
	}
	rc = index_iter_status(iter, e);
	index_iter_free(iter);
	if (rc == 0) {
		*ret_changed = changed;
	}
	return rc;
}
