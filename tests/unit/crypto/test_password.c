/* Passwords: what the known answers do not show of preparation, KDF block, calibration and the
 * filter of common ones. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/bloom.h"
#include "crypto/common_passwords.h"
#include "crypto/password.h"

static int prepare(const char *typed, struct secret *ret)
{
	return password_prepare(bytes_str(typed), ret, NULL);
}

static void expect_prepared(const char *typed, const char *want)
{
	_cleanup_(secret_release) struct secret prepared = SECRET_INIT;

	assert_int_equal(prepare(typed, &prepared), 0);
	assert_true(bytes_equal(secret_bytes(&prepared), bytes_str(want)));
}

static void test_prepare(void **state)
{
	(void)state;
	/* All seventeen of category Zs, in order of their code points. */
	expect_prepared("\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
			"\u200a\u202f\u205f\u3000 ",
		"                 ");
	/* Hangul and a mark that composes with what stands two marks before it. */
	expect_prepared("\u1112\u1161\u11ab\u1100\u1173\u11af abcdef", "\ud55c\uae00 abcdef");
	expect_prepared("a\u0323\u0302 twelve bytes", "\u1ead twelve bytes");
	/* Compatibility characters, format characters and unassigned ones stay. */
	expect_prepared("\ufb01 \u2460 \u200d \u0378 twelve", "\ufb01 \u2460 \u200d \u0378 twelve");
	/* A composition exclusion. */
	expect_prepared("\u0958 twelve bytes", "\u0915\u093c twelve bytes");
}

static void test_prepare_refuses(void **state)
{
	static const char *const refused[] = {"line\nfeed in it", "\xc2\x80 twelve bytes",
		"\xc2\x9f twelve bytes", "\xed\xa0\x80 surrogate", "\xff twelve bytes",
		"twelve bytes\xc3", "\xc0\xa0 overlong twelve", "\xf4\x90\x80\x80 beyond 10ffff",
		"a\u0301nine char" /* 12 bytes; 11 composed. */};
	_cleanup_(secret_release) struct secret prepared = SECRET_INIT;
	char *long_one = x_malloc(PASSWORD_TYPED_BYTES_MAX + 2);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		assert_int_equal(prepare(refused[i], &prepared), KLUIS_EINVAL);
		assert_int_equal(prepared.len, 0);
	}
	assert_int_equal(prepare("nothing like \u00a0\u00c2\u00a0 it", &prepared), 0);
	memset(long_one, 'x', PASSWORD_TYPED_BYTES_MAX + 1);
	long_one[PASSWORD_TYPED_BYTES_MAX + 1] = '\0';
	assert_int_equal(prepare(long_one, &prepared), KLUIS_EINVAL);
	/* 1,025 bytes as typed, 1,024 when composed. */
	memset(long_one, 'x', 1026);
	memcpy(long_one, "a\u0301\u00e9", 5);
	long_one[1025] = '\0';
	assert_int_equal(prepare(long_one, &prepared), 0);
	assert_int_equal(prepared.len, 1024);
	free(long_one);
}

/* What is wrong with the password is said without it. */
static void test_prepare_says_nothing(void **state)
{
	_cleanup_(secret_release) struct secret prepared = SECRET_INIT;
	struct err e = {0};

	(void)state;
	assert_int_equal(password_prepare(bytes_str("planted"), &prepared, &e), KLUIS_EINVAL);
	assert_null(strstr(e.text, "planted"));
	assert_int_equal(password_check(bytes_str("Password1234"), &e), KLUIS_EINVAL);
	assert_null(strstr(e.text, "assword1"));
}

static void test_derive_refuses(void **state)
{
	static const uint8_t key[ACCOUNT_KEY_BYTES + 1];
	struct kdf kdf = {.login_count = 1, .keyring_count = 2};
	struct bytes password = bytes_str("twelve bytes"), user = bytes_str("alice");
	_cleanup_(password_keys_release) struct password_keys keys;

	(void)state;
	password_keys_init(&keys);
	for (unsigned flags = 0; flags <= KDF_ACCOUNT_KEY; flags++) {
		kdf.flags = flags;
		for (size_t len = 0; len <= sizeof key; len++) {
			bool right = len == (flags != 0 ? ACCOUNT_KEY_BYTES : 0);

			assert_int_equal(password_derive(password, user, &kdf, bytes_of(key, len),
						 &keys, NULL),
				right ? 0 : KLUIS_EINVAL);
		}
	}
	kdf.flags = 0;
	assert_int_equal(
		password_derive(password, bytes_str("Alice"), &kdf, bytes_of(NULL, 0), &keys, NULL),
		KLUIS_EINVAL);
}

static void test_kdf_round(void **state)
{
	static const uint32_t rows[][2] = {{0, 600000}, {599999, 600000}, {799999, 600000},
		{800000, 800000}, {999999, 800000}, {1000000, 1000000}, {1499999, 1000000},
		{1500000, 1500000}, {2500000, 2000000}, {4999999, 3000000}, {5000000, 5000000},
		{7999999, 5000000}, {8000000, 8000000}, {UINT32_MAX, 8000000}};
	uint8_t block[KDF_BYTES];
	struct kdf kdf;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t count = kdf_round(rows[i][0]);

		assert_int_equal(count, rows[i][1]);
		kdf = (struct kdf){.login_count = count, .keyring_count = 2 * count};
		kdf_encode(&kdf, block);
		assert_int_equal(kdf_decode(bytes_of(block, sizeof block), &kdf, NULL), 0);
	}
	assert_int_equal(kdf_round(UINT64_MAX), 8000000);
}

/* A clock that says each probe took so long: the count follows from it alone. */
struct slow_clock {
	struct clock clock;
	uint64_t *now, step;
};

static uint64_t slow_now(const struct clock *clock)
{
	const struct slow_clock *slow = (const void *)clock;

	return *slow->now += slow->step;
}

static void test_calibrate(void **state)
{
	uint64_t now = 0;
	struct slow_clock slow = {{slow_now, slow_now}, &now, 1000};

	(void)state;
	/* 10,000 rounds a second: the floor, however long that takes. */
	assert_int_equal(kdf_calibrate(&slow.clock, KDF_TARGET_MS), KDF_LOGIN_MIN);
	/* 10 ms for 10,000 rounds: 1,000 a millisecond, so 3 seconds of them are 1 + 2 million. */
	slow.step = 10;
	assert_int_equal(kdf_calibrate(&slow.clock, 3000), 1000000);
	assert_int_equal(kdf_calibrate(&slow.clock, 1000), KDF_LOGIN_MIN);
	assert_int_equal(kdf_calibrate(&slow.clock, 1000000), 8000000);
}

static void test_kdf_errors(void **state)
{
	struct kdf kdf = {.login_count = 700000, .keyring_count = 1400000}, got;
	uint8_t block[KDF_BYTES];

	(void)state;
	kdf_encode(&kdf, block);
	assert_int_equal(kdf_decode(bytes_of(block, KDF_BYTES), &got, NULL), 0);
	assert_int_equal(kdf_check_pin(&got, 700000, 1400000, NULL), 0);
	assert_int_equal(kdf_check_pin(&got, 700001, 1400000, NULL), KLUIS_EPIN);
	assert_int_equal(kdf_check_pin(&got, 700000, 1400001, NULL), KLUIS_EPIN);
	block[0] = 2;
	assert_int_equal(kdf_decode(bytes_of(block, KDF_BYTES), &got, NULL), KLUIS_EVERSION);
	block[0] = 1;
	block[1] = 2;
	assert_int_equal(kdf_decode(bytes_of(block, KDF_BYTES), &got, NULL), KLUIS_ESUITE);
	block[1] = 1;
	/* Counts whose double or sum does not fit in 32 bits. */
	store_u32(block + 4, 0x80000000);
	store_u32(block + 8, 0);
	assert_int_equal(kdf_decode(bytes_of(block, KDF_BYTES), &got, NULL), KLUIS_EINVAL);
	store_u32(block + 4, 700000);
	store_u32(block + 8, UINT32_MAX);
	assert_int_equal(kdf_decode(bytes_of(block, KDF_BYTES), &got, NULL), KLUIS_EINVAL);
	store_u32(block + 8, KDF_SUM_MAX - 700000);
	assert_int_equal(kdf_decode(bytes_of(block, KDF_BYTES), &got, NULL), 0);
}

/* --- filter ---------------------------------------------------------------------------------- */

/* The file in the tree is the one that crypto/data/make-common-passwords made of the list. */
static void test_common_file(void **state)
{
	static const uint8_t sha256[HASH_BYTES] = {0x30, 0xc2, 0x0e, 0x21, 0xdc, 0x97, 0x61, 0xa1,
		0x58, 0xca, 0x9e, 0x9f, 0x41, 0xdd, 0x73, 0xa4, 0x9a, 0xe8, 0x5d, 0x36, 0xbe, 0x5c,
		0x0f, 0x40, 0xe1, 0xfb, 0xd5, 0x9e, 0x79, 0xb4, 0xbc, 0x74};
	uint8_t hash[HASH_BYTES];

	(void)state;
	assert_int_equal(common_passwords().len, BLOOM_BYTES);
	hash_sha256(common_passwords(), hash);
	assert_memory_equal(hash, sha256, sizeof hash);
	assert_int_equal(bloom_common()->words, 10000);
}

static void test_common_words(void **state)
{
	static const char *const common[] = {"123456", "password", "qwerty", "trustno1",
		"Password1234", "iloveyou!!!!!!", "p@$$w0rd-2026", "12345678901234567890password"};
	static const char *const fine[] = {"correct horse battery staple", "xk3!9zz-qqqqqq-w",
		"123456 and password", "een twee drie vier"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(common); i++) {
		assert_int_equal(password_check(bytes_str(common[i]), NULL), KLUIS_EINVAL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fine); i++) {
		assert_int_equal(password_check(bytes_str(fine[i]), NULL), 0);
	}
}

/* One in 8,192 of what is not in it at k = 13 and half the bits set; fewer bits are set here. */
static void test_false_positives(void **state)
{
	unsigned hits = 0;
	char word[32];

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		(void)snprintf(word, sizeof word, "not a word %u", i);
		hits += bloom_has(bloom_common(), bytes_str(word));
	}
	assert_true(hits <= 10);
}

static void test_bloom_parse(void **state)
{
	struct bytes good = common_passwords();
	uint8_t *file = x_memdup(good.data, good.len);
	struct bloom bloom;

	(void)state;
	assert_int_equal(bloom_parse(bytes_of(file, good.len), &bloom, NULL), 0);
	for (size_t len = 0; len < BLOOM_HEADER_BYTES + 2; len++) {
		assert_int_equal(bloom_parse(bytes_of(file, len), &bloom, NULL), KLUIS_EINVAL);
	}
	assert_int_equal(bloom_parse(bytes_of(file, good.len - 1), &bloom, NULL), KLUIS_EINVAL);
	for (size_t at = 0; at < 12; at++) {
		file[at] ^= 1;
		assert_int_equal(bloom_parse(bytes_of(file, good.len), &bloom, NULL),
			at == 4 ? KLUIS_EVERSION : KLUIS_EINVAL);
		file[at] ^= 1;
	}
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prepare),
		cmocka_unit_test(test_prepare_refuses),
		cmocka_unit_test(test_prepare_says_nothing),
		cmocka_unit_test(test_derive_refuses),
		cmocka_unit_test(test_kdf_round),
		cmocka_unit_test(test_calibrate),
		cmocka_unit_test(test_kdf_errors),
		cmocka_unit_test(test_common_file),
		cmocka_unit_test(test_common_words),
		cmocka_unit_test(test_false_positives),
		cmocka_unit_test(test_bloom_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
