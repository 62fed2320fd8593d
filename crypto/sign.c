#include "crypto/sign.h"

#include <assert.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#include "crypto/evp.h"
#include "crypto/ossl.h"

enum {
	SIGN_SALT_BYTES = 32,
	SIGN_DER_BYTES_MAX = 72, /* SEQUENCE of two INTEGERs of up to 33 bytes. */
};

/* The order of P-256 (FIPS 186-4, D.1.2.3). */
static const uint8_t sign_p256_order[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
	0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};

static void sign_ctx_freep(EVP_PKEY_CTX **ctx)
{
	EVP_PKEY_CTX_free(*ctx);
}

static void sign_ecdsa_freep(ECDSA_SIG **sig)
{
	ECDSA_SIG_free(*sig);
}

static void sign_set_pss(EVP_PKEY_CTX *ctx)
{
	evp_must(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		 EVP_PKEY_CTX_set_signature_md(ctx, evp_algs()->sha256) == 1 &&
		 EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, evp_algs()->sha256) == 1 &&
		 EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, SIGN_SALT_BYTES) == 1);
}

static EVP_PKEY_CTX *sign_ctx_new(EVP_PKEY *pkey, unsigned alg, int (*init)(EVP_PKEY_CTX *))
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);

	evp_must(ctx != NULL && init(ctx) == 1);
	if (alg == KEY_RSA_PSS) {
		sign_set_pss(ctx);
	}
	return ctx;
}

static int sign_ed25519(
	const struct key *key, struct bytes message, struct buf *ret_signature, struct err *e)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t signature[SIGN_ED25519_BYTES];
	size_t len = sizeof signature;
	bool ok;

	evp_must(ctx != NULL);
	ok = EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key_evp(key), NULL) == 1 &&
	     EVP_DigestSign(ctx, signature, &len, message.data, message.len) == 1;
	EVP_MD_CTX_free(ctx);
	if (!ok) {
		return ossl_err(e, KLUIS_EINTERNAL, "cannot sign");
	}
	assert(len == SIGN_ED25519_BYTES);
	buf_append(ret_signature, signature, len);
	return 0;
}

/* DER to r | s. */
static void sign_ecdsa_append(struct bytes der, struct buf *ret_signature)
{
	const uint8_t *at = der.data;
	_cleanup_(sign_ecdsa_freep) ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)der.len);
	uint8_t raw[SIGN_ECDSA_BYTES];

	evp_must(sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32) == 32 &&
		 BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32) == 32);
	buf_append(ret_signature, raw, sizeof raw);
}

/* The holder is another program: what it gives is a signature only if it verifies. */
static int sign_held(
	const struct key *key, struct bytes message, struct buf *ret_signature, struct err *e)
{
	struct key_holder *holder = key_holder(key);
	_cleanup_(buf_release) struct buf signature = BUF_INIT;
	int rc = holder->sign(holder, key_public(key), message, &signature, e);

	rc = rc != 0 ? rc : sign_verify(key_public(key), message, buf_bytes(&signature), e);
	if (rc == 0) {
		buf_append_bytes(ret_signature, buf_bytes(&signature));
	}
	return rc;
}

int sign_make(const struct key *key, struct bytes message, struct buf *ret_signature, struct err *e)
{
	unsigned alg = key_pub_alg(key_public(key));
	_cleanup_(sign_ctx_freep) EVP_PKEY_CTX *ctx = NULL;
	uint8_t hash[HASH_BYTES], signature[SIGN_BYTES_MAX];
	size_t len = sizeof signature;

	assert(alg == KEY_RSA_PSS || alg == KEY_ECDSA_P256 || alg == KEY_ED25519);
	if (key_holder(key) != NULL) {
		return sign_held(key, message, ret_signature, e);
	}
	if (alg == KEY_ED25519) {
		return sign_ed25519(key, message, ret_signature, e);
	}
	hash_sha256(message, hash);
	ctx = sign_ctx_new(key_evp(key), alg, EVP_PKEY_sign_init);
	if (EVP_PKEY_sign(ctx, signature, &len, hash, sizeof hash) != 1) {
		return ossl_err(e, KLUIS_EINTERNAL, "cannot sign");
	}
	assert(len <= sizeof signature);
	if (alg == KEY_ECDSA_P256) {
		sign_ecdsa_append(bytes_of(signature, len), ret_signature);
	} else {
		buf_append(ret_signature, signature, len);
	}
	return 0;
}

static bool sign_in_range(const uint8_t value[32])
{
	static const uint8_t zero[32];

	return memcmp(value, zero, 32) != 0 && memcmp(value, sign_p256_order, 32) < 0;
}

/* r | s to DER; 0 when r or s is not in 1..n-1. */
static size_t sign_ecdsa_der(struct bytes signature, uint8_t ret_der[SIGN_DER_BYTES_MAX])
{
	_cleanup_(sign_ecdsa_freep) ECDSA_SIG *sig = NULL;
	uint8_t *at = ret_der;
	BIGNUM *r, *s;
	int len;

	if (signature.len != SIGN_ECDSA_BYTES || !sign_in_range(signature.data) ||
		!sign_in_range(signature.data + 32)) {
		return 0;
	}
	sig = ECDSA_SIG_new();
	r = BN_bin2bn(signature.data, 32, NULL);
	s = BN_bin2bn(signature.data + 32, 32, NULL);
	evp_must(sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1);
	len = i2d_ECDSA_SIG(sig, &at);
	assert(len > 0 && len <= SIGN_DER_BYTES_MAX);
	return (size_t)len;
}

static bool sign_check_ed25519(
	const struct key_pub *pub, struct bytes message, struct bytes signature)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok;

	evp_must(ctx != NULL &&
		 EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, key_pub_evp(pub), NULL) == 1);
	ok = EVP_DigestVerify(ctx, signature.data, signature.len, message.data, message.len) == 1;
	EVP_MD_CTX_free(ctx);
	return ok;
}

static bool sign_check(const struct key_pub *pub, struct bytes message, struct bytes signature)
{
	_cleanup_(sign_ctx_freep) EVP_PKEY_CTX *ctx = NULL;
	unsigned alg = key_pub_alg(pub);
	EVP_PKEY *pkey = key_pub_evp(pub);
	uint8_t hash[HASH_BYTES], der[SIGN_DER_BYTES_MAX];

	if (alg == KEY_ECDSA_P256) {
		signature = bytes_of(der, sign_ecdsa_der(signature, der));
		if (signature.len == 0) {
			return false;
		}
	} else if (signature.len != (size_t)EVP_PKEY_get_size(pkey)) {
		return false;
	}
	hash_sha256(message, hash);
	ctx = sign_ctx_new(pkey, alg, EVP_PKEY_verify_init);
	return EVP_PKEY_verify(ctx, signature.data, signature.len, hash, sizeof hash) == 1;
}

int sign_verify(
	const struct key_pub *pub, struct bytes message, struct bytes signature, struct err *e)
{
	unsigned alg = key_pub_alg(pub);
	bool ok;

	if (alg != KEY_RSA_PSS && alg != KEY_ECDSA_P256 && alg != KEY_ED25519) {
		return err_set(e, KLUIS_ESUITE, "not a signing key");
	}
	ok = alg == KEY_ED25519 ? sign_check_ed25519(pub, message, signature)
				: sign_check(pub, message, signature);
	ERR_clear_error(); /* A bad signature leaves its reason there, for nobody. */
	return ok ? 0 : err_set(e, KLUIS_EVERIFY, "signature does not verify");
}
