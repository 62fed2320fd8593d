#include "storage/guard_store.h"

#include <assert.h>
#include <string.h>

#include "crypto/hash.h"
#include "storage/row.h"
#include "storage/upkeep_store.h"

void guard_device_id(const uint8_t user_id[16], const uint8_t device_id[16], uint8_t ret_id[16])
{
	uint8_t hash[HASH_BYTES];

	HASH_TH(hash, "kluis/v1/guard-device", bytes_of(user_id, 16), bytes_of(device_id, 16));
	memcpy(ret_id, hash, 16);
}

void guard_code_id(const uint8_t user_id[16], const uint8_t device_id[16], uint8_t ret_id[16])
{
	static const uint8_t none[16];

	if (memcmp(device_id, none, sizeof none) == 0) {
		memcpy(ret_id, user_id, 16);
	} else {
		guard_device_id(user_id, device_id, ret_id);
	}
}

static struct row_key guard_key(unsigned kind, const uint8_t id[16])
{
	struct row_key key = row_key_begin(KEY_GUARD);

	assert(kind >= GUARD_PASSWORD && kind <= GUARD_DEVICE);
	row_key_put_u8(&key, (uint8_t)kind);
	row_key_put_id(&key, id);
	return key;
}

void guard_row_encode(const struct guard_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u8(to, row->stranger);
	buf_put_u32(to, row->failures);
	buf_put_u64(to, row->last_ms);
	buf_put_u64(to, row->blocked_until_ms);
}

int guard_row_decode(struct bytes key, struct bytes value, struct guard_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_GUARD), w = row_wire(value);
	struct guard_row row;
	int rc;

	row.kind = wire_u8(&k);
	if (row.kind < GUARD_PASSWORD || row.kind > GUARD_DEVICE) {
		wire_fail(&k);
	}
	wire_copy(&k, row.id, 16);
	row.stranger = row_bool(&w);
	row.failures = wire_u32(&w);
	row.last_ms = wire_u64(&w);
	row.blocked_until_ms = wire_u64(&w);
	rc = row_end(&k, &w, KEY_GUARD, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int guard_store_get(const struct kv_view *view, unsigned kind, const uint8_t id[16],
	struct guard_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = guard_key(kind, id);
	int rc = row_get(view, &key, &value, e);

	if (rc == KLUIS_ENOTFOUND) {
		*ret_row = (struct guard_row){.kind = (uint8_t)kind};
		memcpy(ret_row->id, id, 16);
		return 0;
	}
	return rc == 0 ? guard_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

int guard_store_check(const struct kv_view *view, unsigned kind, const uint8_t id[16],
	uint64_t now_ms, uint64_t *ret_until_ms, struct err *e)
{
	struct guard_row row;
	int rc = guard_store_get(view, kind, id, &row, e);

	if (rc == 0 && ret_until_ms != NULL) {
		*ret_until_ms = row.blocked_until_ms;
	}
	if (rc == 0 && now_ms < row.blocked_until_ms) {
		rc = err_set(e, KLUIS_ERATE, "too many failures, try again later");
	}
	return rc;
}

static struct expiry_row guard_expiry(const struct guard_row *row)
{
	struct expiry_row expiry = {.expires_ms = row->last_ms + GUARD_KEPT_MS,
		.kind = EXPIRY_GUARD,
		.subject_bytes = 17};

	expiry.subject[0] = row->kind;
	memcpy(expiry.subject + 1, row->id, 16);
	return expiry;
}

static uint64_t guard_delay(uint32_t failures)
{
	uint64_t delay_ms = GUARD_DELAY_MS_MIN;

	if (failures < GUARD_FREE) {
		return 0;
	}
	for (uint32_t n = GUARD_FREE; n < failures && delay_ms < GUARD_DELAY_MS_MAX; n++) {
		delay_ms *= 2;
	}
	return delay_ms < GUARD_DELAY_MS_MAX ? delay_ms : GUARD_DELAY_MS_MAX;
}

int guard_strangers_get(const struct kv_view *view, uint64_t *ret_n, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_GUARD_STRANGERS);
	int rc = row_get(view, &key, &value, e);
	struct wire w;
	uint64_t n;

	if (rc == KLUIS_ENOTFOUND) {
		*ret_n = 0;
		return 0;
	}
	if (rc != 0) {
		return rc;
	}
	w = row_wire(buf_bytes(&value));
	n = wire_u64(&w);
	rc = row_end(NULL, &w, KEY_GUARD_STRANGERS, e);
	if (rc == 0) {
		*ret_n = n;
	}
	return rc;
}

static void guard_put_strangers(struct txn *txn, uint64_t n)
{
	struct row_key key = row_key_begin(KEY_GUARD_STRANGERS);
	struct buf value;

	if (n == 0) {
		row_delete(txn, &key);
		return;
	}
	value = row_begin();
	buf_put_u64(&value, n);
	row_put(txn, &key, &value);
}

static void guard_put(struct txn *txn, const struct guard_row *row)
{
	struct row_key key = guard_key(row->kind, row->id);
	struct expiry_row expiry = guard_expiry(row);
	struct buf value = BUF_INIT;

	guard_row_encode(row, &value);
	row_put(txn, &key, &value);
	expiry_store_put(txn, &expiry);
}

static void guard_drop(struct txn *txn, const struct guard_row *row)
{
	struct row_key key = guard_key(row->kind, row->id);
	struct expiry_row expiry = guard_expiry(row);

	expiry_store_delete(txn, &expiry);
	row_delete(txn, &key);
}

/* The first stranger among at most *left rows from `first` on. */
static int guard_find_stranger(const struct kv_view *view, struct bytes first, unsigned *left,
	struct guard_row *ret_row, bool *ret_found, struct err *e)
{
	struct row_key family = row_key_begin(KEY_GUARD), end = row_key_after_prefix(&family);
	struct kv_iter *iter = kv_iter_new(view, first, row_key_bytes(&end));
	int rc = 0;

	*ret_found = false;
	while (rc == 0 && !*ret_found && *left > 0 && kv_iter_next(iter)) {
		--*left;
		rc = guard_row_decode(kv_iter_key(iter), kv_iter_value(iter), ret_row, e);
		*ret_found = rc == 0 && ret_row->stranger;
	}
	rc = rc != 0 ? rc : kv_iter_status(iter, e);
	kv_iter_free(iter);
	return rc;
}

/* One stranger's row less. Their ids are HMACs under a key of the cluster's: the next one in the
 * order of ids is as good as drawn by lot, and nobody can choose whose it is. */
static int guard_make_room(
	struct txn *txn, const struct row_key *newcomer, bool *ret_made, struct err *e)
{
	struct row_key family = row_key_begin(KEY_GUARD);
	unsigned left = GUARD_SEARCH_ROWS_MAX;
	struct guard_row row;
	int rc = guard_find_stranger(
		txn_view(txn), row_key_bytes(newcomer), &left, &row, ret_made, e);

	if (rc == 0 && !*ret_made) {
		rc = guard_find_stranger(
			txn_view(txn), row_key_bytes(&family), &left, &row, ret_made, e);
	}
	if (rc == 0 && *ret_made) {
		guard_drop(txn, &row);
	}
	return rc;
}

/* One more row of nobody's: another one makes room when there are as many as may be. *ret_full:
 * none was found that could. */
static int guard_count_stranger(
	struct txn *txn, const struct row_key *newcomer, bool *ret_full, struct err *e)
{
	bool made = false;
	uint64_t n;
	int rc = guard_strangers_get(txn_view(txn), &n, e);

	if (rc != 0) {
		return rc;
	}
	if (n >= GUARD_STRANGERS_MAX) {
		rc = guard_make_room(txn, newcomer, &made, e);
		*ret_full = !made;
		return rc;
	}
	guard_put_strangers(txn, n + 1);
	return 0;
}

int guard_store_fail(struct txn *txn, unsigned kind, const uint8_t id[16], bool stranger,
	uint64_t now_ms, struct guard_row *ret_row, struct err *e)
{
	struct row_key key = guard_key(kind, id);
	struct guard_row row;
	bool full = false;
	int rc = guard_store_get(txn_view(txn), kind, id, &row, e);

	if (rc == 0 && row.failures > 0) {
		struct expiry_row expiry = guard_expiry(&row);

		expiry_store_delete(txn, &expiry);
	} else if (rc == 0) {
		row.stranger = stranger;
		rc = stranger ? guard_count_stranger(txn, &key, &full, e) : 0;
	}
	if (rc != 0) {
		return rc;
	}
	row.failures += row.failures < UINT32_MAX;
	row.last_ms = now_ms;
	row.blocked_until_ms =
		guard_delay(row.failures) == 0 ? 0 : now_ms + guard_delay(row.failures);
	if (!full) {
		guard_put(txn, &row);
	}
	*ret_row = row;
	return 0;
}

int guard_store_clear(struct txn *txn, unsigned kind, const uint8_t id[16], struct err *e)
{
	struct guard_row row;
	uint64_t n = 0;
	int rc = guard_store_get(txn_view(txn), kind, id, &row, e);

	if (rc != 0 || row.failures == 0) {
		return rc;
	}
	if (row.stranger) {
		rc = guard_strangers_get(txn_view(txn), &n, e);
		if (rc == 0 && n == 0) {
			rc = err_set(e, KLUIS_ECORRUPT, "strangers are counted wrong");
		}
		if (rc != 0) {
			return rc;
		}
		guard_put_strangers(txn, n - 1);
	}
	guard_drop(txn, &row);
	return 0;
}

static struct row_key recovery_key(const uint8_t user_id[16])
{
	struct row_key key = row_key_begin(KEY_RECOVERY);

	row_key_put_id(&key, user_id);
	return key;
}

void recovery_row_encode(const struct recovery_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->started_ms);
	buf_put_u64(to, row->open_from_ms);
	buf_put_u64(to, row->expires_ms);
	buf_append(to, row->session_id, 16);
}

int recovery_row_decode(
	struct bytes key, struct bytes value, struct recovery_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_RECOVERY), w = row_wire(value);
	struct recovery_row row;
	int rc;

	wire_copy(&k, row.user_id, 16);
	row.started_ms = wire_u64(&w);
	row.open_from_ms = wire_u64(&w);
	row.expires_ms = wire_u64(&w);
	wire_copy(&w, row.session_id, 16);
	rc = row_end(&k, &w, KEY_RECOVERY, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int recovery_store_get(const struct kv_view *view, const uint8_t user_id[16],
	struct recovery_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = recovery_key(user_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? recovery_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e)
		       : rc;
}

static struct expiry_row recovery_expiry(const struct recovery_row *row)
{
	struct expiry_row expiry = {
		.expires_ms = row->expires_ms, .kind = EXPIRY_RECOVERY, .subject_bytes = 16};

	memcpy(expiry.subject, row->user_id, 16);
	return expiry;
}

void recovery_store_put(struct txn *txn, const struct recovery_row *row)
{
	struct row_key key = recovery_key(row->user_id);
	struct expiry_row expiry = recovery_expiry(row);
	struct buf value = BUF_INIT;

	recovery_row_encode(row, &value);
	row_put(txn, &key, &value);
	expiry_store_put(txn, &expiry);
}

void recovery_store_delete(struct txn *txn, const struct recovery_row *row)
{
	struct row_key key = recovery_key(row->user_id);
	struct expiry_row expiry = recovery_expiry(row);

	row_delete(txn, &key);
	expiry_store_delete(txn, &expiry);
}
