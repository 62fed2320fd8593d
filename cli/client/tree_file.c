/* What a file's item says, and the chunk numbers of large ones in pages of their own. */
#include <inttypes.h>
#include <string.h>

#include "cli/client/json_reader.h"
#include "cli/client/tree.h"

void tree_file_release(struct tree_file *file)
{
	free(file->pages);
	*file = (struct tree_file){0};
}

int tree_file_stat(const struct tree_item *item, struct tree_file *ret_file, struct err *e)
{
	struct json_reader r = json_reader_of(item->body);
	struct tree_file file = {.size = json_reader_u64(&r, "size")};

	json_reader_hex(&r, "sha256", file.sha256, HASH_BYTES);
	if (json_object_get(item->body, "mtime_ms") != NULL) {
		file.mtime_ms = json_reader_u64(&r, "mtime_ms");
	}
	if (json_object_get(item->body, "mode") != NULL) {
		file.mode = (unsigned)json_reader_u64(&r, "mode") & 0777;
	}
	(void)json_reader_array(&r, "pages");
	if (item->type != ITEM_FILE || r.failed != NULL) {
		return err_set(e, KLUIS_EVERIFY, "'%s' is no well-formed file item",
			item->name == NULL ? "?" : item->name);
	}
	*ret_file = file;
	return 0;
}

static int file_take_pages(const struct tree *tree, const json_t *list, struct tree_file *file,
	size_t wanted, struct err *e)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		json_int_t number = json_is_integer(entry) ? json_integer_value(entry) : -1;

		if (number < 0 || (uint64_t)number >= tree->vault->head.page_count ||
			file->n_pages == wanted) {
			return err_set(e, KLUIS_EVERIFY, "malformed list of chunks");
		}
		file->pages[file->n_pages++] = (uint64_t)number;
	}
	return 0;
}

/* The chunk numbers in a page with one item. */
static int file_take_part(const struct tree *tree, struct bytes content, struct tree_file *file,
	size_t wanted, struct err *e)
{
	_cleanup_(json_dropp) json_t *body = NULL;
	struct page_item item = {.type = 0};

	if (page_item_next(&content, &item) != 0 || item.type != ITEM_PART ||
		json_object_parse(item.body, &body, e) != 0) {
		return err_set(e, KLUIS_EVERIFY, "malformed part of a file");
	}
	return file_take_pages(tree, json_object_get(body, "pages"), file, wanted, e);
}

/* The parts of a large file. */
static int file_take_parts(struct tree *tree, const json_t *more, tree_read_fn *read, void *arg,
	struct tree_file *file, size_t wanted, struct err *e)
{
	const json_t *entry;
	size_t i;
	int rc = 0;

	json_array_foreach(more, i, entry)
	{
		_cleanup_(secret_buf_release) struct buf content = BUF_INIT;
		json_int_t number = json_is_integer(entry) ? json_integer_value(entry) : -1;

		if (number < 0 || (uint64_t)number >= tree->vault->head.page_count) {
			return err_set(e, KLUIS_EVERIFY, "malformed list of parts");
		}
		rc = read(arg, (uint64_t)number, &content, e);
		rc = rc != 0 ? rc : file_take_part(tree, buf_bytes(&content), file, wanted, e);
		if (rc != 0) {
			return rc;
		}
	}
	return 0;
}

static int page_compare(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

/* Each chunk has a page of its own: an item that names one many times would make much of little. */
static bool file_repeats(const struct tree_file *file)
{
	_cleanup_(x_freep) uint64_t *sorted =
		x_memdup(file->pages, (file->n_pages + 1) * sizeof *sorted);

	qsort(sorted, file->n_pages, sizeof *sorted, page_compare);
	for (size_t i = 1; i < file->n_pages; i++) {
		if (sorted[i] == sorted[i - 1]) {
			return true;
		}
	}
	return false;
}

int tree_file_by(struct tree *tree, const struct tree_item *item, tree_read_fn *read, void *arg,
	struct tree_file *ret_file, struct err *e)
{
	struct tree_file file;
	size_t wanted;
	int rc = tree_file_stat(item, &file, e);

	if (rc != 0) {
		return rc;
	}
	if (file.size / PAGE_CONTENT_BYTES_MAX >= tree->vault->head.page_count + 1) {
		return err_set(e, KLUIS_EVERIFY, "'%s': size and chunks do not agree", item->name);
	}
	wanted = (size_t)((file.size + PAGE_CONTENT_BYTES_MAX - 1) / PAGE_CONTENT_BYTES_MAX);
	file.pages = x_calloc(wanted + 1, sizeof *file.pages);
	rc = file_take_pages(tree, json_object_get(item->body, "pages"), &file, wanted, e);
	rc = rc != 0 ? rc
		     : file_take_parts(tree, json_object_get(item->body, "more"), read, arg, &file,
			       wanted, e);
	if (rc == 0 && (file.n_pages != wanted || file_repeats(&file))) {
		rc = err_set(e, KLUIS_EVERIFY, "size and chunks do not agree");
	}
	if (rc != 0) {
		tree_file_release(&file);
		return err_wrap(e, rc, "'%s'", item->name);
	}
	*ret_file = file;
	return 0;
}

/* As it is now. */
static int file_read_part(void *arg, uint64_t page_no, struct buf *ret_content, struct err *e)
{
	bool moved;
	int rc = vault_read_page(arg, page_no, true, ret_content, &moved, e);

	return rc != 0 || !moved
		       ? rc
		       : err_set(e, KLUIS_ECONFLICT, "the file changed while it was read");
}

int tree_file_of(
	struct tree *tree, const struct tree_item *item, struct tree_file *ret_file, struct err *e)
{
	return tree_file_by(tree, item, file_read_part, tree->vault, ret_file, e);
}

uint64_t tree_file_bytes(const struct tree *tree)
{
	struct tree_file file;
	struct err ignored = {0};
	uint64_t bytes = 0;

	for (size_t i = 0; i < tree->n_sorted; i++) {
		if (tree->sorted[i]->type == ITEM_FILE &&
			tree_file_stat(tree->sorted[i], &file, &ignored) == 0) {
			bytes += file.size;
		}
	}
	return bytes;
}
