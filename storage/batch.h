/* Pending rows as changes of the store, with the rows of the index that say the same. */
#ifndef KLUIS_STORAGE_BATCH_H
#define KLUIS_STORAGE_BATCH_H

#include "storage/pending.h"

/* Zero it before use. Keys and values point into it and into the pending rows. */
struct batch {
	struct kv_change *changes;
	size_t n, cap;
	struct buf bytes; /* Of the index. */
	struct pending_row **rows;
	size_t rows_cap;
};

void batch_release(struct batch *batch);
/* In place of what it held. In key order, but that by_index loses its old rows, in the order of
 * their keys in the store, before it gets new ones. Leaves room for one change more. */
void batch_make(struct batch *batch, const struct pending *work);
void batch_add(struct batch *batch, struct bytes key, struct bytes value, bool deleted);
void batch_sort(struct batch *batch); /* By key. */

#endif
