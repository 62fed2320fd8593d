/* The replicated state machine: applies committed entries to the store, the same on every node to
 * the byte. No clock, no randomness, no thread of its own. */
#ifndef KLUIS_RAFT_FSM_H
#define KLUIS_RAFT_FSM_H

#include "raft/command.h"
#include "raft/entry.h"
#include "raft/servers.h"
#include "storage/event.h"
#include "storage/kv.h"
#include "storage/position.h"

struct fsm;

/* What one command gave. */
struct fsm_result {
	uint64_t index;		     /* Of its entry. */
	uint32_t ordinal;	     /* Its place there. */
	uint64_t origin, nonce, seq; /* Whose waiter it completes. */
	int rc;			     /* 0 or the refusal. */
	size_t reply_at, reply_len;  /* In fsm_results.replies. */
	size_t reason_len;	     /* Of a refusal: the text that stands there instead. */
};
/* A hash to report to the others: propose a hash_report with it. */
struct fsm_report {
	uint64_t index;
	uint8_t hash[32];
};
/* The entry that is the S of a snapshot. */
struct fsm_mark {
	uint64_t id, node; /* The snapshot and its taker; id 0: none. */
	uint64_t index;
};
/* Zero it before the first use; fsm_apply() empties it and keeps the memory. */
struct fsm_results {
	struct fsm_result *result;
	size_t n, cap;
	struct buf replies;
	bool report_due; /* The newest one due, if any. */
	struct fsm_report report;
	bool past_due; /* One of an earlier entry, which a snapshot is of; the newest, if any. */
	struct fsm_report past;
	struct event_list events; /* News of all of them, in order. */
	bool quarantined;	  /* A majority disagrees with this node's state. */
	bool servers_changed;	  /* fsm_servers() is another one. */
};
struct bytes fsm_results_reply(const struct fsm_results *results, const struct fsm_result *result);
/* Why a command was refused, for whoever sent it; at most FSM_REASON_BYTES_MAX. */
enum { FSM_REASON_BYTES_MAX = 128 };
struct bytes fsm_results_reason(const struct fsm_results *results, const struct fsm_result *result);
void fsm_results_release(struct fsm_results *results);

/* Over a store that stays the caller's and that nobody else writes. node: this node's id, used for
 * nothing but fsm_results.quarantined. KLUIS_ECORRUPT. */
KLUIS_MUST_CHECK int fsm_new(struct kv *kv, uint64_t node, struct fsm **ret_fsm, struct err *e);
/* Before the store is closed: it holds a view of it. NULL is allowed. */
void fsm_free(struct fsm *fsm);

/* Applies n consecutive entries as ONE atomic batch of the store, with their position and state
 * hash (but for fsm_set_mark_cb()). Entries up to the stored index are skipped (after a restart
 * raft replays from there), a gap is KLUIS_EINTERNAL. Entries without a command only move the
 * position. A command that is refused changes nothing and says so in its result. < 0: nothing was
 * stored and the process must end: KLUIS_EVERSION (a command of a newer version: never skipped),
 * KLUIS_EIO, KLUIS_ENOSPACE, KLUIS_ECORRUPT. The thread that owns the fsm. */
KLUIS_MUST_CHECK int fsm_apply(struct fsm *fsm, struct entry *const *entries, size_t n,
	struct fsm_results *results, struct err *e);

/* Reports are due at multiples of `entries` instead of HASH_REPORT_ENTRIES, at all nodes: for the
 * simulator, whose logs are short. */
void fsm_set_report_entries(struct fsm *fsm, unsigned entries);

/* Called by fsm_apply() for each mark, when the store stands exactly at it: the entries behind it
 * make another batch. On the thread that owns the fsm, which waits for it. NULL: nobody wants to
 * know, and marks part no batches. */
void fsm_set_mark_cb(struct fsm *fsm,
	void (*mark_cb)(void *data, struct fsm *fsm, const struct fsm_mark *mark), void *data);

/* Where it stands, as stored. Valid until the next fsm_apply(). */
const struct position *fsm_position(const struct fsm *fsm);
/* The members as of there; voters 0 before they were written down. Valid until the next
 * fsm_apply(). */
const struct servers *fsm_servers(const struct fsm *fsm);
struct kv *fsm_kv(const struct fsm *fsm);
bool fsm_quarantined(const struct fsm *fsm); /* As fsm_results.quarantined, also before entries. */

/* Makes all applied durable; *ret_index is then safe to truncate the log to. Blocking; the thread
 * that owns the fsm. */
KLUIS_MUST_CHECK int fsm_flush(struct fsm *fsm, uint64_t *ret_index, struct err *e);
/* As kv_reclaim(): after each flush. */
KLUIS_MUST_CHECK int fsm_reclaim(struct fsm *fsm, bool hurry, struct err *e);
/* A checkpoint of the store in the new directory `dir`, standing at *ret_index and *ret_term;
 * durable on return. Blocking; the thread that owns the fsm. */
KLUIS_MUST_CHECK int fsm_checkpoint(
	struct fsm *fsm, const char *dir, uint64_t *ret_index, uint64_t *ret_term, struct err *e);

#endif
