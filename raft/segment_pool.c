#include "raft/segment_pool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "raft/fail_stop.h"

void segment_pool_init(struct segment_pool *pool, const char *dir, uint32_t segment_bytes)
{
	assert(segment_bytes > SEGMENT_HEAD_BYTES && segment_bytes % SEGMENT_HEAD_BYTES == 0);
	*pool = (struct segment_pool){
		.dir = x_strdup(dir), .segment_bytes = segment_bytes, .preparing_fd = -1};
	(void)pthread_mutex_init(&pool->lock, NULL);
}

void segment_pool_release(struct segment_pool *pool)
{
	if (pool->preparing_fd >= 0) {
		(void)close(pool->preparing_fd); /* Half filled: removed at the next start. */
	}
	for (unsigned i = 0; i < pool->n_free; i++) {
		free(pool->free_paths[i]);
	}
	free(pool->dir);
	(void)pthread_mutex_destroy(&pool->lock);
}

/* Takes path. The caller holds no lock. */
static void pool_put(struct segment_pool *pool, char *path)
{
	bool kept;

	(void)pthread_mutex_lock(&pool->lock);
	kept = pool->n_free < SEGMENTS_FREE_MAX;
	if (kept) {
		pool->free_paths[pool->n_free++] = path;
	}
	(void)pthread_mutex_unlock(&pool->lock);
	if (!kept) {
		if (unlink(path) != 0) {
			log_warn("op=log_pool msg=\"remove '%s': %s, ignoring\"", path,
				strerror(errno));
		}
		free(path);
	}
}

static char *pool_name(struct segment_pool *pool)
{
	char *path;

	(void)pthread_mutex_lock(&pool->lock);
	path = x_asprintf("%s/free-%016" PRIx64, pool->dir, ++pool->next_name);
	(void)pthread_mutex_unlock(&pool->lock);
	return path;
}

static void pool_rename(const char *from, const char *to)
{
	if (FAULT_POINT("log.rename") ? (errno = EIO, true) : rename(from, to) != 0) {
		fail_stop("rename '%s' to '%s': %s", from, to, strerror(errno));
	}
}

void segment_pool_found(struct segment_pool *pool, const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	uint64_t number = strtoull(name + strlen("free-"), NULL, 16);
	struct stat st;

	if (number > pool->next_name) {
		pool->next_name = number;
	}
	if (stat(path, &st) == 0 && st.st_size == (off_t)pool->segment_bytes) {
		pool_put(pool, x_strdup(path));
	} else {
		(void)unlink(path); /* Not used: a new one is made. */
	}
}

static char *pool_preparing_path(const struct segment_pool *pool)
{
	return x_asprintf("%s/prepare.tmp", pool->dir);
}

static void pool_prepare_open(struct segment_pool *pool)
{
	_cleanup_(x_freep) char *path = pool_preparing_path(pool);

	(void)unlink(path); /* A crashed run's. */
	pool->preparing_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	pool->prepared_bytes = 0;
	if (pool->preparing_fd < 0) {
		fail_stop("create '%s': %s", path, strerror(errno));
	}
}

/* Written zeros, not fallocate(): a later fdatasync then has no extent to convert. */
static void pool_prepare_fill(struct segment_pool *pool)
{
	static const uint8_t zeros[SEGMENT_PREPARE_BYTES];
	size_t left = pool->segment_bytes - pool->prepared_bytes;
	size_t len = left < sizeof zeros ? left : sizeof zeros;
	ssize_t n = FAULT_POINT("log.prepare")
			    ? (errno = ENOSPC, -1)
			    : pwrite(pool->preparing_fd, zeros, len, (off_t)pool->prepared_bytes);

	if (n <= 0) {
		fail_stop("fill a log segment in '%s': %s", pool->dir, strerror(errno));
	}
	pool->prepared_bytes += (uint32_t)n;
}

static void pool_prepare_end(struct segment_pool *pool)
{
	_cleanup_(x_freep) char *path = pool_preparing_path(pool);
	char *to = pool_name(pool);

	if (FAULT_POINT("log.prepare_sync") || fsync(pool->preparing_fd) != 0) {
		fail_stop("fsync '%s': %s", path, strerror(errno));
	}
	(void)close(pool->preparing_fd); /* Synced. */
	pool->preparing_fd = -1;
	pool_rename(path, to);
	pool_put(pool, to);
}

static unsigned pool_free_count(struct segment_pool *pool)
{
	unsigned n;

	(void)pthread_mutex_lock(&pool->lock);
	n = pool->n_free;
	(void)pthread_mutex_unlock(&pool->lock);
	return n;
}

bool segment_pool_prepare(struct segment_pool *pool)
{
	if (pool->preparing_fd < 0) {
		if (pool_free_count(pool) >= SEGMENTS_AHEAD) {
			return false;
		}
		pool_prepare_open(pool);
	}
	pool_prepare_fill(pool);
	if (pool->prepared_bytes == pool->segment_bytes) {
		pool_prepare_end(pool);
	}
	return true;
}

static char *pool_take_path(struct segment_pool *pool)
{
	char *path = NULL;

	while (path == NULL) {
		(void)pthread_mutex_lock(&pool->lock);
		if (pool->n_free > 0) {
			path = pool->free_paths[--pool->n_free];
		}
		(void)pthread_mutex_unlock(&pool->lock);
		if (path == NULL) {
			(void)segment_pool_prepare(pool);
		}
	}
	return path;
}

char *segment_path(const char *dir, uint64_t epoch)
{
	return x_asprintf("%s/segment-%016" PRIx64, dir, epoch);
}

static struct segment_file *segment_file_new(
	struct segment_pool *pool, char *path, int fd, const struct segment_head *head)
{
	struct segment_file *file = x_calloc(1, sizeof *file);

	atomic_init(&file->refs, 1);
	file->pool = pool;
	file->head = *head;
	file->fd = fd;
	file->path = path;
	return file;
}

struct segment_file *segment_file_open(
	struct segment_pool *pool, const char *path, const struct segment_head *head)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? NULL : segment_file_new(pool, x_strdup(path), fd, head);
}

static void segment_put_head(int fd, const char *path, struct segment_head *head)
{
	uint8_t bytes[SEGMENT_HEAD_BYTES];
	ssize_t n;

	segment_head_encode(head, bytes);
	n = FAULT_POINT("log.head") ? (errno = EIO, -1) : pwrite(fd, bytes, sizeof bytes, 0);
	if (n != (ssize_t)sizeof bytes) {
		fail_stop("write '%s': %s", path, n < 0 ? strerror(errno) : "short write");
	}
	if (FAULT_POINT("log.head_sync") || fdatasync(fd) != 0) {
		fail_stop("fdatasync '%s': %s", path, strerror(errno));
	}
}

struct segment_file *segment_pool_take(
	struct segment_pool *pool, struct segment_head *head, uint32_t salt)
{
	_cleanup_(x_freep) char *from = pool_take_path(pool);
	char *to = segment_path(pool->dir, head->epoch);
	int fd = open(from, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct err e = {0};

	if (fd < 0) {
		fail_stop("open '%s': %s", from, strerror(errno));
	}
	head->salt = salt == 0 ? 1 : salt;
	head->bytes = pool->segment_bytes;
	segment_put_head(fd, from, head);
	pool_rename(from, to);
	if (file_sync_dir(pool->dir, &e) != 0) {
		fail_stop("%s", e.text);
	}
	return segment_file_new(pool, to, fd, head);
}

struct segment_file *segment_file_ref(struct segment_file *file)
{
	unsigned before = atomic_fetch_add(&file->refs, 1);

	assert(before > 0);
	return file;
}

void segment_file_unref(struct segment_file *file)
{
	if (file == NULL || atomic_fetch_sub(&file->refs, 1) > 1) {
		return;
	}
	(void)close(file->fd); /* What was written to it was synced. */
	if (file->retired && file->head.bytes == file->pool->segment_bytes) {
		/* Not synced: if the name comes back after a crash, its epoch is below the log's
		 * first and it is retired again. */
		char *to = pool_name(file->pool);

		pool_rename(file->path, to);
		pool_put(file->pool, to);
	} else if (file->retired) {
		(void)unlink(file->path); /* As above. */
	}
	free(file->path);
	free(file);
}

void segment_file_retire(struct segment_file *file)
{
	assert(!file->retired);
	file->retired = true;
	segment_file_unref(file);
}
