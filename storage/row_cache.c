#include "storage/row_cache.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"

_Static_assert(ROW_CACHE_SLOTS <= UINT16_MAX + 1, "a slot's number fits");

struct row_slot {
	uint32_t cap, key_len, value_len;
	bool there;
	uint8_t data[]; /* Key, then value. */
};

struct row_cache {
	uint32_t tags[ROW_CACHE_SLOTS]; /* Of their keys: most misses end here. */
	struct row_slot *slots[ROW_CACHE_SLOTS];
	uint16_t used[ROW_CACHE_SLOTS]; /* Slots that were ever taken. */
	size_t n_used;
};

struct row_cache *row_cache_new(void)
{
	return x_calloc(1, sizeof(struct row_cache));
}

void row_cache_free(struct row_cache *cache)
{
	if (cache != NULL) {
		for (size_t i = 0; i < cache->n_used; i++) {
			free(cache->slots[cache->used[i]]);
		}
		free(cache);
	}
}

/* The slot of the tag's key, or NULL: it is another key's, or nobody's. */
static struct row_slot *row_slot_find(const struct row_cache *cache, uint32_t tag, struct bytes key)
{
	struct row_slot *slot = cache->slots[tag % ROW_CACHE_SLOTS];

	if (cache->tags[tag % ROW_CACHE_SLOTS] != tag || slot == NULL ||
		!bytes_equal(bytes_of(slot->data, slot->key_len), key)) {
		return NULL;
	}
	return slot;
}

bool row_cache_get(const struct row_cache *cache, struct bytes key, bool *ret_there, struct buf *to)
{
	const struct row_slot *slot = row_slot_find(cache, crc32c(0, key), key);

	if (slot == NULL) {
		return false;
	}
	if (slot->there) {
		buf_append(to, slot->data + slot->key_len, slot->value_len);
	}
	*ret_there = slot->there;
	return true;
}

static void row_slot_fill(
	struct row_cache *cache, uint32_t tag, struct bytes key, const struct bytes *value)
{
	struct row_slot **at = &cache->slots[tag % ROW_CACHE_SLOTS], *slot = *at;
	size_t value_len = value == NULL ? 0 : value->len, len = key.len + value_len;

	if (slot == NULL) {
		cache->used[cache->n_used++] = (uint16_t)(at - cache->slots);
	}
	if (slot == NULL || slot->cap < len) {
		free(slot);
		slot = *at = x_malloc(sizeof *slot + len);
		slot->cap = (uint32_t)len;
	}
	cache->tags[tag % ROW_CACHE_SLOTS] = tag;
	slot->key_len = (uint32_t)key.len;
	slot->value_len = (uint32_t)value_len;
	slot->there = value != NULL;
	memcpy(slot->data, key.data, key.len);
	if (value_len > 0) {
		memcpy(slot->data + key.len, value->data, value_len);
	}
}

void row_cache_put(struct row_cache *cache, struct bytes key, const struct bytes *value)
{
	uint32_t tag = crc32c(0, key);
	struct row_slot *slot;

	if (value == NULL || value->len <= ROW_CACHE_VALUE_BYTES_MAX) {
		row_slot_fill(cache, tag, key, value);
		return;
	}
	slot = row_slot_find(cache, tag, key);
	if (slot != NULL) {
		slot->key_len = 0; /* No key is that short. */
	}
}

void row_cache_change(struct row_cache *cache, struct bytes key, const struct bytes *value)
{
	if (row_slot_find(cache, crc32c(0, key), key) != NULL) {
		row_cache_put(cache, key, value);
	}
}
