/* Listening sockets that survive a shortage of descriptors. Private to http*.c. */
#ifndef KLUIS_NODE_HTTP_LISTENER_H
#define KLUIS_NODE_HTTP_LISTENER_H

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"

/* Who comes this way. */
enum http_door {
	HTTP_CLIENTS,	/* TLS. */
	HTTP_OPERATORS, /* Unix socket. */
	HTTP_METRICS,	/* Plain, loopback. */
};

struct http_listener;
struct http_server;

KLUIS_MUST_CHECK int http_listener_tcp(struct http_server *server, uv_loop_t *loop,
	enum http_door door, const char *host, unsigned port, struct http_listener **ret_listener,
	unsigned *ret_port, struct err *e);
KLUIS_MUST_CHECK int http_listener_unix(struct http_server *server, uv_loop_t *loop,
	const char *path, gid_t group, struct http_listener **ret_listener, struct err *e);
/* Calls http_server_listener_closed() when its memory is gone. Removes its socket file. */
void http_listener_close(struct http_listener *listener);

/* What a listener asks of the server. */
bool http_server_full(struct http_server *server);
void http_server_accept(struct http_server *server, uv_stream_t *listener, enum http_door door);
void http_server_accept_error(struct http_server *server);
void http_server_listener_opened(struct http_server *server);
void http_server_listener_closed(struct http_server *server);

#endif
