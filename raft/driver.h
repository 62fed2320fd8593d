/* The consensus of one node without any I/O of its own: events in by functions, effects out through
 * struct driver_io. Runs libraft's raft_step() with the guards that version needs, in the order
 * that docs/architecture.md gives: a synced vote before any message, entries queued without
 * waiting, messages, completions, apply, timer. The same driver runs in raft/replica and in
 * tests/sim.
 *
 * Thread and re-entrance: all functions on one thread (the core loop). A driver_io function is
 * called only from inside a driver function and must not call the driver: what it wants to tell, it
 * tells later (a completion never comes before the call that asked for it returned).
 *
 * Fatal errors: when an io function returns < 0, when a completion brings rc < 0 where that is said
 * below, or when raft_step() fails, the driver calls io->fatal() once, sends nothing any more and
 * ignores all later events; the owner ends the process. A failed write or fsync is never retried.
 *
 * Time: milliseconds of io->now_ms(), monotonic. After each call ask driver_deadline_ms() and arm
 * one timer for it that calls driver_tick(). */
#ifndef KLUIS_RAFT_DRIVER_H
#define KLUIS_RAFT_DRIVER_H

#include "base/err.h"
#include "raft/configuration.h"
#include "raft/entry.h"
#include "raft/message.h"

struct driver;

/* What the state machine's data stands for at an index. */
struct driver_snapshot {
	uint64_t index, term; /* Last entry covered; 0, 0: none. */
	uint64_t configuration_index;
	struct configuration configuration; /* The one committed last at or before index. */
};

struct driver_io {
	uint64_t (*now_ms)(void *ctx);

	/* --- network: best effort, loss is allowed, order per connection must hold --- */

	/* One message to peer: header (valid during the call) followed by the data of entries[0 ..
	 * n-1] (take a reference on those you queue). May drop; KLUIS_E* when it is known to have
	 * done so. */
	int (*send)(void *ctx, uint64_t peer, struct bytes header, struct entry *const *entries,
		unsigned n);
	/* A MESSAGE_PROPOSE or MESSAGE_PROPOSE_RESULT came from peer; valid during the call. This
	 * one is called with the driver at rest: it may call driver_send(). */
	void (*proposed)(void *ctx, uint64_t peer, const struct message *message);

	/* --- disk --- */

	/* {term, vote} is durable when this returns 0. Rare: blocks. < 0 is fatal. */
	int (*store_vote)(void *ctx, uint64_t term, uint64_t vote);
	/* Queues: cut the log so that it ends before entries[0]->index, then append the n entries.
	 * FIFO with `install`. seq rises by one for each call of append or install; later call
	 * driver_persisted(seq) (one call may cover several). Take references. < 0 is fatal. */
	int (*append)(void *ctx, uint64_t seq, struct entry *const *entries, unsigned n);
	/* Reads entries first .. at most first+n-1 (at least one if it exists, else no more than
	 * LOG_READ_BYTES_MAX) from the log: calls driver_read_done(token, ...) later. */
	int (*read)(void *ctx, uint64_t token, uint64_t first, unsigned n);
	/* The log may forget entries up to `discard` (0: none) once `snapshot` is on disk: record
	 * it first, atomically, behind earlier writes. A crash before that keeps the old record and
	 * the longer log. No completion. < 0 is fatal. */
	int (*snapshot_record)(void *ctx, const struct driver_snapshot *snapshot, uint64_t discard);

	/* --- state machine --- */

	/* Apply these committed entries (all types, consecutive, take references), in order, behind
	 * what was given before; call driver_applied() later. Never more than APPLY_ENTRIES_MAX and
	 * APPLY_BYTES_MAX (or one entry) unfinished. < 0 is fatal. */
	int (*apply)(void *ctx, struct entry *const *entries, unsigned n);
	/* Leader: peer needs a snapshot with index >= min_index. Make or reuse one, pin it and
	 * later call driver_manifest(), or never (the driver asks again). Not called twice for a
	 * peer without driver_manifest() between, but after SNAPSHOT_RESEND_MS. < 0 is fatal. */
	int (*manifest)(void *ctx, uint64_t peer, uint64_t min_index);
	/* Follower: get all that manifest names from peer, durably, beside the live data; later
	 * call driver_fetched(). A new call replaces an unfinished one. snapshot and manifest are
	 * valid during the call. < 0 is fatal. */
	int (*fetch)(void *ctx, uint64_t peer, const struct driver_snapshot *snapshot,
		struct bytes manifest);
	/* Queues behind all earlier append and apply calls: put the fetched data in place of the
	 * live, and make {snapshot, an empty log that begins at snapshot->index + 1} durable, as
	 * one step that a crash leaves done or undone; then call driver_installed(). seq as in
	 * append. < 0 is fatal. */
	int (*install)(void *ctx, uint64_t seq, const struct driver_snapshot *snapshot);
	/* Rebuilding: queues behind all earlier apply calls: put the fetched data in place of the
	 * live, as one step that a crash leaves done or undone, and leave the log as it is; then
	 * call driver_replaced(). < 0 is fatal. */
	int (*replace)(void *ctx, const struct driver_snapshot *snapshot);

	/* --- reads --- */

	/* driver_read_index(token) ended: rc 0 and an index from which this node may serve it once
	 * it has applied that far, or KLUIS_ENOTLEADER, KLUIS_ENOQUORUM, KLUIS_ETIMEOUT: try again.
	 */
	void (*read_ready)(void *ctx, uint64_t token, int rc, uint64_t index);

	/* Once; see above. */
	void (*fatal)(void *ctx, const struct err *e);
};

/* What libraft 0.22.1 lacks, and what a driver of it must not do. X(symbol, name). A test build can
 * switch each off to show that a test notices. */
#define DRIVER_GUARDS(X)                                                                         \
	X(GUARD_STALE_SNAPSHOT, "stale-snapshot") /* Drop an older term's snapshot offer. */     \
	X(GUARD_STALE_APPEND, "stale-append")	  /* Answer an older term's append: rejected. */ \
	X(GUARD_REJECTION, "rejection")		  /* Drop rejections at or below the match. */   \
	X(GUARD_FIFO, "fifo")			  /* Drop what an older connection brings. */    \
	X(GUARD_VOTE_RESULT, "vote-result")	  /* Drop vote results unless candidate. */      \
	X(GUARD_SPLIT, "split")			  /* A configuration comes first in its step. */ \
	X(GUARD_CHAIN, "chain")			  /* A second configuration commits the first.*/ \
	X(GUARD_BARRIER, "barrier")		  /* Own-term entry at every election. */        \
	X(GUARD_CHANGE_TERM, "change-term")	  /* No change before that is committed. */      \
	X(GUARD_CHANGE_ONE, "change-one")	  /* One member per change. */                   \
	X(GUARD_CHANGE_ONLINE, "change-online")	  /* Majorities online and caught up. */         \
	X(GUARD_CHANGE_VOTERS, "change-voters")	  /* Never below VOTERS_MIN. */                  \
	X(GUARD_STANDBY_VOTES, "standby-votes")	  /* One that stands by grants votes, too. */    \
	X(GUARD_SILENT_LEADER, "silent-leader")	  /* A leader long silent holds up no vote. */   \
	X(GUARD_READ_TERM, "read-term")		  /* No read-index before that is committed. */  \
	X(GUARD_TIMER, "timer")			  /* Never due in less than TIMER_MS_MIN. */     \
	X(GUARD_CAPACITY, "capacity")		  /* libraft's capacity threshold stays 0. */    \
	X(GUARD_PREFETCH, "prefetch")		  /* Fetch before the core sees the offer. */    \
	X(GUARD_REOFFER, "reoffer")	/* The offer being fetched is not begun again. */        \
	X(GUARD_INSTALLED, "installed") /* Go on behind an older offer installed. */             \
	X(GUARD_COVERED, "covered")	/* Take an append from before our log. */                \
	X(GUARD_PROPOSAL_BYTES, "proposal-bytes") /* Bound what is in flight. */                 \
	X(GUARD_SNAPSHOT, "snapshot")		  /* None over an open configuration. */         \
	X(GUARD_TRUNCATED, "truncated")		  /* Count no write that a queued cut covers. */ \
	X(GUARD_APPLY_STORED, "apply-stored")	  /* Apply only what our own disk has. */        \
	X(GUARD_VALIDATE, "validate")		  /* Only checked messages reach the core. */

enum driver_guard {
#define X(sym, name) sym,
	DRIVER_GUARDS(X)
#undef X
		DRIVER_GUARD_MAX
};
const char *driver_guard_name(enum driver_guard guard);

struct driver_options {
	uint64_t id;
	unsigned election_timeout_ms; /* ELECTION_TIMEOUT_MS; drawn between 1 and 2 times this. */
	unsigned heartbeat_ms;	      /* HEARTBEAT_MS */
	unsigned trailing_entries;    /* SNAPSHOT_TRAILING_ENTRIES */
	unsigned inflight_entries;    /* INFLIGHT_ENTRIES_MAX */
	size_t cache_bytes;	      /* LOG_CACHE_BYTES_MAX */
	uint32_t seed;		      /* For election timeouts. */
#ifdef KLUIS_TEST_BUILD
	uint32_t guards_off; /* BIT(enum driver_guard) */
#endif
};
struct driver_options driver_options_default(uint64_t id, uint32_t seed);

/* What the driver needs to know of a log entry at start. */
struct driver_log_entry {
	uint64_t term;
	uint8_t type;	     /* enum entry_type */
	struct entry *entry; /* Configurations: the entry, borrowed; others: NULL. */
};

struct driver_start {
	uint64_t term, vote;			/* As stored; 0, 0 on an empty disk. */
	const struct driver_snapshot *snapshot; /* As recorded; NULL: none. */
	uint64_t first_index; /* Of the log; at most snapshot->index + 1; 1 without a snapshot. */
	size_t n;
	const struct driver_log_entry *entries; /* Borrowed during the call. */
	uint64_t applied; /* The state machine has these; >= snapshot->index. */
	/* The state machine's data is lost or worth nothing: as driver_rebuild(), at once. Then
	 * applied is snapshot->index (0 without one), whatever the data stands at. */
	bool rebuild;
};

/* The first entry of a new cluster's log (index 1, term 1): append it to the empty log and store
 * term 1, vote 0 on every member before its first start. One reference, the caller's. */
struct entry *driver_bootstrap(const struct configuration *configuration);

/* Both io and options are copied, ctx is passed to every io function. Never NULL. */
struct driver *driver_new(
	const struct driver_options *options, const struct driver_io *io, void *ctx);
/* Refuses what a disk cannot have held after our own writes: KLUIS_ECORRUPT. Call once. */
KLUIS_MUST_CHECK int driver_start(
	struct driver *driver, const struct driver_start *start, struct err *e);
/* Reads that wait are not answered. NULL is allowed. */
void driver_free(struct driver *driver);

/* --- events --- */

/* The timer went off (early or late does not matter). */
void driver_tick(struct driver *driver);
uint64_t driver_deadline_ms(const struct driver *driver);

/* One message (without the link's frame) came from peer, whose identity the link has proved.
 * connection rises with every new connection of that peer, from 1: what an older one still brings
 * is dropped, so that a peer's messages are never taken out of order. Malformed bytes are dropped
 * and counted; KLUIS_EPROTO says so: the link may close. */
int driver_receive(struct driver *driver, uint64_t peer, uint64_t connection, struct bytes message);
/* A connection to peer is there: a checkpoint that nobody could be asked for, or that it could not
 * be given, is asked for and given at once. Optional: all is repeated. */
void driver_connected(struct driver *driver, uint64_t peer);
/* Connection to peer is gone: what is held for it is forgotten. Optional. */
void driver_disconnected(struct driver *driver, uint64_t peer);

/* All appends and installs up to seq are durable. rc < 0 is fatal. (For an install call
 * driver_installed() too.) */
void driver_persisted(struct driver *driver, uint64_t seq, int rc);
/* n consecutive entries from the log (one reference each, taken), n = 0: they are gone or rc < 0
 * (KLUIS_EIO, KLUIS_ECORRUPT are fatal; KLUIS_ENOTFOUND: discarded meanwhile). */
void driver_read_done(
	struct driver *driver, uint64_t token, int rc, struct entry **entries, unsigned n);
/* The state machine has everything up to index. rc < 0 is fatal. */
void driver_applied(struct driver *driver, uint64_t index, int rc);
/* Answers io->manifest(). The snapshot's index is at most the applied index. rc < 0: none could be
 * made; asked again later. */
void driver_manifest(struct driver *driver, uint64_t peer, int rc,
	const struct driver_snapshot *snapshot, struct bytes manifest);
/* Answers the last io->fetch(). rc < 0: the fetch was given up; a later offer begins a new one. */
void driver_fetched(struct driver *driver, int rc);
/* Answers io->install(). rc < 0 is fatal. */
void driver_installed(struct driver *driver, int rc);
/* Answers io->replace(). rc < 0 is fatal. */
void driver_replaced(struct driver *driver, int rc);

/* The state machine's data up to index is durable by itself (flushed), so the log before it is
 * needed only for peers: records a snapshot at index and lets the log forget what is behind it by
 * more than trailing_entries and not pinned. KLUIS_EAGAIN: not now (a configuration is open or
 * newer than index, one is being installed, or index is not above the last): try with a later
 * index. */
KLUIS_MUST_CHECK int driver_snapshot_taken(struct driver *driver, uint64_t index);
/* How many entries behind a snapshot the log keeps from now on (options.trailing_entries): the
 * owner knows how many bytes they are. */
void driver_set_trailing(struct driver *driver, unsigned entries);
/* Fills in what belongs to a snapshot of the state machine at index, members included: for a
 * checkpoint's manifest. KLUIS_EAGAIN: not now (index is not applied yet, or before the last
 * recorded snapshot or the last applied configuration; one is being installed): try with a later
 * index. */
KLUIS_MUST_CHECK int driver_snapshot_at(
	const struct driver *driver, uint64_t index, struct driver_snapshot *ret_snapshot);

/* --- requests --- */

/* Whether more waits to be submitted: the entries will tell the peers what is committed, so that a
 * message for that alone goes less often. */
void driver_expect_more(struct driver *driver, bool more);
/* Leader: one ENTRY_COMMAND into the log. entry is taken (freed on refusal); its index and term are
 * filled in here. KLUIS_ENOTLEADER; KLUIS_EAGAIN: no entry of this term is committed yet, or
 * leadership is being handed over; KLUIS_EBUSY: too much in flight. 0 says it is in our log, not
 * that it is committed: it is the client's own when it is applied with this term at *ret_index. */
KLUIS_MUST_CHECK int driver_submit(struct driver *driver, struct entry *entry, uint64_t *ret_index);
/* An index from which a read that starts now may be served. Leader: asks a quorum "is your term
 * mine and am I your leader", one round for all that wait; else: asks the leader to do so. The
 * answer comes by io->read_ready(token). KLUIS_ENOQUORUM: no leader is known; KLUIS_EBUSY: too many
 * wait. (Raft thesis 6.4.) */
KLUIS_MUST_CHECK int driver_read_index(struct driver *driver, uint64_t token);
/* Leader: hand leadership to peer, 0: whichever voter is furthest. KLUIS_ENOTLEADER, KLUIS_EINVAL
 * (not another voter), KLUIS_EBUSY (one is under way). 0: begun; it ends with another leader, or
 * after the election timeout with driver_status().transferee 0. */
KLUIS_MUST_CHECK int driver_transfer(struct driver *driver, uint64_t peer);
/* Sends a message of the propose family (other types assert). Best effort, but after a KLUIS_E* not
 * a byte of it was sent. */
KLUIS_MUST_CHECK int driver_send(
	struct driver *driver, uint64_t peer, const struct message *message);

/* The state machine's data is worth nothing: nothing is applied any more; the members are asked for
 * a snapshot no older than what was, which is fetched and put in its place. Log, term and vote
 * stay, and with them every promise of this node, which votes and acknowledges as before. Ends with
 * status.rebuilding false. */
void driver_rebuild(struct driver *driver);
/* Goes on with the data that is there; what was asked for meanwhile is forgotten. KLUIS_EBUSY: it
 * is being replaced. Not after a start with `rebuild`: there is none. */
KLUIS_MUST_CHECK int driver_rebuild_stop(struct driver *driver);

/* Leader: replace the configuration. Refused with a sentence in e unless: an entry of this term is
 * committed, none is open, next differs by one member (added as standby, promoted, demoted, or
 * removed as standby; never the leader itself), VOTERS_MIN stay, and
 * a majority of the old and of the new voters and the member being promoted are online and caught
 * up. KLUIS_ENOTLEADER, KLUIS_EAGAIN (later), KLUIS_EINVAL (never). 0: in our log. */
KLUIS_MUST_CHECK int driver_change(
	struct driver *driver, const struct configuration *next, struct err *e);

/* Leader: the member answered within the last election timeout and has nearly all of the log, the
 * configuration at least. */
bool driver_member_current(const struct driver *driver, uint64_t id);

/* --- state --- */

enum driver_role { DRIVER_FOLLOWER, DRIVER_CANDIDATE, DRIVER_LEADER };

struct driver_status {
	enum driver_role role;
	uint64_t term, vote, leader;   /* leader: 0 when none is known. */
	bool ready;		       /* Leader with an entry of its term committed. */
	uint64_t commit, last, stored; /* Indexes: committed, last in memory, last on disk. */
	uint64_t applied, first;       /* first: of the log. */
	uint64_t snapshot;	       /* Index of the last recorded or installed one. */
	uint64_t transferee;
	bool installing, fetching, rebuilding;
	bool fetched;					  /* What was fetched is still wanted. */
	uint64_t configuration_index, configuration_open; /* Committed; uncommitted or 0. */
	size_t inflight_bytes;				  /* Proposed here and not yet committed. */
};
struct driver_status driver_status(const struct driver *driver);
unsigned driver_election_timeout_ms(const struct driver *driver);
uint64_t driver_leader(const struct driver *driver); /* 0 when none is known. */
/* When this node last knew that `commit` was all that the cluster had committed: from its leader,
 * or as leader from a quorum's answers. What is applied up to `commit` was the newest state at
 * `ms`, however long the messages that say so were under way: some heartbeats ago at best, for it
 * is when this node last sent what was answered. Both 0: never yet. Never goes back. */
struct driver_contact {
	uint64_t ms, commit;
};
struct driver_contact driver_contact(struct driver *driver);
/* The newest one, committed or not; n is 0 on a node that has not joined. */
void driver_configuration(const struct driver *driver, struct configuration *ret_configuration);

struct driver_peer_status {
	uint64_t match;	   /* Known to be on its disk; leader only, else 0. */
	uint64_t heard_ms; /* Since it last answered us as leader; UINT64_MAX: never. */
	unsigned held;	   /* Messages that wait for a log read. */
	bool snapshot;	   /* Is being given one. */
};
struct driver_peer_status driver_peer_status(const struct driver *driver, uint64_t peer);

/* How often, since start. */
struct driver_counters {
	uint64_t steps, elections, received, malformed, dropped_stale, dropped_rejections,
		dropped_old_connection, dropped_votes, splits, truncations, installs, timer_clamps,
		log_reads, held, read_rounds, refused_changes, commits_told, replaces;
};
const struct driver_counters *driver_counters(const struct driver *driver);

#endif
