#include "storage/push_store.h"

#include <assert.h>
#include <string.h>

#include "storage/row.h"

static struct row_key push_prefix(const uint8_t user_id[16])
{
	struct row_key key = row_key_begin(KEY_PUSH);

	row_key_put_id(&key, user_id);
	return key;
}

static struct row_key push_key(const uint8_t user_id[16], const uint8_t push_id[16])
{
	struct row_key key = push_prefix(user_id);

	row_key_put_id(&key, push_id);
	return key;
}

void push_row_encode(const struct push_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_append(to, row->device_id, sizeof row->device_id);
	buf_put_u8(to, row->kind);
	buf_put_u64(to, row->created_ms);
	buf_put_u8(to, row->pepper_id);
	buf_put_lp16(to, bytes_of(row->sealed, row->sealed_bytes));
}

int push_row_decode(struct bytes key, struct bytes value, struct push_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_PUSH), w = row_wire(value);
	struct push_row row = {.kind = 0};
	struct bytes sealed;
	int rc;

	wire_copy(&k, row.user_id, sizeof row.user_id);
	wire_copy(&k, row.push_id, sizeof row.push_id);
	wire_copy(&w, row.device_id, sizeof row.device_id);
	row.kind = wire_u8(&w);
	row.created_ms = wire_u64(&w);
	row.pepper_id = wire_u8(&w);
	sealed = wire_lp16(&w, PUSH_SEALED_BYTES_MAX);
	if (row.kind == 0 || row.kind > PUSH_KINDS || sealed.len == 0) {
		wire_fail(&w);
	} else {
		memcpy(row.sealed, sealed.data, sealed.len);
		row.sealed_bytes = (uint16_t)sealed.len;
	}
	rc = row_end(&k, &w, KEY_PUSH, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int push_store_get(const struct kv_view *view, const uint8_t user_id[16], const uint8_t push_id[16],
	struct push_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = push_key(user_id, push_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? push_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

static int push_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return push_row_decode(key, value, to, e);
}

int push_store_list(const struct kv_view *view, const uint8_t user_id[16],
	struct push_row ret_rows[PUSH_PER_USER_MAX], size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = push_prefix(user_id),
		.max = PUSH_PER_USER_MAX,
		.decode = push_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

void push_store_put(struct txn *txn, const struct push_row *row)
{
	struct row_key key = push_key(row->user_id, row->push_id);
	struct buf value = BUF_INIT;

	assert(row->kind > 0 && row->kind <= PUSH_KINDS);
	assert(row->sealed_bytes > 0 && row->sealed_bytes <= PUSH_SEALED_BYTES_MAX);
	push_row_encode(row, &value);
	row_put(txn, &key, &value);
}

void push_store_delete(struct txn *txn, const uint8_t user_id[16], const uint8_t push_id[16])
{
	struct row_key key = push_key(user_id, push_id);

	row_delete(txn, &key);
}

int push_store_forget(
	struct txn *txn, const uint8_t user_id[16], const uint8_t *device_id, struct err *e)
{
	_cleanup_(x_freep) struct push_row *rows = x_calloc(PUSH_PER_USER_MAX, sizeof *rows);
	size_t n = 0;
	int rc = push_store_list(txn_view(txn), user_id, rows, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (device_id == NULL || memcmp(rows[i].device_id, device_id, 16) == 0) {
			push_store_delete(txn, user_id, rows[i].push_id);
		}
	}
	return rc;
}
