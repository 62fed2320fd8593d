/* Journal increments in the state machine: one row, one at a time, taken over, confirmed. */
#include "tests/lib/test.h"

#include <string.h>

#include "storage/journal_store.h"
#include "storage/snapshot_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/machine.h"

enum { TTL_MS = 1000, NEEDED = 3 };

struct world {
	struct fixture_machine m;
	struct fixture_client c;
	uint64_t base;
};

static struct journal_row row_of(struct world *w)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct journal_row row;

	assert_int_equal(journal_store_get(view, &row, NULL), 0);
	kv_view_free(view);
	return row;
}

static bool changed_since(struct world *w, uint64_t index)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	bool changed = false;

	assert_int_equal(journal_changed(view, index, &changed, NULL), 0);
	kv_view_free(view);
	return changed;
}

/* Raft index of the last entry. */
static uint64_t now_at(struct world *w)
{
	return fsm_position(w->m.fsm)->index;
}

/* Another confirmed cycle, taken by node 2. */
static uint64_t cycle(struct world *w)
{
	struct command c = {.type = COMMAND_SNAPSHOT_CLAIM,
		.snapshot_claim = {.node = 2, .kind = SNAPSHOT_INCREMENT, .ttl_ms = TTL_MS}};
	struct command r = {.type = COMMAND_SNAPSHOT_RECORD};
	struct command y = {.type = COMMAND_SNAPSHOT_CONFIRM};
	uint64_t id;

	c.snapshot_claim.slot = w->m.now_ms;
	assert_int_equal(fixture_machine_do(&w->m, &c), 0);
	id = fixture_machine_reply(&w->m).number;
	r.snapshot_record = (struct command_snapshot_record){.id = id, .node = 2, .index = id};
	assert_int_equal(fixture_machine_do(&w->m, &r), 0);
	for (uint64_t node = 3; node < 3 + NEEDED; node++) {
		y.snapshot_confirm =
			(struct command_snapshot_confirm){.id = id, .node = node, .needed = NEEDED};
		assert_int_equal(fixture_machine_do(&w->m, &y), 0);
	}
	return id;
}

static int record(struct world *w, uint64_t node, uint32_t number, uint64_t index)
{
	struct command c = {.type = COMMAND_JOURNAL_RECORD,
		.journal_record = {.base_id = w->base,
			.number = number,
			.node = node,
			.index = index,
			.term = 1,
			.time_ms = w->m.now_ms}};

	memset(c.journal_record.manifest_hash, (int)(number + node), 32);
	return fixture_machine_do(&w->m, &c);
}

static int confirm(struct world *w, uint64_t node, uint32_t number, uint64_t taker)
{
	struct command c = {.type = COMMAND_JOURNAL_CONFIRM,
		.journal_confirm = {
			.base_id = w->base, .number = number, .node = node, .needed = NEEDED}};

	memset(c.journal_confirm.manifest_hash, (int)(number + taker), 32);
	return fixture_machine_do(&w->m, &c);
}

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);
	struct command c = {.type = COMMAND_NODE_ANNOUNCE,
		.node_announce = {.feature_level = FEATURE_LEVEL_JOURNAL}};

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->c);
	for (c.node_announce.node = 1; c.node_announce.node <= 6; c.node_announce.node++) {
		assert_int_equal(fixture_machine_do(&w->m, &c), 0);
	}
	w->base = cycle(w);
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

static void test_one_at_a_time(void **state)
{
	struct world *w = *state;
	struct journal_row row;
	uint64_t index = now_at(w);

	assert_int_equal(record(w, 2, 2, index), KLUIS_ECONFLICT); /* The first is 1. */
	assert_int_equal(record(w, 77, 1, index), KLUIS_ENOTFOUND);
	assert_int_equal(record(w, 2, 1, w->base), KLUIS_EINVAL); /* The cycle has that. */
	assert_int_equal(record(w, 2, 1, now_at(w) + 1), KLUIS_EINVAL);
	assert_int_equal(record(w, 2, 1, index), 0);
	assert_int_equal(record(w, 2, 1, index), 0); /* Said twice. */
	assert_int_equal(record(w, 3, 1, now_at(w)), KLUIS_ECONFLICT);
	/* Not the next before enough sites hold it. */
	assert_int_equal(record(w, 2, 2, now_at(w)), KLUIS_ECONFLICT);
	assert_int_equal(confirm(w, 2, 1, 2), KLUIS_ECONFLICT); /* The taker's is no copy. */
	assert_int_equal(confirm(w, 1, 1, 3), KLUIS_ECONFLICT); /* Another manifest. */
	assert_int_equal(confirm(w, 1, 1, 2), 0);
	assert_int_equal(confirm(w, 1, 1, 2), 0);
	assert_int_equal(confirm(w, 3, 1, 2), 0);
	assert_int_equal(row_of(w).confirmed, 0);
	assert_int_equal(confirm(w, 4, 1, 2), 0);
	row = row_of(w);
	assert_true(row.confirmed == 1 && row.confirmed_index == index && row.n_holders == 3);
	assert_memory_equal(row.confirmed_hash, row.manifest_hash, 32);
	assert_int_equal(record(w, 2, 2, index), KLUIS_EINVAL); /* It must lie behind. */
	assert_int_equal(record(w, 2, 2, now_at(w)), 0);
	row = row_of(w);
	assert_true(row.number == 2 && row.confirmed == 1 && row.confirmed_index == index);
	assert_int_equal(confirm(w, 5, 1, 2), KLUIS_ECONFLICT); /* Overtaken. */
	assert_int_equal(journal_held(&row, 4), 1);
	assert_int_equal(journal_held(&row, 5), 0);
}

/* Whose increment too few sites get is overtaken, by another or by itself; not at once. */
static void test_take_over(void **state)
{
	struct world *w = *state;
	struct journal_row row;

	assert_int_equal(record(w, 2, 1, now_at(w)), 0);
	assert_int_equal(confirm(w, 1, 1, 2), 0);
	w->m.now_ms += JOURNAL_HELD_MS - 1;
	assert_int_equal(record(w, 3, 2, now_at(w)), KLUIS_ECONFLICT);
	w->m.now_ms++;
	assert_int_equal(record(w, 3, 2, now_at(w)), 0);
	assert_int_equal(confirm(w, 4, 1, 2), KLUIS_ECONFLICT);
	assert_int_equal(confirm(w, 2, 2, 3), 0);
	assert_int_equal(confirm(w, 4, 2, 3), 0);
	row = row_of(w);
	assert_true(row.node == 3 && row.confirmed == 0 && journal_held(&row, 1) == 1);
	assert_int_equal(confirm(w, 1, 2, 3), 0);
	assert_int_equal(row_of(w).confirmed, 2);
}

/* A new cycle begins anew; what is confirmed stays the recovery point until its first one is. */
static void test_next_cycle(void **state)
{
	struct world *w = *state;
	uint64_t old = w->base, index = now_at(w);
	struct journal_row row;

	assert_int_equal(record(w, 2, 1, index), 0);
	for (uint64_t node = 3; node < 3 + NEEDED; node++) {
		assert_int_equal(confirm(w, node, 1, 2), 0);
	}
	w->m.now_ms += 1000;
	w->base = cycle(w);
	assert_int_not_equal(w->base, old);
	w->base = old;
	assert_int_equal(record(w, 2, 2, now_at(w)), KLUIS_ECONFLICT); /* Of the one before. */
	w->base = now_at(w);					       /* Of none. */
	assert_int_equal(record(w, 2, 1, now_at(w)), KLUIS_ECONFLICT);
	{
		struct kv_view *view = kv_view_new(w->m.kv);
		struct snapshot_state_row at;

		assert_int_equal(snapshot_store_state(view, &at, NULL), 0);
		w->base = at.confirmed_id;
		kv_view_free(view);
	}
	assert_int_equal(record(w, 4, 1, now_at(w)), 0);
	row = row_of(w);
	assert_true(row.base_id == w->base && row.base_cycle == 2 && row.n_holders == 0);
	assert_true(row.confirmed == 0 && row.confirmed_index == index);
}

/* What only backups write is no change, or each increment would ask for the next one. */
static void test_changed(void **state)
{
	struct world *w = *state;
	uint64_t before = now_at(w);
	struct command c = {.type = COMMAND_SERVICE_CREATE};

	assert_true(changed_since(w, 0));
	assert_int_equal(record(w, 2, 1, before), 0);
	for (uint64_t node = 3; node < 3 + NEEDED; node++) {
		assert_int_equal(confirm(w, node, 1, 2), 0);
	}
	w->m.now_ms += 1000;
	(void)cycle(w);
	assert_false(changed_since(w, before));
	assert_false(changed_since(w, now_at(w)));
	c.service_create.actor = bytes_str("op");
	c.service_create.name = bytes_str("robot");
	assert_int_equal(fixture_machine_do(&w->m, &c), 0);
	assert_true(changed_since(w, before));
	assert_false(changed_since(w, now_at(w)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_at_a_time, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_take_over, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_next_cycle, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_changed, world_setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
