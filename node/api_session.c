/* A user's own sessions. */
#include <string.h>

#include "node/api_handlers.h"

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

int session_list_read(struct api_call *call)
{
	_cleanup_(x_freep) struct session_row *rows = x_calloc(call->limit + 1, sizeof *rows);
	const uint8_t *after;
	size_t n;
	json_t *items;
	struct bytes key = {0};
	int rc = call_cursor(call, 16, &after);

	if (rc == 0) {
		rc = session_store_list(call->view, call->session.user_id, after, rows,
			call->limit + 1, &n, &call->e);
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
