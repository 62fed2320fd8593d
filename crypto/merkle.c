#include "crypto/merkle.h"

#include <assert.h>
#include <string.h>

/* Bottom-up pairing, with an odd last node moved up as it is, gives the same tree as RFC 9162's
 * largest power of two below n. Nodes are kept at every MERKLE_STRIDE'th level: a block of 16 nodes
 * of one kept level is one node of the next. */
enum {
	MERKLE_STRIDE = 4,
	MERKLE_BLOCK = 1 << MERKLE_STRIDE,
	MERKLE_LEVELS = 8, /* 16^7 = MERKLE_LEAVES_MAX leaves need the eighth for their root. */
};

struct merkle_level {
	struct buf nodes; /* HASH_BYTES each. */
};

struct merkle {
	struct merkle_level level[MERKLE_LEVELS]; /* level[0]: the leaves. */
	uint64_t stale; /* Leaves from here on are not in the levels above yet. */
};

struct merkle *merkle_new(void)
{
	return x_calloc(1, sizeof(struct merkle));
}

void merkle_free(struct merkle *tree)
{
	if (tree == NULL) {
		return;
	}
	for (size_t i = 0; i < MERKLE_LEVELS; i++) {
		buf_release(&tree->level[i].nodes);
	}
	free(tree);
}

void merkle_freep(struct merkle **tree)
{
	merkle_free(*tree);
}

static uint64_t merkle_level_count(const struct merkle_level *level)
{
	return level->nodes.len / HASH_BYTES;
}

uint64_t merkle_count(const struct merkle *tree)
{
	return merkle_level_count(&tree->level[0]);
}

static void merkle_inner(const uint8_t children[2 * HASH_BYTES], uint8_t ret[HASH_BYTES])
{
	uint8_t node[1 + 2 * HASH_BYTES];

	node[0] = 0x01;
	memcpy(node + 1, children, 2 * HASH_BYTES);
	hash_sha256(bytes_of(node, sizeof node), ret);
}

/* The root of up to 16 nodes of one level. */
static void merkle_block(const uint8_t *nodes, size_t count, uint8_t ret[HASH_BYTES])
{
	uint8_t work[MERKLE_BLOCK * HASH_BYTES];

	assert(count > 0 && count <= MERKLE_BLOCK);
	memcpy(work, nodes, count * HASH_BYTES);
	while (count > 1) {
		size_t pairs = count / 2;

		for (size_t i = 0; i < pairs; i++) {
			merkle_inner(work + 2 * i * HASH_BYTES, work + i * HASH_BYTES);
		}
		if (count % 2 == 1) {
			memmove(work + pairs * HASH_BYTES, work + (count - 1) * HASH_BYTES,
				HASH_BYTES);
		}
		count -= pairs;
	}
	memcpy(ret, work, HASH_BYTES);
}

/* Node `at` of the level above `level`, from its block. */
static void merkle_lift(struct merkle *tree, size_t level, uint64_t at)
{
	struct buf *below = &tree->level[level].nodes, *above = &tree->level[level + 1].nodes;
	uint64_t first = at * MERKLE_BLOCK, left = merkle_level_count(&tree->level[level]) - first;

	if (above->len == at * HASH_BYTES) {
		buf_extend(above, HASH_BYTES);
	}
	assert(above->len > at * HASH_BYTES);
	merkle_block(below->data + first * HASH_BYTES,
		left < MERKLE_BLOCK ? (size_t)left : MERKLE_BLOCK, above->data + at * HASH_BYTES);
}

static uint64_t merkle_blocks(uint64_t count)
{
	return (count + MERKLE_BLOCK - 1) / MERKLE_BLOCK;
}

/* All levels above the leaves, from leaf `first` to the end. */
static void merkle_lift_from(struct merkle *tree, uint64_t first)
{
	for (size_t level = 0; level + 1 < MERKLE_LEVELS; level++) {
		uint64_t count = merkle_level_count(&tree->level[level]), blocks;

		blocks = count > 1 ? merkle_blocks(count) : 0;
		if (tree->level[level + 1].nodes.len > blocks * HASH_BYTES) {
			tree->level[level + 1].nodes.len = (size_t)blocks * HASH_BYTES;
		}
		first /= MERKLE_BLOCK;
		for (uint64_t at = first; at < blocks; at++) {
			merkle_lift(tree, level, at);
		}
	}
}

void merkle_load(struct merkle *tree, struct bytes leaves)
{
	assert(leaves.len % HASH_BYTES == 0 && leaves.len / HASH_BYTES <= MERKLE_LEAVES_MAX);
	for (size_t i = 0; i < MERKLE_LEVELS; i++) {
		buf_clear(&tree->level[i].nodes);
	}
	buf_append_bytes(&tree->level[0].nodes, leaves);
	tree->stale = 0;
}

/* The path of one leaf that lies below the stale ones. */
static void merkle_lift_path(struct merkle *tree, uint64_t index)
{
	for (size_t level = 0; level + 1 < MERKLE_LEVELS; level++) {
		index /= MERKLE_BLOCK;
		if (index >= merkle_level_count(&tree->level[level + 1])) {
			return; /* Above the top, or in a block that goes stale as a whole. */
		}
		merkle_lift(tree, level, index);
	}
}

void merkle_set(struct merkle *tree, uint64_t index, const uint8_t leaf[HASH_BYTES])
{
	uint64_t count = merkle_count(tree);

	assert(index <= count && index < MERKLE_LEAVES_MAX);
	if (index == count) {
		buf_append(&tree->level[0].nodes, leaf, HASH_BYTES);
		return; /* tree->stale is at most count: already below it. */
	}
	memcpy(tree->level[0].nodes.data + index * HASH_BYTES, leaf, HASH_BYTES);
	if (index < tree->stale) {
		merkle_lift_path(tree, index);
	}
}

void merkle_truncate(struct merkle *tree, uint64_t count)
{
	assert(count < merkle_count(tree));
	tree->level[0].nodes.len = (size_t)count * HASH_BYTES;
	if (tree->stale >= count) {
		tree->stale = count == 0 ? 0 : count - 1; /* The last block changed its shape. */
	}
}

const uint8_t *merkle_leaf(const struct merkle *tree, uint64_t index)
{
	assert(index < merkle_count(tree));
	return tree->level[0].nodes.data + index * HASH_BYTES;
}

void merkle_root(struct merkle *tree, uint8_t ret_root[HASH_BYTES])
{
	uint64_t count = merkle_count(tree);
	size_t top = 0;

	if (count == 0) {
		hash_sha256(bytes_of(NULL, 0), ret_root);
		return;
	}
	if (tree->stale < count) {
		merkle_lift_from(tree, tree->stale);
		tree->stale = count;
	}
	while (merkle_level_count(&tree->level[top]) > 1) {
		top++;
		assert(top < MERKLE_LEVELS);
	}
	memcpy(ret_root, tree->level[top].nodes.data, HASH_BYTES);
}
