#include "cli/load/latency.h"

#include <assert.h>

static unsigned latency_counter(uint64_t ns)
{
	unsigned top;

	if (ns >> (LATENCY_TOP_BIT + 1) != 0) {
		return LATENCY_COUNTERS - 1;
	}
	if (ns < (1U << LATENCY_SUB_BITS)) {
		return (unsigned)ns;
	}
	top = 63 - (unsigned)__builtin_clzll(ns);
	return ((top - LATENCY_SUB_BITS + 1) << LATENCY_SUB_BITS) +
	       ((unsigned)(ns >> (top - LATENCY_SUB_BITS)) & ((1U << LATENCY_SUB_BITS) - 1));
}

/* The longest duration that the counter counts. */
static uint64_t latency_upper(unsigned counter)
{
	unsigned group = counter >> LATENCY_SUB_BITS;
	uint64_t sub = counter & ((1U << LATENCY_SUB_BITS) - 1);

	if (group == 0) {
		return sub;
	}
	return ((((uint64_t)1 << LATENCY_SUB_BITS) + sub + 1) << (group - 1)) - 1;
}

void latency_add(struct latency *latency, uint64_t ns)
{
	unsigned counter = latency_counter(ns);

	assert(counter < LATENCY_COUNTERS);
	latency->counters[counter]++;
	latency->n++;
	latency->sum_ns += ns;
	latency->max_ns = ns > latency->max_ns ? ns : latency->max_ns;
}

uint64_t latency_at(const struct latency *latency, unsigned permille)
{
	/* The nearest rank: at least this many lie at or below the answer. */
	uint64_t rank = (latency->n * permille + 999) / 1000, seen = 0;

	assert(permille <= 1000);
	rank = rank == 0 ? 1 : rank;
	for (unsigned i = 0; i < LATENCY_COUNTERS && latency->n > 0; i++) {
		seen += latency->counters[i];
		if (seen >= rank) {
			uint64_t upper = latency_upper(i);

			return i == LATENCY_COUNTERS - 1 || upper > latency->max_ns
				       ? latency->max_ns
				       : upper;
		}
	}
	assert(latency->n == 0);
	return 0;
}

uint64_t latency_mean(const struct latency *latency)
{
	return latency->n == 0 ? 0 : latency->sum_ns / latency->n;
}
