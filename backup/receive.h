/* The receiving side: looks through the append-only drop of one sender, believes nothing it finds,
 * copies whole snapshots into this site's repository, signs a receipt for each and cleans up.
 * Blocking, one thread. */
#ifndef KLUIS_BACKUP_RECEIVE_H
#define KLUIS_BACKUP_RECEIVE_H

#include <stdatomic.h>

#include "backup/drop.h"
#include "backup/pace.h"
#include "backup/repository.h"
#include "backup/ship.h"
#include "storage/journal_store.h"
#include "storage/snapshot_store.h"

struct receive_config {
	struct repository *repository; /* Opened for writing. */
	const struct backup_trust *trust;
	const struct key *signer;	     /* This node's. */
	uint64_t node;			     /* This node's id, in trust with signer's key. */
	uint8_t cluster_id[16], lineage[16]; /* Nothing else is accepted. */
	/* Of one drop, beside what the log says its sender has yet to bring. Beyond it goes, oldest
	 * first, what no manifest that waits has asked for. */
	struct drop_quota quota;
	/* When this site began to look, by its clock: what lay in a drop before is as old as that,
	 * for meanwhile nobody here knew what the log says of it. */
	uint64_t began_ms;
	/* Of the log, in any order. It alone says what is a snapshot and which cycle it is: a
	 * signature says no more than who wrote it. */
	const struct snapshot_row *records;
	size_t n_records;
	/* What was taken elsewhere, has no receipt of this node and was written before, by the
	 * clock that dates files, is as old as its file; 0: it is as new as now. */
	uint64_t written_ms;
	/* Of one that was taken by none of them a member brings its copy. */
	struct ship_members members;
	/* early_ms of the report of the last scan of this drop; 0: there was none. */
	uint64_t early_ms;
	/* Of what no manifest asked for yet, in one scan; 0: nothing. The repository has room, and
	 * manifests wait for its end. */
	uint64_t early_bytes;
	const atomic_bool *cancel; /* NULL, or: true ends a scan with KLUIS_ECLOSED. */
	/* This site takes a snapshot: no manifest names its objects yet, however old they are. */
	bool taking;
	/* Of the log, too; NULL: none. And what it said before that, newest first: a slow site
	 * takes in what was overtaken meanwhile. */
	const struct journal_row *journal;
	uint8_t (*journals)[32];
	size_t n_journals;
	struct pace
		*pace; /* Of snapshots that are copied, not of journal increments; may be NULL. */
};
/* The record that names this manifest, shipped or confirmed; NULL: the log knows none. */
const struct snapshot_row *receive_record(
	const struct receive_config *config, const uint8_t manifest_hash[32]);

struct receive_accepted {
	uint8_t manifest_hash[32];
	uint64_t id, index;
	uint32_t cycle;
	bool manual;
	uint8_t receipt[RECEIPT_BYTES];
};

struct receive_report {
	unsigned n_accepted;
	struct receive_accepted *accepted; /* The caller frees. Also those found whole before. */
	unsigned refused;   /* Manifests or objects that are wrong, and were removed. */
	unsigned leftovers; /* Cut, foreign or never asked for, and too old: removed. */
	unsigned cut;	    /* Cut, and followed by another try: removed. */
	unsigned foreign;   /* Names that are none of ours: never opened, removed after a day. */
	unsigned waiting;   /* Manifests whose objects are not all here yet. */
	uint64_t bytes;	    /* In the drop after the scan. */
	size_t files;	    /* The same. */
	bool over_quota;    /* It was, before. */
	unsigned evicted;   /* Removed for that, whatever their age. */
	unsigned early;	    /* Objects that were taken in before a manifest asked for them. */
	uint64_t early_ms;  /* What was modified before this was tried; the drop's clock. */
	char reason[160];   /* Of the last refusal. */
};

/* One scan of the drop of node `sender` at wall_ms of this site. Whatever a sender put there ends
 * in the report; a failure is one of our own disk. */
KLUIS_MUST_CHECK int receive_scan(const struct receive_config *config, const char *drop,
	uint64_t sender, uint64_t wall_ms, struct receive_report *ret_report, struct err *e);
void receive_report_release(struct receive_report *report);

/* Applies retention to the repository by the times of this site's own receipts. Points that the log
 * has pinned stay. What the log has disowned is set aside at once, whatever its age, with all that
 * is built on it: *ret_pruned counts it, too. */
KLUIS_MUST_CHECK int receive_prune(const struct receive_config *config, uint64_t wall_ms,
	const struct retention_rules *rules, unsigned *ret_pruned, struct err *e);

#endif
