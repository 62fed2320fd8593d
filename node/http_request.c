/* Requests and their replies, whatever the protocol. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "crypto/secret.h"
#include "node/http_conn.h"

struct http_request *http_request_new(struct http_conn *conn, int32_t stream_id)
{
	struct http_request *req = x_calloc(1, sizeof *req);

	http_server_name_request(conn->server, req->id);
	req->server = conn->server;
	req->conn = conn;
	req->stream_id = stream_id;
	req->refs = 1;
	req->length = HTTP_LENGTH_UNKNOWN;
	req->reply_length = HTTP_LENGTH_UNKNOWN;
	req->address_key = conn->address_key;
	req->admin = conn->door != HTTP_CLIENTS;
	req->metrics = conn->door == HTTP_METRICS;
	req->uid = conn->uid;
	memcpy(req->host, conn->host, sizeof req->host);
	req->started_ms = req->since_ms = req->progress_ms = http_now(conn->server);
	req->next = conn->requests;
	req->prev_next = &conn->requests;
	if (req->next != NULL) {
		req->next->prev_next = &req->next;
	}
	conn->requests = req;
	conn->n_requests++;
	http_crowd_busy(http_server_crowd(conn->server), &conn->guest);
	if (conn->guest.address != NULL) {
		conn->guest.address->requests++;
	}
	http_count(conn->server)->requests++;
	return req;
}

struct http_request *http_request_ref(struct http_request *req)
{
	assert(req->refs > 0);
	req->refs++;
	return req;
}

static void request_drop_out(struct http_request *req)
{
	if (req->private_out) {
		secret_buf_release(&req->out);
	}
	buf_release(&req->out);
	req->out_at = 0;
}

void http_request_unref(struct http_request *req)
{
	assert(req->refs > 0);
	if (--req->refs > 0) {
		return;
	}
	assert(req->over);
	buf_release(&req->target);
	if (req->private_body) {
		secret_buf_release(&req->body);
	}
	buf_release(&req->body);
	request_drop_out(req);
	http_fields_release(&req->fields);
	http_fields_release(&req->reply);
	free(req);
}

static void request_uncount(struct http_request *req)
{
	struct http_conn *conn = req->conn;
	struct http_counters *counters = http_count(req->server);

	assert(counters->body_bytes >= req->counted);
	counters->body_bytes -= req->counted;
	if (conn->guest.address != NULL) {
		assert(conn->guest.address->body_bytes >= req->counted);
		conn->guest.address->body_bytes -= req->counted;
	}
	if (req->held) {
		assert(conn->held >= req->counted);
		conn->held -= req->counted;
	}
	req->counted = 0;
	req->held = false;
}

/* What is unsent of its answer is now so much. */
static void request_count_out(struct http_request *req, size_t unsent)
{
	struct http_conn *conn = req->conn;

	assert(conn->out_bytes >= req->out_counted);
	conn->out_bytes += unsent;
	conn->out_bytes -= req->out_counted;
	req->out_counted = unsent;
	http_conn_recount(conn);
}

void http_request_over(struct http_request *req)
{
	struct http_conn *conn = req->conn;

	assert(conn != NULL && !req->over && conn->n_requests > 0);
	request_uncount(req);
	request_count_out(req, 0);
	*req->prev_next = req->next;
	if (req->next != NULL) {
		req->next->prev_next = req->prev_next;
	}
	conn->n_requests--;
	if (conn->guest.address != NULL) {
		assert(conn->guest.address->requests > 0);
		conn->guest.address->requests--;
		if (conn->n_requests == 0 && !conn->closing) {
			http_crowd_idle(http_server_crowd(conn->server), &conn->guest);
		}
	}
	conn->since_ms = http_now(req->server);
	if (http_count(conn->server)->connections <= HTTP_WARM_CONNECTIONS) {
		tls_stream_keep_buffers(conn->stream, true);
	}
	req->over = true;
	if (req->upgrade != NULL) {
		req->upgrade->drop(req->upgrade_state);
	}
	if (req->announced) {
		http_server_app(req->server)->done_cb(req);
	}
	req->conn = NULL;
	http_request_unref(req);
}

void http_request_fail(struct http_request *req, int code, const char *detail)
{
	assert(!req->failed);
	req->failed = req->announced = true;
	http_count(req->server)->malformed++;
	http_server_app(req->server)->fail_cb(req, code, detail);
	assert(req->begun);
}

/* RFC 9110 section 8.6: what the client says the body's length is. */
static int request_take_length(struct http_request *req)
{
	struct bytes text;

	if (http_fields_get(&req->fields, "content-length", &text) == 0) {
		return 0;
	}
	return u64_parse(text, INT64_MAX, &req->length);
}

/* Before anything is done for it. Operators are never shut out by clients. */
static bool request_surplus(struct http_request *req)
{
	const struct http_address *address = req->conn->guest.address;

	if (address != NULL && address->requests > HTTP_REQUESTS_PER_ADDRESS_MAX) {
		http_request_fail(req, KLUIS_ERATE, "too many requests of this address at once");
		return true;
	}
	if (!req->admin && http_server_answers_full(req->server)) {
		http_request_fail(req, KLUIS_EBUSY, "too many answers wait for their readers");
		return true;
	}
	return false;
}

void http_request_head(struct http_request *req)
{
	int rc = request_take_length(req);

	if (rc == 0) {
		rc = http_target_split(buf_bytes(&req->target), &req->path, &req->query);
	}
	if (rc != 0) {
		http_request_fail(req, rc, "request target or content length");
		return;
	}
	if (request_surplus(req)) {
		return;
	}
	req->announced = true;
	http_server_app(req->server)->head_cb(req);
	if (!req->begun && req->length != HTTP_LENGTH_UNKNOWN && req->length > req->body_max) {
		/* Said before it is sent: the body is never buffered. */
		http_request_fail(req, KLUIS_ETOOLARGE, "request body");
	}
}

void http_request_body(struct http_request *req, struct bytes piece)
{
	struct http_counters *counters = http_count(req->server);
	struct http_address *address = req->conn->guest.address;

	req->progress_ms = http_now(req->server);
	req->body_received += piece.len;
	counters->bytes_in += piece.len;
	if (req->begun) {
		return; /* Answered already: what still comes is dropped. */
	}
	if (piece.len > req->body_max - req->body.len) {
		buf_release(&req->body);
		http_request_fail(req, KLUIS_ETOOLARGE, "request body");
		return;
	}
	if (address != NULL &&
		address->body_bytes + piece.len > HTTP_BODIES_PER_ADDRESS_BYTES_MAX) {
		buf_release(&req->body);
		http_request_fail(
			req, KLUIS_ERATE, "too many request bodies of this address in memory");
		return;
	}
	if (counters->body_bytes + piece.len > HTTP_BODIES_BYTES_MAX) {
		buf_release(&req->body);
		http_request_fail(req, KLUIS_EBUSY, "too many request bodies in memory");
		return;
	}
	buf_append_bytes(&req->body, piece);
	req->counted += piece.len;
	counters->body_bytes += piece.len;
	if (address != NULL) {
		address->body_bytes += piece.len;
	}
}

void http_request_received(struct http_request *req)
{
	assert(!req->received);
	req->received = true;
	req->held = true;
	req->conn->held += req->counted;
	if (!req->begun) {
		http_server_app(req->server)->body_cb(req);
	}
}

bool http_request_late(const struct http_request *req, uint64_t now_ms)
{
	uint64_t earned_ms = req->body_received * 1000 / HTTP_BODY_BYTES_PER_SECOND_MIN;

	return now_ms - req->progress_ms > HTTP_BODY_STALL_MS ||
	       now_ms - req->since_ms > HTTP_BODY_STALL_MS + earned_ms;
}

/* Replies. */

bool http_replied(const struct http_request *req)
{
	return req->over || req->begun;
}

void http_reply_field(struct http_request *req, const char *name, const char *fmt, ...)
{
	struct buf value = BUF_INIT;
	char text[256];
	va_list args;
	int n, rc;

	if (req->over) {
		return;
	}
	assert(!req->head_sent);
	va_start(args, fmt);
	n = vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	assert(n >= 0);
	if ((size_t)n < sizeof text) {
		rc = http_fields_add(&req->reply, bytes_str(name), bytes_of(text, (size_t)n));
	} else {
		va_start(args, fmt);
		buf_reserve(&value, (size_t)n + 1);
		(void)vsnprintf((char *)value.data, (size_t)n + 1, fmt, args);
		va_end(args);
		rc = http_fields_add(&req->reply, bytes_str(name), bytes_of(value.data, (size_t)n));
		buf_release(&value);
	}
	assert(rc == 0);
}

void http_reply_begin(
	struct http_request *req, int status, const char *content_type, uint64_t length)
{
	if (req->over) {
		return;
	}
	assert(!req->begun && status >= 200 && status <= 599);
	req->begun = true;
	req->status = status;
	req->no_body = req->verb == VERB_HEAD || status == 204 || status == 304;
	req->reply_length = length;
	req->progress_ms = http_now(req->server);
	req->private_out =
		content_type != NULL && strcmp(content_type, "application/octet-stream") != 0;
	if (content_type != NULL) {
		http_reply_field(req, "content-type", "%s", content_type);
	}
	if (length != HTTP_LENGTH_UNKNOWN && status != 204) {
		http_reply_field(req, "content-length", "%llu", (unsigned long long)length);
	}
}

void http_reply_write(struct http_request *req, struct buf *body, bool last)
{
	if (!req->over) {
		assert(req->begun && !req->last);
		if (body != NULL && !req->no_body) {
			if (req->out_at == req->out.len) {
				request_drop_out(req);
				req->out = *body;
				*body = BUF_INIT;
			} else {
				buf_append_bytes(&req->out, buf_bytes(body));
			}
		}
		request_count_out(req, req->out.len - req->out_at);
		req->last = last;
		req->more_asked = false;
		http_conn_wake(req->conn);
	}
	if (body != NULL && req->private_out) {
		secret_buf_release(body);
	} else if (body != NULL) {
		buf_release(body);
	}
}

void http_reply(struct http_request *req, int status, const char *content_type, struct buf *body)
{
	http_reply_begin(req, status, content_type, body == NULL ? 0 : body->len);
	http_reply_write(req, body, true);
}

bool http_can_upgrade(const struct http_request *req)
{
	return !req->over && req->conn->door == HTTP_CLIENTS && req->conn->proto == &http1_proto &&
	       !req->conn->draining;
}

void http_reply_upgrade(struct http_request *req, const struct http_proto *proto, void *state)
{
	if (req->over) {
		proto->drop(state);
		return;
	}
	assert(!req->begun && req->received && http_can_upgrade(req));
	req->begun = true;
	req->status = 101;
	req->upgrade = proto;
	req->upgrade_state = state;
	http_conn_wake(req->conn);
}

void http_reply_abort(struct http_request *req)
{
	if (!req->over) {
		req->conn->proto->reset(req->conn, req);
	}
}

struct bytes http_request_out(struct http_request *req, size_t max, bool *ret_end)
{
	size_t left = req->out.len - req->out_at;
	size_t n = left < max ? left : max;

	*ret_end = req->last && n == left;
	return bytes_of(n == 0 ? NULL : req->out.data + req->out_at, n);
}

void http_request_out_done(struct http_request *req, size_t len)
{
	assert(len <= req->out.len - req->out_at);
	req->out_at += len;
	req->body_sent += len;
	request_count_out(req, req->out.len - req->out_at);
	http_count(req->server)->bytes_out += len;
	if (len > 0) {
		req->progress_ms = http_now(req->server);
	}
	if (req->out_at == req->out.len) {
		request_drop_out(req);
		if (!req->last && !req->more_asked && req->more_cb != NULL) {
			req->more_asked = true;
			http_server_ask_more(req);
		}
	}
}
