#include "cli/vault/editor.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "crypto/secret.h"

static const char *editor_command(void)
{
	const char *visual = getenv("VISUAL"), *editor = getenv("EDITOR");

	return visual != NULL && visual[0] != 0	  ? visual
	       : editor != NULL && editor[0] != 0 ? editor
						  : NULL;
}

static bool editor_in_memory(const char *dir)
{
	struct statfs fs;

	return dir != NULL && dir[0] == '/' && statfs(dir, &fs) == 0 &&
	       (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC) && access(dir, W_OK) == 0;
}

int editor_open(struct editor *editor, const char *name, struct bytes content, struct err *e)
{
	const char *places[] = {getenv("XDG_RUNTIME_DIR"), "/dev/shm"};
	const char *place = NULL;
	_cleanup_(x_freep) char *dir = NULL;
	int rc;

	if (editor_command() == NULL) {
		return err_set(e, KLUIS_EINVAL, "no editor: set VISUAL or EDITOR");
	}
	for (size_t i = 0; i < ARRAY_SIZE(places) && place == NULL; i++) {
		place = editor_in_memory(places[i]) ? places[i] : NULL;
	}
	if (place == NULL) {
		return err_set(e, KLUIS_EINVAL,
			"no file system in memory to edit on (XDG_RUNTIME_DIR, /dev/shm): what is "
			"edited must not reach a disk");
	}
	dir = x_asprintf("%s/kluis-XXXXXX", place);
	if (mkdtemp(dir) == NULL) { /* 0700. */
		return err_set_errno(e, errno, "create '%s'", dir);
	}
	*editor = (struct editor){.dir = dir, .path = x_asprintf("%s/%s", dir, name)};
	dir = NULL;
	rc = file_create(editor->path, content, 0600, e);
	if (rc != 0) {
		editor_close(editor);
	}
	return rc;
}

/* As the shell splits it: EDITOR may be "code --wait". */
static void editor_exec(const struct editor *editor, const char *command)
{
	(void)execl("/bin/sh", "sh", "-c", "exec $0 \"$1\"", command, editor->path, (char *)NULL);
	_exit(127);
}

/* The terminal's signals reach the editor by themselves; who tells us alone to end means it as
 * well. Either way we stay until it has ended, for what it edits has to be overwritten. */
static const int editor_signals[] = {SIGINT, SIGQUIT, SIGHUP, SIGTERM};
static volatile sig_atomic_t editor_child;

static void editor_forward(int number)
{
	int before = errno;

	if (editor_child > 0) {
		(void)kill(editor_child, number);
	}
	errno = before;
}

/* The child of fork(), or -1. *old: as the signals were. */
static pid_t editor_start(const struct editor *editor, const char *command,
	struct sigaction old[ARRAY_SIZE(editor_signals)])
{
	sigset_t blocked, before;
	pid_t child;

	/* Until it is known whom to tell. */
	(void)sigemptyset(&blocked);
	(void)sigaddset(&blocked, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &blocked, &before);
	editor_child = 0;
	for (size_t i = 0; i < ARRAY_SIZE(editor_signals); i++) {
		struct sigaction action = {.sa_handler = SIG_IGN};

		if (editor_signals[i] == SIGTERM) {
			action.sa_handler = editor_forward;
		}
		(void)sigaction(editor_signals[i], &action, &old[i]);
	}
	child = fork();
	if (child == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(editor_signals); i++) {
			(void)sigaction(editor_signals[i], &old[i], NULL);
		}
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		editor_exec(editor, command);
	}
	editor_child = child;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return child;
}

int editor_run(const struct editor *editor, struct buf *ret_content, struct err *e)
{
	const char *command = editor_command();
	struct sigaction old[ARRAY_SIZE(editor_signals)];
	int status = -1;
	pid_t child;

	assert(command != NULL && editor->path != NULL);
	child = editor_start(editor, command, old);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
	}
	editor_child = 0;
	for (size_t i = 0; i < ARRAY_SIZE(editor_signals); i++) {
		(void)sigaction(editor_signals[i], &old[i], NULL);
	}
	if (child < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		return err_set(e, KLUIS_EIO, "the editor '%s' failed", command);
	}
	buf_reserve(ret_content, EDITOR_BYTES_MAX + 128 * 1024); /* No growth: no copies. */
	return file_read(editor->path, EDITOR_BYTES_MAX, ret_content, e);
}

/* What was in it is not left in freed memory of the kernel's. */
static void editor_wipe(int dir_fd, const char *name)
{
	static const uint8_t zeros[4096];
	int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0) {
		return;
	}
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		for (off_t at = 0; at < st.st_size; at += (off_t)sizeof zeros) {
			if (file_write_all(fd, bytes_of(zeros, sizeof zeros)) != 0) {
				break;
			}
		}
	}
	(void)close(fd);
}

void editor_close(struct editor *editor)
{
	DIR *dir = editor->dir == NULL ? NULL : opendir(editor->dir);
	struct dirent *entry;
	struct err ignored = {0};

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		editor_wipe(dirfd(dir), entry->d_name);
	}
	if (dir != NULL) {
		(void)closedir(dir);
		if (file_remove_tree(editor->dir, &ignored) != 0) {
			ignored.code = 0; /* Wiped it is; its name says nothing. */
		}
	}
	free(editor->dir);
	free(editor->path);
	*editor = (struct editor){.dir = NULL};
}

char *editor_keep(struct editor *editor)
{
	char *path = editor->path;

	free(editor->dir);
	*editor = (struct editor){.dir = NULL};
	return path;
}
