/* HTTP/1.1 on a connection: one request at a time; what a client sends ahead waits in the stream.
 */
#include <assert.h>
#include <string.h>

#include "node/http1_parser.h"
#include "node/http_conn.h"

enum { PIECE_BYTES = 16 * 1024 };

struct http1 {
	struct http1_parser parser;
	struct http_request *req;
	bool keep;    /* The connection goes on after this reply. */
	bool discard; /* Nothing more is read: the reply in hand is the last. */
	bool chunked_reply;
	bool paused;
	unsigned minor;
	uint64_t head_since_ms; /* 0: no byte of a next request yet. */
	uint64_t served;
};

static int http1_start(struct http_conn *conn)
{
	struct http1 *h1 = x_calloc(1, sizeof *h1);

	http1_parser_init(&h1->parser);
	conn->state = h1;
	return 0;
}

static void http1_free(struct http1 *h1)
{
	http1_parser_release(&h1->parser);
	free(h1);
}

static void http1_release(struct http_conn *conn)
{
	http1_free(conn->state);
}

/* No request can follow: the client may be out of step with us. */
static void http1_last(struct http1 *h1)
{
	h1->keep = false;
	h1->discard = true;
}

static void http1_refuse(struct http_conn *conn, int rc)
{
	struct http1 *h1 = conn->state;

	http1_last(h1);
	if (h1->req == NULL) {
		h1->req = http_request_new(conn, 0);
	}
	if (!h1->req->begun) {
		http_request_fail(h1->req, rc, "malformed or oversized request");
	}
}

static void http1_head(struct http_conn *conn)
{
	struct http1 *h1 = conn->state;
	struct http1_head *head = &h1->parser.head;
	struct http_request *req = http_request_new(conn, 0);

	assert(h1->req == NULL);
	h1->req = req;
	h1->head_since_ms = 0;
	h1->minor = head->minor;
	h1->keep = head->keep_alive && head->minor == 1;
	req->verb = head->verb;
	req->target = head->target;
	req->fields = head->fields;
	head->target = BUF_INIT;
	memset(&head->fields, 0, sizeof head->fields);
	req->length = head->chunked ? HTTP_LENGTH_UNKNOWN : head->length;
	http_request_head(req);
	if (!head->has_body) {
		return;
	}
	if (req->begun) {
		http1_last(h1);
	} else if (head->expect_continue) {
		tls_stream_write(conn->stream, bytes_str("HTTP/1.1 100 Continue\r\n\r\n"));
		tls_stream_flush(conn->stream);
	}
}

static void http1_event(struct http_conn *conn, int event)
{
	struct http1 *h1 = conn->state;

	switch (event) {
	case HTTP1_HEAD:
		http1_head(conn);
		break;
	case HTTP1_BODY:
		http_request_body(h1->req, h1->parser.piece);
		if (h1->req->begun) {
			http1_last(h1);
		}
		break;
	default:
		assert(event == HTTP1_END);
		http_request_received(h1->req);
	}
}

static size_t http1_read(struct http_conn *conn, struct bytes bytes)
{
	struct http1 *h1 = conn->state;
	size_t taken = 0;

	while (!conn->closing && !h1->discard) {
		size_t n = 0;
		int rc;

		if (h1->req != NULL && h1->req->received) {
			h1->paused = taken < bytes.len;
			return taken;
		}
		if (h1->req == NULL && h1->head_since_ms == 0 && taken < bytes.len) {
			h1->head_since_ms = http_now(conn->server);
		}
		rc = http1_parser_feed(
			&h1->parser, bytes_of(bytes.data + taken, bytes.len - taken), &n);
		taken += n;
		if (rc == HTTP1_MORE) {
			return taken;
		}
		if (rc < 0) {
			http1_refuse(conn, rc);
		} else {
			http1_event(conn, rc);
		}
	}
	return bytes.len;
}

static void http1_put_fields(const struct http_fields *fields, struct buf *to)
{
	for (unsigned i = 0; i < fields->n; i++) {
		const struct http_field_at *at = &fields->at[i];

		buf_append(to, fields->text.data + at->name_at, at->name_len);
		buf_append(to, ": ", 2);
		buf_append(to, fields->text.data + at->value_at, at->value_len);
		buf_append(to, "\r\n", 2);
	}
}

static void http1_send_head(struct http_conn *conn, struct http_request *req)
{
	struct http1 *h1 = conn->state;
	struct buf head = BUF_INIT;
	bool unknown = req->reply_length == HTTP_LENGTH_UNKNOWN && !req->no_body;

	h1->chunked_reply = unknown && h1->minor == 1;
	if ((unknown && h1->minor == 0) || conn->draining || conn->half_closed) {
		h1->keep = false;
	}
	buf_printf(&head, "HTTP/1.1 %d %s\r\n", req->status, http_reason(req->status));
	http1_put_fields(&req->reply, &head);
	if (h1->chunked_reply) {
		buf_printf(&head, "transfer-encoding: chunked\r\n");
	}
	if (!h1->keep) {
		buf_printf(&head, "connection: close\r\n");
	}
	buf_append(&head, "\r\n", 2);
	tls_stream_write(conn->stream, buf_bytes(&head));
	buf_release(&head);
	req->head_sent = true;
}

static void http1_send_piece(struct http_conn *conn, struct bytes piece, bool end)
{
	struct http1 *h1 = conn->state;

	if (!h1->chunked_reply) {
		tls_stream_write(conn->stream, piece);
		return;
	}
	if (piece.len > 0) {
		struct buf size = BUF_INIT;

		buf_printf(&size, "%zx\r\n", piece.len);
		tls_stream_write(conn->stream, buf_bytes(&size));
		tls_stream_write(conn->stream, piece);
		tls_stream_write(conn->stream, bytes_str("\r\n"));
		buf_release(&size);
	}
	if (end) {
		tls_stream_write(conn->stream, bytes_str("0\r\n\r\n"));
	}
}

static void http1_finish(struct http_conn *conn)
{
	struct http1 *h1 = conn->state;
	struct http_request *req = h1->req;

	h1->req = NULL;
	h1->served++;
	http_request_over(req);
	if (!h1->keep || conn->draining || (conn->half_closed && !h1->paused)) {
		http_conn_close(conn);
	} else if (h1->paused) {
		h1->paused = false;
		tls_stream_resume(conn->stream);
	}
}

/* The last reply; the connection is another protocol's from here on. */
static void http1_leave(struct http_conn *conn)
{
	struct http1 *h1 = conn->state;
	struct http_request *req = h1->req;
	struct buf head = BUF_INIT;
	bool paused = h1->paused;

	buf_printf(&head, "HTTP/1.1 %d %s\r\n", req->status, http_reason(req->status));
	http1_put_fields(&req->reply, &head);
	buf_append(&head, "\r\n", 2);
	tls_stream_write(conn->stream, buf_bytes(&head));
	buf_release(&head);
	conn->proto = req->upgrade;
	conn->state = req->upgrade_state;
	req->upgrade = NULL;
	http1_free(h1);
	http_request_over(req);
	/* It has no requests, and is not idle for that. */
	http_crowd_busy(http_server_crowd(conn->server), &conn->guest);
	if (conn->proto->start(conn) != 0) {
		http_conn_abort(conn);
		return;
	}
	if (conn->draining) {
		conn->proto->drain(conn);
	}
	if (paused) {
		tls_stream_resume(conn->stream);
	}
	tls_stream_flush(conn->stream);
}

static void http1_write(struct http_conn *conn)
{
	struct http1 *h1 = conn->state;
	struct http_request *req = h1->req;
	bool end = false;

	if (req == NULL || !req->begun) {
		return;
	}
	if (req->upgrade != NULL) {
		http1_leave(conn);
		return;
	}
	if (!req->head_sent && (req->last || req->out.len > 0)) {
		http1_send_head(conn, req);
	}
	while (req->head_sent && !end && tls_stream_writable(conn->stream)) {
		struct bytes piece = http_request_out(req, PIECE_BYTES, &end);

		if (piece.len == 0 && !end) {
			break;
		}
		http1_send_piece(conn, piece, end);
		http_request_out_done(req, piece.len);
	}
	if (end) {
		http1_finish(conn);
	}
	if (!conn->closing) {
		tls_stream_flush(conn->stream);
	}
}

static void http1_reset(struct http_conn *conn, struct http_request *req)
{
	struct http1 *h1 = conn->state;

	assert(h1->req == req);
	h1->req = NULL;
	http_conn_abort(conn);
}

static bool http1_sweep(struct http_conn *conn, uint64_t now_ms)
{
	struct http1 *h1 = conn->state;

	if (h1->req != NULL) {
		return !h1->req->received && !h1->discard && http_request_late(h1->req, now_ms);
	}
	if (h1->head_since_ms != 0) {
		return now_ms - h1->head_since_ms > HTTP_HEADER_MS;
	}
	if (now_ms - conn->since_ms > (uint64_t)(h1->served == 0 ? HTTP_HEADER_MS : HTTP_IDLE_MS)) {
		/* In order, so that a client knows its next request was not seen. */
		http_count(conn->server)->timeouts++;
		http_conn_close(conn);
	}
	return false;
}

static void http1_drain(struct http_conn *conn)
{
	struct http1 *h1 = conn->state;

	if (h1->req == NULL) {
		http_conn_close(conn);
	}
}

const struct http_proto http1_proto = {
	.name = "http/1.1",
	.start = http1_start,
	.read = http1_read,
	.write = http1_write,
	.reset = http1_reset,
	.sweep = http1_sweep,
	.drain = http1_drain,
	.release = http1_release,
};
