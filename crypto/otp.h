/* One-time codes: HOTP (RFC 4226) and TOTP (RFC 6238) with SHA-1, SHA-256 or SHA-512 and 6 or 8
 * digits. Which steps and counters were used is the caller's to remember: each function says what
 * to remember next. Pure: any thread. */
#ifndef KLUIS_CRYPTO_OTP_H
#define KLUIS_CRYPTO_OTP_H

#include <stdbool.h>

#include "base/err.h"
#include "crypto/secret.h"

enum otp_hash { OTP_SHA1 = 1, OTP_SHA256 = 2, OTP_SHA512 = 3 };
enum {
	OTP_SECRET_BYTES_MIN = 16, /* RFC 4226, R6: 128 bits. */
	OTP_SECRET_BYTES = 20,	   /* R6 recommends 160 bits. */
	OTP_SECRET_BYTES_MAX = 64,
	OTP_DIGITS_MAX = 8,
	OTP_PERIOD_S = 30,
	OTP_WINDOW = 1,	     /* TOTP: steps before and after now. */
	OTP_LOOK_AHEAD = 10, /* HOTP: counters ahead of the next one. */
	OTP_URI_BYTES_MAX = 1024,
};

struct otp {
	enum otp_hash hash;
	unsigned digits; /* 6 or 8. */
};

/* Whether hash and digits are ones of ours: for values that a client or a row sent. */
bool otp_valid(const struct otp *otp);
/* "sha1", "sha256", "sha512"; and back, false for any other. */
const char *otp_hash_name(enum otp_hash hash);
bool otp_hash_parse(struct bytes name, enum otp_hash *ret_hash);

/* The code of a counter as digits and NUL. otp valid, secret not empty (both asserted). RFC 4226
 * section 5.3. */
void otp_code(const struct otp *otp, struct bytes secret, uint64_t counter,
	char ret_code[OTP_DIGITS_MAX + 1]);
/* The step of a time: unix seconds / OTP_PERIOD_S. */
uint64_t otp_step(uint64_t unix_ms);

/* 0 and the step that `code` belongs to, when that is within OTP_WINDOW of now and after `last`
 * (the last one accepted; 0: none): the caller makes it the new `last` by compare-and-set before
 * it lets anybody in. KLUIS_EVERIFY otherwise. All codes of the window are compared, in constant
 * time. */
KLUIS_MUST_CHECK int otp_totp_check(const struct otp *otp, struct bytes secret, uint64_t now_ms,
	uint64_t last, struct bytes code, uint64_t *ret_step, struct err *e);
/* 0 and the counter that `code` belongs to, when that is one of `next` .. next + OTP_LOOK_AHEAD;
 * the caller makes the one after it the new `next` by compare-and-set. KLUIS_EVERIFY otherwise. */
KLUIS_MUST_CHECK int otp_hotp_check(const struct otp *otp, struct bytes secret, uint64_t next,
	struct bytes code, uint64_t *ret_counter, struct err *e);

/* "otpauth://totp/ISSUER:USER?secret=..&issuer=..&algorithm=..&digits=..&period=30" (or hotp, with
 * counter=..): what authenticator apps read as a QR code. Appends; ret holds the secret: release it
 * with secret_buf_release(). */
void otp_uri(const struct otp *otp, bool totp, struct bytes secret, const char *issuer,
	const char *user, uint64_t counter, struct buf *ret_uri);
/* Whether a line that somebody else made is of that kind: for totp or hotp, at most
 * OTP_URI_BYTES_MAX long, of the characters alone that otp_uri() makes. */
bool otp_uri_plain(const char *uri);

#endif
