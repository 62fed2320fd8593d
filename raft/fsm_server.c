/* Members: who they are and what operators want of them. The configuration follows. */
#include <assert.h>
#include <string.h>

#include "raft/fsm_apply.h"
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

static int server_all(struct apply *a, struct servers *ret_servers)
{
	int rc = servers_load(a->view, ret_servers, a->e);

	if (rc == 0 && ret_servers->voters == 0) {
		rc = err_set(a->e, KLUIS_ECONFLICT,
			"the members are not written down yet: try again in a moment");
	}
	return rc;
}

static int server_find(
	struct apply *a, const struct servers *all, uint64_t id, struct server_row *ret_row)
{
	const struct server *server = servers_find(all, id);

	if (server == NULL) {
		return err_set(
			a->e, KLUIS_ENOTFOUND, "node %llu is no member", (unsigned long long)id);
	}
	*ret_row = server->row;
	return 0;
}

static void server_text(char *to, struct bytes text)
{
	memcpy(to, text.data, text.len);
	to[text.len] = 0;
}

static int add_check_new(
	struct apply *a, const struct command_server_add *c, const struct servers *all)
{
	if (c->id <= all->highest_id) {
		return err_set(a->e, KLUIS_EEXIST,
			"an id is never given twice: a new member's is above %llu",
			(unsigned long long)all->highest_id);
	}
	if (all->n >= SITES_MAX) {
		return err_set(a->e, KLUIS_EQUOTA, "there are %d members", SITES_MAX);
	}
	for (unsigned i = 0; i < all->n; i++) {
		const struct server_row *row = &all->server[i].row;
		bool same = bytes_equal(bytes_str(row->site), c->site) ||
			    bytes_equal(bytes_str(row->address), c->address);

		if (same && row->id != c->replaces) {
			return err_set(a->e, KLUIS_EEXIST, "node %llu has that site or address",
				(unsigned long long)row->id);
		}
	}
	return 0;
}

/* The same again is a retry; anything else under this id is another machine. */
static int add_again(struct apply *a, const struct command_server_add *c, struct server_row *row)
{
	if (memcmp(row->incarnation, c->incarnation, sizeof row->incarnation) != 0 ||
		!bytes_equal(bytes_str(row->site), c->site) ||
		!bytes_equal(bytes_str(row->address), c->address)) {
		return err_set(a->e, KLUIS_EEXIST, "node %llu is a member already",
			(unsigned long long)c->id);
	}
	return 0;
}

static int add_replace(
	struct apply *a, const struct command_server_add *c, const struct servers *all)
{
	struct server_row old;
	int rc = c->replaces == 0 ? 0 : server_find(a, all, c->replaces, &old);

	if (rc == 0 && c->replaces != 0) {
		old.wish = SERVER_GONE;
		old.successor = c->id;
		server_store_put(a->txn, &old);
	}
	return rc;
}

int apply_server_add(struct apply *a, const struct command_server_add *c)
{
	struct server_row row = {.id = c->id, .weight = c->weight, .since_ms = a->now_ms};
	struct servers all;
	struct servers_row sum;
	int rc = server_all(a, &all);

	if (rc != 0) {
		return rc;
	}
	if (servers_find(&all, c->id) != NULL) {
		row = servers_find(&all, c->id)->row;
		return add_again(a, c, &row);
	}
	rc = add_check_new(a, c, &all);
	rc = rc != 0 ? rc : add_replace(a, c, &all);
	if (rc != 0) {
		return rc;
	}
	memcpy(row.incarnation, c->incarnation, sizeof row.incarnation);
	server_text(row.site, c->site);
	server_text(row.address, c->address);
	server_store_put(a->txn, &row);
	sum = (struct servers_row){.highest_id = c->id, .voters = (uint8_t)all.voters};
	servers_store_put(a->txn, &sum);
	return server_audit(a, COMMAND_SERVER_ADD, c->actor, c->id, "");
}

static bool wish_votes(enum server_wish wish)
{
	return wish == SERVER_ANY || wish == SERVER_VOTER;
}

/* As many as may vote at all must be left: what goes below can never be brought about. */
static int wish_check_voters(struct apply *a, const struct servers *all, uint64_t id)
{
	unsigned left = 0;

	for (unsigned i = 0; i < all->n; i++) {
		left += all->server[i].row.id != id && wish_votes(all->server[i].row.wish);
	}
	return left >= VOTERS_MIN
		       ? 0
		       : err_set(a->e, KLUIS_ECONFLICT,
				 "fewer than %d members that may vote would be left: add one first",
				 VOTERS_MIN);
}

int apply_server_wish(struct apply *a, const struct command_server_wish *c)
{
	static const char *const what[] = {"any", "voter", "standby", "drained", "gone"};
	enum server_wish wish = (enum server_wish)c->wish;
	struct server_row row;
	struct servers all;
	int rc = server_all(a, &all);

	assert(c->wish < ARRAY_SIZE(what));
	rc = rc != 0 ? rc : server_find(a, &all, c->id, &row);
	if (rc == 0 && row.wish == SERVER_GONE && wish != SERVER_GONE) {
		/* It may be out of the configuration already, and its process ended. */
		rc = err_set(a->e, KLUIS_ECONFLICT, "node %llu is being removed",
			(unsigned long long)c->id);
	}
	if (rc == 0 && !wish_votes(wish)) {
		rc = wish_check_voters(a, &all, c->id);
	}
	if (rc != 0 || (row.wish == wish && row.successor == 0)) {
		return rc;
	}
	row.wish = wish;
	row.successor = 0;
	server_store_put(a->txn, &row);
	return server_audit(a, COMMAND_SERVER_WISH, c->actor, c->id, what[c->wish]);
}

int apply_server_weight(struct apply *a, const struct command_server_weight *c)
{
	struct server_row row;
	struct servers all;
	int rc = server_all(a, &all);

	rc = rc != 0 ? rc : server_find(a, &all, c->id, &row);
	if (rc != 0 || row.weight == c->weight) {
		return rc;
	}
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
	return server_audit(a, COMMAND_SERVER_FORGET, bytes_str("roles"), c->id, "removed");
}

int apply_voters_set(struct apply *a, const struct command_voters_set *c)
{
	struct servers_row sum;
	struct servers all;
	int rc = server_all(a, &all);

	if (rc != 0 || all.voters == c->voters) {
		return rc;
	}
	sum = (struct servers_row){.highest_id = all.highest_id, .voters = c->voters};
	servers_store_put(a->txn, &sum);
	return apply_audit(a, COMMAND_VOTERS_SET, c->actor, bytes_str("voters"));
}
