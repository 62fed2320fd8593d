#include "storage/keyring_store.h"

#include <assert.h>
#include <string.h>

#include "storage/row.h"

static struct row_key keyring_prefix(enum key_family family, const uint8_t user_id[16])
{
	struct row_key key = row_key_begin(family);

	row_key_put_id(&key, user_id);
	return key;
}

static struct row_key keyring_key(
	enum key_family family, const uint8_t user_id[16], uint64_t revision)
{
	struct row_key key = keyring_prefix(family, user_id);

	row_key_put_u64(&key, revision);
	return key;
}

void keyring_row_encode(const struct keyring_row *row, struct buf *to)
{
	assert(row->bytes > 0 && row->bytes <= KEYRING_BYTES_MAX);
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->committed_ms);
	buf_append(to, row->hash, sizeof row->hash);
	buf_put_u32(to, row->bytes);
}

int keyring_row_decode(
	struct bytes key, struct bytes value, struct keyring_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_KEYRING), w = row_wire(value);
	struct keyring_row row;
	int rc;

	(void)wire_bytes(&k, 16);
	row.revision = wire_u64(&k);
	row.committed_ms = wire_u64(&w);
	wire_copy(&w, row.hash, sizeof row.hash);
	row.bytes = wire_u32(&w);
	if (row.bytes == 0 || row.bytes > KEYRING_BYTES_MAX) {
		wire_fail(&w);
	}
	rc = row_end(&k, &w, KEY_KEYRING, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int keyring_store_get(const struct kv_view *view, const uint8_t user_id[16], uint64_t revision,
	struct keyring_row *ret_row, struct buf *to, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = keyring_key(KEY_KEYRING, user_id, revision);
	struct keyring_row row;
	size_t before = to->len;
	int rc = row_get(view, &key, &value, e);

	rc = rc != 0 ? rc : keyring_row_decode(row_key_bytes(&key), buf_bytes(&value), &row, e);
	if (rc != 0) {
		return rc;
	}
	key = keyring_key(KEY_KEYRING_OBJECT, user_id, revision);
	rc = row_get_raw(view, &key, KEY_KEYRING_OBJECT, to, e);
	if (rc == KLUIS_ENOTFOUND || (rc == 0 && to->len - before != row.bytes)) {
		to->len = before;
		return err_set(e, KLUIS_ECORRUPT, "a keyring is not as its row says");
	}
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

static int keyring_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return keyring_row_decode(key, value, to, e);
}

int keyring_store_list(const struct kv_view *view, const uint8_t user_id[16],
	struct keyring_row ret_rows[KEYRING_VERSIONS_MAX], size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = keyring_prefix(KEY_KEYRING, user_id),
		.max = KEYRING_VERSIONS_MAX,
		.decode = keyring_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

void keyring_store_put(struct txn *txn, const uint8_t user_id[16], const struct keyring_row *row,
	struct bytes keyring)
{
	struct row_key key = keyring_key(KEY_KEYRING, user_id, row->revision);
	struct row_key object = keyring_key(KEY_KEYRING_OBJECT, user_id, row->revision);
	struct buf value = BUF_INIT;

	assert(keyring.len == row->bytes);
	keyring_row_encode(row, &value);
	row_put(txn, &key, &value);
	row_put_raw(txn, &object, keyring);
}

void keyring_store_delete(struct txn *txn, const uint8_t user_id[16], uint64_t revision)
{
	struct row_key key = keyring_key(KEY_KEYRING, user_id, revision);
	struct row_key object = keyring_key(KEY_KEYRING_OBJECT, user_id, revision);

	row_delete(txn, &key);
	row_delete(txn, &object);
}
