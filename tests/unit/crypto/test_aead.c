#include "tests/lib/test.h"

#include <string.h>

#include "base/random.h"
#include "base/text.h"
#include "crypto/aead.h"
#include "crypto/hpke.h"
#include "crypto/seal.h"

static const uint8_t nonce[AEAD_NONCE_BYTES] = {1, 2, 3};

static struct aead *aead_of(size_t key_bytes)
{
	static const uint8_t key[32] = {42};

	return aead_new(bytes_of(key, key_bytes));
}

/* The first two AES-256 test cases of the GCM specification (McGrew and Viega): 13 and 14. */
static void test_known(void **state)
{
	static const uint8_t zero[32];
	_cleanup_(aead_freep) struct aead *aead = aead_new(bytes_of(zero, 32));
	uint8_t sealed[32];
	char text[65];

	(void)state;
	aead_seal(aead, zero, bytes_of(NULL, 0), bytes_of(NULL, 0), sealed);
	hex_encode(bytes_of(sealed, 16), text);
	assert_string_equal(text, "530f8afbc74536b9a963b4f1c4cb738b");
	aead_seal(aead, zero, bytes_of(NULL, 0), bytes_of(zero, 16), sealed);
	hex_encode(bytes_of(sealed, 32), text);
	assert_string_equal(
		text, "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
}

static void test_round_trip_in_place(void **state)
{
	static const size_t keys[] = {16, 32};
	struct random_seeded seeded;
	uint8_t plain[3000], work[3000 + AEAD_TAG_BYTES];

	(void)state;
	random_seeded_init(&seeded, 7);
	for (size_t k = 0; k < 2; k++) {
		_cleanup_(aead_freep) struct aead *aead = aead_of(keys[k]);

		for (int i = 0; i < 50; i++) {
			size_t len = random_below(&seeded.random, sizeof plain + 1);

			random_fill(&seeded.random, plain, len);
			memcpy(work, plain, len);
			aead_seal(aead, nonce, bytes_str("aad"), bytes_of(work, len), work);
			assert_int_equal(aead_open(aead, nonce, bytes_str("aad"),
						 bytes_of(work, len + AEAD_TAG_BYTES), work),
				0);
			assert_memory_equal(work, plain, len);
		}
	}
}

static void test_refused(void **state)
{
	_cleanup_(aead_freep) struct aead *aead = aead_of(32);
	uint8_t sealed[5 + AEAD_TAG_BYTES], plain[sizeof sealed], other[AEAD_NONCE_BYTES] = {9};

	(void)state;
	aead_seal(aead, nonce, bytes_str("aad"), bytes_str("hello"), sealed);
	for (size_t i = 0; i < sizeof sealed; i++) {
		sealed[i] ^= 1;
		memset(plain, 0xff, sizeof plain);
		assert_int_equal(aead_open(aead, nonce, bytes_str("aad"),
					 bytes_of(sealed, sizeof sealed), plain),
			KLUIS_EVERIFY);
		assert_memory_equal(plain, "\0\0\0\0\0", 5);
		sealed[i] ^= 1;
		assert_int_equal(
			aead_open(aead, nonce, bytes_str("aad"), bytes_of(sealed, i), plain),
			KLUIS_EVERIFY);
	}
	assert_int_equal(
		aead_open(aead, other, bytes_str("aad"), bytes_of(sealed, sizeof sealed), plain),
		KLUIS_EVERIFY);
	assert_int_equal(
		aead_open(aead, nonce, bytes_str("add"), bytes_of(sealed, sizeof sealed), plain),
		KLUIS_EVERIFY);
	/* A refusal does not spoil the schedule for the next. */
	assert_int_equal(
		aead_open(aead, nonce, bytes_str("aad"), bytes_of(sealed, sizeof sealed), plain),
		0);
}

static void test_seal(void **state)
{
	static const uint8_t key[SEAL_KEY_BYTES] = {5}, other_key[SEAL_KEY_BYTES] = {6};
	struct bytes k = bytes_of(key, sizeof key), ctx = bytes_str("ctx");
	struct random_seeded seeded;

	(void)state;
	random_seeded_init(&seeded, 8);
	for (int i = 0; i < 50; i++) {
		_cleanup_(buf_release) struct buf sealed = BUF_INIT;
		_cleanup_(secret_release) struct secret plain = SECRET_INIT;
		uint8_t text[300];
		size_t len = random_below(&seeded.random, sizeof text);
		struct bytes whole;

		random_fill(&seeded.random, text, len);
		seal_make(k, ctx, bytes_of(text, len), &seeded.random, &sealed);
		whole = buf_bytes(&sealed);
		assert_int_equal(whole.len, len + SEAL_OVERHEAD_BYTES);
		assert_int_equal(
			seal_open(k, bytes_str("cty"), whole, &plain, NULL), KLUIS_EVERIFY);
		assert_int_equal(seal_open(bytes_of(other_key, 32), ctx, whole, &plain, NULL),
			KLUIS_EVERIFY);
		assert_null(plain.data);
		assert_int_equal(seal_open(k, ctx, whole, &plain, NULL), 0);
		assert_true(bytes_equal(secret_bytes(&plain), bytes_of(text, len)));
	}
}

static void test_hpke_round_trips(void **state)
{
	static const unsigned kems[] = {KEY_KEM_P256, KEY_KEM_P384, KEY_KEM_X25519};

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		_cleanup_(key_freep) struct key *key = NULL;
		_cleanup_(buf_release) struct buf enc = BUF_INIT, ct = BUF_INIT;
		_cleanup_(secret_release) struct secret plain = SECRET_INIT;
		struct bytes info = bytes_str("info"), aad = bytes_str("aad");
		unsigned aead = 1 + i % 2;

		assert_int_equal(hpke_generate_key(kems[i / 2], &random_system, &key, NULL), 0);
		assert_int_equal(hpke_seal(key_public(key), aead, info, aad, bytes_str("secret"),
					 &random_system, &enc, &ct, NULL),
			0);
		assert_int_equal(hpke_open(key, aead, buf_bytes(&enc), info, aad, buf_bytes(&ct),
					 &plain, NULL),
			0);
		assert_true(bytes_equal(secret_bytes(&plain), bytes_str("secret")));
		assert_int_equal(hpke_open(key, aead, buf_bytes(&enc), aad, aad, buf_bytes(&ct),
					 &plain, NULL),
			KLUIS_EVERIFY);
		assert_int_equal(hpke_open(key, aead, buf_bytes(&enc), info, info, buf_bytes(&ct),
					 &plain, NULL),
			KLUIS_EVERIFY);
		assert_int_equal(hpke_open(key, 3 - aead, buf_bytes(&enc), info, aad,
					 buf_bytes(&ct), &plain, NULL),
			KLUIS_EVERIFY);
		for (size_t n = 0; n < enc.len; n++) {
			assert_int_equal(hpke_open(key, aead, bytes_of(enc.data, n), info, aad,
						 buf_bytes(&ct), &plain, NULL),
				KLUIS_EVERIFY);
			enc.data[n] ^= 4;
			assert_int_equal(hpke_open(key, aead, buf_bytes(&enc), info, aad,
						 buf_bytes(&ct), &plain, NULL),
				KLUIS_EVERIFY);
			enc.data[n] ^= 4;
		}
	}
}

static void test_hpke_suites(void **state)
{
	_cleanup_(key_freep) struct key *sign = NULL, *kem = NULL;
	_cleanup_(buf_release) struct buf enc = BUF_INIT, ct = BUF_INIT;
	struct bytes none = bytes_of(NULL, 0);

	(void)state;
	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &sign, NULL), 0);
	assert_int_equal(key_generate(KEY_KEM_P256, 0, &kem, NULL), 0);
	assert_int_equal(
		hpke_seal(key_public(sign), 2, none, none, none, &random_system, &enc, &ct, NULL),
		KLUIS_ESUITE);
	assert_int_equal(
		hpke_seal(key_public(kem), 3, none, none, none, &random_system, &enc, &ct, NULL),
		KLUIS_ESUITE);
	assert_int_equal(enc.len + ct.len, 0);
	assert_int_equal(hpke_derive_key(KEY_KEM_RSA, bytes_str("ikm"), &sign, NULL), KLUIS_ESUITE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_round_trip_in_place),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_seal),
		cmocka_unit_test(test_hpke_round_trips),
		cmocka_unit_test(test_hpke_suites),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
