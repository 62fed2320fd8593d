/* Which snapshot a site is brought next. */
#include "tests/lib/test.h"

#include <string.h>

#include "backup/ship.h"

enum { CYCLES = 120, TAKER = 1, OTHER_TAKER = 2, SITE = 4, OTHER_SITE = 5 };

/* Ids 10, 20, ..; taken by both in turn, nothing confirmed. */
static void records(struct snapshot_row rows[CYCLES])
{
	memset(rows, 0, CYCLES * sizeof *rows);
	for (unsigned i = 0; i < CYCLES; i++) {
		rows[i] = (struct snapshot_row){.id = 10 * (i + 1),
			.kind = SNAPSHOT_INCREMENT,
			.state = SNAPSHOT_CONFIRMED,
			.node = i % 2 == 0 ? TAKER : OTHER_TAKER,
			.cycle = i + 1};
	}
}

static void confirm(struct snapshot_row *row, uint64_t node)
{
	row->confirmation[row->n_confirmations++].node = node;
}

static const struct ship_members all = {.nodes = {TAKER, OTHER_TAKER, SITE, OTHER_SITE}, .n = 4};

static uint64_t next_id(const struct snapshot_row *rows, uint64_t after)
{
	const struct snapshot_row *row = ship_next(rows, CYCLES, &all, TAKER, SITE, after);

	return row == NULL ? 0 : row->id;
}

/* A site that was away for days gets every cycle that a point there still needs, oldest first. */
static void test_all_that_is_kept(void **state)
{
	struct snapshot_row rows[CYCLES];
	uint64_t id = 0;
	unsigned n = 0;

	(void)state;
	records(rows);
	while ((id = next_id(rows, id)) != 0) {
		assert_true(n > 0 || id == 10 * (CYCLES - 83));
		n++;
	}
	assert_int_equal(n, 42); /* Every other one of the newest 84, as receivers take them. */
}

static void test_not_what_is_confirmed(void **state)
{
	struct snapshot_row rows[CYCLES];

	(void)state;
	records(rows);
	for (unsigned i = 0; i < CYCLES; i++) {
		confirm(&rows[i], OTHER_SITE);
		if (rows[i].id != 900 + 10) {
			confirm(&rows[i], SITE);
		}
	}
	assert_int_equal(next_id(rows, 0), 910);
	assert_int_equal(next_id(rows, 910), 0);
	confirm(&rows[90], SITE);
	assert_int_equal(next_id(rows, 0), 0);
}

static void test_not_what_is_none(void **state)
{
	struct snapshot_row rows[CYCLES];

	(void)state;
	records(rows);
	rows[CYCLES - 2].state = SNAPSHOT_RUNNING;
	assert_int_equal(next_id(rows, 1170), 0);
	rows[CYCLES - 2].state = SNAPSHOT_FAILED;
	assert_int_equal(next_id(rows, 1170), 0);
	rows[CYCLES - 2].state = SNAPSHOT_SHIPPED;
	assert_int_equal(next_id(rows, 1170), 1190);
	rows[0].cycle = 0; /* Manual, and as old as it is. */
	rows[0].kind = SNAPSHOT_MANUAL;
	assert_int_equal(next_id(rows, 0), 10);
}

/* Of a taker that is gone the first member that confirmed it brings what it took. */
static void test_of_a_taker_that_is_gone(void **state)
{
	static const struct ship_members none = {.n = 0},
					 rest = {.nodes = {OTHER_TAKER, SITE, OTHER_SITE}, .n = 3};
	struct snapshot_row rows[CYCLES], *row = &rows[CYCLES - 2];

	(void)state;
	records(rows);
	assert_int_equal(ship_sender(row, &rest), 0);
	confirm(row, 3); /* Gone, too. */
	confirm(row, OTHER_SITE);
	confirm(row, OTHER_TAKER);
	assert_int_equal(ship_sender(row, &all), TAKER);
	assert_int_equal(ship_sender(row, &none), TAKER);
	assert_int_equal(ship_sender(row, &rest), OTHER_SITE);
	assert_ptr_equal(ship_next(rows, CYCLES, &rest, OTHER_SITE, SITE, 0), row);
	assert_null(ship_next(rows, CYCLES, &all, OTHER_SITE, SITE, 0));
	assert_null(ship_next(rows, CYCLES, &rest, OTHER_SITE, OTHER_TAKER, 0));
	assert_null(ship_next(rows, CYCLES, &rest, TAKER, SITE, 0));
	assert_null(ship_next(rows, CYCLES, &rest, OTHER_SITE, TAKER, 0)); /* It is gone. */
}

/* Who is away brings nothing: the next that confirmed it does, and of several away nobody else. */
static void test_of_a_stand_in_that_is_away(void **state)
{
	struct ship_members rest = {.nodes = {OTHER_TAKER, SITE, OTHER_SITE}, .n = 3};
	struct snapshot_row rows[CYCLES], *row = &rows[CYCLES - 2];

	(void)state;
	records(rows);
	rest.away[0] = true;
	assert_int_equal(ship_sender(&rows[CYCLES - 1], &rest), OTHER_TAKER); /* It comes back. */
	assert_int_equal(ship_sender(row, &rest), 0);
	confirm(row, OTHER_TAKER);
	confirm(row, OTHER_SITE);
	assert_int_equal(ship_sender(row, &rest), OTHER_SITE);
	assert_ptr_equal(ship_next(rows, CYCLES, &rest, OTHER_SITE, SITE, 1180), row);
	rest.away[2] = true;
	assert_int_equal(ship_sender(row, &rest), OTHER_TAKER);
	rest.away[0] = rest.away[2] = false;
	assert_int_equal(ship_sender(row, &rest), OTHER_TAKER);
	assert_null(ship_next(rows, CYCLES, &rest, OTHER_SITE, SITE, 1180));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_that_is_kept),
		cmocka_unit_test(test_not_what_is_confirmed),
		cmocka_unit_test(test_not_what_is_none),
		cmocka_unit_test(test_of_a_taker_that_is_gone),
		cmocka_unit_test(test_of_a_stand_in_that_is_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
