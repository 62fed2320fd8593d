/* What may be forgotten: pure rules, and a long run of cycles. */
#include "tests/lib/test.h"

#include <string.h>

#include "backup/retention.h"
#include "base/limits.h"

enum { CYCLE_MS = 4 * 3600 * 1000, ROWS = 200 };

/* n cycles, the newest received at n * CYCLE_MS. */
static size_t cycles(struct retention_snapshot rows[ROWS], size_t n)
{
	memset(rows, 0, ROWS * sizeof *rows);
	for (size_t i = 0; i < n; i++) {
		rows[i].index = 1000 * (i + 1);
		rows[i].cycle = (uint32_t)i + 1;
		rows[i].received_ms = (i + 1) * (uint64_t)CYCLE_MS;
		rows[i].full = i == 0;
	}
	return n;
}

static size_t pruned(struct retention_snapshot *rows, size_t n, uint64_t now_ms)
{
	size_t count = 0;

	retention_plan(rows, n, now_ms, &retention_default);
	for (size_t i = 0; i < n; i++) {
		count += rows[i].prune;
	}
	return count;
}

static void test_by_age_and_count(void **state)
{
	struct retention_snapshot rows[ROWS];

	(void)state;
	for (size_t n = 1; n < 150; n++) {
		uint64_t now = n * (uint64_t)CYCLE_MS + 1;
		size_t count = pruned(rows, cycles(rows, n), now);

		/* 84 cycles are 14 days: older ones go, and the 83 newest never. */
		assert_int_equal(count, n > 84 ? n - 84 - 1 + 1 : 0);
		for (size_t i = 0; i < n; i++) {
			assert_true(!rows[i].prune || i < n - 83);
		}
	}
}

/* Cycles that were overtaken before they were confirmed are here twice: each counts once, and who
 * was overtaken goes by age unless others are built on it. */
static void test_twice_is_once(void **state)
{
	struct retention_snapshot rows[ROWS];
	size_t n = cycles(rows, 120);
	uint64_t now = rows[n - 1].received_ms + 14ULL * DAY_MS;

	(void)state;
	for (size_t i = 0; i < 60; i++) { /* The newest 60 again, a little later in the log. */
		rows[n + i] = rows[n - 1 - i];
		rows[n + i].index += 10;
		rows[n + i].received_ms = now - i;
		rows[n - 1 - i].base = i > 0;
	}
	assert_int_equal(pruned(rows, n + 60, now + 1), 120 - 83 + 1);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(rows[i].prune, i < 120 - 83 || i == n - 1);
	}
}

/* Days without a new one: whatever is there stays, however old. */
static void test_nothing_when_stale(void **state)
{
	struct retention_snapshot rows[ROWS];
	size_t n = cycles(rows, 150);
	uint64_t newest = n * (uint64_t)CYCLE_MS;

	(void)state;
	assert_true(pruned(rows, n, newest + BACKUP_FRESH_MS) > 0);
	assert_int_equal(pruned(rows, n, newest + BACKUP_FRESH_MS + 1), 0);
	assert_int_equal(pruned(rows, n, newest + 365ULL * DAY_MS), 0);
	assert_int_equal(pruned(rows, n, newest - 1), 0); /* Our clock went back. */
}

/* Two intervals, and never less than eight hours. */
static void test_fresh(void **state)
{
	(void)state;
	assert_int_equal(retention_fresh_ms(0), BACKUP_FRESH_MS);
	assert_int_equal(retention_fresh_ms(BACKUP_FRESH_MS / 2), BACKUP_FRESH_MS);
	assert_int_equal(retention_fresh_ms(BACKUP_FRESH_MS / 2 + 1), BACKUP_FRESH_MS + 2);
	assert_int_equal(retention_fresh_ms(SCHEDULE_INTERVAL_S_MAX * 1000ULL), 14ULL * DAY_MS);
	assert_int_equal(retention_rules_of(1, DAY_MS).fresh_ms, 2ULL * DAY_MS);
}

/* What a node signed by itself, however new it claims to be, makes nothing old, and does not stand
 * in for the snapshots that somebody keeps away. */
static void test_strays_count_for_nothing(void **state)
{
	struct retention_snapshot rows[ROWS];
	size_t n = cycles(rows, 100);
	uint64_t newest = rows[n - 1].received_ms, now;

	(void)state;
	for (size_t i = 0; i < 90; i++) {
		rows[n + i] = (struct retention_snapshot){.index = UINT64_MAX - i,
			.cycle = UINT32_MAX - (uint32_t)i,
			.received_ms = newest + 1,
			.stray = true};
	}
	now = newest + 15ULL * DAY_MS;
	for (size_t i = 0; i < 90; i++) {
		rows[n + i].received_ms = now - 1;
	}
	assert_int_equal(pruned(rows, n + 90, now), 0);
	for (size_t i = 0; i < 90; i++) {
		rows[n + i].received_ms = newest + 1;
	}
	assert_int_equal(pruned(rows, n + 90, newest + 2), 100 - 84);
	for (size_t i = 0; i < n; i++) {
		assert_true(rows[i].prune == (i < 100 - 84));
	}
}

/* A year passes between two cycles: age says all, the count says no. */
static void test_count_holds_after_a_pause(void **state)
{
	struct retention_snapshot rows[ROWS];
	size_t n = cycles(rows, 60);

	(void)state;
	rows[59].received_ms += 365ULL * DAY_MS;
	assert_int_equal(pruned(rows, n, rows[59].received_ms + 1), 0);
}

static void test_pins_hold_their_point(void **state)
{
	struct retention_snapshot rows[ROWS];
	size_t n = cycles(rows, 190);
	uint64_t now = n * (uint64_t)CYCLE_MS + 1;

	(void)state;
	rows[79].pinned = true; /* Cycle 80 needs 39 .. 80. */
	(void)pruned(rows, n, now);
	for (size_t i = 0; i < n; i++) {
		bool needed = i + 1 >= 39 && i + 1 <= 80;

		assert_int_equal(rows[i].prune, !needed && i < n - 84);
	}
}

static void test_rules_of_settings(void **state)
{
	const uint64_t day_ms = 24 * 3600 * 1000;
	struct retention_rules rules = retention_rules_of(3 * day_ms, day_ms);

	(void)state;
	assert_true(rules.kept_ms == 3 * day_ms && rules.cycles_kept == BACKUP_CYCLES_KEPT);
	assert_true(rules.fresh_ms == 2 * day_ms);
	rules = retention_rules_of(day_ms, 60 * 1000);
	assert_true(rules.fresh_ms == retention_default.fresh_ms);
}

/* A point that may be pinned is one of which everything is there still. */
static void test_points_that_stay(void **state)
{
	struct retention_snapshot rows[ROWS];
	size_t n = cycles(rows, 130);
	uint64_t now = n * (uint64_t)CYCLE_MS + 1;

	(void)state;
	assert_int_equal(pruned(rows, n, now), 130 - 84);
	for (size_t i = 0; i < n; i++) { /* Cycle 88 needs 47 .. 88. */
		assert_int_equal(retention_point_stays(rows, n, i), i + 1 >= 88);
	}
	rows[87].pinned = true; /* It stays, and so does what shares its chain. */
	rows[60].stray = true;	/* Cycle 61, which is not there: 62 .. 102 need it. */
	(void)pruned(rows, n, now);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(retention_point_stays(rows, n, i), i + 1 > 102);
	}
	rows[n] = (struct retention_snapshot){.index = 1, .manual = true, .received_ms = now};
	rows[n + 1] = rows[n];
	rows[n + 1].received_ms = 1;
	(void)pruned(rows, n + 2, now);
	assert_true(retention_point_stays(rows, n + 2, n));
	assert_false(retention_point_stays(rows, n + 2, n + 1));
}

/* Manual ones count for nothing: they do not keep cycles back, nor let them go. */
static void test_manual(void **state)
{
	struct retention_snapshot rows[ROWS];
	size_t n = cycles(rows, 90);
	uint64_t now = n * (uint64_t)CYCLE_MS + 1;
	size_t before = pruned(rows, n, now);

	(void)state;
	for (size_t i = n; i < ROWS; i++) {
		rows[i] = (struct retention_snapshot){
			.index = 1500 + i, .cycle = 1, .manual = true, .received_ms = CYCLE_MS + i};
	}
	assert_int_equal(pruned(rows, ROWS, now), before + ROWS - n);
	rows[ROWS - 1].pinned = true;
	assert_int_equal(pruned(rows, ROWS, now), before - 1 + ROWS - n - 1);
	assert_false(rows[0].prune); /* The base of the pinned one. */
}

/* A snapshot that was not confirmed in time is followed by another one of the same cycle and base:
 * many snapshots in fewer cycles. What the 42 points need are cycles. */
static void test_two_of_one_cycle(void **state)
{
	struct retention_snapshot rows[ROWS];
	size_t n = cycles(rows, 120);
	uint64_t now = n * (uint64_t)CYCLE_MS + 1;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		rows[i].cycle = (uint32_t)i / 2 + 1; /* Each twice: 60 cycles in twenty days. */
		rows[i].base = true;
	}
	assert_int_equal(pruned(rows, n, now), 0);
	(void)cycles(rows, n);
	for (size_t i = 0; i < n; i++) {
		rows[i].base = true;
	}
	for (size_t i = 100; i < n; i++) {
		rows[i].cycle = (uint32_t)(100 + (i - 100) / 2 + 1);
	}
	/* 110 cycles: the oldest of 42 points is 69, which needs 28 .. 69. */
	(void)pruned(rows, n, now);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(rows[i].prune, rows[i].cycle < 28);
	}
}

/* The next cycle may be built on either of the two: both stay as long as it may be needed. */
static void test_first_of_two_is_the_base(void **state)
{
	struct retention_snapshot rows[ROWS];
	size_t n = cycles(rows, 100);

	(void)state;
	rows[10].base = rows[11].base = true;
	for (size_t i = 11; i < n; i++) {
		rows[i].cycle--; /* Rows 10 and 11 are cycle 11; the newest is 99. */
	}
	for (size_t newest = 90; newest <= n; newest++) {
		uint32_t last = rows[newest - 1].cycle;

		(void)pruned(rows, newest, newest * (uint64_t)CYCLE_MS + 1);
		for (size_t i = 0; i < newest; i++) {
			assert_true(!rows[i].prune || rows[i].cycle + 82 < last);
		}
	}
	assert_true(rows[10].prune && rows[11].prune);
}

/* The newest cycle came, but too few sites have it yet: the oldest of the 42 points before it is
 * still promised, for this one may never be. */
static void test_unconfirmed_makes_nothing_old(void **state)
{
	struct retention_snapshot rows[ROWS];
	size_t n = cycles(rows, 92);
	uint64_t now = n * (uint64_t)CYCLE_MS + DAY_MS / 4;

	(void)state;
	rows[n - 1].unconfirmed = true;
	(void)pruned(rows, n, now);
	assert_true(rows[7].prune);
	assert_false(rows[8].prune); /* Cycle 9, which 50 needs, of 50 .. 91. */
	rows[n - 1].unconfirmed = false;
	(void)pruned(rows, n, now);
	assert_true(rows[8].prune);
}

/* A new lineage's snapshots let the old one's go by our own clock, whatever their indexes say. */
static void test_lineages(void **state)
{
	struct retention_snapshot rows[ROWS];
	size_t n = cycles(rows, 180);

	(void)state;
	for (size_t i = 90; i < n; i++) {
		rows[i].lineage[0] = 1;
		rows[i].index = 5 + i;
		rows[i].cycle = (uint32_t)i - 89;
	}
	assert_int_equal(pruned(rows, n, n * (uint64_t)CYCLE_MS + 1), n - 84);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_age_and_count),
		cmocka_unit_test(test_twice_is_once),
		cmocka_unit_test(test_nothing_when_stale),
		cmocka_unit_test(test_fresh),
		cmocka_unit_test(test_strays_count_for_nothing),
		cmocka_unit_test(test_count_holds_after_a_pause),
		cmocka_unit_test(test_pins_hold_their_point),
		cmocka_unit_test(test_rules_of_settings),
		cmocka_unit_test(test_points_that_stay),
		cmocka_unit_test(test_manual),
		cmocka_unit_test(test_two_of_one_cycle),
		cmocka_unit_test(test_first_of_two_is_the_base),
		cmocka_unit_test(test_unconfirmed_makes_nothing_old),
		cmocka_unit_test(test_lineages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
