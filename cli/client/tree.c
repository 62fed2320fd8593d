#include "cli/client/tree.h"

#include <assert.h>
#include <inttypes.h>
#include <search.h>
#include <string.h>

#include "base/random.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/download.h"
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

static void item_free(struct tree_item *item)
{
	json_decref(item->body);
	secret_buf_release(&item->raw);
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
	free(tree->sorted);
	free(tree->pages);
	free(tree->doomed);
	free(tree);
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

/* Other programs may write notes and logins without a name: they are given one when all is read. */
static bool item_unnamed(const struct tree_item *item)
{
	return item_type_has_fields(item->type) && json_object_get(item->body, "name") == NULL;
}

/* Name and parent; what has none stays out of the names. */
static bool item_place(struct tree_item *item)
{
	struct json_reader r = json_reader_of(item->body);
	const char *name = item_unnamed(item) ? "-" : json_reader_string(&r, "name");

	if (json_object_get(item->body, "parent") != NULL) {
		json_reader_hex(&r, "parent", item->parent, ID_BYTES);
	}
	/* A folder with the root's id would lie in itself. */
	if (r.failed != NULL || !item_name_valid(name) ||
		memcmp(item->id, tree_root, ID_BYTES) == 0) {
		return false;
	}
	item->unnamed = item_unnamed(item);
	item->name = item->unnamed ? NULL : name;
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
	if (item_type_name(item->type) != NULL) {
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

/* Its title, made different from the names around it by its id: a name that is stored comes first,
 * and the same item gets the same name each time. */
static void item_derive_name(struct tree *tree, struct tree_item *item)
{
	const char *title = json_string_value(json_object_get(item->body, "title"));
	_cleanup_(x_freep) char *name = item_name_from(title == NULL ? "" : title, 200);
	const struct tree_item *folder = tree_by_id(tree, item->parent);
	char id[HEX_LEN(ID_BYTES) + 1];

	if (tree_child(tree, folder, name) != NULL) {
		char *plain = name;

		hex_encode(bytes_of(item->id, ID_BYTES), id);
		name = x_asprintf("%s (%s)", plain, id);
		free(plain);
	}
	(void)json_object_set_new(item->body, "name", json_string(name));
	item->name = json_string_value(json_object_get(item->body, "name"));
	if (*(struct tree_item **)tsearch(item, &tree->by_name, tree_compare_names) != item) {
		item->name = NULL;
		tree->malformed++;
	}
}

static void tree_name_items(struct tree *tree)
{
	for (size_t i = 0; i < tree->n_items; i++) {
		struct tree_item *item = tree->items[i];

		if (item->unnamed && tree_by_id(tree, item->id) == item) {
			item_derive_name(tree, item);
		}
	}
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
	tree_sort(tree);
}

int tree_parse_loose(
	struct vault *vault, struct bytes content, struct tree **ret_tree, struct err *e)
{
	struct tree *tree = x_calloc(1, sizeof *tree);
	int rc;

	tree->vault = vault;
	rc = tree_take_page(tree, 0, content, e);
	if (rc != 0) {
		tree_free(tree);
		return rc;
	}
	tree_name_items(tree);
	*ret_tree = tree;
	return 0;
}

int tree_parse(struct vault *vault, struct bytes content, struct tree **ret_tree, struct err *e)
{
	int rc = tree_parse_loose(vault, content, ret_tree, e);

	if (rc == 0) {
		tree_place_items(*ret_tree);
	}
	return rc;
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

static int tree_fetch_page(struct tree *tree, struct download *download, uint64_t page_no,
	bool *ret_moved, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf content = BUF_INIT;
	struct bytes page;
	int rc = download_next(download, &page, e);

	rc = rc != 0 ? vault_judge_page(tree->vault, page_no, rc, ret_moved, e)
		     : vault_take_page(tree->vault, page_no, page, true, &content, ret_moved, e);
	return rc != 0 || *ret_moved ? rc : tree_take_page(tree, page_no, buf_bytes(&content), e);
}

/* In the order of the index, those that are missing fetched ahead. */
static int tree_read_pages(
	struct tree *tree, const uint64_t *pages, size_t n, bool *ret_moved, struct err *e)
{
	size_t n_missing = 0, next = 0;
	_cleanup_(x_freep) uint64_t *missing =
		tree->vault->offline ? NULL : vault_uncached(tree->vault, pages, n, &n_missing);
	struct download *download = download_new(tree->vault, missing, n_missing);
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0 && !*ret_moved; i++) {
		if (next < n_missing && missing[next] == pages[i]) {
			next++;
			rc = tree_fetch_page(tree, download, pages[i], ret_moved, e);
		} else {
			rc = tree_read_page(tree, pages[i], ret_moved, e);
		}
	}
	download_free(download);
	return rc;
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
	return rc != 0 || *ret_moved || n == 0 ? rc : tree_read_pages(tree, pages, n, ret_moved, e);
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
			tree_name_items(tree);
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
	if (!item_name_valid(name)) {
		*ret_rc = KLUIS_EINVAL;
		return false;
	}
	return true;
}

char *tree_canonical(const char *path)
{
	char *to = x_strdup(path);
	size_t n = 0;

	for (const char *at = path; *at != 0; at++) {
		if (*at != '/' || (at[1] != '/' && at[1] != 0)) {
			to[n++] = *at;
		}
	}
	to[n] = 0;
	return to;
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
			return err_set(e, KLUIS_ECONFLICT, "'%s:%s': '%s' is a %s",
				tree->vault->name, path, name, item_type_name(item->type));
		}
	}
	if (rc == 0 && !folder && (item == NULL || item->type == ITEM_FOLDER)) {
		return err_set(e, KLUIS_ECONFLICT, "'%s:%s' is a folder", tree->vault->name, path);
	}
	return rc;
}

struct tree_item *tree_by_id(const struct tree *tree, const uint8_t id[ID_BYTES])
{
	struct tree_item key = {.rev = 0};
	struct tree_item **slot;

	memcpy(key.id, id, ID_BYTES);
	slot = tfind(&key, &tree->by_id, tree_compare_ids);
	return slot == NULL ? NULL : *slot;
}

char *tree_path(const struct tree *tree, const struct tree_item *item)
{
	char *path = x_asprintf("/%s", item->name);

	/* What has a place hangs together with the root; the count is against our own mistakes. */
	for (unsigned depth = 0; memcmp(item->parent, tree_root, ID_BYTES) != 0; depth++) {
		char *below = path;

		item = tree_by_id(tree, item->parent);
		assert(item != NULL && item->name != NULL && depth < 2 * TREE_DEPTH_MAX);
		path = x_asprintf("/%s%s", item->name, below);
		free(below);
	}
	return path;
}

void tree_item_state(const struct tree_item *item, uint8_t ret_state[HASH_BYTES])
{
	_cleanup_(json_dropp) json_t *said = json_copy(item->body);
	char *dumped;

	if (said == NULL) {
		hash_sha256(buf_bytes(&item->raw), ret_state);
		return;
	}
	(void)json_object_del(said, "name"); /* -1 when it was not there. */
	(void)json_object_del(said, "parent");
	dumped = json_dumps(said, JSON_COMPACT | JSON_SORT_KEYS);
	assert(dumped != NULL);
	hash_sha256(bytes_str(dumped), ret_state);
	secret_clear(dumped, strlen(dumped));
	free(dumped);
}

struct sort_walk {
	struct tree_item **to;
	size_t n;
};

static void sort_visit(const void *node, VISIT visit, void *arg)
{
	struct sort_walk *walk = arg;

	if (visit == postorder || visit == leaf) {
		walk->to[walk->n++] = *(struct tree_item *const *)node;
	}
}

void tree_sort(struct tree *tree)
{
	struct sort_walk walk = {.to = x_calloc(tree->n_items + 1, sizeof *walk.to)};

	twalk_r(tree->by_name, sort_visit, &walk);
	assert(walk.n <= tree->n_items);
	free(tree->sorted);
	tree->sorted = walk.to;
	tree->n_sorted = walk.n;
}

void tree_unsort(struct tree *tree)
{
	free(tree->sorted);
	tree->sorted = NULL;
	tree->n_sorted = 0;
}

static int children_compare(const void *a, const void *b)
{
	const struct tree_item *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* Where the children of a folder begin among the sorted. */
static size_t children_first(const struct tree *tree, const uint8_t *id)
{
	size_t low = 0, high = tree->n_sorted;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(tree->sorted[middle]->parent, id, ID_BYTES) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

struct tree_item **tree_children(
	const struct tree *tree, const struct tree_item *folder, size_t *ret_n)
{
	const uint8_t *id = folder == NULL ? tree_root : folder->id;
	bool sorted = tree->sorted != NULL;
	struct tree_item *const *all = sorted ? tree->sorted : tree->items;
	size_t end = sorted ? tree->n_sorted : tree->n_items, n = 0, room = 16;
	struct tree_item **found = x_calloc(room, sizeof *found);

	for (size_t i = sorted ? children_first(tree, id) : 0; i < end; i++) {
		struct tree_item *item = all[i];

		if (item->gone || item->name == NULL || memcmp(item->parent, id, ID_BYTES) != 0) {
			if (sorted) {
				break;
			}
			continue;
		}
		if (n == room) {
			room *= 2;
			found = x_realloc(found, room * sizeof *found);
		}
		found[n++] = item;
	}
	if (!sorted) {
		qsort(found, n, sizeof(struct tree_item *), children_compare);
	}
	*ret_n = n;
	return found;
}
