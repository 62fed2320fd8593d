/* What nodes reported of their state at an index, so that one that differs is found:
 * KEY_HASH_REPORT, the rolling state hash, and KEY_STATE_ROOT, the state root as of a snapshot. */
#ifndef KLUIS_STORAGE_REPORT_STORE_H
#define KLUIS_STORAGE_REPORT_STORE_H

#include "storage/key_codec.h"
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
KLUIS_MUST_CHECK int report_store_at(const struct kv_view *view, enum key_family family,
	uint64_t index, struct report_row *ret_rows, size_t max, size_t *ret_n, struct err *e);
/* All indexes' reports, ascending, up to max. */
KLUIS_MUST_CHECK int report_store_list(const struct kv_view *view, enum key_family family,
	struct report_row *ret_rows, size_t max, size_t *ret_n, struct err *e);
/* The hash that more than half of so many nodes reported, of reports of one index; or NULL. */
const uint8_t *report_majority(const struct report_row *reports, size_t n, size_t nodes);
/* Takes the node's report (in place of its earlier one of that index) and forgets the lowest
 * indexes beyond `kept` of them. KLUIS_EGONE: of an index lower than all those. */
KLUIS_MUST_CHECK int report_store_put(struct txn *txn, enum key_family family,
	const struct report_row *row, size_t kept, struct err *e);

#endif
