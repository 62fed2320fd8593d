#include "storage/access_store.h"

#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "crypto/hash.h"
#include "storage/row.h"
#include "storage/upkeep_store.h"

const char *access_event_name(unsigned event)
{
	switch (event) {
#define X(symbol, value, name) \
	case symbol:           \
		return name;
		ACCESS_EVENTS(X)
#undef X
	default:
		return "?";
	}
}

static struct row_key access_prefix(enum key_family family, const uint8_t user_id[16])
{
	struct row_key key = row_key_begin(family);

	row_key_put_id(&key, user_id);
	return key;
}

static struct row_key access_key(const uint8_t user_id[16], uint64_t seq)
{
	struct row_key key = access_prefix(KEY_ACCESS, user_id);

	row_key_put_u64(&key, seq);
	return key;
}

void access_row_encode(const struct access_row *row, struct buf *to)
{
	assert(row->object_bytes <= sizeof row->object);
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->time_ms);
	buf_put_u64(to, row->index);
	buf_put_u8(to, row->event);
	buf_append(to, row->who, 16);
	buf_append(to, row->device_id, 16);
	buf_put_lp16(to, bytes_str(row->behalf));
	buf_put_lp16(to, bytes_of(row->object, row->object_bytes));
	buf_append(to, row->prev_hash, sizeof row->prev_hash);
}

int access_row_decode(
	struct bytes key, struct bytes value, struct access_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_ACCESS), w = row_wire(value);
	struct access_row row = {.seq = 0};
	struct bytes object;
	int rc;

	wire_copy(&k, row.user_id, 16);
	row.seq = wire_u64(&k);
	row.time_ms = wire_u64(&w);
	row.index = wire_u64(&w);
	row.event = wire_u8(&w);
	wire_copy(&w, row.who, 16);
	wire_copy(&w, row.device_id, 16);
	row_text(&w, row.behalf, ACCESS_BEHALF_BYTES_MAX);
	object = wire_lp16(&w, sizeof row.object);
	row.object_bytes = (uint8_t)object.len;
	if (object.len > 0) {
		memcpy(row.object, object.data, object.len);
	}
	wire_copy(&w, row.prev_hash, sizeof row.prev_hash);
	rc = row_end(&k, &w, KEY_ACCESS, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

static int access_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return access_row_decode(key, value, to, e);
}

int access_store_list(const struct kv_view *view, const uint8_t user_id[16], uint64_t after,
	struct access_row *ret_rows, size_t max, size_t *ret_n, struct err *e)
{
	uint8_t seq[8];
	struct row_list list = {.prefix = access_prefix(KEY_ACCESS, user_id),
		.after = bytes_of(seq, after == 0 ? 0 : sizeof seq),
		.max = max,
		.decode = access_list_decode,
		.stride = sizeof *ret_rows};

	store_u64(seq, after);
	return row_list(view, &list, ret_rows, ret_n, e);
}

void access_state_row_encode(const struct access_state_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->first);
	buf_put_u64(to, row->last);
	buf_put_u64(to, row->expires_ms);
	buf_put_u64(to, row->day);
	buf_put_u32(to, row->day_rows);
	buf_append(to, row->hash, sizeof row->hash);
}

int access_state_row_decode(
	struct bytes key, struct bytes value, struct access_state_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_ACCESS_STATE), w = row_wire(value);
	struct access_state_row row;
	int rc;

	(void)wire_bytes(&k, 16);
	row.first = wire_u64(&w);
	row.last = wire_u64(&w);
	row.expires_ms = wire_u64(&w);
	row.day = wire_u64(&w);
	row.day_rows = wire_u32(&w);
	wire_copy(&w, row.hash, sizeof row.hash);
	rc = row_end(&k, &w, KEY_ACCESS_STATE, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int access_store_state(const struct kv_view *view, const uint8_t user_id[16],
	struct access_state_row *ret_state, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = access_prefix(KEY_ACCESS_STATE, user_id);
	int rc = row_get(view, &key, &value, e);

	if (rc == KLUIS_ENOTFOUND) {
		*ret_state = (struct access_state_row){.first = 1};
		return 0;
	}
	return rc == 0 ? access_state_row_decode(
				 row_key_bytes(&key), buf_bytes(&value), ret_state, e)
		       : rc;
}

static void access_place(
	const uint8_t user_id[16], uint64_t expires_ms, struct expiry_row *ret_place)
{
	*ret_place = (struct expiry_row){
		.expires_ms = expires_ms, .kind = EXPIRY_ACCESS, .subject_bytes = 16};
	memcpy(ret_place->subject, user_id, 16);
}

/* The state, with the one place in the expiry queue that it speaks of. */
static void access_put_state(struct txn *txn, const uint8_t user_id[16], uint64_t old_expires_ms,
	const struct access_state_row *state)
{
	struct row_key key = access_prefix(KEY_ACCESS_STATE, user_id);
	struct buf value = BUF_INIT;
	struct expiry_row place;

	access_state_row_encode(state, &value);
	row_put(txn, &key, &value);
	if (old_expires_ms == state->expires_ms) {
		return;
	}
	if (old_expires_ms != 0) {
		access_place(user_id, old_expires_ms, &place);
		expiry_store_delete(txn, &place);
	}
	if (state->expires_ms != 0) {
		access_place(user_id, state->expires_ms, &place);
		expiry_store_put(txn, &place);
	}
}

/* What its doer, or a thief, can do as often as he likes. */
static bool access_often(unsigned event)
{
	switch (event) {
	case ACCESS_LOGIN:
	case ACCESS_LOGIN_FAILED:
	case ACCESS_LOGIN_REFUSED:
	case ACCESS_SECOND_FACTOR:
	case ACCESS_SECOND_FACTOR_FAILED:
	case ACCESS_UNLOCKED:
	case ACCESS_KEYRING_CHANGED:
	case ACCESS_VAULT_CREATED:
	case ACCESS_VAULT_DELETED:
	case ACCESS_EXPORTED:
	case ACCESS_INBOX_TOKEN_CREATED:
	case ACCESS_INBOX_TOKEN_ENDED:
	case ACCESS_MEMBERS_CHANGED:
	case ACCESS_INVITATION_ACCEPTED:
	case ACCESS_INVITATION_DECLINED:
	case ACCESS_PAGES_SHARED:
	case ACCESS_PAGES_UNSHARED:
		return true;
	default:
		return false;
	}
}

/* Whether this day has room for the row; the last of those that come often says that it has not. */
static bool access_day_has_room(struct access_state_row *state, struct access_row *row)
{
	static const uint8_t nobody[16];
	uint64_t day = row->time_ms / DAY_MS;

	if (memcmp(row->user_id, nobody, sizeof nobody) == 0) {
		return true;
	}
	if (state->day != day) {
		state->day = day;
		state->day_rows = 0;
	}
	if (state->day_rows >=
		(access_often(row->event) ? ACCESS_DAY_ROWS_OFTEN : ACCESS_DAY_ROWS)) {
		return false;
	}
	if (++state->day_rows == ACCESS_DAY_ROWS_OFTEN && access_often(row->event)) {
		row->event = ACCESS_LOG_FULL;
		row->object_bytes = 0;
	}
	return true;
}

int access_store_add(struct txn *txn, const struct access_row *row, struct err *e)
{
	struct access_row next = *row;
	struct access_state_row state;
	struct buf value = BUF_INIT;
	struct row_key key;
	uint64_t expires_ms;
	int rc = access_store_state(txn_view(txn), row->user_id, &state, e);

	if (rc != 0) {
		return rc;
	}
	if (!access_day_has_room(&state, &next)) {
		return 0;
	}
	expires_ms = state.expires_ms;
	next.seq = ++state.last;
	memcpy(next.prev_hash, state.hash, sizeof next.prev_hash);
	key = access_key(row->user_id, next.seq);
	access_row_encode(&next, &value);
	hash_sha256(buf_bytes(&value), state.hash);
	row_put(txn, &key, &value);
	if (state.last - state.first >= ACCESS_ROWS_MAX) {
		key = access_key(row->user_id, state.first++);
		row_delete(txn, &key);
	}
	if (state.expires_ms == 0) {
		state.expires_ms = row->time_ms + ACCESS_KEPT_MS;
	}
	access_put_state(txn, row->user_id, expires_ms, &state);
	return 0;
}

/* When the oldest row that is kept may go; 0: none is kept. */
static int access_due(const struct kv_view *view, const uint8_t user_id[16], uint64_t first,
	uint64_t *ret_due_ms, struct err *e)
{
	struct access_row row;
	size_t n;
	int rc = access_store_list(view, user_id, first - 1, &row, 1, &n, e);

	if (rc == 0) {
		*ret_due_ms = n == 0 ? 0 : row.time_ms + ACCESS_KEPT_MS;
	}
	return rc;
}

int access_store_expire(struct txn *txn, const uint8_t user_id[16], uint64_t now_ms,
	uint64_t hold_until_ms, struct err *e)
{
	struct access_state_row state;
	uint64_t place_ms, due_ms = hold_until_ms;
	int rc = access_store_state(txn_view(txn), user_id, &state, e);

	if (rc != 0) {
		return rc;
	}
	place_ms = state.expires_ms;
	if (hold_until_ms <= now_ms) {
		rc = access_due(txn_view(txn), user_id, state.first, &due_ms, e);
	}
	for (unsigned n = 0; rc == 0 && n < ACCESS_STEP && due_ms != 0 && due_ms <= now_ms; n++) {
		struct row_key key = access_key(user_id, state.first++);

		row_delete(txn, &key);
		rc = access_due(txn_view(txn), user_id, state.first, &due_ms, e);
	}
	if (rc == 0) {
		/* Below what was just taken out of the queue nobody looks. */
		state.expires_ms = due_ms != 0 && due_ms < now_ms ? now_ms : due_ms;
		access_put_state(txn, user_id, place_ms, &state);
	}
	return rc;
}

int access_store_forget(struct txn *txn, const uint8_t user_id[16], struct err *e)
{
	struct row_key key = access_prefix(KEY_ACCESS_STATE, user_id);
	struct access_state_row state;
	struct expiry_row place;
	int rc = access_store_state(txn_view(txn), user_id, &state, e);

	if (rc == 0 && state.expires_ms != 0) {
		access_place(user_id, state.expires_ms, &place);
		expiry_store_delete(txn, &place);
	}
	row_delete(txn, &key);
	return rc;
}
