/* X.509 certificates and keys as OpenSSL objects: reading PEM, and what Kluis wants to know of a
 * certificate. For crypto/ only; the outside uses crypto/pki.h. */
#ifndef KLUIS_CRYPTO_CERT_H
#define KLUIS_CRYPTO_CERT_H

#include <stdbool.h>

#include "base/buf.h"
#include "crypto/ossl.h"
#include "crypto/tls_peer.h"

enum { CERT_CHAIN_MAX = 16 };

/* All certificates of a PEM file in order, 1 .. CERT_CHAIN_MAX; free with ossl_x509s_freep().
 * KLUIS_EINVAL. */
KLUIS_MUST_CHECK int cert_read_all(struct bytes pem, STACK_OF(X509) * *ret_certs, struct err *e);
/* The first one. */
KLUIS_MUST_CHECK int cert_read(struct bytes pem, X509 **ret_cert, struct err *e);
/* An unencrypted private key (never asks for a passphrase) whose two halves belong together.
 * KLUIS_EINVAL. */
KLUIS_MUST_CHECK int cert_read_key(struct bytes pem, EVP_PKEY **ret_key, struct err *e);
/* All certificates of pem become trusted in store. */
KLUIS_MUST_CHECK int cert_trust(X509_STORE *store, struct bytes pem, struct err *e);

/* A CA of store vouches for leaf, with what is in chain to help, at wall_ms, for a purpose of
 * X509_PURPOSE_*. KLUIS_EVERIFY names the reason. */
KLUIS_MUST_CHECK int cert_verify(X509_STORE *store, X509 *leaf, STACK_OF(X509) * chain, int purpose,
	uint64_t wall_ms, struct err *e);

/* true when there is exactly one URI SAN and it is a node's. */
bool cert_node(X509 *cert, uint8_t ret_cluster_id[16], uint64_t *ret_node_id);
void cert_spki_sha256(X509 *cert, uint8_t to[32]);
/* Unix milliseconds; times before 1970 are 0. */
uint64_t cert_time_ms(const ASN1_TIME *time);
/* All of struct tls_peer but `verified`. */
void cert_describe(X509 *cert, struct tls_peer *ret_peer);

#endif
