/* Operators make and end service accounts. */
#include <string.h>

#include "crypto/identity.h"
#include "node/api_core.h"
#include "node/api_handlers.h"

struct service {
	char token[API_TOKEN_CHARS + 1];
	uint8_t hash[32];
};
enum { SERVICE_NAME }; /* In call->text. */

static const char *state_name(unsigned state)
{
	return state == ACCOUNT_ACTIVE	  ? "active"
	       : state == ACCOUNT_PENDING ? "pending"
					  : "disabled";
}

static json_t *service_json(const struct account_row *row)
{
	static const uint8_t none[16];
	json_t *service = json_object();

	json_put(service, "name", json_make_text(row->name));
	json_put(service, "state", json_make_text(state_name(row->state)));
	json_put(service, "user_id",
		memcmp(row->user_id, none, sizeof none) == 0 ? json_null()
							     : json_make_id(row->user_id));
	json_put(service, "created", json_make_number(row->created_ms));
	return service;
}

int sys_service_list_read(struct api_call *call)
{
	_cleanup_(x_freep) struct account_row *rows = x_calloc(call->limit + 1, sizeof *rows);
	const char *after = "";
	struct bytes key = {0};
	json_t *items;
	size_t n;
	int rc;

	if (call->has_cursor) {
		after = buf_str(&call->cursor);
		if (!identity_name_valid(buf_bytes(&call->cursor))) {
			return call_fail(
				call, KLUIS_EINVAL, "query parameter 'cursor' is malformed");
		}
	}
	rc = account_store_list(call->view, after, rows, call->limit + 1, &n, &call->e);
	if (rc != 0) {
		return rc;
	}
	if (n > call->limit) {
		n = call->limit;
		key = bytes_str(rows[n - 1].name);
	}
	items = json_array();
	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(items, service_json(&rows[i]));
	}
	call_list(call, items, key);
	return 0;
}

int sys_service_create_parse(struct api_call *call)
{
	struct service *service = call_extra(call, sizeof *service);
	struct json_in reader;
	int rc;

	json_in_begin(&reader, call_body(call), &call->e);
	json_in_string(&reader, "name", ACCOUNT_NAME_BYTES_MAX, &call->text[SERVICE_NAME]);
	rc = json_in_end(&reader);
	if (rc == 0 && !identity_name_valid(buf_bytes(&call->text[SERVICE_NAME]))) {
		rc = call_fail(call, KLUIS_EINVAL, "'name' is no account name");
	}
	if (rc == 0) {
		api_token_make(call->api->config.random, "ket_", service->token, service->hash);
	}
	return rc;
}

int sys_service_create_read(struct api_call *call)
{
	const struct service *service = call->extra;
	struct command command = {.type = COMMAND_SERVICE_CREATE};

	command.service_create.actor = call_actor(call);
	command.service_create.name = buf_bytes(&call->text[SERVICE_NAME]);
	memcpy(command.service_create.enrol_hash, service->hash, 32);
	command.service_create.once = call_once(call);
	call_propose(call, &command);
	return 0;
}

int sys_service_create_applied(struct api_call *call)
{
	struct service *service = call->extra;
	struct command_reply reply;
	json_t *body;
	int rc = call_reply(call, &reply);

	if (rc != 0) {
		return rc;
	}
	body = json_object();
	json_put(body, "name", json_make_text(buf_str(&call->text[SERVICE_NAME])));
	json_put(body, "token", json_make_text(service->token));
	json_put(body, "expires", json_make_number(reply.number));
	call_json(call, 201, body);
	return 0;
}

int sys_service_disable_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_SERVICE_DISABLE};
	struct account_row row;
	int rc;

	if (!identity_name_valid(bytes_str(call->param[0]))) {
		return call_fail(call, KLUIS_EINVAL, "path holds no account name");
	}
	rc = account_store_get(call->view, call->param[0], &row, &call->e);
	if (rc != 0) {
		return rc;
	}
	command.service_disable.actor = call_actor(call);
	command.service_disable.name = bytes_str(call->param[0]);
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}
