/* What stands in front of a simulated node's driver: raft/propose.c, raft/read_index.c,
 * raft/forwarded.c and raft/replica_clock.c as they are in kluisd. They see a struct replica of
 * which only their own parts are alive; mailbox, links and loop turn are the simulator's. */
#ifndef KLUIS_TESTS_SIM_FRONT_H
#define KLUIS_TESTS_SIM_FRONT_H

#include "base/clock.h"
#include "raft/propose.h"
#include "raft/read_index.h"
#include "tests/sim/machine.h"

struct message;
struct sim;
struct sim_node;

/* A node's clocks: neither need be right. */
struct sim_clock {
	struct clock clock; /* First: what the code under test holds. */
	const struct sim *sim;
	uint64_t from_ms, base_ms; /* Monotonic: base_ms at virtual time from_ms. */
	unsigned rate;		   /* In thousandths of the true one. */
	int64_t wall_offset_ms;
};
void front_clock_init(struct sim_clock *clock, const struct sim *sim, unsigned rate);
/* A new process: its monotonic clock shows local_ms now. */
void front_clock_start(struct sim_clock *clock, uint64_t local_ms);
/* Virtual time at which the monotonic clock shows local_ms. */
uint64_t front_clock_due(const struct sim_clock *clock, uint64_t local_ms);

/* The process begins; node->driver and node->machine are there. */
void front_start(struct sim_node *node);
/* It ends: whoever waits hears nothing. */
void front_stop(struct sim_node *node);
/* The end of a turn of the loop, after every event. False if the node ended in it. */
bool front_turn(struct sim_node *node);
/* Machine has applied one batch more (its results), or was replaced (NULL). */
void front_applied(struct sim_node *node, const struct fsm_results *results);
void front_proposed(struct sim_node *node, uint64_t peer, const struct message *message);
void front_read_ready(struct sim_node *node, uint64_t token, int rc, uint64_t index);
/* Starts; the callback comes in a later turn. patience_ms from now. */
void front_propose(struct sim_node *node, struct propose *req, struct bytes command,
	uint64_t patience_ms, void (*cb)(struct propose *req, int rc));
void front_read(struct sim_node *node, struct read_index *req, uint64_t patience_ms,
	void (*cb)(struct read_index *req, int rc));
void front_wait(struct sim_node *node, struct applied_wait *req, uint64_t index,
	uint64_t patience_ms, void (*cb)(struct applied_wait *req, int rc));

#endif
