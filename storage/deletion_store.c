#include "storage/deletion_store.h"

#include <assert.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/member.h"
#include "storage/access_store.h"
#include "storage/guard_store.h"
#include "storage/inbox_store.h"
#include "storage/mfa_store.h"
#include "storage/object_store.h"
#include "storage/packet_store.h"
#include "storage/pending_store.h"
#include "storage/person_store.h"
#include "storage/push_store.h"
#include "storage/row.h"
#include "storage/upkeep_store.h"
#include "storage/use_store.h"

void deletion_note_encode(const struct deletion_note *note, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, note->time_ms);
}

int deletion_note_decode(enum key_family family, struct bytes key, struct bytes value,
	struct deletion_note *ret_note, struct err *e)
{
	struct wire k = row_key_wire(key, family), w = row_wire(value);
	struct deletion_note note;
	int rc;

	note.index = wire_u64(&k);
	wire_copy(&k, note.id, 16);
	note.time_ms = wire_u64(&w);
	rc = row_end(&k, &w, family, e);
	if (rc == 0) {
		*ret_note = note;
	}
	return rc;
}

static void deletion_note_put(
	struct txn *txn, enum key_family family, const struct deletion_note *note)
{
	struct row_key key = row_key_begin(family);
	struct buf value = BUF_INIT;

	row_key_put_u64(&key, note->index);
	row_key_put_id(&key, note->id);
	deletion_note_encode(note, &value);
	row_put(txn, &key, &value);
}

static void deletion_id(
	const char *label, const uint8_t of_id[16], const uint8_t id[16], uint8_t ret_id[16])
{
	uint8_t hash[HASH_BYTES];

	HASH_TH(hash, label, bytes_of(of_id, 16), bytes_of(id, 16));
	memcpy(ret_id, hash, 16);
}

void deletion_device_id(const uint8_t user_id[16], const uint8_t device_id[16], uint8_t ret_id[16])
{
	deletion_id("kluis/v1/revoked-device", user_id, device_id, ret_id);
}

void deletion_member_id(
	const uint8_t object_id[16], const uint8_t member_id[16], uint8_t ret_id[16])
{
	deletion_id("kluis/v1/removed-member", object_id, member_id, ret_id);
}

void deletion_member(struct txn *txn, const struct deletion_note *note)
{
	deletion_note_put(txn, KEY_MEMBER_LEDGER, note);
}

void deletion_device(
	struct txn *txn, const struct device_row *device, uint64_t index, uint64_t time_ms)
{
	struct deletion_note note = {.index = index, .time_ms = time_ms};
	struct device_row row = *device;

	deletion_device_id(row.user_id, row.device_id, note.id);
	deletion_note_put(txn, KEY_DEVICE_LEDGER, &note);
	row.revoked = true;
	device_store_put(txn, &row);
}

static int note_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	/* The list's prefix. */
	return deletion_note_decode((enum key_family)key.data[0], key, value, to, e);
}

int deletion_notes(const struct kv_view *view, enum key_family family,
	const struct deletion_note *after, struct deletion_note *ret_notes, size_t max,
	size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = row_key_begin(family),
		.max = max,
		.decode = note_decode,
		.stride = sizeof *ret_notes};
	uint8_t place[8 + 16];

	assert(family == KEY_LEDGER || family == KEY_USER_LEDGER || family == KEY_DEVICE_LEDGER ||
		family == KEY_MEMBER_LEDGER);
	if (after != NULL) {
		store_u64(place, after->index);
		memcpy(place + 8, after->id, 16);
		list.after = bytes_of(place, sizeof place);
	}
	return row_list(view, &list, ret_notes, ret_n, e);
}

static struct row_key user_key(enum key_family family, const uint8_t user_id[16])
{
	struct row_key key = row_key_begin(family);

	row_key_put_id(&key, user_id);
	return key;
}

static void deletion_note_person(
	struct txn *txn, const uint8_t user_id[16], uint64_t index, uint64_t time_ms)
{
	struct deletion_note note = {.index = index, .time_ms = time_ms};
	struct row_key work = user_key(KEY_USER_WORK, user_id);
	struct buf nothing = row_begin();

	memcpy(note.id, user_id, 16);
	deletion_note_put(txn, KEY_USER_LEDGER, &note);
	row_put(txn, &work, &nothing);
}

/* Nothing is left to be charged for. */
static int deletion_refund(struct txn *txn, const struct vault_row *vault, struct err *e)
{
	const struct use was = {vault->bytes, vault->page_count}, nothing = {0, 0};
	int rc = vault->counted ? use_store_move(txn, vault->founder, &was, &nothing, NULL, e) : 0;

	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

int deletion_vault(struct txn *txn, const struct vault_row *vault, uint64_t index, uint64_t time_ms,
	struct err *e)
{
	struct deletion_note note = {.index = index, .time_ms = time_ms};
	struct vault_row row = *vault;
	int rc = member_store_unlist(txn, MEMBER_OBJECT_VAULT, row.vault_id, e);

	rc = rc != 0 ? rc : deletion_refund(txn, vault, e);
	if (rc != 0) {
		return rc;
	}
	row.state = VAULT_DELETING;
	row.bytes = 0;
	row.label_bytes = 0;
	memset(row.label, 0, sizeof row.label);
	vault_store_put(txn, &row);
	work_store_put(txn, row.vault_id);
	memcpy(note.id, row.vault_id, 16);
	deletion_note_put(txn, KEY_LEDGER, &note);
	return 0;
}

/* Shares, second factors, devices that ask, a recovery, subscriptions: few, and gone at once. */
static int deletion_secrets(struct txn *txn, const uint8_t user_id[16], struct err *e)
{
	_cleanup_(x_freep) struct mfa_row *factors = x_calloc(MFA_PER_USER_MAX, sizeof *factors);
	struct pending_row pending[PENDING_DEVICES_MAX];
	struct unlock_row shares[UNLOCK_SHARES_MAX];
	size_t n_factors = 0, n_pending = 0, n_shares = 0;
	int rc = unlock_store_list(txn_view(txn), user_id, shares, &n_shares, e);

	rc = rc != 0 ? rc : mfa_store_list(txn_view(txn), user_id, factors, &n_factors, e);
	rc = rc != 0 ? rc : pending_store_list(txn_view(txn), user_id, pending, &n_pending, e);
	rc = rc != 0 ? rc : push_store_forget(txn, user_id, NULL, e);
	for (size_t i = 0; rc == 0 && i < n_shares; i++) {
		unlock_store_delete(txn, user_id, shares[i].slot_id);
	}
	for (size_t i = 0; rc == 0 && i < n_factors; i++) {
		mfa_store_delete(txn, &factors[i]);
	}
	for (size_t i = 0; rc == 0 && i < n_pending; i++) {
		pending_store_delete(txn, &pending[i]);
	}
	return rc;
}

static int deletion_guards(struct txn *txn, const uint8_t user_id[16], struct err *e)
{
	static const enum guard_kind kinds[] = {GUARD_PASSWORD, GUARD_CODE};
	struct recovery_row recovery;
	int rc = recovery_store_get(txn_view(txn), user_id, &recovery, e);

	if (rc == 0) {
		recovery_store_delete(txn, &recovery);
	}
	rc = rc == KLUIS_ENOTFOUND ? 0 : rc;
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(kinds); i++) {
		rc = guard_store_clear(txn, kinds[i], user_id, e);
	}
	return rc;
}

int deletion_person(
	struct txn *txn, const uint8_t user_id[16], uint64_t index, uint64_t time_ms, struct err *e)
{
	struct person_name_row name = {.gone = true};
	struct person_row person;
	struct user_row user;
	int rc = person_store_get(txn_view(txn), user_id, &person, e);

	if (rc == 0) {
		rc = user_store_get(txn_view(txn), user_id, &user, e);
		if (rc == KLUIS_ENOTFOUND) {
			rc = err_set(e, KLUIS_ECORRUPT, "a person has no user");
		}
	}
	rc = rc != 0 ? rc : deletion_secrets(txn, user_id, e);
	rc = rc != 0 ? rc : deletion_guards(txn, user_id, e);
	rc = rc != 0 ? rc : access_store_forget(txn, user_id, e);
	if (rc != 0) {
		return rc;
	}
	memcpy(name.name, user.name, sizeof name.name);
	person_name_store_put(txn, &name);
	memset(user.name, 0, sizeof user.name);
	user.disabled = true;
	user_store_put(txn, &user);
	person_store_delete(txn, user_id);
	use_store_delete(txn, user_id);
	deletion_note_person(txn, user_id, index, time_ms);
	return 0;
}

static int user_work_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_USER_WORK), w = row_wire(value);

	wire_copy(&k, to, 16);
	return row_end(&k, &w, KEY_USER_WORK, e);
}

int user_work_store_first(const struct kv_view *view, uint8_t ret_user_id[16], struct err *e)
{
	uint8_t id[16];
	struct row_list list = {.prefix = row_key_begin(KEY_USER_WORK),
		.max = 1,
		.decode = user_work_decode,
		.stride = 16};
	size_t n;
	int rc = row_list(view, &list, id, &n, e);

	if (rc == 0 && n == 0) {
		rc = KLUIS_ENOTFOUND;
	}
	if (rc == 0) {
		memcpy(ret_user_id, id, 16);
	}
	return rc;
}

static int deletion_leave_vault(struct txn *txn, const uint8_t user_id[16],
	const uint8_t vault_id[16], uint64_t index, uint64_t time_ms, struct err *e)
{
	struct vault_row vault;
	size_t left = 0;
	int rc = vault_store_get(txn_view(txn), vault_id, &vault, e);

	rc = rc != 0 ? rc
		     : member_store_leave(txn, MEMBER_OBJECT_VAULT, vault_id, user_id, &left, e);
	return rc == 0 && left == 0 ? deletion_vault(txn, &vault, index, time_ms, e) : rc;
}

/* Whoever writes next in a conversation makes a new epoch, without this one's devices. */
static int deletion_leave_object(struct txn *txn, unsigned kind, const uint8_t user_id[16],
	const uint8_t object_id[16], struct err *e)
{
	struct object_row object;
	size_t left = 0;
	int rc = object_store_get(txn_view(txn), object_id, &object, e);

	rc = rc != 0 ? rc : member_store_leave(txn, kind, object_id, user_id, &left, e);
	if (rc == 0 && left == 0) {
		object.state = OBJECT_GONE;
		object.label_bytes = 0;
		if (kind == MEMBER_OBJECT_CONVERSATION) {
			work_store_put(txn, object_id);
		}
	}
	if (rc == 0) {
		object.chat_stale |= kind == MEMBER_OBJECT_CONVERSATION;
		object_store_put(txn, &object);
	}
	return rc;
}

/* One vault, group or conversation of the user; *ret_n 0: none is left. */
static int deletion_leave(struct txn *txn, const uint8_t user_id[16], uint64_t index,
	uint64_t time_ms, size_t *ret_n, struct err *e)
{
	struct member_of listed;
	unsigned kind = MEMBER_OBJECT_VAULT;
	size_t n = 0;
	int rc = 0;

	for (; rc == 0 && n == 0 && kind <= MEMBER_OBJECT_CONVERSATION; kind++) {
		rc = member_store_objects(txn_view(txn), kind, user_id, NULL, &listed, 1, &n, e);
	}
	if (rc == 0 && n > 0) {
		kind--; /* Where it was found. */
		rc = kind == MEMBER_OBJECT_VAULT
			     ? deletion_leave_vault(
				       txn, user_id, listed.object_id, index, time_ms, e)
			     : deletion_leave_object(txn, kind, user_id, listed.object_id, e);
		rc = rc == KLUIS_ENOTFOUND
			     ? err_set(e, KLUIS_ECORRUPT, "a vault or group of a user is missing")
			     : rc;
	}
	if (rc == 0) {
		*ret_n = n;
	}
	return rc;
}

/* Rows whose key begins with the user's id and that nothing else speaks of. */
static int deletion_drop(struct txn *txn, enum key_family family, const uint8_t user_id[16],
	size_t max, size_t *ret_n, struct err *e)
{
	struct row_key prefix = user_key(family, user_id), end = row_key_after_prefix(&prefix);
	_cleanup_(x_freep) struct row_key *keys = x_calloc(max, sizeof *keys);
	struct kv_iter *iter =
		kv_iter_new(txn_view(txn), row_key_bytes(&prefix), row_key_bytes(&end));
	size_t n = 0;
	int rc;

	while (n < max && kv_iter_next(iter)) {
		row_key_put_tail(&keys[n++], kv_iter_key(iter));
	}
	rc = kv_iter_status(iter, e);
	kv_iter_free(iter);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		row_delete(txn, &keys[i]);
	}
	if (rc == 0) {
		*ret_n = n;
	}
	return rc;
}

int deletion_person_step(struct txn *txn, const uint8_t user_id[16], uint64_t index,
	uint64_t time_ms, size_t max, size_t *ret_n, struct err *e)
{
	static const enum key_family families[] = {
		KEY_KEYRING, KEY_KEYRING_OBJECT, KEY_DEVICE, KEY_STATEMENT, KEY_ACCESS};
	struct row_key work = user_key(KEY_USER_WORK, user_id);
	size_t n = 0;
	int rc = deletion_leave(txn, user_id, index, time_ms, &n, e);

	if (rc == 0 && n == 0) {
		rc = packet_store_purge(txn, user_id, max, &n, e);
	}
	if (rc != 0 || n > 0) {
		*ret_n = n;
		return rc;
	}
	rc = inbox_store_purge(txn, user_id, max, &n, e);
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(families) && n < max; i++) {
		size_t dropped = 0;

		rc = deletion_drop(txn, families[i], user_id, max - n, &dropped, e);
		n += dropped;
	}
	if (rc == 0 && n == 0) {
		row_delete(txn, &work);
	}
	if (rc == 0) {
		*ret_n = n;
	}
	return rc;
}
