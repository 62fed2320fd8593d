/* Who proves restores, and when, on a clock of the test's own. */
#include "tests/lib/test.h"

#include <string.h>

#include "backup/proof.h"

enum { SITES = 6, CYCLES = 50 };

#define HOUR_MS	  (3600ULL * 1000)
#define WEEK_MS	  (7 * DAY_MS)
#define MONDAY_MS 1794787200000ULL /* 2026-11-16 00:00 UTC */

struct world {
	struct snapshot_row rows[CYCLES];
	struct check_row checks[SITES * 2];
	struct node_backup_row nodes[SITES];
	struct proof_facts facts;
};

/* All sites hold a full snapshot and increments behind it; those of `drills` have the key. */
static void world_init(struct world *w, unsigned drills, uint64_t now_ms)
{
	memset(w, 0, sizeof *w);
	for (unsigned i = 0; i < CYCLES; i++) {
		struct snapshot_row *row = &w->rows[i];

		*row = (struct snapshot_row){.id = 10 * (i + 1),
			.kind = i == 0 ? SNAPSHOT_FULL : SNAPSHOT_INCREMENT,
			.state = SNAPSHOT_CONFIRMED,
			.node = i % SITES + 1,
			.cycle = i + 1,
			.base_id = 10 * i,
			.index = 10 * (i + 1) + 1};
		for (uint64_t node = 1; node <= SITES; node++) {
			if (node != row->node) {
				row->confirmation[row->n_confirmations++].node = node;
			}
		}
	}
	for (unsigned i = 0; i < SITES; i++) {
		w->nodes[i] = (struct node_backup_row){
			.node = i + 1, .drills = drills >> i & 1, .since_ms = MONDAY_MS};
	}
	w->facts = (struct proof_facts){.rows = w->rows,
		.n_rows = CYCLES,
		.checks = w->checks,
		.nodes = w->nodes,
		.n_nodes = SITES,
		.now_ms = now_ms};
}

/* The log learns of a check. */
static void check(struct world *w, uint64_t node, unsigned level, bool ok)
{
	struct check_row *row = NULL;

	for (size_t i = 0; i < w->facts.n_checks; i++) {
		if (w->checks[i].node == node && w->checks[i].level == level) {
			row = &w->checks[i];
		}
	}
	if (row == NULL) {
		row = &w->checks[w->facts.n_checks++];
		*row = (struct check_row){.node = node, .level = (uint8_t)level};
	}
	row->ok = ok;
	row->time_ms = w->facts.now_ms;
	if (ok) {
		row->good_ms = w->facts.now_ms;
	}
}

static void no_confirmation(struct snapshot_row *row, uint64_t node)
{
	for (unsigned i = 0; i < row->n_confirmations; i++) {
		if (row->confirmation[i].node == node) {
			row->confirmation[i] = row->confirmation[--row->n_confirmations];
		}
	}
}

static void test_order(void **state)
{
	struct proof_turn turn, other;
	struct world w;

	(void)state;
	world_init(&w, 1 << 0 | 1 << 2 | 1 << 5, MONDAY_MS + 3 * DAY_MS);
	proof_turn(&w.facts, &turn);
	assert_true(turn.begin_ms == MONDAY_MS && turn.from_ms == MONDAY_MS);
	assert_true(turn.turn_ms == DAY_MS);
	assert_int_equal(turn.n, 3);
	assert_false(turn.proven);
	for (unsigned week = 0; week < 7; week++) { /* Each is the first in its turn. */
		for (unsigned day = 0; day < 7; day++) {
			w.facts.now_ms = MONDAY_MS + week * WEEK_MS + day * DAY_MS;
			proof_turn(&w.facts, &other);
			assert_true(other.begin_ms == MONDAY_MS + week * WEEK_MS);
			assert_true(other.order[0] == turn.order[week % 3]);
			assert_true(other.order[1] == turn.order[(week + 1) % 3]);
			assert_true(other.order[2] == turn.order[(week + 2) % 3]);
		}
	}
	w.facts.now_ms = MONDAY_MS - 1;
	proof_turn(&w.facts, &other);
	assert_true(other.begin_ms == MONDAY_MS - WEEK_MS);
	w.facts.now_ms = 0; /* A clock that nobody has set. */
	proof_turn(&w.facts, &other);
	assert_true(other.begin_ms == 0);
}

/* However many sites there are, each has its turn within the week. */
static void test_many_sites(void **state)
{
	struct node_backup_row nodes[SITES_MAX];
	struct proof_facts facts = {.nodes = nodes, .n_nodes = SITES_MAX, .now_ms = MONDAY_MS + 1};
	struct proof_turn turn;

	(void)state;
	for (unsigned i = 0; i < SITES_MAX; i++) {
		nodes[i] = (struct node_backup_row){.node = i + 1, .drills = true};
	}
	proof_turn(&facts, &turn);
	assert_int_equal(turn.n, SITES_MAX);
	assert_true(turn.from_ms + (turn.n - 1) * turn.turn_ms < MONDAY_MS + WEEK_MS);
}

/* Twenty weeks, ten minutes by ten minutes: drills take two hours, sites 2, 4 and 5 have the key,
 * and 4 is away in some weeks. */
static void test_weeks(void **state)
{
	enum { WEEKS = 21 };
	unsigned good[WEEKS] = {0}, of_site[SITES + 1] = {0};
	uint64_t busy_until = 0, busy = 0, end_ms = MONDAY_MS + WEEKS * WEEK_MS;
	struct world w;

	(void)state;
	world_init(&w, 1 << 1 | 1 << 3 | 1 << 4, MONDAY_MS);
	for (; w.facts.now_ms < end_ms; w.facts.now_ms += HOUR_MS / 6) {
		uint64_t week = (w.facts.now_ms - MONDAY_MS) / WEEK_MS;
		struct proof_turn turn;

		proof_turn(&w.facts, &turn);
		if (busy != 0 && w.facts.now_ms >= busy_until) {
			check(&w, busy, CHECK_LEVEL_DRILL, true);
			good[week]++;
			of_site[busy]++;
			busy = 0;
		}
		for (uint64_t node = 1; node <= SITES; node++) {
			bool away = node == 4 && week % 2 == 0;

			if (away || !proof_due(&w.facts, node) || node == busy) {
				continue;
			}
			assert_int_equal(busy, 0); /* Never two at a time. */
			assert_true(node == 2 || node == 4 || node == 5);
			assert_true(node == turn.order[0] || turn.order[0] == 4);
			assert_true(
				node == turn.order[0] || w.facts.now_ms == turn.begin_ms + DAY_MS);
			busy = node;
			busy_until = w.facts.now_ms + 2 * HOUR_MS;
		}
	}
	for (unsigned week = 0; week < WEEKS; week++) {
		assert_int_equal(good[week], 1);
	}
	assert_int_equal(of_site[2] + of_site[4] + of_site[5], WEEKS);
	assert_true(of_site[2] >= 7 && of_site[5] >= 7 && of_site[4] >= 3);
}

/* A key that is given in the middle of a week: drilled with at once, and the others' turns count
 * from then on. */
static void test_new_key(void **state)
{
	struct proof_turn turn;
	struct world w;

	(void)state;
	world_init(&w, 0, MONDAY_MS + 4 * DAY_MS);
	for (uint64_t node = 1; node <= SITES; node++) {
		assert_false(proof_due(&w.facts, node));
	}
	w.nodes[1].drills = w.nodes[2].drills = true;
	w.nodes[1].since_ms = w.nodes[2].since_ms = w.facts.now_ms;
	proof_turn(&w.facts, &turn);
	assert_true(turn.from_ms == w.facts.now_ms);
	assert_true(proof_due(&w.facts, turn.order[0]));
	assert_false(proof_due(&w.facts, turn.order[1]));
	w.facts.now_ms += DAY_MS;
	assert_true(proof_due(&w.facts, turn.order[1]));
	check(&w, 6, CHECK_LEVEL_DRILL, true); /* An operator's, by hand, counts as well. */
	assert_false(proof_due(&w.facts, turn.order[0]));
	assert_false(proof_due(&w.facts, turn.order[1]));
}

/* The minutes behind the snapshot belong to what is drilled, where they are. */
static void test_minute(void **state)
{
	struct snapshot_row base = {.id = 70, .index = 71};
	const struct journal_row whole = {.base_id = 70,
		.number = 5,
		.confirmed = 5,
		.confirmed_index = 90,
		.node = 2,
		.holder = {{.node = 3, .number = 5}, {.node = 4, .number = 4}},
		.n_holders = 2};
	struct journal_row journal = whole;

	(void)state;
	assert_true(proof_minute(&journal, &base, 2) && proof_minute(&journal, &base, 3));
	assert_false(proof_minute(&journal, &base, 4)); /* It has not all of them. */
	assert_false(proof_minute(&journal, &base, 5));
	journal.number = 6; /* Which its taker may have built on another one than the fifth. */
	assert_false(proof_minute(&journal, &base, 2));
	assert_true(proof_minute(&journal, &base, 3));
	base.id = 80; /* Of the cycle before. */
	assert_false(proof_minute(&whole, &base, 3));
	base = (struct snapshot_row){.id = 70, .index = 90}; /* Nothing is behind it. */
	assert_false(proof_minute(&whole, &base, 3));
	base.index = 71;
	journal = whole;
	journal.confirmed = 0;
	assert_false(proof_minute(&journal, &base, 3));
}

/* What failed is tried again where it failed, once a day, until it is good: in any week. */
static void test_failed(void **state)
{
	struct proof_turn turn;
	struct world w;
	uint64_t first, second;

	(void)state;
	world_init(&w, 1 << 0 | 1 << 1, MONDAY_MS);
	proof_turn(&w.facts, &turn);
	first = turn.order[0];
	second = turn.order[1];
	check(&w, first, CHECK_LEVEL_DRILL, false);
	assert_false(proof_due(&w.facts, first));
	w.facts.now_ms += DAY_MS - 1;
	assert_false(proof_due(&w.facts, first));
	assert_false(proof_due(&w.facts, second));
	w.facts.now_ms++;
	assert_true(proof_due(&w.facts, second));
	check(&w, second, CHECK_LEVEL_DRILL, true);
	assert_true(proof_due(&w.facts, first)); /* All the same. */
	w.facts.now_ms += 9 * DAY_MS;
	assert_true(proof_due(&w.facts, first));
	check(&w, first, CHECK_LEVEL_DRILL, true);
	assert_false(proof_due(&w.facts, first));
}

/* The newest that the site holds with all of its point. */
static void test_snapshot(void **state)
{
	struct snapshot_row *rows;
	struct world w;

	(void)state;
	world_init(&w, 1 << 2, MONDAY_MS);
	rows = w.rows;
	assert_ptr_equal(proof_snapshot(&w.facts, 3), &rows[CYCLES - 1]);
	assert_null(proof_snapshot(&w.facts, 99));
	no_confirmation(&rows[CYCLES - 1], 3);
	assert_ptr_equal(proof_snapshot(&w.facts, 3), &rows[CYCLES - 2]);
	assert_ptr_equal(proof_snapshot(&w.facts, 4), &rows[CYCLES - 1]);
	rows[CYCLES - 2].state = SNAPSHOT_SHIPPED; /* It is, but does not count yet. */
	assert_ptr_equal(proof_snapshot(&w.facts, 3), &rows[CYCLES - 3]);
	no_confirmation(&rows[21], 3); /* In the chains of all behind it. */
	no_confirmation(&rows[22], 3);
	assert_ptr_equal(proof_snapshot(&w.facts, 3), &rows[20]);
	assert_true(proof_due(&w.facts, 3));
	w.facts.n_rows = 0;
	assert_null(proof_snapshot(&w.facts, 3));
	assert_false(proof_due(&w.facts, 3));
}

/* A point is made of 42: what is older may be gone. */
static void test_long_chain(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 0, MONDAY_MS);
	w.facts.rows = w.rows + CYCLES - BACKUP_SLICES;
	w.facts.n_rows = BACKUP_SLICES;
	assert_ptr_equal(proof_snapshot(&w.facts, 3), &w.rows[CYCLES - 1]);
	w.facts.rows++;
	w.facts.n_rows--;
	assert_null(proof_snapshot(&w.facts, 3));
	w.rows[CYCLES - 5].kind = SNAPSHOT_MANUAL; /* Stands alone. */
	assert_ptr_equal(proof_snapshot(&w.facts, 3), &w.rows[CYCLES - 1]);
}

static void test_late(void **state)
{
	struct world w;
	uint64_t proven;

	(void)state;
	world_init(&w, 0, MONDAY_MS + 30 * DAY_MS);
	assert_int_equal(proof_late_ms(&w.facts, &proven), 0);
	w.facts.now_ms++;
	assert_int_equal(proof_late_ms(&w.facts, &proven), 1);
	assert_int_equal(proven, 0);
	check(&w, 2, 3, true); /* Proves no restore. */
	check(&w, 2, CHECK_LEVEL_DRILL, false);
	assert_int_equal(proof_late_ms(&w.facts, &proven), 1);
	check(&w, 2, CHECK_LEVEL_DRILL, true);
	assert_int_equal(proof_late_ms(&w.facts, &proven), 0);
	w.facts.now_ms += 30 * DAY_MS + 5;
	assert_int_equal(proof_late_ms(&w.facts, &proven), 5);
	assert_true(proven == MONDAY_MS + 30 * DAY_MS + 1);
	/* Where a site could drill, sooner; but not before it could have. */
	world_init(&w, 1 << 3, MONDAY_MS + 40 * DAY_MS);
	w.nodes[3].since_ms = w.facts.now_ms - 14 * DAY_MS;
	assert_int_equal(proof_late_ms(&w.facts, &proven), 0);
	w.facts.now_ms++;
	assert_int_equal(proof_late_ms(&w.facts, &proven), 1);
	w.nodes[5].drills = true; /* Another key changes nothing about that. */
	w.nodes[5].since_ms = w.facts.now_ms;
	assert_int_equal(proof_late_ms(&w.facts, &proven), 1);
	w.facts.n_nodes = 0; /* Nobody takes part in backups. */
	assert_int_equal(proof_late_ms(&w.facts, &proven), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_many_sites),
		cmocka_unit_test(test_weeks),
		cmocka_unit_test(test_new_key),
		cmocka_unit_test(test_minute),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_long_chain),
		cmocka_unit_test(test_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
