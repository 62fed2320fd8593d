#include "crypto/otp.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "crypto/evp.h"

static const char *const otp_names[] = {NULL, "sha1", "sha256", "sha512"};

bool otp_valid(const struct otp *otp)
{
	return otp->hash >= OTP_SHA1 && otp->hash <= OTP_SHA512 &&
	       (otp->digits == 6 || otp->digits == 8);
}

const char *otp_hash_name(enum otp_hash hash)
{
	assert(hash >= OTP_SHA1 && hash <= OTP_SHA512);
	return otp_names[hash];
}

bool otp_hash_parse(struct bytes name, enum otp_hash *ret_hash)
{
	for (enum otp_hash hash = OTP_SHA1; hash <= OTP_SHA512; hash++) {
		if (bytes_equal(name, bytes_str(otp_names[hash]))) {
			*ret_hash = hash;
			return true;
		}
	}
	return false;
}

static const EVP_MD *otp_digest(enum otp_hash hash)
{
	return hash == OTP_SHA1 ? EVP_sha1() : hash == OTP_SHA256 ? EVP_sha256() : EVP_sha512();
}

/* RFC 4226 section 5.3: dynamic truncation to 31 bits, then so many decimal digits. */
void otp_code(const struct otp *otp, struct bytes secret, uint64_t counter,
	char ret_code[OTP_DIGITS_MAX + 1])
{
	uint8_t message[8], mac[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	uint32_t number;

	assert(otp_valid(otp) && secret.len > 0 && secret.len <= OTP_SECRET_BYTES_MAX);
	store_u64(message, counter);
	evp_must(HMAC(otp_digest(otp->hash), secret.data, (int)secret.len, message, sizeof message,
			 mac, &len) != NULL);
	assert(len >= 20 && (mac[len - 1] & 0xfU) + 4 <= len);
	number = load_u32(mac + (mac[len - 1] & 0xf)) & 0x7fffffff;
	for (unsigned i = otp->digits; i > 0; i--) {
		ret_code[i - 1] = (char)('0' + number % 10);
		number /= 10;
	}
	ret_code[otp->digits] = '\0';
	secret_clear(mac, sizeof mac);
}

uint64_t otp_step(uint64_t unix_ms)
{
	return unix_ms / 1000 / OTP_PERIOD_S;
}

static bool otp_matches(
	const struct otp *otp, struct bytes secret, uint64_t counter, struct bytes code)
{
	char want[OTP_DIGITS_MAX + 1];
	bool equal;

	otp_code(otp, secret, counter, want);
	equal = secret_equal(bytes_of(want, otp->digits), code);
	secret_clear(want, sizeof want);
	return equal;
}

int otp_totp_check(const struct otp *otp, struct bytes secret, uint64_t now_ms, uint64_t last,
	struct bytes code, uint64_t *ret_step, struct err *e)
{
	uint64_t now = otp_step(now_ms), found = 0;
	bool any = false;

	for (uint64_t i = 0; i <= 2 * (uint64_t)OTP_WINDOW; i++) {
		uint64_t step = now + i - OTP_WINDOW; /* Before 1970 no step counts: see below. */
		bool equal = otp_matches(otp, secret, step, code);

		/* The later of two steps with one code: the code must not count again. */
		if (equal && now + i >= OTP_WINDOW && step > last) {
			any = true;
			found = step;
		}
	}
	if (!any) {
		return err_set(e, KLUIS_EVERIFY, "the code is wrong, out of its time or used");
	}
	*ret_step = found;
	return 0;
}

int otp_hotp_check(const struct otp *otp, struct bytes secret, uint64_t next, struct bytes code,
	uint64_t *ret_counter, struct err *e)
{
	uint64_t found = 0;
	bool any = false;

	for (uint64_t i = 0; i <= OTP_LOOK_AHEAD; i++) {
		bool equal = otp_matches(otp, secret, next + i, code);

		/* The first: taking a later one would leave the token's counter behind. */
		if (equal && !any && next <= UINT64_MAX - i) {
			any = true;
			found = next + i;
		}
	}
	if (!any) {
		return err_set(e, KLUIS_EVERIFY, "the code is wrong or used");
	}
	*ret_counter = found;
	return 0;
}

/* RFC 3986 section 2.1: everything but the unreserved characters. */
static void otp_escape(struct buf *uri, const char *text)
{
	for (; *text != '\0'; text++) {
		uint8_t c = (uint8_t)*text;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			strchr("-._~", c) != NULL) {
			buf_put_u8(uri, c);
		} else {
			buf_printf(uri, "%%%02X", (unsigned)c);
		}
	}
}

void otp_uri(const struct otp *otp, bool totp, struct bytes secret, const char *issuer,
	const char *user, uint64_t counter, struct buf *ret_uri)
{
	static const char *const names[] = {NULL, "SHA1", "SHA256", "SHA512"};

	assert(otp_valid(otp) && secret.len > 0);
	/* Room for all of it: a buffer that moves would leave the secret behind. */
	buf_reserve(ret_uri, 128 + 6 * strlen(issuer) + 3 * strlen(user) + 2 * secret.len);
	buf_put_str(ret_uri, totp ? "otpauth://totp/" : "otpauth://hotp/");
	otp_escape(ret_uri, issuer);
	buf_put_u8(ret_uri, ':');
	otp_escape(ret_uri, user);
	buf_put_str(ret_uri, "?secret=");
	base32_append(ret_uri, secret);
	buf_put_str(ret_uri, "&issuer=");
	otp_escape(ret_uri, issuer);
	buf_printf(ret_uri, "&algorithm=%s&digits=%u", names[otp->hash], otp->digits);
	if (totp) {
		buf_printf(ret_uri, "&period=%d", OTP_PERIOD_S);
	} else {
		buf_printf(ret_uri, "&counter=%llu", (unsigned long long)counter);
	}
}

bool otp_uri_plain(const char *uri)
{
	size_t len = strnlen(uri, OTP_URI_BYTES_MAX + 1);

	return len <= OTP_URI_BYTES_MAX &&
	       (strncmp(uri, "otpauth://totp/", 15) == 0 ||
		       strncmp(uri, "otpauth://hotp/", 15) == 0) &&
	       strspn(uri, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
			   "-._~%:/?=&") == len;
}
