/* Proposals of other nodes that wait at the leader: a bounded queue for each origin, and the fair
 * choice of what goes into the next entry. Nobody comes first: each origin, this node's own clients
 * among them, gets an equal share of the bytes, so that a node that floods the leader slows down
 * itself alone (start-time fair queueing, Goyal, Vin, Cheng, SIGCOMM 1996). Pure; one thread. */
#ifndef KLUIS_RAFT_FORWARDED_H
#define KLUIS_RAFT_FORWARDED_H

#include "base/err.h"
#include "base/limits.h"
#include "raft/message.h"
#include "raft/propose.h"

struct forwarded {
	struct forwarded *next;
	uint64_t origin, boot, seq, term;
	size_t len;
	uint8_t command[];
};

struct forwarded_queue {
	uint64_t origin; /* Free while n is 0. */
	struct forwarded *head, *tail;
	size_t bytes;
	unsigned n;
	uint64_t taken; /* Bytes, from where it began to wait. */
};

/* Zero it before use. */
struct forwarded_set {
	struct forwarded_queue queue[SITES_MAX];
	unsigned n;	    /* In all queues. */
	uint64_t own_taken; /* As a queue's. */
	uint64_t now;	    /* `taken` of what was chosen last: who did not wait begins there. */
};

/* One more of origin's, copied. KLUIS_EBUSY: it has FORWARDED_BYTES_MAX or PROPOSALS_MAX waiting,
 * more than a node ever sends without an answer. */
KLUIS_MUST_CHECK int forwarded_put(struct forwarded_set *set, uint64_t origin, uint64_t term,
	const struct message_proposal *proposal);
/* Drops what came for another term than this. */
void forwarded_drop_old(struct forwarded_set *set, uint64_t term);
void forwarded_clear(struct forwarded_set *set);

/* What one entry takes of all that waits, in its order. */
struct gathering {
	unsigned n, own;
	size_t bytes;					 /* Of the payload. */
	struct forwarded *pick[PROPOSALS_PER_ENTRY_MAX]; /* NULL: the next of our own. */
	/* The shares after it. */
	uint64_t taken[SITES_MAX], own_taken, now;
};

/* own: the first of our own that wait, or NULL. Changes nothing. */
void forwarded_choose(const struct forwarded_set *set, const struct propose *own,
	struct gathering *ret_gathering);
/* While an entry is under way (inflight_bytes: proposed and not committed yet) a small one waits:
 * what comes meanwhile goes with it, and shares its messages and syncs. But not for long
 * (since_ms: since the last entry), for a commit between far sites takes many times that. */
bool gathering_waits(const struct gathering *gathering, size_t inflight_bytes, uint64_t since_ms);
/* The entry is in the log: what it took is dropped here; our own are the caller's. */
void forwarded_chosen(struct forwarded_set *set, const struct gathering *gathering);

#endif
