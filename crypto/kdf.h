/* The KDF block: how often a password is stretched (docs/format-crypto.md, "Password to keys").
 * Clients obey it, the node refuses one that is too cheap. */
#ifndef KLUIS_CRYPTO_KDF_H
#define KLUIS_CRYPTO_KDF_H

#include "base/clock.h"
#include "base/err.h"
#include "crypto/hash.h"

enum {
	KDF_BYTES = 32,
	KDF_SALT_BYTES = 16,
	KDF_PBKDF2_SHA256 = 1,	/* The only one; 2 is reserved. */
	KDF_ACCOUNT_KEY = 1,	/* Flag: the account key goes in, too. */
	KDF_LOGIN_MIN = 600000, /* The floor of login_count. */
	KDF_SUM_MAX = 40000000, /* Of both counts: what a hostile node may make a client work. */
	KDF_TARGET_MS = 1000,	/* What the enrolling device aims at. */
};

struct kdf {
	unsigned flags;		      /* 0 or KDF_ACCOUNT_KEY. */
	uint32_t login_count;	      /* N_L: PBKDF2 rounds of the first stage. */
	uint32_t keyring_count;	      /* N_K: of the second. */
	uint8_t salt[KDF_SALT_BYTES]; /* Of the account; new with every password. */
};

/* Any thread, all of them; pure but for kdf_calibrate(). */

/* kdf must be one that kdf_decode() takes, but for the floor (asserted). */
void kdf_encode(const struct kdf *kdf, uint8_t ret_block[KDF_BYTES]);
/* Exactly KDF_BYTES. KLUIS_EVERSION, KLUIS_ESUITE (another KDF), KLUIS_EINVAL: an unknown flag, a
 * reserved byte, N_L under KDF_LOGIN_MIN, N_K < 2 N_L, more than KDF_SUM_MAX in all. */
KLUIS_MUST_CHECK int kdf_decode(struct bytes block, struct kdf *ret_kdf, struct err *e);
/* The same with another floor: for the known answers, whose counts a test can afford, alone. */
KLUIS_MUST_CHECK int kdf_decode_floor(
	struct bytes block, uint32_t login_min, struct kdf *ret_kdf, struct err *e);
/* KLUIS_EPIN when a count is below the one pinned in the keyring (0: no pin): a node that lowers
 * them wants to guess. */
KLUIS_MUST_CHECK int kdf_check_pin(
	const struct kdf *kdf, uint32_t login_pin, uint32_t keyring_pin, struct err *e);
/* PBKDF2-HMAC-SHA-256 (RFC 8018) of len bytes; rounds: 1 .. KDF_SUM_MAX (asserted). Two million
 * rounds take about a second. */
void kdf_pbkdf2(
	struct bytes password, struct bytes salt, uint32_t rounds, uint8_t *ret, size_t len);
/* 0.6, 0.8, 1, 1.5, 2, 3, 5 or 8 million: the largest that is not above `count`, at least the
 * floor. */
uint32_t kdf_round(uint64_t count);
/* Whether the counts are among the few that clients use: N_L one of kdf_round()'s, N_K = 2 N_L. Any
 * others would tell an account from the answers that are made up for unknown names. */
bool kdf_usual(const struct kdf *kdf);
/* N_L for about target_ms of both stages on this machine (N_K = 2 N_L): measures PBKDF2 for some
 * 50 ms by `clock`'s monotonic time. Blocking. */
uint32_t kdf_calibrate(const struct clock *clock, uint64_t target_ms);

#endif
