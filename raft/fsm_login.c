#include <assert.h>
#include <string.h>

#include "crypto/kdf.h"
#include "raft/fsm_apply.h"
#include "storage/policy_store.h"

/* Persons' sessions: what a password, a code or a recovery key opens, and what slows down those who
 * guess them. A guard holds in apply, for a right answer as for a wrong one: however many sites and
 * handshakes a guesser uses at once, each delay is worth one guess. */

static const uint8_t nothing[16];

static bool login_by_device(const uint8_t device_id[16])
{
	return memcmp(device_id, nothing, sizeof nothing) != 0;
}

/* Whatever is wrong, the answer is the same. */
static int login_refused(struct apply *a, int rc, bool refused)
{
	return rc == KLUIS_ENOTFOUND || (rc == 0 && refused)
		       ? err_set(a->e, KLUIS_EUNAUTHENTICATED, "user or password is wrong")
		       : rc;
}

static int login_person(struct apply *a, const uint8_t user_id[16], struct person_row *ret_person)
{
	return login_refused(a, person_store_get(a->view, user_id, ret_person, a->e), false);
}

/* Whether this person may log in at all, by what the handshake saw. */
static int login_state(struct apply *a, const struct person_row *person, uint64_t credential)
{
	struct user_row user;
	int rc = user_store_get(a->view, person->user_id, &user, a->e);

	return login_refused(a, rc, rc == 0 && (user.disabled || person->credential != credential));
}

static int login_device(struct apply *a, const struct command_person_login *c)
{
	struct device_row device;
	int rc;

	if (!login_by_device(c->device_id)) {
		return 0;
	}
	rc = device_store_get(a->view, c->user_id, c->device_id, &device, a->e);
	if (rc == KLUIS_ENOTFOUND || (rc == 0 && device.revoked)) {
		rc = err_set(a->e, KLUIS_EUNAUTHENTICATED, "user or device is out of use");
	}
	return rc;
}

static int login_open(struct apply *a, const struct command_person_login *c)
{
	struct session_row row = {.expires_ms = a->now_ms + c->ttl_ms};
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

/* A failure against somebody, or nobody. */
struct login_failure {
	unsigned kind;
	uint8_t id[16], user_id[16], device_id[16]; /* device_id: zero if it was of none. */
	bool stranger;
	enum access_event event;
};

/* For the owner to see, by somebody who proved nothing, or not enough; or of nobody: the work is
 * the same, so that a clock does not tell who exists. */
static int login_log_failure(struct apply *a, const struct login_failure *f)
{
	struct access_row row = {.event = (uint8_t)f->event};
	struct person_row person;
	int rc = person_store_get(a->view, f->user_id, &person, a->e);

	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	memcpy(row.device_id, f->device_id, 16);
	if (rc == 0) {
		memcpy(row.user_id, f->user_id, 16);
	}
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

static struct login_failure login_failure_of(const struct command_person_login *c)
{
	struct login_failure f = {.kind = GUARD_PASSWORD, .event = ACCESS_LOGIN_REFUSED};

	memcpy(f.user_id, c->user_id, 16);
	memcpy(f.device_id, c->device_id, 16);
	if (login_by_device(c->device_id)) {
		f.kind = GUARD_DEVICE;
		guard_device_id(c->user_id, c->device_id, f.id);
	} else {
		memcpy(f.id, c->user_id, 16);
	}
	return f;
}

/* A delay is there against guessing. Nobody guesses an account key: by failing in its owner's name
 * a stranger must not hold her up. */
static int login_guarded(
	struct apply *a, const struct login_failure *guard, const struct person_row *person)
{
	struct kdf kdf;
	int rc = kdf_decode(bytes_of(person->kdf, sizeof person->kdf), &kdf, a->e);

	if (rc != 0) {
		return err_set(a->e, KLUIS_ECORRUPT, "a person's kdf is malformed");
	}
	return guard->kind == GUARD_PASSWORD && (kdf.flags & KDF_ACCOUNT_KEY) != 0
		       ? 0
		       : guard_store_check(a->view, guard->kind, guard->id, a->now_ms, NULL, a->e);
}

/* The password is right, and the account takes no login from there. */
static bool login_unwanted(
	struct apply *a, const struct command_person_login *c, const struct person_row *person)
{
	bool devices_alone = person->policy != 0 && a->now_ms >= person->recovered_until_ms;

	return c->elsewhere || (devices_alone && !login_by_device(c->device_id));
}

int apply_person_login(struct apply *a, const struct command_person_login *c)
{
	struct login_failure guard = login_failure_of(c);
	struct person_row person;
	int rc = login_person(a, c->user_id, &person);

	rc = rc != 0 ? rc : login_guarded(a, &guard, &person);
	rc = rc != 0 ? rc : login_state(a, &person, c->credential);
	rc = rc != 0 ? rc : login_device(a, c);
	if (rc == 0 && login_unwanted(a, c, &person)) {
		return login_fail(a, &guard); /* Counted and told: hash[0] stays 0, no level. */
	}
	rc = rc != 0 ? rc : login_open(a, c);
	return rc == 0 ? guard_store_clear(a->txn, guard.kind, guard.id, a->e) : rc;
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
	struct login_failure f = {.kind = c->kind, .event = ACCESS_LOGIN_FAILED};
	int rc = c->kind == GUARD_DEVICE ? failed_of_device(a, c, &f) : failed_of_user(a, c, &f);

	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	f.stranger = rc == KLUIS_ENOTFOUND;
	return login_fail(a, &f);
}

int apply_code_failed(struct apply *a, const struct command_code_failed *c)
{
	struct login_failure f = {.kind = GUARD_CODE, .event = ACCESS_SECOND_FACTOR_FAILED};
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

/* --- recovery --- */

/* The recovery that is under way gives way, but while its session lives its clock goes on: starting
 * again must not be a way to keep the owner waiting, nor shorten the wait. */
static int recovery_replace(struct apply *a, struct recovery_row *row)
{
	struct recovery_row old;
	struct session_row session;
	int rc = recovery_store_get(a->view, row->user_id, &old, a->e);

	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	recovery_store_delete(a->txn, &old);
	rc = session_store_find(a->view, row->user_id, old.session_id, &session, a->e);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	if (a->now_ms < old.expires_ms && old.open_from_ms < row->open_from_ms) {
		row->started_ms = old.started_ms;
		row->open_from_ms = old.open_from_ms;
	}
	apply_delete_session(a, &session);
	return 0;
}

/* The clock of a recovery starts once all that proves it was given. */
static int recovery_enter(struct apply *a, const struct session_row *session, uint32_t delay_ms)
{
	struct recovery_row row = {.started_ms = a->now_ms,
		.open_from_ms = a->now_ms + delay_ms,
		.expires_ms = session->expires_ms};
	int rc;

	memcpy(row.user_id, session->user_id, 16);
	memcpy(row.session_id, session->session_id, 16);
	rc = recovery_replace(a, &row);
	if (rc == 0) {
		recovery_store_put(a->txn, &row);
	}
	return rc;
}

/* The node that is asked may be an old one: the longest wait that any of them wants holds, and the
 * session lives as much longer. */
static int recovery_times(struct apply *a, uint32_t *delay_ms, uint32_t *ttl_ms)
{
	struct policy policy;
	int rc = policy_store_get(a->view, &policy, a->e);

	if (rc == 0 && *delay_ms < policy.recovery_delay_ms) {
		*ttl_ms += policy.recovery_delay_ms - *delay_ms; /* At most 2 * SESSION_MS_MAX. */
		*delay_ms = policy.recovery_delay_ms;
	}
	return rc;
}

static int recovery_open(struct apply *a, const struct command_recovery_begin *c)
{
	struct session_row session = {.level = SESSION_RECOVERY};
	uint32_t delay_ms = c->delay_ms, ttl_ms = c->ttl_ms;
	bool needed = false;
	int rc = apply_needs_factor(a, c->user_id, &needed);

	rc = rc != 0 ? rc : recovery_times(a, &delay_ms, &ttl_ms);
	if (rc != 0) {
		return rc;
	}
	session.expires_ms = a->now_ms + ttl_ms;
	session.level = needed ? SESSION_RECOVERY_LOGIN : SESSION_RECOVERY;
	memcpy(session.token_hash, c->token_hash, 32);
	memcpy(session.user_id, c->user_id, 16);
	session_id_of(session.token_hash, session.session_id);
	rc = needed ? 0 : recovery_enter(a, &session, delay_ms);
	rc = rc != 0 ? rc : apply_open_session(a, &session);
	return rc != 0 ? rc
		       : apply_access(a, &session, ACCESS_RECOVERY_STARTED,
				 bytes_of(session.session_id, 16));
}

int apply_recovery_begin(struct apply *a, const struct command_recovery_begin *c)
{
	struct person_row person;
	struct session_row session;
	int rc = login_person(a, c->user_id, &person);

	rc = rc != 0 ? rc : login_state(a, &person, c->credential);
	if (rc == 0 && c->elsewhere) {
		struct login_failure refused = {.event = ACCESS_LOGIN_REFUSED};

		memcpy(refused.user_id, c->user_id, 16);
		return login_log_failure(a, &refused);
	}
	rc = rc != 0 ? rc : session_store_get(a->view, c->token_hash, &session, a->e);
	if (rc == 0) {
		/* The same command again, or the token of another. */
		memset(session.device_id, 0, sizeof session.device_id);
		memcpy(session.user_id, c->user_id, 16);
		return apply_open_session(a, &session);
	}
	return rc == KLUIS_ENOTFOUND ? recovery_open(a, c) : rc;
}

/* --- second factors --- */

static void upgrade_put(struct apply *a, struct session_row *session, uint32_t ttl_ms)
{
	apply_delete_session(a, session); /* With its place in the expiry queue. */
	session->level = session->level == SESSION_LOGIN ? SESSION_FULL : SESSION_RECOVERY;
	session->expires_ms = a->now_ms + ttl_ms;
	apply_put_session(a, session);
	memcpy(a->reply.id, session->session_id, 16);
	a->reply.number = session->expires_ms;
	a->reply.hash[0] = session->level;
}

int apply_session_upgrade(struct apply *a, const struct command_session_upgrade *c)
{
	uint32_t delay_ms = c->delay_ms, ttl_ms = c->ttl_ms;
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
	rc = session.level == SESSION_RECOVERY_LOGIN ? recovery_times(a, &delay_ms, &ttl_ms) : 0;
	if (rc != 0) {
		return rc;
	}
	upgrade_put(a, &session, ttl_ms);
	rc = session.level == SESSION_RECOVERY ? recovery_enter(a, &session, delay_ms) : 0;
	return rc != 0 ? rc
		       : apply_access(a, &session, ACCESS_SECOND_FACTOR, bytes_of(c->mfa_id, 16));
}

/* Stops all that was begun with the code. */
int apply_recovery_cancel(struct apply *a, const struct command_recovery_cancel *c)
{
	_cleanup_(x_freep) struct session_row *rows = x_calloc(SESSIONS_PER_USER_MAX, sizeof *rows);
	const struct session_row *stopped = NULL;
	struct session_row own;
	size_t n = 0;
	int rc = apply_session(a, &c->session, &own);

	rc = rc != 0 ? rc
		     : session_store_list(
			       a->view, own.user_id, NULL, rows, SESSIONS_PER_USER_MAX, &n, a->e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (session_of_recovery(&rows[i])) {
			stopped = &rows[i];
			rc = apply_end_session(a, stopped);
		}
	}
	if (rc != 0) {
		return rc;
	}
	return stopped == NULL ? err_set(a->e, KLUIS_ENOTFOUND, "no recovery is under way")
			       : apply_access(a, &own, ACCESS_RECOVERY_CANCELLED,
					 bytes_of(stopped->session_id, 16));
}
