/* The state root of a store, step by step, and on the way some rows' values held against their
 * hashes: what rots in by_index changes the root, what rots in a value is found by reading it. */
#ifndef KLUIS_STORAGE_ROOT_WALK_H
#define KLUIS_STORAGE_ROOT_WALK_H

#include "storage/index_store.h"

enum { ROOT_WALK_TEXT_BYTES_MAX = 120 };

struct root_walk;

/* What it found. */
struct root_found {
	uint8_t root[32]; /* Another one than by_index says when a row is bad. */
	uint64_t rows;	  /* Live. */
	uint64_t values;  /* Of these, read. */
	uint64_t bad;	  /* ... and gone, unreadable, or not what was written. */
	char text[ROOT_WALK_TEXT_BYTES_MAX + 1]; /* The first of them; "" without. */
};

/* slice: of which rows the values are read, below KEY_SLICES; KEY_SLICES: of all. The view outlives
 * it. Any thread, one at a time. */
struct root_walk *root_walk_new(const struct kv_view *view, unsigned slice);
/* Up to so many rows on; memory is bounded by one of them. *ret_more: there are others behind.
 * KLUIS_ECORRUPT, KLUIS_EIO: by_index cannot be read. */
KLUIS_MUST_CHECK int root_walk_step(
	struct root_walk *walk, unsigned rows, bool *ret_more, struct err *e);
/* Once there are no more; ret_found may be NULL: then at any time. Frees it. */
void root_walk_end(struct root_walk *walk, struct root_found *ret_found);

#endif
