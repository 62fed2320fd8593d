/* What a client may send once its connection is a WebSocket: { u8 how | bytes }, whole or in
 * pieces, while texts go out, with time-outs and a client that does not read. The connection ends
 * as the protocol says, its user hears so exactly once, and what waits to be sent is bounded. */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "node/http_conn.h"
#include "node/websocket.h"

enum {
	HOW_TEXTS = 1, /* The server sends texts as long as there is room. */
	HOW_LATE = 2,  /* The client reads only at the end. */
	HOW_AGE = 4,   /* Time passes between the pieces. */
	HOW_CLOSE = 8, /* The server closes half way. */
	HOW_STEP = 4,  /* Shift of the piece's size: three bits. */
	TURNS = 8,
	TURNS_MAX = 2000,
};

static struct {
	uv_loop_t loop;
	uv_pipe_t listener;
	struct http_server *server;
	struct clock_manual clock;
	struct http_conn *conn; /* NULL: gone. */
	struct websocket *ws;	/* NULL: none yet, or gone. */
	unsigned made, gone, texts;
	bool talks;
	char path[96];
} fz;

/* --- the user of the WebSocket --- */

static void room_cb(struct websocket *ws)
{
	static const char text[] = "{\"cursor\":\"x:1\",\"type\":\"vault\"}";

	while (fz.talks && fz.texts > 0 && websocket_room(ws)) {
		fz.texts--;
		websocket_text(ws, bytes_str(text));
	}
}

static void gone_cb(struct websocket *ws)
{
	assert(fz.ws == ws);
	fz.ws = NULL;
	fz.gone++;
}

static const struct websocket_handler handler = {.room_cb = room_cb, .gone_cb = gone_cb};

/* --- the application --- */

static void head_cb(struct http_request *req)
{
	req->body_max = 0;
}

static void body_cb(struct http_request *req)
{
	struct err e = {0};

	if (!websocket_wanted(req) || websocket_check(req, &e) != 0) {
		http_reply(req, 400, NULL, NULL);
		return;
	}
	fz.made++;
	fz.ws = websocket_new(&handler, NULL);
	websocket_upgrade(fz.ws, req);
}

static void fail_cb(struct http_request *req, int code, const char *detail)
{
	assert(code < 0 && detail != NULL);
	http_reply(req, 400, NULL, NULL);
}

static void done_cb(struct http_request *req)
{
	(void)req;
}

static const struct http_app app = {
	.head_cb = head_cb, .body_cb = body_cb, .fail_cb = fail_cb, .done_cb = done_cb};

/* --- a client's connection without TLS: what http_conn.c does with one --- */

static void ready_cb(struct tls_stream *stream)
{
	struct http_conn *conn = tls_stream_data(stream);

	conn->proto = &http1_proto;
	if (conn->proto->start(conn) != 0) {
		abort();
	}
}

static size_t read_cb(struct tls_stream *stream, struct bytes bytes)
{
	struct http_conn *conn = tls_stream_data(stream);

	return conn->closing ? bytes.len : conn->proto->read(conn, bytes);
}

static void drain_cb(struct tls_stream *stream)
{
	http_conn_wake(tls_stream_data(stream));
}

static void end_cb(struct tls_stream *stream, int rc, const struct err *e)
{
	struct http_conn *conn = tls_stream_data(stream);

	(void)e;
	if (rc != 0) {
		http_conn_abort(conn);
	} else {
		http_conn_close(conn);
	}
}

static void closed_cb(struct tls_stream *stream)
{
	struct http_conn *conn = tls_stream_data(stream);

	assert(conn->closing && conn->n_requests == 0);
	conn->proto->release(conn);
	free(conn);
	fz.conn = NULL;
}

static const struct tls_stream_handler stream_handler = {
	.ready_cb = ready_cb,
	.read_cb = read_cb,
	.drain_cb = drain_cb,
	.end_cb = end_cb,
	.closed_cb = closed_cb,
};

static void connection_cb(uv_stream_t *listener, int status)
{
	struct http_conn *conn = x_calloc(1, sizeof *conn);
	struct err e;

	if (status != 0 ||
		tls_stream_accept(listener, NULL, &stream_handler, conn, &conn->stream, &e) != 0) {
		abort();
	}
	conn->server = fz.server;
	conn->door = HTTP_CLIENTS;
	conn->since_ms = conn->sent_ms = clock_monotonic_ms(&fz.clock.clock);
	fz.conn = conn;
}

static void fz_unlink(void)
{
	(void)unlink(fz.path);
}

static void fz_start(void)
{
	struct http_config config = {
		.loop = &fz.loop, .clock = &fz.clock.clock, .random = &random_system, .app = &app};
	struct err e;

	(void)signal(SIGPIPE, SIG_IGN); /* As kluisd does. */
	log_init("fuzz", LOG_LEVEL_ERR);
	clock_manual_init(&fz.clock, 1700000000000);
	(void)snprintf(fz.path, sizeof fz.path, "/tmp/kluis-fuzz-ws-%d", (int)getpid());
	(void)atexit(fz_unlink);
	if (uv_loop_init(&fz.loop) != 0 || http_server_new(&config, &fz.server, &e) != 0 ||
		uv_pipe_init(&fz.loop, &fz.listener, 0) != 0 ||
		uv_pipe_bind(&fz.listener, fz.path) != 0 ||
		uv_listen((uv_stream_t *)&fz.listener, 16, connection_cb) != 0) {
		abort();
	}
}

static void turns(unsigned n)
{
	while (n-- > 0) {
		(void)uv_run(&fz.loop, UV_RUN_NOWAIT);
	}
}

static void check(void)
{
	/* What it may send, one text more, and a pong for each frame that it took. */
	const size_t max = WEBSOCKET_UNSENT_BYTES_MAX + 1024 + 3 * WEBSOCKET_FRAMES_BURST * 128;

	assert(fz.conn == NULL || fz.conn->closing || tls_stream_unsent(fz.conn->stream) <= max);
}

static void sweep(void)
{
	if (fz.conn != NULL && !fz.conn->closing && fz.conn->proto != NULL &&
		fz.conn->proto->sweep(fz.conn, clock_monotonic_ms(&fz.clock.clock))) {
		http_conn_abort(fz.conn);
	}
}

static void client_read(int fd)
{
	static char scratch[65536];

	while (recv(fd, scratch, sizeof scratch, 0) > 0) {
	}
}

static int client_open(void)
{
	static const char request[] =
		"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", fz.path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
		abort();
	}
	turns(2);
	if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)sizeof request - 1) {
		abort();
	}
	turns(TURNS);
	assert(fz.ws != NULL);
	return fd;
}

static void client_send(int fd, unsigned how, struct bytes bytes)
{
	static const size_t steps[] = {1 << 20, 1, 2, 7, 31, 125, 1000, 4096};
	size_t step = steps[(how >> HOW_STEP) & 7], half = bytes.len / 2;

	while (bytes.len > 0 && fz.conn != NULL) {
		size_t want = bytes.len < step ? bytes.len : step;
		ssize_t n = send(fd, bytes.data, want, MSG_NOSIGNAL);

		if (n <= 0) {
			return;
		}
		bytes = bytes_of(bytes.data + n, bytes.len - (size_t)n);
		turns(2);
		check();
		if ((how & HOW_LATE) == 0) {
			client_read(fd);
		}
		if ((how & HOW_AGE) != 0) {
			clock_manual_step(&fz.clock, 7000);
			sweep();
		}
		if ((how & HOW_CLOSE) != 0 && bytes.len <= half && fz.ws != NULL) {
			websocket_close(fz.ws, WEBSOCKET_GOING_AWAY);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned made = fz.made;
	int fd;

	if (size < 1) {
		return 0;
	}
	if (fz.server == NULL) {
		fz_start();
	}
	fz.talks = (data[0] & HOW_TEXTS) != 0;
	fz.texts = 5000;
	fd = client_open();
	client_send(fd, data[0], bytes_of(data + 1, size - 1));
	turns(TURNS);
	check();
	client_read(fd);
	turns(TURNS);
	(void)close(fd);
	for (unsigned i = 0; fz.conn != NULL; i++) {
		turns(1);
		if (i == TURNS) { /* A peer that has gone without a word, then. */
			clock_manual_step(&fz.clock, 10UL * WEBSOCKET_IDLE_MS);
			sweep();
		}
		assert(i < TURNS_MAX);
	}
	assert(fz.made == made + 1 && fz.gone == fz.made && fz.ws == NULL);
	return 0;
}
