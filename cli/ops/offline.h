/* A backup repository opened by a person, without a running node. */
#ifndef KLUIS_CLI_OPS_OFFLINE_H
#define KLUIS_CLI_OPS_OFFLINE_H

#include "backup/manifest.h"
#include "backup/point.h"
#include "cli/ops/node_config.h"
#include "cli/ui/command.h"

struct offline {
	struct node_config *config;
	struct backup_trust trust;
	struct repository *repository;
	/* Of the repository's site, by its deletion journal: the lineage that it lived in last, and
	 * its node; zero: not known. */
	uint8_t lineage[ID_BYTES];
	uint64_t node;
};

/* From --config and --repository (or the repository that the settings name). */
KLUIS_MUST_CHECK int offline_open(struct invocation *inv, struct offline *ret_offline);
void offline_release(struct offline *offline);

struct offline_snapshot {
	struct backup_manifest manifest;
	uint8_t hash[HASH_BYTES];
	bool trusted;	     /* Signed by a node of the settings, with the key that it has now. */
	bool former;	     /* Signed with one that it had before: it counts when it is named. */
	bool last;	     /* Of the lineage that the site lived in last. */
	uint64_t lineage_ms; /* Cluster time of the newest of its lineage. */
};
/* All manifests of the settings' cluster, newest first: in a lineage by raft index; of lineages the
 * one that the site lived in last, then by cluster time, for the clock of the taker is only one
 * node's. Untrusted ones are marked, damaged
 * ones counted and named on stderr. The caller frees by offline_snapshots_free(). */
KLUIS_MUST_CHECK int offline_list(struct invocation *inv, const struct offline *offline,
	struct offline_snapshot **ret_snapshots, size_t *ret_n, size_t *ret_damaged);
void offline_snapshots_free(struct offline_snapshot *snapshots, size_t n);
/* id: number of a snapshot, or 8 to 64 hex digits of a manifest hash; NULL: the newest snapshot,
 * without the journal behind it. KLUIS_ENOTFOUND;
 * KLUIS_ECONFLICT when it is not one alone; KLUIS_EVERIFY when a damaged manifest, or for the
 * newest one that no key of now has signed, may be the one that is meant. Release
 * ret_snapshot->manifest. */
KLUIS_MUST_CHECK int offline_find(struct invocation *inv, const struct offline *offline,
	const char *id, struct offline_snapshot *ret_snapshot);
/* The newest point of all, by raft index in the newest lineage of a trusted manifest: a journal
 * increment, mostly. What is damaged, not trusted or not whole is passed over aloud.
 * KLUIS_ENOTFOUND. Release ret_snapshot->manifest. */
KLUIS_MUST_CHECK int offline_find_newest(struct invocation *inv, const struct offline *offline,
	struct offline_snapshot *ret_snapshot);
/* Where what does not fit into memory is sorted, in files without a name: the data directory of the
 * settings, or the one that it will be made in, whose file system must have the room anyway; for
 * who may write nothing there, as one who only looks, the repository, and when that is not to be
 * written either, what TMPDIR names, else /tmp. The caller frees it. */
char *offline_scratch(const struct offline *offline);
/* A row for the renderer. */
json_t *offline_row(const struct offline_snapshot *snapshot);

#endif
