#include "crypto/pki.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/file.h"
#include "base/text.h"
#include "crypto/cert.h"

static void pki_describe_key(EVP_PKEY *key, char *to, size_t size)
{
	char group[16];
	size_t len;

	if (key == NULL) {
		(void)snprintf(to, size, "unknown");
	} else if (EVP_PKEY_is_a(key, "EC") &&
		   EVP_PKEY_get_group_name(key, group, sizeof group, &len) == 1) {
		const char *nist = EC_curve_nid2nist(OBJ_sn2nid(group));

		(void)snprintf(to, size, "EC %s", nist != NULL ? nist : group);
	} else {
		(void)snprintf(
			to, size, "%s %d", EVP_PKEY_get0_type_name(key), EVP_PKEY_get_bits(key));
	}
}

/* RFC 2253, cut to size. */
static void pki_name_text(const X509_NAME *name, char *to, size_t size)
{
	_cleanup_(ossl_bio_freep) BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long len;

	if (X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) < 0) {
		ERR_clear_error();
	}
	len = BIO_get_mem_data(bio, &data);
	(void)snprintf(to, size, "%.*s", (int)len, len > 0 ? data : "");
}

int pki_info(struct bytes cert_pem, struct pki_info *ret_info, struct err *e)
{
	_cleanup_(ossl_x509_freep) X509 *cert = NULL;
	struct pki_info info = {0};
	const ASN1_INTEGER *serial;
	int rc = cert_read(cert_pem, &cert, e);

	if (rc != 0) {
		return rc;
	}
	pki_name_text(X509_get_subject_name(cert), info.subject, sizeof info.subject);
	pki_name_text(X509_get_issuer_name(cert), info.issuer, sizeof info.issuer);
	pki_describe_key(X509_get0_pubkey(cert), info.key, sizeof info.key);
	serial = X509_get0_serialNumber(cert);
	if (ASN1_STRING_length(serial) <= 20) {
		hex_encode(
			bytes_of(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial)),
			info.serial);
	}
	info.not_before_ms = cert_time_ms(X509_get0_notBefore(cert));
	info.not_after_ms = cert_time_ms(X509_get0_notAfter(cert));
	cert_spki_sha256(cert, info.spki_sha256);
	info.is_ca = X509_check_ca(cert) == 1;
	info.is_node = cert_node(cert, info.cluster_id, &info.node_id);
	ERR_clear_error();
	*ret_info = info;
	return 0;
}

static void pki_append_pem(X509 *cert, struct buf *to)
{
	_cleanup_(ossl_bio_freep) BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long len;

	if (bio == NULL || PEM_write_bio_X509(bio, cert) != 1) {
		abort(); /* It was parsed from DER: only memory can be short. */
	}
	len = BIO_get_mem_data(bio, &data);
	buf_append(to, data, (size_t)len);
}

int pki_select(
	struct bytes certs_pem, const uint8_t spki_sha256[32], struct buf *ret_pem, struct err *e)
{
	_cleanup_(ossl_x509s_freep) STACK_OF(X509) *certs = NULL;
	int rc = cert_read_all(certs_pem, &certs, e);

	if (rc != 0) {
		return rc;
	}
	for (int i = 0; i < sk_X509_num(certs); i++) {
		uint8_t spki[32];

		cert_spki_sha256(sk_X509_value(certs, i), spki);
		if (memcmp(spki, spki_sha256, sizeof spki) == 0) {
			pki_append_pem(sk_X509_value(certs, i), ret_pem);
			return 0;
		}
	}
	return err_set(e, KLUIS_ENOTFOUND, "no certificate has that public key");
}

size_t pki_count(struct bytes certs_pem)
{
	_cleanup_(ossl_x509s_freep) STACK_OF(X509) *certs = NULL;

	return cert_read_all(certs_pem, &certs, NULL) == 0 ? (size_t)sk_X509_num(certs) : 0;
}

bool pki_shares(struct bytes certs_pem, struct bytes others_pem)
{
	_cleanup_(ossl_x509s_freep) STACK_OF(X509) *certs = NULL, *others = NULL;

	if (cert_read_all(certs_pem, &certs, NULL) != 0 ||
		cert_read_all(others_pem, &others, NULL) != 0) {
		return false;
	}
	for (int i = 0; i < sk_X509_num(certs); i++) {
		for (int j = 0; j < sk_X509_num(others); j++) {
			if (X509_cmp(sk_X509_value(certs, i), sk_X509_value(others, j)) == 0) {
				return true;
			}
		}
	}
	return false;
}

static void pki_store_freep(X509_STORE **store)
{
	X509_STORE_free(*store);
}

int pki_verify(struct bytes cert_pem, struct bytes ca_pem, enum pki_role role, uint64_t wall_ms,
	struct err *e)
{
	_cleanup_(ossl_x509s_freep) STACK_OF(X509) *chain = NULL;
	_cleanup_(pki_store_freep) X509_STORE *store = X509_STORE_new();
	int rc = cert_read_all(cert_pem, &chain, e);

	if (rc == 0) {
		rc = cert_trust(store, ca_pem, e);
	}
	if (rc == 0) {
		rc = cert_verify(
			store, sk_X509_value(chain, 0), chain, X509_PURPOSE_SSL_SERVER, wall_ms, e);
	}
	if (rc == 0 && role == PKI_NODE) {
		rc = cert_verify(
			store, sk_X509_value(chain, 0), chain, X509_PURPOSE_SSL_CLIENT, wall_ms, e);
	}
	return rc;
}

int pki_key_matches(struct bytes cert_pem, struct bytes key_pem, struct err *e)
{
	_cleanup_(ossl_x509_freep) X509 *cert = NULL;
	_cleanup_(ossl_key_freep) EVP_PKEY *key = NULL;
	int rc = cert_read(cert_pem, &cert, e);

	if (rc == 0) {
		rc = cert_read_key(key_pem, &key, e);
	}
	if (rc == 0 && X509_check_private_key(cert, key) != 1) {
		rc = ossl_err(e, KLUIS_EVERIFY, "the key is not the certificate's");
	}
	return rc;
}

int pki_write(const struct pki_identity *identity, const char *cert_path, const char *key_path,
	struct err *e)
{
	int rc;

	if (file_exists(cert_path)) { /* Before a key is there that no certificate goes with. */
		return err_set(e, KLUIS_EEXIST, "'%s' already exists", cert_path);
	}
	rc = file_create(key_path, buf_bytes(&identity->key_pem), 0600, e);
	if (rc != 0) {
		return rc;
	}
	rc = file_create(cert_path, buf_bytes(&identity->cert_pem), 0644, e);
	if (rc != 0) {
		(void)unlink(key_path); /* Made just now: it goes with nothing. */
	}
	return rc;
}

static int pki_read_key(const char *path, struct buf *to, struct err *e)
{
	struct stat st;

	/* Room at once: growing would leave copies of the key in freed memory. */
	buf_reserve(to, 4 * PKI_PEM_BYTES_MAX);
	if (stat(path, &st) == 0 && (st.st_mode & 077) != 0) {
		return err_set(e, KLUIS_EINVAL,
			"key '%s' is open to others (mode %03o): chmod 600 it", path,
			(unsigned)st.st_mode & 0777);
	}
	return file_read(path, PKI_PEM_BYTES_MAX, to, e);
}

int pki_read(const char *cert_path, const char *key_path, struct pki_identity *ret_identity,
	struct err *e)
{
	struct pki_identity read = {0};
	struct pki_info info;
	int rc = file_read(cert_path, PKI_PEM_BYTES_MAX, &read.cert_pem, e);

	if (rc == 0) {
		rc = pki_info(buf_bytes(&read.cert_pem), &info, e);
		rc = rc == 0 ? 0 : err_wrap(e, rc, "'%s'", cert_path);
	}
	if (rc == 0 && key_path != NULL) {
		rc = pki_read_key(key_path, &read.key_pem, e);
	}
	if (rc == 0 && key_path != NULL) {
		rc = pki_key_matches(buf_bytes(&read.cert_pem), buf_bytes(&read.key_pem), e);
		rc = rc == 0 ? 0 : err_wrap(e, rc, "'%s' and '%s'", cert_path, key_path);
	}
	if (rc != 0) {
		pki_identity_release(&read);
		return rc;
	}
	pki_identity_release(ret_identity);
	*ret_identity = read;
	return 0;
}

static int pki_load_ca(const char *path, struct pki_loaded *loaded, struct err *e)
{
	int rc = file_read(path, PKI_PEM_BYTES_MAX, &loaded->ca_pem, e);

	if (rc != 0) {
		return rc; /* Names the file. */
	}
	rc = pki_info(buf_bytes(&loaded->ca_pem), &loaded->ca, e);
	if (rc == 0 && !loaded->ca.is_ca) {
		rc = err_set(e, KLUIS_EINVAL, "its first certificate is no CA's");
	}
	return rc == 0 ? 0 : err_wrap(e, rc, "CA file '%s'", path);
}

int pki_load(const struct pki_files *files, enum pki_role role, uint64_t wall_ms,
	struct pki_loaded *ret_loaded, struct err *e)
{
	struct pki_loaded loaded = {0};
	int rc = pki_read(files->cert_path, files->key_path, &loaded.identity, e);

	rc = rc != 0 ? rc : pki_load_ca(files->ca_path, &loaded, e);
	rc = rc != 0 ? rc : pki_info(buf_bytes(&loaded.identity.cert_pem), &loaded.cert, e);
	if (rc == 0) {
		rc = pki_verify(buf_bytes(&loaded.identity.cert_pem), buf_bytes(&loaded.ca_pem),
			role, wall_ms, e);
		rc = rc == 0 ? 0
			     : err_wrap(e, rc, "certificate '%s' with CA file '%s'",
				       files->cert_path, files->ca_path);
	}
	if (rc != 0) {
		pki_loaded_release(&loaded);
		return rc;
	}
	*ret_loaded = loaded;
	return 0;
}

void pki_loaded_release(struct pki_loaded *loaded)
{
	pki_identity_release(&loaded->identity);
	buf_release(&loaded->ca_pem);
}
