#include <string.h>

#include "raft/fsm_apply.h"

/* Second factors. A number (TOTP step, HOTP counter, signCount) is compared with the lowest one
 * still accepted and set in the same command: that is what makes a code worth one login on all
 * sites. */

int apply_spend(struct apply *a, const struct session_row *session, const uint8_t mfa_id[16],
	uint64_t number, bool pending, struct mfa_row *ret_row)
{
	struct mfa_row row;
	uint8_t guard[16];
	int rc = mfa_store_get(a->view, session->user_id, mfa_id, &row, a->e);

	guard_code_id(session->user_id, session->device_id, guard);
	if (rc == 0 && row.method != MFA_FIDO2) {
		rc = guard_store_check(a->view, GUARD_CODE, guard, a->now_ms, NULL, a->e);
	}
	if (rc == 0 && pending && row.pending && a->now_ms >= row.expires_ms) {
		rc = err_set(a->e, KLUIS_ENOTFOUND, "no such second factor");
	}
	if (rc != 0) {
		return rc;
	}
	if (row.pending != pending || (!pending && !mfa_counts(&row))) {
		return pending ? err_set(a->e, KLUIS_ECONFLICT, "the factor was proven before")
			       : err_set(a->e, KLUIS_ENOTFOUND, "no such second factor");
	}
	if (!mfa_accepts(&row, number, &row.next)) {
		return err_set(a->e, KLUIS_EUNAUTHENTICATED, "the code was used");
	}
	if (pending) {
		mfa_store_proven(a->txn, &row);
		row.pending = false;
		row.expires_ms = 0;
	}
	mfa_store_put(a->txn, &row);
	*ret_row = row;
	return row.method == MFA_FIDO2 ? 0 : guard_store_clear(a->txn, GUARD_CODE, guard, a->e);
}

/* A fresh proof by a factor of the user's; where none counts, a fresh login: or whoever found a
 * token shuts her out by a factor of his own. */
static int mfa_prove(struct apply *a, const struct command_session *s,
	const struct session_row *session, const struct command_proof *proof)
{
	struct session_row fresh;
	struct mfa_row row;
	bool needed = false;
	int rc;

	if (proof->given) {
		return apply_spend(a, session, proof->mfa_id, proof->number, false, &row);
	}
	rc = apply_needs_factor(a, session->user_id, &needed);
	if (rc == 0 && needed) {
		return err_set(a->e, KLUIS_EMFA, "a fresh second factor is needed");
	}
	return rc != 0 ? rc : apply_fresh_session(a, s, &fresh);
}

static int mfa_room(struct apply *a, const uint8_t user_id[16], const uint8_t mfa_id[16])
{
	_cleanup_(x_freep) struct mfa_row *rows = x_calloc(MFA_PER_USER_MAX, sizeof *rows);
	size_t n = 0;
	int rc = mfa_store_list(a->view, user_id, rows, &n, a->e);

	for (size_t i = 0, all = n; rc == 0 && i < all; i++) {
		if (rows[i].pending && a->now_ms >= rows[i].expires_ms) {
			mfa_store_delete(a->txn, &rows[i]);
			n--;
		} else if (memcmp(rows[i].mfa_id, mfa_id, 16) == 0) {
			return err_set(a->e, KLUIS_EEXIST, "the factor is there");
		}
	}
	return rc == 0 && n == MFA_PER_USER_MAX
		       ? err_set(a->e, KLUIS_EQUOTA, "too many second factors")
		       : rc;
}

static void mfa_of(struct apply *a, const struct command_mfa_add *c, const uint8_t user_id[16],
	struct mfa_row *ret_row)
{
	struct mfa_row row = {.method = c->method,
		.pending = c->method <= MFA_FIDO2,
		.created_ms = a->now_ms,
		.next = c->next,
		.pepper_id = c->pepper_id,
		.secret_bytes = (uint16_t)c->secret.len,
		.params_bytes = (uint16_t)c->params.len};

	row.expires_ms = row.pending ? a->now_ms + MFA_PENDING_MS : 0;
	memcpy(row.user_id, user_id, 16);
	memcpy(row.mfa_id, c->mfa_id, 16);
	if (c->secret.len > 0) {
		memcpy(row.secret, c->secret.data, c->secret.len);
	}
	if (c->params.len > 0) {
		memcpy(row.params, c->params.data, c->params.len);
	}
	if (c->label.len > 0) {
		memcpy(row.label, c->label.data, c->label.len);
	}
	*ret_row = row;
}

/* Persons alone have second factors: a service has its key. */
static int mfa_session(
	struct apply *a, const struct command_session *s, struct session_row *session)
{
	struct person_row person;
	int rc = apply_session(a, s, session);

	if (rc == 0) {
		rc = person_store_get(a->view, session->user_id, &person, a->e);
	}
	return rc == KLUIS_ENOTFOUND ? err_set(a->e, KLUIS_EFORBIDDEN, "not a person's account")
				     : rc;
}

int apply_mfa_add(struct apply *a, const struct command_mfa_add *c)
{
	struct session_row session;
	struct mfa_row row;
	int rc = mfa_session(a, &c->session, &session);

	if (rc == 0) {
		rc = apply_writable(a);
	}
	if (rc == 0) {
		rc = mfa_room(a, session.user_id, c->mfa_id);
	}
	if (rc == 0) {
		rc = mfa_prove(a, &c->session, &session, &c->proof);
	}
	if (rc != 0) {
		return rc;
	}
	mfa_of(a, c, session.user_id, &row);
	mfa_store_put(a->txn, &row);
	memcpy(a->reply.id, row.mfa_id, 16);
	a->reply.number = row.expires_ms;
	return row.pending ? 0
			   : apply_access(a, &session, ACCESS_MFA_ADDED, bytes_of(row.mfa_id, 16));
}

int apply_mfa_confirm(struct apply *a, const struct command_mfa_confirm *c)
{
	struct session_row session;
	struct mfa_row row;
	int rc = mfa_session(a, &c->session, &session);

	if (rc == 0) {
		rc = apply_spend(a, &session, c->mfa_id, c->number, true, &row);
	}
	return rc == 0 ? apply_access(a, &session, ACCESS_MFA_ADDED, bytes_of(c->mfa_id, 16)) : rc;
}

int apply_mfa_remove(struct apply *a, const struct command_mfa_remove *c)
{
	struct session_row session;
	struct mfa_row row;
	int rc = mfa_session(a, &c->session, &session);

	if (rc == 0) {
		rc = mfa_store_get(a->view, session.user_id, c->mfa_id, &row, a->e);
	}
	if (rc == 0 && !row.pending) {
		rc = mfa_prove(a, &c->session, &session, &c->proof);
	}
	if (rc != 0) {
		return rc;
	}
	mfa_store_delete(a->txn, &row);
	return row.pending ? 0
			   : apply_access(a, &session, ACCESS_MFA_REMOVED, bytes_of(c->mfa_id, 16));
}
