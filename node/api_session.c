/* A user's own sessions. */
#include <assert.h>
#include <string.h>

#include "node/api_core.h"
#include "node/api_handlers.h"
#include "storage/guard_store.h"
#include "storage/mfa_store.h"

static const char *session_level_name(unsigned level)
{
	switch (level) {
	case SESSION_FULL:
		return "full";
	case SESSION_RECOVERY_LOGIN:
	case SESSION_RECOVERY:
		return "recovery";
	default:
		return "login";
	}
}

/* Of a recovery: until its delay is over nothing is open. */
static int session_recovery_open(struct api_call *call)
{
	struct recovery_row row;
	int rc = recovery_store_get(call->view, call->session.user_id, &row, &call->e);

	if (rc == KLUIS_ENOTFOUND ||
		(rc == 0 && memcmp(row.session_id, call->session.session_id, 16) != 0)) {
		return call_fail(call, KLUIS_EUNAUTHENTICATED, "the recovery has ended");
	}
	if (rc == 0 && call->now_ms < row.open_from_ms) {
		call->problem_retry_ms = row.open_from_ms - call->now_ms;
		rc = call_fail(call, KLUIS_EFORBIDDEN, "the delay of the recovery is not over");
	}
	return rc;
}

int call_session_permits(struct api_call *call)
{
	enum route_auth auth = call->route->auth;

	if (auth == ROUTE_LOGIN) {
		return 0;
	}
	if (session_waits(&call->session)) {
		return call_fail(call, KLUIS_EMFA, "second factor needed");
	}
	if (call->session.level == SESSION_RECOVERY) {
		return auth == ROUTE_RECOVERY
			       ? session_recovery_open(call)
			       : call_fail(call, KLUIS_EFORBIDDEN,
					 "a recovery fetches the keyring, looks at devices and "
					 "factors, and sets a password");
	}
	assert(call->session.level == SESSION_FULL);
	return 0;
}

int call_mfa_names(struct api_call *call, const uint8_t user_id[16], bool proofs, json_t *names)
{
	static const char *const method_names[] = {[MFA_TOTP] = "totp",
		[MFA_HOTP] = "hotp",
		[MFA_FIDO2] = "fido2",
		[MFA_IP] = "ip",
		[MFA_LOCATION] = "location"};
	_cleanup_(x_freep) struct mfa_row *rows = x_calloc(MFA_PER_USER_MAX, sizeof *rows);
	unsigned seen = 0;
	size_t n = 0;
	int rc = mfa_store_list(call->view, user_id, rows, &n, &call->e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		bool wanted = proofs ? mfa_counts(&rows[i]) : !rows[i].pending;

		if (wanted && (seen & BIT(rows[i].method)) == 0) {
			seen |= BIT(rows[i].method);
			(void)json_array_append_new(
				names, json_make_text(method_names[rows[i].method]));
		}
	}
	return rc;
}

void call_session_life(
	const struct api_call *call, bool recovery, uint32_t *ret_ttl_ms, uint32_t *ret_delay_ms)
{
	const struct api_config *config = &call->api->config;
	uint64_t delay_ms = recovery ? config->recovery_delay_ms : 0;
	uint64_t ttl_ms = delay_ms + config->session_ms;

	*ret_delay_ms = (uint32_t)delay_ms;
	*ret_ttl_ms = (uint32_t)(ttl_ms < SESSION_MS_MAX ? ttl_ms : SESSION_MS_MAX);
}

/* When a recovery that is proven may do its work. */
static int reply_not_before(struct api_call *call, const struct session_row *session, json_t *body)
{
	struct recovery_row row;
	int rc;

	if (session->level != SESSION_RECOVERY) {
		return 0;
	}
	rc = recovery_store_get(call->view, session->user_id, &row, &call->e);
	if (rc == 0) {
		json_put(body, "not_before", json_make_number(row.open_from_ms));
	}
	return rc;
}

int call_session_reply(struct api_call *call, const uint8_t token_hash[32], json_t *body)
{
	struct session_row session;
	json_t *methods = json_array();
	int rc = session_store_get(call->view, token_hash, &session, &call->e);

	json_put(body, "mfa", methods);
	if (rc == 0 && session_waits(&session)) {
		rc = call_mfa_names(call, session.user_id, true, methods);
	}
	rc = rc != 0 ? rc : reply_not_before(call, &session, body);
	if (rc != 0) {
		return rc;
	}
	json_put(body, "session_id", json_make_id(session.session_id));
	json_put(body, "user_id", json_make_id(session.user_id));
	json_put(body, "level",
		json_make_text(
			session_waits(&session) ? "login" : session_level_name(session.level)));
	json_put(body, "expires", json_make_number(session.expires_ms));
	return 0;
}

static json_t *session_json(const struct api_call *call, const struct session_row *row)
{
	json_t *session = json_object();
	bool current = memcmp(row->session_id, call->session.session_id, 16) == 0;

	json_put(session, "id", json_make_id(row->session_id));
	json_put(session, "device_id", json_make_id(row->device_id));
	json_put(session, "level", json_make_text(session_level_name(row->level)));
	json_put(session, "created", json_make_number(row->created_ms));
	json_put(session, "expires", json_make_number(row->expires_ms));
	json_put(session, "current", json_boolean(current));
	return session;
}

int call_sessions(struct api_call *call, const uint8_t user_id[16])
{
	_cleanup_(x_freep) struct session_row *rows = x_calloc(call->limit + 1, sizeof *rows);
	const uint8_t *after;
	size_t n;
	json_t *items;
	struct bytes key = {0};
	int rc = call_cursor(call, 16, &after);

	if (rc == 0) {
		rc = session_store_list(
			call->view, user_id, after, rows, call->limit + 1, &n, &call->e);
	}
	if (rc != 0) {
		return rc;
	}
	if (n > call->limit) {
		n = call->limit;
		key = bytes_of(rows[n - 1].session_id, 16);
	}
	items = json_array();
	for (size_t i = 0; i < n; i++) {
		if (rows[i].expires_ms > call->now_ms) {
			(void)json_array_append_new(items, session_json(call, &rows[i]));
		}
	}
	call_list(call, items, key);
	return 0;
}

int session_list_read(struct api_call *call)
{
	return call_sessions(call, call->session.user_id);
}

int session_id_parse(struct api_call *call)
{
	return call_param_id(call, 0, call->id);
}

int session_get_read(struct api_call *call)
{
	struct session_row row;
	int rc = session_store_find(call->view, call->session.user_id, call->id, &row, &call->e);

	if (rc == 0) {
		call_json(call, 200, session_json(call, &row));
	}
	return rc;
}

static int session_end(struct api_call *call, unsigned which, const uint8_t session_id[16])
{
	struct command command = {.type = COMMAND_SESSION_END};

	command.session_end.session = call_session(call);
	command.session_end.which = (uint8_t)which;
	if (which == SESSION_END_ONE) {
		memcpy(command.session_end.session_id, session_id, 16);
	}
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}

int session_end_read(struct api_call *call)
{
	struct session_row row;
	int rc = session_store_find(call->view, call->session.user_id, call->id, &row, &call->e);

	return rc == 0 ? session_end(call, SESSION_END_ONE, call->id) : rc;
}

int session_end_others_read(struct api_call *call)
{
	return session_end(call, SESSION_END_OTHERS, NULL);
}

int logout_read(struct api_call *call)
{
	return session_end(call, SESSION_END_ONE, call->session.session_id);
}
