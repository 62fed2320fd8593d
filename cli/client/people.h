/* Other users by their identity chains: each verified from its genesis, held against what this
 * profile saw of it first (it is pinned at first sight) and against the contact pin of the keyring.
 * Membership, heads and KeyPackets of other users are judged by these. Blocking, one thread. */
#ifndef KLUIS_CLI_CLIENT_PEOPLE_H
#define KLUIS_CLI_CLIENT_PEOPLE_H

#include "cli/client/person.h"

enum { PEOPLE_MAX = 8192 /* Chains in memory at once. */ };

/* Where a verification gets identities from; embedded in who has them. */
struct people_source {
	/* The verified identity of this user, which lives as long as the source. fresh: as the
	 * cluster has it now, not only as it was seen. KLUIS_EPIN: the chain that the cluster shows
	 * does not go on from the one that was seen. KLUIS_EVERIFY: it proves nothing, or is
	 * withheld. */
	int (*get)(struct people_source *source, const uint8_t user_id[ID_BYTES], bool fresh,
		const struct identity **ret_identity, struct err *e);
};

struct people;
/* Both must outlive it. client NULL: nobody is asked, and what was never seen is
 * KLUIS_ECONNECT. */
struct people *people_new(struct profile *profile, struct client *client);
void people_free(struct people *people); /* NULL is fine. */
struct people_source *people_source(struct people *people);
struct profile *people_profile(struct people *people);
struct client *people_client(struct people *people);

/* people_source.get(). The own identity is that of the profile, which account_refresh() brings up
 * to date. Each chain is asked for once. */
KLUIS_MUST_CHECK int people_get(struct people *people, const uint8_t user_id[ID_BYTES], bool fresh,
	const struct identity **ret_identity, struct err *e);
/* From now on each chain is asked for once more. */
void people_ask_again(struct people *people);
/* By the name that people know. KLUIS_EPIN: this profile, or the keyring, knows somebody else under
 * that name: a name is given once. KLUIS_ENOTFOUND, KLUIS_EINVAL. */
KLUIS_MUST_CHECK int people_by_name(struct people *people, const char *name,
	const struct identity **ret_identity, struct err *e);
/* Whether their safety number was compared, on whatever device of the profile's owner, or it is
 * she. */
KLUIS_MUST_CHECK int people_is_verified(
	struct people *people, const uint8_t user_id[ID_BYTES], bool *ret_verified, struct err *e);
/* The key that a KeyPacket is sealed to whose key goes into this user's keyring (purposes 1 and 3):
 * the RSA key, where she has made one. KLUIS_EVERIFY: the chain has none. */
KLUIS_MUST_CHECK int people_keeping_key(
	const struct identity *identity, const struct key_pub **ret_key, struct err *e);
/* The one of a curve, for all else. */
KLUIS_MUST_CHECK int people_transfer_key(
	const struct identity *identity, const struct key_pub **ret_key, struct err *e);

#endif
