#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include "crypto/secret.h"
#include "crypto/tls_ctx_ssl.h"
#include "crypto/tls_stream_state.h"

static void tls_stream_kick_cb(uv_idle_t *kick)
{
	struct tls_stream *s = kick->data;

	s->turn_bytes = 0;
	tls_stream_run(s);
}

void tls_stream_kick(struct tls_stream *s)
{
	if (!s->aborted) {
		(void)uv_idle_start(&s->kick, tls_stream_kick_cb); /* Fails only without cb. */
	}
}

void tls_stream_end(struct tls_stream *s, int rc, const struct err *e)
{
	assert(rc <= 0);
	if (s->end_due) {
		return;
	}
	s->end_due = true;
	s->end_rc = rc;
	if (e != NULL) {
		s->end_err = *e;
	}
	tls_stream_kick(s);
}

static void tls_stream_tell_end(struct tls_stream *s)
{
	s->ended = true;
	s->resume_due = false;
	tls_stream_read_stop(s);
	s->handler->end_cb(s, s->end_rc, s->end_rc == 0 ? NULL : &s->end_err);
}

static bool tls_stream_due(const struct tls_stream *s)
{
	bool unsent = s->record_len > 0 || (s->out.len > 0 && s->write_bytes == 0);

	return s->resume_due || tls_stream_drain_due(s) || (s->end_due && !s->ended) ||
	       (unsent && !tls_stream_dead(s));
}

static void tls_stream_drop_record(struct tls_stream *s)
{
	if (s->record_len == 0) {
		free(s->record);
		s->record = NULL;
	}
}

void tls_stream_run(struct tls_stream *s)
{
	if (!s->closing && !s->ready && s->ssl == NULL && s->connected) {
		tls_stream_set_ready(s);
	}
	if (!s->closing && s->resume_due) {
		s->resume_due = false;
		tls_stream_read_kept(s);
	}
	tls_stream_flush(s);
	tls_stream_drain(s);
	tls_stream_flush(s);
	if (!s->closing && s->end_due && !s->ended) {
		tls_stream_tell_end(s);
	}
	if (!s->warm) {
		tls_stream_drop_record(s);
	}
	if (!s->closing && tls_stream_due(s)) {
		tls_stream_kick(s);
	} else {
		(void)uv_idle_stop(&s->kick); /* Always 0. */
	}
}

static void tls_stream_free(struct tls_stream *s)
{
	SSL_free(s->ssl);
	tls_ctx_unref(s->ctx);
	tls_output_release(&s->out);
	buf_release(&s->wire_kept);
	secret_buf_release(&s->plain_kept);
	free(s->record);
	free(s);
}

static void tls_stream_handle_closed_cb(uv_handle_t *handle)
{
	struct tls_stream *s = handle->data;

	assert(s->handles_open > 0);
	if (--s->handles_open > 0) {
		return;
	}
	if (!s->silent) {
		s->handler->closed_cb(s);
	}
	tls_stream_free(s);
}

void tls_stream_abort(struct tls_stream *s)
{
	if (s->aborted) {
		return;
	}
	s->aborted = s->closing = true;
	uv_close(&s->io.handle, tls_stream_handle_closed_cb);
	uv_close((uv_handle_t *)&s->kick, tls_stream_handle_closed_cb);
	uv_close((uv_handle_t *)&s->linger, tls_stream_handle_closed_cb);
}

static void tls_stream_linger_cb(uv_timer_t *timer)
{
	tls_stream_abort(timer->data);
}

static void tls_stream_wait_end(struct tls_stream *s, uint64_t ms)
{
	(void)uv_timer_start(&s->linger, tls_stream_linger_cb, ms, 0); /* Not while closing. */
}

static void tls_stream_shut_cb(uv_shutdown_t *req, int status)
{
	struct tls_stream *s = CONTAINER_OF(req, struct tls_stream, shutdown);

	s->shut = true;
	if (s->eof || status < 0) {
		tls_stream_abort(s);
	}
}

void tls_stream_close_step(struct tls_stream *s)
{
	assert(s->closing);
	if (s->aborted) {
		return;
	}
	if (s->broken || (s->shut && s->eof)) {
		tls_stream_abort(s);
	} else if (s->out.len == 0 && !s->shutting) {
		s->shutting = true;
		tls_stream_wait_end(s, TLS_STREAM_LINGER_MS);
		if (uv_shutdown(&s->shutdown, &s->io.stream, tls_stream_shut_cb) < 0) {
			tls_stream_abort(s);
		}
	}
}

void tls_stream_close(struct tls_stream *s)
{
	if (s->closing) {
		return;
	}
	if (!s->connected || s->broken) {
		tls_stream_abort(s);
		return;
	}
	if (s->ssl != NULL && s->ready && !tls_stream_dead(s)) {
		tls_stream_seal(s);
		ERR_clear_error();
		(void)SSL_shutdown(s->ssl); /* Only writes close_notify; the rest is not awaited. */
	}
	s->closing = true;
	(void)uv_idle_stop(&s->kick); /* Always 0. */
	secret_buf_release(&s->plain_kept);
	buf_release(&s->wire_kept);
	tls_stream_wait_end(s, TLS_STREAM_CLOSE_MS);
	tls_stream_read_start(s); /* To see the peer's end. */
	tls_stream_push(s);
}

static struct tls_stream *tls_stream_new(
	uv_loop_t *loop, struct tls_ctx *ctx, const struct tls_stream_handler *handler, void *data)
{
	struct tls_stream *s = x_calloc(1, sizeof *s);

	s->handler = handler;
	s->data = data;
	s->bio.out = &s->out;
	s->high_bytes = TLS_STREAM_HIGH_BYTES;
	s->low_bytes = TLS_STREAM_LOW_BYTES;
	if (ctx != NULL) {
		BIO *bio = tls_bio_new(&s->bio);

		s->ctx = tls_ctx_ref(ctx);
		s->ssl = SSL_new(tls_ctx_ssl(ctx));
		if (s->ssl == NULL) {
			abort(); /* Only memory can be short. */
		}
		SSL_set_bio(s->ssl, bio, bio);
	}
	(void)uv_idle_init(loop, &s->kick);    /* Always 0. */
	(void)uv_timer_init(loop, &s->linger); /* Always 0. */
	s->kick.data = s->linger.data = s;
	s->handles_open = 3;
	return s;
}

static void tls_stream_init_io(struct tls_stream *s, uv_loop_t *loop, uv_handle_type type)
{
	int status = type == UV_NAMED_PIPE ? uv_pipe_init(loop, &s->io.pipe, 0)
					   : uv_tcp_init(loop, &s->io.tcp);

	assert(status == 0); /* No system call is made yet. */
	(void)status;
	s->io.handle.data = s;
}

/* The user never learns of it. */
static int tls_stream_drop(struct tls_stream *s, int rc)
{
	s->silent = true;
	tls_stream_abort(s);
	return rc;
}

static void tls_stream_learn_address(struct tls_stream *s)
{
	struct sockaddr_storage storage;
	int len = sizeof storage;
	uint16_t port = 0;

	if (s->io.handle.type != UV_TCP) {
		(void)snprintf(s->host, sizeof s->host, "unix");
		(void)snprintf(s->address, sizeof s->address, "unix");
		return;
	}
	memset(&storage, 0, sizeof storage);
	if (uv_tcp_getpeername(&s->io.tcp, (struct sockaddr *)&storage, &len) != 0) {
		(void)snprintf(s->host, sizeof s->host, "unknown"); /* Gone already. */
	} else if (storage.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&storage;

		(void)uv_ip6_name(in6, s->host, sizeof s->host);
		port = ntohs(in6->sin6_port);
	} else {
		const struct sockaddr_in *in4 = (const struct sockaddr_in *)&storage;

		(void)uv_ip4_name(in4, s->host, sizeof s->host);
		port = ntohs(in4->sin_port);
	}
	(void)snprintf(s->address, sizeof s->address,
		storage.ss_family == AF_INET6 ? "[%.56s]:%u" : "%.56s:%u", s->host, port);
}

static void tls_stream_set_connected(struct tls_stream *s)
{
	s->connected = true;
	if (s->io.handle.type == UV_TCP) {
		(void)uv_tcp_nodelay(&s->io.tcp, 1); /* Only slower without. */
	}
	tls_stream_learn_address(s);
	tls_stream_read_start(s);
}

int tls_stream_accept(uv_stream_t *listener, struct tls_ctx *ctx,
	const struct tls_stream_handler *handler, void *data, struct tls_stream **ret_stream,
	struct err *e)
{
	struct tls_stream *s = tls_stream_new(listener->loop, ctx, handler, data);
	int status;

	tls_stream_init_io(s, listener->loop, listener->type);
	status = uv_accept(listener, &s->io.stream);
	if (status < 0) {
		return tls_stream_drop(s, err_set(e, KLUIS_EIO, "accept: %s", uv_strerror(status)));
	}
	if (s->ssl != NULL) {
		SSL_set_accept_state(s->ssl);
	}
	tls_stream_set_connected(s);
	tls_stream_kick(s); /* For a plain stream's ready_cb. */
	*ret_stream = s;
	return 0;
}

static void tls_stream_connected_cb(uv_connect_t *req, int status)
{
	struct tls_stream *s = CONTAINER_OF(req, struct tls_stream, connect);
	struct err e;

	if (s->aborted) {
		return;
	}
	if (status < 0) {
		tls_stream_end(
			s, err_set(&e, KLUIS_ECONNECT, "connect: %s", uv_strerror(status)), &e);
	} else {
		tls_stream_set_connected(s);
		if (s->ssl != NULL) {
			tls_stream_handshake(s);
		}
	}
	tls_stream_run(s);
}

int tls_stream_dial(uv_loop_t *loop, const struct sockaddr *address, struct tls_ctx *ctx,
	const char *server_name, const struct tls_stream_handler *handler, void *data,
	struct tls_stream **ret_stream, struct err *e)
{
	struct tls_stream *s = tls_stream_new(loop, ctx, handler, data);
	int status, rc = 0;
	struct err ignored;

	tls_stream_init_io(s, loop, UV_TCP);
	if (s->ssl != NULL) {
		SSL_set_connect_state(s->ssl);
		rc = server_name == NULL ? 0 : tls_ctx_expect(s->ssl, server_name, e);
	}
	if (rc != 0) {
		return tls_stream_drop(s, rc);
	}
	status = uv_tcp_connect(&s->connect, &s->io.tcp, address, tls_stream_connected_cb);
	if (status < 0) {
		tls_stream_end(s,
			err_set(&ignored, KLUIS_ECONNECT, "connect: %s", uv_strerror(status)),
			&ignored);
	}
	*ret_stream = s;
	return 0;
}

void *tls_stream_data(const struct tls_stream *s)
{
	return s->data;
}

void tls_stream_limit_kernel(struct tls_stream *s, unsigned bytes)
{
	uv_os_fd_t fd;

	if (s->io.handle.type == UV_TCP && uv_fileno(&s->io.handle, &fd) == 0) {
		/* A kernel without it only queues more. */
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
	}
}

bool tls_stream_closing(const struct tls_stream *s)
{
	return s->closing;
}

bool tls_stream_is_tls(const struct tls_stream *s)
{
	return s->ssl != NULL;
}

struct bytes tls_stream_alpn(const struct tls_stream *s)
{
	const unsigned char *data = NULL;
	unsigned len = 0;

	if (s->ssl != NULL) {
		SSL_get0_alpn_selected(s->ssl, &data, &len);
	}
	return bytes_of(data, len);
}

const char *tls_stream_version(const struct tls_stream *s)
{
	return s->ssl == NULL ? "plain" : SSL_get_version(s->ssl);
}

const char *tls_stream_address(const struct tls_stream *s)
{
	return s->address;
}

const char *tls_stream_host(const struct tls_stream *s)
{
	return s->host;
}

void tls_stream_keep_buffers(struct tls_stream *s, bool keep)
{
	if (s->warm == keep) {
		return;
	}
	s->warm = keep;
	if (s->ssl != NULL && keep) {
		(void)SSL_clear_mode(s->ssl, SSL_MODE_RELEASE_BUFFERS);
	} else if (s->ssl != NULL) {
		(void)SSL_set_mode(s->ssl, SSL_MODE_RELEASE_BUFFERS);
		(void)SSL_free_buffers(s->ssl); /* With a record in them it does nothing. */
	}
	if (!keep) {
		tls_stream_drop_record(s);
	}
}

int tls_stream_peer_uid(const struct tls_stream *s, uid_t *ret_uid)
{
	struct ucred who;
	socklen_t len = sizeof who;
	uv_os_fd_t fd;

	if (s->io.handle.type != UV_NAMED_PIPE || uv_fileno(&s->io.handle, &fd) != 0 ||
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0) {
		return KLUIS_EINVAL;
	}
	*ret_uid = who.uid;
	return 0;
}

const struct tls_peer *tls_stream_peer(const struct tls_stream *s)
{
	return &s->peer;
}

const struct tls_counters *tls_stream_counters(const struct tls_stream *s)
{
	return &s->counters;
}
