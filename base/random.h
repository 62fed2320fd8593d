/* Randomness, injectable. For secrets only random_system is right; the seeded one is for tests and
 * the simulator. */
#ifndef KLUIS_BASE_RANDOM_H
#define KLUIS_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random {
	void (*fill)(struct random *random, void *to, size_t len);
};

/* getrandom(2); aborts when the kernel cannot give any. Any thread. */
extern struct random random_system;

void random_fill(struct random *random, void *to, size_t len);
uint64_t random_below(
	struct random *random, uint64_t bound); /* 0 .. bound - 1, without bias; bound > 0. */

/* xoshiro256** seeded by splitmix64: the same seed gives the same bytes. Not for secrets. */
struct random_seeded {
	struct random random;
	uint64_t state[4];
};
void random_seeded_init(struct random_seeded *seeded, uint64_t seed);

#endif
