#include "storage/check_store.h"

#include "storage/row.h"

static struct row_key check_key(uint64_t node, uint8_t level)
{
	struct row_key key = row_key_begin(KEY_CHECK);

	row_key_put_u64(&key, node);
	row_key_put_u8(&key, level);
	return key;
}

void check_row_encode(const struct check_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u8(to, row->ok);
	buf_put_u64(to, row->id);
	buf_put_u64(to, row->index);
	buf_put_u64(to, row->time_ms);
	buf_put_u64(to, row->good_id);
	buf_put_u64(to, row->good_ms);
	buf_put_lp16(to, bytes_str(row->text));
}

int check_row_decode(struct bytes key, struct bytes value, struct check_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_CHECK), w = row_wire(value);
	struct check_row row = {0};
	int rc;

	row.node = wire_u64(&k);
	row.level = wire_u8(&k);
	if (row.level < 1 || row.level > CHECK_LEVEL_DRILL) {
		wire_fail(&k);
	}
	row.ok = row_bool(&w);
	row.id = wire_u64(&w);
	row.index = wire_u64(&w);
	row.time_ms = wire_u64(&w);
	row.good_id = wire_u64(&w);
	row.good_ms = wire_u64(&w);
	row_text(&w, row.text, CHECK_TEXT_BYTES_MAX);
	rc = row_end(&k, &w, KEY_CHECK, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int check_store_get(const struct kv_view *view, uint64_t node, uint8_t level,
	struct check_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = check_key(node, level);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? check_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

static int check_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return check_row_decode(key, value, to, e);
}

int check_store_list(const struct kv_view *view, struct check_row ret_rows[CHECKS_MAX],
	size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = row_key_begin(KEY_CHECK),
		.max = CHECKS_MAX,
		.decode = check_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

void check_store_put(struct txn *txn, const struct check_row *row)
{
	struct row_key key = check_key(row->node, row->level);
	struct buf value = BUF_INIT;

	check_row_encode(row, &value);
	row_put(txn, &key, &value);
}

int check_store_forget(struct txn *txn, uint64_t node, struct err *e)
{
	struct check_row row;

	for (uint8_t level = 1; level <= CHECK_LEVEL_DRILL; level++) {
		struct row_key key = check_key(node, level);
		int rc = check_store_get(txn_view(txn), node, level, &row, e);

		if (rc == 0) {
			row_delete(txn, &key);
		} else if (rc != KLUIS_ENOTFOUND) {
			return rc;
		}
	}
	return 0;
}
