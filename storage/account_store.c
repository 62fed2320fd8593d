#include "storage/account_store.h"

#include <assert.h>
#include <string.h>

#include "storage/row.h"

static struct row_key account_key(const char *name)
{
	struct row_key key = row_key_begin(KEY_ACCOUNT);

	row_key_put_tail(&key, bytes_str(name));
	return key;
}

void account_row_encode(const struct account_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u8(to, row->state);
	buf_put_u64(to, row->created_ms);
	buf_append(to, row->enrol_hash, 32);
	buf_put_u64(to, row->enrol_expires_ms);
	buf_append(to, row->user_id, 16);
}

int account_row_decode(
	struct bytes key, struct bytes value, struct account_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_ACCOUNT), w = row_wire(value);
	struct bytes name = wire_rest(&k);
	struct account_row row = {0};
	int rc;

	if (name.len == 0 || name.len > ACCOUNT_NAME_BYTES_MAX ||
		memchr(name.data, 0, name.len) != NULL) {
		wire_fail(&k);
	} else {
		memcpy(row.name, name.data, name.len);
	}
	row.state = wire_u8(&w);
	if (row.state < ACCOUNT_PENDING || row.state > ACCOUNT_DISABLED) {
		wire_fail(&w);
	}
	row.created_ms = wire_u64(&w);
	wire_copy(&w, row.enrol_hash, 32);
	row.enrol_expires_ms = wire_u64(&w);
	wire_copy(&w, row.user_id, 16);
	rc = row_end(&k, &w, KEY_ACCOUNT, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int account_store_get(
	const struct kv_view *view, const char *name, struct account_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = account_key(name);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? account_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e)
		       : rc;
}

static int account_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return account_row_decode(key, value, to, e);
}

int account_store_list(const struct kv_view *view, const char *after, struct account_row *ret_rows,
	size_t max, size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = row_key_begin(KEY_ACCOUNT),
		.after = bytes_str(after),
		.max = max,
		.decode = account_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

void account_store_put(struct txn *txn, const struct account_row *row)
{
	struct row_key key = account_key(row->name);
	struct buf value = BUF_INIT;

	account_row_encode(row, &value);
	row_put(txn, &key, &value);
}

static struct row_key user_key(enum key_family family, const uint8_t user_id[16])
{
	struct row_key key = row_key_begin(family);

	row_key_put_id(&key, user_id);
	return key;
}

void user_row_encode(const struct user_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_lp16(to, bytes_str(row->name));
	buf_put_u8(to, row->disabled);
	buf_put_u64(to, row->created_ms);
	buf_put_u64(to, row->chain_seq);
	buf_append(to, row->genesis_hash, 32);
	buf_append(to, row->chain_hash, 32);
}

int user_row_decode(struct bytes key, struct bytes value, struct user_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_USER), w = row_wire(value);
	struct user_row row;
	int rc;

	wire_copy(&k, row.user_id, 16);
	row_text(&w, row.name, ACCOUNT_NAME_BYTES_MAX);
	row.disabled = row_bool(&w);
	row.created_ms = wire_u64(&w);
	row.chain_seq = wire_u64(&w);
	wire_copy(&w, row.genesis_hash, 32);
	wire_copy(&w, row.chain_hash, 32);
	rc = row_end(&k, &w, KEY_USER, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int user_store_get(const struct kv_view *view, const uint8_t user_id[16], struct user_row *ret_row,
	struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = user_key(KEY_USER, user_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? user_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

void user_store_put(struct txn *txn, const struct user_row *row)
{
	struct row_key key = user_key(KEY_USER, row->user_id);
	struct buf value = BUF_INIT;

	user_row_encode(row, &value);
	row_put(txn, &key, &value);
}

static struct row_key statement_key(const uint8_t user_id[16], uint64_t seq)
{
	struct row_key key = user_key(KEY_STATEMENT, user_id);

	row_key_put_u64(&key, seq);
	return key;
}

int statement_store_get(const struct kv_view *view, const uint8_t user_id[16], uint64_t seq,
	struct buf *to, struct err *e)
{
	struct row_key key = statement_key(user_id, seq);

	return row_get_raw(view, &key, KEY_STATEMENT, to, e);
}

void statement_store_put(
	struct txn *txn, const uint8_t user_id[16], uint64_t seq, struct bytes statement)
{
	struct row_key key = statement_key(user_id, seq);

	assert(statement.len <= STATEMENT_BYTES_MAX);
	row_put_raw(txn, &key, statement);
}

static struct row_key device_key(const uint8_t user_id[16], const uint8_t device_id[16])
{
	struct row_key key = user_key(KEY_DEVICE, user_id);

	row_key_put_id(&key, device_id);
	return key;
}

void device_row_encode(const struct device_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u8(to, row->revoked);
	buf_put_u64(to, row->added_ms);
	buf_append(to, row->sign_key, sizeof row->sign_key);
	buf_put_lp16(to, bytes_of(row->hpke_key, row->hpke_key_bytes));
	buf_put_lp16(to, bytes_str(row->name));
}

int device_row_decode(
	struct bytes key, struct bytes value, struct device_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_DEVICE), w = row_wire(value);
	struct device_row row = {0};
	struct bytes hpke;
	int rc;

	wire_copy(&k, row.user_id, 16);
	wire_copy(&k, row.device_id, 16);
	row.revoked = row_bool(&w);
	row.added_ms = wire_u64(&w);
	wire_copy(&w, row.sign_key, sizeof row.sign_key);
	hpke = wire_lp16(&w, DEVICE_KEY_BYTES_MAX);
	row.hpke_key_bytes = (uint8_t)hpke.len;
	if (hpke.len > 0) {
		memcpy(row.hpke_key, hpke.data, hpke.len);
	}
	row_text(&w, row.name, DEVICE_NAME_BYTES_MAX);
	rc = row_end(&k, &w, KEY_DEVICE, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int device_store_get(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t device_id[16], struct device_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = device_key(user_id, device_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? device_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

static int device_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return device_row_decode(key, value, to, e);
}

int device_store_list(const struct kv_view *view, const uint8_t user_id[16], const uint8_t *after,
	struct device_row *ret_rows, size_t max, size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = user_key(KEY_DEVICE, user_id),
		.after = bytes_of(after, after == NULL ? 0 : 16),
		.max = max,
		.decode = device_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

void device_store_put(struct txn *txn, const struct device_row *row)
{
	struct row_key key = device_key(row->user_id, row->device_id);
	struct buf value = BUF_INIT;

	device_row_encode(row, &value);
	row_put(txn, &key, &value);
}
