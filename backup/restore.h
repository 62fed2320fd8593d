/* A whole cluster's store from one site's repository, into a new data directory: first what would
 * happen, then it (docs/format-backup.md section 7). Blocking. */
#ifndef KLUIS_BACKUP_RESTORE_H
#define KLUIS_BACKUP_RESTORE_H

#include <stdatomic.h>

#include "backup/deletion_list.h"
#include "backup/pace.h"
#include "backup/point.h"
#include "crypto/restore_record.h"

/* What a restore of this point will do; nothing is read but manifests and file sizes. */
struct restore_plan {
	uint8_t manifest_hash[HASH_BYTES];
	uint8_t cluster_id[ID_BYTES], lineage[ID_BYTES]; /* As they were. */
	uint64_t index, term;
	uint32_t cycle;
	bool manual;
	uint64_t node, cluster_time_ms, wall_ms; /* Who took it, when. */
	unsigned snapshots, journals;		 /* Of the chain, all read; journals among them. */
	uint64_t objects, bytes;		 /* To be read. */
	/* Of values at most so much will be written, what later ones replace included, and at
	 * least so much: the newest snapshot's. How much it is only the indexes say, which are
	 * sealed. */
	uint64_t value_bytes, least_value_bytes;
	uint64_t oldest_wall_ms; /* Of the chain's oldest snapshot. */
	/* Of the backup keys that open the chain, newest first. */
	uint8_t kids[BACKUP_KEYS_MAX][KID_BYTES];
	unsigned n_kids;
};
/* KLUIS_ENOTFOUND or KLUIS_EVERIFY names what is missing or wrong. */
KLUIS_MUST_CHECK int restore_plan(struct repository *repository,
	const uint8_t manifest_hash[HASH_BYTES], const struct backup_trust *trust,
	struct restore_plan *ret_plan, struct err *e);

struct restore_config {
	struct repository *repository;
	const uint8_t *manifest_hash;
	const struct backup_trust *trust;
	const struct backup_key_set *keys;  /* The private backup keys of the chain. */
	struct bytes record;		    /* The signed one for this restore. */
	struct bytes deletions;		    /* The list that it names. */
	const struct key_pub *operator_key; /* KEY_ECDSA_P256. */
	const char *dir;		    /* Data directory; made when it is missing. */
	/* May be NULL; called now and then on the caller's thread. */
	void (*progress)(void *data, uint64_t rows, uint64_t rows_total);
	void *progress_data;
	struct pace *pace;	   /* Of the values; may be NULL. */
	const atomic_bool *cancel; /* May be NULL; true ends it with KLUIS_ECLOSED. */
};
struct restore_result {
	uint64_t index, term; /* The new log begins at index + 1. */
	uint8_t cluster_id[ID_BYTES], lineage[ID_BYTES];
	uint64_t rows, value_bytes;
	size_t vaults_deleted, persons_deleted, devices_revoked, members_removed; /* Again. */
	size_t admins_kept; /* Removed since, but nobody else could let anybody in. */
};

/* Writes <dir>/db, the record among its rows. All or nothing: it appears by rename when all is
 * checked and synced, and what an interrupted run left (<dir>/db.restoring) is removed by the next
 * one. The same point with the same record gives the same store at every site. KLUIS_EEXIST: there
 * is a db; KLUIS_EBUSY: another restore is at it; KLUIS_EINVAL, KLUIS_EVERSION, KLUIS_ECORRUPT: no
 * record, no list; KLUIS_EVERIFY: a record that is not the operator's or not for this point, a list
 * that is not the record's, or a row, a segment or the state root that is not what was backed up.
 */
KLUIS_MUST_CHECK int restore_cluster(
	const struct restore_config *config, struct restore_result *ret_result, struct err *e);

/* Whether the record is the operator's and for a restore of this very manifest: its cluster,
 * lineage, index and hash, into another lineage. KLUIS_EINVAL, KLUIS_EVERSION, KLUIS_EVERIFY. */
KLUIS_MUST_CHECK int restore_record_check(struct bytes record, const struct key_pub *operator_key,
	const struct backup_manifest *manifest, const uint8_t manifest_hash[HASH_BYTES],
	struct restore_record *ret_record, struct err *e);

#endif
