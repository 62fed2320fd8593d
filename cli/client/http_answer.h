/* One HTTP/1.1 answer, parsed as its bytes come (RFC 9112). No I/O: the connection feeds it. */
#ifndef KLUIS_CLI_CLIENT_HTTP_ANSWER_H
#define KLUIS_CLI_CLIENT_HTTP_ANSWER_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

struct http_header {
	size_t name, name_len, value, value_len; /* Offsets into text. */
};

/* Everything an answer said. Zero it before the first use; http_answer_release() clears and frees.
 */
struct http_answer {
	int status;
	struct buf text; /* Names and values of the headers. */
	struct http_header headers[HTTP_HEADERS_MAX];
	size_t n_headers;
	struct buf body;
	bool keep_alive;
};

void http_answer_release(struct http_answer *answer);
/* Value of a header (any case), or an empty run with data NULL when it is not there. Points into
 * the answer. */
struct bytes http_answer_header(const struct http_answer *answer, const char *name);

struct http_parse;
/* Parses one answer into `answer` (emptied first; borrowed until http_parse_free()). body_max: a
 * longer body is KLUIS_ETOOLARGE as soon as that is known. head: the request was HEAD. */
struct http_parse *http_parse_new(struct http_answer *answer, size_t body_max, bool head);
void http_parse_free(struct http_parse *parse);
/* Takes bytes. *ret_done when the answer is complete; bytes behind it are a violation, for we
 * never pipeline. KLUIS_EPROTO malformed or over a limit, KLUIS_ETOOLARGE. An answer whose end only
 * the connection's end would show is refused: it could not be told from a cut one. */
KLUIS_MUST_CHECK int http_parse_feed(
	struct http_parse *parse, struct bytes bytes, bool *ret_done, struct err *e);

#endif
