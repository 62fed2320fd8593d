/* libkluis for sharing: vaults given to other persons and to groups of them. For a person's profile
 * (kluis_account.h) that is unlocked, on a device that was approved.
 *
 * Ownership, threads and errors: as kluis.h. Who is in a vault or a group is what its admins
 * signed: KLUIS_NOT_VERIFIED when the cluster shows something else, KLUIS_PIN_BROKEN when it shows
 * something older or other than was seen. `who` is a user's name, or "group:" and a group's name or
 * id.
 *
 * A service account keeps vaults of its own and none that are shared: each call here is
 * KLUIS_BAD_INPUT on its profile, so that it neither shares a vault nor accepts one. Nothing tells
 * such an account from a person's when a vault is shared with it: the call returns 0, and it stays
 * "invited" for good (kluis_vault_members(); kluis_vault_unshare() takes it out), unless a client
 * of another making accepts for it by the API. What a person and an app have in common goes through
 * a conversation or an inbox (kluis_chat.h), or the app is a person's program on a profile of hers.
 */
#ifndef KLUIS_SHARE_H
#define KLUIS_SHARE_H

#include "kluis.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Gives a vault to somebody, who has it once she accepts (a group has it at once); to a member,
 * another role. KLUIS_FORBIDDEN: the user is no admin of it, or it is for verified contacts alone
 * and this is none. A service account can be invited, too, and stays that: see above. */
KLUIS_API int kluis_vault_share(struct kluis *kluis, const char *vault, const char *who,
	enum kluis_role role, struct kluis_failure *error);
/* Takes somebody out: those who remain get a new key in the same step, and what is written from
 * then on is closed to who is out. KLUIS_NOT_FOUND: is not in it. */
KLUIS_API int kluis_vault_unshare(
	struct kluis *kluis, const char *vault, const char *who, struct kluis_failure *error);

/* Whether this profile shares the vault with contacts alone whose safety numbers were compared
 * (kluis_contact_verified()): kluis_vault_share(), and kluis_group_add() to a group that is in it,
 * are KLUIS_FORBIDDEN for others. Who is in it stays; other admins and devices are not held to it.
 */
KLUIS_API int kluis_vault_verified_only(
	struct kluis *kluis, const char *vault, int *ret_on, struct kluis_failure *error);
KLUIS_API int kluis_vault_set_verified_only(
	struct kluis *kluis, const char *vault, int on, struct kluis_failure *error);

/* Gives the vault a new key, for all who are in it: for when one may have leaked. */
KLUIS_API int kluis_vault_rekey(
	struct kluis *kluis, const char *vault, struct kluis_failure *error);
/* Makes a user who is in the vault, and has accepted it, its admin, and this one `keep`:
 * KLUIS_ROLE_READ or KLUIS_ROLE_WRITE; in one step. KLUIS_PRECONDITION: they have not accepted it.
 */
KLUIS_API int kluis_vault_transfer(struct kluis *kluis, const char *vault, const char *user,
	enum kluis_role keep, struct kluis_failure *error);

struct kluis_member {
	unsigned char id[16];
	const char *name; /* Of a group whose name cannot be opened: its id in hex. */
	int is_group;
	enum kluis_role role;
	const char *state; /* "invited", "accepted", "declined" or (an account) "gone": as the
			      cluster says. */
	int verified;	   /* The safety number was compared. */
};
typedef void kluis_member_fn(void *arg, const struct kluis_member *member);
KLUIS_API int kluis_vault_members(struct kluis *kluis, const char *vault, kluis_member_fn *each,
	void *arg, struct kluis_failure *error);

/* What others invite the user to; conversations: kluis_chat_list(). */
struct kluis_invitation {
	unsigned char id[16];
	int is_group;	     /* Else a vault. */
	const char *role;    /* "read", "write" or "admin": as the cluster says. */
	const char *by;	     /* Who made it, by its verified chain; "" with a problem. */
	int problem_code;    /* 0, or why it is not to be accepted: no admin invited the user. */
	const char *problem; /* A sentence for a person; NULL: none. */
};
typedef void kluis_invitation_fn(void *arg, const struct kluis_invitation *invitation);
KLUIS_API int kluis_invitations(
	struct kluis *kluis, kluis_invitation_fn *each, void *arg, struct kluis_failure *error);
/* Takes or refuses an invitation to a vault (is_group 0) or a group, by its id; refusing what was
 * taken leaves it. KLUIS_FORBIDDEN: nobody else could manage it. */
KLUIS_API int kluis_invitation_answer(struct kluis *kluis, int is_group, const unsigned char id[16],
	int accept, struct kluis_failure *error);

struct kluis_group {
	unsigned char id[16];
	const char *name, *role, *state;
};
typedef void kluis_group_fn(void *arg, const struct kluis_group *group);
KLUIS_API int kluis_groups(
	struct kluis *kluis, kluis_group_fn *each, void *arg, struct kluis_failure *error);
KLUIS_API int kluis_group_create(struct kluis *kluis, const char *name, unsigned char ret_id[16],
	struct kluis_failure *error);
/* group: name or id. role: KLUIS_ROLE_READ for a member, or KLUIS_ROLE_ADMIN. */
KLUIS_API int kluis_group_add(struct kluis *kluis, const char *group, const char *user,
	enum kluis_role role, struct kluis_failure *error);
/* Makes a member an admin (KLUIS_ROLE_ADMIN), or an admin a member (KLUIS_ROLE_READ).
 * KLUIS_FORBIDDEN: the user is no admin of it, or nobody could manage it. */
KLUIS_API int kluis_group_set_role(struct kluis *kluis, const char *group, const char *user,
	enum kluis_role role, struct kluis_failure *error);
/* Makes a member who has accepted it its admin, and this user a member, in one step; its vaults are
 * handed over each for itself. KLUIS_PRECONDITION: they have not accepted it. */
KLUIS_API int kluis_group_transfer(
	struct kluis *kluis, const char *group, const char *user, struct kluis_failure *error);
KLUIS_API int kluis_group_members(struct kluis *kluis, const char *group, kluis_member_fn *each,
	void *arg, struct kluis_failure *error);
/* Takes a user out; the group and all its vaults get new keys, for those who remain, in one step.
 * *ret_vaults: how many vaults that were; may be NULL. */
KLUIS_API int kluis_group_remove(struct kluis *kluis, const char *group, const char *user,
	size_t *ret_vaults, struct kluis_failure *error);

/* The same new keys, and nobody is taken out. */
KLUIS_API int kluis_group_rekey(
	struct kluis *kluis, const char *group, size_t *ret_vaults, struct kluis_failure *error);
/* For good. KLUIS_CONFLICT: a vault is shared with it. */
KLUIS_API int kluis_group_delete(
	struct kluis *kluis, const char *group, struct kluis_failure *error);

/* One file of a vault, as it is now, alone, to one user for so many days (1 to 30). id: 32 hex
 * digits and NUL. KLUIS_FORBIDDEN: the user is no admin of the vault. KLUIS_TOO_LARGE: beyond some
 * 256 MiB.
 */
KLUIS_API int kluis_file_share(struct kluis *kluis, const char *vault, const char *path,
	const char *user, unsigned days, char ret_id[33], struct kluis_failure *error);
/* One page of items by its number, with all that is in it. */
KLUIS_API int kluis_page_share(struct kluis *kluis, const char *vault, uint64_t page_no,
	const char *user, unsigned days, char ret_id[33], struct kluis_failure *error);

struct kluis_shared {
	const char *id;	 /* "" when it does not hold. */
	int mine;	 /* Given by this user; else to her. */
	const char *who; /* To whom, or by whom. */
	const char *name;
	int is_page;
	uint64_t size; /* Of a file. */
	uint64_t created_ms, expires_ms;
	int problem_code;    /* 0, or why it does not hold: no other field counts then. */
	const char *problem; /* A sentence for a person; NULL: none. */
};
typedef void kluis_shared_fn(void *arg, const struct kluis_shared *shared);
KLUIS_API int kluis_shared_list(
	struct kluis *kluis, kluis_shared_fn *each, void *arg, struct kluis_failure *error);
/* Hands out the bytes of a file, or of a page (docs/format-items.md), each verified before. That
 * the whole is what was given is known only when this returns 0. KLUIS_NOT_VERIFIED: a page or a
 * key is another than an admin of its vault gave. KLUIS_NOT_FOUND: it is not shared any more. */
KLUIS_API int kluis_shared_get(struct kluis *kluis, const char *id, kluis_write_fn *write,
	void *arg, struct kluis_failure *error);
/* By who gave it: from then on the cluster shows its pages to that user no more. By who got it:
 * it goes from her list. */
KLUIS_API int kluis_shared_end(struct kluis *kluis, const char *id, struct kluis_failure *error);

#ifdef __cplusplus
}
#endif

#endif
