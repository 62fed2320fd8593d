#include "storage/mfa_store.h"

#include <assert.h>
#include <string.h>

#include "storage/row.h"
#include "storage/upkeep_store.h"

static struct row_key mfa_prefix(const uint8_t user_id[16])
{
	struct row_key key = row_key_begin(KEY_MFA);

	row_key_put_id(&key, user_id);
	return key;
}

static struct row_key mfa_key(const uint8_t user_id[16], const uint8_t mfa_id[16])
{
	struct row_key key = mfa_prefix(user_id);

	row_key_put_id(&key, mfa_id);
	return key;
}

void mfa_row_encode(const struct mfa_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u8(to, row->method);
	buf_put_u64(to, row->created_ms);
	buf_put_u64(to, row->expires_ms);
	buf_put_u64(to, row->next);
	buf_put_u8(to, row->pepper_id);
	buf_put_lp16(to, bytes_of(row->secret, row->secret_bytes));
	buf_put_lp16(to, bytes_of(row->params, row->params_bytes));
	buf_put_lp16(to, bytes_str(row->label));
}

static uint16_t mfa_take(struct wire *w, uint8_t *to, size_t max)
{
	struct bytes run = wire_lp16(w, max);

	if (run.len > 0) {
		memcpy(to, run.data, run.len);
	}
	return (uint16_t)run.len;
}

int mfa_row_decode(struct bytes key, struct bytes value, struct mfa_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_MFA), w = row_wire(value);
	struct mfa_row row = {0};
	int rc;

	wire_copy(&k, row.user_id, 16);
	wire_copy(&k, row.mfa_id, 16);
	row.method = wire_u8(&w);
	if (row.method < MFA_TOTP || row.method > MFA_LOCATION) {
		wire_fail(&w);
	}
	row.created_ms = wire_u64(&w);
	row.expires_ms = wire_u64(&w);
	row.pending = row.expires_ms != 0;
	row.next = wire_u64(&w);
	row.pepper_id = wire_u8(&w);
	row.secret_bytes = mfa_take(&w, row.secret, sizeof row.secret);
	row.params_bytes = mfa_take(&w, row.params, sizeof row.params);
	row_text(&w, row.label, MFA_LABEL_BYTES_MAX);
	rc = row_end(&k, &w, KEY_MFA, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int mfa_store_get(const struct kv_view *view, const uint8_t user_id[16], const uint8_t mfa_id[16],
	struct mfa_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = mfa_key(user_id, mfa_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? mfa_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

static int mfa_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return mfa_row_decode(key, value, to, e);
}

int mfa_store_list(const struct kv_view *view, const uint8_t user_id[16],
	struct mfa_row ret_rows[MFA_PER_USER_MAX], size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = mfa_prefix(user_id),
		.max = MFA_PER_USER_MAX,
		.decode = mfa_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

static struct expiry_row mfa_expiry(const struct mfa_row *row)
{
	struct expiry_row expiry = {
		.expires_ms = row->expires_ms, .kind = EXPIRY_MFA, .subject_bytes = 32};

	memcpy(expiry.subject, row->user_id, 16);
	memcpy(expiry.subject + 16, row->mfa_id, 16);
	return expiry;
}

void mfa_store_put(struct txn *txn, const struct mfa_row *row)
{
	struct row_key key = mfa_key(row->user_id, row->mfa_id);
	struct buf value = BUF_INIT;

	assert(row->pending == (row->expires_ms != 0));
	mfa_row_encode(row, &value);
	row_put(txn, &key, &value);
	if (row->pending) {
		struct expiry_row expiry = mfa_expiry(row);

		expiry_store_put(txn, &expiry);
	}
}

void mfa_store_delete(struct txn *txn, const struct mfa_row *row)
{
	struct row_key key = mfa_key(row->user_id, row->mfa_id);

	row_delete(txn, &key);
	mfa_store_proven(txn, row);
}

void mfa_store_proven(struct txn *txn, const struct mfa_row *row)
{
	if (row->pending) {
		struct expiry_row expiry = mfa_expiry(row);

		expiry_store_delete(txn, &expiry);
	}
}

bool mfa_counts(const struct mfa_row *row)
{
	return !row->pending && row->method >= MFA_TOTP && row->method <= MFA_FIDO2;
}

bool mfa_accepts(const struct mfa_row *row, uint64_t number, uint64_t *ret_next)
{
	if (row->method == MFA_FIDO2 && row->next == 0 && number == 0) {
		*ret_next = 0;
		return true;
	}
	if (number < row->next || number == UINT64_MAX) {
		return false;
	}
	*ret_next = number + 1;
	return true;
}
