/* For tests of backups: a model of a store's rows in memory, sites with keys that trust each other,
 * and snapshots taken of the model into a site's repository. */
#ifndef KLUIS_TESTS_UNIT_BACKUP_LIB_SITE_H
#define KLUIS_TESTS_UNIT_BACKUP_LIB_SITE_H

#include "backup/point.h"
#include "backup/repository.h"
#include "backup/snapshot.h"
#include "base/random.h"
#include "storage/snapshot_store.h"

enum { BACKUP_ROWS_MAX = 20000, BACKUP_SITES = 3 };

struct backup_row {
	char key[24];
	struct buf value;
	uint64_t index;
	uint32_t ordinal;
	bool deleted;
};

/* What a store at index `index` holds; by_index order is the order of the array. */
struct backup_model {
	struct random_seeded random;
	struct backup_row *rows;
	size_t n;
	uint64_t index;
	uint64_t ahead_ms;	   /* The clock of whoever takes snapshots of it. */
	struct snapshot_plan last; /* Of the newest snapshot with a cycle; index 0: none. */
	uint8_t last_hash[HASH_BYTES];
};

struct backup_sites {
	char *dir;
	uint8_t cluster_id[ID_BYTES], lineage[ID_BYTES];
	struct key *backup_key;	    /* The one that new snapshots are sealed to. */
	struct backup_key_set keys; /* It, and those before it. */
	struct key *signer[BACKUP_SITES];
	struct backup_trust trust;		     /* Nodes 1 .. BACKUP_SITES. */
	struct repository *repository[BACKUP_SITES]; /* <dir>/repository<node> */
};

void backup_sites_init(struct backup_sites *sites, unsigned kem);
/* From now on another key is sealed to. */
void backup_sites_rotate(struct backup_sites *sites, unsigned kem);
/* From now on this node, 1 .. BACKUP_SITES, signs with another key; the trust has its former one.
 * For one node of these sites. */
void backup_sites_change_signer(struct backup_sites *sites, unsigned node);
void backup_sites_release(struct backup_sites *sites);

void backup_model_init(struct backup_model *model, uint64_t seed);
void backup_model_release(struct backup_model *model);
/* As it is now, rows and all; release both. */
void backup_model_copy(struct backup_model *to, const struct backup_model *from);
/* The next row from *at on that is there at all, and moves behind it; NULL: no more. */
const struct backup_row *backup_model_next(const struct backup_model *model, size_t *at);
/* changes rows put or deleted, over keys 0 .. keys - 1, values up to value_max bytes. */
void backup_model_change(
	struct backup_model *model, unsigned changes, unsigned keys, size_t value_max);
/* A snapshot by node 1 .. BACKUP_SITES: the first with a cycle is a full. */
void backup_model_snapshot(struct backup_model *model, struct backup_sites *sites, unsigned node,
	bool manual, uint8_t ret_hash[HASH_BYTES]);
/* A journal increment of the newest cycle: number `number`, built on this manifest. */
void backup_model_journal(struct backup_model *model, struct backup_sites *sites, unsigned node,
	uint32_t number, const struct backup_manifest *parent,
	const uint8_t parent_hash[HASH_BYTES], uint8_t ret_hash[HASH_BYTES]);
/* What the log says of it once it was shipped. */
struct snapshot_row backup_record(const struct backup_manifest *m, const uint8_t hash[HASH_BYTES]);
/* The point restores to exactly the model's live rows. */
void backup_model_assert(struct backup_model *model, struct backup_sites *sites,
	struct repository *repository, const uint8_t hash[HASH_BYTES]);

/* Turns one bit of one byte of a file round; the same again gives it back. */
void backup_flip(const char *path, off_t at);
/* The same of a manifest, by its name; at < 0: from its end. */
void backup_flip_manifest(struct repository *repository, const uint8_t hash[HASH_BYTES], off_t at);

#endif
