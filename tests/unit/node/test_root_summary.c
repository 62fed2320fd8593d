/* What operators are told of state roots: who agrees, who differs, who owes an answer. */
#include "tests/lib/test.h"

#include <string.h>

#include "node/root_summary.h"
#include "raft/command.h"
#include "tests/lib/fixture/machine.h"

enum { HOUR_MS = 3600 * 1000, NODES = 6, GOOD = 1, BAD = 2 };

struct world {
	struct fixture_machine m;
	struct fixture_client c;
	struct root_summary summary;
};

static void announce(struct world *w, uint64_t node, uint8_t backup_key)
{
	struct command c = {.type = COMMAND_NODE_ANNOUNCE,
		.node_announce = {.node = node, .feature_level = FEATURE_LEVEL_ROOTS}};

	memset(c.node_announce.backup_key, backup_key, sizeof c.node_announce.backup_key);
	assert_int_equal(fixture_machine_do(&w->m, &c), 0);
}

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->c);
	for (uint64_t node = 1; node <= NODES; node++) {
		announce(w, node, (uint8_t)node);
	}
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

/* A snapshot of node 2, an hour later than the one before; its S. */
static uint64_t begin(struct world *w, uint64_t *ret_id)
{
	struct command claim = {.type = COMMAND_SNAPSHOT_CLAIM,
		.snapshot_claim = {.node = 2, .kind = SNAPSHOT_MANUAL, .ttl_ms = 1000}};
	struct command mark = {.type = COMMAND_SNAPSHOT_MARK, .snapshot_mark = {.node = 2}};

	w->m.now_ms += HOUR_MS;
	assert_int_equal(fixture_machine_do(&w->m, &claim), 0);
	*ret_id = mark.snapshot_mark.id = fixture_machine_reply(&w->m).number;
	assert_int_equal(fixture_machine_do(&w->m, &mark), 0);
	return fixture_machine_reply(&w->m).number;
}

static void record(struct world *w, uint64_t id, uint64_t index, uint8_t root)
{
	struct command c = {.type = COMMAND_SNAPSHOT_RECORD,
		.snapshot_record = {.id = id, .node = 2, .index = index, .term = 1}};

	memset(c.snapshot_record.state_root, root, 32);
	assert_int_equal(fixture_machine_do(&w->m, &c), 0);
}

static void report(struct world *w, uint64_t id, uint64_t index, uint64_t node, uint8_t root)
{
	struct command c = {
		.type = COMMAND_STATE_ROOT, .state_root = {.id = id, .node = node, .index = index}};

	memset(c.state_root.root, root, 32);
	assert_int_equal(fixture_machine_do(&w->m, &c), 0);
}

static const struct root_site *site_of(struct world *w, uint64_t node)
{
	enum { ROWS_MAX = 16 };
	_cleanup_(x_freep) struct snapshot_row *rows = x_calloc(ROWS_MAX, sizeof *rows);
	struct kv_view *view = kv_view_new(w->m.kv);
	size_t n = 0;

	assert_int_equal(snapshot_store_list(view, 0, rows, ROWS_MAX, &n, NULL), 0);
	assert_int_equal(root_summary_read(view, rows, n, &w->summary, NULL), 0);
	kv_view_free(view);
	for (size_t i = 0; i < w->summary.n; i++) {
		if (w->summary.site[i].node == node) {
			return &w->summary.site[i];
		}
	}
	fail_msg("no site of node %llu", (unsigned long long)node);
	return NULL;
}

static enum root_state state_of(struct world *w, uint64_t node, uint64_t later_ms)
{
	return root_site_state(site_of(w, node), w->m.now_ms + later_ms);
}

/* Each site's newest word stands until it says another one: a mark alone ends no alarm. */
static void test_a_minority_of_one(void **state)
{
	struct world *w = *state;
	uint64_t id, index = begin(w, &id), next, next_index;

	assert_int_equal(state_of(w, 1, 0), ROOT_WAITING);
	assert_int_equal(state_of(w, 1, HOUR_MS), ROOT_WAITING); /* Nobody made one. */
	report(w, id, index, 5, BAD);
	assert_int_equal(state_of(w, 5, 0), ROOT_AGREES);
	record(w, id, index, GOOD); /* One against one. */
	assert_int_equal(state_of(w, 5, 0), ROOT_DIFFERS);
	assert_int_equal(state_of(w, 2, 0), ROOT_DIFFERS);
	assert_false(site_of(w, 2)->majority);
	for (uint64_t node = 1; node <= NODES; node++) {
		if (node != 2 && node != 5) {
			report(w, id, index, node, GOOD);
		}
	}
	for (uint64_t node = 1; node <= NODES; node++) {
		assert_int_equal(
			state_of(w, node, HOUR_MS), node == 5 ? ROOT_DIFFERS : ROOT_AGREES);
		assert_true(site_of(w, node)->id == id && site_of(w, node)->index == index);
		assert_true(site_of(w, node)->taker == (node == 2));
	}
	next_index = begin(w, &next);
	report(w, next, next_index, 1, GOOD);
	assert_int_equal(state_of(w, 5, 0), ROOT_DIFFERS);
	report(w, next, next_index, 5, GOOD); /* Its store was made anew. */
	assert_int_equal(state_of(w, 5, 0), ROOT_AGREES);
	assert_string_equal(root_state_name(state_of(w, 5, 0)), "agrees");
}

static void test_a_taker(void **state)
{
	struct world *w = *state;
	uint64_t id, index = begin(w, &id);

	record(w, id, index, BAD);
	for (uint64_t node = 3; node <= NODES; node++) {
		report(w, id, index, node, GOOD);
	}
	assert_int_equal(state_of(w, 2, 0), ROOT_DIFFERS);
	assert_true(site_of(w, 2)->taker && site_of(w, 2)->majority);
	assert_int_equal(state_of(w, 3, 0), ROOT_AGREES);
}

/* One that is away is named after half an hour, by the first that it owes, however many come
 * behind; one that takes no part in backups, or was removed, owes nothing. */
static void test_late(void **state)
{
	struct world *w = *state;
	uint64_t id = 0, first = 0, index = 0;

	announce(w, 6, 0);
	for (unsigned i = 0; i < 3; i++) {
		index = begin(w, &id);
		first = i == 0 ? id : first;
		record(w, id, index, GOOD);
		report(w, id, index, 1, GOOD);
		report(w, id, index, 4, GOOD);
		report(w, id, index, 5, GOOD);
		assert_true(site_of(w, 3)->missing_id == first);
		assert_int_equal(state_of(w, 3, 0), i == 0 ? ROOT_WAITING : ROOT_LATE);
	}
	assert_int_equal(w->summary.n, NODES - 1);
	assert_int_equal(state_of(w, 1, HOUR_MS), ROOT_AGREES);
	report(w, id, index, 3, GOOD);
	assert_int_equal(state_of(w, 3, HOUR_MS), ROOT_AGREES);
	assert_true(site_of(w, 3)->missing_id == 0);
	index = begin(w, &id);
	report(w, id, index, 1, GOOD);
	assert_int_equal(state_of(w, 2, HOUR_MS), ROOT_AGREES); /* Its record would say. */
	assert_int_equal(state_of(w, 3, ROOT_LATE_MS), ROOT_WAITING);
	assert_int_equal(state_of(w, 3, ROOT_LATE_MS + 1), ROOT_LATE);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_minority_of_one),
		T(test_a_taker),
		T(test_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
