/* The content of an item page, as another device of the account may have written it: items, their
 * JSON, and the tree of names made from them. */
#include <string.h>

#include "base/err.h"
#include "cli/client/search.h"

/* What is found by words, moved, and changed, in whatever tree it was. */
static void use_items(struct tree *tree)
{
	static const char *const words[] = {"a", "\xc3\xa9"};
	struct search *search = search_new(tree);
	const struct item_fields fields = {.value = {[ITEM_TITLE] = "t", [ITEM_TEXT] = "x"}};
	const struct tree_item **items;
	struct tree_item *first = NULL;
	size_t n;

	if (search_find(search, words, 2, 100, &items, &n, NULL) == 0) {
		for (size_t i = 0; i < n; i++) {
			struct tree_item *found;
			char *path = tree_path(tree, items[i]);

			if (tree_find(tree, path, &found, NULL) != 0 || found != items[i]) {
				abort(); /* A path leads to its item. */
			}
			free(path);
		}
		free(items);
	}
	search_free(search);
	for (size_t i = 0; i < tree->n_items; i++) {
		struct tree_item *item = tree->items[i];
		uint8_t state[HASH_BYTES];

		tree_item_state(item, state);
		if (item->name != NULL && item_type_has_fields(item->type)) {
			struct item_fields said = item_fields_of(item->type, item->body);
			struct buf form = BUF_INIT;
			char *text;

			item_form_print(item->type, &said, &form);
			text = x_strdup(buf_str(&form));
			if (item_form_parse(item->type, text, &said, NULL) != 0) {
				said.value[ITEM_TITLE] = NULL; /* Not what kluis writes. */
			}
			free(text);
			buf_release(&form);
		}
		first = item->name != NULL && first == NULL ? item : first;
	}
	if (first != NULL && tree_move(tree, first, "/moved/here", NULL) == 0) {
		char *path = tree_path(tree, first);

		if (strcmp(path, "/moved/here") != 0) {
			abort();
		}
		free(path);
	}
	if (tree_put_fields(tree, "/noted/n", ITEM_NOTE, &fields, NULL) == 0) {
		struct tree_item *found;

		if (tree_find(tree, "/noted/n", &found, NULL) != 0) {
			abort();
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vault *vault = x_calloc(1, sizeof *vault);
	struct tree *tree;

	if (tree_parse(vault, bytes_of(data, size), &tree, NULL) == 0) {
		struct tree_item *found;
		uint64_t next = 1;
		size_t n;

		free(tree_children(tree, NULL, &n));
		for (size_t i = 0; i < tree->n_items; i++) {
			const struct tree_item *item = tree->items[i];
			struct tree_file file;

			if (item->name != NULL && (strchr(item->name, '/') != NULL ||
							  strcmp(item->name, "..") == 0)) {
				abort(); /* It could lead out of a folder. */
			}
			if (item->name != NULL && tree_file_of(tree, item, &file, NULL) == 0) {
				tree_file_release(&file);
			}
		}
		use_items(tree);
		if (tree_find(tree, "/a/b", &found, NULL) == 0 && found != NULL) {
			(void)found->type;
		}
		if (tree_make_folders(tree, "/new/er", &found, NULL) == 0) {
			struct buf content = BUF_INIT;

			tree_number_pages(tree, &next);
			tree_page_content(tree, 0, &content);
			buf_release(&content);
		}
		tree_free(tree);
	}
	free(vault);
	return 0;
}
