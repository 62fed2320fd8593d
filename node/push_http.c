#include "node/push_http.h"

#include <assert.h>
#include <http_parser.h>
#include <nghttp2/nghttp2.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "crypto/secret.h"
#include "crypto/tls_client.h"
#include "node/push_target.h"

enum { PUSH_READ_BYTES = 16 * 1024, PUSH_PSEUDO_FIELDS = 4, PUSH_STATUS_MAX = 999 };

/* An answer on its way. */
struct push_exchange {
	struct push_answer answer;
	struct bytes body; /* Of the request; what is left to send. */
	size_t head_bytes;
	bool done, failed;
	struct buf field; /* HTTP/1.1: the name that is being read. */
	struct buf value;
};

void push_answer_release(struct push_answer *answer)
{
	secret_buf_release(&answer->body);
}

static void push_exchange_release(struct push_exchange *x)
{
	push_answer_release(&x->answer);
	buf_release(&x->field);
	buf_release(&x->value);
}

static void push_take_field(struct push_exchange *x, struct bytes name, struct bytes value)
{
	static const char retry_after[] = "retry-after";
	uint64_t seconds;

	if (name.len == sizeof retry_after - 1 &&
		strncasecmp((const char *)name.data, retry_after, name.len) == 0 &&
		u64_parse(value, PUSH_RETRY_AFTER_S_MAX, &seconds) == 0) {
		x->answer.retry_after_s = seconds;
	}
}

static void push_take_body(struct push_exchange *x, struct bytes piece)
{
	size_t room = PUSH_ANSWER_BYTES_MAX - x->answer.body.len;

	if (piece.len > room) {
		piece.len = room;
		x->done = true; /* What matters is its status. */
	}
	buf_append_bytes(&x->answer.body, piece);
}

/* Reads once; nothing at the end of the connection. */
static int push_read(struct tls_client *client, uint8_t *to, uint64_t deadline_ms,
	struct bytes *ret_bytes, struct err *e)
{
	size_t len = 0;
	int rc = tls_client_read(client, to, PUSH_READ_BYTES, deadline_ms, &len, e);

	if (rc == 0) {
		*ret_bytes = bytes_of(to, len);
	}
	return rc;
}

/* --- HTTP/2 ------------------------------------------------------------------------------------
 */

static int h2_header_cb(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	struct push_exchange *x = data;
	uint64_t status;

	(void)session;
	(void)frame;
	(void)flags;
	x->head_bytes += name_len + value_len;
	if (x->head_bytes > PUSH_ANSWER_HEAD_BYTES_MAX) {
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	if (bytes_equal(bytes_of(name, name_len), bytes_str(":status"))) {
		if (u64_parse(bytes_of(value, value_len), PUSH_STATUS_MAX, &status) == 0) {
			x->answer.status = (int)status; /* A 1xx is followed by the answer's. */
		}
		return 0;
	}
	push_take_field(x, bytes_of(name, name_len), bytes_of(value, value_len));
	return 0;
}

static int h2_data_cb(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
	size_t len, void *data)
{
	(void)session;
	(void)flags;
	(void)id;
	push_take_body(data, bytes_of(bytes, len));
	return 0;
}

static int h2_close_cb(nghttp2_session *session, int32_t id, uint32_t error, void *data)
{
	struct push_exchange *x = data;

	(void)session;
	(void)id;
	/* A service may answer without reading the whole body (RFC 9113, 8.1): NO_ERROR. */
	x->failed = error != NGHTTP2_NO_ERROR || x->answer.status == 0;
	x->done = true;
	return 0;
}

static ssize_t h2_source_cb(nghttp2_session *session, int32_t id, uint8_t *to, size_t max,
	uint32_t *flags, nghttp2_data_source *source, void *data)
{
	struct push_exchange *x = source->ptr;
	size_t n = x->body.len < max ? x->body.len : max;

	(void)session;
	(void)id;
	(void)data;
	if (n > 0) {
		memcpy(to, x->body.data, n);
	}
	x->body = bytes_of(x->body.data + n, x->body.len - n);
	if (x->body.len == 0) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	}
	return (ssize_t)n;
}

static nghttp2_nv h2_field(const char *name, const char *value)
{
	/* nghttp2 copies them; its struct is not const. */
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
		strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static nghttp2_session *h2_session_new(struct push_exchange *x)
{
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_session *session = NULL;
	int rc = nghttp2_session_callbacks_new(&callbacks);

	assert(rc == 0);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_header_cb);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, h2_data_cb);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, h2_close_cb);
	rc = nghttp2_session_client_new(&session, callbacks, x);
	assert(rc == 0);
	nghttp2_session_callbacks_del(callbacks);
	return session;
}

static int h2_submit(nghttp2_session *session, const struct push_request *request,
	const char *authority, struct push_exchange *x)
{
	static const nghttp2_settings_entry no_push = {NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
	nghttp2_data_provider source = {.source.ptr = x, .read_callback = h2_source_cb};
	nghttp2_nv list[PUSH_PSEUDO_FIELDS + PUSH_FIELDS_MAX];
	size_t n = 0;
	int rc = nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, &no_push, 1);

	list[n++] = h2_field(":method", "POST");
	list[n++] = h2_field(":scheme", "https");
	list[n++] = h2_field(":authority", authority);
	list[n++] = h2_field(":path", request->path);
	for (size_t i = 0; i < PUSH_FIELDS_MAX && request->fields[i].name != NULL; i++) {
		list[n++] = h2_field(request->fields[i].name, request->fields[i].value);
	}
	if (rc != 0) {
		return rc;
	}
	rc = nghttp2_submit_request(session, NULL, list, n, &source, NULL);
	return rc < 0 ? rc : 0;
}

/* What nghttp2 wants to send now. */
static int h2_send(
	nghttp2_session *session, struct tls_client *client, uint64_t deadline_ms, struct err *e)
{
	for (;;) {
		const uint8_t *bytes;
		ssize_t n = nghttp2_session_mem_send(session, &bytes);
		int rc;

		if (n <= 0) {
			return n == 0 ? 0 : err_set(e, KLUIS_EPROTO, "HTTP/2 failed");
		}
		rc = tls_client_write(client, bytes_of(bytes, (size_t)n), deadline_ms, e);
		if (rc != 0) {
			return rc;
		}
	}
}

static int h2_run(nghttp2_session *session, struct tls_client *client, struct push_exchange *x,
	uint64_t deadline_ms, struct err *e)
{
	_cleanup_(x_freep) uint8_t *room = x_malloc(PUSH_READ_BYTES);

	/* Sending may end the stream, too: what is against the rules is reset. */
	for (;;) {
		struct bytes got = {NULL, 0};
		int rc = h2_send(session, client, deadline_ms, e);

		if (x->failed) {
			return err_set(e, KLUIS_EPROTO, "no HTTP/2 answer");
		}
		if (x->done) {
			return 0; /* With the last byte, whatever becomes of ours. */
		}
		rc = rc != 0 ? rc : push_read(client, room, deadline_ms, &got, e);
		if (rc == 0 && got.len == 0) {
			rc = err_set(e, KLUIS_ECLOSED, "the connection ended before the answer");
		}
		if (rc != 0) {
			return rc;
		}
		if (nghttp2_session_mem_recv(session, got.data, got.len) < 0) {
			return err_set(e, KLUIS_EPROTO, "no HTTP/2 answer");
		}
	}
}

static int push_h2(struct tls_client *client, const struct push_request *request,
	const char *authority, struct push_exchange *x, uint64_t deadline_ms, struct err *e)
{
	nghttp2_session *session = h2_session_new(x);
	int rc = h2_submit(session, request, authority, x) == 0
			 ? h2_run(session, client, x, deadline_ms, e)
			 : err_set(e, KLUIS_EPROTO, "HTTP/2 failed");

	nghttp2_session_del(session);
	return rc;
}

/* --- HTTP/1.1 ----------------------------------------------------------------------------------
 */

static void h1_end_field(struct push_exchange *x)
{
	push_take_field(x, buf_bytes(&x->field), buf_bytes(&x->value));
	buf_clear(&x->field);
	buf_clear(&x->value);
}

static int h1_grow(struct push_exchange *x, struct buf *to, const char *at, size_t len)
{
	x->head_bytes += len;
	if (x->head_bytes > PUSH_ANSWER_HEAD_BYTES_MAX) {
		return 1;
	}
	buf_append(to, at, len);
	return 0;
}

static int h1_field_cb(http_parser *parser, const char *at, size_t len)
{
	struct push_exchange *x = parser->data;

	if (x->value.len > 0) {
		h1_end_field(x);
	}
	return h1_grow(x, &x->field, at, len);
}

static int h1_value_cb(http_parser *parser, const char *at, size_t len)
{
	struct push_exchange *x = parser->data;

	return h1_grow(x, &x->value, at, len);
}

static int h1_headers_cb(http_parser *parser)
{
	struct push_exchange *x = parser->data;

	h1_end_field(x);
	x->answer.status = parser->status_code;
	return 0;
}

static int h1_body_cb(http_parser *parser, const char *at, size_t len)
{
	push_take_body(parser->data, bytes_of(at, len));
	return 0;
}

static int h1_complete_cb(http_parser *parser)
{
	struct push_exchange *x = parser->data;

	/* Another one follows an informational answer. */
	if (parser->status_code >= 200) {
		x->done = true;
		http_parser_pause(parser, 1); /* What is behind it is nobody's. */
	}
	return 0;
}

static int h1_send(struct tls_client *client, const struct push_request *request,
	const char *authority, uint64_t deadline_ms, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf head = BUF_INIT;
	int rc;

	buf_printf(&head, "POST %s HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n", request->path,
		authority);
	for (size_t i = 0; i < PUSH_FIELDS_MAX && request->fields[i].name != NULL; i++) {
		buf_printf(&head, "%s: %s\r\n", request->fields[i].name, request->fields[i].value);
	}
	buf_printf(&head, "content-length: %zu\r\n\r\n", request->body.len);
	buf_append_bytes(&head, request->body);
	rc = tls_client_write(client, buf_bytes(&head), deadline_ms, e);
	return rc;
}

static int push_h1(struct tls_client *client, const struct push_request *request,
	const char *authority, struct push_exchange *x, uint64_t deadline_ms, struct err *e)
{
	static const http_parser_settings settings = {.on_header_field = h1_field_cb,
		.on_header_value = h1_value_cb,
		.on_headers_complete = h1_headers_cb,
		.on_body = h1_body_cb,
		.on_message_complete = h1_complete_cb};
	_cleanup_(x_freep) uint8_t *room = x_malloc(PUSH_READ_BYTES);
	http_parser parser;
	int rc = h1_send(client, request, authority, deadline_ms, e);

	http_parser_init(&parser, HTTP_RESPONSE);
	parser.data = x;
	while (rc == 0 && !x->done) {
		struct bytes got = {NULL, 0};

		rc = push_read(client, room, deadline_ms, &got, e);
		if (rc != 0) {
			break;
		}
		/* Nothing read ends a body that only the connection ends. */
		(void)http_parser_execute(&parser, &settings, (const char *)room, got.len);
		if (x->done) {
			break;
		}
		if (HTTP_PARSER_ERRNO(&parser) != HPE_OK || parser.upgrade != 0) {
			rc = err_set(e, KLUIS_EPROTO, "no HTTP/1.1 answer");
		} else if (got.len == 0) {
			rc = err_set(e, KLUIS_ECLOSED, "the connection ended before the answer");
		}
	}
	/* A body that the connection ends may be cut: who reads it finds out. */
	return rc == KLUIS_ECLOSED && x->answer.status != 0 ? 0 : rc;
}

static bool push_anywhere(const struct sockaddr *address)
{
	(void)address;
	return true;
}

int push_http_post(const struct push_http *http, const struct push_request *request,
	uint64_t deadline_ms, struct push_answer *ret_answer, struct err *e)
{
	_cleanup_(push_exchange_release) struct push_exchange x = {.body = request->body};
	char authority[ADDRESS_TEXT_BYTES_MAX + 1];
	struct tls_client *client = NULL;
	int rc;

	address_format(request->address, authority);
	rc = tls_client_connect_where(authority, http->ctx,
		http->private_addresses ? push_anywhere : push_address_public, deadline_ms, &client,
		e);
	if (rc != 0) {
		return rc;
	}
	rc = bytes_equal(tls_client_alpn(client), bytes_str(TLS_ALPN_H2))
		     ? push_h2(client, request, authority, &x, deadline_ms, e)
		     : push_h1(client, request, authority, &x, deadline_ms, e);
	tls_client_free(client);
	if (rc == 0) {
		*ret_answer = x.answer;
		x.answer = (struct push_answer){.status = 0};
	}
	return rc;
}
