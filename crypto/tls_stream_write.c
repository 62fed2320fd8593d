#include <assert.h>
#include <string.h>

#include <openssl/err.h>

#include "crypto/secret.h"
#include "crypto/tls_ctx_ssl.h"
#include "crypto/tls_stream_state.h"

static void tls_stream_write_failed(struct tls_stream *s, int status)
{
	struct err e;
	bool cut = status == UV_ECONNRESET || status == UV_EPIPE || status == UV_ECANCELED;
	int rc = err_set(&e, cut ? KLUIS_ECLOSED : KLUIS_EIO, "write: %s", uv_strerror(status));

	s->broken = true;
	tls_output_release(&s->out);
	tls_stream_end(s, rc, &e);
	if (s->closing) {
		tls_stream_abort(s);
	}
}

static void tls_stream_sent(struct tls_stream *s, size_t len)
{
	tls_output_consume(&s->out, len);
	s->counters.wire_sent_bytes += len;
}

static void tls_stream_written_cb(uv_write_t *req, int status)
{
	struct tls_stream *s = CONTAINER_OF(req, struct tls_stream, write);
	size_t len = s->write_bytes;

	assert(len > 0);
	s->write_bytes = 0;
	if (s->aborted) {
		return;
	}
	if (status < 0) {
		tls_stream_write_failed(s, status);
	} else {
		tls_stream_sent(s, len);
		tls_stream_push(s);
	}
	tls_stream_run(s);
}

/* Hands all runs to libuv, which writes them when the socket has room. */
static void tls_stream_write_later(struct tls_stream *s)
{
	uv_buf_t bufs[TLS_WRITE_CHUNKS_MAX];
	unsigned n = tls_output_bufs(&s->out, bufs, &s->write_bytes);
	int status = uv_write(&s->write, &s->io.stream, bufs, n, tls_stream_written_cb);

	if (status < 0) {
		s->write_bytes = 0;
		tls_stream_write_failed(s, status);
	}
}

void tls_stream_push(struct tls_stream *s)
{
	while (s->connected && !s->broken && !s->aborted && s->write_bytes == 0 && s->out.len > 0) {
		uv_buf_t bufs[TLS_WRITE_CHUNKS_MAX];
		size_t len;
		unsigned n = tls_output_bufs(&s->out, bufs, &len);
		int sent = uv_try_write(&s->io.stream, bufs, n);

		if (sent < 0 && sent != UV_EAGAIN) {
			tls_stream_write_failed(s, sent);
			return;
		}
		if (sent > 0) {
			tls_stream_sent(s, (size_t)sent);
		}
		if (sent < 0 || (size_t)sent < len) {
			tls_stream_write_later(s);
		}
	}
	if (s->closing) {
		tls_stream_close_step(s);
	}
}

/* Our BIO takes everything, so that a short write cannot happen. */
static void tls_stream_encrypt(struct tls_stream *s, struct bytes bytes)
{
	struct err e;
	int ret;

	ERR_clear_error();
	ret = SSL_write(s->ssl, bytes.data, (int)bytes.len);
	if (ret != (int)bytes.len) {
		tls_stream_end(s, tls_ctx_failure(s->ssl, ret, &e), &e);
	}
}

void tls_stream_seal(struct tls_stream *s)
{
	if (s->record_len > 0) {
		tls_stream_encrypt(s, bytes_of(s->record, s->record_len));
		if ((SSL_get_options(s->ssl) & SSL_OP_CLEANSE_PLAINTEXT) != 0) {
			secret_clear(s->record, s->record_len);
		}
		s->record_len = 0;
	}
}

static void tls_stream_collect(struct tls_stream *s, struct bytes bytes)
{
	while (bytes.len > 0) {
		size_t n = TLS_STREAM_RECORD_BYTES - s->record_len;

		if (s->record_len == 0 && bytes.len >= TLS_STREAM_RECORD_BYTES) {
			tls_stream_encrypt(s, bytes_of(bytes.data, n));
		} else {
			n = n < bytes.len ? n : bytes.len;
			if (s->record == NULL) {
				s->record = x_malloc(TLS_STREAM_RECORD_BYTES);
			}
			memcpy(s->record + s->record_len, bytes.data, n);
			s->record_len += n;
			if (s->record_len == TLS_STREAM_RECORD_BYTES) {
				tls_stream_seal(s);
			}
		}
		bytes = bytes_of(bytes.data + n, bytes.len - n);
	}
}

void tls_stream_write(struct tls_stream *s, struct bytes bytes)
{
	assert(s->ready);
	if (tls_stream_dead(s) || bytes.len == 0) {
		return;
	}
	s->turn_bytes += bytes.len;
	s->counters.written_bytes += bytes.len;
	/* In steps, so that a large piece does not stand in memory twice. */
	while (bytes.len > 0) {
		size_t n = bytes.len < TLS_STREAM_LOW_BYTES ? bytes.len : TLS_STREAM_LOW_BYTES;

		if (s->ssl != NULL) {
			tls_stream_collect(s, bytes_of(bytes.data, n));
		} else {
			tls_output_append(&s->out, bytes_of(bytes.data, n));
		}
		if (s->out.len >= TLS_STREAM_LOW_BYTES) {
			tls_stream_push(s);
		}
		bytes = bytes_of(bytes.data + n, bytes.len - n);
	}
	tls_stream_kick(s);
}

void tls_stream_writev(struct tls_stream *s, const struct bytes *pieces, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		tls_stream_write(s, pieces[i]);
	}
}

void tls_stream_flush(struct tls_stream *s)
{
	if (!tls_stream_dead(s)) {
		tls_stream_seal(s);
		tls_stream_push(s);
	}
}

size_t tls_stream_unsent(const struct tls_stream *s)
{
	return s->out.len + s->record_len;
}

void tls_stream_set_marks(struct tls_stream *s, size_t high_bytes, size_t low_bytes)
{
	assert(low_bytes < high_bytes);
	s->high_bytes = high_bytes;
	s->low_bytes = low_bytes;
}

bool tls_stream_dead(const struct tls_stream *s)
{
	return s->closing || s->broken || (s->end_due && s->end_rc != 0);
}

bool tls_stream_writable(struct tls_stream *s)
{
	if (s->ready && !tls_stream_dead(s) && tls_stream_unsent(s) < s->high_bytes &&
		s->turn_bytes < TLS_STREAM_TURN_BYTES) {
		return true;
	}
	s->want_drain = true;
	tls_stream_kick(s); /* If all of it left at once, nothing else would call. */
	return false;
}

bool tls_stream_drain_due(const struct tls_stream *s)
{
	return s->want_drain && s->ready && !tls_stream_dead(s) &&
	       tls_stream_unsent(s) <= s->low_bytes;
}

void tls_stream_drain(struct tls_stream *s)
{
	if (tls_stream_drain_due(s) && s->turn_bytes < TLS_STREAM_TURN_BYTES) {
		s->want_drain = false;
		if (s->handler->drain_cb != NULL) {
			s->handler->drain_cb(s);
		}
	}
}
