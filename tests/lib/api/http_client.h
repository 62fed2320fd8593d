/* A blocking HTTP/1.1 client that sends exactly the bytes it is told to. */
#ifndef KLUIS_TESTS_LIB_API_HTTP_CLIENT_H
#define KLUIS_TESTS_LIB_API_HTTP_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "crypto/tls_client.h"

struct answer {
	int status; /* 0: the connection was closed without one. */
	struct buf head, body;
	json_t *json; /* When it is JSON. */
};
void answer_release(struct answer *answer);
/* The field's value, "" without one; valid until the next call. Case is ignored. */
const char *answer_field(struct answer *answer, const char *name);
/* A member of the JSON body; fails the test when there is none. */
const char *answer_text(struct answer *answer, const char *name);
json_int_t answer_number(struct answer *answer, const char *name);
/* Fails the test unless it has this status and, where code is not NULL, this `code`; releases it.
 */
void answer_expect(struct answer answer, int status, const char *code);

struct http_client {
	struct tls_client *tls;
	struct buf in;
	char token[64];
};
void http_client_send(struct http_client *client, struct bytes bytes);
/* head_only: to a HEAD request. Fails the test when nothing comes in time. */
struct answer http_client_receive(struct http_client *client, bool head_only);
/* Sends a request with Host, Content-Length, the token (if any) and `fields` ("A: b\r\n..."). */
struct answer http_client_call(struct http_client *client, const char *verb, const char *target,
	const char *fields, struct bytes body);
/* As http_client_call() with a JSON body. */
struct answer http_client_json(struct http_client *client, const char *verb, const char *target,
	const char *fields, const char *json);
/* The next n bytes, appended; false when the connection ends before. */
bool http_client_take(struct http_client *client, size_t n, struct buf *to);
/* true when the server closes the connection, false when it sends something. */
bool http_client_closed(struct http_client *client);
void http_client_release(struct http_client *client);

#endif
