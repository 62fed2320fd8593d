/* Filling a fresh store from a backup: rows come in any order, the newest modification of a key
 * wins, and the last step makes the store one that a new cluster can begin with. */
#ifndef KLUIS_STORAGE_IMPORT_H
#define KLUIS_STORAGE_IMPORT_H

#include "crypto/restore_record.h"
#include "storage/index_store.h"
#include "storage/position.h"

struct import;

/* kv must be empty (KLUIS_EEXIST) and stays the caller's. One thread. */
KLUIS_MUST_CHECK int import_new(struct kv *kv, struct import **ret_import, struct err *e);
void import_free(struct import *import); /* NULL is allowed. */

/* One row as a pack carries it; key and value are copied. value is not looked at when
 * row->deleted. Applying a row twice, or an older one after a newer one, changes nothing.
 * KLUIS_EVERIFY: the value's SHA-256 is not row->hash; KLUIS_EINVAL: no key of a row. */
KLUIS_MUST_CHECK int import_put(
	struct import *import, const struct index_row *row, struct bytes value, struct err *e);

struct import_row {
	struct index_row row;
	struct bytes value;
};
/* As import_put() of each, in one write: rows of different keys, whose values the caller has just
 * compared with their hashes. */
KLUIS_MUST_CHECK int import_put_checked(
	struct import *import, const struct import_row *rows, size_t n, struct err *e);

/* Whether the last step may drop or write a row with this key: what is left is the snapshot's, byte
 * for byte. */
bool import_touches(struct bytes key);
/* Whether the last step drops a row with this key: a restore never brings it back. */
bool import_drops(struct bytes key);

struct import_end {
	uint64_t index, term;	  /* S and its term: the new log begins at S + 1. */
	uint64_t cluster_time_ms; /* Of the snapshot. */
	uint8_t state_root[32];	  /* What the manifest says: compared before anything is dropped. */
	/* The operator's, for this cluster and S; it brings the new lineage and becomes a row. The
	 * caller has checked its signature. */
	uint8_t record[RESTORE_RECORD_BYTES];
	const uint8_t (*ledger)[16]; /* Vaults deleted after S, from the deletion journal. */
	size_t n_ledger;
	const uint8_t (*users)[16]; /* Persons deleted after S, likewise. */
	size_t n_users;
	const uint8_t (*devices)[16]; /* Devices revoked after S, likewise: as deletion_device_id()
				       * names them, strictly ascending. */
	size_t n_devices;
	const uint8_t (*members)[16]; /* Removed after S, likewise: as deletion_member_id() names
				       * them, strictly ascending. */
	size_t n_members;
};
/* Compares the state root (KLUIS_EVERIFY when it differs, or when the record is of another cluster,
 * lineage or index), drops sessions, idempotency rows, failures, what was under way (recoveries,
 * devices that ask), hash reports and node rows, puts vaults and persons of the ledger to deletion,
 * revokes its devices, takes those it removed for members who declined (but for the last admin who
 * could let anybody in), adds the record, sets the new lineage and the position, and flushes.
 * Deterministic: every node of the new cluster ends with the same bytes. */
KLUIS_MUST_CHECK int import_finish(
	struct import *import, const struct import_end *end, struct err *e);
/* Of import_finish(): those of the ledger that were there, devices that were not revoked, members
 * who had access. */
struct import_deleted {
	size_t vaults, persons, devices, members;
	size_t admins_kept; /* Removed, but nobody else could let anybody in. */
};
struct import_deleted import_deleted(const struct import *import);

#endif
