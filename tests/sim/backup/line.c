/* backup/sftp.h over plain files: what backup/ship.c calls (the linker's --wrap), so that names,
 * attempts, resuming and the order are the real ones. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/sftp.h"
#include "base/file.h"
#include "tests/sim/backup/fortnight.h"

enum { CUT_BYTES_MAX = 40000, CHUNK_BYTES = 4096 };

struct sftp {
	char *path;
	uint64_t sent;
};

static struct {
	struct site *to; /* NULL: no link. */
	unsigned files;	 /* That still go over it. */
	uint64_t bytes;	 /* Until it breaks. */
	bool cut;
	unsigned puts; /* So far. */
} line;

int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_sftp_open(const struct sftp_target *target, struct sftp **ret_sftp, struct err *e);
void __wrap_sftp_close(struct sftp *sftp);
int __wrap_sftp_list(
	struct sftp *sftp, struct sftp_entry **ret_entries, size_t *ret_n, struct err *e);
int __wrap_sftp_put(struct sftp *sftp, const char *name, int fd, bool sync, struct err *e);
uint64_t __wrap_sftp_bytes_sent(const struct sftp *sftp);

static struct random *line_random(void)
{
	return &line.to->f->chance.random;
}

static uint64_t line_breaks_after(void)
{
	return line.cut ? random_below(line_random(), CUT_BYTES_MAX) : UINT64_MAX;
}

void line_begin(struct site *to, unsigned files, bool cut)
{
	assert(line.to == NULL);
	line.to = to;
	line.files = files;
	line.cut = cut;
	line.puts = 0;
	line.bytes = line_breaks_after();
}

void line_end(void)
{
	assert(line.to != NULL);
	line.to = NULL;
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	/* Back-off takes no time here. */
	return line.to != NULL && n == 0 ? 0 : __real_poll(fds, n, timeout_ms);
}

int __wrap_sftp_open(const struct sftp_target *target, struct sftp **ret_sftp, struct err *e)
{
	struct sftp *sftp;

	assert(line.to != NULL);
	if (line.files == 0 || (line.bytes == 0 && random_below(line_random(), 2) == 0)) {
		return err_set(e, KLUIS_ECONNECT, "no connection");
	}
	if (line.bytes == 0) {
		line.bytes = line_breaks_after();
	}
	sftp = x_calloc(1, sizeof *sftp);
	sftp->path = x_strdup(target->path);
	*ret_sftp = sftp;
	return 0;
}

void __wrap_sftp_close(struct sftp *sftp)
{
	if (sftp != NULL) {
		free(sftp->path);
		free(sftp);
	}
}

static void list_add(struct sftp *sftp, const char *name, struct sftp_entry **rows, size_t *n)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", sftp->path, name);
	struct sftp_entry *row;
	struct stat st;

	if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
		return;
	}
	*rows = x_realloc(*rows, (*n + 1) * sizeof **rows);
	row = &(*rows)[(*n)++];
	(void)snprintf(row->name, sizeof row->name, "%s", name);
	row->bytes = (uint64_t)st.st_size;
}

int __wrap_sftp_list(
	struct sftp *sftp, struct sftp_entry **ret_entries, size_t *ret_n, struct err *e)
{
	struct dirent *entry;
	DIR *dir = opendir(sftp->path);

	*ret_entries = NULL;
	*ret_n = 0;
	if (dir == NULL) {
		return err_set_errno(e, errno, "open '%s'", sftp->path);
	}
	while ((entry = readdir(dir)) != NULL) {
		list_add(sftp, entry->d_name, ret_entries, ret_n);
	}
	(void)closedir(dir); /* Only read. */
	return 0;
}

/* The bytes of `from` until the link breaks or the disk is full. */
static int put_copy(struct sftp *sftp, int from, int to, struct err *e)
{
	uint8_t chunk[CHUNK_BYTES];
	ssize_t n;

	while ((n = read(from, chunk, sizeof chunk)) > 0) {
		size_t len = (uint64_t)n < line.bytes ? (size_t)n : (size_t)line.bytes;

		if (file_write_all(to, bytes_of(chunk, len)) != 0) {
			return err_set_errno(e, errno, "write");
		}
		sftp->sent += len;
		line.bytes -= line.cut ? len : 0;
		if (len < (size_t)n) {
			return err_set(e, KLUIS_ECONNECT, "the link broke");
		}
	}
	return n < 0 ? err_set_errno(e, errno, "read") : 0;
}

/* By the clock of the site it came to, in the order of all. */
static void put_date(int fd)
{
	uint64_t ms = site_wall_ms(line.to) + line.puts++;
	struct timespec when = {
		.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
	struct timespec both[2] = {when, when};

	if (futimens(fd, both) != 0) {
		abort();
	}
}

int __wrap_sftp_put(struct sftp *sftp, const char *name, int fd, bool sync, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", sftp->path, name);
	_cleanup_(x_closep) int to = -1;
	int rc;

	if (line.files == 0) {
		return err_set(e, KLUIS_ECONNECT, "the link broke");
	}
	line.files--;
	to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	if (to < 0) {
		return err_set_errno(e, errno, "create '%s'", path);
	}
	rc = put_copy(sftp, fd, to, e);
	if (rc == 0 && sync && fsync(to) != 0) {
		rc = err_set_errno(e, errno, "fsync '%s'", path);
	}
	put_date(to);
	return rc;
}

uint64_t __wrap_sftp_bytes_sent(const struct sftp *sftp)
{
	return sftp->sent;
}
