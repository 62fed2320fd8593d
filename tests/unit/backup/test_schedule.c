/* When a cycle is due and whose turn it is; the same at whatever node asks. */
#include "tests/lib/test.h"

#include "backup/schedule.h"
#include "base/limits.h"

enum { HOUR_MS = 3600 * 1000, CYCLE_MS = 4 * HOUR_MS, ROWS = 32, NODES = 6 };

/* 2026-11-22 00:00:00 UTC. */
#define MIDNIGHT_MS 1795305600000ULL

struct world {
	struct schedule_facts facts;
	struct snapshot_row rows[ROWS];
};

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	w->facts = (struct schedule_facts){.rules = {.interval_ms = CYCLE_MS},
		.rows = w->rows,
		.nodes = {1, 2, 3, 5, 6, 9},
		.n_nodes = NODES,
		.leader = 3,
		.now_ms = MIDNIGHT_MS};
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	free(*state);
	return 0;
}

static struct schedule_turn look(const struct world *w)
{
	struct schedule_turn turn;

	assert_true(schedule_look(&w->facts, &turn));
	assert_int_equal(turn.n, w->facts.n_nodes);
	for (size_t i = 0; i < w->facts.n_nodes; i++) {
		assert_true(schedule_place(&turn, w->facts.nodes[i]) < turn.n);
	}
	assert_int_equal(schedule_place(&turn, 77), turn.n);
	return turn;
}

/* As the state machine does it. */
static struct snapshot_row *claim(struct world *w, uint64_t node, uint64_t slot)
{
	struct snapshot_row *row = &w->rows[w->facts.n_rows++];

	*row = (struct snapshot_row){.id = 10 * w->facts.n_rows,
		.kind = SNAPSHOT_INCREMENT,
		.state = SNAPSHOT_RUNNING,
		.node = node,
		.slot = slot,
		.created_ms = w->facts.now_ms,
		.claim_expires_ms = w->facts.now_ms + 10 * 60 * 1000};
	w->facts.state.claimed_id = row->id;
	w->facts.state.last_slot = slot;
	return row;
}

static void confirm(struct world *w, struct snapshot_row *row)
{
	row->state = SNAPSHOT_CONFIRMED;
	w->facts.state.claimed_id = 0;
}

static void test_aligned_to_the_day(void **state)
{
	struct schedule_rules rules = {.interval_ms = CYCLE_MS};

	(void)state;
	for (uint64_t ms = 0; ms < DAY_MS; ms += 60 * 1000) {
		assert_true(schedule_slot(&rules, MIDNIGHT_MS + ms) ==
			    MIDNIGHT_MS + ms / CYCLE_MS * CYCLE_MS);
	}
	rules.offset_ms = HOUR_MS;
	assert_true(schedule_slot(&rules, MIDNIGHT_MS) == MIDNIGHT_MS - 3 * HOUR_MS);
	assert_true(schedule_slot(&rules, MIDNIGHT_MS + HOUR_MS) == MIDNIGHT_MS + HOUR_MS);
	assert_true(schedule_slot(&rules, MIDNIGHT_MS + 5 * HOUR_MS - 1) == MIDNIGHT_MS + HOUR_MS);
	assert_true(schedule_slot(&rules, 7) == 0);
}

static void test_none(void **state)
{
	struct world *w = *state;
	struct schedule_turn turn;

	w->facts.rules.interval_ms = 0;
	assert_false(schedule_look(&w->facts, &turn));
	w->facts.rules.interval_ms = CYCLE_MS;
	w->facts.n_nodes = 0;
	assert_int_equal(look(w).n, 0);
}

/* A new cluster does not wait for the next cycle to have its first snapshot. */
static void test_the_first_at_once(void **state)
{
	struct world *w = *state;
	struct schedule_turn turn;

	w->facts.now_ms += HOUR_MS;
	turn = look(w);
	assert_true(turn.slot == MIDNIGHT_MS && turn.from_ms == MIDNIGHT_MS);
}

static void test_one_after_the_other(void **state)
{
	struct world *w = *state;
	struct schedule_turn turn;

	for (unsigned i = 0; i < 12; i++) {
		uint64_t slot = MIDNIGHT_MS + i * (uint64_t)CYCLE_MS;

		w->facts.now_ms = slot;
		turn = look(w);
		assert_true(turn.slot == slot && turn.from_ms == slot);
		confirm(w, claim(w, 1, slot));
		w->facts.now_ms += HOUR_MS;
		turn = look(w);
		assert_true(turn.slot == slot + CYCLE_MS && turn.from_ms == turn.slot);
	}
	/* Two days of nothing: one cycle, the newest. */
	w->facts.now_ms += 2ULL * DAY_MS;
	turn = look(w);
	assert_true(turn.slot == MIDNIGHT_MS + 2ULL * DAY_MS + 11ULL * CYCLE_MS);
	confirm(w, claim(w, 1, turn.slot));
	assert_true(look(w).slot == turn.slot + CYCLE_MS);
}

/* Taken out of turn, or a little early: the next one is the next there is. */
static void test_out_of_turn(void **state)
{
	struct world *w = *state;

	w->facts.now_ms += HOUR_MS;
	confirm(w, claim(w, 1, w->facts.now_ms));
	assert_true(look(w).slot == MIDNIGHT_MS + CYCLE_MS);
	confirm(w, claim(w, 1, MIDNIGHT_MS + CYCLE_MS));
	w->facts.now_ms = MIDNIGHT_MS + CYCLE_MS - 1000;
	assert_true(look(w).slot == MIDNIGHT_MS + 2 * CYCLE_MS);
}

/* Each node is the first of one cycle in six, and the leader always the last. */
static void test_turns_go_round(void **state)
{
	struct world *w = *state;
	unsigned first[10] = {0};
	struct schedule_turn turn;

	for (unsigned i = 0; i < 60; i++) {
		w->facts.now_ms = MIDNIGHT_MS + i * (uint64_t)CYCLE_MS;
		turn = look(w);
		first[turn.order[0]]++;
		assert_int_equal(turn.order[NODES - 1], 3);
		assert_int_equal(turn.turn_ms, SCHEDULE_TURN_MS);
	}
	for (size_t i = 0; i < NODES; i++) {
		/* Who stands behind the leader in the ring has the leader's turn, too. */
		unsigned expected = w->facts.nodes[i] == 3 ? 0 : (w->facts.nodes[i] == 5 ? 20 : 10);

		assert_int_equal(first[w->facts.nodes[i]], expected);
	}
	w->facts.leader = 0;
	assert_int_equal(look(w).n, NODES);
	w->facts.leader = 1;
	w->facts.nodes[0] = 1;
	w->facts.n_nodes = 1; /* The leader is better than nobody. */
	assert_int_equal(look(w).order[0], 1);
	w->facts.rules.interval_ms = 3200;
	assert_int_equal(look(w).turn_ms, 100);
}

/* Silent: nobody before its claim ends; then the others, and it behind the leader. */
static void test_a_silent_taker(void **state)
{
	struct world *w = *state;
	struct snapshot_row *row = claim(w, 6, MIDNIGHT_MS);
	uint64_t expires = row->claim_expires_ms;
	struct schedule_turn turn;

	for (uint8_t step = SNAPSHOT_RUNNING; step <= SNAPSHOT_SHIPPED; step++) {
		row->state = step;
		for (unsigned late = 0; late < 2; late++) {
			w->facts.now_ms = late ? expires + 1 : expires - 1;
			turn = look(w);
			assert_true(turn.slot == MIDNIGHT_MS && turn.from_ms == expires);
			assert_int_equal(turn.order[NODES - 1], 6);
			assert_int_equal(turn.order[NODES - 2], 3);
		}
	}
	/* Still at it when the next is due: that one has to wait. */
	row->claim_expires_ms = MIDNIGHT_MS + CYCLE_MS + HOUR_MS;
	w->facts.now_ms = MIDNIGHT_MS + CYCLE_MS;
	turn = look(w);
	assert_true(turn.slot == MIDNIGHT_MS + CYCLE_MS);
	assert_true(turn.from_ms == row->claim_expires_ms);
	assert_int_not_equal(turn.order[NODES - 1], 6);
	confirm(w, row);
	assert_true(look(w).from_ms == MIDNIGHT_MS + CYCLE_MS);
}

/* Each try that fails doubles the time to the next, up to a quarter of the interval. */
static void test_failures_back_off(void **state)
{
	struct world *w = *state;
	uint64_t last = 0, pause;
	struct schedule_turn turn;

	for (unsigned i = 0; i < 14; i++) {
		turn = look(w);
		assert_true(turn.slot == MIDNIGHT_MS);
		if (i < NODES - 1) {
			assert_int_not_equal(turn.order[0], 3);
		} else if (i == NODES - 1) {
			assert_int_equal(turn.order[0], 3);
		}
		claim(w, turn.order[0], MIDNIGHT_MS)->state = SNAPSHOT_FAILED;
		pause = look(w).from_ms - w->facts.now_ms;
		assert_true(pause == (2 * last > CYCLE_MS / 4 ? CYCLE_MS / 4 : 2 * last) ||
			    (i == 0 && pause == 2 * SCHEDULE_TURN_MS));
		last = pause;
	}
	assert_true(last == CYCLE_MS / 4);
	/* A new cycle begins anew. */
	w->facts.now_ms = MIDNIGHT_MS + CYCLE_MS;
	turn = look(w);
	assert_true(turn.slot == MIDNIGHT_MS + CYCLE_MS && turn.from_ms == turn.slot);
	/* A manual one is nobody's try. */
	w->rows[w->facts.n_rows++] = (struct snapshot_row){.id = 9999,
		.kind = SNAPSHOT_MANUAL,
		.state = SNAPSHOT_FAILED,
		.node = turn.order[0],
		.slot = turn.slot};
	assert_int_equal(look(w).order[0], turn.order[0]);
}

static void test_claims_last(void **state)
{
	struct schedule_rules rules = {.interval_ms = CYCLE_MS};

	(void)state;
	assert_int_equal(schedule_claim_ms(&rules), SCHEDULE_CLAIM_MS_MAX);
	rules.interval_ms = 60 * 1000;
	assert_int_equal(schedule_claim_ms(&rules), 30 * 1000);
	rules.interval_ms = 1000;
	assert_int_equal(schedule_claim_ms(&rules), SCHEDULE_CLAIM_MS_MIN);
	rules.interval_ms = 0;
	assert_int_equal(schedule_claim_ms(&rules), SCHEDULE_CLAIM_MS_MAX);
}

/* Whoever moves anything within the time gets on, however slowly; a taker of another snapshot has
 * all of it again. */
static void test_who_hangs(void **state)
{
	struct schedule_rules rules = {.interval_ms = CYCLE_MS};
	struct schedule_pulse pulse = {0};
	uint64_t stall_ms = schedule_stall_ms(&rules), now_ms = 5000, moved = 0;

	(void)state;
	assert_int_equal(stall_ms, SCHEDULE_CLAIM_MS_MAX);
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(schedule_gets_on(&pulse, 7, moved++, now_ms, stall_ms));
		now_ms += stall_ms - 1;
	}
	assert_true(schedule_gets_on(&pulse, 7, moved, now_ms, stall_ms));
	assert_true(schedule_gets_on(&pulse, 7, moved, now_ms + stall_ms - 1, stall_ms));
	assert_false(schedule_gets_on(&pulse, 7, moved, now_ms + stall_ms, stall_ms));
	assert_true(schedule_gets_on(&pulse, 8, moved, now_ms + stall_ms, stall_ms));
	assert_false(schedule_gets_on(&pulse, 8, moved, now_ms + 2 * stall_ms, stall_ms));
	rules.interval_ms = 1000; /* A slow disk is no reason, however short the cycles are. */
	assert_int_equal(schedule_stall_ms(&rules), SCHEDULE_STALL_MS_MIN);
}

enum { COPIES = 3 };

static bool ships(struct world *w, const struct snapshot_row *row,
	struct schedule_shipping *shipping, struct schedule_pulse *pulse, uint64_t after_ms)
{
	w->facts.now_ms += after_ms;
	shipping->ticks_ms += after_ms;
	return schedule_ships(&w->facts, row, shipping, pulse);
}

/* Who sends nothing and is confirmed by nobody for as long as a claim lasts lets it go; a later
 * cycle does not end what gets on. */
static void test_shipping_that_hangs(void **state)
{
	struct world *w = *state;
	struct snapshot_row *row = claim(w, 1, MIDNIGHT_MS);
	struct schedule_shipping shipping = {
		.copies = COPIES, .stall_ms = SCHEDULE_CLAIM_MS_MAX, .ticks_ms = 77};
	struct schedule_pulse pulse = {0};

	row->state = SNAPSHOT_SHIPPED;
	assert_true(ships(w, row, &shipping, &pulse, 0));
	assert_true(ships(w, row, &shipping, &pulse, shipping.stall_ms - 1));
	shipping.moved++;
	assert_true(ships(w, row, &shipping, &pulse, 1));
	row->n_confirmations++;
	assert_true(ships(w, row, &shipping, &pulse, shipping.stall_ms - 1));
	assert_true(ships(w, row, &shipping, &pulse, 1));
	assert_false(ships(w, row, &shipping, &pulse, shipping.stall_ms - 1));
	shipping.moved++; /* It was slow. */
	assert_true(ships(w, row, &shipping, &pulse, 1));
	for (unsigned i = 0; i < 2 * CYCLE_MS / shipping.stall_ms; i++) {
		shipping.moved++;
		assert_true(ships(w, row, &shipping, &pulse, shipping.stall_ms));
	}
	w->facts.rules.interval_ms = 0; /* The next one is an operator's to take. */
	assert_true(ships(w, row, &shipping, &pulse, shipping.stall_ms - 1));
	assert_false(ships(w, row, &shipping, &pulse, 1));
}

/* What lies there takes its time to be taken in, until a later cycle is due. */
static void test_shipped_and_not_confirmed(void **state)
{
	struct world *w = *state;
	struct snapshot_row *row = claim(w, 1, MIDNIGHT_MS);
	struct schedule_shipping shipping = {
		.copies = COPIES, .delivered = COPIES - 1, .stall_ms = SCHEDULE_CLAIM_MS_MAX};
	struct schedule_pulse pulse = {0};

	row->state = SNAPSHOT_SHIPPED;
	assert_true(ships(w, row, &shipping, &pulse, 0));
	assert_false(ships(w, row, &shipping, &pulse, shipping.stall_ms));
	shipping.delivered++;
	assert_true(ships(w, row, &shipping, &pulse, 0));
	assert_true(ships(w, row, &shipping, &pulse, CYCLE_MS - shipping.stall_ms - 1));
	assert_false(ships(w, row, &shipping, &pulse, 1));
	w->facts.rules.interval_ms = 0;
	assert_false(ships(w, row, &shipping, &pulse, 0));
}

/* It may be the receivers who are to blame: each try of the cycle is given twice the time. */
static void test_shipping_that_hangs_everywhere(void **state)
{
	struct world *w = *state;
	struct schedule_shipping shipping = {
		.copies = COPIES, .stall_ms = SCHEDULE_CLAIM_MS_MAX, .ticks_ms = 5};
	struct schedule_pulse pulse = {0};

	for (uint64_t stall_ms = shipping.stall_ms; stall_ms < CYCLE_MS / 2; stall_ms *= 2) {
		struct snapshot_row *row = claim(w, 1, MIDNIGHT_MS);

		row->state = SNAPSHOT_SHIPPED;
		assert_true(ships(w, row, &shipping, &pulse, 0));
		assert_true(ships(w, row, &shipping, &pulse, stall_ms - 1));
		assert_false(ships(w, row, &shipping, &pulse, 1));
		w->facts.now_ms = MIDNIGHT_MS;
		row->state = SNAPSHOT_FAILED;
	}
	claim(w, 1, MIDNIGHT_MS)->state = SNAPSHOT_SHIPPED;
	w->facts.now_ms = MIDNIGHT_MS + CYCLE_MS; /* Then others wait for it. */
	assert_true(ships(w, &w->rows[w->facts.n_rows - 1], &shipping, &pulse, 0));
	assert_false(ships(w, &w->rows[w->facts.n_rows - 1], &shipping, &pulse, shipping.stall_ms));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_aligned_to_the_day),
		T(test_none),
		T(test_the_first_at_once),
		T(test_one_after_the_other),
		T(test_out_of_turn),
		T(test_turns_go_round),
		T(test_a_silent_taker),
		T(test_failures_back_off),
		T(test_claims_last),
		T(test_who_hangs),
		T(test_shipping_that_hangs),
		T(test_shipped_and_not_confirmed),
		T(test_shipping_that_hangs_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
