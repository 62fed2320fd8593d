#include <assert.h>
#include <string.h>

#include "raft/fsm_apply.h"

/* Persons' sessions: what a password, a code or a recovery key opens, and what slows down those who
 * guess them. A guard holds in apply, for a right answer as for a wrong one: however many sites and
 * handshakes a guesser uses at once, each delay is worth one guess. */

static const uint8_t nothing[16];

static bool login_by_device(const uint8_t device_id[16])
{
	return memcmp(device_id, nothing, sizeof nothing) != 0;
}

/* A person who may log in; whatever is wrong, the answer is the same. */
static int login_person(struct apply *a, const uint8_t user_id[16], uint64_t credential,
	struct person_row *ret_person)
{
	struct person_row person;
	struct user_row user;
	int rc = user_store_get(a->view, user_id, &user, a->e);

	if (rc == 0) {
		rc = person_store_get(a->view, user_id, &person, a->e);
	}
	if (rc == KLUIS_ENOTFOUND ||
		(rc == 0 && (user.disabled || person.credential != credential))) {
		return err_set(a->e, KLUIS_EUNAUTHENTICATED, "user or password is wrong");
	}
	if (rc == 0) {
		*ret_person = person;
	}
	return rc;
}

static int login_device(
	struct apply *a, const struct command_person_login *c, const struct person_row *person)
{
	struct device_row device;
	int rc;

	if (!login_by_device(c->device_id)) {
		return person->policy != 0 && a->now_ms >= person->recovered_until_ms
			       ? err_set(a->e, KLUIS_EFORBIDDEN,
					 "the account asks for an enrolled device")
			       : 0;
	}
	rc = device_store_get(a->view, c->user_id, c->device_id, &device, a->e);
	if (rc == KLUIS_ENOTFOUND || (rc == 0 && device.revoked)) {
		rc = err_set(a->e, KLUIS_EUNAUTHENTICATED, "user or device is out of use");
	}
	return rc;
}

static int login_open(struct apply *a, const struct command_person_login *c)
{
	struct session_row row = {.level = SESSION_FULL, .expires_ms = a->now_ms + c->ttl_ms};
	bool needed = false;
	int rc = apply_needs_factor(a, c->user_id, &needed);

	if (rc != 0) {
		return rc;
	}
	row.level = needed ? SESSION_LOGIN : SESSION_FULL;
	memcpy(row.token_hash, c->token_hash, 32);
	memcpy(row.user_id, c->user_id, 16);
	memcpy(row.device_id, c->device_id, 16);
	rc = apply_open_session(a, &row);
	return rc == 0 ? apply_access(a, &row, ACCESS_LOGIN, bytes_of(a->reply.id, 16)) : rc;
}

/* Whose failures a login is held against. */
struct login_guard {
	unsigned kind;
	uint8_t id[16];
};

static struct login_guard login_guard_of(const struct command_person_login *c)
{
	struct login_guard guard = {.kind = GUARD_PASSWORD};

	if (login_by_device(c->device_id)) {
		guard.kind = GUARD_DEVICE;
		guard_device_id(c->user_id, c->device_id, guard.id);
	} else {
		memcpy(guard.id, c->user_id, sizeof guard.id);
	}
	return guard;
}

int apply_person_login(struct apply *a, const struct command_person_login *c)
{
	struct login_guard guard = login_guard_of(c);
	struct person_row person;
	int rc = guard_store_check(a->view, guard.kind, guard.id, a->now_ms, NULL, a->e);

	if (rc == 0) {
		rc = login_person(a, c->user_id, c->credential, &person);
	}
	if (rc == 0) {
		rc = login_device(a, c, &person);
	}
	if (rc == 0) {
		rc = login_open(a, c);
	}
	return rc == 0 ? guard_store_clear(a->txn, guard.kind, guard.id, a->e) : rc;
}

/* A failure against somebody, or nobody. */
struct login_failure {
	unsigned kind;
	uint8_t id[16], user_id[16], device_id[16]; /* device_id: zero if it was of none. */
	bool stranger;
};

/* For the owner to see, by somebody who proved nothing. */
static int login_log_failure(struct apply *a, const struct login_failure *f)
{
	struct access_row row = {
		.event = f->kind == GUARD_CODE ? ACCESS_SECOND_FACTOR_FAILED : ACCESS_LOGIN_FAILED};
	struct person_row person;
	int rc = person_store_get(a->view, f->user_id, &person, a->e);

	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	memcpy(row.user_id, f->user_id, 16);
	memcpy(row.device_id, f->device_id, 16);
	return apply_access_row(a, &row);
}

static int login_fail(struct apply *a, const struct login_failure *f)
{
	struct guard_row guard;
	int rc = guard_store_check(a->view, f->kind, f->id, a->now_ms, NULL, a->e);

	if (rc == 0) {
		rc = guard_store_fail(a->txn, f->kind, f->id, f->stranger, a->now_ms, &guard, a->e);
	}
	if (rc != 0) {
		return rc;
	}
	a->reply.number = guard.blocked_until_ms;
	return login_log_failure(a, f);
}

static int failed_of_device(
	struct apply *a, const struct command_login_failed *c, struct login_failure *f)
{
	struct device_row device;

	guard_device_id(c->user_id, c->id, f->id);
	memcpy(f->user_id, c->user_id, 16);
	memcpy(f->device_id, c->id, 16);
	return device_store_get(a->view, c->user_id, c->id, &device, a->e);
}

static int failed_of_user(
	struct apply *a, const struct command_login_failed *c, struct login_failure *f)
{
	struct person_row person;

	memcpy(f->id, c->id, 16);
	memcpy(f->user_id, c->id, 16);
	return person_store_get(a->view, c->id, &person, a->e);
}

int apply_login_failed(struct apply *a, const struct command_login_failed *c)
{
	struct login_failure f = {.kind = c->kind};
	int rc = c->kind == GUARD_DEVICE ? failed_of_device(a, c, &f) : failed_of_user(a, c, &f);

	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	f.stranger = rc == KLUIS_ENOTFOUND;
	return login_fail(a, &f);
}

int apply_code_failed(struct apply *a, const struct command_code_failed *c)
{
	struct login_failure f = {.kind = GUARD_CODE};
	struct session_row session;
	int rc = session_store_check(a->view, c->session.token_hash, a->now_ms, &session, a->e);

	if (rc != 0) {
		return rc;
	}
	guard_code_id(session.user_id, session.device_id, f.id);
	memcpy(f.user_id, session.user_id, 16);
	memcpy(f.device_id, session.device_id, 16);
	return login_fail(a, &f);
}

int apply_session_upgrade(struct apply *a, const struct command_session_upgrade *c)
{
	struct session_row session;
	struct mfa_row factor;
	int rc = session_store_check(a->view, c->session.token_hash, a->now_ms, &session, a->e);

	if (rc != 0) {
		return rc;
	}
	if (session.level != SESSION_LOGIN && session.level != SESSION_RECOVERY_LOGIN) {
		return err_set(a->e, KLUIS_ECONFLICT, "the session has its second factor");
	}
	rc = apply_spend(a, &session, c->mfa_id, c->number, false, &factor);
	if (rc != 0) {
		return rc;
	}
	session.level = session.level == SESSION_LOGIN ? SESSION_FULL : SESSION_RECOVERY;
	apply_put_session(a, &session);
	memcpy(a->reply.id, session.session_id, 16);
	a->reply.number = session.expires_ms;
	a->reply.hash[0] = session.level;
	return apply_access(a, &session, ACCESS_SECOND_FACTOR, bytes_of(c->mfa_id, 16));
}

/* --- recovery --- */

/* The recovery that is under way gives way, but its clock goes on: starting again must not be a way
 * to keep the owner waiting, nor shorten the wait. */
static int recovery_replace(struct apply *a, struct recovery_row *row)
{
	struct recovery_row old;
	struct session_row session;
	int rc = recovery_store_get(a->view, row->user_id, &old, a->e);

	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	if (a->now_ms < old.expires_ms && old.open_from_ms < row->open_from_ms) {
		row->started_ms = old.started_ms;
		row->open_from_ms = old.open_from_ms;
	}
	recovery_store_delete(a->txn, &old);
	rc = session_store_find(a->view, row->user_id, old.session_id, &session, a->e);
	if (rc == 0) {
		apply_delete_session(a, &session);
	}
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

static int recovery_open(struct apply *a, const struct command_recovery_begin *c)
{
	struct session_row session = {.expires_ms = a->now_ms + c->ttl_ms};
	struct recovery_row row = {.started_ms = a->now_ms,
		.open_from_ms = a->now_ms + c->delay_ms,
		.expires_ms = a->now_ms + c->ttl_ms};
	bool needed = false;
	int rc = apply_needs_factor(a, c->user_id, &needed);

	memcpy(row.user_id, c->user_id, 16);
	rc = rc != 0 ? rc : recovery_replace(a, &row);
	if (rc != 0) {
		return rc;
	}
	session.level = needed ? SESSION_RECOVERY_LOGIN : SESSION_RECOVERY;
	memcpy(session.token_hash, c->token_hash, 32);
	memcpy(session.user_id, c->user_id, 16);
	rc = apply_open_session(a, &session);
	if (rc != 0) {
		return rc;
	}
	memcpy(row.session_id, a->reply.id, 16);
	recovery_store_put(a->txn, &row);
	return apply_access(a, &session, ACCESS_RECOVERY_STARTED, bytes_of(a->reply.id, 16));
}

int apply_recovery_begin(struct apply *a, const struct command_recovery_begin *c)
{
	struct person_row person;
	struct session_row session;
	int rc = guard_store_check(a->view, GUARD_RECOVERY, c->user_id, a->now_ms, NULL, a->e);

	if (rc == 0) {
		rc = login_person(a, c->user_id, c->credential, &person);
	}
	if (rc != 0) {
		return rc;
	}
	rc = session_store_get(a->view, c->token_hash, &session, a->e);
	if (rc == 0) {
		/* The same command again, or the token of another. */
		memset(session.device_id, 0, sizeof session.device_id);
		memcpy(session.user_id, c->user_id, 16);
		return apply_open_session(a, &session);
	}
	rc = rc == KLUIS_ENOTFOUND ? recovery_open(a, c) : rc;
	return rc == 0 ? guard_store_clear(a->txn, GUARD_RECOVERY, c->user_id, a->e) : rc;
}

int apply_recovery_cancel(struct apply *a, const struct command_recovery_cancel *c)
{
	struct session_row own, session;
	struct recovery_row row;
	int rc = apply_session(a, &c->session, &own);

	if (rc == 0) {
		rc = recovery_store_get(a->view, own.user_id, &row, a->e);
	}
	if (rc != 0) {
		return rc;
	}
	recovery_store_delete(a->txn, &row);
	rc = session_store_find(a->view, own.user_id, row.session_id, &session, a->e);
	if (rc == 0) {
		apply_delete_session(a, &session);
	}
	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	return apply_access(a, &own, ACCESS_RECOVERY_CANCELLED, bytes_of(row.session_id, 16));
}
