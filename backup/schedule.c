#include "backup/schedule.h"

#include <assert.h>

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t schedule_slot(const struct schedule_rules *rules, uint64_t now_ms)
{
	assert(rules->interval_ms > 0 && rules->offset_ms < rules->interval_ms);
	return now_ms < rules->offset_ms
		       ? 0
		       : now_ms - (now_ms - rules->offset_ms) % rules->interval_ms;
}

static uint64_t schedule_turn_ms(const struct schedule_rules *rules)
{
	/* All have had their turn long before the next cycle. */
	return min_u64(SCHEDULE_TURN_MS, rules->interval_ms / (2 * SITES_MAX));
}

uint32_t schedule_claim_ms(const struct schedule_rules *rules)
{
	uint64_t half = rules->interval_ms / 2;

	if (rules->interval_ms == 0 || half > SCHEDULE_CLAIM_MS_MAX) {
		return SCHEDULE_CLAIM_MS_MAX;
	}
	return half < SCHEDULE_CLAIM_MS_MIN ? SCHEDULE_CLAIM_MS_MIN : (uint32_t)half;
}

uint64_t schedule_stall_ms(const struct schedule_rules *rules)
{
	uint64_t claim_ms = schedule_claim_ms(rules);

	return claim_ms < SCHEDULE_STALL_MS_MIN ? SCHEDULE_STALL_MS_MIN : claim_ms;
}

bool schedule_gets_on(struct schedule_pulse *pulse, uint64_t id, uint64_t moved, uint64_t now_ms,
	uint64_t stall_ms)
{
	if (pulse->id != id || pulse->moved != moved) {
		*pulse = (struct schedule_pulse){.id = id, .moved = moved, .since_ms = now_ms};
	}
	return now_ms - pulse->since_ms < stall_ms;
}

static const struct snapshot_row *schedule_claimed(const struct schedule_facts *facts)
{
	for (size_t i = facts->n_rows; facts->state.claimed_id != 0 && i > 0; i--) {
		if (facts->rows[i - 1].id == facts->state.claimed_id) {
			return &facts->rows[i - 1];
		}
	}
	return NULL;
}

static bool schedule_of_slot(const struct snapshot_row *row, uint64_t slot)
{
	return row->kind != SNAPSHOT_MANUAL && row->slot == slot;
}

/* Each try of the cycle that failed doubles the time. */
static uint64_t schedule_doubled_ms(
	const struct schedule_facts *facts, uint64_t slot, uint64_t time_ms, uint64_t max_ms)
{
	for (size_t i = 0; i < facts->n_rows && time_ms < max_ms; i++) {
		if (schedule_of_slot(&facts->rows[i], slot) &&
			facts->rows[i].state == SNAPSHOT_FAILED) {
			time_ms *= 2;
		}
	}
	return min_u64(time_ms, max_ms);
}

static uint64_t schedule_pause_ms(const struct schedule_facts *facts, uint64_t slot)
{
	return schedule_doubled_ms(
		facts, slot, schedule_turn_ms(&facts->rules), facts->rules.interval_ms / 4);
}

bool schedule_ships(const struct schedule_facts *facts, const struct snapshot_row *row,
	const struct schedule_shipping *shipping, struct schedule_pulse *pulse)
{
	uint64_t interval_ms = facts->rules.interval_ms, stall_ms = shipping->stall_ms;
	bool newest = interval_ms != 0 && schedule_slot(&facts->rules, facts->now_ms) <= row->slot;

	if (newest && interval_ms > stall_ms) {
		stall_ms = schedule_doubled_ms(facts, row->slot, stall_ms, interval_ms);
	}
	return schedule_gets_on(pulse, row->id, shipping->moved + row->n_confirmations,
		       shipping->ticks_ms, stall_ms) ||
	       (newest && shipping->delivered >= shipping->copies);
}

static uint64_t schedule_after(const struct schedule_facts *facts)
{
	const struct schedule_rules *rules = &facts->rules;
	uint64_t last =
		facts->state.last_slot > facts->now_ms ? facts->state.last_slot : facts->now_ms;

	return last < rules->offset_ms ? rules->offset_ms
				       : schedule_slot(rules, last) + rules->interval_ms;
}

/* Sets slot and from_ms. */
static void schedule_next(const struct schedule_facts *facts, struct schedule_turn *turn)
{
	const struct snapshot_row *claimed = schedule_claimed(facts);
	uint64_t last = facts->state.last_slot, at_ms = facts->now_ms, due;

	turn->from_ms = 0;
	if (claimed != NULL && claimed->state != SNAPSHOT_FAILED) {
		/* Nobody else until its claim runs out. */
		turn->from_ms = claimed->claim_expires_ms;
		at_ms = at_ms > turn->from_ms ? at_ms : turn->from_ms;
	}
	due = schedule_slot(&facts->rules, at_ms);
	if (due > last) {
		turn->slot = due;
		turn->from_ms = turn->from_ms > due ? turn->from_ms : due;
	} else if (claimed == NULL) {
		turn->slot = turn->from_ms = schedule_after(facts);
	} else {
		turn->slot = last;
		if (claimed->state == SNAPSHOT_FAILED) {
			turn->from_ms = claimed->created_ms + schedule_pause_ms(facts, last);
		}
	}
}

static bool schedule_tried(const struct schedule_facts *facts, uint64_t slot, uint64_t node)
{
	for (size_t i = 0; i < facts->n_rows; i++) {
		if (facts->rows[i].node == node && schedule_of_slot(&facts->rows[i], slot)) {
			return true;
		}
	}
	return false;
}

/* The nodes as in a ring, from another one each cycle, in four parts. */
static void schedule_order(const struct schedule_facts *facts, struct schedule_turn *turn)
{
	uint64_t first = (turn->slot - facts->rules.offset_ms) / facts->rules.interval_ms;

	turn->n = 0;
	for (unsigned part = 0; part < 4; part++) {
		for (size_t i = 0; i < facts->n_nodes; i++) {
			uint64_t node = facts->nodes[(first + i) % facts->n_nodes];

			if ((part & 1) == (node == facts->leader) &&
				part >> 1 == schedule_tried(facts, turn->slot, node)) {
				turn->order[turn->n++] = node;
			}
		}
	}
}

bool schedule_look(const struct schedule_facts *facts, struct schedule_turn *ret_turn)
{
	assert(facts->n_nodes <= SITES_MAX);
	if (facts->rules.interval_ms == 0) {
		return false;
	}
	ret_turn->turn_ms = schedule_turn_ms(&facts->rules);
	schedule_next(facts, ret_turn);
	schedule_order(facts, ret_turn);
	assert(ret_turn->n == facts->n_nodes);
	return true;
}

size_t schedule_place(const struct schedule_turn *turn, uint64_t node)
{
	size_t i = 0;

	while (i < turn->n && turn->order[i] != node) {
		i++;
	}
	return i;
}
