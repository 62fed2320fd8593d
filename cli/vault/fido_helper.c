#include "cli/vault/fido_helper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/client/json_reader.h"
#include "cli/ui/prompt.h"

extern char **environ;

static const char helper_name[] = "kluis-fido", helper_setting[] = "KLUIS_FIDO_HELPER";

/* The caller frees it; NULL with the error set. */
static char *helper_path(struct err *e)
{
	const char *named = getenv(helper_setting);
	char self[4096];
	ssize_t len;
	char *slash;

	if (named != NULL && named[0] != '\0') {
		return x_strdup(named);
	}
	len = readlink("/proc/self/exe", self, sizeof self - 1);
	self[len < 0 ? 0 : len] = '\0';
	slash = strrchr(self, '/');
	if (slash == NULL) { /* Never one of the directory that we happen to be in. */
		(void)err_set(e, KLUIS_EIO, "cannot tell where '%s' lies", helper_name);
		return NULL;
	}
	slash[1] = '\0';
	return x_asprintf("%s%s", self, helper_name);
}

/* fd is its input and output. Our own ends are close-on-exec. */
static int helper_spawn(const char *path, int fd, pid_t *ret_pid, struct err *e)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	char *argv[] = {(char *)path, NULL};
	sigset_t defaults;
	int rv;

	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGPIPE);	 /* Ignored here, and would be there. */
	(void)posix_spawnattr_init(&attributes); /* These fail for want of memory alone, and then */
	(void)posix_spawn_file_actions_init(&actions); /* so does posix_spawn(). */
	(void)posix_spawnattr_setsigdefault(&attributes, &defaults);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	(void)posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
	(void)posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
	rv = posix_spawn(ret_pid, path, &actions, &attributes, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attributes);
	return rv == 0 ? 0
		       : err_set(e, KLUIS_EIO, "run '%s', which speaks with keys: %s", path,
				 strerror(rv));
}

/* One line without its end. KLUIS_EIO: it ended before. */
static int helper_line(int fd, uint64_t deadline_ms, struct buf *to, struct err *e)
{
	buf_clear(to);
	while (to->len < FIDO_HELPER_LINE_BYTES_MAX) {
		uint64_t now_ms = clock_monotonic_ms(&clock_system);
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		uint8_t c;
		int rv = now_ms >= deadline_ms ? 0 : poll(&poll_fd, 1, (int)(deadline_ms - now_ms));

		if (rv == 0) {
			return err_set(e, KLUIS_ETIMEOUT, "the key's program does not answer");
		}
		if (rv < 0 && errno == EINTR) {
			continue;
		}
		if (rv < 0 || read(fd, &c, 1) != 1) {
			return err_set(e, KLUIS_EIO, "the key's program gave no answer");
		}
		if (c == '\n') {
			return 0;
		}
		buf_append(to, &c, 1);
	}
	return err_set(e, KLUIS_EIO, "the key's program says too much");
}

/* Lines until one that is no event. */
static int helper_answer(struct invocation *inv, int fd, json_t **ret_answer)
{
	uint64_t deadline_ms = clock_monotonic_ms(&clock_system) + FIDO_HELPER_WAIT_MS;
	_cleanup_(buf_release) struct buf line = BUF_INIT;

	for (;;) {
		json_t *object;
		const char *event;
		struct err why = {0};
		int rc = helper_line(fd, deadline_ms, &line, &inv->err);

		if (rc != 0) {
			return rc;
		}
		if (json_object_parse(buf_bytes(&line), &object, &why) != 0) {
			return err_set(&inv->err, KLUIS_EIO, "the key's program: %s", why.text);
		}
		event = json_string_value(json_object_get(object, "event"));
		if (event == NULL) {
			*ret_answer = object;
			return 0;
		}
		if (strcmp(event, "touch") == 0) {
			output_note(&inv->out, "Touch the key.");
		}
		json_decref(object);
	}
}

static int helper_talk(struct invocation *inv, int fd, const json_t *request, json_t **ret_answer)
{
	_cleanup_(prompt_secret_release) struct buf text = BUF_INIT;

	buf_reserve(&text, FIDO_HELPER_LINE_BYTES_MAX * 2); /* No growth: no copies of a PIN. */
	json_take_text(json_incref((json_t *)request), &text);
	if (file_write_all(fd, buf_bytes(&text)) != 0 || shutdown(fd, SHUT_WR) != 0) {
		return err_set(&inv->err, KLUIS_EIO, "the key's program takes no request");
	}
	return helper_answer(inv, fd, ret_answer);
}

int fido_helper_run(struct invocation *inv, const json_t *request, json_t **ret_answer)
{
	_cleanup_(x_freep) char *path = helper_path(&inv->err);
	int fds[2], rc;
	pid_t pid;

	if (path == NULL) {
		return KLUIS_EIO;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
		return err_set_errno(&inv->err, errno, "socketpair");
	}
	rc = helper_spawn(path, fds[1], &pid, &inv->err);
	(void)close(fds[1]);
	if (rc == 0) {
		rc = helper_talk(inv, fds[0], request, ret_answer);
		(void)kill(pid, SIGKILL); /* It has answered, or never will. */
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
		}
	}
	(void)close(fds[0]);
	return rc;
}
