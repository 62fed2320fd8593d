#include <assert.h>
#include <string.h>

#include "raft/fsm_apply.h"
#include "storage/upkeep_store.h"

bool apply_knows_persons(const struct apply *a)
{
	return a->cluster.feature_level >= FEATURE_LEVEL_PERSONS;
}

int apply_refusal(int rc)
{
	if (rc == KLUIS_EVERSION) {
		return KLUIS_ESUITE;
	}
	return apply_is_fatal(rc) || rc == KLUIS_EVERIFY ? KLUIS_EINVAL : rc;
}

int apply_session(
	struct apply *a, const struct command_session *session, struct session_row *ret_session)
{
	struct session_row row;
	int rc = session_store_check(a->view, session->token_hash, a->now_ms, &row, a->e);

	if (rc == 0 && row.level == SESSION_LOGIN) {
		rc = err_set(a->e, KLUIS_EMFA, "the session lacks its second factor");
	} else if (rc == 0 && row.level != SESSION_FULL) {
		rc = err_set(a->e, KLUIS_EFORBIDDEN, "the session is a recovery's");
	}
	if (rc == 0) {
		*ret_session = row;
	}
	return rc;
}

int apply_device_session(
	struct apply *a, const struct command_session *session, struct session_row *ret_session)
{
	struct session_row row;
	int rc = apply_session(a, session, &row);

	if (rc == 0 && !session_has_device(&row) && apply_knows_persons(a)) {
		rc = err_set(a->e, KLUIS_EFORBIDDEN, "the session is of no enrolled device");
	}
	if (rc == 0) {
		*ret_session = row;
	}
	return rc;
}

int apply_fresh_session(
	struct apply *a, const struct command_session *session, struct session_row *ret_session)
{
	bool any = false;
	int rc = apply_session(a, session, ret_session);

	if (rc == 0 && a->now_ms - ret_session->created_ms > FRESH_LOGIN_MS) {
		rc = err_set(a->e, KLUIS_EFORBIDDEN, "the login is too long ago");
	}
	if (rc == 0 && !session_has_device(ret_session)) {
		rc = apply_has_device(a, ret_session->user_id, &any);
	}
	return rc == 0 && any
		       ? err_set(a->e, KLUIS_EFORBIDDEN, "the session is of no enrolled device")
		       : rc;
}

int apply_writable(struct apply *a)
{
	return a->read_only ? err_set(a->e, KLUIS_EREADONLY, "new writes are refused") : 0;
}

int apply_once_begin(
	struct apply *a, struct bytes principal, unsigned route, const struct command_once *once)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct idempotency_row row;
	uint8_t id[32];
	int rc;

	a->replayed = false;
	if (once->key.len == 0) {
		return 0;
	}
	idempotency_id(principal, route, once->key, id);
	rc = idempotency_store_get(a->view, id, &value, &row, a->e);
	if (rc == KLUIS_ENOTFOUND) {
		return 0;
	}
	if (rc != 0) {
		return rc;
	}
	if (a->now_ms >= row.expires_ms) {
		idempotency_store_delete(a->txn, id, row.expires_ms);
		return 0;
	}
	if (memcmp(row.body_hash, once->body_hash, sizeof row.body_hash) != 0) {
		return err_set(a->e, KLUIS_EIDEMPOTENCY, "the key was used with another body");
	}
	if (row.secret) {
		return err_set(a->e, KLUIS_ECONFLICT, "the first answer is not kept");
	}
	a->replayed = true;
	if (command_reply_decode(row.reply, &a->reply) != 0) {
		return err_set(a->e, KLUIS_ECORRUPT, "stored answer is damaged");
	}
	return 0;
}

void apply_once_end(struct apply *a, struct bytes principal, unsigned route,
	const struct command_once *once, bool secret)
{
	_cleanup_(buf_release) struct buf reply = BUF_INIT;
	struct idempotency_row row = {
		.expires_ms = a->now_ms + IDEMPOTENCY_KEPT_MS, .secret = secret};
	uint8_t id[32];

	if (once->key.len == 0) {
		return;
	}
	assert(!a->replayed);
	idempotency_id(principal, route, once->key, id);
	memcpy(row.body_hash, once->body_hash, sizeof row.body_hash);
	if (!secret) {
		command_reply_encode(&a->reply, &reply);
		row.reply = buf_bytes(&reply);
	}
	idempotency_store_put(a->txn, id, &row);
}

static struct audit_row audit_row_of(
	const struct apply *a, enum command_type action, struct bytes actor, struct bytes object)
{
	return (struct audit_row){.time_ms = a->now_ms,
		.index = a->index,
		.action = (uint16_t)action,
		.actor = actor,
		.object = object};
}

int apply_audit(struct apply *a, enum command_type action, struct bytes actor, struct bytes object)
{
	struct audit_row row = audit_row_of(a, action, actor, object);

	return audit_store_add(a->txn, &row, a->e);
}

int apply_audit_user(
	struct apply *a, enum command_type action, const uint8_t user_id[16], struct bytes object)
{
	struct audit_row row = audit_row_of(a, action, bytes_of(user_id, 16), object);

	return audit_store_add_user(a->txn, &row, a->e);
}

int apply_access_row(struct apply *a, const struct access_row *row)
{
	struct access_row next = *row;

	next.time_ms = a->now_ms;
	next.index = a->index;
	return access_store_add(a->txn, &next, a->e);
}

int apply_access(struct apply *a, const struct session_row *session, enum access_event event,
	struct bytes object)
{
	struct access_row row = {.event = (uint8_t)event};
	struct person_row person;
	int rc = person_store_get(a->view, session->user_id, &person, a->e);

	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	assert(object.len <= sizeof row.object);
	memcpy(row.user_id, session->user_id, 16);
	memcpy(row.who, session->user_id, 16);
	memcpy(row.device_id, session->device_id, 16);
	if (object.len > 0) {
		memcpy(row.object, object.data, object.len);
		row.object_bytes = (uint8_t)object.len;
	}
	return apply_access_row(a, &row);
}

int apply_nodes(struct apply *a, struct node_row nodes[SITES_MAX], size_t *ret_n)
{
	return node_store_list(a->view, 0, nodes, SITES_MAX, ret_n, a->e);
}

static struct expiry_row session_expiry(const struct session_row *row)
{
	struct expiry_row expiry = {
		.expires_ms = row->expires_ms, .kind = EXPIRY_SESSION, .subject_bytes = 32};

	memcpy(expiry.subject, row->token_hash, 32);
	return expiry;
}

void apply_put_session(struct apply *a, const struct session_row *row)
{
	struct expiry_row expiry = session_expiry(row);

	session_store_put(a->txn, row);
	expiry_store_put(a->txn, &expiry);
}

void apply_delete_session(struct apply *a, const struct session_row *row)
{
	struct expiry_row expiry = session_expiry(row);

	session_store_delete(a->txn, row);
	expiry_store_delete(a->txn, &expiry);
}

int apply_end_session(struct apply *a, const struct session_row *row)
{
	struct recovery_row recovery;
	int rc;

	apply_delete_session(a, row);
	if (row->level != SESSION_RECOVERY) {
		return 0;
	}
	rc = recovery_store_get(a->view, row->user_id, &recovery, a->e);
	if (rc == 0 && memcmp(recovery.session_id, row->session_id, 16) == 0) {
		recovery_store_delete(a->txn, &recovery);
	}
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

int apply_end_sessions(
	struct apply *a, const uint8_t user_id[16], const uint8_t *keep, const uint8_t *device)
{
	_cleanup_(x_freep) struct session_row *rows = x_calloc(SESSIONS_PER_USER_MAX, sizeof *rows);
	size_t n = 0;
	int rc = session_store_list(a->view, user_id, NULL, rows, SESSIONS_PER_USER_MAX, &n, a->e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		bool other_device = device != NULL && memcmp(rows[i].device_id, device, 16) != 0;

		if (!other_device && (keep == NULL || memcmp(rows[i].session_id, keep, 16) != 0)) {
			rc = apply_end_session(a, &rows[i]);
		}
	}
	return rc;
}
