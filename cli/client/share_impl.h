/* Between the files of cli/client/share: one change of members in the making. */
#ifndef KLUIS_CLI_CLIENT_SHARE_IMPL_H
#define KLUIS_CLI_CLIENT_SHARE_IMPL_H

#include <jansson.h>

#include "cli/client/share.h"

/* What changes of one object. */
struct share_section {
	struct membership *membership; /* As it will be; owned. */
	json_t *statements, *packets;
	struct key *group_key; /* A group's new one; owned. */
	struct secret fresh;   /* The key of the epoch, when this change makes it. */
};
/* One command: the first section is what it is about. */
struct share_change {
	struct people *people;
	uint64_t unix_ms; /* Of all statements: group and vaults are re-keyed at one time. */
	struct share_section *sections;
	size_t n;
	struct share_pub *pubs; /* Public keys of groups met on the way. */
	size_t n_pubs, n_packets;
	size_t n_statements, bytes; /* The latter: of all that is sent, as text. */
};
void share_change_init(struct share_change *change, struct people *people);
void share_change_release(struct share_change *change);
/* Before its first statement: what it signs is of then, should this clock be behind. */
void share_change_not_before(struct share_change *change, uint64_t unix_ms);
/* Takes the membership. The place is good until the next one is added. */
struct share_section *share_change_add(struct share_change *change, struct membership *membership);
/* The next statement of a section. */
KLUIS_MUST_CHECK int share_statement(struct share_change *change, struct share_section *section,
	unsigned type, struct bytes body, struct err *e);
void share_packet(struct share_change *change, struct share_section *section, struct bytes packet);
/* The key that a member's KeyPackets are sealed to: of a group that this change re-keys its new
 * one. */
KLUIS_MUST_CHECK int share_member_key(struct share_change *change, const uint8_t id[ID_BYTES],
	unsigned kind, const struct key_pub **ret_key, struct err *e);
/* The group's key from now on. Call it before the vaults of the group are re-keyed. */
KLUIS_MUST_CHECK int share_group_key(
	struct share_change *change, struct share_section *section, struct err *e);
/* A rotation, and the new key to all who are in it. secret: of a vault 32 bytes, of a group u16 kem
 * | private key. */
KLUIS_MUST_CHECK int share_rotate(struct share_change *change, struct share_section *section,
	struct bytes secret, struct err *e);
/* A rotation of a vault to a new random key. */
KLUIS_MUST_CHECK int share_rotate_vault(
	struct share_change *change, struct share_section *section, struct err *e);
/* Gives a member (added by this change) the keys of all epochs that the keyring has of the object,
 * and the one that this change makes. */
KLUIS_MUST_CHECK int share_give_all(struct share_change *change, struct share_section *section,
	const uint8_t id[ID_BYTES], unsigned kind, unsigned role, struct err *e);
/* Sends it; what was changed is pinned then. KLUIS_EPRECONDITION: a chain moved meanwhile, or the
 * cluster misses a part. */
KLUIS_MUST_CHECK int share_send(struct share_change *change, struct err *e);

/* KLUIS_EFORBIDDEN unless the profile's owner is an admin by the chain. what: for the message. */
KLUIS_MUST_CHECK int share_check_admin(const struct membership *membership,
	const struct profile *profile, const char *what, struct err *e);
/* KLUIS_EFORBIDDEN when the vault is shared with verified contacts alone, and this is none. */
KLUIS_MUST_CHECK int share_check_verified(
	struct vault *vault, const struct share_with *with, struct err *e);
/* KLUIS_EFORBIDDEN when this user is the only admin by the chain: nobody could manage it. */
KLUIS_MUST_CHECK int share_check_not_last(
	const struct membership *membership, const struct share_with *with, struct err *e);
/* KLUIS_EPRECONDITION unless the cluster says that this member has accepted. */
KLUIS_MUST_CHECK int share_check_accepted(struct people *people,
	const struct membership *membership, const struct share_with *with, struct err *e);
/* Another role for who is in it. KLUIS_ENOTFOUND; KLUIS_EFORBIDDEN as share_check_not_last(). */
KLUIS_MUST_CHECK int share_role(struct share_change *change, struct share_section *section,
	const struct share_with *with, unsigned role, struct err *e);
/* Makes a user who has accepted an admin, and oneself `role`. */
KLUIS_MUST_CHECK int share_hand_over(struct share_change *change, struct share_section *section,
	const struct share_with *with, unsigned role, struct err *e);
/* ... when a vault that this group is in is shared so by this profile, and the user is none. */
KLUIS_MUST_CHECK int share_check_group_verified(struct people *people,
	const uint8_t group_id[ID_BYTES], const struct share_with *with, struct err *e);
void share_body_add(struct buf *body, const uint8_t id[ID_BYTES], unsigned kind, unsigned role);
void share_body_role(struct buf *body, const uint8_t id[ID_BYTES], unsigned role);

#endif
