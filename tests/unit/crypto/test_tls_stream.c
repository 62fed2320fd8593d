#include "tests/lib/test.h"

#include <malloc.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/crypto/lib/stream_rig.h"

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

/* Until nothing moves: the kernel takes no more and what waits is too much for drain_cb, perhaps
 * less than what makes a stream not writable, for a flush may have sent a part of that. */
static void wait_client_stuck(struct fixture *f)
{
	uint64_t produced;
	size_t unsent;

	do {
		produced = f->client.produced;
		unsent = tls_stream_unsent(f->client.stream);
		loop_for(&f->loop, 200);
	} while (produced != f->client.produced || unsent != tls_stream_unsent(f->client.stream) ||
		 unsent <= TLS_STREAM_LOW_BYTES);
}

/* More than the kernel's buffers of both ends can grow to (tcp_wmem and tcp_rmem: 36 MiB here). */
enum { SLOW_BYTES = 48 << 20 };

/* The reader takes nothing: the writer stops with bounded memory. Then it takes a few bytes at a
 * time and pauses after each: everything arrives, in order. */
static void slow_reader(struct fixture *f)
{
	uint64_t produced;

	f->server.check = f->server.quiet = true;
	f->client.produce_len = SLOW_BYTES;
	fixture_connect(f);
	wait_client_stuck(f);
	produced = f->client.produced;
	loop_for(&f->loop, 20);
	assert_true(f->client.produced - produced < 1 << 20);
	assert_true(f->client.produce_len > 0);
	assert_int_equal(f->server.checked, 0);
	f->server.quiet = false;
	f->server.take_max = 9973;
	while (f->server.checked < SLOW_BYTES) {
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
	assert_true(uv_now(&f->loop) - began >= TLS_STREAM_LINGER_MS - 10);
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

static void abort_in(struct fixture *f, enum abort_place where)
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

	for (enum abort_place where = ABORT_READY; where <= ABORT_DRAIN; where++) {
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

/* What is kept between records is given back at once when it no longer shall be. */
static void test_buffers_kept_and_given_back(void **state)
{
	struct fixture *f = *state;
	size_t kept;

	fixture_tls(f);
	fixture_connect(f);
	tls_stream_keep_buffers(f->server.stream, true);
	say_hello(f);
	kept = mallinfo2().uordblks;
	tls_stream_keep_buffers(f->server.stream, false);
	/* A sanitizer's allocator counts nothing here. */
	assert_true(kept == 0 || mallinfo2().uordblks + 16384 <= kept);
	f->server.got.len = 0;
	say_hello(f);
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
		STREAM_TEST(test_abort_in_callbacks),
		STREAM_TEST(test_abort_before_anything),
		STREAM_TEST(test_contexts_swap_under_live_streams),
		STREAM_TEST(test_buffers_kept_and_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
