/* OpenSSL's s_client and sslscan against our contexts, over our stream. */
#include "tests/lib/test.h"

#include <pthread.h>
#include <string.h>

#include "base/file.h"
#include "crypto/tls_stream.h"
#include "tests/lib/certs.h"
#include "tests/lib/loop.h"
#include "tests/lib/program.h"

/* Two listeners on a thread of their own, an API server's and a link's. */
struct server {
	uv_loop_t loop;
	uv_tcp_t api, link;
	uv_async_t stop;
	pthread_t thread;
	unsigned api_port, link_port;
	struct tls_tickets *tickets;
	struct tls_ctx *api_ctx, *link_ctx;
	char *dir;
};

static void server_ready_cb(struct tls_stream *stream)
{
	(void)stream;
}

/* Answers the first words it hears, and goes. */
static size_t server_read_cb(struct tls_stream *stream, struct bytes bytes)
{
	tls_stream_write(stream, bytes_str("greetings\n"));
	tls_stream_close(stream);
	return bytes.len;
}

static void server_end_cb(struct tls_stream *stream, int rc, const struct err *e)
{
	(void)rc;
	(void)e;
	tls_stream_close(stream);
}

static void server_closed_cb(struct tls_stream *stream)
{
	(void)stream;
}

static const struct tls_stream_handler server_handler = {
	server_ready_cb, server_read_cb, NULL, server_end_cb, server_closed_cb};

static void server_accept_cb(uv_stream_t *listener, int status)
{
	struct server *s = listener->data;
	struct tls_stream *stream;
	struct err e;

	assert_int_equal(status, 0);
	assert_int_equal(tls_stream_accept(listener,
				 listener == (uv_stream_t *)&s->api ? s->api_ctx : s->link_ctx,
				 &server_handler, NULL, &stream, &e),
		0);
}

static void server_stop_cb(uv_async_t *async)
{
	struct server *s = async->data;

	uv_close((uv_handle_t *)&s->api, NULL);
	uv_close((uv_handle_t *)&s->link, NULL);
	uv_close((uv_handle_t *)&s->stop, NULL);
}

static void *server_run(void *arg)
{
	struct server *s = arg;

	(void)uv_run(&s->loop, UV_RUN_DEFAULT);
	return NULL;
}

static void save(const struct server *s, const char *name, const struct pki_identity *identity)
{
	_cleanup_(x_freep) char *cert = x_asprintf("%s/%s.pem", s->dir, name);
	_cleanup_(x_freep) char *key = x_asprintf("%s/%s.key", s->dir, name);
	struct err e;

	assert_int_equal(pki_write(identity, cert, key, &e), 0);
}

static int group_setup(void **state)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {0}, node_ca = {0}, api = {0},
							    node = {0}, client = {0}, old = {0};
	struct server *s = x_calloc(1, sizeof *s);

	certs_ca(&ca);
	certs_ca(&node_ca);
	certs_server(&ca, &api);
	certs_node(&node_ca, 1, 0, &node);
	certs_node(&node_ca, 2, 0, &client);
	certs_node(&node_ca, 2, 40, &old);
	s->dir = scratch_new("interop");
	save(s, "ca", &ca);
	save(s, "node-ca", &node_ca);
	save(s, "client", &client);
	save(s, "old", &old);
	s->tickets = tls_tickets_new(&clock_system);
	s->api_ctx = certs_api_ctx(&api, s->tickets);
	s->link_ctx = certs_link_ctx(&node, &node_ca);
	assert_int_equal(uv_loop_init(&s->loop), 0);
	s->api_port = loop_listen(&s->loop, &s->api, server_accept_cb);
	s->link_port = loop_listen(&s->loop, &s->link, server_accept_cb);
	assert_int_equal(uv_async_init(&s->loop, &s->stop, server_stop_cb), 0);
	s->api.data = s->link.data = s->stop.data = s;
	assert_int_equal(pthread_create(&s->thread, NULL, server_run, s), 0);
	*state = s;
	return 0;
}

static int group_teardown(void **state)
{
	struct server *s = *state;

	assert_int_equal(uv_async_send(&s->stop), 0);
	assert_int_equal(pthread_join(s->thread, NULL), 0);
	assert_int_equal(uv_loop_close(&s->loop), 0);
	tls_ctx_unref(s->api_ctx);
	tls_ctx_unref(s->link_ctx);
	tls_tickets_free(s->tickets);
	scratch_free(s->dir);
	free(s);
	return 0;
}

/* openssl s_client in the scratch directory, with up to 12 more arguments; what it printed. */
static char *s_client(
	const struct server *s, unsigned port, const char *input, const char *const *more)
{
	_cleanup_(x_freep) char *address = x_asprintf("127.0.0.1:%u", port);
	_cleanup_(x_freep) char *cd = x_asprintf("cd '%s' && exec \"$@\"", s->dir);
	_cleanup_(buf_release) struct buf out = BUF_INIT;
	const char *argv[24] = {"sh", "-c", cd, "sh", "openssl", "s_client", "-connect", address};
	size_t n = 8;

	while (*more != NULL) {
		assert_true(n < ARRAY_SIZE(argv) - 1);
		argv[n++] = *more++;
	}
	assert_true(program_run(argv, input, &out) < 126);
	return x_strdup(buf_str(&out));
}
#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void expect(char *out, const char *text)
{
	if (strstr(out, text) == NULL) {
		fail_msg("'%s' is not in:\n%s", text, out);
	}
	free(out);
}

static void test_api_verifies(void **state)
{
	struct server *s = *state;

	expect(s_client(s, s->api_port, "Q\n",
		       ARGS("-CAfile", "ca.pem", "-verify_return_error", "-verify_ip", "127.0.0.1",
			       "-alpn", "h2")),
		"Verify return code: 0 (ok)");
	expect(s_client(s, s->api_port, "Q\n", ARGS("-CAfile", "node-ca.pem")),
		"verify error:num=20");
	expect(s_client(s, s->api_port, "Q\n", ARGS("-alpn", "foo,h2")), "ALPN protocol: h2");
	expect(s_client(s, s->api_port, "Q\n", ARGS("-alpn", "http/1.1")),
		"ALPN protocol: http/1.1");
	expect(s_client(s, s->api_port, "Q\n", ARGS("-alpn", "spdy/3")), "no application protocol");
	expect(s_client(s, s->api_port, "hello\n", ARGS("-ign_eof")), "greetings");
}

static void test_api_versions(void **state)
{
	static const struct {
		const char *version, *option, *suite, *want;
	} rows[] = {
		{"-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256",
			"Cipher is TLS_AES_128_GCM_SHA256"},
		{"-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256",
			"Cipher is TLS_CHACHA20_POLY1305_SHA256"},
		{"-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256", "handshake failure"},
		{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384",
			"Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"},
		{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA", "handshake failure"},
		{"-tls1_2", "-cipher", "AES128-SHA", "handshake failure"},
		{"-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "alert protocol version"},
		{"-tls1", "-cipher", "ALL:@SECLEVEL=0", "alert protocol version"},
	};
	struct server *s = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		expect(s_client(s, s->api_port, "Q\n",
			       ARGS(rows[i].version, rows[i].option, rows[i].suite)),
			rows[i].want);
	}
}

static void test_api_resumes(void **state)
{
	struct server *s = *state;

	free(s_client(s, s->api_port, "", ARGS("-tls1_2", "-sess_out", "session")));
	expect(s_client(s, s->api_port, "Q\n", ARGS("-tls1_2", "-sess_in", "session")),
		"Reused, TLSv1.2");
	/* The ticket comes before the answer, and is printed. */
	expect(s_client(s, s->api_port, "hello\n", ARGS("-tls1_3", "-ign_eof")),
		"Max Early Data: 0");
	expect(s_client(s, s->api_port, "Q\n", ARGS("-tls1_2")), "Compression: NONE");
}

static void test_link(void **state)
{
	struct server *s = *state;

	expect(s_client(s, s->link_port, "hello\n",
		       ARGS("-CAfile", "node-ca.pem", "-verify_return_error", "-cert", "client.pem",
			       "-key", "client.key", "-alpn", "kluis-link/1", "-ign_eof")),
		"greetings");
	expect(s_client(s, s->link_port, "Q\n",
		       ARGS("-cert", "client.pem", "-key", "client.key", "-alpn", "kluis-link/1")),
		"Cipher is TLS_AES_256_GCM_SHA384");
	expect(s_client(s, s->link_port, "Q\n",
		       ARGS("-tls1_2", "-cert", "client.pem", "-key", "client.key")),
		"alert protocol version");
	expect(s_client(s, s->link_port, "Q\n",
		       ARGS("-ciphersuites", "TLS_AES_128_GCM_SHA256", "-cert", "client.pem",
			       "-key", "client.key")),
		"handshake failure");
	expect(s_client(s, s->link_port, "Q\n",
		       ARGS("-cert", "client.pem", "-key", "client.key", "-alpn", "h2")),
		"no application protocol");
}

static void test_link_refuses(void **state)
{
	struct server *s = *state;

	/* -ign_eof: it waits for what the server has to say. */
	expect(s_client(s, s->link_port, "", ARGS("-alpn", "kluis-link/1", "-ign_eof")),
		"certificate required");
	expect(s_client(s, s->link_port, "",
		       ARGS("-cert", "old.pem", "-key", "old.key", "-alpn", "kluis-link/1",
			       "-ign_eof")),
		"certificate expired");
	/* A client with the API's CA as its certificate: not a node's. */
	expect(s_client(s, s->link_port, "",
		       ARGS("-cert", "ca.pem", "-key", "ca.key", "-alpn", "kluis-link/1",
			       "-ign_eof")),
		"unknown ca");
}

static void test_sslscan(void **state)
{
	static const char *const want[] = {"SSLv2     disabled", "SSLv3     disabled",
		"TLSv1.0   disabled", "TLSv1.1   disabled", "TLSv1.2   enabled",
		"TLSv1.3   enabled", "Session renegotiation not supported",
		"TLSv1.3 not vulnerable to heartbleed", "TLSv1.2 not vulnerable to heartbleed"};
	static const char *const bad[] = {"CBC", "RC4", "3DES", "CAMELLIA", "ARIA", "CCM",
		"AES128-SHA ", "AES256-SHA ", "SHA384 ECDHE-RSA-AES256-SHA"};
	struct server *s = *state;
	_cleanup_(x_freep) char *address = x_asprintf("127.0.0.1:%u", s->api_port);
	const char *argv[] = {"sslscan", "--no-colour", address, NULL};
	_cleanup_(buf_release) struct buf out = BUF_INIT;

	if (!program_exists("sslscan")) {
		skip();
	}
	assert_int_equal(program_run(argv, "", &out), 0);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		if (strstr(buf_str(&out), want[i]) == NULL) {
			fail_msg("'%s' is not in:\n%s", want[i], buf_str(&out));
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (strstr(buf_str(&out), bad[i]) != NULL) {
			fail_msg("'%s' is in:\n%s", bad[i], buf_str(&out));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_api_verifies),
		cmocka_unit_test(test_api_versions),
		cmocka_unit_test(test_api_resumes),
		cmocka_unit_test(test_link),
		cmocka_unit_test(test_link_refuses),
		cmocka_unit_test(test_sslscan),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
