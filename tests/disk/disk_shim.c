#include "tests/disk/disk_shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t each);
void *__libc_realloc(void *p, size_t n);

static char shim_dir[512];
static _Atomic int shim_kind = SHIM_KINDS;
static _Atomic unsigned shim_left;
static _Atomic bool shim_reached;
static int shim_error;

void disk_shim_arm(const char *dir, enum disk_shim_kind kind, unsigned nth, int error)
{
	(void)snprintf(shim_dir, sizeof shim_dir, "%s", dir);
	shim_error = error;
	atomic_store(&shim_reached, false);
	atomic_store(&shim_left, nth);
	atomic_store(&shim_kind, kind);
}

bool disk_shim_disarm(void)
{
	atomic_store(&shim_kind, SHIM_KINDS);
	return atomic_load(&shim_reached);
}

/* Counts one call of kind; true: this one fails, with errno set. */
static bool shim_hits(int kind)
{
	if (atomic_load(&shim_kind) != kind || atomic_load(&shim_left) == 0 ||
		atomic_fetch_sub(&shim_left, 1) != 1) {
		return false;
	}
	atomic_store(&shim_reached, true);
	errno = shim_error;
	return true;
}

static bool shim_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return len > 0 && strncmp(path, dir, len) == 0;
}

static bool shim_path_hits(int kind, const char *path)
{
	return atomic_load(&shim_kind) == kind && shim_below(path, shim_dir) && shim_hits(kind);
}

static bool shim_fd_path(int fd, char path[512])
{
	char link[64];
	ssize_t n;

	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, 511);
	path[n < 0 ? 0 : n] = 0;
	return n > 0;
}

static bool shim_fd_hits(int kind, int fd)
{
	char path[512];
	int saved = errno;
	bool hits = atomic_load(&shim_kind) == kind && shim_fd_path(fd, path) &&
		    shim_below(path, shim_dir);

	errno = saved;
	return hits && shim_hits(kind);
}

/* Says so to whoever set it: a byte more in FILE.slept. */
static void shim_slept(const char *slow)
{
	char path[512];
	int fd;

	(void)snprintf(path, sizeof path, "%s.slept", slow);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd >= 0) {
		(void)!write(fd, "s", 1);
		(void)close(fd);
	}
}

/* As the environment says. */
static void shim_slow(int fd)
{
	const char *dir = getenv("KLUIS_SHIM_DIR"), *slow = getenv("KLUIS_SHIM_SLOW");
	char path[512], text[16] = "";
	int saved = errno, said;
	long ms;

	if (dir == NULL || slow == NULL || !shim_fd_path(fd, path) || !shim_below(path, dir)) {
		errno = saved;
		return;
	}
	said = open(slow, O_RDONLY | O_CLOEXEC);
	if (said >= 0 && read(said, text, sizeof text - 1) > 0) {
		ms = strtol(text, NULL, 10);
		(void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
		shim_slept(slow);
	}
	if (said >= 0) {
		(void)close(said);
	}
	errno = saved;
}

#define SHIM_NEXT(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

/* --- writes --- */

ssize_t write(int fd, const void *data, size_t n)
{
	return shim_fd_hits(SHIM_WRITE, fd) ? -1 : SHIM_NEXT(write)(fd, data, n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	return shim_fd_hits(SHIM_WRITE, fd) ? -1 : SHIM_NEXT(pwrite)(fd, data, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
	return shim_fd_hits(SHIM_WRITE, fd) ? -1 : SHIM_NEXT(pwrite64)(fd, data, n, at);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
	return shim_fd_hits(SHIM_WRITE, fd) ? -1 : SHIM_NEXT(writev)(fd, v, n);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
	return shim_fd_hits(SHIM_WRITE, fd) ? -1 : SHIM_NEXT(pwritev)(fd, v, n, at);
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
	return shim_fd_hits(SHIM_WRITE, fd) ? -1 : SHIM_NEXT(fallocate)(fd, mode, at, n);
}

int ftruncate(int fd, off_t n)
{
	return shim_fd_hits(SHIM_WRITE, fd) ? -1 : SHIM_NEXT(ftruncate)(fd, n);
}

/* --- syncs --- */

int fsync(int fd)
{
	shim_slow(fd);
	return shim_fd_hits(SHIM_SYNC, fd) ? -1 : SHIM_NEXT(fsync)(fd);
}

int fdatasync(int fd)
{
	shim_slow(fd);
	return shim_fd_hits(SHIM_SYNC, fd) ? -1 : SHIM_NEXT(fdatasync)(fd);
}

int sync_file_range(int fd, off64_t at, off64_t n, unsigned flags)
{
	return shim_fd_hits(SHIM_SYNC, fd) ? -1 : SHIM_NEXT(sync_file_range)(fd, at, n, flags);
}

/* --- names --- */

static bool shim_open_hits(const char *path, int flags)
{
	return (flags & O_CREAT) != 0 && shim_path_hits(SHIM_NAME, path);
}

int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = (flags & O_CREAT) != 0 ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return shim_open_hits(path, flags) ? -1 : SHIM_NEXT(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = (flags & O_CREAT) != 0 ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return shim_open_hits(path, flags) ? -1 : SHIM_NEXT(open64)(path, flags, mode);
}

int rename(const char *from, const char *to)
{
	return shim_path_hits(SHIM_NAME, to) ? -1 : SHIM_NEXT(rename)(from, to);
}

int unlink(const char *path)
{
	return shim_path_hits(SHIM_NAME, path) ? -1 : SHIM_NEXT(unlink)(path);
}

int link(const char *from, const char *to)
{
	return shim_path_hits(SHIM_NAME, to) ? -1 : SHIM_NEXT(link)(from, to);
}

int mkdir(const char *path, mode_t mode)
{
	return shim_path_hits(SHIM_NAME, path) ? -1 : SHIM_NEXT(mkdir)(path, mode);
}

/* --- memory --- */

void *malloc(size_t n)
{
	return shim_hits(SHIM_ALLOC) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t each)
{
	return shim_hits(SHIM_ALLOC) ? NULL : __libc_calloc(n, each);
}

void *realloc(void *p, size_t n)
{
	return shim_hits(SHIM_ALLOC) ? NULL : __libc_realloc(p, n);
}
