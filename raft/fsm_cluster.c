#include <assert.h>
#include <string.h>

#include "raft/fsm_apply.h"
#include "storage/node_backup_store.h"
#include "storage/policy_store.h"
#include "storage/report_store.h"

/* The first nodes: of a new cluster, or of a restored one, whose old nodes are gone. */
static int init_nodes(struct apply *a, const struct command_cluster_init *c)
{
	struct node_counts nodes;
	int rc = node_store_count(a->view, &nodes, a->e);

	for (unsigned i = 0; rc == 0 && nodes.n == 0 && i < c->n_nodes; i++) {
		struct node_row node = {.node = c->node[i]};

		node_store_put(a->txn, &node);
	}
	return rc;
}

int apply_cluster_init(struct apply *a, const struct command_cluster_init *c)
{
	struct cluster_row row = {.created_ms = a->now_ms, .feature_level = 1};
	int rc = cluster_store_get(a->view, &row, a->e);

	if (rc == 0) {
		/* Each member of a new cluster may propose it: the same one again is success. */
		return memcmp(row.cluster_id, c->cluster_id, 16) == 0 &&
				       memcmp(row.lineage, c->lineage, 16) == 0
			       ? init_nodes(a, c)
			       : err_set(a->e, KLUIS_EEXIST, "the cluster is initialised");
	}
	if (rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	memcpy(row.cluster_id, c->cluster_id, 16);
	memcpy(row.lineage, c->lineage, 16);
	cluster_store_put(a->txn, &row);
	rc = init_nodes(a, c);
	if (rc != 0) {
		return rc;
	}
	return apply_audit(a, COMMAND_CLUSTER_INIT, bytes_str("init"), bytes_of(c->lineage, 16));
}

static void announce_text(char *to, struct bytes text)
{
	memcpy(to, text.data == NULL ? (const uint8_t *)"" : text.data, text.len);
	to[text.len] = 0;
}

static void announce_fill(struct node_row *row, const struct command_node_announce *c)
{
	row->feature_level = c->feature_level;
	announce_text(row->site, c->site);
	announce_text(row->version, c->version);
	announce_text(row->api, c->api);
	announce_text(row->link, c->link);
	announce_text(row->ssh, c->ssh);
	memset(row->ssh_host_key, 0, sizeof row->ssh_host_key);
	row->ssh_host_key_bytes = (uint16_t)c->ssh_host_key.len;
	if (c->ssh_host_key.len > 0) {
		memcpy(row->ssh_host_key, c->ssh_host_key.data, c->ssh_host_key.len);
	}
	memcpy(row->backup_key, c->backup_key, sizeof row->backup_key);
}

/* The cluster's level is the lowest that all nodes announced; it never goes back, for entries of
 * that level may be in the log. */
static int announce_raise_level(struct apply *a)
{
	struct node_counts nodes;
	int rc = node_store_count(a->view, &nodes, a->e);

	if (rc == 0 && nodes.n > 0 && nodes.lowest_level > a->cluster.feature_level) {
		a->cluster.feature_level = nodes.lowest_level;
		cluster_store_put(a->txn, &a->cluster);
	}
	return rc;
}

int apply_node_announce(struct apply *a, const struct command_node_announce *c)
{
	struct node_row row = {.node = c->node};
	struct node_counts nodes;
	struct servers_row all;
	struct server_row server;
	int rc = servers_store_get(a->view, &all, a->e);

	if (rc == 0) { /* It may have been on its way when the node was removed. */
		rc = server_store_get(a->view, c->node, &server, a->e);
		if (rc == KLUIS_ENOTFOUND) {
			rc = err_set(a->e, KLUIS_EGONE, "no member");
		}
	}
	if (rc == 0 || rc == KLUIS_ENOTFOUND) {
		rc = node_store_get(a->view, c->node, &row, a->e);
	}
	if (rc == KLUIS_ENOTFOUND) {
		rc = node_store_count(a->view, &nodes, a->e);
		if (rc == 0 && nodes.n >= SITES_MAX) {
			rc = err_set(a->e, KLUIS_EQUOTA, "too many nodes");
		}
	}
	if (rc != 0) {
		return rc;
	}
	announce_fill(&row, c);
	row.announced_ms = a->now_ms;
	node_store_put(a->txn, &row);
	return announce_raise_level(a);
}

int apply_readonly(struct apply *a, const struct command_readonly *c)
{
	struct node_row row;
	int rc;

	if (c->node == 0) {
		if (a->cluster.read_only != c->on) {
			a->cluster.read_only = c->on;
			cluster_store_put(a->txn, &a->cluster);
			return apply_audit(a, COMMAND_READONLY, c->actor,
				bytes_str(c->on ? "cluster on" : "cluster off"));
		}
		return 0;
	}
	rc = node_store_get(a->view, c->node, &row, a->e);
	if (rc == 0) {
		row.read_only = c->on;
		node_store_put(a->txn, &row);
	}
	return rc;
}

/* Wall clocks ascending. */
static void time_sort(uint64_t *wall, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		uint64_t value = wall[i];
		size_t at = i;

		for (; at > 0 && wall[at - 1] > value; at--) {
			wall[at] = wall[at - 1];
		}
		wall[at] = value;
	}
}

/* The middle of the largest group of clocks that lie within TIME_AGREE_MS of each other; false when
 * that is no majority of all nodes. */
static bool time_agreed(uint64_t *wall, size_t n, size_t nodes, uint64_t *ret_ms)
{
	size_t best = 0, best_at = 0;

	time_sort(wall, n);
	for (size_t i = 0; i < n; i++) {
		size_t j = i;

		while (j < n && wall[j] - wall[i] <= TIME_AGREE_MS) {
			j++;
		}
		if (j - i > best) {
			best = j - i;
			best_at = i;
		}
	}
	if (2 * best <= nodes) {
		return false;
	}
	*ret_ms = wall[best_at + best / 2];
	return true;
}

static int time_jump_to(struct apply *a, uint64_t to_ms)
{
	uint64_t ahead = to_ms - a->now_ms;
	int rc = apply_hold_claims(a, ahead);

	if (rc != 0) {
		return rc;
	}
	txn_position(a->txn)->cluster_time_ms = to_ms;
	if (ahead <= PURGE_HOLD_JUMP_MS) {
		return 0;
	}
	/* Whoever set the clocks has a day to see it before history goes by it. */
	a->cluster.purge_from_ms = to_ms + PURGE_HOLD_MS;
	cluster_store_put(a->txn, &a->cluster);
	return apply_audit(a, COMMAND_TIME_JUMP, bytes_str("clock"), bytes_str("ahead"));
}

int apply_time_jump(struct apply *a, const struct command_time_jump *c)
{
	struct node_row nodes[SITES_MAX];
	uint64_t wall[TIME_READINGS_MAX], to_ms;
	size_t n = 0, known = 0;
	int rc = apply_nodes(a, nodes, &n);

	for (unsigned i = 0; rc == 0 && i < c->n_readings; i++) {
		for (size_t j = 0; j < n; j++) {
			if (nodes[j].node == c->reading[i].node) {
				wall[known++] = c->reading[i].wall_ms;
			}
		}
	}
	if (rc != 0) {
		return rc;
	}
	if (!time_agreed(wall, known, n, &to_ms) || to_ms > CLUSTER_TIME_MAX_MS) {
		return err_set(a->e, KLUIS_ECONFLICT, "no majority of clocks agrees");
	}
	if (to_ms <= a->now_ms) {
		return err_set(a->e, KLUIS_ECONFLICT, "the cluster's time never goes back");
	}
	return time_jump_to(a, to_ms);
}

static struct node_row *report_node(struct node_row *nodes, size_t n, uint64_t id)
{
	for (size_t i = 0; i < n; i++) {
		if (nodes[i].node == id) {
			return &nodes[i];
		}
	}
	return NULL;
}

/* What a node that was removed since has reported counts no more. */
static size_t report_members(
	struct report_row *reports, size_t n, struct node_row *nodes, size_t n_nodes)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (report_node(nodes, n_nodes, reports[i].node) != NULL) {
			reports[kept++] = reports[i];
		}
	}
	return kept;
}

int apply_report(struct apply *a, enum key_family family, const struct report_row *row, size_t kept,
	struct apply_reports *ret_all)
{
	struct apply_reports all = {.n = 0};
	int rc = apply_nodes(a, all.node, &all.n_nodes);

	if (rc == 0 && report_node(all.node, all.n_nodes, row->node) == NULL) {
		rc = err_set(a->e, KLUIS_ENOTFOUND, "no such node");
	}
	if (rc == 0 && row->index >= a->index) {
		rc = err_set(a->e, KLUIS_EINVAL, "a report of what is not applied yet");
	}
	if (rc == 0) {
		rc = report_store_put(a->txn, family, row, kept, a->e);
	}
	if (rc == 0) {
		rc = report_store_at(a->view, family, row->index, all.row, SITES_MAX, &all.n, a->e);
	}
	if (rc == 0) {
		all.n = report_members(all.row, all.n, all.node, all.n_nodes);
		*ret_all = all;
	}
	return rc;
}

/* Marks those that disagree with a majority, and clears the mark of those that agree again: the
 * leader's word counts no more than another's. */
static int report_judge(struct apply *a, struct apply_reports *all)
{
	const uint8_t *majority = report_majority(all->row, all->n, all->n_nodes);
	int rc = 0;

	for (size_t i = 0; majority != NULL && rc == 0 && i < all->n; i++) {
		struct node_row *row = report_node(all->node, all->n_nodes, all->row[i].node);
		bool bad = memcmp(all->row[i].hash, majority, 32) != 0;
		uint8_t id[8];

		if (row->quarantined == bad) {
			continue;
		}
		row->quarantined = bad;
		node_store_put(a->txn, row);
		store_u64(id, row->node);
		rc = apply_audit(a, COMMAND_HASH_REPORT, bytes_of(id, 8),
			bytes_str(bad ? "quarantined" : "agrees again"));
	}
	return rc;
}

int apply_hash_report(struct apply *a, const struct command_hash_report *c)
{
	struct report_row row = {.index = c->index, .node = c->node};
	struct apply_reports all;
	int rc;

	memcpy(row.hash, c->hash, sizeof row.hash);
	rc = apply_report(a, KEY_HASH_REPORT, &row, HASH_REPORTS_KEPT, &all);
	return rc != 0 ? rc : report_judge(a, &all);
}

/* Changes nothing: fsm.c has the reports made. */
int apply_hash_ask(struct apply *a, const struct command_hash_ask *c)
{
	struct node_row node;
	int rc = node_store_get(a->view, c->node, &node, a->e);

	if (rc == 0 && !node.quarantined) {
		rc = err_set(a->e, KLUIS_ECONFLICT, "that node is in no doubt");
	}
	return rc;
}

int apply_policy_announce(struct apply *a, const struct command_policy_announce *c)
{
	const struct policy policy = {.registration = c->registration,
		.recovery_delay_ms = c->recovery_delay_ms,
		.bytes_max = c->bytes_max,
		.pages_max = c->pages_max};
	struct node_row node;
	int rc = node_store_get(a->view, c->node, &node, a->e);

	return rc != 0 ? rc : node_policy_store_put(a->txn, c->node, &policy, a->e);
}

/* Since when a site drills does not change with its other settings. */
int apply_backup_announce(struct apply *a, const struct command_backup_announce *c)
{
	struct node_backup_row row = {.node = c->node,
		.interval_s = c->interval_s,
		.offset_s = c->offset_s,
		.keep_s = c->keep_s,
		.copies = c->copies,
		.drills = c->drills,
		.since_ms = a->now_ms};
	struct node_backup_row before;
	struct node_row node;
	int rc = node_store_get(a->view, c->node, &node, a->e);

	if (rc != 0) {
		return rc;
	}
	if (c->copies == 0) {
		node_backup_store_delete(a->txn, c->node);
		return 0;
	}
	rc = node_backup_store_get(a->view, c->node, &before, a->e);
	if (rc == 0 && before.drills == row.drills) {
		row.since_ms = before.since_ms;
	}
	if (rc == 0 || rc == KLUIS_ENOTFOUND) {
		node_backup_store_put(a->txn, &row);
		return 0;
	}
	return rc;
}
