/* Key pairs and public keys of every algorithm of the formats (CRYPTO formats, sections 1 and 2):
 * their one encoding, their key ids, their checks. */
#ifndef KLUIS_CRYPTO_KEY_H
#define KLUIS_CRYPTO_KEY_H

#include "base/err.h"
#include "crypto/hash.h"
#include "crypto/secret.h"

/* Sig ids (u8 on the wire) and kem ids (u16) share one number space, as kid() has them.
 * Public keys: EC = uncompressed SEC1 point (65 or 97 B), X25519 and Ed25519 = 32 B, RSA = DER
 * SubjectPublicKeyInfo with e = 65537. Private keys: EC = scalar of 32 or 48 B, X25519 and Ed25519
 * = 32 B, RSA = PKCS#8 DER. */
enum key_alg {
	KEY_RSA_PSS = 1,	 /* sig 1: user keys; 2048, 3072 or 4096 bits. */
	KEY_ECDSA_P256 = 2,	 /* sig 2: device keys, operator restore key. */
	KEY_KEM_P256 = 0x0010,	 /* DHKEM(P-256, HKDF-SHA256). */
	KEY_KEM_P384 = 0x0011,	 /* DHKEM(P-384, HKDF-SHA384). */
	KEY_KEM_X25519 = 0x0020, /* DHKEM(X25519, HKDF-SHA256). */
	KEY_ED25519 = 0x0100,	 /* Backup manifests only; no statement, head or packet takes it. */
	KEY_KEM_RSA = 0x8001,	 /* RSA-OAEP-4096. */
};
enum {
	KEY_RSA_BITS = 3072,	      /* Default of a user key. */
	KEY_PUB_BYTES_MAX = 600,      /* RSA-4096 SubjectPublicKeyInfo: 550. */
	KEY_PRIVATE_BYTES_MAX = 4096, /* RSA-4096 PKCS#8: about 2,380. */
};

/* A checked public key. Immutable: any number of threads may use one at once. */
struct key_pub;
/* A private key with its public half. Immutable as well. Its memory is OpenSSL's: cleared when
 * freed, but not locked; the encodings that pass through here lie in struct secret. */
struct key;

/* Refuses every encoding but the one above, points off the curve, RSA sizes and exponents that are
 * not allowed (KEY_KEM_RSA: 4096 only): KLUIS_EINVAL; an alg that is none of key_alg, sig 3
 * included: KLUIS_ESUITE. The caller frees *ret_pub. Parsing an EC point costs more than a hash:
 * keep the struct when many signatures of one key are checked. Any thread. */
KLUIS_MUST_CHECK int key_pub_decode(
	unsigned alg, struct bytes encoded, struct key_pub **ret_pub, struct err *e);
/* Another owner of the same key. */
struct key_pub *key_pub_ref(struct key_pub *pub);
void key_pub_free(struct key_pub *pub); /* NULL is fine. */
void key_pub_freep(struct key_pub **pub);
unsigned key_pub_alg(const struct key_pub *pub);
struct bytes key_pub_bytes(const struct key_pub *pub); /* The encoding; lives as long as pub. */
const uint8_t *key_pub_kid(const struct key_pub *pub); /* KID_BYTES; lives as long as pub. */
bool key_pub_equal(const struct key_pub *a, const struct key_pub *b);

/* kid(alg, pub) = first 16 bytes of TH("kluis/v1/key-fp", u16 alg, pub), without any check of pub.
 */
void key_kid(unsigned alg, struct bytes encoded, uint8_t ret_kid[KID_BYTES]);
/* The kem whose EC public keys have this length: 65, 97, 32; 0 for any other. */
unsigned key_kem_of_length(size_t pub_bytes);

/* A new pair; rsa_bits counts for the RSA algs alone (0: KEY_RSA_BITS, 4096 for KEY_KEM_RSA).
 * Randomness is OpenSSL's. RSA takes up to seconds: not on a loop thread. KLUIS_ESUITE. */
KLUIS_MUST_CHECK int key_generate(
	unsigned alg, unsigned rsa_bits, struct key **ret_key, struct err *e);
/* From the private encoding; the public half is computed, never trusted. KLUIS_EINVAL (length,
 * scalar 0 or >= n, not an RSA key of an allowed size), KLUIS_ESUITE. */
KLUIS_MUST_CHECK int key_decode(
	unsigned alg, struct bytes encoded, struct key **ret_key, struct err *e);
/* The private encoding, into secret memory. */
void key_encode(const struct key *key, struct secret *ret_encoded);
void key_free(struct key *key); /* NULL is fine. */
void key_freep(struct key **key);
/* The public half; lives as long as key. */
const struct key_pub *key_public(const struct key *key);

/* Somebody who has a private key and gives away only what it makes (an agent, a token). */
struct key_holder {
	/* As sign_make(), by the private half of pub. On any thread that signs with the key. */
	int (*sign)(struct key_holder *holder, const struct key_pub *pub, struct bytes message,
		struct buf *ret_signature, struct err *e);
};
/* A key that lies with holder, which must outlive it: sign_make() takes it, and checks what the
 * holder made. It cannot be encoded and opens nothing here. pub is taken: a signing key
 * (asserted). */
struct key *key_held(struct key_pub *pub, struct key_holder *holder);
/* NULL when the private half is here. */
struct key_holder *key_holder(const struct key *key);

/* For the other modules of crypto/ alone: the EVP_PKEY inside; of a key that is here (asserted). */
void *key_pub_evp(const struct key_pub *pub);
void *key_evp(const struct key *key);

#endif
