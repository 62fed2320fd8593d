#include "crypto/cert.h"

#include <assert.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include "crypto/pki.h"

/* OpenSSL would ask the terminal. */
static int cert_no_passphrase(char *to, int size, int writing, void *user)
{
	(void)to;
	(void)size;
	(void)writing;
	(void)user;
	return -1;
}

static BIO *cert_bio(struct bytes pem)
{
	assert(pem.len <= INT_MAX);
	return BIO_new_mem_buf(pem.data, (int)pem.len);
}

int cert_read_all(struct bytes pem, STACK_OF(X509) * *ret_certs, struct err *e)
{
	_cleanup_(ossl_x509s_freep) STACK_OF(X509) *certs = sk_X509_new_null();
	_cleanup_(ossl_bio_freep) BIO *bio = NULL;

	if (pem.len == 0 || pem.len > PKI_PEM_BYTES_MAX) {
		return err_set(e, KLUIS_EINVAL, "no certificate: %zu bytes", pem.len);
	}
	bio = cert_bio(pem);
	for (;;) {
		X509 *cert = PEM_read_bio_X509(bio, NULL, cert_no_passphrase, NULL);

		if (cert == NULL) {
			break;
		}
		if (sk_X509_num(certs) == CERT_CHAIN_MAX) {
			X509_free(cert);
			return err_set(
				e, KLUIS_EINVAL, "more than %d certificates", CERT_CHAIN_MAX);
		}
		if (sk_X509_push(certs, cert) == 0) {
			abort();
		}
	}
	/* "No start line" is how a well-formed file ends. */
	if (sk_X509_num(certs) == 0 ||
		ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
		return ossl_err(e, KLUIS_EINVAL, "no certificate");
	}
	ERR_clear_error();
	*ret_certs = certs;
	certs = NULL;
	return 0;
}

int cert_read(struct bytes pem, X509 **ret_cert, struct err *e)
{
	_cleanup_(ossl_x509s_freep) STACK_OF(X509) *certs = NULL;
	int rc = cert_read_all(pem, &certs, e);

	if (rc != 0) {
		return rc;
	}
	*ret_cert = sk_X509_shift(certs);
	return 0;
}

/* OpenSSL reads a key with a flipped bit in its private half: only its signatures would show it,
 * for a certificate is compared with the public half alone. */
static bool cert_key_whole(EVP_PKEY *key)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	bool whole = ctx != NULL && EVP_PKEY_pairwise_check(ctx) == 1;

	EVP_PKEY_CTX_free(ctx);
	return whole;
}

int cert_read_key(struct bytes pem, EVP_PKEY **ret_key, struct err *e)
{
	_cleanup_(ossl_bio_freep) BIO *bio = NULL;
	_cleanup_(ossl_key_freep) EVP_PKEY *key = NULL;

	if (pem.len == 0 || pem.len > PKI_PEM_BYTES_MAX) {
		return err_set(e, KLUIS_EINVAL, "no private key: %zu bytes", pem.len);
	}
	bio = cert_bio(pem);
	key = PEM_read_bio_PrivateKey(bio, NULL, cert_no_passphrase, NULL);
	if (key == NULL) {
		return ossl_err(e, KLUIS_EINVAL, "no private key");
	}
	if (!cert_key_whole(key)) {
		return ossl_err(e, KLUIS_EINVAL, "a damaged private key");
	}
	ERR_clear_error();
	*ret_key = key;
	key = NULL;
	return 0;
}

int cert_trust(X509_STORE *store, struct bytes pem, struct err *e)
{
	_cleanup_(ossl_x509s_freep) STACK_OF(X509) *certs = NULL;
	int rc = cert_read_all(pem, &certs, e);

	for (int i = 0; rc == 0 && i < sk_X509_num(certs); i++) {
		if (X509_STORE_add_cert(store, sk_X509_value(certs, i)) != 1) {
			rc = ossl_err(e, KLUIS_EINVAL, "trust a CA");
		}
	}
	return rc;
}

int cert_verify(X509_STORE *store, X509 *leaf, STACK_OF(X509) * chain, int purpose,
	uint64_t wall_ms, struct err *e)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int rc = 0;

	if (ctx == NULL || X509_STORE_CTX_init(ctx, store, leaf, chain) != 1 ||
		X509_STORE_CTX_set_purpose(ctx, purpose) != 1) {
		rc = ossl_err(e, KLUIS_EINTERNAL, "verify a certificate");
	} else {
		X509_STORE_CTX_set_time(ctx, 0, (time_t)(wall_ms / 1000));
		if (X509_verify_cert(ctx) != 1) {
			int reason = X509_STORE_CTX_get_error(ctx);

			rc = err_set(e, KLUIS_EVERIFY, "certificate refused: %s",
				X509_verify_cert_error_string(reason));
		}
	}
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return rc;
}

static bool cert_one_uri(const GENERAL_NAMES *names, struct bytes *ret_uri)
{
	int found = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_URI) {
			const ASN1_IA5STRING *text = name->d.uniformResourceIdentifier;

			*ret_uri = bytes_of(
				ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
			found++;
		}
	}
	return found == 1;
}

bool cert_node(X509 *cert, uint8_t ret_cluster_id[16], uint64_t *ret_node_id)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	struct bytes uri = {NULL, 0};
	bool is_node;

	is_node = names != NULL && cert_one_uri(names, &uri) &&
		  pki_node_uri_parse(uri, ret_cluster_id, ret_node_id) == 0;
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	return is_node;
}

void cert_spki_sha256(X509 *cert, uint8_t to[32])
{
	unsigned char *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

	if (len <= 0 || SHA256(der, (size_t)len, to) == NULL) {
		abort(); /* It was parsed from DER: only memory can be short. */
	}
	OPENSSL_free(der);
}

uint64_t cert_time_ms(const ASN1_TIME *time)
{
	struct tm tm;
	time_t seconds;

	if (ASN1_TIME_to_tm(time, &tm) != 1) {
		ERR_clear_error();
		return 0;
	}
	seconds = timegm(&tm);
	return seconds < 0 ? 0 : (uint64_t)seconds * 1000;
}

void cert_describe(X509 *cert, struct tls_peer *ret_peer)
{
	struct tls_peer peer = {0};

	peer.is_node = cert_node(cert, peer.cluster_id, &peer.node_id);
	peer.not_after_ms = cert_time_ms(X509_get0_notAfter(cert));
	cert_spki_sha256(cert, peer.spki_sha256);
	*ret_peer = peer;
}
