/* Where a list goes on, and other places in the cluster's history, as opaque text that carries the
 * lineage: after a restore an old one is refused, never answered with wrong data. Pure. */
#ifndef KLUIS_NODE_CURSOR_H
#define KLUIS_NODE_CURSOR_H

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

enum { LINEAGE_BYTES = 16 };

/* Appends the text for `key` (at most API_CURSOR_KEY_BYTES_MAX bytes) in the list `kind`. */
void cursor_format(
	unsigned kind, const uint8_t lineage[LINEAGE_BYTES], struct bytes key, struct buf *to);
/* Appends the key. KLUIS_ELINEAGE: of another lineage; KLUIS_EINVAL: no cursor of this list. */
KLUIS_MUST_CHECK int cursor_parse(
	struct bytes text, unsigned kind, const uint8_t lineage[LINEAGE_BYTES], struct buf *key);

/* "<lineage hex>:<index>", as in Kluis-Index and Kluis-Min-Index. Errors as above. */
void lineage_index_format(const uint8_t lineage[LINEAGE_BYTES], uint64_t index, struct buf *to);
KLUIS_MUST_CHECK int lineage_index_parse(
	struct bytes text, const uint8_t lineage[LINEAGE_BYTES], uint64_t *ret_index);

/* "<lineage hex>:<seq>" or, inside a commit, "<lineage hex>:<seq>.<page>": how far a client knows a
 * vault's changes. page UINT64_MAX: all of seq. Errors as above. */
void since_format(
	const uint8_t lineage[LINEAGE_BYTES], uint64_t seq, uint64_t page_no, struct buf *to);
KLUIS_MUST_CHECK int since_parse(struct bytes text, const uint8_t lineage[LINEAGE_BYTES],
	uint64_t *ret_seq, uint64_t *ret_page_no);

#endif
