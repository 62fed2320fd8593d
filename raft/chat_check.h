/* Whether a new epoch reaches every device of a conversation: what apply asks, and a node after a
 * refusal, to say what is missing. Reads only. */
#ifndef KLUIS_RAFT_CHAT_CHECK_H
#define KLUIS_RAFT_CHAT_CHECK_H

#include "raft/command.h"

/* The active devices of the members, accepted or invited, whose accounts are not disabled; by user,
 * then device. */
struct chat_devices {
	struct chat_device_id {
		uint8_t user_id[16], device_id[16];
		bool accepted; /* Its user, the conversation. */
	} * device;
	size_t n;
};
/* KLUIS_EQUOTA: more than CHAT_DEVICES_MAX, or more than CHAT_DEVICES_SEEN_MAX with those that are
 * revoked. Release it whatever comes back. */
KLUIS_MUST_CHECK int chat_devices_get(const struct kv_view *view, const uint8_t conv_id[16],
	struct chat_devices *ret_devices, struct err *e);
void chat_devices_release(struct chat_devices *devices);
bool chat_devices_have(
	const struct chat_devices *devices, const uint8_t user_id[16], const uint8_t device_id[16]);

/* How the packets of a command meet those devices. */
struct chat_need {
	size_t devices;
	size_t missing; /* Devices without a packet. */
	size_t surplus; /* Packets for no such device, or a second one. */
};
/* Packets by this user for the command's conversation and epoch: KLUIS_EINVAL for others,
 * KLUIS_EPRECONDITION when *ret_need has missing or surplus ones, which *e says in words. */
KLUIS_MUST_CHECK int chat_packets_check(const uint8_t user_id[16],
	const struct command_chat_epoch *c, const struct chat_devices *devices,
	struct chat_need *ret_need, struct err *e);
/* Both. */
KLUIS_MUST_CHECK int chat_epoch_check(const struct kv_view *view, const uint8_t user_id[16],
	const struct command_chat_epoch *c, struct chat_need *ret_need, struct err *e);

#endif
