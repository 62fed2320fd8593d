#include "tests/lib/test.h"

#include <string.h>

#include "base/random.h"
#include "crypto/merkle.h"

enum { LEAVES_MAX = 700 };

/* RFC 9162 section 2.1.1, word for word: split at the largest power of two below n. */
static void naive_root(const uint8_t *leaves, size_t n, uint8_t ret[HASH_BYTES])
{
	uint8_t node[1 + 2 * HASH_BYTES] = {0x01};
	size_t k = 1;

	if (n == 0) {
		hash_sha256(bytes_of(NULL, 0), ret);
		return;
	}
	if (n == 1) {
		memcpy(ret, leaves, HASH_BYTES);
		return;
	}
	while (2 * k < n) {
		k *= 2;
	}
	naive_root(leaves, k, node + 1);
	naive_root(leaves + k * HASH_BYTES, n - k, node + 1 + HASH_BYTES);
	hash_sha256(bytes_of(node, sizeof node), ret);
}

static void expect_root(struct merkle *tree, const uint8_t *leaves, size_t n)
{
	uint8_t got[HASH_BYTES], want[HASH_BYTES];

	naive_root(leaves, n, want);
	merkle_root(tree, got);
	assert_memory_equal(got, want, HASH_BYTES);
	assert_int_equal(merkle_count(tree), n);
}

static void random_leaves(struct random *random, uint8_t *leaves)
{
	random_fill(random, leaves, (size_t)LEAVES_MAX * HASH_BYTES);
}

static void test_append_one_by_one(void **state)
{
	_cleanup_(merkle_freep) struct merkle *tree = merkle_new();
	uint8_t *leaves = x_malloc((size_t)LEAVES_MAX * HASH_BYTES);
	struct random_seeded seeded;

	(void)state;
	random_seeded_init(&seeded, 4);
	random_leaves(&seeded.random, leaves);
	for (size_t n = 0; n < LEAVES_MAX; n++) {
		expect_root(tree, leaves, n);
		merkle_set(tree, n, leaves + n * HASH_BYTES);
	}
	free(leaves);
}

static void test_load(void **state)
{
	_cleanup_(merkle_freep) struct merkle *tree = merkle_new();
	uint8_t *leaves = x_malloc((size_t)LEAVES_MAX * HASH_BYTES);
	struct random_seeded seeded;

	(void)state;
	random_seeded_init(&seeded, 5);
	random_leaves(&seeded.random, leaves);
	for (size_t n = LEAVES_MAX; n-- > 0;) { /* Downwards: old levels must go. */
		merkle_load(tree, bytes_of(leaves, n * HASH_BYTES));
		expect_root(tree, leaves, n);
	}
	free(leaves);
}

/* One of the changes a client makes, to tree and to the plain table; returns the new count. */
static size_t change(struct random *random, struct merkle *tree, uint8_t *leaves, size_t n)
{
	uint64_t what = random_below(random, 10);
	size_t at = n == 0 ? 0 : random_below(random, n);

	if (what == 0 && n > 0) {
		merkle_truncate(tree, at);
		return at;
	}
	if (what < 5 && n < LEAVES_MAX) {
		at = n;
	}
	if (at == n && n == LEAVES_MAX) {
		return n;
	}
	random_fill(random, leaves + at * HASH_BYTES, HASH_BYTES);
	merkle_set(tree, at, leaves + at * HASH_BYTES);
	return at == n ? n + 1 : n;
}

static void test_random_changes(void **state)
{
	_cleanup_(merkle_freep) struct merkle *tree = merkle_new();
	uint8_t *leaves = x_malloc((size_t)LEAVES_MAX * HASH_BYTES);
	struct random_seeded seeded;
	size_t n = 300;

	(void)state;
	random_seeded_init(&seeded, 6);
	random_leaves(&seeded.random, leaves);
	merkle_load(tree, bytes_of(leaves, n * HASH_BYTES));
	for (int i = 0; i < 3000; i++) {
		n = change(&seeded.random, tree, leaves, n);
		/* Not after each: several changes may wait for one root. */
		if (random_below(&seeded.random, 3) == 0) {
			expect_root(tree, leaves, n);
		}
	}
	expect_root(tree, leaves, n);
	free(leaves);
}

static void test_large(void **state)
{
	enum { MANY = 70000 }; /* Five kept levels. */
	_cleanup_(merkle_freep) struct merkle *tree = merkle_new();
	uint8_t *leaves = x_calloc(MANY, HASH_BYTES);

	(void)state;
	merkle_load(tree, bytes_of(leaves, (size_t)MANY * HASH_BYTES));
	expect_root(tree, leaves, MANY);
	leaves[12345 * HASH_BYTES] = 1;
	merkle_set(tree, 12345, leaves + 12345 * HASH_BYTES);
	expect_root(tree, leaves, MANY);
	assert_memory_equal(merkle_leaf(tree, 12345), leaves + 12345 * HASH_BYTES, HASH_BYTES);
	free(leaves);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_one_by_one),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_random_changes),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
