/* One-time codes: the tables of RFC 4226 and RFC 6238, windows, replay, and what no code is. */
#include "tests/lib/test.h"

#include <string.h>

#include "base/text.h"
#include "crypto/otp.h"

#define SEED "1234567890123456789012345678901234567890123456789012345678901234"

static const struct otp six = {OTP_SHA1, 6};

static struct bytes seed(size_t len)
{
	return bytes_of(SEED, len);
}

static void test_hotp_table(void **state)
{
	static const char *const codes[] = {"755224", "287082", "359152", "969429", "338314",
		"254676", "287922", "162583", "399871", "520489"};
	char code[OTP_DIGITS_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		otp_code(&six, seed(20), i, code);
		assert_string_equal(code, codes[i]);
	}
}

static void test_totp_table(void **state)
{
	static const struct {
		uint64_t unix_s;
		const char *codes[3];
	} rows[] = {
		{59, {"94287082", "46119246", "90693936"}},
		{1111111109, {"07081804", "68084774", "25091201"}},
		{1111111111, {"14050471", "67062674", "99943326"}},
		{1234567890, {"89005924", "91819424", "93441116"}},
		{2000000000, {"69279037", "90698825", "38618901"}},
		{20000000000, {"65353130", "77737706", "47863826"}},
	};
	static const size_t seeds[] = {20, 32, 64};
	char code[OTP_DIGITS_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (unsigned k = 0; k < 3; k++) {
			struct otp otp = {(enum otp_hash)(OTP_SHA1 + k), 8};

			otp_code(&otp, seed(seeds[k]), otp_step(rows[i].unix_s * 1000), code);
			assert_string_equal(code, rows[i].codes[k]);
		}
	}
}

static int totp(const char *code, uint64_t now_s, uint64_t last, uint64_t *ret_step)
{
	return otp_totp_check(&six, seed(20), now_s * 1000, last, bytes_str(code), ret_step, NULL);
}

/* Steps 3, 4 and 5 are open in the middle of step 4, and each but once. */
static void test_totp_window(void **state)
{
	char code[OTP_DIGITS_MAX + 1];
	const uint64_t now = 4 * OTP_PERIOD_S + 7;

	(void)state;
	for (uint64_t step = 0; step < 9; step++) {
		uint64_t got = 99;
		bool open = step >= 3 && step <= 5;

		otp_code(&six, seed(20), step, code);
		assert_int_equal(totp(code, now, 0, &got), open ? 0 : KLUIS_EVERIFY);
		assert_int_equal(got, open ? step : 99);
		/* Accepted once: itself and all before are worth nothing. */
		assert_int_equal(totp(code, now, step, &got), KLUIS_EVERIFY);
		assert_int_equal(totp(code, now, step + 1, &got), KLUIS_EVERIFY);
		assert_int_equal(
			totp(code, now, step - (step > 0), &got), open ? 0 : KLUIS_EVERIFY);
	}
}

/* At the beginning of time there is no step before the first. */
static void test_totp_first_step(void **state)
{
	char code[OTP_DIGITS_MAX + 1];
	uint64_t got = 99;

	(void)state;
	otp_code(&six, seed(20), UINT64_MAX, code);
	assert_int_equal(totp(code, 0, 0, &got), KLUIS_EVERIFY);
	otp_code(&six, seed(20), 1, code);
	assert_int_equal(totp(code, 0, 0, &got), 0);
	assert_int_equal(got, 1);
}

/* A clock an hour off: not one of the steps near it. */
static void test_totp_clock_off(void **state)
{
	char code[OTP_DIGITS_MAX + 1];
	uint64_t got;

	(void)state;
	otp_code(&six, seed(20), otp_step(1000000000ULL * 1000), code);
	assert_int_equal(totp(code, 1000000000, 0, &got), 0);
	assert_int_equal(totp(code, 1000000000 + 3600, 0, &got), KLUIS_EVERIFY);
	assert_int_equal(totp(code, 1000000000 - 3600, 0, &got), KLUIS_EVERIFY);
}

static void test_wrong_codes(void **state)
{
	static const char *const wrong[] = {"", "7", "75522", "7552240", "755225", "75522a",
		" 755224", "+755224", "0755224", "84755224"};
	uint64_t got;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(otp_hotp_check(&six, seed(20), 0, bytes_str(wrong[i]), &got, NULL),
			KLUIS_EVERIFY);
	}
	assert_int_equal(otp_hotp_check(&six, seed(20), 0, bytes_of("755224", 7), &got, NULL),
		KLUIS_EVERIFY);
	assert_int_equal(
		otp_hotp_check(&six, seed(19), 0, bytes_str("755224"), &got, NULL), KLUIS_EVERIFY);
}

static void test_hotp_look_ahead(void **state)
{
	char code[OTP_DIGITS_MAX + 1];

	(void)state;
	for (uint64_t counter = 0; counter < 20; counter++) {
		uint64_t got = 99;
		bool open = counter >= 4 && counter <= 4 + OTP_LOOK_AHEAD;

		otp_code(&six, seed(20), counter, code);
		assert_int_equal(otp_hotp_check(&six, seed(20), 4, bytes_str(code), &got, NULL),
			open ? 0 : KLUIS_EVERIFY);
		assert_int_equal(got, open ? counter : 99);
	}
}

/* At the end of the counter it does not begin anew. */
static void test_hotp_no_wrap(void **state)
{
	char code[OTP_DIGITS_MAX + 1];
	uint64_t got = 99;

	(void)state;
	otp_code(&six, seed(20), 0, code);
	assert_int_equal(
		otp_hotp_check(&six, seed(20), UINT64_MAX - 2, bytes_str(code), &got, NULL),
		KLUIS_EVERIFY);
	otp_code(&six, seed(20), UINT64_MAX, code);
	assert_int_equal(
		otp_hotp_check(&six, seed(20), UINT64_MAX - 2, bytes_str(code), &got, NULL), 0);
	assert_int_equal(got, UINT64_MAX);
}

static void test_names(void **state)
{
	enum otp_hash hash = OTP_SHA1;

	(void)state;
	for (enum otp_hash each = OTP_SHA1; each <= OTP_SHA512; each++) {
		assert_true(otp_hash_parse(bytes_str(otp_hash_name(each)), &hash));
		assert_int_equal(hash, each);
	}
	assert_false(otp_hash_parse(bytes_str("SHA1"), &hash));
	assert_false(otp_hash_parse(bytes_str("md5"), &hash));
	assert_false(otp_hash_parse(bytes_str(""), &hash));
	assert_true(otp_valid(&(struct otp){OTP_SHA512, 8}));
	assert_false(otp_valid(&(struct otp){OTP_SHA512, 7}));
	assert_false(otp_valid(&(struct otp){(enum otp_hash)0, 6}));
	assert_false(otp_valid(&(struct otp){(enum otp_hash)4, 6}));
}

static void test_uri(void **state)
{
	_cleanup_(secret_buf_release) struct buf uri = BUF_INIT, counted = BUF_INIT;

	(void)state;
	otp_uri(&six, true, seed(20), "Kluis", "alice+x@example.org", 0, &uri);
	assert_string_equal(buf_str(&uri),
		"otpauth://totp/"
		"Kluis:alice%2Bx%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
		"&issuer=Kluis&algorithm=SHA1&digits=6&period=30");
	otp_uri(&(struct otp){OTP_SHA256, 8}, false, seed(16), "K 1", "bob", 7, &counted);
	assert_string_equal(buf_str(&counted),
		"otpauth://hotp/K%201:bob?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY&issuer=K%201"
		"&algorithm=SHA256&digits=8&counter=7");
}

/* RFC 4648 section 10, and what is refused. */
static void test_base32(void **state)
{
	static const char *const rows[][2] = {{"", ""}, {"f", "MY"}, {"fo", "MZXQ"},
		{"foo", "MZXW6"}, {"foob", "MZXW6YQ"}, {"fooba", "MZXW6YTB"},
		{"foobar", "MZXW6YTBOI"}};
	static const char *const refused[] = {"M", "MZX", "MZXW6Y", "MZ", "MZXR", "MY======", "M1",
		"M8", "M=", "M ", "MZXW 6YTB", "M\xc3\x9f"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf text = BUF_INIT, back = BUF_INIT;

		base32_append(&text, bytes_str(rows[i][0]));
		assert_string_equal(buf_str(&text), rows[i][1]);
		assert_int_equal(base32_decode(buf_bytes(&text), 6, &back), 0);
		assert_string_equal(buf_str(&back), rows[i][0]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		_cleanup_(buf_release) struct buf back = BUF_INIT;

		assert_int_equal(base32_decode(bytes_str(refused[i]), 64, &back), KLUIS_EINVAL);
		assert_int_equal(back.len, 0);
	}
	{
		_cleanup_(buf_release) struct buf back = BUF_INIT;

		assert_int_equal(base32_decode(bytes_str("MZXW6YTBOI"), 5, &back), KLUIS_EINVAL);
		assert_int_equal(base32_decode(bytes_str("mzxw6ytboi"), 6, &back), 0);
		assert_string_equal(buf_str(&back), "foobar");
	}
}

/* What a node makes of its own accord is shown to a person: nothing but such a line is. */
static void test_uri_plain(void **state)
{
	static const char *const wrong[] = {"", "otpauth://totp", "https://totp/x?secret=A",
		"otpauth://push/x?secret=A", "otpauth://totp/x y", "otpauth://totp/x\n",
		"otpauth://totp/x\x1b]52;c;eA==\x07", "otpauth://totp/\xc3\xa9",
		"otpauth://totp/\xc2\x9b"};
	_cleanup_(buf_release) struct buf uri = BUF_INIT;
	char longest[OTP_URI_BYTES_MAX + 2];

	(void)state;
	otp_uri(&six, true, seed(20), "Kluis \"x\"\n", "user+1@example.org", 0, &uri);
	assert_true(otp_uri_plain(buf_str(&uri)));
	buf_clear(&uri);
	otp_uri(&six, false, seed(64), "K", "u", 7, &uri);
	assert_true(otp_uri_plain(buf_str(&uri)));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_false(otp_uri_plain(wrong[i]));
	}
	memset(longest, 'a', sizeof longest);
	memcpy(longest, "otpauth://totp/", 15);
	longest[OTP_URI_BYTES_MAX + 1] = 0;
	assert_false(otp_uri_plain(longest));
	longest[OTP_URI_BYTES_MAX] = 0;
	assert_true(otp_uri_plain(longest));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hotp_table),
		cmocka_unit_test(test_totp_table),
		cmocka_unit_test(test_totp_window),
		cmocka_unit_test(test_totp_first_step),
		cmocka_unit_test(test_totp_clock_off),
		cmocka_unit_test(test_wrong_codes),
		cmocka_unit_test(test_hotp_look_ahead),
		cmocka_unit_test(test_uri_plain),
		cmocka_unit_test(test_hotp_no_wrap),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_uri),
		cmocka_unit_test(test_base32),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
