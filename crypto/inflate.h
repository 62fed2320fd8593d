/* zlib streams (RFC 1950) with a bound on both ends: an inflate bomb stops at `max`. */
#ifndef KLUIS_CRYPTO_INFLATE_H
#define KLUIS_CRYPTO_INFLATE_H

#include "base/buf.h"
#include "base/err.h"

/* Appends the stream of content at level 6; KLUIS_ETOOLARGE when it is longer than max (then
 * ret_stream is as before). */
KLUIS_MUST_CHECK int deflate_append(
	struct bytes content, size_t max, struct buf *ret_stream, struct err *e);
/* Appends what the one whole stream gives. KLUIS_EINVAL when it is damaged, cut, has bytes behind
 * its Adler-32, or KLUIS_ETOOLARGE when it gives more than max bytes; then ret_content is as
 * before. */
KLUIS_MUST_CHECK int inflate_append(
	struct bytes stream, size_t max, struct buf *ret_content, struct err *e);

#endif
