#include "storage/session_store.h"

#include <string.h>

#include "crypto/hash.h"
#include "storage/row.h"

void session_id_of(const uint8_t token_hash[32], uint8_t ret_session_id[16])
{
	uint8_t hash[HASH_BYTES];

	HASH_TH(hash, "kluis/v1/session-id", bytes_of(token_hash, 32));
	memcpy(ret_session_id, hash, 16);
}

static struct row_key session_key(const uint8_t token_hash[32])
{
	struct row_key key = row_key_begin(KEY_SESSION);

	row_key_put_hash(&key, token_hash);
	return key;
}

static struct row_key user_session_key(const uint8_t user_id[16], const uint8_t session_id[16])
{
	struct row_key key = row_key_begin(KEY_USER_SESSION);

	row_key_put_id(&key, user_id);
	row_key_put_id(&key, session_id);
	return key;
}

bool session_has_device(const struct session_row *row)
{
	static const uint8_t none[16];

	return memcmp(row->device_id, none, sizeof none) != 0;
}

bool session_waits(const struct session_row *row)
{
	return row->level == SESSION_LOGIN || row->level == SESSION_RECOVERY_LOGIN;
}

bool session_of_recovery(const struct session_row *row)
{
	return row->level == SESSION_RECOVERY_LOGIN || row->level == SESSION_RECOVERY;
}

void session_row_encode(const struct session_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_append(to, row->session_id, 16);
	buf_append(to, row->user_id, 16);
	buf_append(to, row->device_id, 16);
	buf_put_u8(to, row->level);
	buf_put_u64(to, row->created_ms);
	buf_put_u64(to, row->expires_ms);
}

int session_row_decode(
	struct bytes key, struct bytes value, struct session_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_SESSION), w = row_wire(value);
	struct session_row row;
	int rc;

	wire_copy(&k, row.token_hash, 32);
	wire_copy(&w, row.session_id, 16);
	wire_copy(&w, row.user_id, 16);
	wire_copy(&w, row.device_id, 16);
	row.level = wire_u8(&w);
	if (row.level < SESSION_LOGIN || row.level > SESSION_RECOVERY) {
		wire_fail(&w);
	}
	row.created_ms = wire_u64(&w);
	row.expires_ms = wire_u64(&w);
	rc = row_end(&k, &w, KEY_SESSION, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int session_store_get(const struct kv_view *view, const uint8_t token_hash[32],
	struct session_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = session_key(token_hash);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? session_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e)
		       : rc;
}

/* What is missing behind a session is no reason of its own: the session is worth nothing. */
static int session_unauthenticated(int rc, struct err *e)
{
	return rc == KLUIS_ENOTFOUND ? err_set(e, KLUIS_EUNAUTHENTICATED, "no such session") : rc;
}

int session_store_check(const struct kv_view *view, const uint8_t token_hash[32], uint64_t now_ms,
	struct session_row *ret_row, struct err *e)
{
	struct device_row device = {.revoked = false};
	struct session_row row;
	struct user_row user;
	int rc = session_store_get(view, token_hash, &row, e);

	if (rc == 0) {
		rc = user_store_get(view, row.user_id, &user, e);
	}
	if (rc == 0) {
		rc = device_store_get(view, row.user_id, row.device_id, &device, e);
		rc = rc == KLUIS_ENOTFOUND && !session_has_device(&row) ? 0 : rc;
	}
	if (rc != 0) {
		return session_unauthenticated(rc, e);
	}
	if (now_ms >= row.expires_ms) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "session expired");
	}
	if (user.disabled || device.revoked) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "account or device is out of use");
	}
	*ret_row = row;
	return 0;
}

/* The row under a user_session key, which holds its token hash. */
static int session_follow(const struct kv_view *view, struct bytes key, struct bytes value,
	struct session_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_USER_SESSION), w = row_wire(value);
	uint8_t token_hash[32];
	int rc;

	(void)wire_bytes(&k, 32);
	wire_copy(&w, token_hash, sizeof token_hash);
	rc = row_end(&k, &w, KEY_USER_SESSION, e);
	if (rc == 0) {
		rc = session_store_get(view, token_hash, ret_row, e);
		if (rc == KLUIS_ENOTFOUND) {
			rc = err_set(e, KLUIS_ECORRUPT, "a session of a user is missing");
		}
	}
	return rc;
}

int session_store_find(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t session_id[16], struct session_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = user_session_key(user_id, session_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? session_follow(view, row_key_bytes(&key), buf_bytes(&value), ret_row, e)
		       : rc;
}

int session_store_list(const struct kv_view *view, const uint8_t user_id[16], const uint8_t *after,
	struct session_row *ret_rows, size_t max, size_t *ret_n, struct err *e)
{
	struct row_key prefix = row_key_begin(KEY_USER_SESSION), first, end;
	struct kv_iter *iter;
	size_t n = 0;
	int rc = 0;

	row_key_put_id(&prefix, user_id);
	first = prefix;
	end = row_key_after_prefix(&prefix);
	if (after != NULL) {
		row_key_put_id(&first, after);
		row_key_put_u8(&first, 0);
	}
	iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	while (rc == 0 && n < max && kv_iter_next(iter)) {
		rc = session_follow(
			view, kv_iter_key(iter), kv_iter_value(iter), &ret_rows[n++], e);
	}
	if (rc == 0) {
		rc = kv_iter_status(iter, e);
	}
	kv_iter_free(iter);
	if (rc == 0) {
		*ret_n = n;
	}
	return rc;
}

void session_store_put(struct txn *txn, const struct session_row *row)
{
	struct row_key key = session_key(row->token_hash);
	struct row_key by_user = user_session_key(row->user_id, row->session_id);
	struct buf value = BUF_INIT, token = row_begin();

	session_row_encode(row, &value);
	row_put(txn, &key, &value);
	buf_append(&token, row->token_hash, 32);
	row_put(txn, &by_user, &token);
}

void session_store_delete(struct txn *txn, const struct session_row *row)
{
	struct row_key key = session_key(row->token_hash);
	struct row_key by_user = user_session_key(row->user_id, row->session_id);

	row_delete(txn, &key);
	row_delete(txn, &by_user);
}
