/* A secret in shares, any `threshold` of which make it again while fewer say nothing of it:
 * Shamir's scheme over GF(256) with shares written as words, SLIP-0039 ("Shamir's Secret-Sharing
 * for Mnemonic Codes", SatoshiLabs, final). Other implementations of it read what this one writes,
 * and the other way. Arithmetic on secret bytes takes the same time and touches the same memory
 * whatever they are; looking up words does not: shares are made and read offline. Any thread. */
#ifndef KLUIS_CRYPTO_SLIP39_H
#define KLUIS_CRYPTO_SLIP39_H

#include <stdbool.h>

#include "base/err.h"
#include "crypto/secret.h"

enum {
	SLIP39_SHARES_MAX = 16,	  /* Of a group, and groups of a secret. */
	SLIP39_GIVEN_MAX = 256,	  /* All shares that there can be of one secret. */
	SLIP39_SECRET_MIN = 16,	  /* Bytes; an even number of them. */
	SLIP39_SECRET_MAX = 32,	  /* The standard has no bound: ours, 33 words. */
	SLIP39_TEXT_MAX = 33 * 9, /* Words with a blank or NUL behind each. */
	SLIP39_EXPONENT_MAX = 13, /* 82 million rounds of PBKDF2: more is somebody's joke. */
};

/* One share, decoded. Secret: clear it by slip39_share_clear(). */
struct slip39_share {
	unsigned id;	 /* 15 bits, the same for all shares of a split. */
	bool extendable; /* The id has no part in the encryption. */
	unsigned exponent;
	unsigned group, group_threshold, groups; /* group from 0. */
	unsigned member, threshold;		 /* member from 0. */
	size_t len;
	uint8_t value[SLIP39_SECRET_MAX];
};
void slip39_share_clear(struct slip39_share *share);

/* The share as words with a blank between them; appends. `to` is secret then. */
void slip39_format(const struct slip39_share *share, struct buf *to);
/* Words in either case with blanks, tabs or line ends between them. KLUIS_ECORRUPT names the word
 * that is none by its place, or says that the checksum does not fit (up to three wrong words are
 * always noticed); KLUIS_ETOOLARGE: a secret beyond SLIP39_SECRET_MAX or an exponent beyond
 * SLIP39_EXPONENT_MAX. */
KLUIS_MUST_CHECK int slip39_parse(struct bytes text, struct slip39_share *ret_share, struct err *e);

/* One group of `count` shares, any `threshold` of which are enough: 1 < threshold <= count <= 16
 * (asserted), a secret of SLIP39_SECRET_MIN .. MAX bytes (KLUIS_EINVAL otherwise). The passphrase
 * may be empty; a wrong one at the other end is not noticed but gives another secret. */
KLUIS_MUST_CHECK int slip39_split(struct bytes secret, struct bytes passphrase, unsigned exponent,
	unsigned threshold, unsigned count, struct random *random,
	struct slip39_share ret_shares[SLIP39_SHARES_MAX], struct err *e);
/* Any order; shares beyond those that are needed must fit, too. KLUIS_ECONFLICT: *ret_bad is the
 * place of the share that is of another split, is there twice or does not lie with the others; with
 * *ret_bad == n it cannot be told which. KLUIS_EINVAL: too few, and e says how many more. */
KLUIS_MUST_CHECK int slip39_combine(const struct slip39_share *shares, size_t n,
	struct bytes passphrase, struct secret *ret_secret, size_t *ret_bad, struct err *e);

#endif
