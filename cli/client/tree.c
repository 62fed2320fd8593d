#include "cli/client/tree.h"

#include <assert.h>
#include <inttypes.h>
#include <search.h>
#include <string.h>

#include "base/random.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/json_reader.h"

static const uint8_t tree_root[ID_BYTES];

int tree_compare_names(const void *a, const void *b)
{
	const struct tree_item *x = a, *y = b;
	int order = memcmp(x->parent, y->parent, ID_BYTES);

	return order != 0 ? order : strcmp(x->name, y->name);
}

int tree_compare_ids(const void *a, const void *b)
{
	const struct tree_item *x = a, *y = b;

	return memcmp(x->id, y->id, ID_BYTES);
}

bool tree_name_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > ITEM_NAME_BYTES_MAX || !utf8_valid(bytes_str(name)) ||
		strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '/' || (unsigned char)name[i] < 0x20 || name[i] == 0x7f) {
			return false;
		}
	}
	return true;
}

static void item_free(struct tree_item *item)
{
	json_decref(item->body);
	buf_release(&item->raw);
	free(item);
}

static void tree_keep(void *item)
{
	(void)item; /* The array owns it. */
}

void tree_free(struct tree *tree)
{
	if (tree == NULL) {
		return;
	}
	tdestroy(tree->by_name, tree_keep);
	tdestroy(tree->by_id, tree_keep);
	for (size_t i = 0; i < tree->n_items; i++) {
		item_free(tree->items[i]);
	}
	free(tree->items);
	free(tree->pages);
	free(tree->doomed);
	free(tree);
}

void tree_file_release(struct tree_file *file)
{
	free(file->pages);
	*file = (struct tree_file){0};
}

void tree_add_item(struct tree *tree, struct tree_item *item)
{
	if (tree->n_items == tree->items_cap) {
		tree->items_cap = tree->items_cap == 0 ? 256 : 2 * tree->items_cap;
		tree->items = x_realloc(tree->items, tree->items_cap * sizeof *tree->items);
	}
	tree->items[tree->n_items++] = item;
}

/* Into the two indexes; false when the place or the id is taken (of two, the first counts). */
static bool tree_index_item(struct tree *tree, struct tree_item *item)
{
	struct tree_item **slot = tsearch(item, &tree->by_id, tree_compare_ids);

	if (*slot != item) {
		item->name = NULL;
		return false;
	}
	if (item->name == NULL) {
		return true;
	}
	slot = tsearch(item, &tree->by_name, tree_compare_names);
	if (*slot != item) {
		item->name = NULL;
		return false;
	}
	return true;
}

/* Name and parent of a file or folder; what has none stays out of the names. */
static bool item_place(struct tree_item *item)
{
	struct json_reader r = json_reader_of(item->body);
	const char *name = json_reader_string(&r, "name");

	if (json_object_get(item->body, "parent") != NULL) {
		json_reader_hex(&r, "parent", item->parent, ID_BYTES);
	}
	/* A folder with the root's id would lie in itself. */
	if (r.failed != NULL || !tree_name_valid(name) ||
		memcmp(item->id, tree_root, ID_BYTES) == 0) {
		return false;
	}
	item->name = name;
	return true;
}

static void tree_take_item(struct tree *tree, const struct page_item *from, size_t page)
{
	struct tree_item *item = x_calloc(1, sizeof *item);
	struct err ignored = {0};

	memcpy(item->id, from->item_id, ID_BYTES);
	item->rev = from->item_rev;
	item->type = from->type;
	item->page = page;
	buf_append_bytes(&item->raw, from->body);
	if (json_object_parse(from->body, &item->body, &ignored) != 0) {
		item->body = NULL;
	}
	if (item->type == ITEM_FILE || item->type == ITEM_FOLDER) {
		tree->malformed += item->body == NULL || !item_place(item);
	}
	if (item->type != ITEM_INDEX) {
		tree->malformed += !tree_index_item(tree, item);
	}
	tree_add_item(tree, item);
}

static int tree_take_page(struct tree *tree, uint64_t page_no, struct bytes content, struct err *e)
{
	size_t index = tree->n_pages;

	tree->pages = x_realloc(tree->pages, (tree->n_pages + 1) * sizeof *tree->pages);
	tree->pages[tree->n_pages++] = (struct tree_page){.page_no = page_no, .bytes = content.len};
	while (content.len > 0) {
		struct page_item item;

		if (page_item_next(&content, &item) != 0 || tree->n_items >= TREE_ITEMS_MAX) {
			return err_set(
				e, KLUIS_EVERIFY, "page %" PRIu64 ": malformed items", page_no);
		}
		tree_take_item(tree, &item, index);
	}
	return 0;
}

static struct tree_item *item_parent(const struct tree *tree, const struct tree_item *item)
{
	struct tree_item key = {.rev = 0};
	struct tree_item **slot;

	memcpy(key.id, item->parent, ID_BYTES);
	slot = tfind(&key, &tree->by_id, tree_compare_ids);
	return slot == NULL || (*slot)->name == NULL || (*slot)->type != ITEM_FOLDER ? NULL : *slot;
}

/* The depth of an item that hangs together with the root within TREE_DEPTH_MAX folders; 0 else. */
static unsigned item_find_depth(const struct tree *tree, struct tree_item *item)
{
	struct tree_item *way[TREE_DEPTH_MAX];
	unsigned n = 0, depth = 0;

	while (item->depth == 0 && memcmp(item->parent, tree_root, ID_BYTES) != 0) {
		if (n == TREE_DEPTH_MAX) {
			return 0;
		}
		way[n++] = item;
		item = item_parent(tree, item);
		if (item == NULL) {
			return 0;
		}
	}
	depth = item->depth == 0 ? 1 : item->depth;
	item->depth = depth;
	if (depth + n > TREE_DEPTH_MAX) {
		return 0;
	}
	while (n > 0) {
		way[--n]->depth = ++depth;
	}
	return depth;
}

/* What other devices wrote may nest without end, in itself, or in nothing: that has no place. So
 * whoever walks the tree goes at most TREE_DEPTH_MAX folders deep. */
static void tree_place_items(struct tree *tree)
{
	for (size_t i = 0; i < tree->n_items; i++) {
		struct tree_item *item = tree->items[i];

		if (item->name != NULL && item_find_depth(tree, item) == 0) {
			(void)tdelete(item, &tree->by_name, tree_compare_names);
			item->name = NULL;
			tree->malformed++;
		}
	}
}

int tree_parse(struct vault *vault, struct bytes content, struct tree **ret_tree, struct err *e)
{
	struct tree *tree = x_calloc(1, sizeof *tree);
	int rc;

	tree->vault = vault;
	rc = tree_take_page(tree, 0, content, e);
	if (rc != 0) {
		tree_free(tree);
		return rc;
	}
	tree_place_items(tree);
	*ret_tree = tree;
	return 0;
}

/* The page numbers that the index item names, beside page 0. */
static int tree_index_pages(
	const struct tree *tree, uint64_t **ret_pages, size_t *ret_n, struct err *e)
{
	const json_t *list = NULL, *entry;
	uint64_t *pages;
	size_t i;

	for (i = 0; i < tree->n_items; i++) {
		if (tree->items[i]->type == ITEM_INDEX && tree->items[i]->page == 0) {
			list = json_object_get(tree->items[i]->body, "pages");
		}
	}
	if (list == NULL) {
		*ret_n = 0;
		*ret_pages = NULL;
		return 0;
	}
	if (json_array_size(list) > TREE_PAGES_MAX) {
		return err_set(e, KLUIS_EVERIFY, "the index of items is too long");
	}
	pages = x_calloc(json_array_size(list) + 1, sizeof *pages);
	json_array_foreach(list, i, entry)
	{
		json_int_t number = json_is_integer(entry) ? json_integer_value(entry) : -1;

		if (number <= (i == 0 ? 0 : (json_int_t)pages[i - 1]) ||
			(uint64_t)number >= tree->vault->head.page_count) {
			free(pages);
			return err_set(e, KLUIS_EVERIFY, "the index of items is malformed");
		}
		pages[i] = (uint64_t)number;
	}
	*ret_pages = pages;
	*ret_n = json_array_size(list);
	return 0;
}

static int tree_read_page(struct tree *tree, uint64_t page_no, bool *ret_moved, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf content = BUF_INIT;
	int rc = vault_read_page(tree->vault, page_no, true, &content, ret_moved, e);

	return rc != 0 || *ret_moved ? rc : tree_take_page(tree, page_no, buf_bytes(&content), e);
}

static int tree_read_all(struct tree *tree, bool *ret_moved, struct err *e)
{
	_cleanup_(x_freep) uint64_t *pages = NULL;
	size_t n = 0;
	int rc;

	*ret_moved = false;
	if (tree->vault->head.page_count == 0 || !vault_page_written(tree->vault, 0)) {
		return tree_take_page(tree, 0, bytes_of(NULL, 0), e);
	}
	rc = tree_read_page(tree, 0, ret_moved, e);
	rc = rc != 0 || *ret_moved ? rc : tree_index_pages(tree, &pages, &n, e);
	for (size_t i = 0; i < n && rc == 0 && !*ret_moved; i++) {
		rc = tree_read_page(tree, pages[i], ret_moved, e);
	}
	return rc;
}

int tree_load(struct vault *vault, struct tree **ret_tree, struct err *e)
{
	for (unsigned tries = 0; tries < VAULT_FETCH_TRIES; tries++) {
		struct tree *tree = x_calloc(1, sizeof *tree);
		bool moved;
		int rc;

		tree->vault = vault;
		rc = tree_read_all(tree, &moved, e);
		if (rc == 0 && !moved) {
			tree_place_items(tree);
			*ret_tree = tree;
			return 0;
		}
		tree_free(tree);
		if (rc != 0) {
			return rc;
		}
	}
	return err_set(e, KLUIS_ECONFLICT, "vault '%s': it changes faster than it can be read",
		vault->name);
}

struct tree_item *tree_child(
	const struct tree *tree, const struct tree_item *folder, const char *name)
{
	struct tree_item key = {.name = name};
	struct tree_item **slot;

	memcpy(key.parent, folder == NULL ? tree_root : folder->id, ID_BYTES);
	slot = tfind(&key, &tree->by_name, tree_compare_names);
	return slot == NULL ? NULL : *slot;
}

/* Takes the next name off *path; false at its end. KLUIS_EINVAL is for the caller to see in rc. */
static bool path_next(const char **path, char name[ITEM_NAME_BYTES_MAX + 1], int *ret_rc)
{
	size_t len;

	*path += strspn(*path, "/");
	len = strcspn(*path, "/");
	if (len == 0) {
		return false;
	}
	if (len > ITEM_NAME_BYTES_MAX) {
		*ret_rc = KLUIS_EINVAL;
		return false;
	}
	memcpy(name, *path, len);
	name[len] = 0;
	*path += len;
	if (!tree_name_valid(name)) {
		*ret_rc = KLUIS_EINVAL;
		return false;
	}
	return true;
}

static int path_check(const char *path, struct err *e)
{
	char name[ITEM_NAME_BYTES_MAX + 1];
	const char *at = path;
	unsigned depth = 0;
	int rc = 0;

	if (path[0] != '/' || strlen(path) > TREE_PATH_BYTES_MAX) {
		rc = KLUIS_EINVAL;
	}
	while (rc == 0 && path_next(&at, name, &rc)) {
		depth++;
	}
	if (rc != 0 || depth > TREE_DEPTH_MAX) {
		return err_set(e, KLUIS_EINVAL,
			"no path in a vault (1 to %d names of 1 to %d bytes of UTF-8 without "
			"control bytes behind '/'): '%s'",
			TREE_DEPTH_MAX, ITEM_NAME_BYTES_MAX, path);
	}
	return 0;
}

int tree_find(const struct tree *tree, const char *path, struct tree_item **ret_item, struct err *e)
{
	char name[ITEM_NAME_BYTES_MAX + 1];
	struct tree_item *item = NULL;
	const char *at = path;
	int rc = path_check(path, e);

	while (rc == 0 && path_next(&at, name, &rc)) {
		if (item != NULL && item->type != ITEM_FOLDER) {
			item = NULL;
		} else {
			item = tree_child(tree, item, name);
		}
		if (item == NULL) {
			return err_set(e, KLUIS_ENOTFOUND, "'%s:%s' does not exist",
				tree->vault->name, path);
		}
	}
	if (rc == 0) {
		*ret_item = item;
	}
	return rc;
}

int tree_check_place(const struct tree *tree, const char *path, bool folder, struct err *e)
{
	char name[ITEM_NAME_BYTES_MAX + 1];
	struct tree_item *item = NULL;
	const char *at = path;
	int rc = path_check(path, e);

	while (rc == 0 && path_next(&at, name, &rc)) {
		item = tree_child(tree, item, name);
		if (item == NULL) {
			return 0;
		}
		if (item->type != ITEM_FOLDER && (folder || at[strspn(at, "/")] != 0)) {
			return err_set(e, KLUIS_ECONFLICT, "'%s:%s': '%s' is a file",
				tree->vault->name, path, name);
		}
	}
	if (rc == 0 && !folder && (item == NULL || item->type == ITEM_FOLDER)) {
		return err_set(e, KLUIS_ECONFLICT, "'%s:%s' is a folder", tree->vault->name, path);
	}
	return rc;
}

static int children_compare(const void *a, const void *b)
{
	const struct tree_item *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

struct tree_item **tree_children(
	const struct tree *tree, const struct tree_item *folder, size_t *ret_n)
{
	struct tree_item **found = x_calloc(tree->n_items + 1, sizeof *found);
	const uint8_t *id = folder == NULL ? tree_root : folder->id;
	size_t n = 0;

	for (size_t i = 0; i < tree->n_items; i++) {
		struct tree_item *item = tree->items[i];

		if (!item->gone && item->name != NULL && memcmp(item->parent, id, ID_BYTES) == 0) {
			found[n++] = item;
		}
	}
	qsort(found, n, sizeof(struct tree_item *), children_compare);
	*ret_n = n;
	return found;
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

/* The parts of a large file: pages with one item each. */
static int file_take_parts(
	struct tree *tree, const json_t *more, struct tree_file *file, size_t wanted, struct err *e)
{
	const json_t *entry;
	size_t i;
	int rc = 0;

	json_array_foreach(more, i, entry)
	{
		_cleanup_(secret_buf_release) struct buf content = BUF_INIT;
		json_int_t number = json_is_integer(entry) ? json_integer_value(entry) : -1;
		struct page_item item = {.type = 0};
		struct bytes left;
		json_t *body = NULL;
		bool moved;

		if (number < 0 || (uint64_t)number >= tree->vault->head.page_count) {
			return err_set(e, KLUIS_EVERIFY, "malformed list of parts");
		}
		rc = vault_read_page(tree->vault, (uint64_t)number, true, &content, &moved, e);
		if (rc == 0 && moved) {
			rc = err_set(e, KLUIS_ECONFLICT, "the file changed while it was read");
		}
		left = buf_bytes(&content);
		if (rc == 0 && (page_item_next(&left, &item) != 0 || item.type != ITEM_PART ||
				       json_object_parse(item.body, &body, e) != 0)) {
			rc = err_set(e, KLUIS_EVERIFY, "malformed part of a file");
		}
		rc = rc != 0 ? rc
			     : file_take_pages(
				       tree, json_object_get(body, "pages"), file, wanted, e);
		json_decref(body);
		if (rc != 0) {
			return rc;
		}
	}
	return 0;
}

int tree_file_of(
	struct tree *tree, const struct tree_item *item, struct tree_file *ret_file, struct err *e)
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
		     : file_take_parts(tree, json_object_get(item->body, "more"), &file, wanted, e);
	if (rc == 0 && file.n_pages != wanted) {
		rc = err_set(e, KLUIS_EVERIFY, "size and chunks do not agree");
	}
	if (rc != 0) {
		tree_file_release(&file);
		return err_wrap(e, rc, "'%s'", item->name);
	}
	*ret_file = file;
	return 0;
}
