/* What an answer that is no success says (RFC 9457). */
#ifndef KLUIS_CLI_CLIENT_PROBLEM_H
#define KLUIS_CLI_CLIENT_PROBLEM_H

#include "base/err.h"
#include "cli/client/http_answer.h"

struct problem {
	int code; /* KLUIS_E*, never 0. */
	uint64_t retry_after_ms;
};

/* Of any answer whose status is neither 2xx nor 304, also one without such a body: the status then
 * stands for itself. e gets the node's detail. Any thread. */
struct problem problem_of(const struct http_answer *answer, struct err *e);

#endif
