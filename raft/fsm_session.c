#include <string.h>

#include "raft/fsm_apply.h"

/* User and device may have sessions; whatever is wrong, the answer is the same. */
static int session_check_holder(
	struct apply *a, const uint8_t user_id[16], const uint8_t device_id[16])
{
	struct user_row user;
	struct device_row device;
	int rc = user_store_get(a->view, user_id, &user, a->e);

	if (rc == 0) {
		rc = device_store_get(a->view, user_id, device_id, &device, a->e);
	}
	if (rc == KLUIS_ENOTFOUND || (rc == 0 && (user.disabled || device.revoked))) {
		rc = err_set(a->e, KLUIS_EUNAUTHENTICATED, "user or device is out of use");
	}
	return rc;
}

/* Whether row goes before than (NULL: none yet): expired ones do, and those that wait for a second
 * factor before full ones. */
static bool session_goes_first(const struct session_row *row, const struct session_row *than)
{
	return than == NULL || row->expires_ms < than->expires_ms;
}

/* Room for one more, so that nobody fills what its owner needs: of those that wait for a second
 * factor only others of their kind make it, and a recovery that has it is never pushed out. */
static int session_make_room(struct apply *a, const struct session_row *wanted)
{
	_cleanup_(x_freep) struct session_row *rows = x_calloc(SESSIONS_PER_USER_MAX, sizeof *rows);
	const struct session_row *first = NULL, *first_alike = NULL;
	size_t n = 0, alike = 0;
	int rc = session_store_list(
		a->view, wanted->user_id, NULL, rows, SESSIONS_PER_USER_MAX, &n, a->e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		const struct session_row *row = &rows[i];

		if (row->level == wanted->level &&
			session_has_device(row) == session_has_device(wanted)) {
			alike++;
			first_alike = session_goes_first(row, first_alike) ? row : first_alike;
		}
		if ((row->level != SESSION_RECOVERY || row->expires_ms <= a->now_ms) &&
			session_goes_first(row, first)) {
			first = row;
		}
	}
	if (rc == 0 && session_waits(wanted) && alike >= SESSIONS_WAITING_MAX) {
		apply_delete_session(a, first_alike);
	} else if (rc == 0 && n == SESSIONS_PER_USER_MAX && first != NULL) {
		apply_delete_session(a, first);
	}
	return rc;
}

static void session_reply(struct apply *a, const struct session_row *row)
{
	memcpy(a->reply.id, row->session_id, 16);
	a->reply.number = row->expires_ms;
	a->reply.hash[0] = row->level;
}

static int session_again(
	struct apply *a, const struct session_row *wanted, const struct session_row *found)
{
	if (memcmp(found->user_id, wanted->user_id, 16) != 0 ||
		memcmp(found->device_id, wanted->device_id, 16) != 0) {
		return err_set(a->e, KLUIS_EEXIST, "the token is another session's");
	}
	session_reply(a, found);
	return 0;
}

int apply_open_session(struct apply *a, const struct session_row *wanted)
{
	struct session_row row = *wanted;
	int rc = session_store_get(a->view, wanted->token_hash, &row, a->e);

	if (rc == 0) {
		return session_again(a, wanted, &row);
	}
	rc = rc == KLUIS_ENOTFOUND ? session_make_room(a, wanted) : rc;
	if (rc != 0) {
		return rc;
	}
	row = *wanted;
	session_id_of(row.token_hash, row.session_id);
	row.created_ms = a->now_ms;
	if (session_waits(&row) && row.expires_ms > a->now_ms + SESSION_WAIT_MS) {
		row.expires_ms = a->now_ms + SESSION_WAIT_MS;
	}
	apply_put_session(a, &row);
	session_reply(a, &row);
	return 0;
}

int apply_needs_factor(struct apply *a, const uint8_t user_id[16], bool *ret_needed)
{
	_cleanup_(x_freep) struct mfa_row *rows = x_calloc(MFA_PER_USER_MAX, sizeof *rows);
	size_t n = 0;
	int rc = mfa_store_list(a->view, user_id, rows, &n, a->e);

	*ret_needed = false;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		*ret_needed |= mfa_counts(&rows[i]);
	}
	return rc;
}

/* A service's: its key is all it has. A person proves a password first. */
int apply_session_create(struct apply *a, const struct command_session_create *c)
{
	struct session_row row = {.level = c->level, .expires_ms = a->now_ms + c->ttl_ms};
	struct person_row person;
	int rc = session_check_holder(a, c->user_id, c->device_id);

	if (rc != 0) {
		return rc;
	}
	rc = person_store_get(a->view, c->user_id, &person, a->e);
	if (rc != KLUIS_ENOTFOUND) {
		return rc != 0 ? rc
			       : err_set(a->e, KLUIS_EUNAUTHENTICATED,
					 "a person's device signs in by a session of hers");
	}
	memcpy(row.token_hash, c->token_hash, 32);
	memcpy(row.user_id, c->user_id, 16);
	memcpy(row.device_id, c->device_id, 16);
	return apply_open_session(a, &row);
}

/* The same session under another token, with a device: neither younger nor longer. */
static int device_take_over(
	struct apply *a, const struct session_row *old, const struct command_session_device *c)
{
	struct session_row row = *old;
	int rc = session_check_holder(a, old->user_id, c->device_id);

	if (rc != 0) {
		return rc;
	}
	memcpy(row.token_hash, c->token_hash, 32);
	memcpy(row.device_id, c->device_id, 16);
	session_id_of(row.token_hash, row.session_id);
	apply_delete_session(a, old);
	apply_put_session(a, &row);
	session_reply(a, &row);
	return apply_access(a, &row, ACCESS_LOGIN, bytes_of(row.session_id, 16));
}

int apply_session_device(struct apply *a, const struct command_session_device *c)
{
	struct session_row row;
	int rc = session_store_get(a->view, c->token_hash, &row, a->e);

	if (rc == 0) { /* The same command again, or the token of another. */
		struct session_row wanted = row;

		memcpy(wanted.device_id, c->device_id, 16);
		return session_again(a, &wanted, &row);
	}
	rc = rc == KLUIS_ENOTFOUND
		     ? session_store_check(a->view, c->session.token_hash, a->now_ms, &row, a->e)
		     : rc;
	if (rc == 0 && session_of_recovery(&row)) {
		rc = err_set(a->e, KLUIS_EFORBIDDEN, "the session is a recovery's");
	}
	return rc == 0 ? device_take_over(a, &row, c) : rc;
}

int apply_session_end(struct apply *a, const struct command_session_end *c)
{
	struct session_row own, row;
	int rc = session_store_check(a->view, c->session.token_hash, a->now_ms, &own, a->e);

	if (rc != 0) {
		return rc;
	}
	if (c->which != SESSION_END_ONE) {
		return apply_end_sessions(a, own.user_id,
			c->which == SESSION_END_OTHERS ? own.session_id : NULL, NULL);
	}
	rc = session_store_find(a->view, own.user_id, c->session_id, &row, a->e);
	return rc == 0 ? apply_end_session(a, &row) : rc;
}
