/* What cli/ops/restore.c and restore_plan.c share: a restore, from its arguments on. For them
 * alone. */
#ifndef KLUIS_CLI_OPS_RESTORE_PARTS_H
#define KLUIS_CLI_OPS_RESTORE_PARTS_H

#include "backup/restore.h"
#include "cli/ops/offline.h"
#include "cli/ops/ops.h"
#include "cli/ui/progress.h"

enum { RESTORE_SOURCES_MAX = 1 + SITES_MAX };

struct restore {
	struct invocation *inv;
	struct offline offline;
	struct offline_snapshot snapshot;
	bool found;
	struct restore_plan plan;
	struct backup_key_set keys;   /* They open the chain. */
	struct key_pub *operator_key; /* Proves the record. */
	/* What is deleted again: where that stands, and the list. */
	struct deletion_source sources[RESTORE_SOURCES_MAX];
	size_t n_sources;
	struct buf encoded;
	struct deletion_list deletions;
	struct buf record; /* The signed one of this restore. */
	struct progress progress;
};

void restore_release(struct restore *r);
/* Settings, repository, snapshot and what a restore of it would read. */
KLUIS_MUST_CHECK int restore_open(struct restore *r);
/* <data>/db; the caller frees it. */
char *restore_db(const struct restore *r);
/* The list, under a nonce of its own, from the journals in the repository and in each --deletions;
 * what they know and what they do not is said. */
KLUIS_MUST_CHECK int restore_collect(struct restore *r);
/* Newest of the journals that were found; NULL: none was. */
const struct deletion_source *restore_newest(const struct restore *r);

#endif
