/* HTTP/2 on a connection (RFC 9113), by nghttp2. */
#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

#include "node/http_conn.h"

enum {
	FIELDS_SENT_MAX = HTTP_HEADERS_MAX + 1,
	ACKS_MAX = 100,
	SETTINGS_MAX = 32,
};

struct http2 {
	nghttp2_session *session;
	uint64_t head_since_ms; /* A header block is on its way since; 0: none. */
	uint64_t served;
	/* What is left of HTTP_RESETS_BURST, in thousandths, as of then. */
	uint64_t resets_milli, resets_ms;
	bool ended; /* For too many of them. */
};

static struct http_request *stream_request(nghttp2_session *session, int32_t stream_id)
{
	return nghttp2_session_get_stream_user_data(session, stream_id);
}

static int begin_headers_cb(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	struct http_conn *conn = data;
	struct http2 *h2 = conn->state;
	struct http_request *req;

	h2->head_since_ms = http_now(conn->server);
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		return 0;
	}
	if (conn->draining) {
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* Resets this stream alone. */
	}
	req = http_request_new(conn, frame->hd.stream_id);
	return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, req) == 0
		       ? 0
		       : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int request_add_target(struct http_request *req, struct bytes value)
{
	if (value.len > HTTP_TARGET_BYTES_MAX) {
		return KLUIS_ETOOLARGE;
	}
	req->fields.counted += value.len + 32;
	buf_append_bytes(&req->target, value);
	return 0;
}

/* nghttp2 has checked the order, the letters and which pseudo fields there are. */
static int request_add_field(struct http_request *req, struct bytes name, struct bytes value)
{
	struct bytes host;

	if (bytes_is(name, ":method")) {
		req->verb = http_verb_of(value);
		return 0;
	}
	if (bytes_is(name, ":path")) {
		return request_add_target(req, value);
	}
	if (bytes_is(name, ":scheme")) {
		return 0;
	}
	if (bytes_is(name, ":authority") || bytes_is(name, "host")) {
		name = bytes_str("host");
		if (http_fields_get(&req->fields, "host", &host) > 0) {
			/* RFC 9113 section 8.3.1. */
			return bytes_equal(host, value) ? 0 : KLUIS_EINVAL;
		}
	}
	return http_fields_add(&req->fields, name, value);
}

static int header_cb(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	struct http_request *req = stream_request(session, frame->hd.stream_id);

	(void)flags;
	(void)data;
	if (req == NULL || frame->headers.cat != NGHTTP2_HCAT_REQUEST || req->fields_rc != 0) {
		return 0; /* Trailers, or refused already. */
	}
	req->fields_rc =
		request_add_field(req, bytes_of(name, name_len), bytes_of(value, value_len));
	return 0;
}

static void request_headers_done(struct http_request *req, bool end)
{
	struct bytes host;

	if (end) {
		req->length = 0;
	}
	if (req->fields_rc == 0 && http_fields_get(&req->fields, "host", &host) == 0) {
		req->fields_rc = KLUIS_EINVAL;
	}
	if (req->fields_rc != 0) {
		http_request_fail(req, req->fields_rc, "request header fields");
	} else {
		http_request_head(req);
	}
}

static int frame_recv_cb(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	struct http_conn *conn = data;
	struct http2 *h2 = conn->state;
	bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
	bool headers = frame->hd.type == NGHTTP2_HEADERS;
	struct http_request *req;

	if (headers) {
		h2->head_since_ms = 0;
	} else if (frame->hd.type != NGHTTP2_DATA) {
		return 0;
	}
	req = stream_request(session, frame->hd.stream_id);
	if (req == NULL) {
		return 0;
	}
	if (headers && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		request_headers_done(req, end);
	}
	if (end && !req->received) {
		http_request_received(req);
	}
	return 0;
}

/* Gives window back for the connection as a whole; what is being worked on holds it back. */
static int conn_consume(struct http_conn *conn, size_t len)
{
	struct http2 *h2 = conn->state;
	int rc = 0;

	conn->owed += len;
	if (conn->held <= HTTP_CONNECTION_HELD_BYTES_MAX && conn->owed > 0) {
		rc = nghttp2_session_consume_connection(h2->session, conn->owed);
		conn->owed = 0;
	}
	return rc == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int data_chunk_cb(nghttp2_session *session, uint8_t flags, int32_t stream_id,
	const uint8_t *bytes, size_t len, void *data)
{
	struct http_conn *conn = data;
	struct http_request *req = stream_request(session, stream_id);

	(void)flags;
	if (req != NULL) {
		http_request_body(req, bytes_of(bytes, len));
		/* Once answered no more of the stream's window is given: the rest is drained within
		 * what it has. A reset instead made clients drop the answer. */
		if (!req->begun && nghttp2_session_consume_stream(session, stream_id, len) != 0) {
			return NGHTTP2_ERR_CALLBACK_FAILURE;
		}
	}
	return conn_consume(conn, len);
}

/* CVE-2023-44487, CVE-2025-8671: a stream that is opened and reset at once costs the client nothing
 * and us a request, whichever side it makes say so. */
static int count_reset(struct http_conn *conn)
{
	struct http2 *h2 = conn->state;
	uint64_t now_ms = http_now(conn->server);

	h2->resets_milli += (now_ms - h2->resets_ms) * HTTP_RESETS_PER_SECOND;
	if (h2->resets_milli > HTTP_RESETS_BURST * 1000ULL) {
		h2->resets_milli = HTTP_RESETS_BURST * 1000ULL;
	}
	h2->resets_ms = now_ms;
	if (h2->resets_milli >= 1000) {
		h2->resets_milli -= 1000;
		return 0;
	}
	if (h2->ended) {
		return 0;
	}
	h2->ended = true;
	http_count(conn->server)->malformed++;
	return nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM) == 0
		       ? 0
		       : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int stream_close_cb(
	nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *data)
{
	struct http_conn *conn = data;
	struct http2 *h2 = conn->state;
	struct http_request *req = stream_request(session, stream_id);

	h2->head_since_ms = 0; /* Also of a block that nghttp2 refused. */
	if (error_code != NGHTTP2_NO_ERROR && count_reset(conn) != 0) {
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	if (req == NULL) {
		return 0;
	}
	h2->served++;
	http_request_over(req);
	if (conn->n_requests == 0) {
		http_conn_wake(conn); /* Draining or half-closed connections end here. */
	}
	return conn_consume(conn, 0);
}

static ssize_t body_read_cb(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t max,
	uint32_t *flags, nghttp2_data_source *source, void *data)
{
	struct http_request *req = source->ptr;
	bool end;
	struct bytes piece = http_request_out(req, max, &end);

	(void)session;
	(void)stream_id;
	(void)data;
	if (piece.len == 0 && !end) {
		req->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (piece.len > 0) {
		memcpy(to, piece.data, piece.len);
	}
	http_request_out_done(req, piece.len);
	if (end) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	}
	return (ssize_t)piece.len;
}

static int session_new(struct http_conn *conn, nghttp2_session **ret_session)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	int rc;

	if (nghttp2_session_callbacks_new(&callbacks) != 0) {
		return KLUIS_EINTERNAL;
	}
	if (nghttp2_option_new(&option) != 0) {
		nghttp2_session_callbacks_del(callbacks);
		return KLUIS_EINTERNAL;
	}
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, begin_headers_cb);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, header_cb);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frame_recv_cb);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data_chunk_cb);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, stream_close_cb);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_stream_reset_rate_limit(
		option, HTTP_RESETS_BURST, HTTP_RESETS_PER_SECOND);
	nghttp2_option_set_max_outbound_ack(option, ACKS_MAX);
	nghttp2_option_set_max_settings(option, SETTINGS_MAX);
	rc = nghttp2_session_server_new2(ret_session, callbacks, conn, option);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return rc == 0 ? 0 : KLUIS_EINTERNAL;
}

static int http2_start(struct http_conn *conn)
{
	static const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP_STREAMS_MAX},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP_STREAM_WINDOW_BYTES},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEADER_BYTES_MAX},
	};
	struct http2 *h2 = x_calloc(1, sizeof *h2);
	int rc;

	conn->state = h2;
	h2->resets_milli = HTTP_RESETS_BURST * 1000ULL;
	h2->resets_ms = http_now(conn->server);
	rc = session_new(conn, &h2->session);
	if (rc != 0) {
		return rc;
	}
	if (nghttp2_submit_settings(
		    h2->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings)) != 0 ||
		nghttp2_session_set_local_window_size(
			h2->session, NGHTTP2_FLAG_NONE, 0, HTTP_CONNECTION_WINDOW_BYTES) != 0) {
		return KLUIS_EINTERNAL;
	}
	http_conn_wake(conn);
	return 0;
}

static void http2_release(struct http_conn *conn)
{
	struct http2 *h2 = conn->state;

	nghttp2_session_del(h2->session); /* NULL is fine. */
	free(h2);
}

static size_t http2_read(struct http_conn *conn, struct bytes bytes)
{
	struct http2 *h2 = conn->state;
	ssize_t n = nghttp2_session_mem_recv(h2->session, bytes.data, bytes.len);

	if (n < 0) {
		http_count(conn->server)->malformed++;
		http_conn_abort(conn);
		return bytes.len;
	}
	http_conn_wake(conn);
	return bytes.len;
}

static nghttp2_nv nv_of(struct bytes name, struct bytes value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name.data, (uint8_t *)(uintptr_t)value.data,
		name.len, value.len, NGHTTP2_NV_FLAG_NONE};
}

static int http2_submit(struct http2 *h2, struct http_request *req)
{
	const struct http_fields *fields = &req->reply;
	nghttp2_data_provider provider = {.source.ptr = req, .read_callback = body_read_cb};
	nghttp2_nv nv[FIELDS_SENT_MAX];
	bool empty = req->no_body || (req->last && req->out.len == 0);
	struct buf status = BUF_INIT;
	int rc;

	buf_printf(&status, "%d", req->status);
	nv[0] = nv_of(bytes_str(":status"), buf_bytes(&status));
	for (unsigned i = 0; i < fields->n; i++) {
		const struct http_field_at *at = &fields->at[i];

		nv[i + 1] = nv_of(bytes_of(fields->text.data + at->name_at, at->name_len),
			bytes_of(fields->text.data + at->value_at, at->value_len));
	}
	rc = nghttp2_submit_response(
		h2->session, req->stream_id, nv, fields->n + 1, empty ? NULL : &provider);
	buf_release(&status);
	req->head_sent = true;
	return rc;
}

static int http2_submit_replies(struct http_conn *conn)
{
	struct http2 *h2 = conn->state;
	int rc = 0;

	for (struct http_request *req = conn->requests; req != NULL && rc == 0; req = req->next) {
		bool ready = req->last || req->out.len > req->out_at;

		if (req->begun && !req->head_sent && ready) {
			rc = http2_submit(h2, req);
		} else if (req->deferred && ready) {
			req->deferred = false;
			rc = nghttp2_session_resume_data(h2->session, req->stream_id);
			rc = rc == NGHTTP2_ERR_INVALID_ARGUMENT ? 0 : rc; /* Reset meanwhile. */
		}
	}
	return rc;
}

static bool http2_ended(const struct http_conn *conn)
{
	const struct http2 *h2 = conn->state;

	if (nghttp2_session_want_write(h2->session) != 0) {
		return false;
	}
	return nghttp2_session_want_read(h2->session) == 0 ||
	       (conn->n_requests == 0 && (conn->draining || conn->half_closed));
}

static void http2_write(struct http_conn *conn)
{
	struct http2 *h2 = conn->state;
	const uint8_t *data;
	ssize_t n = 0;

	if (http2_submit_replies(conn) != 0) {
		http_conn_abort(conn);
		return;
	}
	while (tls_stream_writable(conn->stream) &&
		(n = nghttp2_session_mem_send(h2->session, &data)) > 0) {
		tls_stream_write(conn->stream, bytes_of(data, (size_t)n));
	}
	if (n < 0) {
		http_conn_abort(conn);
		return;
	}
	tls_stream_flush(conn->stream);
	if (http2_ended(conn)) {
		http_conn_close(conn);
	}
}

static void http2_reset(struct http_conn *conn, struct http_request *req)
{
	struct http2 *h2 = conn->state;

	/* Fails only when memory is short. */
	(void)nghttp2_submit_rst_stream(
		h2->session, NGHTTP2_FLAG_NONE, req->stream_id, NGHTTP2_INTERNAL_ERROR);
	http_conn_wake(conn);
}

static bool request_stuck(const struct http_request *req, uint64_t now_ms)
{
	if (!req->received) {
		return http_request_late(req, now_ms);
	}
	/* The client gives no window for an answer that is there. */
	return req->begun && req->out.len > req->out_at &&
	       now_ms - req->progress_ms > HTTP_BODY_STALL_MS;
}

static void http2_drain(struct http_conn *conn)
{
	struct http2 *h2 = conn->state;
	int32_t last = nghttp2_session_get_last_proc_stream_id(h2->session);

	(void)nghttp2_submit_goaway(
		h2->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
	http_conn_wake(conn);
}

static bool http2_sweep(struct http_conn *conn, uint64_t now_ms)
{
	struct http2 *h2 = conn->state;

	for (struct http_request *req = conn->requests; req != NULL; req = req->next) {
		if (request_stuck(req, now_ms)) {
			http_count(conn->server)->timeouts++;
			(void)nghttp2_submit_rst_stream(
				h2->session, NGHTTP2_FLAG_NONE, req->stream_id, NGHTTP2_CANCEL);
			http_conn_wake(conn);
		}
	}
	if (h2->head_since_ms != 0 && now_ms - h2->head_since_ms > HTTP_HEADER_MS) {
		return true;
	}
	if (conn->n_requests == 0 && !conn->draining &&
		now_ms - conn->since_ms >
			(uint64_t)(h2->served == 0 ? HTTP_HEADER_MS : HTTP_IDLE_MS)) {
		/* GOAWAY tells which requests were seen. */
		http_count(conn->server)->timeouts++;
		conn->draining = true;
		http2_drain(conn);
	}
	return false;
}

const struct http_proto http2_proto = {
	.name = "h2",
	.start = http2_start,
	.read = http2_read,
	.write = http2_write,
	.reset = http2_reset,
	.sweep = http2_sweep,
	.drain = http2_drain,
	.release = http2_release,
};
