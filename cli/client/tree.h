/* What lies in a vault by name: the items of its item pages (docs/format-items.md), read through a
 * verified vault, changed in memory, and turned into pages for a commit. One thread. */
#ifndef KLUIS_CLI_CLIENT_TREE_H
#define KLUIS_CLI_CLIENT_TREE_H

#include "cli/client/item.h"
#include "cli/client/vault.h"

enum {
	TREE_PATH_BYTES_MAX = 4096,
	TREE_DEPTH_MAX = 64,
	TREE_PAGE_FILL_BYTES = 64 * 1024, /* Items beyond this begin another page. */
	TREE_ITEMS_MAX = 1 << 22,
	TREE_PAGES_MAX = 1 << 16,
	TREE_PART_CHUNKS = 65536, /* Chunk numbers in one item. */
};
#define TREE_NO_PAGE UINT64_MAX

struct tree_item {
	uint8_t id[ID_BYTES], parent[ID_BYTES]; /* Root: zero. */
	uint64_t rev;
	uint16_t type;
	const char *name;   /* NULL for what has no place in the tree of names. */
	json_t *body;	    /* NULL when it is no JSON object: kept as raw. */
	struct buf raw;	    /* Bytes as stored. */
	size_t page;	    /* Index into the tree's pages. */
	unsigned depth;	    /* Below the root, from 1; 0: not known yet. */
	bool gone, unnamed; /* unnamed: its name is made from its title. */
};

struct tree_page {
	uint64_t page_no; /* TREE_NO_PAGE: not numbered yet. */
	size_t bytes;	  /* Of content. */
	bool dirty;
	struct tree_item *part_of; /* A page of further chunk numbers of this file; else NULL. */
};

/* Read the fields, change them by functions alone. */
struct tree {
	struct vault *vault;
	struct tree_item **items;
	size_t n_items, items_cap;
	struct tree_page *pages; /* pages[0] is page 0. */
	size_t n_pages;
	void *by_name; /* tsearch: (parent, name) -> item. */
	void *by_id;   /* tsearch: id -> item. */
	/* Those of by_name in its order, as of the load or the last commit; NULL once something
	 * was changed. */
	struct tree_item **sorted;
	size_t n_sorted;
	uint64_t *doomed; /* Pages to be made tombstones. */
	size_t n_doomed;
	size_t malformed; /* Items and names that were refused. */
};

/* What a file item says. */
struct tree_file {
	uint64_t size, mtime_ms;
	unsigned mode; /* Permission bits; 0 when unknown. */
	uint8_t sha256[HASH_BYTES];
	uint64_t *pages; /* Chunk numbers, in order. */
	size_t n_pages;
};
void tree_file_release(struct tree_file *file);

/* All items, verified; of a vault that was synced. Follows a head that moves meanwhile. */
KLUIS_MUST_CHECK int tree_load(struct vault *vault, struct tree **ret_tree, struct err *e);
/* A tree of one page's content, for tests and fuzzing: nothing is fetched. */
KLUIS_MUST_CHECK int tree_parse(
	struct vault *vault, struct bytes content, struct tree **ret_tree, struct err *e);
/* As tree_parse(), but what lies in folders of other pages keeps its name: for looking through a
 * page alone. */
KLUIS_MUST_CHECK int tree_parse_loose(
	struct vault *vault, struct bytes content, struct tree **ret_tree, struct err *e);
void tree_free(struct tree *tree); /* NULL is fine. */

/* A path is "/a/b"; "/" is the root, which has no item: *ret_item NULL. KLUIS_ENOTFOUND;
 * KLUIS_EINVAL for a malformed path. */
KLUIS_MUST_CHECK int tree_find(
	const struct tree *tree, const char *path, struct tree_item **ret_item, struct err *e);
/* The child of a folder (NULL: the root), or NULL. */
struct tree_item *tree_child(
	const struct tree *tree, const struct tree_item *folder, const char *name);
/* Children in order of name, in a new array; folder NULL: the root's. */
struct tree_item **tree_children(
	const struct tree *tree, const struct tree_item *folder, size_t *ret_n);
/* "/a/b" of "//a/b/", "" of the root: to be compared as text. The caller frees it. */
char *tree_canonical(const char *path);
/* NULL when there is none. */
struct tree_item *tree_by_id(const struct tree *tree, const uint8_t id[ID_BYTES]);
/* "/a/b" of an item that has a name. The caller frees it. */
char *tree_path(const struct tree *tree, const struct tree_item *item);
/* Hash of all that the item says but its name and folder: what a change was made on. */
void tree_item_state(const struct tree_item *item, uint8_t ret_state[HASH_BYTES]);

/* Size and so on, with all chunk numbers (parts are fetched). KLUIS_EVERIFY when the item is not
 * what a writer makes. */
KLUIS_MUST_CHECK int tree_file_of(
	struct tree *tree, const struct tree_item *item, struct tree_file *ret_file, struct err *e);
/* As tree_file_of(), with the parts (pages of chunk numbers) from somewhere else: read() appends
 * the content of one. */
typedef int tree_read_fn(void *arg, uint64_t page_no, struct buf *ret_content, struct err *e);
KLUIS_MUST_CHECK int tree_file_by(struct tree *tree, const struct tree_item *item,
	tree_read_fn *read, void *arg, struct tree_file *ret_file, struct err *e);
/* Of all files, as of the load. */
uint64_t tree_file_bytes(const struct tree *tree);
/* Without the chunk numbers and without fetching anything. */
KLUIS_MUST_CHECK int tree_file_stat(
	const struct tree_item *item, struct tree_file *ret_file, struct err *e);

/* Whether a file, or a folder, can stand at a path: KLUIS_ECONFLICT when a folder is there, or a
 * file there or on the way to it. */
KLUIS_MUST_CHECK int tree_check_place(
	const struct tree *tree, const char *path, bool folder, struct err *e);
/* Makes the folders of a path that are missing; *ret_item as tree_find(). KLUIS_ECONFLICT when a
 * file is in the way. */
KLUIS_MUST_CHECK int tree_make_folders(
	struct tree *tree, const char *path, struct tree_item **ret_item, struct err *e);
/* Puts a file at `path`, whose folders are made; a file that was there goes, its chunks are doomed.
 * mime may be NULL. KLUIS_ECONFLICT when a folder is there. */
KLUIS_MUST_CHECK int tree_put_file(struct tree *tree, const char *path, const char *mime,
	const struct tree_file *file, struct err *e);
/* A note or login at `path`, whose folders are made; one of that type that was there gets these
 * fields, and keeps the others. The fields were checked. KLUIS_ECONFLICT when something else is
 * there. */
KLUIS_MUST_CHECK int tree_put_fields(struct tree *tree, const char *path, unsigned type,
	const struct item_fields *fields, struct err *e);
/* Another name, or another folder (made where it is missing), for an item. KLUIS_EEXIST when the
 * place is taken; KLUIS_EINVAL for a folder into itself or too deep. */
KLUIS_MUST_CHECK int tree_check_move(const struct tree *tree, const struct tree_item *item,
	const char *path, struct err *e); /* path: canonical. */
KLUIS_MUST_CHECK int tree_move(
	struct tree *tree, struct tree_item *item, const char *path, struct err *e);
/* Removes any item but a folder that has children; chunks are doomed. KLUIS_ECONFLICT. */
KLUIS_MUST_CHECK int tree_remove(struct tree *tree, struct tree_item *item, struct err *e);

/* For a commit. Numbers the new pages from *next_page on and moves that; the index follows. Call
 * once before tree_page_content(). In an empty vault page 0 becomes dirty. */
void tree_number_pages(struct tree *tree, uint64_t *next_page);
/* Appends the content of pages[index]. */
void tree_page_content(const struct tree *tree, size_t index, struct buf *ret_content);
/* The commit was taken: nothing is dirty, and the first n of the doomed pages are done with. */
void tree_committed(struct tree *tree, size_t doomed_done);
/* Marks a page to be made a tombstone with the next commit. */
void tree_doom(struct tree *tree, uint64_t page_no);

/* For the files of this module. */
void tree_sort(struct tree *tree);
void tree_unsort(struct tree *tree);
void tree_add_item(struct tree *tree, struct tree_item *item);
int tree_compare_names(const void *a, const void *b);
int tree_compare_ids(const void *a, const void *b);

#endif
