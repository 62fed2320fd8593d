#include "storage/pending.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

/* A key with its first 16 bytes as numbers, zeros behind its end. */
struct pending_key {
	struct bytes key;
	uint64_t head[2];
};

static struct pending_key pending_key_of(struct bytes key)
{
	struct pending_key k = {.key = key};
	uint8_t first[sizeof k.head] = {0};

	assert(key.len > 0);
	memcpy(first, key.data, key.len < sizeof first ? key.len : sizeof first);
	k.head[0] = load_u64(first);
	k.head[1] = load_u64(first + 8);
	return k;
}

static int pending_order(const uint64_t head[2], struct bytes key, const struct pending_row *row)
{
	if (head[0] != row->head[0]) {
		return head[0] < row->head[0] ? -1 : 1;
	}
	if (head[1] != row->head[1]) {
		return head[1] < row->head[1] ? -1 : 1;
	}
	return bytes_compare(key, row->key);
}

int pending_compare(const struct pending_row *a, const struct pending_row *b)
{
	return pending_order(a->head, a->key, b);
}

static uint32_t pending_priority(const struct pending_key *k)
{
	uint64_t h = 0x9e3779b97f4a7c15ULL ^ k->key.len;

	h = (h ^ k->head[0]) * 0xd6e8feb86659fd93ULL;
	h = ((h ^ h >> 32) ^ k->head[1]) * 0xd6e8feb86659fd93ULL;
	for (size_t i = sizeof k->head; i < k->key.len; i++) {
		h = (h ^ k->key.data[i]) * 0x100000001b3ULL;
	}
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ULL;
	return (uint32_t)(h >> 32);
}

static struct pending_row *pending_row_new(struct pending *p, const struct pending_key *k)
{
	struct pending_row *row = arena_alloc(&p->arena, sizeof *row);

	*row = (struct pending_row){.priority = pending_priority(k)};
	memcpy(row->head, k->head, sizeof row->head);
	row->key = arena_copy(&p->arena, k->key);
	p->n++;
	return row;
}

static struct pending_row *pending_find(const struct pending *p, const struct pending_key *k)
{
	struct pending_row *row = p->root;

	while (row != NULL) {
		int order = pending_order(k->head, k->key, row);

		if (order == 0) {
			return row;
		}
		row = order < 0 ? row->left : row->right;
	}
	return NULL;
}

/* All below `row` goes to two trees: what is before the key and what is behind it. */
static void pending_split(struct pending_row *row, const struct pending_key *k,
	struct pending_row **left, struct pending_row **right)
{
	while (row != NULL) {
		if (pending_order(k->head, k->key, row) > 0) {
			*left = row;
			left = &row->right;
			row = row->right;
		} else {
			*right = row;
			right = &row->left;
			row = row->left;
		}
	}
	*left = *right = NULL;
}

struct pending_row *pending_get(const struct pending *p, struct bytes key)
{
	struct pending_key k;

	if (p->root == NULL) {
		return NULL;
	}
	k = pending_key_of(key);
	return pending_find(p, &k);
}

struct pending_row *pending_add(struct pending *p, struct bytes key)
{
	struct pending_key k = pending_key_of(key);
	struct pending_row *row = pending_find(p, &k), **at = &p->root;

	if (row != NULL) {
		return row;
	}
	row = pending_row_new(p, &k);
	while (*at != NULL && (*at)->priority >= row->priority) {
		at = pending_order(k.head, key, *at) < 0 ? &(*at)->left : &(*at)->right;
	}
	pending_split(*at, &k, &row->left, &row->right);
	*at = row;
	return row;
}

struct pending_row *pending_seek(const struct pending *p, struct bytes key, bool above)
{
	struct pending_key k = {.key = key};
	struct pending_row *row = p->root, *best = NULL;

	if (key.len > 0) {
		k = pending_key_of(key);
	}
	while (row != NULL) {
		int order = pending_order(k.head, key, row);

		if (order < 0 || (order == 0 && !above)) {
			best = row;
			row = row->left;
		} else {
			row = row->right;
		}
	}
	return best;
}

/* Recursion is as deep as the tree: about 2.5 log2 n. */
static struct pending_row **pending_walk(struct pending_row *row, struct pending_row **to)
{
	for (; row != NULL; row = row->right) {
		to = pending_walk(row->left, to);
		*to++ = row;
	}
	return to;
}

void pending_list(const struct pending *p, struct pending_row **ret_rows)
{
	struct pending_row **end = pending_walk(p->root, ret_rows);

	assert((size_t)(end - ret_rows) == p->n);
}

void pending_indexed(struct pending *p, struct pending_row *row)
{
	if (p->n_indexed == p->indexed_cap) {
		p->indexed_cap = p->indexed_cap == 0 ? 64 : 2 * p->indexed_cap;
		p->indexed = x_realloc(p->indexed, p->indexed_cap * sizeof *p->indexed);
	}
	p->indexed[p->n_indexed++] = (struct pending_indexed){row, row->index.at};
	row->indexed = true;
	row->state.forgotten = false;
}

const struct index_row *pending_index(const struct pending_row *row)
{
	const struct index_row *index = row->indexed ? &row->index : &row->stored;

	assert(row->indexed || row->known);
	return row->state.forgotten || index->at.index == 0 ? NULL : index;
}

void pending_clear(struct pending *p)
{
	arena_clear(&p->arena);
	p->root = NULL;
	p->n = p->n_indexed = 0;
}

void pending_release(struct pending *p)
{
	arena_release(&p->arena);
	free(p->indexed);
	*p = (struct pending){0};
}
