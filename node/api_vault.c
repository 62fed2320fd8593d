/* Vaults themselves. */
#include <string.h>

#include "base/text.h"
#include "crypto/head.h"
#include "crypto/member.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/api_share.h"

enum { VAULT_CREATE, VAULT_HEAD, VAULT_LABEL }; /* In call->text. */

int call_vault(
	struct api_call *call, unsigned role_min, struct vault_row *ret_row, unsigned *ret_role)
{
	return vault_store_check(call->view, call->vault_id, call->session.user_id, role_min,
		ret_row, ret_role, &call->e);
}

int call_device_key(struct api_call *call, uint8_t ret_key[65])
{
	struct device_row device;
	int rc = call_need_device(call);

	rc = rc != 0 ? rc
		     : device_store_get(call->view, call->session.user_id, call->session.device_id,
			       &device, &call->e);
	if (rc == KLUIS_ENOTFOUND || (rc == 0 && device.revoked)) {
		return call_fail(call, KLUIS_EUNAUTHENTICATED, "device is revoked");
	}
	if (rc == 0) {
		memcpy(ret_key, device.sign_key, sizeof device.sign_key);
	}
	return rc;
}

/* A vault as one user sees it: what she was offered shows before she has accepted it. */
struct vault_seen {
	struct vault_row row;
	struct vault_access access;
};

static unsigned seen_role(const struct vault_seen *seen)
{
	const struct vault_access *access = &seen->access;

	return access->state == MEMBER_INVITED ? access->invited_role : access->role;
}

/* The vault of the path, also for who is invited to it. */
static int vault_see(struct api_call *call, unsigned role_min, struct vault_seen *ret_seen)
{
	unsigned role;
	int rc = call_vault(call, role_min, &ret_seen->row, &role);

	return rc != 0 ? rc
		       : vault_access_get(call->view, call->vault_id, call->session.user_id,
				 &ret_seen->access, &call->e);
}

/* Of all that its representation shows: a commit changes it, too. */
static void vault_etag(const struct vault_seen *seen, char to[ETAG_CHARS_MAX + 1])
{
	const struct vault_row *row = &seen->row;
	const uint8_t mine[3] = {
		(uint8_t)seen_role(seen), seen->access.state, (uint8_t)seen->access.invited_role};
	struct bytes parts[] = {
		bytes_of(row->vault_id, 16),
		bytes_of(row->head_hash, 32),
		bytes_of(row->members_hash, 32),
		bytes_of(mine, sizeof mine),
		bytes_of(seen->access.via, 16),
		bytes_of(row->label, row->label_bytes),
	};
	uint8_t hash[32];

	hash_sha256_parts(parts, ARRAY_SIZE(parts), hash);
	etag_format(row->revision, hash, to);
}

static json_t *vault_json(const struct vault_seen *seen)
{
	const struct vault_row *row = &seen->row;
	const struct vault_access *access = &seen->access;
	char etag[ETAG_CHARS_MAX + 1];
	json_t *vault = json_object();

	vault_etag(seen, etag);
	json_put(vault, "id", json_make_id(row->vault_id));
	json_put(vault, "role", json_make_text(call_role_name(seen_role(seen))));
	json_put(vault, "state", json_make_text(call_member_state_name(access->state)));
	json_put(vault, "invited",
		access->invited_role == 0 ? json_null()
					  : json_make_text(call_role_name(access->invited_role)));
	json_put(vault, "via", access->by_group ? json_make_id(access->via) : json_null());
	json_put(vault, "members_rev", json_make_number(row->members_rev));
	json_put(vault, "members_hash", json_make_hash(row->members_hash));
	json_put(vault, "epoch", json_make_number(row->chain_epoch));
	json_put(vault, "created", json_make_number(row->created_ms));
	json_put(vault, "label", json_make_base64(bytes_of(row->label, row->label_bytes)));
	json_put(vault, "revision", json_make_number(row->revision));
	json_put(vault, "seq", json_make_number(row->seq));
	json_put(vault, "head_hash", json_make_hash(row->head_hash));
	json_put(vault, "page_count", json_make_number(row->page_count));
	json_put(vault, "etag", json_make_text(etag));
	return vault;
}

int vault_id_parse(struct api_call *call)
{
	return call_param_id(call, 0, call->vault_id);
}

static int vault_list_items(
	struct api_call *call, const struct vault_access *vaults, size_t n, json_t *items)
{
	for (size_t i = 0; i < n; i++) {
		struct vault_seen seen = {.access = vaults[i]};
		int rc = vault_store_get(call->view, vaults[i].vault_id, &seen.row, &call->e);

		if (rc != 0) {
			return rc;
		}
		(void)json_array_append_new(items, vault_json(&seen));
	}
	return 0;
}

int vault_list_read(struct api_call *call)
{
	_cleanup_(x_freep) struct vault_access *vaults = x_calloc(call->limit + 1, sizeof *vaults);
	const uint8_t *after;
	json_t *items;
	size_t n;
	struct bytes key = {0};
	int rc = call_cursor(call, 16, &after);

	if (rc == 0) {
		rc = vault_access_list(call->view, call->session.user_id, after, vaults,
			call->limit + 1, &n, &call->e);
	}
	if (rc != 0) {
		return rc;
	}
	if (n > call->limit) {
		n = call->limit;
		key = bytes_of(vaults[n - 1].vault_id, 16);
	}
	items = json_array();
	rc = vault_list_items(call, vaults, n, items);
	if (rc != 0) {
		json_decref(items);
		return rc;
	}
	call_list(call, items, key);
	return 0;
}

static int vault_show(struct api_call *call, int status)
{
	_cleanup_(buf_release) struct buf create = BUF_INIT;
	struct vault_seen seen;
	json_t *vault;
	bool not_modified = false;
	int rc = vault_see(call, 0, &seen);

	if (rc == 0) {
		rc = member_statement_get(call->view, call->vault_id, 1, &create, &call->e);
	}
	if (rc != 0) {
		return rc;
	}
	vault_etag(&seen, call->etag);
	if (call->route->verb == VERB_GET) {
		rc = call_not_modified(call, &not_modified);
	}
	if (rc == 0 && !not_modified) {
		vault = vault_json(&seen);
		json_put(vault, "create", json_make_base64(buf_bytes(&create)));
		call_json(call, status, vault);
	}
	return rc;
}

int vault_get_read(struct api_call *call)
{
	return vault_show(call, 200);
}

int vault_applied(struct api_call *call)
{
	bool create = call->route->verb == VERB_POST;
	struct command_reply reply;
	struct vault_seen seen;
	int rc;

	/* Authorised in apply, at the index this reads at; the row says whose it is now. */
	rc = session_store_check(
		call->view, call->token_hash, call->now_ms, &call->session, &call->e);
	if (rc != 0) {
		return rc;
	}
	if (call->rc == KLUIS_EQUOTA) {
		return call_quota_told(call);
	}
	if (call->rc != 0) {
		rc = create ? KLUIS_ENOTFOUND : vault_see(call, MEMBER_READ, &seen);
		if (rc == 0) {
			vault_etag(&seen, call->current_etag);
		}
		return rc == KLUIS_EAGAIN ? rc : call->rc;
	}
	if (create) {
		rc = call_reply(call, &reply);
		if (rc != 0) {
			return rc;
		}
		memcpy(call->vault_id, reply.id, sizeof call->vault_id);
		buf_printf(&call->location, "/v1/vaults/");
		hex_append(&call->location, bytes_of(call->vault_id, 16));
	}
	return vault_show(call, create ? 201 : 200);
}

static int label_parse(struct api_call *call, struct json_in *reader, bool required)
{
	if (required || json_in_has(reader, "label")) {
		json_in_binary(reader, "label", VAULT_LABEL_BYTES_MAX, &call->text[VAULT_LABEL]);
	}
	return json_in_end(reader);
}

int vault_create_parse(struct api_call *call)
{
	struct json_in reader;

	json_in_begin(&reader, call_body(call), &call->e);
	json_in_binary(&reader, "create", STATEMENT_BYTES_MAX, &call->text[VAULT_CREATE]);
	json_in_binary(&reader, "head", HEAD_BYTES, &call->text[VAULT_HEAD]);
	return label_parse(call, &reader, false);
}

struct birth {
	uint8_t device_key[65];
};

int vault_create_read(struct api_call *call)
{
	struct birth *birth = call->extra;

	if (birth == NULL) {
		birth = call_extra(call, sizeof *birth);
	}
	return call_device_key(call, birth->device_key);
}

/* The signatures; what they are of is compared in apply, the same on all nodes. */
static int birth_verify(struct api_call *call, const struct key_pub *key)
{
	struct statement create;
	struct head head;
	int rc = statement_parse(
		CHAIN_MEMBERS, buf_bytes(&call->text[VAULT_CREATE]), &create, &call->e);

	if (rc == 0) {
		rc = head_parse(buf_bytes(&call->text[VAULT_HEAD]), &head, &call->e);
	}
	if (rc == 0) {
		rc = statement_verify(&create, key, &call->e);
	}
	if (rc == 0) {
		rc = head_verify(&head, key, &call->e);
	}
	return rc == KLUIS_EVERIFY
		       ? call_fail(call, KLUIS_EFORBIDDEN, "not signed by this session's device")
		       : rc;
}

int vault_create_check(struct api_call *call)
{
	const struct birth *birth = call->extra;
	_cleanup_(key_pub_freep) struct key_pub *key = NULL;
	struct command command = {.type = COMMAND_VAULT_CREATE};
	int rc = key_pub_decode(KEY_ECDSA_P256,
		bytes_of(birth->device_key, sizeof birth->device_key), &key, &call->e);

	if (rc != 0) {
		return err_set(&call->e, KLUIS_EINTERNAL, "stored device key is malformed");
	}
	rc = birth_verify(call, key);
	if (rc != 0) {
		return rc;
	}
	command.vault_create.session = call_session(call);
	command.vault_create.once = call_once(call);
	command.vault_create.create = buf_bytes(&call->text[VAULT_CREATE]);
	command.vault_create.head = buf_bytes(&call->text[VAULT_HEAD]);
	command.vault_create.label = buf_bytes(&call->text[VAULT_LABEL]);
	call_propose(call, &command);
	return 0;
}

int vault_patch_parse(struct api_call *call)
{
	struct json_in reader;

	json_in_begin(&reader, call_body(call), &call->e);
	if (label_parse(call, &reader, true) != 0) {
		return call->e.code;
	}
	return vault_id_parse(call);
}

/* The vault for a change of itself, at the state that If-Match named. */
static int vault_match(struct api_call *call, unsigned role_min, struct vault_seen *ret_seen)
{
	char etag[ETAG_CHARS_MAX + 1];
	int rc = vault_see(call, role_min, ret_seen);

	if (rc != 0) {
		return rc;
	}
	vault_etag(ret_seen, etag);
	return call_if_match(call, etag);
}

int vault_patch_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_VAULT_PATCH};
	struct vault_seen seen;
	int rc = vault_match(call, MEMBER_WRITE, &seen);

	if (rc != 0) {
		return rc;
	}
	command.vault_patch.session = call_session(call);
	memcpy(command.vault_patch.vault_id, call->vault_id, 16);
	command.vault_patch.revision = seen.row.revision;
	command.vault_patch.label = buf_bytes(&call->text[VAULT_LABEL]);
	call_propose(call, &command);
	return 0;
}

int vault_delete_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_VAULT_DELETE};
	struct vault_seen seen;
	int rc = vault_match(call, MEMBER_ADMIN, &seen);

	if (rc != 0) {
		return rc;
	}
	command.vault_delete.session = call_session(call);
	memcpy(command.vault_delete.vault_id, call->vault_id, 16);
	command.vault_delete.revision = seen.row.revision;
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}
