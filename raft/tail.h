/* The newest entries of the log, in memory: a ring by index, one reference each. */
#ifndef KLUIS_RAFT_TAIL_H
#define KLUIS_RAFT_TAIL_H

#include "raft/entry.h"

/* Holds entries first .. first + n - 1. */
struct tail {
	struct entry **slot;
	size_t capacity, head; /* capacity is a power of two. */
	uint64_t first;
	size_t n, bytes; /* bytes: of the entries' data and their structs. */
};

/* Empty, so that the next entry is `first`. */
void tail_init(struct tail *tail, uint64_t first);
void tail_release(struct tail *tail);
/* Forgets all; the next entry is `first`. */
void tail_reset(struct tail *tail, uint64_t first);
/* Index of the last one, first - 1 when empty. */
uint64_t tail_last(const struct tail *tail);
/* NULL when index is not held. No reference is taken. */
struct entry *tail_get(const struct tail *tail, uint64_t index);
/* Takes a reference of its own; entry->index must be the next one. */
void tail_append(struct tail *tail, struct entry *entry);
/* Forgets index and all behind it. */
void tail_truncate(struct tail *tail, uint64_t index);
/* Forgets all up to index. */
void tail_drop(struct tail *tail, uint64_t index);

#endif
