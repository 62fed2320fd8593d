#include "tests/lib/test.h"

#include <string.h>
#include <unistd.h>

#include "tests/unit/crypto/lib/stream_rig.h"

static void test_dial_refused(void **state)
{
	struct fixture *f = *state;
	uv_tcp_t other;
	unsigned port = loop_listen(&f->loop, &other, fixture_accept_cb), keep = f->port;

	uv_close((uv_handle_t *)&other, NULL);
	loop_for(&f->loop, 1);
	f->port = port;
	fixture_dial(f, NULL);
	assert_int_equal(f->client.ends, 0);
	loop_until(&f->loop, client_ended, f, "refused");
	assert_int_equal(f->client.end_rc, KLUIS_ECONNECT);
	assert_non_null(strstr(f->client.why, "refused"));
	f->port = keep;
	/* It can be closed gracefully, too. */
	tls_stream_close(f->client.stream);
	loop_until(&f->loop, client_closed, f, "closed");
}

/* The handshake fails: both sides say how. */
static void fail_handshake(
	struct fixture *f, const char *name, int client_rc, int server_rc, const char *why)
{
	fixture_dial(f, name);
	loop_until(&f->loop, client_ended, f, "client's end");
	assert_int_equal(f->client.end_rc, client_rc);
	if (strstr(f->client.why, why) == NULL) {
		fail_msg("'%s' says nothing of '%s'", f->client.why, why);
	}
	tls_stream_close(f->client.stream);
	loop_until(&f->loop, server_ended, f, "server's end");
	assert_int_equal(f->server.end_rc, server_rc);
	assert_int_equal(f->server.readies, 0);
}

static void test_wrong_ca(void **state)
{
	struct fixture *f = *state;
	_cleanup_(pki_identity_release) struct pki_identity other = {0};

	certs_ca(&other);
	f->server_ctx = certs_api_ctx(&f->server_identity, NULL);
	f->client_ctx = certs_client_ctx(&other, "h2");
	fail_handshake(f, "127.0.0.1", KLUIS_EVERIFY, KLUIS_EVERIFY, "certificate");
}

static void test_wrong_name(void **state)
{
	fixture_tls(*state);
	fail_handshake(*state, "other.example", KLUIS_EVERIFY, KLUIS_EVERIFY, "ostname");
}

static void test_wrong_ip(void **state)
{
	fixture_tls(*state);
	fail_handshake(*state, "127.0.0.2", KLUIS_EVERIFY, KLUIS_EVERIFY, "IP address");
}

static void test_right_dns_name(void **state)
{
	struct fixture *f = *state;

	fixture_tls(f);
	fixture_dial(f, "localhost");
	loop_until(&f->loop, both_ready, f, "ready");
}

static void test_no_common_alpn(void **state)
{
	struct fixture *f = *state;

	f->server_ctx = certs_api_ctx(&f->server_identity, NULL);
	f->client_ctx = certs_client_ctx(&f->ca, "spdy/1");
	fail_handshake(f, "127.0.0.1", KLUIS_EPROTO, KLUIS_EPROTO, "no application protocol");
}

static void test_garbage_is_no_tls(void **state)
{
	struct fixture *f = *state;

	f->server_ctx = certs_api_ctx(&f->server_identity, NULL);
	fixture_dial(f, NULL);
	while (f->client.readies == 0) {
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	}
	tls_stream_write(f->client.stream, bytes_of("\x16\x03\x01\0\x05\xff\0\0\x01\0", 10));
	loop_until(&f->loop, server_ended, f, "server's end");
	assert_int_equal(f->server.end_rc, KLUIS_EPROTO);
	tls_stream_close(f->server.stream);
	loop_until(&f->loop, client_ended, f, "client's end");
	/* It got an alert: level fatal. */
	assert_int_equal(f->client.got.len, 7);
	assert_int_equal(f->client.got.data[0], 21);
}

static void test_garbage_after_the_handshake(void **state)
{
	struct fixture *f = *state;
	uv_os_fd_t fd;
	uint8_t junk[64] = {23, 3, 3, 0, 40};

	fixture_tls(f);
	fixture_connect(f);
	/* Under the client's TLS, straight into its socket: a record that does not decrypt. */
	assert_int_equal(uv_fileno(&f->client.stream->io.handle, &fd), 0);
	assert_int_equal(write(fd, junk, 45), 45);
	loop_until(&f->loop, server_ended, f, "server's end");
	assert_int_equal(f->server.end_rc, KLUIS_EPROTO);
	assert_int_equal(f->server.got.len, 0);
}

static void test_silent_client_cut_in_handshake(void **state)
{
	struct fixture *f = *state;

	f->server_ctx = certs_api_ctx(&f->server_identity, NULL);
	fixture_dial(f, NULL);
	while (f->client.readies == 0) {
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	}
	tls_stream_close(f->client.stream);
	loop_until(&f->loop, server_ended, f, "server's end");
	assert_int_equal(f->server.end_rc, KLUIS_ECLOSED);
}

static void test_link_identity(void **state)
{
	struct fixture *f = *state;
	_cleanup_(pki_identity_release) struct pki_identity one = {0}, two = {0};
	const struct tls_peer *peer;

	certs_node(&f->ca, 1, 0, &one);
	certs_node(&f->ca, 2, 0, &two);
	f->server_ctx = certs_link_ctx(&one, &f->ca);
	f->client_ctx = certs_link_ctx(&two, &f->ca);
	fixture_dial(f, NULL);
	loop_until(&f->loop, both_ready, f, "ready");
	peer = tls_stream_peer(f->client.stream);
	assert_true(peer->verified && peer->is_node);
	assert_int_equal(peer->node_id, 1);
	assert_memory_equal(peer->cluster_id, certs_cluster, 16);
	peer = tls_stream_peer(f->server.stream);
	assert_true(peer->verified && peer->is_node);
	assert_int_equal(peer->node_id, 2);
	assert_true(bytes_equal(tls_stream_alpn(f->server.stream), bytes_str(TLS_ALPN_LINK)));
}

#define STREAM_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_TEST(test_dial_refused),
		STREAM_TEST(test_wrong_ca),
		STREAM_TEST(test_wrong_name),
		STREAM_TEST(test_wrong_ip),
		STREAM_TEST(test_right_dns_name),
		STREAM_TEST(test_no_common_alpn),
		STREAM_TEST(test_garbage_is_no_tls),
		STREAM_TEST(test_garbage_after_the_handshake),
		STREAM_TEST(test_silent_client_cut_in_handshake),
		STREAM_TEST(test_link_identity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
