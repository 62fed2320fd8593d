#include "cli/client/get.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/client/download.h"

/* A page that did not come, or is not the pinned leaf: a newer head explains it, or nothing does.
 */
static int get_failed(struct vault *vault, uint64_t page_no, int rc, bool *ret_moved, struct err *e)
{
	rc = vault_judge_page(vault, page_no, rc, ret_moved, e);
	return rc != 0 ? rc
		       : err_set(e, KLUIS_ECONFLICT, "vault '%s' changed while it was read",
				 vault->name);
}

static int get_chunk(struct vault *vault, uint64_t page_no, struct bytes page, size_t wanted,
	struct buf *content, bool *ret_moved, struct err *e)
{
	int rc;

	buf_clear(content);
	if (vault_check_page(vault, page_no, page, e) != 0) {
		return get_failed(vault, page_no, KLUIS_EVERIFY, ret_moved, e);
	}
	rc = vault_open_page(vault, page_no, page, content, e);
	if (rc == 0 && content->len != wanted) {
		return err_set(
			e, KLUIS_EVERIFY, "page %" PRIu64 " is no chunk of this file", page_no);
	}
	return rc;
}

static size_t chunk_bytes(const struct tree_file *file, size_t chunk)
{
	uint64_t left = file->size - (uint64_t)chunk * PAGE_CONTENT_BYTES_MAX;

	return left < PAGE_CONTENT_BYTES_MAX ? (size_t)left : PAGE_CONTENT_BYTES_MAX;
}

/* From the cache, where `kluis sync --files` put it, else from the cluster. */
static int get_page(struct vault *vault, struct download *download, uint64_t page_no, bool cached,
	struct buf *kept, struct bytes *ret_page, struct err *e)
{
	struct err why = {0};

	if (!cached) {
		return download_next(download, ret_page, e);
	}
	buf_clear(kept);
	if (vault_cached_page(vault, page_no, kept, &why) != 0) {
		return vault->offline ? vault_refuse_offline(vault, e)
				      : err_set(e, KLUIS_EIO, "the cached page %" PRIu64 " is gone",
						page_no);
	}
	*ret_page = buf_bytes(kept);
	return 0;
}

/* Those that are to be fetched, in order. */
static uint64_t *get_missing(const struct vault *vault, const struct tree_file *file,
	const struct get_config *config, size_t *ret_n)
{
	if (vault->offline) {
		*ret_n = 0;
		return NULL;
	}
	if (config->uncached) {
		*ret_n = file->n_pages;
		return x_memdup(file->pages, (file->n_pages + 1) * sizeof *file->pages);
	}
	return vault_uncached(vault, file->pages, file->n_pages, ret_n);
}

static int get_chunks(struct vault *vault, const struct tree_file *file,
	const struct get_config *config, struct hash *hash, bool *ret_moved, struct err *e)
{
	size_t n_missing = 0, next = 0;
	_cleanup_(x_freep) uint64_t *missing = get_missing(vault, file, config, &n_missing);
	struct download *download = download_new(vault, missing, n_missing);
	_cleanup_(secret_buf_release) struct buf content = BUF_INIT;
	_cleanup_(buf_release) struct buf kept = BUF_INIT;
	int rc = 0;

	buf_reserve(&content, PAGE_CONTENT_BYTES_MAX + 4);
	for (size_t i = 0; i < file->n_pages && rc == 0; i++) {
		bool cached = next >= n_missing || missing[next] != file->pages[i];
		struct bytes page;

		next += !cached;
		rc = get_page(vault, download, file->pages[i], cached, &kept, &page, e);
		rc = rc != 0 ? get_failed(vault, file->pages[i], rc, ret_moved, e)
			     : get_chunk(vault, file->pages[i], page, chunk_bytes(file, i),
				       &content, ret_moved, e);
		if (rc == 0) {
			hash_update(hash, buf_bytes(&content));
			rc = config->write == NULL
				     ? 0
				     : config->write(config->arg, buf_bytes(&content), e);
		}
		if (rc == 0 && config->progress != NULL) {
			config->progress(config->arg, content.len);
		}
	}
	download_free(download);
	return rc;
}

int get_file(struct tree *tree, const struct tree_item *item, const struct get_config *config,
	bool *ret_moved, struct err *e)
{
	struct tree_file file;
	struct hash hash;
	uint8_t sha256[HASH_BYTES];
	int rc;

	*ret_moved = false;
	rc = tree_file_of(tree, item, &file, e);
	if (rc != 0) {
		return rc;
	}
	hash_init(&hash);
	rc = get_chunks(tree->vault, &file, config, &hash, ret_moved, e);
	hash_final(&hash, sha256);
	hash_release(&hash);
	if (rc == 0 && memcmp(sha256, file.sha256, HASH_BYTES) != 0) {
		rc = err_set(e, KLUIS_EVERIFY, "its SHA-256 is not the one its item names");
	}
	tree_file_release(&file);
	return rc == 0 ? 0 : err_wrap(e, rc, "'%s'", item->name);
}

int get_folder(const char *local_path, bool named, struct err *e)
{
	struct stat st;

	if (mkdir(local_path, 0777) == 0) {
		return 0;
	}
	if (errno != EEXIST) {
		return err_set_errno(e, errno, "create folder '%s'", local_path);
	}
	if ((named ? stat(local_path, &st) : lstat(local_path, &st)) != 0) {
		return err_set_errno(e, errno, "look at '%s'", local_path);
	}
	return S_ISDIR(st.st_mode)
		       ? 0
		       : err_set(e, KLUIS_EEXIST, "'%s' is in the way: it is %s", local_path,
				 S_ISLNK(st.st_mode) ? "a symbolic link" : "no folder");
}

static int verify_files(struct tree *tree, const struct get_config *config, uint8_t *seen,
	struct get_report *report, bool *ret_moved, struct err *e)
{
	const struct get_config quiet = {
		.progress = config->progress, .arg = config->arg, .uncached = true};

	for (size_t i = 0; i < tree->n_items; i++) {
		const struct tree_item *item = tree->items[i];
		struct tree_file file;
		int rc;

		if (item->type != ITEM_FILE || item->name == NULL) {
			continue;
		}
		rc = get_file(tree, item, &quiet, ret_moved, e);
		rc = rc != 0 ? rc : tree_file_of(tree, item, &file, e);
		if (rc != 0) {
			return rc;
		}
		for (size_t k = 0; k < file.n_pages; k++) {
			seen[file.pages[k]] = 1;
		}
		report->files++;
		report->pages += file.n_pages;
		report->bytes += file.size;
		tree_file_release(&file);
	}
	return 0;
}

/* What no file names: item pages, parts, tombstones, and chunks of uploads never finished. */
static int verify_others(struct tree *tree, const uint8_t *seen, struct get_report *report,
	bool *ret_moved, struct err *e)
{
	struct vault *vault = tree->vault;
	uint64_t count = vault->head.page_count;
	_cleanup_(x_freep) uint64_t *page_nos = x_calloc((size_t)count + 1, sizeof *page_nos);
	struct download *download;
	size_t n = 0;
	int rc = 0;

	for (uint64_t i = 0; i < count; i++) {
		if (!seen[i] && vault_page_written(vault, i)) {
			page_nos[n++] = i;
		}
	}
	download = download_new(vault, page_nos, n);
	for (size_t i = 0; i < n && rc == 0; i++) {
		_cleanup_(secret_buf_release) struct buf content = BUF_INIT;
		struct page_header header;
		struct bytes page;

		rc = download_next(download, &page, e);
		rc = rc != 0 ? rc : vault_check_page(vault, page_nos[i], page, e);
		if (rc != 0) {
			rc = get_failed(vault, page_nos[i], rc, ret_moved, e);
		}
		rc = rc != 0 ? rc : vault_open_page(vault, page_nos[i], page, &content, e);
		rc = rc != 0 ? rc : page_parse(page, &header, e);
		if (rc == 0) {
			report->pages++;
			report->orphans += header.kind == PAGE_CHUNK;
		}
	}
	download_free(download);
	return rc;
}

int get_verify_all(struct tree *tree, const struct get_config *config,
	struct get_report *ret_report, bool *ret_moved, struct err *e)
{
	uint64_t count = tree->vault->head.page_count;
	_cleanup_(x_freep) uint8_t *seen = x_calloc((size_t)count + 1, 1);
	struct get_report report = {.malformed = tree->malformed};
	int rc;

	*ret_moved = false;
	rc = verify_files(tree, config, seen, &report, ret_moved, e);
	rc = rc != 0 ? rc : verify_others(tree, seen, &report, ret_moved, e);
	if (rc == 0) {
		*ret_report = report;
	}
	return rc;
}
