#include <assert.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "crypto/cert.h"
#include "crypto/secret.h"
#include "crypto/tls_ctx_ssl.h"
#include "crypto/tls_stream_state.h"

/* What a read needs is needed by no other stream of the thread until it is done: callbacks do not
 * nest, and what is left is copied out. */
static _Thread_local uint8_t tls_wire_scratch[TLS_STREAM_READ_BYTES];
static _Thread_local uint8_t tls_plain_scratch[TLS_STREAM_RECORD_BYTES];

static bool tls_stream_wants_input(const struct tls_stream *s)
{
	return !s->paused && !s->closing && !s->end_due && !s->ended;
}

static void tls_stream_give(struct tls_stream *s, struct bytes bytes)
{
	size_t taken;

	assert(s->plain_kept.len == 0);
	taken = s->handler->read_cb(s, bytes);
	assert(taken <= bytes.len);
	if (taken < bytes.len && !s->closing) {
		buf_append(&s->plain_kept, bytes.data + taken, bytes.len - taken);
		tls_stream_pause(s);
	}
}

static void tls_stream_decrypt(struct tls_stream *s)
{
	while (tls_stream_wants_input(s)) {
		size_t unsent = s->out.len;
		struct err e;
		int ret, kind;

		ERR_clear_error();
		ret = SSL_read(s->ssl, tls_plain_scratch, sizeof tls_plain_scratch);
		/* Each renegotiation that a TLS 1.2 peer asks for is refused by an alert: one who
		 * asks on and on without reading must not fill our memory with them. */
		if (s->out.len > unsent && unsent >= TLS_STREAM_LOW_BYTES) {
			tls_stream_end(
				s, err_set(&e, KLUIS_EPROTO, "the peer asks without reading"), &e);
			return;
		}
		if (ret > 0) {
			s->counters.read_bytes += (uint64_t)ret;
			tls_stream_give(s, bytes_of(tls_plain_scratch, (size_t)ret));
			continue;
		}
		kind = SSL_get_error(s->ssl, ret);
		if (kind == SSL_ERROR_ZERO_RETURN) {
			tls_stream_end(s, 0, NULL);
		} else if (kind != SSL_ERROR_WANT_READ) {
			tls_stream_end(s, tls_ctx_failure(s->ssl, ret, &e), &e);
		}
		tls_stream_push(s); /* An alert, the answer to a key update. */
		return;
	}
}

static void tls_stream_learn_peer(struct tls_stream *s)
{
	X509 *cert = SSL_get0_peer_certificate(s->ssl);

	if (cert != NULL && SSL_get_verify_result(s->ssl) == X509_V_OK &&
		(SSL_get_verify_mode(s->ssl) & SSL_VERIFY_PEER) != 0) {
		cert_describe(cert, &s->peer);
		s->peer.verified = true;
	}
}

int tls_stream_verify(
	const struct tls_stream *s, struct tls_ctx *ctx, uint64_t wall_ms, struct err *e)
{
	assert(s->ready && s->peer.verified);
	return cert_verify(SSL_CTX_get_cert_store(tls_ctx_ssl(ctx)),
		SSL_get0_peer_certificate(s->ssl), SSL_get_peer_cert_chain(s->ssl),
		SSL_is_server(s->ssl) ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER, wall_ms,
		e);
}

void tls_stream_set_ready(struct tls_stream *s)
{
	assert(!s->ready);
	s->ready = true;
	s->handler->ready_cb(s);
}

void tls_stream_handshake(struct tls_stream *s)
{
	struct err e;
	int ret, kind;

	ERR_clear_error();
	ret = SSL_do_handshake(s->ssl);
	if (ret == 1) {
		tls_stream_learn_peer(s);
		tls_stream_push(s);
		tls_stream_set_ready(s);
		return;
	}
	kind = SSL_get_error(s->ssl, ret);
	if (kind != SSL_ERROR_WANT_READ) {
		tls_stream_end(s, tls_ctx_failure(s->ssl, ret, &e), &e);
	}
	tls_stream_push(s); /* Also the alert that says what we did not like. */
}

/* Works on s->bio.in (or, plain, takes it away from there); what cannot be given is kept. */
static void tls_stream_input(struct tls_stream *s)
{
	if (s->ssl == NULL) {
		struct bytes bytes = s->bio.in;

		if (!s->ready) {
			tls_stream_set_ready(s);
		}
		if (bytes.len > 0 && tls_stream_wants_input(s)) {
			s->bio.in = bytes_of(NULL, 0);
			s->counters.read_bytes += bytes.len;
			tls_stream_give(s, bytes);
		}
	} else {
		if (!s->ready) {
			tls_stream_handshake(s);
		}
		if (s->ready) {
			tls_stream_decrypt(s);
		}
	}
	if (s->bio.in.len > 0 && s->paused && !s->closing) {
		buf_append_bytes(&s->wire_kept, s->bio.in);
	}
	s->bio.in = bytes_of(NULL, 0);
}

void tls_stream_read_kept(struct tls_stream *s)
{
	struct buf plain = s->plain_kept, wire = s->wire_kept;

	s->plain_kept = BUF_INIT;
	s->wire_kept = BUF_INIT;
	if (plain.len > 0) {
		tls_stream_give(s, buf_bytes(&plain));
	}
	s->bio.in = buf_bytes(&wire);
	tls_stream_input(s); /* OpenSSL may hold decrypted bytes even if wire is empty. */
	secret_buf_release(&plain);
	buf_release(&wire);
	if (tls_stream_wants_input(s)) {
		tls_stream_read_start(s);
	}
}

static void tls_stream_alloc_cb(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	(void)handle;
	(void)size;
	*buf = uv_buf_init((char *)tls_wire_scratch, sizeof tls_wire_scratch);
}

/* The peer will send no more. In TLS only close_notify ends a stream in order: without it somebody
 * may have cut it short (RFC 8446, 6.1). */
static void tls_stream_eof(struct tls_stream *s, int status)
{
	struct err e;

	s->eof = true;
	s->broken = s->broken || status != UV_EOF;
	tls_stream_read_stop(s);
	if (s->closing) {
		tls_stream_close_step(s);
	} else if (status != UV_EOF) {
		tls_stream_end(s,
			err_set(&e, status == UV_ECONNRESET ? KLUIS_ECLOSED : KLUIS_EIO, "read: %s",
				uv_strerror(status)),
			&e);
	} else if (s->ssl == NULL) {
		tls_stream_end(s, 0, NULL);
	} else {
		tls_stream_end(s,
			err_set(&e, KLUIS_ECLOSED, "the peer cut the connection%s",
				s->ready ? "" : " in the handshake"),
			&e);
	}
}

static void tls_stream_linger(struct tls_stream *s, size_t len)
{
	s->lingered_bytes += len;
	if (s->lingered_bytes > TLS_STREAM_LINGER_BYTES_MAX) {
		tls_stream_abort(s);
	}
}

static void tls_stream_read_cb(uv_stream_t *io, ssize_t n, const uv_buf_t *buf)
{
	struct tls_stream *s = io->data;

	if (n == 0 || s->aborted) {
		return;
	}
	if (n < 0) {
		tls_stream_eof(s, (int)n);
	} else {
		s->counters.wire_read_bytes += (uint64_t)n;
		if (s->closing) {
			tls_stream_linger(s, (size_t)n);
		} else if (!s->ended) {
			s->bio.in = bytes_of(buf->base, (size_t)n);
			tls_stream_input(s);
		}
	}
	tls_stream_run(s);
}

void tls_stream_read_start(struct tls_stream *s)
{
	struct err e;
	int status;

	if (s->reading || s->eof || !s->connected || s->aborted) {
		return;
	}
	status = uv_read_start(&s->io.stream, tls_stream_alloc_cb, tls_stream_read_cb);
	if (status < 0) {
		s->broken = true;
		tls_stream_end(s, err_set(&e, KLUIS_EIO, "read: %s", uv_strerror(status)), &e);
		return;
	}
	s->reading = true;
}

void tls_stream_read_stop(struct tls_stream *s)
{
	if (s->reading) {
		(void)uv_read_stop(&s->io.stream); /* Always 0. */
		s->reading = false;
	}
}

void tls_stream_pause(struct tls_stream *s)
{
	s->paused = true;
	s->resume_due = false;
	if (!s->closing) {
		tls_stream_read_stop(s);
	}
}

void tls_stream_resume(struct tls_stream *s)
{
	if (s->paused && !s->closing && !s->ended) {
		s->paused = false;
		s->resume_due = true;
		tls_stream_kick(s);
	}
}
