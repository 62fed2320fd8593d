#include "crypto/tls_output.h"

#include <assert.h>
#include <string.h>

struct tls_chunk {
	struct tls_chunk *next;
	size_t len;
	uint8_t data[TLS_CHUNK_BYTES];
};

static void tls_output_pop(struct tls_output *out)
{
	struct tls_chunk *chunk = out->head;

	out->head = chunk->next;
	out->off = 0;
	if (out->head == NULL) {
		out->tail = NULL;
	}
	free(chunk);
}

void tls_output_release(struct tls_output *out)
{
	while (out->head != NULL) {
		tls_output_pop(out);
	}
	out->len = 0;
}

static struct tls_chunk *tls_output_push(struct tls_output *out)
{
	struct tls_chunk *chunk = x_malloc(sizeof *chunk);

	chunk->next = NULL;
	chunk->len = 0;
	if (out->tail == NULL) {
		assert(out->head == NULL && out->off == 0);
		out->head = chunk;
	} else {
		out->tail->next = chunk;
	}
	out->tail = chunk;
	return chunk;
}

void tls_output_append(struct tls_output *out, struct bytes bytes)
{
	out->len += bytes.len;
	while (bytes.len > 0) {
		struct tls_chunk *chunk = out->tail;
		size_t n;

		if (chunk == NULL || chunk->len == sizeof chunk->data) {
			chunk = tls_output_push(out);
		}
		n = sizeof chunk->data - chunk->len;
		n = n < bytes.len ? n : bytes.len;
		memcpy(chunk->data + chunk->len, bytes.data, n);
		chunk->len += n;
		bytes = bytes_of(bytes.data + n, bytes.len - n);
	}
}

unsigned tls_output_bufs(
	const struct tls_output *out, uv_buf_t bufs[TLS_WRITE_CHUNKS_MAX], size_t *ret_len)
{
	size_t off = out->off, len = 0;
	unsigned n = 0;

	for (struct tls_chunk *chunk = out->head; chunk != NULL && n < TLS_WRITE_CHUNKS_MAX;
		chunk = chunk->next) {
		bufs[n] = uv_buf_init((char *)chunk->data + off, (unsigned)(chunk->len - off));
		len += bufs[n].len;
		n++;
		off = 0;
	}
	assert(len <= out->len);
	*ret_len = len;
	return n;
}

void tls_output_consume(struct tls_output *out, size_t len)
{
	assert(len <= out->len);
	out->len -= len;
	while (out->head != NULL && len >= out->head->len - out->off) {
		len -= out->head->len - out->off;
		tls_output_pop(out);
	}
	out->off += len;
	assert(out->len > 0 || out->head == NULL);
}
