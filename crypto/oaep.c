#include "crypto/oaep.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "crypto/evp.h"
#include "crypto/ossl.h"

static EVP_PKEY_CTX *oaep_ctx_new(EVP_PKEY *pkey, struct bytes label, int (*init)(EVP_PKEY_CTX *))
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);

	assert(label.len <= OAEP_LABEL_BYTES_MAX);
	evp_must(ctx != NULL && init(ctx) == 1 &&
		 EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
		 EVP_PKEY_CTX_set_rsa_oaep_md(ctx, evp_algs()->sha256) == 1 &&
		 EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, evp_algs()->sha256) == 1);
	if (label.len > 0) {
		void *copy = OPENSSL_memdup(label.data, label.len);

		evp_must(copy != NULL &&
			 EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, copy, (int)label.len) == 1);
	}
	return ctx;
}

int oaep_seal(const struct key_pub *pub, struct bytes label, struct bytes message,
	struct buf *ret_sealed, struct err *e)
{
	uint8_t sealed[OAEP_BYTES];
	size_t len = sizeof sealed;
	EVP_PKEY_CTX *ctx;
	int ok;

	assert(message.len <= OAEP_MESSAGE_BYTES_MAX);
	if (key_pub_alg(pub) != KEY_KEM_RSA) {
		return err_set(e, KLUIS_ESUITE, "not an RSA transfer key");
	}
	ctx = oaep_ctx_new(key_pub_evp(pub), label, EVP_PKEY_encrypt_init);
	ok = EVP_PKEY_encrypt(ctx, sealed, &len, message.data, message.len);
	EVP_PKEY_CTX_free(ctx);
	if (ok != 1) {
		return ossl_err(e, KLUIS_EINTERNAL, "cannot encrypt");
	}
	assert(len == OAEP_BYTES);
	buf_append(ret_sealed, sealed, len);
	return 0;
}

int oaep_open(const struct key *key, struct bytes label, struct bytes sealed,
	struct secret *ret_message, struct err *e)
{
	uint8_t message[OAEP_BYTES];
	size_t len = sizeof message;
	EVP_PKEY_CTX *ctx;
	int ok;

	if (key_pub_alg(key_public(key)) != KEY_KEM_RSA) {
		return err_set(e, KLUIS_ESUITE, "not an RSA transfer key");
	}
	if (sealed.len != OAEP_BYTES) {
		return err_set(e, KLUIS_EVERIFY, "RSA ciphertext does not verify");
	}
	ctx = oaep_ctx_new(key_evp(key), label, EVP_PKEY_decrypt_init);
	ok = EVP_PKEY_decrypt(ctx, message, &len, sealed.data, sealed.len);
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error(); /* Which check failed is nobody's business. */
	if (ok == 1) {
		secret_set(ret_message, bytes_of(message, len));
	}
	secret_clear(message, sizeof message);
	return ok == 1 ? 0 : err_set(e, KLUIS_EVERIFY, "RSA ciphertext does not verify");
}
