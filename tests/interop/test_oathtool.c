/* oathtool (oath-toolkit) against our one-time codes: it makes them, we take them. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "base/text.h"
#include "crypto/otp.h"
#include "tests/lib/program.h"

enum { OATH_ROUNDS = 6 };

static struct random_seeded seeded;

/* oathtool's code for a base32 secret; `moving` is its option for the time or the counter. */
static void oathtool(const struct otp *otp, const char *mode, const char *moving,
	struct bytes secret, char ret_code[OTP_DIGITS_MAX + 1])
{
	_cleanup_(buf_release) struct buf base32 = BUF_INIT, out = BUF_INIT;
	char digits[16];
	const char *argv[] = {"oathtool", mode, "--base32", digits, moving, NULL, NULL};

	(void)snprintf(digits, sizeof digits, "--digits=%u", otp->digits);
	base32_append(&base32, secret);
	while (base32.len % 8 != 0) {
		buf_append(&base32, "=", 1); /* It wants padding. */
	}
	argv[5] = buf_str(&base32);
	if (program_run(argv, "", &out) != 0 || out.len != otp->digits + 1) {
		fail_msg("oathtool: %s", buf_str(&out));
	}
	memcpy(ret_code, out.data, otp->digits);
	ret_code[otp->digits] = '\0';
}

static void draw(uint8_t secret[OTP_SECRET_BYTES_MAX], size_t *ret_len)
{
	*ret_len = OTP_SECRET_BYTES_MIN +
		   random_below(&seeded.random, OTP_SECRET_BYTES_MAX - OTP_SECRET_BYTES_MIN + 1);
	random_fill(&seeded.random, secret, *ret_len);
}

static void need_oathtool(void)
{
	if (!program_exists("oathtool")) {
		print_message("SKIPPED: no oathtool here\n");
		skip();
	}
}

static void check_totp(enum otp_hash hash, unsigned digits)
{
	const struct otp otp = {hash, digits};
	uint64_t now_s = 1 + random_below(&seeded.random, 1ULL << 33), step = 0;
	uint8_t secret[OTP_SECRET_BYTES_MAX];
	char mode[32], moving[48], code[OTP_DIGITS_MAX + 1];
	size_t len;

	draw(secret, &len);
	(void)snprintf(mode, sizeof mode, "--totp=%s", otp_hash_name(hash));
	(void)snprintf(moving, sizeof moving, "--now=@%llu", (unsigned long long)now_s);
	oathtool(&otp, mode, moving, bytes_of(secret, len), code);
	assert_int_equal(otp_totp_check(&otp, bytes_of(secret, len), now_s * 1000, 0,
				 bytes_str(code), &step, NULL),
		0);
	assert_int_equal(step, now_s / OTP_PERIOD_S);
	assert_int_equal(otp_totp_check(&otp, bytes_of(secret, len), (now_s + 3600) * 1000, 0,
				 bytes_str(code), &step, NULL),
		KLUIS_EVERIFY);
}

static void test_totp(void **state)
{
	(void)state;
	need_oathtool();
	for (int i = 0; i < OATH_ROUNDS; i++) {
		for (enum otp_hash hash = OTP_SHA1; hash <= OTP_SHA512; hash++) {
			check_totp(hash, 6);
			check_totp(hash, 8);
		}
	}
}

static void test_hotp(void **state)
{
	(void)state;
	need_oathtool();
	for (unsigned i = 0; i < 2 * OATH_ROUNDS; i++) {
		const struct otp otp = {OTP_SHA1, i % 2 == 0 ? 6 : 8};
		uint64_t counter = random_below(&seeded.random, 1ULL << 40), got = 0;
		uint8_t secret[OTP_SECRET_BYTES_MAX];
		char moving[48], code[OTP_DIGITS_MAX + 1];
		size_t len;

		draw(secret, &len);
		(void)snprintf(
			moving, sizeof moving, "--counter=%llu", (unsigned long long)counter);
		oathtool(&otp, "--hotp", moving, bytes_of(secret, len), code);
		assert_int_equal(
			otp_hotp_check(&otp, bytes_of(secret, len), counter < 3 ? 0 : counter - 3,
				bytes_str(code), &got, NULL),
			0);
		assert_int_equal(got, counter);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_totp),
		cmocka_unit_test(test_hotp),
	};

	random_seeded_init(&seeded, 4226);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
