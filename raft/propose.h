/* A command on its way through raft: queued here or at the leader, committed, applied here, and
 * then answered with what this node's own state machine said. */
#ifndef KLUIS_RAFT_PROPOSE_H
#define KLUIS_RAFT_PROPOSE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/mailbox.h"

struct replica;

enum { PROPOSE_REPLY_BYTES_MAX = 128 };

/* Embedded in the caller's request; lives until cb. The caller reads the result fields only. */
struct propose {
	/* Result, valid in cb. */
	int rc;		/* What cb is given. */
	uint64_t index; /* Raft index of the entry that carried it; 0 when it was never applied. */
	uint32_t ordinal; /* Place of the command in that entry. */
	/* The state machine's answer (command_reply_decode()), or why it refused, as text; they
	 * live in req. */
	struct bytes reply, reason;

	/* Private. */
	void (*cb)(struct propose *req, int rc);
	struct replica *replica;
	struct mailbox *home;
	struct mail mail;
	struct buf command;
	uint64_t seq, entered_ms, deadline_ms, sent_term;
	unsigned state;
	struct propose *prev, *next;
	uint8_t reply_space[PROPOSE_REPLY_BYTES_MAX];
};

/* Proposes *command, whose bytes are taken (it is empty afterwards), whatever happens. It is
 * forwarded when another node leads. cb runs on home's loop, once, never before this returns:
 * - 0 or the state machine's refusal (KLUIS_E*): committed and applied here; index, ordinal and
 *   reply are set. A read on this node sees it.
 * - KLUIS_ENOQUORUM, KLUIS_EBUSY, KLUIS_EREADONLY, KLUIS_ETOOLARGE, KLUIS_ECLOSED: refused before
 *   it was proposed; it will never be applied.
 * - KLUIS_EUNKNOWN_OUTCOME: deadline_ms (clock_system's monotonic milliseconds) passed after it
 *   was handed to raft: it may still be applied. Ask again with the same idempotency key.
 * A change of leader in between is not seen from here: what the old one is known to have lost is
 * given to the new one, never twice.
 * Any thread. */
void propose_start(struct propose *req, struct replica *replica, struct mailbox *home,
	struct buf *command, uint64_t deadline_ms, void (*cb)(struct propose *req, int rc));

#endif
