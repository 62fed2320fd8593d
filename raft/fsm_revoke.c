/* Statements 5 and 8 of an identity chain: a device is revoked, and what it signed last is vouched
 * for. */
#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "crypto/head.h"
#include "crypto/identity.h"
#include "raft/fsm_apply.h"
#include "storage/account_store.h"
#include "storage/chat_store.h"
#include "storage/deletion_store.h"
#include "storage/object_store.h"
#include "storage/vault_store.h"

/* What a revocation is held against: more than any statement can vouch for, however many others
 * invite her. */
enum {
	REVOKE_STEP = 512,	   /* Rows of a list at once. */
	REVOKE_OBJECTS_MAX = 4096, /* Of a kind, that she has accepted. */
	REVOKE_LISTED_MAX = 20480, /* ... among so many that she has accepted or is invited to. */
	REVOKE_BACK_MAX = 256,	   /* Statements of one object, from the newest back. */
	REVOKE_STATEMENTS_MAX = 65536, /* ... and of all beyond the newest of each. */
};

/* A statement that revokes, and whose device's it is. */
struct revocation {
	const struct statement *s;
	uint8_t kid[KID_BYTES]; /* Of the key that the device signs with. */
	unsigned left;		/* Statements to look at beyond the newest of each object. */
	/* Its rows, and those of the parts before it, which are here; each strictly ascending. */
	struct bytes rows[1 + IDENTITY_REVOKE_PARTS_MAX];
	struct buf parts[IDENTITY_REVOKE_PARTS_MAX];
	size_t n_rows, n_parts;
};

static void revocation_release(struct revocation *r)
{
	for (size_t i = 0; i < r->n_parts; i++) {
		buf_release(&r->parts[i]);
	}
}

/* u16 n | n x { object16, hash32 }, strictly ascending, to the end of a body. */
static bool revoke_rows(const struct apply *a, struct wire *w, struct bytes *ret_rows)
{
	enum { ROW = sizeof(struct revoke_row) };
	size_t n = wire_u16(w);
	struct bytes rows = wire_bytes(w, n * ROW);

	static_assert(ROW == 48, "rows as on the wire");
	if (!wire_end(w)) {
		return false;
	}
	for (size_t at = ROW; apply_knows_persons(a) && at < rows.len; at += ROW) {
		if (memcmp(rows.data + at - ROW, rows.data + at, ROW) >= 0) {
			return false;
		}
	}
	*ret_rows = rows;
	return true;
}

/* Body of statement 5: device_id16 | rows. */
static bool revoke_parse(const struct apply *a, const struct statement *s, struct bytes *ret_rows)
{
	struct wire w = wire_of(s->body);

	(void)wire_bytes(&w, ID_BYTES);
	return revoke_rows(a, &w, ret_rows);
}

struct revoke_part {
	unsigned number; /* From 1; 0: it is none. */
	struct bytes device_id, rows;
};

/* Body of statement 8: device_id16 | u16 part | rows. */
static bool revoke_part_parse(
	const struct apply *a, const struct statement *s, struct revoke_part *ret_part)
{
	struct wire w = wire_of(s->body);
	struct revoke_part part;

	part.device_id = wire_bytes(&w, ID_BYTES);
	part.number = wire_u16(&w);
	if (s->type != IDENTITY_DEVICE_VOUCH || !revoke_rows(a, &w, &part.rows) ||
		part.rows.len > IDENTITY_REVOKE_ROWS_MAX * sizeof(struct revoke_row) ||
		part.number > IDENTITY_REVOKE_PARTS_MAX) {
		return false;
	}
	*ret_part = part;
	return true;
}

/* Statement seq of the chain, when it is a part of the revocation of the device that s is about. */
static int revoke_part_read(struct apply *a, const struct statement *s, uint64_t seq,
	struct buf *encoded, struct revoke_part *ret_part)
{
	struct revoke_part part;
	struct statement found;
	int rc = statement_store_get(a->view, s->object_id, seq, encoded, a->e);

	rc = rc != 0 ? rc : statement_parse(CHAIN_IDENTITY, buf_bytes(encoded), &found, a->e);
	if (rc != 0) {
		return err_set(a->e, KLUIS_ECORRUPT, "a stored statement is missing or damaged");
	}
	*ret_part = (struct revoke_part){.number = 0};
	if (revoke_part_parse(a, &found, &part) &&
		memcmp(part.device_id.data, s->body.data, ID_BYTES) == 0) {
		*ret_part = part;
	}
	return 0;
}

int apply_device_vouch(struct apply *a, const struct statement *s)
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	struct revoke_part part, before = {.number = 0};
	struct device_row device;
	int rc;

	if (a->cluster.feature_level < FEATURE_LEVEL_PARTS) {
		return err_set(a->e, KLUIS_EINVAL, "unknown statement");
	}
	if (!revoke_part_parse(a, s, &part)) {
		return err_set(a->e, KLUIS_EINVAL, "malformed device statement");
	}
	rc = part.number == 1 ? 0 : revoke_part_read(a, s, s->seq - 1, &encoded, &before);
	if (rc == 0 && part.number != before.number + 1) {
		rc = err_set(a->e, KLUIS_EINVAL, "not the next part of a revocation");
	}
	rc = rc != 0 ? rc : device_store_get(a->view, s->object_id, s->body.data, &device, a->e);
	return rc == 0 && device.revoked
		       ? err_set(a->e, KLUIS_EINVAL, "the device was revoked before")
		       : rc;
}

/* Those right before it, from the last one back to the first. */
static int revoke_take_parts(struct apply *a, struct revocation *r)
{
	struct revoke_part part;
	uint64_t seq = r->s->seq;
	int rc;

	do {
		seq--;
		rc = revoke_part_read(a, r->s, seq, &r->parts[r->n_parts], &part);
		r->n_parts++; /* Also when it is none: it is released with them. */
		if (rc == 0 && part.number > 0) {
			r->rows[r->n_rows++] = part.rows;
		}
	} while (rc == 0 && part.number > 1 && r->n_parts < IDENTITY_REVOKE_PARTS_MAX);
	return rc;
}

static bool revoke_lists(const struct revocation *r, const uint8_t object_id[ID_BYTES],
	const uint8_t hash[HASH_BYTES])
{
	for (size_t i = 0; i < r->n_rows; i++) {
		const struct revoke_row *rows = (const void *)r->rows[i].data;

		if (revoke_rows_have(rows, r->rows[i].len / sizeof *rows, object_id, hash)) {
			return true;
		}
	}
	return false;
}

/* Whether it vouches for this head or change of members of the object, or says by a zero hash that
 * it does not. */
static bool revoke_answers(const struct revocation *r, const uint8_t object_id[ID_BYTES],
	const uint8_t hash[HASH_BYTES])
{
	static const uint8_t left_out[HASH_BYTES];

	return revoke_lists(r, object_id, hash) || revoke_lists(r, object_id, left_out);
}

/* Statement seq of the object, and whether the device signed it; ENOTFOUND: from before there were
 * any. */
static int revoke_read(struct apply *a, const struct revocation *r, const uint8_t object_id[16],
	uint64_t seq, bool *ret_signed, uint8_t ret_hash[HASH_BYTES])
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	struct statement s;
	int rc = member_statement_get(a->view, object_id, seq, &encoded, a->e);

	if (rc != 0) {
		return rc;
	}
	if (statement_parse(CHAIN_MEMBERS, buf_bytes(&encoded), &s, a->e) != 0) {
		return err_set(a->e, KLUIS_ECORRUPT, "a stored statement is damaged");
	}
	*ret_signed = memcmp(s.kid, r->kid, KID_BYTES) == 0;
	memcpy(ret_hash, s.hash, HASH_BYTES);
	return 0;
}

/* The newest change of members that the device signed of a vault, group or conversation, also when
 * others signed after it: they may be admins by it alone, and then what they signed rests on it. */
static int revoke_check_members(
	struct apply *a, struct revocation *r, const uint8_t object_id[16], uint64_t members_rev)
{
	char hex[HEX_LEN(16) + 1];
	uint8_t hash[HASH_BYTES];
	bool is_signed = false;
	int rc = 0;

	if (a->cluster.feature_level < FEATURE_LEVEL_CHANGED) {
		return 0;
	}
	for (uint64_t back = 0; rc == 0 && !is_signed && back < members_rev &&
				back < REVOKE_BACK_MAX && (back == 0 || r->left > 0);
		back++) {
		r->left -= back > 0;
		rc = revoke_read(a, r, object_id, members_rev - back, &is_signed, hash);
	}
	if (rc != 0 || !is_signed || revoke_answers(r, object_id, hash)) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	hex_encode(bytes_of(object_id, 16), hex);
	return err_set(a->e, KLUIS_EPRECONDITION,
		"the device changed the members of %s: vouch for it or leave it out", hex);
}

static int revoke_check_head(
	struct apply *a, const struct revocation *r, const struct vault_row *vault)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct head_row row;
	struct head head;
	int rc;

	if (revoke_answers(r, vault->vault_id, vault->head_hash)) {
		return 0;
	}
	rc = head_store_get(a->view, vault->vault_id, vault->seq, &value, &row, a->e);
	rc = rc != 0 ? rc : head_parse(row.signed_head, &head, a->e);
	if (rc != 0) {
		return err_set(a->e, KLUIS_ECORRUPT, "a vault's head is missing or malformed");
	}
	if (memcmp(head.user_id, r->s->object_id, 16) == 0 &&
		memcmp(head.device_id, r->s->body.data, 16) == 0) {
		char hex[HEX_LEN(16) + 1];

		hex_encode(bytes_of(vault->vault_id, 16), hex);
		return err_set(a->e, KLUIS_EPRECONDITION,
			"the device wrote to vault %s since: vouch for it or leave it out", hex);
	}
	return 0;
}

static int revoke_check_vault(
	struct apply *a, struct revocation *r, const struct vault_access *access)
{
	struct vault_row vault;
	int rc = vault_store_get(a->view, access->vault_id, &vault, a->e);

	if (rc != 0 || vault.state != VAULT_ACTIVE) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	rc = revoke_check_head(a, r, &vault);
	return rc != 0 || access->role == 0
		       ? rc
		       : revoke_check_members(a, r, access->vault_id, vault.members_rev);
}

static int revoke_check_object(
	struct apply *a, struct revocation *r, const struct member_of *member)
{
	struct object_row object;
	int rc;

	if (member->state != MEMBER_ACCEPTED) {
		return 0;
	}
	rc = object_store_get(a->view, member->object_id, &object, a->e);
	if (rc == KLUIS_ENOTFOUND) {
		return err_set(a->e, KLUIS_ECORRUPT, "a member of nothing");
	}
	return rc != 0 ? rc : revoke_check_members(a, r, member->object_id, object.members_rev);
}

/* A list of what she is in, as it is gone through. */
struct revoke_list {
	size_t n; /* In this step. */
	size_t listed, accepted;
	uint8_t last[16];
};

/* Up to level 5 invitations counted as what was accepted does. */
static bool revoke_goes_on(const struct apply *a, const struct revoke_list *l)
{
	size_t counted = a->cluster.feature_level < FEATURE_LEVEL_CHANGED ? l->listed : l->accepted;

	return l->n == REVOKE_STEP && counted < REVOKE_OBJECTS_MAX && l->listed < REVOKE_LISTED_MAX;
}

static const uint8_t *revoke_after(const struct revoke_list *l)
{
	return l->listed == 0 ? NULL : l->last;
}

static void revoke_take(struct revoke_list *l, const uint8_t id[16], bool accepted)
{
	memcpy(l->last, id, sizeof l->last);
	l->listed++;
	l->accepted += accepted;
}

static int revoke_check_vaults(struct apply *a, struct revocation *r)
{
	_cleanup_(x_freep) struct vault_access *vaults = x_calloc(REVOKE_STEP, sizeof *vaults);
	struct revoke_list l = {.n = 0};
	int rc;

	do {
		rc = vault_access_list(a->view, r->s->object_id, revoke_after(&l), vaults,
			REVOKE_STEP, &l.n, a->e);
		for (size_t i = 0; rc == 0 && i < l.n; i++) {
			revoke_take(&l, vaults[i].vault_id, vaults[i].role > 0);
			rc = revoke_check_vault(a, r, &vaults[i]);
		}
	} while (rc == 0 && revoke_goes_on(a, &l));
	return rc;
}

/* kind: groups or conversations. */
static int revoke_check_objects(struct apply *a, struct revocation *r, unsigned kind)
{
	_cleanup_(x_freep) struct member_of *rows = x_calloc(REVOKE_STEP, sizeof *rows);
	struct revoke_list l = {.n = 0};
	int rc;

	do {
		rc = member_store_objects(a->view, kind, r->s->object_id, revoke_after(&l), rows,
			REVOKE_STEP, &l.n, a->e);
		for (size_t i = 0; rc == 0 && i < l.n; i++) {
			revoke_take(&l, rows[i].object_id, rows[i].state == MEMBER_ACCEPTED);
			rc = revoke_check_object(a, r, &rows[i]);
		}
	} while (rc == 0 && revoke_goes_on(a, &l));
	return rc;
}

/* A head or a change of members on which its signer's revocation is silent counts nowhere, nor what
 * comes after it: such a vault, group or conversation would stand still for good. The device may
 * have signed while it was being revoked, so what the statement lists is held against what is here.
 */
static int revoke_check(struct apply *a, struct revocation *r, const struct device_row *device)
{
	int rc = revoke_take_parts(a, r);

	key_kid(KEY_ECDSA_P256, bytes_of(device->sign_key, sizeof device->sign_key), r->kid);
	rc = rc != 0 ? rc : revoke_check_vaults(a, r);
	rc = rc != 0 ? rc : revoke_check_objects(a, r, MEMBER_OBJECT_GROUP);
	return rc != 0 ? rc : revoke_check_objects(a, r, MEMBER_OBJECT_CONVERSATION);
}

int apply_device_revoke(struct apply *a, const struct statement *s)
{
	_cleanup_(revocation_release) struct revocation r = {
		.s = s, .left = REVOKE_STATEMENTS_MAX, .n_rows = 1};
	struct device_row device;
	int rc;

	if (!revoke_parse(a, s, &r.rows[0])) {
		return err_set(a->e, KLUIS_EINVAL, "malformed device statement");
	}
	rc = device_store_get(a->view, s->object_id, s->body.data, &device, a->e);
	if (rc == 0 && !device.revoked && a->cluster.feature_level >= FEATURE_LEVEL_VOUCHED) {
		rc = revoke_check(a, &r, &device);
	}
	if (rc != 0) {
		return rc;
	}
	if (!device.revoked && a->cluster.feature_level >= FEATURE_LEVEL_REVOKED) {
		deletion_device(a->txn, &device, a->index, a->now_ms);
	} else {
		device.revoked = true;
		device_store_put(a->txn, &device);
	}
	rc = push_store_forget(a->txn, s->object_id, device.device_id, a->e);
	rc = rc != 0 ? rc : chat_store_stale(a->txn, s->object_id, a->e);
	return rc != 0 ? rc : apply_end_sessions(a, s->object_id, NULL, device.device_id);
}
