/* The HTTP server on whatever a client may send: { u8 how | u8 pace | bytes } on one connection of
 * a real server, HTTP/1.1 or HTTP/2, whole or in pieces, with time-outs, slow readers and answers
 * that come at once, later, in pieces or never. Every request that was announced ends exactly once,
 * and nothing is left of a connection that is gone. */
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

enum {
	HOW_H2 = 1,	   /* Else HTTP/1.1. */
	HOW_GREET = 2,	   /* HTTP/2: the client's preface and SETTINGS stand before the bytes. */
	HOW_READ_LATE = 4, /* Answers are read only once all is sent. */
	HOW_HALF = 8,	   /* The client closes its side and reads on. */
	HOW_STEP = 4,	   /* Shift of the piece's size: three bits. */
	TURNS = 8,
	TURNS_MAX = 2000,
	PIECE_BYTES = 3000,
	BODY_MAX = 70000,
};

struct late {
	struct late *next;
	struct http_request *req;
	unsigned pieces;
};

static struct {
	uv_loop_t loop;
	uv_pipe_t h2_listener;
	struct http_server *server;
	struct clock_manual clock;
	unsigned h2_conns;
	uint64_t announced, done;
	struct late *late;
	char h1_path[96], h2_path[96];
} fz;

/* --- the application -------------------------------------------------------------------------- */

static void answer(struct http_request *req, int status)
{
	struct buf body = BUF_INIT;

	buf_append_bytes(&body, req->path);
	buf_append_bytes(&body, buf_bytes(&req->body));
	http_reply_field(req, "request-id", "%s", req->id);
	http_reply(req, status, "text/plain", &body);
}

static void check(const struct http_request *req)
{
	assert(req->fields.n <= HTTP_HEADERS_MAX && req->fields.counted <= HTTP_HEADER_BYTES_MAX);
	assert(req->path.len + req->query.len <= HTTP_TARGET_BYTES_MAX);
	assert(req->path.len > 0 && req->path.data[0] == '/');
	for (unsigned i = 0; i < req->fields.n; i++) {
		const struct http_field_at *at = &req->fields.at[i];

		for (uint32_t k = 0; k < at->value_len; k++) {
			uint8_t c = req->fields.text.data[at->value_at + k];

			assert(c == '\t' || (c >= 0x20 && c != 0x7f));
		}
	}
}

static void head_cb(struct http_request *req)
{
	fz.announced++;
	req->routed = true;
	check(req);
	req->body_max = BODY_MAX;
	if (req->path.len > 1 && req->path.data[1] == 'n') {
		answer(req, 404); /* Before the body. */
	} else if (req->path.len > 1 && req->path.data[1] == '0') {
		req->body_max = 0;
	}
}

static void late_add(struct http_request *req, unsigned pieces)
{
	struct late *late = x_calloc(1, sizeof *late);

	late->req = http_request_ref(req);
	late->pieces = pieces;
	late->next = fz.late;
	fz.late = late;
}

static void more_cb(struct http_request *req)
{
	uintptr_t left = (uintptr_t)req->data;
	struct buf piece = BUF_INIT;

	if (left == 3 && req->path.len > 2 && req->path.data[2] == 'x') {
		http_reply_abort(req);
		return;
	}
	memset(buf_extend(&piece, PIECE_BYTES), 'm', PIECE_BYTES);
	req->data = (void *)(left - 1);
	http_reply_write(req, &piece, left == 1);
}

static void begin_pieces(struct http_request *req)
{
	req->data = (void *)(uintptr_t)9;
	req->more_cb = more_cb;
	http_reply_begin(req, 200, "text/plain",
		req->path.len > 2 && req->path.data[2] == 'l' ? 9ULL * PIECE_BYTES
							      : HTTP_LENGTH_UNKNOWN);
	more_cb(req);
}

static void body_cb(struct http_request *req)
{
	assert(req->received && req->body.len <= req->body_max);
	check(req);
	switch (req->path.len > 1 ? req->path.data[1] : 0) {
	case 'l':
		late_add(req, 0);
		break;
	case 'p':
		begin_pieces(req);
		break;
	case 'q':
		late_add(req, 9);
		break;
	case 'a':
		http_reply_abort(req);
		break;
	case 'e':
		http_reply(req, 204, NULL, NULL);
		break;
	default:
		answer(req, 200);
	}
}

static void fail_cb(struct http_request *req, int code, const char *detail)
{
	fz.announced += req->routed ? 0 : 1;
	assert(code < 0 && detail != NULL && !http_replied(req));
	http_reply(req, 400, NULL, NULL);
}

static void done_cb(struct http_request *req)
{
	(void)req;
	fz.done++;
}

static const struct http_app app = {
	.head_cb = head_cb, .body_cb = body_cb, .fail_cb = fail_cb, .done_cb = done_cb};

static void late_answer(void)
{
	while (fz.late != NULL) {
		struct late *late = fz.late;

		fz.late = late->next;
		if (late->req->over) {
			answer(late->req, 200); /* Has no effect. */
		} else if (late->pieces > 0) {
			begin_pieces(late->req);
		} else {
			answer(late->req, 200);
		}
		http_request_unref(late->req);
		free(late);
	}
}

/* --- a connection that chose HTTP/2: what http.c does once ALPN said so ------------------------
 */

static void h2_ready_cb(struct tls_stream *stream)
{
	struct http_conn *conn = tls_stream_data(stream);

	conn->proto = &http2_proto;
	if (conn->proto->start(conn) != 0) {
		abort();
	}
}

static size_t h2_read_cb(struct tls_stream *stream, struct bytes bytes)
{
	struct http_conn *conn = tls_stream_data(stream);

	return conn->closing ? bytes.len : conn->proto->read(conn, bytes);
}

static void h2_drain_cb(struct tls_stream *stream)
{
	http_conn_wake(tls_stream_data(stream));
}

static void h2_end_cb(struct tls_stream *stream, int rc, const struct err *e)
{
	struct http_conn *conn = tls_stream_data(stream);

	(void)e;
	if (rc != 0) {
		http_conn_abort(conn);
	} else if (conn->n_requests == 0) {
		http_conn_close(conn);
	} else {
		conn->half_closed = true;
	}
}

static void h2_closed_cb(struct tls_stream *stream)
{
	struct http_conn *conn = tls_stream_data(stream);

	assert(conn->closing && conn->n_requests == 0 && conn->held == 0);
	conn->proto->release(conn);
	free(conn);
	fz.h2_conns--;
}

static const struct tls_stream_handler h2_handler = {
	.ready_cb = h2_ready_cb,
	.read_cb = h2_read_cb,
	.drain_cb = h2_drain_cb,
	.end_cb = h2_end_cb,
	.closed_cb = h2_closed_cb,
};
static struct http_conn *h2_conn;

static void h2_connection_cb(uv_stream_t *listener, int status)
{
	struct http_conn *conn = x_calloc(1, sizeof *conn);
	struct err e;

	if (status != 0 ||
		tls_stream_accept(listener, NULL, &h2_handler, conn, &conn->stream, &e) != 0) {
		abort();
	}
	conn->server = fz.server;
	conn->since_ms = conn->sent_ms = clock_monotonic_ms(&fz.clock.clock);
	fz.h2_conns++;
	h2_conn = conn;
}

/* --- the client --------------------------------------------------------------------------------
 */

static void fz_unlink(void)
{
	(void)unlink(fz.h1_path);
	(void)unlink(fz.h2_path);
}

static void fz_start(void)
{
	struct http_config config = {
		.loop = &fz.loop, .clock = &fz.clock.clock, .random = &random_system, .app = &app};
	struct err e;

	(void)signal(SIGPIPE, SIG_IGN); /* As kluisd does. */
	log_init("fuzz", LOG_LEVEL_ERR);
	clock_manual_init(&fz.clock, 1700000000000);
	(void)snprintf(fz.h1_path, sizeof fz.h1_path, "/tmp/kluis-fuzz-h1-%d", (int)getpid());
	(void)snprintf(fz.h2_path, sizeof fz.h2_path, "/tmp/kluis-fuzz-h2-%d", (int)getpid());
	(void)atexit(fz_unlink);
	if (uv_loop_init(&fz.loop) != 0 || http_server_new(&config, &fz.server, &e) != 0 ||
		http_server_listen_unix(fz.server, fz.h1_path, (gid_t)-1, &e) != 0 ||
		uv_pipe_init(&fz.loop, &fz.h2_listener, 0) != 0 ||
		uv_pipe_bind(&fz.h2_listener, fz.h2_path) != 0 ||
		uv_listen((uv_stream_t *)&fz.h2_listener, 16, h2_connection_cb) != 0) {
		abort();
	}
}

static void turns(unsigned n)
{
	while (n-- > 0) {
		(void)uv_run(&fz.loop, UV_RUN_NOWAIT);
	}
}

static int client_open(bool h2)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(
		address.sun_path, sizeof address.sun_path, "%s", h2 ? fz.h2_path : fz.h1_path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
		abort();
	}
	turns(2);
	return fd;
}

static void client_read(int fd)
{
	static char scratch[65536];

	while (recv(fd, scratch, sizeof scratch, 0) > 0) {
	}
}

static void client_sweep(bool h2)
{
	http_server_sweep(fz.server);
	if (h2 && h2_conn != NULL && fz.h2_conns > 0 && !h2_conn->closing &&
		h2_conn->proto != NULL &&
		h2_conn->proto->sweep(h2_conn, clock_monotonic_ms(&fz.clock.clock))) {
		http_conn_abort(h2_conn);
	}
}

static void client_send(int fd, unsigned how, unsigned pace, struct bytes bytes)
{
	static const size_t steps[] = {1 << 20, 1, 3, 9, 17, 100, 1000, 16384};
	size_t step = steps[(how >> HOW_STEP) & 7];

	while (bytes.len > 0) {
		size_t want = bytes.len < step ? bytes.len : step;
		ssize_t n = send(fd, bytes.data, want, MSG_NOSIGNAL);

		if (n > 0) {
			bytes = bytes_of(bytes.data + n, bytes.len - (size_t)n);
		}
		turns(step == 1 ? 1 : 2);
		if ((pace & 1) != 0) {
			late_answer();
		}
		if ((how & HOW_READ_LATE) == 0) {
			client_read(fd);
		}
		clock_manual_step(&fz.clock, (pace >> 4) * 1000UL);
		if ((pace & 2) != 0) {
			client_sweep((how & HOW_H2) != 0);
		}
		if (n <= 0 && (pace & 4) == 0) {
			return; /* Closed, or the server reads no more for now. */
		}
		if (n <= 0) {
			client_read(fd);
			pace &= ~4U;
		}
	}
}

static bool gone(void)
{
	return fz.h2_conns == 0 && http_server_counters(fz.server)->connections == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t greeting[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	const struct http_counters *counters;
	unsigned how, pace;
	bool h2;
	int fd;

	if (size < 2) {
		return 0;
	}
	if (fz.server == NULL) {
		fz_start();
	}
	counters = http_server_counters(fz.server);
	how = data[0];
	pace = data[1];
	h2 = (how & HOW_H2) != 0;
	h2_conn = NULL;
	fd = client_open(h2);
	if (h2 && (how & HOW_GREET) != 0) {
		client_send(fd, how & ~0x70U, 0, bytes_of(greeting, sizeof greeting - 1));
	}
	client_send(fd, how, pace, bytes_of(data + 2, size - 2));
	turns(TURNS);
	late_answer();
	turns(TURNS);
	if ((how & HOW_HALF) != 0) {
		(void)shutdown(fd, SHUT_WR);
		turns(TURNS);
	}
	client_read(fd);
	turns(TURNS);
	late_answer();
	turns(2);
	(void)close(fd);
	for (unsigned i = 0; !gone() || fz.late != NULL; i++) {
		turns(1);
		late_answer();
		if (i == TURNS) { /* A peer that has gone without a word, then. */
			clock_manual_step(&fz.clock, 10UL * HTTP_IDLE_MS);
			client_sweep(h2);
		}
		assert(i < TURNS_MAX);
	}
	assert(counters->body_bytes == 0 && http_server_running(fz.server) == 0);
	assert(fz.done == fz.announced && fz.announced <= counters->requests);
	return 0;
}
