/* Token buckets by key in a table of fixed size. One thread. */
#ifndef KLUIS_NODE_RATELIMIT_H
#define KLUIS_NODE_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct ratelimit;

/* per_second tokens flow into each bucket, which holds at most burst; both at least 1. */
struct ratelimit *ratelimit_new(unsigned per_second, unsigned burst);
void ratelimit_free(struct ratelimit *limit); /* NULL is fine. */
/* Takes one token of `key`; false when there is none, and *ret_retry_ms is when there will be. Of
 * API_RATE_KEYS_MAX keys at once the longest unused is forgotten, which can only let more through:
 * limits on connections bound what that is worth. */
bool ratelimit_take(struct ratelimit *limit, uint64_t key, uint64_t now_ms, uint64_t *ret_retry_ms);

#endif
