/* One request to a push service over HTTPS: HTTP/2 (RFC 9113) where it is spoken, else HTTP/1.1.
 * Blocking, with a deadline; redirects are answers like any other and never followed. */
#ifndef KLUIS_NODE_PUSH_HTTP_H
#define KLUIS_NODE_PUSH_HTTP_H

#include <stdbool.h>

#include "base/address.h"
#include "base/buf.h"
#include "base/err.h"
#include "crypto/tls_ctx.h"

enum {
	PUSH_FIELDS_MAX = 8,
	PUSH_ANSWER_BYTES_MAX = 16 * 1024, /* Of a body; the rest is not read. */
	PUSH_ANSWER_HEAD_BYTES_MAX = 16 * 1024,
	PUSH_RETRY_AFTER_S_MAX = 86400,
};

struct push_field {
	const char *name; /* Lower case. */
	const char *value;
};
struct push_request {
	const struct address *address;
	const char *path;
	struct push_field fields[PUSH_FIELDS_MAX]; /* Up to the first without a name. */
	struct bytes body;
};
struct push_answer {
	int status;
	uint64_t retry_after_s; /* 0: none was named. */
	struct buf body;
};
void push_answer_release(struct push_answer *answer); /* For _cleanup_. */

/* What every request needs. Any number of threads at once. */
struct push_http {
	struct tls_ctx *ctx;	/* Offers h2 and http/1.1. */
	bool private_addresses; /* Of tests: not only addresses of the public Internet. */
};

/* POST. KLUIS_EFORBIDDEN: the name has no public address; KLUIS_ECONNECT, KLUIS_ETIMEOUT,
 * KLUIS_EVERIFY (its certificate), KLUIS_ECLOSED, KLUIS_EPROTO. *ret_answer is the caller's to
 * release, and untouched on failure. Any thread but a loop's. */
KLUIS_MUST_CHECK int push_http_post(const struct push_http *http,
	const struct push_request *request, uint64_t deadline_ms, struct push_answer *ret_answer,
	struct err *e);

#endif
