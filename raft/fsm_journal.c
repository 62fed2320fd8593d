/* Journal increments: which one is the next, and which sites hold it. */
#include <string.h>

#include "raft/fsm_apply.h"
#include "storage/cluster_store.h"
#include "storage/journal_store.h"
#include "storage/snapshot_store.h"

/* The first on a new cycle begins anew; what is confirmed of the cycle before stands until then. */
static int journal_next(struct apply *a, const struct command_journal_record *c,
	const struct snapshot_row *base, struct journal_row *row)
{
	bool fresh = row->base_id != base->id;
	uint64_t last = fresh || row->index < base->index ? base->index : row->index;

	if (c->number != (fresh ? 1 : row->number + 1)) {
		return err_set(a->e, KLUIS_ECONFLICT, "another journal increment is the next");
	}
	if (c->index <= last || c->index >= a->index || c->time_ms > a->now_ms) {
		return err_set(a->e, KLUIS_EINVAL, "a journal increment lies behind the last one");
	}
	if (!fresh && row->confirmed != row->number &&
		a->now_ms - row->created_ms < JOURNAL_HELD_MS) {
		return err_set(a->e, KLUIS_ECONFLICT, "the last one is still on its way");
	}
	return 0;
}

static void journal_write(struct apply *a, const struct command_journal_record *c,
	const struct snapshot_row *base, struct journal_row *row)
{
	if (row->base_id != base->id) {
		row->base_id = base->id;
		row->base_cycle = base->cycle;
		row->confirmed = 0;
		row->n_holders = 0;
	}
	row->number = c->number;
	row->node = c->node;
	row->index = c->index;
	row->term = c->term;
	row->time_ms = c->time_ms;
	row->created_ms = a->now_ms;
	memcpy(row->manifest_hash, c->manifest_hash, sizeof row->manifest_hash);
	journal_store_put(a->txn, row);
}

int apply_journal_record(struct apply *a, const struct command_journal_record *c)
{
	struct snapshot_state_row state;
	struct snapshot_row base;
	struct journal_row row;
	struct node_row node;
	int rc = snapshot_store_state(a->view, &state, a->e);

	rc = rc != 0 ? rc : node_store_get(a->view, c->node, &node, a->e);
	rc = rc != 0 ? rc : journal_store_get(a->view, &row, a->e);
	if (rc != 0) {
		return rc;
	}
	a->reply.number = c->number;
	if (row.base_id == c->base_id && row.number == c->number &&
		memcmp(row.manifest_hash, c->manifest_hash, sizeof row.manifest_hash) == 0) {
		return 0; /* Said twice. */
	}
	if (c->base_id != state.confirmed_id) {
		return err_set(a->e, KLUIS_ECONFLICT, "a later cycle is confirmed");
	}
	if (node.quarantined) {
		return err_set(
			a->e, KLUIS_ECONFLICT, "a majority disagrees with the taker's state");
	}
	rc = snapshot_store_get(a->view, c->base_id, &base, a->e);
	rc = rc != 0 ? rc : journal_next(a, c, &base, &row);
	if (rc == 0) {
		journal_write(a, c, &base, &row);
	}
	return rc;
}

static int journal_hold(
	struct apply *a, const struct command_journal_confirm *c, struct journal_row *row)
{
	for (unsigned i = 0; i < row->n_holders; i++) {
		if (row->holder[i].node == c->node) {
			row->holder[i].number = c->number;
			return 0;
		}
	}
	if (row->n_holders == SITES_MAX) {
		return err_set(a->e, KLUIS_EQUOTA, "too many confirmations");
	}
	row->holder[row->n_holders++] = (struct journal_holder){c->node, c->number};
	return 0;
}

static unsigned journal_copies(const struct journal_row *row)
{
	unsigned n = 0;

	for (unsigned i = 0; i < row->n_holders; i++) {
		n += row->holder[i].number == row->number && row->holder[i].node != row->node;
	}
	return n;
}

int apply_journal_confirm(struct apply *a, const struct command_journal_confirm *c)
{
	struct journal_row row;
	struct node_row node;
	int rc = node_store_get(a->view, c->node, &node, a->e);

	rc = rc != 0 ? rc : journal_store_get(a->view, &row, a->e);
	if (rc != 0) {
		return rc;
	}
	a->reply.number = c->number;
	if (c->base_id != row.base_id || c->number != row.number || c->node == row.node ||
		memcmp(row.manifest_hash, c->manifest_hash, sizeof row.manifest_hash) != 0) {
		return err_set(a->e, KLUIS_ECONFLICT, "not the newest journal increment");
	}
	rc = journal_hold(a, c, &row);
	if (rc != 0) {
		return rc;
	}
	if (row.confirmed != row.number && journal_copies(&row) >= c->needed) {
		row.confirmed = row.number;
		row.confirmed_index = row.index;
		row.confirmed_time_ms = row.time_ms;
		memcpy(row.confirmed_hash, row.manifest_hash, sizeof row.confirmed_hash);
	}
	journal_store_put(a->txn, &row);
	return 0;
}
