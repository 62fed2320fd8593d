#include "node/websocket.h"

#include <assert.h>
#include <string.h>
#include <wslay/wslay.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "node/http_conn.h"

enum { KEY_CHARS = 24 };

struct websocket {
	const struct websocket_handler *handler;
	void *data;
	struct http_conn *conn; /* NULL before it stands. */
	wslay_event_context_ptr wslay;
	struct bytes in; /* Being read. */
	uint64_t heard_ms, pinged_ms, tokens_ms;
	unsigned tokens; /* Frames that the client may send now. */
	unsigned code;	 /* Of a close before it stood; 0: none. */
	bool starved;	 /* room_cb is due. */
	bool closing, busy;
};

/* --- the request --- */

/* One element of a comma-separated list, whatever its case (RFC 9110 section 5.6.1). */
static bool list_has(struct bytes list, const char *wanted)
{
	while (list.len > 0) {
		const uint8_t *comma = memchr(list.data, ',', list.len);
		size_t n = comma == NULL ? list.len : (size_t)(comma - list.data);

		if (bytes_is_nocase(bytes_trim(bytes_of(list.data, n)), wanted)) {
			return true;
		}
		n += comma == NULL ? 0 : 1;
		list = bytes_of(list.data + n, list.len - n);
	}
	return false;
}

bool websocket_wanted(const struct http_request *req)
{
	struct bytes value;

	return req->verb == VERB_GET && http_fields_get(&req->fields, "upgrade", &value) > 0 &&
	       list_has(value, "websocket");
}

/* Base64 with padding of 16 bytes (RFC 6455 section 4.1): 22 digits and "==". */
static bool key_valid(struct bytes key)
{
	char text[KEY_CHARS - 2];
	uint8_t raw[16];

	if (key.len != KEY_CHARS || memcmp(key.data + KEY_CHARS - 2, "==", 2) != 0) {
		return false;
	}
	memcpy(text, key.data, sizeof text);
	for (size_t i = 0; i < sizeof text; i++) {
		if (text[i] == '-' || text[i] == '_') {
			return false;
		}
		text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
	}
	return base64_decode_exact(bytes_of(text, sizeof text), raw, sizeof raw) == 0;
}

int websocket_check(const struct http_request *req, struct err *e)
{
	struct bytes value;

	assert(websocket_wanted(req));
	if (!http_can_upgrade(req)) {
		return err_set(e, KLUIS_EINVAL, "WebSocket is spoken over HTTP/1.1 alone");
	}
	if (http_fields_get(&req->fields, "upgrade", &value) != 1 ||
		!bytes_is_nocase(value, "websocket") ||
		http_fields_get(&req->fields, "connection", &value) != 1 ||
		!list_has(value, "upgrade")) {
		return err_set(e, KLUIS_EINVAL, "'Connection' or 'Upgrade' is malformed");
	}
	if (http_fields_get(&req->fields, "sec-websocket-version", &value) != 1 ||
		!bytes_is(value, "13")) {
		return err_set(e, KLUIS_EVERSION, "'Sec-WebSocket-Version' is not 13");
	}
	if (http_fields_get(&req->fields, "sec-websocket-key", &value) != 1 || !key_valid(value)) {
		return err_set(e, KLUIS_EINVAL, "'Sec-WebSocket-Key' is malformed");
	}
	return 0;
}

/* RFC 6455 section 4.2.2, 5.4. */
static void accept_of(struct bytes key, struct buf *to)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	uint8_t hash[HASH_SHA1_BYTES];
	const struct bytes parts[] = {key, bytes_str(guid)};

	hash_sha1_parts(parts, ARRAY_SIZE(parts), hash);
	base64_plain_append(to, bytes_of(hash, sizeof hash));
}

/* --- wslay's callbacks --- */

static ssize_t ws_recv_cb(
	wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *user)
{
	struct websocket *ws = user;
	size_t n = ws->in.len < len ? ws->in.len : len;

	(void)flags;
	if (n == 0) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	memcpy(buf, ws->in.data, n);
	ws->in = bytes_of(ws->in.data + n, ws->in.len - n);
	return (ssize_t)n;
}

static ssize_t ws_send_cb(
	wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags, void *user)
{
	struct websocket *ws = user;

	(void)flags;
	if (!tls_stream_writable(ws->conn->stream)) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	tls_stream_write(ws->conn->stream, bytes_of(data, len));
	return (ssize_t)len;
}

static void ws_refuse(struct websocket *ws, unsigned code)
{
	wslay_event_shutdown_read(ws->wslay);
	/* It fails only when a close frame is queued already. */
	(void)wslay_event_queue_close(ws->wslay, (uint16_t)code, NULL, 0);
	ws->closing = true;
}

/* Every frame costs something, were it only a pong. */
static void ws_frame_cb(wslay_event_context_ptr ctx,
	const struct wslay_event_on_frame_recv_start_arg *arg, void *user)
{
	struct websocket *ws = user;

	(void)ctx;
	if (ws->tokens == 0) {
		ws_refuse(ws, WEBSOCKET_POLICY);
	} else if (arg->opcode == WSLAY_BINARY_FRAME) {
		ws_refuse(ws, WEBSOCKET_UNSUPPORTED);
	} else {
		ws->tokens--;
	}
}

static const struct wslay_event_callbacks ws_callbacks = {
	.recv_callback = ws_recv_cb,
	.send_callback = ws_send_cb,
	.on_frame_recv_start_callback = ws_frame_cb,
};

/* --- the connection --- */

static void ws_earn(struct websocket *ws, uint64_t now_ms)
{
	uint64_t earned = (now_ms - ws->tokens_ms) * WEBSOCKET_FRAMES_PER_SECOND / 1000;

	if (earned > 0) {
		ws->tokens_ms = now_ms;
		ws->tokens = earned > WEBSOCKET_FRAMES_BURST - ws->tokens
				     ? WEBSOCKET_FRAMES_BURST
				     : ws->tokens + (unsigned)earned;
	}
}

static int ws_start(struct http_conn *conn)
{
	struct websocket *ws = conn->state;

	ws->conn = conn;
	ws->heard_ms = ws->tokens_ms = http_now(conn->server);
	ws->tokens = WEBSOCKET_FRAMES_BURST;
	ws->starved = true;
	if (wslay_event_context_server_init(&ws->wslay, &ws_callbacks, ws) != 0) {
		return KLUIS_EBUSY;
	}
	wslay_event_config_set_max_recv_msg_length(ws->wslay, WEBSOCKET_TEXT_BYTES_MAX);
	if (ws->code != 0) {
		(void)wslay_event_queue_close(
			ws->wslay, (uint16_t)ws->code, NULL, 0); /* None is queued. */
	}
	http_conn_wake(conn);
	return 0;
}

static bool ws_has_room(const struct websocket *ws)
{
	return ws->wslay != NULL && !ws->closing &&
	       wslay_event_get_queued_msg_length(ws->wslay) + tls_stream_unsent(ws->conn->stream) <
		       WEBSOCKET_UNSENT_BYTES_MAX;
}

static void ws_send(struct websocket *ws)
{
	struct http_conn *conn = ws->conn;

	if (conn->closing) {
		return;
	}
	if (wslay_event_send(ws->wslay) != 0) {
		http_conn_abort(conn);
		return;
	}
	tls_stream_flush(conn->stream);
	/* After a close frame of either side nothing more is read; ours is the last to go out. */
	if (wslay_event_get_close_sent(ws->wslay)) {
		ws->closing = true;
		http_conn_close(conn);
	}
}

static void ws_write(struct http_conn *conn)
{
	struct websocket *ws = conn->state;

	ws_send(ws);
	if (ws->starved && !conn->closing && ws_has_room(ws)) {
		ws->starved = false;
		ws->busy = true;
		ws->handler->room_cb(ws);
		ws->busy = false;
	}
}

static size_t ws_read(struct http_conn *conn, struct bytes bytes)
{
	struct websocket *ws = conn->state;
	int rc;

	ws->heard_ms = http_now(conn->server);
	ws->pinged_ms = 0;
	ws_earn(ws, ws->heard_ms);
	ws->in = bytes;
	ws->busy = true;
	rc = wslay_event_recv(ws->wslay);
	ws->busy = false;
	ws->in = bytes_of(NULL, 0);
	if (rc != 0) {
		/* Not what the protocol allows, so wslay has queued a close frame: or no memory. */
		ws->closing = true;
	}
	ws_send(ws);
	if (rc != 0 && !conn->closing) {
		http_conn_close(conn);
	}
	return bytes.len;
}

static void ws_reset(struct http_conn *conn, struct http_request *req)
{
	(void)conn;
	(void)req;
	assert(false); /* It has no requests. */
}

static bool ws_sweep(struct http_conn *conn, uint64_t now_ms)
{
	struct websocket *ws = conn->state;
	const struct wslay_event_msg ping = {.opcode = WSLAY_PING};
	uint64_t silent_ms = now_ms - ws->heard_ms;

	if (silent_ms > WEBSOCKET_IDLE_MS) {
		return true;
	}
	if (silent_ms > WEBSOCKET_PING_MS && ws->pinged_ms == 0) {
		ws->pinged_ms = now_ms;
		if (wslay_event_queue_msg(ws->wslay, &ping) == 0) {
			http_conn_wake(conn);
		}
	}
	return false;
}

static void ws_drain(struct http_conn *conn)
{
	websocket_close(conn->state, WEBSOCKET_GOING_AWAY);
}

static void ws_free(struct websocket *ws)
{
	ws->handler->gone_cb(ws);
	if (ws->wslay != NULL) {
		wslay_event_context_free(ws->wslay);
	}
	free(ws);
}

static void ws_release(struct http_conn *conn)
{
	ws_free(conn->state);
}

static void ws_drop(void *state)
{
	ws_free(state);
}

static const struct http_proto websocket_proto = {
	.name = "websocket",
	.start = ws_start,
	.read = ws_read,
	.write = ws_write,
	.reset = ws_reset,
	.sweep = ws_sweep,
	.drain = ws_drain,
	.release = ws_release,
	.drop = ws_drop,
};

/* --- its user --- */

struct websocket *websocket_new(const struct websocket_handler *handler, void *data)
{
	struct websocket *ws = x_calloc(1, sizeof *ws);

	ws->handler = handler;
	ws->data = data;
	return ws;
}

void *websocket_data(const struct websocket *ws)
{
	return ws->data;
}

void websocket_upgrade(struct websocket *ws, struct http_request *req)
{
	_cleanup_(buf_release) struct buf accept = BUF_INIT;
	struct bytes key;
	unsigned n = http_fields_get(&req->fields, "sec-websocket-key", &key);

	assert(n == 1);
	accept_of(key, &accept);
	http_reply_field(req, "upgrade", "websocket");
	http_reply_field(req, "connection", "Upgrade");
	http_reply_field(req, "sec-websocket-accept", "%s", buf_str(&accept));
	http_reply_upgrade(req, &websocket_proto, ws);
}

bool websocket_room(struct websocket *ws)
{
	bool room = ws_has_room(ws);

	ws->starved |= !room;
	return room;
}

void websocket_text(struct websocket *ws, struct bytes text)
{
	const struct wslay_event_msg message = {
		.opcode = WSLAY_TEXT_FRAME, .msg = text.data, .msg_length = text.len};

	if (ws->conn == NULL || ws->conn->closing || ws->closing) {
		return;
	}
	if (wslay_event_queue_msg(ws->wslay, &message) != 0) {
		http_conn_abort(ws->conn); /* What is lost here would not be missed. */
		return;
	}
	http_conn_wake(ws->conn);
}

void websocket_close(struct websocket *ws, unsigned code)
{
	if (ws->closing) {
		return;
	}
	ws->closing = true;
	ws->code = code;
	if (ws->conn == NULL || ws->conn->closing) {
		return; /* ws_start() does it, or nobody reads it any more. */
	}
	(void)wslay_event_queue_close(ws->wslay, (uint16_t)code, NULL, 0); /* Or one is queued. */
	if (ws->busy) {
		http_conn_wake(ws->conn);
	} else {
		ws_send(ws);
	}
}
