#include "tests/lib/test.h"

#include <pthread.h>
#include <string.h>

#include "base/random.h"
#include "base/text.h"
#include "crypto/hash.h"

static void expect_hex(const uint8_t *got, size_t len, const char *want)
{
	char text[HEX_LEN(HASH_BYTES_MAX) + 1];

	hex_encode(bytes_of(got, len), text);
	assert_string_equal(text, want);
}

/* FIPS 180-4 examples. */
static void test_sha256(void **state)
{
	uint8_t hash[HASH_BYTES];

	(void)state;
	hash_sha256(bytes_str("abc"), hash);
	expect_hex(hash, HASH_BYTES,
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	hash_sha256(bytes_of(NULL, 0), hash);
	expect_hex(hash, HASH_BYTES,
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* RFC 4231, test case 2; RFC 5869, test case 1. */
static void test_hmac_and_hkdf(void **state)
{
	const struct bytes parts[] = {bytes_str("what do ya want "), bytes_str("for nothing?")};
	static const uint8_t salt[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
	static const uint8_t info_raw[] = {
		0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9};
	const struct bytes info[] = {bytes_of(info_raw, 4), bytes_of(info_raw + 4, 6)};
	uint8_t ikm[22], mac[HMAC_BYTES], okm[42];

	(void)state;
	hash_hmac(bytes_str("Jefe"), parts, 2, mac);
	expect_hex(mac, HMAC_BYTES,
		"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(ikm, 0x0b, sizeof ikm);
	hkdf(bytes_of(salt, sizeof salt), bytes_of(ikm, sizeof ikm), info, 2, okm, sizeof okm);
	expect_hex(okm, sizeof okm,
		"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
		"34007208d5b887185865");
	hash_hmac(bytes_of(NULL, 0), parts, 0, mac); /* Empty key, empty message. */
	expect_hex(mac, HMAC_BYTES,
		"b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void test_stream_equals_whole(void **state)
{
	struct random_seeded seeded;
	uint8_t data[5000], whole[HASH_BYTES], got[HASH_BYTES];
	struct hash hash;

	(void)state;
	random_seeded_init(&seeded, 1);
	random_fill(&seeded.random, data, sizeof data);
	hash_sha256(bytes_of(data, sizeof data), whole);
	hash_init(&hash);
	for (int round = 0; round < 20; round++) {
		size_t at = 0;

		while (at < sizeof data) {
			size_t step = 1 + random_below(&seeded.random, sizeof data - at);

			hash_update(&hash, bytes_of(data + at, step));
			at += step;
		}
		hash_final(&hash, got);
		assert_memory_equal(got, whole, HASH_BYTES);
	}
	hash_release(&hash);
}

static void *hash_thread(void *arg)
{
	uint8_t hash[HASH_BYTES], want[HASH_BYTES];

	hash_sha256(bytes_of(arg, 8), want);
	for (int i = 0; i < 5000; i++) {
		hash_sha256(bytes_of(arg, 8), hash);
		if (memcmp(hash, want, HASH_BYTES) != 0) {
			return NULL;
		}
	}
	return arg;
}

static void test_threads(void **state)
{
	static uint64_t numbers[4] = {1, 2, 3, 4};
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, hash_thread, &numbers[i]), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		void *result = NULL;

		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_ptr_equal(result, &numbers[i]);
	}
}

/* FIPS 180-4, "abc"; RFC 2202, test cases 1 and 2; RFC 4648, section 10. */
static void test_sha1(void **state)
{
	const struct bytes parts[] = {bytes_str("a"), bytes_str("bc")};
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	uint8_t hash[HASH_SHA1_BYTES], key[20];
	char hex[HEX_LEN(HASH_SHA1_BYTES) + 1];

	(void)state;
	hash_sha1_parts(parts, 2, hash);
	hex_encode(bytes_of(hash, sizeof hash), hex);
	assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
	memset(key, 0x0b, sizeof key);
	hash_hmac_sha1(bytes_of(key, sizeof key), bytes_str("Hi There"), hash);
	hex_encode(bytes_of(hash, sizeof hash), hex);
	assert_string_equal(hex, "b617318655057264e28bc0b6fb378c8ef146be00");
	hash_hmac_sha1(bytes_str("Jefe"), bytes_str("what do ya want for nothing?"), hash);
	hex_encode(bytes_of(hash, sizeof hash), hex);
	assert_string_equal(hex, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
	base64_plain_append(&text, bytes_str("fooba"));
	base64_plain_append(&text, bytes_str("foob"));
	base64_plain_append(&text, bytes_str("foobar"));
	base64_plain_append(&text, bytes_of("\xff\xef\xbe", 3));
	assert_string_equal(buf_str(&text), "Zm9vYmE=Zm9vYg==Zm9vYmFy/+++");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sha1),
		cmocka_unit_test(test_sha256),
		cmocka_unit_test(test_hmac_and_hkdf),
		cmocka_unit_test(test_stream_equals_whole),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
