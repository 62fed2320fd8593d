#include "tests/lib/test.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "crypto/tls_ctx_ssl.h"
#include "tests/lib/certs.h"

static struct pki_identity ca, other_ca, server, node_one, node_two, node_old, node_other;

static int group_setup(void **state)
{
	(void)state;
	certs_ca(&ca);
	certs_ca(&other_ca);
	certs_server(&ca, &server);
	certs_node(&ca, 1, 0, &node_one);
	certs_node(&ca, 2, 0, &node_two);
	certs_node(&ca, 2, 40, &node_old);
	certs_node(&other_ca, 2, 0, &node_other);
	return 0;
}

static int group_teardown(void **state)
{
	struct pki_identity *all[] = {
		&ca, &other_ca, &server, &node_one, &node_two, &node_old, &node_other};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		pki_identity_release(all[i]);
	}
	return 0;
}

/* Both ends of a connection in memory. */
struct pair {
	SSL *client, *server;
	int rc; /* What tls_ctx_failure() said of the server, else of the client. */
	struct err e;
};

static void pair_release(struct pair *p)
{
	/* Else OpenSSL takes the session for a broken one, not to be resumed. */
	SSL_set_shutdown(p->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(p->client);
	SSL_free(p->server);
}

static bool pair_step(struct pair *p, SSL *ssl, bool *done)
{
	struct err e;
	int ret, kind;

	ERR_clear_error();
	ret = SSL_do_handshake(ssl);
	kind = SSL_get_error(ssl, ret);
	*done = ret == 1;
	if (ret != 1 && kind != SSL_ERROR_WANT_READ) {
		int rc = tls_ctx_failure(ssl, ret, &e);

		if (p->rc == 0) {
			p->rc = rc;
			p->e = e;
		}
		return false;
	}
	return true;
}

/* Handshake to its end. */
static bool pair_shake(struct pair *p)
{
	bool client_done = false, server_done = false;

	for (int i = 0; i < 20 && !(client_done && server_done); i++) {
		if (!pair_step(p, p->client, &client_done) ||
			!pair_step(p, p->server, &server_done)) {
			return false;
		}
	}
	return client_done && server_done;
}

static void pair_init(struct pair *p, SSL_CTX *client, SSL_CTX *server_ctx)
{
	BIO *to_client = BIO_new(BIO_s_mem()), *to_server = BIO_new(BIO_s_mem());

	*p = (struct pair){.client = SSL_new(client), .server = SSL_new(server_ctx)};
	BIO_set_mem_eof_return(to_client, -1);
	BIO_set_mem_eof_return(to_server, -1);
	BIO_up_ref(to_client);
	BIO_up_ref(to_server);
	SSL_set_bio(p->client, to_client, to_server);
	SSL_set_bio(p->server, to_server, to_client);
	SSL_set_connect_state(p->client);
	SSL_set_accept_state(p->server);
}

/* A client that offers one version and these suites to `ctx`. */
static bool offer(struct tls_ctx *ctx, int version, const char *suites, const char *alpn)
{
	SSL_CTX *client = SSL_CTX_new(TLS_client_method());
	struct pair p;
	bool ok;

	SSL_CTX_set_security_level(client, 0);
	assert_int_equal(SSL_CTX_set_min_proto_version(client, version), 1);
	assert_int_equal(SSL_CTX_set_max_proto_version(client, version), 1);
	assert_int_equal(version == TLS1_3_VERSION ? SSL_CTX_set_ciphersuites(client, suites)
						   : SSL_CTX_set_cipher_list(client, suites),
		1);
	if (alpn != NULL) {
		assert_int_equal(SSL_CTX_set_alpn_protos(
					 client, (const uint8_t *)alpn, (unsigned)strlen(alpn)),
			0);
	}
	ERR_clear_error();
	pair_init(&p, client, tls_ctx_ssl(ctx));
	ok = pair_shake(&p);
	pair_release(&p);
	SSL_CTX_free(client);
	return ok;
}

static void test_api_versions_and_suites(void **state)
{
	static const struct {
		int version;
		const char *suites;
		bool ok;
	} rows[] = {
		{TLS1_VERSION, "ALL:@SECLEVEL=0", false},
		{TLS1_1_VERSION, "ALL:@SECLEVEL=0", false},
		{TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", true},
		{TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384", true},
		{TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", true},
		{TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA", false},
		{TLS1_2_VERSION, "ECDHE-ECDSA-AES256-SHA384", false},
		{TLS1_2_VERSION, "AES128-GCM-SHA256", false},
		{TLS1_2_VERSION, "DHE-RSA-AES128-GCM-SHA256", false},
		{TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", true},
		{TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", true},
		{TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256", true},
		{TLS1_3_VERSION, "TLS_AES_128_CCM_SHA256", false},
	};
	struct tls_ctx *ctx = certs_api_ctx(&server, NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (offer(ctx, rows[i].version, rows[i].suites, NULL) != rows[i].ok) {
			fail_msg("%x %s", rows[i].version, rows[i].suites);
		}
	}
	tls_ctx_unref(ctx);
}

static void test_api_alpn(void **state)
{
	struct tls_ctx *ctx = certs_api_ctx(&server, NULL);
	const char *suite = "TLS_AES_128_GCM_SHA256";

	(void)state;
	assert_true(offer(ctx, TLS1_3_VERSION, suite, "\x02h2"));
	assert_true(offer(ctx, TLS1_3_VERSION, suite, "\x08http/1.1"));
	assert_true(offer(ctx, TLS1_3_VERSION, suite, "\x06spdy/3\x08http/1.1"));
	assert_false(offer(ctx, TLS1_3_VERSION, suite, "\x06spdy/3"));
	assert_false(offer(ctx, TLS1_3_VERSION, suite, "\x0ckluis-link/1"));
	tls_ctx_unref(ctx);
}

/* rc: what the side that refuses says. */
static void link_pair(const struct pki_identity *client, int rc, const char *why)
{
	struct tls_ctx *server_ctx = certs_link_ctx(&node_one, &ca), *client_ctx;
	struct pair p;

	client_ctx = certs_link_ctx(client, &ca);
	pair_init(&p, tls_ctx_ssl(client_ctx), tls_ctx_ssl(server_ctx));
	assert_int_equal(pair_shake(&p), rc == 0);
	assert_int_equal(p.rc, rc);
	if (rc != 0 && strstr(p.e.text, why) == NULL) {
		fail_msg("'%s' says nothing of '%s'", p.e.text, why);
	}
	if (rc == 0) {
		assert_string_equal(SSL_get_version(p.server), "TLSv1.3");
		assert_string_equal(SSL_get_cipher_name(p.server), "TLS_AES_256_GCM_SHA384");
		assert_false(SSL_SESSION_is_resumable(SSL_get0_session(p.client)));
	}
	pair_release(&p);
	tls_ctx_unref(server_ctx);
	tls_ctx_unref(client_ctx);
}

static void test_link_certificates(void **state)
{
	_cleanup_(pki_identity_release) struct pki_identity self = {0};

	(void)state;
	certs_ca(&self);
	link_pair(&node_two, 0, "");
	link_pair(&node_old, KLUIS_EVERIFY, "expired");
	link_pair(&node_other, KLUIS_EVERIFY, "certificate");
	link_pair(&self, KLUIS_EVERIFY, "certificate");
	/* The API's certificate, even if it came from the same CA, is none for a client. */
	link_pair(&server, KLUIS_EVERIFY, "certificate purpose");
}

/* The dialler's view: the listener's certificate is the wrong one. */
static void test_link_refuses_servers(void **state)
{
	const struct pki_identity *bad[] = {&node_old, &node_other};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct tls_ctx *server_ctx = certs_link_ctx(bad[i], &ca),
			       *client_ctx = certs_link_ctx(&node_one, &ca);
		struct pair p;

		pair_init(&p, tls_ctx_ssl(client_ctx), tls_ctx_ssl(server_ctx));
		assert_false(pair_shake(&p));
		assert_int_equal(p.rc, KLUIS_EVERIFY);
		pair_release(&p);
		tls_ctx_unref(server_ctx);
		tls_ctx_unref(client_ctx);
	}
}

static void test_link_versions_and_suites(void **state)
{
	struct tls_ctx *ctx = certs_link_ctx(&node_one, &ca);
	const char *alpn = "\x0ckluis-link/1";

	(void)state;
	assert_false(offer(ctx, TLS1_2_VERSION, "ALL:@SECLEVEL=0", alpn));
	assert_false(offer(ctx, TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", alpn));
	assert_false(offer(ctx, TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256", alpn));
	assert_false(offer(ctx, TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", "\x02h2"));
	/* All is well but the certificate, which it lacks. */
	assert_false(offer(ctx, TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", alpn));
	tls_ctx_unref(ctx);
}

static void test_two_cas_at_once(void **state)
{
	_cleanup_(pki_identity_release) struct pki_identity both = {0};
	struct tls_ctx *server_ctx, *client_ctx;
	struct pair p;

	(void)state;
	buf_append_bytes(&both.cert_pem, buf_bytes(&other_ca.cert_pem));
	buf_append_bytes(&both.cert_pem, buf_bytes(&ca.cert_pem));
	server_ctx = certs_link_ctx(&node_one, &both);
	client_ctx = certs_link_ctx(&node_other, &both);
	pair_init(&p, tls_ctx_ssl(client_ctx), tls_ctx_ssl(server_ctx));
	assert_true(pair_shake(&p));
	pair_release(&p);
	tls_ctx_unref(server_ctx);
	tls_ctx_unref(client_ctx);
}

/* One connection; returns the session it gave, and whether `before` was resumed. */
static SSL_SESSION *resume(
	SSL_CTX *client, struct tls_ctx *ctx, SSL_SESSION *before, bool *ret_resumed)
{
	struct pair p;
	SSL_SESSION *session;
	char byte;

	pair_init(&p, client, tls_ctx_ssl(ctx));
	if (before != NULL) {
		assert_int_equal(SSL_set_session(p.client, before), 1);
	}
	assert_true(pair_shake(&p));
	*ret_resumed = SSL_session_reused(p.server) == 1;
	assert_int_equal(SSL_write(p.server, "x", 1), 1);
	assert_int_equal(SSL_read(p.client, &byte, 1), 1); /* Brings the ticket, too. */
	session = SSL_get1_session(p.client);
	SSL_SESSION_free(before);
	pair_release(&p);
	return session;
}

static void test_tickets_rotate(void **state)
{
	struct clock_manual manual;
	struct tls_tickets *tickets;
	struct tls_ctx *ctx, *reloaded;
	SSL_CTX *client = SSL_CTX_new(TLS_client_method());
	SSL_SESSION *session, *old;
	bool resumed;

	(void)state;
	clock_manual_init(&manual, 0);
	tickets = tls_tickets_new(&manual.clock);
	ctx = certs_api_ctx(&server, tickets);
	reloaded = certs_api_ctx(&server, tickets);
	session = resume(client, ctx, NULL, &resumed);
	assert_false(resumed);
	old = SSL_SESSION_dup(session);
	session = resume(client, reloaded, session, &resumed);
	assert_true(resumed);
	/* Rotated once: the key before still opens. */
	clock_manual_step(&manual, 13ULL * 3600 * 1000);
	session = resume(client, ctx, session, &resumed);
	assert_true(resumed);
	/* 24 hours after it was made: not any more, with traffic in between or not. */
	clock_manual_step(&manual, 11ULL * 3600 * 1000 + 1);
	old = resume(client, ctx, old, &resumed);
	assert_false(resumed);
	clock_manual_step(&manual, 1000ULL * 3600 * 1000);
	session = resume(client, ctx, session, &resumed);
	assert_false(resumed);
	SSL_SESSION_free(session);
	SSL_SESSION_free(old);
	SSL_CTX_free(client);
	tls_ctx_unref(ctx);
	tls_ctx_unref(reloaded);
	tls_tickets_free(tickets);
}

static void test_no_tickets_without_keys(void **state)
{
	struct tls_ctx *ctx = certs_api_ctx(&server, NULL);
	SSL_CTX *client = SSL_CTX_new(TLS_client_method());
	SSL_SESSION *session;
	bool resumed;

	(void)state;
	session = resume(client, ctx, NULL, &resumed);
	assert_false(SSL_SESSION_is_resumable(session));
	SSL_SESSION_free(session);
	SSL_CTX_free(client);
	tls_ctx_unref(ctx);
}

static void test_bad_pem(void **state)
{
	struct tls_ctx *ctx = NULL;
	struct bytes cert = buf_bytes(&server.cert_pem), key = buf_bytes(&server.key_pem);
	struct bytes other = buf_bytes(&node_one.key_pem), none = {NULL, 0};
	struct err e;

	(void)state;
	assert_int_equal(tls_ctx_new_api(cert, other, NULL, &ctx, &e), KLUIS_EINVAL);
	assert_int_equal(tls_ctx_new_api(none, key, NULL, &ctx, &e), KLUIS_EINVAL);
	assert_int_equal(tls_ctx_new_api(cert, none, NULL, &ctx, &e), KLUIS_EINVAL);
	assert_int_equal(tls_ctx_new_api(key, cert, NULL, &ctx, &e), KLUIS_EINVAL);
	assert_int_equal(tls_ctx_new_link(cert, key, none, &ctx, &e), KLUIS_EINVAL);
	assert_int_equal(tls_ctx_new_link(cert, key, key, &ctx, &e), KLUIS_EINVAL);
	assert_int_equal(tls_ctx_new_client(key, NULL, 0, &ctx, &e), KLUIS_EINVAL);
	assert_null(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_api_versions_and_suites),
		cmocka_unit_test(test_api_alpn),
		cmocka_unit_test(test_link_certificates),
		cmocka_unit_test(test_link_refuses_servers),
		cmocka_unit_test(test_link_versions_and_suites),
		cmocka_unit_test(test_two_cas_at_once),
		cmocka_unit_test(test_tickets_rotate),
		cmocka_unit_test(test_no_tickets_without_keys),
		cmocka_unit_test(test_bad_pem),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
