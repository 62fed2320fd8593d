/* A point that can be restored: a snapshot and the chain of increments below it, and the one stream
 * of rows they come to (docs/format-backup.md section 4, chain). Blocking, one thread. */
#ifndef KLUIS_BACKUP_POINT_H
#define KLUIS_BACKUP_POINT_H

#include "backup/index.h"
#include "backup/keys.h"
#include "backup/repository.h"

struct point_snapshot {
	struct backup_manifest manifest;
	uint8_t hash[HASH_BYTES];
};
/* A manual one, or journal increments, may stand before the 42. */
enum { POINT_SNAPSHOTS_MAX = BACKUP_SLICES + JOURNAL_CHAIN_MAX };

struct point {
	struct repository *repository;
	unsigned n, n_journals; /* n_journals: of the n, the first ones. */
	struct point_snapshot snapshots[POINT_SNAPSHOTS_MAX]; /* Newest first. */
};

/* Follows `base` from the snapshot with this manifest hash down to the nearest full or 42 cycles
 * (of a journal increment: to its cycle's snapshot first),
 * with every signature, link, cluster and lineage checked. KLUIS_ENOTFOUND: one is missing. The
 * repository must outlive the point. */
KLUIS_MUST_CHECK int point_open(struct repository *repository,
	const uint8_t manifest_hash[HASH_BYTES], const struct backup_trust *trust,
	struct point **ret_point, struct err *e);
void point_free(struct point *point); /* NULL is fine. */

/* One manifest by its hash: found, signature checked. Release *ret_manifest. */
KLUIS_MUST_CHECK int point_manifest(struct repository *repository,
	const uint8_t manifest_hash[HASH_BYTES], const struct backup_trust *trust,
	struct backup_manifest *ret_manifest, struct err *e);

/* The point's live rows, ascending by modification index. */
struct point_rows;

/* Reads and checks all indexes first, each snapshot's by the key that it is sealed to
 * (KLUIS_EFORBIDDEN when that is missing); below journal increments, which have no state root of
 * their own, the cycle's is checked then. point and keys outlive it. scratch: an existing
 * directory for sort files without names, written to only when the rows' sort records pass
 * BACKUP_SORT_BYTES. */
KLUIS_MUST_CHECK int point_rows_new(const struct point *point, const struct backup_key_set *keys,
	const char *scratch, struct point_rows **ret_rows, struct err *e);
/* *ret_more true: *ret_entry is the next row, its key valid until the next call. False: the end,
 * and the state root is the manifest's, if it has one; KLUIS_EVERIFY there when it is not. */
KLUIS_MUST_CHECK int point_rows_next(
	struct point_rows *rows, struct index_entry *ret_entry, bool *ret_more, struct err *e);
/* The value of the row last given, checked against its hash (KLUIS_EVERIFY); appends. */
KLUIS_MUST_CHECK int point_rows_value(struct point_rows *rows, struct buf *to, struct err *e);
/* What the rows came to; after the end. */
void point_rows_root(const struct point_rows *rows, uint8_t ret_root[HASH_BYTES]);
uint64_t point_rows_live(const struct point_rows *rows); /* How many there are. */
void point_rows_free(struct point_rows *rows);		 /* NULL is fine. */

#endif
