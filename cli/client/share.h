/* Changing who is in a vault or a group: statements by this device, KeyPackets by this user, all of
 * one change in one command. Who is removed gets no key that is made from then on. Of a person,
 * unlocked, on a device that may sign. Blocking. */
#ifndef KLUIS_CLI_CLIENT_SHARE_H
#define KLUIS_CLI_CLIENT_SHARE_H

#include "cli/client/packets.h"
#include "cli/client/vault.h"

enum {
	SHARE_NAME_BYTES_MAX = 255,
	SHARE_USERS_MAX = 200,
	SHARE_STATEMENTS_MAX = 480, /* After which one change adds nobody: a node takes 512. */
	SHARE_TRIES = 4,	    /* Times another admin may be first. */
	SHARE_GROUPS_MAX = 10000,
	SHARE_INVITATIONS_MAX = 10000,
	SHARE_ALONE_MAX = 100000,
};

/* A group as the cluster lists it, its name opened. */
struct share_group {
	uint8_t id[ID_BYTES];
	char name[SHARE_NAME_BYTES_MAX + 1]; /* The id in hex when it cannot be opened. */
	char role[16], state[16];
	uint64_t members_rev;
	uint32_t epoch;
};
void share_groups_free(struct share_group *groups); /* NULL is fine. */
/* All that one is in or invited to, in a new array. */
KLUIS_MUST_CHECK int share_groups(
	struct people *people, struct share_group **ret_groups, size_t *ret_n, struct err *e);
/* By its name or id. KLUIS_ENOTFOUND; KLUIS_ECONFLICT: several have that name. */
KLUIS_MUST_CHECK int share_find_group(
	struct people *people, const char *name, struct share_group *ret_group, struct err *e);

/* Who is to be given something. */
struct share_with {
	uint8_t id[ID_BYTES];
	unsigned kind; /* MEMBER_USER, MEMBER_GROUP. */
	char name[SHARE_NAME_BYTES_MAX + 1];
};
/* "USER" or "group:NAME"; or an id in hex in place of either name. */
KLUIS_MUST_CHECK int share_resolve(
	struct people *people, const char *text, struct share_with *ret_with, struct err *e);

/* Gives a vault (synced) to somebody who is not in it yet: the keys of all its epochs, so that what
 * is there can be read. KLUIS_EEXIST: is in it already. KLUIS_EFORBIDDEN: one is no admin, or the
 * vault takes verified contacts alone and this one is not (share_require_verified()). */
KLUIS_MUST_CHECK int share_add(
	struct vault *vault, const struct share_with *with, unsigned role, struct err *e);
/* Another role; KLUIS_ENOTFOUND: is not in it. KLUIS_EFORBIDDEN: nobody could manage it. */
KLUIS_MUST_CHECK int share_set_role(
	struct vault *vault, const struct share_with *with, unsigned role, struct err *e);
/* Takes somebody out, and gives those who remain a new key. with NULL: the new key alone. */
KLUIS_MUST_CHECK int share_remove(
	struct vault *vault, const struct share_with *with, struct err *e);
/* Gives these users their roles in the vault: who has none is taken out and the rest re-keyed in
 * one command, in a second one who is missing gets the keys of all epochs (in more, when one has no
 * room for so many). Who is not named stays as she is. The owner, who is not taken out, stays admin
 * until another one who has accepted is. At most SHARE_USERS_MAX. KLUIS_EFORBIDDEN as share_add().
 */
struct share_user {
	uint8_t id[ID_BYTES];
	unsigned role; /* 0: none. */
};
/* Of the vault's chain as it is when it is changed: false leaves her as she is. */
typedef bool share_fits_fn(void *arg, const struct membership *vault, const uint8_t id[ID_BYTES]);
KLUIS_MUST_CHECK int share_move_users(struct vault *vault, const struct share_user *users, size_t n,
	share_fits_fn *fits, void *arg, struct err *e); /* fits: NULL, all do. */
/* Makes a member who accepted an admin, and oneself `role`, in one step.
 * KLUIS_EPRECONDITION: they have not accepted. */
KLUIS_MUST_CHECK int share_transfer(
	struct vault *vault, const struct share_with *with, unsigned role, struct err *e);
/* KLUIS_EINVAL: a service account's, which shares nothing and takes nothing that is shared. */
KLUIS_MUST_CHECK int share_check_person(const struct profile *profile, struct err *e);
/* Whether this profile shares the vault with verified contacts alone; sets it. */
bool share_requires_verified(const struct vault *vault);
KLUIS_MUST_CHECK int share_require_verified(const struct vault *vault, bool on, struct err *e);

/* What the owner is invited to. */
struct share_invitation {
	uint8_t id[ID_BYTES];
	unsigned kind; /* MEMBER_OBJECT_VAULT, MEMBER_OBJECT_GROUP, MEMBER_OBJECT_CONVERSATION. */
	char role[16]; /* By the cluster's word. */
	char by[IDENTITY_NAME_BYTES_MAX + 1]; /* Who founded it, by its chain; "" with a problem. */
	struct err problem; /* Code not 0: no admin's, it is not to be accepted. */
};
/* Those of one kind, in a new array. */
KLUIS_MUST_CHECK int share_invitations(struct people *people, unsigned kind,
	struct share_invitation **ret_invitations, size_t *ret_n, struct err *e);
/* Whether one of its admins made this profile's user a member. KLUIS_EVERIFY: nobody did. */
KLUIS_MUST_CHECK int share_check_invited(
	const struct profile *profile, const struct membership *m, struct err *e);
/* An invitation (vault or group) is taken or refused; taking one brings its keys. KLUIS_EFORBIDDEN:
 * it is taken, and there are none; or who leaves is the last who can manage it. */
KLUIS_MUST_CHECK int share_answer(struct people *people, unsigned kind,
	const uint8_t object_id[ID_BYTES], bool accept, struct err *e);

/* What the cluster says of an object's members, beside what the chain proves. */
struct share_member {
	struct share_with who;
	unsigned role;	/* By the chain. */
	char state[16]; /* As the cluster says: "invited", "accepted", "declined"; or "gone". */
	bool verified;	/* The safety number was compared. */
};
/* In a new array, by the chain; KLUIS_EVERIFY: the cluster's list has somebody whom the chain has
 * not, or another role: it keeps on who was removed, or added somebody. */
KLUIS_MUST_CHECK int share_members(struct people *people, const struct membership *membership,
	struct share_member **ret_members, size_t *ret_n, struct err *e);

/* Who is in an object beside the profile's owner, by the cluster's word. */
struct share_others {
	size_t members; /* Groups, too, and who is invited. */
	size_t admins;	/* Who have accepted. */
};
KLUIS_MUST_CHECK int share_count_others(struct people *people, unsigned kind,
	const uint8_t object_id[ID_BYTES], struct share_others *ret_others, struct err *e);
/* Vaults, groups and conversations that others are in, and that nobody but the profile's owner
 * could manage; in a new array. Of a locked profile without names. */
struct share_alone {
	uint8_t id[ID_BYTES];
	unsigned kind;
	char name[SHARE_NAME_BYTES_MAX + 1]; /* Or the id in hex. */
};
KLUIS_MUST_CHECK int share_managed_alone(
	struct people *people, struct share_alone **ret_list, size_t *ret_n, struct err *e);
/* KLUIS_EFORBIDDEN when there are any. */
KLUIS_MUST_CHECK int share_check_not_alone(struct people *people, struct err *e);
/* What is told of a refusal to let somebody leave: the cluster's reason; and, when nobody else who
 * has accepted manages it, what to do about that, or, when nobody else is in it, how it ends.
 * Returns why->code. */
KLUIS_MUST_CHECK int share_leave_refused(struct people *people, unsigned kind,
	const uint8_t object_id[ID_BYTES], const struct err *why, struct err *e);

KLUIS_MUST_CHECK int share_group_create(
	struct people *people, const char *name, uint8_t ret_id[ID_BYTES], struct err *e);
/* Gives a user all keys of the group, as member or (role MEMBER_ADMIN) admin. KLUIS_EFORBIDDEN: one
 * is no admin of it, or a vault that it is in takes verified contacts alone and this one is not. */
KLUIS_MUST_CHECK int share_group_add(struct people *people, const uint8_t group_id[ID_BYTES],
	const struct share_with *with, unsigned role, struct err *e);
/* Makes a member MEMBER_ADMIN, or an admin MEMBER_READ, a member. KLUIS_ENOTFOUND: is not in it.
 * KLUIS_EFORBIDDEN: one is no admin of it, or nobody could manage it. */
KLUIS_MUST_CHECK int share_group_set_role(struct people *people, const uint8_t group_id[ID_BYTES],
	const struct share_with *with, unsigned role, struct err *e);
/* As share_transfer(); oneself becomes a member. Of the group alone: in its vaults nothing changes.
 */
KLUIS_MUST_CHECK int share_group_transfer(struct people *people, const uint8_t group_id[ID_BYTES],
	const struct share_with *with, struct err *e);
/* The vaults that the group is in and this user is no admin of, in a new array: as long as there is
 * one she takes nobody out of the group (share_group_remove()). Without those whose list of members
 * does not hold. */
struct share_vault {
	uint8_t id[ID_BYTES];
	char name[VAULT_NAME_BYTES_MAX + 1]; /* The id in hex, when the name is not known. */
};
KLUIS_MUST_CHECK int share_group_unmanaged(struct people *people, const uint8_t group_id[ID_BYTES],
	const struct share_with *with, struct share_vault **ret_vaults, size_t *ret_n,
	struct err *e);
/* Takes a user out, and re-keys the group and every vault that it is in, all in one command; with
 * NULL re-keys alone. KLUIS_EFORBIDDEN: one is no admin of one of those vaults, which it names.
 * KLUIS_EPIN: the cluster denies one in which this profile has seen the group; KLUIS_EVERIFY: its
 * list of members does not hold. */
KLUIS_MUST_CHECK int share_group_remove(struct people *people, const uint8_t group_id[ID_BYTES],
	const struct share_with *with, size_t *ret_vaults, struct err *e);
/* KLUIS_ECONFLICT: it is in a vault. */
KLUIS_MUST_CHECK int share_group_delete(
	struct people *people, const uint8_t group_id[ID_BYTES], struct err *e);

#endif
