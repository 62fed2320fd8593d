#include "tests/lib/test.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/kv.h"
#include "tests/lib/fixture/client.h"
#include "tests/unit/raft/lib/replica_rig.h"

enum { TIMEOUT_MS = 15000 };

/* Account, session and vault of one client, through node `node`. */
static void begin(struct replica_rig *rig, unsigned node, struct fixture_client *c)
{
	_cleanup_(buf_release) struct buf command = BUF_INIT;

	(void)replica_rig_leader(rig);
	fixture_client_init(c, 1);
	fixture_cluster_init(&command, rig->n);
	assert_int_equal(replica_rig_propose(rig, node, &command, TIMEOUT_MS, NULL), 0);
	/* Sessions made before would be over: cluster time begins at 0 and jumps once. */
	while (replica_rig_status(rig, node).cluster_time_ms < 1000000000000) {
		replica_rig_run(rig, 20);
	}
	fixture_service_create(c, &command);
	assert_int_equal(replica_rig_propose(rig, node, &command, TIMEOUT_MS, NULL), 0);
	fixture_service_enrol(c, &command);
	assert_int_equal(replica_rig_propose(rig, node, &command, TIMEOUT_MS, NULL), 0);
	fixture_session_create(c, 1000 * 1000, &command);
	assert_int_equal(replica_rig_propose(rig, node, &command, TIMEOUT_MS, NULL), 0);
	fixture_vault_create(c, &command);
	assert_int_equal(replica_rig_propose(rig, node, &command, TIMEOUT_MS, NULL), 0);
}

/* Stages one page of 2^bucket + 144 bytes through a node. */
static int stage(struct replica_rig *rig, unsigned node, const struct fixture_client *c,
	unsigned bucket, uint64_t salt, unsigned timeout_ms)
{
	struct buf command = BUF_INIT;

	fixture_stage(c, 0, 1, bucket, salt, &command);
	return replica_rig_propose(rig, node, &command, timeout_ms, NULL);
}

static void test_three_nodes_agree(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;
	uint64_t index = 0;

	(void)state;
	replica_rig_init(&rig, 3, 3);
	replica_rig_start_all(&rig);
	begin(&rig, 0, &c);
	for (unsigned i = 0; i < 30; i++) {
		struct replica_status status;

		assert_int_equal(stage(&rig, i % 3, &c, 12, i, TIMEOUT_MS), 0);
		/* Own write, own read: applied at the node that answered, seen by a read
		 * elsewhere. */
		assert_int_equal(replica_rig_read(&rig, (i + 1) % 3, TIMEOUT_MS, &index), 0);
		assert_true(replica_applied(rig.node[(i + 1) % 3], NULL) >= index);
		status = replica_rig_status(&rig, i % 3);
		assert_false(status.quarantined);
	}
	replica_rig_converge(&rig);
	replica_rig_release(&rig);
}

static void test_refusals(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;
	struct buf command = BUF_INIT;

	(void)state;
	replica_rig_init(&rig, 3, 3);
	replica_rig_start_all(&rig);
	begin(&rig, 0, &c);
	/* The state machine's own word. */
	fixture_service_create(&c, &command);
	assert_int_not_equal(replica_rig_propose(&rig, 1, &command, TIMEOUT_MS, NULL), 0);
	buf_put_zeros(&command, COMMAND_BYTES_MAX + 1);
	assert_int_equal(replica_rig_propose(&rig, 1, &command, TIMEOUT_MS, NULL), KLUIS_ETOOLARGE);
	/* Two of three gone: not proposed at the one left, unless it leads. */
	replica_rig_stop(&rig, 0, 0);
	replica_rig_stop(&rig, 1, 0);
	{
		int rc = stage(&rig, 2, &c, 12, 99, 500);
		uint64_t index;

		assert_true(rc == KLUIS_ENOQUORUM || rc == KLUIS_EUNKNOWN_OUTCOME);
		assert_int_equal(replica_rig_read(&rig, 2, 500, &index), KLUIS_ENOQUORUM);
	}
	replica_rig_release(&rig);
}

static void test_leader_killed_and_all_restarted(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;
	unsigned leader, other;

	(void)state;
	replica_rig_init(&rig, 3, 3);
	replica_rig_start_all(&rig);
	begin(&rig, 0, &c);
	for (unsigned round = 0; round < 3; round++) {
		leader = replica_rig_leader(&rig);
		other = (leader + 1) % 3;
		replica_rig_stop(&rig, leader, 0);
		/* Goes to the new leader by itself. */
		assert_int_equal(stage(&rig, other, &c, 12, 100 + round, TIMEOUT_MS), 0);
		replica_rig_start(&rig, leader);
		replica_rig_converge(&rig);
	}
	for (unsigned i = 0; i < 3; i++) {
		replica_rig_stop(&rig, i, 0);
	}
	replica_rig_start_all(&rig);
	(void)replica_rig_leader(&rig);
	assert_int_equal(stage(&rig, 1, &c, 12, 200, TIMEOUT_MS), 0);
	replica_rig_converge(&rig);
	replica_rig_release(&rig);
}

/* Proposals under way while the leader goes: each ends, and what ends well is there. */
struct flight {
	struct propose propose;
	unsigned *left;
	int rc;
};

static void flight_cb(struct propose *req, int rc)
{
	struct flight *f = CONTAINER_OF(req, struct flight, propose);

	f->rc = rc;
	(*f->left)--;
}

static void test_proposals_in_flight_survive_a_change_of_leader(void **state)
{
	enum { FLIGHTS = 60 };
	struct flight *flights = x_calloc(FLIGHTS, sizeof *flights);
	struct fixture_client c;
	struct replica_rig rig;
	unsigned leader, left = FLIGHTS, good = 0;

	(void)state;
	replica_rig_init(&rig, 3, 3);
	replica_rig_start_all(&rig);
	begin(&rig, 0, &c);
	leader = replica_rig_leader(&rig);
	for (unsigned i = 0; i < FLIGHTS; i++) {
		struct buf command = BUF_INIT;

		flights[i].left = &left;
		fixture_stage(&c, 0, 1, 12, 1000 + i, &command);
		propose_start(&flights[i].propose, rig.node[(leader + 1 + i % 2) % 3], &rig.mailbox,
			&command, clock_monotonic_ms(&clock_system) + TIMEOUT_MS, flight_cb);
		if (i == FLIGHTS / 2) {
			replica_rig_stop(&rig, leader, 0);
		}
	}
	while (left > 0) {
		(void)uv_run(&rig.loop, UV_RUN_ONCE);
	}
	for (unsigned i = 0; i < FLIGHTS; i++) {
		good += flights[i].rc == 0;
	}
	assert_int_equal(good, FLIGHTS);
	replica_rig_converge(&rig);
	replica_rig_release(&rig);
	free(flights);
}

static void transfer_cb(struct replica_transfer *req, int rc)
{
	req->rc = rc;
	uv_stop(req->home->async.loop);
}

static int transfer(struct replica_rig *rig, unsigned node, uint64_t to)
{
	struct replica_transfer req;

	replica_transfer_start(&req, rig->node[node], &rig->mailbox, to,
		clock_monotonic_ms(&clock_system) + 5000, transfer_cb);
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	return req.rc;
}

static void test_leadership_is_handed_over(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;
	unsigned leader, to;

	(void)state;
	replica_rig_init(&rig, 3, 3);
	replica_rig_start_all(&rig);
	begin(&rig, 0, &c);
	leader = replica_rig_leader(&rig);
	to = (leader + 1) % 3;
	assert_int_equal(transfer(&rig, to, 0), KLUIS_ENOTLEADER);
	assert_int_equal(transfer(&rig, leader, 77), KLUIS_EINVAL);
	assert_int_equal(transfer(&rig, leader, to + 1), 0);
	assert_int_equal(replica_rig_leader(&rig), to);
	/* A stop that hands over: the others have a leader at once. */
	replica_rig_stop(&rig, to, 3000);
	assert_int_not_equal(replica_rig_leader(&rig), to);
	assert_int_equal(stage(&rig, leader, &c, 12, 1, 2000), 0);
	replica_rig_release(&rig);
}

/* One voter that was away, with what it had, and the standby, which never ran: both need what the
 * log has forgotten. */
static void test_six_nodes_two_of_them_far_behind(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;
	unsigned leader, behind, standby = 5;

	(void)state;
	replica_rig_init(&rig, 6, 5);
	for (unsigned i = 0; i < 5; i++) {
		replica_rig_start(&rig, i);
	}
	begin(&rig, 0, &c);
	leader = replica_rig_leader(&rig);
	behind = (leader + 2) % 5;
	replica_rig_stop(&rig, behind, 0);
	for (unsigned i = 0; i < 1200; i++) {
		assert_int_equal(stage(&rig, leader, &c, 17, 5000 + i, TIMEOUT_MS), 0);
	}
	for (unsigned waited = 0; replica_rig_status(&rig, leader).first_index < 50; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&rig, 20);
	}
	replica_rig_start(&rig, standby);
	replica_rig_start(&rig, behind);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(stage(&rig, leader, &c, 12, 9000 + i, TIMEOUT_MS), 0);
	}
	replica_rig_converge(&rig);
	assert_true(replica_rig_status(&rig, standby).first_index >= 50);
	assert_true(replica_rig_status(&rig, behind).first_index >= 50);
	/* What was installed is there after a restart, and goes on. */
	replica_rig_stop(&rig, standby, 0);
	replica_rig_start(&rig, standby);
	assert_int_equal(stage(&rig, standby, &c, 12, 10000, TIMEOUT_MS), 0);
	replica_rig_converge(&rig);
	replica_rig_release(&rig);
}

static void test_log_and_store_belong_together(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;
	_cleanup_(x_freep) char *log = NULL;
	struct err e = {0};

	(void)state;
	replica_rig_init(&rig, 3, 3);
	replica_rig_start_all(&rig);
	begin(&rig, 0, &c);
	assert_int_equal(replica_rig_try_start(&rig, 0, &e), KLUIS_EBUSY);
	replica_rig_stop(&rig, 2, 0);
	log = replica_rig_path(&rig, 2, "data/log/vote");
	assert_int_equal(unlink(log), 0);
	assert_int_equal(replica_rig_try_start(&rig, 2, &e), KLUIS_ECORRUPT);
	assert_non_null(strstr(e.text, log));
	replica_rig_release(&rig);
}

static void test_read_only_below_the_floor(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;

	(void)state;
	replica_rig_init(&rig, 3, 3);
	replica_rig_start_all(&rig);
	begin(&rig, 0, &c);
	replica_rig_stop(&rig, 1, 0);
	rig.floor_bytes = UINT64_MAX; /* Then 10 % of the disk ... */
	rig.floor_percent = 100;      /* ... or all of it: never that much is free. */
	replica_rig_start(&rig, 1);
	for (unsigned waited = 0; !replica_rig_status(&rig, 1).read_only; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&rig, 20);
	}
	assert_int_equal(stage(&rig, 1, &c, 12, 1, TIMEOUT_MS), KLUIS_EREADONLY);
	assert_int_not_equal(replica_rig_leader(&rig), 1);
	assert_int_equal(stage(&rig, 0, &c, 12, 1, TIMEOUT_MS), 0);
	replica_rig_release(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_three_nodes_agree),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_leader_killed_and_all_restarted),
		cmocka_unit_test(test_proposals_in_flight_survive_a_change_of_leader),
		cmocka_unit_test(test_leadership_is_handed_over),
		cmocka_unit_test(test_log_and_store_belong_together),
		cmocka_unit_test(test_read_only_below_the_floor),
		cmocka_unit_test(test_six_nodes_two_of_them_far_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
