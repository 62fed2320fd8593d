#include "raft/servers.h"

#include "storage/cluster_store.h"

static int servers_load_nodes(const struct kv_view *view, struct servers *servers, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < servers->n; i++) {
		struct server *server = &servers->server[i];
		struct node_row node;

		rc = node_store_get(view, server->row.id, &node, e);
		if (rc == 0) {
			server->read_only = node.read_only;
			server->quarantined = node.quarantined;
		} else if (rc == KLUIS_ENOTFOUND) {
			rc = 0; /* It has not announced itself yet. */
		}
	}
	return rc;
}

int servers_load(const struct kv_view *view, struct servers *ret_servers, struct err *e)
{
	struct servers servers = {.n = 0};
	struct server_row rows[SITES_MAX];
	struct cluster_row cluster;
	struct servers_row all;
	size_t n = 0;
	int rc = cluster_store_get(view, &cluster, e);

	if (rc == 0) {
		servers.feature_level = cluster.feature_level;
		rc = servers_store_get(view, &all, e);
	}
	if (rc == KLUIS_ENOTFOUND) {
		*ret_servers = servers;
		return 0;
	}
	if (rc == 0) {
		rc = server_store_list(view, rows, SITES_MAX, &n, e);
	}
	if (rc != 0) {
		return rc;
	}
	servers.highest_id = all.highest_id;
	servers.voters = all.voters;
	servers.n = (unsigned)n;
	for (size_t i = 0; i < n; i++) {
		servers.server[i].row = rows[i];
	}
	rc = servers_load_nodes(view, &servers, e);
	if (rc == 0) {
		*ret_servers = servers;
	}
	return rc;
}

const struct server *servers_find(const struct servers *servers, uint64_t id)
{
	for (unsigned i = 0; i < servers->n; i++) {
		if (servers->server[i].row.id == id) {
			return &servers->server[i];
		}
	}
	return NULL;
}

bool servers_removed(const struct servers *servers, uint64_t id)
{
	return id <= servers->highest_id && servers_find(servers, id) == NULL;
}

static int servers_begun(const struct servers *servers, struct err *e)
{
	return servers->voters != 0
		       ? 0
		       : err_set(e, KLUIS_ECONFLICT,
				 "the members are not written down yet: once all nodes run this "
				 "version, and have met");
}

int servers_get(const struct servers *servers, uint64_t id, const struct server_row **ret_row,
	struct err *e)
{
	const struct server *server = servers_find(servers, id);
	int rc = servers_begun(servers, e);

	if (rc == 0 && server == NULL) {
		rc = err_set(e, KLUIS_ENOTFOUND, "node %llu is no member", (unsigned long long)id);
	}
	if (rc == 0) {
		*ret_row = &server->row;
	}
	return rc;
}

int servers_check_add(const struct servers *servers, uint64_t id, uint64_t replaces,
	struct bytes site, struct bytes address, struct err *e)
{
	const struct server_row *old;
	int rc =
		replaces == 0 ? servers_begun(servers, e) : servers_get(servers, replaces, &old, e);

	if (rc != 0) {
		return rc;
	}
	if (id <= servers->highest_id) {
		return err_set(e, KLUIS_EEXIST,
			"an id is never given twice: a new member's is above %llu",
			(unsigned long long)servers->highest_id);
	}
	if (servers->n >= SITES_MAX) {
		return err_set(e, KLUIS_EQUOTA, "there are %d members", SITES_MAX);
	}
	for (unsigned i = 0; i < servers->n; i++) {
		const struct server_row *row = &servers->server[i].row;
		bool same = bytes_equal(bytes_str(row->site), site) ||
			    bytes_equal(bytes_str(row->address), address);

		if (same && row->id != replaces) {
			return err_set(e, KLUIS_EEXIST, "node %llu has that site or address",
				(unsigned long long)row->id);
		}
	}
	return 0;
}

static bool servers_may_vote(enum server_wish wish)
{
	return wish == SERVER_ANY || wish == SERVER_VOTER;
}

/* As many as may vote at all must be left: what goes below can never be brought about. */
static unsigned servers_voters_without(const struct servers *servers, uint64_t id)
{
	unsigned left = 0;

	for (unsigned i = 0; i < servers->n; i++) {
		const struct server_row *row = &servers->server[i].row;

		left += row->id != id && servers_may_vote(row->wish);
	}
	return left;
}

int servers_check_wish(
	const struct servers *servers, uint64_t id, enum server_wish wish, struct err *e)
{
	const struct server_row *row;
	int rc = servers_get(servers, id, &row, e);

	if (rc != 0) {
		return rc;
	}
	if (row->wish == SERVER_GONE && wish != SERVER_GONE) {
		/* It may be out of the configuration already, and its process ended. */
		return err_set(
			e, KLUIS_ECONFLICT, "node %llu is being removed", (unsigned long long)id);
	}
	if (!servers_may_vote(wish) && servers_voters_without(servers, id) < VOTERS_MIN) {
		return err_set(e, KLUIS_ECONFLICT,
			"fewer than %d members that may vote would be left: add one first",
			VOTERS_MIN);
	}
	return 0;
}
