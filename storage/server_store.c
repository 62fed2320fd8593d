#include "storage/server_store.h"

#include <assert.h>
#include <string.h>

#include "storage/row.h"

static struct row_key server_key(uint64_t id)
{
	struct row_key key = row_key_begin(KEY_SERVER);

	row_key_put_u64(&key, id);
	return key;
}

void server_row_encode(const struct server_row *row, struct buf *to)
{
	assert(row->id != 0 && row->wish <= SERVER_GONE && row->weight <= SERVER_WEIGHT_MAX);
	buf_put_u8(to, ROW_FORMAT);
	buf_append(to, row->incarnation, sizeof row->incarnation);
	buf_put_u8(to, (unsigned)row->wish);
	buf_put_u32(to, row->weight);
	buf_put_u64(to, row->successor);
	buf_put_u64(to, row->since_ms);
	buf_put_lp16(to, bytes_str(row->site));
	buf_put_lp16(to, bytes_str(row->address));
}

int server_row_decode(
	struct bytes key, struct bytes value, struct server_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_SERVER), w = row_wire(value);
	struct server_row row = {0};
	unsigned wish;
	int rc;

	row.id = wire_u64(&k);
	wire_copy(&w, row.incarnation, sizeof row.incarnation);
	wish = wire_u8(&w);
	row.weight = wire_u32(&w);
	row.successor = wire_u64(&w);
	row.since_ms = wire_u64(&w);
	row_text(&w, row.site, NODE_NAME_BYTES_MAX);
	row_text(&w, row.address, MEMBER_ADDRESS_BYTES_MAX);
	if (row.id == 0 || wish > SERVER_WISH_MAX || row.weight > SERVER_WEIGHT_MAX) {
		wire_fail(&w);
	}
	row.wish = (enum server_wish)wish;
	rc = row_end(&k, &w, KEY_SERVER, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int server_store_get(
	const struct kv_view *view, uint64_t id, struct server_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = server_key(id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? server_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

static int server_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return server_row_decode(key, value, to, e);
}

int server_store_list(const struct kv_view *view, struct server_row *ret_rows, size_t max,
	size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = row_key_begin(KEY_SERVER),
		.max = max,
		.decode = server_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

void server_store_put(struct txn *txn, const struct server_row *row)
{
	struct row_key key = server_key(row->id);
	struct buf value = BUF_INIT;

	server_row_encode(row, &value);
	row_put(txn, &key, &value);
}

void server_store_delete(struct txn *txn, uint64_t id)
{
	struct row_key key = server_key(id);

	row_delete(txn, &key);
}

void servers_row_encode(const struct servers_row *row, struct buf *to)
{
	assert(row->highest_id != 0 && row->voters >= VOTERS_MIN && row->voters <= VOTERS_MAX);
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->highest_id);
	buf_put_u8(to, row->voters);
}

int servers_row_decode(struct bytes value, struct servers_row *ret_row, struct err *e)
{
	struct wire w = row_wire(value);
	struct servers_row row;
	int rc;

	row.highest_id = wire_u64(&w);
	row.voters = wire_u8(&w);
	if (row.highest_id == 0 || row.voters < VOTERS_MIN || row.voters > VOTERS_MAX) {
		wire_fail(&w);
	}
	rc = row_end(NULL, &w, KEY_SERVERS, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int servers_store_get(const struct kv_view *view, struct servers_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_SERVERS);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? servers_row_decode(buf_bytes(&value), ret_row, e) : rc;
}

void servers_store_put(struct txn *txn, const struct servers_row *row)
{
	struct row_key key = row_key_begin(KEY_SERVERS);
	struct buf value = BUF_INIT;

	servers_row_encode(row, &value);
	row_put(txn, &key, &value);
}
