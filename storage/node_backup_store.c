#include "storage/node_backup_store.h"

#include "storage/row.h"

static struct row_key node_backup_key(uint64_t node)
{
	struct row_key key = row_key_begin(KEY_NODE_BACKUP);

	row_key_put_u64(&key, node);
	return key;
}

void node_backup_row_encode(const struct node_backup_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->interval_s);
	buf_put_u64(to, row->offset_s);
	buf_put_u64(to, row->keep_s);
	buf_put_u8(to, row->copies);
	buf_put_u8(to, row->drills);
	buf_put_u64(to, row->since_ms);
}

int node_backup_row_decode(
	struct bytes key, struct bytes value, struct node_backup_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_NODE_BACKUP), w = row_wire(value);
	struct node_backup_row row;
	int rc;

	row.node = wire_u64(&k);
	row.interval_s = wire_u64(&w);
	row.offset_s = wire_u64(&w);
	row.keep_s = wire_u64(&w);
	row.copies = wire_u8(&w);
	row.drills = row_bool(&w);
	row.since_ms = wire_u64(&w);
	if (row.copies < 1 || row.copies > SITES_MAX) {
		wire_fail(&w);
	}
	rc = row_end(&k, &w, KEY_NODE_BACKUP, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

bool node_backup_row_equal(const struct node_backup_row *a, const struct node_backup_row *b)
{
	return a->interval_s == b->interval_s && a->offset_s == b->offset_s &&
	       a->keep_s == b->keep_s && a->copies == b->copies && a->drills == b->drills;
}

int node_backup_store_get(
	const struct kv_view *view, uint64_t node, struct node_backup_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = node_backup_key(node);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? node_backup_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e)
		       : rc;
}

static int node_backup_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return node_backup_row_decode(key, value, to, e);
}

int node_backup_store_list(const struct kv_view *view, struct node_backup_row ret_rows[SITES_MAX],
	size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = row_key_begin(KEY_NODE_BACKUP),
		.max = SITES_MAX,
		.decode = node_backup_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

void node_backup_store_put(struct txn *txn, const struct node_backup_row *row)
{
	struct row_key key = node_backup_key(row->node);
	struct buf value = BUF_INIT;

	node_backup_row_encode(row, &value);
	row_put(txn, &key, &value);
}

void node_backup_store_delete(struct txn *txn, uint64_t node)
{
	struct row_key key = node_backup_key(node);

	row_delete(txn, &key);
}
