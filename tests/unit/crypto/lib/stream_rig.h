/* Two ends of a stream on one loop, TLS or plain, and what happens to each. */
#ifndef KLUIS_TESTS_UNIT_CRYPTO_STREAM_RIG_H
#define KLUIS_TESTS_UNIT_CRYPTO_STREAM_RIG_H

#include "crypto/tls_stream_state.h"
#include "tests/lib/certs.h"
#include "tests/lib/loop.h"

enum abort_place { ABORT_NEVER, ABORT_READY, ABORT_READ, ABORT_DRAIN, ABORT_END };

/* One end of a connection, and what happened to it. */
struct end {
	struct tls_stream *stream;
	struct buf got;
	unsigned readies, drains, ends, closes;
	int end_rc;
	char why[256];
	/* What it does. */
	size_t take_max;    /* In one read_cb; 0: all. */
	size_t produce_len; /* Still to be written. */
	uint64_t produced;
	size_t unsent_max; /* Seen. */
	bool quiet;	   /* Takes nothing at all. */
	bool check;	   /* Compares with the pattern instead of keeping. */
	uint64_t checked;
	enum abort_place abort_in;
	bool close_at_end;
	const char *last_words; /* Written at the peer's end, not flushed. */
};

struct fixture {
	uv_loop_t loop;
	union {
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} listener;
	unsigned port;
	struct tls_ctx *server_ctx, *client_ctx;
	struct pki_identity ca, server_identity;
	struct end server, client;
};

/* What end_produce() writes and `check` compares with. */
uint8_t pattern_at(uint64_t at);
/* In pieces of many sizes, as long as there is room. */
void end_produce(struct end *end);
void fixture_accept_cb(uv_stream_t *listener, int status);
int fixture_setup(void **state);
/* Else the connection is plain. */
void fixture_tls(struct fixture *f);
void fixture_dial(struct fixture *f, const char *name);
/* For loop_until(). */
bool both_ready(void *arg);
bool both_closed(void *arg);
/* Up to ready_cb at both ends. */
void fixture_connect(struct fixture *f);
int fixture_teardown(void **state);
/* For loop_until(). */
bool server_ended(void *arg);
bool client_ended(void *arg);
bool client_closed(void *arg);

#endif
