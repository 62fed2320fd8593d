#include "tests/lib/test.h"
#include "tests/lib/api/push_receiver.h"

#include <arpa/inet.h>
#include <nghttp2/nghttp2.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RECEIVER_REQUESTS_MAX = 64, RECEIVER_WAIT_S = 60 };

struct receiver_answer {
	int status;
	char *field, *body;
};

struct push_receiver {
	SSL_CTX *ctx;
	bool h2;
	int listener;
	unsigned port;
	pthread_t thread;
	pthread_mutex_t lock; /* Guards what follows. */
	pthread_cond_t came;
	int conn; /* -1: none. */
	bool stop;
	struct receiver_answer answers[RECEIVER_REQUESTS_MAX];
	size_t n_answers, answered;
	struct push_received requests[RECEIVER_REQUESTS_MAX];
	size_t n_requests, taken;
};

/* One connection: one request. */
struct receiver_conn {
	struct push_receiver *receiver;
	SSL *ssl;
	struct push_received request;
	struct receiver_answer answer;
	size_t body_sent;
	bool cut;
};

static void receiver_keep(struct receiver_conn *c)
{
	struct push_receiver *r = c->receiver;

	(void)pthread_mutex_lock(&r->lock);
	assert_true(r->n_requests < RECEIVER_REQUESTS_MAX);
	c->answer = (struct receiver_answer){201, NULL, NULL};
	if (r->answered < r->n_answers) {
		c->answer = r->answers[r->answered++];
	}
	r->requests[r->n_requests++] = c->request;
	c->request = (struct push_received){.h2 = r->h2};
	(void)pthread_cond_signal(&r->came);
	(void)pthread_mutex_unlock(&r->lock);
	c->cut = c->answer.status == 0;
}

/* --- HTTP/1.1 ----------------------------------------------------------------------------------
 */

static void h1_head(struct receiver_conn *c, char *head)
{
	char *save, *line = strtok_r(head, "\r\n", &save);

	assert_non_null(line);
	assert_int_equal(strncmp(line, "POST ", 5), 0);
	buf_append(&c->request.path, line + 5, strcspn(line + 5, " "));
	while ((line = strtok_r(NULL, "\r\n", &save)) != NULL) {
		buf_printf(&c->request.fields, "%s\n", line);
	}
}

static void h1_answer(struct receiver_conn *c)
{
	_cleanup_(buf_release) struct buf out = BUF_INIT;
	const char *body = c->answer.body == NULL ? "" : c->answer.body;

	buf_printf(&out, "HTTP/1.1 %d Whatever\r\n", c->answer.status);
	if (c->answer.field != NULL) {
		buf_printf(&out, "%s\r\n", c->answer.field);
	}
	buf_printf(&out, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
	(void)SSL_write(c->ssl, out.data, (int)out.len);
}

static void h1_serve(struct receiver_conn *c)
{
	_cleanup_(buf_release) struct buf in = BUF_INIT;
	const char *end = NULL, *at;
	size_t length;
	char room[4096];
	int n;

	while (end == NULL && (n = SSL_read(c->ssl, room, sizeof room)) > 0) {
		buf_append(&in, room, (size_t)n);
		end = strstr(buf_str(&in), "\r\n\r\n");
	}
	if (end == NULL) {
		return;
	}
	at = strstr(buf_str(&in), "content-length: ");
	assert_non_null(at);
	length = strtoul(at + 16, NULL, 10);
	buf_append(&c->request.body, end + 4, in.len - (size_t)(end + 4 - (char *)in.data));
	while (c->request.body.len < length && (n = SSL_read(c->ssl, room, sizeof room)) > 0) {
		buf_append(&c->request.body, room, (size_t)n);
	}
	in.len = (size_t)(strstr(buf_str(&in), "\r\n\r\n") - (char *)in.data);
	h1_head(c, (char *)(uintptr_t)buf_str(&in));
	receiver_keep(c);
	if (!c->cut) {
		h1_answer(c);
	}
}

/* --- HTTP/2 ------------------------------------------------------------------------------------
 */

static int h2_header_cb(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	struct receiver_conn *c = data;

	(void)session;
	(void)frame;
	(void)flags;
	if (name_len == 5 && memcmp(name, ":path", 5) == 0) {
		buf_append(&c->request.path, value, value_len);
	} else {
		buf_printf(&c->request.fields, "%.*s: %.*s\n", (int)name_len, (const char *)name,
			(int)value_len, (const char *)value);
	}
	return 0;
}

static int h2_data_cb(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
	size_t len, void *data)
{
	struct receiver_conn *c = data;

	(void)session;
	(void)flags;
	(void)id;
	buf_append(&c->request.body, bytes, len);
	return 0;
}

static ssize_t h2_source_cb(nghttp2_session *session, int32_t id, uint8_t *to, size_t max,
	uint32_t *flags, nghttp2_data_source *source, void *data)
{
	struct receiver_conn *c = source->ptr;
	const char *body = c->answer.body == NULL ? "" : c->answer.body;
	size_t left = strlen(body) - c->body_sent, n = left < max ? left : max;

	(void)session;
	(void)id;
	(void)data;
	memcpy(to, body + c->body_sent, n);
	c->body_sent += n;
	*flags |= n == left ? NGHTTP2_DATA_FLAG_EOF : NGHTTP2_DATA_FLAG_NONE;
	return (ssize_t)n;
}

static nghttp2_nv h2_field(const char *name, size_t name_len, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, name_len,
		strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static int h2_frame_cb(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	struct receiver_conn *c = data;
	nghttp2_data_provider source = {.source.ptr = c, .read_callback = h2_source_cb};
	nghttp2_nv list[2];
	size_t n = 0;
	char status[8];

	if ((frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) ||
		(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
		return 0;
	}
	receiver_keep(c);
	if (c->cut) {
		return 0;
	}
	(void)snprintf(status, sizeof status, "%d", c->answer.status);
	list[n++] = h2_field(":status", 7, status);
	if (c->answer.field != NULL) {
		const char *colon = strchr(c->answer.field, ':');

		list[n++] = h2_field(c->answer.field, (size_t)(colon - c->answer.field), colon + 2);
	}
	return nghttp2_submit_response(session, frame->hd.stream_id, list, n, &source);
}

static void h2_flush(nghttp2_session *session, struct receiver_conn *c)
{
	const uint8_t *bytes;
	ssize_t n;

	while (!c->cut && (n = nghttp2_session_mem_send(session, &bytes)) > 0) {
		(void)SSL_write(c->ssl, bytes, (int)n);
	}
}

static void h2_serve(struct receiver_conn *c)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_session *session;
	uint8_t room[4096];
	int n;

	assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_header_cb);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, h2_data_cb);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, h2_frame_cb);
	assert_int_equal(nghttp2_session_server_new(&session, callbacks, c), 0);
	nghttp2_session_callbacks_del(callbacks);
	assert_int_equal(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
	h2_flush(session, c);
	/* Until the other side has it all: a close with bytes unread would take the answer back. */
	while (!c->cut && (n = SSL_read(c->ssl, room, sizeof room)) > 0) {
		if (nghttp2_session_mem_recv(session, room, (size_t)n) < 0) {
			break;
		}
		h2_flush(session, c);
	}
	nghttp2_session_del(session);
}

/* --- connections -------------------------------------------------------------------------------
 */

static int receiver_alpn_cb(SSL *ssl, const unsigned char **out, unsigned char *out_len,
	const unsigned char *in, unsigned in_len, void *data)
{
	static const unsigned char h2[] = "\x02h2", h1[] = "\x08http/1.1";
	const struct push_receiver *r = data;

	(void)ssl;
	return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, r->h2 ? h2 : h1,
		       r->h2 ? sizeof h2 - 1 : sizeof h1 - 1, in, in_len) == OPENSSL_NPN_NEGOTIATED
		       ? SSL_TLSEXT_ERR_OK
		       : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void receiver_serve(struct push_receiver *r, int fd)
{
	struct receiver_conn c = {.receiver = r, .ssl = SSL_new(r->ctx), .request.h2 = r->h2};

	(void)SSL_set_fd(c.ssl, fd);
	if (SSL_accept(c.ssl) == 1) {
		if (r->h2) {
			h2_serve(&c);
		} else {
			h1_serve(&c);
		}
		if (!c.cut) {
			(void)SSL_shutdown(c.ssl);
		}
	}
	SSL_free(c.ssl);
	push_received_release(&c.request);
	free(c.answer.field);
	free(c.answer.body);
}

static void *receiver_thread(void *data)
{
	struct push_receiver *r = data;
	int fd;

	while ((fd = accept(r->listener, NULL, NULL)) >= 0) {
		bool stop;

		(void)pthread_mutex_lock(&r->lock);
		stop = r->stop;
		r->conn = fd;
		(void)pthread_mutex_unlock(&r->lock);
		if (!stop) {
			receiver_serve(r, fd);
		}
		(void)pthread_mutex_lock(&r->lock);
		r->conn = -1;
		(void)close(fd);
		(void)pthread_mutex_unlock(&r->lock);
	}
	return NULL;
}

static void receiver_keys(SSL_CTX *ctx, const struct pki_identity *server)
{
	BIO *cert_bio = BIO_new_mem_buf(server->cert_pem.data, (int)server->cert_pem.len);
	BIO *key_bio = BIO_new_mem_buf(server->key_pem.data, (int)server->key_pem.len);
	X509 *cert = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);

	assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(cert_bio);
	BIO_free(key_bio);
}

struct push_receiver *push_receiver_new(const struct pki_identity *server, bool h2)
{
	struct push_receiver *r = x_calloc(1, sizeof *r);
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof address;

	(void)signal(SIGPIPE, SIG_IGN); /* Whoever has the answer may go. */
	r->h2 = h2;
	r->conn = -1;
	r->ctx = SSL_CTX_new(TLS_server_method());
	receiver_keys(r->ctx, server);
	SSL_CTX_set_alpn_select_cb(r->ctx, receiver_alpn_cb, r);
	(void)pthread_mutex_init(&r->lock, NULL);
	(void)pthread_cond_init(&r->came, NULL);
	r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(r->listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(r->listener, 16), 0);
	assert_int_equal(getsockname(r->listener, (struct sockaddr *)&address, &len), 0);
	r->port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&r->thread, NULL, receiver_thread, r), 0);
	return r;
}

void push_receiver_free(struct push_receiver *r)
{
	(void)pthread_mutex_lock(&r->lock);
	r->stop = true;
	if (r->conn >= 0) {
		(void)shutdown(r->conn, SHUT_RDWR);
	}
	(void)pthread_mutex_unlock(&r->lock);
	(void)shutdown(r->listener, SHUT_RDWR); /* Ends accept(). */
	assert_int_equal(pthread_join(r->thread, NULL), 0);
	(void)close(r->listener);
	for (; r->answered < r->n_answers; r->answered++) {
		free(r->answers[r->answered].field);
		free(r->answers[r->answered].body);
	}
	for (; r->taken < r->n_requests; r->taken++) {
		push_received_release(&r->requests[r->taken]);
	}
	SSL_CTX_free(r->ctx);
	(void)pthread_mutex_destroy(&r->lock);
	(void)pthread_cond_destroy(&r->came);
	free(r);
}

unsigned push_receiver_port(const struct push_receiver *r)
{
	return r->port;
}

void push_receiver_answer(struct push_receiver *r, int status, const char *field, const char *body)
{
	(void)pthread_mutex_lock(&r->lock);
	assert_true(r->n_answers < RECEIVER_REQUESTS_MAX);
	r->answers[r->n_answers++] = (struct receiver_answer){status,
		field == NULL ? NULL : x_strdup(field), body == NULL ? NULL : x_strdup(body)};
	(void)pthread_mutex_unlock(&r->lock);
}

void push_receiver_take(struct push_receiver *r, struct push_received *ret_received)
{
	struct timespec until;
	int rc = 0;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += RECEIVER_WAIT_S;
	(void)pthread_mutex_lock(&r->lock);
	while (r->taken == r->n_requests && rc == 0) {
		rc = pthread_cond_timedwait(&r->came, &r->lock, &until);
	}
	if (rc == 0) {
		*ret_received = r->requests[r->taken++];
	}
	(void)pthread_mutex_unlock(&r->lock);
	assert_int_equal(rc, 0);
}

void push_received_release(struct push_received *received)
{
	buf_release(&received->path);
	buf_release(&received->fields);
	buf_release(&received->body);
}

char *push_received_field(struct push_received *received, const char *name)
{
	const char *at = buf_str(&received->fields);
	size_t len = strlen(name);
	char *value = NULL;

	while (*at != 0) {
		size_t line = strcspn(at, "\n");

		if (line > len + 2 && strncasecmp(at, name, len) == 0 && at[len] == ':') {
			assert_null(value);
			value = strndup(at + len + 2, line - len - 2);
		}
		at += line + (at[line] == '\n');
	}
	assert_non_null(value);
	return value;
}

unsigned push_receiver_count(struct push_receiver *r)
{
	unsigned n;

	(void)pthread_mutex_lock(&r->lock);
	n = (unsigned)r->n_requests;
	(void)pthread_mutex_unlock(&r->lock);
	return n;
}
