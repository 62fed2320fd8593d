#include <string.h>

#include "raft/fsm_apply.h"

/* User and device may have sessions; whatever is wrong, the answer is the same. */
static int session_check_holder(struct apply *a, const struct command_session_create *c)
{
	struct user_row user;
	struct device_row device;
	int rc = user_store_get(a->view, c->user_id, &user, a->e);

	if (rc == 0) {
		rc = device_store_get(a->view, c->user_id, c->device_id, &device, a->e);
	}
	if (rc == KLUIS_ENOTFOUND || (rc == 0 && (user.disabled || device.revoked))) {
		rc = err_set(a->e, KLUIS_EUNAUTHENTICATED, "user or device is out of use");
	}
	return rc;
}

/* Room for one more: sessions that have expired make it. */
static int session_make_room(struct apply *a, const uint8_t user_id[16])
{
	_cleanup_(x_freep) struct session_row *rows = x_calloc(SESSIONS_PER_USER_MAX, sizeof *rows);
	size_t n = 0, dropped = 0;
	int rc = session_store_list(a->view, user_id, NULL, rows, SESSIONS_PER_USER_MAX, &n, a->e);

	if (rc != 0 || n < SESSIONS_PER_USER_MAX) {
		return rc;
	}
	for (size_t i = 0; i < n; i++) {
		if (rows[i].expires_ms <= a->now_ms) {
			apply_delete_session(a, &rows[i]);
			dropped++;
		}
	}
	return dropped > 0 ? 0 : err_set(a->e, KLUIS_EQUOTA, "the user has too many sessions");
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
	rc = rc == KLUIS_ENOTFOUND ? session_make_room(a, wanted->user_id) : rc;
	if (rc != 0) {
		return rc;
	}
	row = *wanted;
	session_id_of(row.token_hash, row.session_id);
	row.created_ms = a->now_ms;
	apply_put_session(a, &row);
	session_reply(a, &row);
	return apply_audit(
		a, COMMAND_SESSION_CREATE, bytes_of(row.user_id, 16), bytes_of(row.session_id, 16));
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

int apply_session_create(struct apply *a, const struct command_session_create *c)
{
	struct session_row row = {.level = c->level, .expires_ms = a->now_ms + c->ttl_ms};
	bool needed = false;
	int rc = session_check_holder(a, c);

	/* A person's device key is one factor: it does not stand for the second. */
	if (rc == 0) {
		rc = apply_needs_factor(a, c->user_id, &needed);
	}
	if (rc != 0) {
		return rc;
	}
	if (needed) {
		row.level = SESSION_LOGIN;
	}
	memcpy(row.token_hash, c->token_hash, 32);
	memcpy(row.user_id, c->user_id, 16);
	memcpy(row.device_id, c->device_id, 16);
	rc = apply_open_session(a, &row);
	return rc == 0 ? apply_access(a, &row, ACCESS_LOGIN, bytes_of(a->reply.id, 16)) : rc;
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
	if (rc == 0) {
		apply_delete_session(a, &row);
	}
	return rc;
}
