/* Files into the cache of ciphertext. */
#include "cli/client/download.h"
#include "cli/client/get.h"

/* Bytes of files on their way. */
struct caching {
	struct tree *tree;
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
	uint64_t done, total, fetched;
};

static int cache_pages(struct caching *c, const struct tree_file *file, struct err *e)
{
	struct vault *vault = c->tree->vault;
	size_t n;
	_cleanup_(x_freep) uint64_t *missing =
		vault_uncached(vault, file->pages, file->n_pages, &n);
	struct download *download = download_new(vault, missing, n);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct bytes page;
		bool moved = false;

		rc = download_next(download, &page, e);
		rc = rc != 0 ? rc : vault_check_page(vault, missing[i], page, e);
		if (rc != 0) {
			rc = vault_judge_page(vault, missing[i], rc, &moved, e);
		}
		if (moved) {
			rc = err_set(e, KLUIS_ECONFLICT, "vault '%s' changed while it was read",
				vault->name);
		}
		if (rc == 0) {
			vault_cache_page(vault, missing[i], page);
			c->fetched++;
		}
		if (rc == 0 && c->progress != NULL) {
			c->progress(c->arg, c->done + i * PAGE_CONTENT_BYTES_MAX, c->total);
		}
	}
	download_free(download);
	return rc;
}

int get_into_cache(struct tree *tree, void (*progress)(void *arg, uint64_t done, uint64_t total),
	void *arg, uint64_t *fetched, struct err *e)
{
	struct caching c = {
		.tree = tree, .progress = progress, .arg = arg, .total = tree_file_bytes(tree)};
	struct tree_file file;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < tree->n_sorted; i++) {
		if (tree->sorted[i]->type != ITEM_FILE) {
			continue;
		}
		rc = tree_file_of(tree, tree->sorted[i], &file, e);
		if (rc == 0) {
			rc = cache_pages(&c, &file, e);
			c.done += file.size;
			tree_file_release(&file);
		}
	}
	*fetched += c.fetched;
	return rc;
}
