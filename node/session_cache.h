/* Sessions that were checked at the state the store still has: in an idle cluster the second
 * request of a session costs no reads. One thread. */
#ifndef KLUIS_NODE_SESSION_CACHE_H
#define KLUIS_NODE_SESSION_CACHE_H

#include <stdbool.h>

#include "storage/session_store.h"

struct session_cache;

struct session_cache *session_cache_new(void);
void session_cache_free(struct session_cache *cache); /* NULL is fine. */
/* Only what was put at exactly this applied index: any applied command may have revoked it. */
bool session_cache_get(const struct session_cache *cache, const uint8_t token_hash[32],
	uint64_t index, uint64_t now_ms, struct session_row *ret_row);
void session_cache_put(struct session_cache *cache, uint64_t index, const struct session_row *row);

#endif
