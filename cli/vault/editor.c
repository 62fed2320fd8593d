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

int editor_run(const struct editor *editor, struct buf *ret_content, struct err *e)
{
	const char *command = editor_command();
	struct sigaction ignore = {.sa_handler = SIG_IGN}, old[3];
	const int signals[] = {SIGINT, SIGQUIT, SIGHUP};
	int status = -1;
	pid_t child;

	assert(command != NULL && editor->path != NULL);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		(void)sigaction(signals[i], &ignore, &old[i]);
	}
	child = fork();
	if (child == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
			(void)sigaction(signals[i], &old[i], NULL);
		}
		editor_exec(editor, command);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
	}
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		(void)sigaction(signals[i], &old[i], NULL);
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
