#include "cli/client/http_conn.h"

#include <assert.h>
#include <string.h>

#include "crypto/secret.h"
#include "crypto/tls_client.h"

enum { HTTP_READ_BYTES = 64 * 1024, HTTP_JOIN_BYTES = 16 * 1024 };

struct http_conn {
	struct tls_client *tls;
	bool usable;
	uint8_t in[HTTP_READ_BYTES];
};

static struct http_conn *http_conn_new(struct tls_client *tls)
{
	struct http_conn *conn = x_malloc(sizeof *conn);

	conn->tls = tls;
	conn->usable = true;
	return conn;
}

int http_conn_open(const char *address, struct tls_ctx *ctx, uint64_t deadline_ms,
	struct http_conn **ret_conn, struct err *e)
{
	struct tls_client *tls;
	int rc = ctx == NULL ? tls_client_connect_unix(address, &tls, e)
			     : tls_client_connect(address, ctx, deadline_ms, &tls, e);

	if (rc == 0) {
		*ret_conn = http_conn_new(tls);
	}
	return rc;
}

int http_conn_adopt(int fd, struct http_conn **ret_conn, struct err *e)
{
	struct tls_client *plain;
	int rc = tls_client_adopt(fd, &plain, e);

	if (rc == 0) {
		*ret_conn = http_conn_new(plain);
	}
	return rc;
}

void http_conn_free(struct http_conn *conn)
{
	if (conn != NULL) {
		tls_client_free(conn->tls);
		free(conn);
	}
}

bool http_conn_usable(const struct http_conn *conn)
{
	return conn->usable;
}

/* A value with CR or LF would forge a header. */
static void request_field(struct buf *to, const char *name, const char *value)
{
	assert(strpbrk(value, "\r\n") == NULL);
	buf_printf(to, "%s: %s\r\n", name, value);
}

static void request_head(const struct http_request *r, struct buf *to)
{
	bool bodiless = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;

	assert(strpbrk(r->target, " \r\n") == NULL);
	buf_printf(to, "%s %s HTTP/1.1\r\n", r->method, r->target);
	request_field(to, "Host", r->host);
	if (r->bearer != NULL) {
		assert(strpbrk(r->bearer, "\r\n") == NULL);
		buf_printf(to, "Authorization: Bearer %s\r\n", r->bearer);
	}
	if (r->type != NULL) {
		request_field(to, "Content-Type", r->type);
	}
	for (size_t i = 0; i < HTTP_REQUEST_FIELDS_MAX && r->fields[i].name != NULL; i++) {
		request_field(to, r->fields[i].name, r->fields[i].value);
	}
	if (r->body.len > 0 || !bodiless) {
		buf_printf(to, "Content-Length: %zu\r\n", r->body.len);
	}
	buf_printf(to, "\r\n");
}

static int conn_write(struct http_conn *conn, const struct http_request *request,
	uint64_t deadline_ms, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf head = BUF_INIT;
	int rc;

	/* So that no realloc leaves a copy of the token behind. */
	buf_reserve(&head, HTTP_HEADER_BYTES_MAX + HTTP_JOIN_BYTES);
	request_head(request, &head);
	if (request->body.len <= HTTP_JOIN_BYTES) { /* One record, one packet. */
		buf_append_bytes(&head, request->body);
		return tls_client_write(conn->tls, buf_bytes(&head), deadline_ms, e);
	}
	rc = tls_client_write(conn->tls, buf_bytes(&head), deadline_ms, e);
	return rc != 0 ? rc : tls_client_write(conn->tls, request->body, deadline_ms, e);
}

static int conn_read(
	struct http_conn *conn, struct http_parse *parse, uint64_t deadline_ms, struct err *e)
{
	bool done = false;

	while (!done) {
		size_t n;
		int rc = tls_client_read(conn->tls, conn->in, sizeof conn->in, deadline_ms, &n, e);

		if (rc != 0) {
			return rc;
		}
		if (n == 0) {
			return err_set(e, KLUIS_ECLOSED, "connection closed before the answer");
		}
		rc = http_parse_feed(parse, bytes_of(conn->in, n), &done, e);
		if (rc != 0) {
			return rc;
		}
	}
	return 0;
}

int http_conn_call(struct http_conn *conn, const struct http_request *request, uint64_t deadline_ms,
	struct http_answer *answer, struct err *e)
{
	struct http_parse *parse;
	struct err read_err = {0};
	int rc, read_rc;

	assert(conn->usable);
	conn->usable = false;
	rc = conn_write(conn, request, deadline_ms, e);
	if (rc != 0 && rc != KLUIS_ECLOSED && rc != KLUIS_EIO) {
		return rc;
	}
	/* A server that refuses a body answers and closes while we still write: its answer says
	 * more than the failed write. */
	parse = http_parse_new(answer, request->answer_max, strcmp(request->method, "HEAD") == 0);
	read_rc = conn_read(conn, parse, deadline_ms, &read_err);
	http_parse_free(parse);
	conn->usable = rc == 0 && read_rc == 0 && answer->keep_alive;
	if (read_rc != 0 && rc == 0) {
		*e = read_err;
	}
	return read_rc == 0 ? 0 : rc == 0 ? read_rc : rc;
}
