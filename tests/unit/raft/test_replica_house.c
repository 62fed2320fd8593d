/* What a replica does by the clock, as far as it is arithmetic. */
#include "tests/lib/test.h"

#include "raft/replica_impl.h"

static uint64_t staggered(uint64_t node_id, uint64_t limit)
{
	struct replica *r = x_calloc(1, sizeof *r);
	uint64_t at;

	r->node_id = node_id;
	at = replica_staggered(r, limit);
	free(r);
	return at;
}

/* Six sites, also after some were replaced: each flushes at another
 * entry, none beyond the limit, and none far more often than the others. */
static void test_nobody_flushes_with_another(void **state)
{
	const uint64_t limits[] = {LOG_FLUSH_BYTES, LOG_FLUSH_ENTRIES, 192 << 20, 8 << 20};
	const uint64_t sites[][6] = {{1, 2, 3, 4, 5, 6}, {1, 2, 7, 4, 5, 6}, {7, 8, 9, 10, 11, 12}};

	(void)state;
	for (size_t l = 0; l < ARRAY_SIZE(limits); l++) {
		for (size_t s = 0; s < ARRAY_SIZE(sites); s++) {
			for (size_t i = 0; i < 6; i++) {
				uint64_t at = staggered(sites[s][i], limits[l]);

				assert_true(at <= limits[l] && at > limits[l] / 2);
				for (size_t k = 0; k < i; k++) {
					uint64_t other = staggered(sites[s][k], limits[l]);

					assert_true((at > other ? at - other : other - at) >=
						    limits[l] / 24 - 1);
				}
			}
		}
	}
	assert_int_equal(staggered(5, 0), 0); /* The store's own default stays that. */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_flushes_with_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
