/* One kept-alive HTTP/1.1 connection to one end point, over TLS or the admin socket. One thread at
 * a time. Blocking, every call with a deadline. */
#ifndef KLUIS_CLI_CLIENT_HTTP_CONN_H
#define KLUIS_CLI_CLIENT_HTTP_CONN_H

#include "cli/client/http_answer.h"
#include "crypto/tls_ctx.h"

enum { HTTP_REQUEST_FIELDS_MAX = 8 };

struct http_field {
	const char *name, *value;
};

/* A request. Everything in it is the caller's and stays unchanged, so that it can be sent again
 * byte for byte. */
struct http_request {
	const char *method, *target;
	const char *host;
	const char *bearer; /* Token or NULL. */
	const char *type;   /* Content-Type of the body or NULL. */
	struct bytes body;
	struct http_field fields[HTTP_REQUEST_FIELDS_MAX]; /* Up to the first without a name. */
	size_t answer_max;				   /* Bytes of body accepted. */
};

struct http_conn;

/* address: "host:port" with ctx, or the path of a socket with ctx NULL. Errors as
 * tls_client_connect(). */
KLUIS_MUST_CHECK int http_conn_open(const char *address, struct tls_ctx *ctx, uint64_t deadline_ms,
	struct http_conn **ret_conn, struct err *e);
/* On a connected stream socket, which it owns from now on, whatever it returns. Plain. */
KLUIS_MUST_CHECK int http_conn_adopt(int fd, struct http_conn **ret_conn, struct err *e);
void http_conn_free(struct http_conn *conn); /* NULL is fine. */

/* Sends and waits for the whole answer. After any failure, and when http_conn_usable() says no, the
 * connection can only be freed. KLUIS_ECLOSED when it was lost, KLUIS_ETIMEOUT, KLUIS_EPROTO,
 * KLUIS_ETOOLARGE. */
KLUIS_MUST_CHECK int http_conn_call(struct http_conn *conn, const struct http_request *request,
	uint64_t deadline_ms, struct http_answer *answer, struct err *e);
bool http_conn_usable(const struct http_conn *conn);

#endif
