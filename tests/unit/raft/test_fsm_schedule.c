/* Cycles in the state machine: who takes one, and what comes of it when somebody dies, time jumps,
 * or states differ. */
#include "tests/lib/test.h"

#include <string.h>

#include "storage/cluster_store.h"
#include "storage/snapshot_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/machine.h"

enum { TTL_MS = 1000, HOUR_MS = 3600 * 1000 };

struct world {
	struct fixture_machine m;
	struct fixture_client c;
};

static int announce(struct world *w, uint64_t node, uint32_t level)
{
	struct command c = {.type = COMMAND_NODE_ANNOUNCE,
		.node_announce = {.node = node, .feature_level = level}};

	return fixture_machine_do(&w->m, &c);
}

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->c);
	for (uint64_t node = 1; node <= 6; node++) {
		assert_int_equal(announce(w, node, FEATURE_LEVEL_SCHEDULE), 0);
	}
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	assert_int_equal(fixture_check_store(w->m.kv, NULL), 0);
	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

static int claim_kind(struct world *w, uint64_t node, uint8_t kind, uint64_t slot, uint64_t *ret_id)
{
	struct command c = {.type = COMMAND_SNAPSHOT_CLAIM,
		.snapshot_claim = {.node = node, .kind = kind, .slot = slot, .ttl_ms = TTL_MS}};
	int rc = fixture_machine_do(&w->m, &c);

	if (rc == 0 && ret_id != NULL) {
		*ret_id = fixture_machine_reply(&w->m).number;
	}
	return rc;
}

static int claim(struct world *w, uint64_t node, uint64_t slot, uint64_t *ret_id)
{
	return claim_kind(w, node, SNAPSHOT_INCREMENT, slot, ret_id);
}

static int renew(struct world *w, uint64_t id, uint64_t node, uint64_t index)
{
	struct command c = {.type = COMMAND_SNAPSHOT_RENEW,
		.snapshot_renew = {.id = id, .node = node, .ttl_ms = TTL_MS, .index = index}};

	return fixture_machine_do(&w->m, &c);
}

static int record(struct world *w, uint64_t id, uint64_t node, uint64_t index)
{
	struct command c = {.type = COMMAND_SNAPSHOT_RECORD,
		.snapshot_record = {.id = id, .node = node, .index = index, .term = 1}};

	memset(c.snapshot_record.manifest_hash, (int)id, 32);
	return fixture_machine_do(&w->m, &c);
}

static int confirm(struct world *w, uint64_t id, uint64_t node)
{
	struct command c = {.type = COMMAND_SNAPSHOT_CONFIRM,
		.snapshot_confirm = {.id = id, .node = node, .needed = 3}};

	memset(c.snapshot_confirm.manifest_hash, (int)id, 32);
	return fixture_machine_do(&w->m, &c);
}

static void confirm_all(struct world *w, uint64_t id)
{
	struct snapshot_row row;
	struct kv_view *view = kv_view_new(w->m.kv);

	assert_int_equal(snapshot_store_get(view, id, &row, NULL), 0);
	kv_view_free(view);
	for (uint64_t node = 1; node <= 6; node++) {
		assert_int_equal(confirm(w, id, node), node == row.node ? KLUIS_ECONFLICT : 0);
	}
}

static int fail_claim(struct world *w, uint64_t id, uint64_t node)
{
	struct command c = {.type = COMMAND_SNAPSHOT_FAIL,
		.snapshot_fail = {.id = id, .node = node, .error = bytes_str("disk full")}};

	return fixture_machine_do(&w->m, &c);
}

static int jump(struct world *w, uint64_t to_ms)
{
	struct command c = {.type = COMMAND_TIME_JUMP, .time_jump.n_readings = 4};

	for (unsigned i = 0; i < 4; i++) {
		c.time_jump.reading[i] = (struct time_reading){i + 1, to_ms};
	}
	return fixture_machine_do(&w->m, &c);
}

static struct snapshot_row snapshot_of(struct world *w, uint64_t id)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct snapshot_row row;

	assert_int_equal(snapshot_store_get(view, id, &row, NULL), 0);
	kv_view_free(view);
	return row;
}

static struct snapshot_state_row state_of(struct world *w)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct snapshot_state_row row;

	assert_int_equal(snapshot_store_state(view, &row, NULL), 0);
	kv_view_free(view);
	return row;
}

static uint64_t id_of_cycle(struct world *w, uint64_t cycle)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct snapshot_row row;

	assert_int_equal(snapshot_store_cycle(view, cycle, &row, NULL), 0);
	kv_view_free(view);
	return row.id;
}

static bool has_record(struct world *w, uint64_t id)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct snapshot_row row;
	int rc = snapshot_store_get(view, id, &row, NULL);

	kv_view_free(view);
	return rc == 0;
}

/* Before the checkpoint, behind it, and when it is shipped: without a sign of life for TTL_MS
 * another node takes the same cycle, and what the first one says then counts for nothing. */
static void test_takeover_at_every_step(void **state)
{
	struct world *w = *state;
	uint64_t slot = w->m.now_ms, first, second;

	for (unsigned step = 0; step < 3; step++) {
		slot += HOUR_MS;
		w->m.now_ms = slot;
		assert_int_equal(claim(w, 2, slot, &first), 0);
		if (step > 0) {
			assert_int_equal(renew(w, first, 2, first), 0);
			assert_true(snapshot_of(w, first).index == first);
		}
		if (step > 1) {
			assert_int_equal(record(w, first, 2, first), 0);
		}
		w->m.now_ms += TTL_MS - 1;
		assert_int_equal(claim(w, 3, slot, NULL), KLUIS_ECONFLICT);
		assert_int_equal(claim(w, 3, w->m.now_ms, NULL), KLUIS_ECONFLICT); /* A later. */
		assert_int_equal(renew(w, first, 2, 0), 0);			   /* It lives. */
		w->m.now_ms += TTL_MS - 1;
		assert_int_equal(claim(w, 3, slot, NULL), KLUIS_ECONFLICT);
		w->m.now_ms += 1; /* It does not any more. */
		assert_int_equal(claim(w, 3, slot, &second), 0);
		assert_int_equal(snapshot_of(w, first).state, SNAPSHOT_FAILED);
		assert_true(snapshot_of(w, second).cycle == snapshot_of(w, first).cycle);
		assert_true(snapshot_of(w, second).base_id == snapshot_of(w, first).base_id);
		assert_int_equal(renew(w, first, 2, 0), KLUIS_ECONFLICT);
		assert_int_equal(record(w, first, 2, first), KLUIS_ECONFLICT);
		assert_int_equal(confirm(w, first, 4), KLUIS_ECONFLICT);
		assert_int_equal(record(w, second, 3, second), 0);
		confirm_all(w, second);
		assert_true(state_of(w).confirmed_id == second && state_of(w).claimed_id == 0);
		assert_int_equal(claim(w, 4, slot, NULL), KLUIS_ECONFLICT); /* It is done. */
		assert_true(id_of_cycle(w, step + 1) == second);
	}
}

static void test_who_may_renew(void **state)
{
	struct world *w = *state;
	uint64_t slot = w->m.now_ms, id, index, manual;

	assert_int_equal(claim(w, 2, slot, &id), 0);
	index = fsm_position(w->m.fsm)->index;
	assert_int_equal(renew(w, id, 3, 0), KLUIS_ECONFLICT);
	assert_int_equal(renew(w, id + 1, 2, 0), KLUIS_ENOTFOUND);
	assert_int_equal(renew(w, id, 2, id - 1), KLUIS_EINVAL);
	assert_int_equal(renew(w, id, 2, index + 10), KLUIS_EINVAL);
	assert_int_equal(renew(w, id, 2, index), 0);
	w->m.now_ms += TTL_MS; /* Late, but nobody else came. */
	assert_int_equal(renew(w, id, 2, 0), 0);
	assert_true(snapshot_of(w, id).index == index);
	assert_int_equal(claim_kind(w, 5, SNAPSHOT_MANUAL, 0, &manual), 0);
	assert_int_equal(renew(w, manual, 5, manual), 0);
	/* Who hangs cannot hold it for ever. */
	w->m.now_ms += SNAPSHOT_HELD_MS;
	assert_int_equal(renew(w, id, 2, 0), KLUIS_ECONFLICT);
	assert_int_equal(claim(w, 3, slot, &id), 0);
	assert_int_equal(fail_claim(w, id, 3), 0);
	assert_int_equal(renew(w, id, 3, 0), KLUIS_ECONFLICT);
}

static void test_not_before_all_nodes_know(void **state)
{
	struct fixture_machine m;
	struct fixture_client c;
	struct command claim = {.type = COMMAND_SNAPSHOT_CLAIM,
		.snapshot_claim = {.node = 2, .kind = SNAPSHOT_MANUAL, .ttl_ms = TTL_MS}};
	struct command renew = {
		.type = COMMAND_SNAPSHOT_RENEW, .snapshot_renew = {.node = 2, .ttl_ms = TTL_MS}};

	(void)state;
	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	assert_int_equal(fixture_machine_do(&m, &claim), 0);
	renew.snapshot_renew.id = fixture_machine_reply(&m).number;
	assert_int_equal(fixture_machine_do(&m, &renew), KLUIS_ECONFLICT);
	fixture_machine_release(&m);
}

/* Of many that were missed the newest is claimed, and none of those before it any more. */
static void test_missed_cycles_once(void **state)
{
	struct world *w = *state;
	uint64_t slot = w->m.now_ms, id;

	w->m.now_ms += 10ULL * HOUR_MS;
	assert_int_equal(claim(w, 2, slot + 8ULL * HOUR_MS, &id), 0);
	assert_int_equal(record(w, id, 2, id), 0);
	confirm_all(w, id);
	for (uint64_t i = 0; i <= 8; i++) {
		assert_int_equal(claim(w, 3, slot + i * HOUR_MS, NULL), KLUIS_ECONFLICT);
	}
	assert_true(state_of(w).confirmed_cycle == 1);
	assert_int_equal(claim(w, 3, w->m.now_ms + 2 * SNAPSHOT_EARLY_MS, NULL), KLUIS_EINVAL);
}

/* Too few sites are there to confirm: the next cycle goes on from the last confirmed one, and the
 * first one is confirmed late, before or after it. */
static void test_a_later_cycle_overtakes(void **state)
{
	struct world *w = *state;
	uint64_t slot = w->m.now_ms, first, second, third;

	for (unsigned round = 0; round < 2; round++) {
		uint64_t cycle = state_of(w).confirmed_cycle + 1;

		slot += 10ULL * HOUR_MS;
		w->m.now_ms = slot;
		assert_int_equal(claim(w, 2, slot, &first), 0);
		assert_int_equal(record(w, first, 2, first), 0);
		w->m.now_ms += HOUR_MS;
		assert_int_equal(claim(w, 3, slot + HOUR_MS, &second), 0);
		assert_int_equal(snapshot_of(w, first).state, SNAPSHOT_SHIPPED);
		assert_int_equal(renew(w, first, 2, 0), KLUIS_ECONFLICT);
		assert_int_equal(record(w, second, 3, second), 0);
		confirm_all(w, round == 0 ? first : second);
		confirm_all(w, round == 0 ? second : first);
		assert_true(state_of(w).confirmed_id == second);
		assert_true(state_of(w).confirmed_cycle == cycle);
		assert_true(state_of(w).claimed_id == 0);
		assert_true(id_of_cycle(w, cycle) == second);
		w->m.now_ms += HOUR_MS;
		assert_int_equal(claim(w, 4, slot + 2 * HOUR_MS, &third), 0);
		assert_true(snapshot_of(w, third).base_id == second);
		assert_true(snapshot_of(w, third).cycle == cycle + 1);
		assert_int_equal(fail_claim(w, third, 4), 0);
	}
}

/* A day ahead: who works goes on working, with as much time left as before. Back: nothing. */
static void test_a_day_ahead_and_back(void **state)
{
	struct world *w = *state;
	uint64_t slot = w->m.now_ms, id, expires;

	assert_int_equal(claim(w, 2, slot, &id), 0);
	expires = snapshot_of(w, id).claim_expires_ms;
	w->m.now_ms += 100;
	assert_int_equal(jump(w, w->m.now_ms + DAY_MS), 0);
	assert_true(snapshot_of(w, id).claim_expires_ms == expires + DAY_MS);
	assert_int_equal(jump(w, w->m.now_ms), KLUIS_ECONFLICT);
	w->m.now_ms += DAY_MS;
	assert_int_equal(claim(w, 3, slot, NULL), KLUIS_ECONFLICT);
	assert_int_equal(claim(w, 3, slot + 20ULL * HOUR_MS, NULL), KLUIS_ECONFLICT);
	assert_int_equal(record(w, id, 2, id), 0);
	assert_int_equal(jump(w, w->m.now_ms + DAY_MS), 0);
	w->m.now_ms += DAY_MS;
	assert_int_equal(claim(w, 3, slot, NULL), KLUIS_ECONFLICT); /* It is being shipped. */
	confirm_all(w, id);
	/* Six cycles and six more were jumped over: one is caught up. */
	assert_int_equal(claim(w, 3, slot + 48ULL * HOUR_MS, &id), 0);
	assert_true(snapshot_of(w, id).cycle == 2);
	w->m.now_ms -= DAY_MS; /* A new leader's clock is behind: time stands still. */
	assert_int_equal(claim(w, 4, slot + 48ULL * HOUR_MS, NULL), KLUIS_ECONFLICT);
	assert_int_equal(renew(w, id, 3, 0), 0);
	w->m.now_ms += DAY_MS + TTL_MS - 1;
	assert_int_equal(claim(w, 4, slot + 48ULL * HOUR_MS, NULL), KLUIS_ECONFLICT);
	w->m.now_ms += 1;
	assert_int_equal(claim(w, 4, slot + 48ULL * HOUR_MS, &id), 0);
	/* One that ran out before a jump has run out behind it, too. */
	w->m.now_ms += TTL_MS;
	assert_int_equal(announce(w, 1, FEATURE_LEVEL_SCHEDULE), 0);
	assert_int_equal(jump(w, w->m.now_ms + DAY_MS), 0);
	w->m.now_ms += DAY_MS;
	assert_int_equal(claim(w, 5, slot + 48ULL * HOUR_MS, NULL), 0);
}

/* Tries that failed and manual snapshots push no cycle's record out, and never the claimed one. */
static void test_records_that_are_kept(void **state)
{
	struct world *w = *state;
	uint64_t slot = w->m.now_ms, cycles[3], id = 0, claimed, oldest = 0;

	for (unsigned i = 0; i < 3; i++) {
		slot += HOUR_MS;
		w->m.now_ms = slot;
		assert_int_equal(claim(w, 2, slot, &cycles[i]), 0);
		assert_int_equal(record(w, cycles[i], 2, cycles[i]), 0);
		confirm_all(w, cycles[i]);
	}
	for (unsigned i = 0; i < SNAPSHOTS_KEPT; i++) {
		slot += HOUR_MS;
		w->m.now_ms = slot;
		assert_int_equal(claim(w, 2, slot, &id), 0);
		assert_int_equal(fail_claim(w, id, 2), 0);
	}
	slot += HOUR_MS;
	w->m.now_ms = slot;
	assert_int_equal(claim(w, 2, slot, &claimed), 0);
	assert_int_equal(record(w, claimed, 2, claimed), 0);
	for (unsigned i = 0; i < 2 * SNAPSHOTS_KEPT; i++) {
		assert_int_equal(claim_kind(w, 3, SNAPSHOT_MANUAL, 0, &id), 0);
		oldest = oldest == 0 ? id : oldest;
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_true(has_record(w, cycles[i]));
	}
	assert_true(has_record(w, claimed) && has_record(w, id));
	assert_false(has_record(w, oldest));
	w->m.now_ms += TTL_MS;
	assert_int_equal(claim(w, 4, slot, &id), 0); /* It fails the other, which goes at once. */
	assert_false(has_record(w, claimed));
}

/* All report their state as of S: when the checkpoint is made, or at the latest with the record. */
static void test_all_report_at_the_snapshot(void **state)
{
	struct world *w = *state;
	uint64_t slot = w->m.now_ms, id, index;
	uint8_t hash[32];

	assert_int_equal(claim(w, 2, slot, &id), 0);
	index = fsm_position(w->m.fsm)->index;
	memcpy(hash, fsm_position(w->m.fsm)->state_hash, sizeof hash);
	assert_int_equal(announce(w, 1, FEATURE_LEVEL_SCHEDULE), 0);
	assert_false(w->m.results.past_due);
	assert_int_equal(renew(w, id, 2, index), 0);
	assert_true(w->m.results.past_due && w->m.results.past.index == index);
	assert_memory_equal(w->m.results.past.hash, hash, sizeof hash);
	assert_int_equal(renew(w, id, 2, index), 0);
	assert_false(w->m.results.past_due); /* Once. */
	assert_int_equal(record(w, id, 2, index), 0);
	assert_false(w->m.results.past_due);
	confirm_all(w, id);
	w->m.now_ms += HOUR_MS;
	assert_int_equal(claim(w, 2, slot + HOUR_MS, &id), 0);
	memcpy(hash, fsm_position(w->m.fsm)->state_hash, sizeof hash);
	assert_int_equal(record(w, id, 2, id), 0);
	assert_true(w->m.results.past_due && w->m.results.past.index == id);
	assert_memory_equal(w->m.results.past.hash, hash, sizeof hash);
	confirm_all(w, id);
	/* So long ago that nobody knows. */
	w->m.now_ms += HOUR_MS;
	assert_int_equal(claim(w, 2, slot + 2 * HOUR_MS, &id), 0);
	for (unsigned i = 0; i < FSM_PAST_ENTRIES; i++) {
		assert_int_equal(announce(w, 1, FEATURE_LEVEL_SCHEDULE), 0);
	}
	assert_int_equal(record(w, id, 2, id), 0);
	assert_false(w->m.results.past_due);
}

/* What a majority disagrees with at S is no snapshot. */
static void test_a_taker_that_differs(void **state)
{
	struct world *w = *state;
	uint64_t slot = w->m.now_ms, id;

	assert_int_equal(claim(w, 2, slot, &id), 0);
	assert_int_equal(renew(w, id, 2, id), 0);
	for (uint64_t node = 1; node <= 6; node++) {
		struct command c = {.type = COMMAND_HASH_REPORT,
			.hash_report = {.node = node, .index = id, .hash = {node == 2}}};

		assert_int_equal(fixture_machine_do(&w->m, &c), 0);
	}
	assert_int_equal(record(w, id, 2, id), KLUIS_ECONFLICT);
	assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_RUNNING);
	assert_int_equal(fail_claim(w, id, 2), 0);
	assert_int_equal(claim(w, 3, slot, &id), 0);
	assert_int_equal(record(w, id, 3, id), 0);
}

static int pin(struct world *w, uint64_t id, bool on)
{
	struct command c = {.type = COMMAND_SNAPSHOT_PIN, .snapshot_pin = {.id = id, .on = on}};

	return fixture_machine_do(&w->m, &c);
}

/* Two operators at two sites at once do not pass the bound either. */
static void test_pins_are_bounded(void **state)
{
	struct world *w = *state;
	uint64_t id[SNAPSHOTS_PINNED_MAX + 2];

	for (unsigned i = 0; i < ARRAY_SIZE(id); i++) {
		assert_int_equal(claim_kind(w, 2, SNAPSHOT_MANUAL, 0, &id[i]), 0);
	}
	for (unsigned i = 0; i <= SNAPSHOTS_PINNED_MAX; i++) { /* As before the level. */
		assert_int_equal(pin(w, id[i], true), 0);
	}
	for (uint64_t node = 1; node <= 6; node++) {
		assert_int_equal(announce(w, node, FEATURE_LEVEL_PINS), 0);
	}
	assert_int_equal(pin(w, id[SNAPSHOTS_PINNED_MAX + 1], true), KLUIS_ECONFLICT);
	assert_int_equal(pin(w, id[0], true), 0); /* It is one of them. */
	assert_int_equal(pin(w, id[0], false), 0);
	assert_int_equal(pin(w, id[0], true), KLUIS_ECONFLICT);
	assert_int_equal(pin(w, id[1], false), 0);
	assert_int_equal(pin(w, id[0], true), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_takeover_at_every_step),
		T(test_who_may_renew),
		cmocka_unit_test(test_not_before_all_nodes_know),
		T(test_missed_cycles_once),
		T(test_a_later_cycle_overtakes),
		T(test_a_day_ahead_and_back),
		T(test_records_that_are_kept),
		T(test_all_report_at_the_snapshot),
		T(test_a_taker_that_differs),
		T(test_pins_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
