/* Memory for many small things that all go at once: an allocation is a few instructions, and
 * nothing is freed alone. One thread. */
#ifndef KLUIS_BASE_ARENA_H
#define KLUIS_BASE_ARENA_H

#include "base/buf.h"

struct arena_chunk;

/* Zero it before use. */
struct arena {
	struct arena_chunk *chunks; /* The one being filled first. */
	struct arena_chunk *spare;
	size_t used; /* Of the first. */
};

/* Aligned for any type; not cleared. */
void *arena_alloc(struct arena *arena, size_t bytes);
struct bytes arena_copy(struct arena *arena, struct bytes bytes);
/* Everything goes; up to half a megabyte of memory is kept for what comes next. */
void arena_clear(struct arena *arena);
void arena_release(struct arena *arena); /* All of it; usable again. */

#endif
