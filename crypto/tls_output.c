#include "crypto/tls_output.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

struct tls_chunk {
	struct tls_chunk *next;
	size_t len;
	uint8_t data[TLS_CHUNK_BYTES];
};

/* Chunks that a thread keeps for its streams: each answer takes one for a moment, and a heap that
 * is given back so much tidies up every time. */
struct tls_spares {
	struct tls_chunk *first;
	unsigned n;
};

static pthread_once_t tls_spares_once = PTHREAD_ONCE_INIT;
static pthread_key_t tls_spares_key;
static _Thread_local struct tls_spares *tls_spares_mine;

static void tls_spares_free(void *data)
{
	struct tls_spares *spares = data;

	while (spares->first != NULL) {
		struct tls_chunk *chunk = spares->first;

		spares->first = chunk->next;
		free(chunk);
	}
	free(spares);
}

static void tls_spares_start(void)
{
	if (pthread_key_create(&tls_spares_key, tls_spares_free) != 0) {
		abort(); /* Only memory can be short. */
	}
}

static struct tls_spares *tls_spares(void)
{
	if (tls_spares_mine == NULL) {
		struct tls_spares *mine = x_calloc(1, sizeof *mine);

		(void)pthread_once(&tls_spares_once, tls_spares_start);
		if (pthread_setspecific(tls_spares_key, mine) != 0) {
			abort(); /* As above. */
		}
		tls_spares_mine = mine;
	}
	return tls_spares_mine;
}

static struct tls_chunk *tls_chunk_new(void)
{
	struct tls_spares *spares = tls_spares();
	struct tls_chunk *chunk = spares->first;

	if (chunk == NULL) {
		return x_malloc(sizeof *chunk);
	}
	spares->first = chunk->next;
	spares->n--;
	return chunk;
}

static void tls_chunk_free(struct tls_chunk *chunk)
{
	struct tls_spares *spares = tls_spares();

	if (spares->n == TLS_CHUNKS_KEPT) {
		free(chunk);
		return;
	}
	chunk->next = spares->first;
	spares->first = chunk;
	spares->n++;
}

static void tls_output_pop(struct tls_output *out)
{
	struct tls_chunk *chunk = out->head;

	out->head = chunk->next;
	out->off = 0;
	if (out->head == NULL) {
		out->tail = NULL;
	}
	tls_chunk_free(chunk);
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
	struct tls_chunk *chunk = tls_chunk_new();

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
