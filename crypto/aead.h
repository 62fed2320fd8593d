/* AES-GCM with 96-bit nonces and 128-bit tags (NIST SP 800-38D): inside HPKE, and AES-256-GCM for
 * backup segments. The caller never uses a nonce twice under one key. */
#ifndef KLUIS_CRYPTO_AEAD_H
#define KLUIS_CRYPTO_AEAD_H

#include "base/err.h"
#include "crypto/secret.h"

enum {
	AEAD_NONCE_BYTES = 12,
	AEAD_TAG_BYTES = 16,
	AEAD_AES_128_GCM = 1, /* The aead ids of HPKE. */
	AEAD_AES_256_GCM = 2,
};

/* A key schedule to use many times. One thread at a time. */
struct aead;

/* key: 16 or 32 bytes (asserted: they name AES-128 or AES-256); it is copied into the schedule. */
struct aead *aead_new(struct bytes key);
void aead_free(struct aead *aead); /* NULL is fine; clears. */
void aead_freep(struct aead **aead);
/* ret gets plaintext.len + AEAD_TAG_BYTES: ciphertext, then tag. ret may be plaintext.data (in
 * place), else they do not overlap. plaintext.len < 2^31. */
void aead_seal(struct aead *aead, const uint8_t nonce[AEAD_NONCE_BYTES], struct bytes aad,
	struct bytes plaintext, uint8_t *ret);
/* sealed = ciphertext | tag; ret gets sealed.len - AEAD_TAG_BYTES, and may be sealed.data.
 * KLUIS_EVERIFY: tag wrong or sealed too short; then ret holds zeros. */
KLUIS_MUST_CHECK int aead_open(struct aead *aead, const uint8_t nonce[AEAD_NONCE_BYTES],
	struct bytes aad, struct bytes sealed, uint8_t *ret);

#endif
