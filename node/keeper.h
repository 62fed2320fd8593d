/* What a node proposes by itself, one thing at a time: the cluster's first command, its own
 * announcement, what its settings ask of accounts and say of backups, whether its disk is full, and
 * (as leader) the clean-up that is due. Runs on the loop it is started on, whose store reads may
 * block: the main loop, not the API's or the core's.
 */
#ifndef KLUIS_NODE_KEEPER_H
#define KLUIS_NODE_KEEPER_H

#include <uv.h>

#include "node/config.h"
#include "node/identity.h"
#include "raft/command.h"
#include "raft/propose.h"
#include "raft/replica.h"
#include "storage/node_backup_store.h"
#include "storage/policy_store.h"

enum { KEEPER_TICK_MS = 500, KEEPER_PROPOSE_MS = 10000 };

/* What the decision is made from. */
struct keeper_facts {
	bool leads, ready, read_only;
	bool have_cluster;	/* cluster_init was applied. */
	uint32_t feature_level; /* The cluster's. */
	struct node_row row;	/* This node's, zero when it never announced itself. */
	bool have_policy;	/* Of this node, as it was announced: */
	struct policy policy;
	bool time_set;	  /* Cluster time is about what the clocks say. */
	bool have_backup; /* Of this node, as it was announced: */
	struct node_backup_row backup;
	bool expire_due;
};
struct keeper_self {
	const struct config *config;
	const struct node_identity *identity;
	char link[ADDRESS_TEXT_BYTES_MAX + 1], ssh[ADDRESS_TEXT_BYTES_MAX + 1];
};
/* config and identity must outlive self. */
void keeper_self_init(struct keeper_self *self, const struct config *config,
	const struct node_identity *identity);
/* The one command that is due, its runs of bytes pointing into facts and self; false: none. Pure.
 */
bool keeper_decide(const struct keeper_facts *facts, const struct keeper_self *self,
	struct command *ret_command);

struct keeper {
	struct replica *replica;
	struct mailbox *home;
	struct keeper_self self;
	uv_timer_t timer;
	struct propose propose;
	enum command_type proposed;
	bool waiting, closing;
	void (*closed_cb)(struct keeper *keeper);
};

/* config and identity must outlive the keeper. */
int keeper_start(struct keeper *keeper, uv_loop_t *loop, struct mailbox *home,
	struct replica *replica, const struct config *config, const struct node_identity *identity);
/* closed_cb when nothing is under way any more; stop the replica only then. */
void keeper_close(struct keeper *keeper, void (*closed_cb)(struct keeper *keeper));

#endif
