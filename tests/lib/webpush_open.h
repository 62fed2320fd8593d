#ifndef KLUIS_TESTS_LIB_WEBPUSH_OPEN_H
#define KLUIS_TESTS_LIB_WEBPUSH_OPEN_H

#include "crypto/webpush.h"

/* Opens a web push body as a browser does (RFC 8291 section 3.4, RFC 8188): appends the record with
 * its delimiter and padding. Fails the test when it does not open. */
void webpush_open(const struct key *agent, const uint8_t auth[WEBPUSH_AUTH_BYTES],
	struct bytes body, struct buf *ret_record);

#endif
