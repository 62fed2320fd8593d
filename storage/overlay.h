/* The store with pending rows above it, as one ordered run. */
#ifndef KLUIS_STORAGE_OVERLAY_H
#define KLUIS_STORAGE_OVERLAY_H

#include "storage/pending.h"

/* As kv_iter_new(), the rows of the index included. Neither may change while it lives. */
struct kv_iter *overlay_iter_new(const struct pending *work, const struct kv_view *base,
	struct bytes first, struct bytes end);

#endif
