/* Who may do what with a vault, a group or a conversation: the rows that their membership chains
 * come to, and the statements themselves. An id is unique over all three kinds and users. */
#ifndef KLUIS_STORAGE_MEMBER_STORE_H
#define KLUIS_STORAGE_MEMBER_STORE_H

#include "base/limits.h"
#include "crypto/member.h"
#include "storage/kv.h"
#include "storage/txn.h"

enum {
	USER_CONVERSATIONS_MAX = 1024,
	USER_INVITED_MAX = 8192, /* Groups that one is invited to: then none more is accepted. */
};

/* What the member herself said. The founder and a group are members at once; a declined one has no
 * access and is not in her own lists, but stays a member by the chain until an admin removes her:
 * so does, after a restore, a member or group that was removed behind its point. */
enum member_state { MEMBER_INVITED = 1, MEMBER_ACCEPTED = 2, MEMBER_DECLINED = 3 };

struct member_row {
	uint8_t object_id[16], member_id[16];
	uint8_t kind;  /* MEMBER_USER, MEMBER_GROUP (only of a vault). */
	uint8_t state; /* enum member_state */
	uint16_t role; /* MEMBER_READ .. */
};
/* Of family KEY_MEMBER. Format 1 is that of a user who has accepted. */
void member_row_encode(const struct member_row *row, struct buf *to);
KLUIS_MUST_CHECK int member_row_decode(
	struct bytes key, struct bytes value, struct member_row *ret_row, struct err *e);

/* The other way round: what a user or a group is a member of. Never declined. */
struct member_of {
	uint8_t object_id[16];
	uint8_t state; /* MEMBER_INVITED, MEMBER_ACCEPTED */
	uint16_t role;
};
/* Of the families KEY_MEMBER_VAULT and KEY_MEMBER_OF. */
void member_of_encode(const struct member_of *row, struct buf *to);
KLUIS_MUST_CHECK int member_of_decode(
	struct bytes key, struct bytes value, struct member_of *ret_row, struct err *e);

/* Whatever the state. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int member_store_get(const struct kv_view *view, const uint8_t object_id[16],
	const uint8_t member_id[16], struct member_row *ret_row, struct err *e);
/* KLUIS_ENOTFOUND unless a user who has accepted. */
KLUIS_MUST_CHECK int member_store_accepted(const struct kv_view *view, const uint8_t object_id[16],
	const uint8_t user_id[16], struct member_row *ret_row, struct err *e);
/* Up to max members of the object with an id behind `after` (NULL: from the first), ascending. */
KLUIS_MUST_CHECK int member_store_list(const struct kv_view *view, const uint8_t object_id[16],
	const uint8_t *after, struct member_row *ret_rows, size_t max, size_t *ret_n,
	struct err *e);
/* Up to max objects of the kind (MEMBER_OBJECT_VAULT ..) that this user or group is a member of,
 * with an id behind `after` (NULL: from the first), ascending; not what was declined or deleted. A
 * user's vaults through groups: vault_access_list(). */
KLUIS_MUST_CHECK int member_store_objects(const struct kv_view *view, unsigned object_kind,
	const uint8_t member_id[16], const uint8_t *after, struct member_of *ret_rows, size_t max,
	size_t *ret_n, struct err *e);
/* The groups that are members of a vault: never more than VAULT_GROUPS_MAX. */
KLUIS_MUST_CHECK int member_store_groups(const struct kv_view *view, const uint8_t vault_id[16],
	struct member_of ret_groups[VAULT_GROUPS_MAX], size_t *ret_n, struct err *e);
/* Writes the member in all its rows; object_kind as in the create statement. */
void member_store_put(struct txn *txn, unsigned object_kind, const struct member_row *row);
void member_store_delete(struct txn *txn, unsigned object_kind, const struct member_row *row);
/* Takes a deleted object out of its members' lists: at most MEMBERS_MAX rows. */
KLUIS_MUST_CHECK int member_store_unlist(
	struct txn *txn, unsigned object_kind, const uint8_t object_id[16], struct err *e);
/* One member leaves without a statement, for the account is being deleted. While others are left
 * (*ret_left, without those who declined) the row stays as a declined one: the chain still names
 * the member, and an admin's statement that removes her must find it. */
KLUIS_MUST_CHECK int member_store_leave(struct txn *txn, unsigned object_kind,
	const uint8_t object_id[16], const uint8_t user_id[16], size_t *ret_left, struct err *e);

/* Membership statement seq (from 1; 1 is the create statement), as its signer sent it: appended to
 * `to`. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int member_statement_get(const struct kv_view *view, const uint8_t object_id[16],
	uint64_t seq, struct buf *to, struct err *e);
void member_statement_put(
	struct txn *txn, const uint8_t object_id[16], uint64_t seq, struct bytes statement);

#endif
