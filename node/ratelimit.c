#include "node/ratelimit.h"

#include <assert.h>
#include <stddef.h>

#include "base/limits.h"
#include "base/mem.h"

enum { WAYS = 4, SETS = API_RATE_KEYS_MAX / WAYS, MILLI = 1000 };

struct bucket {
	uint64_t key;
	uint64_t milli; /* Thousandths of a token. */
	uint64_t at_ms;
	bool used;
};

struct ratelimit {
	unsigned per_second;
	uint64_t burst_milli;
	struct bucket bucket[SETS][WAYS];
};

struct ratelimit *ratelimit_new(unsigned per_second, unsigned burst)
{
	struct ratelimit *limit = x_calloc(1, sizeof *limit);

	assert(per_second > 0 && burst > 0);
	limit->per_second = per_second;
	limit->burst_milli = (uint64_t)burst * MILLI;
	return limit;
}

void ratelimit_free(struct ratelimit *limit)
{
	free(limit);
}

static struct bucket *bucket_of(struct ratelimit *limit, uint64_t key)
{
	/* Fibonacci hashing: neighbouring addresses go to different sets. */
	struct bucket *set = limit->bucket[(key * 0x9e3779b97f4a7c15ULL >> 32) % SETS];
	struct bucket *oldest = &set[0];

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].used && set[i].key == key) {
			return &set[i];
		}
		if (!set[i].used || (oldest->used && set[i].at_ms < oldest->at_ms)) {
			oldest = &set[i];
		}
	}
	*oldest = (struct bucket){.key = key};
	return oldest;
}

bool ratelimit_take(struct ratelimit *limit, uint64_t key, uint64_t now_ms, uint64_t *ret_retry_ms)
{
	struct bucket *bucket = bucket_of(limit, key);

	if (!bucket->used) {
		bucket->used = true;
		bucket->milli = limit->burst_milli;
	} else {
		/* Tokens per second are thousandths of a token per millisecond. */
		uint64_t idle_ms = now_ms - bucket->at_ms;
		uint64_t full_ms = limit->burst_milli / limit->per_second + 1;

		idle_ms = idle_ms < full_ms ? idle_ms : full_ms;
		bucket->milli += idle_ms * limit->per_second;
		if (bucket->milli > limit->burst_milli) {
			bucket->milli = limit->burst_milli;
		}
	}
	bucket->at_ms = now_ms;
	if (bucket->milli < MILLI) {
		*ret_retry_ms = (MILLI - bucket->milli) / limit->per_second + 1;
		return false;
	}
	bucket->milli -= MILLI;
	return true;
}
