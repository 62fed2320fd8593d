/* Another person, by the identity chain that the cluster shows, held against what was verified
 * before: a contact pin of the keyring, made when two people compared their safety numbers. The
 * name is the key that people know and ids are the one that pins stand under, so a name is also
 * held against the names of all who were verified. Blocking. */
#ifndef KLUIS_CLI_CLIENT_CONTACT_H
#define KLUIS_CLI_CLIENT_CONTACT_H

#include "cli/client/account.h"

struct contact {
	uint8_t user_id[ID_BYTES];
	struct identity identity; /* Verified from its genesis. */
	bool pinned;		  /* As it was when its safety number was last compared: */
	struct safety_party pin;
	uint64_t pin_seq;
};
void contact_release(struct contact *contact);

/* Who that name is. The profile is unlocked and refreshed. KLUIS_EINVAL: no name; KLUIS_ENOTFOUND.
 * KLUIS_EPIN: whoever was verified under that name is another one, or the chain does not go on from
 * what was verified, or that of another one who was verified does not. KLUIS_EVERIFY: the chain
 * does not prove that it is of that name and id, or one that is needed to tell is withheld. Release
 * it also after a failure. */
KLUIS_MUST_CHECK int contact_load(struct profile *profile, struct client *client, const char *name,
	struct contact *ret_contact, struct err *e);
/* Whether what was loaded is what was compared already. */
bool contact_current(const struct contact *contact);
/* The number that both see. */
void contact_number(const struct profile *profile, const struct contact *contact,
	char ret_text[SAFETY_CHARS + 1]);
/* Whether that is what was typed or read out; only digits count: people write the groups as they
 * like. */
bool contact_number_is(const char *number, const char *typed);
/* The numbers were compared, and are the same: pins what was loaded. */
KLUIS_MUST_CHECK int contact_store(struct profile *profile, struct client *client,
	const struct contact *contact, struct err *e);

#endif
