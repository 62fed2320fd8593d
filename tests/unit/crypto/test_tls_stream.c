#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "crypto/tls_stream_state.h"
#include "tests/lib/certs.h"
#include "tests/lib/loop.h"

/* One end of a connection, and what happened to it. */
struct end {
	struct tls_stream *stream;
	struct buf got;
	unsigned readies, drains, ends, closes;
	int end_rc;
	char why[256];
	/* What it does. */
	size_t take_max;    /* In one read_cb; 0: all. */
	size_t produce_len; /* Still to be written. */
	uint64_t produced;
	size_t unsent_max; /* Seen. */
	bool quiet;	   /* Takes nothing at all. */
	bool check;	   /* Compares with the pattern instead of keeping. */
	uint64_t checked;
	enum { ABORT_NEVER, ABORT_READY, ABORT_READ, ABORT_DRAIN, ABORT_END } abort_in;
	bool close_at_end;
	const char *last_words; /* Written at the peer's end, not flushed. */
};

struct fixture {
	uv_loop_t loop;
	union {
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} listener;
	unsigned port;
	struct tls_ctx *server_ctx, *client_ctx;
	struct pki_identity ca, server_identity;
	struct end server, client;
};

static uint8_t pattern_at(uint64_t at)
{
	return (uint8_t)(at * 2654435761U >> 13);
}

static void end_take(struct end *end, struct bytes bytes)
{
	if (!end->check) {
		buf_append_bytes(&end->got, bytes);
		return;
	}
	for (size_t i = 0; i < bytes.len; i++) {
		if (bytes.data[i] != pattern_at(end->checked + i)) {
			fail_msg("byte %zu differs", (size_t)end->checked + i);
		}
	}
	end->checked += bytes.len;
}

/* In pieces of many sizes, as long as there is room. */
static void end_produce(struct end *end)
{
	static uint8_t piece[40000];

	while (end->produce_len > 0 && tls_stream_writable(end->stream)) {
		size_t len = 1 + (size_t)(end->produced * 7919 % sizeof piece);

		len = len < end->produce_len ? len : end->produce_len;
		for (size_t i = 0; i < len; i++) {
			piece[i] = pattern_at(end->produced + i);
		}
		tls_stream_write(end->stream, bytes_of(piece, len));
		end->produced += len;
		end->produce_len -= len;
		if (tls_stream_unsent(end->stream) > end->unsent_max) {
			end->unsent_max = tls_stream_unsent(end->stream);
		}
	}
	tls_stream_flush(end->stream);
}

static void end_ready_cb(struct tls_stream *stream)
{
	struct end *end = tls_stream_data(stream);

	assert_ptr_equal(end->stream, stream);
	end->readies++;
	if (end->abort_in == ABORT_READY) {
		tls_stream_abort(stream);
		return;
	}
	end_produce(end);
}

static size_t end_read_cb(struct tls_stream *stream, struct bytes bytes)
{
	struct end *end = tls_stream_data(stream);
	size_t len = end->take_max == 0 || bytes.len < end->take_max ? bytes.len : end->take_max;

	assert_true(bytes.len > 0);
	assert_int_equal(end->readies, 1);
	assert_int_equal(end->ends, 0);
	if (end->abort_in == ABORT_READ) {
		tls_stream_abort(stream);
		return 0;
	}
	if (end->quiet) {
		return 0;
	}
	end_take(end, bytes_of(bytes.data, len));
	return len;
}

static void end_drain_cb(struct tls_stream *stream)
{
	struct end *end = tls_stream_data(stream);

	end->drains++;
	assert_true(tls_stream_unsent(stream) <= TLS_STREAM_LOW_BYTES);
	if (end->abort_in == ABORT_DRAIN) {
		tls_stream_abort(stream);
		return;
	}
	end_produce(end);
}

static void end_end_cb(struct tls_stream *stream, int rc, const struct err *e)
{
	struct end *end = tls_stream_data(stream);

	end->ends++;
	end->end_rc = rc;
	assert_int_equal(e == NULL, rc == 0);
	if (end->last_words != NULL) {
		tls_stream_write(stream, bytes_str(end->last_words));
	}
	(void)snprintf(end->why, sizeof end->why, "%s", e == NULL ? "" : e->text);
	if (end->abort_in == ABORT_END) {
		tls_stream_abort(stream);
	} else if (end->close_at_end) {
		tls_stream_close(stream);
	}
}

static void end_closed_cb(struct tls_stream *stream)
{
	struct end *end = tls_stream_data(stream);

	end->closes++;
	end->stream = NULL;
}

static const struct tls_stream_handler end_handler = {
	end_ready_cb, end_read_cb, end_drain_cb, end_end_cb, end_closed_cb};

static void fixture_accept_cb(uv_stream_t *listener, int status)
{
	struct fixture *f = listener->data;
	struct err e;

	assert_int_equal(status, 0);
	assert_null(f->server.stream);
	assert_int_equal(tls_stream_accept(listener, f->server_ctx, &end_handler, &f->server,
				 &f->server.stream, &e),
		0);
	assert_int_equal(f->server.readies, 0);
}

static int fixture_setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	assert_int_equal(uv_loop_init(&f->loop), 0);
	f->port = loop_listen(&f->loop, &f->listener.tcp, fixture_accept_cb);
	f->listener.tcp.data = f;
	certs_ca(&f->ca);
	certs_server(&f->ca, &f->server_identity);
	*state = f;
	return 0;
}

static void fixture_tls(struct fixture *f)
{
	f->server_ctx = certs_api_ctx(&f->server_identity, NULL);
	f->client_ctx = certs_client_ctx(&f->ca, "h2");
}

static void fixture_dial(struct fixture *f, const char *name)
{
	struct sockaddr_in address;
	struct err e;

	assert_int_equal(uv_ip4_addr("127.0.0.1", (int)f->port, &address), 0);
	assert_int_equal(tls_stream_dial(&f->loop, (const struct sockaddr *)&address, f->client_ctx,
				 name, &end_handler, &f->client, &f->client.stream, &e),
		0);
}

static bool both_ready(void *arg)
{
	struct fixture *f = arg;

	return f->client.readies == 1 && f->server.readies == 1;
}

static bool both_closed(void *arg)
{
	struct fixture *f = arg;

	return f->client.closes == 1 && f->server.closes == 1;
}

static void fixture_connect(struct fixture *f)
{
	fixture_dial(f, "127.0.0.1");
	loop_until(&f->loop, both_ready, f, "both ready");
}

static int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	if (f->server.stream != NULL) {
		tls_stream_abort(f->server.stream);
	}
	if (f->client.stream != NULL) {
		tls_stream_abort(f->client.stream);
	}
	uv_close((uv_handle_t *)&f->listener, NULL);
	loop_end(&f->loop);
	assert_null(f->server.stream);
	assert_null(f->client.stream);
	tls_ctx_unref(f->server_ctx);
	tls_ctx_unref(f->client_ctx);
	buf_release(&f->server.got);
	buf_release(&f->client.got);
	pki_identity_release(&f->ca);
	pki_identity_release(&f->server_identity);
	free(f);
	return 0;
}

static bool server_got_hello(void *arg)
{
	struct fixture *f = arg;

	return bytes_equal(buf_bytes(&f->server.got), bytes_str("hello, world"));
}

static void say_hello(struct fixture *f)
{
	static const struct bytes empty = {NULL, 0};
	struct bytes pieces[] = {bytes_str("hello"), empty, bytes_str(", "), bytes_str("world")};

	tls_stream_writev(f->client.stream, pieces, ARRAY_SIZE(pieces));
	loop_until(&f->loop, server_got_hello, f, "hello"); /* Without a flush. */
}

static void test_tls_hello(void **state)
{
	struct fixture *f = *state;
	const struct tls_peer *peer;

	fixture_tls(f);
	fixture_connect(f);
	say_hello(f);
	assert_true(bytes_equal(tls_stream_alpn(f->client.stream), bytes_str("h2")));
	assert_true(bytes_equal(tls_stream_alpn(f->server.stream), bytes_str("h2")));
	assert_string_equal(tls_stream_version(f->server.stream), "TLSv1.3");
	assert_string_equal(tls_stream_host(f->server.stream), "127.0.0.1");
	assert_memory_equal(tls_stream_address(f->server.stream), "127.0.0.1:", 10);
	assert_int_equal(tls_stream_counters(f->server.stream)->read_bytes, 12);
	assert_int_equal(tls_stream_counters(f->client.stream)->written_bytes, 12);
	assert_true(tls_stream_counters(f->client.stream)->wire_sent_bytes > 12);
	peer = tls_stream_peer(f->client.stream);
	assert_true(peer->verified);
	assert_false(peer->is_node);
	assert_false(tls_stream_peer(f->server.stream)->verified);
}

static void test_plain_hello(void **state)
{
	struct fixture *f = *state;
	uid_t uid;

	fixture_connect(f);
	say_hello(f);
	assert_false(tls_stream_is_tls(f->server.stream));
	assert_string_equal(tls_stream_version(f->server.stream), "plain");
	assert_int_equal(tls_stream_alpn(f->server.stream).len, 0);
	assert_int_equal(tls_stream_peer_uid(f->server.stream, &uid), KLUIS_EINVAL);
}

static void unix_connected_cb(uv_connect_t *req, int status)
{
	assert_int_equal(status, 0);
	*(bool *)req->data = true;
}

static bool flag_is_set(void *arg)
{
	return *(bool *)arg;
}

static bool server_got_some(void *arg)
{
	struct fixture *f = arg;

	return f->server.got.len > 0;
}

static void test_unix_hello(void **state)
{
	struct fixture *f = *state;
	char *dir = scratch_new("stream");
	_cleanup_(x_freep) char *path = x_asprintf("%s/s", dir);
	uv_pipe_t listener, client;
	uv_connect_t connect;
	bool connected = false;
	uid_t uid = (uid_t)-1;
	uv_buf_t hi = uv_buf_init((char *)(uintptr_t) "hi", 2);

	assert_int_equal(uv_pipe_init(&f->loop, &listener, 0), 0);
	assert_int_equal(uv_pipe_bind(&listener, path), 0);
	listener.data = f;
	assert_int_equal(uv_listen((uv_stream_t *)&listener, 1, fixture_accept_cb), 0);
	assert_int_equal(uv_pipe_init(&f->loop, &client, 0), 0);
	connect.data = &connected;
	uv_pipe_connect(&connect, &client, path, unix_connected_cb);
	loop_until(&f->loop, flag_is_set, &connected, "connected");
	assert_int_equal(uv_try_write((uv_stream_t *)&client, &hi, 1), 2);
	loop_until(&f->loop, server_got_some, f, "hi");
	assert_string_equal(tls_stream_address(f->server.stream), "unix");
	assert_int_equal(tls_stream_peer_uid(f->server.stream, &uid), 0);
	assert_int_equal(uid, getuid());
	uv_close((uv_handle_t *)&client, NULL);
	uv_close((uv_handle_t *)&listener, NULL);
	loop_for(&f->loop, 1);
	assert_int_equal(f->server.ends, 1);
	assert_int_equal(f->server.end_rc, 0);
	scratch_free(dir);
}

static bool both_checked_all(void *arg)
{
	struct fixture *f = arg;

	return f->client.checked == f->server.produced && f->server.checked == f->client.produced &&
	       f->client.produce_len == 0 && f->server.produce_len == 0;
}

static void both_ways(struct fixture *f)
{
	f->client.check = f->server.check = true;
	f->client.produce_len = 24 << 20;
	f->server.produce_len = 17 << 20;
	fixture_connect(f);
	loop_until(&f->loop, both_checked_all, f, "both ways");
	assert_int_equal(f->server.checked, 24 << 20);
	assert_true(f->client.drains > 0);
	/* The mark may be passed by one piece and the record under way, no more. */
	assert_true(f->client.unsent_max < TLS_STREAM_HIGH_BYTES + 60000);
	assert_true(f->server.unsent_max < TLS_STREAM_HIGH_BYTES + 60000);
}

static void test_tls_both_ways(void **state)
{
	fixture_tls(*state);
	both_ways(*state);
}

static void test_plain_both_ways(void **state)
{
	both_ways(*state);
}

static bool client_stuck(void *arg)
{
	struct fixture *f = arg;

	return tls_stream_unsent(f->client.stream) >= TLS_STREAM_HIGH_BYTES;
}

/* The reader takes nothing: the writer stops with bounded memory. Then it takes a few bytes at a
 * time and pauses after each: everything arrives, in order. */
static void slow_reader(struct fixture *f)
{
	uint64_t produced;

	f->server.check = f->server.quiet = true;
	f->client.produce_len = 12 << 20;
	fixture_connect(f);
	loop_until(&f->loop, client_stuck, f, "stuck");
	produced = f->client.produced;
	loop_for(&f->loop, 20);
	assert_true(f->client.produced - produced < 1 << 20);
	assert_true(f->client.produce_len > 0);
	assert_int_equal(f->server.checked, 0);
	f->server.quiet = false;
	f->server.take_max = 9973;
	while (f->server.checked < 12 << 20) {
		uint64_t before = f->server.checked;

		tls_stream_resume(f->server.stream);
		assert_int_equal(f->server.checked, before);
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	}
	assert_int_equal(f->client.produce_len, 0);
}

static void test_tls_slow_reader(void **state)
{
	fixture_tls(*state);
	slow_reader(*state);
}

static void test_plain_slow_reader(void **state)
{
	slow_reader(*state);
}

/* "Not writable" in a turn whose flush then sends all must still bring drain_cb: a producer that
 * stopped would wait for ever. */
static void test_no_stall(void **state)
{
	struct fixture *f = *state;

	fixture_tls(f);
	f->server.check = true;
	fixture_connect(f);
	for (unsigned i = 1; i <= 50; i++) {
		f->client.produce_len = TLS_STREAM_TURN_BYTES + 100000;
		end_produce(&f->client);
		loop_until(&f->loop, both_checked_all, f, "drain after a full flush");
	}
	assert_true(f->client.drains >= 50);
}

static bool server_ended(void *arg)
{
	struct fixture *f = arg;

	return f->server.ends == 1;
}

static bool client_ended(void *arg)
{
	struct fixture *f = arg;

	return f->client.ends == 1;
}

static bool client_closed(void *arg)
{
	struct fixture *f = arg;

	return f->client.closes == 1;
}

/* All that was written before a graceful close arrives, then the end, in order. */
static void close_delivers(struct fixture *f)
{
	static uint8_t big[3 << 20];

	for (size_t i = 0; i < sizeof big; i++) {
		big[i] = pattern_at(i);
	}
	f->server.check = true;
	fixture_connect(f);
	tls_stream_write(f->client.stream, bytes_of(big, sizeof big));
	tls_stream_close(f->client.stream);
	tls_stream_close(f->client.stream);
	assert_true(tls_stream_closing(f->client.stream));
	/* The other side writes into the closing one: dropped, without a reset. */
	tls_stream_write(f->server.stream, bytes_of(big, 100000));
	loop_until(&f->loop, server_ended, f, "server's end");
	assert_int_equal(f->server.end_rc, 0);
	assert_int_equal(f->server.checked, sizeof big);
	assert_int_equal(f->client.closes, 0); /* It waits for our end. */
	tls_stream_close(f->server.stream);
	loop_until(&f->loop, both_closed, f, "both closed");
	assert_int_equal(f->client.ends, 0);
	assert_int_equal(f->client.got.len, 0);
}

static void test_tls_close(void **state)
{
	fixture_tls(*state);
	close_delivers(*state);
}

static void test_plain_close(void **state)
{
	close_delivers(*state);
}

static void test_close_does_not_wait_for_ever(void **state)
{
	struct fixture *f = *state;
	uint64_t began;

	fixture_tls(f);
	fixture_connect(f);
	began = uv_now(&f->loop);
	tls_stream_close(f->client.stream);
	loop_until(&f->loop, client_closed, f, "closed");
	assert_in_range(
		uv_now(&f->loop) - began, TLS_STREAM_LINGER_MS - 10, TLS_STREAM_LINGER_MS + 5000);
}

static void test_write_after_the_peers_end(void **state)
{
	struct fixture *f = *state;

	fixture_connect(f);
	tls_stream_close(f->server.stream);
	loop_until(&f->loop, client_ended, f, "the server's end");
	assert_int_equal(f->client.end_rc, 0);
	tls_stream_write(f->client.stream, bytes_str("late"));
	tls_stream_close(f->client.stream);
	loop_until(&f->loop, both_closed, f, "closed");
	assert_int_equal(f->server.got.len, 0);
}

static void half_closed_cb(uv_shutdown_t *req, int status)
{
	(void)req;
	assert_int_equal(status, 0);
}

static bool client_got_some(void *arg)
{
	struct fixture *f = arg;

	return f->client.got.len > 0;
}

/* The peer has ended its side and reads on: what is written then arrives, without a flush. */
static void test_last_words(void **state)
{
	struct fixture *f = *state;
	uv_shutdown_t req;

	fixture_connect(f);
	f->server.last_words = "goodbye";
	assert_int_equal(uv_shutdown(&req, &f->client.stream->io.stream, half_closed_cb), 0);
	loop_until(&f->loop, client_got_some, f, "last words");
	assert_true(bytes_equal(buf_bytes(&f->client.got), bytes_str("goodbye")));
}

static bool server_broken(void *arg)
{
	struct fixture *f = arg;

	tls_stream_write(f->server.stream, bytes_str("are you there?"));
	return f->server.ends == 1;
}

/* It fails while it is paused with bytes not taken: they are gone, also for a late resume. */
static void test_no_read_after_the_end(void **state)
{
	struct fixture *f = *state;

	f->server.quiet = true;
	fixture_connect(f);
	tls_stream_write(f->client.stream, bytes_str("never taken"));
	tls_stream_flush(f->client.stream);
	loop_for(&f->loop, 5);
	tls_stream_abort(f->client.stream);
	loop_until(&f->loop, server_broken, f, "the write fails");
	f->server.quiet = false;
	tls_stream_resume(f->server.stream);
	loop_for(&f->loop, 5);
	assert_int_equal(f->server.got.len, 0);
}

static void test_cut_is_not_an_end(void **state)
{
	struct fixture *f = *state;

	fixture_tls(f);
	fixture_connect(f);
	tls_stream_abort(f->client.stream);
	tls_stream_abort(f->client.stream);
	loop_until(&f->loop, server_ended, f, "end");
	assert_int_equal(f->server.end_rc, KLUIS_ECLOSED);
	assert_int_equal(f->client.ends, 0);
	/* Useless, but harmless. */
	tls_stream_write(f->server.stream, bytes_str("x"));
	assert_false(tls_stream_writable(f->server.stream));
	loop_for(&f->loop, 5);
	assert_int_equal(f->server.drains, 0);
	assert_int_equal(f->server.ends, 1);
}

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

static void abort_in(struct fixture *f, int where)
{
	f->client.abort_in = where;
	f->client.produce_len = 8 << 20;
	f->server.produce_len = 1 << 20;
	f->server.check = f->client.check = true;
	f->server.close_at_end = true;
	fixture_dial(f, NULL);
	loop_until(&f->loop, client_closed, f, "closed");
	loop_until(&f->loop, server_ended, f, "server's end");
	assert_int_equal(f->client.readies, 1);
}

static void test_abort_in_callbacks(void **state)
{
	struct fixture *f = *state;

	for (int where = ABORT_READY; where <= ABORT_DRAIN; where++) {
		for (int tls = 0; tls < 2; tls++) {
			struct fixture *again = f;

			if (tls) {
				fixture_tls(again);
			}
			abort_in(again, where);
			while (again->server.stream != NULL) {
				(void)uv_run(&again->loop, UV_RUN_ONCE);
			}
			tls_ctx_unref(again->server_ctx);
			tls_ctx_unref(again->client_ctx);
			again->server_ctx = again->client_ctx = NULL;
			memset(&again->server, 0, sizeof again->server);
			memset(&again->client, 0, sizeof again->client);
		}
	}
	f->server.abort_in = f->client.abort_in = ABORT_END;
	fixture_connect(f);
	tls_stream_close(f->server.stream);
	loop_until(&f->loop, both_closed, f, "both closed");
	assert_int_equal(f->client.ends, 1);
}

static void test_abort_before_anything(void **state)
{
	struct fixture *f = *state;

	fixture_tls(f);
	fixture_dial(f, "localhost");
	tls_stream_abort(f->client.stream);
	loop_until(&f->loop, client_closed, f, "closed");
	assert_int_equal(f->client.readies + f->client.ends, 0);
	loop_for(&f->loop, 5);
}

static void test_contexts_swap_under_live_streams(void **state)
{
	struct fixture *f = *state;

	fixture_tls(f);
	fixture_connect(f);
	tls_ctx_unref(f->server_ctx);
	tls_ctx_unref(f->client_ctx);
	f->server_ctx = f->client_ctx = NULL;
	say_hello(f);
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
		STREAM_TEST(test_tls_hello),
		STREAM_TEST(test_plain_hello),
		STREAM_TEST(test_unix_hello),
		STREAM_TEST(test_tls_both_ways),
		STREAM_TEST(test_plain_both_ways),
		STREAM_TEST(test_tls_slow_reader),
		STREAM_TEST(test_plain_slow_reader),
		STREAM_TEST(test_no_stall),
		STREAM_TEST(test_tls_close),
		STREAM_TEST(test_plain_close),
		STREAM_TEST(test_close_does_not_wait_for_ever),
		STREAM_TEST(test_write_after_the_peers_end),
		STREAM_TEST(test_last_words),
		STREAM_TEST(test_no_read_after_the_end),
		STREAM_TEST(test_cut_is_not_an_end),
		STREAM_TEST(test_dial_refused),
		STREAM_TEST(test_wrong_ca),
		STREAM_TEST(test_wrong_name),
		STREAM_TEST(test_wrong_ip),
		STREAM_TEST(test_right_dns_name),
		STREAM_TEST(test_no_common_alpn),
		STREAM_TEST(test_garbage_is_no_tls),
		STREAM_TEST(test_garbage_after_the_handshake),
		STREAM_TEST(test_silent_client_cut_in_handshake),
		STREAM_TEST(test_abort_in_callbacks),
		STREAM_TEST(test_abort_before_anything),
		STREAM_TEST(test_contexts_swap_under_live_streams),
		STREAM_TEST(test_link_identity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
