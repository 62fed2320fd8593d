/* Members: who they are and what operators want of them. The configuration follows. */
#include <assert.h>
#include <string.h>

#include "raft/fsm_apply.h"
#include "storage/check_store.h"
#include "storage/node_backup_store.h"
#include "storage/policy_store.h"
#include "raft/servers.h"

static int server_audit(struct apply *a, enum command_type action, struct bytes actor, uint64_t id,
	const char *what)
{
	_cleanup_(x_freep) char *object =
		x_asprintf("node %llu%s%s", (unsigned long long)id, *what == 0 ? "" : " ", what);

	return apply_audit(a, action, actor, bytes_str(object));
}

int apply_servers_begin(struct apply *a, const struct command_servers_begin *c)
{
	struct servers_row all = {.voters = c->voters};
	struct servers_row known;
	int rc = servers_store_get(a->view, &known, a->e);

	if (rc != KLUIS_ENOTFOUND) {
		return rc; /* An earlier leader did it. */
	}
	for (unsigned i = 0; i < c->n_servers; i++) {
		struct server_row row = {.id = c->server[i].id,
			.weight = SERVER_WEIGHT_DEFAULT,
			.since_ms = a->now_ms};

		memcpy(row.incarnation, c->server[i].incarnation, sizeof row.incarnation);
		server_store_put(a->txn, &row);
		all.highest_id = row.id;
	}
	servers_store_put(a->txn, &all);
	return 0;
}

static void server_text(char *to, struct bytes text)
{
	memcpy(to, text.data, text.len);
	to[text.len] = 0;
}

/* The same again is a retry; anything else under this id is another machine. */
static int add_again(
	struct apply *a, const struct command_server_add *c, const struct server_row *row)
{
	if (memcmp(row->incarnation, c->incarnation, sizeof row->incarnation) != 0 ||
		!bytes_equal(bytes_str(row->site), c->site) ||
		!bytes_equal(bytes_str(row->address), c->address)) {
		return err_set(a->e, KLUIS_EEXIST, "node %llu is a member already",
			(unsigned long long)c->id);
	}
	return 0;
}

static void add_replace(
	struct apply *a, const struct command_server_add *c, const struct servers *all)
{
	struct server_row old = servers_find(all, c->replaces)->row;

	old.wish = SERVER_GONE;
	old.successor = c->id;
	server_store_put(a->txn, &old);
}

int apply_server_add(struct apply *a, const struct command_server_add *c)
{
	struct server_row row = {.id = c->id, .weight = c->weight, .since_ms = a->now_ms};
	struct servers_row sum = {.highest_id = c->id};
	const struct server *known;
	struct servers all;
	int rc = servers_load(a->view, &all, a->e);

	if (rc != 0) {
		return rc;
	}
	known = servers_find(&all, c->id);
	if (known != NULL) {
		return add_again(a, c, &known->row);
	}
	rc = servers_check_add(&all, c->id, c->replaces, c->site, c->address, a->e);
	if (rc != 0) {
		return rc;
	}
	if (c->replaces != 0) {
		add_replace(a, c, &all);
	}
	memcpy(row.incarnation, c->incarnation, sizeof row.incarnation);
	server_text(row.site, c->site);
	server_text(row.address, c->address);
	server_store_put(a->txn, &row);
	sum.voters = (uint8_t)all.voters;
	servers_store_put(a->txn, &sum);
	return server_audit(a, COMMAND_SERVER_ADD, c->actor, c->id, "");
}

int apply_server_wish(struct apply *a, const struct command_server_wish *c)
{
	static const char *const what[] = {"any", "voter", "standby", "drained", "gone"};
	enum server_wish wish = (enum server_wish)c->wish;
	struct server_row row;
	struct servers all;
	int rc = servers_load(a->view, &all, a->e);

	assert(c->wish < ARRAY_SIZE(what));
	rc = rc != 0 ? rc : servers_check_wish(&all, c->id, wish, a->e);
	if (rc != 0) {
		return rc;
	}
	row = servers_find(&all, c->id)->row;
	if (row.wish == wish && row.successor == 0) {
		return 0;
	}
	row.wish = wish;
	row.successor = 0;
	server_store_put(a->txn, &row);
	return server_audit(a, COMMAND_SERVER_WISH, c->actor, c->id, what[c->wish]);
}

int apply_server_weight(struct apply *a, const struct command_server_weight *c)
{
	const struct server_row *found;
	struct server_row row;
	struct servers all;
	int rc = servers_load(a->view, &all, a->e);

	rc = rc != 0 ? rc : servers_get(&all, c->id, &found, a->e);
	if (rc != 0 || found->weight == c->weight) {
		return rc;
	}
	row = *found;
	row.weight = c->weight;
	server_store_put(a->txn, &row);
	return server_audit(a, COMMAND_SERVER_WEIGHT, c->actor, c->id, "");
}

/* It is in no configuration: nothing that is decided by numbers of nodes counts it any more. */
int apply_server_forget(struct apply *a, const struct command_server_forget *c)
{
	struct server_row row;
	int rc = server_store_get(a->view, c->id, &row, a->e);

	if (rc == KLUIS_ENOTFOUND) {
		return 0; /* An earlier leader did it. */
	}
	if (rc == 0 && row.wish != SERVER_GONE) {
		rc = err_set(
			a->e, KLUIS_ECONFLICT, "node %llu is to stay", (unsigned long long)c->id);
	}
	if (rc != 0) {
		return rc;
	}
	server_store_delete(a->txn, c->id);
	node_store_delete(a->txn, c->id);
	node_backup_store_delete(a->txn, c->id);
	rc = node_policy_store_delete(a->txn, c->id, a->e);
	rc = rc != 0 ? rc : check_store_forget(a->txn, c->id, a->e);
	return rc != 0 ? rc
		       : server_audit(
				 a, COMMAND_SERVER_FORGET, bytes_str("roles"), c->id, "removed");
}

int apply_voters_set(struct apply *a, const struct command_voters_set *c)
{
	struct servers_row sum;
	int rc = servers_store_get(a->view, &sum, a->e);

	if (rc == KLUIS_ENOTFOUND) {
		return err_set(a->e, KLUIS_ECONFLICT, "the members are not written down yet");
	}
	if (rc != 0 || sum.voters == c->voters) {
		return rc;
	}
	sum.voters = c->voters;
	servers_store_put(a->txn, &sum);
	return apply_audit(a, COMMAND_VOTERS_SET, c->actor, bytes_str("voters"));
}
