#include <string.h>

#include "raft/fsm_apply.h"

/* Devices that ask to be enrolled. Their statement proves that they have the user's signing key;
 * what is approved is their keys, by a statement of an enrolled device. */

static bool pending_is(const struct pending_row *row, const struct device_row *device)
{
	return memcmp(row->device.sign_key, device->sign_key, sizeof device->sign_key) == 0 &&
	       bytes_equal(bytes_of(row->device.hpke_key, row->device.hpke_key_bytes),
		       bytes_of(device->hpke_key, device->hpke_key_bytes));
}

static int pend_room(struct apply *a, const struct device_row *device)
{
	struct pending_row rows[PENDING_DEVICES_MAX];
	struct device_row old;
	size_t n = 0;
	int rc = device_store_get(a->view, device->user_id, device->device_id, &old, a->e);

	if (rc == 0) {
		return err_set(a->e, KLUIS_EEXIST, "a device id is never used twice");
	}
	if (rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	rc = pending_store_list(a->view, device->user_id, rows, &n, a->e);
	for (size_t i = 0, all = n; rc == 0 && i < all; i++) {
		if (a->now_ms >= rows[i].expires_ms) {
			pending_store_delete(a->txn, &rows[i]);
			n--;
		}
	}
	return rc == 0 && n == PENDING_DEVICES_MAX
		       ? err_set(a->e, KLUIS_EQUOTA, "too many devices ask to be enrolled")
		       : rc;
}

static int pend_run(struct apply *a, const struct session_row *session,
	const struct device_row *device, struct bytes statement)
{
	struct pending_row row;
	int rc = pending_store_get(a->view, device->user_id, device->device_id, &row, a->e);

	if (rc == 0 && a->now_ms >= row.expires_ms) {
		rc = KLUIS_ENOTFOUND; /* It goes as one of those that make room. */
	}
	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	if (rc == KLUIS_ENOTFOUND) {
		row = (struct pending_row){.expires_ms = a->now_ms + PENDING_DEVICE_MS};
	}
	memcpy(a->reply.id, device->device_id, 16);
	a->reply.number = row.expires_ms;
	if (rc == 0) {
		return pending_is(&row, device)
			       ? 0
			       : err_set(a->e, KLUIS_EEXIST, "the device id asked with other keys");
	}
	if (statement.len > PENDING_STATEMENT_BYTES_MAX) {
		return err_set(a->e, KLUIS_EINVAL, "a device's statement is too long");
	}
	rc = pend_room(a, device);
	rc = rc != 0 ? rc : apply_writable(a);
	if (rc != 0) {
		return rc;
	}
	row.device = *device;
	row.device.added_ms = a->now_ms;
	memcpy(row.session_id, session->session_id, 16);
	row.statement_bytes = (uint16_t)statement.len;
	memcpy(row.statement, statement.data, statement.len);
	pending_store_put(a->txn, &row);
	return apply_access(a, session, ACCESS_DEVICE_ASKED, bytes_of(device->device_id, 16));
}

int apply_device_pend(struct apply *a, const struct command_device_pend *c)
{
	struct session_row session;
	struct device_row device;
	struct statement s;
	int rc = apply_session(a, &c->session, &session);

	if (rc == 0) {
		rc = apply_own_statement(a, &session, c->statement, &s);
	}
	if (rc == 0 && !apply_statement_device(a, &s, &device)) {
		rc = err_set(a->e, KLUIS_EINVAL, "malformed device statement");
	}
	return rc == 0 ? pend_run(a, &session, &device, c->statement) : rc;
}

int apply_device_refuse(struct apply *a, const struct command_device_refuse *c)
{
	struct session_row session;
	struct pending_row row;
	int rc = apply_session(a, &c->session, &session);

	if (rc == 0) {
		rc = pending_store_get(a->view, session.user_id, c->device_id, &row, a->e);
	}
	if (rc != 0) {
		return rc;
	}
	pending_store_delete(a->txn, &row);
	return apply_access(a, &session, ACCESS_DEVICE_REFUSED, bytes_of(c->device_id, 16));
}
