#include "storage/invite_store.h"

#include <string.h>

#include "storage/row.h"
#include "storage/upkeep_store.h"

static struct row_key invite_key(const uint8_t token_hash[32])
{
	struct row_key key = row_key_begin(KEY_INVITE);

	row_key_put_hash(&key, token_hash);
	return key;
}

void invite_row_encode(const struct invite_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->created_ms);
	buf_put_u64(to, row->expires_ms);
	buf_put_u32(to, row->uses_left);
	buf_put_lp16(to, bytes_str(row->note));
}

int invite_row_decode(
	struct bytes key, struct bytes value, struct invite_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_INVITE), w = row_wire(value);
	struct invite_row row;
	int rc;

	wire_copy(&k, row.token_hash, 32);
	row.created_ms = wire_u64(&w);
	row.expires_ms = wire_u64(&w);
	row.uses_left = wire_u32(&w);
	row_text(&w, row.note, INVITE_NOTE_BYTES_MAX);
	if (row.uses_left == 0) {
		wire_fail(&w);
	}
	rc = row_end(&k, &w, KEY_INVITE, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int invite_store_get(const struct kv_view *view, const uint8_t token_hash[32],
	struct invite_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = invite_key(token_hash);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? invite_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

static int invite_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return invite_row_decode(key, value, to, e);
}

int invite_store_list(const struct kv_view *view, const uint8_t *after, struct invite_row *ret_rows,
	size_t max, size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = row_key_begin(KEY_INVITE),
		.after = bytes_of(after, after == NULL ? 0 : 32),
		.max = max,
		.decode = invite_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

static struct expiry_row invite_expiry(const struct invite_row *row)
{
	struct expiry_row expiry = {
		.expires_ms = row->expires_ms, .kind = EXPIRY_INVITE, .subject_bytes = 32};

	memcpy(expiry.subject, row->token_hash, 32);
	return expiry;
}

void invite_store_put(struct txn *txn, const struct invite_row *row)
{
	struct row_key key = invite_key(row->token_hash);
	struct expiry_row expiry = invite_expiry(row);
	struct buf value = BUF_INIT;

	invite_row_encode(row, &value);
	row_put(txn, &key, &value);
	expiry_store_put(txn, &expiry);
}

void invite_store_delete(struct txn *txn, const struct invite_row *row)
{
	struct row_key key = invite_key(row->token_hash);
	struct expiry_row expiry = invite_expiry(row);

	row_delete(txn, &key);
	expiry_store_delete(txn, &expiry);
}
