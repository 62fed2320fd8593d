#include "cli/client/history.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/client/json_reader.h"

enum { HISTORY_ROWS_MAX = 1 << 20 };

static void row_release(struct history_row *row)
{
	json_decref(row->body);
	free(row->path);
}

void history_release(struct history *history)
{
	for (size_t i = 0; i < history->n; i++) {
		row_release(&history->rows[i]);
	}
	free(history->rows);
	*history = (struct history){.n = 0};
}

void history_version(const struct history_row *row, char to[HISTORY_VERSION_CHARS])
{
	(void)snprintf(to, HISTORY_VERSION_CHARS, "%" PRIu64 ".%" PRIu64, row->page_no,
		row->page_revision);
}

const struct history_row *history_find(const struct history *history, const char *version)
{
	char text[HISTORY_VERSION_CHARS];

	for (size_t i = 0; i < history->n; i++) {
		history_version(&history->rows[i], text);
		if (strcmp(text, version) == 0) {
			return &history->rows[i];
		}
	}
	return NULL;
}

/* A version as its writer sealed it, whatever the cluster says of it. */
static int version_open(struct vault *vault, uint64_t page_no, uint64_t revision,
	struct buf *ret_content, struct page_header *ret_header, struct err *e)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	int rc = api_version(vault->client, vault->id, page_no, revision, &page, e);

	rc = rc != 0 ? rc : page_parse(buf_bytes(&page), ret_header, e);
	if (rc != 0) {
		return rc;
	}
	if (ret_header->place.page_no != page_no || ret_header->place.revision != revision ||
		memcmp(ret_header->place.vault_id, vault->id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY,
			"vault '%s': the cluster sent another page than version %" PRIu64
			".%" PRIu64,
			vault->name, page_no, revision);
	}
	for (size_t i = 0; i < vault->n_keys; i++) {
		if (vault->keys[i].epoch == ret_header->place.key_epoch) {
			return page_open(secret_bytes(&vault->keys[i].vk), buf_bytes(&page),
				&ret_header->place, ret_content, e);
		}
	}
	return err_set(e, KLUIS_EFORBIDDEN, "vault '%s': page %" PRIu64 " is of an unknown epoch",
		vault->name, page_no);
}

/* The versions of a page, newest first, none newer than what the signed head names. */
static int versions_list(struct vault *vault, uint64_t page_no,
	struct api_version_row rows[LIST_LIMIT_MAX], size_t *ret_n, struct err *e)
{
	uint64_t next;
	size_t n, kept = 0;
	int rc = vault_next_revision(vault, page_no, &next, e); /* Proves the newest. */

	rc = rc != 0 ? rc : api_versions(vault->client, vault->id, page_no, rows, &n, e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (rows[i].revision < next) {
			rows[kept++] = rows[i];
		}
	}
	if (rc == 0) {
		*ret_n = kept;
	}
	return rc;
}

/* --- rows --- */

struct scan {
	struct tree *tree;
	struct history history;
};

static bool scan_known(struct scan *scan, const struct tree_item *item,
	const uint8_t state[HASH_BYTES], uint64_t page_no, uint64_t revision, uint64_t written_ms)
{
	for (size_t i = 0; i < scan->history.n; i++) {
		struct history_row *row = &scan->history.rows[i];

		if (row->rev == item->rev && memcmp(row->id, item->id, ID_BYTES) == 0 &&
			memcmp(row->state, state, HASH_BYTES) == 0) {
			/* Another version of a page shows the same: the first counts. */
			if (written_ms < row->written_ms) {
				row->page_no = page_no;
				row->page_revision = revision;
				row->written_ms = written_ms;
			}
			return true;
		}
	}
	return false;
}

static void scan_take(struct scan *scan, const struct tree_item *item, uint64_t page_no,
	const struct api_version_row *version, const struct page_header *header)
{
	struct history_row row = {.page_no = page_no,
		.page_revision = version->revision,
		.written_ms = version->written_ms,
		.rev = item->rev,
		.type = item->type};

	tree_item_state(item, row.state);
	if (item->name == NULL || item_type_name(item->type) == NULL ||
		scan->history.n >= HISTORY_ROWS_MAX ||
		scan_known(
			scan, item, row.state, page_no, version->revision, version->written_ms)) {
		return;
	}
	memcpy(row.id, item->id, ID_BYTES);
	memcpy(row.device_id, header->device_id, ID_BYTES);
	row.body = json_deep_copy(item->body);
	scan->history.rows =
		x_realloc(scan->history.rows, (scan->history.n + 1) * sizeof *scan->history.rows);
	scan->history.rows[scan->history.n++] = row;
}

/* Where it lay: by the folders that the page's own version has, else by those of now. */
static char *scan_path(
	const struct scan *scan, const struct tree *then, const struct tree_item *item)
{
	uint8_t parent[ID_BYTES];
	static const uint8_t root[ID_BYTES];
	char *path = x_asprintf("/%s", item->name);

	memcpy(parent, item->parent, ID_BYTES);
	for (unsigned depth = 0; depth < TREE_DEPTH_MAX && memcmp(parent, root, ID_BYTES) != 0;
		depth++) {
		const struct tree_item *folder = tree_by_id(then, parent);
		char *below = path;

		if (folder == NULL || folder->name == NULL) {
			folder = tree_by_id(scan->tree, parent);
		}
		if (folder == NULL || folder->name == NULL) {
			path = x_asprintf("/?%s", below);
			free(below);
			break;
		}
		path = x_asprintf("/%s%s", folder->name, below);
		free(below);
		memcpy(parent, folder->parent, ID_BYTES);
	}
	return path;
}

/* One version of an item page: the items that lay at the path, or are the wanted one. */
static int scan_version(struct scan *scan, uint64_t page_no, const struct api_version_row *version,
	const char *path, const struct tree_item *now, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf content = BUF_INIT;
	struct page_header header;
	struct tree *then;
	int rc = version_open(scan->tree->vault, page_no, version->revision, &content, &header, e);

	if (rc != 0 || header.kind != PAGE_ITEMS) {
		return rc;
	}
	/* Folders of other pages are not in it: places are looked up by scan_path(). */
	rc = tree_parse_loose(scan->tree->vault, buf_bytes(&content), &then, e);
	for (size_t i = 0; rc == 0 && i < then->n_items; i++) {
		struct tree_item *item = then->items[i];
		size_t before = scan->history.n;
		char *place;

		if (item->name == NULL) {
			continue;
		}
		place = scan_path(scan, then, item);
		if (strcmp(place, path) == 0 ||
			(now != NULL && memcmp(item->id, now->id, ID_BYTES) == 0)) {
			scan_take(scan, item, page_no, version, &header);
		}
		if (scan->history.n > before) {
			scan->history.rows[before].path = place;
		} else {
			free(place);
		}
	}
	if (rc == 0) {
		tree_free(then);
	}
	return rc;
}

static int scan_page(struct scan *scan, uint64_t page_no, const char *path,
	const struct tree_item *now, struct err *e)
{
	struct api_version_row *versions = x_calloc(LIST_LIMIT_MAX, sizeof *versions);
	size_t n = 0;
	int rc = versions_list(scan->tree->vault, page_no, versions, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = scan_version(scan, page_no, &versions[i], path, now, e);
		if (rc == KLUIS_ENOTFOUND && i > 0) { /* It fell out of the kept ones meanwhile. */
			*e = (struct err){0};
			rc = 0;
			break;
		}
	}
	free(versions);
	return rc;
}

/* Its beginning was found: no other page has anything of it. */
static bool scan_complete(const struct scan *scan, const struct tree_item *now)
{
	for (size_t i = 0; now != NULL && i < scan->history.n; i++) {
		if (scan->history.rows[i].rev == 1 &&
			memcmp(scan->history.rows[i].id, now->id, ID_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

static int row_compare(const void *a, const void *b)
{
	const struct history_row *x = a, *y = b;

	if (x->written_ms != y->written_ms) {
		return x->written_ms < y->written_ms ? 1 : -1;
	}
	return x->rev < y->rev ? 1 : x->rev > y->rev ? -1 : 0;
}

static void scan_mark(struct scan *scan)
{
	for (size_t i = 0; i < scan->history.n; i++) {
		struct history_row *row = &scan->history.rows[i];
		const struct tree_item *item = tree_by_id(scan->tree, row->id);
		uint8_t state[HASH_BYTES];

		row->removed = item == NULL || item->name == NULL;
		if (!row->removed) {
			tree_item_state(item, state);
			row->current =
				item->rev == row->rev && memcmp(state, row->state, HASH_BYTES) == 0;
		}
	}
	if (scan->history.n > 1) {
		qsort(scan->history.rows, scan->history.n, sizeof *scan->history.rows, row_compare);
	}
}

int history_load(struct tree *tree, const char *path, const struct history_config *config,
	struct history *ret_history, struct err *e)
{
	struct scan scan = {.tree = tree};
	_cleanup_(x_freep) char *place = tree_canonical(path);
	struct tree_item *now = NULL;
	struct err ignored = {0};
	size_t first;
	int rc;

	if (tree_find(tree, path, &now, &ignored) != 0) {
		now = NULL;
	}
	first = now == NULL ? 0 : now->page;
	rc = tree->n_pages == 0 || tree->vault->head.page_count == 0
		     ? 0
		     : scan_page(&scan, tree->pages[first].page_no, place, now, e);
	for (size_t i = 0; rc == 0 && i < tree->n_pages; i++) {
		if (scan_complete(&scan, now) && !config->all) {
			break;
		}
		if (i != first && tree->pages[i].part_of == NULL) {
			rc = scan_page(&scan, tree->pages[i].page_no, place, now, e);
		}
		if (config->progress != NULL) {
			config->progress(config->arg, i + 1, tree->n_pages);
		}
	}
	if (rc != 0) {
		history_release(&scan.history);
		return rc;
	}
	scan_mark(&scan);
	*ret_history = scan.history;
	return 0;
}

/* --- a file's bytes --- */

struct old_file {
	struct vault *vault;
	uint64_t *pages;
	size_t n;
};

/* The newest version of a page that is no tombstone: page numbers of chunks are never used again.
 */
static int old_page(struct vault *vault, uint64_t page_no, unsigned kind, struct buf *ret_content,
	struct err *e)
{
	struct api_version_row *versions = x_calloc(LIST_LIMIT_MAX, sizeof *versions);
	struct page_header header;
	size_t n = 0, i = 0;
	int rc = versions_list(vault, page_no, versions, &n, e);

	while (rc == 0 && i < n && versions[i].bytes <= PAGE_TOMBSTONE_BYTES) {
		i++;
	}
	if (rc == 0 && i == n) {
		rc = err_set(
			e, KLUIS_ENOTFOUND, "page %" PRIu64 " of it is not kept any more", page_no);
	}
	rc = rc != 0 ? rc
		     : version_open(vault, page_no, versions[i].revision, ret_content, &header, e);
	if (rc == 0 && header.kind != kind) {
		rc = err_set(e, KLUIS_EVERIFY, "page %" PRIu64 " is none of this file", page_no);
	}
	free(versions);
	return rc;
}

static int old_chunk(void *arg, uint64_t chunk, struct buf *to, struct err *e)
{
	const struct old_file *file = arg;

	return chunk >= file->n ? 0 : old_page(file->vault, file->pages[chunk], PAGE_CHUNK, to, e);
}

static void old_release(void *arg)
{
	struct old_file *file = arg;

	free(file->pages);
	free(file);
}

static int old_part(void *arg, uint64_t page_no, struct buf *ret_content, struct err *e)
{
	return old_page(arg, page_no, PAGE_ITEMS, ret_content, e);
}

int history_source(struct tree *tree, const struct history_row *row, const char *path,
	struct put_source **ret_source, struct err *e)
{
	const struct tree_item item = {.type = row->type, .body = row->body, .name = row->path};
	struct old_file *old;
	struct tree_file file;
	int rc = tree_file_by(tree, &item, old_part, tree->vault, &file, e);

	if (rc != 0) {
		return rc;
	}
	old = x_calloc(1, sizeof *old);
	*old = (struct old_file){.vault = tree->vault, .pages = file.pages, .n = file.n_pages};
	*ret_source = put_source_new(
		path, file.size, file.mode, file.mtime_ms, old_chunk, old_release, old);
	(*ret_source)->expected = true;
	memcpy((*ret_source)->expected_sha256, file.sha256, HASH_BYTES);
	return 0;
}

int put_version(struct put *put, const struct history_row *row, const char *path, struct err *e)
{
	const struct tree_item *item = tree_by_id(put_tree(put), row->id);
	_cleanup_(x_freep) char *place = item != NULL && item->name != NULL
						 ? tree_path(put_tree(put), item)
						 : x_strdup(path);
	struct item_fields fields;
	struct put_source *source;
	bool is_local;
	int rc;

	if (row->current) {
		return err_set(e, KLUIS_EEXIST, "'%s' is like that now", place);
	}
	if (row->type == ITEM_FOLDER) {
		return put_folder(put, place, e);
	}
	if (item_type_has_fields(row->type)) {
		fields = item_fields_of(row->type, row->body);
		return put_fields(put, place, row->type, &fields, NULL, e);
	}
	rc = history_source(put_tree(put), row, place, &source, e);
	return rc != 0 ? rc : put_from(put, source, NULL, &is_local, e);
}
