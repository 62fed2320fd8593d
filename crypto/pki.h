/* X.509 for Kluis: two CAs (the API's, which clients pin, and the nodes'), and the certificates
 * they sign. PEM in memory; files by the helpers below. Blocking (RSA-4096 takes a second to make):
 * never on a loop thread. RFC 5280, 8017, 5480, 5958. */
#ifndef KLUIS_CRYPTO_PKI_H
#define KLUIS_CRYPTO_PKI_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

enum pki_algorithm { PKI_RSA_4096 = 1, PKI_EC_P256 = 2, PKI_EC_P384 = 3 };
enum pki_role { PKI_SERVER = 1, PKI_NODE = 2 };

enum {
	PKI_PEM_BYTES_MAX = 64 * 1024, /* One file: a chain or a bundle of CAs. */
	PKI_NAMES_MAX = 64,	       /* SANs asked for in one certificate. */
	PKI_NODE_URI_MAX = 80,
	PKI_BACKDATE_MS = 5 * 60 * 1000, /* Clocks of clients differ. */
	PKI_CA_DAYS = 3650,
	PKI_LEAF_DAYS = 397,
};

/* A certificate (chain) and its private key (PKCS#8, unencrypted), both PEM. The key is cleared on
 * release. Zero it before use. */
struct pki_identity {
	struct buf cert_pem, key_pem;
};
void pki_identity_release(struct pki_identity *identity);

/* What to put in. dns and ip are for server certificates only. wall_ms is now (Unix): the
 * certificate is valid from 5 minutes before it for `days`. */
struct pki_spec {
	enum pki_algorithm algorithm; /* Of the new key. */
	const char *common_name;      /* 1 .. 64 bytes of UTF-8. */
	const char *const *dns;
	size_t n_dns;
	const char *const *ip; /* Text: "127.0.0.1", "::1". */
	size_t n_ip;
	uint64_t wall_ms;
	unsigned days; /* 1 .. 36500 */
};

/* A new self-signed CA: path length 0, may sign certificates and CRLs. Signs with SHA-256 (RSA) or
 * SHA-384 (P-384). ret_ca is zeroed by the caller and released by it. KLUIS_EINVAL on a bad spec.
 */
KLUIS_MUST_CHECK int pki_make_ca(
	const struct pki_spec *spec, struct pki_identity *ret_ca, struct err *e);

/* A certificate for the API's server: EKU serverAuth, SAN dns and ip (at least one). Never valid
 * for longer than its CA. */
KLUIS_MUST_CHECK int pki_issue_server(const struct pki_identity *ca, const struct pki_spec *spec,
	struct pki_identity *ret_identity, struct err *e);

/* A certificate for a node: EC P-256, EKU clientAuth and serverAuth, its one SAN the URI
 * kluis://<32 hex cluster id>/node/<id>. node_id > 0. */
KLUIS_MUST_CHECK int pki_issue_node(const struct pki_identity *ca, const uint8_t cluster_id[16],
	uint64_t node_id, uint64_t wall_ms, unsigned days, struct pki_identity *ret_identity,
	struct err *e);

struct pki_info {
	char subject[256], issuer[256]; /* RFC 2253; cut when longer. */
	char key[32];			/* "RSA 4096", "EC P-256" */
	char serial[2 * 20 + 1];	/* Hex. */
	uint64_t not_before_ms, not_after_ms;
	uint8_t spki_sha256[32]; /* SHA-256 of the SubjectPublicKeyInfo, DER (RFC 7469). */
	bool is_ca;
	bool is_node; /* As struct tls_peer. */
	uint8_t cluster_id[16];
	uint64_t node_id;
};
/* Of the first certificate in cert_pem. KLUIS_EINVAL when there is none. */
KLUIS_MUST_CHECK int pki_info(struct bytes cert_pem, struct pki_info *ret_info, struct err *e);
/* That certificate of a bundle whose public key has this SHA-256, alone and encoded anew, appended.
 * KLUIS_ENOTFOUND when none has, KLUIS_EINVAL when it is no bundle. */
KLUIS_MUST_CHECK int pki_select(
	struct bytes certs_pem, const uint8_t spki_sha256[32], struct buf *ret_pem, struct err *e);
/* How many certificates a bundle has, at most CERT_CHAIN_MAX; 0 when it is none. */
size_t pki_count(struct bytes certs_pem);
/* Whether some certificate of one bundle, all of it, is in the other. */
bool pki_shares(struct bytes certs_pem, struct bytes others_pem);

/* The first certificate of cert_pem (others there may help to build the chain) is signed by a CA of
 * ca_pem, valid at wall_ms and fit for role (PKI_NODE: for both sides of a link). KLUIS_EVERIFY
 * names the reason. */
KLUIS_MUST_CHECK int pki_verify(struct bytes cert_pem, struct bytes ca_pem, enum pki_role role,
	uint64_t wall_ms, struct err *e);
/* KLUIS_EVERIFY when the key is not that of the first certificate. */
KLUIS_MUST_CHECK int pki_key_matches(struct bytes cert_pem, struct bytes key_pem, struct err *e);

/* The key as 0600, then the certificate as 0644, each durably and only if the path is free
 * (KLUIS_EEXIST). */
KLUIS_MUST_CHECK int pki_write(const struct pki_identity *identity, const char *cert_path,
	const char *key_path, struct err *e);
/* Both parts, checked against each other. key_path NULL: the certificate alone. KLUIS_EINVAL when a
 * key file may be read or written by others than its owner. */
KLUIS_MUST_CHECK int pki_read(const char *cert_path, const char *key_path,
	struct pki_identity *ret_identity, struct err *e);

/* One end of TLS, from its files: certificate chain, key and the CAs that vouch for it (one or
 * more: two while a CA is changed). */
struct pki_files {
	const char *cert_path, *key_path, *ca_path;
};
struct pki_loaded {
	struct pki_identity identity;
	struct buf ca_pem;
	struct pki_info cert, ca; /* Of the first certificate in each. */
};
/* Zero *ret_loaded before, release it after. All of it was checked together: key and certificate
 * belong to each other, a CA vouches for the certificate in that role at wall_ms. The error names
 * the file: KLUIS_ENOTFOUND, KLUIS_EINVAL, KLUIS_EVERIFY. Blocking. */
KLUIS_MUST_CHECK int pki_load(const struct pki_files *files, enum pki_role role, uint64_t wall_ms,
	struct pki_loaded *ret_loaded, struct err *e);
void pki_loaded_release(struct pki_loaded *loaded);

/* The node URI, NUL-terminated; node_id > 0. */
void pki_node_uri(const uint8_t cluster_id[16], uint64_t node_id, char to[PKI_NODE_URI_MAX]);
/* Only the exact form that pki_node_uri() writes; else KLUIS_EINVAL. */
KLUIS_MUST_CHECK int pki_node_uri_parse(
	struct bytes uri, uint8_t ret_cluster_id[16], uint64_t *ret_node_id);

#endif
