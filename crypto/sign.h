/* Signatures (CRYPTO formats, sections 1 and 2): RSA-PSS-SHA-256 with salt 32, ECDSA P-256 SHA-256
 * as r | s (64 B; neither high nor low s is refused), Ed25519 (RFC 8032) for backups. */
#ifndef KLUIS_CRYPTO_SIGN_H
#define KLUIS_CRYPTO_SIGN_H

#include "crypto/key.h"

enum {
	SIGN_ECDSA_BYTES = 64,
	SIGN_ED25519_BYTES = 64,
	SIGN_BYTES_MAX = 512, /* RSA-4096. */
};

/* Appends the signature of message by key (KEY_RSA_PSS, KEY_ECDSA_P256 or KEY_ED25519; asserted) to
 * ret_signature. The algorithm hashes message itself, also when it is a TH value. Any thread;
 * KLUIS_EINTERNAL when OpenSSL fails; of a key that lies elsewhere also what its holder gives, and
 * KLUIS_EVERIFY when that is no signature of it. */
KLUIS_MUST_CHECK int sign_make(
	const struct key *key, struct bytes message, struct buf *ret_signature, struct err *e);
/* 0, or KLUIS_EVERIFY for any signature that is not by this key over this message (wrong length and
 * r or s outside 1..n-1 included), KLUIS_ESUITE when pub is no signing key. Any thread, any number
 * at once on one pub. A node maps KLUIS_EVERIFY to what its caller did wrong. */
KLUIS_MUST_CHECK int sign_verify(
	const struct key_pub *pub, struct bytes message, struct bytes signature, struct err *e);

#endif
