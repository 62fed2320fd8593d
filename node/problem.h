/* Error answers: application/problem+json (RFC 9457). */
#ifndef KLUIS_NODE_PROBLEM_H
#define KLUIS_NODE_PROBLEM_H

#include "node/http.h"

/* Zero what does not help. */
struct problem {
	int code;	    /* KLUIS_E*; its row in base/err.h gives the rest. */
	const char *detail; /* For people; internal errors never show theirs. */
	const char *current_etag, *min_index;
	uint64_t limit, retry_after_ms;
};

/* The body alone. */
void problem_body(const struct problem *problem, const char *request_id, struct buf *to);
/* Fields that belong to the code (Retry-After, WWW-Authenticate), status and body. */
void problem_reply(struct http_request *req, const struct problem *problem);

#endif
