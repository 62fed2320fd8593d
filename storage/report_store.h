/* State hashes that nodes reported, by index: what a divergent node is found by. */
#ifndef KLUIS_STORAGE_REPORT_STORE_H
#define KLUIS_STORAGE_REPORT_STORE_H

#include "storage/kv.h"
#include "storage/txn.h"

struct report_row {
	uint64_t index, node;
	uint8_t hash[32];
};
void report_row_encode(const struct report_row *row, struct buf *to);
KLUIS_MUST_CHECK int report_row_decode(
	struct bytes key, struct bytes value, struct report_row *ret_row, struct err *e);
/* Up to max reports of one index, ascending by node. */
KLUIS_MUST_CHECK int report_store_at(const struct kv_view *view, uint64_t index,
	struct report_row *ret_rows, size_t max, size_t *ret_n, struct err *e);
/* Takes the node's report (in place of its earlier one of that index) and forgets the lowest
 * indexes beyond `kept` of them. KLUIS_EGONE: of an index lower than all those. */
KLUIS_MUST_CHECK int report_store_put(
	struct txn *txn, const struct report_row *row, size_t kept, struct err *e);

#endif
