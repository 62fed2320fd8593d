/* What a node does for backups: takes the snapshots it claimed, ships them, takes in what the other
 * sites shipped here and confirms it, forgets what is too old, and keeps the deletion journal. It
 * compares the replicated snapshot records with what lies in this site's repository and does what
 * is missing, so that a restart, a lost connection or a lost answer needs no memory. Directories:
 * docs/format-backup.md section 6; the drop of sender X is <drop>/X/incoming, and senders name it
 * <ssh_path>/X/incoming. */
#ifndef KLUIS_NODE_BACKUP_JOB_H
#define KLUIS_NODE_BACKUP_JOB_H

#include <uv.h>

#include "backup/schedule.h"
#include "backup/keys.h"
#include "node/api.h"
#include "node/backup_summary.h"
#include "node/config.h"
#include "node/identity.h"
#include "raft/replica.h"

/* One a site to ship to, one a site to receive from; packs, pruning, re-reading, the deletion
 * journal, an operator's look. */
#define BACKUP_JOB_THREADS(others) (2 * (unsigned)(others) + 5)

enum {
	BACKUP_JOB_TICK_MS = 500,
	BACKUP_JOB_TICK_MS_MIN = 5,
	BACKUP_JOB_RECEIVE_MS = 1000,  /* Between two looks into a drop, */
	BACKUP_JOB_HURRY_MS = 2000,    /* After a manifest came: looks follow each other after */
	BACKUP_JOB_HURRY_LOOK_MS = 25, /* ... so long. */
	BACKUP_JOB_EXPECT_MS = 200,    /* ... into which the log says something comes, */
	BACKUP_JOB_RECEIVE_MS_MAX = 60000, /* ... that takes long to look through. */
	BACKUP_JOB_TOLD_MS = 60000,	   /* Between two lines about one sender's rubbish. */
	BACKUP_JOB_REHASH_MS = 60000,	   /* Between two steps of re-reading, */
	BACKUP_JOB_REHASH_STEPS = 64,	   /* or a round has so many. */
	BACKUP_JOB_PRUNE_MS = 3600 * 1000,
	BACKUP_JOB_PRUNE_AGAIN_MS = 120 * 1000, /* After one that failed. */
	BACKUP_JOB_OPEN_MS = 5000,		/* Until drops and repository are tried again. */
	BACKUP_JOB_OPEN_LATE_MS = 60 * 1000,	/* An alarm when opening has not ended. */
	BACKUP_JOB_RETRY_MS = 15 * 1000,	/* After a failed shipment to a site. */
	BACKUP_JOB_HELP_MS = 120 * 1000,	/* ... of a kind that an operator has to end. */
	BACKUP_JOB_AGAIN_MS = 120 * 1000,	/* Shipped, and still not confirmed. */
	BACKUP_JOB_AWAY_MS = 120 * 1000, /* Until others do what a silent member was to do. */
	BACKUP_JOB_PROPOSE_MS = 10000,
	BACKUP_JOB_DELETIONS_MS = 2000, /* Between two looks at the ledgers of deletions. */
	BACKUP_JOB_DELETIONS_LATE_MS = 600 * 1000, /* An alarm when the journal is so far behind. */
	BACKUP_JOB_MARK_MS = 60 * 1000,		   /* How old the journal's word on that may be. */
	BACKUP_CLAIM_AGAIN_MS = 2000,		   /* After a claim or its renewal was refused. */
};

struct backup_job;

/* config, identity, replica, pool and home outlive the job; pool has BACKUP_JOB_THREADS(other
 * sites). On failure nothing is left; e names what to do. KLUIS_EINVAL when the settings have no
 * [backup]. What the disk of repository and drops answers fails no start: it is opened behind it,
 * again and again until it is there (backup_job_copies() says why it is not). Blocking; on the
 * loop's thread. */
KLUIS_MUST_CHECK int backup_job_start(struct backup_job **ret_job, const struct config *config,
	const struct node_identity *identity, struct replica *replica, struct pool *pool,
	uv_loop_t *loop, struct mailbox *home, struct err *e);
/* Stops what runs (an upload is cut and taken up again at the next start) and frees the job; then
 * closed_cb. On the loop's thread, before the replica is stopped. */
void backup_job_close(struct backup_job *job, void (*closed_cb)(void *data), void *data);

/* The nodes of the settings as those whose manifests count, and their former keys. Release
 * ret_trust in every case. */
KLUIS_MUST_CHECK int backup_job_trust(
	const struct config *config, struct backup_trust *ret_trust, struct err *e);
/* Reads the file of the public backup key again: what is sealed from now on is sealed to the key
 * that is there. On failure the one in force stays. Blocking; any thread. */
KLUIS_MUST_CHECK int backup_job_reload(void *data, struct err *e);

/* The schedule in these settings: none without a [backup]. */
void backup_claim_rules(const struct config *config, struct schedule_rules *ret_rules);
/* The nodes that can take a snapshot, ascending. */
KLUIS_MUST_CHECK int backup_claim_nodes(
	const struct kv_view *view, uint64_t ret_nodes[SITES_MAX], size_t *ret_n, struct err *e);

/* For api_hooks; data is the job. Any thread. */
void backup_job_claimed(void *data, uint64_t snapshot_id);
void backup_job_deletions(void *data, char ret_text[256]);
size_t backup_job_shipments(void *data, struct api_shipment ret_rows[SITES_MAX]);
void backup_job_copies(void *data, struct api_copies *ret_copies);
KLUIS_MUST_CHECK int backup_job_verify(void *data, const uint8_t manifest_hash[32], unsigned level,
	struct api_verify *ret_verify, struct err *e);

/* False: not known yet. */
bool backup_job_summary(void *data, struct backup_summary *ret_summary);

#endif
