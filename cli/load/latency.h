/* A histogram of durations: log-linear counters of fixed size (as HdrHistogram), so that recording
 * costs the same for the first and the millionth, and no percentile is off by more than 1/128. */
#ifndef KLUIS_CLI_LOAD_LATENCY_H
#define KLUIS_CLI_LOAD_LATENCY_H

#include <stdint.h>

enum {
	LATENCY_SUB_BITS = 7, /* 128 counters for each power of two. */
	LATENCY_TOP_BIT = 42, /* 2^43 ns is 2.4 hours: longer ones count as that. */
	LATENCY_COUNTERS = (LATENCY_TOP_BIT - LATENCY_SUB_BITS + 2) << LATENCY_SUB_BITS,
};

/* Zero it before use. */
struct latency {
	uint64_t n, max_ns, sum_ns;
	uint64_t counters[LATENCY_COUNTERS];
};

void latency_add(struct latency *latency, uint64_t ns);
/* The duration that `permille` of 1000 did not exceed, rounded up by at most 1/128 and never above
 * the maximum; 0 when nothing was recorded. permille: 0 .. 1000. */
uint64_t latency_at(const struct latency *latency, unsigned permille);
uint64_t latency_mean(const struct latency *latency);

#endif
