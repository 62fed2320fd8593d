#include <assert.h>
#include <string.h>

#include "crypto/secret.h"
#include "raft/fsm_apply.h"
#include "storage/chat_store.h"
#include "storage/account_store.h"
#include "storage/person_store.h"
#include "storage/upkeep_store.h"

void apply_name(struct bytes name, char to[ACCOUNT_NAME_BYTES_MAX + 1])
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
	struct person_name_row person;
	int rc;

	apply_name(c->name, row.name);
	rc = person_name_store_get(a->view, row.name, &person, a->e);
	if (rc == KLUIS_ENOTFOUND) {
		rc = account_store_get(a->view, row.name, &row, a->e);
	} else if (rc == 0) {
		return err_set(a->e, KLUIS_EEXIST, "the name is a person's");
	}
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

struct enrolment {
	struct account_row account;
	struct identity_birth birth;
};

/* The account by name and token: whatever is wrong, the answer is the same. */
static int enrol_account(
	struct apply *a, const struct command_service_enrol *c, struct account_row *row)
{
	char name[ACCOUNT_NAME_BYTES_MAX + 1];
	int rc;

	apply_name(c->name, name);
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
	bool same = false;
	int rc = apply_birth_is(a, m->account.user_id, &m->birth, &same);

	return rc == 0 && !same ? err_set(a->e, KLUIS_EUNAUTHENTICATED, "account or token is wrong")
				: rc;
}

static void enrol_write_account(struct apply *a, struct enrolment *m)
{
	struct expiry_row expiry = enrol_expiry(&m->account);

	expiry_store_delete(a->txn, &expiry);
	m->account.state = ACCOUNT_ACTIVE;
	m->account.enrol_expires_ms = 0;
	memcpy(m->account.user_id, m->birth.genesis.object_id, 16);
	account_store_put(a->txn, &m->account);
}

static int enrol_write(struct apply *a, const struct command_service_enrol *c, struct enrolment *m)
{
	int rc = apply_birth_write(a, m->account.name, &m->birth, c->identity, c->device);

	if (rc != 0) {
		return rc;
	}
	enrol_write_account(a, m);
	return apply_audit_user(
		a, COMMAND_SERVICE_ENROL, m->account.user_id, bytes_str(m->account.name));
}

int apply_service_enrol(struct apply *a, const struct command_service_enrol *c)
{
	struct enrolment m;
	int rc = enrol_account(a, c, &m.account);

	if (rc == 0) {
		rc = apply_birth_parse(a, m.account.name, c->identity, c->device, &m.birth);
	}
	if (rc != 0) {
		return rc;
	}
	memcpy(a->reply.id, m.birth.genesis.object_id, 16);
	memcpy(a->reply.second_id, m.birth.device.device_id, 16);
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

	apply_name(c->name, name);
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
		rc = chat_store_stale(a->txn, row.user_id, a->e);
		rc = rc != 0 ? rc : apply_end_sessions(a, row.user_id, NULL, NULL);
	}
	if (rc != 0) {
		return rc;
	}
	row.state = ACCOUNT_DISABLED;
	account_store_put(a->txn, &row);
	return apply_audit(a, COMMAND_SERVICE_DISABLE, c->actor, c->name);
}
