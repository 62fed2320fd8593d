/* A drill: a snapshot's point is restored into a directory of its own, a replica is booted on it as
 * a cluster of one, without peers and without an API, and every row that it then has is compared
 * with the backup's. Proves what no check of files can: that a restore works. In a process of its
 * own: a replica whose disk fails ends its process. */
#ifndef KLUIS_NODE_DRILL_H
#define KLUIS_NODE_DRILL_H

#include <stdatomic.h>

#include "backup/keys.h"
#include "backup/point.h"

struct drill_config {
	struct repository *repository;
	const struct backup_trust *trust;
	const struct backup_key_set *keys;
	const uint8_t *manifest_hash;
	/* Made for the drill and removed behind it, whatever happens. */
	const char *scratch;
	/* While the node with this data directory runs, so many bytes are moved a second; 0: no
	 * measure. */
	const char *node_dir;
	bool node_runs; /* That is known; else its lock says it, where /proc/locks can be read. */
	uint64_t busy_bytes_per_second;
	bool leftover; /* What is there is an earlier drill's and goes; else it must be new, empty,
			  or have nothing but what a drill that was killed has left. */
	const atomic_bool *cancel; /* May be NULL; true ends it with KLUIS_ECLOSED. */
};
struct drill_report {
	uint64_t id, index;	 /* Of the snapshot. */
	unsigned snapshots;	 /* Of its chain. */
	uint64_t rows, compared; /* In the point; found again, byte for byte, in the booted node. */
	uint64_t bytes;		 /* Of the values. */
	uint64_t ms;
};

/* KLUIS_EVERIFY, KLUIS_ECORRUPT, KLUIS_ENOTFOUND: no restore of this snapshot will work, or not
 * with this copy; KLUIS_EFORBIDDEN: a key is missing; KLUIS_ETIMEOUT: the node did not come up;
 * KLUIS_EEXIST: something lies in scratch, and stays; KLUIS_EBUSY: another drill works in it;
 * KLUIS_ECLOSED: stopped.
 * Blocking, for as long as the restore takes; minutes a gigabyte. */
KLUIS_MUST_CHECK int drill_run(
	const struct drill_config *config, struct drill_report *ret_report, struct err *e);
/* From now on SIGINT, SIGTERM and SIGHUP, where they are not ignored, make this true and do nothing
 * else. For the process of a drill: it ends by itself, and leaves nothing. */
const atomic_bool *drill_stop_by_signals(void);
/* Removes what a drill that was killed left in its directory. KLUIS_EBUSY: one works there. */
KLUIS_MUST_CHECK int drill_sweep(const char *scratch, struct err *e);

#endif
