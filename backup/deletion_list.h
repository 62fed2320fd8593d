/* What one restore deletes again, gathered from the journals of all sites that are left, in the
 * form that goes with its record to every site (docs/format-backup.md section 8). */
#ifndef KLUIS_BACKUP_DELETION_LIST_H
#define KLUIS_BACKUP_DELETION_LIST_H

#include "backup/deletions.h"

enum { DELETION_LIST_FIXED_BYTES = 40 };
#define DELETION_LIST_BYTES_MAX              \
	((size_t)DELETION_LIST_FIXED_BYTES + \
		(DELETION_KINDS - 1) * (size_t)BACKUP_DELETIONS_MAX * ID_BYTES)

/* Ids ascending, none twice. */
struct deletion_list {
	const uint8_t (*vaults)[ID_BYTES], (*persons)[ID_BYTES];
	const uint8_t (*devices)[ID_BYTES]; /* As deletion_device_id() names them. */
	const uint8_t (*members)[ID_BYTES]; /* As deletion_member_id() names them. */
	size_t n_vaults, n_persons, n_devices, n_members;
};

/* A journal that was asked for the list. */
struct deletion_source {
	const char *dir;
	bool found; /* False: nothing is there. */
	struct deletion_mark mark;
};
struct deletion_point {
	const uint8_t *cluster_id, *lineage;
	uint64_t index;
};
/* Appends the list, encoded with this nonce: all that the journals of the sources have and that
 * the store at the point does not know for deleted. Each source's dir is set by the caller, found
 * and mark here. What clients brought about is no reason to refuse: there may be as many as there
 * can be in a store. scratch: a directory, written to when they are more than a million or so.
 * KLUIS_ETOOLARGE: more than BACKUP_DELETIONS_MAX of a kind, or than can be sorted; else as
 * deletion_journal_read(), naming the journal. Blocking. */
KLUIS_MUST_CHECK int deletion_list_collect(struct deletion_source *sources, size_t n,
	const struct backup_trust *trust, const struct deletion_point *point, const char *scratch,
	const uint8_t nonce[ID_BYTES], struct buf *to, struct err *e);
/* *ret_list points into bytes. KLUIS_ECORRUPT, KLUIS_EVERSION. Pure. */
KLUIS_MUST_CHECK int deletion_list_parse(
	struct bytes bytes, struct deletion_list *ret_list, struct err *e);
/* How many ids another list has that this one lacks. Pure. */
size_t deletion_list_lacks(const struct deletion_list *list, const struct deletion_list *other);
/* The new lineage of a restore with this list, so that the record that names it signs the list and
 * no site can restore with another one. Pure. */
void deletion_list_lineage(struct bytes bytes, uint8_t ret_lineage[ID_BYTES]);

#endif
