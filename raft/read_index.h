/* From which index on this node's store may answer a read: linearizable reads ask the leader, which
 * asks a quorum whether it still leads (Raft thesis 6.4); one round serves all that wait. */
#ifndef KLUIS_RAFT_READ_INDEX_H
#define KLUIS_RAFT_READ_INDEX_H

#include <stdint.h>

#include "base/mailbox.h"

struct replica;

/* Embedded in the caller's request; lives until cb. */
struct read_index {
	int rc;
	uint64_t index; /* Valid in cb when rc is 0: applied here, at least as new as every write
			 * that was acknowledged anywhere before the start. */

	/* Private. */
	void (*cb)(struct read_index *req, int rc);
	struct replica *replica;
	struct mailbox *home;
	struct mail mail;
	uint64_t deadline_ms;
	unsigned state;
	struct read_index *next;
};

/* cb on home's loop, once, never before this returns: 0, or KLUIS_ENOQUORUM when no leader could
 * confirm itself until deadline_ms (clock_system's monotonic milliseconds), KLUIS_EBEHIND when the
 * index is known but this node had not applied it by then, KLUIS_ECLOSED. Any thread. */
void read_index_start(struct read_index *req, struct replica *replica, struct mailbox *home,
	uint64_t deadline_ms, void (*cb)(struct read_index *req, int rc));

/* Embedded in the caller's request; lives until cb. */
struct applied_wait {
	int rc;
	uint64_t index; /* In cb: what this node has applied, at least what was asked when rc is 0.
			 */

	/* Private. */
	void (*cb)(struct applied_wait *req, int rc);
	struct replica *replica;
	struct mailbox *home;
	struct mail mail;
	uint64_t want, deadline_ms;
	struct applied_wait *next;
};

/* Waits until this node has applied `index` (session consistency: the index of the client's last
 * answer). cb on home's loop, once, never before this returns: 0, KLUIS_EBEHIND at deadline_ms,
 * KLUIS_EBUSY when READS_WAITING_MAX wait already, KLUIS_ECLOSED. Any thread. */
void applied_wait_start(struct applied_wait *req, struct replica *replica, struct mailbox *home,
	uint64_t index, uint64_t deadline_ms, void (*cb)(struct applied_wait *req, int rc));

/* The index this node has applied, and the monotonic time at which that was the newest state as far
 * as its leader, or as leader a quorum, told it (0: never): what a stale read reports. Any thread,
 * at once. */
uint64_t replica_applied(struct replica *replica, uint64_t *ret_heard_ms);

#endif
