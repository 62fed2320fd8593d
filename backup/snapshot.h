/* Writing one snapshot into a repository: rows in, sealed packs and index out, manifest last.
 * Memory is a few segments whatever the size. Blocking; for one thread, with one of its own that
 * makes objects durable and, for snapshot_take(), one that reads. */
#ifndef KLUIS_BACKUP_SNAPSHOT_H
#define KLUIS_BACKUP_SNAPSHOT_H

#include <stdatomic.h>

#include "backup/index.h"
#include "backup/pace.h"
#include "backup/repository.h"
#include "storage/index_store.h"

/* What a log entry fixed about the snapshot before it was begun, and what the checkpoint says. */
struct snapshot_plan {
	uint8_t cluster_id[ID_BYTES], lineage[ID_BYTES];
	bool full, manual;
	uint32_t cycle;	 /* 0 for a manual full. */
	uint32_t number; /* Not 0: a journal increment. */
	uint64_t id;	 /* Raft index of the entry that began it; of a journal increment: index. */
	uint64_t from;	 /* S'; 0 for a full. */
	uint8_t base[HASH_BYTES];
	uint64_t index, term; /* S */
	uint8_t state_hash[HASH_BYTES];
	uint64_t cluster_time_ms, wall_ms;
	uint64_t node;
};

struct snapshot_writer;

/* pub: the backup public key; repository and pub outlive the writer. */
KLUIS_MUST_CHECK int snapshot_writer_new(struct repository *repository,
	const struct snapshot_plan *plan, const struct key_pub *pub,
	struct snapshot_writer **ret_writer, struct err *e);
/* Every live row and tombstone of the store (of a journal increment: behind `from`), ascending by
 * modification index: the writer chooses what belongs into this snapshot and makes the state root
 * of all. *ret_value: the row's value must follow by snapshot_writer_value(). KLUIS_ECORRUPT: out
 * of order or beyond S. */
KLUIS_MUST_CHECK int snapshot_writer_row(struct snapshot_writer *writer,
	const struct index_row *row, bool *ret_value, struct err *e);
/* KLUIS_ECORRUPT when it does not hash to the row's value hash: a node does not back up what it
 * cannot vouch for. */
KLUIS_MUST_CHECK int snapshot_writer_value(
	struct snapshot_writer *writer, struct bytes value, struct err *e);
/* What the snapshot came to; manifest released with the writer. */
struct snapshot_result {
	uint8_t manifest_hash[HASH_BYTES];
	const struct backup_manifest *manifest;
};
/* Closes the objects and publishes the signed manifest. Then only free is left. */
KLUIS_MUST_CHECK int snapshot_writer_finish(struct snapshot_writer *writer,
	const struct key *signer, struct snapshot_result *ret_result, struct err *e);
/* What was published without a manifest is removed by a later prune. NULL is fine. */
void snapshot_writer_free(struct snapshot_writer *writer);

/* Who follows a snapshot while it is being taken. */
struct snapshot_watch {
	const atomic_bool *cancel;   /* May be NULL; set, it ends the call with KLUIS_ECLOSED. */
	struct pace *pace;	     /* Of the values; may be NULL. */
	atomic_uint_fast64_t *moved; /* NULL, or more with each row, and while the pace holds it. */
	/* May be NULL: this object is in the repository now, and the manifest will name it. On a
	 * thread of its own. */
	void (*published)(void *data, const struct manifest_object *object);
	void *data;
};

/* All of it from a store (a checkpoint opened read-only, or a live one): the rows as they are at
 * plan->index, which must be the view's position; nobody else uses the view meanwhile. watch may be
 * NULL. Release *ret_manifest. */
KLUIS_MUST_CHECK int snapshot_take(struct repository *repository, const struct snapshot_plan *plan,
	const struct kv_view *view, const struct key_pub *pub, const struct key *signer,
	const struct snapshot_watch *watch, struct backup_manifest *ret_manifest,
	uint8_t ret_hash[HASH_BYTES], struct err *e);

#endif
