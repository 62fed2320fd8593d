/* Bringing one snapshot of a repository to one site's drop: what is complete there is skipped, the
 * manifest goes last, a lost connection is taken up again with back-off. Blocking; one call per
 * site, each on a thread of its own, so that a slow site delays nobody. */
#ifndef KLUIS_BACKUP_SHIP_H
#define KLUIS_BACKUP_SHIP_H

#include "backup/repository.h"
#include "backup/sftp.h"
#include "backup/ship_queue.h"
#include "storage/snapshot_store.h"

struct ship_report {
	unsigned objects, objects_skipped, connections;
	uint64_t bytes; /* Sent, repeated ones too. */
	bool let_in;	/* The pinned key was shown, and we could sign in. */
	bool whole;	/* The manifest is there, and so all that it names. */
};

/* Ships manifest and objects of the snapshot. e
 * names the site. KLUIS_EPIN, KLUIS_EUNAUTHENTICATED, KLUIS_EFORBIDDEN and KLUIS_ENOSPACE end it at
 * once (an operator must look); other failures after SHIP_ATTEMPTS_MAX connections without
 * progress. *ret_report is set in every case. */
KLUIS_MUST_CHECK int ship_snapshot(struct repository *repository, const uint8_t manifest_hash[32],
	const char *site, const struct sftp_target *target, struct ship_report *ret_report,
	struct err *e);

/* Brings the objects of a snapshot to the site while it is still being taken, in the queue's order,
 * until the queue ends or the target's `cancel` is set, and then its manifest, if it ended with
 * one. One connection: unless the report says `whole`, ship_snapshot() does the rest. Errors as
 * there. */
KLUIS_MUST_CHECK int ship_ahead(struct repository *repository, struct ship_queue *queue,
	const char *site, const struct sftp_target *target, struct ship_report *ret_report,
	struct err *e);

/* What a record says: there is a whole snapshot; the site of this node has a copy. */
bool ship_whole(const struct snapshot_row *row);
bool ship_confirmed_by(const struct snapshot_row *row, uint64_t site);
/* The nodes that are members, as the log has them; n 0: nobody is known to have gone. */
struct ship_members {
	uint64_t nodes[SITES_MAX];
	bool away[SITES_MAX]; /* Nothing was heard of it for long, as far as this node knows. */
	size_t n;
};
/* Whether it was taken by a node that is no member any more. */
bool ship_taker_gone(const struct snapshot_row *row, const struct ship_members *members);
/* Which node brings it to the sites that lack it: its taker; when that has gone, the member that
 * was the first to confirm it and is not away (when all are: the first). 0: nobody can. Two that
 * see different ones away may both bring it. */
uint64_t ship_sender(const struct snapshot_row *row, const struct ship_members *members);
/* What `node` has to bring to node `site` next: the oldest of the whole snapshots that are its to
 * bring, with an id above `after`, that the site did not confirm and would still keep. rows: of the
 * log, ascending. NULL: nothing. Pure. */
const struct snapshot_row *ship_next(const struct snapshot_row *rows, size_t n,
	const struct ship_members *members, uint64_t node, uint64_t site, uint64_t after);

#endif
