/* The inside of struct tls_stream, shared by its own files only: tls_stream.c (life and events),
 * tls_stream_read.c, tls_stream_write.c. */
#ifndef KLUIS_CRYPTO_TLS_STREAM_STATE_H
#define KLUIS_CRYPTO_TLS_STREAM_STATE_H

#include <openssl/ssl.h>

#include "crypto/tls_bio.h"
#include "crypto/tls_output.h"
#include "crypto/tls_stream.h"

struct tls_stream {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} io;
	uv_idle_t kick; /* Active: something is due in the next turn. */
	uv_timer_t linger;
	uv_connect_t connect;
	uv_write_t write;
	uv_shutdown_t shutdown;
	unsigned handles_open;

	const struct tls_stream_handler *handler;
	void *data;
	struct tls_ctx *ctx;
	SSL *ssl; /* NULL: plain. */

	/* In. */
	struct tls_bio bio;
	struct buf wire_kept;  /* Received, but paused before OpenSSL saw it. */
	struct buf plain_kept; /* Given to read_cb, but not taken. */
	uint64_t lingered_bytes;

	/* Out. */
	uint8_t *record; /* Plaintext that waits for a full record; NULL when empty. */
	size_t record_len;
	struct tls_output out;
	size_t write_bytes; /* In the uv_write() under way; 0: none. */
	size_t high_bytes, low_bytes;
	size_t turn_bytes; /* Taken since the last turn of the loop. */

	bool connected;	 /* The socket is. */
	bool ready;	 /* And the handshake is done; ready_cb was called. */
	bool reading;	 /* uv_read_start() */
	bool paused;	 /* By the user. */
	bool resume_due; /* What was kept is to be given again. */
	bool want_drain; /* tls_stream_writable() said false. */
	bool end_due;	 /* The stream ended, with end_rc and end_err. */
	bool ended;	 /* end_cb was called. */
	bool broken;	 /* Nothing more can be sent. */
	bool eof;	 /* The peer's side of the socket has ended. */
	bool closing;	 /* By the user: no callback but closed_cb. */
	bool shutting;	 /* uv_shutdown() was called. */
	bool shut;	 /* And is done: our side has ended, too. */
	bool aborted;	 /* The handles are closing. */
	bool warm;	 /* Record buffers are kept. */
	bool silent;	 /* Never given to the user: no closed_cb. */

	int end_rc;
	struct err end_err;
	struct tls_peer peer;
	struct tls_counters counters;
	char host[TLS_STREAM_ADDRESS_MAX];
	char address[TLS_STREAM_ADDRESS_MAX + 8];
};

/* tls_stream.c */
void tls_stream_kick(struct tls_stream *s);
/* end_cb with the first rc and e that come here, in this or the next turn of the loop. */
void tls_stream_end(struct tls_stream *s, int rc, const struct err *e);
/* Gives out what is due; the last thing that a uv callback does. */
void tls_stream_run(struct tls_stream *s);
/* While closing: goes on with it as far as it gets. */
void tls_stream_close_step(struct tls_stream *s);

/* tls_stream_read.c */
void tls_stream_read_start(struct tls_stream *s);
void tls_stream_read_stop(struct tls_stream *s);
/* Goes on after a pause. */
void tls_stream_read_kept(struct tls_stream *s);
/* Drives the handshake with what has come; calls ready_cb when it is done. */
void tls_stream_handshake(struct tls_stream *s);
void tls_stream_set_ready(struct tls_stream *s);

/* tls_stream_write.c */
/* Encrypts the collected record, if any. */
void tls_stream_seal(struct tls_stream *s);
/* Gives the kernel what it takes now, and the rest to uv_write(). */
void tls_stream_push(struct tls_stream *s);
/* Nothing more can be written: closing, failed or cut. */
bool tls_stream_dead(const struct tls_stream *s);
/* drain_cb was promised and there is room. */
bool tls_stream_drain_due(const struct tls_stream *s);
void tls_stream_drain(struct tls_stream *s);

#endif
