/* The HTTP server: connections, HTTP/1.1 and HTTP/2 on one port (and HTTP/1.1 on a Unix socket),
 * one request struct for both. Everything runs on one loop's thread. What a request means is the
 * application's (struct http_app); here are framing, limits, time-outs and back-pressure.
 *
 * A request: head_cb (fields are there: set body_max, or reply at once) -> body_cb (the whole body
 * is there) -> http_reply*() at any later time -> done_cb. Replies go out in the next turn of the
 * loop, so no callback fires inside a call that causes it. */
#ifndef KLUIS_NODE_HTTP_H
#define KLUIS_NODE_HTTP_H

#include <sys/types.h>
#include <uv.h>

#include "base/clock.h"
#include "base/random.h"
#include "crypto/tls_ctx.h"
#include "node/http_message.h"

struct http_conn;
struct http_server;

#define HTTP_LENGTH_UNKNOWN UINT64_MAX
enum { HTTP_REQUEST_ID_CHARS = 16, HTTP_HOST_CHARS_MAX = 63 };

struct http_request {
	/* For the application to read. Pointers live as long as the request. */
	struct http_server *server;
	enum http_verb verb;
	struct bytes path, query;
	struct http_fields fields;
	struct buf body; /* From body_cb on; may be taken (leave BUF_INIT). */
	char id[HTTP_REQUEST_ID_CHARS + 1];
	char host[HTTP_HOST_CHARS_MAX + 1]; /* The client's address, or "unix". */
	uint64_t address_key;		    /* One IPv4 address or one IPv6 /64. */
	bool metrics;			    /* Came by the port for metrics: also admin. */
	bool admin;			    /* Came by the Unix socket ... */
	uid_t uid;			    /* ... from a process of this user. */
	uint64_t started_ms;
	bool over;  /* done_cb was called: nothing said from here on has an effect. */
	int status; /* Of the reply, once begun. */
	uint64_t body_received, body_sent;

	/* For the application to set. */
	size_t body_max;   /* In head_cb; 0: a request with a body is refused. */
	bool private_body; /* Cleared before it is freed. */
	bool private_out;  /* As private_body, of the reply: all but octets. */
	bool waits;	   /* For news: it ends when the client closes its side. */
	void *data;
	bool routed;
	/* Every byte of a reply begun and not ended went out: write more. May be NULL. */
	void (*more_cb)(struct http_request *req);

	/* Private to http*.c. */
	struct http_conn *conn; /* NULL once over. */
	struct http_request *next, **prev_next;
	struct buf target;
	unsigned refs;
	int32_t stream_id;
	bool announced, received, failed;
	uint64_t length; /* Of the body, if the client said; else HTTP_LENGTH_UNKNOWN. */
	uint64_t since_ms, progress_ms;
	size_t counted;
	bool held, more_asked;
	int fields_rc; /* HTTP/2: what was wrong with a field. */
	struct http_fields reply;
	struct buf out;
	size_t out_at, out_counted;
	uint64_t reply_length;
	bool begun, head_sent, last, no_body, deferred;
	const struct http_proto *upgrade; /* Of the connection, from here on; NULL: none. */
	void *upgrade_state;
};

struct http_app {
	/* The header section is complete. */
	void (*head_cb)(struct http_request *req);
	/* The body is, too. Not called once a reply has begun. */
	void (*body_cb)(struct http_request *req);
	/* The server refuses the request (KLUIS_EINVAL, _EHEADERS, _ETOOLARGE, _EBUSY, _ERATE):
	 * reply with that. Path and fields may be missing. */
	void (*fail_cb)(struct http_request *req, int code, const char *detail);
	/* The reply is out, or the connection is gone: the last callback. Exactly one per head_cb
	 * or fail_cb. */
	void (*done_cb)(struct http_request *req);
};

/* For an application that works on after done_cb may have come: keeps the memory. */
struct http_request *http_request_ref(struct http_request *req);
void http_request_unref(struct http_request *req);

/* All of these do nothing once the request is over. */

/* Adds a field to the reply; before http_reply_begin(). name in lower case. A value that is too
 * long or has control bytes is a bug of ours: asserted. */
void http_reply_field(struct http_request *req, const char *name, const char *fmt, ...)
	KLUIS_PRINTF(3, 4);
/* Status and fields go out with the first body bytes or the end, whichever is next. length: of
 * the body, or HTTP_LENGTH_UNKNOWN. content_type NULL: no body. */
void http_reply_begin(
	struct http_request *req, int status, const char *content_type, uint64_t length);
/* Queues body bytes (taken; *body is empty afterwards; NULL: none); `last` ends the reply. A HEAD
 * request's bytes are dropped. */
void http_reply_write(struct http_request *req, struct buf *body, bool last);
/* All at once. */
void http_reply(struct http_request *req, int status, const char *content_type, struct buf *body);
/* Ends the connection (h1) or resets the stream (h2): a reply that was begun cannot be finished. */
void http_reply_abort(struct http_request *req);
bool http_replied(const struct http_request *req); /* Begun, or over. */

struct http_proto;
/* Whether the connection can become another protocol's: it is a client's, of HTTP/1.1. */
bool http_can_upgrade(const struct http_request *req);
/* Instead of a reply, to a request that was received: 101 with the fields that were added, then the
 * connection is proto's, with this state. When there is no connection any more, proto->drop() gets
 * the state, at the latest from within done_cb's call; if the request is over already, now. */
void http_reply_upgrade(struct http_request *req, const struct http_proto *proto, void *state);

struct http_config {
	uv_loop_t *loop;
	const struct clock *clock; /* For time-outs. */
	struct random *random;	   /* For request ids. */
	const struct http_app *app;
	void *data;				   /* http_server_data(). */
	unsigned connections_max, per_address_max; /* 0: the values of limits.h. */
	size_t answer_bytes_max;		   /* The same. */
};

struct http_counters {
	uint64_t accepted, refused, handshakes, requests, malformed, timeouts, accept_errors;
	uint64_t h1_connections, h2_connections; /* Since the start. */
	uint64_t bytes_in, bytes_out;		 /* Bodies. */
	unsigned connections;			 /* Now. */
	uint64_t body_bytes;			 /* Now, in memory. */
	uint64_t answer_bytes;			 /* Made and not yet sent; seen with a delay. */
	uint64_t evicted;			 /* Idle connections closed to make room. */
};

/* Connections are also bounded by half the process's file descriptors, whatever config says. */
KLUIS_MUST_CHECK int http_server_new(
	const struct http_config *config, struct http_server **ret_server, struct err *e);
void *http_server_data(const struct http_server *server);
const struct http_counters *http_server_counters(const struct http_server *server);

/* HTTPS with the context set by http_server_set_tls(). port 0: any. *ret_port: which. */
KLUIS_MUST_CHECK int http_server_listen(struct http_server *server, const char *host, unsigned port,
	unsigned *ret_port, struct err *e);
/* Plain HTTP/1.1 on a Unix socket, mode 0660, requests marked admin. A socket file that nobody
 * listens on is replaced; KLUIS_EBUSY if somebody does. group: (gid_t)-1 leaves it. */
KLUIS_MUST_CHECK int http_server_listen_unix(
	struct http_server *server, const char *path, gid_t group, struct err *e);
/* Plain HTTP/1.1 on a loopback port (anything else: KLUIS_EINVAL), requests marked admin and
 * metrics: the user answers them nothing but metrics. */
KLUIS_MUST_CHECK int http_server_listen_metrics(struct http_server *server, const char *host,
	unsigned port, unsigned *ret_port, struct err *e);
/* For connections from now on; references ctx. Before the first http_server_listen(). */
void http_server_set_tls(struct http_server *server, struct tls_ctx *ctx);

/* Applies the time-outs; called by an own timer once a second, by tests after stepping the clock.
 */
void http_server_sweep(struct http_server *server);

/* No new connections and no new requests; those running may end. */
void http_server_drain(struct http_server *server);
/* Requests that have no reply yet, or one that is not out. */
unsigned http_server_running(const struct http_server *server);
/* Aborts what is left, closes all handles; closed_cb is the last callback, then the server is
 * freed. */
void http_server_close(struct http_server *server, void (*closed_cb)(void *data));

#endif
