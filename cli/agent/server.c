#include "cli/agent/server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "cli/agent/store.h"
#include "cli/client/agent.h"
#include "cli/client/profile.h"

enum { SERVER_BACKLOG = 64, SERVER_FIXED_FDS = 3 };

/* One request and its answer on their way. */
struct conn {
	int fd;
	uint64_t deadline_ms;
	uint8_t length[AGENT_LENGTH_BYTES];
	size_t got; /* Of length and frame together. */
	struct secret frame, answer;
	size_t sent;
};

struct server {
	int dir_fd, lock_fd, listen_fd, timer_fd, signal_fd;
	bool bound, stop;
	struct store *store;
	struct conn conns[AGENT_CONNECTIONS_MAX];
	size_t n_conns;
};

/* Time that passes while the machine sleeps, too: a laptop closed for the night was idle. */
static uint64_t server_now_ms(void)
{
	struct timespec now;
	int rc = clock_gettime(CLOCK_BOOTTIME, &now);

	assert(rc == 0);
	(void)rc;
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void conn_end(struct server *server, size_t at)
{
	struct conn *conn = &server->conns[at];

	(void)close(conn->fd);
	secret_release(&conn->frame);
	secret_release(&conn->answer);
	*conn = server->conns[--server->n_conns];
	server->conns[server->n_conns] = (struct conn){0};
}

/* True: call again when there is more. */
static bool conn_read(struct conn *conn)
{
	bool in_length = conn->got < AGENT_LENGTH_BYTES;
	uint8_t *to = in_length ? conn->length + conn->got
				: conn->frame.data + (conn->got - AGENT_LENGTH_BYTES);
	size_t want = in_length ? AGENT_LENGTH_BYTES - conn->got
				: conn->frame.len - (conn->got - AGENT_LENGTH_BYTES);
	ssize_t n = read(conn->fd, to, want);

	if (n < 0) {
		return errno == EAGAIN || errno == EINTR;
	}
	if (n == 0) {
		return false;
	}
	conn->got += (size_t)n;
	if (in_length && conn->got == AGENT_LENGTH_BYTES) {
		size_t len = load_u32(conn->length);

		if (len == 0 || len > AGENT_FRAME_BYTES_MAX) {
			return false;
		}
		secret_init(&conn->frame, len);
	}
	return true;
}

static bool conn_complete(const struct conn *conn)
{
	return conn->frame.len > 0 && conn->got == AGENT_LENGTH_BYTES + conn->frame.len;
}

/* False when all was sent, or nobody takes it. */
static bool conn_write(struct conn *conn)
{
	ssize_t n = send(conn->fd, conn->answer.data + conn->sent, conn->answer.len - conn->sent,
		MSG_NOSIGNAL);

	if (n < 0) {
		return errno == EAGAIN || errno == EINTR;
	}
	conn->sent += (size_t)n;
	return conn->sent < conn->answer.len;
}

/* False: the connection ends. */
static bool conn_step(struct server *server, struct conn *conn)
{
	if (conn->answer.len > 0) {
		return conn_write(conn);
	}
	if (!conn_read(conn)) {
		return false;
	}
	if (!conn_complete(conn)) {
		return true;
	}
	store_answer(server->store, server_now_ms(), secret_bytes(&conn->frame), &conn->answer,
		&server->stop);
	secret_release(&conn->frame);
	return conn_write(conn);
}

/* The directory keeps strangers out; whoever comes in all the same must be of this user. */
static bool server_peer_ours(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == geteuid();
}

static void server_accept(struct server *server)
{
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		return;
	}
	if (!server_peer_ours(fd)) {
		(void)close(fd);
		return;
	}
	assert(server->n_conns < AGENT_CONNECTIONS_MAX);
	server->conns[server->n_conns++] =
		(struct conn){.fd = fd, .deadline_ms = server_now_ms() + AGENT_REQUEST_MS};
}

/* Locks when it is time, and has the timer fire when it is the next. */
static void server_tick(struct server *server)
{
	uint64_t at_ms = store_tick(server->store, server_now_ms(), &server->stop) + 1;
	struct itimerspec at = {.it_value = {.tv_sec = (time_t)(at_ms / 1000),
					.tv_nsec = (long)(at_ms % 1000) * 1000000}};
	int rc = timerfd_settime(server->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);

	assert(rc == 0);
	(void)rc;
}

static void server_drop_late(struct server *server, int *ret_wait_ms)
{
	uint64_t now_ms = server_now_ms();

	*ret_wait_ms = -1;
	for (size_t i = server->n_conns; i-- > 0;) {
		uint64_t deadline_ms = server->conns[i].deadline_ms;

		if (deadline_ms <= now_ms) {
			conn_end(server, i);
		} else if (*ret_wait_ms < 0 || deadline_ms - now_ms < (uint64_t)*ret_wait_ms) {
			*ret_wait_ms = (int)(deadline_ms - now_ms);
		}
	}
}

static void server_wait(struct server *server, struct pollfd *fds)
{
	int wait_ms;

	server_drop_late(server, &wait_ms);
	/* No more at once than there is locked memory for: the others wait in the backlog. */
	fds[0] = (struct pollfd){
		.fd = server->n_conns < AGENT_CONNECTIONS_MAX ? server->listen_fd : -1,
		.events = POLLIN};
	fds[1] = (struct pollfd){.fd = server->timer_fd, .events = POLLIN};
	fds[2] = (struct pollfd){.fd = server->signal_fd, .events = POLLIN};
	for (size_t i = 0; i < server->n_conns; i++) {
		const struct conn *conn = &server->conns[i];

		fds[SERVER_FIXED_FDS + i] = (struct pollfd){
			.fd = conn->fd, .events = conn->answer.len > 0 ? POLLOUT : POLLIN};
	}
	if (poll(fds, SERVER_FIXED_FDS + server->n_conns, wait_ms) < 0) {
		assert(errno == EINTR);
		memset(fds, 0, (SERVER_FIXED_FDS + AGENT_CONNECTIONS_MAX) * sizeof *fds);
	}
}

static void server_loop(struct server *server)
{
	struct pollfd fds[SERVER_FIXED_FDS + AGENT_CONNECTIONS_MAX];

	while (!server->stop) {
		server_tick(server);
		server_wait(server, fds);
		if (fds[2].revents != 0) {
			server->stop = true;
		}
		/* From the last to the first: one that ends is replaced by the last. */
		for (size_t i = server->n_conns; i-- > 0;) {
			if (fds[SERVER_FIXED_FDS + i].revents != 0 &&
				!conn_step(server, &server->conns[i])) {
				conn_end(server, i);
			}
		}
		if (fds[0].revents != 0) {
			server_accept(server);
		}
	}
}

/* The lock says who the agent is; a socket without one is of an agent that died. */
static int server_lock(struct server *server, struct err *e)
{
	int rc;

	server->lock_fd = openat(
		server->dir_fd, "agent.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (server->lock_fd < 0) {
		return err_set_errno(e, errno, "open agent.lock");
	}
	rc = lock_take(server->lock_fd, "agent.lock", e);
	return rc == KLUIS_EBUSY ? err_set(e, KLUIS_EEXIST, "the profile has an agent already")
				 : rc;
}

static int server_listen(struct server *server, struct err *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t before;
	int rc;

	server->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (server->listen_fd < 0) {
		return err_set_errno(e, errno, "socket");
	}
	(void)unlinkat(server->dir_fd, AGENT_SOCKET, 0); /* bind() tells. */
	(void)snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s",
		server->dir_fd, AGENT_SOCKET);
	before = umask(0177); /* The file is born 0600. */
	rc = bind(server->listen_fd, (struct sockaddr *)&address, sizeof address);
	(void)umask(before);
	if (rc != 0) {
		return err_set_errno(e, errno, "bind '%s'", AGENT_SOCKET);
	}
	server->bound = true;
	return listen(server->listen_fd, SERVER_BACKLOG) == 0 ? 0
							      : err_set_errno(e, errno, "listen");
}

static int server_events(struct server *server, struct err *e)
{
	sigset_t signals;

	(void)sigemptyset(&signals); /* These cannot fail for signals that exist. */
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	server->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	server->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	return server->signal_fd < 0 || server->timer_fd < 0
		       ? err_set_errno(e, errno, "signals and timer")
		       : 0;
}

static int server_open(struct server *server, const char *dir, struct err *e)
{
	int rc = profile_check_dir(dir, e);

	if (rc != 0) {
		return rc;
	}
	server->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (server->dir_fd < 0) {
		return err_set_errno(e, errno, "open '%s'", dir);
	}
	rc = server_lock(server, e);
	rc = rc != 0 ? rc : server_events(server, e);
	return rc != 0 ? rc : server_listen(server, e);
}

/* The secrets first; the name before the lock, so that it never names a stranger's socket. */
static void server_close(struct server *server)
{
	store_free(server->store);
	while (server->n_conns > 0) {
		conn_end(server, server->n_conns - 1);
	}
	if (server->bound) {
		(void)unlinkat(server->dir_fd, AGENT_SOCKET, 0); /* Its lock tells that it died. */
	}
	x_closep(&server->listen_fd);
	x_closep(&server->timer_fd);
	x_closep(&server->signal_fd);
	x_closep(&server->lock_fd);
	x_closep(&server->dir_fd);
}

int server_run(const struct server_config *config, struct err *e)
{
	struct server server = {
		.dir_fd = -1, .lock_fd = -1, .listen_fd = -1, .timer_fd = -1, .signal_fd = -1};
	int rc = server_open(&server, config->profile_dir, e);

	if (rc == 0 && chdir("/") != 0) { /* It is in nobody's way when a place is unmounted. */
		rc = err_set_errno(e, errno, "chdir '/'");
	}
	if (rc == 0) {
		server.store = store_new(config->idle_ms, server_now_ms());
		if (config->ready != NULL) {
			config->ready(config->arg);
		}
		server_loop(&server);
	}
	server_close(&server);
	return rc;
}
