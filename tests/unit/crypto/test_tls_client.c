#include "tests/lib/test.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "crypto/tls_client.h"
#include "crypto/tls_stream.h"
#include "tests/lib/certs.h"
#include "tests/lib/loop.h"

/* A server on a thread of its own: gives back what it gets; "QUIT" makes it end in order, "CUT!"
 * without. */
struct echo {
	uv_loop_t loop;
	uv_tcp_t tcp, deaf, astray; /* deaf takes no connections; astray has a wrong name. */
	uv_pipe_t pipe;
	uv_async_t stop;
	pthread_t thread;
	unsigned port, deaf_port, astray_port;
	char *dir, *path;
	struct tls_ctx *ctx, *astray_ctx;
	struct pki_identity ca, server, self;
};

static void echo_ready_cb(struct tls_stream *stream)
{
	(void)stream;
}

static size_t echo_read_cb(struct tls_stream *stream, struct bytes bytes)
{
	if (bytes_equal(bytes, bytes_str("QUIT"))) {
		tls_stream_close(stream);
		return bytes.len;
	}
	if (bytes_equal(bytes, bytes_str("CUT!"))) {
		tls_stream_abort(stream);
		return bytes.len;
	}
	tls_stream_write(stream, bytes);
	return bytes.len;
}

static void echo_end_cb(struct tls_stream *stream, int rc, const struct err *e)
{
	(void)rc;
	(void)e;
	tls_stream_close(stream);
}

static void echo_closed_cb(struct tls_stream *stream)
{
	(void)stream;
}

static const struct tls_stream_handler echo_handler = {
	echo_ready_cb, echo_read_cb, NULL, echo_end_cb, echo_closed_cb};

static void echo_accept_cb(uv_stream_t *listener, int status)
{
	struct echo *echo = listener->data;
	struct tls_ctx *ctx = listener->type != UV_TCP ? NULL : echo->ctx;
	struct tls_stream *stream;
	struct err e;

	assert_int_equal(status, 0);
	if (listener == (uv_stream_t *)&echo->astray) {
		ctx = echo->astray_ctx;
	}
	assert_int_equal(tls_stream_accept(listener, ctx, &echo_handler, NULL, &stream, &e), 0);
}

static void echo_deaf_cb(uv_stream_t *listener, int status)
{
	(void)listener;
	(void)status;
}

static void echo_stop_cb(uv_async_t *async)
{
	struct echo *echo = async->data;

	uv_close((uv_handle_t *)&echo->tcp, NULL);
	uv_close((uv_handle_t *)&echo->deaf, NULL);
	uv_close((uv_handle_t *)&echo->astray, NULL);
	uv_close((uv_handle_t *)&echo->pipe, NULL);
	uv_close((uv_handle_t *)&echo->stop, NULL);
}

static void *echo_run(void *arg)
{
	struct echo *echo = arg;

	(void)uv_run(&echo->loop, UV_RUN_DEFAULT);
	return NULL;
}

static struct tls_ctx *astray_ctx(const struct pki_identity *ca)
{
	_cleanup_(pki_identity_release) struct pki_identity server = {0};
	const char *ip = "192.0.2.1";
	struct pki_spec spec = {.algorithm = PKI_EC_P256,
		.common_name = "127.0.0.1",
		.ip = &ip,
		.n_ip = 1,
		.wall_ms = clock_wall_ms(&clock_system),
		.days = 1};
	struct err e;

	assert_int_equal(pki_issue_server(ca, &spec, &server, &e), 0);
	return certs_api_ctx(&server, NULL);
}

static int group_setup(void **state)
{
	struct echo *echo = x_calloc(1, sizeof *echo);

	certs_ca(&echo->ca);
	certs_ca(&echo->self);
	certs_server(&echo->ca, &echo->server);
	echo->ctx = certs_api_ctx(&echo->server, NULL);
	assert_int_equal(uv_loop_init(&echo->loop), 0);
	echo->port = loop_listen(&echo->loop, &echo->tcp, echo_accept_cb);
	echo->deaf_port = loop_listen(&echo->loop, &echo->deaf, echo_deaf_cb);
	echo->dir = scratch_new("client");
	echo->path = x_asprintf("%s/s", echo->dir);
	assert_int_equal(uv_pipe_init(&echo->loop, &echo->pipe, 0), 0);
	assert_int_equal(uv_pipe_bind(&echo->pipe, echo->path), 0);
	assert_int_equal(uv_listen((uv_stream_t *)&echo->pipe, 8, echo_accept_cb), 0);
	assert_int_equal(uv_async_init(&echo->loop, &echo->stop, echo_stop_cb), 0);
	echo->astray_ctx = astray_ctx(&echo->ca);
	echo->astray_port = loop_listen(&echo->loop, &echo->astray, echo_accept_cb);
	echo->tcp.data = echo->astray.data = echo->pipe.data = echo->stop.data = echo;
	assert_int_equal(pthread_create(&echo->thread, NULL, echo_run, echo), 0);
	*state = echo;
	return 0;
}

static int group_teardown(void **state)
{
	struct echo *echo = *state;

	assert_int_equal(uv_async_send(&echo->stop), 0);
	assert_int_equal(pthread_join(echo->thread, NULL), 0);
	assert_int_equal(uv_loop_close(&echo->loop), 0);
	tls_ctx_unref(echo->ctx);
	tls_ctx_unref(echo->astray_ctx);
	pki_identity_release(&echo->ca);
	pki_identity_release(&echo->self);
	pki_identity_release(&echo->server);
	scratch_free(echo->dir);
	free(echo->path);
	free(echo);
	return 0;
}

static uint64_t soon(void)
{
	return clock_monotonic_ms(&clock_system) + 60000;
}

static char *address_of(const char *host, unsigned port)
{
	return x_asprintf("%s:%u", host, port);
}

static struct tls_client *connect_to(const struct echo *echo, const char *host)
{
	_cleanup_(x_freep) char *address = address_of(host, echo->port);
	struct tls_ctx *ctx = certs_client_ctx(&echo->ca, "http/1.1");
	struct tls_client *client = NULL;
	struct err e;

	if (tls_client_connect(address, ctx, soon(), &client, &e) != 0) {
		fail_msg("%s", e.text);
	}
	tls_ctx_unref(ctx);
	return client;
}

static void expect_echo(struct tls_client *client, const void *data, size_t len)
{
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct err e;

	while (got.len < len) {
		size_t n = 0;

		buf_reserve(&got, 40000);
		assert_int_equal(
			tls_client_read(client, got.data + got.len, 40000, soon(), &n, &e), 0);
		assert_true(n > 0);
		got.len += n;
	}
	assert_true(bytes_equal(buf_bytes(&got), bytes_of(data, len)));
}

static void test_echo(void **state)
{
	struct tls_client *client = connect_to(*state, "127.0.0.1");
	uint8_t data[200000], spki[32], none[32] = {0};
	struct err e;

	random_fill(&random_system, data, sizeof data);
	assert_string_equal(tls_client_version(client), "TLSv1.3");
	assert_true(bytes_equal(tls_client_alpn(client), bytes_str("http/1.1")));
	tls_client_peer_spki(client, spki);
	assert_memory_not_equal(spki, none, sizeof spki);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(
			tls_client_write(client, bytes_of(data, sizeof data), soon(), &e), 0);
		expect_echo(client, data, sizeof data);
	}
	tls_client_free(client);
}

static void test_by_name(void **state)
{
	tls_client_free(connect_to(*state, "localhost"));
}

static void test_unix(void **state)
{
	struct echo *echo = *state;
	struct tls_client *client = NULL;
	struct err e;
	char byte;
	size_t n = 7;

	assert_int_equal(tls_client_connect_unix(echo->path, &client, &e), 0);
	assert_string_equal(tls_client_version(client), "plain");
	assert_int_equal(tls_client_write(client, bytes_str("status"), soon(), &e), 0);
	expect_echo(client, "status", 6);
	assert_int_equal(tls_client_write(client, bytes_str("QUIT"), soon(), &e), 0);
	assert_int_equal(tls_client_read(client, &byte, 1, soon(), &n, &e), 0);
	assert_int_equal(n, 0);
	tls_client_free(client);
	client = NULL;
	assert_int_equal(tls_client_connect_unix("/nonexistent/s", &client, &e), KLUIS_ECONNECT);
	assert_null(client);
}

static void test_ends(void **state)
{
	struct tls_client *client = connect_to(*state, "127.0.0.1");
	struct err e;
	char byte;
	size_t n = 7;

	assert_int_equal(tls_client_write(client, bytes_str("QUIT"), soon(), &e), 0);
	assert_int_equal(tls_client_read(client, &byte, 1, soon(), &n, &e), 0);
	assert_int_equal(n, 0);
	tls_client_free(client);
	client = connect_to(*state, "127.0.0.1");
	assert_int_equal(tls_client_write(client, bytes_str("CUT!"), soon(), &e), 0);
	assert_int_equal(tls_client_read(client, &byte, 1, soon(), &n, &e), KLUIS_ECLOSED);
	/* Writing into it ends in an error, not in a signal. */
	for (int i = 0; i < 100 && tls_client_write(client, bytes_str("x"), soon(), &e) == 0; i++) {
		(void)poll(NULL, 0, 1);
	}
	assert_int_equal(tls_client_write(client, bytes_str("x"), soon(), &e), KLUIS_ECLOSED);
	tls_client_free(client);
}

static void test_deadlines(void **state)
{
	struct echo *echo = *state;
	_cleanup_(x_freep) char *address = address_of("127.0.0.1", echo->deaf_port);
	struct tls_ctx *ctx = certs_client_ctx(&echo->ca, "");
	struct tls_client *client = NULL;
	uint64_t began = clock_monotonic_ms(&clock_system), took;
	struct err e;
	char byte;
	size_t n;

	/* The kernel takes the connection, nobody answers the handshake. */
	assert_int_equal(tls_client_connect(address, ctx, began + 60, &client, &e), KLUIS_ETIMEOUT);
	took = clock_monotonic_ms(&clock_system) - began;
	assert_in_range(took, 59, 60000);
	assert_null(client);
	tls_ctx_unref(ctx);
	client = connect_to(echo, "127.0.0.1");
	assert_int_equal(tls_client_read(client, &byte, 1, 0, &n, &e), KLUIS_EAGAIN);
	assert_int_equal(tls_client_events(client), POLLIN);
	assert_int_equal(
		tls_client_read(client, &byte, 1, clock_monotonic_ms(&clock_system) + 20, &n, &e),
		KLUIS_ETIMEOUT);
	/* Still good. */
	assert_int_equal(tls_client_write(client, bytes_str("x"), soon(), &e), 0);
	expect_echo(client, "x", 1);
	tls_client_free(client);
}

static void refuse(const char *address, struct tls_ctx *ctx, int rc, const char *why)
{
	struct tls_client *client = NULL;
	struct err e;

	assert_int_equal(tls_client_connect(address, ctx, soon(), &client, &e), rc);
	if (strstr(e.text, why) == NULL) {
		fail_msg("'%s' says nothing of '%s'", e.text, why);
	}
	assert_null(client);
	tls_ctx_unref(ctx);
}

static void test_refusals(void **state)
{
	struct echo *echo = *state;
	_cleanup_(x_freep) char *address = address_of("127.0.0.1", echo->port);
	_cleanup_(x_freep) char *other = address_of("127.0.0.2", echo->port);

	refuse(address, certs_client_ctx(&echo->self, "h2"), KLUIS_EVERIFY, "certificate");
	refuse(address, certs_client_ctx(&echo->ca, "spdy/1"), KLUIS_EPROTO, "protocol");
	refuse("127.0.0.1:1", certs_client_ctx(&echo->ca, "h2"), KLUIS_ECONNECT, "refused");
	refuse("127.0.0.1", certs_client_ctx(&echo->ca, "h2"), KLUIS_EINVAL, "host:port");
	refuse("no such host:1", certs_client_ctx(&echo->ca, "h2"), KLUIS_EINVAL, "host");
	refuse(other, certs_client_ctx(&echo->ca, "h2"), KLUIS_ECONNECT, "refused");
}

/* The certificate is good, but not for the address that was asked for. */
static void test_wrong_address(void **state)
{
	struct echo *echo = *state;
	_cleanup_(x_freep) char *address = address_of("127.0.0.1", echo->astray_port);

	refuse(address, certs_client_ctx(&echo->ca, "h2"), KLUIS_EVERIFY, "IP address");
}

/* For a first pin nothing is verified; the key is there to be shown. */
static void test_without_a_ca(void **state)
{
	struct echo *echo = *state;
	_cleanup_(x_freep) char *address = address_of("127.0.0.1", echo->port);
	struct bytes none = {NULL, 0};
	struct pki_info info;
	struct tls_ctx *ctx = NULL;
	struct tls_client *client = NULL;
	uint8_t spki[32];
	struct err e;

	assert_int_equal(tls_ctx_new_client(none, NULL, 0, &ctx, &e), 0);
	assert_int_equal(tls_client_connect(address, ctx, soon(), &client, &e), 0);
	tls_client_peer_spki(client, spki);
	assert_int_equal(pki_info(buf_bytes(&echo->server.cert_pem), &info, &e), 0);
	assert_memory_equal(spki, info.spki_sha256, 32);
	tls_client_free(client);
	tls_ctx_unref(ctx);
}

struct transfer {
	struct tls_client *client;
	size_t sent, got;
};

/* As much as goes without waiting. */
static void transfer_step(struct transfer *t, const uint8_t *data, size_t len)
{
	uint8_t to[30000];
	struct err e;
	size_t n;

	while (t->sent < len) {
		int rc = tls_client_write_some(
			t->client, bytes_of(data + t->sent, len - t->sent), &n, &e);

		if (rc == KLUIS_EAGAIN) {
			break;
		}
		assert_int_equal(rc, 0);
		t->sent += n;
	}
	for (;;) {
		int rc = tls_client_read(t->client, to, sizeof to, 0, &n, &e);

		if (rc == KLUIS_EAGAIN) {
			assert_false(tls_client_pending(t->client));
			break;
		}
		assert_int_equal(rc, 0);
		assert_memory_equal(to, data + t->got, n);
		t->got += n;
	}
}

/* More than socket buffers hold, on several connections at once, by poll. */
static void test_several_by_poll(void **state)
{
	size_t len = 6 << 20;
	uint8_t *data = x_malloc(len);
	struct transfer t[3] = {{0}};
	bool done = false;

	random_fill(&random_system, data, len);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		t[i].client = connect_to(*state, "127.0.0.1");
	}
	while (!done) {
		struct pollfd fds[ARRAY_SIZE(t)];

		done = true;
		for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
			short want = t[i].sent < len ? POLLIN | POLLOUT : POLLIN;

			transfer_step(&t[i], data, len);
			done = done && t[i].got == len;
			fds[i] = (struct pollfd){tls_client_fd(t[i].client), want, 0};
		}
		assert_true(done || poll(fds, ARRAY_SIZE(t), 60000) > 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		tls_client_free(t[i].client);
	}
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo),
		cmocka_unit_test(test_by_name),
		cmocka_unit_test(test_unix),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_wrong_address),
		cmocka_unit_test(test_without_a_ca),
		cmocka_unit_test(test_several_by_poll),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
