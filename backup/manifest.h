/* A snapshot's manifest: what it is, which objects it has, its state root, signed by the node that
 * took it (docs/format-backup.md section 4). Pure. */
#ifndef KLUIS_BACKUP_MANIFEST_H
#define KLUIS_BACKUP_MANIFEST_H

#include <stdbool.h>

#include "backup/keys.h"

enum manifest_type { MANIFEST_FULL = 1, MANIFEST_INCREMENT = 2, MANIFEST_JOURNAL = 3 };
enum { SLICE_NONE = 255, MANIFEST_HEADER_BYTES = 248, MANIFEST_OBJECT_BYTES = 40 };

struct manifest_object {
	uint8_t hash[32];
	uint64_t bytes;
};

struct backup_manifest {
	enum manifest_type type;
	bool manual;
	unsigned slice;
	uint8_t cluster_id[16], lineage[16];
	uint64_t index, term, from; /* S, its term, S' */
	uint32_t cycle;		    /* 0: a manual full. */
	uint32_t number;	    /* Of a journal increment behind its cycle, from 1; else 0. */
	uint8_t base[32];	    /* Manifest hash of the snapshot of S'. */
	uint8_t state_root[32], state_hash[32];
	uint64_t cluster_time_ms, wall_ms;
	uint64_t live, tombstones, value_bytes;
	uint64_t node;
	uint64_t id;	 /* Raft index of the entry that began it. */
	uint8_t kid[16]; /* Of the backup public key. */
	uint32_t n_index, n_packs;
	struct manifest_object *objects; /* n_index, then n_packs. */
};

void backup_manifest_release(struct backup_manifest *manifest); /* Frees objects; for _cleanup_. */

/* Appends the signed bytes; ret_hash is the manifest hash. signer: KEY_ED25519. The manifest must
 * hold the rules that backup_manifest_parse() checks (KLUIS_EINVAL). */
KLUIS_MUST_CHECK int backup_manifest_encode(const struct backup_manifest *manifest,
	const struct key *signer, struct buf *to, uint8_t ret_hash[32], struct err *e);
/* Every rule of the format but the signature. KLUIS_EVERSION for a version or type of a later
 * format, KLUIS_ECORRUPT for anything else. Release *ret_manifest. */
KLUIS_MUST_CHECK int backup_manifest_parse(struct bytes bytes, struct backup_manifest *ret_manifest,
	uint8_t ret_hash[32], struct err *e);
/* As backup_manifest_parse(), after the signature of a node in `trust` was checked (KLUIS_EVERIFY),
 * by the key that it has now. */
KLUIS_MUST_CHECK int backup_manifest_open(struct bytes bytes, const struct backup_trust *trust,
	struct backup_manifest *ret_manifest, uint8_t ret_hash[32], struct err *e);
/* The same of what a repository holds and something named by its hash: a key that the node had
 * before is as good then. *ret_former (may be NULL): it was such a one. */
KLUIS_MUST_CHECK int backup_manifest_open_held(struct bytes bytes, const struct backup_trust *trust,
	struct backup_manifest *ret_manifest, uint8_t ret_hash[32], bool *ret_former,
	struct err *e);
/* Of all objects; a parsed manifest's sum cannot overflow. */
uint64_t backup_manifest_bytes(const struct backup_manifest *manifest);

#endif
