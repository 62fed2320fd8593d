#include <assert.h>
#include <string.h>

#include "raft/log_parts.h"

void log_index_release(struct log_index *index)
{
	for (size_t i = 0; i < index->n; i++) {
		entry_unref(index->slots[index->head + i].entry);
	}
	free(index->slots);
	*index = (struct log_index){0};
}

struct log_slot *log_index_at(const struct log_index *index, uint64_t at)
{
	assert(at >= index->first && at - index->first < index->n);
	return &index->slots[index->head + (at - index->first)];
}

uint64_t log_index_last(const struct log_index *index)
{
	return index->first + index->n - 1;
}

struct log_slot *log_index_push(struct log_index *index)
{
	struct log_slot *slot;

	if (index->head + index->n == index->cap) {
		/* Half empty at the front: move, else grow; amortised constant either way. */
		if (index->head > index->cap / 2) {
			memmove(index->slots, index->slots + index->head,
				index->n * sizeof *index->slots);
			index->head = 0;
		} else {
			index->cap = index->cap * 2 + 64;
			index->slots = x_realloc(index->slots, index->cap * sizeof *index->slots);
		}
	}
	slot = &index->slots[index->head + index->n++];
	*slot = (struct log_slot){0};
	return slot;
}

void log_index_truncate(struct log_index *index, uint64_t from)
{
	assert(from >= index->first);
	while (index->n > 0 && log_index_last(index) >= from) {
		entry_unref(log_index_at(index, log_index_last(index))->entry);
		index->n--;
	}
}

void log_index_trim(struct log_index *index, uint64_t to)
{
	while (index->n > 0 && index->first < to) {
		entry_unref(index->slots[index->head].entry);
		index->head++;
		index->n--;
		index->first++;
	}
	if (index->n == 0) {
		index->head = 0;
	}
}
