/* SHA-256, the labelled hash TH, HMAC and HKDF (CRYPTO formats, section 1). Functions without a
 * result abort when OpenSSL fails, as that can only be a lack of memory or a broken provider. */
#ifndef KLUIS_CRYPTO_HASH_H
#define KLUIS_CRYPTO_HASH_H

#include "base/buf.h"

enum {
	HASH_BYTES = 32,
	HMAC_BYTES = 32,
	HASH_BYTES_MAX = 48, /* SHA-384, inside DHKEM(P-384) alone. */
	HKDF_BYTES_MAX = 255 * HASH_BYTES,
	ID_BYTES = 16,	/* User, device, vault, object and cluster ids. */
	KID_BYTES = 16, /* Key ids. */
};

enum hash_alg { HASH_SHA256, HASH_SHA384, HASH_ALGS };
size_t hash_alg_bytes(enum hash_alg alg); /* 32, 48. */

/* SHA-256 of one run (FIPS 180-4). `ret` may lie inside the run. Any thread. */
void hash_sha256(struct bytes bytes, uint8_t ret[HASH_BYTES]);
/* SHA-256 of count runs one after the other. Any thread. */
void hash_sha256_parts(const struct bytes *parts, size_t count, uint8_t ret[HASH_BYTES]);

/* SHA-1, and HMAC with it (RFC 2104), for two protocols that ask for it, and not for its strength:
 * the opening handshake of WebSocket (RFC 6455 section 4.2.2), and credentials of TURN servers. Any
 * thread. */
enum { HASH_SHA1_BYTES = 20 };
void hash_sha1_parts(const struct bytes *parts, size_t count, uint8_t ret[HASH_SHA1_BYTES]);
void hash_hmac_sha1(struct bytes key, struct bytes bytes, uint8_t ret[HASH_SHA1_BYTES]);

/* SHA-256 of a stream. One thread at a time per struct. */
struct hash {
	void *ctx;
};
void hash_init(struct hash *hash);
void hash_update(struct hash *hash, struct bytes bytes);
/* The hash of all bytes since hash_init() or the last hash_final(), and a fresh start. */
void hash_final(struct hash *hash, uint8_t ret[HASH_BYTES]);
void hash_release(struct hash *hash);

/* TH(label, f1, f2, ...) = SHA-256(lp16(label) | lp32(f1) | lp32(f2) | ...). label begins with
 * "kluis/v1/" (our own constant: asserted). Any thread. */
void hash_th(const char *label, const struct bytes *fields, size_t count, uint8_t ret[HASH_BYTES]);
/* hash_th() over the struct bytes given: HASH_TH(out, "kluis/v1/head", bytes_of(head, 208)). */
#define HASH_TH(ret, label, ...)                            \
	hash_th(label, (const struct bytes[]){__VA_ARGS__}, \
		ARRAY_SIZE(((const struct bytes[]){__VA_ARGS__})), ret)

/* HMAC-SHA-256 (RFC 2104) of count runs one after the other, never truncated. Compare with
 * secret_equal(). Any thread. */
void hash_hmac(struct bytes key, const struct bytes *parts, size_t count, uint8_t ret[HMAC_BYTES]);

/* RFC 5869 with SHA-256. An empty salt is 32 zero bytes. Any thread. */
void hkdf_extract(struct bytes salt, struct bytes ikm, uint8_t ret_prk[HASH_BYTES]);
/* info is the concatenation of count runs; len is 1 .. HKDF_BYTES_MAX. */
void hkdf_expand(const uint8_t prk[HASH_BYTES], const struct bytes *info, size_t count,
	uint8_t *ret, size_t len);
/* Extract, then expand: HKDF(salt, ikm, info, len) of the formats. */
void hkdf(struct bytes salt, struct bytes ikm, const struct bytes *info, size_t count, uint8_t *ret,
	size_t len);
/* The same with either hash: prk and an empty salt are hash_alg_bytes() long, len at most 255 times
 * that; the input keying material, too, is the concatenation of count runs. */
void hkdf_extract_alg(enum hash_alg alg, struct bytes salt, const struct bytes *ikm, size_t count,
	uint8_t *ret_prk);
void hkdf_expand_alg(enum hash_alg alg, const uint8_t *prk, const struct bytes *info, size_t count,
	uint8_t *ret, size_t len);

#endif
