/* State roots in the state machine: the mark that all nodes meet at one place, who differs, and a
 * taker that does. */
#include "tests/lib/test.h"

#include <string.h>

#include "storage/cluster_store.h"
#include "storage/journal_store.h"
#include "storage/report_store.h"
#include "storage/snapshot_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/machine.h"

enum { TTL_MS = 1000, HOUR_MS = 3600 * 1000, NODES = 6, GOOD = 1, BAD = 2 };

struct world {
	struct fixture_machine m;
	struct fixture_client c;
	uint64_t slot;
	/* Of mark_cb(). */
	struct fsm_mark marked;
	uint64_t stood_at;
	unsigned marks;
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
	for (uint64_t node = 1; node <= NODES; node++) {
		assert_int_equal(announce(w, node, FEATURE_LEVEL_ROOTS), 0);
	}
	w->slot = w->m.now_ms;
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

static uint64_t claim(struct world *w, uint64_t node)
{
	struct command c = {.type = COMMAND_SNAPSHOT_CLAIM,
		.snapshot_claim = {.node = node, .kind = SNAPSHOT_INCREMENT, .ttl_ms = TTL_MS}};

	w->slot += HOUR_MS;
	w->m.now_ms = w->slot;
	c.snapshot_claim.slot = w->slot;
	assert_int_equal(fixture_machine_do(&w->m, &c), 0);
	return fixture_machine_reply(&w->m).number;
}

static struct command mark_command(uint64_t id, uint64_t node, uint64_t after)
{
	return (struct command){.type = COMMAND_SNAPSHOT_MARK,
		.snapshot_mark = {.id = id, .node = node, .after = after}};
}

static int mark(struct world *w, uint64_t id, uint64_t node, uint64_t after)
{
	struct command c = mark_command(id, node, after);

	return fixture_machine_do(&w->m, &c);
}

static int record(struct world *w, uint64_t id, uint64_t node, uint64_t index, uint8_t root)
{
	struct command c = {.type = COMMAND_SNAPSHOT_RECORD,
		.snapshot_record = {.id = id, .node = node, .index = index, .term = 1}};

	memset(c.snapshot_record.manifest_hash, (int)id, 32);
	memset(c.snapshot_record.state_root, root, 32);
	return fixture_machine_do(&w->m, &c);
}

static int report(struct world *w, uint64_t id, uint64_t node, uint64_t index, uint8_t root)
{
	struct command c = {
		.type = COMMAND_STATE_ROOT, .state_root = {.id = id, .node = node, .index = index}};

	memset(c.state_root.root, root, 32);
	return fixture_machine_do(&w->m, &c);
}

static int confirm(struct world *w, uint64_t id, uint64_t node)
{
	struct command c = {.type = COMMAND_SNAPSHOT_CONFIRM,
		.snapshot_confirm = {.id = id, .node = node, .needed = 3}};

	memset(c.snapshot_confirm.manifest_hash, (int)id, 32);
	return fixture_machine_do(&w->m, &c);
}

static void confirm_all(struct world *w, uint64_t id, uint64_t taker)
{
	for (uint64_t node = 1; node <= NODES; node++) {
		assert_int_equal(confirm(w, id, node), node == taker ? KLUIS_ECONFLICT : 0);
	}
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

static size_t reports_at(struct world *w, uint64_t index)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct report_row rows[SITES_MAX];
	size_t n = 0;

	assert_int_equal(
		report_store_at(view, KEY_STATE_ROOT, index, rows, SITES_MAX, &n, NULL), 0);
	kv_view_free(view);
	return n;
}

/* Claimed and marked by the node; S. */
static uint64_t begin(struct world *w, uint64_t taker, uint64_t *ret_id)
{
	*ret_id = claim(w, taker);
	assert_int_equal(mark(w, *ret_id, taker, 0), 0);
	assert_true(fixture_machine_reply(&w->m).number == fsm_position(w->m.fsm)->index);
	return fsm_position(w->m.fsm)->index;
}

/* A whole one, on whose root all agree. */
static uint64_t good_one(struct world *w, uint64_t taker)
{
	uint64_t id, index = begin(w, taker, &id);

	assert_int_equal(record(w, id, taker, index, GOOD), 0);
	for (uint64_t node = 1; node <= NODES; node++) {
		assert_int_equal(
			report(w, id, node, index, GOOD), node == taker ? KLUIS_ECONFLICT : 0);
	}
	confirm_all(w, id, taker);
	assert_true(reports_at(w, index) == NODES);
	assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_CONFIRMED);
	assert_true(state_of(w).confirmed_id == id);
	return id;
}

/* --- the mark -------------------------------------------------------------------------------- */

static void test_mark(void **state)
{
	struct world *w = *state;
	uint64_t id, index = begin(w, 2, &id), second;

	assert_true(snapshot_of(w, id).index == index);
	assert_true(w->m.results.report_due && w->m.results.report.index == index);
	assert_int_equal(mark(w, id, 2, 0), KLUIS_ECONFLICT); /* The same, on its way twice. */
	assert_false(w->m.results.report_due);
	assert_int_equal(mark(w, id, 3, index), KLUIS_ECONFLICT);
	assert_int_equal(mark(w, id + 1000, 2, 0), KLUIS_ENOTFOUND);
	assert_true(snapshot_of(w, id).index == index);
	/* It began anew: what was said of the first place counts no more. */
	assert_int_equal(report(w, id, 4, index, GOOD), 0);
	assert_int_equal(mark(w, id, 2, index), 0);
	second = fsm_position(w->m.fsm)->index;
	assert_true(snapshot_of(w, id).index == second);
	assert_int_equal(report(w, id, 4, index, GOOD), KLUIS_ECONFLICT);
	assert_int_equal(record(w, id, 2, index, GOOD), KLUIS_ECONFLICT);
	assert_int_equal(record(w, id, 2, second, GOOD), 0);
	assert_int_equal(mark(w, id, 2, second), KLUIS_ECONFLICT); /* It is taken. */
}

static void mark_cb(void *data, struct fsm *fsm, const struct fsm_mark *mark)
{
	struct world *w = data;
	struct kv_view *view = kv_view_new(fsm_kv(fsm));
	struct position position;

	assert_int_equal(position_get(view, &position, NULL), 0);
	kv_view_free(view);
	assert_true(fsm_position(fsm)->index == position.index);
	w->marked = *mark;
	w->stood_at = position.index;
	w->marks++;
}

static struct entry *entry_of(struct world *w, uint64_t index, const struct command *command)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct bytes one;

	command_encode(command, &bytes);
	one = buf_bytes(&bytes);
	return fixture_machine_entry(&w->m, index, &one, 1);
}

/* Whatever comes in one batch, the store is looked at exactly at the mark, and the state is the
 * same as without anybody looking. */
static void test_the_store_stands_at_the_mark(void **state)
{
	struct world *w = *state;
	uint64_t id = claim(w, 2), at = fsm_position(w->m.fsm)->index;
	struct command noise = {.type = COMMAND_NODE_ANNOUNCE,
		.node_announce = {.node = 1, .feature_level = FEATURE_LEVEL}};
	struct command marks[] = {noise, mark_command(id, 2, 0), noise, mark_command(id, 2, at + 2),
		mark_command(id, 2, 0), noise};
	struct entry *entries[ARRAY_SIZE(marks)];

	fsm_set_mark_cb(w->m.fsm, mark_cb, w);
	for (unsigned i = 0; i < ARRAY_SIZE(marks); i++) {
		entries[i] = entry_of(w, at + 1 + i, &marks[i]);
	}
	assert_int_equal(fsm_apply(w->m.fsm, entries, 3, &w->m.results, &w->m.err), 0);
	assert_int_equal(w->marks, 1);
	assert_true(w->marked.id == id && w->marked.node == 2 && w->marked.index == at + 2);
	assert_true(w->stood_at == at + 2 && fsm_position(w->m.fsm)->index == at + 3);
	assert_int_equal(w->m.results.n, 3);
	/* Again, as after a restart: what is applied is not looked at once more. */
	assert_int_equal(
		fsm_apply(w->m.fsm, entries, ARRAY_SIZE(marks), &w->m.results, &w->m.err), 0);
	assert_int_equal(w->marks, 2); /* The second one; the third is refused. */
	assert_true(w->stood_at == at + 4 && fsm_position(w->m.fsm)->index == at + 6);
	for (unsigned i = 0; i < ARRAY_SIZE(marks); i++) {
		entry_unref(entries[i]);
	}
	fsm_set_mark_cb(w->m.fsm, NULL, NULL);
	assert_int_equal(mark(w, id, 2, at + 4), 0);
	assert_int_equal(w->marks, 2);
}

static void test_not_before_all_nodes_know(void **state)
{
	struct fixture_machine m;
	struct fixture_client c;
	struct command claim = {.type = COMMAND_SNAPSHOT_CLAIM,
		.snapshot_claim = {.node = 2, .kind = SNAPSHOT_MANUAL, .ttl_ms = TTL_MS}};
	struct command mark;

	(void)state;
	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	assert_int_equal(fixture_machine_do(&m, &claim), 0);
	mark = mark_command(fixture_machine_reply(&m).number, 2, 0);
	assert_int_equal(fixture_machine_do(&m, &mark), KLUIS_ECONFLICT);
	fixture_machine_release(&m);
}

/* --- who differs ----------------------------------------------------------------------------- */

/* Another site's rot takes nothing from a good snapshot. */
static void test_a_minority_of_one(void **state)
{
	struct world *w = *state;
	uint64_t id, index = begin(w, 2, &id);

	assert_int_equal(report(w, id, 5, index, BAD), 0);
	assert_int_equal(record(w, id, 2, index, GOOD), 0);
	for (uint64_t node = 1; node <= NODES; node++) {
		if (node != 2 && node != 5) {
			assert_int_equal(report(w, id, node, index, GOOD), 0);
		}
	}
	confirm_all(w, id, 2);
	assert_true(reports_at(w, index) == NODES);
	assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_CONFIRMED);
	assert_int_equal(report(w, id, 77, index, GOOD), KLUIS_ENOTFOUND);
	assert_int_equal(report(w, id, 4, index + 1, GOOD), KLUIS_ECONFLICT);
	assert_int_equal(report(w, id + 1000, 4, index, GOOD), KLUIS_ENOTFOUND);
}

/* The others were quicker: its record is written down as failed. */
static void test_a_taker_that_differs_at_once(void **state)
{
	struct world *w = *state;
	uint64_t base = good_one(w, 3), id, index = begin(w, 2, &id);

	for (uint64_t node = 3; node <= NODES; node++) {
		assert_int_equal(report(w, id, node, index, GOOD), 0);
	}
	assert_int_equal(record(w, id, 2, index, BAD), 0);
	assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_FAILED);
	assert_non_null(strstr(snapshot_of(w, id).error, "state root"));
	assert_true(reports_at(w, index) == 5); /* It is named all the same. */
	assert_int_equal(confirm(w, id, 4), KLUIS_ECONFLICT);
	assert_true(state_of(w).confirmed_id == base);
	/* Another node takes the same cycle. */
	id = claim(w, 4);
	assert_true(snapshot_of(w, id).cycle == 2 && snapshot_of(w, id).base_id == base);
}

/* It was confirmed, and something was taken against it, before enough sites had made their roots:
 * neither counts any more, and what comes next is taken against what was good before. */
static void test_a_taker_that_differs_late(void **state)
{
	struct world *w = *state;
	uint64_t base = good_one(w, 3), id, index = begin(w, 2, &id), next, next_index, after;
	struct snapshot_state_row now;

	assert_int_equal(record(w, id, 2, index, BAD), 0);
	confirm_all(w, id, 2);
	assert_true(state_of(w).confirmed_id == id);
	next_index = begin(w, 5, &next);
	assert_int_equal(record(w, next, 5, next_index, GOOD), 0);
	confirm_all(w, next, 5);
	after = claim(w, 6); /* Under way. */
	assert_true(snapshot_of(w, after).base_id == next && state_of(w).confirmed_id == next);
	for (uint64_t node = 3; node <= 5; node++) {
		assert_int_equal(report(w, id, node, index, GOOD), 0);
	}
	assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_CONFIRMED); /* Three of six. */
	assert_int_equal(report(w, id, 6, index, GOOD), 0);
	assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_FAILED);
	assert_int_equal(snapshot_of(w, next).state, SNAPSHOT_FAILED);
	assert_int_equal(snapshot_of(w, after).state, SNAPSHOT_FAILED);
	assert_int_equal(snapshot_of(w, base).state, SNAPSHOT_CONFIRMED);
	now = state_of(w);
	assert_true(now.confirmed_id == base && now.confirmed_cycle == 1);
	assert_true(now.confirmed_index == snapshot_of(w, base).index);
	assert_int_equal(report(w, id, 1, index, GOOD), 0); /* Once is enough. */
	assert_int_equal(record(w, after, 6, next_index + 3, GOOD), KLUIS_ECONFLICT);
	id = claim(w, 4);
	assert_int_equal(snapshot_of(w, id).kind, SNAPSHOT_INCREMENT);
	assert_true(snapshot_of(w, id).cycle == 2 && snapshot_of(w, id).base_id == base);
}

static int fail_as(struct world *w, uint64_t id, uint64_t node, struct bytes error)
{
	struct command c = {.type = COMMAND_SNAPSHOT_FAIL,
		.snapshot_fail = {.id = id, .node = node, .error = error}};

	return fixture_machine_do(&w->m, &c);
}

/* Sites set aside what the log disowned: a taker cannot have it say so. */
static void test_not_by_its_own_word(void **state)
{
	const struct bytes words[] = {
		bytes_str(SNAPSHOT_DISOWNED), bytes_str(SNAPSHOT_BASE_DISOWNED)};
	struct world *w = *state;
	uint64_t id = claim(w, 2);

	assert_int_equal(fail_as(w, id, 2, words[0]), 0); /* Before all nodes know. */
	assert_string_equal(snapshot_of(w, id).error, SNAPSHOT_DISOWNED);
	for (uint64_t node = 1; node <= NODES; node++) {
		assert_int_equal(announce(w, node, FEATURE_LEVEL_DISOWNED), 0);
	}
	id = claim(w, 2);
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		assert_int_equal(fail_as(w, id, 2, words[i]), KLUIS_EINVAL);
		assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_RUNNING);
	}
	assert_int_equal(fail_as(w, id, 2, bytes_str("the disk is full")), 0);
	assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_FAILED);
	/* Once it is failed, nothing is said of it any more. */
	assert_int_equal(fail_as(w, id, 2, words[0]), 0);
	assert_string_equal(snapshot_of(w, id).error, "the disk is full");
}

static int journal(struct world *w, uint64_t base, uint32_t number, uint64_t index)
{
	struct command c = {.type = COMMAND_JOURNAL_RECORD,
		.journal_record = {.base_id = base,
			.number = number,
			.node = 3,
			.index = index,
			.term = 1,
			.time_ms = w->m.now_ms}};

	memset(c.journal_record.manifest_hash, (int)number, 32);
	return fixture_machine_do(&w->m, &c);
}

static struct journal_row journal_of(struct world *w)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct journal_row row;

	assert_int_equal(journal_store_get(view, &row, NULL), 0);
	kv_view_free(view);
	return row;
}

/* What was journalled on it is no point to come back to either: the journal begins anew on the base
 * that is good. That of a good base stands, whoever differs. */
static void test_its_journal(void **state)
{
	struct world *w = *state;
	uint64_t base = good_one(w, 3), id, index;

	assert_int_equal(journal(w, base, 1, fsm_position(w->m.fsm)->index), 0);
	index = begin(w, 2, &id);
	for (uint64_t node = 3; node <= NODES; node++) {
		assert_int_equal(report(w, id, node, index, GOOD), 0);
	}
	assert_int_equal(record(w, id, 2, index, BAD), 0);
	assert_true(journal_of(w).base_id == base && journal_of(w).number == 1);
	index = begin(w, 5, &id);
	assert_int_equal(record(w, id, 5, index, BAD), 0);
	confirm_all(w, id, 5);
	assert_int_equal(journal(w, id, 1, fsm_position(w->m.fsm)->index), 0);
	assert_true(journal_of(w).base_id == id);
	for (uint64_t node = 1; node <= 4; node++) {
		assert_int_equal(report(w, id, node, index, GOOD), 0);
	}
	assert_true(journal_of(w).base_id == 0 && journal_of(w).number == 0);
	assert_int_equal(journal(w, id, 2, fsm_position(w->m.fsm)->index), KLUIS_ECONFLICT);
	assert_int_equal(journal(w, base, 1, fsm_position(w->m.fsm)->index), 0);
	assert_true(journal_of(w).base_id == base && journal_of(w).number == 1);
}

/* The first of a lineage: the next one is a full one again. */
static void test_a_full_one_that_differs(void **state)
{
	struct world *w = *state;
	uint64_t id, index = begin(w, 2, &id);

	assert_int_equal(record(w, id, 2, index, BAD), 0);
	confirm_all(w, id, 2);
	for (uint64_t node = 3; node <= NODES; node++) {
		assert_int_equal(report(w, id, node, index, GOOD), 0);
	}
	assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_FAILED);
	assert_true(state_of(w).confirmed_id == 0 && state_of(w).confirmed_cycle == 0);
	id = claim(w, 4);
	assert_int_equal(snapshot_of(w, id).kind, SNAPSHOT_FULL);
	assert_true(snapshot_of(w, id).cycle == 1);
}

/* Without a majority nobody is said to be wrong; one that is away takes no part. */
static void test_no_majority_and_one_away(void **state)
{
	struct world *w = *state;
	uint64_t id, index = begin(w, 2, &id);

	assert_int_equal(record(w, id, 2, index, BAD), 0);
	assert_int_equal(report(w, id, 1, index, BAD), 0);
	for (uint64_t node = 3; node <= 5; node++) {
		assert_int_equal(report(w, id, node, index, GOOD), 0);
	}
	confirm_all(w, id, 2);
	assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_CONFIRMED);
	assert_int_equal(report(w, id, 6, index, BAD), 0); /* Three and three. */
	assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_CONFIRMED);
	assert_int_equal(report(w, id, 6, index, GOOD), 0); /* It was made anew. */
	assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_FAILED);
	good_one(w, 4);
}

/* Late is better than never, until nobody remembers. */
static void test_late_reports(void **state)
{
	struct world *w = *state;
	uint64_t id[STATE_ROOTS_KEPT + 1], index[STATE_ROOTS_KEPT + 1];

	for (unsigned i = 0; i <= STATE_ROOTS_KEPT; i++) {
		index[i] = begin(w, 2, &id[i]);
		assert_int_equal(record(w, id[i], 2, index[i], GOOD), 0);
		for (uint64_t node = 3; node <= NODES; node++) {
			assert_int_equal(report(w, id[i], node, index[i], GOOD), 0);
		}
		confirm_all(w, id[i], 2);
		if (i == STATE_ROOTS_KEPT - 1) {
			assert_int_equal(report(w, id[0], 1, index[0], GOOD), 0);
			assert_true(reports_at(w, index[0]) == NODES);
		}
	}
	assert_true(reports_at(w, index[0]) == 0);
	assert_int_equal(report(w, id[0], 1, index[0], BAD), KLUIS_EGONE);
	assert_int_equal(report(w, id[1], 1, index[1], GOOD), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_mark),
		T(test_the_store_stands_at_the_mark),
		cmocka_unit_test(test_not_before_all_nodes_know),
		T(test_a_minority_of_one),
		T(test_a_taker_that_differs_at_once),
		T(test_a_taker_that_differs_late),
		T(test_not_by_its_own_word),
		T(test_its_journal),
		T(test_a_full_one_that_differs),
		T(test_no_majority_and_one_away),
		T(test_late_reports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
