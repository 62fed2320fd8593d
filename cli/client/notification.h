/* Notifications of messages (docs/format-chat.md, "Notifications"): that there is one, sealed to
 * each device of a conversation's members. Blocking. */
#ifndef KLUIS_CLI_CLIENT_NOTIFICATION_H
#define KLUIS_CLI_CLIENT_NOTIFICATION_H

#include "cli/client/conversation.h"

/* What it says; nothing proves it: read the conversation. */
struct notification {
	uint8_t object_id[ID_BYTES];
	uint64_t seq;
	uint64_t unix_ms; /* By its sender's word. */
};
/* Of message `seq`, to every device of the conversation's members but this one. *ret_n: how many
 * devices; whether they are subscribed, and notified, nobody says. */
KLUIS_MUST_CHECK int notification_send(
	struct conversation *c, uint64_t seq, size_t *ret_n, struct err *e);
/* Opens what a push service brought to this device, in this process or by the agent.
 * KLUIS_EVERIFY: it is not for it. KLUIS_EVERSION: of a newer program. */
KLUIS_MUST_CHECK int notification_open(const struct profile *profile, struct bytes payload,
	struct notification *ret_notification, struct err *e);

#endif
