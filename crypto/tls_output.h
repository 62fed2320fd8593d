/* Bytes on their way to a socket: a queue of chunks that is filled at one end and written from the
 * other, without moving what is already in it. */
#ifndef KLUIS_CRYPTO_TLS_OUTPUT_H
#define KLUIS_CRYPTO_TLS_OUTPUT_H

#include <uv.h>

#include "base/buf.h"
#include "base/limits.h"

struct tls_chunk;

/* Zero it before use. */
struct tls_output {
	struct tls_chunk *head, *tail;
	size_t off; /* Of head, already consumed. */
	size_t len; /* In all chunks, not yet consumed. */
};

void tls_output_release(struct tls_output *out);
/* Copies. What tls_output_bufs() gave stays where it is. */
void tls_output_append(struct tls_output *out, struct bytes bytes);
/* The first bytes of the queue as at most TLS_WRITE_CHUNKS_MAX runs, valid until consumed; returns
 * how many runs, and how long they are together. */
unsigned tls_output_bufs(
	const struct tls_output *out, uv_buf_t bufs[TLS_WRITE_CHUNKS_MAX], size_t *ret_len);
void tls_output_consume(struct tls_output *out, size_t len); /* At most out->len. */

#endif
