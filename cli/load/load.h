/* A closed-loop load generator on one loop thread: each client has one connection and one request
 * under way, and sends its next one when the answer is there. What is said on the connection is a
 * struct load_protocol (HTTP/1.1 to our nodes in cli/load/http_load; others may bring theirs), what
 * is asked for a struct load_workload.
 *
 * A request that fails in a way that a later attempt can change (connection lost, time-out, no
 * leader, busy) is counted under its error and sent again, byte for byte, as every client of the
 * cluster does; its latency is from the first sending to the answer. Any other failure ends the
 * run. Nothing is left out: what is under way when a run's time is up is waited for and counted. */
#ifndef KLUIS_CLI_LOAD_LOAD_H
#define KLUIS_CLI_LOAD_LOAD_H

#include <stdbool.h>

#include "base/err.h"
#include "cli/load/latency.h"
#include "crypto/tls_stream.h"

enum {
	LOAD_CLIENTS_MAX = 4096,
	LOAD_ENDPOINTS_MAX = 16,
	LOAD_KINDS_MAX = 2,
	LOAD_CONNECT_MS = 20 * 1000, /* For all clients together. */
	LOAD_REQUEST_MS = 15 * 1000, /* Without an answer; then the connection is given up. */
	LOAD_BACKOFF_MS = 20,
	LOAD_BACKOFF_MAX_MS = 1000, /* Of what a node asks to wait. */
	LOAD_TICK_MS = 10,
};

struct load_request {
	unsigned kind; /* Which row it counts in: below LOAD_KINDS_MAX. */
	/* What goes on the wire, the protocol knows how. Both live until the answer. */
	struct bytes head, body;
	size_t payload_bytes; /* Counted for MB/s. */
};

struct load_answer {
	int rc;		   /* 0 or KLUIS_E*. */
	struct bytes body; /* Of an answer with rc 0; valid during the call. */
	uint64_t wait_ms; /* With a retryable rc: how long the node asks to wait; 0: its default. */
	bool close;	  /* The connection takes no more requests. */
};

struct load_protocol {
	/* State of one connection whose stream is ready. */
	void *(*open)(void *arg, struct tls_stream *stream);
	void (*close)(void *wire);
	/* Writes the request; there is none under way. */
	void (*send)(void *wire, const struct load_request *request);
	/* Takes bytes. *ret_done when the request is answered. Non-zero (KLUIS_EPROTO): the
	 * connection is of no more use. */
	int (*receive)(void *wire, struct bytes bytes, bool *ret_done,
		struct load_answer *ret_answer, struct err *e);
};

struct load_workload {
	/* The next request of this client (from 0); false: it has none left. */
	bool (*next)(void *arg, unsigned client, struct load_request *ret_request);
	/* The request was answered with rc 0; what this returns takes its place, so that a wrong
	 * answer is an error. May be NULL. */
	int (*answered)(void *arg, unsigned client, const struct load_request *request,
		const struct load_answer *answer, struct err *e);
};

struct load_config {
	const struct load_protocol *protocol;
	void *protocol_arg;
	struct tls_ctx *ctx; /* Referenced. */
	/* "host:port", copied. Client i begins at end point i modulo their number and goes on to
	 * the next one when its connection fails. */
	const char *const *endpoints;
	size_t n_endpoints;
	unsigned clients;
	uint64_t request_ms; /* 0: LOAD_REQUEST_MS. */
};

struct load_result {
	struct latency latency[LOAD_KINDS_MAX];
	uint64_t payload_bytes[LOAD_KINDS_MAX];
	uint64_t errors[KLUIS_ERROR_MAX]; /* By -code: attempts that failed and were made again. */
	struct err first_error;
	uint64_t elapsed_ns; /* First request to last answer. */
	uint64_t gap_ns;     /* The longest time in which nothing succeeded. */
	uint64_t cpu_ns;     /* Of this process meanwhile. */
	bool ran_dry;	     /* Ended because a client had no request left, not by time. */
};

struct load;

/* Resolves the end points (may block). KLUIS_EINVAL, KLUIS_ECONNECT for a name without address. */
KLUIS_MUST_CHECK int load_new(
	const struct load_config *config, struct load **ret_load, struct err *e);
void load_free(struct load *load); /* NULL is fine. */
/* Connects all clients. KLUIS_ECONNECT or KLUIS_ETIMEOUT when some could not in LOAD_CONNECT_MS,
 * KLUIS_EVERIFY when a server's certificate is refused. */
KLUIS_MUST_CHECK int load_connect(struct load *load, struct err *e);
/* Runs the workload on all clients. limit_ms 0: until every client ran out of requests; else until
 * that time is over or the FIRST client ran out (from there on fewer clients would be measured than
 * asked for). Blocks. *ret_result is set also on failure, after which the load can only be freed.
 */
KLUIS_MUST_CHECK int load_run(struct load *load, const struct load_workload *workload, void *arg,
	uint64_t limit_ms, struct load_result *ret_result, struct err *e);

#endif
