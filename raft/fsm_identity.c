#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "crypto/identity.h"
#include "crypto/key.h"
#include "raft/fsm_apply.h"
#include "storage/chat_store.h"
#include "storage/account_store.h"
#include "storage/object_store.h"

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
		return apply_device_revoke(a, s);
	case IDENTITY_POLICY:
		*ret_event = ACCESS_POLICY_CHANGED;
		return append_policy(a, s);
	case IDENTITY_DEVICE_VOUCH:
		*ret_event = ACCESS_IDENTITY_CHANGED;
		return apply_device_vouch(a, s);
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
		(s->type == IDENTITY_DEVICE_ADD || s->type == IDENTITY_DEVICE_VOUCH ||
			s->type == IDENTITY_DEVICE_REVOKE || s->type == IDENTITY_ROTATE)) {
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
