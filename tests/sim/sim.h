/* Six nodes in one thread on virtual time: the real driver, the real state machine, the real
 * message bytes; network, disks, clients and faults are seeded (docs/simulator.md). */
#ifndef KLUIS_TESTS_SIM_SIM_H
#define KLUIS_TESTS_SIM_SIM_H

#include "base/random.h"
#include "raft/driver.h"
#include "raft/roles.h"
#include "tests/lib/fixture/client.h"
#include "tests/sim/front.h"
#include "tests/sim/machine.h"

enum {
	SIM_NODES = 6, /* The first ones; more come under new ids. */
	SIM_IDS = 10,
	SIM_SESSIONS = 4,
	SIM_PERSON_CLIENTS = 2,
	SIM_PERSON_SEEDS = 4,	  /* One seed of so many has a person. */
	SIM_VAULTS = 3,		  /* Two sessions write the last one. */
	SIM_LOAD_AFTER_MS = 2000, /* Clients go on so long after the first write in the calm. */
	SIM_LIVENESS_MS = 30000,  /* A write commits so long after all faults end, at the latest. */
	SIM_LIARS_MAX = 2,	  /* Nodes whose wall clocks are wrong: a minority of all. */
	SIM_CLOCK_SLACK_MS = 40000, /* Clocks of a majority agree within 30 s. */
};
#define SIM_WALL_MS 1767225600000ULL /* The true time when virtual time begins. */

/* Bugs that a planted run has; X(symbol, name). */
#define SIM_BUGS(X)                                                                                \
	X(BUG_NONE, "none")                                                                        \
	X(BUG_VOTE_BEFORE_SYNC, "vote-before-sync") /* The vote is written behind the message. */  \
	X(BUG_VOTE_NOT_STORED, "vote-not-stored")   /* Only the term is. */                        \
	X(BUG_TERM_NOT_STORED, "term-not-stored")   /* Neither is. */                              \
	X(BUG_ACK_BEFORE_DURABLE,                                                                  \
		"ack-before-durable") /* A write is reported before it is one. */                  \
	X(BUG_ACK_BEFORE_QUORUM,                                                                   \
		"ack-before-quorum")		/* The client hears ok from the leader's log. */   \
	X(BUG_CARRY_ON, "carry-on-after-error") /* A failed write is taken for a good one. */      \
	X(BUG_STALE_LEADER_READ, "stale-leader-read") /* A leader reads without a round. */        \
	X(BUG_FOLLOWER_READ, "follower-read")	      /* A follower reads what it has. */          \
	X(BUG_READ_BEFORE_APPLY,                                                                   \
		"read-before-apply")		  /* Does not wait for the index it was given. */  \
	X(BUG_TORN_TAIL, "torn-tail-accepted")	  /* A record with a wrong CRC is taken. */        \
	X(BUG_LOST_TRUNCATION, "lost-truncation") /* The disk keeps what a cut should remove. */   \
	X(BUG_APPLY_ORDER, "apply-out-of-order")  /* Two entries change places. */                 \
	X(BUG_APPLY_TWICE, "apply-twice")	  /* After a restart the last one again. */        \
	X(BUG_APPLY_SKIP, "apply-skip")		  /* After a restart one is left out. */           \
	X(BUG_IMPURE, "fsm-impure")		  /* The state depends on the node. */             \
	X(BUG_SNAPSHOT_AHEAD, "snapshot-ahead")	  /* A snapshot says more than it holds. */        \
	X(BUG_SNAPSHOT_MEMBERS, "snapshot-members") /* It names the newest members. */             \
	X(BUG_LOST_FLUSH, "log-cut-before-flush")   /* The log forgets what was not flushed. */    \
	X(BUG_OLD_SLOT, "old-vote-slot")    /* A restart reads the vote before the last. */        \
	X(BUG_VOTE_FREELY, "vote-freely")   /* Every vote is granted. */                           \
	X(BUG_FLIPPED_BYTE, "flipped-byte") /* Now and then a message arrives damaged. */          \
	X(BUG_REQUEUE_EARLY,                                                                       \
		"requeue-early") /* Sent again when a term begins, not when it is known. */        \
	X(BUG_OLD_PROPOSAL, "old-proposal")   /* A leader takes what was for an older term. */     \
	X(BUG_REFUSE_LOGGED, "refuse-logged") /* A leader refuses what it puts into its log. */    \
	X(BUG_LEASE_READ, "lease-read")	      /* A leader trusts in a clock instead of a round. */ \
	X(BUG_OWN_CLOCK, "own-clock")	      /* A leader stamps with its own wall clock. */       \
	X(BUG_FULL_IGNORED, "full-ignored")   /* A disk without room: it says written. */          \
	X(BUG_SAME_ID, "wiped-same-id")	      /* A wiped node comes back as who it was. */         \
	X(BUG_NO_ROLES, "no-roles")	      /* Nobody keeps the members in order. */

enum sim_bug {
#define X(sym, name) sym,
	SIM_BUGS(X)
#undef X
		SIM_BUG_MAX
};

/* What must hold; X(symbol, name, whether the seed can go on when a run looks at another one only).
 */
#define SIM_CHECKS(X)                                                                              \
	X(CHECK_ALL, "all", true)                                                                  \
	X(CHECK_TERM, "term", true)	      /* No node's term goes back. */                      \
	X(CHECK_VOTE, "vote", true)	      /* One vote a node and term. */                      \
	X(CHECK_LEADER, "leader", true)	      /* One leader a term. */                             \
	X(CHECK_ENTRY, "entry", true)	      /* One entry at an index, on all nodes. */           \
	X(CHECK_STATE, "state", true)	      /* One state hash at an index. */                    \
	X(CHECK_REPORT, "report", true)	      /* No majority finds a node's state wrong. */        \
	X(CHECK_SNAPSHOT, "snapshot", true)   /* One names the members of its index. */            \
	X(CHECK_ACKED, "acked", true)	      /* What a client was told of stays. */               \
	X(CHECK_CLIENT, "client", true)	      /* Its next step is accepted. */                     \
	X(CHECK_ONCE, "once", true)	      /* A proposal is in the log once, refused: never. */ \
	X(CHECK_READ, "read", true)	      /* A read shows what came before it. */              \
	X(CHECK_HISTORY, "history", true)     /* A vault's versions, as clients see them. */       \
	X(CHECK_PERSON, "person", true)	      /* Keyrings, passwords and codes count once. */      \
	X(CHECK_CLOCK, "clock", true)	      /* Cluster time: never back, no liar's. */           \
	X(CHECK_GAP, "gap", false)	      /* Nothing is written behind a gap. */               \
	X(CHECK_START, "start", false)	      /* A node starts from what its disk has. */          \
	X(CHECK_NODE, "node", false)	      /* None ends but by an injected fault. */            \
	X(CHECK_MESSAGE, "message", true)     /* No message is refused. */                         \
	X(CHECK_LIVENESS, "liveness", true)   /* A write commits after all faults end. */          \
	X(CHECK_CONVERGED, "converged", true) /* ... and every member has everything. */           \
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
		read_rounds, replaces, losses, joins, wishes, refused, vault_reads, lost_races,
		pauses, jumps, full, persons;
};

struct sim;
struct sim_node;
struct sim_person;

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
		uint64_t members;	     /* Hash of the entry's configuration; 0: it is none. */
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

/* One proposal of nobody in particular: its bytes are no other's. */
struct sim_proposal {
	uint64_t hash; /* Of the command; 0: a free place. */
	uint64_t at;   /* 0, or its place in the log: index << 16 | ordinal. */
	bool refused;  /* It may not be there any more. */
};

struct sim_proposals { /* A table without chains, at most half full. */
	struct sim_proposal *slot;
	size_t n, capacity;
};

/* What may stand and what stands at one seq of a vault. */
struct sim_version {
	uint64_t sent[SIM_SESSIONS]; /* Heads that clients asked for. */
	bool refused[SIM_SESSIONS];  /* ... and were told no. */
	uint64_t shown;		     /* The one that was seen; 0: none. */
};

struct sim_vault {
	struct sim_version *version; /* By seq. */
	size_t n;
	uint64_t visible; /* Highest seq that a client was told of or that a read has shown. */
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
	unsigned number, vault;
	struct buf command, entries, staged;
	bool built, waiting;
	bool stale; /* Another one writes the vault, too: first it reads stale_seq or more. */
	uint64_t stale_seq;
	uint64_t attempt, since_ms;
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
	struct sim_person *person; /* NULL: in this seed there is none. */
	struct sim_proposals proposals;
	struct sim_vault vault[SIM_VAULTS];
	struct sim_stats stats;

	/* How this seed is. */
	unsigned election_ms, heartbeat_ms, client_gap_ms, voters;
	unsigned snapshot_every, trailing;
	size_t cache_bytes;
	enum sim_plan plan;
	struct random_seeded operator_random; /* Its own: other plans stay what they were. */
	struct buf operator_command;	      /* The last addition. */
	unsigned ids;			      /* Nodes there ever were: 1 .. ids. */
	bool clocks;			      /* Clocks do not all run at the same speed. */
	uint64_t shifted_ms; /* By how much monotonic clocks jumped ahead, all in all. */
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
/* One that node recorded or gives to others. */
void oracle_snapshot(struct sim *sim, uint64_t node, const struct driver_snapshot *snapshot);
void oracle_state(struct sim *sim, uint64_t node, uint64_t index, uint64_t hash);
void oracle_acked(struct sim *sim, uint64_t index, uint64_t entry_hash);
void oracle_read(struct sim *sim, uint64_t node, uint64_t visible_at_start, uint64_t served);
/* now_ms: cluster time after the entry that it applied last; before_ms: before that. */
void oracle_clock(struct sim *sim, uint64_t node, uint64_t before_ms, uint64_t now_ms);
uint64_t oracle_entry_hash(const struct entry *entry);
/* After the calm: everybody has everything. */
bool oracle_converged(struct sim *sim);
void oracle_end(struct sim *sim);
void oracle_release(struct sim_oracle *oracle);

/* --- what clients were told (tests/sim/history.c) --- */

/* A command that is proposed once, and no other with the same bytes. */
uint64_t history_proposed(struct sim *sim, struct bytes command);
void history_refused(struct sim *sim, uint64_t proposal); /* ... and was not put into the log. */
/* A committed entry, seen for the first time. */
void history_entry(struct sim *sim, const struct entry *entry);

/* A vault's head, 8 bytes of it; seq from 1. */
uint64_t history_head(const uint8_t hash[32]);
void history_sent(struct sim *sim, unsigned vault, unsigned session, uint64_t seq, uint64_t head);
/* That head is in the vault: its writer, which is told so now, or a read that began when `visible`
 * was known. */
void history_accepted(
	struct sim *sim, unsigned vault, unsigned session, uint64_t seq, uint64_t head);
void history_denied(struct sim *sim, unsigned vault, unsigned session, uint64_t seq);
void history_read(struct sim *sim, unsigned vault, uint64_t seq, uint64_t head, uint64_t visible);
void history_release(struct sim *sim);

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
	uint64_t low_until_ms, full_until_ms; /* Little room; none. */
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
	bool ending; /* Those who wait are not told. */
	uint64_t epoch;
	uint64_t paused_until_ms; /* Stopped: whatever comes waits. */
	struct driver *driver;
	struct replica *front; /* As propose.c and its like see it. */
	struct sim_clock clock;
	struct driver_status status; /* After the last call of the driver. */
	uint64_t house_ms, disk_checked_ms;
	struct sim_disk disk;
	struct machine *machine;
	uint64_t timer_at, timer_gen;
	enum crash_point crash;
	unsigned crash_after;
	bool inside; /* In a driver call. */

	struct sim_batch *batches, **batches_tail;
	bool applying;

	struct machine *flushing; /* State whose flush is under way. */
	struct machine *offered;  /* Checkpoint pinned for peers. */
	struct driver_snapshot offered_snapshot;
	struct machine *staged; /* Fetched, not yet in place. */
	unsigned fetch_from;
	uint64_t fetch_gen, fetch_id, offered_id; /* *_id: which checkpoint. */
	bool installed_due;
	uint64_t last_leader_term;
	uint64_t appended_index, appended_hash; /* Planted bug: what it acknowledges too early. */
};

extern const struct driver_io node_io; /* Its ctx is the node. */

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
bool node_paused(const struct sim_node *node);
/* Stops it for so long, as SIGSTOP does. */
void node_pause(struct sim_node *node, uint64_t ms);
/* Ends a driver call in the middle of something; false if the node ended with it. */
bool node_survives(struct sim_node *node);

/* --- clients --- */

void client_event(struct sim *sim); /* EVENT_CLIENT */
/* Proposes at that node; nobody looks at the answer but the oracle. */
void client_propose(struct sim_node *node, struct bytes command);

void session_init(struct sim_session *session, unsigned number);
void session_release(struct sim_session *session);
/* Its turn, at that node. */
void session_run(struct sim *sim, struct sim_session *session, struct sim_node *node);
/* The answer to what it sent in that attempt: refused (index 0), or applied with rc. */
void session_answer(
	struct sim *sim, struct sim_session *session, uint64_t attempt, uint64_t index, int rc);
/* A read has shown its vault like this. */
void session_read(struct sim_session *session, const struct fixture_client *seen);

/* --- a person (tests/sim/person.c) --- */

struct sim_person *person_new(uint64_t seed);
void person_free(struct sim_person *person); /* NULL is fine. */
/* The turn of one of her clients, at that node: the command to be proposed, until the next turn;
 * empty: none. *ret_attempt goes with it. */
struct bytes person_run(
	struct sim *sim, unsigned client, struct sim_node *node, uint64_t *ret_attempt);
/* What became of it, as session_answer(). */
void person_answer(
	struct sim *sim, unsigned client, uint64_t attempt, const struct propose *answer, int rc);
/* After the calm: what clients were told is there. */
void person_end(struct sim *sim, const struct machine *machine);

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
