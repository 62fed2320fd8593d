/* What the parts of the replica share; nobody outside raft/replica*.c, propose.c, read_index.c,
 * catch_up.c and checkpoint.c includes it. Everything belongs to the core thread unless said. */
#ifndef KLUIS_RAFT_REPLICA_IMPL_H
#define KLUIS_RAFT_REPLICA_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "raft/admission.h"
#include "raft/command.h"
#include "raft/driver.h"
#include "raft/entry_log.h"
#include "raft/fsm.h"
#include "raft/file_message.h"
#include "raft/forwarded.h"
#include "raft/link.h"
#include "raft/manifest.h"
#include "raft/peer_pins.h"
#include "raft/propose.h"
#include "raft/read_index.h"
#include "raft/replica.h"
#include "raft/roles.h"
#include "raft/servers.h"
#include "raft/snapshot_record.h"

/* --- the apply thread --- */

enum apply_kind {
	APPLY_ENTRIES,
	APPLY_FLUSH,
	APPLY_WORK,
	APPLY_INSTALL,
	APPLY_REPLACE,
	APPLY_STOP
};

struct apply_job {
	struct mail mail;
	struct apply_job *next;
	struct replica *replica;
	enum apply_kind kind;
	/* Results, for the core. */
	struct fsm_results results; /* ENTRIES: of this job and of those merged into it. */
	struct position position;
	struct servers *servers; /* ENTRIES, INSTALL, REPLACE: if they are others now. */
	uint64_t index;		 /* FLUSH: safe to cut the log to. */
	int rc; /* ENTRIES, FLUSH: KLUIS_ECORRUPT, the store can be used no more. */
	struct replica_work *work;
	/* ENTRIES */
	size_t bytes;
	unsigned n;
	struct entry *entries[];
};

struct applier {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more, readers_gone;
	struct apply_job *head, **tail; /* Under lock. */
	bool started;
	/* Readers of the store; under lock. */
	bool swapping;
	unsigned readers;
	pthread_mutex_t watch_lock;
	struct replica_watch *watch; /* Under watch_lock; NULL: none. */
	/* The thread's own. */
	struct fsm *fsm;
	struct kv *kv; /* Changed under lock, by an install alone. */
	bool broken;   /* The store is damaged where the state machine needs it: nothing is applied
			* until there is another one. */
};

/* --- proposals --- */

enum propose_state { PROPOSE_NEW, PROPOSE_QUEUED, PROPOSE_SENT, PROPOSE_DOUBTFUL };

struct propose_list {
	struct propose *head, *tail;
	size_t n, bytes;
};

struct proposer {
	uint64_t boot, next_seq;
	struct propose_list queued; /* Not given to raft. */
	struct propose_list sent;   /* In order of seq. */
	struct forwarded_set forwarded;
	struct gathering gathering; /* Of this turn; too big for the stack. */
	uint64_t retry_ms;	    /* Refused: not before. */
	uint64_t submitted_ms;	    /* The last entry, as leader. */
	struct admission admission; /* Done: applied, of ours. */
};

/* --- reads --- */

struct read_batch {
	struct read_batch *next;
	uint64_t token;
	struct read_index *reads;
};

struct reader {
	struct read_index *pending, **pending_tail; /* For the next round. */
	uint64_t retry_ms;
	struct read_batch *batches; /* Under way. */
	unsigned n_batches, n_reads;
	uint64_t next_token;
	struct read_index *confirmed; /* The index is known, not applied yet. */
	struct applied_wait *waits;
	unsigned n_waits;
};

/* --- checkpoints given and taken --- */

struct checkpoint;
struct checkpoint_send;
struct catch_up;

/* --- the cluster's clock --- */

struct cluster_clock {
	uint64_t base_ms, base_monotonic_ms; /* Cluster time at a moment. */
	uint64_t last_jump_ms;		     /* Monotonic, of the last proposal to jump. */
};

/* --- peers that are not who they were --- */

struct replica_stranger {
	uint64_t id;
	enum replica_peer_trouble trouble;
};

struct replica {
	char *dir, *site;
	uint64_t node_id;
	uint8_t cluster_id[REPLICA_ID_BYTES];
	char *ca_path, *cert_path, *key_path;
	const struct clock *clock;
	struct random *random;
	unsigned floor_percent;
	uint64_t floor_bytes_setting;
	size_t store_cache_bytes, store_write_buffer_bytes;

	uv_loop_t loop;
	struct mailbox mailbox;
	uv_timer_t driver_timer, house_timer;
	uv_prepare_t turn;
	pthread_t thread;
	uint64_t armed_ms; /* What driver_timer is set for. */
	unsigned port;

	struct entry_log *log;
	struct driver *driver;
	struct links *links;
	struct pool *take_pool; /* One thread: what is fetched, in order; the disk's state. */
	struct pool *give_pool; /* One thread: hashing and reading of checkpoints. */
	struct applier applier;
	struct proposer proposer;
	struct reader reader;
	struct cluster_clock cluster_clock;
	struct checkpoint *checkpoint;		  /* Given to others; NULL: none. */
	struct checkpoint_send *checkpoint_sends; /* All peers', in order. */
	struct catch_up *catch_up;		  /* Being fetched; NULL: none. */
	uint64_t catch_up_ms;			  /* When one was last under way, or the start. */
	struct pool_work clear_work;
	bool clear_busy, cleared; /* What earlier ones left in catchup/. */

	struct peer_pins pins;
	bool begun; /* All founders have met, or it was let in: it takes part. Never again false. */
	struct servers servers; /* As applied. */
	struct roles roles;
	uint64_t members_proposed_ms; /* When a command about them was last proposed. */
	struct replica_stranger stranger[SITES_MAX];
	unsigned n_strangers;

	struct configuration members; /* As configured, until the log says more. */
	struct configuration peers;   /* Given to the links. */
	bool peers_set;
	struct position position; /* Of the store, as last heard from the apply thread. */
	_Atomic uint64_t applied;
	_Atomic uint64_t heard_ms; /* When what is applied was the newest state; 0: never. */
	uint64_t contact_ms;	   /* As of the driver, whatever is applied. */
	uint64_t in_touch_ms;	   /* Longer without contact: this node is cut off. */
	struct driver_contact contact_goal; /* To be applied; ms 0: none. */
	uint64_t term_seen;		    /* Of entries applied since the start. */
	bool led;			    /* At the end of the last turn. */

	/* Log truncation. */
	uint64_t flushed_index;	 /* Of the last flush that was recorded. */
	uint64_t bytes_to_flush; /* Applied since. */
	uint64_t flush_begun_ms;
	bool flushing;

	/* Hash reports. */
	uint64_t reported_index, report_seen;
	uint64_t report_common; /* The newest at which all nodes report; 0: none yet. */
	uint64_t report_changed_ms;

	/* Disk. */
	struct pool_work disk_work;
	bool disk_busy;
	uint64_t disk_checked_ms;
	uint64_t disk_free, disk_total; /* The pool thread's, while disk_busy. */
	uint64_t free_bytes, floor_bytes;
	_Atomic bool read_only;
	_Atomic bool
		quarantined; /* A majority disagrees with the store: clients are shown nothing. */

	/* A store that is worth nothing. */
	bool without_data; /* There is none: set at the start, cleared by what a peer gives. */
	bool broken;	   /* As the applier's, as last heard from it. */
	_Atomic uint64_t stores; /* That were opened. */
	_Atomic bool doubted;	 /* replica_doubt(); damage says why, under status_lock. */
	char damage[160];
	uint64_t doubt_reported_ms;
	bool doubt_told; /* Once, at an index at which all have reported. */
	uint64_t rebuild_due_ms, rebuild_wait_ms, rebuilt_ms; /* Next, its wait; 0: never yet. */
	uint64_t hash_asked_ms;
	uint64_t handed_over_ms;

	struct replica_transfer *transfers;

	/* Stopping. */
	pthread_mutex_t gate; /* Of `closing`: no request enters behind it. */
	bool closing;
	struct mail stop_mail;
	unsigned hand_over_ms;
	uint64_t stop_at_ms;
	bool stopping;
	unsigned closing_parts;

	pthread_mutex_t status_lock;
	struct replica_status status;

	pthread_mutex_t mark_lock; /* Held while it runs. */
	void (*mark_cb)(void *data, struct fsm *fsm, const struct fsm_mark *mark);
	void *mark_data;
};

uint64_t replica_now(const struct replica *r);
/* Any thread: hands mail to the core; false when it takes none any more. */
KLUIS_MUST_CHECK bool replica_enter(struct replica *r, struct mail *mail);

/* --- replica_boot.c --- */
/* Opens log, store and state machine in r->dir, ends an install that a crash cut short, checks that
 * they belong together. Before the threads run. */
KLUIS_MUST_CHECK int replica_boot(struct replica *r, struct err *e);
/* Gives the driver what stands in the log. */
KLUIS_MUST_CHECK int replica_boot_driver(struct replica *r, struct err *e);
char *replica_path(const struct replica *r, const char *name); /* dir/name; the caller frees. */
/* Where the store in directory db stands, without changing it. Blocking. */
KLUIS_MUST_CHECK int replica_stored_position(
	const char *db, struct position *ret_position, struct err *e);
KLUIS_MUST_CHECK int replica_open_store(struct replica *r, struct err *e);
KLUIS_MUST_CHECK int replica_boot_members(
	struct replica *r, const struct replica_config *config, struct err *e);

/* --- replica_meet.c --- */
/* The file `peers` of a new node whose log is this one. */
KLUIS_MUST_CHECK int replica_meet_create(const char *dir, const uint8_t log_id[LOG_ID_BYTES],
	uint64_t node_id, const struct configuration *members, struct err *e);
/* Whether r->dir has a log and pins at all. Before either is opened. */
KLUIS_MUST_CHECK int replica_meet_check(const struct replica *r, struct err *e);
/* Opens the pins; the log is open. */
KLUIS_MUST_CHECK int replica_meet_open(struct replica *r, struct err *e);
enum replica_peer_trouble replica_meet_trouble(struct replica *r, uint64_t peer);
int replica_meet_cb(void *data, uint64_t peer, const uint8_t incarnation[INCARNATION_BYTES],
	uint64_t starts, uint64_t boot);
int replica_agree_cb(void *data, uint64_t peer, const uint8_t incarnation[INCARNATION_BYTES]);
void replica_refused_cb(void *data, uint64_t peer, int rc);

/* --- replica_members.c --- */
/* The members' rows are these now. Ends the process of one that is none any more. */
void replica_members_set(struct replica *r, const struct servers *servers);
/* Whether the peer may be who it says, by the members' rows: KLUIS_ECONFLICT it is not,
 * KLUIS_EAGAIN its row is not here yet. */
KLUIS_MUST_CHECK int replica_members_judge(
	struct replica *r, uint64_t peer, const uint8_t incarnation[INCARNATION_BYTES]);
bool replica_removed_cb(void *data, uint64_t node);
void replica_members_tick(struct replica *r);
/* Made to join, and not let in yet: it takes what it is given and votes for nobody. */
bool replica_joining(const struct replica *r);

/* --- replica_io.c --- */
extern const struct driver_io replica_driver_io;
void replica_persisted(void *user, uint64_t seq); /* entry_log's persisted_cb. */

/* --- replica_apply.c --- */
void applier_init(struct applier *applier);
void applier_start(struct replica *r);
/* Ends the thread when all jobs are done. Blocking. */
void applier_stop(struct replica *r);
struct apply_job *apply_job_new(struct replica *r, enum apply_kind kind, unsigned n);
void applier_push(struct replica *r, struct apply_job *job);
/* Of each state machine over the store. */
void applier_marked_cb(void *data, struct fsm *fsm, const struct fsm_mark *mark);

/* --- replica_relay.c --- */
/* A peer passed this on. */
void replica_relayed(struct replica *r, struct bytes message);

/* --- propose.c --- */
void proposer_init(struct replica *r);
/* At the end of each turn of the loop: gives what is queued to raft. */
void proposer_turn(struct replica *r);
bool proposer_waits(const struct replica *r); /* Something that is not on its way yet. */
/* When a turn is due for that alone; UINT64_MAX: none is. */
uint64_t proposer_deadline_ms(const struct replica *r);
void proposer_tick(struct replica *r);
/* From the driver: a message of the propose family. */
void proposer_receive(struct replica *r, uint64_t peer, const struct message *message);
/* Entries were applied: ends our waiters; term: of the newest of them. */
void proposer_applied(struct replica *r, const struct fsm_results *results, uint64_t term);
/* The store was replaced: what was under way may be in it or not. */
void proposer_doubt(struct replica *r);
void proposer_stop(struct replica *r);
/* A command of the node itself: nobody waits for it, a refusal is no matter. Takes the bytes. */
void propose_own(struct replica *r, const struct command *command);

/* --- read_index.c --- */
void reader_init(struct replica *r);
void reader_turn(struct replica *r);
void reader_tick(struct replica *r);
void reader_ready(struct replica *r, uint64_t token, int rc, uint64_t index);
void reader_applied(struct replica *r);
void reader_stop(struct replica *r);

/* --- replica_clock.c --- */
void cluster_clock_lead(struct replica *r); /* This node became leader. */
uint64_t cluster_clock_now(struct replica *r);
void cluster_clock_applied(struct replica *r);
/* Leader: proposes a jump when a majority of wall clocks says so. */
void cluster_clock_tick(struct replica *r);

/* --- replica_house.c: what happens every HEARTBEAT_MS / 2 --- */
void replica_house(struct replica *r);
/* All nodes apply the same, and would flush it at the same moment: what each may gather before that
 * is a little less than the limit, by its number, so that they do it one after the other. */
uint64_t replica_staggered(const struct replica *r, uint64_t limit);
void replica_status_update(struct replica *r);
void replica_peers_update(struct replica *r);
void replica_flushed(struct replica *r, uint64_t index);
void replica_report(struct replica *r, const struct fsm_report *report);
void replica_transfers_end(struct replica *r, int rc);
uint64_t replica_floor(const struct replica *r, uint64_t total_bytes);

/* --- checkpoint.c: what others fetch from here --- */
int checkpoint_manifest(struct replica *r, uint64_t peer, uint64_t min_index);
void checkpoint_receive(struct replica *r, uint64_t peer, struct bytes message);
void checkpoint_room(struct replica *r, uint64_t peer);
void checkpoint_peer_down(struct replica *r, uint64_t peer);
void checkpoint_tick(struct replica *r);
void checkpoint_stop(struct replica *r);

/* --- catch_up.c: what this node fetches --- */
int catch_up_fetch(struct replica *r, uint64_t peer, const struct driver_snapshot *snapshot,
	struct bytes manifest);
void catch_up_receive(struct replica *r, uint64_t peer, struct bytes message);
void catch_up_peer_down(struct replica *r, uint64_t peer);
void catch_up_tick(struct replica *r);
int catch_up_install(struct replica *r, uint64_t seq, const struct driver_snapshot *snapshot);
void catch_up_swapped(struct replica *r);
/* The log's reset of an install is durable. */
void catch_up_persisted(struct replica *r, uint64_t seq);
void catch_up_stop(struct replica *r);
void catch_up_progress(const struct replica *r, uint64_t *ret_bytes, uint64_t *ret_total);
/* Apply thread: the point of no return, then closes the store, puts the fetched one in its place
 * and opens it. */
KLUIS_MUST_CHECK int catch_up_swap(struct replica *r, struct err *e);
/* Puts from_dir/db (from_dir in r->dir) in the place of db; nothing to do when it is there already.
 * Durable. */
KLUIS_MUST_CHECK int catch_up_move_store(
	const struct replica *r, const char *from_dir, struct err *e);
/* Store and log are in place and durable: removes install/, before the log goes on. Blocking. */
KLUIS_MUST_CHECK int catch_up_end_install(const struct replica *r, struct err *e);

#define REBUILD_MARKER	    "rebuild" /* A file in the directory: the store is given up. */
#define REBUILD_MARKER_TEXT "KRB1"

/* --- rebuild.c: a store that is worth nothing is replaced by a peer's, the log stays --- */
/* Ends a replacement that a crash cut short; removes a store that is to be rebuilt and sets
 * r->without_data. Before the store is opened, behind the end of an install. */
KLUIS_MUST_CHECK int rebuild_boot(struct replica *r, struct err *e);
int rebuild_replace(struct replica *r, const struct driver_snapshot *snapshot); /* io.replace */
/* Apply thread: as catch_up_swap(). */
KLUIS_MUST_CHECK int rebuild_swap(struct replica *r, struct err *e);
void rebuild_swapped(struct replica *r);
/* The store is another one, by an install or a replacement. */
void rebuild_done(struct replica *r);
/* A fetch was given up. */
void rebuild_failed(struct replica *r, int rc);
/* What the store says of itself now. */
void rebuild_judged(struct replica *r, bool quarantined);
/* The applier cannot go on with the store. */
void rebuild_broke(struct replica *r);
void rebuild_tick(struct replica *r);
/* Durable: no rebuild is asked for. */
KLUIS_MUST_CHECK int rebuild_forget(const struct replica *r, struct err *e);

#endif
