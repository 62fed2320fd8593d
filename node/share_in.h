/* What requests of sharing bring: membership statements and KeyPackets. Here they are read from
 * JSON and held against who sends them; what depends on the state of all sites is apply's. Private
 * to node/. */
#ifndef KLUIS_NODE_SHARE_IN_H
#define KLUIS_NODE_SHARE_IN_H

#include "crypto/identity.h"
#include "crypto/keypacket.h"
#include "node/api_call.h"

/* Statements and packets of one object, each a run of lp16 as commands have them. */
struct share_section {
	uint8_t object_id[16];
	size_t n_statements, n_packets;
	struct buf statements, packets;
	struct buf label;     /* Of a group or conversation being made, or of a group whose ... */
	struct buf group_key; /* ... key is new, which this is. */
};
struct share_in {
	struct share_section *sections; /* The first is of the path's object. */
	size_t n;
	uint8_t device_key[65]; /* Of the session; set by a route's read. */
};

/* For call->extra_release. */
void share_in_release(void *share);
/* call->extra: with its first section, empty; released with the call. */
struct share_in *share_in_new(struct api_call *call);
/* Members "statements", "packets", "label" and "group_key" of reader; any may be missing. */
void share_in_section(struct json_in *reader, struct share_section *section);
/* "also": sections behind the first, each with its "object". */
void share_in_also(struct api_call *call, struct json_in *reader);
/* KLUIS_ETOOLARGE beyond MEMBERS_STATEMENTS_MAX and SHARE_PACKETS_MAX in all, KLUIS_EINVAL for an
 * object that comes twice or a section of nothing. */
KLUIS_MUST_CHECK int share_in_check(struct api_call *call);

/* Forms, objects and signatures of all statements, by share->device_key. On pool_db: 0.1 ms each.
 * KLUIS_EINVAL, KLUIS_ESUITE; KLUIS_EFORBIDDEN: not signed by this session's device. */
KLUIS_MUST_CHECK int share_in_statements(struct api_call *call);

/* Proposes the change; for a route's check, after all of it was verified. */
void share_in_propose(struct api_call *call);

/* KeyPackets out of one run or of several. They point into it. */
struct packet_list {
	struct keypacket *packets;
	size_t n;
};
void packet_list_release(struct packet_list *list);
/* Appends a run's n packets. KLUIS_EINVAL, KLUIS_ESUITE. */
KLUIS_MUST_CHECK int packet_list_add(
	struct api_call *call, struct packet_list *list, struct bytes run, size_t n);
/* Who may be a recipient, and which keys packets may be sealed to. */
struct packet_rcpts {
	/* Packets come ascending by recipient. 0; KLUIS_ENOTFOUND: nobody known here, which is left
	 * to apply; any other failure. *ret_current: rcpt_kid and kem are of a current key. */
	int (*current)(struct packet_rcpts *rcpts, struct api_call *call,
		const struct keypacket *packet, bool *ret_current);
};
/* Users, by their identity chains. */
struct packet_users {
	struct packet_rcpts rcpts;
	bool loaded;
	struct identity identity; /* Of the last one. */
};
void packet_users_init(struct packet_users *users);
void packet_users_release(struct packet_users *users);

/* Whether a packet is sealed to this device's key, which is in use. */
bool packet_is_to_device(const struct keypacket *packet, const struct device_row *device);

/* All of them: sent by the session's user and signed by her current key, not expired, to a key that
 * is current. Sorts the list. On pool_db: 0.1 ms for each, and for each statement of the chains.
 * KLUIS_EFORBIDDEN (sender), KLUIS_EINVAL, KLUIS_EPRECONDITION (a key that is not current). */
KLUIS_MUST_CHECK int packet_list_verify(
	struct api_call *call, struct packet_list *list, struct packet_rcpts *rcpts);

#endif
