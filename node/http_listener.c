#include "node/http_listener.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"

enum { BACKLOG = 1024 };

union any_stream {
	uv_stream_t stream;
	uv_tcp_t tcp;
	uv_pipe_t pipe;
};

struct http_listener {
	struct http_server *server;
	uv_loop_t *loop;
	union any_stream handle;
	uv_timer_t retry;
	enum http_door door;
	int fd; /* A second descriptor of the socket: it stays when the handle is closed. */
	char *path;
	bool open, closing;
	unsigned handles;
};

static void surplus_closed_cb(uv_handle_t *handle)
{
	free(handle);
}

static void listener_refuse(struct http_listener *listener)
{
	union any_stream *surplus = x_calloc(1, sizeof *surplus);
	int rc = listener->path == NULL ? uv_tcp_init(listener->loop, &surplus->tcp)
					: uv_pipe_init(listener->loop, &surplus->pipe, 0);

	assert(rc == 0);
	(void)uv_accept(&listener->handle.stream, &surplus->stream); /* Closed in any case. */
	uv_close((uv_handle_t *)surplus, surplus_closed_cb);
}

static void listener_freed(struct http_listener *listener)
{
	struct http_server *server = listener->server;

	if (listener->closing && listener->handles == 0) {
		free(listener->path);
		free(listener);
		http_server_listener_closed(server);
	}
}

static void listener_closed_cb(uv_handle_t *handle)
{
	struct http_listener *listener = handle->data;

	assert(listener->handles > 0);
	listener->handles--;
	listener_freed(listener);
}

static void listener_stop(struct http_listener *listener)
{
	if (listener->open) {
		listener->open = false;
		uv_close((uv_handle_t *)&listener->handle, listener_closed_cb);
	}
}

static void listener_retry_cb(uv_timer_t *timer);

static void listener_connection_cb(uv_stream_t *stream, int status)
{
	struct http_listener *listener = stream->data;

	if (status < 0) {
		/* No descriptor left: libuv would ask again at once, for ever. Let go of the
		 * socket and come back; the kernel keeps the clients waiting meanwhile. */
		log_warn("http accept failed: %s, retrying", uv_strerror(status));
		http_server_accept_error(listener->server);
		listener_stop(listener);
		(void)uv_timer_start(&listener->retry, listener_retry_cb, HTTP_ACCEPT_RETRY_MS, 0);
	} else if (listener->path == NULL && http_server_full(listener->server)) {
		/* Not on the operators' socket: they get in when clients have taken all. */
		listener_refuse(listener);
	} else {
		http_server_accept(listener->server, stream, listener->door);
	}
}

static int listener_init_handle(struct http_listener *listener)
{
	int rc = listener->path == NULL ? uv_tcp_init(listener->loop, &listener->handle.tcp)
					: uv_pipe_init(listener->loop, &listener->handle.pipe, 0);

	assert(rc == 0);
	listener->handle.stream.data = listener;
	listener->open = true;
	listener->handles++;
	return rc;
}

static int listener_adopt(struct http_listener *listener)
{
	int fd = dup(listener->fd);
	int rc;

	if (fd < 0) {
		return -errno;
	}
	(void)listener_init_handle(listener);
	rc = listener->path == NULL ? uv_tcp_open(&listener->handle.tcp, fd)
				    : uv_pipe_open(&listener->handle.pipe, fd);
	if (rc != 0) {
		(void)close(fd);
		return rc;
	}
	return uv_listen(&listener->handle.stream, BACKLOG, listener_connection_cb);
}

static void listener_retry_cb(uv_timer_t *timer)
{
	struct http_listener *listener = timer->data;

	if (listener->closing) {
		return;
	}
	if (listener->handles > 1 || listener_adopt(listener) != 0) {
		listener_stop(listener);
		(void)uv_timer_start(timer, listener_retry_cb, HTTP_ACCEPT_RETRY_MS, 0);
	}
}

static struct http_listener *listener_new(
	struct http_server *server, uv_loop_t *loop, enum http_door door, const char *path)
{
	struct http_listener *listener = x_calloc(1, sizeof *listener);
	int rc = uv_timer_init(loop, &listener->retry);

	assert(rc == 0);
	http_server_listener_opened(server);
	listener->retry.data = listener;
	listener->handles = 1;
	listener->server = server;
	listener->door = door;
	listener->loop = loop;
	listener->fd = -1;
	listener->path = path == NULL ? NULL : x_strdup(path);
	return listener;
}

void http_listener_close(struct http_listener *listener)
{
	assert(!listener->closing);
	listener->closing = true;
	listener_stop(listener);
	uv_close((uv_handle_t *)&listener->retry, listener_closed_cb);
	if (listener->fd >= 0) {
		(void)close(listener->fd);
		if (listener->path != NULL) {
			(void)unlink(listener->path); /* Best effort: a stale file is replaced. */
		}
	}
}

/* Listens on a bound socket; the descriptor is the listener's from here on. */
static int listener_start(struct http_listener *listener, int fd, const char *where, struct err *e)
{
	int rc;

	listener->fd = fd;
	rc = listener_adopt(listener);
	return rc == 0 ? 0 : err_set(e, KLUIS_EIO, "listen on '%s': %s", where, uv_strerror(rc));
}

static int socket_tcp(const char *host, unsigned port, unsigned *ret_port, struct err *e)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address;
	socklen_t len = sizeof address;
	int fd, on = 1;

	if (uv_ip4_addr(host, (int)port, &address.v4) != 0 &&
		uv_ip6_addr(host, (int)port, &address.v6) != 0) {
		return err_set(e, KLUIS_EINVAL, "'%s' is not an address", host);
	}
	fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		return err_set_errno(e, errno, "socket for '%s'", host);
	}
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
		bind(fd, &address.any,
			address.any.sa_family == AF_INET ? sizeof address.v4 : sizeof address.v6) !=
			0 ||
		listen(fd, BACKLOG) != 0 || getsockname(fd, &address.any, &len) != 0) {
		int rc = err_set_errno(e, errno, "listen on '%s' port %u", host, port);

		(void)close(fd);
		return rc;
	}
	*ret_port = ntohs(
		address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
	return fd;
}

int http_listener_tcp(struct http_server *server, uv_loop_t *loop, enum http_door door,
	const char *host, unsigned port, struct http_listener **ret_listener, unsigned *ret_port,
	struct err *e)
{
	struct http_listener *listener;
	unsigned bound = 0;
	int rc = socket_tcp(host, port, &bound, e);

	if (rc < 0) {
		return rc;
	}
	listener = listener_new(server, loop, door, NULL);
	rc = listener_start(listener, rc, host, e);
	if (rc != 0) {
		http_listener_close(listener);
		return rc;
	}
	*ret_listener = listener;
	*ret_port = bound;
	return 0;
}

/* Replaces a socket file that nobody listens on any more; nothing else. */
static int socket_file_clear(const struct sockaddr_un *address, struct err *e)
{
	struct stat st;
	int fd, rc;

	if (lstat(address->sun_path, &st) != 0) {
		return errno == ENOENT ? 0
				       : err_set_errno(e, errno, "stat '%s'", address->sun_path);
	}
	if (!S_ISSOCK(st.st_mode)) {
		return err_set(e, KLUIS_EEXIST, "'%s' is no socket", address->sun_path);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return err_set_errno(e, errno, "socket");
	}
	rc = connect(fd, (const struct sockaddr *)address, sizeof *address);
	(void)close(fd);
	if (rc == 0) {
		return err_set(
			e, KLUIS_EBUSY, "'%s' is served by another process", address->sun_path);
	}
	return unlink(address->sun_path) == 0
		       ? 0
		       : err_set_errno(e, errno, "remove '%s'", address->sun_path);
}

static int socket_unix(const char *path, gid_t group, struct err *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, rc;

	if (strlen(path) >= sizeof address.sun_path) {
		return err_set(e, KLUIS_EINVAL, "'%s' is longer than %zu bytes", path,
			sizeof address.sun_path - 1);
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	rc = socket_file_clear(&address, e);
	if (rc != 0) {
		return rc;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		return err_set_errno(e, errno, "socket");
	}
	/* Nobody can connect before listen(), so the mode is right before it counts. */
	if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
		(group != (gid_t)-1 && chown(path, (uid_t)-1, group) != 0) ||
		chmod(path, 0660) != 0 || listen(fd, BACKLOG) != 0) {
		rc = err_set_errno(e, errno, "listen on '%s'", path);
		(void)close(fd);
		return rc;
	}
	return fd;
}

int http_listener_unix(struct http_server *server, uv_loop_t *loop, const char *path, gid_t group,
	struct http_listener **ret_listener, struct err *e)
{
	struct http_listener *listener;
	int rc = socket_unix(path, group, e);

	if (rc < 0) {
		return rc;
	}
	listener = listener_new(server, loop, HTTP_OPERATORS, path);
	rc = listener_start(listener, rc, path, e);
	if (rc != 0) {
		http_listener_close(listener);
		return rc;
	}
	*ret_listener = listener;
	return 0;
}
