/* CAs, certificates and contexts for tests (EC P-256: fast to make). All fail the test rather than
 * return an error. */
#ifndef KLUIS_TESTS_LIB_CERTS_H
#define KLUIS_TESTS_LIB_CERTS_H

#include "crypto/pki.h"
#include "crypto/tls_ctx.h"

extern const uint8_t certs_cluster[16];

void certs_ca(struct pki_identity *ret_ca);
/* For localhost, 127.0.0.1 and ::1. */
void certs_server(const struct pki_identity *ca, struct pki_identity *ret_identity);
/* A node of certs_cluster, valid from age_days ago for 30 days. */
void certs_node(const struct pki_identity *ca, uint64_t node_id, unsigned age_days,
	struct pki_identity *ret_identity);

struct tls_ctx *certs_api_ctx(const struct pki_identity *server, struct tls_tickets *tickets);
struct tls_ctx *certs_link_ctx(const struct pki_identity *node, const struct pki_identity *ca);
/* alpn: "" or one name. */
struct tls_ctx *certs_client_ctx(const struct pki_identity *ca, const char *alpn);

#endif
