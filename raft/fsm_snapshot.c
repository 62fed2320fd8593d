#include <assert.h>
#include <string.h>

#include "raft/fsm_apply.h"
#include "storage/snapshot_store.h"

static void snapshot_error(struct snapshot_row *row, struct bytes error)
{
	size_t len = error.len < SNAPSHOT_ERROR_BYTES_MAX ? error.len : SNAPSHOT_ERROR_BYTES_MAX;

	memset(row->error, 0, sizeof row->error);
	if (len > 0) {
		memcpy(row->error, error.data, len);
	}
}

/* Claimed, and neither done nor given up: until its claim expires. */
static bool claim_stands(const struct snapshot_row *row)
{
	return row->state == SNAPSHOT_RUNNING || row->state == SNAPSHOT_SHIPPED;
}

/* Whether this slot may be claimed now; what was claimed and given up is marked as failed. Exactly
 * one taker per slot: only entries decide, never somebody's clock. */
static int claim_cycle_check(
	struct apply *a, const struct command_snapshot_claim *c, struct snapshot_state_row *state)
{
	struct snapshot_row old;
	bool held, again;
	int rc;

	if (c->slot > a->now_ms + SNAPSHOT_EARLY_MS) {
		return err_set(a->e, KLUIS_EINVAL, "that cycle has not come yet");
	}
	if (c->slot < state->last_slot) {
		return err_set(a->e, KLUIS_ECONFLICT, "a later cycle was claimed");
	}
	if (state->claimed_id == 0) {
		return c->slot > state->last_slot || state->last_slot == 0
			       ? 0
			       : err_set(a->e, KLUIS_ECONFLICT, "the cycle is done");
	}
	rc = snapshot_store_get(a->view, state->claimed_id, &old, a->e);
	if (rc != 0) {
		return err_set(a->e, KLUIS_ECORRUPT, "the claimed snapshot is missing");
	}
	again = old.state == SNAPSHOT_RUNNING && old.node == c->node && c->slot == state->last_slot;
	held = claim_stands(&old) && a->now_ms < old.claim_expires_ms;
	if (held && !again) {
		return err_set(a->e, KLUIS_ECONFLICT, "node %llu takes the snapshot",
			(unsigned long long)old.node);
	}
	/* One that is recorded, and behind which a later cycle comes, is shipped all the same. */
	if (old.state == SNAPSHOT_RUNNING ||
		(old.state == SNAPSHOT_SHIPPED && c->slot == state->last_slot)) {
		old.state = SNAPSHOT_FAILED;
		snapshot_error(&old, bytes_str(again ? "begun anew" : "its claim expired"));
		snapshot_store_put(a->txn, &old);
	}
	return 0;
}

/* Which records go first. What receivers keep is by what the log knows: tries that failed, and
 * manual snapshots, must not push the records of cycles out. */
static unsigned trim_worth(const struct apply *a, const struct snapshot_row *row)
{
	if (a->cluster.feature_level < FEATURE_LEVEL_SCHEDULE) {
		return 0;
	}
	return row->state == SNAPSHOT_FAILED ? 0 : (row->kind == SNAPSHOT_MANUAL ? 1 : 2);
}

/* Of more than SNAPSHOTS_KEPT records one goes: the oldest of the least worth. Pinned ones stay,
 * and the one that the state row names. */
static int claim_trim(struct apply *a, const struct snapshot_state_row *state)
{
	_cleanup_(x_freep) struct snapshot_row *rows = x_calloc(SNAPSHOTS_KEPT + 1, sizeof *rows);
	const struct snapshot_row *least = NULL;
	size_t n = 0;
	int rc = snapshot_store_list(a->view, 0, rows, SNAPSHOTS_KEPT + 1, &n, a->e);

	for (size_t i = 0; rc == 0 && n > SNAPSHOTS_KEPT && i < n; i++) {
		if (!rows[i].pinned && rows[i].id != state->claimed_id &&
			rows[i].id != state->confirmed_id &&
			(least == NULL || trim_worth(a, &rows[i]) < trim_worth(a, least))) {
			least = &rows[i];
		}
	}
	return rc == 0 && least != NULL ? snapshot_store_delete(a->txn, least, a->e) : rc;
}

static int claim_write(
	struct apply *a, const struct command_snapshot_claim *c, struct snapshot_state_row *state)
{
	struct snapshot_row row = {.id = a->index,
		.kind = c->kind,
		.state = SNAPSHOT_RUNNING,
		.node = c->node,
		.slot = c->kind == SNAPSHOT_MANUAL ? a->now_ms : c->slot,
		.created_ms = a->now_ms,
		.claim_expires_ms = a->now_ms + c->ttl_ms};

	if (c->kind == SNAPSHOT_INCREMENT) {
		row.kind = state->confirmed_cycle == 0 ? SNAPSHOT_FULL : SNAPSHOT_INCREMENT;
		row.cycle = state->confirmed_cycle + 1;
		row.base_id = state->confirmed_id;
		row.base_index = state->confirmed_index;
		state->claimed_id = row.id;
		state->last_slot = c->slot;
		snapshot_store_put_state(a->txn, state);
	}
	snapshot_store_put(a->txn, &row);
	a->reply.number = row.id;
	return claim_trim(a, state);
}

static int claim_run(struct apply *a, const struct command_snapshot_claim *c)
{
	struct snapshot_state_row state;
	struct snapshot_row same;
	struct node_row node;
	int rc = node_store_get(a->view, c->node, &node, a->e);

	if (rc == 0) {
		rc = snapshot_store_get(a->view, a->index, &same, a->e);
		rc = rc == 0 ? err_set(a->e, KLUIS_ECONFLICT, "one claim in an entry")
			     : (rc == KLUIS_ENOTFOUND ? 0 : rc);
	}
	if (rc == 0) {
		rc = snapshot_store_state(a->view, &state, a->e);
	}
	if (rc == 0 && c->kind == SNAPSHOT_INCREMENT) {
		rc = claim_cycle_check(a, c, &state);
	}
	if (rc == 0) {
		rc = claim_write(a, c, &state);
	}
	return rc;
}

int apply_snapshot_claim(struct apply *a, const struct command_snapshot_claim *c)
{
	int rc = apply_once_begin(a, c->actor, COMMAND_SNAPSHOT_CLAIM, &c->once);

	if (rc != 0 || a->replayed) {
		return rc;
	}
	rc = claim_run(a, c);
	if (rc == 0) {
		apply_once_end(a, c->actor, COMMAND_SNAPSHOT_CLAIM, &c->once, false);
	}
	if (rc == 0 && (c->kind == SNAPSHOT_MANUAL || c->actor.len > 0)) {
		rc = apply_audit(a, COMMAND_SNAPSHOT_CLAIM, c->actor,
			bytes_str(c->kind == SNAPSHOT_MANUAL ? "manual snapshot" : "cycle"));
	}
	return rc;
}

/* Where a snapshot stands in the log: not before its claim, and not ahead. */
static int snapshot_index_check(
	struct apply *a, const struct snapshot_row *row, uint64_t snapshot_index)
{
	return snapshot_index >= row->id && snapshot_index < a->index
		       ? 0
		       : err_set(a->e, KLUIS_EINVAL, "a snapshot is taken behind its claim");
}

static int renew_check(
	struct apply *a, const struct command_snapshot_renew *c, const struct snapshot_row *row)
{
	struct snapshot_state_row state;
	int rc = snapshot_store_state(a->view, &state, a->e);

	if (rc != 0) {
		return rc;
	}
	if (row->node != c->node || !claim_stands(row) ||
		(row->kind != SNAPSHOT_MANUAL && state.claimed_id != row->id)) {
		return err_set(a->e, KLUIS_ECONFLICT, "the claim does not stand any more");
	}
	if (a->now_ms - row->created_ms >= SNAPSHOT_HELD_MS) {
		return err_set(a->e, KLUIS_ECONFLICT, "the claim has stood for too long");
	}
	return c->index == 0 ? 0 : snapshot_index_check(a, row, c->index);
}

int apply_snapshot_renew(struct apply *a, const struct command_snapshot_renew *c)
{
	struct snapshot_row row;
	int rc = snapshot_store_get(a->view, c->id, &row, a->e);

	rc = rc != 0 ? rc : renew_check(a, c, &row);
	if (rc != 0) {
		return rc;
	}
	a->reply.number = row.id;
	row.claim_expires_ms = a->now_ms + c->ttl_ms;
	if (row.state == SNAPSHOT_RUNNING && c->index != 0 && row.index != c->index) {
		row.index = c->index;
		a->report_at = c->index;
	}
	snapshot_store_put(a->txn, &row);
	return 0;
}

int apply_hold_claims(struct apply *a, uint64_t ahead_ms)
{
	struct snapshot_state_row state;
	struct snapshot_row row;
	int rc = a->cluster.feature_level < FEATURE_LEVEL_SCHEDULE
			 ? KLUIS_ENOTFOUND
			 : snapshot_store_state(a->view, &state, a->e);

	if (rc == 0) {
		rc = snapshot_store_get(a->view, state.claimed_id, &row, a->e);
	}
	if (rc == 0 && claim_stands(&row) && a->now_ms < row.claim_expires_ms) {
		row.claim_expires_ms += ahead_ms;
		snapshot_store_put(a->txn, &row);
	}
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

/* What the others do not agree with is no snapshot; whether they agree is asked for as of S, if it
 * was not when the checkpoint was made. */
static int record_agreed(
	struct apply *a, const struct command_snapshot_record *c, const struct snapshot_row *row)
{
	struct node_row node;
	int rc;

	if (a->cluster.feature_level < FEATURE_LEVEL_SCHEDULE) {
		return 0;
	}
	rc = node_store_get(a->view, c->node, &node, a->e);
	if (rc == 0 && node.quarantined) {
		rc = err_set(a->e, KLUIS_ECONFLICT, "a majority disagrees with the taker's state");
	}
	if ((rc == 0 || rc == KLUIS_ENOTFOUND) &&
		row->index > c->index) { /* Two marks, of which the first one's answer was lost. */
		rc = err_set(a->e, KLUIS_ECONFLICT, "the snapshot was marked again since");
	}
	a->report_at = row->index == c->index ? 0 : c->index;
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

int apply_snapshot_record(struct apply *a, const struct command_snapshot_record *c)
{
	struct snapshot_row row;
	int rc = snapshot_store_get(a->view, c->id, &row, a->e);

	if (rc != 0) {
		return rc;
	}
	a->reply.number = row.id;
	if (row.node != c->node) {
		return err_set(a->e, KLUIS_ECONFLICT, "another node takes this snapshot");
	}
	if (row.state != SNAPSHOT_RUNNING) {
		return row.state != SNAPSHOT_FAILED &&
				       memcmp(row.manifest_hash, c->manifest_hash, 32) == 0
			       ? 0
			       : err_set(a->e, KLUIS_ECONFLICT, "the snapshot is not running");
	}
	rc = snapshot_index_check(a, &row, c->index);
	rc = rc != 0 ? rc : record_agreed(a, c, &row);
	if (rc != 0) {
		return rc;
	}
	row.state = SNAPSHOT_SHIPPED;
	row.index = c->index;
	row.term = c->term;
	row.objects = c->objects;
	row.bytes = c->bytes;
	memcpy(row.manifest_hash, c->manifest_hash, 32);
	memcpy(row.state_root, c->state_root, 32);
	snapshot_store_put(a->txn, &row);
	return apply_root_of_taker(a, &row);
}

/* The newest confirmed cycle is what the next increment is taken against. */
static int confirm_cycle(struct apply *a, const struct snapshot_row *row)
{
	struct snapshot_state_row state;
	struct snapshot_row oldest;
	int rc = snapshot_store_state(a->view, &state, a->e);

	if (rc != 0 || row->cycle == 0 || row->index <= state.confirmed_index) {
		return rc;
	}
	snapshot_store_put_cycle(a->txn, row);
	state.confirmed_id = row->id;
	state.confirmed_cycle = row->cycle;
	state.confirmed_index = row->index;
	if (state.claimed_id == row->id) {
		state.claimed_id = 0;
	}
	if (row->cycle > SNAPSHOT_CYCLES_KEPT) {
		rc = snapshot_store_cycle(
			a->view, row->cycle - SNAPSHOT_CYCLES_KEPT, &oldest, a->e);
		if (rc == 0) {
			state.tombstones_upto = oldest.index;
		} else if (rc == KLUIS_ENOTFOUND) {
			rc = 0;
		}
	}
	snapshot_store_put_state(a->txn, &state);
	return rc;
}

static bool confirm_has(const struct snapshot_row *row, uint64_t node)
{
	for (unsigned i = 0; i < row->n_confirmations; i++) {
		if (row->confirmation[i].node == node) {
			return true;
		}
	}
	return false;
}

int apply_snapshot_confirm(struct apply *a, const struct command_snapshot_confirm *c)
{
	struct snapshot_row row;
	struct node_row node;
	int rc = snapshot_store_get(a->view, c->id, &row, a->e);

	if (rc == 0) {
		rc = node_store_get(a->view, c->node, &node, a->e);
	}
	if (rc != 0) {
		return rc;
	}
	a->reply.number = row.id;
	if (c->node == row.node ||
		(row.state != SNAPSHOT_SHIPPED && row.state != SNAPSHOT_CONFIRMED) ||
		memcmp(row.manifest_hash, c->manifest_hash, 32) != 0) {
		return err_set(a->e, KLUIS_ECONFLICT, "no such snapshot to confirm");
	}
	if (confirm_has(&row, c->node)) {
		return 0;
	}
	if (row.n_confirmations >= SITES_MAX) {
		return err_set(a->e, KLUIS_EQUOTA, "too many confirmations");
	}
	row.confirmation[row.n_confirmations++] =
		(struct snapshot_confirmation){c->node, a->now_ms};
	if (snapshot_row_damage_of(&row, c->node)) {
		snapshot_error(&row, bytes_of(NULL, 0)); /* It is whole again. */
	}
	if (row.state == SNAPSHOT_SHIPPED && row.n_confirmations >= c->needed) {
		row.state = SNAPSHOT_CONFIRMED;
		row.confirmed_ms = a->now_ms;
		rc = confirm_cycle(a, &row);
	}
	snapshot_store_put(a->txn, &row);
	return rc;
}

int apply_snapshot_fail(struct apply *a, const struct command_snapshot_fail *c)
{
	struct snapshot_row row;
	int rc = snapshot_store_get(a->view, c->id, &row, a->e);

	if (rc != 0) {
		return rc;
	}
	a->reply.number = row.id;
	if (row.state == SNAPSHOT_FAILED) {
		return 0;
	}
	if (row.node != c->node || row.state == SNAPSHOT_CONFIRMED) {
		return err_set(a->e, KLUIS_ECONFLICT, "no running snapshot of this node");
	}
	row.state = SNAPSHOT_FAILED;
	snapshot_error(&row, c->error);
	if (a->cluster.feature_level >= FEATURE_LEVEL_DISOWNED && snapshot_row_disowned(&row)) {
		return err_set(a->e, KLUIS_EINVAL, "only state roots say that");
	}
	snapshot_store_put(a->txn, &row);
	return 0;
}

static void damage_take_back(struct snapshot_row *row, uint64_t node)
{
	for (unsigned i = 0; i < row->n_confirmations; i++) {
		if (row->confirmation[i].node == node) {
			row->n_confirmations--;
			memmove(&row->confirmation[i], &row->confirmation[i + 1],
				(row->n_confirmations - i) * sizeof row->confirmation[i]);
			return;
		}
	}
}

/* What was confirmed stays so: increments were taken against it. But the copy no longer counts
 * until the site, with a whole one again, confirms anew. */
int apply_snapshot_damage(struct apply *a, const struct command_snapshot_damage *c)
{
	struct snapshot_row row;
	int rc = snapshot_store_get(a->view, c->id, &row, a->e);

	if (rc != 0) {
		return rc;
	}
	a->reply.number = row.id;
	if ((row.state != SNAPSHOT_SHIPPED && row.state != SNAPSHOT_CONFIRMED) ||
		memcmp(row.manifest_hash, c->manifest_hash, 32) != 0 ||
		(c->error.len == 0 && c->node != row.node)) {
		return err_set(a->e, KLUIS_ECONFLICT, "no such snapshot to be damaged");
	}
	if (c->error.len > 0) {
		damage_take_back(&row, c->node);
		snapshot_row_put_damage(&row, c->node, c->error);
	} else if (snapshot_row_damage_of(&row, c->node)) {
		snapshot_error(&row, bytes_of(NULL, 0));
	}
	snapshot_store_put(a->txn, &row);
	return 0;
}

/* Whether there is room for one more. */
static int snapshot_pins(struct apply *a)
{
	enum { ROWS_MAX = SNAPSHOTS_KEPT + 1 };
	_cleanup_(x_freep) struct snapshot_row *rows = x_calloc(ROWS_MAX, sizeof *rows);
	size_t n = 0;
	int rc = snapshot_store_list(a->view, 0, rows, ROWS_MAX, &n, a->e);

	return rc != 0 ? rc : snapshot_check_pins(rows, n, a->e);
}

int apply_snapshot_pin(struct apply *a, const struct command_snapshot_pin *c)
{
	struct snapshot_row row;
	uint8_t id[8];
	int rc = snapshot_store_get(a->view, c->id, &row, a->e);

	if (rc != 0 || row.pinned == c->on) {
		return rc;
	}
	if (c->on && a->cluster.feature_level >= FEATURE_LEVEL_PINS) {
		rc = snapshot_pins(a);
		if (rc != 0) {
			return rc;
		}
	}
	row.pinned = c->on;
	snapshot_store_put(a->txn, &row);
	store_u64(id, row.id);
	return apply_audit(a, COMMAND_SNAPSHOT_PIN, c->actor, bytes_of(id, sizeof id));
}
