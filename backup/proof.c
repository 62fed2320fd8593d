#include "backup/proof.h"

#include <assert.h>

#define WEEK_MS	  ((uint64_t)PROOF_WEEK_MS)
#define MONDAY_MS (3ULL * 24 * 3600 * 1000) /* 1970 began on a Thursday. */

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* --- turns ----------------------------------------------------------------------------------- */

static bool proof_this_week(const struct proof_facts *facts, uint64_t begin_ms)
{
	for (size_t i = 0; i < facts->n_checks; i++) {
		if (facts->checks[i].level == CHECK_LEVEL_DRILL &&
			facts->checks[i].good_ms >= begin_ms && facts->checks[i].good_ms != 0) {
			return true;
		}
	}
	return false;
}

void proof_turn(const struct proof_facts *facts, struct proof_turn *ret_turn)
{
	uint64_t sites[SITES_MAX], week = (facts->now_ms + MONDAY_MS) / WEEK_MS;
	struct proof_turn turn = {.turn_ms = PROOF_TURN_MS};

	assert(facts->n_nodes <= SITES_MAX);
	if (week > 0) {
		turn.begin_ms = week * WEEK_MS - MONDAY_MS;
	}
	turn.from_ms = turn.begin_ms;
	for (size_t i = 0; i < facts->n_nodes; i++) {
		if (facts->nodes[i].drills) {
			turn.from_ms = max_u64(turn.from_ms, facts->nodes[i].since_ms);
			sites[turn.n++] = facts->nodes[i].node;
		}
	}
	for (size_t i = 0; i < turn.n; i++) {
		turn.order[i] = sites[(week + i) % turn.n];
	}
	if (turn.n * turn.turn_ms >= WEEK_MS) { /* Each has its turn within the week. */
		turn.turn_ms = WEEK_MS / (turn.n + 1);
	}
	turn.proven = proof_this_week(facts, turn.begin_ms);
	*ret_turn = turn;
}

/* --- what is there --------------------------------------------------------------------------- */

/* It took it or has confirmed it. */
static bool proof_holds(const struct snapshot_row *row, uint64_t node)
{
	bool holds = row->node == node;

	for (unsigned i = 0; i < row->n_confirmations; i++) {
		holds |= row->confirmation[i].node == node;
	}
	return holds && row->state == SNAPSHOT_CONFIRMED;
}

static const struct snapshot_row *proof_base(
	const struct proof_facts *facts, const struct snapshot_row *row)
{
	for (size_t i = 0; i < facts->n_rows; i++) {
		if (facts->rows[i].id == row->base_id) {
			return &facts->rows[i];
		}
	}
	return NULL;
}

/* A point reaches back over so many snapshots, or to the full one. */
static bool proof_holds_point(
	const struct proof_facts *facts, const struct snapshot_row *row, uint64_t node)
{
	for (unsigned i = 0; i < BACKUP_SLICES; i++) {
		if (row == NULL || !proof_holds(row, node)) {
			return false;
		}
		if (row->kind != SNAPSHOT_INCREMENT) {
			return true;
		}
		row = proof_base(facts, row);
	}
	return true;
}

const struct snapshot_row *proof_snapshot(const struct proof_facts *facts, uint64_t node)
{
	const struct snapshot_row *newest = NULL;

	for (size_t i = 0; i < facts->n_rows; i++) {
		const struct snapshot_row *row = &facts->rows[i];

		if ((newest == NULL || row->index > newest->index) &&
			proof_holds_point(facts, row, node)) {
			newest = row;
		}
	}
	return newest;
}

bool proof_minute(const struct journal_row *journal, const struct snapshot_row *base, uint64_t node)
{
	bool taker = journal->node == node && journal->number == journal->confirmed;

	return journal->base_id == base->id && journal->confirmed != 0 &&
	       journal->confirmed_index > base->index &&
	       (taker || journal_held(journal, node) >= journal->confirmed);
}

/* --- what is due ----------------------------------------------------------------------------- */

static const struct check_row *proof_last(const struct proof_facts *facts, uint64_t node)
{
	for (size_t i = 0; i < facts->n_checks; i++) {
		if (facts->checks[i].node == node && facts->checks[i].level == CHECK_LEVEL_DRILL) {
			return &facts->checks[i];
		}
	}
	return NULL;
}

/* In its turn unless one before it has proven a restore this week. What failed here is tried again
 * in any week, a day later: nothing else ends the alarm about it. */
static bool proof_drills(const struct proof_facts *facts, uint64_t node)
{
	const struct check_row *last = proof_last(facts, node);
	struct proof_turn turn;

	proof_turn(facts, &turn);
	for (size_t i = 0; i < turn.n; i++) {
		if (turn.order[i] != node) {
			continue;
		}
		if (last != NULL && !last->ok) {
			return facts->now_ms >= last->time_ms + PROOF_AGAIN_MS;
		}
		return !turn.proven && facts->now_ms >= turn.from_ms + i * turn.turn_ms;
	}
	return false;
}

bool proof_due(const struct proof_facts *facts, uint64_t node)
{
	return proof_drills(facts, node) && proof_snapshot(facts, node) != NULL;
}

/* --- whether it is late ---------------------------------------------------------------------- */

uint64_t proof_late_ms(const struct proof_facts *facts, uint64_t *ret_proven_ms)
{
	uint64_t proven_ms = 0, drill_ms = UINT64_MAX, part_ms = UINT64_MAX, from_ms, allowed_ms;

	for (size_t i = 0; i < facts->n_checks; i++) {
		if (facts->checks[i].level == CHECK_LEVEL_DRILL) {
			proven_ms = max_u64(proven_ms, facts->checks[i].good_ms);
		}
	}
	for (size_t i = 0; i < facts->n_nodes; i++) {
		uint64_t since_ms = facts->nodes[i].since_ms;

		part_ms = since_ms < part_ms ? since_ms : part_ms;
		if (facts->nodes[i].drills && since_ms < drill_ms) {
			drill_ms = since_ms;
		}
	}
	allowed_ms = drill_ms != UINT64_MAX ? PROOF_LATE_MS : PROOF_LATE_BY_HAND_MS;
	from_ms = max_u64(proven_ms, drill_ms != UINT64_MAX ? drill_ms : part_ms);
	*ret_proven_ms = proven_ms;
	return facts->now_ms > from_ms && facts->now_ms - from_ms > allowed_ms
		       ? facts->now_ms - from_ms - allowed_ms
		       : 0;
}
