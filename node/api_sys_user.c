/* Operators' word on persons: who there is, who may come in, who is shut out; and invitations. */
#include <string.h>

#include "base/text.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "storage/invite_store.h"
#include "storage/person_store.h"
#include "storage/use_store.h"

enum { INVITE_HOURS_DEFAULT = 72, INVITE_HOURS_MAX = SESSION_MS_MAX / 3600000 };

/* Persons. */

static const char *user_state(const struct person_name_row *name, const struct user_row *user)
{
	return name->gone ? "deleted" : user->disabled ? "disabled" : "active";
}

static int user_json(struct api_call *call, const struct person_name_row *name, json_t *to)
{
	struct user_row user = {0};
	int rc = name->gone ? 0 : user_store_get(call->view, name->user_id, &user, &call->e);

	json_put(to, "name", json_make_text(name->name));
	json_put(to, "state", json_make_text(user_state(name, &user)));
	json_put(to, "user_id", name->gone ? json_null() : json_make_id(name->user_id));
	json_put(to, "created", name->gone ? json_null() : json_make_number(user.created_ms));
	return rc;
}

static int user_list_items(
	struct api_call *call, const struct person_name_row *rows, size_t n, json_t *items)
{
	for (size_t i = 0; i < n; i++) {
		json_t *item = json_object();
		int rc = user_json(call, &rows[i], item);

		(void)json_array_append_new(items, item);
		if (rc != 0) {
			return rc;
		}
	}
	return 0;
}

int sys_user_list_read(struct api_call *call)
{
	_cleanup_(x_freep) struct person_name_row *rows = x_calloc(call->limit + 1, sizeof *rows);
	char after[ACCOUNT_NAME_BYTES_MAX + 1] = "";
	struct bytes key = {0};
	json_t *items;
	size_t n = 0;
	int rc;

	if (call->has_cursor) {
		if (call->cursor.len >= sizeof after) {
			return call_fail(
				call, KLUIS_EINVAL, "query parameter 'cursor' is malformed");
		}
		memcpy(after, call->cursor.data, call->cursor.len);
	}
	rc = person_name_store_list(call->view, after, rows, call->limit + 1, &n, &call->e);
	if (rc != 0) {
		return rc;
	}
	if (n > call->limit) {
		n = call->limit;
		key = bytes_str(rows[n - 1].name);
	}
	items = json_array();
	rc = user_list_items(call, rows, n, items);
	if (rc != 0) {
		json_decref(items);
		return rc;
	}
	call_list(call, items, key);
	return 0;
}

/* The person that the path names; deleted ones are gone. */
static int user_of_path(struct api_call *call, struct person_name_row *ret_name)
{
	char name[ACCOUNT_NAME_BYTES_MAX + 1];
	int rc = call_name(call, bytes_str(call->param[0]), name);

	rc = rc != 0 ? rc : person_name_store_get(call->view, name, ret_name, &call->e);
	if (rc == 0 && ret_name->gone) {
		rc = call_fail(call, KLUIS_EGONE, "the account was deleted");
	}
	return rc;
}

int sys_user_get_read(struct api_call *call)
{
	struct person_name_row name;
	struct person_row person;
	json_t *body;
	int rc = user_of_path(call, &name);

	rc = rc != 0 ? rc : person_store_get(call->view, name.user_id, &person, &call->e);
	if (rc != 0) {
		return rc;
	}
	body = json_object();
	rc = user_json(call, &name, body);
	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	json_put(body, "password_changed", json_make_number(person.changed_ms));
	json_put(body, "keyring_revision", json_make_number(person.keyring_revision));
	json_put(body, "vaults_max", json_make_number(person.vaults_max));
	json_put(body, "vault_pages_max", json_make_number(person.pages_max));
	json_put(body, "bytes_max", json_make_number(person.bytes_max));
	json_put(body, "pages_max", json_make_number(person.all_pages_max));
	call_json(call, 200, body);
	return 0;
}

static int user_rule(struct api_call *call, unsigned what)
{
	struct command command = {.type = COMMAND_PERSON_RULE};
	struct person_name_row name;
	int rc = user_of_path(call, &name);

	if (rc != 0) {
		return rc;
	}
	command.person_rule.actor = call_actor(call);
	command.person_rule.name = bytes_str(call->param[0]);
	command.person_rule.what = (uint8_t)what;
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}

int sys_user_disable_read(struct api_call *call)
{
	return user_rule(call, PERSON_DISABLE);
}

int sys_user_enable_read(struct api_call *call)
{
	return user_rule(call, PERSON_ENABLE);
}

int sys_user_delete_read(struct api_call *call)
{
	return user_rule(call, PERSON_DELETE);
}

int sys_user_mfa_reset_read(struct api_call *call)
{
	return user_rule(call, PERSON_MFA_RESET);
}

int sys_user_sessions_end_read(struct api_call *call)
{
	return user_rule(call, PERSON_END_SESSIONS);
}

int sys_user_sessions_read(struct api_call *call)
{
	struct person_name_row name;
	int rc = user_of_path(call, &name);

	return rc != 0 ? rc : call_sessions(call, name.user_id);
}

int sys_user_quota_parse(struct api_call *call)
{
	struct use *quota = call_extra(call, sizeof *quota);
	struct json_in reader;

	json_in_begin(&reader, call_body(call), &call->e);
	call->number = json_in_u64(&reader, "vaults_max", 0, PERSON_VAULTS_MAX);
	call->page_no = json_in_u64(&reader, "vault_pages_max", 0, VAULT_PAGES_MAX);
	/* Of all vaults together; without them the cluster's policy holds. */
	quota->bytes = json_in_has(&reader, "bytes_max")
			       ? json_in_u64(&reader, "bytes_max", 0, INT64_MAX)
			       : 0;
	quota->pages = json_in_has(&reader, "pages_max")
			       ? json_in_u64(&reader, "pages_max", 0, INT64_MAX)
			       : 0;
	return json_in_end(&reader);
}

int sys_user_quota_read(struct api_call *call)
{
	const struct use *quota = call->extra;
	struct command command = {.type = COMMAND_PERSON_QUOTA};
	struct person_name_row name;
	json_t *body;
	int rc = user_of_path(call, &name);

	if (rc != 0) {
		return rc;
	}
	command.person_quota.actor = call_actor(call);
	command.person_quota.name = bytes_str(call->param[0]);
	command.person_quota.vaults_max = (uint32_t)call->number;
	command.person_quota.pages_max = (uint32_t)call->page_no;
	command.person_quota.bytes_max = quota->bytes;
	command.person_quota.all_pages_max = quota->pages;
	call_propose(call, &command);
	body = json_object();
	json_put(body, "vaults_max", json_make_number(call->number));
	json_put(body, "vault_pages_max", json_make_number(call->page_no));
	json_put(body, "bytes_max", json_make_number(quota->bytes));
	json_put(body, "pages_max", json_make_number(quota->pages));
	call_json(call, 200, body);
	return 0;
}

/* Invitations: known by the hash of their token, which is shown once. */

int sys_invite_list_read(struct api_call *call)
{
	_cleanup_(x_freep) struct invite_row *rows = x_calloc(call->limit + 1, sizeof *rows);
	const uint8_t *after;
	struct bytes key = {0};
	json_t *items;
	size_t n = 0;
	int rc = call_cursor(call, 32, &after);

	rc = rc != 0 ? rc
		     : invite_store_list(call->view, after, rows, call->limit + 1, &n, &call->e);
	if (rc != 0) {
		return rc;
	}
	if (n > call->limit) {
		n = call->limit;
		key = bytes_of(rows[n - 1].token_hash, 32);
	}
	items = json_array();
	for (size_t i = 0; i < n; i++) {
		json_t *item = json_object();

		json_put(item, "id", json_make_hash(rows[i].token_hash));
		json_put(item, "created", json_make_number(rows[i].created_ms));
		json_put(item, "expires", json_make_number(rows[i].expires_ms));
		json_put(item, "uses_left", json_make_number(rows[i].uses_left));
		json_put(item, "note", json_make_text(rows[i].note));
		(void)json_array_append_new(items, item);
	}
	call_list(call, items, key);
	return 0;
}

struct inviting {
	uint64_t uses, hours;
	struct buf note;
	char token[API_TOKEN_CHARS + 1];
	uint8_t token_hash[32];
};

static void inviting_release(void *extra)
{
	struct inviting *inviting = extra;

	buf_release(&inviting->note);
}

int sys_invite_create_parse(struct api_call *call)
{
	struct inviting *inviting = call_extra(call, sizeof *inviting);
	struct json_in reader;

	call->extra_release = inviting_release;
	inviting->uses = 1;
	inviting->hours = INVITE_HOURS_DEFAULT;
	json_in_begin(&reader, call_body(call), &call->e);
	if (json_in_has(&reader, "uses")) {
		inviting->uses = json_in_u64(&reader, "uses", 1, INVITE_USES_MAX);
	}
	if (json_in_has(&reader, "hours")) {
		inviting->hours = json_in_u64(&reader, "hours", 1, INVITE_HOURS_MAX);
	}
	if (json_in_has(&reader, "note")) {
		json_in_string(&reader, "note", INVITE_NOTE_BYTES_MAX, &inviting->note);
	}
	return json_in_end(&reader);
}

int sys_invite_create_read(struct api_call *call)
{
	struct inviting *inviting = call->extra;
	struct command command = {.type = COMMAND_INVITE_CREATE};

	api_token_make(call->api->config.random, "kiv_", inviting->token, inviting->token_hash);
	command.invite_create.actor = call_actor(call);
	memcpy(command.invite_create.token_hash, inviting->token_hash, 32);
	command.invite_create.uses = (uint32_t)inviting->uses;
	command.invite_create.ttl_ms = (uint32_t)(inviting->hours * 3600 * 1000);
	command.invite_create.note = buf_bytes(&inviting->note);
	call_propose(call, &command);
	return 0;
}

int sys_invite_create_applied(struct api_call *call)
{
	const struct inviting *inviting = call->extra;
	struct command_reply reply;
	json_t *body;
	int rc = call_reply(call, &reply);

	if (rc != 0) {
		return rc;
	}
	body = json_object();
	json_put(body, "id", json_make_hash(inviting->token_hash));
	json_put(body, "token", json_make_text(inviting->token));
	json_put(body, "expires", json_make_number(reply.number));
	call_json(call, 201, body);
	return 0;
}

int sys_invite_revoke_parse(struct api_call *call)
{
	return call_param_hash(call, 0, call->hash);
}

int sys_invite_revoke_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_INVITE_DELETE};
	struct invite_row row;
	int rc = invite_store_get(call->view, call->hash, &row, &call->e);

	if (rc != 0) {
		return rc;
	}
	command.invite_delete.actor = call_actor(call);
	memcpy(command.invite_delete.token_hash, call->hash, 32);
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}
