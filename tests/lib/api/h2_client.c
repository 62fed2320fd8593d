#include "tests/lib/test.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "tests/lib/api/h2_client.h"

enum { WAIT_MS = 60000 };

static struct h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

static int header_cb(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	struct h2_stream *stream = stream_of(session, frame->hd.stream_id);

	(void)flags;
	(void)data;
	(void)value_len;
	if (stream != NULL && name_len == 7 && memcmp(name, ":status", 7) == 0) {
		stream->status = (int)strtol((const char *)value, NULL, 10);
	}
	return 0;
}

static int data_cb(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
	size_t len, void *data)
{
	struct h2_client *client = data;
	struct h2_stream *stream = stream_of(session, id);

	(void)flags;
	if (stream != NULL) {
		buf_append(&stream->body, bytes, len);
	}
	if (!client->hold_window) {
		assert_int_equal(nghttp2_session_consume(session, id, len), 0);
	}
	return 0;
}

static int frame_cb(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	struct h2_client *client = data;
	struct h2_stream *stream = stream_of(session, frame->hd.stream_id);

	if (frame->hd.type == NGHTTP2_GOAWAY) {
		client->goaway = true;
	}
	if (stream != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
		(frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)) {
		stream->ended = true;
	}
	return 0;
}

static int close_cb(nghttp2_session *session, int32_t id, uint32_t error, void *data)
{
	struct h2_stream *stream = stream_of(session, id);

	(void)data;
	if (stream != NULL) {
		stream->closed = true;
		stream->error = error;
	}
	return 0;
}

static ssize_t source_cb(nghttp2_session *session, int32_t id, uint8_t *to, size_t max,
	uint32_t *flags, nghttp2_data_source *source, void *data)
{
	struct h2_stream *stream = source->ptr;
	size_t n = stream->sent.len - stream->sent_at;

	(void)session;
	(void)id;
	(void)data;
	n = n < max ? n : max;
	if (n > 0) {
		memcpy(to, stream->sent.data + stream->sent_at, n);
	}
	stream->sent_at += n;
	if (stream->sent_at == stream->sent.len) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	}
	return (ssize_t)n;
}

void h2_client_init(struct h2_client *client)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;

	assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
	assert_int_equal(nghttp2_option_new(&option), 0);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, header_cb);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data_cb);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frame_cb);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, close_cb);
	nghttp2_option_set_no_auto_window_update(option, 1);
	/* So that a test can send what a well-behaved client would not. */
	nghttp2_option_set_no_http_messaging(option, 1);
	nghttp2_option_set_max_send_header_block_length(option, 1 << 20);
	assert_int_equal(
		nghttp2_session_client_new2(&client->session, callbacks, client, option), 0);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	assert_int_equal(nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

void h2_client_release(struct h2_client *client)
{
	nghttp2_session_del(client->session);
	for (size_t i = 0; i < client->n_streams; i++) {
		buf_release(&client->stream[i].body);
		buf_release(&client->stream[i].sent);
	}
	http_client_release(&client->http);
}

static nghttp2_nv nv(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
		strlen(value), NGHTTP2_NV_FLAG_NONE};
}

struct h2_stream *h2_client_request(struct h2_client *client, const char *verb,
	const char *authority, const char *path, const struct h2_field *fields,
	const struct buf *body)
{
	struct h2_stream *stream = &client->stream[client->n_streams++];
	nghttp2_data_provider source = {.source.ptr = stream, .read_callback = source_cb};
	nghttp2_nv list[4 + H2_FIELDS_MAX];
	size_t n = 0;

	assert_true(client->n_streams <= H2_STREAMS_MAX);
	list[n++] = nv(":method", verb);
	list[n++] = nv(":scheme", "https");
	list[n++] = nv(":path", path);
	if (authority != NULL) {
		list[n++] = nv(":authority", authority);
	}
	for (; fields != NULL && fields->name != NULL; fields++) {
		list[n++] = nv(fields->name, fields->value);
	}
	if (body != NULL) {
		buf_append_bytes(&stream->sent, buf_bytes(body));
	}
	stream->id = nghttp2_submit_request(
		client->session, NULL, list, n, body == NULL ? NULL : &source, stream);
	assert_true(stream->id > 0);
	return stream;
}

static void client_write(struct h2_client *client)
{
	const uint8_t *data;
	ssize_t n;

	while (!client->ended && (n = nghttp2_session_mem_send(client->session, &data)) > 0) {
		http_client_send(&client->http, bytes_of(data, (size_t)n));
	}
}

void h2_client_until(struct h2_client *client, const bool *flag)
{
	uint64_t deadline_ms = clock_monotonic_ms(&clock_system) + WAIT_MS;
	uint8_t bytes[16384];

	for (;;) {
		struct err e = {0};
		size_t n = 0;
		int rc;

		client_write(client);
		if (*flag || client->ended) {
			return;
		}
		rc = tls_client_read(client->http.tls, bytes, sizeof bytes, deadline_ms, &n, &e);
		if (rc == KLUIS_ETIMEOUT) {
			fail_msg("nothing came in time");
		}
		if (rc != 0 || n == 0) {
			client->ended = true;
			return;
		}
		if (nghttp2_session_mem_recv(client->session, bytes, n) < 0) {
			client->ended = true;
		}
	}
}

void h2_client_consume(struct h2_client *client)
{
	client->hold_window = false;
	for (size_t i = 0; i < client->n_streams; i++) {
		if (client->stream[i].body.len > 0 && !client->stream[i].closed) {
			assert_int_equal(nghttp2_session_consume(client->session,
						 client->stream[i].id, client->stream[i].body.len),
				0);
		}
	}
}
