/* A blocking HTTP/2 client on nghttp2, which hands window back only when it is told to. */
#ifndef KLUIS_TESTS_LIB_API_H2_CLIENT_H
#define KLUIS_TESTS_LIB_API_H2_CLIENT_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>

#include "base/buf.h"
#include "tests/lib/api/http_client.h"

enum { H2_STREAMS_MAX = 512, H2_FIELDS_MAX = 8 };

struct h2_stream {
	int32_t id;
	int status;
	struct buf body, sent;
	size_t sent_at;
	bool closed, ended; /* ended: the server sent END_STREAM. */
	uint32_t error;
};

struct h2_client {
	struct http_client http;
	nghttp2_session *session;
	struct h2_stream stream[H2_STREAMS_MAX];
	size_t n_streams;
	bool hold_window, goaway, ended;
};

struct h2_field {
	const char *name, *value;
};
/* Over a connection that chose h2. */
void h2_client_init(struct h2_client *client);
void h2_client_release(struct h2_client *client);
/* body NULL: none. fields end with a NULL name. authority NULL: none is sent. */
struct h2_stream *h2_client_request(struct h2_client *client, const char *verb,
	const char *authority, const char *path, const struct h2_field *fields,
	const struct buf *body);
/* Reads and writes until *flag (or the connection's end); fails the test after a minute. */
void h2_client_until(struct h2_client *client, const bool *flag);
/* Gives back all the window held. */
void h2_client_consume(struct h2_client *client);

#endif
