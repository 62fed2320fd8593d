#include "cli/client/put_source.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/wire.h"

enum { JOURNAL_BYTES_MAX = 64 << 20, JOURNAL_PAGES_MAX = 8 << 20 };

static int source_stat(struct put_source *s, struct err *e)
{
	struct stat st;

	if (fstat(s->fd, &st) != 0) {
		return err_set_errno(e, errno, "stat '%s'", s->local_path);
	}
	s->pipe = !S_ISREG(st.st_mode);
	if (S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode)) {
		return err_set(
			e, KLUIS_EINVAL, "'%s' is no file (a folder needs -r)", s->local_path);
	}
	s->size = s->pipe ? 0 : (uint64_t)st.st_size;
	s->mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
	s->file.mode = s->pipe ? 0600 : st.st_mode & 0777;
	s->file.mtime_ms = s->pipe ? clock_wall_ms(&clock_system) : s->mtime_ns / 1000000;
	return 0;
}

int put_source_open(
	const char *local_path, const char *path, struct put_source **ret_source, struct err *e)
{
	struct put_source *s = x_calloc(1, sizeof *s);
	int rc;

	s->local_path = x_strdup(local_path);
	s->path = x_strdup(path);
	hash_init(&s->hash);
	s->fd = strcmp(local_path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
					     : open(local_path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	rc = s->fd < 0 ? err_set_errno(e, errno, "open '%s'", local_path) : source_stat(s, e);
	if (rc != 0) {
		put_source_free(s);
		return rc;
	}
	*ret_source = s;
	return 0;
}

struct put_source *put_source_new(const char *path, uint64_t size, unsigned mode, uint64_t mtime_ms,
	int (*read)(void *arg, uint64_t chunk, struct buf *to, struct err *e),
	void (*release)(void *arg), void *arg)
{
	struct put_source *s = x_calloc(1, sizeof *s);

	assert(read != NULL);
	s->local_path = x_strdup(path);
	s->path = x_strdup(path);
	s->fd = -1;
	s->size = size;
	s->file.mode = mode & 0777;
	s->file.mtime_ms = mtime_ms;
	s->read = read;
	s->release = release;
	s->arg = arg;
	hash_init(&s->hash);
	return s;
}

static int memory_read(void *arg, uint64_t chunk, struct buf *to, struct err *e)
{
	const struct buf *content = arg;
	size_t at = (size_t)chunk * PAGE_CONTENT_BYTES_MAX, left;

	(void)e;
	left = at < content->len ? content->len - at : 0;
	buf_append(to, content->data + (left > 0 ? at : 0),
		left < PAGE_CONTENT_BYTES_MAX ? left : PAGE_CONTENT_BYTES_MAX);
	return 0;
}

static void memory_release(void *arg)
{
	struct buf *content = arg;

	secret_buf_release(content);
	free(content);
}

struct put_source *put_source_of(struct bytes content, const char *path, unsigned mode)
{
	struct buf *copy = x_calloc(1, sizeof *copy);

	buf_append_bytes(copy, content);
	return put_source_new(path, content.len, mode, clock_wall_ms(&clock_system), memory_read,
		memory_release, copy);
}

void put_source_free(struct put_source *s)
{
	if (s == NULL) {
		return;
	}
	if (s->release != NULL) {
		s->release(s->arg);
	}
	x_closep(&s->fd);
	hash_release(&s->hash);
	tree_file_release(&s->file);
	free(s->earlier);
	free(s->local_path);
	free(s->path);
	free(s);
}

/* As many bytes as there are, up to a chunk; at < 0: the next ones. */
static int source_fill(struct put_source *s, off_t at, struct buf *to, struct err *e)
{
	buf_clear(to);
	buf_reserve(to, PAGE_CONTENT_BYTES_MAX);
	if (s->read != NULL) {
		return s->read(s->arg,
			at < 0 ? s->next_chunk++ : (uint64_t)at / PAGE_CONTENT_BYTES_MAX, to, e);
	}
	while (to->len < PAGE_CONTENT_BYTES_MAX) {
		size_t room = PAGE_CONTENT_BYTES_MAX - to->len;
		ssize_t n = at < 0 ? read(s->fd, to->data + to->len, room)
				   : pread(s->fd, to->data + to->len, room, at + (off_t)to->len);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return err_set_errno(e, errno, "read '%s'", s->local_path);
		}
		if (n == 0) {
			break;
		}
		to->len += (size_t)n;
	}
	return 0;
}

/* A file that grew, shrank or was written to is in no state that ever was. */
static int source_end(struct put_source *s, struct err *e)
{
	struct stat st;

	hash_final(&s->hash, s->file.sha256);
	if (s->expected && memcmp(s->file.sha256, s->expected_sha256, HASH_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "'%s': its SHA-256 is not the one its item names",
			s->path);
	}
	if (s->pipe || s->read != NULL) {
		return 0;
	}
	if (fstat(s->fd, &st) != 0) {
		return err_set_errno(e, errno, "stat '%s'", s->local_path);
	}
	if ((uint64_t)st.st_size != s->file.size ||
		(uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec !=
			s->mtime_ns) {
		return err_set(e, KLUIS_ECONFLICT, "'%s' changed while it was read", s->local_path);
	}
	return 0;
}

int put_source_next(struct put_source *s, struct buf *to, struct err *e)
{
	int rc = source_fill(s, -1, to, e);

	if (rc != 0) {
		return rc;
	}
	if (to->len == 0) {
		return source_end(s, e);
	}
	hash_update(&s->hash, buf_bytes(to));
	s->file.size += to->len;
	return 0;
}

int put_source_again(struct put_source *s, uint64_t chunk, const uint8_t plain_hash[HASH_BYTES],
	struct buf *to, struct err *e)
{
	uint8_t hash[HASH_BYTES];
	int rc = source_fill(s, (off_t)(chunk * PAGE_CONTENT_BYTES_MAX), to, e);

	assert(!s->pipe);
	if (rc != 0) {
		return rc;
	}
	hash_sha256(buf_bytes(to), hash);
	return memcmp(hash, plain_hash, HASH_BYTES) == 0
		       ? 0
		       : err_set(e, KLUIS_ECONFLICT, "'%s' changed while it was read",
				 s->local_path);
}

int put_source_sha256(struct put_source *s, uint8_t ret_sha256[HASH_BYTES], struct err *e)
{
	_cleanup_(buf_release) struct buf chunk = BUF_INIT;
	struct hash hash;
	off_t at = 0;
	int rc;

	hash_init(&hash);
	do {
		rc = source_fill(s, at, &chunk, e);
		hash_update(&hash, buf_bytes(&chunk));
		at += (off_t)chunk.len;
	} while (rc == 0 && chunk.len == PAGE_CONTENT_BYTES_MAX);
	hash_final(&hash, ret_sha256);
	hash_release(&hash);
	return rc;
}

void put_source_add_page(struct put_source *s, uint64_t page_no)
{
	if (s->file.n_pages == s->pages_cap) {
		s->pages_cap = s->pages_cap == 0 ? 16 : 2 * s->pages_cap;
		s->file.pages = x_realloc(s->file.pages, s->pages_cap * sizeof *s->file.pages);
	}
	s->file.pages[s->file.n_pages++] = page_no;
}

int put_journal_store(const struct vault *vault, const struct put_source *s, struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "upload");
	_cleanup_(buf_release) struct buf payload = BUF_INIT;

	buf_put_lp16(&payload, bytes_str(s->path));
	buf_put_u64(&payload, s->size);
	buf_put_u64(&payload, s->mtime_ns);
	buf_put_u32(&payload, s->file.n_pages);
	for (size_t i = 0; i < s->file.n_pages; i++) {
		buf_put_u64(&payload, s->file.pages[i]);
	}
	return profile_write(vault->profile, name, PROFILE_UPLOAD, buf_bytes(&payload), e);
}

static void journal_take(const struct vault *vault, struct put_source *s, struct bytes payload)
{
	struct wire w = wire_of(payload);
	struct bytes path = wire_lp16(&w, TREE_PATH_BYTES_MAX);
	uint64_t size = wire_u64(&w), mtime_ns = wire_u64(&w);
	uint32_t n = wire_u32(&w);

	if (!wire_ok(&w) || n > JOURNAL_PAGES_MAX || w.left.len != (size_t)n * 8 || s->pipe ||
		!bytes_equal(path, bytes_str(s->path)) || size != s->size ||
		mtime_ns != s->mtime_ns) {
		return;
	}
	s->earlier = x_calloc((size_t)n + 1, sizeof *s->earlier);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t page_no = wire_u64(&w);

		if (page_no >= vault->head.page_count) {
			break;
		}
		s->earlier[s->n_earlier++] = page_no;
	}
}

int put_journal_load(const struct vault *vault, struct put_source *s, bool *ret_any, struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "upload");
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	struct err why = {0};
	int rc = profile_read(
		vault->profile, name, PROFILE_UPLOAD, JOURNAL_BYTES_MAX, &payload, &why);

	*ret_any = rc == 0;
	if (rc == 0) {
		journal_take(vault, s, buf_bytes(&payload));
		return 0;
	}
	/* Without a note, or with a damaged one, all is uploaded again. */
	return rc == KLUIS_ENOTFOUND || rc == KLUIS_ECORRUPT ? 0 : err_set(e, rc, "%s", why.text);
}

int put_journal_drop(const struct vault *vault, struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "upload");

	return profile_remove(vault->profile, name, e);
}
