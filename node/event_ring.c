#include "node/event_ring.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

void event_ring_init(struct event_ring *ring, uint64_t index)
{
	*ring = (struct event_ring){.from_index = index};
	ring->event = x_calloc(EVENT_RING, sizeof *ring->event);
}

void event_ring_release(struct event_ring *ring)
{
	free(ring->event);
	ring->event = NULL;
}

const struct event *event_ring_at(const struct event_ring *ring, uint64_t number)
{
	assert(number >= ring->first && number < ring->next);
	return &ring->event[number % EVENT_RING];
}

void event_ring_add(struct event_ring *ring, const struct event *event)
{
	assert(ring->next == ring->first ||
		event->index >= event_ring_at(ring, ring->next - 1)->index);
	if (ring->next - ring->first == EVENT_RING) {
		ring->from_index = event_ring_at(ring, ring->first)->index;
		ring->first++;
	}
	ring->event[ring->next++ % EVENT_RING] = *event;
}

void event_ring_reset(struct event_ring *ring, uint64_t index)
{
	/* A number of nobody: who has told all before it knows that something is missing. */
	ring->first = ++ring->next;
	ring->from_index = index;
}

uint64_t event_ring_behind(const struct event_ring *ring, uint64_t index)
{
	uint64_t low = ring->first, high = ring->next;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (event_ring_at(ring, middle)->index > index) {
			high = middle;
		} else {
			low = middle + 1;
		}
	}
	return low;
}
