/* Several replicas in one process, with real links, logs and stores, asked from a loop of its own.
 */
#ifndef KLUIS_TESTS_UNIT_RAFT_LIB_REPLICA_RIG_H
#define KLUIS_TESTS_UNIT_RAFT_LIB_REPLICA_RIG_H

#include "raft/command.h"
#include "raft/propose.h"
#include "raft/read_index.h"
#include "raft/replica.h"

enum { RIG_NODES_MAX = 6, RIG_WAIT_MS = 60000 };

struct replica_rig {
	char *dir;
	unsigned n, voters, founders; /* Behind the founders: made to join. */
	struct replica_server servers[RIG_NODES_MAX];
	int port_fds[RIG_NODES_MAX];
	struct replica *node[RIG_NODES_MAX]; /* NULL: stopped. */
	uint64_t newest_index;		     /* Of what was proposed with success. */
	uint64_t floor_bytes;
	unsigned floor_percent, gone_ms;
	uv_loop_t loop;
	struct mailbox mailbox;
	uv_timer_t timer;
};

/* Certificates, directories, ports and first logs for n nodes with ids 1 .. n, of which the first
 * `voters` vote. Fails the test on errors; starts none. */
void replica_rig_init(struct replica_rig *rig, unsigned n, unsigned voters);
/* The same, but the last `joining` of the n are made to join what the others begin. */
void replica_rig_init_joining(
	struct replica_rig *rig, unsigned n, unsigned voters, unsigned joining);
void replica_rig_release(struct replica_rig *rig);
/* Nodes count from 0 here. */
int replica_rig_try_start(struct replica_rig *rig, unsigned node, struct err *e);
void replica_rig_start(struct replica_rig *rig, unsigned node);
void replica_rig_start_all(struct replica_rig *rig);
void replica_rig_stop(struct replica_rig *rig, unsigned node, unsigned hand_over_ms);
char *replica_rig_path(const struct replica_rig *rig, unsigned node, const char *name);

/* Runs the loop for at most ms. */
void replica_rig_run(struct replica_rig *rig, unsigned ms);
/* Waits for a leader that all running nodes know; returns its place. */
unsigned replica_rig_leader(struct replica_rig *rig);
struct replica_status replica_rig_status(struct replica_rig *rig, unsigned node);
/* After the cluster's first command, until cluster time, which begins at 0 and jumps once, has done
 * so: tokens and sessions made before would be over. */
void replica_rig_wait_clock(struct replica_rig *rig, unsigned node);
/* Takes the command. */
int replica_rig_propose(struct replica_rig *rig, unsigned node, struct buf *command,
	unsigned timeout_ms, uint64_t *ret_index);
int replica_rig_read(
	struct replica_rig *rig, unsigned node, unsigned timeout_ms, uint64_t *ret_index);
/* Until all running nodes have applied all that was proposed, to the same index, and agree on the
 * state hash. */
void replica_rig_converge(struct replica_rig *rig);

#endif
