#include "crypto/aead.h"

#include <assert.h>
#include <limits.h>
#include <openssl/err.h>
#include <string.h>

#include "crypto/evp.h"

struct aead {
	EVP_CIPHER_CTX *seal, *open; /* Each keeps the expanded key; only the nonce changes. */
};

static EVP_CIPHER_CTX *aead_ctx_new(struct bytes key, int encrypt)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	const EVP_CIPHER *cipher =
		key.len == 16 ? evp_algs()->aes_128_gcm : evp_algs()->aes_256_gcm;

	evp_must(
		ctx != NULL && EVP_CipherInit_ex2(ctx, cipher, key.data, NULL, encrypt, NULL) == 1);
	return ctx;
}

struct aead *aead_new(struct bytes key)
{
	struct aead *aead = x_malloc(sizeof *aead);

	assert(key.len == 16 || key.len == 32);
	aead->seal = aead_ctx_new(key, 1);
	aead->open = aead_ctx_new(key, 0);
	return aead;
}

void aead_free(struct aead *aead)
{
	if (aead != NULL) {
		EVP_CIPHER_CTX_free(aead->seal);
		EVP_CIPHER_CTX_free(aead->open);
		free(aead);
	}
}

void aead_freep(struct aead **aead)
{
	aead_free(*aead);
}

static void aead_run(EVP_CIPHER_CTX *ctx, const uint8_t nonce[AEAD_NONCE_BYTES], struct bytes aad,
	struct bytes from, uint8_t *ret)
{
	int len = 0;

	assert(aad.len <= INT_MAX && from.len <= INT_MAX);
	evp_must(EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, -1, NULL));
	if (aad.len > 0) {
		evp_must(EVP_CipherUpdate(ctx, NULL, &len, aad.data, (int)aad.len));
	}
	if (from.len > 0) {
		evp_must(EVP_CipherUpdate(ctx, ret, &len, from.data, (int)from.len));
		assert((size_t)len == from.len);
	}
}

void aead_seal(struct aead *aead, const uint8_t nonce[AEAD_NONCE_BYTES], struct bytes aad,
	struct bytes plaintext, uint8_t *ret)
{
	int len = 0;

	aead_run(aead->seal, nonce, aad, plaintext, ret);
	evp_must(EVP_CipherFinal_ex(aead->seal, ret + plaintext.len, &len) == 1 && len == 0 &&
		 EVP_CIPHER_CTX_ctrl(aead->seal, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_BYTES,
			 ret + plaintext.len) == 1);
}

int aead_open(struct aead *aead, const uint8_t nonce[AEAD_NONCE_BYTES], struct bytes aad,
	struct bytes sealed, uint8_t *ret)
{
	uint8_t tag[AEAD_TAG_BYTES], none[1];
	size_t text;
	int len = 0;

	if (sealed.len < AEAD_TAG_BYTES) {
		return KLUIS_EVERIFY;
	}
	text = sealed.len - AEAD_TAG_BYTES;
	memcpy(tag, sealed.data + text, sizeof tag);
	aead_run(aead->open, nonce, aad, bytes_of(sealed.data, text), ret);
	evp_must(EVP_CIPHER_CTX_ctrl(aead->open, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_BYTES, tag));
	if (EVP_CipherFinal_ex(aead->open, none, &len) != 1) {
		secret_clear(ret, text); /* Never let unauthenticated plaintext out. */
		ERR_clear_error();
		return KLUIS_EVERIFY;
	}
	return 0;
}
