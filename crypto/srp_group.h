/* The groups of RFC 5054 that Kluis takes, with what SHA-256 makes of each. Not for other folders.
 */
#ifndef KLUIS_CRYPTO_SRP_GROUP_H
#define KLUIS_CRYPTO_SRP_GROUP_H

#include "crypto/hash.h"
#include "crypto/srp_math.h"

struct srp_group {
	struct srp_math *math;
	uint8_t k[HASH_BYTES];	 /* H(PAD N | PAD g). */
	uint8_t mix[HASH_BYTES]; /* H(N) xor H(g), g in as few bytes as it takes. */
};
/* NULL for a group that is none of ours. Lives for ever; any thread. */
const struct srp_group *srp_group(unsigned group);

#endif
