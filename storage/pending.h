/* What a state machine wrote and has not stored yet: rows in key order. A commit writes dozens of
 * them, so that their memory goes all at once. One thread. */
#ifndef KLUIS_STORAGE_PENDING_H
#define KLUIS_STORAGE_PENDING_H

#include "base/arena.h"
#include "storage/index_store.h"

enum pending_how {
	PENDING_NONE, /* As the store has it. */
	PENDING_PUT,
	PENDING_DELETED,
};

/* What a command does to a row, and what its refusal undoes. */
struct pending_state {
	enum pending_how how;
	bool forgotten;	     /* What the index says of it is to go. */
	struct bytes value;  /* Of a put; in the arena or the caller's. */
	const uint8_t *hash; /* Its SHA-256, in the arena; NULL: not known. */
};

/* A node of a treap (Seidel and Aragon 1996). Its priority is a hash of the key, so that the shape
 * follows from the keys alone: the same rows cost the same, whatever happened before. */
struct pending_row {
	struct pending_row *left, *right;
	uint64_t head[2]; /* The key's first bytes as numbers: most comparisons end here. */
	uint32_t priority;
	bool known;	  /* stored is. */
	bool indexed;	  /* Changed since it was stored: index says when and how. */
	uint64_t command; /* The last one that wrote it. */
	struct pending_state state;
	struct index_row stored; /* Of the store; at.index 0: it has none. */
	struct index_row index;
	struct bytes key; /* In the arena. */
};

/* A change that got a modification index; one of the same row later on takes its place. */
struct pending_indexed {
	struct pending_row *row;
	struct modification at;
};

/* Zero it before use. */
struct pending {
	struct arena arena; /* Of the rows, and of what they point to. */
	struct pending_row *root;
	size_t n;
	struct pending_indexed *indexed; /* In the order of their modifications. */
	size_t n_indexed, indexed_cap;
};

void pending_clear(struct pending *p); /* No rows. */
void pending_release(struct pending *p);

struct pending_row *pending_get(const struct pending *p, struct bytes key); /* NULL: none. */
/* The row of that key; a new one is PENDING_NONE and not known. Copies the key. */
struct pending_row *pending_add(struct pending *p, struct bytes key);
/* The first row with a key >= key, or > key when `above`. */
struct pending_row *pending_seek(const struct pending *p, struct bytes key, bool above);
/* All p->n of them in key order. */
void pending_list(const struct pending *p, struct pending_row **ret_rows);
/* row->index was set: to the last modification of all. */
void pending_indexed(struct pending *p, struct pending_row *row);
/* What the index says of a row with `known` or `indexed`; NULL: nothing. */
const struct index_row *pending_index(const struct pending_row *row);
/* As bytes_compare() of the keys. */
int pending_compare(const struct pending_row *a, const struct pending_row *b);

#endif
