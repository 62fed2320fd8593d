/* Entity tags, preconditions and ranges (RFC 9110 sections 8.8.3, 13.1, 14). Pure. */
#ifndef KLUIS_NODE_ETAG_H
#define KLUIS_NODE_ETAG_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

enum { ETAG_CHARS_MAX = 1 + 20 + 1 + 16 + 1 };

/* "<revision>-<first 16 hex digits of hash>" in its quotes, NUL-terminated. */
void etag_format(uint64_t revision, const uint8_t hash[32], char to[ETAG_CHARS_MAX + 1]);

/* Does a list of entity tags (or "*") name `current`? NULL: the object does not exist, and nothing
 * matches. weak: W/"x" counts as "x" (If-None-Match); else it never matches (If-Match).
 * KLUIS_EINVAL: no such list. */
KLUIS_MUST_CHECK int etag_match(
	struct bytes field, const char *current, bool weak, bool *ret_match);

/* Of "bytes=a-b", "bytes=a-" or "bytes=-n" over `size` bytes: first and length. 1: to be ignored
 * (another unit, several ranges, malformed). KLUIS_ERANGE: none of it is there. */
KLUIS_MUST_CHECK int range_parse(
	struct bytes field, uint64_t size, uint64_t *ret_first, uint64_t *ret_len);

#endif
