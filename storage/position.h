/* Where a store stands: what is applied, the cluster's time there, and the hash of all that led to
 * it. One row, local to the node, written in the same batch as the rows it speaks of. */
#ifndef KLUIS_STORAGE_POSITION_H
#define KLUIS_STORAGE_POSITION_H

#include "storage/kv.h"

struct position {
	uint64_t index, term;	  /* Of the last entry applied. */
	uint64_t cluster_time_ms; /* Never goes back. */
	uint64_t commands;	  /* That changed something, ever. */
	uint8_t state_hash[32];
	/* The last entry that did more than report hashes, and the hash behind it: what nodes
	 * compare while the cluster is idle. */
	uint64_t report_index;
	uint8_t report_hash[32];
};

void position_encode(const struct position *position, struct buf *to);
KLUIS_MUST_CHECK int position_decode(
	struct bytes value, struct position *ret_position, struct err *e);
/* All zero when the store is empty. */
KLUIS_MUST_CHECK int position_get(
	const struct kv_view *view, struct position *ret_position, struct err *e);

#endif
