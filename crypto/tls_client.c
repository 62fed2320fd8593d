#include "crypto/tls_client.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/address.h"
#include "base/clock.h"
#include "crypto/cert.h"
#include "crypto/tls_ctx_ssl.h"

enum { TLS_CLIENT_WRITE_BYTES_MAX = 1 << 20 }; /* In one call of OpenSSL. */

struct tls_client {
	int fd;
	SSL *ssl; /* NULL: plain. */
	struct tls_ctx *ctx;
	short events;
	bool failed; /* No close_notify any more. */
	uint8_t spki[32];
};

/* A socket BIO that never raises SIGPIPE: this runs in other people's programs, too. */
static BIO_METHOD *tls_socket_method;
static pthread_once_t tls_socket_once = PTHREAD_ONCE_INIT;

static int tls_socket_fd(BIO *bio)
{
	return ((struct tls_client *)BIO_get_data(bio))->fd;
}

static bool tls_would_block(int errnum)
{
	return errnum == EAGAIN || errnum == EWOULDBLOCK || errnum == EINTR;
}

static int tls_socket_read(BIO *bio, char *to, int max)
{
	ssize_t n = recv(tls_socket_fd(bio), to, (size_t)max, 0);

	BIO_clear_retry_flags(bio);
	if (n < 0 && tls_would_block(errno)) {
		BIO_set_retry_read(bio);
	}
	if (n == 0) {
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	}
	return (int)n;
}

static int tls_socket_write(BIO *bio, const char *data, int len)
{
	ssize_t n = send(tls_socket_fd(bio), data, (size_t)len, MSG_NOSIGNAL);

	BIO_clear_retry_flags(bio);
	if (n < 0 && tls_would_block(errno)) {
		BIO_set_retry_write(bio);
	}
	return (int)n;
}

static long tls_socket_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	(void)num;
	(void)ptr;
	if (cmd == BIO_CTRL_EOF) {
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	}
	return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static void tls_socket_make_method(void)
{
	tls_socket_method =
		BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kluis tls client");
	if (tls_socket_method == NULL ||
		BIO_meth_set_read(tls_socket_method, tls_socket_read) != 1 ||
		BIO_meth_set_write(tls_socket_method, tls_socket_write) != 1 ||
		BIO_meth_set_ctrl(tls_socket_method, tls_socket_ctrl) != 1) {
		abort(); /* Only memory can be short. */
	}
}

static BIO *tls_socket_bio(struct tls_client *client)
{
	BIO *bio;

	(void)pthread_once(&tls_socket_once, tls_socket_make_method);
	bio = BIO_new(tls_socket_method);
	if (bio == NULL) {
		abort(); /* Only memory can be short. */
	}
	BIO_set_data(bio, client);
	BIO_set_init(bio, 1);
	return bio;
}

/* 0 when the descriptor is ready; KLUIS_ETIMEOUT at the deadline, KLUIS_EAGAIN if that is 0. */
static int tls_client_wait(struct tls_client *client, uint64_t deadline_ms, struct err *e)
{
	for (;;) {
		struct pollfd fd = {.fd = client->fd, .events = client->events};
		uint64_t now = clock_monotonic_ms(&clock_system);
		uint64_t left = deadline_ms > now ? deadline_ms - now : 0;
		int n;

		if (deadline_ms == 0) {
			return err_set(e, KLUIS_EAGAIN, "would block");
		}
		n = poll(&fd, 1, left > INT32_MAX ? INT32_MAX : (int)left);
		if (n > 0) {
			return 0;
		}
		if (n == 0 && left <= INT32_MAX) {
			return err_set(e, KLUIS_ETIMEOUT, "no answer in time");
		}
		if (n < 0 && errno != EINTR) {
			return err_set_errno(e, errno, "poll");
		}
	}
}

/* After an OpenSSL call that returned ret <= 0: waits for what it wants. */
static int tls_client_wait_ssl(
	struct tls_client *client, int ret, uint64_t deadline_ms, struct err *e)
{
	int kind = SSL_get_error(client->ssl, ret);

	if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
		client->events = kind == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
		return tls_client_wait(client, deadline_ms, e);
	}
	client->failed = true;
	return tls_ctx_failure(client->ssl, ret, e);
}

static int tls_client_handshake(
	struct tls_client *client, const char *host, uint64_t deadline_ms, struct err *e)
{
	BIO *bio = tls_socket_bio(client);
	X509 *cert;
	int rc;

	client->ssl = SSL_new(tls_ctx_ssl(client->ctx));
	if (client->ssl == NULL) {
		abort(); /* Only memory can be short. */
	}
	SSL_set_bio(client->ssl, bio, bio);
	SSL_set_connect_state(client->ssl);
	rc = tls_ctx_expect(client->ssl, host, e);
	while (rc == 0) {
		int ret;

		ERR_clear_error();
		ret = SSL_do_handshake(client->ssl);
		if (ret == 1) {
			break;
		}
		rc = tls_client_wait_ssl(client, ret, deadline_ms, e);
	}
	cert = rc == 0 ? SSL_get0_peer_certificate(client->ssl) : NULL;
	if (cert != NULL) {
		cert_spki_sha256(cert, client->spki);
	}
	return rc;
}

static struct tls_client *tls_client_new(int family)
{
	struct tls_client *client = x_calloc(1, sizeof *client);

	client->events = POLLIN;
	client->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return client;
}

/* A non-blocking connect, waited for. */
static int tls_client_reach(struct tls_client *client, const void *address, socklen_t len,
	uint64_t deadline_ms, struct err *e)
{
	int failure = 0, one = 1, rc;
	socklen_t size = sizeof failure;

	if (client->fd < 0) {
		return err_set_errno(e, errno, "socket");
	}
	if (connect(client->fd, address, len) != 0) {
		if (errno != EINPROGRESS) {
			return err_set(e, KLUIS_ECONNECT, "connect: %s", strerror(errno));
		}
		client->events = POLLOUT;
		rc = tls_client_wait(client, deadline_ms, e);
		if (rc != 0) {
			return rc;
		}
		if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0) {
			failure = errno;
		}
		if (failure != 0) {
			return err_set(e, KLUIS_ECONNECT, "connect: %s", strerror(failure));
		}
	}
	client->events = POLLIN;
	/* Only slower without; means nothing on a Unix-domain socket. */
	(void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return 0;
}

static int tls_client_try(const struct address *address, const struct address_found *found,
	struct tls_ctx *ctx, uint64_t deadline_ms, struct tls_client **ret_client, struct err *e)
{
	struct tls_client *client = tls_client_new(found->storage.ss_family);
	int rc = tls_client_reach(client, &found->storage, found->len, deadline_ms, e);

	if (rc == 0) {
		client->ctx = tls_ctx_ref(ctx);
		rc = tls_client_handshake(client, address->host, deadline_ms, e);
	}
	if (rc != 0) {
		client->failed = true;
		tls_client_free(client);
		return rc;
	}
	*ret_client = client;
	return 0;
}

static bool tls_client_anywhere(const struct sockaddr *address)
{
	(void)address;
	return true;
}

/* What is refused goes; how many are left. */
static size_t tls_client_filter(
	struct address_found *found, size_t n, bool (*may)(const struct sockaddr *address))
{
	size_t left = 0;

	for (size_t i = 0; i < n; i++) {
		if (may((const struct sockaddr *)&found[i].storage)) {
			found[left++] = found[i];
		}
	}
	return left;
}

int tls_client_connect(const char *text, struct tls_ctx *ctx, uint64_t deadline_ms,
	struct tls_client **ret_client, struct err *e)
{
	return tls_client_connect_where(text, ctx, tls_client_anywhere, deadline_ms, ret_client, e);
}

int tls_client_connect_where(const char *text, struct tls_ctx *ctx,
	bool (*may)(const struct sockaddr *address), uint64_t deadline_ms,
	struct tls_client **ret_client, struct err *e)
{
	struct address_found found[ADDRESS_FOUND_MAX];
	struct address address;
	size_t n = 0;
	int rc = address_parse(text, &address, e);

	if (rc == 0) {
		rc = address_resolve(&address, found, ARRAY_SIZE(found), &n, e);
	}
	if (rc != 0) {
		return rc;
	}
	n = tls_client_filter(found, n, may);
	if (n == 0) {
		return err_set(e, KLUIS_EFORBIDDEN, "'%s' has no address that is allowed", text);
	}
	for (size_t i = 0; i < n; i++) {
		uint64_t now = clock_monotonic_ms(&clock_system);
		uint64_t left = deadline_ms > now ? deadline_ms - now : 0;

		/* At least 1: a deadline of 0 means "do not wait at all". */
		rc = tls_client_try(
			&address, &found[i], ctx, now + left / (n - i) + 1, ret_client, e);
		if (rc == 0) {
			return 0;
		}
	}
	return err_wrap(e, rc, "'%s'", text);
}

int tls_client_connect_unix(const char *path, struct tls_client **ret_client, struct err *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct tls_client *client;
	int rc;

	if (strlen(path) >= sizeof address.sun_path) {
		return err_set(e, KLUIS_EINVAL, "socket path '%s' is too long", path);
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	client = tls_client_new(AF_UNIX);
	rc = tls_client_reach(client, &address, sizeof address, 0, e);
	if (rc != 0) {
		tls_client_free(client);
		return err_wrap(e, rc, "'%s'", path);
	}
	*ret_client = client;
	return 0;
}

int tls_client_adopt(int fd, struct tls_client **ret_client, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);
	struct tls_client *client;

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
		int rc = err_set_errno(e, errno, "connection");

		(void)close(fd);
		return rc;
	}
	client = x_calloc(1, sizeof *client);
	client->events = POLLIN;
	client->fd = fd;
	*ret_client = client;
	return 0;
}

static int tls_client_cut(struct tls_client *client, struct err *e)
{
	client->failed = true;
	if (errno == ECONNRESET || errno == EPIPE) {
		return err_set(e, KLUIS_ECLOSED, "the connection was cut");
	}
	return err_set_errno(e, errno, "connection");
}

static int tls_client_read_plain(struct tls_client *client, void *to, size_t max,
	uint64_t deadline_ms, size_t *ret_len, struct err *e)
{
	for (;;) {
		ssize_t n = recv(client->fd, to, max, 0);
		int rc;

		if (n >= 0) {
			*ret_len = (size_t)n;
			return 0;
		}
		if (!tls_would_block(errno)) {
			return tls_client_cut(client, e);
		}
		client->events = POLLIN;
		rc = tls_client_wait(client, deadline_ms, e);
		if (rc != 0) {
			return rc;
		}
	}
}

int tls_client_read(struct tls_client *client, void *to, size_t max, uint64_t deadline_ms,
	size_t *ret_len, struct err *e)
{
	assert(max > 0);
	if (client->ssl == NULL) {
		return tls_client_read_plain(client, to, max, deadline_ms, ret_len, e);
	}
	for (;;) {
		int ret, rc;

		ERR_clear_error();
		ret = SSL_read(client->ssl, to, max > INT32_MAX ? INT32_MAX : (int)max);
		if (ret > 0) {
			*ret_len = (size_t)ret;
			return 0;
		}
		if (SSL_get_error(client->ssl, ret) == SSL_ERROR_ZERO_RETURN) {
			*ret_len = 0;
			return 0;
		}
		rc = tls_client_wait_ssl(client, ret, deadline_ms, e);
		if (rc != 0) {
			return rc;
		}
	}
}

/* One call of the kernel or OpenSSL; 0 with *ret_len 0: wait for client->events, then again. */
static int tls_client_write_once(
	struct tls_client *client, struct bytes bytes, size_t *ret_len, struct err *e)
{
	size_t len =
		bytes.len < TLS_CLIENT_WRITE_BYTES_MAX ? bytes.len : TLS_CLIENT_WRITE_BYTES_MAX;
	ssize_t n;
	int kind;

	*ret_len = 0;
	if (client->ssl == NULL) {
		n = send(client->fd, bytes.data, len, MSG_NOSIGNAL);
		if (n < 0 && !tls_would_block(errno)) {
			return tls_client_cut(client, e);
		}
		client->events = POLLOUT;
	} else {
		ERR_clear_error();
		n = SSL_write(client->ssl, bytes.data, (int)len);
		kind = n > 0 ? SSL_ERROR_NONE : SSL_get_error(client->ssl, (int)n);
		if (kind != SSL_ERROR_NONE && kind != SSL_ERROR_WANT_READ &&
			kind != SSL_ERROR_WANT_WRITE) {
			client->failed = true;
			return tls_ctx_failure(client->ssl, (int)n, e);
		}
		client->events = kind == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
	}
	*ret_len = n > 0 ? (size_t)n : 0;
	return 0;
}

int tls_client_write(
	struct tls_client *client, struct bytes bytes, uint64_t deadline_ms, struct err *e)
{
	while (bytes.len > 0) {
		size_t n;
		int rc = tls_client_write_once(client, bytes, &n, e);

		if (rc == 0 && n == 0) {
			rc = tls_client_wait(client, deadline_ms, e);
		}
		if (rc != 0) {
			return rc;
		}
		bytes = bytes_of(bytes.data + n, bytes.len - n);
	}
	return 0;
}

int tls_client_write_some(
	struct tls_client *client, struct bytes bytes, size_t *ret_len, struct err *e)
{
	size_t n;
	int rc = tls_client_write_once(client, bytes, &n, e);

	if (rc != 0) {
		return rc;
	}
	if (n == 0 && bytes.len > 0) {
		return err_set(e, KLUIS_EAGAIN, "would block");
	}
	*ret_len = n;
	return 0;
}

int tls_client_fd(const struct tls_client *client)
{
	return client->fd;
}

short tls_client_events(const struct tls_client *client)
{
	return client->events;
}

bool tls_client_pending(const struct tls_client *client)
{
	return client->ssl != NULL && SSL_pending(client->ssl) > 0;
}

struct bytes tls_client_alpn(const struct tls_client *client)
{
	const unsigned char *data = NULL;
	unsigned len = 0;

	if (client->ssl != NULL) {
		SSL_get0_alpn_selected(client->ssl, &data, &len);
	}
	return bytes_of(data, len);
}

const char *tls_client_version(const struct tls_client *client)
{
	return client->ssl == NULL ? "plain" : SSL_get_version(client->ssl);
}

void tls_client_peer_spki(const struct tls_client *client, uint8_t to[32])
{
	memcpy(to, client->spki, sizeof client->spki);
}

void tls_client_free(struct tls_client *client)
{
	if (client == NULL) {
		return;
	}
	if (client->ssl != NULL && !client->failed && SSL_is_init_finished(client->ssl)) {
		ERR_clear_error();
		(void)SSL_shutdown(client->ssl); /* Best effort: the socket closes anyway. */
		ERR_clear_error();
	}
	SSL_free(client->ssl);
	tls_ctx_unref(client->ctx);
	if (client->fd >= 0) {
		(void)close(client->fd); /* Nothing is buffered in it. */
	}
	free(client);
}
