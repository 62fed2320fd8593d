/* Who is turned away at once, since it would wait in vain. */
#include "tests/lib/test.h"

#include "base/limits.h"
#include "raft/admission.h"

enum { LONG_MS = PROPOSALS_WAITED_MS_MIN + 1, NOW_MS = 1000000 };

/* n done, evenly, in the window that ends at to_ms. */
static void done(struct admission *a, unsigned n, uint64_t to_ms)
{
	for (unsigned i = 0; i < n; i++) {
		admission_done(a, to_ms - PROPOSALS_RATE_MS + (uint64_t)PROPOSALS_RATE_MS * i / n);
	}
}

static void test_by_expected_wait(void **state)
{
	struct admission a = {0};

	(void)state;
	done(&a, 100, NOW_MS);
	/* 50 a second were done: 100 before it are two seconds, and that is the limit. */
	assert_int_equal(PROPOSALS_WAITING_MS_MAX, 2000);
	assert_false(admission_is_behind(&a, 100, LONG_MS, NOW_MS));
	assert_true(admission_is_behind(&a, 101, LONG_MS, NOW_MS));
	assert_false(admission_is_behind(&a, 0, LONG_MS, NOW_MS));
}

/* A burst into an idle node: the line is long, but nobody in it has waited yet. */
static void test_not_before_the_oldest_has_waited(void **state)
{
	struct admission a = {0};

	(void)state;
	done(&a, 100, NOW_MS);
	assert_false(admission_is_behind(&a, 4000, 0, NOW_MS));
	assert_false(admission_is_behind(&a, 4000, PROPOSALS_WAITED_MS_MIN, NOW_MS));
	assert_true(admission_is_behind(&a, 4000, LONG_MS, NOW_MS));
}

/* Nothing moves: there is no leader, and there will be one. What waits then is served. */
static void test_not_while_nothing_moves(void **state)
{
	struct admission a = {0};

	(void)state;
	assert_false(admission_is_behind(&a, 4000, 60000, NOW_MS / 2)); /* Just started. */
	done(&a, 100, NOW_MS);
	assert_true(admission_is_behind(&a, 4000, LONG_MS, NOW_MS));
	/* In the second window without anything done there is no rate. */
	assert_true(admission_is_behind(&a, 4000, LONG_MS, NOW_MS + PROPOSALS_RATE_MS - 1));
	assert_false(admission_is_behind(&a, 4000, LONG_MS, NOW_MS + PROPOSALS_RATE_MS));
	assert_false(admission_is_behind(&a, 4000, 60000, NOW_MS + 10 * PROPOSALS_RATE_MS));
	/* After a long silence the first that are done are no rate yet. */
	done(&a, 1, NOW_MS + 20 * PROPOSALS_RATE_MS);
	assert_false(admission_is_behind(
		&a, 4000, LONG_MS, NOW_MS + 20 * PROPOSALS_RATE_MS - PROPOSALS_RATE_MS / 2));
}

/* It follows a machine that grows slower and faster, within two windows. */
static void test_follows_the_rate(void **state)
{
	struct admission a = {0};
	uint64_t at_ms = NOW_MS;

	(void)state;
	done(&a, 1000, at_ms);
	assert_false(admission_is_behind(&a, 1000, LONG_MS, at_ms));
	done(&a, 10, at_ms += PROPOSALS_RATE_MS);
	done(&a, 10, at_ms += PROPOSALS_RATE_MS);
	assert_true(admission_is_behind(&a, 20, LONG_MS, at_ms));
	assert_false(admission_is_behind(&a, 10, LONG_MS, at_ms));
	done(&a, 1000, at_ms += PROPOSALS_RATE_MS);
	done(&a, 1000, at_ms += PROPOSALS_RATE_MS);
	assert_false(admission_is_behind(&a, 1000, LONG_MS, at_ms));
}

/* One large entry a second: three that wait are three seconds. */
static void test_slow_and_large(void **state)
{
	struct admission a = {0};

	(void)state;
	done(&a, 2, NOW_MS);
	assert_false(admission_is_behind(&a, 2, LONG_MS, NOW_MS));
	assert_true(admission_is_behind(&a, 3, LONG_MS, NOW_MS));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_expected_wait),
		cmocka_unit_test(test_not_before_the_oldest_has_waited),
		cmocka_unit_test(test_not_while_nothing_moves),
		cmocka_unit_test(test_follows_the_rate),
		cmocka_unit_test(test_slow_and_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
