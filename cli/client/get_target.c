/* Where a fetched file goes. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/random.h"
#include "base/text.h"
#include "cli/client/get.h"

struct get_target {
	const struct get_config *config;
	const char *name; /* As the user knows it. */
	char *path;	  /* What it replaces; NULL: written as it comes. */
	char *dir;	  /* Of path. */
	char *temporary;  /* Beside path; NULL while it has no name. */
	int fd;
	bool written; /* Something of it. */
};

static char *target_temporary(const struct get_target *t)
{
	uint8_t raw[8];
	char hex[HEX_LEN(sizeof raw) + 1];

	random_fill(&random_system, raw, sizeof raw);
	hex_encode(bytes_of(raw, sizeof raw), hex);
	return x_asprintf("%s/.kluis-%s", t->dir, hex);
}

/* The file has no name until it is whole: however the run ends, nothing of it stays. */
static int target_create(struct get_target *t, struct err *e)
{
	t->fd = open(t->dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (t->fd >= 0) {
		return 0;
	}
	if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL) { /* Not there. */
		t->temporary = target_temporary(t);
		t->fd = open(
			t->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	return t->fd >= 0 ? 0 : err_set_errno(e, errno, "create '%s'", t->name);
}

/* Follows a link, as cp and scp do, when the user named it; in a fetched folder it is replaced. */
static int target_find(struct get_target *t, const char *local_path, bool named, struct err *e)
{
	struct stat st;
	const char *slash;

	if (named && stat(local_path, &st) == 0) {
		if (S_ISDIR(st.st_mode)) {
			return err_set(e, KLUIS_EEXIST, "'%s' is a folder", local_path);
		}
		if (!S_ISREG(st.st_mode)) {
			return 0;
		}
		t->path = realpath(local_path, NULL);
	} else if (named && lstat(local_path, &st) == 0) {
		return err_set(e, KLUIS_EEXIST, "'%s' is a symbolic link to nothing", local_path);
	} else {
		t->path = x_strdup(local_path);
	}
	if (t->path == NULL) {
		return err_set_errno(e, errno, "find '%s'", local_path);
	}
	slash = strrchr(t->path, '/');
	t->dir = slash == NULL	    ? x_strdup(".")
		 : slash == t->path ? x_strdup("/")
				    : x_strndup(t->path, (size_t)(slash - t->path));
	return 0;
}

static int target_open(struct get_target *t, const char *local_path, bool named, struct err *e)
{
	int rc = target_find(t, local_path, named, e);

	if (rc != 0 || t->path != NULL) {
		return rc != 0 ? rc : target_create(t, e);
	}
	t->fd = open(local_path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	return t->fd >= 0 ? 0 : err_set_errno(e, errno, "open '%s'", local_path);
}

static int target_write(void *arg, struct bytes bytes, struct err *e)
{
	struct get_target *t = arg;

	t->written = true;
	return file_write_all(t->fd, bytes) == 0 ? 0
						 : err_set_errno(e, errno, "write '%s'", t->name);
}

static void target_progress(void *arg, uint64_t bytes)
{
	struct get_target *t = arg;

	if (t->config->progress != NULL) {
		t->config->progress(t->config->arg, bytes);
	}
}

static int target_stamp(struct get_target *t, const struct tree_file *stat, struct err *e)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};

	if (stat->mtime_ms != 0) {
		times[1].tv_sec = (time_t)(stat->mtime_ms / 1000);
		times[1].tv_nsec = (long)(stat->mtime_ms % 1000) * 1000000;
	}
	if (stat->mode != 0 && !t->config->owner_only && fchmod(t->fd, stat->mode) != 0) {
		return err_set_errno(e, errno, "permissions of '%s'", t->name);
	}
	if (futimens(t->fd, times) != 0 || fsync(t->fd) != 0) {
		return err_set_errno(e, errno, "sync '%s'", t->name);
	}
	return 0;
}

static int target_name(struct get_target *t, struct err *e)
{
	char fd_path[64];

	if (t->temporary == NULL) {
		(void)snprintf(fd_path, sizeof fd_path, "/proc/self/fd/%d", t->fd);
		t->temporary = target_temporary(t);
		if (linkat(AT_FDCWD, fd_path, AT_FDCWD, t->temporary, AT_SYMLINK_FOLLOW) != 0) {
			int why = errno;

			free(t->temporary);
			t->temporary = NULL;
			return err_set_errno(e, why, "name '%s'", t->name);
		}
	}
	if (rename(t->temporary, t->path) != 0) {
		return err_set_errno(e, errno, "rename to '%s'", t->name);
	}
	free(t->temporary);
	t->temporary = NULL;
	return 0;
}

/* fd is the target's to close; what could not be verified stays nowhere. */
static void target_release(struct get_target *t)
{
	if (t->temporary != NULL) {
		(void)unlink(t->temporary); /* The failure is told already. */
	}
	x_closep(&t->fd);
	free(t->temporary);
	free(t->path);
	free(t->dir);
}

static int target_stamp_as(struct get_target *t, const struct tree_item *item, struct err *e)
{
	struct tree_file stat;
	int rc = tree_file_stat(item, &stat, e);

	return rc != 0 ? rc : target_stamp(t, &stat, e);
}

int get_file_to(struct tree *tree, const struct tree_item *item, const char *local_path, bool named,
	const struct get_config *config, bool *ret_local, bool *ret_moved, struct err *e)
{
	struct get_target target = {.config = config, .name = local_path, .fd = -1};
	const struct get_config inner = {
		.write = target_write, .progress = target_progress, .arg = &target};
	int rc = target_open(&target, local_path, named, e);

	*ret_moved = false;
	*ret_local = rc != 0;
	if (rc == 0) {
		rc = get_file(tree, item, &inner, ret_moved, e);
		/* What went into a pipe is not there to be written anew. */
		*ret_moved = *ret_moved && (target.path != NULL || !target.written);
		if (rc == 0 && target.path != NULL) {
			rc = target_stamp_as(&target, item, e);
			rc = rc != 0 ? rc : target_name(&target, e);
			*ret_local = rc != 0 && rc != KLUIS_ENOSPACE;
		}
	}
	target_release(&target);
	return rc;
}

int get_fill_to(const char *local_path, bool named, const struct get_config *config,
	get_fill_fn *fill, void *arg, struct err *e)
{
	const struct tree_file plain = {.mode = 0};
	struct get_target target = {.config = config, .name = local_path, .fd = -1};
	const struct get_config inner = {
		.write = target_write, .progress = target_progress, .arg = &target};
	int rc = target_open(&target, local_path, named, e);

	rc = rc != 0 ? rc : fill(arg, &inner, e);
	if (rc == 0 && target.path != NULL) {
		rc = target_stamp(&target, &plain, e);
		rc = rc != 0 ? rc : target_name(&target, e);
	}
	target_release(&target);
	return rc;
}
