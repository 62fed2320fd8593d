/* How fast backups go while clients are at work: one measure for all of a node's threads that take,
 * ship or take in. Without clients there is none. Any thread. */
#ifndef KLUIS_BACKUP_PACE_H
#define KLUIS_BACKUP_PACE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/err.h"

enum {
	PACE_BUSY_PER_S = 20, /* So many of what is counted in a second are clients at work, */
	PACE_BUSY_MS = 3000,  /* ... and so long after the last such moment they still are. */
	PACE_COUNT_MS = 1000, /* Counted over so long: at once when so many come sooner. */
	PACE_LOOK_MS = 100,   /* Between two looks. */
	PACE_BURST_MS = 100,  /* What was not used up may be made up for so long. */
};

struct pace;
struct pace_config {
	uint64_t bytes_per_second;     /* While clients are at work; 0: no measure. */
	uint64_t (*count)(void *data); /* Of what clients did so far; any thread. */
	void *data;
	const struct clock *clock; /* NULL: clock_system. */
};

struct pace *pace_new(const struct pace_config *config);
void pace_free(struct pace *pace); /* NULL is fine. */
/* Counts; to be called now and then, so that what begins knows what was before it. */
void pace_look(struct pace *pace);
bool pace_busy(struct pace *pace);
/* Before so many bytes are moved: waits until they may be, for how long they take at most if others
 * move none. NULL: no measure. moved: NULL, or one more at each look, for who waits on purpose does
 * not hang. KLUIS_ECLOSED: *cancel (may be NULL) became true. */
KLUIS_MUST_CHECK int pace_wait(struct pace *pace, uint64_t bytes, const atomic_bool *cancel,
	atomic_uint_fast64_t *moved, struct err *e);

#endif
