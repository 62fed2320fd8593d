/* One driver whose effects are only written down: a test plays disk, network, state machine and all
 * the other nodes. */
#ifndef KLUIS_TESTS_UNIT_RAFT_LIB_DRIVER_RIG_H
#define KLUIS_TESTS_UNIT_RAFT_LIB_DRIVER_RIG_H

#include "raft/driver.h"

enum { RIG_MAX = 4096, RIG_ME = 1, RIG_SEED = 7 };

struct rig_sent {
	uint64_t peer;
	struct buf bytes; /* Header and entries. */
};

struct driver_rig {
	struct driver *driver;
	uint64_t now_ms, connection;
	struct rig_sent sent[RIG_MAX];
	unsigned sent_n;

	uint64_t write_seq;	    /* Of the last append or install. */
	struct entry *log[RIG_MAX]; /* By index, as appended. */
	uint64_t log_last;
	unsigned appends, votes, applies, fetches, installs, replaces, manifests, records, reads,
		fatal;
	uint64_t term, vote;
	uint64_t applied; /* Last index given to apply. */
	uint64_t read_token, read_first;
	unsigned read_n;
	uint64_t manifest_peer, manifest_index;
	struct driver_snapshot recorded, fetched;
	unsigned ready;
	uint64_t ready_token, ready_index;
	int ready_rc;
	uint64_t mark[8], mark_ms[8]; /* By peer: the newest that it was sent, and when. */
	uint32_t unreachable;	      /* BIT(peer): what is sent there is refused. */
	int fail_append, fail_vote, fail_replace; /* KLUIS_E*: what the next one returns. */
	struct configuration configuration;
};

/* What its disk held before it starts. */
struct rig_disk {
	unsigned voters; /* Nodes 1 .. voters vote, then up to 6 stand by. */
	uint64_t term;
	uint64_t snapshot; /* Its index (term 1); the log begins behind it. 0: at 1. */
	uint64_t last;	   /* Of the log: barriers of term 1 behind the first entry. */
	uint64_t applied;
	uint64_t change[2]; /* Entries of the log by which node 5, then 4 stands by. 0: none. */
	bool rebuild;	    /* Without data: applied is the snapshot's. */
};

/* guard: DRIVER_GUARD_MAX for all on; else that one is off, as those of `more` (BIT()s) are. */
struct driver_rig *rig_new(const struct rig_disk *disk, enum driver_guard off, uint32_t more);
void rig_free(struct driver_rig *rig);

/* Feeds a message; returns what driver_receive() does. Entries are borrowed. rig_append() and
 * rig_result() echo the newest mark, as a peer does that answers at once. */
int rig_receive(struct driver_rig *rig, uint64_t peer, const struct message *message);
void rig_append(struct driver_rig *rig, uint64_t peer, uint64_t term, uint64_t prev,
	uint64_t prev_term, uint64_t commit, struct entry **entries, unsigned n);
void rig_result(struct driver_rig *rig, uint64_t peer, uint64_t rejected, uint64_t last);
void rig_persist(struct driver_rig *rig);	    /* All that was appended. */
void rig_tick(struct driver_rig *rig, uint64_t ms); /* Time passes, then the timer fires. */
void rig_forget(struct driver_rig *rig);	    /* What was sent. */
/* Makes it leader: time passes, nodes 2 and 3 vote. */
void rig_elect(struct driver_rig *rig);
/* ... and all voters have all it has. */
void rig_lead(struct driver_rig *rig);
int rig_submit(struct driver_rig *rig, size_t bytes);

/* The newest message of that type sent to peer (0: to any); false when there is none. Release it.
 */
bool rig_last(
	struct driver_rig *rig, uint64_t peer, enum message_type type, struct message *ret_message);
unsigned rig_count(struct driver_rig *rig, uint64_t peer, enum message_type type);
struct entry *rig_command(uint64_t index, uint64_t term);
struct entry *rig_change(uint64_t index, uint64_t term, const struct configuration *configuration);

#endif
