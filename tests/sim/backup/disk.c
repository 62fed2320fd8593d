#include "tests/sim/backup/disk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum change_kind { CHANGE_CREATE, CHANGE_RENAME, CHANGE_UNLINK, CHANGE_MKDIR };

/* A name whose directory was not synced since. */
struct change {
	enum change_kind kind;
	char *dir, *path;
	char *from;  /* Of a rename. */
	char *grave; /* What the name was before; NULL: nothing. */
	bool lost;
};
/* A file with bytes that were not synced. */
struct unsynced {
	ino_t inode;
	char *path;
};

struct disk {
	struct random *random;
	char *graves;
	uint64_t next_grave, undone;
	struct change *changes;
	size_t n_changes;
	struct unsynced *unsynced;
	size_t n_unsynced;
};

static struct {
	struct disk *disk; /* NULL: no step. */
	struct disk_step step;
	pthread_t thread;
	bool dead;
} now;

int __real_open(const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *bytes, size_t len);
int __real_fsync(int fd);
int __real_fchmod(int fd, mode_t mode);
int __real_rename(const char *from, const char *to);
int __real_unlink(const char *path);
int __real_unlinkat(int dir, const char *name, int flags);
int __real_mkdir(const char *path, mode_t mode);
int __real_remove(const char *path);
int __wrap_open(const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);
int __wrap_fsync(int fd);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);
int __wrap_unlinkat(int dir, const char *name, int flags);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_remove(const char *path);

struct disk *disk_new(struct random *random, const char *graves)
{
	struct disk *disk = x_calloc(1, sizeof *disk);

	disk->random = random;
	disk->graves = x_strdup(graves);
	return disk;
}

static void change_release(struct change *change)
{
	if (change->grave != NULL) {
		(void)__real_unlink(change->grave); /* The tree goes at the end anyway. */
	}
	free(change->dir);
	free(change->path);
	free(change->from);
	free(change->grave);
}

static void disk_forget(struct disk *disk)
{
	for (size_t i = 0; i < disk->n_changes; i++) {
		change_release(&disk->changes[i]);
	}
	for (size_t i = 0; i < disk->n_unsynced; i++) {
		free(disk->unsynced[i].path);
	}
	disk->n_changes = disk->n_unsynced = 0;
}

void disk_free(struct disk *disk)
{
	disk_forget(disk);
	free(disk->changes);
	free(disk->unsynced);
	free(disk->graves);
	free(disk);
}

uint64_t disk_undone(const struct disk *disk)
{
	return disk->undone;
}

void disk_step_begin(struct disk *disk, const struct disk_step *step)
{
	assert(now.disk == NULL);
	now.disk = disk;
	now.step = *step;
	now.thread = pthread_self();
	now.dead = false;
}

bool disk_step_end(void)
{
	assert(now.disk != NULL);
	now.disk = NULL;
	return now.dead;
}

bool disk_coin(void)
{
	return now.disk == NULL || random_below(now.disk->random, 2) == 0;
}

/* --- what is not durable yet ----------------------------------------------------------------- */

static char *disk_parent(const char *path)
{
	const char *slash = strrchr(path, '/');

	assert(slash != NULL);
	return x_strndup(path, (size_t)(slash - path));
}

/* "": unknown. */
static void disk_fd_path(int fd, char to[PATH_MAX])
{
	char link[64];
	ssize_t n;

	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, to, PATH_MAX - 1);
	to[n < 0 ? 0 : n] = 0;
}

/* Another name for what lies at path; NULL: nothing does. */
static char *disk_bury(struct disk *disk, const char *path)
{
	char *grave = x_asprintf("%s/%llu", disk->graves, (unsigned long long)disk->next_grave++);

	if (link(path, grave) != 0) {
		free(grave);
		return NULL;
	}
	return grave;
}

static void change_add(
	struct disk *disk, enum change_kind kind, const char *path, const char *from, char *grave)
{
	disk->changes = x_realloc(disk->changes, (disk->n_changes + 1) * sizeof *disk->changes);
	disk->changes[disk->n_changes++] = (struct change){.kind = kind,
		.dir = disk_parent(path),
		.path = x_strdup(path),
		.from = from == NULL ? NULL : x_strdup(from),
		.grave = grave};
}

/* Its names are durable. */
static void disk_settle(struct disk *disk, const char *dir)
{
	size_t kept = 0;

	for (size_t i = 0; i < disk->n_changes; i++) {
		if (strcmp(disk->changes[i].dir, dir) == 0) {
			change_release(&disk->changes[i]);
		} else {
			disk->changes[kept++] = disk->changes[i];
		}
	}
	disk->n_changes = kept;
}

/* The file has another name now: that its first one was new says nothing any more. */
static void disk_moved(struct disk *disk, const char *from, const char *to)
{
	for (size_t i = 0; i < disk->n_changes; i++) {
		struct change *change = &disk->changes[i];

		if (change->kind == CHANGE_CREATE && strcmp(change->path, from) == 0) {
			change_release(change);
			disk->n_changes--;
			memmove(change, change + 1, (disk->n_changes - i) * sizeof *change);
			break;
		}
	}
	for (size_t i = 0; i < disk->n_unsynced; i++) {
		if (strcmp(disk->unsynced[i].path, from) == 0) {
			free(disk->unsynced[i].path);
			disk->unsynced[i].path = x_strdup(to);
		}
	}
}

static struct unsynced *unsynced_find(struct disk *disk, ino_t inode)
{
	for (size_t i = 0; i < disk->n_unsynced; i++) {
		if (disk->unsynced[i].inode == inode) {
			return &disk->unsynced[i];
		}
	}
	return NULL;
}

/* The name is another file's now, or nobody's. */
static void unsynced_drop_path(struct disk *disk, const char *path)
{
	for (size_t i = disk->n_unsynced; i > 0; i--) {
		struct unsynced *row = &disk->unsynced[i - 1];

		if (strcmp(row->path, path) == 0) {
			free(row->path);
			*row = disk->unsynced[--disk->n_unsynced];
		}
	}
}

static void unsynced_add(struct disk *disk, int fd)
{
	struct unsynced *row;
	struct stat st;
	char path[PATH_MAX];

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		return;
	}
	disk_fd_path(fd, path);
	row = unsynced_find(disk, st.st_ino);
	if (row == NULL) {
		disk->unsynced =
			x_realloc(disk->unsynced, (disk->n_unsynced + 1) * sizeof *disk->unsynced);
		row = &disk->unsynced[disk->n_unsynced++];
		*row = (struct unsynced){.inode = st.st_ino};
	}
	free(row->path); /* An inode is used again when its file is gone. */
	row->path = x_strdup(path);
}

static void unsynced_drop(struct disk *disk, ino_t inode)
{
	struct unsynced *row = unsynced_find(disk, inode);

	if (row != NULL) {
		free(row->path);
		*row = disk->unsynced[--disk->n_unsynced];
	}
}

/* --- the power goes -------------------------------------------------------------------------- */

static void disk_tear(struct disk *disk, const char *path)
{
	struct stat st;
	off_t keep;

	if (stat(path, &st) != 0 || st.st_size == 0 || random_below(disk->random, 4) == 0) {
		return;
	}
	keep = (off_t)random_below(disk->random, (uint64_t)st.st_size);
	if (chmod(path, 0600) != 0 || truncate(path, keep) != 0 ||
		(random_below(disk->random, 2) == 0 && truncate(path, st.st_size) != 0) ||
		chmod(path, st.st_mode & 0777) != 0) {
		perror(path);
		abort();
	}
	disk->undone++;
}

/* Names reach a directory in their order: from the first one that is lost on all are. */
static void disk_lose(struct disk *disk)
{
	uint64_t odds = 1 + random_below(disk->random, 4);

	for (size_t i = 0; i < disk->n_changes; i++) {
		struct change *change = &disk->changes[i];

		change->lost = random_below(disk->random, 4) < odds;
		for (size_t before = 0; before < i && !change->lost; before++) {
			change->lost = disk->changes[before].lost &&
				       strcmp(disk->changes[before].dir, change->dir) == 0;
		}
	}
}

/* A name that an earlier one's undoing took along is no failure. */
static void disk_undo(const struct change *change)
{
	switch (change->kind) {
	case CHANGE_CREATE:
		(void)__real_unlink(change->path);
		break;
	case CHANGE_RENAME:
		(void)__real_rename(change->path, change->from);
		break;
	case CHANGE_UNLINK:
		break;
	case CHANGE_MKDIR:
		if (file_remove_tree(change->path, NULL) != 0) {
			abort();
		}
		break;
	}
	if (change->grave != NULL) {
		(void)link(change->grave, change->path);
	}
}

void disk_power_cut(struct disk *disk)
{
	assert(now.disk == NULL);
	for (size_t i = 0; i < disk->n_unsynced; i++) {
		disk_tear(disk, disk->unsynced[i].path);
	}
	disk_lose(disk);
	for (size_t i = disk->n_changes; i > 0; i--) {
		if (disk->changes[i - 1].lost) {
			disk_undo(&disk->changes[i - 1]);
			disk->undone++;
		}
	}
	disk_forget(disk);
}

/* --- the calls ------------------------------------------------------------------------------- */

enum fate {
	FATE_ON,   /* As usual. */
	FATE_LAST, /* Done, but nobody hears of it: the machine dies in it. */
	FATE_DEAD,
};

static enum fate disk_fate(void)
{
	assert(pthread_equal(now.thread, pthread_self()));
	if (now.dead) {
		return FATE_DEAD;
	}
	if (now.step.fuse != 0 && --now.step.fuse == 0) {
		now.dead = true;
		return random_below(now.disk->random, 2) == 0 ? FATE_LAST : FATE_DEAD;
	}
	return FATE_ON;
}

/* What the caller sees of a call that gave rc. */
static int disk_seen(enum fate fate, int rc)
{
	if (fate == FATE_ON) {
		return rc;
	}
	errno = EIO;
	return -1;
}

int __wrap_open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	enum fate fate;
	bool fresh;
	int fd;

	if ((flags & O_CREAT) != 0) {
		va_list args;

		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	if (now.disk == NULL || (flags & O_CREAT) == 0) {
		return __real_open(path, flags, mode);
	}
	fate = disk_fate();
	if (fate == FATE_DEAD) {
		return disk_seen(fate, 0);
	}
	fresh = access(path, F_OK) != 0;
	fd = __real_open(path, flags, mode);
	if (fd >= 0 && fresh) {
		unsynced_drop_path(now.disk, path);
		change_add(now.disk, CHANGE_CREATE, path, NULL, NULL);
	}
	if (fd >= 0 && fate == FATE_LAST) {
		(void)close(fd); /* Nobody has it. */
	}
	return disk_seen(fate, fd);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
	enum fate fate;
	ssize_t n;

	if (now.disk == NULL || fd <= STDERR_FILENO) {
		return __real_write(fd, bytes, len);
	}
	fate = disk_fate();
	if (fate == FATE_DEAD) {
		return disk_seen(fate, 0);
	}
	if (fate == FATE_LAST) {
		len = (size_t)random_below(now.disk->random, len + 1);
	}
	if (now.step.room == 0 && len > 0) {
		errno = ENOSPC;
		return -1;
	}
	len = len < now.step.room ? len : (size_t)now.step.room;
	now.step.room -= len;
	n = __real_write(fd, bytes, len);
	unsynced_add(now.disk, fd);
	return fate == FATE_ON ? n : disk_seen(fate, 0);
}

int __wrap_fsync(int fd)
{
	struct timespec times[2];
	char path[PATH_MAX];
	enum fate fate;
	struct stat st;

	if (now.disk == NULL) {
		return __real_fsync(fd);
	}
	fate = disk_fate();
	if (fate == FATE_DEAD || fstat(fd, &st) != 0) {
		return disk_seen(FATE_DEAD, 0);
	}
	if (S_ISDIR(st.st_mode)) {
		disk_fd_path(fd, path);
		disk_settle(now.disk, path);
		return disk_seen(fate, 0);
	}
	if (!now.step.unsynced) {
		unsynced_drop(now.disk, st.st_ino);
	}
	times[0] = (struct timespec){.tv_sec = (time_t)(now.step.wall_ms / 1000)};
	times[1] = times[0];
	return disk_seen(fate, futimens(fd, times));
}

int __wrap_fchmod(int fd, mode_t mode)
{
	enum fate fate = now.disk == NULL ? FATE_ON : disk_fate();

	return fate == FATE_DEAD ? disk_seen(fate, 0) : disk_seen(fate, __real_fchmod(fd, mode));
}

int __wrap_rename(const char *from, const char *to)
{
	enum fate fate;
	char *grave;
	int rc;

	if (now.disk == NULL) {
		return __real_rename(from, to);
	}
	fate = disk_fate();
	if (fate == FATE_DEAD) {
		return disk_seen(fate, 0);
	}
	grave = disk_bury(now.disk, to);
	rc = __real_rename(from, to);
	if (rc == 0) {
		unsynced_drop_path(now.disk, to);
		disk_moved(now.disk, from, to);
		change_add(now.disk, CHANGE_RENAME, to, from, grave);
	} else {
		free(grave);
	}
	return disk_seen(fate, rc);
}

int __wrap_unlink(const char *path)
{
	enum fate fate;
	char *grave;
	int rc;

	if (now.disk == NULL) {
		return __real_unlink(path);
	}
	if (access(path, F_OK) != 0) {
		return __real_unlink(path); /* Says what is wrong. */
	}
	fate = disk_fate();
	if (fate == FATE_DEAD) {
		return disk_seen(fate, 0);
	}
	grave = disk_bury(now.disk, path);
	rc = __real_unlink(path);
	if (rc == 0) {
		unsynced_drop_path(now.disk, path);
		change_add(now.disk, CHANGE_UNLINK, path, NULL, grave);
	}
	return disk_seen(fate, rc);
}

int __wrap_unlinkat(int dir, const char *name, int flags)
{
	_cleanup_(x_freep) char *path = NULL;
	char parent[PATH_MAX];

	if (now.disk == NULL) {
		return __real_unlinkat(dir, name, flags);
	}
	assert(flags == 0);
	disk_fd_path(dir, parent);
	path = x_asprintf("%s/%s", parent, name);
	return __wrap_unlink(path);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
	enum fate fate;
	int rc;

	if (now.disk == NULL || access(path, F_OK) == 0) {
		return __real_mkdir(path, mode);
	}
	fate = disk_fate();
	if (fate == FATE_DEAD) {
		return disk_seen(fate, 0);
	}
	rc = __real_mkdir(path, mode);
	if (rc == 0) {
		change_add(now.disk, CHANGE_MKDIR, path, NULL, NULL);
	}
	return disk_seen(fate, rc);
}

/* Of file_remove_tree(): what lies in tmp/ may come back or not, nobody relies on it. */
int __wrap_remove(const char *path)
{
	enum fate fate = now.disk == NULL ? FATE_ON : disk_fate();

	return fate == FATE_DEAD ? disk_seen(fate, 0) : disk_seen(fate, __real_remove(path));
}
