/* An ordered map in memory whose copies share what they have in common: a copy costs O(1), a change
 * O(log n). The memory back end, its views and clones, and the state machine's pending rows. */
#ifndef KLUIS_STORAGE_OMAP_H
#define KLUIS_STORAGE_OMAP_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/buf.h"

enum { OMAP_ITER_DEPTH = 8 };

struct omap_node;

/* Immutable once it is in a map. */
struct omap_item {
	atomic_uint refs;
	bool mark; /* The user's. */
	uint32_t key_len, value_len;
	const uint8_t *value; /* Behind the key, or the caller's. */
	uint8_t data[];	      /* Key, then the value unless it is borrowed. */
};
struct bytes omap_key(const struct omap_item *item);
struct bytes omap_value(const struct omap_item *item);

/* Zero it before use. One thread changes it; copies may live on other threads. */
struct omap {
	struct omap_node *root;
};

/* A copy of its own: changing one never shows in the other. */
struct omap omap_copy(const struct omap *map);
void omap_release(struct omap *map); /* Empty and usable again. */

/* Copies key and value; takes the place of what the key had. */
void omap_put(struct omap *map, struct bytes key, struct bytes value, bool mark);
/* As omap_put(), but the value is the caller's and must live as long as this map and all copies of
 * it that have the item: for large bytes that are elsewhere anyway. */
void omap_put_borrowed(struct omap *map, struct bytes key, struct bytes value);
/* False when there is no such key. */
bool omap_remove(struct omap *map, struct bytes key);

/* NULL when there is none. Items are valid until the map that gave them is changed or released. */
const struct omap_item *omap_get(const struct omap *map, struct bytes key);
/* The first item with key >= key, or > key when `above`. */
const struct omap_item *omap_seek(const struct omap *map, struct bytes key, bool above);

/* All items from a key on, in order: O(1) a step. The map must not change meanwhile. */
struct omap_iter {
	const struct omap *map;
	const struct omap_item *item; /* The one given last. */
	const struct omap_node *node[OMAP_ITER_DEPTH];
	unsigned n;
	bool gave_up;
};
void omap_iter_init(struct omap_iter *it, const struct omap *map, struct bytes first);
const struct omap_item *omap_iter_next(struct omap_iter *it); /* NULL at the end. */

#endif
