#include "tests/lib/test.h"

#include "base/mem.h"
#include "base/random.h"
#include "cli/load/latency.h"

static struct latency latency;

static int clear(void **state)
{
	(void)state;
	latency = (struct latency){0};
	return 0;
}

static void test_empty(void **state)
{
	(void)state;
	assert_int_equal(latency_at(&latency, 500), 0);
	assert_int_equal(latency_at(&latency, 1000), 0);
	assert_int_equal(latency_mean(&latency), 0);
}

/* Below 2^LATENCY_SUB_BITS every value has a counter of its own: percentiles are exact. */
static void test_small_values_are_exact(void **state)
{
	static const struct {
		unsigned permille;
		uint64_t ns;
	} rows[] = {
		{0, 1}, {10, 1}, {11, 2}, {500, 50}, {501, 51}, {990, 99}, {991, 100}, {1000, 100}};

	(void)state;
	for (uint64_t ns = 100; ns >= 1; ns--) {
		latency_add(&latency, ns);
	}
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(latency_at(&latency, rows[i].permille), rows[i].ns);
	}
	assert_int_equal(latency_mean(&latency), 50);
}

/* One value alone is every percentile, and never reported as more than it was. */
static void test_one_value_of_any_size(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		for (int off = -1; off <= 1; off++) {
			uint64_t ns = ((uint64_t)1 << bit) + (uint64_t)off;

			(void)clear(NULL);
			latency_add(&latency, ns);
			assert_int_equal(latency_at(&latency, 500), ns);
			assert_int_equal(latency_at(&latency, 1000), ns);
		}
	}
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Against sorting: never below the true one, above it by at most 1/128. */
static void test_random_values(void **state)
{
	enum { VALUES = 20000 };
	uint64_t *values = x_calloc(VALUES, sizeof *values);
	struct random_seeded random;

	(void)state;
	random_seeded_init(&random, 7);
	for (unsigned i = 0; i < VALUES; i++) {
		unsigned bits = (unsigned)random_below(&random.random, 40);

		values[i] = random_below(&random.random, (uint64_t)2 << bits);
		latency_add(&latency, values[i]);
	}
	qsort(values, VALUES, sizeof *values, compare_u64);
	for (unsigned permille = 1; permille <= 1000; permille++) {
		uint64_t want = values[VALUES / 1000 * permille - 1];
		uint64_t got = latency_at(&latency, permille);

		assert_true(got >= want);
		assert_true(got <= want + want / 128);
	}
	free(values);
}

static void test_longest_are_not_lost(void **state)
{
	(void)state;
	latency_add(&latency, 5);
	latency_add(&latency, UINT64_MAX);
	assert_int_equal(latency_at(&latency, 500), 5);
	assert_int_equal(latency_at(&latency, 501), UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_empty, clear),
		cmocka_unit_test_setup(test_small_values_are_exact, clear),
		cmocka_unit_test_setup(test_one_value_of_any_size, clear),
		cmocka_unit_test_setup(test_random_values, clear),
		cmocka_unit_test_setup(test_longest_are_not_lost, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
