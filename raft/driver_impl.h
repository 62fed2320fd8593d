/* Inside of the driver: what its files share. Only they include this, and only here and in them
 * stands raft.h. */
#ifndef KLUIS_RAFT_DRIVER_IMPL_H
#define KLUIS_RAFT_DRIVER_IMPL_H

#include <raft.h>

#include "raft/driver.h"
#include "raft/tail.h"

enum {
	DRIVER_PEERS_MAX = SITES_MAX * 2, /* Members, and some that joined or left. */
	TIMER_MS_MIN = 10,
	COMMIT_TELL_MS = 2,	  /* Between two times that all peers are told, ... */
	COMMIT_TELL_MORE_MS = 10, /* ... when entries are about to go, which tell them, too. */
};

/* An append or install that the disk has not reported yet. */
struct driver_write {
	uint64_t seq, first, last;
	size_t bytes;
};

/* Given to the state machine and not yet applied. */
struct driver_batch {
	uint64_t last;
	size_t bytes;
};

/* A message that waits until the entries of one before it are read from the log. */
struct driver_held {
	struct buf header; /* n == 0: these bytes. */
	uint64_t term, prev_index, prev_term, commit;
	struct message_marks marks;
	unsigned n; /* > 0: an append of so many entries. */
	struct driver_held *next;
};

/* A peer's mark, and when it came. */
struct driver_mark {
	uint64_t mark, came_ms;
};

struct driver_peer {
	uint64_t id, connection; /* The newest one that brought something. */
	char address[24];	 /* For libraft only. */
	uint64_t heard_ms;	 /* Last answer to us as leader of this term; 0: none. */
	struct driver_held *held, **held_tail;
	unsigned held_n;
	size_t held_bytes;
	uint64_t read_token;	    /* Of the log read that held[0] waits for; 0: none. */
	uint64_t manifest_asked_ms; /* 0: none asked. */
	uint64_t pinned;	    /* Index of the snapshot it was offered; 0: none. */
	uint64_t core_snapshot;	    /* Index that the core waits for it to install; 0: none. */
	bool round_confirmed;	    /* In the running read round. */
	bool wants_data;	    /* Asked for a checkpoint, and was not given one. */
	uint64_t data_index;	    /* ... as new as this. */
	uint64_t told_commit;	    /* By an append, in this term. */
	/* See driver_contact.c. */
	uint64_t asked_ms; /* When we sent, as leader, what it has answered; 0: none. */
	struct driver_mark newest, due; /* due: to be echoed once a quorum has answered. */
	uint64_t echo;			/* What our appends tell it. */
};

/* A read that waits for a round (leader) or for the leader's answer (follower). */
struct driver_reader {
	uint64_t peer;	/* 0: this node's own. */
	uint64_t token; /* Own: the caller's; else the peer's request. */
};

struct driver_readers {
	struct driver_reader *reader;
	unsigned n, capacity;
};

struct driver_reads {
	struct driver_readers waiting, running;
	bool round_open; /* running waits for a quorum (leader) or the leader (follower). */
	uint64_t round;	 /* Number of the round or request; rises, never reused. */
	uint64_t index;	 /* Leader: the commit index when the round began. */
	uint64_t leader; /* Follower: who was asked. */
	uint64_t begun_ms, sent_ms;
};

/* The newest configuration at or before what was given to the state machine; index 0: none yet. */
struct driver_members {
	uint64_t index;
	struct configuration configuration;
};

enum driver_fetch_state { FETCH_NONE, FETCH_RUNNING, FETCH_READY };

struct driver_fetch {
	enum driver_fetch_state state;
	uint64_t source, term; /* Of the offer. */
	struct driver_snapshot snapshot;
	struct buf manifest;
};

struct driver {
	struct driver_options options;
	struct driver_io io;
	void *ctx;
	struct raft raft;
	bool started, busy, dead;
	struct err error;
	uint64_t now_ms, deadline_ms;
	uint64_t leader_ms; /* When the leader that is known last sent an append; 0: none. */
	bool barrier_due;
	bool was_leader;

	struct tail tail;
	struct driver_write *writes; /* Ring of the unfinished ones, oldest first. */
	size_t writes_capacity, writes_head, writes_n;
	size_t unstored_bytes;
	uint64_t write_seq;
	uint64_t told_ms; /* By commit_tell(). */
	bool more_comes;  /* driver_expect_more() */
	size_t inflight_bytes;
	uint64_t inflight_commit; /* inflight_bytes counts entries above this. */

	uint64_t applied, apply_issued, apply_token;
	struct driver_members members;
	struct driver_batch batch[APPLY_ENTRIES_MAX];
	unsigned batch_head, batch_n;
	size_t apply_bytes;
	unsigned apply_entries;

	struct driver_peer peer[DRIVER_PEERS_MAX];
	unsigned peers_n;
	const struct driver_peer
		*receiving; /* Whose message is being looked at: stays in the table. */
	uint64_t token;	    /* Last one given to a log read. */

	struct driver_snapshot snapshot;
	bool installing;
	struct driver_fetch fetch;
	bool rebuilding, replacing;
	uint64_t rebuild_asked_ms; /* 0: not yet. */
	unsigned rebuild_asks;	   /* Whose turn it is. */
	bool rebuild_asked_nobody; /* The last time, for no link was up. */
	uint64_t rebuild_early;	   /* Given, and not in our log yet; 0: none. */
	struct driver_reads reads;
	struct driver_contact contact;
	uint64_t mark_base; /* A mark is now_ms and this, which is another one in each process. */
	struct driver_counters counters;
	struct buf scratch;		 /* Header of the message being sent. */
	struct raft_entry *raft_entries; /* ENTRIES_PER_MESSAGE_MAX, for one step. */
};

/* What a step's effects need to know about its event. */
struct driver_step_input {
	struct entry *const *entries; /* Those of the event, entries[0]->index is `first`. */
	uint64_t first;
	unsigned n;
	bool stale; /* The event is an append of an older term. */
};

bool driver_guard_on(const struct driver *driver, enum driver_guard guard);
/* Every event function begins with one and, if it gave true, ends with the other. */
KLUIS_MUST_CHECK bool driver_enter(struct driver *driver);
void driver_leave(struct driver *driver);
void driver_die(struct driver *driver, int rc, const char *what);
/* One raft_step() with all its effects. 0 or, for submit and transfer alone, RAFT_*. */
int driver_step(
	struct driver *driver, struct raft_event *event, const struct driver_step_input *input);
/* What follows from the last steps: barrier, committed configurations, apply, reads. */
void driver_settle(struct driver *driver);
/* The state machine has the newest configuration: libraft must know. */
void driver_close_configuration(struct driver *driver);
/* Term of the entry at index; 0: neither in the log nor the snapshot's last. */
uint64_t driver_term_of(const struct driver *driver, uint64_t index);
uint64_t driver_last_index(const struct driver *driver);
bool driver_is_leader(const struct driver *driver);
/* Leader with an entry of its own term committed. */
bool driver_is_ready(const struct driver *driver);
/* Submits one entry (borrowed); 0 or RAFT_*. */
int driver_append_own(struct driver *driver, struct entry *entry);

/* driver_write.c */
/* Into memory and onto the disk's queue, cutting what lies from `first` on. */
void write_append(struct driver *driver, uint64_t first, struct entry *const *entries, unsigned n);

/* driver_convert.c: between our configuration and libraft's, whose address field carries "site
 * address". */
struct raft_configuration convert_to_raft(const struct configuration *configuration);
void convert_from_raft(
	const struct raft_configuration *raft, struct configuration *ret_configuration);
struct raft_configuration convert_copy(const struct raft_configuration *raft);
struct raft_snapshot_metadata convert_snapshot(const struct driver_snapshot *snapshot);
/* Fills to[] for libraft from entries[0 .. n-1]: commands without their data, which it never looks
 * at. Returns the batch that all share (raft_malloc). */
void *convert_entries(struct entry *const *entries, unsigned n, struct raft_entry *to);

/* driver_peer.c */
struct driver_peer *peer_find(const struct driver *driver, uint64_t id);
struct driver_peer *peer_get(struct driver *driver, uint64_t id); /* Makes one if need be. */
/* Behind what is held for it; best effort. */
void peer_send(struct driver *driver, uint64_t id, const struct message *message);
/* The same. KLUIS_E*: not a byte of it is sent. */
int peer_try_send(struct driver *driver, uint64_t id, const struct message *message);
void peer_send_append(struct driver *driver, uint64_t id, const struct raft_append_entries *append);
void peer_want_manifest(struct driver *driver, uint64_t id, uint64_t min_index);
/* A MESSAGE_SNAPSHOT_WANT. */
void peer_wants_snapshot(
	struct driver *driver, struct driver_peer *peer, const struct message *message);
/* A link to it is up: goes on with what it asked for and could not be given. */
void peer_connected(struct driver *driver, struct driver_peer *peer);
/* The read that the first held message waited for is there. */
void peer_read_done(struct driver *driver, struct driver_peer *peer, int rc, struct entry **entries,
	unsigned n);
void peer_drop_held(struct driver_peer *peer);
/* Forgets what belongs to being leader (of one term). */
void peers_reset(struct driver *driver);
/* The lowest index that a peer still needs entries after; UINT64_MAX: none. */
uint64_t peers_pinned(const struct driver *driver);

/* driver_commit.c */
/* Leader: tells the peers how far the log is committed, if that moved. */
void commit_tell(struct driver *driver);
uint64_t commit_tell_deadline(const struct driver *driver); /* UINT64_MAX: nothing to tell. */

/* driver_apply.c */
/* Gives committed entries to the state machine; true if it did a step. */
bool apply_issue(struct driver *driver);
void apply_read_done(struct driver *driver, int rc, struct entry **entries, unsigned n);
void apply_reset(struct driver *driver, uint64_t index);
/* The state machine's data is that of this snapshot. */
void apply_reset_to(struct driver *driver, const struct driver_snapshot *snapshot);

/* driver_snapshot.c */
void snapshot_offered(struct driver *driver, uint64_t peer, const struct message *message);
/* The core took the offer that was fed to it: put the fetched data in place. */
void snapshot_install(struct driver *driver);

void fetch_begin(struct driver *driver, uint64_t peer, const struct message *message,
	const struct driver_snapshot *snapshot);
void fetch_forget(struct driver *driver);

/* driver_rebuild.c */
/* Whether the snapshot offered may take the place of our data while the log stays. */
bool rebuild_takes(const struct driver *driver, const struct driver_snapshot *snapshot);
/* A MESSAGE_SNAPSHOT_GIVE. */
void rebuild_given(struct driver *driver, uint64_t peer, const struct message *message);
/* Asks for a snapshot, or puts the fetched one in its place, when that is due. */
void rebuild_progress(struct driver *driver);
uint64_t rebuild_deadline(const struct driver *driver); /* UINT64_MAX: nothing to ask. */
/* Data of snapshot took the place of ours, one way or the other. */
void rebuild_end(struct driver *driver);

/* driver_contact.c */
/* The mark of this moment. */
uint64_t contact_mark(const struct driver *driver);
/* Follower: an append of peer's came, before it is looked at. */
void contact_heard(struct driver_peer *peer, uint64_t mark, uint64_t now_ms);
/* ... and was looked at. */
void contact_append(
	struct driver *driver, const struct driver_peer *peer, const struct message *message);
/* Leader: an answer to an append of this term came. */
void contact_answered(
	struct driver *driver, struct driver_peer *peer, const struct message_marks *marks);
/* Leader: what an append that names the commit index of now may say to this peer. */
struct message_marks contact_marks(struct driver *driver, struct driver_peer *peer);

/* driver_read.c */
void reads_lost(struct driver *driver, int rc);
void reads_progress(struct driver *driver);
void reads_receive(struct driver *driver, uint64_t peer, const struct message *message);
uint64_t reads_deadline(const struct driver *driver);
void reads_release(struct driver_reads *reads);

#endif
