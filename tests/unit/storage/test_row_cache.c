#include "tests/lib/test.h"

#include <string.h>

#include "base/limits.h"
#include "base/random.h"
#include "base/wire.h"
#include "storage/row_cache.h"

enum {
	KEYS = 3 * ROW_CACHE_SLOTS, /* So that slots change hands. */
	STEPS = 400000,
	UNKNOWN = 0,
	ABSENT = 1, /* More: there, with this number in its value. */
};

static struct bytes key_of(uint32_t i, uint8_t to[8])
{
	store_u32(to, 0x25000000U);
	store_u32(to + 4, i);
	return bytes_of(to, 8);
}

/* Values of all lengths up to just above what is kept, with their number in front. */
static struct bytes value_of(uint32_t number, uint8_t to[ROW_CACHE_VALUE_BYTES_MAX + 8])
{
	memset(to, (int)(number % 251), ROW_CACHE_VALUE_BYTES_MAX + 8);
	store_u32(to, number);
	return bytes_of(to, 4 + number % (ROW_CACHE_VALUE_BYTES_MAX + 4));
}

static void check(const struct row_cache *cache, uint32_t i, uint32_t truth, unsigned *known)
{
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	uint8_t raw[8], value[ROW_CACHE_VALUE_BYTES_MAX + 8];
	bool there;

	buf_put_u8(&got, 9); /* Appended to, never written over. */
	if (!row_cache_get(cache, key_of(i, raw), &there, &got)) {
		assert_int_equal(got.len, 1);
		return;
	}
	++*known;
	assert_int_not_equal(truth, UNKNOWN);
	assert_int_equal(there, truth != ABSENT);
	assert_int_equal(got.data[0], 9);
	if (there) {
		struct bytes want = value_of(truth, value);

		assert_true(bytes_equal(bytes_of(got.data + 1, got.len - 1), want));
		assert_true(want.len <= ROW_CACHE_VALUE_BYTES_MAX);
	} else {
		assert_int_equal(got.len, 1);
	}
}

/* Against what the store would have: never another answer, whatever was written between. */
static void test_never_stale(void **state)
{
	struct row_cache *cache = row_cache_new();
	uint32_t *truth = x_calloc(KEYS, sizeof *truth), number = ABSENT;
	struct random_seeded seeded;
	unsigned known = 0;
	uint8_t raw[8], value[ROW_CACHE_VALUE_BYTES_MAX + 8];

	(void)state;
	random_seeded_init(&seeded, 7);
	for (unsigned step = 0; step < STEPS; step++) {
		uint32_t i = (uint32_t)random_below(&seeded.random, KEYS);
		bool gone = random_below(&seeded.random, 4) == 0;
		struct bytes bytes = value_of(number + 1, value);

		if (random_below(&seeded.random, 3) > 0) { /* A write. */
			truth[i] = gone ? ABSENT : ++number;
			row_cache_change(cache, key_of(i, raw), gone ? NULL : &bytes);
		} else if (truth[i] != UNKNOWN) { /* A read that went to the store. */
			bytes = value_of(truth[i], value);
			row_cache_put(cache, key_of(i, raw), truth[i] == ABSENT ? NULL : &bytes);
		}
		check(cache, i, truth[i], &known);
		i = (uint32_t)random_below(&seeded.random, KEYS);
		check(cache, i, truth[i], &known);
	}
	assert_true(known > STEPS / 20);
	free(truth);
	row_cache_free(cache);
}

/* A row that nobody read is not taken in by a write: new rows would drive out the ones in use. */
static void test_write_alone_is_not_kept(void **state)
{
	struct row_cache *cache = row_cache_new();
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct bytes value = bytes_str("value");
	uint8_t raw[8];
	bool there;

	(void)state;
	row_cache_change(cache, key_of(1, raw), &value);
	assert_false(row_cache_get(cache, key_of(1, raw), &there, &got));
	row_cache_put(cache, key_of(1, raw), NULL);
	row_cache_change(cache, key_of(1, raw), &value);
	assert_true(row_cache_get(cache, key_of(1, raw), &there, &got));
	assert_true(there && bytes_equal(buf_bytes(&got), value));
	row_cache_free(cache);
	row_cache_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_stale),
		cmocka_unit_test(test_write_alone_is_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
