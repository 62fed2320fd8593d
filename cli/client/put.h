/* Changes to a vault. Files are read, hashed and sealed in one thread while others upload; all is
 * committed in batches; after a conflict done again on the newer state, by item (change.h); after
 * an interruption gone on with. */
#ifndef KLUIS_CLI_CLIENT_PUT_H
#define KLUIS_CLI_CLIENT_PUT_H

#include "cli/client/change.h"

enum {
	PUT_CHUNKS_MAX = 800,	  /* In a commit; leaves room for item pages and tombstones. */
	PUT_PIPE_CHUNKS_MAX = 32, /* From a pipe: they are kept in memory until committed. */
	PUT_COST_MAX = 180 * TREE_PAGE_FILL_BYTES, /* Of a commit's changes: of item pages. */
	PUT_CHANGES_MAX = 4096,
	PUT_INLINE_BYTES_MAX = 384 * 1024, /* Chunks sent with the commit itself. */
	PUT_INLINE_PAGE_MAX = 20 * 1024,   /* Larger ones are staged. */
	PUT_TRIES_MAX = 8,		   /* Conflicts in a row. */
};

struct put;

struct put_config {
	/* Called after each chunk with the bytes done so far; may be NULL. */
	void (*progress)(void *arg, uint64_t bytes);
	/* Called once for each change that met another device's, when it is committed; may be NULL.
	 */
	void (*notice)(void *arg, const struct change_notice *notice);
	void *arg;
	bool force; /* Also files that are there with the same content. */
};

struct put_result {
	uint64_t files, unchanged, bytes, commits, chunks_found;
};

/* The vault must be synced; it is borrowed until put_free(). */
KLUIS_MUST_CHECK int put_new(
	struct vault *vault, const struct put_config *config, struct put **ret_put, struct err *e);
void put_free(struct put *put); /* NULL is fine. What was not finished is not in the tree. */
/* The file at local_path ("-": stdin, up to its end) to path in the vault. What fails for this file
 * alone (unreadable, changed while it was read) leaves the put usable: *ret_local true. */
KLUIS_MUST_CHECK int put_file(
	struct put *put, const char *local_path, const char *path, bool *ret_local, struct err *e);
/* Likewise from a source, which is taken whatever this returns. base: what the content was made on;
 * NULL: what is there now. */
KLUIS_MUST_CHECK int put_from(struct put *put, struct put_source *source,
	const struct change_base *base, bool *ret_local, struct err *e);
KLUIS_MUST_CHECK int put_folder(struct put *put, const char *path, struct err *e);
/* A note or login; base as put_from(). What is NULL of the fields (copied) stays as it is. */
KLUIS_MUST_CHECK int put_fields(struct put *put, const char *path, unsigned type,
	const struct item_fields *fields, const struct change_base *base, struct err *e);
/* Another name or folder for what is at path. */
KLUIS_MUST_CHECK int put_move(struct put *put, const char *path, const char *to, struct err *e);
/* Removes what is at path with the next commit; a folder only when it is empty by then. Nothing
 * there: nothing happens. */
KLUIS_MUST_CHECK int put_remove(struct put *put, const char *path, struct err *e);
/* Commits what is left. */
KLUIS_MUST_CHECK int put_finish(struct put *put, struct put_result *ret_result, struct err *e);
/* The tree as of the last commit. */
struct tree *put_tree(struct put *put);

#endif
