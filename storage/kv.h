/* An ordered map from bytes to bytes on disk (RocksDB) or in memory: consistent views, iteration,
 * atomic batches, checkpoints. Keys sort as memcmp does, a prefix first. */
#ifndef KLUIS_STORAGE_KV_H
#define KLUIS_STORAGE_KV_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

struct kv;
struct kv_view;
struct kv_iter;

enum {
	KV_KEY_BYTES_MAX = 320,
	KV_VALUE_BYTES_MAX = 2 << 20,
};

struct kv_options {
	bool read_only;		   /* A checkpoint: no row of it can change. */
	bool create;		   /* Make the directory's database if there is none. */
	size_t write_buffer_bytes; /* All memtables together; 0: 192 MiB. */
	size_t cache_bytes;	   /* One LRU for blocks and blobs; 0: 256 MiB. */
};

/* One change of a batch; value is ignored when deleted. */
struct kv_change {
	struct bytes key, value;
	bool deleted;
};

/* Opens the RocksDB in `dir`, which must exist. KLUIS_EBUSY: another process has it;
 * KLUIS_ENOTFOUND: none there and not to be created; KLUIS_ECORRUPT, KLUIS_EIO. Blocking. */
KLUIS_MUST_CHECK int kv_rocksdb_open(
	const char *dir, const struct kv_options *options, struct kv **ret_kv, struct err *e);

/* An empty store in memory: same keys, same order of iteration, whatever the history. Any number of
 * readers beside one writer, on any threads. */
struct kv *kv_memory_new(void);
/* A store of its own with the same rows; they are shared until one side changes them, so that this
 * costs O(1) time and memory. What the simulator takes and installs as a snapshot. */
struct kv *kv_memory_clone(struct kv *kv);

/* All views must be gone. Does not flush. NULL is allowed. */
void kv_close(struct kv *kv);

/* All changes or none, in order (of two for one key the later one counts). One thread at a time.
 * Not durable before kv_flush() or a later flush by itself; what a crash leaves is always the state
 * after some earlier kv_write(). After a failure (KLUIS_EIO, KLUIS_ENOSPACE) the store's later
 * state is unknown: the caller ends the process. */
KLUIS_MUST_CHECK int kv_write(
	struct kv *kv, const struct kv_change *changes, size_t n, struct err *e);

/* Returns when everything written before the call is on disk. Blocking. */
KLUIS_MUST_CHECK int kv_flush(struct kv *kv, struct err *e);

/* A copy of the store as it is now, by hard links where it can, in a new directory `dir` (which
 * must not exist; its parent must) on the same file system; durable on return. The memory back end
 * answers KLUIS_EINVAL (kv_memory_clone()). Blocking; the writer's thread. */
KLUIS_MUST_CHECK int kv_checkpoint(struct kv *kv, const char *dir, struct err *e);

struct kv_stats {
	uint64_t keys_estimate;
	uint64_t data_bytes;	/* Live data in tables and blobs, estimated. */
	uint64_t garbage_bytes; /* Dead bytes in blob files. */
	uint64_t memory_bytes;	/* Memtables and table readers. */
};
/* Any thread. */
void kv_stats(struct kv *kv, struct kv_stats *ret_stats);
/* Bytes that may still be written and bytes in all of the file system it lies on; the memory back
 * end says UINT64_MAX. Any thread; may block. */
KLUIS_MUST_CHECK int kv_free_space(
	struct kv *kv, uint64_t *ret_free, uint64_t *ret_total, struct err *e);
/* Begins or ends the collection of dead blob bytes, by how many there are: it costs writing live
 * ones again, and without it no deleted page would ever give its room back. Call it after each
 * flush. hurry: the disk is low, so that less garbage is worth it, and deletions meet what they
 * delete at once. The work is the store's own, in the background. The memory back end has nothing
 * to do. The writer's thread; may block for some milliseconds. */
KLUIS_MUST_CHECK int kv_reclaim(struct kv *kv, bool hurry, struct err *e);

/* The store as it is now, unmoved by later writes. Free it soon: it holds old rows alive. A view is
 * used by one thread at a time and may be handed to another one. */
struct kv_view *kv_view_new(struct kv *kv);
void kv_view_free(struct kv_view *view); /* NULL is allowed. */
/* true: reads answer from memory or with KLUIS_EAGAIN, and never wait for a disk: for a loop
 * thread, which hands the same view to a pool thread then and sets false there. */
void kv_view_set_cache_only(struct kv_view *view, bool on);
bool kv_view_cache_only(const struct kv_view *view);

/* What is read through it from now on is not kept in memory for others: for one that walks all. */
void kv_view_set_passing(struct kv_view *view);

/* Appends the value to `to`. KLUIS_ENOTFOUND, KLUIS_EAGAIN, KLUIS_ECORRUPT, KLUIS_EIO; `to` is
 * untouched on failure. */
KLUIS_MUST_CHECK int kv_get(
	const struct kv_view *view, struct bytes key, struct buf *to, struct err *e);

/* Rows with first <= key < end, ascending; an empty end is no bound. Both are copied. Stands before
 * the first row. The view outlives it. */
struct kv_iter *kv_iter_new(const struct kv_view *view, struct bytes first, struct bytes end);
/* To the next row; false behind the last one and on failure: then ask kv_iter_status(). */
bool kv_iter_next(struct kv_iter *iter);
/* Of the row it stands on, valid until the next kv_iter_next(). Asking for the value of a row whose
 * bytes are large reads them. */
struct bytes kv_iter_key(const struct kv_iter *iter);
struct bytes kv_iter_value(const struct kv_iter *iter);
/* 0, or why kv_iter_next() gave up: KLUIS_EAGAIN, KLUIS_ECORRUPT, KLUIS_EIO. */
KLUIS_MUST_CHECK int kv_iter_status(const struct kv_iter *iter, struct err *e);
void kv_iter_free(struct kv_iter *iter); /* NULL is allowed. */

#endif
