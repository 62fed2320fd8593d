#include <assert.h>
#include <string.h>

#include "crypto/hash.h"
#include "storage/inbox_store.h"
#include "storage/row.h"
#include "storage/upkeep_store.h"

static struct row_key token_key(const uint8_t token_hash[32])
{
	struct row_key key = row_key_begin(KEY_INBOX_TOKEN);

	row_key_put_hash(&key, token_hash);
	return key;
}

static struct row_key token_of_prefix(const uint8_t owner[16])
{
	struct row_key key = row_key_begin(KEY_INBOX_TOKEN_OF);

	row_key_put_id(&key, owner);
	return key;
}

static struct row_key token_of_key(const uint8_t owner[16], const uint8_t token_id[16])
{
	struct row_key key = token_of_prefix(owner);

	row_key_put_id(&key, token_id);
	return key;
}

void inbox_token_id_of(const uint8_t token_hash[32], uint8_t ret_token_id[16])
{
	uint8_t hash[HASH_BYTES];

	HASH_TH(hash, "kluis/v1/inbox-token-id", bytes_of(token_hash, 32));
	memcpy(ret_token_id, hash, 16);
}

void inbox_token_row_encode(const struct inbox_token_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_append(to, row->owner, sizeof row->owner);
	buf_append(to, row->token_id, sizeof row->token_id);
	buf_put_u64(to, row->created_ms);
	buf_put_u64(to, row->expires_ms);
	buf_put_u32(to, row->docs_left);
	buf_put_lp16(to, bytes_str(row->label));
}

int inbox_token_row_decode(
	struct bytes key, struct bytes value, struct inbox_token_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_INBOX_TOKEN), w = row_wire(value);
	struct inbox_token_row row;
	int rc;

	wire_copy(&k, row.token_hash, sizeof row.token_hash);
	wire_copy(&w, row.owner, sizeof row.owner);
	wire_copy(&w, row.token_id, sizeof row.token_id);
	row.created_ms = wire_u64(&w);
	row.expires_ms = wire_u64(&w);
	row.docs_left = wire_u32(&w);
	row_text(&w, row.label, INBOX_LABEL_BYTES_MAX);
	rc = row_end(&k, &w, KEY_INBOX_TOKEN, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int inbox_token_store_get(const struct kv_view *view, const uint8_t token_hash[32],
	struct inbox_token_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = token_key(token_hash);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? inbox_token_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e)
		       : rc;
}

int inbox_token_store_check(const struct kv_view *view, const uint8_t token_hash[32],
	const uint8_t owner[16], uint64_t now_ms, struct inbox_token_row *ret_row, struct err *e)
{
	struct inbox_token_row row;
	int rc = inbox_token_store_get(view, token_hash, &row, e);

	if (rc == KLUIS_ENOTFOUND ||
		(rc == 0 && (now_ms >= row.expires_ms || memcmp(row.owner, owner, 16) != 0))) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "the token opens no such inbox");
	}
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

static int token_of_get(const struct kv_view *view, const struct row_key *key,
	struct inbox_token_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf hash = BUF_INIT;
	int rc = row_get_raw(view, key, KEY_INBOX_TOKEN_OF, &hash, e);

	if (rc == 0 && hash.len != HASH_BYTES) {
		return err_set(e, KLUIS_ECORRUPT, "damaged row of family 'inbox_token_of'");
	}
	rc = rc != 0 ? rc : inbox_token_store_get(view, hash.data, ret_row, e);
	return rc == KLUIS_ENOTFOUND && hash.len > 0
		       ? err_set(e, KLUIS_ECORRUPT, "a token of an inbox is missing")
		       : rc;
}

int inbox_token_store_find(const struct kv_view *view, const uint8_t owner[16],
	const uint8_t token_id[16], struct inbox_token_row *ret_row, struct err *e)
{
	struct row_key key = token_of_key(owner, token_id);

	return token_of_get(view, &key, ret_row, e);
}

static int token_of_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_INBOX_TOKEN_OF), w = row_wire(value);

	(void)wire_bytes(&k, 16);
	wire_copy(&k, to, 16);
	(void)wire_bytes(&w, HASH_BYTES);
	return row_end(&k, &w, KEY_INBOX_TOKEN_OF, e);
}

int inbox_token_store_list(const struct kv_view *view, const uint8_t owner[16],
	struct inbox_token_row ret_rows[INBOX_TOKENS_MAX], size_t *ret_n, struct err *e)
{
	uint8_t ids[INBOX_TOKENS_MAX][16];
	struct row_list list = {.prefix = token_of_prefix(owner),
		.max = INBOX_TOKENS_MAX,
		.decode = token_of_decode,
		.stride = sizeof ids[0]};
	size_t n = 0;
	int rc = row_list(view, &list, ids, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = inbox_token_store_find(view, owner, ids[i], &ret_rows[i], e);
	}
	if (rc == 0) {
		*ret_n = n;
	}
	return rc;
}

static struct expiry_row token_expiry(const struct inbox_token_row *row)
{
	struct expiry_row expiry = {
		.expires_ms = row->expires_ms, .kind = EXPIRY_INBOX_TOKEN, .subject_bytes = 32};

	memcpy(expiry.subject, row->token_hash, 32);
	return expiry;
}

void inbox_token_store_put(struct txn *txn, const struct inbox_token_row *row)
{
	struct row_key key = token_key(row->token_hash);
	struct row_key of = token_of_key(row->owner, row->token_id);
	struct expiry_row expiry = token_expiry(row);
	struct buf value = BUF_INIT;

	inbox_token_row_encode(row, &value);
	row_put(txn, &key, &value);
	row_put_raw(txn, &of, bytes_of(row->token_hash, sizeof row->token_hash));
	expiry_store_put(txn, &expiry);
}

void inbox_token_store_delete(struct txn *txn, const struct inbox_token_row *row)
{
	struct row_key key = token_key(row->token_hash);
	struct row_key of = token_of_key(row->owner, row->token_id);
	struct expiry_row expiry = token_expiry(row);

	row_delete(txn, &key);
	row_delete(txn, &of);
	expiry_store_delete(txn, &expiry);
}
