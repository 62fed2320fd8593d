/* Members: who they are, who comes and goes, who votes. What an operator wants becomes a row; the
 * leader brings it about (raft/roles.h). */
#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/api_sys_view.h"
#include "storage/policy_store.h"
#include "raft/configuration.h"

int sys_view_get(struct api_call *call, struct sys_view *view)
{
	struct api_backend *backend = call->api->config.backend;
	int rc = cluster_store_get(call->view, &view->cluster, &call->e);

	if (rc == KLUIS_ENOTFOUND) {
		memset(&view->cluster, 0, sizeof view->cluster);
		rc = 0;
	}
	if (rc == 0) {
		rc = node_store_list(
			call->view, 0, view->nodes, SITES_MAX, &view->n_nodes, &call->e);
	}
	if (rc == 0) {
		rc = servers_load(call->view, &view->servers, &call->e);
	}
	backend->status(backend, &view->status);
	rc = rc != 0 ? rc : node_policy_store_agree(call->view, &view->policies_agree, &call->e);
	return rc;
}

const struct node_row *sys_node(const struct sys_view *view, uint64_t id)
{
	for (size_t i = 0; i < view->n_nodes; i++) {
		if (view->nodes[i].node == id) {
			return &view->nodes[i];
		}
	}
	return NULL;
}

const char *sys_site_of(struct api_call *call, const struct sys_view *view, uint64_t id)
{
	const struct node_row *row = sys_node(view, id);
	const struct server *server = servers_find(&view->servers, id);

	if (row != NULL && row->site[0] != '\0') {
		return row->site;
	}
	if (id == call->api->config.node_id) {
		return call->api->config.site;
	}
	return server == NULL ? "" : server->row.site;
}

const char *sys_vote_name(enum replica_vote vote)
{
	static const char *const names[] = {[REPLICA_STANDBY] = "standby",
		[REPLICA_VOTER] = "voter",
		[REPLICA_SPARE] = "spare"};

	return names[vote];
}

/* --- the list --- */

static const char *const wish_names[] = {[SERVER_ANY] = "any",
	[SERVER_VOTER] = "voter",
	[SERVER_STANDBY] = "standby",
	[SERVER_DRAINED] = "drained",
	[SERVER_GONE] = "gone"};

static const char *member_state(const struct sys_view *view, const struct server *server,
	const struct replica_peer_status *peer)
{
	const struct node_row *row = sys_node(view, peer->id);

	if (server != NULL && server->row.wish == SERVER_GONE) {
		return "leaving";
	}
	if (peer->vote == REPLICA_SPARE || row == NULL || row->feature_level == 0) {
		return "joining"; /* It has not spoken for itself yet. */
	}
	if (server != NULL && server->row.wish == SERVER_DRAINED) {
		return peer->vote == REPLICA_VOTER ? "draining" : "drained";
	}
	return "member";
}

static void member_rows(
	const struct sys_view *view, const struct replica_peer_status *peer, json_t *member)
{
	const struct server *server = servers_find(&view->servers, peer->id);

	json_put(member, "state", json_make_text(member_state(view, server, peer)));
	json_put(member, "wish",
		server == NULL ? json_null() : json_make_text(wish_names[server->row.wish]));
	json_put(member, "weight",
		server == NULL ? json_null() : json_make_number(server->row.weight));
}

static json_t *member_json(
	struct api_call *call, const struct sys_view *view, const struct replica_peer_status *peer)
{
	const struct node_row *row = sys_node(view, peer->id);
	bool self = peer->id == call->api->config.node_id;
	bool leads = view->status.role == REPLICA_LEADER;
	json_t *member = json_object(), *endpoints = json_array();

	if (row != NULL && row->api[0] != '\0') {
		(void)json_array_append_new(endpoints, json_make_text(row->api));
	}
	json_put(member, "node", json_make_number(peer->id));
	json_put(member, "site", json_make_text(sys_site_of(call, view, peer->id)));
	json_put(member, "role", json_make_text(sys_vote_name(peer->vote)));
	json_put(member, "leader", json_boolean(peer->id == view->status.leader_id));
	json_put(member, "address", json_make_text(peer->address));
	json_put(member, "online", json_boolean(replica_status_reaches(&view->status, peer->id)));
	json_put(member, "match_index",
		leads ? json_make_number(self ? view->status.stored_index : peer->match_index)
		      : json_null());
	json_put(member, "endpoints", endpoints);
	member_rows(view, peer, member);
	return member;
}

static bool members_peer(const struct sys_view *view, uint64_t id)
{
	return replica_status_peer(&view->status, id) != NULL || id == view->status.node_id;
}

json_t *sys_members_json(struct api_call *call, const struct sys_view *view)
{
	struct replica_peer_status other = {
		.id = view->status.node_id, .vote = view->status.vote, .connected = true};
	const struct node_row *self = sys_node(view, other.id);
	json_t *members = json_array();

	if (self != NULL) {
		(void)snprintf(other.address, sizeof other.address, "%s", self->link);
	}
	(void)json_array_append_new(members, member_json(call, view, &other));
	for (unsigned i = 0; i < view->status.n_peers; i++) {
		if (view->status.peers[i].id != view->status.node_id) {
			(void)json_array_append_new(
				members, member_json(call, view, &view->status.peers[i]));
		}
	}
	for (unsigned i = 0; i < view->servers.n; i++) {
		const struct server_row *row = &view->servers.server[i].row;

		if (!members_peer(view, row->id)) {
			other = (struct replica_peer_status){.id = row->id, .vote = REPLICA_SPARE};
			(void)snprintf(other.address, sizeof other.address, "%s", row->address);
			(void)json_array_append_new(members, member_json(call, view, &other));
		}
	}
	return members;
}

int sys_members_read(struct api_call *call)
{
	struct sys_view view;
	int rc = sys_view_get(call, &view);

	return rc == 0 ? call_list_all(call, sys_members_json(call, &view)) : rc;
}

/* --- one comes --- */

struct member_add {
	uint64_t node, weight, replaces;
	uint8_t incarnation[SERVER_INCARNATION_BYTES];
};
enum { MEMBER_SITE, MEMBER_LINK }; /* In call->text. */

int sys_member_add_parse(struct api_call *call)
{
	struct member_add *add = call_extra(call, sizeof *add);
	struct json_in reader;
	struct address link;
	int rc;

	add->weight = SERVER_WEIGHT_DEFAULT;
	json_in_begin(&reader, call_body(call), &call->e);
	add->node = json_in_u64(&reader, "node", 1, UINT32_MAX);
	json_in_string(&reader, "site", NODE_NAME_BYTES_MAX, &call->text[MEMBER_SITE]);
	json_in_string(&reader, "link", MEMBER_ADDRESS_BYTES_MAX, &call->text[MEMBER_LINK]);
	json_in_hex(&reader, "incarnation", add->incarnation, sizeof add->incarnation);
	if (json_in_has(&reader, "weight")) {
		add->weight = json_in_u64(&reader, "weight", 0, SERVER_WEIGHT_MAX);
	}
	if (json_in_has(&reader, "replaces")) {
		add->replaces = json_in_u64(&reader, "replaces", 1, UINT32_MAX);
	}
	rc = json_in_end(&reader);
	if (rc == 0 && !member_site_valid(buf_bytes(&call->text[MEMBER_SITE]))) {
		rc = call_fail(call, KLUIS_EINVAL, "'site' must be of a-z, 0-9 and '-'");
	}
	if (rc == 0 && address_parse(buf_str(&call->text[MEMBER_LINK]), &link, NULL) != 0) {
		rc = call_fail(call, KLUIS_EINVAL, "'link' must be host:port");
	}
	return rc;
}

/* The first members' sites and addresses stand in no row. */
static int member_clash(struct api_call *call, const struct sys_view *view, uint64_t replaces)
{
	const char *site = buf_str(&call->text[MEMBER_SITE]);
	const char *link = buf_str(&call->text[MEMBER_LINK]);

	for (size_t i = 0; i < view->n_nodes; i++) {
		const struct node_row *row = &view->nodes[i];

		if (row->node != replaces &&
			(strcmp(row->site, site) == 0 || strcmp(row->link, link) == 0)) {
			return call_fail(call, KLUIS_EEXIST,
				"node %llu has that site or address: replace it, or remove it "
				"first",
				(unsigned long long)row->node);
		}
	}
	return 0;
}

static void member_number_json(struct api_call *call, int status, const char *name, uint64_t number)
{
	json_t *body = json_object();

	json_put(body, name, json_make_number(number));
	call_json(call, status, body);
}

int sys_member_add_read(struct api_call *call)
{
	const struct member_add *add = call->extra;
	struct command command = {.type = COMMAND_SERVER_ADD};
	struct command_server_add *c = &command.server_add;
	const struct server *known;
	struct sys_view view;
	int rc = sys_view_get(call, &view);

	c->id = add->node;
	memcpy(c->incarnation, add->incarnation, sizeof c->incarnation);
	c->weight = (uint32_t)add->weight;
	c->replaces = add->replaces;
	c->site = buf_bytes(&call->text[MEMBER_SITE]);
	c->address = buf_bytes(&call->text[MEMBER_LINK]);
	c->actor = call_actor(call);
	known = servers_find(&view.servers, c->id);
	if (rc == 0 && known != NULL &&
		memcmp(known->row.incarnation, c->incarnation, sizeof c->incarnation) != 0) {
		rc = call_fail(call, KLUIS_EEXIST, "node %llu is a member already",
			(unsigned long long)c->id);
	} else if (rc == 0 && known == NULL) { /* Else a retry. */
		rc = servers_check_add(
			&view.servers, c->id, c->replaces, c->site, c->address, &call->e);
		rc = rc != 0 ? rc : member_clash(call, &view, c->replaces);
	}
	if (rc == 0) {
		call_propose(call, &command);
		member_number_json(call, 202, "node", c->id);
	}
	return rc;
}

/* --- what is wanted of one --- */

/* The last part of the path says it. */
static enum server_wish member_wish(const struct api_call *call)
{
	static const struct {
		const char *route;
		enum server_wish wish;
	} rows[] = {{"sys_member_auto", SERVER_ANY}, {"sys_member_promote", SERVER_VOTER},
		{"sys_member_demote", SERVER_STANDBY}, {"sys_member_drain", SERVER_DRAINED},
		{"sys_member_remove", SERVER_GONE}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (strcmp(call->route->name, rows[i].route) == 0) {
			return rows[i].wish;
		}
	}
	return SERVER_ANY;
}

int sys_member_wish_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_SERVER_WISH};
	struct servers servers;
	int rc = call_param_u64(call, 0, &command.server_wish.id);

	command.server_wish.wish = (uint8_t)member_wish(call);
	command.server_wish.actor = call_actor(call);
	rc = rc != 0 ? rc : servers_load(call->view, &servers, &call->e);
	rc = rc != 0 ? rc
		     : servers_check_wish(&servers, command.server_wish.id,
			       (enum server_wish)command.server_wish.wish, &call->e);
	if (rc == 0) {
		call_propose(call, &command);
		member_number_json(call, 202, "node", command.server_wish.id);
	}
	return rc;
}

int sys_member_weight_parse(struct api_call *call)
{
	struct json_in reader;

	json_in_begin(&reader, call_body(call), &call->e);
	call->number = json_in_u64(&reader, "weight", 0, SERVER_WEIGHT_MAX);
	return json_in_end(&reader);
}

int sys_member_weight_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_SERVER_WEIGHT};
	const struct server_row *row;
	struct servers servers;
	int rc = call_param_u64(call, 0, &command.server_weight.id);

	command.server_weight.weight = (uint32_t)call->number;
	command.server_weight.actor = call_actor(call);
	rc = rc != 0 ? rc : servers_load(call->view, &servers, &call->e);
	rc = rc != 0 ? rc : servers_get(&servers, command.server_weight.id, &row, &call->e);
	if (rc == 0) {
		call_propose(call, &command);
		member_number_json(call, 200, "weight", call->number);
	}
	return rc;
}

int sys_voters_parse(struct api_call *call)
{
	struct json_in reader;

	json_in_begin(&reader, call_body(call), &call->e);
	call->number = json_in_u64(&reader, "voters", VOTERS_MIN, VOTERS_MAX);
	return json_in_end(&reader);
}

int sys_voters_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_VOTERS_SET};
	struct servers servers;
	int rc = servers_load(call->view, &servers, &call->e);

	if (rc == 0 && servers.voters == 0) {
		rc = call_fail(call, KLUIS_ECONFLICT, "the members are not written down yet");
	}
	if (rc == 0) {
		command.voters_set.voters = (uint8_t)call->number;
		command.voters_set.actor = call_actor(call);
		call_propose(call, &command);
		member_number_json(call, 200, "voters", call->number);
	}
	return rc;
}
