/* Segment files: prepared ahead, taken into use, given back and used again (docs/format-log.md). */
#ifndef KLUIS_RAFT_SEGMENT_POOL_H
#define KLUIS_RAFT_SEGMENT_POOL_H

#include <pthread.h>
#include <stdatomic.h>

#include "raft/segment.h"

enum {
	SEGMENT_PREPARE_BYTES = 1 << 20, /* Zero-filled in one step. */
	SEGMENTS_AHEAD = 2,		 /* Prepared and unused. */
	SEGMENTS_FREE_MAX = 8,		 /* More than these are removed, not kept for re-use. */
};

/* Free files of one log's directory. Any function from any thread. A failed write, fsync or rename
 * ends the process. */
struct segment_pool {
	char *dir;
	uint32_t segment_bytes;
	pthread_mutex_t lock;
	uint64_t next_name;
	unsigned n_free;
	char *free_paths[SEGMENTS_FREE_MAX];
	int preparing_fd; /* -1: none is being filled. Writer thread only. */
	uint32_t prepared_bytes;
};

/* A segment in use. Counted: the log holds one reference, each read that is under way another. */
struct segment_file {
	atomic_uint refs;
	struct segment_pool *pool;
	struct segment_head head;
	int fd;
	bool retired; /* Goes back to the pool with the last reference. */
	char *path;
};

void segment_pool_init(struct segment_pool *pool, const char *dir, uint32_t segment_bytes);
void segment_pool_release(struct segment_pool *pool);
/* A file named free-... was found at start: keeps it, or removes it when it has another size or
 * there are enough. */
void segment_pool_found(struct segment_pool *pool, const char *path);
/* One step towards SEGMENTS_AHEAD free files; false: nothing (more) to do. Writer thread. */
bool segment_pool_prepare(struct segment_pool *pool);
/* Takes a free file (filling one now if none is ready), writes head (whose salt, seed and bytes are
 * set here) and gives it its name, all synced. One reference, the caller's. Writer thread. */
struct segment_file *segment_pool_take(
	struct segment_pool *pool, struct segment_head *head, uint32_t salt);

/* "dir/segment-<16 hex digits>"; the caller frees. */
char *segment_path(const char *dir, uint64_t epoch);
/* As found at start; head is what it holds. NULL with errno when it cannot be opened. */
struct segment_file *segment_file_open(
	struct segment_pool *pool, const char *path, const struct segment_head *head);
struct segment_file *segment_file_ref(struct segment_file *file);
void segment_file_unref(struct segment_file *file); /* NULL is fine. */
/* Gives back the log's reference of a file that the log no longer needs. */
void segment_file_retire(struct segment_file *file);

#endif
