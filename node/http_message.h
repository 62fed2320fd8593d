/* What HTTP/1.1 and HTTP/2 have in common: verbs, header fields, the request target. Pure: no I/O,
 * no clock. */
#ifndef KLUIS_NODE_HTTP_MESSAGE_H
#define KLUIS_NODE_HTTP_MESSAGE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

enum http_verb {
	VERB_OTHER, /* Well-formed and not ours. */
	VERB_GET,
	VERB_HEAD,
	VERB_POST,
	VERB_PUT,
	VERB_PATCH,
	VERB_DELETE,
	VERB_MAX
};
/* "GET"; VERB_OTHER is "?". */
const char *http_verb_name(enum http_verb verb);
enum http_verb http_verb_of(struct bytes name); /* Case-sensitive (RFC 9110 section 9.1). */

/* A request's fields in the order they came; names are held in lower case. Zero it before use. */
struct http_fields {
	struct buf text;
	struct http_field_at {
		uint32_t name_at, name_len, value_at, value_len;
	} at[HTTP_HEADERS_MAX];
	unsigned n;
	size_t counted; /* As RFC 9113 section 6.5.2 counts: name + value + 32 each. */
};

void http_fields_release(struct http_fields *fields);
/* Copies; name is put in lower case, white space around the value dropped. KLUIS_EHEADERS beyond
 * HTTP_HEADERS_MAX fields or HTTP_HEADER_BYTES_MAX counted bytes; KLUIS_EINVAL when the name is no
 * token or the value has control bytes (RFC 9110 section 5.5, 5.6.2). */
KLUIS_MUST_CHECK int http_fields_add(
	struct http_fields *fields, struct bytes name, struct bytes value);
/* How often the field (name in lower case) is there; *ret_value is the first value (valid until
 * the next add), untouched when there is none. */
unsigned http_fields_get(
	const struct http_fields *fields, const char *name, struct bytes *ret_value);

bool bytes_is(struct bytes bytes, const char *text);	    /* Exactly. */
bool bytes_is_nocase(struct bytes bytes, const char *text); /* ASCII case ignored. */
bool bytes_equal_nocase(struct bytes a, struct bytes b);
struct bytes bytes_trim(struct bytes bytes); /* Without SP and HT at both ends. */

/* true: an http or https target in absolute form (RFC 9112 section 3.2.2) with an authority that
 * names a host and no user. *ret_path is the rest, perhaps empty, and begins with "/" or "?". */
bool http_target_absolute(struct bytes target, struct bytes *ret_authority, struct bytes *ret_path);

/* Splits an origin-form target (RFC 9112 section 3.2.1) at "?". KLUIS_EINVAL: anything else
 * (absolute form, "*"), a fragment, a byte that is not visible ASCII; KLUIS_ETOOLARGE beyond
 * HTTP_TARGET_BYTES_MAX. has_query tells "/x?" from "/x". */
KLUIS_MUST_CHECK int http_target_split(
	struct bytes target, struct bytes *ret_path, struct bytes *ret_query);

/* %XX to bytes. KLUIS_EINVAL: a broken escape, or one of a control byte, "/" or "\";
 * KLUIS_ETOOLARGE beyond max bytes. Appends. */
KLUIS_MUST_CHECK int http_percent_decode(struct bytes text, size_t max, struct buf *to);

/* Takes the next name=value of a query from *query; both still encoded. False at the end. */
bool http_query_next(struct bytes *query, struct bytes *ret_name, struct bytes *ret_value);

/* The reason phrase, "Unknown" for a number that is not in use here. */
const char *http_reason(int status);

#endif
