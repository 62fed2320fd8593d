/* Groups and conversations (vaults have rows of their own), and who comes to a vault how. */
#ifndef KLUIS_STORAGE_OBJECT_STORE_H
#define KLUIS_STORAGE_OBJECT_STORE_H

#include "storage/member_store.h"
#include "storage/vault_store.h"

enum object_state { OBJECT_ACTIVE = 1, OBJECT_GONE = 3 };
enum { OBJECT_LABEL_BYTES_MAX = 1024, GROUP_KEY_BYTES_MAX = 97 };

struct object_row {
	uint8_t object_id[16];
	uint8_t kind;  /* MEMBER_OBJECT_GROUP, MEMBER_OBJECT_CONVERSATION */
	uint8_t state; /* enum object_state; the id of one that is gone is never free again. */
	uint64_t created_ms;
	uint8_t founder[16];
	/* As the membership chain says; a group's epoch is that of its key. */
	uint32_t epoch;
	uint8_t group_kid[16]; /* Zero unless a group. */
	uint32_t members_rev;
	uint8_t members_hash[32];
	uint32_t chat_epoch; /* 0: none was made yet. */
	bool chat_stale;     /* Members or devices changed since: no message before a new one. */
	/* The group's public key, which group_kid names: SEC1 or X25519. */
	uint8_t group_key_bytes; /* 0 unless a group. */
	uint8_t group_key[GROUP_KEY_BYTES_MAX];
	uint16_t label_bytes; /* What the client sealed as its name; the node cannot read it. */
	uint8_t label[OBJECT_LABEL_BYTES_MAX];
};
void object_row_encode(const struct object_row *row, struct buf *to);
KLUIS_MUST_CHECK int object_row_decode(
	struct bytes key, struct bytes value, struct object_row *ret_row, struct err *e);
/* Whatever its state. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int object_store_get(const struct kv_view *view, const uint8_t object_id[16],
	struct object_row *ret_row, struct err *e);
/* For a request by this user about a group or conversation (kind; 0: either): KLUIS_ENOTFOUND when
 * there is none of that kind or the user is no member or declined (all alike), KLUIS_EGONE when it
 * is gone, KLUIS_EFORBIDDEN when the role is below role_min, or the invitation is not accepted yet
 * and `invited` does not let that pass. The same check runs in apply. */
KLUIS_MUST_CHECK int object_store_check(const struct kv_view *view, unsigned kind,
	const uint8_t object_id[16], const uint8_t user_id[16], unsigned role_min, bool invited,
	struct object_row *ret_row, struct member_row *ret_member, struct err *e);
void object_store_put(struct txn *txn, const struct object_row *row);
/* Whether a vault, group or conversation has the id, or had it. */
KLUIS_MUST_CHECK int object_id_taken(
	const struct kv_view *view, const uint8_t id[16], bool *ret_taken, struct err *e);

/* How a user comes to a vault. */
struct vault_access {
	uint8_t vault_id[16];
	unsigned role; /* The best of the own accepted role and those of groups; 0: none yet. */
	uint8_t state; /* MEMBER_ACCEPTED, or MEMBER_INVITED: of the invitation, role 0. */
	unsigned invited_role; /* What is offered, with MEMBER_INVITED. */
	bool by_group;	       /* via gives more than the own role does. */
	uint8_t via[16];
};
/* KLUIS_ENOTFOUND: no member, directly or by a group, or declined. The vault itself is not looked
 * at. */
KLUIS_MUST_CHECK int vault_access_get(const struct kv_view *view, const uint8_t vault_id[16],
	const uint8_t user_id[16], struct vault_access *ret_access, struct err *e);
/* Up to max vaults that the user is a member of, is invited to or comes to by accepted groups, with
 * an id behind `after` (NULL: from the first), ascending. */
KLUIS_MUST_CHECK int vault_access_list(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t *after, struct vault_access *ret_vaults, size_t max, size_t *ret_n,
	struct err *e);
/* Whether the user may see a group's chain, key and members: as a member of it, or of a vault that
 * the group is a member of, invited or accepted: who writes there has to be proven to everybody. */
KLUIS_MUST_CHECK int group_visible(const struct kv_view *view, const uint8_t group_id[16],
	const uint8_t user_id[16], bool *ret_visible, struct err *e);

#endif
