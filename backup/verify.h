/* Is this snapshot what its manifest says? Level 1: signature and object sizes; 2: SHA-256 of all
 * ciphertext, without any key; 3: decrypt, row hashes, index rules, state root of the whole point.
 * Blocking. */
#ifndef KLUIS_BACKUP_VERIFY_H
#define KLUIS_BACKUP_VERIFY_H

#include "backup/point.h"

struct verify_report {
	unsigned level;		 /* The highest that passed; 0: none. */
	unsigned snapshots;	 /* Of the point; level 3. */
	uint64_t objects, bytes; /* Of this snapshot, found or read. */
	uint64_t rows;		 /* Live in the point; level 3. */
};

/* One object against its row of a manifest: its size, from level 2 on every byte. KLUIS_EVERIFY,
 * KLUIS_ENOTFOUND; e says what, not which (repository_object_fault()). */
KLUIS_MUST_CHECK int verify_object(struct repository *repository,
	const struct manifest_object *object, unsigned level, struct err *e);

/* Levels 1 and 2 look at this snapshot alone, level 3 at the point it makes with its chain. keys:
 * for level 3, else NULL. Every level includes those below it. KLUIS_EVERIFY, KLUIS_ECORRUPT or
 * KLUIS_ENOTFOUND with the object named in e; *ret_report is set in every case. scratch: see
 * point_rows_new(). */
KLUIS_MUST_CHECK int verify_snapshot(struct repository *repository,
	const uint8_t manifest_hash[HASH_BYTES], const struct backup_trust *trust, unsigned level,
	const struct backup_key_set *keys, const char *scratch, struct verify_report *ret_report,
	struct err *e);

#endif
