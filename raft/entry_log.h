/* This node's copy of the replicated log on disk: synced appends in groups, reads by index, a front
 * that is cut off once a snapshot covers it (docs/format-log.md). All functions on the home
 * mailbox's loop thread unless said otherwise; the writes happen on the log's own thread. Any
 * failed write or fsync ends the process (fail_stop.h). */
#ifndef KLUIS_RAFT_ENTRY_LOG_H
#define KLUIS_RAFT_ENTRY_LOG_H

#include "base/mailbox.h"
#include "base/pool.h"
#include "base/random.h"
#include "raft/entry.h"
#include "raft/vote_file.h"

struct entry_log;

struct entry_log_config {
	const char *dir;	/* Created (0700) when missing; one process at a time. */
	uint32_t segment_bytes; /* 0: SEGMENT_BYTES. A multiple of 4096, above ENTRY_BYTES_MAX. */
	unsigned mark_idle_ms;	/* Without a write for so long, a mark. 0: LOG_MARK_IDLE_MS. */
	struct mailbox *home;
	struct random *random;
	/* Everything given with a seq up to this one is durable. On home's loop. */
	void (*persisted_cb)(void *user, uint64_t seq);
	void *user;
};

/* Opens the log and checks every byte that counts. A torn tail, which nobody was told of, is cut.
 * KLUIS_ECORRUPT: damage, a missing or foreign segment; e names the file, the offset and what to
 * do. KLUIS_EBUSY: another process has it. Blocking. */
KLUIS_MUST_CHECK int entry_log_open(
	const struct entry_log_config *config, struct entry_log **ret_log, struct err *e);
/* Writes what is queued, ends the thread and frees the log; closed_cb on home's loop. No call may
 * follow; reads under way end before. */
void entry_log_close(struct entry_log *log, void (*closed_cb)(void *user));

/* --- what stands in it, unwritten entries included --- */

uint64_t entry_log_first(const struct entry_log *log); /* Index; last + 1 when it is empty. */
uint64_t entry_log_last(const struct entry_log *log);  /* first - 1 when it is empty. */
/* For first .. last. */
uint64_t entry_log_term(const struct entry_log *log, uint64_t index);
enum entry_type entry_log_type(const struct entry_log *log, uint64_t index);
/* How many entries, from `index` (first - 1 .. last) backwards, hold at most `bytes` together. */
uint64_t entry_log_count_back(const struct entry_log *log, uint64_t index, uint64_t bytes);
uint64_t entry_log_disk_bytes(const struct entry_log *log); /* Segments in use. */
/* What was given to the last entry_log_trim() or entry_log_reset(); empty when there was none.
 * Valid until the next. */
struct bytes entry_log_snapshot(const struct entry_log *log);
/* LOG_ID_BYTES, drawn at random when the log was made; valid while the log is open. */
const uint8_t *entry_log_id(const struct entry_log *log);
uint64_t entry_log_vote_term(const struct entry_log *log);
uint64_t entry_log_vote(const struct entry_log *log);

/* --- writing --- */

/* Durable on return; see vote_file_set(). Blocking, and rare. */
void entry_log_set_vote(struct entry_log *log, uint64_t term, uint64_t vote);
/* Queues: everything from entries[0]->index on is void, then these n consecutive entries follow
 * (entries[0]->index is at most last + 1 and at least first). Takes references of its own.
 * persisted_cb(seq) comes later. seq rises. */
void entry_log_append(
	struct entry_log *log, uint64_t seq, struct entry *const *entries, unsigned n);
/* Queues behind what is queued: makes `snapshot` (at most LOG_SNAPSHOT_BYTES_MAX, opaque) durable,
 * then forgets entries up to upto where whole segments allow it (0: none). A crash leaves either
 * the old snapshot and the longer log or the new snapshot. */
void entry_log_trim(struct entry_log *log, uint64_t upto, struct bytes snapshot);
/* Queues behind what is queued: forgets all entries; the log goes on at first. persisted_cb(seq)
 * comes when that and `snapshot` are durable. A crash between leaves the old entries with the new
 * snapshot: the caller knows by its own record that it was resetting, and does it again. */
void entry_log_reset(struct entry_log *log, uint64_t seq, uint64_t first, struct bytes snapshot);

/* --- reading --- */

/* Embedded in the caller's request; lives until cb. */
struct entry_log_read {
	/* Result: n entries from `first` on, one reference each, the caller's. */
	struct entry **entries; /* free() it. */
	unsigned n;
	int rc; /* 0, KLUIS_ENOTFOUND: not in the log (any more). */

	/* Private. */
	struct entry_log *log;
	struct pool_work work;
	void (*cb)(struct entry_log_read *req);
	uint64_t first;
	struct log_slot *slots;
};
/* Reads entries first .. first + n - 1, fewer at the log's end or beyond LOG_READ_ENTRIES_MAX or
 * LOG_READ_BYTES_MAX, but at least one if there is one. cb on home's loop, never before this
 * returns. A damaged record ends the process: what was acknowledged is lost here. KLUIS_EBUSY: too
 * many reads are under way, and there is no cb. */
KLUIS_MUST_CHECK int entry_log_read_start(struct entry_log *log, struct entry_log_read *req,
	uint64_t first, unsigned n, void (*cb)(struct entry_log_read *req));
/* One entry, now; for the time before the loop runs. KLUIS_ENOTFOUND, KLUIS_EIO, KLUIS_ECORRUPT.
 * Blocking. */
KLUIS_MUST_CHECK int entry_log_load(
	struct entry_log *log, uint64_t index, struct entry **ret_entry, struct err *e);

#endif
