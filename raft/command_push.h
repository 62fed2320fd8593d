/* Commands of subscriptions to push services (docs/format-commands.md section 5). Feature level 5.
 * Included by raft/command.h. */
#ifndef KLUIS_RAFT_COMMAND_PUSH_H
#define KLUIS_RAFT_COMMAND_PUSH_H

#include "raft/command_person.h"
#include "storage/push_store.h"

/* A subscription of the session's device; of PUSH_PER_DEVICE_MAX others of it the oldest goes.
 * Under one idempotency key the same request is answered as the first time. Reply: id push_id,
 * number created_ms. KLUIS_EEXIST (push_id), KLUIS_EQUOTA, KLUIS_EFORBIDDEN (no device). */
struct command_push_put {
	struct command_session session;
	struct command_once once;
	uint8_t push_id[16];
	uint8_t kind; /* 1 .. PUSH_KINDS */
	uint8_t pepper_id;
	struct bytes sealed; /* seal(pepper, user_id | "push" | push_id, target), not empty. */
};
/* By its owner; or, gone, by a node that the push service said so to: then session counts for
 * nothing and user_id says whose it is. KLUIS_ENOTFOUND. */
struct command_push_delete {
	bool gone;
	struct command_session session;
	uint8_t user_id[16];
	uint8_t push_id[16];
};

#endif
