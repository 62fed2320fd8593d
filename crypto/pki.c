#include "crypto/pki.h"

#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/text.h"
#include "crypto/cert.h"
#include "crypto/secret.h"

#define PKI_NODE_URI_PREFIX "kluis://"
#define PKI_DAY_MS	    (24ULL * 3600 * 1000)
/* 9999-12-31, the last day that X.509 can name (RFC 5280, 4.1.2.5). */
#define PKI_TIME_MAX_MS 253402300799000ULL

enum { PKI_COMMON_NAME_MAX = 64, PKI_DNS_MAX = 253, PKI_LABEL_MAX = 63, PKI_DAYS_MAX = 36500 };

void pki_identity_release(struct pki_identity *identity)
{
	secret_buf_release(&identity->key_pem);
	buf_release(&identity->cert_pem);
}

void pki_node_uri(const uint8_t cluster_id[16], uint64_t node_id, char to[PKI_NODE_URI_MAX])
{
	char hex[HEX_LEN(16) + 1];
	int len;

	assert(node_id > 0);
	hex_encode(bytes_of(cluster_id, 16), hex);
	len = snprintf(to, PKI_NODE_URI_MAX, PKI_NODE_URI_PREFIX "%s/node/%" PRIu64, hex, node_id);
	assert(len > 0 && len < PKI_NODE_URI_MAX);
}

int pki_node_uri_parse(struct bytes uri, uint8_t ret_cluster_id[16], uint64_t *ret_node_id)
{
	const size_t hex_at = strlen(PKI_NODE_URI_PREFIX), id_at = hex_at + 32 + strlen("/node/");
	char again[PKI_NODE_URI_MAX], hex[33];
	uint8_t cluster_id[16];
	uint64_t node_id;

	if (uri.len <= id_at || uri.len >= PKI_NODE_URI_MAX) {
		return KLUIS_EINVAL;
	}
	memcpy(hex, uri.data + hex_at, 32);
	hex[32] = 0;
	if (hex_decode(hex, cluster_id, sizeof cluster_id) != 0 ||
		u64_parse(bytes_of(uri.data + id_at, uri.len - id_at), UINT64_MAX, &node_id) != 0 ||
		node_id == 0) {
		return KLUIS_EINVAL;
	}
	/* One spelling only: what we write for these numbers is what stood there. */
	pki_node_uri(cluster_id, node_id, again);
	if (!bytes_equal(uri, bytes_str(again))) {
		return KLUIS_EINVAL;
	}
	memcpy(ret_cluster_id, cluster_id, sizeof cluster_id);
	*ret_node_id = node_id;
	return 0;
}

/* A certificate in the making. */
struct pki_draft {
	X509 *cert;
	EVP_PKEY *key;
	X509 *ca;	  /* NULL: it signs itself. */
	EVP_PKEY *ca_key; /* key then. */
};

static void pki_draft_release(struct pki_draft *draft)
{
	X509_free(draft->cert);
	if (draft->ca_key != draft->key) {
		EVP_PKEY_free(draft->ca_key);
	}
	EVP_PKEY_free(draft->key);
	X509_free(draft->ca);
}

static EVP_PKEY *pki_generate(enum pki_algorithm algorithm)
{
	switch (algorithm) {
	case PKI_RSA_4096:
		return EVP_RSA_gen(4096);
	case PKI_EC_P256:
		return EVP_EC_gen("P-256");
	case PKI_EC_P384:
		return EVP_EC_gen("P-384");
	}
	return NULL;
}

static int pki_check_spec(const struct pki_spec *spec, struct err *e)
{
	size_t len = spec->common_name == NULL ? 0 : strlen(spec->common_name);

	if (len == 0 || len > PKI_COMMON_NAME_MAX || !utf8_valid(bytes_str(spec->common_name))) {
		return err_set(e, KLUIS_EINVAL, "common name: want 1 to %d bytes of UTF-8",
			PKI_COMMON_NAME_MAX);
	}
	if (spec->days == 0 || spec->days > PKI_DAYS_MAX || spec->wall_ms > PKI_TIME_MAX_MS / 2) {
		return err_set(e, KLUIS_EINVAL, "validity: want 1 to %d days", PKI_DAYS_MAX);
	}
	if (spec->n_dns > PKI_NAMES_MAX || spec->n_ip > PKI_NAMES_MAX - spec->n_dns) {
		return err_set(e, KLUIS_EINVAL, "more than %d names", PKI_NAMES_MAX);
	}
	return 0;
}

static bool pki_set_serial(X509 *cert)
{
	uint8_t raw[16];
	BIGNUM *number;
	bool ok;

	if (RAND_bytes(raw, sizeof raw) != 1) {
		return false;
	}
	number = BN_bin2bn(raw, sizeof raw, NULL);
	ok = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
	BN_free(number);
	return ok;
}

static bool pki_set_times(struct pki_draft *draft, const struct pki_spec *spec)
{
	uint64_t from = spec->wall_ms > PKI_BACKDATE_MS ? spec->wall_ms - PKI_BACKDATE_MS : 0;
	uint64_t to = spec->wall_ms + spec->days * PKI_DAY_MS;

	if (draft->ca != NULL && cert_time_ms(X509_get0_notAfter(draft->ca)) < to) {
		to = cert_time_ms(X509_get0_notAfter(draft->ca));
	}
	return ASN1_TIME_set(X509_getm_notBefore(draft->cert), (time_t)(from / 1000)) != NULL &&
	       ASN1_TIME_set(X509_getm_notAfter(draft->cert), (time_t)(to / 1000)) != NULL;
}

static bool pki_set_names(struct pki_draft *draft, const char *common_name)
{
	X509_NAME *subject = X509_get_subject_name(draft->cert);

	if (X509_NAME_add_entry_by_txt(
		    subject, "O", MBSTRING_UTF8, (const uint8_t *)"Kluis", -1, -1, 0) != 1 ||
		X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
			(const uint8_t *)common_name, -1, -1, 0) != 1) {
		return false;
	}
	return X509_set_issuer_name(draft->cert,
		       draft->ca == NULL ? subject : X509_get_subject_name(draft->ca)) == 1;
}

/* Key, serial, times and names: everything but extensions and signature. */
static int pki_draft_init(struct pki_draft *draft, const struct pki_spec *spec, struct err *e)
{
	int rc = pki_check_spec(spec, e);

	if (rc != 0) {
		return rc;
	}
	draft->cert = X509_new();
	draft->key = pki_generate(spec->algorithm);
	if (draft->cert == NULL || draft->key == NULL) {
		return ossl_err(e, KLUIS_EINVAL, "make a key");
	}
	if (X509_set_version(draft->cert, X509_VERSION_3) != 1 || !pki_set_serial(draft->cert) ||
		!pki_set_times(draft, spec) || !pki_set_names(draft, spec->common_name) ||
		X509_set_pubkey(draft->cert, draft->key) != 1) {
		return ossl_err(e, KLUIS_EINVAL, "fill in a certificate");
	}
	return 0;
}

static int pki_draft_load_ca(struct pki_draft *draft, const struct pki_identity *ca, struct err *e)
{
	int rc = cert_read(buf_bytes(&ca->cert_pem), &draft->ca, e);

	if (rc == 0) {
		rc = cert_read_key(buf_bytes(&ca->key_pem), &draft->ca_key, e);
	}
	if (rc != 0) {
		return err_wrap(e, rc, "CA");
	}
	if (X509_check_ca(draft->ca) != 1) {
		return err_set(e, KLUIS_EINVAL, "the certificate given as CA is none");
	}
	if (X509_check_private_key(draft->ca, draft->ca_key) != 1) {
		return ossl_err(e, KLUIS_EINVAL, "the CA's key is not its certificate's");
	}
	return 0;
}

static bool pki_extend(struct pki_draft *draft, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;
	bool ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(
		&ctx, draft->ca == NULL ? draft->cert : draft->ca, draft->cert, NULL, NULL, 0);
	extension = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
	ok = extension != NULL && X509_add_ext(draft->cert, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok;
}

/* Signs and writes both PEMs. */
static int pki_draft_finish(
	struct pki_draft *draft, struct pki_identity *ret_identity, struct err *e)
{
	_cleanup_(ossl_bio_freep) BIO *cert_bio = BIO_new(BIO_s_mem());
	_cleanup_(ossl_bio_freep) BIO *key_bio = BIO_new(BIO_s_secmem());
	const EVP_MD *md = EVP_PKEY_get_bits(draft->ca_key) == 384 ? EVP_sha384() : EVP_sha256();
	char *data;
	long len;

	assert(ret_identity->cert_pem.len == 0 && ret_identity->key_pem.len == 0);
	if (X509_sign(draft->cert, draft->ca_key, md) == 0) {
		return ossl_err(e, KLUIS_EINTERNAL, "sign a certificate");
	}
	if (PEM_write_bio_X509(cert_bio, draft->cert) != 1 ||
		PEM_write_bio_PKCS8PrivateKey(key_bio, draft->key, NULL, NULL, 0, NULL, NULL) !=
			1) {
		return ossl_err(e, KLUIS_EINTERNAL, "write PEM");
	}
	len = BIO_get_mem_data(cert_bio, &data);
	buf_append(&ret_identity->cert_pem, data, (size_t)len);
	len = BIO_get_mem_data(key_bio, &data);
	buf_append(&ret_identity->key_pem, data, (size_t)len);
	return 0;
}

int pki_make_ca(const struct pki_spec *spec, struct pki_identity *ret_ca, struct err *e)
{
	_cleanup_(pki_draft_release) struct pki_draft draft = {0};
	int rc = pki_draft_init(&draft, spec, e);

	if (rc != 0) {
		return rc;
	}
	draft.ca_key = draft.key;
	if (!pki_extend(&draft, NID_subject_key_identifier, "hash") ||
		!pki_extend(&draft, NID_authority_key_identifier, "keyid:always") ||
		!pki_extend(&draft, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
		!pki_extend(&draft, NID_key_usage, "critical,keyCertSign,cRLSign")) {
		return ossl_err(e, KLUIS_EINTERNAL, "CA extensions");
	}
	return pki_draft_finish(&draft, ret_ca, e);
}

static bool pki_label_valid(const char *label, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = label[i];
		bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			     (c >= '0' && c <= '9') || c == '_';

		if (!alnum && (c != '-' || i == 0 || i == len - 1)) {
			return false;
		}
	}
	return len > 0 && len <= PKI_LABEL_MAX;
}

/* Letters, digits and hyphens in labels (RFC 1123 section 2.1), a "*." in front allowed. */
static bool pki_dns_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > PKI_DNS_MAX) {
		return false;
	}
	if (strncmp(name, "*.", 2) == 0) {
		name += 2;
	}
	for (;;) {
		size_t label = strcspn(name, ".");

		if (!pki_label_valid(name, label)) {
			return false;
		}
		if (name[label] == 0) {
			return true;
		}
		name += label + 1;
	}
}

static void pki_san_push(GENERAL_NAMES *names, int type, const void *data, size_t len)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_STRING *value =
		ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);

	if (name == NULL || value == NULL || ASN1_STRING_set(value, data, (int)len) != 1 ||
		sk_GENERAL_NAME_push(names, name) == 0) {
		abort(); /* Only memory can be short. */
	}
	GENERAL_NAME_set0_value(name, type, value);
}

static int pki_san_dns(GENERAL_NAMES *names, const char *dns, struct err *e)
{
	if (!pki_dns_valid(dns)) {
		return err_set(e, KLUIS_EINVAL, "'%s' is not a DNS name", dns);
	}
	pki_san_push(names, GEN_DNS, dns, strlen(dns));
	return 0;
}

static int pki_san_ip(GENERAL_NAMES *names, const char *ip, struct err *e)
{
	uint8_t raw[16];

	if (inet_pton(AF_INET, ip, raw) == 1) {
		pki_san_push(names, GEN_IPADD, raw, 4);
	} else if (inet_pton(AF_INET6, ip, raw) == 1) {
		pki_san_push(names, GEN_IPADD, raw, 16);
	} else {
		return err_set(e, KLUIS_EINVAL, "'%s' is not an IP address", ip);
	}
	return 0;
}

static void pki_names_freep(GENERAL_NAMES **names)
{
	GENERAL_NAMES_free(*names);
}

static int pki_san_spec(GENERAL_NAMES *names, const struct pki_spec *spec, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < spec->n_dns; i++) {
		rc = pki_san_dns(names, spec->dns[i], e);
	}
	for (size_t i = 0; rc == 0 && i < spec->n_ip; i++) {
		rc = pki_san_ip(names, spec->ip[i], e);
	}
	return rc;
}

static int pki_issue(const struct pki_identity *ca, const struct pki_spec *spec,
	GENERAL_NAMES *names, const char *usage, struct pki_identity *ret_identity, struct err *e)
{
	_cleanup_(pki_draft_release) struct pki_draft draft = {0};
	int rc = pki_draft_load_ca(&draft, ca, e);

	if (rc == 0) {
		rc = pki_draft_init(&draft, spec, e);
	}
	if (rc != 0) {
		return rc;
	}
	if (!pki_extend(&draft, NID_subject_key_identifier, "hash") ||
		!pki_extend(&draft, NID_authority_key_identifier, "keyid:always") ||
		!pki_extend(&draft, NID_basic_constraints, "critical,CA:FALSE") ||
		!pki_extend(&draft, NID_key_usage, "critical,digitalSignature") ||
		!pki_extend(&draft, NID_ext_key_usage, usage) ||
		X509_add1_ext_i2d(draft.cert, NID_subject_alt_name, names, 0, 0) != 1) {
		return ossl_err(e, KLUIS_EINTERNAL, "certificate extensions");
	}
	return pki_draft_finish(&draft, ret_identity, e);
}

int pki_issue_server(const struct pki_identity *ca, const struct pki_spec *spec,
	struct pki_identity *ret_identity, struct err *e)
{
	_cleanup_(pki_names_freep) GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	int rc = pki_check_spec(spec, e);

	if (rc == 0) {
		rc = pki_san_spec(names, spec, e);
	}
	if (rc == 0 && sk_GENERAL_NAME_num(names) == 0) {
		rc = err_set(e, KLUIS_EINVAL, "a server certificate needs a DNS name or address");
	}
	return rc != 0 ? rc : pki_issue(ca, spec, names, "serverAuth", ret_identity, e);
}

int pki_issue_node(const struct pki_identity *ca, const uint8_t cluster_id[16], uint64_t node_id,
	uint64_t wall_ms, unsigned days, struct pki_identity *ret_identity, struct err *e)
{
	_cleanup_(pki_names_freep) GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	char uri[PKI_NODE_URI_MAX], common_name[PKI_COMMON_NAME_MAX + 1];
	struct pki_spec spec = {.algorithm = PKI_EC_P256,
		.common_name = common_name,
		.wall_ms = wall_ms,
		.days = days};

	if (node_id == 0) {
		return err_set(e, KLUIS_EINVAL, "node id 0");
	}
	(void)snprintf(common_name, sizeof common_name, "node %" PRIu64, node_id);
	pki_node_uri(cluster_id, node_id, uri);
	pki_san_push(names, GEN_URI, uri, strlen(uri));
	return pki_issue(ca, &spec, names, "serverAuth,clientAuth", ret_identity, e);
}
