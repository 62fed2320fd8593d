/* The server's side of a WebSocket (RFC 6455), on wslay, over a connection that was HTTP/1.1. Texts
 * go out; of a client only control frames and small texts are taken, at a bounded rate, and what a
 * text says is nobody's matter: browsers have no other way to show that they live.
 *
 * Life: websocket_new() -> websocket_upgrade() -> room_cb ... -> gone_cb. Everything on the
 * server's loop. */
#ifndef KLUIS_NODE_WEBSOCKET_H
#define KLUIS_NODE_WEBSOCKET_H

#include "node/http.h"

struct websocket;

/* RFC 6455 section 7.4; 4000 .. 4999 are an application's own. */
enum websocket_code {
	WEBSOCKET_GOING_AWAY = 1001,
	WEBSOCKET_UNSUPPORTED = 1003,
	WEBSOCKET_POLICY = 1008,
	WEBSOCKET_TRY_LATER = 1013, /* IANA's registry. */
	WEBSOCKET_SESSION_ENDED = 4401,
};

struct websocket_handler {
	/* It stands, or has room again after websocket_room() said no. */
	void (*room_cb)(struct websocket *ws);
	/* The connection is gone, or never became a WebSocket: the last callback. */
	void (*gone_cb)(struct websocket *ws);
};

/* Does the request ask for one at all? */
bool websocket_wanted(const struct http_request *req);
/* Whether it may have one: KLUIS_EINVAL (e says what is missing or wrong), KLUIS_EVERSION
 * (another version of the protocol: 426). RFC 6455 section 4.2.1. */
KLUIS_MUST_CHECK int websocket_check(const struct http_request *req, struct err *e);
/* handler must outlive it. */
struct websocket *websocket_new(const struct websocket_handler *handler, void *data);
void *websocket_data(const struct websocket *ws);
/* Answers 101 to a request that was received and passed websocket_check(); ws is the connection's
 * from here on. */
void websocket_upgrade(struct websocket *ws, struct http_request *req);
/* Ask before each text; false promises a room_cb, unless it goes first. */
bool websocket_room(struct websocket *ws);
/* Queues a text, which is UTF-8; dropped when it is closing. */
void websocket_text(struct websocket *ws, struct bytes text);
/* Sends what was queued, then a close frame, and closes. Idempotent. */
void websocket_close(struct websocket *ws, unsigned code);

#endif
