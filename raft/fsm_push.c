#include <string.h>

#include "raft/fsm_apply.h"

/* Subscriptions to push services: of devices, and gone with them. */

static void push_of(const struct apply *a, const struct session_row *session,
	const struct command_push_put *c, struct push_row *ret_row)
{
	struct push_row row = {.kind = c->kind,
		.created_ms = a->now_ms,
		.pepper_id = c->pepper_id,
		.sealed_bytes = (uint16_t)c->sealed.len};

	memcpy(row.user_id, session->user_id, 16);
	memcpy(row.push_id, c->push_id, 16);
	memcpy(row.device_id, session->device_id, 16);
	memcpy(row.sealed, c->sealed.data, c->sealed.len);
	*ret_row = row;
}

/* One of the device goes when it has as many as it may. */
static int push_room(struct apply *a, const struct push_row *wanted)
{
	_cleanup_(x_freep) struct push_row *rows = x_calloc(PUSH_PER_USER_MAX, sizeof *rows);
	const struct push_row *oldest = NULL;
	size_t n = 0, of_device = 0;
	int rc = push_store_list(a->view, wanted->user_id, rows, &n, a->e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (memcmp(rows[i].push_id, wanted->push_id, 16) == 0) {
			return err_set(a->e, KLUIS_EEXIST, "the subscription's id is taken");
		}
		if (memcmp(rows[i].device_id, wanted->device_id, 16) == 0) {
			of_device++;
			oldest = oldest == NULL || rows[i].created_ms < oldest->created_ms
					 ? &rows[i]
					 : oldest;
		}
	}
	if (rc == 0 && of_device >= PUSH_PER_DEVICE_MAX) {
		push_store_delete(a->txn, wanted->user_id, oldest->push_id);
	} else if (rc == 0 && n == PUSH_PER_USER_MAX) {
		rc = err_set(a->e, KLUIS_EQUOTA, "too many devices are subscribed");
	}
	return rc;
}

int apply_push_put(struct apply *a, const struct command_push_put *c)
{
	struct session_row session;
	struct bytes principal;
	struct push_row row;
	int rc = apply_device_session(a, &c->session, &session);

	if (rc != 0) {
		return rc;
	}
	principal = bytes_of(session.user_id, sizeof session.user_id);
	rc = apply_once_begin(a, principal, COMMAND_PUSH_PUT, &c->once);
	if (rc != 0 || a->replayed) {
		return rc;
	}
	rc = apply_writable(a);
	push_of(a, &session, c, &row);
	rc = rc != 0 ? rc : push_room(a, &row);
	if (rc == 0) {
		push_store_put(a->txn, &row);
		memcpy(a->reply.id, row.push_id, 16);
		a->reply.number = row.created_ms;
		apply_once_end(a, principal, COMMAND_PUSH_PUT, &c->once, false);
	}
	return rc;
}

int apply_push_delete(struct apply *a, const struct command_push_delete *c)
{
	struct session_row session;
	struct push_row row;
	int rc = 0;

	memcpy(session.user_id, c->user_id, 16);
	if (!c->gone) {
		rc = apply_session(a, &c->session, &session);
	}
	rc = rc != 0 ? rc : push_store_get(a->view, session.user_id, c->push_id, &row, a->e);
	if (rc == 0) {
		push_store_delete(a->txn, row.user_id, row.push_id);
	}
	return rc;
}
