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

static int session_again(
	struct apply *a, const struct command_session_create *c, const struct session_row *row)
{
	if (memcmp(row->user_id, c->user_id, 16) != 0 ||
		memcmp(row->device_id, c->device_id, 16) != 0) {
		return err_set(a->e, KLUIS_EEXIST, "the token is another session's");
	}
	memcpy(a->reply.id, row->session_id, 16);
	a->reply.number = row->expires_ms;
	return 0;
}

int apply_session_create(struct apply *a, const struct command_session_create *c)
{
	struct session_row row = {
		.level = c->level, .created_ms = a->now_ms, .expires_ms = a->now_ms + c->ttl_ms};
	int rc = session_check_holder(a, c);

	if (rc == 0) {
		struct session_row old;

		rc = session_store_get(a->view, c->token_hash, &old, a->e);
		if (rc == 0) {
			return session_again(a, c, &old);
		}
		rc = rc == KLUIS_ENOTFOUND ? session_make_room(a, c->user_id) : rc;
	}
	if (rc != 0) {
		return rc;
	}
	memcpy(row.token_hash, c->token_hash, 32);
	session_id_of(c->token_hash, row.session_id);
	memcpy(row.user_id, c->user_id, 16);
	memcpy(row.device_id, c->device_id, 16);
	apply_put_session(a, &row);
	memcpy(a->reply.id, row.session_id, 16);
	a->reply.number = row.expires_ms;
	return apply_audit(
		a, COMMAND_SESSION_CREATE, bytes_of(row.user_id, 16), bytes_of(row.session_id, 16));
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
