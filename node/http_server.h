/* The server as its own two parts share it: http.c, which is the server's life, and http_conn.c, a
 * connection's. Not for others. */
#ifndef KLUIS_NODE_HTTP_SERVER_H
#define KLUIS_NODE_HTTP_SERVER_H

#include "node/http_conn.h"
#include "node/ratelimit.h"

struct http_server {
	struct http_config config;
	struct tls_ctx *tls;
	struct http_counters counters;
	uint8_t random[256]; /* For the names of requests; its last random_left bytes are not spent.
			      */
	size_t random_left;
	struct http_listener *listeners[HTTP_LISTENERS_MAX];
	unsigned n_listeners;
	struct http_conn *conns;
	struct http_crowd crowd;
	unsigned connections_peak; /* Since memory was given back. */
	struct ratelimit *accept_limit;
	struct http_conn *dirty;
	uv_prepare_t prepare; /* Writes what was replied since the last turn. */
	uv_idle_t again;      /* Keeps the loop from sleeping while something is left to write. */
	uv_timer_t timer;
	unsigned handles;
	bool draining, closing;
	void (*closed_cb)(void *data);
};

/* A part of it is closed: the last one frees it. */
void http_server_gone(struct http_server *server);
/* What the connection has to send, as much as there is room for. Does not free it. */
void http_conn_write(struct http_conn *conn);
/* It did not do in time what it must: it is to be cut off. */
bool http_conn_timed_out(struct http_conn *conn, uint64_t now_ms);

#endif
