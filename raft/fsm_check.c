/* What sites found when they checked snapshots. */
#include <string.h>

#include "raft/fsm_apply.h"
#include "storage/check_store.h"
#include "storage/cluster_store.h"
#include "storage/snapshot_store.h"

static void check_text(struct check_row *row, struct bytes text)
{
	size_t len = text.len < CHECK_TEXT_BYTES_MAX ? text.len : CHECK_TEXT_BYTES_MAX;

	memset(row->text, 0, sizeof row->text);
	if (len > 0) {
		memcpy(row->text, text.data, len);
	}
}

int apply_snapshot_check(struct apply *a, const struct command_snapshot_check *c)
{
	struct snapshot_row snapshot;
	struct node_row node;
	struct check_row row;
	int rc = snapshot_store_get(a->view, c->id, &snapshot, a->e);

	rc = rc != 0 ? rc : node_store_get(a->view, c->node, &node, a->e);
	if (rc != 0) {
		return rc;
	}
	if (snapshot.state != SNAPSHOT_SHIPPED && snapshot.state != SNAPSHOT_CONFIRMED) {
		return err_set(a->e, KLUIS_ECONFLICT, "the snapshot is not finished");
	}
	rc = check_store_get(a->view, c->node, c->level, &row, a->e);
	if (rc == KLUIS_ENOTFOUND) {
		row = (struct check_row){.node = c->node, .level = c->level};
	} else if (rc != 0) {
		return rc;
	}
	a->reply.number = c->id;
	row.id = c->id;
	row.index = snapshot.index;
	row.time_ms = a->now_ms;
	row.ok = c->ok;
	if (c->ok) {
		row.good_id = c->id;
		row.good_ms = a->now_ms;
	}
	check_text(&row, c->text);
	check_store_put(a->txn, &row);
	return 0;
}
