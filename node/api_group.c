/* Groups and conversations themselves; their members are api_share.c's. */
#include <string.h>

#include "base/text.h"
#include "crypto/member.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/api_share.h"
#include "node/share_in.h"

/* A group that is seen through a vault has no role or state of the user's own. */
static json_t *object_json(const struct object_row *row, unsigned role, unsigned state)
{
	json_t *object = json_object();

	json_put(object, "id", json_make_id(row->object_id));
	json_put(object, "role", role == 0 ? json_null() : json_make_text(call_role_name(role)));
	json_put(object, "state",
		role == 0 ? json_null() : json_make_text(call_member_state_name(state)));
	json_put(object, "epoch", json_make_number(row->epoch));
	json_put(object, "label", json_make_base64(bytes_of(row->label, row->label_bytes)));
	json_put(object, "members_rev", json_make_number(row->members_rev));
	json_put(object, "members_hash", json_make_hash(row->members_hash));
	json_put(object, "created_ms", json_make_number(row->created_ms));
	if (row->kind == MEMBER_OBJECT_GROUP) {
		json_put(object, "group_key",
			json_make_base64(bytes_of(row->group_key, row->group_key_bytes)));
	} else {
		json_put(object, "chat_epoch", json_make_number(row->chat_epoch));
		json_put(object, "chat_stale", json_boolean(row->chat_stale));
	}
	return object;
}

static int object_add_state(struct api_call *call, const struct object_row *row, json_t *to)
{
	return row->kind == MEMBER_OBJECT_CONVERSATION ? call_chat_state(call, row->object_id, to)
						       : 0;
}

int object_list_read(struct api_call *call)
{
	_cleanup_(x_freep) struct member_of *rows = x_calloc(call->limit + 1, sizeof *rows);
	const uint8_t *after;
	struct bytes key = {0};
	json_t *items;
	size_t n = 0;
	int rc = call_cursor(call, 16, &after);

	rc = rc != 0 ? rc
		     : member_store_objects(call->view, call_object_kind(call),
			       call->session.user_id, after, rows, call->limit + 1, &n, &call->e);
	if (rc != 0) {
		return rc;
	}
	if (n > call->limit) {
		n = call->limit;
		key = bytes_of(rows[n - 1].object_id, 16);
	}
	items = json_array();
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct object_row row;

		rc = object_store_get(call->view, rows[i].object_id, &row, &call->e);
		if (rc == 0) {
			json_t *item = object_json(&row, rows[i].role, rows[i].state);

			(void)json_array_append_new(items, item);
			rc = object_add_state(call, &row, item);
		}
	}
	if (rc != 0) {
		json_decref(items);
		return rc;
	}
	call_list(call, items, key);
	return 0;
}

static int object_show(struct api_call *call, int status)
{
	struct shared object;
	json_t *body;
	int rc = call_shared(call, call->vault_id, call_object_kind(call), 0, &object);

	if (rc != 0) {
		return rc;
	}
	body = object_json(&object.row, object.role, object.state);
	rc = object_add_state(call, &object.row, body);
	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	call_json(call, status, body);
	return 0;
}

int object_get_read(struct api_call *call)
{
	return object_show(call, 200);
}

/* Making one. */

/* Its id is what its create statement says, and that is the first of the chain. */
static int create_begin(struct api_call *call, struct share_section *section, struct bytes create)
{
	struct statement s;
	struct wire body;
	int rc = statement_parse(CHAIN_MEMBERS, create, &s, &call->e);

	if (rc != 0) {
		return call_refusal(call, rc, "create statement");
	}
	body = wire_of(s.body);
	if (s.type != MEMBER_CREATE || wire_u8(&body) != call_object_kind(call)) {
		return call_fail(call, KLUIS_EINVAL, "it is no create statement of such an object");
	}
	memcpy(section->object_id, s.object_id, 16);
	memcpy(call->vault_id, s.object_id, 16);
	return 0;
}

int object_create_parse(struct api_call *call)
{
	struct share_in *share = share_in_new(call);
	struct share_section *section = &share->sections[0];
	_cleanup_(buf_release) struct buf create = BUF_INIT;
	struct json_in reader;
	int rc;

	json_in_begin(&reader, call_body(call), &call->e);
	json_in_binary(&reader, "create", MEMBERS_STATEMENT_BYTES_MAX, &create);
	members_item_append(&section->statements, buf_bytes(&create));
	share_in_section(&reader, section);
	section->n_statements++;
	rc = json_in_end(&reader);
	rc = rc != 0 ? rc : create_begin(call, section, buf_bytes(&create));
	return rc != 0 ? rc : share_in_check(call);
}

int object_create_read(struct api_call *call)
{
	struct share_in *share = call->extra;

	return call_device_key(call, share->device_key);
}

int object_create_applied(struct api_call *call)
{
	if (call->rc != 0) {
		return call->rc;
	}
	buf_printf(&call->location, "%s/", call->route->pattern);
	hex_append(&call->location, bytes_of(call->vault_id, 16));
	return object_show(call, 201);
}

/* Ending one. */

int object_delete_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_OBJECT_DELETE};
	struct shared object;
	int rc = call_need_device(call);

	rc = rc != 0 ? rc
		     : call_shared(
			       call, call->vault_id, call_object_kind(call), MEMBER_ADMIN, &object);
	if (rc != 0) {
		return rc;
	}
	command.object_delete.session = call_session(call);
	memcpy(command.object_delete.object_id, call->vault_id, 16);
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}
