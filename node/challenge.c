#include "node/challenge.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

struct challenge_table {
	struct challenge slot[API_CHALLENGES_MAX];
	unsigned next; /* Slots are used in turn, so the next one is free or the oldest. */
};

struct challenge_table *challenge_table_new(void)
{
	return x_calloc(1, sizeof(struct challenge_table));
}

void challenge_table_free(struct challenge_table *table)
{
	free(table);
}

static const struct challenge *challenge_fill(struct challenge *slot, struct random *random,
	const uint8_t user_id[16], const uint8_t device_id[16], uint64_t now_ms)
{
	random_fill(random, slot->handshake, sizeof slot->handshake);
	random_fill(random, slot->challenge, sizeof slot->challenge);
	memcpy(slot->user_id, user_id, sizeof slot->user_id);
	memcpy(slot->device_id, device_id, sizeof slot->device_id);
	slot->expires_ms = now_ms + API_CHALLENGE_MS;
	return slot;
}

const struct challenge *challenge_make(struct challenge_table *table, struct random *random,
	const uint8_t user_id[16], const uint8_t device_id[16], uint64_t now_ms)
{
	return challenge_fill(&table->slot[table->next++ % API_CHALLENGES_MAX], random, user_id,
		device_id, now_ms);
}

const struct challenge *challenge_make_own(struct challenge_table *table, struct random *random,
	const uint8_t user_id[16], uint64_t now_ms)
{
	static const uint8_t no_device[16];
	struct challenge *oldest = NULL;
	unsigned own = 0;

	for (unsigned i = 0; i < API_CHALLENGES_MAX; i++) {
		struct challenge *slot = &table->slot[i];

		if (slot->expires_ms > now_ms && memcmp(slot->user_id, user_id, 16) == 0) {
			own++;
			oldest = oldest == NULL || slot->expires_ms < oldest->expires_ms ? slot
											 : oldest;
		}
	}
	return own < API_CHALLENGES_PER_USER_MAX
		       ? challenge_make(table, random, user_id, no_device, now_ms)
		       : challenge_fill(oldest, random, user_id, no_device, now_ms);
}

int challenge_take(struct challenge_table *table, const uint8_t handshake[16], uint64_t now_ms,
	struct challenge *ret_challenge)
{
	for (unsigned i = 0; i < API_CHALLENGES_MAX; i++) {
		struct challenge *slot = &table->slot[i];

		if (slot->expires_ms != 0 &&
			memcmp(slot->handshake, handshake, sizeof slot->handshake) == 0) {
			bool late = now_ms >= slot->expires_ms;

			if (!late) {
				*ret_challenge = *slot;
			}
			memset(slot, 0, sizeof *slot);
			return late ? KLUIS_ENOTFOUND : 0;
		}
	}
	return KLUIS_ENOTFOUND;
}
