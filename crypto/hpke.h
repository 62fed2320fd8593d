/* HPKE (RFC 9180), base mode, one message (sequence 0): kems 0x0010, 0x0011, 0x0020, KDF
 * HKDF-SHA256, AES-128-GCM or AES-256-GCM. Randomness is injected, so that known answers can be
 * made. */
#ifndef KLUIS_CRYPTO_HPKE_H
#define KLUIS_CRYPTO_HPKE_H

#include "crypto/aead.h"
#include "crypto/key.h"

enum {
	HPKE_ENC_BYTES_MAX = 97, /* Of the EC kems. */
	HPKE_SECRET_BYTES_MAX = 48,
	HPKE_MESSAGE_BYTES_MAX = 1 << 20, /* Plaintext of one message. */
};

/* DeriveKeyPair (section 7.1.3) of one of the EC kems. KLUIS_ESUITE for another kem. */
KLUIS_MUST_CHECK int hpke_derive_key(
	unsigned kem, struct bytes ikm, struct key **ret_key, struct err *e);
/* DeriveKeyPair of random input: how a transfer key is made. */
KLUIS_MUST_CHECK int hpke_generate_key(
	unsigned kem, struct random *random, struct key **ret_key, struct err *e);

/* ECDH (NIST SP 800-56A; RFC 7748) of keys of one EC kem: len bytes (32, 48), which the caller
 * clears. KLUIS_EVERIFY when they are of two kems, or the result is all zero. */
KLUIS_MUST_CHECK int hpke_dh(
	const struct key *key, const struct key_pub *pub, uint8_t *ret, size_t len, struct err *e);

/* Encap and Decap (section 4.1); shared: 32 or 48 bytes. An all-zero X25519 result or a bad enc is
 * KLUIS_EVERIFY. */
KLUIS_MUST_CHECK int hpke_encap(const struct key_pub *pub, struct random *random,
	struct buf *ret_enc, struct secret *ret_shared, struct err *e);
KLUIS_MUST_CHECK int hpke_decap(
	const struct key *key, struct bytes enc, struct secret *ret_shared, struct err *e);

/* KeySchedule (section 5.1) of base mode with HKDF-SHA256. kem only names the suite: 0x8001 is
 * allowed here (KeyPackets by RSA). aead: AEAD_AES_128_GCM or AEAD_AES_256_GCM (asserted). */
struct hpke_keys {
	struct secret key; /* 16 or 32 bytes. */
	uint8_t base_nonce[AEAD_NONCE_BYTES];
	struct secret exporter; /* 32 bytes. */
};
void hpke_schedule(unsigned kem, unsigned aead, struct bytes shared, struct bytes info,
	struct hpke_keys *ret_keys);
void hpke_keys_release(struct hpke_keys *keys);
/* The one message of a schedule: appends ciphertext | tag (plaintext at most
 * HPKE_MESSAGE_BYTES_MAX); opens it, KLUIS_EVERIFY when the tag is wrong. */
void hpke_seal_with(const struct hpke_keys *keys, struct bytes aad, struct bytes plaintext,
	struct buf *ret_ciphertext);
KLUIS_MUST_CHECK int hpke_open_with(const struct hpke_keys *keys, struct bytes aad,
	struct bytes ciphertext, struct secret *ret_plaintext, struct err *e);

/* Appends the encapsulated key to ret_enc and ciphertext | tag to ret_ciphertext; on failure both
 * are as before. pub: an EC kem key. KLUIS_ESUITE for another kem or aead, KLUIS_ETOOLARGE. Any
 * thread that may use `random`. */
KLUIS_MUST_CHECK int hpke_seal(const struct key_pub *pub, unsigned aead, struct bytes info,
	struct bytes aad, struct bytes plaintext, struct random *random, struct buf *ret_enc,
	struct buf *ret_ciphertext, struct err *e);
/* The plaintext, into secret memory. KLUIS_EVERIFY when enc or the tag is wrong. */
KLUIS_MUST_CHECK int hpke_open(const struct key *key, unsigned aead, struct bytes enc,
	struct bytes info, struct bytes aad, struct bytes ciphertext, struct secret *ret_plaintext,
	struct err *e);

#endif
