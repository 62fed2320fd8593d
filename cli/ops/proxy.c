/* kluisctl admin-proxy: joins standard input and output to the admin socket, at the other end of
 * `kluisctl --ssh`. */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/ops/ops.h"
#include "crypto/tls_client.h"

/* A pipe that poll(2) calls writable takes this much without waiting (pipe(7), PIPE_BUF). */
enum { PROXY_BYTES = 4096 };

/* One direction: what was read and not yet written. */
struct proxy_way {
	int from, to;
	uint8_t bytes[PROXY_BYTES];
	size_t at, len;
	bool ended; /* Nothing more will be read. */
};

static int proxy_failure(struct invocation *inv, const char *what)
{
	if (errno == EAGAIN || errno == EINTR) {
		return 0; /* The next round tries again. */
	}
	return err_set_errno(&inv->err, errno, "%s", what);
}

static int proxy_read(struct invocation *inv, struct proxy_way *way)
{
	ssize_t n = read(way->from, way->bytes, sizeof way->bytes);

	if (n < 0) {
		return proxy_failure(inv, "read");
	}
	way->at = 0;
	way->len = (size_t)n;
	way->ended = n == 0;
	return 0;
}

static int proxy_write(struct invocation *inv, struct proxy_way *way)
{
	ssize_t n = write(way->to, way->bytes + way->at, way->len - way->at);

	if (n < 0) {
		return proxy_failure(inv, "write");
	}
	way->at += (size_t)n;
	return 0;
}

static bool proxy_full(const struct proxy_way *way)
{
	return way->at < way->len;
}

/* What this direction waits for: at its source, or with bytes in hand at its target. */
static struct pollfd proxy_wish(const struct proxy_way *way)
{
	if (proxy_full(way)) {
		return (struct pollfd){.fd = way->to, .events = POLLOUT};
	}
	return (struct pollfd){.fd = way->ended ? -1 : way->from, .events = POLLIN};
}

static int proxy_step(struct invocation *inv, struct proxy_way *way, const struct pollfd *found)
{
	if (found->fd < 0 || found->revents == 0) {
		return 0;
	}
	return proxy_full(way) ? proxy_write(inv, way) : proxy_read(inv, way);
}

/* Until the node has ended its side, and all of it was handed on. */
static int proxy_join(struct invocation *inv, int node)
{
	struct proxy_way up = {.from = STDIN_FILENO, .to = node};
	struct proxy_way down = {.from = node, .to = STDOUT_FILENO};
	bool told = false;
	int rc = 0;

	while (rc == 0 && (!down.ended || proxy_full(&down))) {
		struct pollfd wishes[] = {proxy_wish(&up), proxy_wish(&down)};

		if (poll(wishes, ARRAY_SIZE(wishes), -1) < 0 && errno != EINTR) {
			return err_set_errno(&inv->err, errno, "poll");
		}
		rc = proxy_step(inv, &down, &wishes[1]);
		if (rc == 0 && proxy_step(inv, &up, &wishes[0]) != 0) {
			up.ended = true; /* The node takes no more; what it says still counts. */
			up.at = up.len = 0;
		}
		if (up.ended && !proxy_full(&up) && !told) {
			(void)shutdown(node, SHUT_WR); /* Closed already: the same to it. */
			told = true;
		}
	}
	return rc;
}

int ops_admin_proxy(struct invocation *inv)
{
	struct tls_client *node;
	int rc = tls_client_connect_unix(ops_socket(inv, 0), &node, &inv->err);

	if (rc == 0) {
		rc = proxy_join(inv, tls_client_fd(node));
		tls_client_free(node);
	}
	return rc;
}
