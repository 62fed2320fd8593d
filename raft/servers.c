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
