#include "storage/upkeep_store.h"

#include <assert.h>
#include <string.h>

#include "crypto/hash.h"
#include "storage/cluster_store.h"
#include "storage/deletion_store.h"
#include "storage/row.h"
#include "storage/snapshot_store.h"

void idempotency_row_encode(const struct idempotency_row *row, struct buf *to)
{
	assert(row->reply.len <= IDEMPOTENCY_REPLY_BYTES_MAX);
	buf_put_u8(to, ROW_FORMAT);
	buf_append(to, row->body_hash, 32);
	buf_put_u64(to, row->expires_ms);
	buf_put_u8(to, row->secret);
	buf_put_lp16(to, row->reply);
}

int idempotency_row_decode(struct bytes value, struct idempotency_row *ret_row, struct err *e)
{
	struct wire w = row_wire(value);
	struct idempotency_row row;
	int rc;

	wire_copy(&w, row.body_hash, 32);
	row.expires_ms = wire_u64(&w);
	row.secret = row_bool(&w);
	row.reply = wire_lp16(&w, IDEMPOTENCY_REPLY_BYTES_MAX);
	rc = row_end(NULL, &w, KEY_IDEMPOTENCY, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

void idempotency_id(struct bytes principal, unsigned route, struct bytes key, uint8_t ret_id[32])
{
	uint8_t number[2];

	store_u16(number, route);
	HASH_TH(ret_id, "kluis/v1/idempotency", principal, bytes_of(number, 2), key);
}

static struct row_key idempotency_key(const uint8_t id[32])
{
	struct row_key key = row_key_begin(KEY_IDEMPOTENCY);

	row_key_put_hash(&key, id);
	return key;
}

int idempotency_store_get(const struct kv_view *view, const uint8_t id[32], struct buf *value,
	struct idempotency_row *ret_row, struct err *e)
{
	struct row_key key = idempotency_key(id);
	int rc;

	buf_clear(value);
	rc = row_get(view, &key, value, e);
	return rc == 0 ? idempotency_row_decode(buf_bytes(value), ret_row, e) : rc;
}

static struct expiry_row idempotency_expiry(const uint8_t id[32], uint64_t expires_ms)
{
	struct expiry_row expiry = {
		.expires_ms = expires_ms, .kind = EXPIRY_IDEMPOTENCY, .subject_bytes = 32};

	memcpy(expiry.subject, id, 32);
	return expiry;
}

void idempotency_store_put(struct txn *txn, const uint8_t id[32], const struct idempotency_row *row)
{
	struct expiry_row expiry = idempotency_expiry(id, row->expires_ms);
	struct row_key key = idempotency_key(id);
	struct buf value = BUF_INIT;

	idempotency_row_encode(row, &value);
	row_put(txn, &key, &value);
	expiry_store_put(txn, &expiry);
}

void idempotency_store_delete(struct txn *txn, const uint8_t id[32], uint64_t expires_ms)
{
	struct expiry_row expiry = idempotency_expiry(id, expires_ms);
	struct row_key key = idempotency_key(id);

	row_delete(txn, &key);
	expiry_store_delete(txn, &expiry);
}

static struct row_key expiry_key(const struct expiry_row *row)
{
	struct row_key key = row_key_begin(KEY_EXPIRY);

	assert(row->subject_bytes <= EXPIRY_SUBJECT_BYTES_MAX);
	row_key_put_u64(&key, row->expires_ms);
	row_key_put_u8(&key, row->kind);
	row_key_put_tail(&key, bytes_of(row->subject, row->subject_bytes));
	return key;
}

int expiry_row_decode(
	struct bytes key, struct bytes value, struct expiry_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_EXPIRY), w = row_wire(value);
	struct expiry_row row = {0};
	struct bytes subject;
	int rc;

	row.expires_ms = wire_u64(&k);
	row.kind = wire_u8(&k);
	subject = wire_rest(&k);
	if (row.kind < EXPIRY_SESSION || row.kind > EXPIRY_KIND_LAST || subject.len == 0 ||
		subject.len > EXPIRY_SUBJECT_BYTES_MAX) {
		wire_fail(&k);
	} else {
		memcpy(row.subject, subject.data, subject.len);
		row.subject_bytes = subject.len;
	}
	rc = row_end(&k, &w, KEY_EXPIRY, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

void expiry_store_put(struct txn *txn, const struct expiry_row *row)
{
	struct row_key key = expiry_key(row);
	struct buf value = row_begin();

	row_put(txn, &key, &value);
}

void expiry_store_delete(struct txn *txn, const struct expiry_row *row)
{
	struct row_key key = expiry_key(row);

	row_delete(txn, &key);
}

void expire_state_encode(const struct expire_state_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->last_ms);
	buf_put_u64(to, row->queue_from_ms);
	buf_put_u64(to, row->tombstones_done.index);
	buf_put_u32(to, row->tombstones_done.ordinal);
	buf_put_u64(to, row->audit_done);
}

int expire_state_decode(struct bytes value, struct expire_state_row *ret_row, struct err *e)
{
	struct wire w = row_wire(value);
	struct expire_state_row row;
	int rc;

	row.last_ms = wire_u64(&w);
	row.queue_from_ms = wire_u64(&w);
	row.tombstones_done.index = wire_u64(&w);
	row.tombstones_done.ordinal = wire_u32(&w);
	row.audit_done = wire_u64(&w);
	rc = row_end(NULL, &w, KEY_EXPIRE_STATE, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int expire_store_get(const struct kv_view *view, struct expire_state_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_EXPIRE_STATE);
	int rc = row_get(view, &key, &value, e);

	if (rc == KLUIS_ENOTFOUND) {
		*ret_row = (struct expire_state_row){0};
		return 0;
	}
	return rc == 0 ? expire_state_decode(buf_bytes(&value), ret_row, e) : rc;
}

int expiry_store_due(const struct kv_view *view, uint64_t now_ms, struct expiry_row *ret_rows,
	size_t max, size_t *ret_n, struct err *e)
{
	struct row_key first = row_key_begin(KEY_EXPIRY), end = row_key_begin(KEY_EXPIRY);
	struct expire_state_row state;
	struct kv_iter *iter;
	size_t n = 0;
	int rc = expire_store_get(view, &state, e);

	assert(now_ms < UINT64_MAX);
	if (rc != 0) {
		return rc;
	}
	/* What was taken out lies below as deleted rows, and a scan would step over each. */
	row_key_put_u64(&first, state.queue_from_ms);
	row_key_put_u64(&end, now_ms + 1);
	iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	while (rc == 0 && n < max && kv_iter_next(iter)) {
		rc = expiry_row_decode(kv_iter_key(iter), kv_iter_value(iter), &ret_rows[n++], e);
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

void expire_store_put(struct txn *txn, const struct expire_state_row *row)
{
	struct row_key key = row_key_begin(KEY_EXPIRE_STATE);
	struct buf value = BUF_INIT;

	expire_state_encode(row, &value);
	row_put(txn, &key, &value);
}

static struct row_key work_key(const uint8_t vault_id[16])
{
	struct row_key key = row_key_begin(KEY_WORK);

	row_key_put_id(&key, vault_id);
	return key;
}

void work_store_put(struct txn *txn, const uint8_t vault_id[16])
{
	struct row_key key = work_key(vault_id);
	struct buf value = row_begin();

	row_put(txn, &key, &value);
}

void work_store_delete(struct txn *txn, const uint8_t vault_id[16])
{
	struct row_key key = work_key(vault_id);

	row_delete(txn, &key);
}

static int work_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_WORK), w = row_wire(value);

	wire_copy(&k, to, 16);
	return row_end(&k, &w, KEY_WORK, e);
}

int work_store_first(const struct kv_view *view, uint8_t ret_vault_id[16], struct err *e)
{
	uint8_t id[16];
	struct row_list list = {
		.prefix = row_key_begin(KEY_WORK), .max = 1, .decode = work_decode, .stride = 16};
	size_t n;
	int rc = row_list(view, &list, id, &n, e);

	if (rc == 0 && n == 0) {
		rc = KLUIS_ENOTFOUND;
	}
	if (rc == 0) {
		memcpy(ret_vault_id, id, 16);
	}
	return rc;
}

/* Tombstones that nobody has looked at yet. */
static int upkeep_tombstones_due(const struct kv_view *view, bool *ret_due, struct err *e)
{
	struct snapshot_state_row snapshots;
	struct expire_state_row state;
	int rc = snapshot_store_state(view, &snapshots, e);

	if (rc == 0) {
		rc = expire_store_get(view, &state, e);
	}
	if (rc == 0) {
		*ret_due = snapshots.tombstones_upto > state.tombstones_done.index;
	}
	return rc;
}

/* Rows of the audit that nobody has to keep any more. */
static int upkeep_audit_due(
	const struct kv_view *view, uint64_t now_ms, bool *ret_due, struct err *e)
{
	struct expire_state_row state;
	struct cluster_row cluster;
	int rc = expire_store_get(view, &state, e);

	if (rc == 0) {
		rc = cluster_store_get(view, &cluster, e);
	}
	if (rc == KLUIS_ENOTFOUND || (rc == 0 && cluster.purge_from_ms > now_ms)) {
		*ret_due = false; /* Not begun, or on hold after a jump of the clock. */
		return 0;
	}
	return rc == 0 ? audit_store_due(view, state.audit_done + 1, now_ms, ret_due, e) : rc;
}

int upkeep_store_due(const struct kv_view *view, uint64_t now_ms, bool *ret_due, struct err *e)
{
	struct expiry_row row;
	uint8_t id[16];
	size_t n;
	int rc = work_store_first(view, id, e);

	if (rc == KLUIS_ENOTFOUND) {
		rc = user_work_store_first(view, id, e);
	}
	if (rc == 0) {
		*ret_due = true;
		return 0;
	}
	if (rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	rc = expiry_store_due(view, now_ms, &row, 1, &n, e);
	if (rc == 0 && n > 0) {
		*ret_due = true;
		return 0;
	}
	if (rc == 0) {
		rc = upkeep_audit_due(view, now_ms, ret_due, e);
	}
	return rc == 0 && !*ret_due ? upkeep_tombstones_due(view, ret_due, e) : rc;
}
