/* Six nodes in one thread on virtual time: the real driver, the real state machine, the real
 * message bytes; network, disks, clients and faults are seeded (docs/simulator.md). */
#ifndef KLUIS_TESTS_SIM_SIM_H
#define KLUIS_TESTS_SIM_SIM_H

#include "base/random.h"
#include "raft/driver.h"
#include "raft/roles.h"
#include "tests/lib/fixture/client.h"
#include "tests/sim/machine.h"

enum {
	SIM_NODES = 6, /* The first ones; more come under new ids. */
	SIM_IDS = 10,
	SIM_SESSIONS = 3,
	SIM_PAYLOAD_MAX = 2048,
	SIM_LOAD_AFTER_MS = 2000, /* Clients go on so long after the first write in the calm. */
	SIM_LIVENESS_MS = 30000,  /* A write commits so long after all faults end, at the latest. */
};

/* Bugs that a planted run has; X(symbol, name). */
#define SIM_BUGS(X)                                                                               \
	X(BUG_NONE, "none")                                                                       \
	X(BUG_VOTE_BEFORE_SYNC, "vote-before-sync") /* The vote is written behind the message. */ \
	X(BUG_VOTE_NOT_STORED, "vote-not-stored")   /* Only the term is. */                       \
	X(BUG_TERM_NOT_STORED, "term-not-stored")   /* Neither is. */                             \
	X(BUG_ACK_BEFORE_DURABLE,                                                                 \
		"ack-before-durable") /* A write is reported before it is one. */                 \
	X(BUG_ACK_BEFORE_QUORUM,                                                                  \
		"ack-before-quorum")		/* The client hears ok from the leader's log. */  \
	X(BUG_CARRY_ON, "carry-on-after-error") /* A failed write is taken for a good one. */     \
	X(BUG_STALE_LEADER_READ, "stale-leader-read") /* A leader reads without a round. */       \
	X(BUG_FOLLOWER_READ, "follower-read")	      /* A follower reads what it has. */         \
	X(BUG_READ_BEFORE_APPLY,                                                                  \
		"read-before-apply")		  /* Does not wait for the index it was given. */ \
	X(BUG_TORN_TAIL, "torn-tail-accepted")	  /* A record with a wrong CRC is taken. */       \
	X(BUG_LOST_TRUNCATION, "lost-truncation") /* The disk keeps what a cut should remove. */  \
	X(BUG_APPLY_ORDER, "apply-out-of-order")  /* Two entries change places. */                \
	X(BUG_APPLY_TWICE, "apply-twice")	  /* After a restart the last one again. */       \
	X(BUG_APPLY_SKIP, "apply-skip")		  /* After a restart one is left out. */          \
	X(BUG_IMPURE, "fsm-impure")		  /* The state depends on the node. */            \
	X(BUG_SNAPSHOT_AHEAD, "snapshot-ahead")	  /* A snapshot says more than it holds. */       \
	X(BUG_LOST_FLUSH, "log-cut-before-flush") /* The log forgets what was not flushed. */     \
	X(BUG_OLD_SLOT, "old-vote-slot")	  /* A restart reads the vote before the last. */ \
	X(BUG_VOTE_FREELY, "vote-freely")	  /* Every vote is granted. */                    \
	X(BUG_FLIPPED_BYTE, "flipped-byte")	  /* Now and then a message arrives damaged. */   \
	X(BUG_SAME_ID, "wiped-same-id")		  /* A wiped node comes back as who it was. */    \
	X(BUG_NO_ROLES, "no-roles")		  /* Nobody keeps the members in order. */

enum sim_bug {
#define X(sym, name) sym,
	SIM_BUGS(X)
#undef X
		SIM_BUG_MAX
};

/* What must hold; X(symbol, name, whether the seed can go on when a run looks at another one only).
 */
#define SIM_CHECKS(X)                                                                       \
	X(CHECK_ALL, "all", true)                                                           \
	X(CHECK_TERM, "term", true)	      /* No node's term goes back. */               \
	X(CHECK_VOTE, "vote", true)	      /* One vote a node and term. */               \
	X(CHECK_LEADER, "leader", true)	      /* One leader a term. */                      \
	X(CHECK_ENTRY, "entry", true)	      /* One entry at an index, on all nodes. */    \
	X(CHECK_STATE, "state", true)	      /* One state hash at an index. */             \
	X(CHECK_REPORT, "report", true)	      /* No majority finds a node's state wrong. */ \
	X(CHECK_ACKED, "acked", true)	      /* What a client was told of stays. */        \
	X(CHECK_CLIENT, "client", true)	      /* Its next step is accepted. */              \
	X(CHECK_READ, "read", true)	      /* A read shows what came before it. */       \
	X(CHECK_GAP, "gap", false)	      /* Nothing is written behind a gap. */        \
	X(CHECK_START, "start", false)	      /* A node starts from what its disk has. */   \
	X(CHECK_NODE, "node", false)	      /* None ends but by an injected fault. */     \
	X(CHECK_MESSAGE, "message", true)     /* No message is refused. */                  \
	X(CHECK_LIVENESS, "liveness", true)   /* A write commits after all faults end. */   \
	X(CHECK_CONVERGED, "converged", true) /* ... and every member has everything. */    \
	X(CHECK_MEMBERS, "members", true)     /* ... and votes if and only if it is to. */

enum sim_check {
#define X(sym, name, goes_on) sym,
	SIM_CHECKS(X)
#undef X
		SIM_CHECK_MAX
};

struct sim_options {
	uint64_t seed;
	uint32_t guards_off;
	enum sim_bug bug;
	enum sim_check only; /* Look at nothing else: shows that this check can fail. */
	bool verbose;
};

struct sim_stats {
	uint64_t events, steps, elections, crashes, io_errors, snapshots, installs, transfers,
		changes, acked, unknown, reads, stale_dropped, truncations, log_reads, packets,
		read_rounds, replaces, losses, joins, wishes;
};

struct sim;
struct sim_node;

/* --- core: events, chance, verdict --- */

enum sim_event_kind {
	EVENT_PACKET,
	EVENT_DISK,
	EVENT_EARLY, /* Planted bug: a write is reported that is not one yet. */
	EVENT_TIMER,
	EVENT_APPLY,
	EVENT_READ,
	EVENT_FLUSH,
	EVENT_MANIFEST,
	EVENT_FETCH,
	EVENT_REPLACE,
	EVENT_RESTART,
	EVENT_CLIENT,
	EVENT_FAULT,
	EVENT_ROLES,
	EVENT_OPERATOR,
};

struct sim_event {
	uint64_t at, seq; /* Due time; order among equals. */
	enum sim_event_kind kind;
	unsigned node;	/* 0: of none. */
	uint64_t epoch; /* The node's when it was made: another one drops it. */
	uint64_t arg;
	void *ptr; /* EVENT_PACKET, EVENT_READ: owned. */
};

struct sim_heap {
	struct sim_event *event;
	size_t n, capacity;
	uint64_t seq;
};

/* What must hold, over the whole run. */
struct sim_oracle {
	struct sim_fact {
		uint64_t entry, hash, acked; /* Of the entry, of the state behind it; 0: unknown. */
	} * fact;
	size_t facts;
	uint64_t *leader; /* By term. */
	size_t leaders;
	uint64_t *vote[SIM_IDS + 1]; /* By node, by term. */
	size_t votes[SIM_IDS + 1];
	uint64_t acked_max;   /* Highest index that a client was told. */
	uint64_t visible_max; /* ... or that a read has shown. */
	uint64_t acked_n;
};

struct sim_link {
	uint64_t connection;
	uint64_t last_at; /* FIFO: nothing of this connection arrives before. */
	bool blocked;
};

enum session_stage {
	STAGE_CLUSTER,
	STAGE_ACCOUNT,
	STAGE_ENROL,
	STAGE_SESSION,
	STAGE_VAULT,
	STAGE_READY, /* Nothing is outstanding: the next commit can be made. */
	STAGE_PAGE,  /* A page is staged, its commit is in `staged`. */
	STAGE_COMMIT,
};

struct sim_session {
	struct fixture_client client;
	enum session_stage stage;
	struct buf command, entries, staged;
	bool built, waiting;
	uint64_t node, boot, seq, since_ms; /* Where the command was sent last. */
	uint64_t commits;
};

/* What happens to the members, besides faults. */
enum sim_plan {
	PLAN_FIXED,
	PLAN_MOVES,    /* Any step that the driver lets through, at random. */
	PLAN_OPERATOR, /* Operators' wishes, losses for good, replacements: kept in order by roles.
			*/
	PLAN_DECLINE,  /* Losses for good, one after the other, down to two. */
};

struct sim {
	struct sim_options options;
	struct random_seeded random;
	uint64_t now_ms, digest;
	struct sim_heap heap;
	struct sim_node *node[SIM_IDS + 1];
	struct sim_link link[SIM_IDS + 1][SIM_IDS + 1];
	struct sim_oracle oracle;
	struct sim_session session[SIM_SESSIONS];
	struct sim_stats stats;

	/* How this seed is. */
	unsigned election_ms, heartbeat_ms, client_gap_ms, voters;
	unsigned snapshot_every, trailing;
	size_t cache_bytes;
	enum sim_plan plan;
	struct random_seeded operator_random; /* Its own: other plans stay what they were. */
	struct buf operator_command;	      /* The last addition. */
	unsigned ids;			      /* Nodes there ever were: 1 .. ids. */
	unsigned loss, reconnect, jitter_ms, big_percent;

	uint64_t faults_end_ms, end_ms;
	bool healed, progressed;
	uint64_t command_id, checkpoint_id;
	uint64_t progressed_ms;
	bool violated; /* By `check`; the seed ends. */
	enum sim_check check;
	char why[256];
};

uint64_t sim_random(struct sim *sim, uint64_t bound); /* 0 .. bound - 1 */
bool sim_chance(struct sim *sim, unsigned per_thousand);
void sim_push(struct sim *sim, uint64_t after_ms, enum sim_event_kind kind, struct sim_node *node,
	uint64_t arg, void *ptr);
bool sim_pop(struct sim *sim, struct sim_event *ret_event);
void sim_mix(struct sim *sim, uint64_t value);
uint64_t sim_hash(uint64_t seed, struct bytes bytes);
/* The first one counts. One that the run does not look at ends the seed only if it cannot go on. */
void sim_violate(struct sim *sim, enum sim_check check, const char *fmt, ...) KLUIS_PRINTF(3, 4);
/* Whether the seed ended on something that the run looks at. */
bool sim_failed(const struct sim *sim);
void sim_say(struct sim *sim, const char *fmt, ...) KLUIS_PRINTF(2, 3); /* When verbose. */
/* Runs one seed to its end; false on a violation, which is in why. */
struct sim *sim_run(const struct sim_options *options);
void sim_free(struct sim *sim);

/* --- oracle --- */

void oracle_vote(struct sim *sim, uint64_t node, uint64_t term, uint64_t vote);
void oracle_leader(struct sim *sim, uint64_t node, uint64_t term);
void oracle_applied(struct sim *sim, uint64_t node, const struct entry *entry);
void oracle_state(struct sim *sim, uint64_t node, uint64_t index, uint64_t hash);
void oracle_acked(struct sim *sim, uint64_t index, uint64_t entry_hash);
void oracle_read(struct sim *sim, uint64_t node, uint64_t visible_at_start, uint64_t served);
uint64_t oracle_entry_hash(const struct entry *entry);
/* After the calm: everybody has everything. */
bool oracle_converged(struct sim *sim);
void oracle_end(struct sim *sim);
void oracle_release(struct sim_oracle *oracle);

/* --- network --- */

struct sim_packet {
	unsigned from, to;
	uint64_t connection;
	struct buf bytes;
};
void net_send(struct sim *sim, unsigned from, unsigned to, struct bytes header,
	struct entry *const *entries, unsigned n);
void net_deliver(struct sim *sim, struct sim_packet *packet); /* Takes packet. */
void net_packet_free(struct sim_packet *packet);
/* The connection ends: what is under way may be lost, late, or sent again on the next. */
void net_reconnect(struct sim *sim, unsigned from, unsigned to);
bool net_cut(const struct sim *sim, unsigned from, unsigned to);

/* --- disk of a node --- */

enum disk_op_kind { DISK_APPEND, DISK_RECORD, DISK_INSTALL, DISK_VOTE };

struct disk_op {
	enum disk_op_kind kind;
	uint64_t seq;
	struct entry **entry;
	unsigned n;
	struct driver_snapshot *snapshot; /* Of a record or an install. */
	uint64_t discard, term, vote;
	struct machine *machine;
	struct disk_op *next;
};

struct sim_disk {
	uint64_t term, vote;	     /* Durable, as all below but the queue. */
	uint64_t old_term, old_vote; /* The record before that, in the file's other slot. */
	struct entry **entry;
	size_t n, capacity;
	uint64_t first;
	bool has_snapshot;
	struct driver_snapshot snapshot;
	struct machine *machine; /* As last flushed. */
	bool lost;		 /* It is worth nothing: to be replaced by a peer's. */

	struct disk_op *queue, **queue_tail; /* Not yet synced. */
	unsigned queued, syncing;
	unsigned latency_ms;
};

void disk_init(struct sim_disk *disk, struct machine *machine);
void disk_release(struct sim_disk *disk);
/* As replica_bootstrap() does, written and synced before the first start. */
void disk_bootstrap(struct sim_disk *disk, struct entry *entry);
void disk_vote(struct sim_disk *disk, uint64_t term, uint64_t vote);
struct disk_op *disk_op_new(enum disk_op_kind kind, uint64_t seq);
void disk_push(struct sim_node *node, struct disk_op *op);
void disk_done(struct sim_node *node); /* EVENT_DISK */
/* What was not synced is lost but for a prefix, whose last record may be torn. */
void disk_crash(struct sim_node *node);
struct entry *disk_entry(const struct sim_disk *disk, uint64_t index);
uint64_t disk_last(const struct sim_disk *disk);

/* --- node --- */

enum crash_point {
	CRASH_NEVER,
	CRASH_BEFORE_VOTE,
	CRASH_AFTER_VOTE,
	CRASH_AT_APPEND,
	CRASH_AT_SEND,
	FAIL_VOTE,
	FAIL_APPEND,
	FAIL_SYNC,
};

struct sim_batch {
	struct entry **entry;
	unsigned n;
	struct sim_batch *next;
};

struct sim_proposal {
	uint64_t origin, boot, seq;
	struct buf command;
	struct sim_proposal *next;
};

struct sim_waiter {
	uint64_t seq, since_ms;
	struct sim_waiter *next;
};

struct sim_read {
	uint64_t token, visible; /* visible: what it must show at least. */
	uint64_t index, since_ms;
	bool ready;
	struct sim_read *next;
};

struct sim_log_read {
	uint64_t token, first;
	unsigned n;
};

struct sim_node {
	struct sim *sim;
	unsigned id;
	bool up, doomed, failing; /* failing: an injected error may end it. */
	bool lost;		  /* It never comes back: its disk is gone, or it was removed. */
	struct roles roles;
	uint64_t epoch, boot, seq;
	struct driver *driver;
	struct sim_disk disk;
	struct machine *machine;
	uint64_t timer_at, timer_gen;
	enum crash_point crash;
	unsigned crash_after;
	bool inside; /* In a driver call. */

	struct sim_batch *batches, **batches_tail;
	bool applying;
	struct sim_proposal *proposals, **proposals_tail;
	struct buf proposal_answers;
	struct sim_waiter *waiters;
	struct sim_read *reads;
	uint64_t read_token;

	struct machine *flushing; /* State whose flush is under way. */
	struct machine *offered;  /* Checkpoint pinned for peers. */
	struct driver_snapshot offered_snapshot;
	struct machine *staged; /* Fetched, not yet in place. */
	unsigned fetch_from;
	uint64_t fetch_gen, fetch_id, offered_id; /* *_id: which checkpoint. */
	bool installed_due;
	uint64_t last_leader_term;
};

struct sim_node *node_new(struct sim *sim, unsigned id);
void node_free(struct sim_node *node);
/* The first log of the cluster. */
void node_bootstrap(struct sim_node *node, const struct configuration *configuration);
void node_start(struct sim_node *node);
void node_crash(struct sim_node *node);
/* A node that is down: its log is whole, the rest is not. */
void node_lose_data(struct sim_node *node);
void node_rebuild(struct sim_node *node); /* One that runs doubts its data. */
/* After every driver call: crashes that are due, the timer, what the io functions put aside. */
void node_after(struct sim_node *node);
void node_event(struct sim_node *node, const struct sim_event *event);
/* Ends a driver call in the middle of something; false if the node ended with it. */
bool node_survives(struct sim_node *node);

/* --- clients --- */

void client_event(struct sim *sim); /* EVENT_CLIENT */
/* Sends a command into the log, itself or through the leader it knows; its number, 0: none known.
 */
uint64_t client_propose(struct sim_node *node, struct bytes command);
void client_read(struct sim_node *node);
void client_proposed(struct sim_node *node, uint64_t peer, const struct message *message);
void client_progress(struct sim_node *node);
void client_applied(struct sim_node *node, const struct machine_done *done);
void client_read_ready(struct sim_node *node, uint64_t token, int rc, uint64_t index);
void client_reads_serve(struct sim_node *node);
void client_crash(struct sim_node *node);

void session_init(struct sim_session *session, unsigned number);
void session_release(struct sim_session *session);
/* Its turn, at that node. */
void session_run(struct sim *sim, struct sim_session *session, struct sim_node *node);
void session_answer(struct sim *sim, const struct sim_node *node, uint64_t seq, int rc);

/* --- operators, and what the leader does for them --- */

bool operator_keeps_roles(const struct sim *sim);
void operator_roles_init(struct sim_node *node); /* At each start. */
void operator_event(struct sim *sim);		 /* EVENT_OPERATOR */
void operator_roles(struct sim_node *node);	 /* EVENT_ROLES */
/* The link refuses whom the cluster has removed, and that one ends. */
bool operator_refused(struct sim *sim, struct sim_node *node, unsigned from);
/* The members are as they are to be; else, if why is not NULL, what is wrong. */
bool operator_settled(struct sim *sim, char *why, size_t size);
void operator_end(struct sim *sim);

/* --- faults --- */

void fault_event(struct sim *sim); /* EVENT_FAULT */
void fault_heal(struct sim *sim);
struct sim_node *fault_leader(struct sim *sim);

#endif
