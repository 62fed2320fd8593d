#include "tests/lib/program.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/lib/test.h"

enum { PROGRAM_SECONDS = 120 };

static void program_child(const char *const *argv, int in, int out)
{
	(void)signal(SIGPIPE, SIG_DFL);
	(void)alarm(PROGRAM_SECONDS); /* Survives exec. */
	if (dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2) {
		(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
	}
	_exit(127);
}

static void program_collect(int fd, struct buf *to)
{
	for (;;) {
		ssize_t n;

		buf_reserve(to, 4096);
		n = read(fd, to->data + to->len, 4096);
		if (n <= 0) {
			break;
		}
		to->len += (size_t)n;
	}
}

int program_run(const char *const *argv, const char *input, struct buf *to)
{
	int in[2], out[2], status;
	pid_t pid;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		program_child(argv, in[0], out[1]);
	}
	(void)close(in[0]);
	(void)close(out[1]);
	if (file_write_all(in[1], bytes_str(input)) != 0) {
		/* It did not read all: its output says what it made of that. */
	}
	(void)close(in[1]);
	program_collect(out[0], to);
	(void)close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool program_exists(const char *name)
{
	_cleanup_(x_freep) char *path = x_strdup(getenv("PATH"));
	char *save = NULL;

	for (char *dir = strtok_r(path, ":", &save); dir != NULL;
		dir = strtok_r(NULL, ":", &save)) {
		_cleanup_(x_freep) char *file = x_asprintf("%s/%s", dir, name);

		if (access(file, X_OK) == 0) {
			return true;
		}
	}
	return false;
}
