#include "node/key_cache.h"

#include <pthread.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"

struct key_cache {
	pthread_mutex_t lock;
	struct key_pub *slots[KEY_CACHE_SLOTS]; /* What comes later to a slot takes it. */
};

struct key_cache *key_cache_new(void)
{
	struct key_cache *cache = x_calloc(1, sizeof *cache);

	(void)pthread_mutex_init(&cache->lock, NULL);
	return cache;
}

void key_cache_free(struct key_cache *cache)
{
	if (cache != NULL) {
		for (size_t i = 0; i < KEY_CACHE_SLOTS; i++) {
			key_pub_free(cache->slots[i]);
		}
		(void)pthread_mutex_destroy(&cache->lock);
		free(cache);
	}
}

static struct key_pub *key_cache_find(
	struct key_cache *cache, struct key_pub **slot, struct bytes encoded)
{
	struct key_pub *key = NULL;

	(void)pthread_mutex_lock(&cache->lock);
	if (*slot != NULL && bytes_equal(key_pub_bytes(*slot), encoded)) {
		key = key_pub_ref(*slot);
	}
	(void)pthread_mutex_unlock(&cache->lock);
	return key;
}

static void key_cache_keep(struct key_cache *cache, struct key_pub **slot, struct key_pub *key)
{
	struct key_pub *old;

	(void)pthread_mutex_lock(&cache->lock);
	old = *slot;
	*slot = key_pub_ref(key);
	(void)pthread_mutex_unlock(&cache->lock);
	key_pub_free(old);
}

int key_cache_get(
	struct key_cache *cache, struct bytes encoded, struct key_pub **ret_key, struct err *e)
{
	struct key_pub **slot = &cache->slots[crc32c(0, encoded) % KEY_CACHE_SLOTS];
	struct key_pub *key = key_cache_find(cache, slot, encoded);
	int rc;

	if (key == NULL) {
		rc = key_pub_decode(KEY_ECDSA_P256, encoded, &key, e);
		if (rc != 0) {
			return rc;
		}
		key_cache_keep(cache, slot, key);
	}
	*ret_key = key;
	return 0;
}
