/* What the writing thread read last, by key, also that there is no such row: a small commit asks
 * some twenty times for the same rows, and an ordered map of millions takes microseconds for each.
 * A table with one place per slot: what comes later to a slot takes it. Bounded by
 * ROW_CACHE_SLOTS. */
#ifndef KLUIS_STORAGE_ROW_CACHE_H
#define KLUIS_STORAGE_ROW_CACHE_H

#include <stdbool.h>

#include "base/buf.h"

struct row_cache;

struct row_cache *row_cache_new(void);
void row_cache_free(struct row_cache *cache); /* NULL is allowed. */

/* True: known. *ret_there tells whether there is such a row; if so its value is appended. */
KLUIS_MUST_CHECK bool row_cache_get(
	const struct row_cache *cache, struct bytes key, bool *ret_there, struct buf *to);
/* What a read found: NULL for no such row. Large values are not kept. */
void row_cache_put(struct row_cache *cache, struct bytes key, const struct bytes *value);
/* The row was written (or deleted: NULL): what is known of it follows, what is not stays unknown.
 */
void row_cache_change(struct row_cache *cache, struct bytes key, const struct bytes *value);

#endif
