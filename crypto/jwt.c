#include "crypto/jwt.h"

#include <assert.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/text.h"
#include "crypto/evp.h"
#include "crypto/ossl.h"
#include "crypto/sign.h"

static bool jwt_kid_ok(const char *kid)
{
	size_t len = strlen(kid);

	return len > 0 && len <= JWT_KID_BYTES_MAX &&
	       strspn(kid, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
		       len;
}

/* RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 section 8.2; RS256 of RFC 7518). */
static int jwt_rs256(
	const struct key *key, struct bytes message, struct buf *ret_signature, struct err *e)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key_evp(key), NULL);
	uint8_t hash[HASH_BYTES], signature[SIGN_BYTES_MAX];
	size_t len = sizeof signature;
	bool ok;

	hash_sha256(message, hash);
	evp_must(ctx != NULL && EVP_PKEY_sign_init(ctx) == 1 &&
		 EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
		 EVP_PKEY_CTX_set_signature_md(ctx, evp_algs()->sha256) == 1);
	ok = EVP_PKEY_sign(ctx, signature, &len, hash, sizeof hash) == 1;
	EVP_PKEY_CTX_free(ctx);
	if (!ok) {
		return ossl_err(e, KLUIS_EINTERNAL, "cannot sign");
	}
	assert(len <= sizeof signature);
	buf_append(ret_signature, signature, len);
	return 0;
}

int jwt_make(const struct key *key, const char *kid, struct bytes claims, struct buf *ret_token,
	struct err *e)
{
	_cleanup_(buf_release) struct buf header = BUF_INIT, signature = BUF_INIT;
	bool rsa = key_pub_alg(key_public(key)) == KEY_RSA_PSS;
	size_t before = ret_token->len;
	struct bytes message;
	int rc;

	assert(rsa || key_pub_alg(key_public(key)) == KEY_ECDSA_P256);
	assert(claims.len <= JWT_CLAIMS_BYTES_MAX);
	if (kid != NULL && !jwt_kid_ok(kid)) {
		return err_set(e, KLUIS_EINVAL, "a key id with other than letters and digits");
	}
	buf_printf(&header, "{\"typ\":\"JWT\",\"alg\":\"%s\"", rsa ? "RS256" : "ES256");
	if (kid != NULL) {
		buf_printf(&header, ",\"kid\":\"%s\"", kid);
	}
	buf_append(&header, "}", 1);
	base64_append(ret_token, buf_bytes(&header));
	buf_append(ret_token, ".", 1);
	base64_append(ret_token, claims);
	message = bytes_of(ret_token->data + before, ret_token->len - before);
	rc = rsa ? jwt_rs256(key, message, &signature, e) : sign_make(key, message, &signature, e);
	if (rc != 0) {
		ret_token->len = before;
		return rc;
	}
	buf_append(ret_token, ".", 1);
	base64_append(ret_token, buf_bytes(&signature));
	return 0;
}
