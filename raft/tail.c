#include "raft/tail.h"

#include <assert.h>
#include <string.h>

enum { TAIL_SLOTS_FIRST = 64 };

static size_t tail_cost(const struct entry *entry)
{
	return sizeof *entry + entry->len;
}

static struct entry **tail_slot(const struct tail *tail, size_t i)
{
	return &tail->slot[(tail->head + i) & (tail->capacity - 1)];
}

void tail_init(struct tail *tail, uint64_t first)
{
	*tail = (struct tail){.first = first, .capacity = TAIL_SLOTS_FIRST};
	tail->slot = x_malloc(tail->capacity * sizeof *tail->slot);
}

void tail_release(struct tail *tail)
{
	tail_reset(tail, 1);
	free(tail->slot);
	tail->slot = NULL;
}

void tail_reset(struct tail *tail, uint64_t first)
{
	tail_truncate(tail, tail->first);
	assert(tail->n == 0 && tail->bytes == 0);
	tail->first = first;
}

uint64_t tail_last(const struct tail *tail)
{
	return tail->first + tail->n - 1;
}

struct entry *tail_get(const struct tail *tail, uint64_t index)
{
	if (index < tail->first || index - tail->first >= tail->n) {
		return NULL;
	}
	return *tail_slot(tail, index - tail->first);
}

static void tail_grow(struct tail *tail)
{
	size_t capacity = tail->capacity * 2;
	struct entry **slot = x_malloc(capacity * sizeof *slot);

	for (size_t i = 0; i < tail->n; i++) {
		slot[i] = *tail_slot(tail, i);
	}
	free(tail->slot);
	tail->slot = slot;
	tail->capacity = capacity;
	tail->head = 0;
}

void tail_append(struct tail *tail, struct entry *entry)
{
	assert(entry->index == tail->first + tail->n);
	if (tail->n == tail->capacity) {
		tail_grow(tail);
	}
	*tail_slot(tail, tail->n++) = entry_ref(entry);
	tail->bytes += tail_cost(entry);
}

void tail_truncate(struct tail *tail, uint64_t index)
{
	while (tail->n > 0 && tail_last(tail) >= index) {
		struct entry *entry = *tail_slot(tail, tail->n - 1);

		tail->n--;
		tail->bytes -= tail_cost(entry);
		entry_unref(entry);
	}
}

void tail_drop(struct tail *tail, uint64_t index)
{
	while (tail->n > 0 && tail->first <= index) {
		struct entry *entry = *tail_slot(tail, 0);

		tail->head = (tail->head + 1) & (tail->capacity - 1);
		tail->n--;
		tail->first++;
		tail->bytes -= tail_cost(entry);
		entry_unref(entry);
	}
}
