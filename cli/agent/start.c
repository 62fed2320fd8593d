#include "cli/agent/start.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "cli/client/agent.h"
#include "cli/client/profile.h"

extern char **environ;

enum { START_POLL_MS = 20, START_SAID_BYTES_MAX = 200 };

/* A session of its own, no descriptor of ours but a pipe for what it says until it is up. */
static int start_spawn(
	const char *program, const char *const *words, int out, pid_t *ret_pid, struct err *e)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, defaults;
	int rv;

	(void)sigemptyset(&none);
	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGPIPE);
	(void)posix_spawnattr_init(&attributes); /* These fail for want of memory alone, and then */
	(void)posix_spawn_file_actions_init(&actions); /* so does posix_spawn(). */
	(void)posix_spawnattr_setsigmask(&attributes, &none);
	(void)posix_spawnattr_setsigdefault(&attributes, &defaults);
	(void)posix_spawnattr_setflags(
		&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	(void)posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	(void)posix_spawn_file_actions_adddup2(&actions, out, STDERR_FILENO);
	(void)posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	(void)posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
	rv = posix_spawn(ret_pid, program == NULL ? "/proc/self/exe" : program, &actions,
		&attributes, (char *const *)words, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attributes);
	return rv == 0 ? 0 : err_set_errno(e, rv, "start the agent");
}

/* Until a whole line, the end, or the deadline. */
static void start_listen(int fd, uint64_t deadline_ms, struct buf *to)
{
	while (to->len < START_SAID_BYTES_MAX) {
		uint64_t now_ms = clock_monotonic_ms(&clock_system);
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		uint8_t c;

		if (now_ms >= deadline_ms ||
			(poll(&poll_fd, 1, (int)(deadline_ms - now_ms)) <= 0 && errno != EINTR)) {
			return;
		}
		if (poll_fd.revents == 0) {
			continue;
		}
		if (read(fd, &c, 1) != 1 || c == '\n') {
			return;
		}
		buf_append(to, &c, 1);
	}
}

/* Whether one answers; any other fault than that there is none ends the waiting. */
static bool start_answers(const char *dir, int *ret_rc, struct err *e)
{
	int fd;

	*ret_rc = agent_dial(dir, &fd, e);
	if (*ret_rc == 0) {
		(void)close(fd);
	}
	return *ret_rc != KLUIS_ENOTFOUND;
}

static int start_one(const char *dir, const char *program, uint64_t idle_ms, uint64_t deadline_ms,
	struct buf *said, struct err *e)
{
	char seconds[24];
	const char *const words[] = {
		"kluis", "agent", "--foreground", "--profile", dir, "--lock-after", seconds, NULL};
	int ends[2], rc;
	pid_t pid;

	(void)snprintf(seconds, sizeof seconds, "%" PRIu64, (idle_ms + 999) / 1000);
	if (pipe2(ends, O_CLOEXEC) != 0) {
		return err_set_errno(e, errno, "pipe");
	}
	rc = start_spawn(program, words, ends[1], &pid, e);
	(void)close(ends[1]);
	if (rc == 0) {
		start_listen(ends[0], deadline_ms, said);
	}
	(void)close(ends[0]);
	return rc;
}

int agent_start(const char *profile_dir, const char *program, uint64_t idle_ms, struct err *e)
{
	uint64_t deadline_ms = clock_monotonic_ms(&clock_system) + AGENT_START_MS;
	_cleanup_(x_freep) char *dir = realpath(profile_dir, NULL);
	_cleanup_(buf_release) struct buf said = BUF_INIT;
	const struct timespec nap = {.tv_nsec = START_POLL_MS * 1000000L};
	int rc = profile_check_dir(profile_dir, e);

	if (rc != 0) {
		return rc;
	}
	if (start_answers(dir, &rc, e)) {
		return rc;
	}
	rc = start_one(dir, program, idle_ms, deadline_ms, &said, e);
	if (rc != 0) {
		return rc;
	}
	/* Ours lost the race when another process started one: that one is as good. */
	while (!start_answers(dir, &rc, e)) {
		if (clock_monotonic_ms(&clock_system) >= deadline_ms) {
			return err_set(e, KLUIS_EIO, "the agent did not come up: %s",
				said.len == 0 ? "it said nothing" : buf_str(&said));
		}
		(void)nanosleep(&nap, NULL);
	}
	return rc;
}
