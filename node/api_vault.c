/* Vaults themselves. */
#include <string.h>

#include "base/text.h"
#include "crypto/head.h"
#include "crypto/member.h"
#include "node/api_core.h"
#include "node/api_handlers.h"

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

/* Of all that its representation shows: a commit changes it, too. */
static void vault_etag(const struct vault_row *row, char to[ETAG_CHARS_MAX + 1])
{
	struct bytes parts[] = {
		bytes_of(row->vault_id, 16),
		bytes_of(row->head_hash, 32),
		bytes_of(row->label, row->label_bytes),
	};
	uint8_t hash[32];

	hash_sha256_parts(parts, ARRAY_SIZE(parts), hash);
	etag_format(row->revision, hash, to);
}

static const char *role_name(unsigned role)
{
	return role >= MEMBER_ADMIN ? "admin" : role == MEMBER_WRITE ? "write" : "read";
}

static json_t *vault_json(const struct vault_row *row, unsigned role)
{
	char etag[ETAG_CHARS_MAX + 1];
	json_t *vault = json_object();

	vault_etag(row, etag);
	json_put(vault, "id", json_make_id(row->vault_id));
	json_put(vault, "role", json_make_text(role_name(role)));
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
	struct api_call *call, const struct member_vault *vaults, size_t n, json_t *items)
{
	for (size_t i = 0; i < n; i++) {
		struct vault_row row;
		int rc = vault_store_get(call->view, vaults[i].vault_id, &row, &call->e);

		if (rc != 0) {
			return rc;
		}
		(void)json_array_append_new(items, vault_json(&row, vaults[i].role));
	}
	return 0;
}

int vault_list_read(struct api_call *call)
{
	_cleanup_(x_freep) struct member_vault *vaults = x_calloc(call->limit + 1, sizeof *vaults);
	const uint8_t *after;
	json_t *items;
	size_t n;
	struct bytes key = {0};
	int rc = call_cursor(call, 16, &after);

	if (rc == 0) {
		rc = member_store_vaults(call->view, call->session.user_id, after, vaults,
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
	struct vault_row row;
	unsigned role;
	json_t *vault;
	bool not_modified = false;
	int rc = call_vault(call, MEMBER_READ, &row, &role);

	if (rc == 0) {
		rc = member_statement_get(call->view, call->vault_id, 1, &create, &call->e);
	}
	if (rc != 0) {
		return rc;
	}
	vault_etag(&row, call->etag);
	if (call->route->verb == VERB_GET) {
		rc = call_not_modified(call, &not_modified);
	}
	if (rc == 0 && !not_modified) {
		vault = vault_json(&row, role);
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
	struct vault_row row;
	unsigned role;
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
		rc = create ? KLUIS_ENOTFOUND : call_vault(call, MEMBER_READ, &row, &role);
		if (rc == 0) {
			vault_etag(&row, call->current_etag);
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
static int vault_match(struct api_call *call, unsigned role_min, struct vault_row *ret_row)
{
	char etag[ETAG_CHARS_MAX + 1];
	unsigned role;
	int rc = call_vault(call, role_min, ret_row, &role);

	if (rc != 0) {
		return rc;
	}
	vault_etag(ret_row, etag);
	return call_if_match(call, etag);
}

int vault_patch_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_VAULT_PATCH};
	struct vault_row row;
	int rc = vault_match(call, MEMBER_WRITE, &row);

	if (rc != 0) {
		return rc;
	}
	command.vault_patch.session = call_session(call);
	memcpy(command.vault_patch.vault_id, call->vault_id, 16);
	command.vault_patch.revision = row.revision;
	command.vault_patch.label = buf_bytes(&call->text[VAULT_LABEL]);
	call_propose(call, &command);
	return 0;
}

int vault_delete_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_VAULT_DELETE};
	struct vault_row row;
	int rc = vault_match(call, MEMBER_ADMIN, &row);

	if (rc != 0) {
		return rc;
	}
	command.vault_delete.session = call_session(call);
	memcpy(command.vault_delete.vault_id, call->vault_id, 16);
	command.vault_delete.revision = row.revision;
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}
