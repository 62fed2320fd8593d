/* How well the cluster is backed up, as the records of snapshots and checks say it: for operators,
 * metrics and alarms. Pure but for the reading. */
#ifndef KLUIS_NODE_BACKUP_SUMMARY_H
#define KLUIS_NODE_BACKUP_SUMMARY_H

#include "storage/check_store.h"
#include "storage/snapshot_store.h"

struct backup_summary {
	unsigned records, confirmed;
	unsigned failed;	     /* Behind the newest confirmed one. */
	struct snapshot_row newest;  /* Confirmed, of the largest S; id 0: none. */
	struct snapshot_row trouble; /* The last that failed behind it; id 0: none. */
	uint64_t running;	     /* Id of the last one under way; 0: none. */
	struct check_row checks[CHECKS_MAX];
	size_t n_checks;
};

/* rows: all records, ascending. KLUIS_EIO, KLUIS_ECORRUPT. */
KLUIS_MUST_CHECK int backup_summary_read(const struct kv_view *view,
	const struct snapshot_row *rows, size_t n, struct backup_summary *ret_summary,
	struct err *e);
/* The last restore that was proven by a drill; NULL: none. */
const struct check_row *backup_summary_proven(const struct backup_summary *summary);
/* The newest check that was not good and that no later one of its site and level mended; NULL:
 * none.
 */
const struct check_row *backup_summary_bad(const struct backup_summary *summary);
/* Of the newest confirmed one, by its claim; UINT64_MAX: there is none. */
uint64_t backup_summary_age_ms(const struct backup_summary *summary, uint64_t now_ms);

#endif
