#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "crypto/identity.h"
#include "crypto/key.h"
#include "crypto/secret.h"
#include "raft/fsm_apply.h"
#include "storage/account_store.h"
#include "storage/upkeep_store.h"

static void account_name(struct bytes name, char to[ACCOUNT_NAME_BYTES_MAX + 1])
{
	assert(name.len <= ACCOUNT_NAME_BYTES_MAX);
	memcpy(to, name.data, name.len);
	to[name.len] = 0;
}

static struct expiry_row enrol_expiry(const struct account_row *row)
{
	struct expiry_row expiry = {.expires_ms = row->enrol_expires_ms,
		.kind = EXPIRY_ENROL,
		.subject_bytes = strlen(row->name)};

	memcpy(expiry.subject, row->name, expiry.subject_bytes);
	return expiry;
}

/* A pending account and its place in the expiry queue; the place of an earlier token goes. */
static void service_put_pending(
	struct apply *a, struct account_row *row, const uint8_t enrol_hash[32])
{
	struct expiry_row expiry;

	if (row->enrol_expires_ms != 0) {
		expiry = enrol_expiry(row);
		expiry_store_delete(a->txn, &expiry);
	}
	row->state = ACCOUNT_PENDING;
	row->enrol_expires_ms = a->now_ms + ENROL_TOKEN_MS;
	memcpy(row->enrol_hash, enrol_hash, 32);
	account_store_put(a->txn, row);
	expiry = enrol_expiry(row);
	expiry_store_put(a->txn, &expiry);
}

static int service_create_run(struct apply *a, const struct command_service_create *c)
{
	struct account_row row = {.created_ms = a->now_ms};
	int rc;

	account_name(c->name, row.name);
	rc = account_store_get(a->view, row.name, &row, a->e);
	if (rc == 0 && row.state != ACCOUNT_PENDING) {
		return err_set(a->e, KLUIS_EEXIST, "the account exists");
	}
	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	service_put_pending(a, &row, c->enrol_hash);
	a->reply.number = row.enrol_expires_ms;
	return apply_audit(a, COMMAND_SERVICE_CREATE, c->actor, c->name);
}

int apply_service_create(struct apply *a, const struct command_service_create *c)
{
	int rc = apply_once_begin(a, c->actor, COMMAND_SERVICE_CREATE, &c->once);

	if (rc != 0 || a->replayed) {
		return rc;
	}
	rc = apply_writable(a);
	if (rc == 0) {
		rc = service_create_run(a, c);
	}
	if (rc == 0) {
		apply_once_end(a, c->actor, COMMAND_SERVICE_CREATE, &c->once, true);
	}
	return rc;
}

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
static bool device_of(const struct statement *s, struct device_row *ret_row)
{
	struct device_row row = {0};
	struct wire w = wire_of(s->body);
	struct bytes sign, hpke, name;

	wire_copy(&w, row.device_id, 16);
	sign = wire_lp16(&w, sizeof row.sign_key);
	hpke = wire_lp16(&w, sizeof row.hpke_key);
	name = wire_lp16(&w, DEVICE_NAME_BYTES_MAX);
	if (!wire_end(&w) || s->type != IDENTITY_DEVICE_ADD || sign.len != sizeof row.sign_key ||
		hpke.len == 0 || !utf8_valid(name)) {
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

struct enrolment {
	struct account_row account;
	struct statement genesis, add;
	struct device_row device;
};

static int enrol_parse(struct apply *a, const struct command_service_enrol *c, struct enrolment *m)
{
	static const uint8_t zero[32];
	int rc = statement_parse(CHAIN_IDENTITY, c->identity, &m->genesis, a->e);

	if (rc == 0) {
		rc = statement_parse(CHAIN_IDENTITY, c->device, &m->add, a->e);
	}
	if (rc != 0) {
		return apply_refusal(rc);
	}
	if (m->genesis.type != IDENTITY_GENESIS || m->genesis.seq != 1 ||
		m->genesis.sig != KEY_RSA_PSS || m->add.sig != KEY_RSA_PSS ||
		memcmp(m->genesis.prev_hash, zero, 32) != 0 || m->add.seq != 2 ||
		memcmp(m->add.prev_hash, m->genesis.hash, 32) != 0 ||
		memcmp(m->add.object_id, m->genesis.object_id, 16) != 0 ||
		!genesis_name_is(&m->genesis, m->account.name) || !device_of(&m->add, &m->device)) {
		return err_set(a->e, KLUIS_EINVAL, "no identity and device of this account");
	}
	return 0;
}

/* The account by name and token: whatever is wrong, the answer is the same. */
static int enrol_account(
	struct apply *a, const struct command_service_enrol *c, struct account_row *row)
{
	char name[ACCOUNT_NAME_BYTES_MAX + 1];
	int rc;

	account_name(c->name, name);
	rc = account_store_get(a->view, name, row, a->e);
	if (rc == 0 &&
		(row->state == ACCOUNT_DISABLED || !secret_equal(bytes_of(row->enrol_hash, 32),
							   bytes_of(c->enrol_hash, 32)))) {
		rc = KLUIS_ENOTFOUND;
	}
	if (rc == 0 && row->state == ACCOUNT_PENDING && a->now_ms >= row->enrol_expires_ms) {
		rc = KLUIS_ENOTFOUND;
	}
	return rc == KLUIS_ENOTFOUND
		       ? err_set(a->e, KLUIS_EUNAUTHENTICATED, "account or token is wrong")
		       : rc;
}

/* The token was used: by the very same statements it may come again. */
static int enrol_again(struct apply *a, const struct enrolment *m)
{
	_cleanup_(buf_release) struct buf stored = BUF_INIT;
	struct user_row user;
	struct statement second;
	int rc = user_store_get(a->view, m->account.user_id, &user, a->e);

	if (rc == 0) {
		rc = statement_store_get(a->view, m->account.user_id, 2, &stored, a->e);
	}
	if (rc == 0) {
		rc = statement_parse(CHAIN_IDENTITY, buf_bytes(&stored), &second, a->e);
	}
	if (rc != 0) {
		return err_set(a->e, KLUIS_ECORRUPT, "an enrolled account has no identity");
	}
	if (memcmp(user.genesis_hash, m->genesis.hash, 32) != 0 ||
		memcmp(second.hash, m->add.hash, 32) != 0) {
		return err_set(a->e, KLUIS_EUNAUTHENTICATED, "account or token is wrong");
	}
	return 0;
}

static void enrol_write_account(struct apply *a, struct enrolment *m)
{
	struct expiry_row expiry = enrol_expiry(&m->account);

	expiry_store_delete(a->txn, &expiry);
	m->account.state = ACCOUNT_ACTIVE;
	m->account.enrol_expires_ms = 0;
	memcpy(m->account.user_id, m->genesis.object_id, 16);
	account_store_put(a->txn, &m->account);
}

static int enrol_write(struct apply *a, const struct command_service_enrol *c, struct enrolment *m)
{
	struct user_row user = {.created_ms = a->now_ms, .chain_seq = 2};
	int rc = user_store_get(a->view, m->genesis.object_id, &user, a->e);

	if (rc == 0) {
		return err_set(a->e, KLUIS_EEXIST, "the user id is taken");
	}
	if (rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	enrol_write_account(a, m);
	memcpy(user.user_id, m->genesis.object_id, 16);
	memcpy(user.name, m->account.name, sizeof user.name);
	memcpy(user.genesis_hash, m->genesis.hash, 32);
	memcpy(user.chain_hash, m->add.hash, 32);
	user_store_put(a->txn, &user);
	statement_store_put(a->txn, user.user_id, 1, c->identity);
	statement_store_put(a->txn, user.user_id, 2, c->device);
	m->device.added_ms = a->now_ms;
	device_store_put(a->txn, &m->device);
	return apply_audit(
		a, COMMAND_SERVICE_ENROL, bytes_of(user.user_id, 16), bytes_str(user.name));
}

int apply_service_enrol(struct apply *a, const struct command_service_enrol *c)
{
	struct enrolment m;
	int rc = enrol_account(a, c, &m.account);

	if (rc == 0) {
		rc = enrol_parse(a, c, &m);
	}
	if (rc != 0) {
		return rc;
	}
	memcpy(a->reply.id, m.genesis.object_id, 16);
	memcpy(a->reply.second_id, m.device.device_id, 16);
	if (m.account.state == ACCOUNT_ACTIVE) {
		return enrol_again(a, &m);
	}
	rc = apply_writable(a);
	return rc == 0 ? enrol_write(a, c, &m) : rc;
}

int apply_service_disable(struct apply *a, const struct command_service_disable *c)
{
	char name[ACCOUNT_NAME_BYTES_MAX + 1];
	struct account_row row;
	struct expiry_row expiry;
	struct user_row user;
	int rc;

	account_name(c->name, name);
	rc = account_store_get(a->view, name, &row, a->e);
	if (rc != 0 || row.state == ACCOUNT_DISABLED) {
		return rc;
	}
	if (row.state == ACCOUNT_PENDING) {
		expiry = enrol_expiry(&row);
		expiry_store_delete(a->txn, &expiry);
		row.enrol_expires_ms = 0;
	} else {
		rc = user_store_get(a->view, row.user_id, &user, a->e);
		if (rc != 0) {
			return err_set(a->e, KLUIS_ECORRUPT, "an account has no user");
		}
		user.disabled = true;
		user_store_put(a->txn, &user);
		rc = apply_end_sessions(a, row.user_id, NULL, NULL);
	}
	if (rc != 0) {
		return rc;
	}
	row.state = ACCOUNT_DISABLED;
	account_store_put(a->txn, &row);
	return apply_audit(a, COMMAND_SERVICE_DISABLE, c->actor, c->name);
}

/* Body of statement 5: device_id16 | u16 n | n x 48. */
static bool revoke_body_valid(struct bytes body)
{
	struct wire w = wire_of(body);

	(void)wire_bytes(&w, 16);
	(void)wire_bytes(&w, (size_t)wire_u16(&w) * 48);
	return wire_end(&w);
}

/* The next statement of a user's chain: what it changes beyond the chain itself. */
static int append_effect(struct apply *a, const struct statement *s)
{
	struct device_row device;
	int rc;

	if (s->type == IDENTITY_DEVICE_ADD) {
		if (!device_of(s, &device)) {
			return err_set(a->e, KLUIS_EINVAL, "malformed device statement");
		}
		device.added_ms = a->now_ms;
		rc = device_store_get(a->view, s->object_id, device.device_id, &device, a->e);
		if (rc == 0) {
			return err_set(a->e, KLUIS_EEXIST, "a device id is never used twice");
		}
		if (rc == KLUIS_ENOTFOUND) {
			device_store_put(a->txn, &device);
			rc = 0;
		}
		return rc;
	}
	if (s->type != IDENTITY_DEVICE_REVOKE) {
		return s->type > IDENTITY_GENESIS && s->type <= IDENTITY_POLICY
			       ? 0
			       : err_set(a->e, KLUIS_EINVAL, "unknown statement");
	}
	if (!revoke_body_valid(s->body)) {
		return err_set(a->e, KLUIS_EINVAL, "malformed device statement");
	}
	rc = device_store_get(a->view, s->object_id, s->body.data, &device, a->e);
	if (rc != 0) {
		return rc;
	}
	device.revoked = true;
	device_store_put(a->txn, &device);
	return apply_end_sessions(a, s->object_id, NULL, device.device_id);
}

static int append_run(struct apply *a, const struct command_identity_append *c,
	const struct statement *s, struct user_row *user)
{
	int rc;

	if (s->seq == user->chain_seq && memcmp(s->hash, user->chain_hash, 32) == 0) {
		return 0; /* The same statement again. */
	}
	if (s->seq != user->chain_seq + 1 || memcmp(s->prev_hash, user->chain_hash, 32) != 0) {
		return err_set(a->e, KLUIS_EPRECONDITION, "the identity chain moved");
	}
	if (s->seq > STATEMENTS_PER_USER_MAX) {
		return err_set(a->e, KLUIS_EQUOTA, "too many identity statements");
	}
	rc = append_effect(a, s);
	if (rc != 0) {
		return rc;
	}
	user->chain_seq = s->seq;
	memcpy(user->chain_hash, s->hash, 32);
	user_store_put(a->txn, user);
	statement_store_put(a->txn, user->user_id, s->seq, c->statement);
	return apply_audit(
		a, COMMAND_IDENTITY_APPEND, bytes_of(user->user_id, 16), bytes_of(s->hash, 32));
}

int apply_identity_append(struct apply *a, const struct command_identity_append *c)
{
	struct session_row session;
	struct statement s;
	struct user_row user;
	int rc = apply_session(a, &c->session, &session);

	if (rc != 0) {
		return rc;
	}
	rc = statement_parse(CHAIN_IDENTITY, c->statement, &s, a->e);
	if (rc != 0) {
		return apply_refusal(rc);
	}
	if (memcmp(s.object_id, session.user_id, 16) != 0 || s.sig != KEY_RSA_PSS) {
		return err_set(a->e, KLUIS_EFORBIDDEN, "a statement of another user");
	}
	rc = user_store_get(a->view, session.user_id, &user, a->e);
	if (rc == KLUIS_ENOTFOUND) {
		return err_set(a->e, KLUIS_ECORRUPT, "a session has no user");
	}
	if (rc == 0) {
		rc = append_run(a, c, &s, &user);
	}
	a->reply.number = s.seq;
	memcpy(a->reply.hash, s.hash, 32);
	return rc;
}
