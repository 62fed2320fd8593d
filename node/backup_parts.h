/* What node/backup_*.c share: the job's parts. For them alone. */
#ifndef KLUIS_NODE_BACKUP_PARTS_H
#define KLUIS_NODE_BACKUP_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "backup/deletions.h"
#include "backup/journal.h"
#include "backup/pace.h"
#include "backup/receive.h"
#include "backup/rehash.h"
#include "backup/schedule.h"
#include "backup/ship.h"
#include "backup/snapshot.h"
#include "base/op.h"
#include "node/backup_job.h"
#include "node/backup_summary.h"
#include "raft/command.h"
#include "raft/fsm.h"
#include "raft/propose.h"
#include "storage/root_walk.h"
#include "storage/snapshot_store.h"

/* Opening drops and repository. */
struct backup_opening {
	struct pool_work work;
	bool busy;
	uint64_t next_ms;
	struct repository *repository; /* The work's. */
	struct rehash_state rehash;    /* The same. */
	struct err err;
	/* Written by the loop's thread under the job's lock. */
	bool done;
	char trouble[256]; /* What the last try met; "": nothing. */
};

/* Taking one snapshot. */
struct backup_take {
	struct op op;
	bool busy, retry, marks;    /* marks: S is a mark in the log. */
	uint64_t given_up;	    /* Id of a record that this process cannot take. */
	atomic_bool stop;	    /* The job is being closed, or this snapshot is given up. */
	atomic_uint_fast64_t moved; /* Rows taken and steps made. */
	struct schedule_pulse pulse;
	struct propose fail; /* That of one that hangs. */
	bool failing;
	struct snapshot_row row;
	uint64_t index;		   /* S, once the checkpoint is made; else 0. */
	uint64_t checkpoint_index; /* The same, as the apply thread sets it. */
	/* Under the job's lock: of which snapshot the mark is waited for, and what its checkpoint
	 * came to. */
	uint64_t marking;
	int checkpoint_rc;
	struct err checkpoint_err;
	uint8_t base_hash[HASH_BYTES];
	struct replica_work checkpoint;
	/* Its objects so far, for those who ship them already; NULL when none is being written. */
	struct ship_queue *objects;
	struct backup_manifest manifest;
	uint8_t hash[HASH_BYTES];
	struct propose propose;
	struct err err;
};

/* Claiming, and keeping what was claimed. */
struct backup_claim {
	struct propose claim, renew;
	bool claiming, renewing;
	uint64_t slot, from_ms;	     /* Of the claim that is due, cluster time ... */
	uint64_t seen_ms;	     /* ... since when this node has seen that, ... */
	uint64_t not_before_ms;	     /* ... and when it tries again: as backup_job_now() counts. */
	struct schedule_pulse pulse; /* Of what is shipped. */
	uint64_t let_go;	     /* Id of the record whose claim was kept no longer. */
};

/* The state root of snapshots that others take. */
struct backup_root {
	struct pool *pool; /* One thread, its own. */
	struct pool_work work;
	bool busy;
	atomic_bool stop; /* A newer mark, or the end. */
	/* Under the job's lock: the newest mark, and the store as of it until the work begins. */
	struct fsm_mark marked;
	struct kv_view *view;
	uint64_t seen, store; /* The newest mark, this node's too: S, and of which store. */
	/* Of the work. */
	struct fsm_mark at;
	struct kv_view *walked;
	struct root_found found;
	struct err err;
	/* What the log does not know yet. */
	bool set, telling;
	struct propose propose;
	uint64_t doubted; /* S at which a majority had another root than this node. */
};

/* What is told of one does not hide the other: there may be room for minutes and none for a cycle.
 */
enum backup_ship_kind { BACKUP_SHIP_CYCLE, BACKUP_SHIP_JOURNAL, BACKUP_SHIP_KINDS };

/* Shipping to one site. */
struct backup_shipment {
	struct backup_job *job;
	const struct config_site *site;
	struct sftp_target target;
	struct pool_work work;
	bool busy;
	enum backup_ship_kind kind;  /* Of what is under way. */
	atomic_uint_fast64_t moved;  /* Grows with all that is sent of snapshots. */
	struct schedule_pulse pulse; /* Of that and journal.moved, while busy. */
	bool hangs;		     /* Busy, and nothing moves. */
	uint64_t delivered;	     /* The newest record that was brought there whole. */
	uint64_t id;		     /* Of the record shipped last. */
	uint64_t passed_over;	  /* Records up to this id cannot be shipped from here any more. */
	uint64_t done;		  /* ... up to this one have had their try. */
	uint64_t next_ms;	  /* Not again before. */
	struct ship_queue *ahead; /* What is being shipped is not whole yet. */
	uint64_t ahead_id;	  /* Of the record that was last tried so. */
	uint8_t hash[HASH_BYTES];
	bool unseen;	   /* Whether it shows the pinned key is not known, or it does not. */
	uint64_t greet_ms; /* Not asked again before. */
	struct ship_report report;
	struct err err;
	struct api_shipment last[BACKUP_SHIP_KINDS]; /* Under the job's lock. */
	struct {
		uint8_t hash[HASH_BYTES]; /* Of the newest journal increment shipped there. */
		uint64_t base_id;
		uint32_t from, number; /* What is under way: those above from, up to number. */
		uint32_t delivered;
		bool failed;
		uint64_t next_ms; /* Not again before. */
		atomic_uint_fast64_t moved;
	} journal;
};

/* Journal increments. */
struct backup_journal {
	struct journal_row row;			/* As the log has it now. */
	uint8_t seen[JOURNAL_SEEN][HASH_BYTES]; /* What it had named, newest first. */
	size_t n_seen;
	struct pool_work work; /* Taking one. */
	bool busy;
	struct snapshot_row base;
	struct snapshot_plan plan;
	struct backup_manifest manifest;
	uint8_t hash[HASH_BYTES];
	struct err err;
	struct propose record, confirm;
	bool recording, confirming;
	uint64_t not_before_ms;	  /* As backup_job_now() counts. */
	uint64_t due_ms, seen_ms; /* Cluster time of the one that is due; since when it is. */
	uint64_t unchanged_at;	  /* Applied index up to which nothing has changed. */
};

/* The deletion journal. */
struct backup_deletions {
	struct pool_work work;
	bool busy, more;		  /* More: the ledgers have more than the batch. */
	uint64_t next_ms, mark_ms;	  /* Next look; next mark without a deletion. */
	struct deletion_journal *journal; /* NULL until the first work has opened it. */
	struct deletion items[(DELETION_KINDS - 1) * BACKUP_DELETIONS_STEP];
	struct deletion_batch batch;
	uint8_t lineage[ID_BYTES];
	struct err err;
	uint64_t written;   /* Records, by the work. */
	uint64_t looked_ms; /* When the batch was read. */
	/* Under the job's lock: what the last write met, "" when it succeeded; up to when the
	 * journal has everything. */
	char trouble[256];
	uint64_t whole_ms;
};

/* What a check of a snapshot here found and the log does not know yet. */
struct backup_found {
	bool set, ok;
	uint8_t manifest_hash[HASH_BYTES];
	char text[CHECK_TEXT_BYTES_MAX + 1];
};

/* What is told of backups. */
struct backup_watch {
	struct backup_summary summary; /* Under the job's lock, as known and found. */
	bool known;
	struct backup_found found[CHECK_LEVEL_DRILL]; /* By level. */
	struct backup_found told;		      /* The one being proposed, and its level. */
	unsigned level;
	struct propose propose;
	bool checking;
	uint64_t clean_ms; /* Cluster time when nothing was outside of the recovery point. */
};

/* What says that a manifest came. */
struct backup_arrivals {
	int fd; /* -1: none. */
	uv_poll_t poll;
};

/* Taking in what one site shipped here. */
struct backup_intake {
	struct backup_job *job;
	const struct config_site *site;
	char *drop;
	struct pool_work work;
	bool busy;
	uint64_t next_ms, took_ms, told_ms;
	uint64_t expect_ms;	      /* When to look again if something is to come. */
	uint64_t hurry_ms;	      /* Until when it has just come. */
	uint64_t began_ms, looked_ms; /* Of the last look, and its end. */
	uint64_t early_ms;	      /* Of the last look's report. */
	int watch;		      /* Of arrivals. */
	unsigned untold;	      /* Files removed that the log does not tell of yet. */
	struct receive_config as;
	struct receive_report report;
	struct err err;
	struct api_drop last; /* Under the job's lock. */
};

/* Reading the whole repository again. */
struct backup_rehash {
	struct backup_job *job;
	struct rehash_config config;
	struct pool_work work;
	bool busy;
	uint64_t next_ms;
	struct rehash_state state; /* As of the last step; written under the job's lock. */
	struct rehash_state next;  /* The step's that runs. */
	struct receive_config as;  /* With the log's records. */
	int rc;			   /* Of the last step; under the job's lock. */
	/* A check found it damaged: it is read with the next step, at once; under the job's lock.
	 */
	bool suspicious;
	uint8_t suspect[HASH_BYTES], reading[HASH_BYTES]; /* The latter is the step's. */
	struct err err;
};

/* A drill of this site's own, a process. */
struct backup_drill {
	uint64_t next_ms;	   /* As backup_job_now() counts. */
	uint8_t hash[HASH_BYTES];  /* Of the snapshot that the log is told of, ... */
	uint8_t point[HASH_BYTES]; /* ... and of what is restored: it, or a journal increment on it.
				    */
	uint64_t minute;	   /* S of the latter; 0: it is none. */
	bool overtaken;		   /* The last one was, before it had its minute. */
	uv_process_t process;
	uv_pipe_t out; /* Its standard error. */
	bool running, exited, read_all;
	unsigned open_handles;
	int64_t status;
	int signal;
	char chunk[512], text[CHECK_TEXT_BYTES_MAX + 1];
	size_t text_len;
	bool line_ended;
	/* Under the job's lock. Why the last one could not be made, which says nothing of the
	 * snapshot: until one is it is tried again each hour, whosever turn it is; that the key it
	 * has is not the one that is sealed to. "": nothing. */
	char trouble[256], key_trouble[256];
};

struct backup_job {
	const struct config *config;
	const struct node_identity *identity;
	struct replica *replica;
	struct pool *pool;
	struct mailbox *home;
	struct op_queue queue;
	uv_timer_t timer;
	uv_async_t claimed;
	struct backup_opening opening;
	struct repository *repository; /* Once that is done. */
	struct backup_trust trust;
	struct key *signer;
	struct key_pub *pub; /* Under lock: it can be another one after a reload. */
	char *checkpoint_dir;
	struct receive_config
		receiver; /* But for the records, and the repository until it is open. */
	atomic_bool cancel;
	uint64_t began_ms; /* As backup_job_now() counts. */

	struct backup_take take;
	struct backup_deletions deletions;
	struct backup_claim claim;
	struct backup_journal journal;
	struct pace *pace; /* Of snapshots, beside clients. */
	struct backup_shipment shipment[SITES_MAX];
	pthread_mutex_t lock;
	size_t n_shipments;
	struct backup_arrivals arrivals;
	struct backup_intake intake[SITES_MAX];
	size_t n_intakes;
	struct backup_rehash rehash;
	struct pool_work prune;
	bool pruning, confirming, closing;
	uint64_t prune_ms;		  /* Next time. */
	size_t n_disowned;		  /* Records, when that last began. */
	struct receive_config pruning_as; /* receiver, with the log's records. */
	struct err prune_err;
	unsigned pruned;
	/* Under the lock: what the last one met, "" when it succeeded, and when one did. */
	char prune_trouble[256];
	uint64_t pruned_ms;
	struct propose confirm;
	struct backup_watch watch;
	struct backup_drill drill;
	struct backup_root root;
	unsigned open_handles;
	void (*closed_cb)(void *data);
	void *closed_data;
};

uint64_t backup_job_now(void); /* Monotonic ms. */
/* One of the pauses of backup_job.h as this job makes it. */
uint64_t backup_job_pause(const struct backup_job *job, uint64_t ms);
void backup_job_propose(struct backup_job *job, struct propose *req, const struct command *command,
	void (*cb)(struct propose *req, int rc));
/* For a piece of work of its own: the receiver with the records as the log has them now. */
struct receive_config backup_job_receiver(
	const struct backup_job *job, const struct snapshot_row *rows, size_t n);
void backup_job_receiver_done(struct receive_config *config);
/* How long anything that a taker does may move nothing. */
uint64_t backup_stall_ms(const struct backup_job *job);
/* What an attempt to ship has come to, whether we were let in, and why; that nothing of the kind is
 * owed to the site; when the next attempt may be made. That a host key has changed stands until the
 * pinned one is shown: to whoever is let in, or to whose key is refused. */
void backup_ship_tell(struct backup_shipment *s, enum backup_ship_kind kind, int rc, bool let_in,
	const char *text);
void backup_ship_settled(struct backup_shipment *s, enum backup_ship_kind kind);
uint64_t backup_ship_pause_ms(int rc);
/* Nothing is owed to the site: signs in there, if it is not known to show the pinned key. */
void backup_ship_greet(struct backup_shipment *s);
/* Whether this site holds the whole snapshot of S: its own receipt says so, the manifest is there,
 * and no damage is known. */
bool backup_job_holds(
	struct backup_job *job, uint64_t index, const uint8_t manifest_hash[HASH_BYTES]);
/* After anything of the job has ended: closes it when that was wanted and nothing runs any more. */
void backup_job_ended(struct backup_job *job);

/* Opens what the other parts need of the disk, on the pool, and tries again until it is there: none
 * of the looks below is made before. */
void backup_open_look(struct backup_job *job);
/* Whether it is not open, and why; "": it is being opened. Any thread. */
bool backup_open_trouble(struct backup_job *job, char ret_text[256]);

/* Begins to take a record that this node claimed and has not finished, in this process or an
 * earlier one; or lets the one under way propose its result again. */
void backup_take_look(struct backup_job *job, const struct kv_view *view,
	const struct snapshot_row *rows, size_t n);
/* Journals what the store's ledgers have beyond the journal. */
void backup_deletions_look(struct backup_job *job, const struct kv_view *view);
/* For how long the ledgers may have had what the journal has not; late: an operator should know.
 * Under the job's lock. */
uint64_t backup_deletions_lag_ms(const struct backup_job *job, bool *ret_late);
/* Claims the cycle that is due when it is this node's turn; renews the claim of the one that this
 * node takes or ships. */
void backup_claim_look(struct backup_job *job, const struct kv_view *view,
	const struct replica_status *status, const struct snapshot_row *rows, size_t n);
/* A check of this site's copy at a level of 1 .. CHECK_LEVEL_DRILL has ended; text says what is
 * wrong. Any thread. */
void backup_watch_found(struct backup_job *job, const uint8_t manifest_hash[HASH_BYTES],
	unsigned level, bool ok, const char *text);
void backup_watch_look(struct backup_job *job, const struct kv_view *view,
	const struct replica_status *status, const struct snapshot_row *rows, size_t n);
/* Begins a drill when it is this site's turn. */
void backup_drill_look(struct backup_job *job, struct kv *kv, const struct replica_status *status,
	const struct snapshot_row *rows, size_t n);
/* Drills that snapshot, and the journal increments on it that lie here: what an operator would
 * restore. Without them behind one that was overtaken: what cannot be restored before a later cycle
 * is confirmed is not tried twice in a row. */
void backup_drill_choose(struct backup_job *job, const struct snapshot_row *row);
/* Whether the drills' keys open what is sealed to pub; an alarm, for it may be so between two steps
 * of a rotation. Blocking; any thread. */
void backup_drill_keys(struct backup_job *job, const struct key_pub *pub);
/* Removes what a drill left that was killed, or cut off with the node. Blocking; no drill runs. */
void backup_drill_clear(const struct backup_job *job);
/* Of drill.point; its outcome comes by backup_watch_found(), of drill.hash. */
void backup_drill_start(struct backup_job *job);
void backup_drill_close(struct backup_job *job);
/* Takes the next journal increment when that is due, something changed and it is this node's turn;
 * confirms what this site holds. */
void backup_journal_look(struct backup_job *job, const struct kv_view *view,
	const struct replica_status *status, const struct snapshot_row *rows, size_t n);
/* Begins to ship journal increments to a site that lacks some; false: there is nothing to ship. */
bool backup_journal_ship(struct backup_shipment *s, const struct snapshot_row *rows, size_t n_rows);
/* On the apply thread: the store stands at the mark of this node's snapshot. */
void backup_take_marked(struct backup_job *job, struct fsm *fsm, const struct fsm_mark *mark);
/* Has every mark of a snapshot looked at, until backup_root_close(). */
void backup_root_start(struct backup_job *job);
/* Makes the state root of the newest mark of another node's snapshot, tells it, and sees whether
 * this node's is the majority's. */
void backup_root_look(struct backup_job *job, const struct kv_view *view);
/* Lets go of a view that nobody walks yet, when the store is to be another's: who replaces it
 * waits. */
void backup_root_blind(struct backup_job *job, const struct replica_status *status);
void backup_root_close(struct backup_job *job); /* Ends what runs, soon. */
void backup_root_free(struct backup_job *job);	/* Nothing runs. */
/* What is being taken hangs: this node will not bring the record's snapshot about. */
bool backup_take_hangs(const struct backup_job *job);
/* The job is being closed: what waits for a tick ends. */
void backup_take_close(struct backup_job *job);

/* Never fails: looks find what it does not tell of. */
void backup_arrivals_open(struct backup_arrivals *arrivals);
int backup_arrivals_add(const struct backup_arrivals *arrivals, const char *drop); /* Its watch. */
/* Tells the intakes; whether there was anything. */
bool backup_arrivals_look(struct backup_job *job);
void backup_arrivals_release(struct backup_arrivals *arrivals);
/* A manifest has come: look at once, and soon again while the log does not know it yet. */
void backup_receive_hurry(struct backup_intake *in);
/* A drop of `site`. */
void backup_receive_add(struct backup_job *job, const struct config_site *site);
/* Makes the drop if it is missing; one that an operator prepared stays as it is. Blocking. */
KLUIS_MUST_CHECK int backup_receive_open(struct backup_intake *in, struct err *e);
void backup_receive_look(struct backup_job *job, const struct snapshot_row *rows, size_t n);
/* Says in the log what this site holds, and what of it is damaged; one word at a time. */
void backup_confirm_look(
	struct backup_job *job, const struct snapshot_row *rows, size_t n, unsigned feature_level);
bool backup_receive_busy(const struct backup_job *job);
void backup_receive_release(struct backup_job *job);

/* With the repository open, and re-reading as it stood there; under the job's lock. */
void backup_keep_init(struct backup_job *job, const struct rehash_state *state);
void backup_keep_look(struct backup_job *job, const struct snapshot_row *rows, size_t n);
/* A check found this snapshot damaged here: all of it is read again at once. Any thread. */
void backup_keep_suspect(struct backup_job *job, const uint8_t manifest_hash[HASH_BYTES]);
/* Whether something here is known to be damaged, or not read yet since it was suspected: nothing
 * good is said then. Any thread. */
bool backup_keep_damaged(struct backup_job *job);
/* Something came in: what was damaged may be whole. */
void backup_keep_look_again(struct backup_job *job);
bool backup_keep_busy(const struct backup_job *job);

#endif
