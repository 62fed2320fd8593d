#include "storage/keyring_store.h"

#include <assert.h>
#include <string.h>

#include "storage/row.h"

static struct row_key keyring_prefix(const uint8_t user_id[16])
{
	struct row_key key = row_key_begin(KEY_KEYRING);

	row_key_put_id(&key, user_id);
	return key;
}

static struct row_key keyring_key(const uint8_t user_id[16], uint64_t revision)
{
	struct row_key key = keyring_prefix(user_id);

	row_key_put_u64(&key, revision);
	return key;
}

void keyring_row_encode(const struct keyring_row *row, struct bytes keyring, struct buf *to)
{
	assert(keyring.len == row->bytes && row->bytes <= KEYRING_BYTES_MAX);
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->committed_ms);
	buf_append(to, row->hash, sizeof row->hash);
	buf_put_lp32(to, keyring);
}

int keyring_row_decode(struct bytes key, struct bytes value, struct keyring_row *ret_row,
	struct bytes *ret_keyring, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_KEYRING), w = row_wire(value);
	struct keyring_row row;
	struct bytes keyring;
	int rc;

	(void)wire_bytes(&k, 16);
	row.revision = wire_u64(&k);
	row.committed_ms = wire_u64(&w);
	wire_copy(&w, row.hash, sizeof row.hash);
	keyring = wire_lp32(&w, KEYRING_BYTES_MAX);
	row.bytes = (uint32_t)keyring.len;
	rc = row_end(&k, &w, KEY_KEYRING, e);
	if (rc == 0) {
		*ret_row = row;
		if (ret_keyring != NULL) {
			*ret_keyring = keyring;
		}
	}
	return rc;
}

int keyring_store_get(const struct kv_view *view, const uint8_t user_id[16], uint64_t revision,
	struct keyring_row *ret_row, struct buf *to, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = keyring_key(user_id, revision);
	struct bytes keyring;
	int rc = row_get(view, &key, &value, e);

	if (rc == 0) {
		rc = keyring_row_decode(
			row_key_bytes(&key), buf_bytes(&value), ret_row, &keyring, e);
	}
	if (rc == 0) {
		buf_append_bytes(to, keyring);
	}
	return rc;
}

static int keyring_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return keyring_row_decode(key, value, to, NULL, e);
}

int keyring_store_list(const struct kv_view *view, const uint8_t user_id[16],
	struct keyring_row ret_rows[KEYRING_VERSIONS_MAX], size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = keyring_prefix(user_id),
		.max = KEYRING_VERSIONS_MAX,
		.decode = keyring_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

void keyring_store_put(struct txn *txn, const uint8_t user_id[16], const struct keyring_row *row,
	struct bytes keyring)
{
	struct row_key key = keyring_key(user_id, row->revision);
	struct buf value = BUF_INIT;

	keyring_row_encode(row, keyring, &value);
	row_put(txn, &key, &value);
}

void keyring_store_delete(struct txn *txn, const uint8_t user_id[16], uint64_t revision)
{
	struct row_key key = keyring_key(user_id, revision);

	row_delete(txn, &key);
}
