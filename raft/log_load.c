#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/wire.h"
#include "raft/fail_stop.h"
#include "raft/log_parts.h"

struct log_loader {
	struct segment_pool *pool;
	const char *dir;
	const struct log_state *state;
	struct log_index *index;
	struct log_loaded loaded;
	struct err *e;
};

void log_state_encode(const struct log_state *state, uint8_t to[LOG_STATE_BYTES])
{
	memcpy(to, state->log_id, LOG_ID_BYTES);
	store_u64(to + LOG_ID_BYTES, state->first_epoch);
	store_u64(to + LOG_ID_BYTES + 8, state->last_epoch);
}

/* A segment's bytes, mapped for the time of reading it. */
struct log_map {
	struct bytes bytes;
};

static void log_unmap(struct log_map *map)
{
	if (map->bytes.data != NULL) {
		(void)munmap((void *)(uintptr_t)map->bytes.data, map->bytes.len);
	}
}

static int load_map(struct log_loader *l, const char *path, struct log_map *map)
{
	_cleanup_(x_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	void *at;

	if (fd < 0 && errno == ENOENT) {
		return err_set(l->e, KLUIS_ECORRUPT, "'%s' is missing: " REPLACE_NODE, path);
	}
	if (fd < 0 || fstat(fd, &st) != 0) {
		return err_set_errno(l->e, errno, "open '%s'", path);
	}
	if (st.st_size < SEGMENT_HEAD_BYTES || st.st_size > INT32_MAX) {
		return err_set(l->e, KLUIS_ECORRUPT,
			"'%s' has %lld bytes, which no segment has: " REPLACE_NODE, path,
			(long long)st.st_size);
	}
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (at == MAP_FAILED) {
		return err_set_errno(l->e, errno, "map '%s'", path);
	}
	map->bytes = bytes_of(at, (size_t)st.st_size);
	return 0;
}

static int load_head(struct log_loader *l, const char *path, struct bytes bytes, uint64_t epoch,
	struct segment_head *ret_head)
{
	int rc = segment_head_decode(bytes, ret_head);

	if (rc == KLUIS_EVERSION) {
		return err_set(
			l->e, rc, "'%s' was written by a newer version of this program", path);
	}
	if (rc != 0) {
		return err_set(
			l->e, rc, "'%s': the head at offset 0 is damaged: " REPLACE_NODE, path);
	}
	if (memcmp(ret_head->log_id, l->state->log_id, LOG_ID_BYTES) != 0) {
		return err_set(l->e, KLUIS_ECORRUPT,
			"'%s' belongs to another log (offset 8): it was copied here: " REPLACE_NODE,
			path);
	}
	if (ret_head->epoch != epoch || ret_head->bytes != bytes.len) {
		return err_set(l->e, KLUIS_ECORRUPT,
			"'%s' holds segment %" PRIu64 " of %" PRIu32
			" bytes (offset 24): it was renamed, cut or replaced by an old "
			"copy: " REPLACE_NODE,
			path, ret_head->epoch, ret_head->bytes);
	}
	return 0;
}

static bool load_entry(struct log_loader *l, struct segment_file *file,
	const struct segment_record *record, size_t at)
{
	struct log_slot *slot;

	if (record->index != log_index_last(l->index) + 1) {
		return false;
	}
	slot = log_index_push(l->index);
	slot->term = record->term;
	slot->type = record->type;
	slot->segment = file;
	slot->offset = (uint32_t)at;
	slot->len = (uint32_t)record->data.len;
	return true;
}

static bool load_truncate(struct log_loader *l, const struct segment_record *record)
{
	if (record->index == 0 || record->index > log_index_last(l->index) + 1) {
		return false;
	}
	if (record->index < l->index->first) {
		/* Cuts into what the log has already forgotten at its front: those entries came
		 * again behind this record. */
		log_index_truncate(l->index, l->index->first);
		l->index->first = record->index;
		return true;
	}
	log_index_truncate(l->index, record->index);
	return true;
}

/* Whether the record may stand here. */
static bool load_record(struct log_loader *l, struct segment_file *file,
	const struct segment_record *record, size_t at)
{
	if (record->batch < SEGMENT_HEAD_BYTES || record->batch > at) {
		return false;
	}
	if (record->type == SEGMENT_MARK) {
		return record->data.len == 0;
	}
	if (record->type == SEGMENT_TRUNCATE) {
		return record->data.len == 0 && load_truncate(l, record);
	}
	return load_entry(l, file, record, at);
}

/* Reads records to the first place where none is. */
static int load_records(struct log_loader *l, struct segment_file *file, struct bytes bytes,
	size_t *ret_end, uint32_t *ret_crc)
{
	size_t at = SEGMENT_HEAD_BYTES;
	uint32_t crc = file->head.seed;
	struct segment_record record;

	while (segment_record_decode(&file->head, bytes, at, &record) == 0) {
		if (!load_record(l, file, &record, at)) {
			return err_set(l->e, KLUIS_ECORRUPT,
				"'%s': the record at offset %zu does not follow the one before it "
				"(index %" PRIu64 " after %" PRIu64 "): " REPLACE_NODE,
				file->path, at, record.index, log_index_last(l->index));
		}
		crc = record.crc;
		at += record.bytes;
	}
	*ret_end = at;
	*ret_crc = crc;
	return 0;
}

/* Nothing of a torn tail may be taken for a record later, when something shorter stands there. */
static int load_cut(struct log_loader *l, struct segment_file *file, struct bytes bytes, size_t at)
{
	static const uint8_t zeros[64 * 1024];
	bool torn = false;

	for (size_t i = at; i + SEGMENT_ALIGN <= bytes.len && !torn; i += SEGMENT_ALIGN) {
		torn = load_u32(bytes.data + i) == file->head.salt;
	}
	if (torn) {
		log_warn("op=log_open file=%s offset=%zu msg=\"torn tail cut\"", file->path, at);
	}
	for (size_t i = at; torn && i < bytes.len;) {
		size_t len = bytes.len - i < sizeof zeros ? bytes.len - i : sizeof zeros;
		ssize_t n = pwrite(file->fd, zeros, len, (off_t)i);

		if (n <= 0) {
			return err_set_errno(l->e, errno, "cut '%s'", file->path);
		}
		i += (size_t)n;
	}
	/* Even when nothing is cut: a process that was killed may have left records that no fsync
	 * reached, and from now on they count as stored. */
	if (fdatasync(file->fd) != 0) {
		return err_set_errno(l->e, errno, "fdatasync '%s'", file->path);
	}
	return 0;
}

/* The newest segment: may end in a torn tail. */
static int load_last(struct log_loader *l, struct segment_file *file, struct bytes bytes)
{
	size_t at;
	int rc = load_records(l, file, bytes, &at, &l->loaded.last_crc);

	if (rc != 0) {
		return rc;
	}
	if (segment_is_damaged(&file->head, bytes, at)) {
		return err_set(l->e, KLUIS_ECORRUPT,
			"'%s': the record at offset %zu is damaged and intact ones follow "
			"it: " REPLACE_NODE,
			file->path, at);
	}
	l->loaded.end = (uint32_t)at;
	return load_cut(l, file, bytes, at);
}

/* One with a successor, which says where this one ends. */
static int load_middle(struct log_loader *l, struct segment_file *file, struct bytes bytes,
	const struct segment_head *next)
{
	uint32_t crc;
	size_t at;
	int rc = load_records(l, file, bytes, &at, &crc);

	if (rc == 0 && (at != next->prev_end || crc != next->prev_crc)) {
		rc = err_set(l->e, KLUIS_ECORRUPT,
			"'%s': the records end at offset %zu instead of %" PRIu32
			": the one there is damaged, or the file is an old copy: " REPLACE_NODE,
			file->path, at, next->prev_end);
	}
	return rc;
}

static struct segment_file *load_keep(
	struct log_loader *l, const char *path, const struct segment_head *head)
{
	struct segment_file *file = segment_file_open(l->pool, path, head);

	if (file != NULL) {
		l->loaded.segments = x_realloc(l->loaded.segments,
			(l->loaded.n_segments + 1) * sizeof(struct segment_file *));
		l->loaded.segments[l->loaded.n_segments++] = file;
	}
	return file;
}

static int load_next_head(struct log_loader *l, uint64_t epoch, struct segment_head *ret_head)
{
	_cleanup_(x_freep) char *path = segment_path(l->dir, epoch);
	_cleanup_(log_unmap) struct log_map map = {{NULL, 0}};
	int rc = load_map(l, path, &map);

	return rc != 0 ? rc : load_head(l, path, map.bytes, epoch, ret_head);
}

static int load_segment(struct log_loader *l, uint64_t epoch)
{
	_cleanup_(x_freep) char *path = segment_path(l->dir, epoch);
	_cleanup_(log_unmap) struct log_map map = {{NULL, 0}};
	struct segment_head head, next;
	struct segment_file *file;
	int rc = load_map(l, path, &map);

	if (rc == 0) {
		rc = load_head(l, path, map.bytes, epoch, &head);
	}
	if (rc == 0 && epoch < l->state->last_epoch) {
		rc = load_next_head(l, epoch + 1, &next);
	}
	if (rc != 0) {
		return rc;
	}
	if (epoch == l->state->first_epoch) {
		l->index->first = head.first_index;
	}
	if (head.first_index != log_index_last(l->index) + 1) {
		return err_set(l->e, KLUIS_ECORRUPT,
			"'%s' begins at index %" PRIu64 " instead of %" PRIu64
			" (offset 32): " REPLACE_NODE,
			path, head.first_index, log_index_last(l->index) + 1);
	}
	file = load_keep(l, path, &head);
	if (file == NULL) {
		return err_set_errno(l->e, errno, "open '%s'", path);
	}
	return epoch < l->state->last_epoch ? load_middle(l, file, map.bytes, &next)
					    : load_last(l, file, map.bytes);
}

/* A segment that was given its name, but not yet its place in the log, when the node stopped:
 * nothing can have been written to it. */
static int load_unborn(struct log_loader *l, const char *path, uint64_t epoch)
{
	_cleanup_(log_unmap) struct log_map map = {{NULL, 0}};
	struct segment_record record;
	struct segment_head head;
	int rc = load_map(l, path, &map);

	if (rc != 0) {
		return rc;
	}
	if (epoch == l->state->last_epoch + 1 && segment_head_decode(map.bytes, &head) == 0 &&
		segment_record_decode(&head, map.bytes, SEGMENT_HEAD_BYTES, &record) != 0) {
		return 0;
	}
	return err_set(l->e, KLUIS_ECORRUPT,
		"'%s' is newer than '%s/state' knows: that file is an old copy: " REPLACE_NODE,
		path, l->dir);
}

static int load_stray_segment(struct log_loader *l, const char *path, uint64_t epoch)
{
	struct segment_head none = {.bytes = 0};
	struct segment_file *file;
	struct stat st;

	if (epoch >= l->state->first_epoch && epoch <= l->state->last_epoch) {
		return 0;
	}
	if (epoch > l->state->last_epoch) {
		int rc = load_unborn(l, path, epoch);

		if (rc != 0) {
			return rc;
		}
	}
	if (stat(path, &st) != 0) {
		return err_set_errno(l->e, errno, "stat '%s'", path);
	}
	none.bytes = (uint32_t)st.st_size;
	file = segment_file_open(l->pool, path, &none);
	if (file == NULL) {
		return err_set_errno(l->e, errno, "open '%s'", path);
	}
	segment_file_retire(file);
	return 0;
}

static int load_name(struct log_loader *l, const char *name)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", l->dir, name);

	if (strncmp(name, "free-", 5) == 0) {
		segment_pool_found(l->pool, path);
	} else if (strncmp(name, "segment-", 8) == 0 && strlen(name) == 24) {
		return load_stray_segment(l, path, strtoull(name + 8, NULL, 16));
	} else if (strncmp(name, "prepare.tmp", 11) == 0) {
		(void)unlink(path); /* Half filled; made again when one is needed. */
	}
	return 0;
}

/* Free files first: retired segments then get names beyond theirs. */
static int load_names(struct log_loader *l, bool free_files)
{
	DIR *dir = opendir(l->dir);
	struct dirent *found;
	int rc = 0;

	if (dir == NULL) {
		return err_set_errno(l->e, errno, "open directory '%s'", l->dir);
	}
	while (rc == 0 && (found = readdir(dir)) != NULL) {
		if ((strncmp(found->d_name, "free-", 5) == 0) == free_files) {
			rc = load_name(l, found->d_name);
		}
	}
	(void)closedir(dir); /* Only read. */
	return rc;
}

int log_load(struct segment_pool *pool, const char *dir, const struct log_state *state,
	struct log_index *index, struct log_loaded *ret_loaded, struct err *e)
{
	struct log_loader l = {.pool = pool, .dir = dir, .state = state, .index = index, .e = e};
	int rc;

	l.loaded.state = *state;
	index->first = 1;
	for (uint64_t epoch = state->first_epoch; epoch <= state->last_epoch; epoch++) {
		rc = load_segment(&l, epoch);
		if (rc != 0) {
			goto failed;
		}
	}
	rc = load_names(&l, true);
	if (rc == 0) {
		rc = load_names(&l, false);
	}
	if (rc != 0) {
		goto failed;
	}
	*ret_loaded = l.loaded;
	return 0;
failed:
	for (unsigned i = 0; i < l.loaded.n_segments; i++) {
		segment_file_unref(l.loaded.segments[i]);
	}
	free(l.loaded.segments);
	return rc;
}
