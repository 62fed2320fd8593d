#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "crypto/head.h"
#include "crypto/identity.h"
#include "crypto/key.h"
#include "raft/fsm_apply.h"
#include "storage/chat_store.h"
#include "storage/account_store.h"
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

/* Body of statement 1: lp16 name | lp16 signing key | u16 kem | lp16 transfer key. */
static bool genesis_name_is(const struct statement *s, const char *name)
{
	struct wire w = wire_of(s->body);
	struct bytes found = wire_lp16(&w, IDENTITY_NAME_BYTES_MAX);

	(void)wire_lp16(&w, UINT16_MAX);
	(void)wire_u16(&w);
	(void)wire_lp16(&w, UINT16_MAX);
	return wire_end(&w) && bytes_equal(found, bytes_str(name));
}

/* Body of statement 4: device_id16 | lp16 signing key | lp16 HPKE key | lp16 name. */
bool apply_statement_device(
	const struct apply *a, const struct statement *s, struct device_row *ret_row)
{
	static const uint8_t none[16];
	struct device_row row = {0};
	struct wire w = wire_of(s->body);
	struct bytes sign, hpke, name;

	wire_copy(&w, row.device_id, 16);
	sign = wire_lp16(&w, sizeof row.sign_key);
	hpke = wire_lp16(&w, sizeof row.hpke_key);
	name = wire_lp16(&w, DEVICE_NAME_BYTES_MAX);
	/* The zero id is that of no device: a session's that has none. */
	if (!wire_end(&w) || s->type != IDENTITY_DEVICE_ADD || sign.len != sizeof row.sign_key ||
		hpke.len == 0 || !utf8_valid(name) ||
		(apply_knows_persons(a) &&
			(memcmp(row.device_id, none, sizeof none) == 0 || !text_printable(name)))) {
		return false;
	}
	memcpy(row.user_id, s->object_id, 16);
	memcpy(row.sign_key, sign.data, sign.len);
	memcpy(row.hpke_key, hpke.data, hpke.len);
	row.hpke_key_bytes = (uint8_t)hpke.len;
	if (name.len > 0) {
		memcpy(row.name, name.data, name.len);
	}
	*ret_row = row;
	return true;
}

int apply_birth_parse(struct apply *a, const char *name, struct bytes identity, struct bytes device,
	struct identity_birth *ret_birth)
{
	static const uint8_t zero[32];
	struct identity_birth b;
	int rc = statement_parse(CHAIN_IDENTITY, identity, &b.genesis, a->e);

	if (rc == 0) {
		rc = statement_parse(CHAIN_IDENTITY, device, &b.add, a->e);
	}
	if (rc != 0) {
		return apply_refusal(rc);
	}
	if (b.genesis.type != IDENTITY_GENESIS || b.genesis.seq != 1 ||
		b.genesis.sig != KEY_RSA_PSS || b.add.sig != KEY_RSA_PSS ||
		memcmp(b.genesis.prev_hash, zero, 32) != 0 || b.add.seq != 2 ||
		memcmp(b.add.prev_hash, b.genesis.hash, 32) != 0 ||
		memcmp(b.add.object_id, b.genesis.object_id, 16) != 0 ||
		!genesis_name_is(&b.genesis, name) ||
		!apply_statement_device(a, &b.add, &b.device)) {
		return err_set(a->e, KLUIS_EINVAL, "no identity and device of this account");
	}
	*ret_birth = b;
	return 0;
}

int apply_birth_is(struct apply *a, const uint8_t user_id[16], const struct identity_birth *birth,
	bool *ret_same)
{
	_cleanup_(buf_release) struct buf stored = BUF_INIT;
	struct user_row user;
	struct statement second;
	int rc = user_store_get(a->view, user_id, &user, a->e);

	if (rc == 0) {
		rc = statement_store_get(a->view, user_id, 2, &stored, a->e);
	}
	if (rc == 0) {
		rc = statement_parse(CHAIN_IDENTITY, buf_bytes(&stored), &second, a->e);
	}
	if (rc != 0) {
		return err_set(a->e, KLUIS_ECORRUPT, "an account has no identity");
	}
	*ret_same = memcmp(user.genesis_hash, birth->genesis.hash, 32) == 0 &&
		    memcmp(second.hash, birth->add.hash, 32) == 0;
	return 0;
}

int apply_birth_write(struct apply *a, const char *name, struct identity_birth *birth,
	struct bytes identity, struct bytes device)
{
	struct user_row user = {.created_ms = a->now_ms, .chain_seq = 2};
	struct object_row object;
	int rc = user_store_get(a->view, birth->genesis.object_id, &user, a->e);

	/* A group's id neither: members are named by id alone. */
	if (rc == KLUIS_ENOTFOUND) {
		rc = object_store_get(a->view, birth->genesis.object_id, &object, a->e);
	}
	if (rc == 0) {
		return err_set(a->e, KLUIS_EEXIST, "the user id is taken");
	}
	if (rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	memcpy(user.user_id, birth->genesis.object_id, 16);
	memcpy(user.name, name, strlen(name) + 1);
	memcpy(user.genesis_hash, birth->genesis.hash, 32);
	memcpy(user.chain_hash, birth->add.hash, 32);
	user_store_put(a->txn, &user);
	statement_store_put(a->txn, user.user_id, 1, identity);
	statement_store_put(a->txn, user.user_id, 2, device);
	birth->device.added_ms = a->now_ms;
	device_store_put(a->txn, &birth->device);
	return 0;
}

int apply_own_statement(struct apply *a, const struct session_row *session, struct bytes encoded,
	struct statement *ret_s)
{
	struct statement s;
	int rc = statement_parse(CHAIN_IDENTITY, encoded, &s, a->e);

	if (rc != 0) {
		return apply_refusal(rc);
	}
	if (memcmp(s.object_id, session->user_id, 16) != 0 || s.sig != KEY_RSA_PSS) {
		return err_set(a->e, KLUIS_EFORBIDDEN, "a statement of another user");
	}
	*ret_s = s;
	return 0;
}

/* Body of statement 5: device_id16 | u16 n | n x { object16, hash32 }, strictly ascending. */
static bool revoke_body_valid(const struct apply *a, struct bytes body)
{
	struct wire w = wire_of(body);
	struct bytes last = {0};
	unsigned n;

	(void)wire_bytes(&w, 16);
	n = wire_u16(&w);
	for (unsigned i = 0; wire_ok(&w) && i < n; i++) {
		struct bytes row = wire_bytes(&w, 48);

		if (wire_ok(&w) && i > 0 && apply_knows_persons(a) &&
			memcmp(last.data, row.data, 48) >= 0) {
			wire_fail(&w);
		}
		last = row;
	}
	return wire_end(&w);
}

/* What asked to be enrolled is approved: by its own keys alone. */
static int append_approve(struct apply *a, const struct device_row *device)
{
	struct pending_row pending;
	int rc = pending_store_get(a->view, device->user_id, device->device_id, &pending, a->e);

	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	if (a->now_ms >= pending.expires_ms) {
		pending_store_delete(a->txn, &pending); /* As if it were gone already. */
		return 0;
	}
	if (memcmp(pending.device.sign_key, device->sign_key, sizeof device->sign_key) != 0 ||
		!bytes_equal(bytes_of(pending.device.hpke_key, pending.device.hpke_key_bytes),
			bytes_of(device->hpke_key, device->hpke_key_bytes))) {
		return err_set(a->e, KLUIS_EINVAL, "the device that asked has other keys");
	}
	pending_store_delete(a->txn, &pending);
	return 0;
}

/* With the first device after a recovery the way back is gone: that device speaks from now on. */
static int append_end_recovery(struct apply *a, const uint8_t user_id[16])
{
	struct person_row person;
	int rc = person_store_get(a->view, user_id, &person, a->e);

	if (rc != 0 || person.recovered_until_ms == 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	person.recovered_until_ms = 0;
	person_store_put(a->txn, &person);
	return 0;
}

static int append_device(struct apply *a, const struct statement *s)
{
	struct device_row device, old;
	int rc;

	if (!apply_statement_device(a, s, &device)) {
		return err_set(a->e, KLUIS_EINVAL, "malformed device statement");
	}
	device.added_ms = a->now_ms;
	rc = device_store_get(a->view, s->object_id, device.device_id, &old, a->e);
	if (rc == 0) {
		return err_set(a->e, KLUIS_EEXIST, "a device id is never used twice");
	}
	rc = rc == KLUIS_ENOTFOUND ? append_approve(a, &device) : rc;
	rc = rc != 0 ? rc : append_end_recovery(a, s->object_id);
	rc = rc != 0 ? rc : chat_store_stale(a->txn, s->object_id, a->e);
	if (rc == 0) {
		device_store_put(a->txn, &device);
	}
	return rc;
}

/* Whether the statement vouches for this head or change of members of the object, or says by a zero
 * hash that it does not. */
static bool revoke_answers(
	struct bytes body, const uint8_t object_id[16], const uint8_t object_hash[32])
{
	static const uint8_t left_out[32];
	struct wire w = wire_of(body);
	unsigned n;

	(void)wire_bytes(&w, 16);
	n = wire_u16(&w);
	for (unsigned i = 0; i < n; i++) {
		struct bytes id = wire_bytes(&w, 16), hash = wire_bytes(&w, 32);

		if (wire_ok(&w) && memcmp(id.data, object_id, 16) == 0 &&
			(memcmp(hash.data, object_hash, 32) == 0 ||
				memcmp(hash.data, left_out, 32) == 0)) {
			return true;
		}
	}
	return false;
}

/* The statement of a revocation, and whose it is. */
struct revocation {
	const struct statement *s;
	uint8_t kid[KID_BYTES]; /* Of the key that the device signs with. */
	unsigned left;		/* Statements to look at beyond the newest of each object. */
};

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
	if (rc != 0 || !is_signed || revoke_answers(r->s->body, object_id, hash)) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	hex_encode(bytes_of(object_id, 16), hex);
	return err_set(a->e, KLUIS_EPRECONDITION,
		"the device changed the members of %s: vouch for it or leave it out", hex);
}

static int revoke_check_head(
	struct apply *a, const struct statement *s, const struct vault_row *vault)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct head_row row;
	struct head head;
	int rc;

	if (revoke_answers(s->body, vault->vault_id, vault->head_hash)) {
		return 0;
	}
	rc = head_store_get(a->view, vault->vault_id, vault->seq, &value, &row, a->e);
	rc = rc != 0 ? rc : head_parse(row.signed_head, &head, a->e);
	if (rc != 0) {
		return err_set(a->e, KLUIS_ECORRUPT, "a vault's head is missing or malformed");
	}
	if (memcmp(head.user_id, s->object_id, 16) == 0 &&
		memcmp(head.device_id, s->body.data, 16) == 0) {
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
	rc = revoke_check_head(a, r->s, &vault);
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
static int revoke_check(struct apply *a, const struct statement *s, const struct device_row *device)
{
	struct revocation r = {.s = s, .left = REVOKE_STATEMENTS_MAX};
	int rc;

	key_kid(KEY_ECDSA_P256, bytes_of(device->sign_key, sizeof device->sign_key), r.kid);
	rc = revoke_check_vaults(a, &r);
	rc = rc != 0 ? rc : revoke_check_objects(a, &r, MEMBER_OBJECT_GROUP);
	return rc != 0 ? rc : revoke_check_objects(a, &r, MEMBER_OBJECT_CONVERSATION);
}

static int append_revoke(struct apply *a, const struct statement *s)
{
	struct device_row device;
	int rc;

	if (!revoke_body_valid(a, s->body)) {
		return err_set(a->e, KLUIS_EINVAL, "malformed device statement");
	}
	rc = device_store_get(a->view, s->object_id, s->body.data, &device, a->e);
	if (rc == 0 && !device.revoked && a->cluster.feature_level >= FEATURE_LEVEL_VOUCHED) {
		rc = revoke_check(a, s, &device);
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

/* A person's policy is enforced here; a service account has none to enforce. */
static int append_policy(struct apply *a, const struct statement *s)
{
	static const uint8_t none[16];
	struct wire w = wire_of(s->body);
	uint32_t flags = wire_u32(&w);
	struct person_row person;
	int rc;

	if (!apply_knows_persons(a)) {
		return 0;
	}
	if (!wire_end(&w) ||
		(flags & ~(uint32_t)(IDENTITY_POLICY_NO_WEB | IDENTITY_POLICY_DEVICE_SIG)) != 0) {
		return err_set(a->e, KLUIS_EINVAL, "malformed policy statement");
	}
	rc = person_store_get(a->view, s->object_id, &person, a->e);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	person.policy = flags;
	person_store_put(a->txn, &person);
	return flags == 0 ? 0 : apply_end_sessions(a, s->object_id, NULL, none);
}

/* The next statement of a user's chain: what it changes beyond the chain itself. */
static int append_effect(struct apply *a, const struct statement *s, enum access_event *ret_event)
{
	switch (s->type) {
	case IDENTITY_DEVICE_ADD:
		*ret_event = ACCESS_DEVICE_ADDED;
		return append_device(a, s);
	case IDENTITY_DEVICE_REVOKE:
		*ret_event = ACCESS_DEVICE_REVOKED;
		return append_revoke(a, s);
	case IDENTITY_POLICY:
		*ret_event = ACCESS_POLICY_CHANGED;
		return append_policy(a, s);
	case IDENTITY_TRANSFER_ADD:
	case IDENTITY_TRANSFER_REVOKE:
	case IDENTITY_ROTATE:
		*ret_event = ACCESS_IDENTITY_CHANGED;
		return 0;
	default:
		return err_set(a->e, KLUIS_EINVAL, "unknown statement");
	}
}

static int append_run(struct apply *a, const struct command_identity_append *c,
	const struct session_row *session, const struct statement *s, struct user_row *user)
{
	enum access_event event = ACCESS_IDENTITY_CHANGED;
	int rc;

	if (s->seq > STATEMENTS_PER_USER_MAX) {
		return err_set(a->e, KLUIS_EQUOTA, "too many identity statements");
	}
	rc = append_effect(a, s, &event);
	if (rc != 0) {
		return rc;
	}
	user->chain_seq = s->seq;
	memcpy(user->chain_hash, s->hash, 32);
	user_store_put(a->txn, user);
	statement_store_put(a->txn, user->user_id, s->seq, c->statement);
	rc = apply_access(a, session, event, bytes_of(s->hash, 32));
	return rc != 0 ? rc
		       : apply_audit_user(
				 a, COMMAND_IDENTITY_APPEND, user->user_id, bytes_of(s->hash, 32));
}

int apply_has_device(struct apply *a, const uint8_t user_id[16], bool *ret_any)
{
	struct device_row row;
	const uint8_t *after = NULL;
	uint8_t last[16];
	size_t n = 1;
	int rc = 0;

	*ret_any = false;
	while (rc == 0 && n == 1 && !*ret_any) {
		rc = device_store_list(a->view, user_id, after, &row, 1, &n, a->e);
		if (rc == 0 && n == 1) {
			*ret_any = !row.revoked;
			memcpy(last, row.device_id, 16);
			after = last;
		}
	}
	return rc;
}

/* Who may change the chain: an enrolled device; without one, who has none left that could approve,
 * and who has just recovered: to add a device, to revoke those that are lost, to change the key. */
static int append_may(struct apply *a, const struct session_row *session, const struct statement *s)
{
	struct person_row person;
	bool any = true;
	int rc;

	/* Who finds a device unlocked must not be able to take over the whole account by it. */
	if (s->type == IDENTITY_ROTATE && a->now_ms - session->created_ms > FRESH_LOGIN_MS) {
		return err_set(a->e, KLUIS_EFORBIDDEN, "the login is too long ago");
	}
	if (session_has_device(session)) {
		return 0;
	}
	rc = person_store_get(a->view, session->user_id, &person, a->e);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND
			       ? err_set(a->e, KLUIS_EFORBIDDEN, "not a person's account")
			       : rc;
	}
	if (a->now_ms < person.recovered_until_ms &&
		(s->type == IDENTITY_DEVICE_ADD || s->type == IDENTITY_DEVICE_REVOKE ||
			s->type == IDENTITY_ROTATE)) {
		return 0;
	}
	if (s->type == IDENTITY_DEVICE_ADD) {
		rc = apply_has_device(a, session->user_id, &any);
	}
	return rc == 0 && any ? err_set(a->e, KLUIS_EFORBIDDEN,
					"only an enrolled device may change the identity")
			      : rc;
}

int apply_identity_append(struct apply *a, const struct command_identity_append *c)
{
	struct session_row session;
	struct statement s = {.seq = 0};
	struct user_row user;
	int rc = apply_session(a, &c->session, &session);

	if (rc == 0) {
		rc = apply_own_statement(a, &session, c->statement, &s);
	}
	if (rc != 0) {
		return rc;
	}
	rc = user_store_get(a->view, session.user_id, &user, a->e);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND
			       ? err_set(a->e, KLUIS_ECORRUPT, "a session has no user")
			       : rc;
	}
	a->reply.number = s.seq;
	memcpy(a->reply.hash, s.hash, 32);
	if (s.seq == user.chain_seq && memcmp(s.hash, user.chain_hash, 32) == 0) {
		return 0; /* The same statement again. */
	}
	if (s.seq != user.chain_seq + 1 || memcmp(s.prev_hash, user.chain_hash, 32) != 0) {
		return err_set(a->e, KLUIS_EPRECONDITION, "the identity chain moved");
	}
	rc = append_may(a, &session, &s);
	return rc == 0 ? append_run(a, c, &session, &s, &user) : rc;
}
