/* Challenges of device logins, of recoveries and of authenticators: in this node's memory, each
 * worth one answer within API_CHALLENGE_MS; beyond API_CHALLENGES_MAX the oldest is forgotten. One
 * thread. */
#ifndef KLUIS_NODE_CHALLENGE_H
#define KLUIS_NODE_CHALLENGE_H

#include <stdint.h>

#include "base/err.h"
#include "base/random.h"

struct challenge {
	uint8_t handshake[16];
	uint8_t challenge[32];
	uint8_t user_id[16], device_id[16];
	uint64_t expires_ms; /* Monotonic; 0: free. */
};

struct challenge_table;

struct challenge_table *challenge_table_new(void);
void challenge_table_free(struct challenge_table *table); /* NULL is fine. */
/* A new one for this user and device, whether they exist or not. */
const struct challenge *challenge_make(struct challenge_table *table, struct random *random,
	const uint8_t user_id[16], const uint8_t device_id[16], uint64_t now_ms);
/* As challenge_make(), without a device, for a user who is known by her session: of hers at most
 * API_CHALLENGES_PER_USER_MAX wait, the oldest is forgotten. */
const struct challenge *challenge_make_own(struct challenge_table *table, struct random *random,
	const uint8_t user_id[16], uint64_t now_ms);
/* Takes it out of the table, whatever becomes of the answer. KLUIS_ENOTFOUND: none, used, too late.
 */
KLUIS_MUST_CHECK int challenge_take(struct challenge_table *table, const uint8_t handshake[16],
	uint64_t now_ms, struct challenge *ret_challenge);

#endif
