#include "tests/lib/test.h"

#include <string.h>

#include "base/random.h"
#include "base/wire.h"
#include "storage/omap.h"

enum { KEYS = 64 };

/* What a map should hold: values by key number, 0: none. */
struct model {
	uint32_t value[KEYS];
};

static struct bytes key_of(unsigned i, uint8_t to[2])
{
	/* Keys of two lengths, one a prefix of another. */
	to[0] = (uint8_t)(i / 2);
	to[1] = 7;
	return bytes_of(to, 1 + i % 2);
}

static void put(struct omap *map, struct model *model, unsigned i, uint32_t value)
{
	static const uint8_t borrowed[4];
	uint8_t raw[2], number[4];

	store_u32(number, value);
	if (value % 7 == 1 && value % 2 == 1 && value % 3 != 0) {
		omap_put_borrowed(map, key_of(i, raw), bytes_of(borrowed, sizeof borrowed));
	} else {
		omap_put(map, key_of(i, raw), bytes_of(number, value % 3 == 0 ? 0 : 4),
			value % 2 == 0);
	}
	model->value[i] = value;
}

static void check(const struct omap *map, const struct model *model)
{
	const struct omap_item *item = omap_seek(map, bytes_of("", 0), false);
	uint8_t raw[2];

	for (unsigned i = 0; i < KEYS; i++) {
		const struct omap_item *got = omap_get(map, key_of(i, raw));

		if (model->value[i] == 0) {
			assert_null(got);
			continue;
		}
		assert_non_null(got);
		assert_int_equal(got->mark, model->value[i] % 2 == 0);
		assert_int_equal(omap_value(got).len, model->value[i] % 3 == 0 ? 0 : 4);
		/* Seeking walks the same keys in the same order. */
		assert_ptr_equal(item, got);
		item = omap_seek(map, omap_key(item), true);
		assert_ptr_equal(omap_seek(map, key_of(i, raw), false), got);
	}
	assert_null(item);
}

static void test_random_against_model(void **state)
{
	struct random_seeded random;
	struct omap map = {0}, copy = {0};
	struct model model = {{0}}, copied = {{0}};

	(void)state;
	random_seeded_init(&random, 1);
	for (uint32_t step = 1; step < 4000; step++) {
		unsigned i = (unsigned)random_below(&random.random, KEYS);
		uint8_t raw[2];

		if (random_below(&random.random, 3) != 0) {
			put(&map, &model, i, step);
		} else {
			assert_int_equal(omap_remove(&map, key_of(i, raw)), model.value[i] != 0);
			model.value[i] = 0;
		}
		if (step % 97 == 0) {
			check(&copy, &copied); /* Untouched by what came after it. */
			omap_release(&copy);
			copy = omap_copy(&map);
			copied = model;
		}
		if (step % 50 == 0) {
			check(&map, &model);
		}
	}
	check(&map, &model);
	omap_release(&map);
	check(&copy, &copied);
	omap_release(&copy);
	check(&copy, &(struct model){{0}});
}

/* Far more keys than an iterator remembers nodes, some of one length above 16 bytes that differ
 * only at their end. */
static void test_iterator(void **state)
{
	enum { MANY = 20000 };
	uint8_t key[24] = {0};
	struct omap map = {0};
	struct omap_iter it;
	const struct omap_item *item;

	(void)state;
	for (uint32_t i = 0; i < MANY; i++) {
		uint32_t number = (i * 7919) % MANY; /* Each once: 7919 has no factor of MANY. */

		store_u32(key + (number % 2 == 0 ? 0 : 20), number);
		key[4] = number % 2 == 0 ? 0 : 1;
		omap_put(&map, bytes_of(key, number % 2 == 0 ? 4 : 24), bytes_of(key, 4), false);
		memset(key, 0, sizeof key);
	}
	for (uint32_t from = 0; from < MANY; from += 6421) {
		const struct omap_item *sought;

		store_u32(key, from);
		omap_iter_init(&it, &map, bytes_of(key, 4));
		sought = omap_seek(&map, bytes_of(key, 4), false);
		while ((item = omap_iter_next(&it)) != NULL) {
			assert_ptr_equal(item, sought);
			sought = omap_seek(&map, omap_key(sought), true);
		}
		assert_null(sought);
		assert_null(omap_iter_next(&it));
	}
	omap_release(&map);
	omap_iter_init(&it, &map, bytes_of("", 0));
	assert_null(omap_iter_next(&it));
}

/* Zeros at the end of a key are part of it, whatever its length. */
static void test_zeros(void **state)
{
	static const uint8_t zeros[40];
	struct omap map = {0};
	struct omap_iter it;

	(void)state;
	for (size_t len = sizeof zeros; len > 0; len--) {
		omap_put(&map, bytes_of(zeros, len), bytes_of(zeros, 0), false);
	}
	omap_iter_init(&it, &map, bytes_of("", 0));
	for (size_t len = 1; len <= sizeof zeros; len++) {
		assert_int_equal(omap_key(omap_iter_next(&it)).len, len);
		assert_int_equal(omap_key(omap_get(&map, bytes_of(zeros, len))).len, len);
	}
	assert_null(omap_iter_next(&it));
	omap_release(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_against_model),
		cmocka_unit_test(test_iterator), cmocka_unit_test(test_zeros)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
