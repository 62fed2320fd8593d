#include "tests/lib/test.h"

#include <string.h>

#include "base/limits.h"
#include "crypto/sign.h"
#include "node/key_cache.h"

/* The very key that was asked for, each time, also when its slot went to others between. */
static void test_same_key(void **state)
{
	enum { KEYS = 40, ROUNDS = 3 };
	struct key_cache *cache = key_cache_new();
	struct bytes message = bytes_str("message");
	struct key *keys[KEYS];
	struct err e;

	(void)state;
	for (unsigned i = 0; i < KEYS; i++) {
		assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &keys[i], &e), 0);
	}
	for (unsigned i = 0; i < KEYS * ROUNDS; i++) {
		_cleanup_(buf_release) struct buf signature = BUF_INIT;
		_cleanup_(key_pub_freep) struct key_pub *pub = NULL, *again = NULL;
		const struct key *key = keys[i % KEYS];

		assert_int_equal(key_cache_get(cache, key_pub_bytes(key_public(key)), &pub, &e), 0);
		assert_int_equal(
			key_cache_get(cache, key_pub_bytes(key_public(key)), &again, &e), 0);
		assert_ptr_equal(pub, again);
		assert_true(key_pub_equal(pub, key_public(key)));
		assert_int_equal(sign_make(key, message, &signature, &e), 0);
		assert_int_equal(sign_verify(pub, message, buf_bytes(&signature), &e), 0);
	}
	for (unsigned i = 0; i < KEYS; i++) {
		key_free(keys[i]);
	}
	key_cache_free(cache);
}

/* What is no point on the curve is refused and not kept. */
static void test_malformed(void **state)
{
	struct key_cache *cache = key_cache_new();
	struct key_pub *pub = NULL;
	uint8_t point[65] = {4, 1, 2, 3};
	struct err e;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_not_equal(
			key_cache_get(cache, bytes_of(point, sizeof point), &pub, &e), 0);
		assert_null(pub);
		assert_int_not_equal(key_cache_get(cache, bytes_of(point, 0), &pub, &e), 0);
	}
	key_cache_free(cache);
	key_cache_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_key),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
