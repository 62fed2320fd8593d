/* A change of members while it is applied: first the statements of all objects, then what must come
 * with them. Only for raft/fsm_members*.c. */
#ifndef KLUIS_RAFT_FSM_MEMBERS_H
#define KLUIS_RAFT_FSM_MEMBERS_H

#include "raft/fsm_apply.h"
#include "storage/object_store.h"
#include "storage/packet_store.h"

/* One object; each is named once in a command. */
struct change_object {
	struct members_section section; /* Points into the command. */
	uint8_t kind;			/* MEMBER_OBJECT_VAULT .. */
	bool created, rotated, removed;
	/* As its chain stands, and the key that is in use: of a vault its pages' where that is
	 * newer. */
	uint64_t seq;
	uint8_t hash[32];
	uint32_t epoch;
	uint8_t group_kid[16];
	size_t added_first, n_added; /* Of struct members_change.added. */
};

struct members_change {
	struct apply *a;
	struct session_row session;
	struct change_object *object;
	size_t n;
	uint8_t (*added)[16];
	size_t n_added;
	size_t listed; /* Rows of members that were read: MEMBERS_LISTED_MAX. */
};

/* Up to max members, on the command's account. KLUIS_ETOOLARGE. */
int change_list(struct members_change *ch, const uint8_t object_id[16], struct member_row *ret_rows,
	size_t max, size_t *ret_n);
/* The statements of one object: its rows are as the chain then says. */
int change_apply_object(struct members_change *ch, struct change_object *o);
/* The packets that come with it: right ones, all there, and stored. */
int change_take_packets(struct members_change *ch, const struct change_object *o);
/* A group's new key is worth nothing to a vault that it has still the old one of. */
int change_check_vaults(struct members_change *ch, const struct change_object *group);

/* Whether an admin who has accepted is left. KLUIS_EFORBIDDEN. */
int apply_admin_stays(struct apply *a, const struct member_row *rows, size_t n);
/* Room for one more accepted group of the user. KLUIS_EQUOTA. */
int apply_group_room(struct apply *a, const uint8_t user_id[16]);
/* A packet in the form that its row has, for a recipient of this kind, from the session's user. */
int apply_packet_row(struct apply *a, const struct session_row *session,
	const struct keypacket *packet, struct bytes encoded, unsigned to,
	struct packet_row *ret_row);

#endif
