/* Changes to a vault's tree, and the pages they make. */
#include <assert.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/client/tree.h"

enum { ITEM_FIXED_BYTES = ID_BYTES + 8 + 2 + 4 };

void tree_doom(struct tree *tree, uint64_t page_no)
{
	tree->doomed = x_realloc(tree->doomed, (tree->n_doomed + 1) * sizeof *tree->doomed);
	tree->doomed[tree->n_doomed++] = page_no;
}

static size_t edit_add_page(struct tree *tree)
{
	tree->pages = x_realloc(tree->pages, (tree->n_pages + 1) * sizeof *tree->pages);
	tree->pages[tree->n_pages] = (struct tree_page){.page_no = TREE_NO_PAGE, .dirty = true};
	return tree->n_pages++;
}

/* The last page that takes items of all kinds. */
static size_t edit_last_page(const struct tree *tree)
{
	size_t last = tree->n_pages - 1;

	while (tree->pages[last].part_of != NULL) {
		assert(last > 0); /* Page 0 holds no part. */
		last--;
	}
	return last;
}

/* Renders the body, and finds a page with room: its own, the last, or a new one. */
static void edit_store(struct tree *tree, struct tree_item *item, bool fresh)
{
	size_t last = edit_last_page(tree);

	if (!fresh) {
		tree->pages[item->page].bytes -= ITEM_FIXED_BYTES + item->raw.len;
		tree->pages[item->page].dirty = true;
	}
	secret_buf_release(&item->raw);
	json_take_text(json_incref(item->body), &item->raw);
	if (fresh || tree->pages[item->page].bytes + item->raw.len > TREE_PAGE_FILL_BYTES) {
		size_t need = ITEM_FIXED_BYTES + item->raw.len;

		/* Page 0 holds the index, which grows: a quarter of it is kept free. */
		size_t room = last == 0 ? TREE_PAGE_FILL_BYTES * 3 / 4 : TREE_PAGE_FILL_BYTES;

		item->page = tree->pages[last].bytes + need <= room ||
					     (tree->pages[last].bytes == 0 && last > 0)
				     ? last
				     : edit_add_page(tree);
	}
	tree->pages[item->page].bytes += ITEM_FIXED_BYTES + item->raw.len;
	tree->pages[item->page].dirty = true;
}

static struct tree_item *edit_new_item(
	struct tree *tree, unsigned type, const struct tree_item *folder, const char *name)
{
	struct tree_item *item = x_calloc(1, sizeof *item);

	random_fill(&random_system, item->id, ID_BYTES);
	if (folder != NULL) {
		memcpy(item->parent, folder->id, ID_BYTES);
	}
	item->type = (uint16_t)type;
	item->rev = 1;
	item->body = json_pack(
		"{s:s, s:o}", "name", name, "parent", json_hex(bytes_of(item->parent, ID_BYTES)));
	assert(item->body != NULL); /* The name was checked to be UTF-8. */
	item->name = json_string_value(json_object_get(item->body, "name"));
	tree_add_item(tree, item);
	tree_unsort(tree);
	(void)tsearch(item, &tree->by_id, tree_compare_ids); /* Random: no other has it. */
	(void)tsearch(item, &tree->by_name, tree_compare_names);
	return item;
}

/* The folder that `len` bytes of `path` name, made where it is missing. */
static int edit_folders(
	struct tree *tree, const char *path, size_t len, struct tree_item **ret_item, struct err *e)
{
	struct tree_item *folder = NULL;
	size_t at = 0;

	while (at < len) {
		char name[ITEM_NAME_BYTES_MAX + 1];
		size_t n;
		struct tree_item *next;

		at += strspn(path + at, "/");
		n = strcspn(path + at, "/");
		if (at >= len || n == 0) {
			break;
		}
		assert(n <= ITEM_NAME_BYTES_MAX); /* The path was checked. */
		memcpy(name, path + at, n);
		name[n] = 0;
		at += n;
		next = tree_child(tree, folder, name);
		if (next == NULL) {
			next = edit_new_item(tree, ITEM_FOLDER, folder, name);
			edit_store(tree, next, true);
		} else if (next->type != ITEM_FOLDER) {
			return err_set(e, KLUIS_ECONFLICT, "'%s:%s': '%s' is a %s",
				tree->vault->name, path, name, item_type_name(next->type));
		}
		folder = next;
	}
	*ret_item = folder;
	return 0;
}

static int edit_check_path(const struct tree *tree, const char *path, struct err *e)
{
	struct tree_item *ignored;
	int rc = tree_find(tree, path, &ignored, e);

	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

int tree_make_folders(
	struct tree *tree, const char *path, struct tree_item **ret_item, struct err *e)
{
	int rc = edit_check_path(tree, path, e);

	return rc != 0 ? rc : edit_folders(tree, path, strlen(path), ret_item, e);
}

/* The chunks and parts that an item names are no longer needed. */
static int edit_doom_chunks(struct tree *tree, const struct tree_item *item, struct err *e)
{
	struct tree_file file;
	const json_t *more = json_object_get(item->body, "more"), *entry;
	size_t i;
	int rc = tree_file_of(tree, item, &file, e);

	if (rc != 0) {
		return rc;
	}
	for (i = 0; i < file.n_pages; i++) {
		tree_doom(tree, file.pages[i]);
	}
	json_array_foreach(more, i, entry)
	{
		tree_doom(tree, (uint64_t)json_integer_value(entry));
	}
	tree_file_release(&file);
	return 0;
}

static json_t *edit_numbers(const uint64_t *numbers, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(list, json_integer((json_int_t)numbers[i]));
	}
	return list;
}

/* Chunk numbers that do not fit one item go to pages of their own, numbered at the commit. */
static void edit_set_chunks(struct tree *tree, struct tree_item *item, const struct tree_file *file)
{
	size_t first = file->n_pages < TREE_PART_CHUNKS ? file->n_pages : TREE_PART_CHUNKS;

	(void)json_object_set_new(item->body, "pages", edit_numbers(file->pages, first));
	(void)json_object_del(item->body, "more"); /* -1 when it was not there. */
	for (size_t at = first; at < file->n_pages; at += TREE_PART_CHUNKS) {
		size_t n = file->n_pages - at < TREE_PART_CHUNKS ? file->n_pages - at
								 : TREE_PART_CHUNKS;
		struct tree_item *part = x_calloc(1, sizeof *part);

		random_fill(&random_system, part->id, ID_BYTES);
		part->type = ITEM_PART;
		part->rev = 1;
		part->body = json_pack("{s:o, s:o}", "file", json_hex(bytes_of(item->id, ID_BYTES)),
			"pages", edit_numbers(file->pages + at, n));
		json_take_text(json_incref(part->body), &part->raw);
		part->page = edit_add_page(tree);
		tree->pages[part->page].bytes = ITEM_FIXED_BYTES + part->raw.len;
		tree->pages[part->page].part_of = item;
		tree_add_item(tree, part);
	}
}

/* The item of this type at `path`, a new one (which edit_store() has to follow) when there is none.
 */
static int edit_place(struct tree *tree, const char *path, unsigned type,
	struct tree_item **ret_item, bool *ret_fresh, struct err *e)
{
	const char *slash = strrchr(path, '/');
	struct tree_item *folder, *item;
	int rc = edit_check_path(tree, path, e);

	if (rc != 0 || slash == NULL || slash[1] == 0) {
		return rc != 0 ? rc : err_set(e, KLUIS_EINVAL, "'%s' names nothing", path);
	}
	rc = edit_folders(tree, path, (size_t)(slash - path), &folder, e);
	if (rc != 0) {
		return rc;
	}
	item = tree_child(tree, folder, slash + 1);
	if (item != NULL && item->type != type) {
		return err_set(e, KLUIS_ECONFLICT, "'%s:%s' is a %s", tree->vault->name, path,
			item_type_name(item->type));
	}
	*ret_fresh = item == NULL;
	*ret_item = item != NULL ? item : edit_new_item(tree, type, folder, slash + 1);
	return 0;
}

int tree_put_file(struct tree *tree, const char *path, const char *mime,
	const struct tree_file *file, struct err *e)
{
	struct tree_item *item;
	char sha256[HEX_LEN(HASH_BYTES) + 1];
	bool fresh;
	int rc = edit_place(tree, path, ITEM_FILE, &item, &fresh, e);

	if (rc == 0 && !fresh) {
		rc = edit_doom_chunks(tree, item, e);
		item->rev += rc == 0;
	}
	if (rc != 0) {
		return rc;
	}
	hex_encode(bytes_of(file->sha256, HASH_BYTES), sha256);
	(void)json_object_set_new(item->body, "size", json_integer((json_int_t)file->size));
	(void)json_object_set_new(
		item->body, "mime", json_string(mime == NULL ? "application/octet-stream" : mime));
	(void)json_object_set_new(item->body, "sha256", json_string(sha256));
	(void)json_object_set_new(item->body, "mtime_ms", json_integer((json_int_t)file->mtime_ms));
	(void)json_object_set_new(item->body, "mode", json_integer((json_int_t)file->mode));
	edit_set_chunks(tree, item, file);
	edit_store(tree, item, fresh);
	return 0;
}

int tree_put_fields(struct tree *tree, const char *path, unsigned type,
	const struct item_fields *fields, struct err *e)
{
	struct tree_item *item;
	bool fresh;
	int rc = edit_place(tree, path, type, &item, &fresh, e);

	if (rc != 0) {
		return rc;
	}
	assert(item_type_has_fields(type));
	item->rev += !fresh;
	item_fields_set(item->body, fields);
	(void)json_object_set_new(
		item->body, "mtime_ms", json_integer((json_int_t)clock_wall_ms(&clock_system)));
	edit_store(tree, item, fresh);
	return 0;
}

/* Folders below this one, in a row. */
static unsigned edit_height(const struct tree *tree, const struct tree_item *item)
{
	unsigned deepest = 0;
	struct tree_item **children;
	size_t n;

	if (item->type != ITEM_FOLDER) {
		return 0;
	}
	children = tree_children(tree, item, &n);
	for (size_t i = 0; i < n; i++) {
		unsigned height = 1 + edit_height(tree, children[i]);

		deepest = height > deepest ? height : deepest;
	}
	free(children);
	return deepest;
}

int tree_check_move(
	const struct tree *tree, const struct tree_item *item, const char *path, struct err *e)
{
	_cleanup_(x_freep) char *from = tree_path(tree, item);
	size_t len = strlen(from);
	struct tree_item *there;
	unsigned depth = 0;
	int rc = tree_find(tree, path[0] == 0 ? "/" : path, &there, e);

	if (rc != KLUIS_ENOTFOUND) {
		return rc != 0 ? rc
			       : err_set(e, KLUIS_EEXIST, "'%s:%s' is there already",
					 tree->vault->name, path);
	}
	if (strncmp(path, from, len) == 0 && path[len] == '/') {
		return err_set(
			e, KLUIS_EINVAL, "'%s:%s' cannot go into itself", tree->vault->name, from);
	}
	for (const char *at = path; *at != 0; at++) {
		depth += *at == '/';
	}
	return depth + edit_height(tree, item) <= TREE_DEPTH_MAX
		       ? 0
		       : err_set(e, KLUIS_EINVAL, "'%s:%s': nested deeper than %d folders",
				 tree->vault->name, path, TREE_DEPTH_MAX);
}

int tree_move(struct tree *tree, struct tree_item *item, const char *to, struct err *e)
{
	_cleanup_(x_freep) char *path = tree_canonical(to);
	const char *slash = strrchr(path, '/');
	struct tree_item *folder;
	int rc = tree_check_move(tree, item, path, e);

	if (rc != 0) {
		return rc;
	}
	assert(slash != NULL && slash[1] != 0); /* It names what is not there: not the root. */
	rc = edit_folders(tree, path, (size_t)(slash - path), &folder, e);
	if (rc != 0) {
		return rc;
	}
	tree_unsort(tree);
	(void)tdelete(item, &tree->by_name, tree_compare_names);
	memset(item->parent, 0, ID_BYTES);
	if (folder != NULL) {
		memcpy(item->parent, folder->id, ID_BYTES);
	}
	(void)json_object_set_new(item->body, "name", json_string(slash + 1));
	(void)json_object_set_new(item->body, "parent", json_hex(bytes_of(item->parent, ID_BYTES)));
	item->name = json_string_value(json_object_get(item->body, "name"));
	(void)tsearch(item, &tree->by_name, tree_compare_names);
	item->rev++;
	edit_store(tree, item, false);
	return 0;
}

int tree_remove(struct tree *tree, struct tree_item *item, struct err *e)
{
	int rc = 0;

	if (item->type == ITEM_FOLDER) {
		size_t n;

		free(tree_children(tree, item, &n));
		if (n > 0) {
			return err_set(e, KLUIS_ECONFLICT, "folder '%s' is not empty (use -r)",
				item->name);
		}
	} else if (item->type == ITEM_FILE) {
		rc = edit_doom_chunks(tree, item, e);
	}
	if (rc != 0) {
		return rc;
	}
	tree_unsort(tree);
	(void)tdelete(item, &tree->by_name, tree_compare_names);
	(void)tdelete(item, &tree->by_id, tree_compare_ids);
	tree->pages[item->page].bytes -= ITEM_FIXED_BYTES + item->raw.len;
	tree->pages[item->page].dirty = true;
	item->gone = true;
	return 0;
}

/* Parts know their number only now; the file's item names them. */
static void number_parts(struct tree *tree)
{
	for (size_t i = 0; i < tree->n_pages; i++) {
		struct tree_item *file = tree->pages[i].part_of;
		json_t *more;

		if (file == NULL || !tree->pages[i].dirty) {
			continue;
		}
		more = json_object_get(file->body, "more");
		if (more == NULL) {
			more = json_array();
			(void)json_object_set_new(file->body, "more", more);
		}
		(void)json_array_append_new(more, json_integer((json_int_t)tree->pages[i].page_no));
		edit_store(tree, file, false);
	}
}

/* The index item in page 0, made or brought up to date. */
static void number_index(struct tree *tree)
{
	struct tree_item *index = NULL;
	json_t *list = json_array();

	for (size_t i = 0; i < tree->n_items && index == NULL; i++) {
		struct tree_item *item = tree->items[i];

		/* One without a body is no JSON object: nothing can be put into it. */
		index = item->type == ITEM_INDEX && item->page == 0 && item->body != NULL ? item
											  : NULL;
	}
	if (index == NULL) {
		index = x_calloc(1, sizeof *index);
		index->type = ITEM_INDEX;
		index->body = json_object();
		tree_add_item(tree, index);
		tree->pages[0].bytes += ITEM_FIXED_BYTES;
	} else {
		tree->pages[0].bytes -= index->raw.len;
	}
	for (size_t i = 1; i < tree->n_pages; i++) {
		if (tree->pages[i].part_of == NULL) {
			(void)json_array_append_new(
				list, json_integer((json_int_t)tree->pages[i].page_no));
		}
	}
	(void)json_object_set_new(index->body, "pages", list);
	index->rev++;
	buf_clear(&index->raw);
	json_take_text(json_incref(index->body), &index->raw);
	tree->pages[0].bytes += index->raw.len;
	tree->pages[0].dirty = true;
}

/* Gives numbers to the pages that have none; true when there was one. */
static bool number_new(struct tree *tree, uint64_t *next_page)
{
	bool any = false;

	for (size_t i = 0; i < tree->n_pages; i++) {
		if (tree->pages[i].page_no == TREE_NO_PAGE) {
			tree->pages[i].page_no = (*next_page)++;
			any = true;
		}
	}
	return any;
}

void tree_number_pages(struct tree *tree, uint64_t *next_page)
{
	bool fresh = tree->vault->head.page_count == 0;

	if (number_new(tree, next_page)) {
		fresh = true;
		number_parts(tree);
		/* Naming its parts can have moved a file's item to one more page. */
		(void)number_new(tree, next_page);
	}
	if (fresh) {
		number_index(tree);
	}
}

void tree_page_content(const struct tree *tree, size_t index, struct buf *ret_content)
{
	for (size_t i = 0; i < tree->n_items; i++) {
		const struct tree_item *item = tree->items[i];
		struct page_item out = {
			.item_rev = item->rev, .type = item->type, .body = buf_bytes(&item->raw)};

		if (item->page == index && !item->gone) {
			memcpy(out.item_id, item->id, ID_BYTES);
			page_item_append(ret_content, &out);
		}
	}
}

void tree_committed(struct tree *tree, size_t doomed_done)
{
	assert(doomed_done <= tree->n_doomed);
	for (size_t i = 0; i < tree->n_pages; i++) {
		tree->pages[i].dirty = false;
	}
	if (tree->sorted == NULL) {
		tree_sort(tree);
	}
	tree->n_doomed -= doomed_done;
	if (tree->n_doomed > 0) {
		memmove(tree->doomed, tree->doomed + doomed_done,
			tree->n_doomed * sizeof *tree->doomed);
	}
}
