/* What the operators' routes look at: the replica's word and the rows about the nodes. Private to
 * node/. */
#ifndef KLUIS_NODE_API_SYS_VIEW_H
#define KLUIS_NODE_API_SYS_VIEW_H

#include "node/api_call.h"
#include "raft/servers.h"
#include "storage/cluster_store.h"

/* All as of about now. */
struct sys_view {
	struct replica_status status;
	struct node_row nodes[SITES_MAX];
	size_t n_nodes;
	struct cluster_row cluster; /* Zero before the cluster was begun. */
	struct servers servers;
	bool policies_agree; /* The nodes' settings ask the same of accounts. */
};

KLUIS_MUST_CHECK int sys_view_get(struct api_call *call, struct sys_view *view);
const struct node_row *sys_node(const struct sys_view *view, uint64_t id); /* NULL: none. */
/* As the node announced it, or as it is to join; empty when unknown. */
const char *sys_site_of(struct api_call *call, const struct sys_view *view, uint64_t id);
const char *sys_vote_name(enum replica_vote vote);
/* Every member, those that only come or still go, too. */
json_t *sys_members_json(struct api_call *call, const struct sys_view *view);

/* What is wrong now. */
json_t *sys_alarms_json(struct api_call *call, const struct sys_view *view);
/* What the backup job says; nothing when there is none. */
void sys_copies_get(struct api *api, struct api_copies *ret_copies);
size_t sys_shipments_get(struct api *api, struct api_shipment ret_rows[SITES_MAX]);

struct root_summary;
/* Which sites' state roots differ, and which owe one; true, and text as it is: none. */
bool sys_roots_text(struct api_call *call, const struct sys_view *view,
	const struct root_summary *roots, bool *ret_differs, char *text, size_t size);

#endif
