/* Public keys of devices, ready for use: reading one costs OpenSSL a third of verifying with it,
 * and a writer sends commit after commit. */
#ifndef KLUIS_NODE_KEY_CACHE_H
#define KLUIS_NODE_KEY_CACHE_H

#include "crypto/key.h"

struct key_cache;

struct key_cache *key_cache_new(void);
void key_cache_free(struct key_cache *cache); /* NULL is allowed. */

/* As key_pub_decode(KEY_ECDSA_P256, ...); the caller frees *ret_key. Holds at most KEY_CACHE_SLOTS
 * keys. Any thread. */
KLUIS_MUST_CHECK int key_cache_get(
	struct key_cache *cache, struct bytes encoded, struct key_pub **ret_key, struct err *e);

#endif
