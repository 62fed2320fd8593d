#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* Of the line of a lock that is held, "1: FLOCK ADVISORY WRITE 42 08:01:131090 0 EOF". The device
 * is not compared: some file systems say another one here than in stat(2). */
static bool lock_line(const char *line, ino_t inode, pid_t *ret_pid)
{
	unsigned long long of;
	int pid;

	if (sscanf(line, "%*s FLOCK %*s WRITE %d %*x:%*x:%llu", &pid, &of) != 2 || of != inode) {
		return false;
	}
	*ret_pid = pid;
	return true;
}

pid_t lock_holder(const char *path)
{
	char line[256];
	struct stat st;
	FILE *locks;
	pid_t pid = 0;

	if (stat(path, &st) != 0) {
		return 0;
	}
	locks = fopen("/proc/locks", "re");
	while (locks != NULL && fgets(line, sizeof line, locks) != NULL &&
		!lock_line(line, st.st_ino, &pid)) {
	}
	if (locks != NULL) {
		(void)fclose(locks); /* Only read. */
	}
	return pid;
}

static int lock_busy(const char *path, struct err *e)
{
	pid_t pid = lock_holder(path);

	return pid > 0 ? err_set(e, KLUIS_EBUSY, "process %d works in '%s'", (int)pid, path)
		       : err_set(e, KLUIS_EBUSY, "another process works in '%s'", path);
}

int lock_take(int fd, const char *path, struct err *e)
{
	int rv;

	do {
		rv = flock(fd, LOCK_EX | LOCK_NB);
	} while (rv != 0 && errno == EINTR);
	if (rv == 0) {
		return 0;
	}
	return errno == EWOULDBLOCK ? lock_busy(path, e)
				    : err_set_errno(e, errno, "lock '%s'", path);
}

int lock_dir(const char *path, int *ret_fd, struct err *e)
{
	_cleanup_(x_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat locked, named;
	int rc;

	if (fd < 0) {
		return err_set_errno(e, errno, "open '%s'", path);
	}
	rc = lock_take(fd, path, e);
	if (rc != 0) {
		return rc;
	}
	/* Who had it may have removed it, and made another one of that name. */
	if (fstat(fd, &locked) != 0 || stat(path, &named) != 0 || locked.st_ino != named.st_ino ||
		locked.st_dev != named.st_dev) {
		return lock_busy(path, e);
	}
	*ret_fd = fd;
	fd = -1;
	return 0;
}
