/* Three nodes with real replicas, each with a real sshd and the backup job. */
#ifndef KLUIS_TESTS_UNIT_NODE_LIB_BACKUP_RIG_H
#define KLUIS_TESTS_UNIT_NODE_LIB_BACKUP_RIG_H

#include "backup/keys.h"
#include "node/backup_job.h"
#include "storage/snapshot_store.h"
#include "tests/lib/sshd.h"
#include "tests/unit/raft/lib/replica_rig.h"

enum { BACKUP_RIG_NODES = 3 };

struct backup_rig {
	struct replica_rig rig;
	struct test_sshd *sshd[BACKUP_RIG_NODES];
	struct config config[BACKUP_RIG_NODES];
	struct node_identity identity;
	struct backup_key_set keys;
	struct key *signer[BACKUP_RIG_NODES];
	char *backup_public;
	struct pool *pool[BACKUP_RIG_NODES];
	struct backup_job *job[BACKUP_RIG_NODES];
	unsigned closed;
	uint64_t slot;
};

extern const char *const backup_rig_names[BACKUP_RIG_NODES];

/* All of it, begun, every node announced and its job running; all senders share one SSH key. */
int backup_rig_set_up(void **state);
int backup_rig_tear_down(void **state);
/* Its repository is open, or why it is not is known. */
void backup_rig_start_job(struct backup_rig *w, unsigned i);
void backup_rig_close_job(struct backup_rig *w, unsigned i);
void backup_rig_propose(struct backup_rig *w, const struct command *command, uint64_t *ret_index);
/* A claim by `node`, of a cycle or a manual snapshot; its id. */
uint64_t backup_rig_claim(struct backup_rig *w, uint64_t node, bool manual);
struct snapshot_row backup_rig_row(struct backup_rig *w, uint64_t id);
/* Until both other sites confirmed it. */
struct snapshot_row backup_rig_wait_confirmed(struct backup_rig *w, uint64_t id);
/* Until one did, while the other cannot. */
struct snapshot_row backup_rig_wait_first(struct backup_rig *w, uint64_t id);
/* Each site's own copy, down to the state root. */
void backup_rig_assert_at_every_site(struct backup_rig *w, const struct snapshot_row *row);
/* All replicas said that they had the same state as of the snapshot: hash reports or state roots.
 */
void backup_rig_assert_agreed(
	struct backup_rig *w, enum key_family family, const struct snapshot_row *row);
/* How the last shipment from this node to that site ended. */
struct api_shipment backup_rig_shipment(struct backup_rig *w, unsigned from, const char *site);
/* Of a snapshot in a node's repository, for free(): its manifest, and its first object. */
char *backup_rig_manifest_path(struct backup_rig *w, unsigned node, const struct snapshot_row *row);
char *backup_rig_object_path(struct backup_rig *w, unsigned node, const struct snapshot_row *row);

#endif
