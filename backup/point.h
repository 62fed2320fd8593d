/* A point that can be restored: a snapshot and the chain of increments below it, and the one stream
 * of rows they come to (docs/format-backup.md section 4, chain). Blocking, one thread. */
#ifndef KLUIS_BACKUP_POINT_H
#define KLUIS_BACKUP_POINT_H

#include "backup/repository.h"
#include "backup/index.h"

struct point {
	struct repository *repository;
	unsigned n;
	struct point_snapshot {
		struct manifest manifest;
		uint8_t hash[32];
	} snapshots[BACKUP_SLICES + 1]; /* Newest first; a manual one may stand before the 42. */
	uint64_t bytes;			/* Of all their objects. */
};

/* Follows `base` from the snapshot with this manifest hash down to the nearest full or 42 cycles,
 * with every signature, link, cluster and lineage checked. KLUIS_ENOTFOUND names what is missing.
 * The repository must outlive the point. */
KLUIS_MUST_CHECK int point_open(struct repository *repository, const uint8_t manifest_hash[32],
	const struct backup_trust *trust, struct point **ret_point, struct err *e);
void point_free(struct point *point); /* NULL is fine. */

/* The point's live rows, ascending by modification index. */
struct point_rows;

/* Reads and checks all indexes first. scratch: an existing directory for sort files, used (and left
 * empty) only when the rows' sort keys pass BACKUP_SORT_BYTES. */
KLUIS_MUST_CHECK int point_rows_new(struct point *point, const struct key *key, const char *scratch,
	struct point_rows **ret_rows, struct err *e);
/* 1: a row: at, key (lives until the next call), value hash; 0: the end, and the state root is the
 * manifest's; KLUIS_EVERIFY at the end when it is not. */
KLUIS_MUST_CHECK int point_rows_next(
	struct point_rows *rows, struct index_entry *ret_entry, struct err *e);
/* The value of the row last given, checked against its hash; appends. */
KLUIS_MUST_CHECK int point_rows_value(struct point_rows *rows, struct buf *to, struct err *e);
uint64_t point_rows_live(const struct point_rows *rows); /* How many there will be. */
void point_rows_free(struct point_rows *rows);

#endif
