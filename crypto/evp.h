/* What the modules of crypto/ share of OpenSSL: algorithms fetched once a process, contexts kept
 * once a thread. Not for other folders. */
#ifndef KLUIS_CRYPTO_EVP_H
#define KLUIS_CRYPTO_EVP_H

#include <openssl/evp.h>

#include "base/err.h"
#include "crypto/hash.h"

/* Fetched on first use: an implicit fetch per call takes a lock and costs more than a short hash.
 */
struct evp_algs {
	EVP_MD *sha256, *sha384;
	EVP_CIPHER *aes_128_ctr, *aes_256_ctr, *aes_128_gcm, *aes_256_gcm;
	EVP_MAC *hmac;
};
const struct evp_algs *evp_algs(void);

/* The calling thread's context. Borrowed for one call that calls nothing else of crypto/. */
EVP_MD_CTX *evp_thread_md(void);

/* AES-CTR in steps on the thread's context: begin, updates (ret may be from.data), end. key: 16 or
 * 32 bytes. The same calls open. */
EVP_CIPHER_CTX *evp_ctr_begin(struct bytes key, const uint8_t iv[16]);
void evp_ctr_update(EVP_CIPHER_CTX *ctx, struct bytes from, uint8_t *ret);
void evp_ctr_end(EVP_CIPHER_CTX *ctx);

/* HMAC in steps on the thread's context: begin, updates, end (which clears the key); no other HMAC
 * of the same alg in between. */
EVP_MAC_CTX *evp_hmac_begin(enum hash_alg alg, struct bytes key);
void evp_hmac_update(EVP_MAC_CTX *ctx, struct bytes bytes);
void evp_hmac_end(EVP_MAC_CTX *ctx, uint8_t *ret, size_t len);

/* Aborts unless ok: for calls that fail only when memory is short or the provider is broken. */
void evp_must(int ok);
#endif
