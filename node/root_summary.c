#include "node/root_summary.h"

#include <string.h>

#include "storage/cluster_store.h"
#include "storage/report_store.h"

enum { REPORTS_MAX = STATE_ROOTS_KEPT * SITES_MAX };

/* All reports of one snapshot. */
struct root_group {
	const struct snapshot_row *snapshot;
	struct report_row report[SITES_MAX]; /* Of members. */
	size_t n;
	const uint8_t *majority; /* NULL: none. */
};

static const struct report_row *group_of(const struct root_group *group, uint64_t node)
{
	for (size_t i = 0; i < group->n; i++) {
		if (group->report[i].node == node) {
			return &group->report[i];
		}
	}
	return NULL;
}

static bool group_differs(const struct root_group *group, const struct report_row *own)
{
	if (group->majority != NULL) {
		return memcmp(own->hash, group->majority, sizeof own->hash) != 0;
	}
	for (size_t i = 0; i < group->n; i++) {
		if (memcmp(own->hash, group->report[i].hash, sizeof own->hash) != 0) {
			return true;
		}
	}
	return false;
}

/* What the site says of a snapshot that is newer than those before. */
static void site_add(struct root_site *site, const struct root_group *group)
{
	const struct report_row *own = group_of(group, site->node);
	const struct snapshot_row *snapshot = group->snapshot;

	if (own != NULL) {
		site->id = snapshot->id;
		site->index = snapshot->index;
		site->differs = group_differs(group, own);
		site->majority = group->majority != NULL;
		site->taker = snapshot->node == site->node;
		site->missing_id = site->missing_ms = 0;
	} else if (site->missing_id == 0 && snapshot->node != site->node) {
		site->missing_id = snapshot->id; /* A taker's record says it, or says nothing. */
		site->missing_ms = snapshot->created_ms;
	}
}

static const struct snapshot_row *snapshot_at(
	const struct snapshot_row *rows, size_t n, uint64_t index)
{
	for (size_t i = n; i > 0; i--) {
		if (rows[i - 1].index == index) {
			return &rows[i - 1];
		}
	}
	return NULL;
}

static bool node_known(const struct node_row *nodes, size_t n, uint64_t node)
{
	for (size_t i = 0; i < n; i++) {
		if (nodes[i].node == node) {
			return true;
		}
	}
	return false;
}

/* The reports of the first index; how many there are of it. */
static size_t group_take(struct root_group *group, const struct report_row *reports, size_t n,
	const struct node_row *nodes, size_t n_nodes)
{
	size_t used = 0;

	group->n = 0;
	for (; used < n && reports[used].index == reports[0].index; used++) {
		if (group->n < SITES_MAX && node_known(nodes, n_nodes, reports[used].node)) {
			group->report[group->n++] = reports[used];
		}
	}
	group->majority = report_majority(group->report, group->n, n_nodes);
	return used;
}

static void summary_begin(struct root_summary *s, const struct node_row *nodes, size_t n)
{
	static const uint8_t none[32];

	for (size_t i = 0; i < n; i++) {
		if (memcmp(nodes[i].backup_key, none, sizeof none) != 0) {
			s->site[s->n++] = (struct root_site){.node = nodes[i].node};
		}
	}
}

int root_summary_read(const struct kv_view *view, const struct snapshot_row *rows, size_t n,
	struct root_summary *ret_summary, struct err *e)
{
	_cleanup_(x_freep) struct report_row *reports = x_calloc(REPORTS_MAX, sizeof *reports);
	_cleanup_(x_freep) struct node_row *nodes = x_calloc(SITES_MAX, sizeof *nodes);
	struct root_summary s = {.n = 0};
	struct root_group group;
	size_t n_reports = 0, n_nodes = 0;
	int rc = node_store_list(view, 0, nodes, SITES_MAX, &n_nodes, e);

	rc = rc != 0 ? rc
		     : report_store_list(view, KEY_STATE_ROOT, reports, REPORTS_MAX, &n_reports, e);
	if (rc != 0) {
		return rc;
	}
	summary_begin(&s, nodes, n_nodes);
	for (size_t at = 0; at < n_reports;) {
		group.snapshot = snapshot_at(rows, n, reports[at].index);
		at += group_take(&group, reports + at, n_reports - at, nodes, n_nodes);
		for (size_t i = 0; group.snapshot != NULL && i < s.n; i++) {
			site_add(&s.site[i], &group);
		}
	}
	*ret_summary = s;
	return 0;
}

enum root_state root_site_state(const struct root_site *site, uint64_t now_ms)
{
	if (site->differs) {
		return ROOT_DIFFERS;
	}
	if (site->missing_id != 0 && now_ms > site->missing_ms + ROOT_LATE_MS) {
		return ROOT_LATE;
	}
	return site->missing_id != 0 || site->id == 0 ? ROOT_WAITING : ROOT_AGREES;
}

const char *root_state_name(enum root_state state)
{
	static const char *const names[] = {[ROOT_AGREES] = "agrees",
		[ROOT_WAITING] = "waiting",
		[ROOT_LATE] = "late",
		[ROOT_DIFFERS] = "differs"};

	return names[state];
}
