/* What the profile of a person has beyond that of a service account (docs/format-profile.md): her
 * keys lie in the keyring at the cluster; the device's own keys and a copy of the keyring's key lie
 * here, sealed under a local key that her password opens, or the keyring. Such a profile is locked
 * when it is opened; with a password, or with an agent's help, it is unlocked. Blocking. */
#ifndef KLUIS_CLI_CLIENT_PERSON_H
#define KLUIS_CLI_CLIENT_PERSON_H

#include "cli/client/profile.h"
#include "cli/client/ring.h"
#include "crypto/kdf.h"

struct person_keys {
	/* In clear: what is needed before the password can be tried. */
	bool has_kdf;
	uint8_t kdf[KDF_BYTES];		 /* Of the password that opens local_key. */
	struct secret account_key;	 /* Empty: none, or not on this device yet. */
	struct buf by_password, by_ring; /* The local key, sealed twice; empty before. */
	struct buf device_sealed;	 /* The device's keys; empty when it has none. */
	struct buf krk_sealed;
	struct buf keyring; /* The newest object that was verified; empty before. */
	struct buf chain;   /* lp32 of each statement of the identity chain, verified. */
	/* While unlocked: */
	struct secret local_key; /* Empty when an agent unlocked it. */
	struct ring *ring;	 /* NULL: locked. */
};

/* A new profile of a person in an empty or missing directory, in memory only; see profile_make().
 */
KLUIS_MUST_CHECK int person_make(const char *dir, const struct api_cluster *cluster,
	const char *user, const char *const *endpoints, size_t n_endpoints,
	struct profile **ret_profile, struct err *e);
/* KLUIS_EUNAUTHENTICATED unless it is a person's, unlocked, and this device may sign. */
KLUIS_MUST_CHECK int person_ready(const struct profile *profile, struct err *e);

/* By an agent: who holds the keys and signs. All is taken, whatever is returned: device and signing
 * may be key_held(); device and salt_key are NULL and empty when this device is not enrolled. */
struct person_held {
	struct key *device, *signing;
	struct secret salt_key;
	struct ring *ring; /* Loaded. */
};
KLUIS_MUST_CHECK int person_attach(
	struct profile *profile, struct person_held *held, struct err *e);
/* By R of her password, without the cluster: what the profile last knew. KLUIS_EVERIFY: not the
 * password that this profile knows. KLUIS_ENOTFOUND: it was never unlocked by a password. */
KLUIS_MUST_CHECK int person_unlock(struct profile *profile, struct bytes root, struct err *e);
/* Forgets all that person_unlock() gave. */
void person_lock(struct profile *profile);

/* For the flows of cli/client/account: */

/* Brings the profile to what was just verified: keyring and chain are pinned and stored, under a
 * new local key. root: R of the password whose kdf stands in profile->person. KLUIS_EPIN as
 * person_take_object(). *keyring is taken, whatever is returned. */
KLUIS_MUST_CHECK int person_take(struct profile *profile, struct keyring *keyring,
	struct bytes object, struct bytes root, struct err *e);
/* What person_take() checks before it, for who changes something at the cluster first. */
KLUIS_MUST_CHECK int person_check_keyring(
	struct profile *profile, const struct keyring *keyring, struct err *e);
/* Chain or keyring moved, and with them perhaps the signing key. A ring that is not of this process
 * has its own. KLUIS_EVERIFY: the two name different keys. */
KLUIS_MUST_CHECK int person_take_keys(struct profile *profile, struct err *e);
/* The chain names the ring's transfer keys for others to give by, and no other. KLUIS_EVERIFY. */
KLUIS_MUST_CHECK int person_check_transfer(
	const struct identity *identity, struct ring *ring, struct err *e);
/* A newer object under the same KRK. KLUIS_EPIN: it lacks a key or a pin that this profile knows.
 */
KLUIS_MUST_CHECK int person_take_object(
	struct profile *profile, struct bytes object, struct err *e);
/* KLUIS_EPIN unless the object is the stored one or a later one of the same history, as far as that
 * can be seen. */
KLUIS_MUST_CHECK int person_check_object(
	const struct profile *profile, const struct keyring_view *view, struct err *e);
/* Verifies a chain from genesis: it must be this user's and go on from the stored one (KLUIS_EPIN
 * otherwise), and then takes its place. */
KLUIS_MUST_CHECK int person_take_chain(
	struct profile *profile, const struct bytes *statements, size_t n, struct err *e);
/* The chain that was taken passes through `pin`, the value of a contact pin of the owner's own:
 * another device has seen it so far. KLUIS_EPIN. person_take_chain() does it by itself with the pin
 * of an open ring. */
KLUIS_MUST_CHECK int person_check_chain(
	const struct profile *profile, struct bytes pin, struct err *e);
/* Whether this device stands in the chain and may sign. */
bool person_device_active(const struct profile *profile);
/* The user accepted an operator's restore to this lineage (vault_restore_accept()): the next
 * keyring may be an older one, and the next chain an earlier part of the known one; once. */
KLUIS_MUST_CHECK int person_accept_restore(
	const struct profile *profile, const uint8_t lineage[ID_BYTES], struct err *e);
/* Whether they may. */
bool person_is_restored(const struct profile *profile);
/* Both stand as the restored cluster has them: that is used up. Nothing to do is success. */
KLUIS_MUST_CHECK int person_settle(const struct profile *profile, struct err *e);
/* All of it to the disk. */
KLUIS_MUST_CHECK int person_save(const struct profile *profile, struct err *e);
/* As person_make() left it, in memory: nobody's yet. */
void person_reset(struct profile *profile);
/* New keys for this device, stored before anybody hears of them. Unlocked by a password, or with no
 * keyring yet. */
KLUIS_MUST_CHECK int person_make_device(struct profile *profile, struct err *e);

/* The parts of the files, for tests and fuzzing; into a profile with a zeroed person. */
KLUIS_MUST_CHECK int person_parse(struct profile *profile, struct bytes payload, struct err *e);
KLUIS_MUST_CHECK int person_parse_chain(
	struct profile *profile, struct bytes payload, struct err *e);
/* For profile.c. */
KLUIS_MUST_CHECK int person_load(struct profile *profile, struct err *e);
struct person_keys *person_new(void);
void person_free(struct person_keys *person); /* NULL is fine. */

#endif
