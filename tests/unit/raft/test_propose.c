/* Proposals that another node has to put into the log, between real replicas. */
#include "tests/lib/test.h"

#include <string.h>

#include "base/fault.h"
#include "tests/lib/fixture/client.h"
#include "tests/unit/raft/lib/replica_rig.h"

enum { TIMEOUT_MS = 60000, FOLLOWER = 1 };

struct flight {
	struct propose propose;
	unsigned *left;
	int rc;
};

static void flight_cb(struct propose *req, int rc)
{
	struct flight *flight = CONTAINER_OF(req, struct flight, propose);

	flight->rc = rc;
	--*flight->left;
}

/* Through the node; takes the command. */
static void flight_start(struct replica_rig *rig, unsigned node, struct flight *flight,
	unsigned *left, struct buf *command, unsigned timeout_ms)
{
	flight->left = left;
	++*left;
	propose_start(&flight->propose, rig->node[node], &rig->mailbox, command,
		clock_monotonic_ms(&clock_system) + timeout_ms, flight_cb);
}

static void fly(struct replica_rig *rig, const unsigned *left)
{
	while (*left > 0) {
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	}
}

/* A voter alone leads; a standby forwards to it. */
static void begin(struct replica_rig *rig)
{
	struct buf command = BUF_INIT;

	replica_rig_init(rig, 2, 1);
	replica_rig_start_all(rig);
	assert_int_equal(replica_rig_leader(rig), 0);
	fixture_cluster_init(&command, rig->n);
	assert_int_equal(replica_rig_propose(rig, FOLLOWER, &command, TIMEOUT_MS, NULL), 0);
}

/* The leader's disk is low: what passes the floor is taken, although its neighbours in the same
 * message are not. */
static void test_each_is_judged_for_itself(void **state)
{
	enum { FLIGHTS = 60 };
	struct flight flights[FLIGHTS];
	struct fixture_client c;
	struct replica_rig rig;
	unsigned left = 0;

	(void)state;
	begin(&rig);
	replica_rig_stop(&rig, 0, 0);
	rig.floor_bytes = UINT64_MAX;
	rig.floor_percent = 100;
	replica_rig_start(&rig, 0);
	assert_int_equal(replica_rig_leader(&rig), 0);
	while (!replica_rig_status(&rig, 0).read_only) {
		replica_rig_run(&rig, 20);
	}
	fixture_client_init(&c, 1);
	for (unsigned i = 0; i < FLIGHTS; i++) {
		struct command own = {
			.type = COMMAND_READONLY, .readonly = {.node = 2, .on = false}};
		struct buf command = BUF_INIT;

		if (i % 3 == 0) {
			fixture_service_create(&c, &command);
		} else {
			command_encode(&own, &command);
		}
		flight_start(&rig, FOLLOWER, &flights[i], &left, &command, TIMEOUT_MS);
	}
	fly(&rig, &left);
	for (unsigned i = 0; i < FLIGHTS; i++) {
		assert_int_equal(flights[i].rc, i % 3 == 0 ? KLUIS_EREADONLY : 0);
	}
	replica_rig_release(&rig);
}

/* What never left this node has a known outcome: none. And it leaves as soon as there is room. */
static void test_never_sent_is_no_unknown_outcome(void **state)
{
	struct flight flights[2];
	struct fixture_client c;
	struct replica_rig rig;
	struct buf command = BUF_INIT;
	unsigned left = 0;

	(void)state;
	begin(&rig);
	fixture_client_init(&c, 1);
	fault_arm("replica.send_proposals", 1, true);
	fixture_service_create(&c, &command);
	flight_start(&rig, FOLLOWER, &flights[0], &left, &command, 300);
	fly(&rig, &left);
	assert_int_equal(flights[0].rc, KLUIS_EBUSY);
	assert_true(fault_hits() > 0);
	fixture_service_create(&c, &command);
	flight_start(&rig, FOLLOWER, &flights[0], &left, &command, TIMEOUT_MS);
	replica_rig_run(&rig, 100);
	assert_int_equal(left, 1);
	fault_disarm();
	fly(&rig, &left);
	/* The first one is in no log: this is the first of its name. */
	assert_int_equal(flights[0].rc, 0);
	replica_rig_release(&rig);
}

/* Until the node's status, a copy that it makes from time to time, says that so many wait there. */
static struct replica_status waiting(struct replica_rig *rig, unsigned node, uint64_t n)
{
	struct replica_status status = replica_rig_status(rig, node);

	while (status.proposals_waiting < n) {
		replica_rig_run(rig, 5);
		status = replica_rig_status(rig, node);
	}
	return status;
}

/* While no quorum answers, what comes after the first entry waits for more, but soon goes, too. */
static void test_small_ones_do_not_wait_long(void **state)
{
	enum { FLIGHTS = 3, LOOKS_MAX = 400 };
	struct flight flights[FLIGHTS];
	struct replica_status status;
	struct fixture_client c;
	struct replica_rig rig;
	unsigned left = 0, leader;
	uint64_t last;

	(void)state;
	replica_rig_init(&rig, 2, 2);
	replica_rig_start_all(&rig);
	leader = replica_rig_leader(&rig);
	fixture_client_init(&c, 1);
	replica_rig_stop(&rig, 1 - leader, 0);
	last = replica_rig_status(&rig, leader).last_index;
	for (unsigned i = 0; i < FLIGHTS; i++) {
		struct buf command = BUF_INIT;

		fixture_stage(&c, 0, 1, 12, i, &command);
		flight_start(&rig, leader, &flights[i], &left, &command, TIMEOUT_MS);
		(void)waiting(&rig, leader, i + 1);
	}
	status = replica_rig_status(&rig, leader);
	for (unsigned i = 0; i < LOOKS_MAX && status.last_index < last + FLIGHTS; i++) {
		replica_rig_run(&rig, 5);
		status = replica_rig_status(&rig, leader);
	}
	assert_true(status.last_index == last + FLIGHTS);
	replica_rig_start(&rig, 1 - leader);
	fly(&rig, &left);
	replica_rig_release(&rig);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_is_judged_for_itself),
		cmocka_unit_test(test_never_sent_is_no_unknown_outcome),
		cmocka_unit_test(test_small_ones_do_not_wait_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
