#include "node/session_cache.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/wire.h"

struct session_cache {
	struct slot {
		uint64_t index; /* 0: free. */
		struct session_row row;
	} slot[API_SESSION_CACHE_MAX];
};

struct session_cache *session_cache_new(void)
{
	return x_calloc(1, sizeof(struct session_cache));
}

void session_cache_free(struct session_cache *cache)
{
	free(cache);
}

/* The hash is of a 256-bit secret: nobody can aim at a slot. */
static unsigned slot_of(const uint8_t token_hash[32])
{
	return load_u16(token_hash) % API_SESSION_CACHE_MAX;
}

bool session_cache_get(const struct session_cache *cache, const uint8_t token_hash[32],
	uint64_t index, uint64_t now_ms, struct session_row *ret_row)
{
	const struct slot *slot = &cache->slot[slot_of(token_hash)];

	if (slot->index == 0 || slot->index != index || now_ms >= slot->row.expires_ms ||
		memcmp(slot->row.token_hash, token_hash, sizeof slot->row.token_hash) != 0) {
		return false;
	}
	*ret_row = slot->row;
	return true;
}

void session_cache_put(struct session_cache *cache, uint64_t index, const struct session_row *row)
{
	struct slot *slot = &cache->slot[slot_of(row->token_hash)];

	slot->index = index;
	slot->row = *row;
}
