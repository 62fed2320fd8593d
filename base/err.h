/* Error codes, one table for name, text, HTTP status and exit code, and the context that travels up
 * with one. */
#ifndef KLUIS_BASE_ERR_H
#define KLUIS_BASE_ERR_H

#include <stdbool.h>

#include "base/mem.h"

/* X(symbol, API code, text, HTTP status, exit code, retryable). The API code is what a client sees
 * (API section 1); the exit code what a script sees (API section 7). Order is the value: append
 * only, the numbers are in stored results. */
#define KLUIS_ERRORS(X)                                                                           \
	X(KLUIS_EINVAL, "invalid", "invalid input", 400, 2, false)                                \
	X(KLUIS_EUNAUTHENTICATED, "unauthenticated", "not signed in", 401, 12, false)             \
	X(KLUIS_EMFA, "mfa-required", "second factor needed", 403, 12, false)                     \
	X(KLUIS_EFORBIDDEN, "forbidden", "not allowed", 403, 12, false)                           \
	X(KLUIS_ENOTFOUND, "not-found", "not found", 404, 10, false)                              \
	X(KLUIS_EGONE, "gone", "gone", 410, 10, false)                                            \
	X(KLUIS_ECONFLICT, "conflict", "conflict", 409, 11, false)                                \
	X(KLUIS_EPRECONDITION, "precondition-failed", "precondition failed", 412, 11, false)      \
	X(KLUIS_EPRECONDITION_REQUIRED, "precondition-required", "precondition required", 428, 2, \
		false)                                                                            \
	X(KLUIS_ETOOLARGE, "too-large", "too large", 413, 2, false)                               \
	X(KLUIS_EQUOTA, "quota-exceeded", "quota exceeded", 507, 1, false)                        \
	X(KLUIS_ERATE, "rate-limited", "too many requests", 429, 11, true)                        \
	X(KLUIS_ENOQUORUM, "no-quorum", "no leader or no quorum", 503, 13, true)                  \
	X(KLUIS_EBEHIND, "behind", "this site is behind", 503, 11, true)                          \
	X(KLUIS_ELINEAGE, "lineage-changed", "the cluster was restored", 410, 15, false)          \
	X(KLUIS_EREADONLY, "read-only", "the store is read-only", 507, 1, true)                   \
	X(KLUIS_ESUITE, "unsupported-suite", "unsupported suite", 400, 2, false)                  \
	X(KLUIS_EUNKNOWN_OUTCOME, "outcome-unknown", "outcome unknown", 504, 13, true)            \
	X(KLUIS_EINTERNAL, "internal", "internal error", 500, 1, false)                           \
	X(KLUIS_EMETHOD, "invalid", "method not allowed", 405, 2, false)                          \
	X(KLUIS_EHEADERS, "too-large", "request header fields too large", 431, 2, false)          \
	X(KLUIS_EIDEMPOTENCY, "invalid", "idempotency key used with another body", 422, 2, false) \
	X(KLUIS_ETIMEOUT, "no-quorum", "timed out", 503, 13, true)                                \
	X(KLUIS_EIO, "internal", "input/output error", 500, 1, false)                             \
	X(KLUIS_ECORRUPT, "internal", "corrupt data", 500, 14, false)                             \
	X(KLUIS_EVERIFY, "internal", "verification failed", 500, 14, false)                       \
	X(KLUIS_EPIN, "internal", "a pinned key or head changed", 500, 15, false)                 \
	X(KLUIS_EAGAIN, "internal", "would block", 500, 11, true)                                 \
	X(KLUIS_EBUSY, "rate-limited", "busy", 429, 11, true)                                     \
	X(KLUIS_ECLOSED, "internal", "closed", 500, 13, true)                                     \
	X(KLUIS_EPROTO, "internal", "protocol violation by the peer", 500, 13, false)             \
	X(KLUIS_ENOSPACE, "read-only", "no space left", 507, 1, true)                             \
	X(KLUIS_EEXIST, "conflict", "already exists", 409, 11, false)                             \
	X(KLUIS_ECONNECT, "no-quorum", "cannot connect", 503, 13, true)                           \
	X(KLUIS_EPARTIAL, "internal", "partly done", 500, 3, false)                               \
	X(KLUIS_EVERSION, "unsupported-suite", "unknown version", 400, 1, false)                  \
	X(KLUIS_ENOTLEADER, "no-quorum", "not the leader", 503, 13, true)                         \
	X(KLUIS_EMEDIA, "invalid", "unsupported media type", 415, 2, false)                       \
	X(KLUIS_ERANGE, "invalid", "range not satisfiable", 416, 2, false)

enum kluis_error {
	KLUIS_OK = 0,
#define X(sym, code, text, http, exitcode, retry) sym##_,
	KLUIS_ERRORS(X)
#undef X
		KLUIS_ERROR_MAX
};
/* The values that functions return: negative. */
enum {
#define X(sym, code, text, http, exitcode, retry) sym = -(int)sym##_,
	KLUIS_ERRORS(X)
#undef X
};

/* All take 0 or a negative KLUIS_E*; anything else is treated as KLUIS_EINTERNAL. */
const char *err_name(int code);	    /* "KLUIS_EINVAL" */
const char *err_api_code(int code); /* "invalid" */
const char *err_text(int code);	    /* "invalid input" */
int err_http_status(int code);	    /* 400; 200 for 0 */
int err_exit_code(int code);	    /* 2; 0 for 0 */
bool err_retryable(int code);
/* The inverse of err_api_code() given an HTTP status: the first row that has both; KLUIS_EINTERNAL
 * if none has. */
int err_from_api(const char *api_code, int http_status);

struct err {
	int code;
	char text[256];
};

/* Sets code and text (lower case, no full stop, the subject in single quotes); returns code. e may
 * be NULL. */
int err_set(struct err *e, int code, const char *fmt, ...) KLUIS_PRINTF(3, 4);
/* As err_set(), with ": strerror(errno)" behind; ENOSPC becomes KLUIS_ENOSPACE, ENOENT
 * KLUIS_ENOTFOUND, else KLUIS_EIO. */
int err_set_errno(struct err *e, int errnum, const char *fmt, ...) KLUIS_PRINTF(3, 4);
/* Puts "fmt: " before the text, once per layer; returns e's code. e may be NULL (then returns
 * code). */
int err_wrap(struct err *e, int code, const char *fmt, ...) KLUIS_PRINTF(3, 4);

#ifdef __clang_analyzer__
/* Says to the analyser, which sees one file at a time, what the three return: never 0. */
#define err_set(e, code, ...)	   ((err_set)((e), (code), __VA_ARGS__), (code))
#define err_wrap(e, code, ...)	   ((err_wrap)((e), (code), __VA_ARGS__), (code))
#define err_set_errno(e, num, ...) ((err_set_errno)((e), (num), __VA_ARGS__), KLUIS_EIO)
#endif

#endif
