/* The state root of a snapshot: where it is made, and what comes of it when a taker's is not the
 * majority's. */
#include <string.h>

#include "raft/fsm_apply.h"
#include "storage/journal_store.h"
#include "storage/snapshot_store.h"

int apply_snapshot_mark(struct apply *a, const struct command_snapshot_mark *c)
{
	struct snapshot_row row;
	int rc = snapshot_store_get(a->view, c->id, &row, a->e);

	if (rc != 0) {
		return rc;
	}
	if (row.node != c->node || row.state != SNAPSHOT_RUNNING) {
		return err_set(a->e, KLUIS_ECONFLICT, "no running snapshot of this node");
	}
	if (row.index != c->after) {
		return err_set(a->e, KLUIS_ECONFLICT, "the snapshot is marked already");
	}
	row.index = a->index;
	snapshot_store_put(a->txn, &row);
	a->mark = (struct fsm_mark){.id = row.id, .node = row.node, .index = row.index};
	a->reply.number = row.index;
	return 0;
}

/* --- a taker that differs -------------------------------------------------------------------- */

static void disown_one(struct apply *a, struct snapshot_row *row, const char *why)
{
	row->state = SNAPSHOT_FAILED;
	memset(row->error, 0, sizeof row->error);
	memcpy(row->error, why, strlen(why)); /* One of ours: it fits. */
	snapshot_store_put(a->txn, row);
}

static bool disowned(const struct snapshot_row *rows, const bool *gone, size_t n, uint64_t id)
{
	for (size_t i = 0; i < n; i++) {
		if (rows[i].id == id) {
			return gone[i];
		}
	}
	return false;
}

/* The next increment is taken against the one below the first that is gone. */
static void disown_state(
	struct apply *a, const struct snapshot_row *first, struct snapshot_state_row *state)
{
	state->confirmed_id = first->base_id;
	state->confirmed_cycle = first->base_id == 0 ? 0 : first->cycle - 1;
	state->confirmed_index = first->base_index;
	snapshot_store_put_state(a->txn, state);
}

/* Journal increments on one of these are no point to come back to. */
static int disown_journal(
	struct apply *a, const struct snapshot_row *rows, const bool *gone, size_t n)
{
	struct journal_row row;
	int rc = journal_store_get(a->view, &row, a->e);

	if (rc == 0 && disowned(rows, gone, n, row.base_id)) {
		row = (struct journal_row){
			0}; /* As before the first: nobody confirms it any more. */
		journal_store_put(a->txn, &row);
	}
	return rc;
}

/* It, and what was taken against it since, are no snapshots. rows: all records, ascending, so that
 * a base comes before what is taken against it. */
static int disown_from(struct apply *a, struct snapshot_row *rows, size_t n, uint64_t id)
{
	bool gone[SNAPSHOTS_KEPT + 1] = {false};
	const struct snapshot_row *first = NULL;
	struct snapshot_state_row state;
	int rc = snapshot_store_state(a->view, &state, a->e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		bool it = rows[i].id == id;

		gone[i] = it || (rows[i].base_id != 0 && disowned(rows, gone, i, rows[i].base_id));
		first = it ? &rows[i] : first;
		if (gone[i] && rows[i].state != SNAPSHOT_FAILED) {
			disown_one(a, &rows[i], it ? SNAPSHOT_DISOWNED : SNAPSHOT_BASE_DISOWNED);
		}
	}
	if (rc == 0 && first != NULL && disowned(rows, gone, n, state.confirmed_id)) {
		disown_state(a, first, &state);
	}
	return rc != 0 ? rc : disown_journal(a, rows, gone, n);
}

static int root_disown(struct apply *a, uint64_t id)
{
	_cleanup_(x_freep) struct snapshot_row *rows = x_calloc(SNAPSHOTS_KEPT + 1, sizeof *rows);
	uint8_t raw[8];
	size_t n = 0;
	int rc = snapshot_store_list(a->view, 0, rows, SNAPSHOTS_KEPT + 1, &n, a->e);

	rc = rc != 0 ? rc : disown_from(a, rows, n, id);
	store_u64(raw, id);
	return rc != 0 ? rc
		       : apply_audit(a, COMMAND_STATE_ROOT, bytes_str("state root"),
				 bytes_of(raw, sizeof raw));
}

/* --- reports --------------------------------------------------------------------------------- */

/* row is as stored; what it says of the root is its taker's. */
static int root_judge(
	struct apply *a, const struct snapshot_row *row, const struct apply_reports *all)
{
	const uint8_t *majority = report_majority(all->row, all->n, all->n_nodes);

	if (majority == NULL ||
		(row->state != SNAPSHOT_SHIPPED && row->state != SNAPSHOT_CONFIRMED) ||
		memcmp(row->state_root, majority, sizeof row->state_root) == 0) {
		return 0;
	}
	return root_disown(a, row->id);
}

static int root_report(
	struct apply *a, const struct snapshot_row *row, uint64_t node, const uint8_t root[32])
{
	struct report_row report = {.index = row->index, .node = node};
	struct apply_reports all;
	int rc;

	memcpy(report.hash, root, sizeof report.hash);
	rc = apply_report(a, KEY_STATE_ROOT, &report, STATE_ROOTS_KEPT, &all);
	return rc != 0 ? rc : root_judge(a, row, &all);
}

int apply_state_root(struct apply *a, const struct command_state_root *c)
{
	struct snapshot_row row;
	int rc = snapshot_store_get(a->view, c->id, &row, a->e);

	if (rc != 0) {
		return rc;
	}
	if (row.index != c->index || row.node == c->node) {
		return err_set(a->e, KLUIS_ECONFLICT, "no root of that snapshot is asked for");
	}
	a->reply.number = row.id;
	return root_report(a, &row, c->node, c->root);
}

int apply_root_of_taker(struct apply *a, const struct snapshot_row *row)
{
	int rc = a->cluster.feature_level < FEATURE_LEVEL_ROOTS
			 ? 0
			 : root_report(a, row, row->node, row->state_root);

	/* A node that is none any more, or one of long ago: the record stands all the same. */
	return rc == KLUIS_ENOTFOUND || rc == KLUIS_EGONE ? 0 : rc;
}
