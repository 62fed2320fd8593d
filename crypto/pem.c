#include "crypto/pem.h"

#include <assert.h>
#include <limits.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static void pem_bio_freep(BIO **bio)
{
	BIO_free_all(*bio);
}

static void pem_pkey_freep(EVP_PKEY **pkey)
{
	EVP_PKEY_free(*pkey);
}

static void pem_x509_freep(X509 **x509)
{
	X509_free(*x509);
}

static BIO *pem_bio(struct bytes pem)
{
	return pem.len > INT_MAX ? NULL : BIO_new_mem_buf(pem.data, (int)pem.len);
}

static int pem_take_public(EVP_PKEY *pkey, unsigned alg, struct key_pub **ret_pub, struct err *e)
{
	uint8_t point[KEY_PUB_BYTES_MAX];
	size_t len = 0;

	if (EVP_PKEY_get_octet_string_param(
		    pkey, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point, sizeof point, &len) != 1) {
		ERR_clear_error();
		return err_set(e, KLUIS_EINVAL, "the key is not of a fitting kind");
	}
	return key_pub_decode(alg, bytes_of(point, len), ret_pub, e);
}

int pem_certificate_key(
	struct bytes cert_pem, unsigned alg, struct key_pub **ret_pub, struct err *e)
{
	_cleanup_(pem_bio_freep) BIO *bio = pem_bio(cert_pem);
	_cleanup_(pem_x509_freep) X509 *x509 =
		bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
	EVP_PKEY *pkey = x509 == NULL ? NULL : X509_get0_pubkey(x509);

	ERR_clear_error();
	if (pkey == NULL) {
		return err_set(e, KLUIS_EINVAL, "not a certificate in PEM form");
	}
	return pem_take_public(pkey, alg, ret_pub, e);
}

int pem_public_key(struct bytes pub_pem, unsigned alg, struct key_pub **ret_pub, struct err *e)
{
	_cleanup_(pem_bio_freep) BIO *bio = pem_bio(pub_pem);
	_cleanup_(pem_pkey_freep) EVP_PKEY *pkey =
		bio == NULL ? NULL : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);

	ERR_clear_error();
	if (pkey == NULL) {
		return err_set(e, KLUIS_EINVAL, "not a public key in PEM form");
	}
	return pem_take_public(pkey, alg, ret_pub, e);
}

/* Through PKCS#8 DER, the one encoding of RSA keys here. */
static int pem_take_rsa(EVP_PKEY *pkey, struct key **ret_key, struct err *e)
{
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pkey);
	int len = info == NULL ? -1 : i2d_PKCS8_PRIV_KEY_INFO(info, NULL);
	_cleanup_(secret_release) struct secret der = SECRET_INIT;

	if (len > 0 && len <= KEY_PRIVATE_BYTES_MAX) {
		uint8_t *at;

		secret_init(&der, (size_t)len);
		at = der.data;
		len = i2d_PKCS8_PRIV_KEY_INFO(info, &at);
	}
	PKCS8_PRIV_KEY_INFO_free(info);
	ERR_clear_error();
	if (der.len == 0 || (size_t)len != der.len) {
		return err_set(e, KLUIS_EINVAL, "not an RSA key of a size allowed");
	}
	return key_decode(KEY_RSA_PSS, secret_bytes(&der), ret_key, e);
}

int pem_private_key(struct bytes key_pem, unsigned alg, struct key **ret_key, struct err *e)
{
	_cleanup_(pem_bio_freep) BIO *bio = pem_bio(key_pem);
	_cleanup_(pem_pkey_freep) EVP_PKEY *pkey =
		bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	_cleanup_(secret_release) struct secret raw = SECRET_INIT;
	BIGNUM *scalar = NULL;
	int bits;

	ERR_clear_error();
	if (pkey == NULL) {
		return err_set(e, KLUIS_EINVAL, "not a private key in PEM form");
	}
	if (alg == KEY_RSA_PSS && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA) {
		return pem_take_rsa(pkey, ret_key, e);
	}
	bits = EVP_PKEY_get_bits(pkey);
	if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_EC || (bits != 256 && bits != 384) ||
		EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &scalar) != 1) {
		ERR_clear_error();
		return err_set(e, KLUIS_EINVAL, "not an EC private key on P-256 or P-384");
	}
	secret_init(&raw, (size_t)bits / 8);
	(void)BN_bn2binpad(scalar, raw.data, (int)raw.len); /* A scalar is below n: it fits. */
	BN_clear_free(scalar);
	return key_decode(alg, secret_bytes(&raw), ret_key, e);
}

/* What was written to a memory BIO, if it was. */
static int pem_take(BIO *bio, int ok, struct buf *ret_pem, struct err *e)
{
	char *text = NULL;
	long len = bio == NULL ? 0 : BIO_get_mem_data(bio, &text);

	ERR_clear_error();
	if (ok != 1 || len <= 0) {
		return err_set(e, KLUIS_EINTERNAL, "the key cannot be written as PEM");
	}
	buf_append(ret_pem, text, (size_t)len);
	return 0;
}

int pem_write_public(const struct key_pub *pub, struct buf *ret_pem, struct err *e)
{
	_cleanup_(pem_bio_freep) BIO *bio = BIO_new(BIO_s_mem());

	assert(key_pub_alg(pub) == KEY_ECDSA_P256 || key_pub_alg(pub) == KEY_KEM_P256 ||
		key_pub_alg(pub) == KEY_KEM_P384);
	return pem_take(
		bio, bio == NULL ? 0 : PEM_write_bio_PUBKEY(bio, key_pub_evp(pub)), ret_pem, e);
}

int pem_write_private(const struct key *key, struct buf *ret_pem, struct err *e)
{
	_cleanup_(pem_bio_freep) BIO *bio = BIO_new(BIO_s_secmem());
	unsigned alg = key_pub_alg(key_public(key));

	assert(alg == KEY_ECDSA_P256 || alg == KEY_KEM_P256 || alg == KEY_KEM_P384);
	return pem_take(bio,
		bio == NULL ? 0
			    : PEM_write_bio_PKCS8PrivateKey(
				      bio, key_evp(key), NULL, NULL, 0, NULL, NULL),
		ret_pem, e);
}
