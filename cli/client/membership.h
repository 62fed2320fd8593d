/* Who may do what in a vault, a group or a conversation, as its membership chain proves it: signed
 * by devices of its admins, whose own chains are verified; pinned in the profile, so that a member
 * whom the cluster added, took away or kept on by itself is seen. */
#ifndef KLUIS_CLI_CLIENT_MEMBERSHIP_H
#define KLUIS_CLI_CLIENT_MEMBERSHIP_H

#include "cli/client/people.h"
#include "crypto/head.h"
#include "crypto/member.h"

enum { MEMBERSHIP_BYTES_MAX = 16 << 20 };

/* What one statement did. */
struct membership_step {
	uint8_t type;
	uint8_t member_id[ID_BYTES]; /* Create (the founder), add, remove, role. */
	uint8_t kind;		     /* Add: MEMBER_USER, MEMBER_GROUP. */
	uint16_t role;		     /* From here on; 0: none. */
	uint32_t epoch;		     /* As of this statement. */
	uint8_t group_kid[KID_BYTES];
	uint8_t signer_kid[KID_BYTES]; /* Of the device. */
	uint8_t hash[HASH_BYTES];
	uint64_t unix_ms;
};
/* Read the fields. */
struct membership {
	struct members members; /* As of the last statement: kind, member[], epoch, seq, hash. */
	struct buf chain;	/* lp32 of each statement. */
	struct membership_step *steps; /* members.seq of them. */
};
struct membership *membership_new(void);
void membership_free(struct membership *membership); /* NULL is fine. */
void membership_freep(struct membership **membership);

/* Verifies one statement as the next of the chain, its signer by identities of `people` (fresh: as
 * the cluster has them now), and takes it in; on failure nothing has changed. KLUIS_EVERIFY, with a
 * sentence that says what is wrong: out of order, by an unknown device, by somebody who is no
 * admin, against a rule. KLUIS_EPIN and others as the source says. The chain may end in a statement
 * by a revoked device: members.loose. */
KLUIS_MUST_CHECK int membership_extend(struct membership *membership, struct bytes statement,
	struct people_source *people, bool fresh, struct err *e);
/* The member's role as of statement `rev` (0: none); rev <= members.seq. */
unsigned membership_role(
	const struct membership *membership, const uint8_t id[ID_BYTES], uint64_t rev);
/* Whether this user was an admin while the chain was of that epoch, or is one now: who may hand out
 * its key. */
bool membership_may_give(
	const struct membership *membership, const uint8_t user_id[ID_BYTES], uint32_t epoch);
/* The kid of a group's key of that epoch; false: the chain knows no such epoch. */
bool membership_group_kid(
	const struct membership *membership, uint32_t epoch, uint8_t ret_kid[KID_BYTES]);
/* Whether the head of a vault names a state of its members that this chain proves, its writer might
 * write by that state (alone, or as a member of one of n groups), and its key is not older than
 * that state's. min_rev: the head before named this one. KLUIS_EVERIFY. The signature is the
 * caller's. */
KLUIS_MUST_CHECK int membership_check_head(const struct membership *membership,
	struct membership *const *groups, size_t n_groups, uint64_t min_rev,
	const struct head *head, struct err *e);
/* When somebody was last taken out of it, by the clock of who did it; 0: nobody ever was. */
uint64_t membership_left_ms(const struct membership *membership);
/* Whether a vault has had a new key since somebody was last taken out of this group, or the group
 * came to it after that: both are signed for one time. */
bool membership_rekeyed(const struct membership *vault, const struct membership *group);
/* The last statement that a device signed; false: none. */
bool membership_signed(const struct membership *membership, const uint8_t kid[KID_BYTES],
	uint8_t ret_hash[HASH_BYTES]);

/* "vault", "group", "conversation"; and the plural, as in targets. */
const char *membership_kind_name(unsigned kind);
const char *membership_kind_path(unsigned kind);

/* The chain of an object: what the profile has of it, verified, and what the cluster has beyond it,
 * which is then stored. KLUIS_EPIN: the cluster shows an older chain or another one than was seen.
 * KLUIS_EVERIFY as membership_extend(), and for one that ends loose. KLUIS_ENOTFOUND,
 * KLUIS_EFORBIDDEN as the cluster says. */
KLUIS_MUST_CHECK int membership_load(struct people *people, unsigned kind,
	const uint8_t object_id[ID_BYTES], struct membership **ret_membership, struct err *e);
/* As the profile has it, nobody is asked; KLUIS_ENOTFOUND, also when the cluster was restored since
 * it was stored, and it rests on what is no more. */
KLUIS_MUST_CHECK int membership_load_known(struct people *people, unsigned kind,
	const uint8_t object_id[ID_BYTES], struct membership **ret_membership, struct err *e);
/* As membership_load_known(); as membership_load() where the profile has none, or the cluster was
 * restored since it was stored, as the user accepted. */
KLUIS_MUST_CHECK int membership_load_seen(struct people *people, unsigned kind,
	const uint8_t object_id[ID_BYTES], struct membership **ret_membership, struct err *e);
/* Whether the chain that the cluster shows has a statement by this device, whether it holds or not.
 */
KLUIS_MUST_CHECK int membership_shows_signer(struct people *people, unsigned kind,
	const uint8_t object_id[ID_BYTES], const uint8_t kid[KID_BYTES], bool *ret_any,
	struct err *e);
/* Brings a loaded one up to date in place. */
KLUIS_MUST_CHECK int membership_refresh(
	struct membership *membership, struct people *people, struct err *e);
/* Pins it as it is: after a change of ours was taken by the cluster. */
KLUIS_MUST_CHECK int membership_store(
	const struct membership *membership, const struct profile *profile, struct err *e);
/* Whether the profile knows of a change since the object was made. */
bool membership_has_changed(const struct profile *profile, const uint8_t object_id[ID_BYTES]);
/* The stored payload, for tests and fuzzing: takes the statements in. */
KLUIS_MUST_CHECK int membership_parse(struct membership *membership, struct bytes payload,
	struct people_source *people, uint8_t ret_lineage[ID_BYTES], struct err *e);

#endif
