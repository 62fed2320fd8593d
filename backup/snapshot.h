/* Writing one snapshot into a repository: rows in, sealed packs and index out, manifest last.
 * Memory is a few segments whatever the size. Blocking, one thread. */
#ifndef KLUIS_BACKUP_SNAPSHOT_H
#define KLUIS_BACKUP_SNAPSHOT_H

#include "backup/repository.h"
#include "backup/index.h"

/* What a log entry fixed about the snapshot before it was begun, and what the checkpoint says. */
struct snapshot_plan {
	uint8_t cluster_id[16], lineage[16];
	bool full, manual;
	uint32_t cycle;
	uint64_t from; /* S'; 0 for a full. */
	uint8_t base[32];
	uint64_t index, term; /* S */
	uint8_t state_hash[32];
	uint64_t cluster_time_ms, wall_ms;
	uint64_t node;
};

struct snapshot_writer;

KLUIS_MUST_CHECK int snapshot_writer_new(struct repository *repository,
	const struct snapshot_plan *plan, const struct key_pub *key,
	struct snapshot_writer **ret_writer, struct err *e);
/* Every live row and tombstone of the store, ascending by modification index; the writer chooses
 * what belongs into this snapshot and makes the state root of all. *ret_value: the row's value must
 * follow by snapshot_writer_value(). */
KLUIS_MUST_CHECK int snapshot_writer_row(struct snapshot_writer *writer,
	const struct index_row *row, bool *ret_value, struct err *e);
/* KLUIS_ECORRUPT when it does not hash to the row's value_hash: a node does not back up what it
 * cannot vouch for. */
KLUIS_MUST_CHECK int snapshot_writer_value(
	struct snapshot_writer *writer, struct bytes value, struct err *e);
/* Closes the objects and publishes the signed manifest. */
KLUIS_MUST_CHECK int snapshot_writer_finish(struct snapshot_writer *writer,
	const struct key *signer, uint8_t ret_manifest_hash[32], struct err *e);
/* What was published without a manifest is removed by a later prune. NULL is fine. */
void snapshot_writer_free(struct snapshot_writer *writer);

#endif
