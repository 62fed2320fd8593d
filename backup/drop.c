#include "backup/drop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int drop_entry_order(const struct drop_name *a, const struct drop_name *b)
{
	int order = memcmp(a->hash, b->hash, sizeof a->hash);

	if (a->manifest != b->manifest) {
		return a->manifest ? 1 : -1;
	}
	return order;
}

static int drop_entry_compare(const void *left, const void *right)
{
	const struct drop_entry *a = left, *b = right;
	int order = drop_entry_order(&a->name, &b->name);

	if (order != 0) {
		return order;
	}
	return a->name.attempt < b->name.attempt ? -1 : a->name.attempt > b->name.attempt;
}

static void drop_add(struct drop *drop, const char *text)
{
	struct drop_entry entry = {0};
	struct stat st;

	if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0) {
		return;
	}
	if (fstatat(drop->fd, text, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		return; /* Gone since. */
	}
	if (!S_ISREG(st.st_mode) || !drop_name_parse(text, &entry.name)) {
		drop->foreign++;
		drop->foreign_bytes += S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
		return;
	}
	entry.bytes = (uint64_t)st.st_size;
	entry.modified_ms =
		(uint64_t)st.st_mtim.tv_sec * 1000 + (uint64_t)st.st_mtim.tv_nsec / 1000000;
	entry.stand_in = st.st_uid == geteuid() && st.st_blocks == 0 && st.st_size > 0;
	if ((drop->n & (drop->n - 1)) == 0) {
		size_t room = drop->n == 0 ? 1 : 2 * drop->n;

		drop->entries = x_realloc(drop->entries, room * sizeof *drop->entries);
	}
	drop->entries[drop->n++] = entry;
}

int drop_scan(const char *path, struct drop *ret_drop, struct err *e)
{
	struct drop drop = {.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	struct dirent *entry;
	DIR *dir;

	if (drop.fd < 0) {
		return err_set_errno(e, errno, "open drop '%s'", path);
	}
	dir = opendir(path);
	if (dir == NULL) {
		int rc = err_set_errno(e, errno, "read drop '%s'", path);

		(void)close(drop.fd);
		return rc;
	}
	while (drop.n < BACKUP_DROP_FILES_MAX && (entry = readdir(dir)) != NULL) {
		drop_add(&drop, entry->d_name);
	}
	(void)closedir(dir); /* Only read. */
	if (drop.n > 0) {
		qsort(drop.entries, drop.n, sizeof *drop.entries, drop_entry_compare);
	}
	*ret_drop = drop;
	return 0;
}

void drop_release(struct drop *drop)
{
	(void)close(drop->fd); /* A directory. */
	free(drop->entries);
	*drop = (struct drop){.fd = -1};
}

size_t drop_find(const struct drop *drop, bool manifest, const uint8_t hash[32])
{
	struct drop_name wanted = {.manifest = manifest};
	size_t low = 0, high = drop->n;

	memcpy(wanted.hash, hash, sizeof wanted.hash);
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (drop_entry_order(&drop->entries[middle].name, &wanted) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

bool drop_is(const struct drop *drop, size_t at, bool manifest, const uint8_t hash[32])
{
	const struct drop_name *name = &drop->entries[at].name;

	return at < drop->n && name->manifest == manifest &&
	       memcmp(name->hash, hash, sizeof name->hash) == 0;
}

/* The receiver's umask leaves a file readable for us (docs/backup.md, The receiver): one that is
 * not was asked for without that right, which an honest sender never does. */
static bool drop_hidden(const struct drop *drop, const char *text)
{
	struct stat st;

	if (fstatat(drop->fd, text, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		return false;
	}
	return (st.st_mode & (st.st_uid == geteuid() ? S_IRUSR : S_IRGRP)) == 0;
}

int drop_open(const struct drop *drop, const struct drop_entry *entry, int *ret_fd, struct err *e)
{
	char text[DROP_NAME_BYTES];
	struct stat st;
	int fd;

	drop_name_format(&entry->name, text);
	/* Not blocking: somebody may have put a FIFO there since the scan. */
	fd = openat(drop->fd, text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && (errno == ELOOP || (errno == EACCES && drop_hidden(drop, text)))) {
		return err_set(e, KLUIS_ECORRUPT, "'%s' is no file to be read", text);
	}
	if (fd < 0) {
		return err_set_errno(e, errno, "open '%s'", text);
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		(void)close(fd);
		return err_set(e, KLUIS_ECORRUPT, "'%s' is no regular file", text);
	}
	*ret_fd = fd;
	return 0;
}

int drop_remove(struct drop *drop, struct drop_entry *entry, struct err *e)
{
	char text[DROP_NAME_BYTES];

	drop_name_format(&entry->name, text);
	if (unlinkat(drop->fd, text, 0) != 0 && errno != ENOENT) {
		return err_set_errno(e, errno, "remove '%s' from the drop", text);
	}
	entry->gone = true;
	return 0;
}

bool drop_is_empty(const struct drop *drop, const struct drop_entry *entry)
{
	_cleanup_(x_closep) int fd = -1;
	uint8_t first = 1;

	return drop_open(drop, entry, &fd, NULL) == 0 && pread(fd, &first, 1, 0) == 1 && first == 0;
}

int drop_stand_in(struct drop *drop, struct drop_entry *entry, struct err *e)
{
	char text[DROP_NAME_BYTES];
	int fd, rc = drop_remove(drop, entry, e);

	if (rc != 0) {
		return rc;
	}
	drop_name_format(&entry->name, text);
	fd = openat(drop->fd, text, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
	if (fd < 0) {
		return errno == EEXIST ? 0 : err_set_errno(e, errno, "make '%s'", text);
	}
	rc = ftruncate(fd, (off_t)entry->bytes) == 0
		     ? 0
		     : err_set_errno(e, errno, "set the size of '%s'", text);
	(void)close(fd); /* Nothing was written. */
	entry->stand_in = true;
	entry->gone = false;
	return rc;
}

static int drop_foreign(struct drop *drop, const char *text, uint64_t older_than_ms,
	unsigned *removed, struct err *e)
{
	struct drop_name name;
	struct stat st;

	if (fstatat(drop->fd, text, &st, AT_SYMLINK_NOFOLLOW) != 0 || S_ISDIR(st.st_mode) ||
		(S_ISREG(st.st_mode) && drop_name_parse(text, &name)) ||
		(uint64_t)st.st_mtim.tv_sec * 1000 >= older_than_ms) {
		return 0;
	}
	if (unlinkat(drop->fd, text, 0) != 0 && errno != ENOENT) {
		return err_set_errno(e, errno, "remove a file of a foreign name from the drop");
	}
	(*removed)++;
	return 0;
}

int drop_remove_foreign(
	struct drop *drop, uint64_t older_than_ms, unsigned *ret_removed, struct err *e)
{
	int fd = openat(drop->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	unsigned removed = 0;

	if (dir == NULL) {
		rc = err_set_errno(e, errno, "read the drop");
		x_closep(&fd);
		return rc;
	}
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		rc = drop_foreign(drop, entry->d_name, older_than_ms, &removed, e);
	}
	(void)closedir(dir); /* Only read. */
	drop->foreign -= removed < drop->foreign ? removed : drop->foreign;
	drop->foreign_bytes = drop->foreign == 0 ? 0 : drop->foreign_bytes;
	*ret_removed = removed;
	return rc;
}

bool drop_too_large(const struct drop_entry *entry)
{
	return entry->bytes > (uint64_t)(entry->name.manifest ? BACKUP_MANIFEST_BYTES_MAX
							      : BACKUP_OBJECT_BYTES_MAX);
}

size_t drop_files(const struct drop *drop)
{
	size_t n = drop->foreign;

	for (size_t i = 0; i < drop->n; i++) {
		n += !drop->entries[i].gone;
	}
	return n;
}

uint64_t drop_bytes(const struct drop *drop)
{
	uint64_t sum = drop->foreign_bytes;

	for (size_t i = 0; i < drop->n; i++) {
		const struct drop_entry *entry = &drop->entries[i];

		sum += entry->gone || entry->stand_in ? 0 : entry->bytes;
	}
	return sum;
}

uint64_t drop_stand_in_bytes(const struct drop *drop)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < drop->n; i++) {
		const struct drop_entry *entry = &drop->entries[i];

		sum += entry->stand_in && !entry->gone ? entry->bytes : 0;
	}
	return sum;
}
