#include "tests/bench/etcd/etcd_wire.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

#include "tests/bench/etcd/etcd_rpc.h"

enum { ETCD_WINDOW_BYTES = 1 << 20, ETCD_MESSAGE_MAX = 200, ETCD_STATUS_NONE = -1 };

/* Of gRPC's statuses. */
enum { GRPC_OK = 0, GRPC_DEADLINE = 4, GRPC_EXHAUSTED = 8, GRPC_UNAVAILABLE = 14 };

struct etcd_wire {
	struct tls_stream *stream;
	nghttp2_session *session;
	const char *authority;
	struct bytes unsent; /* Of the request. */
	bool closed;	     /* Its stream ended. */
	uint32_t error;
	int status; /* gRPC's. */
	char message[ETCD_MESSAGE_MAX];
	struct buf body;
};

static ssize_t wire_send_cb(
	nghttp2_session *session, const uint8_t *data, size_t len, int flags, void *user)
{
	struct etcd_wire *wire = user;

	(void)session;
	(void)flags;
	tls_stream_write(wire->stream, bytes_of(data, len));
	return (ssize_t)len;
}

static int wire_header_cb(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct etcd_wire *wire = user;
	struct bytes key = bytes_of(name, name_len);

	(void)session;
	(void)frame;
	(void)flags;
	if (bytes_equal(key, bytes_str("grpc-status")) && value_len > 0 && value_len <= 2) {
		wire->status = value[0] - '0';
		wire->status = value_len == 2 ? wire->status * 10 + value[1] - '0' : wire->status;
	} else if (bytes_equal(key, bytes_str("grpc-message"))) {
		(void)snprintf(wire->message, sizeof wire->message, "%.*s", (int)value_len,
			(const char *)value);
	}
	return 0;
}

static int wire_data_cb(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
	size_t len, void *user)
{
	struct etcd_wire *wire = user;

	(void)session;
	(void)flags;
	(void)id;
	buf_append(&wire->body, data, len);
	return 0;
}

static int wire_close_cb(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
	struct etcd_wire *wire = user;

	(void)session;
	(void)id;
	wire->closed = true;
	wire->error = error;
	return 0;
}

static void must(int rc)
{
	if (rc != 0) {
		(void)fprintf(stderr, "nghttp2: %s\n", nghttp2_strerror(rc));
		abort();
	}
}

static void *wire_open(void *arg, struct tls_stream *stream)
{
	struct etcd_wire *wire = x_calloc(1, sizeof *wire);
	nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, ETCD_WINDOW_BYTES},
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
	};
	nghttp2_session_callbacks *callbacks;

	wire->stream = stream;
	wire->authority = arg;
	must(nghttp2_session_callbacks_new(&callbacks));
	nghttp2_session_callbacks_set_send_callback(callbacks, wire_send_cb);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, wire_header_cb);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, wire_data_cb);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, wire_close_cb);
	must(nghttp2_session_client_new(&wire->session, callbacks, wire));
	nghttp2_session_callbacks_del(callbacks);
	must(nghttp2_submit_settings(
		wire->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings)));
	must(nghttp2_session_set_local_window_size(
		wire->session, NGHTTP2_FLAG_NONE, 0, ETCD_WINDOW_BYTES));
	must(nghttp2_session_send(wire->session));
	return wire;
}

static void wire_close(void *data)
{
	struct etcd_wire *wire = data;

	nghttp2_session_del(wire->session);
	buf_release(&wire->body);
	free(wire);
}

static ssize_t wire_read_cb(nghttp2_session *session, int32_t id, uint8_t *to, size_t max,
	uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct etcd_wire *wire = user;
	size_t n = wire->unsent.len < max ? wire->unsent.len : max;

	(void)session;
	(void)id;
	(void)source;
	memcpy(to, wire->unsent.data, n);
	wire->unsent = bytes_of(wire->unsent.data + n, wire->unsent.len - n);
	if (wire->unsent.len == 0) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	}
	return (ssize_t)n;
}

static nghttp2_nv wire_field(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
		NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

static void wire_send(void *data, const struct load_request *request)
{
	struct etcd_wire *wire = data;
	nghttp2_data_provider provider = {.read_callback = wire_read_cb};
	nghttp2_nv fields[] = {
		wire_field(":method", "POST"),
		wire_field(":scheme", "https"),
		wire_field(":path", request->kind == LOAD_PUT ? ETCD_PATH_PUT : ETCD_PATH_RANGE),
		wire_field(":authority", wire->authority),
		wire_field("content-type", "application/grpc"),
		wire_field("te", "trailers"),
	};
	int32_t id;

	wire->unsent = request->head;
	wire->closed = false;
	wire->status = ETCD_STATUS_NONE;
	wire->message[0] = 0;
	buf_clear(&wire->body);
	id = nghttp2_submit_request(
		wire->session, NULL, fields, ARRAY_SIZE(fields), &provider, NULL);
	must(id < 0 ? id : 0);
	must(nghttp2_session_send(wire->session));
}

static int wire_status(const struct etcd_wire *wire, struct err *e)
{
	int rc;

	if (wire->error != NGHTTP2_NO_ERROR || wire->status == ETCD_STATUS_NONE) {
		return err_set(e, KLUIS_ECLOSED, "etcd: stream closed: %s",
			nghttp2_http2_strerror(wire->error));
	}
	switch (wire->status) {
	case GRPC_OK:
		return 0;
	case GRPC_UNAVAILABLE:
		rc = KLUIS_ENOQUORUM;
		break;
	case GRPC_DEADLINE:
		rc = KLUIS_ETIMEOUT;
		break;
	case GRPC_EXHAUSTED: /* Too many requests, or out of space. */
		rc = strstr(wire->message, "space") != NULL ? KLUIS_EQUOTA : KLUIS_EBUSY;
		break;
	default:
		rc = KLUIS_EPROTO;
	}
	return err_set(e, rc, "etcd: %s (gRPC status %d)", wire->message, wire->status);
}

static int wire_receive(void *data, struct bytes bytes, bool *ret_done,
	struct load_answer *ret_answer, struct err *e)
{
	struct etcd_wire *wire = data;
	bool was_closed = wire->closed;
	ssize_t n = nghttp2_session_mem_recv(wire->session, bytes.data, bytes.len);

	if (n < 0 || (size_t)n != bytes.len || nghttp2_session_send(wire->session) != 0) {
		return err_set(e, KLUIS_EPROTO, "etcd: %s",
			n < 0 ? nghttp2_strerror((int)n) : "malformed HTTP/2");
	}
	if (!wire->closed || was_closed) {
		return 0;
	}
	*ret_done = true;
	*ret_answer = (struct load_answer){.rc = wire_status(wire, e),
		.body = buf_bytes(&wire->body),
		.close = !nghttp2_session_want_read(wire->session)};
	return 0;
}

const struct load_protocol etcd_wire_protocol = {
	.open = wire_open,
	.close = wire_close,
	.send = wire_send,
	.receive = wire_receive,
};
