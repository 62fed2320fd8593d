#include "tests/lib/certs.h"

#include "base/clock.h"
#include "tests/lib/test.h"

const uint8_t certs_cluster[16] = {0xc1, 0x05, 0x7e, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static void certs_check(int rc, const struct err *e)
{
	if (rc != 0) {
		fail_msg("%s", e->text);
	}
}

void certs_ca(struct pki_identity *ret_ca)
{
	struct pki_spec spec = {.algorithm = PKI_EC_P256,
		.common_name = "test CA",
		.wall_ms = clock_wall_ms(&clock_system) - 100ULL * 24 * 3600 * 1000,
		.days = PKI_CA_DAYS};
	struct err e = {0};

	certs_check(pki_make_ca(&spec, ret_ca, &e), &e);
}

void certs_server(const struct pki_identity *ca, struct pki_identity *ret_identity)
{
	static const char *const dns[] = {"localhost"};
	static const char *const ip[] = {"127.0.0.1", "::1"};
	struct pki_spec spec = {.algorithm = PKI_EC_P256,
		.common_name = "localhost",
		.dns = dns,
		.n_dns = 1,
		.ip = ip,
		.n_ip = 2,
		.wall_ms = clock_wall_ms(&clock_system),
		.days = 30};
	struct err e = {0};

	certs_check(pki_issue_server(ca, &spec, ret_identity, &e), &e);
}

void certs_node(const struct pki_identity *ca, uint64_t node_id, unsigned age_days,
	struct pki_identity *ret_identity)
{
	uint64_t wall_ms = clock_wall_ms(&clock_system) - age_days * 24ULL * 3600 * 1000;
	struct err e = {0};

	certs_check(pki_issue_node(ca, certs_cluster, node_id, wall_ms, 30, ret_identity, &e), &e);
}

struct tls_ctx *certs_api_ctx(const struct pki_identity *server, struct tls_tickets *tickets)
{
	struct tls_ctx *ctx = NULL;
	struct err e = {0};

	certs_check(tls_ctx_new_api(buf_bytes(&server->cert_pem), buf_bytes(&server->key_pem),
			    tickets, &ctx, &e),
		&e);
	return ctx;
}

struct tls_ctx *certs_link_ctx(const struct pki_identity *node, const struct pki_identity *ca)
{
	struct tls_ctx *ctx = NULL;
	struct err e = {0};

	certs_check(tls_ctx_new_link(buf_bytes(&node->cert_pem), buf_bytes(&node->key_pem),
			    buf_bytes(&ca->cert_pem), &ctx, &e),
		&e);
	return ctx;
}

struct tls_ctx *certs_client_ctx(const struct pki_identity *ca, const char *alpn)
{
	struct tls_ctx *ctx = NULL;
	struct err e = {0};

	certs_check(
		tls_ctx_new_client(buf_bytes(&ca->cert_pem), &alpn, alpn[0] == 0 ? 0 : 1, &ctx, &e),
		&e);
	return ctx;
}
