/* --ssh: a node's admin socket on another machine, through that machine's sshd: `ssh` runs there
 * `kluisctl admin-proxy`, and its standard input and output are the connection. */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/ops/ops.h"

extern char **environ;

/* It becomes an argument of ssh, which must not take it for an option (or for one of its own that
 * runs a command). */
static bool ssh_host_valid(const char *host)
{
	size_t len = strlen(host);

	return len > 0 && len <= 255 && host[0] != '-' &&
	       strspn(host,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@:-") ==
		       len;
}

/* Our own ends stay close-on-exec; dup2() clears that for the two that ssh gets. */
static int ssh_spawn(const char *host, int fd)
{
	const char *const words[] = {"ssh", "-T", "-o", "StrictHostKeyChecking=yes", "-o",
		"ForwardAgent=no", "-o", "ClearAllForwardings=yes", "--", host, "kluisctl",
		"admin-proxy", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	char *argv[ARRAY_SIZE(words)];
	sigset_t defaults;
	pid_t pid;
	int rv;

	memcpy(argv, words, sizeof argv); /* posix_spawn() changes none of them. */
	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGPIPE); /* Both are ignored here, and would be there. */
	(void)sigaddset(&defaults, SIGCHLD);
	(void)posix_spawnattr_init(&attributes); /* These fail for want of memory alone, and then */
	(void)posix_spawn_file_actions_init(&actions); /* so does posix_spawnp(). */
	(void)posix_spawnattr_setsigdefault(&attributes, &defaults);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	(void)posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
	(void)posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
	rv = posix_spawnp(&pid, "ssh", &actions, &attributes, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attributes);
	return rv;
}

int ops_ssh_dial(const void *arg, int *ret_fd, struct err *e)
{
	const char *host = arg;
	int fds[2], rv;

	if (!ssh_host_valid(host)) {
		return err_set(e, KLUIS_EINVAL, "--ssh: '%s' is no user@host", host);
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
		return err_set_errno(e, errno, "socketpair");
	}
	(void)signal(SIGCHLD, SIG_IGN); /* Nobody waits for it: it ends with its connection. */
	rv = ssh_spawn(host, fds[1]);
	(void)close(fds[1]);
	if (rv != 0) {
		(void)close(fds[0]);
		return err_set(e, KLUIS_ECONNECT, "run ssh: %s", strerror(rv));
	}
	*ret_fd = fds[0];
	return 0;
}
