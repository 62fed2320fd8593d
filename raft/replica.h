/* One node's replica: the core loop thread that joins the raft driver, the log, the links to the
 * other nodes and the apply thread. Everything that changes the store goes through it (propose.h);
 * linearizable reads ask it for an index (read_index.h). */
#ifndef KLUIS_RAFT_REPLICA_H
#define KLUIS_RAFT_REPLICA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mailbox.h"
#include "base/random.h"

struct event;
struct fsm;
struct fsm_mark;
struct kv;
struct replica;

enum replica_role { REPLICA_FOLLOWER, REPLICA_CANDIDATE, REPLICA_LEADER };
enum replica_vote { REPLICA_STANDBY, REPLICA_VOTER, REPLICA_SPARE };

enum { REPLICA_ADDRESS_BYTES_MAX = 255, REPLICA_ID_BYTES = 16 };

/* One node of the cluster as the replicated configuration knows it. */
struct replica_server {
	uint64_t id;				     /* From 1. */
	char address[REPLICA_ADDRESS_BYTES_MAX + 1]; /* "host:port" of its links. */
	enum replica_vote vote;
	char site[NODE_NAME_BYTES_MAX + 1]; /* "ams"; empty: "node-<id>". */
};

struct replica_config {
	const char *dir; /* Holds log/, db/ and what catch-up fetches. Must exist; 0700. */
	uint64_t node_id;
	const char *site; /* Short name, for logs and status: "ams". */
	uint8_t cluster_id[REPLICA_ID_BYTES], lineage[REPLICA_ID_BYTES];
	uint32_t feature_level; /* What this binary can do; told to the peers. */

	const char *listen; /* "address:port" for the links of the others; port 0: any. */
	const char *ca_path, *cert_path, *key_path; /* PEM: the node CA, our chain, our key. */

	/* Where the others are, before the replicated configuration says so: all that the operator
	 * configured, this node included or not. */
	const struct replica_server *servers;
	unsigned n_servers;

	/* New writes are refused while fewer bytes are free than the smaller of the two. */
	unsigned floor_percent; /* 0: DISK_FLOOR_PERCENT. */
	uint64_t floor_bytes;	/* 0: DISK_FLOOR_BYTES. */

	unsigned election_timeout_ms, heartbeat_ms; /* 0: the limits.h values. */
	unsigned gone_ms;	  /* A voter silent for so long is replaced. 0: MEMBER_GONE_MS. */
	size_t store_cache_bytes; /* RocksDB's block and blob cache; 0: its default. */
	size_t store_write_buffer_bytes; /* All of RocksDB's memtables; 0: its default. */
	const struct clock *clock;	 /* NULL: clock_system. */
	struct random *random;		 /* NULL: random_system. */
};

/* Makes the memory of a node of a new cluster: log and pins. A voter's first log has term 1 and one
 * entry with the configuration: the same servers in the same order give the same bytes, so that all
 * may be bootstrapped each on its own. A standby's is empty; it is given everything. The node takes
 * part once all servers have met (docs/architecture.md, "A wiped node"). `dir` must exist.
 * KLUIS_EEXIST when there is a log already. Blocking. */
KLUIS_MUST_CHECK int replica_bootstrap(const char *dir, uint64_t node_id,
	const struct replica_server *servers, unsigned n_servers, struct err *e);

/* Makes the memory of a node that joins a cluster that runs: an empty log, and nobody known. It
 * takes part once the cluster has let it in by its incarnation (COMMAND_SERVER_ADD) and it has the
 * data. `dir` must exist. KLUIS_EEXIST when there is a log already. Blocking. */
KLUIS_MUST_CHECK int replica_bootstrap_joining(const char *dir, uint64_t node_id, struct err *e);
/* Which memory the directory holds, for COMMAND_SERVER_ADD: the random id of its log. KLUIS_EBUSY:
 * a process has the directory; KLUIS_ENOTFOUND: it is no node's. Blocking. */
KLUIS_MUST_CHECK int replica_incarnation(
	const char *dir, uint64_t node_id, uint8_t ret_incarnation[16], struct err *e);

/* Begins a new cluster behind a restored store: dir/db holds the store as of some index S, the same
 * at every server; the log begins empty at S + 1, with a snapshot record {S, its term, these
 * servers} and term S's. Every server of the new cluster does this, a standby too; they take part
 * once all have met. KLUIS_ENOTFOUND
 * when there is no store, KLUIS_EEXIST when there is a log. Blocking. */
KLUIS_MUST_CHECK int replica_bootstrap_restored(const char *dir, uint64_t node_id,
	const struct replica_server *servers, unsigned n_servers, struct err *e);

/* The store of a node that does not run is worth nothing: removes it, so that the next start has it
 * made anew from a peer. Refuses unless log, vote and pins are whole, in which stands everything
 * that this node promised: KLUIS_ECORRUPT names what is not; KLUIS_EBUSY: the node runs. Blocking.
 */
KLUIS_MUST_CHECK int replica_give_up_store(const char *dir, uint64_t node_id, struct err *e);

/* Opens log and store, checks that they belong together, starts the core and apply threads and the
 * links, and returns; an election may take some time more. Blocking (reads the whole log). On
 * failure nothing is left running and *ret_replica is untouched: KLUIS_ECORRUPT names file, offset
 * and what to do; KLUIS_EBUSY: another process has the directory. config's strings are copied.
 * From here on a failed write or fsync, or a command this binary does not know, ends the process
 * (fail_stop.h). */
KLUIS_MUST_CHECK int replica_start(
	const struct replica_config *config, struct replica **ret_replica, struct err *e);

/* Stops the threads, closes log and store, frees the replica. With hand_over_ms > 0 a leader first
 * hands leadership to another voter, if one is in touch, and waits for that at most so long.
 * Proposals, reads and waits still open end (KLUIS_EUNKNOWN_OUTCOME or KLUIS_ECLOSED) through their
 * mailboxes, which must outlive this call. Blocking; from any thread but those of the replica or of
 * such a mailbox. NULL is fine. */
void replica_stop(struct replica *replica, unsigned hand_over_ms);

/* Reads the certificate, key and CA files of the links again. Good ones are for links from now on:
 * those that stand live on, unless no CA that is now trusted vouches for the peer. KLUIS_E*: a bad
 * file, which e names; then nothing changes. Blocking; any thread but the replica's own. */
KLUIS_MUST_CHECK int replica_reload(struct replica *replica, struct err *e);

/* The port that the links listen on. Any thread. */
unsigned replica_port(const struct replica *replica);

/* The store for reading. Between begin and end the store stays open: catch-up, which replaces it
 * as a whole, waits for all readers, so keep it short (one request) and never hold it across a wait
 * for a client. KLUIS_EBEHIND: it is being replaced right now. Any thread; never blocks. */
KLUIS_MUST_CHECK int replica_read_begin(struct replica *replica, struct kv **ret_kv);
void replica_read_end(struct replica *replica);

/* Which store it is: another number, another store. Any thread, between begin and end. */
uint64_t replica_store_number(const struct replica *replica);

/* It is to be replaced, and waits: whoever reads for long gives up. Any thread. */
bool replica_read_unwanted(struct replica *replica);

/* From now on mark_cb is called on the apply thread, which waits for it, whenever the store stands
 * exactly at the mark of a snapshot (fsm.h); a store that a peer gave may be beyond some. NULL: no
 * more, and none runs when this returns. Any thread but the apply thread. */
void replica_on_mark(struct replica *replica,
	void (*mark_cb)(void *data, struct fsm *fsm, const struct fsm_mark *mark), void *data);

/* A majority disagrees with this node's state: clients are to be shown nothing of it, and told
 * nothing that it decided. Any thread, at once. */
bool replica_quarantined(const struct replica *replica);

/* What was read from the store is not what was written there: `what` says it, for log and alarm.
 * Best called between replica_read_begin() and its end: behind it the store may be another one.
 * From now on this node reports a state that is nobody's, so that a majority that agrees on another
 * one quarantines it and its store is replaced by a peer's: never more nodes at once than a
 * majority can do without, whatever they have found. Any thread. */
void replica_doubt(struct replica *replica, const char *what);

/* Why a peer is refused although its certificate is right. */
enum replica_peer_trouble {
	REPLICA_PEER_KNOWN,    /* It is not. */
	REPLICA_PEER_WIPED,    /* Its log was made anew: it has forgotten all. */
	REPLICA_PEER_OLD_COPY, /* Its directory is an older copy of itself. */
};

struct replica_peer_status {
	uint64_t id;
	char address[REPLICA_ADDRESS_BYTES_MAX + 1];
	char site[NODE_NAME_BYTES_MAX + 1];
	enum replica_vote vote;
	bool connected;		 /* The link to it is up, both directions known good. */
	uint64_t match_index;	 /* Known to be on its disk; 0 unless this node leads. */
	uint64_t last_heard_ms;	 /* Monotonic; 0: never since start. */
	uint64_t wall_offset_ms; /* |its wall clock - ours| at the last exchange. */
	uint32_t feature_level;	 /* 0: never told. */
	bool met;		 /* It has pinned this node, and this node it. */
	enum replica_peer_trouble trouble;
};

struct replica_status {
	uint64_t node_id;
	enum replica_role role;
	enum replica_vote vote;	  /* Of this node, in the configuration it knows. */
	uint64_t term, leader_id; /* leader_id 0: none known. */
	uint64_t commit_index, applied_index, stored_index, last_index, first_index;
	uint64_t applied_term;
	uint64_t lag;		  /* Committed, as far as this node knows, and not applied here. */
	uint64_t cluster_time_ms; /* Of the newest entry applied. */
	uint64_t cluster_now_ms;  /* The same, and how long it is ago: what the next may bring. */
	uint8_t state_hash[32];	  /* At state_hash_index. */
	uint64_t state_hash_index;
	bool quarantined; /* A majority disagrees with our state, or there is none: see rebuilding.
			   */
	bool rebuilding;  /* The store is being replaced by a peer's. */
	char damage[160]; /* What was found damaged in the store; empty: nothing. */
	bool read_only;	  /* Below the disk floor. */
	bool begun;	  /* All first members have met: before that this node takes no part. */
	bool joining; /* Not begun, but made to join: it waits to be let in, and for the data. */
	unsigned voters, voters_wanted; /* In the configuration; by the operators, 0: not said. */
	/* Leader: which step about a member waits, and for what; empty: none. */
	char members_waiting[160];
	bool ready; /* In touch with a leader, or leading a quorum that answers, and nearly all
		     * that is known to be committed is applied. */
	uint64_t certificate_not_after_ms; /* Of this node's link certificate, Unix. */
	uint64_t free_bytes, floor_bytes, log_bytes;
	uint64_t proposals_waiting, proposal_bytes_waiting;
	uint64_t catching_up_bytes, catching_up_total; /* total 0: not fetching a checkpoint. */
	unsigned n_peers;
	struct replica_peer_status peers[SITES_MAX];
};

/* A recent copy (at most HEARTBEAT_MS old). Any thread; never blocks for long. */
void replica_status(struct replica *replica, struct replica_status *ret_status);
/* NULL: there is no such peer; a node is none of its own. */
const struct replica_peer_status *replica_status_peer(
	const struct replica_status *status, uint64_t id);
/* Whether the node whose status it is has a link to this one, or is it. */
bool replica_status_reaches(const struct replica_status *status, uint64_t id);

/* Who is told what was applied. */
struct replica_watch {
	/* On the apply thread, as soon as reads see it; must not block. events: n changes that are
	 * news (storage/event.h), in order, valid during the call; index: what is applied now.
	 * all: the store is another one, and anything may have changed. */
	void (*cb)(struct replica_watch *watch, const struct event *events, size_t n,
		uint64_t index, bool all);
	/* On the core thread; must not block: what a peer's replica_relay() sent, as hostile as any
	 * of its messages; valid during the call. */
	void (*relayed_cb)(struct replica_watch *watch, struct bytes message);
};
/* From the next batch on; NULL: nobody, and no call is under way any more when it returns. One at a
 * time. Any thread but the apply thread. */
void replica_watch_set(struct replica *replica, struct replica_watch *watch);

/* Passes a message (taken; 1 .. LINK_RELAY_MESSAGE_BYTES_MAX bytes) on to the other nodes that are
 * in touch and know of it. Nobody learns whether it came. Any thread. */
void replica_relay(struct replica *replica, struct buf *message);

/* Leadership transfer; the memory lives until cb. */
struct replica_transfer {
	struct replica *replica;
	struct mailbox *home;
	uint64_t to;
	uint64_t deadline_ms;
	void (*cb)(struct replica_transfer *req, int rc);
	struct mail mail;
	struct replica_transfer *next;
	int rc;
};

/* Asks this node, which must lead, to hand over to voter `to` (0: the best placed one). cb on
 * home's loop, never before this returns: 0 once another leader is known; KLUIS_ENOTLEADER;
 * KLUIS_EINVAL: `to` is no other voter; KLUIS_ETIMEOUT. Any thread. */
void replica_transfer_start(struct replica_transfer *req, struct replica *replica,
	struct mailbox *home, uint64_t to, uint64_t deadline_ms,
	void (*cb)(struct replica_transfer *req, int rc));

/* Runs fn on the apply thread, between two batches, with the store as of all batches before it:
 * where checkpoints are made. The memory lives until cb (on home's loop). Any thread. */
struct replica_work {
	struct replica *replica;
	struct mailbox *home;
	int (*fn)(struct replica_work *work, struct fsm *fsm);
	void (*cb)(struct replica_work *work, int rc);
	struct mail mail;
	struct replica_work *next;
	uint64_t index, term; /* Set before fn: what the store has applied. */
	int rc;
};
void replica_work_start(struct replica_work *work, struct replica *replica, struct mailbox *home,
	int (*fn)(struct replica_work *work, struct fsm *fsm),
	void (*cb)(struct replica_work *work, int rc));

#endif
