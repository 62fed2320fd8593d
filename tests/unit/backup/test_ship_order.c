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

static uint64_t next_id(const struct snapshot_row *rows, uint64_t after)
{
	const struct snapshot_row *row = ship_next(rows, CYCLES, TAKER, SITE, after);

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_that_is_kept),
		cmocka_unit_test(test_not_what_is_confirmed),
		cmocka_unit_test(test_not_what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
