/* A blocking WebSocket client that sends exactly the frames it is told to. */
#ifndef KLUIS_TESTS_LIB_API_WEBSOCKET_CLIENT_H
#define KLUIS_TESTS_LIB_API_WEBSOCKET_CLIENT_H

#include "tests/lib/api/http_client.h"

enum { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

struct ws_frame {
	unsigned opcode; /* WS_CLOSE with payload empty: also the end of the connection. */
	bool gone;	 /* The connection ended without a frame. */
	struct buf payload;
};

/* The opening handshake over an HTTP/1.1 connection, with RFC 6455's own key; the answer. */
struct answer ws_open(struct http_client *client, const char *target, const char *fields);
/* first: the first byte (FIN, RSV, opcode). */
void ws_send(struct http_client *client, unsigned first, bool masked, struct bytes payload);
/* The next frame; fails the test when none comes in time. */
struct ws_frame ws_receive(struct http_client *client);
/* The next text as JSON, answering pings; fails the test on anything else. */
json_t *ws_receive_json(struct http_client *client);
/* The code of the close frame that comes next, texts before it skipped; 1005: without one; 1006: no
 * frame at all. */
unsigned ws_receive_close(struct http_client *client);

#endif
