/* Keys and signatures beyond the known answers: every encoding there and back, and what is refused.
 */
#include "tests/lib/test.h"

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/text.h"
#include "crypto/sign.h"

static const unsigned key_algs[] = {
	KEY_RSA_PSS, KEY_ECDSA_P256, KEY_KEM_P256, KEY_KEM_P384, KEY_KEM_X25519, KEY_ED25519};

static struct key *generate(unsigned alg)
{
	struct key *key = NULL;

	assert_int_equal(key_generate(alg, 2048, &key, NULL), 0);
	return key;
}

static void test_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(key_algs); i++) {
		_cleanup_(key_freep) struct key *key = generate(key_algs[i]), *again = NULL;
		_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
		_cleanup_(secret_release) struct secret encoded = SECRET_INIT, twice = SECRET_INIT;
		uint8_t kid[KID_BYTES];

		key_encode(key, &encoded);
		assert_int_equal(key_decode(key_algs[i], secret_bytes(&encoded), &again, NULL), 0);
		assert_true(key_pub_equal(key_public(key), key_public(again)));
		key_encode(again, &twice);
		assert_true(secret_equal(secret_bytes(&encoded), secret_bytes(&twice)));
		assert_int_equal(
			key_pub_decode(key_algs[i], key_pub_bytes(key_public(key)), &pub, NULL), 0);
		key_kid(key_algs[i], key_pub_bytes(pub), kid);
		assert_memory_equal(kid, key_pub_kid(pub), KID_BYTES);
	}
}

static void test_wrong_lengths_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(key_algs); i++) {
		_cleanup_(key_freep) struct key *key = generate(key_algs[i]);
		_cleanup_(secret_release) struct secret encoded = SECRET_INIT;
		struct bytes pub = key_pub_bytes(key_public(key));
		struct key *none = NULL;
		struct key_pub *no_pub = NULL;

		key_encode(key, &encoded);
		for (size_t n = 0; n < pub.len; n++) {
			assert_int_equal(
				key_pub_decode(key_algs[i], bytes_of(pub.data, n), &no_pub, NULL),
				KLUIS_EINVAL);
		}
		for (size_t n = 0; n < encoded.len; n++) {
			assert_int_equal(
				key_decode(key_algs[i], bytes_of(encoded.data, n), &none, NULL),
				KLUIS_EINVAL);
		}
		assert_null(none);
		assert_null(no_pub);
	}
}

static void test_scalars_out_of_range(void **state)
{
	static const char *const bad[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"};
	uint8_t scalar[32];
	struct key *key = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(hex_decode(bad[i], scalar, sizeof scalar), 0);
		assert_int_equal(
			key_decode(KEY_ECDSA_P256, bytes_of(scalar, 32), &key, NULL), KLUIS_EINVAL);
		assert_null(key);
	}
	assert_int_equal(hex_decode(bad[1], scalar, sizeof scalar), 0);
	scalar[31]--; /* n - 1 is the largest. */
	assert_int_equal(key_decode(KEY_ECDSA_P256, bytes_of(scalar, 32), &key, NULL), 0);
	key_free(key);
}

static void test_unknown_algs(void **state)
{
	static const unsigned bad[] = {0, 3, 4, 0x0012, 0x0021, 0x8000, 0x10001};
	struct key_pub *pub = NULL;
	struct key *key = NULL;
	uint8_t raw[32] = {9};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(
			key_pub_decode(bad[i], bytes_of(raw, 32), &pub, NULL), KLUIS_ESUITE);
		assert_int_equal(key_decode(bad[i], bytes_of(raw, 32), &key, NULL), KLUIS_ESUITE);
		assert_int_equal(key_generate(bad[i], 0, &key, NULL), KLUIS_ESUITE);
	}
}

/* An RSA key of any size and exponent, as SubjectPublicKeyInfo. */
static void rsa_spki(size_t bits, unsigned long exponent, const char *type, struct buf *b)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	BIGNUM *e = BN_new();
	EVP_PKEY *pkey = NULL;
	uint8_t *der = NULL;
	int len;

	assert_int_equal(BN_set_word(e, exponent), 1);
	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int)bits), 1);
	assert_int_equal(EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e), 1);
	assert_int_equal(EVP_PKEY_generate(ctx, &pkey), 1);
	len = i2d_PUBKEY(pkey, &der);
	assert_true(len > 0);
	buf_append(b, der, (size_t)len);
	OPENSSL_free(der);
	EVP_PKEY_free(pkey);
	BN_free(e);
	EVP_PKEY_CTX_free(ctx);
}

static void test_rsa_forms_refused(void **state)
{
	static const struct {
		size_t bits;
		unsigned long exponent;
		const char *type;
	} bad[] = {{1024, 65537, "RSA"}, {2048, 3, "RSA"}, {2048, 65537, "RSA-PSS"}};
	struct key_pub *pub = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(buf_release) struct buf spki = BUF_INIT;

		rsa_spki(bad[i].bits, bad[i].exponent, bad[i].type, &spki);
		assert_int_equal(
			key_pub_decode(KEY_RSA_PSS, buf_bytes(&spki), &pub, NULL), KLUIS_EINVAL);
		assert_null(pub);
	}
}

static void test_sign_verify(void **state)
{
	static const unsigned algs[] = {KEY_RSA_PSS, KEY_ECDSA_P256, KEY_ED25519};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(algs); i++) {
		_cleanup_(key_freep) struct key *key = generate(algs[i]),
						*other = generate(algs[i]);
		_cleanup_(buf_release) struct buf sig = BUF_INIT;

		assert_int_equal(sign_make(key, bytes_str("message"), &sig, NULL), 0);
		assert_int_equal(
			sign_verify(key_public(key), bytes_str("message"), buf_bytes(&sig), NULL),
			0);
		assert_int_equal(
			sign_verify(key_public(key), bytes_str("massage"), buf_bytes(&sig), NULL),
			KLUIS_EVERIFY);
		assert_int_equal(
			sign_verify(key_public(other), bytes_str("message"), buf_bytes(&sig), NULL),
			KLUIS_EVERIFY);
		for (size_t n = 0; n < sig.len; n++) {
			assert_int_equal(sign_verify(key_public(key), bytes_str("message"),
						 bytes_of(sig.data, n), NULL),
				KLUIS_EVERIFY);
			sig.data[n] ^= 0x10;
			assert_int_equal(sign_verify(key_public(key), bytes_str("message"),
						 buf_bytes(&sig), NULL),
				KLUIS_EVERIFY);
			sig.data[n] ^= 0x10;
		}
	}
}

static void test_transfer_keys_do_not_verify(void **state)
{
	_cleanup_(key_freep) struct key *key = generate(KEY_KEM_P256);
	uint8_t sig[SIGN_ECDSA_BYTES] = {1};

	(void)state;
	assert_int_equal(
		sign_verify(key_public(key), bytes_str("m"), bytes_of(sig, sizeof sig), NULL),
		KLUIS_ESUITE);
}

/* RFC 8032 section 7.1, test 2. */
static void test_ed25519_known(void **state)
{
	uint8_t private[32], want[64];
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(buf_release) struct buf sig = BUF_INIT;
	char pub[65];

	(void)state;
	assert_int_equal(
		hex_decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
			private, 32),
		0);
	assert_int_equal(
		hex_decode("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
			   "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
			want, 64),
		0);
	assert_int_equal(key_decode(KEY_ED25519, bytes_of(private, 32), &key, NULL), 0);
	hex_encode(key_pub_bytes(key_public(key)), pub);
	assert_string_equal(
		pub, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
	assert_int_equal(sign_make(key, bytes_of("\x72", 1), &sig, NULL), 0);
	assert_true(bytes_equal(buf_bytes(&sig), bytes_of(want, 64)));
}

/* n - s verifies as well as s: neither is refused, so nothing may hang on the signature's bytes. */
static void test_ecdsa_both_s(void **state)
{
	_cleanup_(key_freep) struct key *key = generate(KEY_ECDSA_P256);
	_cleanup_(buf_release) struct buf sig = BUF_INIT;
	BIGNUM *n = NULL, *s = BN_new();

	(void)state;
	assert_true(
		BN_hex2bn(&n, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551") >
		0);
	assert_int_equal(sign_make(key, bytes_str("m"), &sig, NULL), 0);
	assert_non_null(BN_bin2bn(sig.data + 32, 32, s));
	assert_int_equal(BN_sub(s, n, s), 1);
	assert_int_equal(BN_bn2binpad(s, sig.data + 32, 32), 32);
	assert_int_equal(sign_verify(key_public(key), bytes_str("m"), buf_bytes(&sig), NULL), 0);
	/* s + n names the same s, but is out of range. */
	memset(sig.data + 32, 0xff, 32);
	assert_int_equal(
		sign_verify(key_public(key), bytes_str("m"), buf_bytes(&sig), NULL), KLUIS_EVERIFY);
	BN_free(n);
	BN_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_wrong_lengths_refused),
		cmocka_unit_test(test_scalars_out_of_range),
		cmocka_unit_test(test_unknown_algs),
		cmocka_unit_test(test_rsa_forms_refused),
		cmocka_unit_test(test_sign_verify),
		cmocka_unit_test(test_transfer_keys_do_not_verify),
		cmocka_unit_test(test_ed25519_known),
		cmocka_unit_test(test_ecdsa_both_s),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
