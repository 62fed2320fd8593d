/* HTTP/1.1 requests from bytes (RFC 9112): http-parser reads the request line, all framing is
 * decided here and strictly, since every byte that two parsers read differently is a way to smuggle
 * a request. Refused, beyond what http-parser refuses: Content-Length with Transfer-Encoding,
 * repeated or list-valued Content-Length, a transfer coding but "chunked", folded lines, bare CR or
 * LF, space before a colon, a missing or repeated Host, a chunk size that overflows. Pure: no I/O,
 * no clock. */
#ifndef KLUIS_NODE_HTTP1_PARSER_H
#define KLUIS_NODE_HTTP1_PARSER_H

#include "node/http_message.h"

enum http1_event {
	HTTP1_MORE, /* Everything given was taken; no event yet. */
	HTTP1_HEAD, /* `head` is complete. */
	HTTP1_BODY, /* `piece` (inside what was given) is the next run of the body. */
	HTTP1_END,  /* The request is complete; the next byte starts another one. */
};

struct http1_head {
	enum http_verb verb;
	struct buf target;
	struct http_fields fields;
	unsigned minor; /* 0 or 1. */
	bool keep_alive;
	bool expect_continue;
	bool has_body; /* HTTP1_BODY may follow; HTTP1_END always does. */
	bool chunked;  /* Else `length` is the body's. */
	uint64_t length;
};

struct http1_parser {
	/* Result of the last feed. */
	struct http1_head head; /* From HTTP1_HEAD to HTTP1_END; its buffers may be moved out. */
	struct bytes piece;
	/* Private. */
	unsigned state;
	struct buf block; /* The header section as far as it came. */
	bool line_cr, line_empty;
	unsigned digits;
	size_t aside; /* Bytes of chunk extensions or trailers. */
	uint64_t left;
};

void http1_parser_init(struct http1_parser *parser);
void http1_parser_release(struct http1_parser *parser);

/* Reads on in `bytes`, up to the next event; *ret_taken says how much of them it used. Returns an
 * enum http1_event, or after which the parser is of no further use: KLUIS_EINVAL malformed (400),
 * KLUIS_EHEADERS header section too large (431), KLUIS_ETOOLARGE target too long (413). */
KLUIS_MUST_CHECK int http1_parser_feed(
	struct http1_parser *parser, struct bytes bytes, size_t *ret_taken);

#endif
