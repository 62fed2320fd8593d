/* Other people's vectors: Wycheproof (C2SP), RFC 9180 and RFC 5054. Read from KLUIS_VECTORS, or
 * from
 * ../shared/vectors beside the source tree; skipped aloud where they are not. */
#include "tests/lib/test.h"
#include "tests/lib/kat.h"

#include <assert.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/file.h"
#include "base/text.h"
#include "base/wire.h"
#include "crypto/hpke.h"
#include "crypto/kdf.h"
#include "crypto/oaep.h"
#include "crypto/sign.h"
#include "crypto/srp_math.h"

#define PUBLIC_DIR KLUIS_SOURCE_DIR "/../shared/vectors"

enum { PUBLIC_FILE_BYTES_MAX = 16 << 20, PUBLIC_SKIP = 1 };

/* The file's text, gunzipped when it is a gzip file; the test is skipped when there is none. */
static json_t *public_load(const char *name)
{
	_cleanup_(x_freep) char *path = kat_path(PUBLIC_DIR, name);
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	json_error_t error;
	json_t *file;
	gzFile gz;
	int got;

	if (access(path, R_OK) != 0) {
		print_message("SKIPPED: no '%s' here\n", path);
		free(path);
		path = NULL;
		skip();
	}
	gz = gzopen(path, "rb"); /* Plain files, too. */
	assert_non_null(gz);
	do {
		got = gzread(gz, buf_extend(&text, 65536), 65536);
		assert_true(got >= 0 && text.len <= PUBLIC_FILE_BYTES_MAX);
		text.len -= 65536 - (size_t)got;
	} while (got > 0);
	assert_int_equal(gzclose(gz), Z_OK);
	file = json_loadb((const char *)text.data, text.len, 0, &error);
	assert_non_null(file);
	return file;
}

/* One row: 0 when what we have agrees with the row's own data, KLUIS_E* when we refuse, PUBLIC_SKIP
 * when the row is about something Kluis does not have. The run's input is the row over its group.
 */
typedef int public_fn(struct kat_run *run);

static bool has_flag(const json_t *row, const char *flag)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(row, "flags"), i, one)
	{
		if (strcmp(json_string_value(one), flag) == 0) {
			return true;
		}
	}
	return false;
}

static void public_row(
	const char *name, const json_t *group, const json_t *row, public_fn *fn, unsigned counts[2])
{
	struct kat_run *run = x_calloc(1, sizeof *run);
	json_t *in = json_copy((json_t *)group);
	const char *result = json_string_value(json_object_get(row, "result"));
	bool valid = strcmp(result, "valid") == 0, free_choice = strcmp(result, "acceptable") == 0;
	int rc;

	(void)json_object_update(in, (json_t *)row);
	run->in = in;
	rc = fn(run);
	assert_null(run->malformed);
	if (rc == PUBLIC_SKIP) {
		counts[1]++;
	} else {
		counts[0]++;
		if (!free_choice && (rc == 0) != valid) {
			fail_msg("%s tcId %d is %s, but we give %d", name,
				(int)json_integer_value(json_object_get(row, "tcId")), result, rc);
		}
	}
	for (size_t i = 0; i < run->buf_count; i++) {
		buf_release(&run->bufs[i]);
	}
	json_decref(in);
	free(run);
}

static void public_file(const char *name, public_fn *fn)
{
	json_t *file = public_load(name);
	const json_t *group, *row;
	unsigned counts[2] = {0, 0}; /* Run, skipped. */
	size_t i, k;

	json_array_foreach(json_object_get(file, "testGroups"), i, group)
	{
		json_array_foreach(json_object_get(group, "tests"), k, row)
		{
			public_row(name, group, row, fn, counts);
		}
	}
	print_message("%s: %u rows as they say, %u do not apply\n", name, counts[0], counts[1]);
	assert_true(counts[0] > 0);
	json_decref(file);
}

static int agrees(struct bytes got, struct bytes want)
{
	return bytes_equal(got, want) ? 0 : KLUIS_EVERIFY;
}

static int row_hmac(struct kat_run *run)
{
	struct bytes message = kat_bytes(run, "msg");
	uint8_t tag[HMAC_BYTES];

	hash_hmac(kat_bytes(run, "key"), &message, 1, tag);
	return agrees(bytes_of(tag, kat_number(run, "tagSize") / 8), kat_bytes(run, "tag"));
}

static int row_hkdf(struct kat_run *run)
{
	size_t len = kat_number(run, "size");
	struct bytes info = kat_bytes(run, "info");
	uint8_t okm[HKDF_BYTES_MAX];

	if (len > HKDF_BYTES_MAX) {
		return KLUIS_EINVAL; /* Asserted in hkdf(): lengths are our own constants. */
	}
	hkdf(kat_bytes(run, "salt"), kat_bytes(run, "ikm"), &info, 1, okm, len);
	return agrees(bytes_of(okm, len), kat_bytes(run, "okm"));
}

static int row_pbkdf2(struct kat_run *run)
{
	uint8_t key[256];
	size_t len = kat_number(run, "dkLen");

	assert(len <= sizeof key);
	kdf_pbkdf2(kat_bytes(run, "password"), kat_bytes(run, "salt"),
		(uint32_t)kat_number(run, "iterationCount"), key, len);
	return agrees(bytes_of(key, len), kat_bytes(run, "dk"));
}

static int row_gcm(struct kat_run *run)
{
	_cleanup_(buf_release) struct buf sealed = BUF_INIT;
	_cleanup_(aead_freep) struct aead *aead = NULL;
	struct bytes message = kat_bytes(run, "msg");
	uint8_t plain[4096];
	int rc;

	if (kat_number(run, "ivSize") != 96 || kat_number(run, "keySize") == 192) {
		return PUBLIC_SKIP;
	}
	aead = aead_new(kat_bytes(run, "key"));
	buf_append_bytes(&sealed, kat_bytes(run, "ct"));
	buf_append_bytes(&sealed, kat_bytes(run, "tag"));
	assert(sealed.len <= sizeof plain);
	rc = aead_open(
		aead, kat_bytes(run, "iv").data, kat_bytes(run, "aad"), buf_bytes(&sealed), plain);
	return rc != 0 ? rc : agrees(bytes_of(plain, sealed.len - AEAD_TAG_BYTES), message);
}

/* What Decap must give for a known Diffie-Hellman value (RFC 9180 section 4.1), made here of HKDF
 * alone. */
static void expect_decap(unsigned kem, struct bytes dh, struct bytes enc, struct bytes recipient,
	uint8_t *ret, size_t len)
{
	enum hash_alg alg = kem == KEY_KEM_P384 ? HASH_SHA384 : HASH_SHA256;
	uint8_t suite[5] = "KEM", size[2], prk[HASH_BYTES_MAX];

	store_u16(suite + 3, kem);
	store_u16(size, (unsigned)len);
	hkdf_extract_alg(alg, bytes_of(NULL, 0),
		(const struct bytes[]){
			bytes_str("HPKE-v1"), bytes_of(suite, 5), bytes_str("eae_prk"), dh},
		4, prk);
	hkdf_expand_alg(alg, prk,
		(const struct bytes[]){bytes_of(size, 2), bytes_str("HPKE-v1"), bytes_of(suite, 5),
			bytes_str("shared_secret"), enc, recipient},
		6, ret, len);
}

static int row_dh(struct kat_run *run, unsigned kem, size_t bytes)
{
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(secret_release) struct secret shared = SECRET_INIT;
	struct bytes scalar = kat_bytes(run, "private"), enc = kat_bytes(run, "public");
	uint8_t padded[HASH_BYTES_MAX] = {0}, want[HASH_BYTES_MAX];
	int rc;

	while (scalar.len > bytes && scalar.data[0] == 0) {
		scalar = bytes_of(scalar.data + 1, scalar.len - 1);
	}
	assert(scalar.len <= bytes);
	memcpy(padded + bytes - scalar.len, scalar.data, scalar.len);
	assert_int_equal(key_decode(kem, bytes_of(padded, bytes), &key, NULL), 0);
	rc = hpke_decap(key, enc, &shared, NULL);
	if (rc != 0) {
		return rc;
	}
	expect_decap(
		kem, kat_bytes(run, "shared"), enc, key_pub_bytes(key_public(key)), want, bytes);
	return agrees(secret_bytes(&shared), bytes_of(want, bytes));
}

static int row_p256(struct kat_run *run)
{
	return has_flag(run->in, "CompressedPoint") ? PUBLIC_SKIP : row_dh(run, KEY_KEM_P256, 32);
}

static int row_p384(struct kat_run *run)
{
	return has_flag(run->in, "CompressedPoint") ? PUBLIC_SKIP : row_dh(run, KEY_KEM_P384, 48);
}

/* "Acceptable" are rows that Kluis has an opinion on: an all-zero result is refused. */
static int row_x25519(struct kat_run *run)
{
	static const uint8_t zero[32];
	int rc = row_dh(run, KEY_KEM_X25519, 32);

	if (bytes_equal(kat_bytes(run, "shared"), bytes_of(zero, sizeof zero))) {
		assert_int_equal(rc, KLUIS_EVERIFY);
	} else {
		assert_int_equal(rc, 0);
	}
	return rc;
}

static int row_oaep(struct kat_run *run)
{
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(secret_release) struct secret message = SECRET_INIT;
	int rc;

	assert_int_equal(key_decode(KEY_KEM_RSA, kat_bytes(run, "privateKeyPkcs8"), &key, NULL), 0);
	rc = oaep_open(key, kat_bytes(run, "label"), kat_bytes(run, "ct"), &message, NULL);
	return rc != 0 ? rc : agrees(secret_bytes(&message), kat_bytes(run, "msg"));
}

static int row_signature(struct kat_run *run, unsigned alg, struct bytes encoded)
{
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;

	assert_int_equal(key_pub_decode(alg, encoded, &pub, NULL), 0);
	return sign_verify(pub, kat_bytes(run, "msg"), kat_bytes(run, "sig"), NULL);
}

static int row_pss(struct kat_run *run)
{
	return row_signature(run, KEY_RSA_PSS, kat_bytes(run, "publicKeyDer"));
}

static int row_ecdsa(struct kat_run *run)
{
	const json_t *key = kat_value(run, "publicKey");

	return row_signature(
		run, KEY_ECDSA_P256, kat_hex(run, json_object_get(key, "uncompressed")));
}

#define PUBLIC_TEST(word, file)                              \
	static void test_##word(void **state)                \
	{                                                    \
		(void)state;                                 \
		public_file("wycheproof/" file, row_##word); \
	}
PUBLIC_TEST(hmac, "hmac_sha256_test.json")
PUBLIC_TEST(hkdf, "hkdf_sha256_test.json")
PUBLIC_TEST(pbkdf2, "pbkdf2_hmacsha256_test.json")
PUBLIC_TEST(gcm, "aes_gcm_test.json")
PUBLIC_TEST(p256, "ecdh_secp256r1_ecpoint_test.json")
PUBLIC_TEST(p384, "ecdh_secp384r1_ecpoint_test.json")
PUBLIC_TEST(x25519, "x25519_test.json")
PUBLIC_TEST(oaep, "rsa_oaep_4096_sha256_mgf1sha256_test.json")
PUBLIC_TEST(ecdsa, "ecdsa_secp256r1_sha256_p1363_test.json")

static void test_pss(void **state)
{
	(void)state;
	public_file("wycheproof/rsa_pss_2048_sha256_mgf1_32_test.json", row_pss);
	public_file("wycheproof/rsa_pss_3072_sha256_mgf1_32_test.json", row_pss);
	public_file("wycheproof/rsa_pss_4096_sha256_mgf1_32_test.json", row_pss);
}

static void expect_bytes(struct kat_run *run, const char *name, struct bytes got)
{
	if (!bytes_equal(got, kat_bytes(run, name))) {
		fail_msg("HPKE: another '%s'", name);
	}
}

static struct key *hpke_expect_key(
	struct kat_run *run, const char *ikm, const char *private, const char *public)
{
	_cleanup_(secret_release) struct secret encoded = SECRET_INIT;
	struct key *key = NULL;
	unsigned kem = (unsigned)kat_number(run, "kem_id");

	assert_int_equal(hpke_derive_key(kem, kat_bytes(run, ikm), &key, NULL), 0);
	key_encode(key, &encoded);
	expect_bytes(run, private, secret_bytes(&encoded));
	expect_bytes(run, public, key_pub_bytes(key_public(key)));
	return key;
}

/* Every message of a context: the nonce of message n is base_nonce xor n. */
static void hpke_expect_messages(
	struct kat_run *run, const struct hpke_keys *keys, const json_t *messages)
{
	_cleanup_(aead_freep) struct aead *aead = aead_new(secret_bytes(&keys->key));
	const json_t *message;
	size_t n;

	json_array_foreach(messages, n, message)
	{
		struct kat_run one = {.in = message};
		uint8_t nonce[AEAD_NONCE_BYTES], plain[256];
		struct bytes ct = kat_bytes(&one, "ct");

		memcpy(nonce, keys->base_nonce, sizeof nonce);
		nonce[10] ^= (uint8_t)(n >> 8);
		nonce[11] ^= (uint8_t)n;
		expect_bytes(&one, "nonce", bytes_of(nonce, sizeof nonce));
		assert(ct.len <= sizeof plain);
		assert_int_equal(aead_open(aead, nonce, kat_bytes(&one, "aad"), ct, plain), 0);
		expect_bytes(&one, "pt", bytes_of(plain, ct.len - AEAD_TAG_BYTES));
		for (size_t i = 0; i < one.buf_count; i++) {
			buf_release(&one.bufs[i]);
		}
	}
	(void)run;
}

/* The first message through the function that the product uses. */
static void hpke_expect_open(struct kat_run *run, const struct key *key)
{
	_cleanup_(secret_release) struct secret plain = SECRET_INIT;
	const json_t *first = json_array_get(kat_value(run, "encryptions"), 0);

	assert_int_equal(
		hpke_open(key, (unsigned)kat_number(run, "aead_id"), kat_bytes(run, "enc"),
			kat_bytes(run, "info"), kat_hex(run, json_object_get(first, "aad")),
			kat_hex(run, json_object_get(first, "ct")), &plain, NULL),
		0);
	assert_true(bytes_equal(secret_bytes(&plain), kat_hex(run, json_object_get(first, "pt"))));
}

static void hpke_expect_seal(struct kat_run *run, const struct key *key)
{
	_cleanup_(buf_release) struct buf enc = BUF_INIT, ct = BUF_INIT;
	const json_t *first = json_array_get(kat_value(run, "encryptions"), 0);
	struct kat_random source;

	kat_random_init(&source, run, kat_bytes(run, "ikmE"));
	assert_int_equal(
		hpke_seal(key_public(key), (unsigned)kat_number(run, "aead_id"),
			kat_bytes(run, "info"), kat_hex(run, json_object_get(first, "aad")),
			kat_hex(run, json_object_get(first, "pt")), &source.random, &enc, &ct,
			NULL),
		0);
	expect_bytes(run, "enc", buf_bytes(&enc));
	assert_true(bytes_equal(buf_bytes(&ct), kat_hex(run, json_object_get(first, "ct"))));
}

static void hpke_row(struct kat_run *run)
{
	_cleanup_(key_freep) struct key *rcpt = hpke_expect_key(run, "ikmR", "skRm", "pkRm");
	_cleanup_(secret_release) struct secret shared = SECRET_INIT;
	_cleanup_(hpke_keys_release) struct hpke_keys keys = {.key = SECRET_INIT};

	key_free(hpke_expect_key(run, "ikmE", "skEm", "pkEm"));
	assert_int_equal(hpke_decap(rcpt, kat_bytes(run, "enc"), &shared, NULL), 0);
	expect_bytes(run, "shared_secret", secret_bytes(&shared));
	hpke_schedule((unsigned)kat_number(run, "kem_id"), (unsigned)kat_number(run, "aead_id"),
		secret_bytes(&shared), kat_bytes(run, "info"), &keys);
	expect_bytes(run, "key", secret_bytes(&keys.key));
	expect_bytes(run, "base_nonce", bytes_of(keys.base_nonce, AEAD_NONCE_BYTES));
	expect_bytes(run, "exporter_secret", secret_bytes(&keys.exporter));
	hpke_expect_messages(run, &keys, kat_value(run, "encryptions"));
	hpke_expect_open(run, rcpt);
	hpke_expect_seal(run, rcpt);
}

static void test_hpke(void **state)
{
	json_t *file = public_load("hpke-rfc9180-base.json.gz");
	const json_t *row;
	size_t i;

	(void)state;
	assert_true(json_array_size(file) > 0);
	json_array_foreach(file, i, row)
	{
		struct kat_run *run = x_calloc(1, sizeof *run);

		run->in = row;
		hpke_row(run);
		for (size_t k = 0; k < run->buf_count; k++) {
			buf_release(&run->bufs[k]);
		}
		free(run);
	}
	print_message("RFC 9180: %zu contexts\n", json_array_size(file));
	json_decref(file);
}

/* --- RFC 5054 appendix B: 1024 bits and SHA-1, which Kluis does not take, by its arithmetic ------
 */

static void srp_expect(
	struct kat_run *run, const char *name, const struct srp_math *math, const uint8_t *number)
{
	if (!bytes_equal(bytes_of(number, srp_math_bytes(math)), kat_bytes(run, name))) {
		fail_msg("RFC 5054: another '%s'", name);
	}
}

static void srp_sha1(const struct bytes *parts, size_t count, uint8_t ret[20])
{
	_cleanup_(buf_release) struct buf all = BUF_INIT;

	for (size_t i = 0; i < count; i++) {
		buf_append_bytes(&all, parts[i]);
	}
	assert_non_null(SHA1(all.data, all.len, ret));
}

static void srp_row(struct kat_run *run)
{
	struct bytes n = kat_bytes(run, "N"), a = kat_bytes(run, "a"), b = kat_bytes(run, "b");
	struct bytes a_public = kat_bytes(run, "A"), b_public = kat_bytes(run, "B");
	struct bytes v = kat_bytes(run, "v");
	uint8_t g[128] = {0}, k[20], x[20], u[20], number[128];
	struct srp_math *math;

	assert_int_equal(n.len, sizeof g);
	g[127] = (uint8_t)kat_bytes(run, "g").data[0];
	srp_sha1((const struct bytes[]){n, bytes_of(g, sizeof g)}, 2, k);
	assert_true(bytes_equal(bytes_of(k, 20), kat_bytes(run, "k")));
	srp_sha1((const struct bytes[]){bytes_str(kat_text(run, "I")), bytes_str(":"),
			 bytes_str(kat_text(run, "P"))},
		3, x);
	srp_sha1((const struct bytes[]){kat_bytes(run, "s"), bytes_of(x, 20)}, 2, x);
	assert_true(bytes_equal(bytes_of(x, 20), kat_bytes(run, "x")));
	srp_sha1((const struct bytes[]){a_public, b_public}, 2, u);
	assert_true(bytes_equal(bytes_of(u, 20), kat_bytes(run, "u")));
	math = srp_math_new(n, g[127], bytes_of(k, 20));
	srp_math_power(math, bytes_of(x, 20), number);
	srp_expect(run, "v", math, number);
	srp_math_power(math, a, number);
	srp_expect(run, "A", math, number);
	srp_math_server_public(math, v, b, number);
	srp_expect(run, "B", math, number);
	srp_math_server_secret(math, a_public, v, bytes_of(u, 20), b, number);
	srp_expect(run, "S", math, number);
	srp_math_client_secret(math, b_public, bytes_of(x, 20), bytes_of(u, 20), a, number);
	srp_expect(run, "S", math, number);
	srp_math_free(math);
}

static void test_srp(void **state)
{
	json_t *file = public_load("srp-rfc5054.json");
	const json_t *row;
	size_t i;

	(void)state;
	assert_true(json_array_size(json_object_get(file, "testVectors")) > 0);
	json_array_foreach(json_object_get(file, "testVectors"), i, row)
	{
		struct kat_run *run = x_calloc(1, sizeof *run);

		run->in = row;
		srp_row(run);
		for (size_t k = 0; k < run->buf_count; k++) {
			buf_release(&run->bufs[k]);
		}
		free(run);
	}
	json_decref(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hmac),
		cmocka_unit_test(test_hkdf),
		cmocka_unit_test(test_pbkdf2),
		cmocka_unit_test(test_gcm),
		cmocka_unit_test(test_p256),
		cmocka_unit_test(test_p384),
		cmocka_unit_test(test_x25519),
		cmocka_unit_test(test_oaep),
		cmocka_unit_test(test_pss),
		cmocka_unit_test(test_ecdsa),
		cmocka_unit_test(test_hpke),
		cmocka_unit_test(test_srp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
