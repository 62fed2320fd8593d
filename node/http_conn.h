/* Between http.c, which owns connections and requests, and the two protocols. Not for others. */
#ifndef KLUIS_NODE_HTTP_CONN_H
#define KLUIS_NODE_HTTP_CONN_H

#include "crypto/tls_stream.h"
#include "node/http.h"
#include "node/http_crowd.h"
#include "node/http_listener.h"

struct http_proto {
	const char *name;
	/* The connection is ready; *conn->state is the protocol's. */
	int (*start)(struct http_conn *conn);
	/* As tls_stream's read_cb: how many bytes were taken. */
	size_t (*read)(struct http_conn *conn, struct bytes bytes);
	/* Hands as much as there is room for to the stream. */
	void (*write)(struct http_conn *conn);
	/* A reply cannot go on. */
	void (*reset)(struct http_conn *conn, struct http_request *req);
	/* Time-outs of requests and of the idle connection; true: it is to be cut off. */
	bool (*sweep)(struct http_conn *conn, uint64_t now_ms);
	/* No new requests; close when the last is done. */
	void (*drain)(struct http_conn *conn);
	void (*release)(struct http_conn *conn);
	/* Of one that http_reply_upgrade() names: the state of a connection that is gone. */
	void (*drop)(void *state);
};

extern const struct http_proto http1_proto, http2_proto;

struct http_conn {
	struct http_server *server;
	struct tls_stream *stream;
	const struct http_proto *proto; /* NULL until the handshake is done. */
	void *state;
	struct http_conn *next, **prev_next;
	struct http_conn *dirty_next;
	struct http_request *requests;
	unsigned n_requests;
	enum http_door door;
	bool dirty, closing, draining, half_closed;
	uid_t uid;
	char host[HTTP_HOST_CHARS_MAX + 1];
	struct http_guest guest; /* Clients alone are in the crowd. */
	uint64_t address_key;
	uint64_t since_ms; /* Of the state it is in: handshake, or the last request's end. */
	/* The stream's counter when the client last had all, or enough, and when that was. */
	uint64_t sent_bytes, sent_ms;
	size_t out_bytes, answers_counted; /* Unsent: in its requests; as counted by the server. */
	size_t held, owed;		   /* See HTTP_CONNECTION_HELD_BYTES_MAX. */
};

const struct http_app *http_server_app(const struct http_server *server);
/* A new name, random and no secret. */
void http_server_name_request(struct http_server *server, char id[HTTP_REQUEST_ID_CHARS + 1]);
void http_server_idle_cb(uv_idle_t *idle);
/* more_cb in the next turn. */
void http_server_ask_more(struct http_request *req);
uint64_t http_now(const struct http_server *server);
struct http_crowd *http_server_crowd(struct http_server *server);
bool http_server_answers_full(const struct http_server *server);
/* Its unsent bytes have changed. */
void http_conn_recount(struct http_conn *conn);
struct http_counters *http_count(struct http_server *server);

/* A new request of this connection; its owner is the connection until http_request_over(). */
struct http_request *http_request_new(struct http_conn *conn, int32_t stream_id);
/* Splits req->target and calls head_cb or, when something is wrong, fail_cb. */
void http_request_head(struct http_request *req);
void http_request_fail(struct http_request *req, int code, const char *detail);
/* Takes body bytes; refuses the request when they are too many. */
void http_request_body(struct http_request *req, struct bytes piece);
/* The body's end: body_cb unless there is a reply. */
void http_request_received(struct http_request *req);
/* done_cb, then the connection's reference goes. */
void http_request_over(struct http_request *req);
/* The next bytes of the reply's body, at most max; *ret_end: nothing comes behind them. */
struct bytes http_request_out(struct http_request *req, size_t max, bool *ret_end);
void http_request_out_done(struct http_request *req, size_t len);
/* Has the body been coming in too slowly? */
bool http_request_late(const struct http_request *req, uint64_t now_ms);

/* proto->write will be called in this turn or the next. */
void http_conn_wake(struct http_conn *conn);
/* Graceful and at once; both idempotent, both leave the memory until the stream's closed_cb. */
void http_conn_close(struct http_conn *conn);
void http_conn_abort(struct http_conn *conn);

#endif
