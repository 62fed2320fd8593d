#include "base/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"

static int read_all(int fd, const char *name, size_t max, struct buf *to, struct err *e)
{
	size_t before = to->len;

	for (;;) {
		size_t chunk = 64 * 1024, room = max - (to->len - before) + 1;
		ssize_t n;

		buf_reserve(to, chunk);
		n = read(fd, to->data + to->len, room < chunk ? room : chunk);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			to->len = before;
			return err_set_errno(e, errno, "read '%s'", name);
		}
		if (n == 0) {
			return 0;
		}
		to->len += (size_t)n;
		if (to->len - before > max) {
			to->len = before;
			return err_set(
				e, KLUIS_ETOOLARGE, "'%s' is larger than %zu bytes", name, max);
		}
	}
}

int file_read(const char *path, size_t max, struct buf *to, struct err *e)
{
	_cleanup_(x_closep) int fd = -1;

	if (path == NULL) {
		return read_all(STDIN_FILENO, "standard input", max, to, e);
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? err_set_errno(e, errno, "open '%s'", path) : read_all(fd, path, max, to, e);
}

/* false: it was not on. */
static bool file_end_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_DIRECT) != 0 && fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

int file_write_all(int fd, struct bytes bytes)
{
	while (bytes.len > 0) {
		ssize_t n = FAULT_POINT("file.write") ? (errno = EIO, -1)
						      : write(fd, bytes.data, bytes.len);

		if (n < 0 && (errno == EINTR || (errno == EINVAL && file_end_direct(fd)))) {
			continue;
		}
		if (n < 0) {
			return KLUIS_EIO;
		}
		bytes.data += n;
		bytes.len -= (size_t)n;
	}
	return 0;
}

void file_set_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0) {
		(void)fcntl(fd, F_SETFL, flags | O_DIRECT); /* Refused: as without. */
	}
}

void file_write_behind(int fd)
{
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* Whoever needs it calls fsync. */
}

int file_sync_dir(const char *path, struct err *e)
{
	_cleanup_(x_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		return err_set_errno(e, errno, "open directory '%s'", path);
	}
	if (FAULT_POINT("file.sync_dir") || fsync(fd) != 0) {
		return err_set_errno(e, errno, "fsync directory '%s'", path);
	}
	return 0;
}

static int file_sync_parent(const char *path, struct err *e)
{
	_cleanup_(x_freep) char *copy = x_strdup(path);
	char *slash = strrchr(copy, '/');

	if (slash == NULL) {
		return file_sync_dir(".", e);
	}
	slash[slash == copy ? 1 : 0] = 0;
	return file_sync_dir(copy, e);
}

static int file_write_synced(const char *path, int fd, struct bytes bytes, struct err *e)
{
	if (file_write_all(fd, bytes) != 0) {
		return err_set_errno(e, errno, "write '%s'", path);
	}
	if (FAULT_POINT("file.sync") || fsync(fd) != 0) {
		return err_set_errno(e, errno, "fsync '%s'", path);
	}
	return 0;
}

static int file_put(const char *path, struct bytes bytes, mode_t mode, bool replace, struct err *e)
{
	_cleanup_(x_freep) char *temporary = x_asprintf("%s.tmp-%ld", path, (long)getpid());
	int fd, rc;

	(void)unlink(temporary); /* Left by a crashed run with the same pid. */
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0) {
		return err_set_errno(e, errno, "create '%s'", temporary);
	}
	rc = file_write_synced(temporary, fd, bytes, e);
	(void)close(fd); /* Synced, or already failed. */
	if (rc == 0 && replace && rename(temporary, path) != 0) {
		rc = err_set_errno(e, errno, "rename to '%s'", path);
	}
	if (rc == 0 && !replace && link(temporary, path) != 0) {
		rc = err_set_errno(e, errno, "create '%s'", path);
	}
	if (rc != 0 || !replace) {
		(void)unlink(temporary); /* Rubbish at worst: the name is never read. */
	}
	return rc != 0 ? rc : file_sync_parent(path, e);
}

int file_write(const char *path, struct bytes bytes, mode_t mode, struct err *e)
{
	return file_put(path, bytes, mode, true, e);
}

int file_create(const char *path, struct bytes bytes, mode_t mode, struct err *e)
{
	return file_put(path, bytes, mode, false, e);
}

int file_make_dirs(const char *path, mode_t mode, struct err *e)
{
	_cleanup_(x_freep) char *copy = x_strdup(path);

	for (char *at = copy + 1;; at++) {
		char c = *at;

		if (c != '/' && c != 0) {
			continue;
		}
		*at = 0;
		if (mkdir(copy, mode) != 0 && errno != EEXIST) {
			return err_set_errno(e, errno, "create directory '%s'", copy);
		}
		*at = c;
		if (c == 0) {
			break;
		}
	}
	return 0;
}

static int file_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int file_remove_tree(const char *path, struct err *e)
{
	if (nftw(path, file_remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) {
		return err_set_errno(e, errno, "remove '%s'", path);
	}
	return 0;
}

bool file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

bool file_is_lost(int errnum)
{
	return errnum == EIO || errnum == EBADMSG || errnum == EUCLEAN;
}
