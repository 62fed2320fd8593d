/* The newest events of this node, by number: what a subscriber may have missed just now. Pure. */
#ifndef KLUIS_NODE_EVENT_RING_H
#define KLUIS_NODE_EVENT_RING_H

#include "base/limits.h"
#include "storage/event.h"

struct event_ring {
	struct event *event; /* EVENT_RING of them; that of number n at n mod EVENT_RING. */
	uint64_t first, next;
	uint64_t from_index; /* Of what changed above it, all is here. */
};

/* Knows nothing of what changed up to index. */
void event_ring_init(struct event_ring *ring, uint64_t index);
void event_ring_release(struct event_ring *ring);
/* Behind those that are there: its index is not below theirs. */
void event_ring_add(struct event_ring *ring, const struct event *event);
/* Something up to this index was lost. */
void event_ring_reset(struct event_ring *ring, uint64_t index);
/* first <= number < next */
const struct event *event_ring_at(const struct event_ring *ring, uint64_t number);
/* The first number of an event above index; next when there is none. */
uint64_t event_ring_behind(const struct event_ring *ring, uint64_t index);

#endif
