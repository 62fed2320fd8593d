#include "storage/pending_store.h"

#include <string.h>

#include "storage/row.h"
#include "storage/upkeep_store.h"

static struct row_key pending_prefix(const uint8_t user_id[16])
{
	struct row_key key = row_key_begin(KEY_PENDING);

	row_key_put_id(&key, user_id);
	return key;
}

static struct row_key pending_key(const uint8_t user_id[16], const uint8_t device_id[16])
{
	struct row_key key = pending_prefix(user_id);

	row_key_put_id(&key, device_id);
	return key;
}

void pending_row_encode(const struct pending_row *row, struct buf *to)
{
	const struct device_row *device = &row->device;

	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, device->added_ms);
	buf_put_u64(to, row->expires_ms);
	buf_append(to, row->session_id, 16);
	buf_append(to, device->sign_key, sizeof device->sign_key);
	buf_put_lp16(to, bytes_of(device->hpke_key, device->hpke_key_bytes));
	buf_put_lp16(to, bytes_str(device->name));
	buf_put_lp16(to, bytes_of(row->statement, row->statement_bytes));
}

int pending_row_decode(
	struct bytes key, struct bytes value, struct pending_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_PENDING), w = row_wire(value);
	struct pending_row row = {.expires_ms = 0};
	struct device_row *device = &row.device;
	struct bytes hpke, statement;
	int rc;

	wire_copy(&k, device->user_id, 16);
	wire_copy(&k, device->device_id, 16);
	device->added_ms = wire_u64(&w);
	row.expires_ms = wire_u64(&w);
	wire_copy(&w, row.session_id, 16);
	wire_copy(&w, device->sign_key, sizeof device->sign_key);
	hpke = wire_lp16(&w, DEVICE_KEY_BYTES_MAX);
	device->hpke_key_bytes = (uint8_t)hpke.len;
	if (hpke.len > 0) {
		memcpy(device->hpke_key, hpke.data, hpke.len);
	}
	row_text(&w, device->name, DEVICE_NAME_BYTES_MAX);
	statement = wire_lp16(&w, PENDING_STATEMENT_BYTES_MAX);
	row.statement_bytes = (uint16_t)statement.len;
	if (statement.len > 0) {
		memcpy(row.statement, statement.data, statement.len);
	}
	rc = row_end(&k, &w, KEY_PENDING, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int pending_store_get(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t device_id[16], struct pending_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = pending_key(user_id, device_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? pending_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e)
		       : rc;
}

static int pending_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return pending_row_decode(key, value, to, e);
}

int pending_store_list(const struct kv_view *view, const uint8_t user_id[16],
	struct pending_row ret_rows[PENDING_DEVICES_MAX], size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = pending_prefix(user_id),
		.max = PENDING_DEVICES_MAX,
		.decode = pending_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

static struct expiry_row pending_expiry(const struct pending_row *row)
{
	struct expiry_row expiry = {
		.expires_ms = row->expires_ms, .kind = EXPIRY_PENDING, .subject_bytes = 32};

	memcpy(expiry.subject, row->device.user_id, 16);
	memcpy(expiry.subject + 16, row->device.device_id, 16);
	return expiry;
}

void pending_store_put(struct txn *txn, const struct pending_row *row)
{
	struct row_key key = pending_key(row->device.user_id, row->device.device_id);
	struct expiry_row expiry = pending_expiry(row);
	struct buf value = BUF_INIT;

	pending_row_encode(row, &value);
	row_put(txn, &key, &value);
	expiry_store_put(txn, &expiry);
}

void pending_store_delete(struct txn *txn, const struct pending_row *row)
{
	struct row_key key = pending_key(row->device.user_id, row->device.device_id);
	struct expiry_row expiry = pending_expiry(row);

	row_delete(txn, &key);
	expiry_store_delete(txn, &expiry);
}
