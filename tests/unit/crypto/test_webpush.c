/* What push services are sent: the examples of RFC 8188, 8291 and 8292, and tokens that others
 * verify. */
#include "tests/lib/test.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/text.h"
#include "crypto/hpke.h"
#include "crypto/jwt.h"
#include "crypto/pem.h"
#include "crypto/sign.h"
#include "crypto/webpush.h"
#include "tests/lib/webpush_open.h"

static struct buf raw(const char *text)
{
	struct buf b = BUF_INIT;

	assert_int_equal(base64_decode(bytes_str(text), 8192, &b), 0);
	return b;
}

static void expect_base64(const struct buf *b, const char *text)
{
	_cleanup_(buf_release) struct buf got = BUF_INIT;

	base64_append(&got, buf_bytes(b));
	assert_string_equal(buf_str(&got), text);
}

static struct key_pub *public_of(unsigned alg, const char *text)
{
	_cleanup_(buf_release) struct buf b = raw(text);
	struct key_pub *pub;

	assert_int_equal(key_pub_decode(alg, buf_bytes(&b), &pub, NULL), 0);
	return pub;
}

static struct key *private_of(unsigned alg, const char *text)
{
	_cleanup_(buf_release) struct buf b = raw(text);
	struct key *key;

	assert_int_equal(key_decode(alg, buf_bytes(&b), &key, NULL), 0);
	return key;
}

/* RFC 8188 section 3.1. */
static void test_record(void **state)
{
	_cleanup_(buf_release) struct buf ikm = raw("yqdlZ-tYemfogSmv7Ws5PQ");
	_cleanup_(buf_release) struct buf salt = raw("I1BsxtFttlv3u_Oo94xnmw");
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct bytes text = bytes_str("I am the walrus");

	(void)state;
	webpush_record(buf_bytes(&ikm), salt.data, bytes_of(NULL, 0), text, text.len, &body);
	expect_base64(&body, "I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-"
			     "IxkIva3MEB1PD-ly8Thjg");
}

/* RFC 8291 section 5 and appendix A. */
static void test_message(void **state)
{
	_cleanup_(key_freep) struct key *own =
		private_of(KEY_KEM_P256, "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
	_cleanup_(key_pub_freep) struct key_pub *agent = public_of(KEY_KEM_P256,
		"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNto"
		"IAiw4");
	_cleanup_(buf_release) struct buf salt = raw("DGv6ra1nlYgDCS1FRnbzlw");
	_cleanup_(buf_release) struct buf auth = raw("BTBZMqHH6r4Tts7J_aSIgg");
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct bytes text = bytes_str("When I grow up, I want to be a watermelon");

	(void)state;
	assert_int_equal(
		webpush_seal_as(own, salt.data, agent, auth.data, text, text.len, &body, NULL), 0);
	expect_base64(&body,
		"DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYL"
		"ocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyou"
		"BWLVWGNWQexSgSxsj_Qulcy4a-fN");
}

static void open_as_agent(const struct key *agent, const uint8_t *auth, const struct buf *body,
	struct bytes text, size_t padded)
{
	_cleanup_(buf_release) struct buf record = BUF_INIT;

	webpush_open(agent, auth, buf_bytes(body), &record);
	assert_int_equal(record.len, padded + 1);
	assert_memory_equal(record.data, text.data, text.len);
	assert_int_equal(record.data[text.len], 2);
	for (size_t i = text.len + 1; i < record.len; i++) {
		assert_int_equal(record.data[i], 0);
	}
}

static void test_padding_and_keys(void **state)
{
	static const uint8_t auth[WEBPUSH_AUTH_BYTES] = {1, 2, 3};
	static const size_t padded[] = {5, 6, 100, WEBPUSH_PLAINTEXT_BYTES_MAX};
	_cleanup_(key_freep) struct key *agent = NULL;
	_cleanup_(buf_release) struct buf first = BUF_INIT;

	(void)state;
	assert_int_equal(hpke_generate_key(KEY_KEM_P256, &random_system, &agent, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(padded); i++) {
		_cleanup_(buf_release) struct buf body = BUF_INIT;

		assert_int_equal(webpush_seal(key_public(agent), auth, bytes_str("hello"),
					 padded[i], &random_system, &body, NULL),
			0);
		assert_int_equal(body.len, WEBPUSH_HEADER_BYTES + padded[i] + 1 + 16);
		open_as_agent(agent, auth, &body, bytes_str("hello"), padded[i]);
		if (i == 0) {
			buf_append_bytes(&first, buf_bytes(&body));
		} else {
			/* Another key and another salt each time. */
			assert_memory_not_equal(first.data, body.data, WEBPUSH_SALT_BYTES);
			assert_memory_not_equal(
				first.data + 21, body.data + 21, WEBPUSH_PUBLIC_BYTES);
		}
	}
	{
		_cleanup_(buf_release) struct buf full = BUF_INIT;

		assert_int_equal(webpush_seal(key_public(agent), auth, bytes_of(NULL, 0),
					 WEBPUSH_PLAINTEXT_BYTES_MAX, &random_system, &full, NULL),
			0);
		assert_int_equal(full.len, WEBPUSH_BODY_BYTES_MAX);
	}
}

/* Where the second dot is: what is signed ends there. */
static size_t signed_bytes(const struct buf *token)
{
	size_t at = token->len;

	while (at > 0 && token->data[at - 1] != '.') {
		at--;
	}
	assert_true(at > 1);
	return at - 1;
}

static const char vapid_claims[] =
	"{\"aud\":\"https://"
	"push.example.net\",\"exp\":1453523768,\"sub\":\"mailto:push@example.com\"}";
static const char vapid_signed[] =
	"eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAi"
	"OjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0";

/* RFC 8292 section 2.4: its signature verifies, and the same claims give the same text. */
static void test_vapid(void **state)
{
	_cleanup_(key_pub_freep) struct key_pub *theirs = public_of(KEY_ECDSA_P256,
		"BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2Em"
		"ClBPs");
	_cleanup_(buf_release) struct buf signature = raw(
		"i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvo"
		"D1oA");
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(buf_release) struct buf token = BUF_INIT, own = BUF_INIT;
	size_t at;

	(void)state;
	assert_int_equal(
		sign_verify(theirs, bytes_str(vapid_signed), buf_bytes(&signature), NULL), 0);
	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &key, NULL), 0);
	assert_int_equal(jwt_make(key, NULL, bytes_str(vapid_claims), &token, NULL), 0);
	at = signed_bytes(&token);
	assert_true(bytes_equal(bytes_of(token.data, at), bytes_str(vapid_signed)));
	assert_int_equal(
		base64_decode(bytes_of(token.data + at + 1, token.len - at - 1), 64, &own), 0);
	assert_int_equal(
		sign_verify(key_public(key), bytes_of(token.data, at), buf_bytes(&own), NULL), 0);
}

static void test_kid(void **state)
{
	static const char header[] = "{\"typ\":\"JWT\",\"alg\":\"ES256\",\"kid\":\"ABC-12_3\"}";
	static const char *const bad[] = {"", "a b", "a\"b", "a\\", "\xc3\xa4"};
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(buf_release) struct buf token = BUF_INIT, want = BUF_INIT;

	(void)state;
	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &key, NULL), 0);
	assert_int_equal(jwt_make(key, "ABC-12_3", bytes_str("{}"), &token, NULL), 0);
	base64_append(&want, bytes_str(header));
	buf_append(&want, ".e30.", 5);
	assert_memory_equal(token.data, want.data, want.len);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		buf_clear(&token);
		assert_int_equal(
			jwt_make(key, bad[i], bytes_str("{}"), &token, NULL), KLUIS_EINVAL);
		assert_int_equal(token.len, 0);
	}
}

/* A service account's key as it comes, and OpenSSL's own word on the signature. */
static void test_rs256(void **state)
{
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(buf_release) struct buf pem = BUF_INIT, token = BUF_INIT, signature = BUF_INIT;
	EVP_PKEY *pkey = EVP_RSA_gen(2048);
	BIO *bio = BIO_new(BIO_s_mem());
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	char *text;
	size_t at;
	long len;

	(void)state;
	assert_int_equal(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL), 1);
	len = BIO_get_mem_data(bio, &text);
	buf_append(&pem, text, (size_t)len);
	assert_int_equal(
		pem_private_key(buf_bytes(&pem), KEY_ECDSA_P256, &key, NULL), KLUIS_EINVAL);
	assert_int_equal(pem_private_key(buf_bytes(&pem), KEY_RSA_PSS, &key, NULL), 0);
	assert_int_equal(jwt_make(key, "key1", bytes_str("{\"a\":1}"), &token, NULL), 0);
	at = signed_bytes(&token);
	assert_int_equal(
		base64_decode(bytes_of(token.data + at + 1, token.len - at - 1), 512, &signature),
		0);
	assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey), 1);
	assert_int_equal(EVP_DigestVerify(ctx, signature.data, signature.len, token.data, at), 1);
	signature.data[0] ^= 1;
	assert_int_not_equal(
		EVP_DigestVerify(ctx, signature.data, signature.len, token.data, at), 1);
	EVP_MD_CTX_free(ctx);
	BIO_free(bio);
	EVP_PKEY_free(pkey);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_padding_and_keys),
		cmocka_unit_test(test_vapid),
		cmocka_unit_test(test_kid),
		cmocka_unit_test(test_rs256),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
