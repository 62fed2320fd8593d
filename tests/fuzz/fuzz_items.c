/* The content of an item page, as another device of the account may have written it: items, their
 * JSON, and the tree of names made from them. */
#include <string.h>

#include "base/err.h"
#include "cli/client/tree.h"

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
