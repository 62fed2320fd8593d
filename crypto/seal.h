/* The two ways of authenticated encryption with a symmetric key: seal() of CRYPTO formats section
 * 4, and the piece it shares with pages: HKDF gives kE | IV | kM, AES-CTR encrypts, HMAC
 * authenticates what was encrypted. */
#ifndef KLUIS_CRYPTO_SEAL_H
#define KLUIS_CRYPTO_SEAL_H

#include "base/err.h"
#include "crypto/hash.h"
#include "crypto/secret.h"

enum {
	SEAL_KEY_BYTES = 32,
	SEAL_SALT_BYTES = 32,
	SEAL_OVERHEAD_BYTES = SEAL_SALT_BYTES + HMAC_BYTES,
	SEAL_BYTES_MAX = 1 << 20, /* Plaintext. */
	SYM_AES_128 = 1,	  /* The sym ids of section 2. */
	SYM_AES_256 = 2,
	SYM_IV_BYTES = 16,
	SYM_OKM_BYTES_MAX = 32 + SYM_IV_BYTES + HMAC_BYTES,
};

/* kE | IV16 | kM32 = HKDF(salt, ikm, info): lies on a stack and is cleared with sym_keys_clear().
 */
struct sym_keys {
	uint8_t okm[SYM_OKM_BYTES_MAX];
	size_t enc_bytes; /* 16 or 32. */
};
/* sym: SYM_AES_128 or SYM_AES_256 (asserted; checked where it is parsed). */
void sym_derive(unsigned sym, struct bytes salt, struct bytes ikm, const struct bytes *info,
	size_t count, struct sym_keys *ret_keys);
void sym_keys_clear(struct sym_keys *keys);
struct bytes sym_iv(const struct sym_keys *keys);
struct bytes sym_mac_key(const struct sym_keys *keys);
struct bytes sym_enc_key(const struct sym_keys *keys);
/* AES-CTR over the full 128-bit block from IV; the same call opens. ret may be from.data. */
void sym_ctr(const struct sym_keys *keys, struct bytes from, uint8_t *ret);

/* Appends salt32 | ct | tag32 to ret_sealed. key: SEAL_KEY_BYTES; ctx binds the place, at most
 * 65,535 bytes (asserted). Any thread. */
void seal_make(struct bytes key, struct bytes ctx, struct bytes plaintext, struct random *random,
	struct buf *ret_sealed);
/* KLUIS_EVERIFY when the tag does not match or sealed is too short or longer than SEAL_BYTES_MAX
 * allows; the MAC is checked before anything is decrypted. */
KLUIS_MUST_CHECK int seal_open(struct bytes key, struct bytes ctx, struct bytes sealed,
	struct secret *ret_plaintext, struct err *e);

#endif
