/* KeyPackets to the profile's owner: fetched, held against the chain of what they give a key of,
 * opened where the private keys are (this process or the agent), and their keys put into the
 * keyring. Blocking, one thread. */
#ifndef KLUIS_CLI_CLIENT_PACKETS_H
#define KLUIS_CLI_CLIENT_PACKETS_H

#include "cli/client/membership.h"
#include "crypto/keypacket.h"

enum { PACKETS_FETCHED_MAX = 65536 };

/* What came of packets_take(). */
struct packets_taken {
	size_t taken, held, refused; /* New keys; such as were held already; bad ones. */
	struct err why;		     /* Of the first that was refused. */
};
/* Fetches the packets of purpose 1 (vault) and 3 (group) that are for the owner, or for a group of
 * hers, and about this object (NULL: about any), takes their keys into the keyring, and
 * acknowledges what is done with. A packet that does not hold (its sender is no admin by the chain,
 * its signature, its key is not the one that the chain names, the epoch is none of the chain's) is
 * left alone and told of. KLUIS_EPIN: a chain is not the one that was seen. Of a person, unlocked.
 */
KLUIS_MUST_CHECK int packets_take(struct people *people, const uint8_t *object_id,
	struct packets_taken *ret_taken, struct err *e);

/* Whether a packet is what it has to be before it is opened: the signature by the user key of its
 * sender's chain, the sender entitled by the object's chain (purposes 1 and 3: an admin, 4: who is
 * or was a member, 5: oneself), the recipient in it (directly or by `group`, which may be NULL),
 * its epoch one of the chain's, the time before it expires. KLUIS_EVERIFY. Purpose 5: membership
 * NULL. */
KLUIS_MUST_CHECK int packets_check(const struct keypacket *packet, const struct membership *object,
	const struct membership *group, const uint8_t user_id[ID_BYTES],
	struct people_source *people, uint64_t now_ms, struct err *e);
/* Opens a packet that packets_check() was through, addressed to the owner or to this device, for
 * purposes other than 1, 3 and 5. */
KLUIS_MUST_CHECK int packets_open(
	struct people *people, struct bytes packet, struct secret *ret_secret, struct err *e);
/* Fetches the packets of purpose 4 for this device of a conversation, checks and opens each and
 * hands it to `take` (KLUIS_EVERIFY from there: that one is left alone). One that does not hold is
 * left alone and told of in *ret_taken. Who has stored what it was given calls packets_ack(). */
typedef int packets_chat_fn(
	void *arg, const struct keypacket *packet, const struct secret *secret, struct err *e);
KLUIS_MUST_CHECK int packets_fetch_chat(struct people *people,
	const struct membership *conversation, packets_chat_fn *take, void *arg,
	struct packets_taken *ret_taken, struct err *e);
/* Fetches the packets of purpose 2 about this vault (its chain) that have these ids, each checked
 * (packets_check()) and by `sender`; ret_packets[i] is empty when the one of ids[i] is not there.
 * KLUIS_EVERIFY: one does not hold. packets_open() gives its key. */
KLUIS_MUST_CHECK int packets_fetch_pages(struct people *people, const struct membership *vault,
	const uint8_t sender[ID_BYTES], uint8_t (*ids)[ID_BYTES], size_t n, struct buf *ret_packets,
	struct err *e);
/* POST /v1/packets/{id}/ack; one that is gone already is fine. */
KLUIS_MUST_CHECK int packets_ack(
	struct client *client, const uint8_t packet_id[ID_BYTES], struct err *e);

/* Appends one KeyPacket that gives `secret` (see CRYPTO formats, section 11). rcpt: the public key
 * of rcpt_id, a user's or device's by a verified chain, a group's as its chain names it. */
struct packets_gift {
	unsigned purpose, role;
	const uint8_t *object_id, *rcpt_id;
	uint32_t epoch;
	const struct key_pub *rcpt;
	struct bytes secret;
	uint64_t expires_ms; /* 0: in a year. */
};
KLUIS_MUST_CHECK int packets_seal(const struct profile *profile, const struct packets_gift *gift,
	struct buf *ret_packet, struct err *e);

#endif
