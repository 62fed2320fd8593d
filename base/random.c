#include "base/random.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"

static void random_system_fill(struct random *random, void *to, size_t len)
{
	uint8_t *at = to;

	(void)random;
	while (len > 0) {
		ssize_t n = getrandom(at, len, 0);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			abort(); /* No key may be made from anything else. */
		}
		at += n;
		len -= (size_t)n;
	}
}

struct random random_system = {random_system_fill};

void random_fill(struct random *random, void *to, size_t len)
{
	random->fill(random, to, len);
}

uint64_t random_below(struct random *random, uint64_t bound)
{
	uint64_t limit, value;

	assert(bound > 0);
	limit = UINT64_MAX - UINT64_MAX % bound;
	do {
		random_fill(random, &value, sizeof value);
	} while (value >= limit);
	return value % bound;
}

static uint64_t random_rotate(uint64_t value, int bits)
{
	return value << bits | value >> (64 - bits);
}

static uint64_t random_seeded_next(uint64_t state[4])
{
	uint64_t result = random_rotate(state[1] * 5, 7) * 9, mixed = state[1] << 17;

	state[2] ^= state[0];
	state[3] ^= state[1];
	state[1] ^= state[2];
	state[0] ^= state[3];
	state[2] ^= mixed;
	state[3] = random_rotate(state[3], 45);
	return result;
}

static void random_seeded_fill(struct random *random, void *to, size_t len)
{
	struct random_seeded *seeded = CONTAINER_OF(random, struct random_seeded, random);
	uint8_t *at = to;

	while (len > 0) {
		uint64_t word = random_seeded_next(seeded->state);
		size_t n = len < sizeof word ? len : sizeof word;

		memcpy(at, &word, n);
		at += n;
		len -= n;
	}
}

void random_seeded_init(struct random_seeded *seeded, uint64_t seed)
{
	seeded->random.fill = random_seeded_fill;
	for (int i = 0; i < 4; i++) {
		uint64_t z = seed += 0x9e3779b97f4a7c15U;

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
		z = (z ^ z >> 27) * 0x94d049bb133111ebU;
		seeded->state[i] = z ^ z >> 31;
	}
}
