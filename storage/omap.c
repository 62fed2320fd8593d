#include "storage/omap.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

/* The first 16 bytes of a key as numbers, zeros behind its end: nearly every comparison ends here,
 * without a look at the key itself. */
struct omap_head {
	uint64_t word[2];
};

/* A treap (Seidel and Aragon 1996). The priority is a hash of the key, so that the shape follows
 * from the keys alone: the same rows cost the same, whatever happened before. */
struct omap_node {
	atomic_uint refs;
	uint32_t priority;
	struct omap_head head;
	struct omap_node *left, *right;
	struct omap_item *item;
};

struct bytes omap_key(const struct omap_item *item)
{
	return bytes_of(item->data, item->key_len);
}

struct bytes omap_value(const struct omap_item *item)
{
	return bytes_of(item->value, item->value_len);
}

static struct omap_head omap_head_of(struct bytes key)
{
	struct omap_head head;
	uint8_t first[sizeof head] = {0};

	if (key.len > 0) {
		memcpy(first, key.data, key.len < sizeof first ? key.len : sizeof first);
	}
	head.word[0] = load_u64(first);
	head.word[1] = load_u64(first + 8);
	return head;
}

/* What is looked for, against a node: as bytes_compare() of the keys. */
static int omap_compare(
	const struct omap_head *head, struct bytes key, const struct omap_node *node)
{
	for (unsigned i = 0; i < ARRAY_SIZE(head->word); i++) {
		if (head->word[i] != node->head.word[i]) {
			return head->word[i] < node->head.word[i] ? -1 : 1;
		}
	}
	return bytes_compare(key, omap_key(node->item));
}

static uint32_t omap_priority(const struct omap_head *head, struct bytes key)
{
	uint64_t h = 0x9e3779b97f4a7c15ULL ^ key.len;

	h = (h ^ head->word[0]) * 0xd6e8feb86659fd93ULL;
	h = ((h ^ h >> 32) ^ head->word[1]) * 0xd6e8feb86659fd93ULL;
	for (size_t i = sizeof *head; i < key.len; i++) {
		h = (h ^ key.data[i]) * 0x100000001b3ULL;
	}
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ULL;
	return (uint32_t)(h >> 32);
}

/* With room for `room` bytes behind the key. */
static struct omap_item *omap_item_new(struct bytes key, struct bytes value, size_t room)
{
	struct omap_item *item = x_malloc(sizeof *item + key.len + room);

	assert(key.len <= UINT32_MAX && value.len <= UINT32_MAX);
	atomic_init(&item->refs, 1);
	item->mark = false;
	item->key_len = (uint32_t)key.len;
	item->value_len = (uint32_t)value.len;
	item->value = value.data;
	memcpy(item->data, key.data, key.len);
	return item;
}

static struct omap_item *omap_item_copy(struct bytes key, struct bytes value, bool mark)
{
	struct omap_item *item = omap_item_new(key, value, value.len);

	item->mark = mark;
	item->value = item->data + key.len;
	if (value.len > 0) {
		memcpy(item->data + key.len, value.data, value.len);
	}
	return item;
}

static void omap_item_unref(struct omap_item *item)
{
	if (atomic_fetch_sub_explicit(&item->refs, 1, memory_order_acq_rel) == 1) {
		free(item);
	}
}

static struct omap_node *omap_node_ref(struct omap_node *node)
{
	if (node != NULL) {
		(void)atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed);
	}
	return node;
}

/* Recursion is as deep as the tree: about 2.5 log2 n. */
static void omap_node_unref(struct omap_node *node)
{
	if (node != NULL && atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) == 1) {
		omap_node_unref(node->left);
		omap_node_unref(node->right);
		omap_item_unref(node->item);
		free(node);
	}
}

/* The caller's reference becomes one on a node that nobody else sees. */
static struct omap_node *omap_node_own(struct omap_node *node)
{
	struct omap_node *own;

	if (atomic_load_explicit(&node->refs, memory_order_acquire) == 1) {
		return node;
	}
	own = x_malloc(sizeof *own);
	atomic_init(&own->refs, 1);
	own->priority = node->priority;
	own->head = node->head;
	own->left = omap_node_ref(node->left);
	own->right = omap_node_ref(node->right);
	own->item = node->item;
	(void)atomic_fetch_add_explicit(&own->item->refs, 1, memory_order_relaxed);
	omap_node_unref(node);
	return own;
}

static struct omap_node *omap_node_new(const struct omap_head *head, struct omap_item *item)
{
	struct omap_node *node = x_malloc(sizeof *node);

	atomic_init(&node->refs, 1);
	node->priority = omap_priority(head, omap_key(item));
	node->head = *head;
	node->left = node->right = NULL;
	node->item = item;
	return node;
}

static struct omap_node *omap_rotate_right(struct omap_node *node)
{
	struct omap_node *up = node->left;

	node->left = up->right;
	up->right = node;
	return up;
}

static struct omap_node *omap_rotate_left(struct omap_node *node)
{
	struct omap_node *up = node->right;

	node->right = up->left;
	up->left = node;
	return up;
}

/* Takes the references to node and item; what it returns is owned. */
static struct omap_node *omap_node_put(
	struct omap_node *node, const struct omap_head *head, struct omap_item *item)
{
	int order;

	if (node == NULL) {
		return omap_node_new(head, item);
	}
	node = omap_node_own(node);
	order = omap_compare(head, omap_key(item), node);
	if (order == 0) {
		omap_item_unref(node->item);
		node->item = item;
	} else if (order < 0) {
		node->left = omap_node_put(node->left, head, item);
		if (node->left->priority > node->priority) {
			node = omap_rotate_right(node);
		}
	} else {
		node->right = omap_node_put(node->right, head, item);
		if (node->right->priority > node->priority) {
			node = omap_rotate_left(node);
		}
	}
	return node;
}

/* All keys of left are below all keys of right. Takes both references. */
static struct omap_node *omap_join(struct omap_node *left, struct omap_node *right)
{
	if (left == NULL || right == NULL) {
		return left == NULL ? right : left;
	}
	if (left->priority > right->priority) {
		left = omap_node_own(left);
		left->right = omap_join(left->right, right);
		return left;
	}
	right = omap_node_own(right);
	right->left = omap_join(left, right->left);
	return right;
}

/* key is there. */
static struct omap_node *omap_node_remove(
	struct omap_node *node, const struct omap_head *head, struct bytes key)
{
	int order;
	struct omap_node *joined;

	assert(node != NULL);
	node = omap_node_own(node);
	order = omap_compare(head, key, node);
	if (order < 0) {
		node->left = omap_node_remove(node->left, head, key);
		return node;
	}
	if (order > 0) {
		node->right = omap_node_remove(node->right, head, key);
		return node;
	}
	joined = omap_join(node->left, node->right);
	node->left = node->right = NULL;
	omap_node_unref(node);
	return joined;
}

struct omap omap_copy(const struct omap *map)
{
	return (struct omap){omap_node_ref(map->root)};
}

void omap_release(struct omap *map)
{
	omap_node_unref(map->root);
	map->root = NULL;
}

static void omap_put_item(struct omap *map, struct bytes key, struct omap_item *item)
{
	struct omap_head head = omap_head_of(key);

	assert(key.len > 0);
	map->root = omap_node_put(map->root, &head, item);
}

void omap_put(struct omap *map, struct bytes key, struct bytes value, bool mark)
{
	omap_put_item(map, key, omap_item_copy(key, value, mark));
}

void omap_put_borrowed(struct omap *map, struct bytes key, struct bytes value)
{
	omap_put_item(map, key, omap_item_new(key, value, 0));
}

bool omap_remove(struct omap *map, struct bytes key)
{
	struct omap_head head = omap_head_of(key);

	if (omap_get(map, key) == NULL) {
		return false;
	}
	map->root = omap_node_remove(map->root, &head, key);
	return true;
}

const struct omap_item *omap_get(const struct omap *map, struct bytes key)
{
	struct omap_head head = omap_head_of(key);
	const struct omap_node *node = map->root;

	while (node != NULL) {
		int order = omap_compare(&head, key, node);

		if (order == 0) {
			return node->item;
		}
		node = order < 0 ? node->left : node->right;
	}
	return NULL;
}

const struct omap_item *omap_seek(const struct omap *map, struct bytes key, bool above)
{
	struct omap_head head = omap_head_of(key);
	const struct omap_node *node = map->root;
	const struct omap_item *best = NULL;

	while (node != NULL) {
		int order = omap_compare(&head, key, node);

		if (order < 0 || (order == 0 && !above)) {
			best = node->item;
			node = node->left;
		} else {
			node = node->right;
		}
	}
	return best;
}

/* --- iterator --- */

/* Deeper than the stack only the topmost are given up: they are found again from the last key. */
static void omap_iter_push(struct omap_iter *it, const struct omap_node *node)
{
	if (it->n == ARRAY_SIZE(it->node)) {
		memmove(it->node, it->node + 1, (it->n - 1) * sizeof it->node[0]);
		it->n--;
		it->gave_up = true;
	}
	it->node[it->n++] = node;
}

static void omap_iter_seek(struct omap_iter *it, struct bytes key, bool above)
{
	struct omap_head head = omap_head_of(key);
	const struct omap_node *node = it->map->root;

	it->n = 0;
	it->gave_up = false;
	while (node != NULL) {
		int order = omap_compare(&head, key, node);

		if (order < 0 || (order == 0 && !above)) {
			omap_iter_push(it, node);
			node = node->left;
		} else {
			node = node->right;
		}
	}
}

void omap_iter_init(struct omap_iter *it, const struct omap *map, struct bytes first)
{
	it->map = map;
	it->item = NULL;
	omap_iter_seek(it, first, false);
}

const struct omap_item *omap_iter_next(struct omap_iter *it)
{
	const struct omap_node *node;

	if (it->n == 0 && it->gave_up) {
		omap_iter_seek(it, omap_key(it->item), true);
	}
	if (it->n == 0) {
		it->item = NULL;
		return NULL;
	}
	node = it->node[--it->n];
	it->item = node->item;
	for (node = node->right; node != NULL; node = node->left) {
		omap_iter_push(it, node);
	}
	return it->item;
}
