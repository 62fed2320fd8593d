#include "storage/omap.h"

#include <assert.h>
#include <string.h>

/* A treap (Seidel and Aragon 1996). The priority is a hash of the key, so that the shape follows
 * from the keys alone: the same rows cost the same, whatever happened before. */
struct omap_node {
	atomic_uint refs;
	uint32_t priority;
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

static uint32_t omap_priority(struct bytes key)
{
	uint64_t h = 0x9e3779b97f4a7c15ULL ^ key.len;

	for (size_t i = 0; i < key.len; i++) {
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
	own->left = omap_node_ref(node->left);
	own->right = omap_node_ref(node->right);
	own->item = node->item;
	(void)atomic_fetch_add_explicit(&own->item->refs, 1, memory_order_relaxed);
	omap_node_unref(node);
	return own;
}

static struct omap_node *omap_node_new(struct omap_item *item)
{
	struct omap_node *node = x_malloc(sizeof *node);

	atomic_init(&node->refs, 1);
	node->priority = omap_priority(omap_key(item));
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
static struct omap_node *omap_node_put(struct omap_node *node, struct omap_item *item)
{
	int order;

	if (node == NULL) {
		return omap_node_new(item);
	}
	node = omap_node_own(node);
	order = bytes_compare(omap_key(item), omap_key(node->item));
	if (order == 0) {
		omap_item_unref(node->item);
		node->item = item;
	} else if (order < 0) {
		node->left = omap_node_put(node->left, item);
		if (node->left->priority > node->priority) {
			node = omap_rotate_right(node);
		}
	} else {
		node->right = omap_node_put(node->right, item);
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
static struct omap_node *omap_node_remove(struct omap_node *node, struct bytes key)
{
	int order;
	struct omap_node *joined;

	assert(node != NULL);
	node = omap_node_own(node);
	order = bytes_compare(key, omap_key(node->item));
	if (order < 0) {
		node->left = omap_node_remove(node->left, key);
		return node;
	}
	if (order > 0) {
		node->right = omap_node_remove(node->right, key);
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

void omap_put(struct omap *map, struct bytes key, struct bytes value, bool mark)
{
	assert(key.len > 0);
	map->root = omap_node_put(map->root, omap_item_copy(key, value, mark));
}

void omap_put_borrowed(struct omap *map, struct bytes key, struct bytes value)
{
	assert(key.len > 0);
	map->root = omap_node_put(map->root, omap_item_new(key, value, 0));
}

bool omap_remove(struct omap *map, struct bytes key)
{
	if (omap_get(map, key) == NULL) {
		return false;
	}
	map->root = omap_node_remove(map->root, key);
	return true;
}

const struct omap_item *omap_get(const struct omap *map, struct bytes key)
{
	const struct omap_node *node = map->root;

	while (node != NULL) {
		int order = bytes_compare(key, omap_key(node->item));

		if (order == 0) {
			return node->item;
		}
		node = order < 0 ? node->left : node->right;
	}
	return NULL;
}

const struct omap_item *omap_seek(const struct omap *map, struct bytes key, bool above)
{
	const struct omap_node *node = map->root;
	const struct omap_item *best = NULL;

	while (node != NULL) {
		int order = bytes_compare(omap_key(node->item), key);

		if (order > 0 || (order == 0 && !above)) {
			best = node->item;
			node = node->left;
		} else {
			node = node->right;
		}
	}
	return best;
}
