#include <errno.h>
#include <fcntl.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "storage/kv_ops.h"

enum {
	KV_WRITE_BUFFER_BYTES = 192 << 20,
	KV_CACHE_BYTES = 256 << 20,
	KV_BLOCK_BYTES = 16 << 10,
	KV_BLOB_BYTES_MIN = 4096, /* Values from here on live in blob files. */
	KV_BLOB_FILE_BYTES = 64 << 20,
	KV_GARBAGE_BYTES_MIN = 16 << 20, /* Less is not worth the writing. */
	KV_GARBAGE_PERCENT_ON = 30,	 /* Of all bytes; half of it when the disk is low. */
	KV_GARBAGE_PERCENT_OFF = 10,
	KV_BLOOM_BITS = 10,
	KV_TIER_ALL = 0,
	KV_TIER_CACHE = 1, /* kBlockCacheTier */
	KV_LOG_FILES = 4,
	KV_BATCH_KEPT_BYTES = 4 << 20, /* A larger write batch is not kept for the next one. */
};

/* Of a memtable's bytes: some 20 bits for each of its keys when values are small. */
#define KV_MEMTABLE_BLOOM_RATIO 0.02

/* Of dead blob bytes, as it is set. */
struct kv_collection {
	bool on, hurry;
	unsigned percent; /* Of the blob files, oldest first. */
};

struct kv_rocksdb {
	struct kv kv;
	char *dir;
	bool read_only;
	struct kv_collection collection; /* The writing thread's. */
	rocksdb_t *db;
	rocksdb_options_t *options;
	rocksdb_block_based_table_options_t *table;
	rocksdb_cache_t *cache;
	rocksdb_writeoptions_t *write;
	rocksdb_writebatch_t *batch; /* Of the writing thread; NULL: none kept. */
};

struct kv_rocksdb_view {
	struct kv_view view;
	struct kv_rocksdb *r;
	const rocksdb_snapshot_t *snapshot;
	rocksdb_readoptions_t *read;
	rocksdb_iterator_t **getter; /* Opened read-only: of all gets; *getter NULL before one. */
};

struct kv_rocksdb_iter {
	struct kv_iter iter;
	rocksdb_iterator_t *it;
	rocksdb_readoptions_t *read;
	bool begun;
	size_t first_len, end_len;
	uint8_t bounds[]; /* first, then end: RocksDB keeps a pointer to the upper bound. */
};

static bool kv_text_has(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

/* RocksDB tells its errors as text, the class first. */
static int kv_code_of(const char *text)
{
	if (kv_text_has(text, "Result incomplete")) {
		return KLUIS_EAGAIN;
	}
	if (kv_text_has(text, "No space left") || kv_text_has(text, "NoSpace") ||
		kv_text_has(text, "Disk quota")) {
		return KLUIS_ENOSPACE;
	}
	if (strncmp(text, "Corruption", strlen("Corruption")) == 0) {
		return KLUIS_ECORRUPT; /* Before the next one: it speaks of blocks. */
	}
	if (kv_text_has(text, "lock")) {
		return KLUIS_EBUSY;
	}
	if (kv_text_has(text, "does not exist") || kv_text_has(text, "No such file")) {
		return KLUIS_ENOTFOUND;
	}
	return KLUIS_EIO;
}

/* Takes the text that RocksDB allocated. Only opening tells a busy or missing store from a broken
 * one: later on both are failed I/O. */
static int kv_failed(char *text, bool opening, const char *what, struct err *e)
{
	int rc = kv_code_of(text);

	if (!opening && (rc == KLUIS_EBUSY || rc == KLUIS_ENOTFOUND)) {
		rc = KLUIS_EIO;
	}
	(void)err_set(e, rc, "%s: %.180s", what, text);
	rocksdb_free(text);
	return rc;
}

static bool kv_rocksdb_iter_next(struct kv_iter *iter)
{
	struct kv_rocksdb_iter *it = CONTAINER_OF(iter, struct kv_rocksdb_iter, iter);

	if (!it->begun) {
		it->begun = true;
		rocksdb_iter_seek(it->it, (const char *)it->bounds, it->first_len);
	} else {
		rocksdb_iter_next(it->it);
	}
	return rocksdb_iter_valid(it->it) != 0;
}

static struct bytes kv_rocksdb_iter_key(const struct kv_iter *iter)
{
	const struct kv_rocksdb_iter *it = CONTAINER_OF(iter, const struct kv_rocksdb_iter, iter);
	size_t len;
	const char *key = rocksdb_iter_key(it->it, &len);

	return bytes_of(key, len);
}

static struct bytes kv_rocksdb_iter_value(const struct kv_iter *iter)
{
	const struct kv_rocksdb_iter *it = CONTAINER_OF(iter, const struct kv_rocksdb_iter, iter);
	size_t len;
	const char *value = rocksdb_iter_value(it->it, &len);

	return bytes_of(value, len);
}

static int kv_rocksdb_iter_status(const struct kv_iter *iter, struct err *e)
{
	const struct kv_rocksdb_iter *it = CONTAINER_OF(iter, const struct kv_rocksdb_iter, iter);
	char *text = NULL;

	rocksdb_iter_get_error(it->it, &text);
	return text == NULL ? 0 : kv_failed(text, false, "walk the store", e);
}

static void kv_rocksdb_iter_free(struct kv_iter *iter)
{
	struct kv_rocksdb_iter *it = CONTAINER_OF(iter, struct kv_rocksdb_iter, iter);

	rocksdb_iter_destroy(it->it);
	rocksdb_readoptions_destroy(it->read);
	free(it);
}

static const struct kv_iter_ops kv_rocksdb_iter_ops = {
	.next = kv_rocksdb_iter_next,
	.key = kv_rocksdb_iter_key,
	.value = kv_rocksdb_iter_value,
	.status = kv_rocksdb_iter_status,
	.free = kv_rocksdb_iter_free,
};

static struct kv_iter *kv_rocksdb_iter_new(
	const struct kv_view *view, struct bytes first, struct bytes end)
{
	const struct kv_rocksdb_view *v = CONTAINER_OF(view, const struct kv_rocksdb_view, view);
	struct kv_rocksdb_iter *it = x_malloc(sizeof *it + first.len + end.len);

	it->iter.ops = &kv_rocksdb_iter_ops;
	it->begun = false;
	it->first_len = first.len;
	it->end_len = end.len;
	kv_bounds_copy(it->bounds, first, end);
	it->read = rocksdb_readoptions_create();
	rocksdb_readoptions_set_snapshot(it->read, v->snapshot);
	rocksdb_readoptions_set_read_tier(it->read, view->cache_only ? KV_TIER_CACHE : KV_TIER_ALL);
	rocksdb_readoptions_set_fill_cache(it->read, !view->passing);
	if (end.len > 0) {
		rocksdb_readoptions_set_iterate_upper_bound(
			it->read, (const char *)it->bounds + first.len, end.len);
	}
	it->it = rocksdb_create_iterator(v->r->db, it->read);
	return &it->iter;
}

/* Opened read-only, RocksDB 7.8 answers every Get of a value in a blob file with "not found" (its
 * iterators do find it), so that a checkpoint would look as if all its pages were gone. One
 * iterator serves all gets of a view: to make one costs as much as to read a page. */
static int kv_rocksdb_get_by_iterator(
	const struct kv_rocksdb_view *v, struct bytes key, struct buf *to, struct err *e)
{
	char *text = NULL;
	const char *found;
	size_t len;

	if (*v->getter == NULL) {
		*v->getter = rocksdb_create_iterator(v->r->db, v->read);
	}
	rocksdb_iter_seek(*v->getter, (const char *)key.data, key.len);
	if (rocksdb_iter_valid(*v->getter) == 0) {
		rocksdb_iter_get_error(*v->getter, &text);
		return text != NULL ? kv_failed(text, false, "walk the store", e)
				    : err_set(e, KLUIS_ENOTFOUND, "no such row");
	}
	found = rocksdb_iter_key(*v->getter, &len);
	if (!bytes_equal(bytes_of(found, len), key)) {
		return err_set(e, KLUIS_ENOTFOUND, "no such row");
	}
	found = rocksdb_iter_value(*v->getter, &len);
	buf_append(to, found, len);
	return 0;
}

static int kv_rocksdb_get(
	const struct kv_view *view, struct bytes key, struct buf *to, struct err *e)
{
	const struct kv_rocksdb_view *v = CONTAINER_OF(view, const struct kv_rocksdb_view, view);
	rocksdb_pinnableslice_t *slice;
	char *text = NULL;
	const char *value;
	size_t len;

	rocksdb_readoptions_set_read_tier(v->read, view->cache_only ? KV_TIER_CACHE : KV_TIER_ALL);
	if (v->r->read_only) {
		return kv_rocksdb_get_by_iterator(v, key, to, e);
	}
	rocksdb_readoptions_set_fill_cache(v->read, !view->passing);
	slice = rocksdb_get_pinned(v->r->db, v->read, (const char *)key.data, key.len, &text);
	if (text != NULL) {
		return kv_failed(text, false, "read from the store", e);
	}
	if (slice == NULL) {
		return err_set(e, KLUIS_ENOTFOUND, "no such row");
	}
	value = rocksdb_pinnableslice_value(slice, &len);
	buf_append(to, value, len);
	rocksdb_pinnableslice_destroy(slice);
	return 0;
}

static void kv_rocksdb_view_free(struct kv_view *view)
{
	struct kv_rocksdb_view *v = CONTAINER_OF(view, struct kv_rocksdb_view, view);

	if (v->getter != NULL && *v->getter != NULL) {
		rocksdb_iter_destroy(*v->getter);
	}
	free(v->getter);
	rocksdb_readoptions_destroy(v->read);
	rocksdb_release_snapshot(v->r->db, v->snapshot);
	free(v);
}

static const struct kv_view_ops kv_rocksdb_view_ops = {
	.free = kv_rocksdb_view_free,
	.get = kv_rocksdb_get,
	.iter_new = kv_rocksdb_iter_new,
};

/* Unless the calling thread says no, RocksDB counts every comparison of two keys in thread-local
 * storage: a fifth of what a small commit costs. Nobody reads the counts. */
static void kv_no_counters(void)
{
	rocksdb_set_perf_level(rocksdb_disable);
}

static struct kv_view *kv_rocksdb_view_new(struct kv *kv)
{
	struct kv_rocksdb_view *v = x_malloc(sizeof *v);

	v->view = (struct kv_view){.ops = &kv_rocksdb_view_ops};
	v->r = CONTAINER_OF(kv, struct kv_rocksdb, kv);
	v->snapshot = rocksdb_create_snapshot(v->r->db);
	v->read = rocksdb_readoptions_create();
	v->getter = v->r->read_only ? x_calloc(1, sizeof *v->getter) : NULL;
	rocksdb_readoptions_set_snapshot(v->read, v->snapshot);
	kv_no_counters();
	return &v->view;
}

/* One batch is filled again and again: a new one would grow through all its sizes each time, and
 * copy the pages at each. */
static void kv_batch_fill(rocksdb_writebatch_t *batch, const struct kv_change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct kv_change *c = &changes[i];

		if (c->deleted) {
			rocksdb_writebatch_delete(batch, (const char *)c->key.data, c->key.len);
		} else {
			rocksdb_writebatch_put(batch, (const char *)c->key.data, c->key.len,
				(const char *)c->value.data, c->value.len);
		}
	}
}

static int kv_rocksdb_write(struct kv *kv, const struct kv_change *changes, size_t n, struct err *e)
{
	struct kv_rocksdb *r = CONTAINER_OF(kv, struct kv_rocksdb, kv);
	char *text = NULL;
	size_t len;

	if (r->read_only) {
		return err_set(e, KLUIS_EIO, "write to the store '%s': opened read-only", r->dir);
	}
	if (r->batch == NULL) {
		r->batch = rocksdb_writebatch_create();
	}
	kv_no_counters();
	kv_batch_fill(r->batch, changes, n);
	rocksdb_write(r->db, r->write, r->batch, &text);
	(void)rocksdb_writebatch_data(r->batch, &len);
	if (len > KV_BATCH_KEPT_BYTES) {
		rocksdb_writebatch_destroy(r->batch);
		r->batch = NULL;
	} else {
		rocksdb_writebatch_clear(r->batch);
	}
	return text == NULL ? 0 : kv_failed(text, false, "write to the store", e);
}

static int kv_rocksdb_flush(struct kv *kv, struct err *e)
{
	struct kv_rocksdb *r = CONTAINER_OF(kv, struct kv_rocksdb, kv);
	rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
	char *text = NULL;

	rocksdb_flushoptions_set_wait(options, 1);
	rocksdb_flush(r->db, options, &text);
	rocksdb_flushoptions_destroy(options);
	return text == NULL ? 0 : kv_failed(text, false, "flush the store", e);
}

static int kv_sync_parent(const char *path, struct err *e)
{
	_cleanup_(x_freep) char *parent = x_strdup(path);
	char *slash;

	for (size_t len = strlen(parent); len > 1 && parent[len - 1] == '/'; len--) {
		parent[len - 1] = 0;
	}
	slash = strrchr(parent, '/');
	if (slash == NULL) {
		return file_sync_dir(".", e);
	}
	*(slash == parent ? slash + 1 : slash) = 0;
	return file_sync_dir(parent, e);
}

/* log_size_for_flush 0 flushes the memtables first: without a WAL they are nowhere else. */
static int kv_rocksdb_checkpoint(struct kv *kv, const char *dir, struct err *e)
{
	struct kv_rocksdb *r = CONTAINER_OF(kv, struct kv_rocksdb, kv);
	rocksdb_checkpoint_t *checkpoint;
	char *text = NULL;

	if (file_exists(dir)) {
		return err_set(e, KLUIS_EEXIST, "checkpoint to '%s': it is there already", dir);
	}
	checkpoint = rocksdb_checkpoint_object_create(r->db, &text);
	if (text == NULL) {
		rocksdb_checkpoint_create(checkpoint, dir, 0, &text);
	}
	if (checkpoint != NULL) {
		rocksdb_checkpoint_object_destroy(checkpoint);
	}
	return text == NULL ? kv_sync_parent(dir, e)
			    : kv_failed(text, false, "checkpoint the store", e);
}

static uint64_t kv_property(struct kv_rocksdb *r, const char *name)
{
	uint64_t value;

	return rocksdb_property_int(r->db, name, &value) == 0 ? value : 0;
}

static void kv_rocksdb_stats(struct kv *kv, struct kv_stats *ret_stats)
{
	struct kv_rocksdb *r = CONTAINER_OF(kv, struct kv_rocksdb, kv);
	uint64_t blobs = kv_property(r, "rocksdb.live-blob-file-size");

	ret_stats->keys_estimate = kv_property(r, "rocksdb.estimate-num-keys");
	ret_stats->garbage_bytes = kv_property(r, "rocksdb.live-blob-file-garbage-size");
	ret_stats->data_bytes =
		kv_property(r, "rocksdb.live-sst-files-size") +
		(blobs > ret_stats->garbage_bytes ? blobs - ret_stats->garbage_bytes : 0);
	ret_stats->memory_bytes = kv_property(r, "rocksdb.cur-size-all-mem-tables") +
				  kv_property(r, "rocksdb.estimate-table-readers-mem");
}

/* Worth it from a large share of garbage on, until little is left: in between it stays as it is. */
static bool kv_collection_wanted(const struct kv_stats *stats, bool on, bool hurry)
{
	uint64_t all = stats->data_bytes + stats->garbage_bytes;
	uint64_t percent = on ? KV_GARBAGE_PERCENT_OFF : KV_GARBAGE_PERCENT_ON;

	return stats->garbage_bytes >= KV_GARBAGE_BYTES_MIN &&
	       stats->garbage_bytes > all / 100 * (hurry ? percent / 2 : percent);
}

/* How many of the blob files, oldest first, one compaction may write anew: what is live in them is
 * on the disk twice until it is done. RocksDB compacts for this alone only what it may do in one
 * go: all, as long as few tables point to all of them; else it is done as rows are merged anyway.
 */
static unsigned kv_collection_share(const struct kv_stats *stats, uint64_t free_bytes)
{
	unsigned percent = 100;

	while (percent > 25 && stats->data_bytes / 100 * percent > free_bytes / 2) {
		percent /= 2;
	}
	return percent;
}

/* In a hurry each flush is merged at once with what is there: dead bytes count as garbage only once
 * a deletion has met what it deletes. */
static int kv_set_collection(
	struct kv_rocksdb *r, const struct kv_collection *collection, struct err *e)
{
	const char *on = collection->on ? "true" : "false", *now = collection->on ? "0.0" : "1.0";
	const char *keys[] = {"enable_blob_garbage_collection",
		"blob_garbage_collection_age_cutoff", "blob_garbage_collection_force_threshold",
		"level0_file_num_compaction_trigger"};
	char share[32], *text = NULL;
	const char *values[] = {on, share, now, collection->hurry ? "1" : "4"};

	(void)snprintf(share, sizeof share, "%u.%02u", collection->percent / 100,
		collection->percent % 100);
	rocksdb_set_options(r->db, ARRAY_SIZE(keys), keys, values, &text);
	if (text != NULL) {
		return kv_failed(text, false, "set options of the store", e);
	}
	r->collection = *collection;
	log_info("op=collect_garbage on=%d percent=%u hurry=%d", collection->on,
		collection->percent, collection->hurry);
	return 0;
}

static int kv_rocksdb_reclaim(struct kv *kv, bool hurry, struct err *e)
{
	struct kv_rocksdb *r = CONTAINER_OF(kv, struct kv_rocksdb, kv);
	struct kv_collection *now = &r->collection, wanted = {.hurry = hurry};
	uint64_t free_bytes, total_bytes;
	struct kv_stats stats;
	int rc = kv_free_space(kv, &free_bytes, &total_bytes, e);

	if (rc != 0) {
		return rc;
	}
	kv_rocksdb_stats(kv, &stats);
	wanted.on = kv_collection_wanted(&stats, now->on, hurry);
	wanted.percent = wanted.on ? kv_collection_share(&stats, free_bytes) : now->percent;
	return wanted.on == now->on && wanted.percent == now->percent && wanted.hurry == now->hurry
		       ? 0
		       : kv_set_collection(r, &wanted, e);
}

static int kv_rocksdb_free_space(
	struct kv *kv, uint64_t *ret_free, uint64_t *ret_total, struct err *e)
{
	struct kv_rocksdb *r = CONTAINER_OF(kv, struct kv_rocksdb, kv);
	struct statvfs fs;

	if (statvfs(r->dir, &fs) != 0) {
		return err_set_errno(e, errno, "free space of '%s'", r->dir);
	}
	*ret_free = (uint64_t)fs.f_bavail * fs.f_frsize;
	*ret_total = (uint64_t)fs.f_blocks * fs.f_frsize;
	return 0;
}

static void kv_rocksdb_close(struct kv *kv)
{
	struct kv_rocksdb *r = CONTAINER_OF(kv, struct kv_rocksdb, kv);

	if (r->db != NULL) {
		rocksdb_close(r->db);
	}
	if (r->batch != NULL) {
		rocksdb_writebatch_destroy(r->batch);
	}
	rocksdb_options_destroy(r->options);
	rocksdb_block_based_options_destroy(r->table);
	rocksdb_cache_destroy(r->cache);
	rocksdb_writeoptions_destroy(r->write);
	free(r->dir);
	free(r);
}

static const struct kv_ops kv_rocksdb_ops = {
	.close = kv_rocksdb_close,
	.write = kv_rocksdb_write,
	.flush = kv_rocksdb_flush,
	.checkpoint = kv_rocksdb_checkpoint,
	.stats = kv_rocksdb_stats,
	.reclaim = kv_rocksdb_reclaim,
	.free_space = kv_rocksdb_free_space,
	.view_new = kv_rocksdb_view_new,
};

/* One cache bounds blocks, index, filters and blobs together. */
static void kv_set_table(struct kv_rocksdb *r, const struct kv_options *options)
{
	size_t bytes = options->cache_bytes == 0 ? KV_CACHE_BYTES : options->cache_bytes;

	r->cache = rocksdb_cache_create_lru(bytes);
	r->table = rocksdb_block_based_options_create();
	rocksdb_block_based_options_set_block_cache(r->table, r->cache);
	rocksdb_block_based_options_set_block_size(r->table, KV_BLOCK_BYTES);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(r->table, 1);
	rocksdb_block_based_options_set_filter_policy(
		r->table, rocksdb_filterpolicy_create_bloom_full(KV_BLOOM_BITS));
	rocksdb_options_set_block_based_table_factory(r->options, r->table);
	rocksdb_options_set_blob_cache(r->options, r->cache);
}

/* Pages are ciphertext: nothing to compress. Collection of dead blobs is off until
 * kv_reclaim(): with it 1.6 bytes are written per byte even without garbage. */
static void kv_set_blobs(rocksdb_options_t *o)
{
	rocksdb_options_set_compression(o, rocksdb_no_compression);
	rocksdb_options_set_blob_compression_type(o, rocksdb_no_compression);
	rocksdb_options_set_enable_blob_files(o, 1);
	rocksdb_options_set_min_blob_size(o, KV_BLOB_BYTES_MIN);
	rocksdb_options_set_blob_file_size(o, KV_BLOB_FILE_BYTES);
	rocksdb_options_set_enable_blob_gc(o, 0);
}

/* Flushed past the page cache where the file system can: copying pages into it was a third of what
 * a flush costs, and what was just written is rarely read again soon (docs/performance.md). */
static bool kv_direct_io(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);

	if (fd < 0) {
		return false;
	}
	(void)close(fd); /* It never had a name. */
	return true;
}

/* A row is put into a memtable from where the last one of its family and vault went: the rows of a
 * commit go near those of the one before. 17 bytes: rows of by_index are shorter and have the place
 * of the last row all to themselves. Only the text form of the options has this one. */
static int kv_set_hint(struct kv_rocksdb *r, struct err *e)
{
	rocksdb_options_t *options = rocksdb_options_create();
	char *text = NULL;

	rocksdb_get_options_from_string(
		r->options, "memtable_insert_with_hint_prefix_extractor=fixed:17", options, &text);
	if (text != NULL) {
		rocksdb_options_destroy(options);
		return kv_failed(text, true, "set options of the store", e);
	}
	rocksdb_options_destroy(r->options);
	r->options = options;
	return 0;
}

static void kv_set_options(struct kv_rocksdb *r, const struct kv_options *options)
{
	rocksdb_options_t *o = r->options = rocksdb_options_create();
	size_t buffer = options->write_buffer_bytes == 0 ? KV_WRITE_BUFFER_BYTES
							 : options->write_buffer_bytes;

	rocksdb_options_set_create_if_missing(o, options->create && !options->read_only);
	rocksdb_options_set_paranoid_checks(o, 1);
	/* A checkpoint is read in the order in which it was written, mostly: read ahead. */
	rocksdb_options_set_advise_random_on_open(o, !options->read_only);
	rocksdb_options_set_db_write_buffer_size(o, buffer);
	rocksdb_options_set_write_buffer_size(o, buffer / 3);
	rocksdb_options_set_max_write_buffer_number(o, 4);
	/* Most rows of a commit are new: that there is none yet costs no walk through the table. */
	rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, KV_MEMTABLE_BLOOM_RATIO);
	rocksdb_options_set_memtable_whole_key_filtering(o, 1);
	rocksdb_options_set_max_background_jobs(o, 2);
	rocksdb_options_set_use_direct_io_for_flush_and_compaction(o, kv_direct_io(r->dir));
	rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
	rocksdb_options_set_keep_log_file_num(o, KV_LOG_FILES);
	rocksdb_options_set_info_log_level(o, 2); /* Warnings. */
	kv_set_blobs(o);
	kv_set_table(r, options);
	r->write = rocksdb_writeoptions_create();
	rocksdb_writeoptions_disable_WAL(r->write, 1); /* The raft log is the write-ahead log. */
}

int kv_rocksdb_open(
	const char *dir, const struct kv_options *options, struct kv **ret_kv, struct err *e)
{
	struct kv_rocksdb *r = x_calloc(1, sizeof *r);
	char *text = NULL;
	int rc;

	r->kv.ops = &kv_rocksdb_ops;
	r->dir = x_strdup(dir);
	r->read_only = options->read_only;
	kv_set_options(r, options);
	rc = kv_set_hint(r, e);
	if (rc != 0) {
		kv_rocksdb_close(&r->kv);
		return rc;
	}
	r->db = options->read_only ? rocksdb_open_for_read_only(r->options, dir, 0, &text)
				   : rocksdb_open(r->options, dir, &text);
	if (text != NULL) {
		r->db = NULL;
		rc = kv_failed(text, true, "open the store", e);
		kv_rocksdb_close(&r->kv);
		return err_wrap(e, rc, "'%s'", dir);
	}
	*ret_kv = &r->kv;
	return 0;
}
