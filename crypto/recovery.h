/* The recovery code of a person (docs/format-crypto.md, "Recovery"): 32 random bytes shown once;
 * who has them opens the keyring's slot of type 2 and proves to the cluster that it is the owner.
 * Pure.
 */
#ifndef KLUIS_CRYPTO_RECOVERY_H
#define KLUIS_CRYPTO_RECOVERY_H

#include "crypto/key.h"

enum {
	RECOVERY_SECRET_BYTES = 32,
	RECOVERY_CHARS = 54,			   /* 52 for the code, two to check it. */
	RECOVERY_TEXT_CHARS = RECOVERY_CHARS + 13, /* In groups of four, joined by '-'. */
	RECOVERY_TYPED_BYTES_MAX = 256,		   /* What is read as a code at most. */
	RECOVERY_CHALLENGE_BYTES = 32,
};

/* The text of a code: RECOVERY_TEXT_CHARS and NUL, which the caller clears. Crockford base32, most
 * significant bit first, 256 bits and four zero bits, then the first 10 bits of SHA-256(code). */
void recovery_text(struct bytes secret, char ret_text[RECOVERY_TEXT_CHARS + 1]);
/* The code somebody typed: case, spaces and '-' are ignored, I and L are 1, O is 0. KLUIS_EINVAL:
 * another length or character, U, padding bits set, or the check characters do not match (a typing
 * error). */
KLUIS_MUST_CHECK int recovery_parse(struct bytes typed, struct secret *ret_secret, struct err *e);

/* What follows from a code for one user. */
struct recovery {
	struct secret r_rec; /* 32 bytes; not needed further. */
	struct secret kek;   /* Of slot type 2: KEYRING_KEK_BYTES. */
	struct key *auth;    /* KEY_ECDSA_P256: the cluster holds its public half. */
};
/* Zeroed before; recovery_release() clears and frees. secret: RECOVERY_SECRET_BYTES (asserted). */
void recovery_derive(
	struct bytes secret, const uint8_t user_id[ID_BYTES], struct recovery *ret_recovery);
void recovery_release(struct recovery *recovery);

/* What is signed to recover: TH("kluis/v1/recover", cluster_id, user_id, challenge). */
struct recovery_proof {
	uint8_t cluster_id[ID_BYTES], user_id[ID_BYTES];
	uint8_t challenge[RECOVERY_CHALLENGE_BYTES]; /* The node's, used once. */
};
/* Appends SIGN_ECDSA_BYTES. */
KLUIS_MUST_CHECK int recovery_sign(const struct recovery_proof *proof, const struct key *auth,
	struct buf *ret_signature, struct err *e);
/* KLUIS_EVERIFY unless by this key (KEY_ECDSA_P256). Any thread. */
KLUIS_MUST_CHECK int recovery_verify(const struct recovery_proof *proof, const struct key_pub *auth,
	struct bytes signature, struct err *e);

#endif
