/* How well the cluster is backed up, as the records of snapshots and checks say it: for operators,
 * metrics and alarms. Pure but for the reading. */
#ifndef KLUIS_NODE_BACKUP_SUMMARY_H
#define KLUIS_NODE_BACKUP_SUMMARY_H

#include "node/root_summary.h"
#include "storage/check_store.h"
#include "storage/journal_store.h"
#include "storage/node_backup_store.h"
#include "storage/snapshot_store.h"

struct backup_summary {
	unsigned records, confirmed;
	unsigned failed;	     /* Behind the newest confirmed one. */
	struct snapshot_row newest;  /* Confirmed, of the largest S; id 0: none. */
	struct snapshot_row trouble; /* The last that failed behind it; id 0: none. */
	uint64_t running;	     /* Id of the last one under way; 0: none. */
	struct check_row checks[CHECKS_MAX];
	size_t n_checks;
	struct node_backup_row nodes[SITES_MAX]; /* What their settings say, ascending. */
	size_t n_nodes;
	struct journal_row journal;
	/* What a restore would come back to: S of the newest point that enough sites hold, and when
	 * that was; index 0: none. Exposed: something changed behind it. clean_ms: when nothing was
	 * exposed for the last time, for who watched; all cluster time. */
	uint64_t recovery_index, recovery_ms, clean_ms;
	bool exposed;
	struct root_summary roots;
	/* How far this site's journal of deletions is behind; of a node that takes part. */
	uint64_t deletions_lag_ms;
	bool deletions_late;
};

/* rows: all records, ascending. KLUIS_EIO, KLUIS_ECORRUPT. */
KLUIS_MUST_CHECK int backup_summary_read(const struct kv_view *view,
	const struct snapshot_row *rows, size_t n, struct backup_summary *ret_summary,
	struct err *e);
/* The last restore that was proven by a drill; NULL: none. */
const struct check_row *backup_summary_proven(const struct backup_summary *summary);
/* How many sites have the key and drill by themselves. */
unsigned backup_summary_drills(const struct backup_summary *summary);
/* How much longer than it may be no restore was proven (backup/proof.h); 0: not longer. */
uint64_t backup_summary_unproven_ms(const struct backup_summary *summary, uint64_t now_ms);
/* Why an operator should see to it that a restore is proven again; false: there is no reason. */
bool backup_summary_unproven(
	const struct backup_summary *summary, uint64_t now_ms, char *text, size_t text_bytes);
/* The first site whose [backup] settings are not those of `node`, and what is different; false:
 * they are all the same, or `node` has none. */
bool backup_summary_differs(const struct backup_summary *summary, uint64_t node, uint64_t *ret_node,
	const char **ret_setting);
/* The newest check that was not good and that no later one of its site and level mended; NULL:
 * none.
 */
const struct check_row *backup_summary_bad(const struct backup_summary *summary);
/* Of the newest confirmed one, by its claim; UINT64_MAX: there is none. */
uint64_t backup_summary_age_ms(const struct backup_summary *summary, uint64_t now_ms);
/* Since when, at most, something is exposed; 0: nothing is. UINT64_MAX: there is no point. */
uint64_t backup_summary_exposed_ms(const struct backup_summary *summary, uint64_t now_ms);
/* How long that may be so while the journal works. every_ms: between its increments; 0: there is
 * none to be late, so UINT64_MAX. */
uint64_t backup_summary_late_ms(uint64_t every_ms);
/* Whether it is longer. */
bool backup_summary_late(const struct backup_summary *summary, uint64_t now_ms, uint64_t every_ms);

#endif
