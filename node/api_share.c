/* Members of vaults, groups and conversations: who they are, the statements that prove it, changing
 * them, and an invited one's word. The three are served by the same handlers; the path says which
 * it is. */
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "crypto/member.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/api_share.h"
#include "node/share_in.h"
#include "storage/packet_store.h"

unsigned call_object_kind(const struct api_call *call)
{
	static const char base[] = "/v1/";

	switch (call->route->pattern[sizeof base - 1]) {
	case 'g':
		return MEMBER_OBJECT_GROUP;
	case 'c':
		return MEMBER_OBJECT_CONVERSATION;
	default:
		return MEMBER_OBJECT_VAULT;
	}
}

const char *call_role_name(unsigned role)
{
	return role >= MEMBER_ADMIN ? "admin" : role == MEMBER_WRITE ? "write" : "read";
}

const char *call_member_state_name(unsigned state)
{
	switch (state) {
	case MEMBER_INVITED:
		return "invited";
	case MEMBER_DECLINED:
		return "declined";
	default:
		return "accepted";
	}
}

/* Objects. */

static int shared_vault(
	struct api_call *call, const uint8_t id[16], unsigned role_min, struct shared *ret_shared)
{
	struct vault_row row;
	unsigned role;
	int rc = vault_store_check(
		call->view, id, call->session.user_id, role_min, &row, &role, &call->e);

	if (rc == 0) {
		*ret_shared = (struct shared){.kind = MEMBER_OBJECT_VAULT,
			.epoch = row.chain_epoch,
			.members_rev = row.members_rev};
		memcpy(ret_shared->members_hash, row.members_hash, 32);
	}
	return rc;
}

/* A group's chain is also for who shares a vault with it: whoever writes there may be of it. */
static int shared_group_seen(struct api_call *call, const uint8_t id[16], struct object_row *row)
{
	bool visible;
	int rc = group_visible(call->view, id, call->session.user_id, &visible, &call->e);

	if (rc == 0 && !visible) {
		rc = KLUIS_ENOTFOUND;
	}
	rc = rc != 0 ? rc : object_store_get(call->view, id, row, &call->e);
	if (rc == 0 && (row->kind != MEMBER_OBJECT_GROUP || row->state != OBJECT_ACTIVE)) {
		rc = KLUIS_ENOTFOUND;
	}
	return rc == KLUIS_ENOTFOUND ? call_fail(call, rc, "there is no such group") : rc;
}

static int shared_object(struct api_call *call, const uint8_t id[16], unsigned kind,
	unsigned role_min, struct shared *ret_shared)
{
	struct member_row member = {.role = 0};
	struct object_row row;
	int rc = object_store_check(call->view, kind, id, call->session.user_id, role_min,
		role_min == 0, &row, &member, &call->e);

	if (rc == KLUIS_ENOTFOUND && kind == MEMBER_OBJECT_GROUP && role_min == 0) {
		rc = shared_group_seen(call, id, &row);
	}
	if (rc == 0) {
		*ret_shared = (struct shared){.kind = row.kind,
			.role = member.role,
			.state = member.state,
			.epoch = row.epoch,
			.members_rev = row.members_rev,
			.row = row};
		memcpy(ret_shared->members_hash, row.members_hash, 32);
	}
	return rc;
}

int call_shared(struct api_call *call, const uint8_t id[16], unsigned kind, unsigned role_min,
	struct shared *ret_shared)
{
	struct object_row row;
	int rc;

	if (kind == 0) {
		rc = object_store_get(call->view, id, &row, &call->e);
		if (rc != 0 && rc != KLUIS_ENOTFOUND) {
			return rc;
		}
		kind = rc == 0 ? row.kind : MEMBER_OBJECT_VAULT;
	}
	return kind == MEMBER_OBJECT_VAULT ? shared_vault(call, id, role_min, ret_shared)
					   : shared_object(call, id, kind, role_min, ret_shared);
}

/* Who they are. */

static json_t *member_json(const struct member_row *row)
{
	json_t *member = json_object();

	json_put(member, "id", json_make_id(row->member_id));
	json_put(member, "kind", json_make_text(row->kind == MEMBER_GROUP ? "group" : "user"));
	json_put(member, "role", json_make_text(call_role_name(row->role)));
	json_put(member, "state", json_make_text(call_member_state_name(row->state)));
	return member;
}

/* What a chain has come to: every answer about members carries it. */
static void chain_json(json_t *body, uint64_t members_rev, const uint8_t hash[32], uint64_t epoch)
{
	json_put(body, "members_rev", json_make_number(members_rev));
	json_put(body, "members_hash", json_make_hash(hash));
	json_put(body, "epoch", json_make_number(epoch));
}

int member_list_read(struct api_call *call)
{
	_cleanup_(x_freep) struct member_row *rows = x_calloc(call->limit + 1, sizeof *rows);
	struct shared object;
	const uint8_t *after;
	struct bytes key = {0};
	json_t *items, *body;
	size_t n = 0;
	int rc = call_shared(call, call->vault_id, call_object_kind(call), 0, &object);

	rc = rc != 0 ? rc : call_cursor(call, 16, &after);
	rc = rc != 0 ? rc
		     : member_store_list(call->view, call->vault_id, after, rows, call->limit + 1,
			       &n, &call->e);
	if (rc != 0) {
		return rc;
	}
	if (n > call->limit) {
		n = call->limit;
		key = bytes_of(rows[n - 1].member_id, 16);
	}
	items = json_array();
	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(items, member_json(&rows[i]));
	}
	body = call_list_make(call, items, key);
	chain_json(body, object.members_rev, object.members_hash, object.epoch);
	call_json(call, 200, body);
	return 0;
}

/* The chain. */

int member_chain_parse(struct api_call *call)
{
	return head_list_parse(call); /* An id, and `since` as a number. */
}

/* A vault's chain is also for whom a page of it was opened to: she holds the sender of its key
 * against it. If none was, the answer is the one that `refused` is. */
static int chain_granted(struct api_call *call, int refused, struct shared *ret_shared)
{
	struct err refusal = call->e;
	struct vault_row row;
	bool any = false;
	int rc = grant_store_any(
		call->view, call->session.user_id, call->vault_id, call->now_ms, &any, &call->e);

	if (rc == 0 && any) {
		rc = vault_store_get(call->view, call->vault_id, &row, &call->e);
	}
	if (rc == KLUIS_ENOTFOUND || (rc == 0 && (!any || row.state != VAULT_ACTIVE))) {
		call->e = refusal;
		return refused;
	}
	if (rc == 0) {
		*ret_shared = (struct shared){
			.kind = MEMBER_OBJECT_VAULT, .members_rev = row.members_rev};
	}
	return rc;
}

static int chain_object(struct api_call *call, struct shared *ret_shared)
{
	unsigned kind = call_object_kind(call);
	int rc = call_shared(call, call->vault_id, kind, 0, ret_shared);

	return kind == MEMBER_OBJECT_VAULT && (rc == KLUIS_ENOTFOUND || rc == KLUIS_EFORBIDDEN)
		       ? chain_granted(call, rc, ret_shared)
		       : rc;
}

int member_chain_read(struct api_call *call)
{
	struct shared object;
	const uint8_t *after;
	uint8_t key[8] = {0};
	uint64_t seq;
	json_t *items;
	int rc = chain_object(call, &object);

	rc = rc != 0 ? rc : call_cursor(call, sizeof key, &after);
	if (rc != 0) {
		return rc;
	}
	items = json_array();
	seq = (after == NULL ? call->since_seq : load_u64(after)) + 1;
	for (; rc == 0 && seq <= object.members_rev && json_array_size(items) < call->limit;
		seq++) {
		_cleanup_(buf_release) struct buf statement = BUF_INIT;

		rc = member_statement_get(call->view, call->vault_id, seq, &statement, &call->e);
		(void)json_array_append_new(items, json_make_base64(buf_bytes(&statement)));
		store_u64(key, seq);
	}
	if (rc != 0) {
		json_decref(items);
		return rc;
	}
	call_list(call, items, bytes_of(key, seq <= object.members_rev ? sizeof key : 0));
	return 0;
}

/* Changing them. */

int members_change_parse(struct api_call *call)
{
	struct share_in *share = share_in_new(call);
	struct json_in reader;
	int rc;

	json_in_begin(&reader, call_body(call), &call->e);
	share_in_section(&reader, &share->sections[0]);
	share_in_also(call, &reader);
	rc = json_in_end(&reader);
	rc = rc != 0 ? rc : vault_id_parse(call);
	if (rc == 0) {
		memcpy(share->sections[0].object_id, call->vault_id, 16);
		rc = share_in_check(call);
	}
	return rc;
}

int members_change_read(struct api_call *call)
{
	struct share_in *share = call->extra;
	int rc = call_device_key(call, share->device_key);

	for (size_t i = 0; rc == 0 && i < share->n; i++) {
		struct shared object;

		rc = call_shared(call, share->sections[i].object_id,
			i == 0 ? call_object_kind(call) : 0, MEMBER_ADMIN, &object);
	}
	return rc;
}

/* KeyPackets of what a chain protects: a vault's key, or a group's. */
static int change_packets(struct api_call *call)
{
	const struct share_in *share = call->extra;
	struct packet_list list = {NULL, 0};
	struct packet_users users;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < share->n; i++) {
		const struct share_section *section = &share->sections[i];

		rc = packet_list_add(call, &list, buf_bytes(&section->packets), section->n_packets);
	}
	packet_users_init(&users);
	rc = rc != 0 ? rc : packet_list_verify(call, &list, &users.rcpts);
	packet_users_release(&users);
	packet_list_release(&list);
	return rc;
}

int members_change_check(struct api_call *call)
{
	int rc = share_in_statements(call);

	rc = rc != 0 ? rc : change_packets(call);
	if (rc == 0) {
		share_in_propose(call);
	}
	return rc;
}

int members_change_applied(struct api_call *call)
{
	struct command_reply reply;
	json_t *body;
	int rc = call_reply(call, &reply);

	if (rc == 0) {
		body = json_object();
		chain_json(body, reply.number, reply.hash, command_reply_epoch(&reply));
		call_json(call, 200, body);
	}
	return rc;
}

/* An invited one's word. */

static int answer_read(struct api_call *call, bool accept)
{
	struct command command = {.type = COMMAND_MEMBER_ANSWER};
	struct shared object;
	int rc = call_shared(call, call->vault_id, call_object_kind(call), 0, &object);

	if (rc != 0) {
		return rc;
	}
	command.member_answer.session = call_session(call);
	memcpy(command.member_answer.object_id, call->vault_id, 16);
	command.member_answer.accept = accept;
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}

int member_accept_read(struct api_call *call)
{
	return answer_read(call, true);
}

int member_decline_read(struct api_call *call)
{
	return answer_read(call, false);
}
