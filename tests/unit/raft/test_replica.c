#include "tests/lib/test.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "raft/fsm.h"
#include "raft/snapshot_record.h"
#include "tests/lib/fixture/client.h"
#include "tests/unit/raft/lib/replica_rig.h"

enum { TIMEOUT_MS = 60000 };

/* Account, session and vault of one client, through node `node`. */
static void begin(struct replica_rig *rig, unsigned node, struct fixture_client *c)
{
	_cleanup_(buf_release) struct buf command = BUF_INIT;

	(void)replica_rig_leader(rig);
	fixture_client_init(c, 1);
	fixture_cluster_init(&command, rig->n);
	assert_int_equal(replica_rig_propose(rig, node, &command, TIMEOUT_MS, NULL), 0);
	replica_rig_wait_clock(rig, node);
	fixture_service_create(c, &command);
	assert_int_equal(replica_rig_propose(rig, node, &command, TIMEOUT_MS, NULL), 0);
	fixture_service_enrol(c, &command);
	assert_int_equal(replica_rig_propose(rig, node, &command, TIMEOUT_MS, NULL), 0);
	fixture_session_create(c, 1000 * 1000, &command);
	assert_int_equal(replica_rig_propose(rig, node, &command, TIMEOUT_MS, NULL), 0);
	fixture_vault_create(c, &command);
	assert_int_equal(replica_rig_propose(rig, node, &command, TIMEOUT_MS, NULL), 0);
	fixture_committed(c, bytes_of(NULL, 0));
}

/* Three voters, all running, with one client's things. */
static void begin_three(struct replica_rig *rig, struct fixture_client *c)
{
	replica_rig_init(rig, 3, 3);
	replica_rig_start_all(rig);
	begin(rig, 0, c);
}

/* Stages one page of 2^bucket + 144 bytes through a node. */
static int stage(struct replica_rig *rig, unsigned node, const struct fixture_client *c,
	unsigned bucket, uint64_t salt, unsigned timeout_ms)
{
	struct buf command = BUF_INIT;

	fixture_stage(c, 0, 1, bucket, salt, &command);
	return replica_rig_propose(rig, node, &command, timeout_ms, NULL);
}

/* Commits one page inline; bucket 0: a tombstone. */
static int commit_one(struct replica_rig *rig, unsigned node, struct fixture_client *c,
	unsigned bucket, bool purge)
{
	_cleanup_(buf_release) struct buf entries = BUF_INIT;
	struct buf command = BUF_INIT;
	int rc;

	fixture_entry(c, 0, 1, bucket, 1, false, &entries);
	fixture_commit(c, buf_bytes(&entries), 1, purge, &command);
	rc = replica_rig_propose(rig, node, &command, TIMEOUT_MS, NULL);
	if (rc == 0) {
		fixture_committed(c, buf_bytes(&entries));
	}
	return rc;
}

/* A tombstone, and a page beside it. */
static int commit_two(struct replica_rig *rig, unsigned node, struct fixture_client *c)
{
	_cleanup_(buf_release) struct buf entries = BUF_INIT;
	struct buf command = BUF_INIT;

	fixture_entry(c, 0, 2, 0, 1, false, &entries);
	fixture_entry(c, 1, 1, 12, 1, false, &entries);
	fixture_commit(c, buf_bytes(&entries), 2, false, &command);
	return replica_rig_propose(rig, node, &command, TIMEOUT_MS, NULL);
}

static void test_three_nodes_agree(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;
	uint64_t index = 0;

	(void)state;
	begin_three(&rig, &c);
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
	begin_three(&rig, &c);
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

/* Waits for an index that never comes: so many and no more, and each ends. */
struct wait {
	struct applied_wait wait;
	unsigned *busy, *behind;
};

static void wait_cb(struct applied_wait *req, int rc)
{
	struct wait *w = CONTAINER_OF(req, struct wait, wait);

	assert_true(rc == KLUIS_EBUSY || rc == KLUIS_EBEHIND);
	++*(rc == KLUIS_EBUSY ? w->busy : w->behind);
}

static void test_waits_are_bounded(void **state)
{
	enum { BEYOND = 10, WAITS = READS_WAITING_MAX + BEYOND };
	struct wait *waits = x_calloc(WAITS, sizeof *waits);
	unsigned busy = 0, behind = 0, wait_ms = 1500;
	struct replica_rig rig;

	(void)state;
	replica_rig_init(&rig, 1, 1);
	replica_rig_start_all(&rig);
	for (unsigned round = 0; round < 2;) {
		uint64_t deadline_ms = clock_monotonic_ms(&clock_system) + wait_ms;

		busy = behind = 0;
		for (unsigned i = 0; i < WAITS; i++) {
			waits[i] = (struct wait){.busy = &busy, .behind = &behind};
			applied_wait_start(&waits[i].wait, rig.node[0], &rig.mailbox, UINT64_MAX,
				deadline_ms, wait_cb);
		}
		while (busy + behind < WAITS) {
			(void)uv_run(&rig.loop, UV_RUN_ONCE);
		}
		if (busy < BEYOND && wait_ms < TIMEOUT_MS) {
			wait_ms *= 4; /* The first had ended before the last began. */
			continue;
		}
		assert_int_equal(busy, BEYOND);
		round++;
	}
	replica_rig_release(&rig);
	free(waits);
}

static void test_leader_killed_and_all_restarted(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;
	unsigned leader, other;

	(void)state;
	begin_three(&rig, &c);
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
	begin_three(&rig, &c);
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
		clock_monotonic_ms(&clock_system) + TIMEOUT_MS, transfer_cb);
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	return req.rc;
}

/* On a busy machine another election may come between. */
static void hand_over(struct replica_rig *rig)
{
	for (unsigned tries = 0; transfer(rig, replica_rig_leader(rig), 0) != 0; tries++) {
		assert_true(tries < 20);
	}
}

/* Whom they agree on once that is not `than` any more: what they say of it is a copy, made some
 * times a second. */
static unsigned led_by_another(struct replica_rig *rig, unsigned than)
{
	unsigned leader = replica_rig_leader(rig);

	for (unsigned waited = 0; leader == than && waited < RIG_WAIT_MS; waited += 20) {
		replica_rig_run(rig, 20);
		leader = replica_rig_leader(rig);
	}
	return leader;
}

static void test_leadership_is_handed_over(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;
	unsigned leader, to;

	(void)state;
	begin_three(&rig, &c);
	leader = replica_rig_leader(&rig);
	to = (leader + 1) % 3;
	assert_int_equal(transfer(&rig, to, 0), KLUIS_ENOTLEADER);
	assert_int_equal(transfer(&rig, leader, 77), KLUIS_EINVAL);
	/* On a busy machine another election may come between. */
	for (unsigned tries = 0;
		transfer(&rig, leader, to + 1) != 0 || led_by_another(&rig, leader) != to;
		tries++) {
		assert_true(tries < 20);
		leader = replica_rig_leader(&rig);
		to = (leader + 1) % 3;
	}
	/* A stop that hands over: the others have a leader at once. */
	replica_rig_stop(&rig, to, 3000);
	assert_int_not_equal(led_by_another(&rig, to), to);
	assert_int_equal(stage(&rig, leader, &c, 12, 1, TIMEOUT_MS), 0);
	replica_rig_release(&rig);
}

/* One voter and the standby were away: both need what the log has forgotten. */
/* The only voter has nobody to wait for. */
static void test_a_leader_alone_stops_at_once(void **state)
{
	const unsigned hand_over_ms = 2 * RIG_WAIT_MS;
	struct replica_rig rig;
	uint64_t begin_ms;

	(void)state;
	replica_rig_init(&rig, 1, 1);
	replica_rig_start_all(&rig);
	assert_int_equal(replica_rig_leader(&rig), 0);
	begin_ms = clock_monotonic_ms(&clock_system);
	replica_rig_stop(&rig, 0, hand_over_ms);
	assert_true(clock_monotonic_ms(&clock_system) - begin_ms < hand_over_ms / 2);
	replica_rig_release(&rig);
}

static void test_six_nodes_two_of_them_far_behind(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;
	unsigned leader, behind, standby = 5;

	(void)state;
	replica_rig_init(&rig, 6, 5);
	replica_rig_start_all(&rig);
	begin(&rig, 0, &c);
	leader = replica_rig_leader(&rig);
	behind = (leader + 2) % 5;
	replica_rig_stop(&rig, behind, 0);
	replica_rig_stop(&rig, standby, 0);
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

/* What an interrupted fetch left goes when the node follows by its log, not before. */
static void test_leftovers_of_a_fetch_go(void **state)
{
	_cleanup_(x_freep) char *dir = NULL, *file = NULL;
	struct fixture_client c;
	struct replica_rig rig;
	uint64_t start_ms;

	(void)state;
	replica_rig_init(&rig, 3, 3);
	dir = replica_rig_path(&rig, 1, "data/catchup/00112233445566778899aabbccddeeff/db");
	file = replica_rig_path(
		&rig, 1, "data/catchup/00112233445566778899aabbccddeeff/db/000012.sst");
	assert_int_equal(file_make_dirs(dir, 0700, NULL), 0);
	assert_int_equal(file_write(file, bytes_str("half a file"), 0600, NULL), 0);
	replica_rig_start(&rig, 1); /* Alone: there is nobody to follow. */
	start_ms = clock_monotonic_ms(&clock_system);
	replica_rig_run(&rig, 1500);
	assert_true(file_exists(file));
	replica_rig_start(&rig, 0);
	replica_rig_start(&rig, 2);
	begin(&rig, 0, &c);
	while (file_exists(file)) {
		assert_true(clock_monotonic_ms(&clock_system) - start_ms < RIG_WAIT_MS);
		assert_int_equal(stage(&rig, 1, &c, 12, 1, TIMEOUT_MS), 0);
		replica_rig_run(&rig, 100);
	}
	assert_true(clock_monotonic_ms(&clock_system) - start_ms >= CATCH_UP_KEPT_MS);
	assert_int_equal(stage(&rig, 1, &c, 12, 2, TIMEOUT_MS), 0);
	replica_rig_release(&rig);
}

static void test_log_and_store_belong_together(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;
	_cleanup_(x_freep) char *log = NULL;
	struct err e = {0};

	(void)state;
	begin_three(&rig, &c);
	assert_int_equal(replica_rig_try_start(&rig, 0, &e), KLUIS_EBUSY);
	replica_rig_stop(&rig, 2, 0);
	log = replica_rig_path(&rig, 2, "data/log/vote");
	assert_int_equal(unlink(log), 0);
	assert_int_equal(replica_rig_try_start(&rig, 2, &e), KLUIS_ECORRUPT);
	assert_non_null(strstr(e.text, log));
	replica_rig_release(&rig);
}

/* The nodes' reports of one index: those of `odd` differ. */
static void report(struct replica_rig *rig, uint64_t index, unsigned odd)
{
	for (uint64_t node = 1; node <= rig->n; node++) {
		struct command command = {
			.type = COMMAND_HASH_REPORT, .hash_report = {.node = node, .index = index}};
		struct buf bytes = BUF_INIT;

		memset(command.hash_report.hash, node == odd ? 1 : 2, 32);
		command_encode(&command, &bytes);
		assert_int_equal(replica_rig_propose(rig, 0, &bytes, TIMEOUT_MS, NULL), 0);
	}
}

static bool report_until(struct replica_rig *rig, unsigned odd, unsigned node, bool quarantined)
{
	static uint64_t index = 1;

	for (unsigned waited = 0; waited < RIG_WAIT_MS; waited += 100) {
		report(rig, index++ % 4 + 1, odd);
		replica_rig_run(rig, 100);
		if (replica_quarantined(rig->node[node]) == quarantined) {
			return true;
		}
	}
	return false;
}

/* One that a majority disagrees with neither leads nor is ready, until it agrees again. */
static void test_a_node_that_differs_is_quarantined(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;

	(void)state;
	begin_three(&rig, &c);
	for (unsigned waited = 0; replica_rig_leader(&rig) != 2; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		(void)transfer(&rig, replica_rig_leader(&rig), 3);
	}
	assert_true(report_until(&rig, 3, 2, true));
	for (unsigned waited = 0; replica_rig_leader(&rig) == 2; waited += 100) {
		assert_true(waited < RIG_WAIT_MS);
		report(&rig, 2, 3); /* Its own, true, reports would end it. */
		replica_rig_run(&rig, 100);
	}
	assert_false(replica_quarantined(rig.node[0]) || replica_quarantined(rig.node[1]));
	assert_true(report_until(&rig, 0, 2, false));
	replica_rig_release(&rig);
}

/* A standby never campaigns, so that it remembers the last leader for ever. */
static void test_a_standby_that_is_cut_off_knows(void **state)
{
	struct replica_rig rig;
	uint64_t heard_ms = 0;

	(void)state;
	replica_rig_init(&rig, 4, 3);
	replica_rig_start_all(&rig);
	(void)replica_rig_leader(&rig);
	for (unsigned waited = 0; !replica_rig_status(&rig, 3).ready; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&rig, 20);
	}
	for (unsigned i = 0; i < 3; i++) {
		replica_rig_stop(&rig, i, 0);
	}
	for (unsigned waited = 0; replica_rig_status(&rig, 3).ready; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&rig, 20);
	}
	(void)replica_applied(rig.node[3], &heard_ms);
	assert_true(heard_ms > 0);
	assert_true(clock_monotonic_ms(&clock_system) >= heard_ms + ELECTION_TIMEOUT_MS);
	replica_rig_release(&rig);
}

static void test_read_only_below_the_floor(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;

	(void)state;
	begin_three(&rig, &c);
	replica_rig_stop(&rig, 1, 0);
	rig.floor_bytes = UINT64_MAX; /* Then 10 % of the disk ... */
	rig.floor_percent = 300;      /* ... or more than there is: less than half is free. */
	replica_rig_start(&rig, 1);
	for (unsigned waited = 0; !replica_rig_status(&rig, 1).read_only; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&rig, 20);
	}
	assert_int_equal(stage(&rig, 1, &c, 12, 1, TIMEOUT_MS), KLUIS_EREADONLY);
	/* Dropping older revisions makes no room for a new one; only a tombstone passes. */
	assert_int_equal(commit_one(&rig, 1, &c, 12, true), KLUIS_EREADONLY);
	assert_int_equal(commit_one(&rig, 1, &c, 0, false), 0);
	/* Nor with new pages beside it, so far below. */
	assert_int_equal(commit_two(&rig, 1, &c), KLUIS_EREADONLY);
	/* It may win an election before it looks at its disk; then it hands over. */
	for (unsigned waited = 0; replica_rig_leader(&rig) == 1; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&rig, 20);
	}
	assert_int_equal(stage(&rig, 0, &c, 12, 1, TIMEOUT_MS), 0);
	replica_rig_release(&rig);
}

/* --- checkpoints by hand: what a restore and a crash in the middle of an install leave --- */

struct copy {
	struct replica_work work;
	char *const *to;
	unsigned n;
	bool done;
};

static int copy_work(struct replica_work *work, struct fsm *fsm)
{
	struct copy *copy = CONTAINER_OF(work, struct copy, work);
	uint64_t index, term;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < copy->n; i++) {
		rc = fsm_checkpoint(fsm, copy->to[i], &index, &term, NULL);
		assert_true(rc != 0 || (index == work->index && term == work->term));
	}
	return rc;
}

static void copy_cb(struct replica_work *work, int rc)
{
	struct copy *copy = CONTAINER_OF(work, struct copy, work);

	assert_int_equal(rc, 0);
	copy->done = true;
}

/* Checkpoints of a node's store in the n new directories `to`, all at one index, which is returned:
 * a cluster that nobody writes to still writes reports of itself. */
static uint64_t copy_stores(
	struct replica_rig *rig, unsigned node, char *const *to, unsigned n, uint64_t *ret_term)
{
	struct copy copy = {.to = to, .n = n};

	replica_work_start(&copy.work, rig->node[node], &rig->mailbox, copy_work, copy_cb);
	assert_false(copy.done);
	while (!copy.done) {
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	}
	*ret_term = copy.work.term;
	return copy.work.index;
}

static void test_a_restored_store_begins_a_new_log(void **state)
{
	struct fixture_client c;
	struct replica_rig old, rig;
	uint64_t index, term;
	char *db[3];
	struct err e = {0};

	(void)state;
	replica_rig_init(&old, 3, 3);
	replica_rig_init(&rig, 3, 0); /* No first logs. */
	for (unsigned i = 0; i < 3; i++) {
		rig.servers[i].vote = REPLICA_VOTER;
	}
	replica_rig_start_all(&old);
	begin(&old, 0, &c);
	assert_int_equal(stage(&old, 0, &c, 12, 1, TIMEOUT_MS), 0);
	for (unsigned i = 0; i < 3; i++) {
		_cleanup_(x_freep) char *data = replica_rig_path(&rig, i, "data");

		assert_int_not_equal(
			replica_bootstrap_restored(data, i + 1, rig.servers, 3, &e), 0);
		db[i] = replica_rig_path(&rig, i, "data/db");
	}
	index = copy_stores(&old, 0, db, 3, &term);
	for (unsigned i = 0; i < 3; i++) {
		_cleanup_(x_freep) char *data = replica_rig_path(&rig, i, "data");

		free(db[i]);
		assert_int_equal(replica_bootstrap_restored(data, i + 1, rig.servers, 3, &e), 0);
		assert_int_equal(
			replica_bootstrap_restored(data, i + 1, rig.servers, 3, &e), KLUIS_EEXIST);
	}
	replica_rig_release(&old);
	replica_rig_start_all(&rig);
	(void)replica_rig_leader(&rig);
	assert_int_equal(stage(&rig, 1, &c, 12, 2, TIMEOUT_MS), 0);
	replica_rig_converge(&rig);
	assert_true(replica_rig_status(&rig, 0).first_index >= index + 1);
	replica_rig_release(&rig);
}

/* A log that begins behind one of the two stores, with the other one put in its place. */
static void expect_refused(struct replica_rig *rig, unsigned node, char *const store[2],
	unsigned begun, const char *text)
{
	_cleanup_(x_freep) char *data = replica_rig_path(rig, node, "data");
	_cleanup_(x_freep) char *db = replica_rig_path(rig, node, "data/db");
	struct err e = {0};

	assert_int_equal(rename(store[begun], db), 0);
	assert_int_equal(replica_bootstrap_restored(data, node + 1, rig->servers, 2, &e), 0);
	assert_int_equal(rename(db, store[begun]), 0);
	assert_int_equal(rename(store[1 - begun], db), 0);
	assert_int_equal(replica_rig_try_start(rig, node, &e), KLUIS_ECORRUPT);
	if (strstr(e.text, text) == NULL) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(rename(db, store[1 - begun]), 0);
}

/* An old copy of the store beside a log that does not reach back to it, and an old copy of the log
 * beside a store that is further. */
static void test_old_copies(void **state)
{
	struct fixture_client c;
	struct replica_rig old, rig;
	uint64_t first, second, term;
	char *store[2];

	(void)state;
	replica_rig_init(&old, 1, 1);
	replica_rig_init(&rig, 2, 0);
	for (unsigned i = 0; i < 2; i++) {
		rig.servers[i].vote = REPLICA_VOTER;
		store[i] = x_asprintf("%s/store-%u", rig.dir, i);
	}
	replica_rig_start_all(&old);
	begin(&old, 0, &c);
	first = copy_stores(&old, 0, &store[0], 1, &term);
	assert_int_equal(stage(&old, 0, &c, 12, 1, TIMEOUT_MS), 0);
	second = copy_stores(&old, 0, &store[1], 1, &term);
	assert_true(second > first);
	replica_rig_release(&old);
	expect_refused(&rig, 0, store, 1,
		"the store is an old copy; 'kluisd rebuild' replaces it by a peer's");
	expect_refused(&rig, 1, store, 0, "the log is an old copy");
	free(store[0]);
	free(store[1]);
	replica_rig_release(&rig);
}

/* What stands on disk after the point of no return: with the store not yet moved, and moved. */
static void make_install(struct replica_rig *rig, unsigned node, uint64_t index, uint64_t term)
{
	_cleanup_(x_freep) char *path = replica_rig_path(rig, node, "data/install/snapshot");
	struct driver_snapshot snapshot = {.index = index, .term = term, .configuration_index = 1};
	_cleanup_(buf_release) struct buf record = BUF_INIT;

	for (unsigned i = 0; i < rig->n; i++) {
		char site[16];

		(void)snprintf(site, sizeof site, "node-%u", i + 1);
		assert_int_equal(configuration_add(&snapshot.configuration, i + 1,
					 i < rig->voters ? MEMBER_VOTER : MEMBER_STANDBY, site,
					 rig->servers[i].address),
			0);
	}
	snapshot_record_encode(&snapshot, &record);
	assert_int_equal(file_write(path, buf_bytes(&record), 0600, NULL), 0);
}

static void test_an_install_cut_short_is_ended(void **state)
{
	struct fixture_client c;
	struct replica_rig rig;

	(void)state;
	replica_rig_init(&rig, 4, 3);
	replica_rig_start_all(&rig);
	begin(&rig, 0, &c);
	for (unsigned moved = 0; moved < 2; moved++) {
		_cleanup_(x_freep) char *install = replica_rig_path(&rig, 3, "data/install");
		_cleanup_(x_freep) char *to =
			replica_rig_path(&rig, 3, moved ? "data/db" : "data/install/db");
		uint64_t index, term;

		replica_rig_stop(&rig, 3, 0);
		for (unsigned i = 0; i < 20; i++) {
			assert_int_equal(
				stage(&rig, 0, &c, 12, 50 + 20 * moved + i, TIMEOUT_MS), 0);
		}
		assert_int_equal(file_make_dirs(install, 0700, NULL), 0);
		assert_int_equal(file_remove_tree(to, NULL), 0);
		index = copy_stores(&rig, 0, &to, 1, &term);
		make_install(&rig, 3, index, term);
		replica_rig_start(&rig, 3);
		assert_false(file_exists(install));
		assert_true(replica_rig_status(&rig, 3).applied_index >= index);
		assert_int_equal(replica_rig_status(&rig, 3).first_index, index + 1);
		/* The old leader did not offer that install: it believes in the log of before. */
		hand_over(&rig);
		assert_int_equal(stage(&rig, 3, &c, 12, 500 + moved, TIMEOUT_MS), 0);
		replica_rig_converge(&rig);
	}
	replica_rig_release(&rig);
}

/* An install that was ended, and whose directory a crash left half removed or brought back: what
 * was stored since must stay. */
static void test_an_install_is_ended_once(void **state)
{
	_cleanup_(x_freep) char *install = NULL, *db = NULL;
	struct fixture_client c;
	struct replica_rig rig;
	uint64_t index, term;

	(void)state;
	replica_rig_init(&rig, 4, 3);
	replica_rig_start_all(&rig);
	begin(&rig, 0, &c);
	install = replica_rig_path(&rig, 3, "data/install");
	db = replica_rig_path(&rig, 3, "data/db");
	replica_rig_stop(&rig, 3, 0);
	assert_int_equal(file_make_dirs(install, 0700, NULL), 0);
	assert_int_equal(file_remove_tree(db, NULL), 0);
	index = copy_stores(&rig, 0, &db, 1, &term);
	make_install(&rig, 3, index, term);
	replica_rig_start(&rig, 3);
	hand_over(&rig);
	assert_int_equal(stage(&rig, 3, &c, 12, 1, TIMEOUT_MS), 0);
	replica_rig_converge(&rig);
	for (unsigned older = 0; older < 2; older++) {
		uint64_t applied = replica_rig_status(&rig, 3).applied_index;

		replica_rig_stop(&rig, 3, 0);
		assert_int_equal(file_make_dirs(install, 0700, NULL), 0);
		if (older) {
			make_install(&rig, 3, index - 1, term);
		}
		replica_rig_start(&rig, 3);
		assert_false(file_exists(install));
		assert_int_equal(replica_rig_status(&rig, 3).first_index, index + 1);
		assert_true(replica_rig_status(&rig, 3).last_index >= applied);
		replica_rig_converge(&rig);
	}
	replica_rig_release(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_three_nodes_agree),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_waits_are_bounded),
		cmocka_unit_test(test_leader_killed_and_all_restarted),
		cmocka_unit_test(test_proposals_in_flight_survive_a_change_of_leader),
		cmocka_unit_test(test_leadership_is_handed_over),
		cmocka_unit_test(test_a_leader_alone_stops_at_once),
		cmocka_unit_test(test_leftovers_of_a_fetch_go),
		cmocka_unit_test(test_log_and_store_belong_together),
		cmocka_unit_test(test_a_node_that_differs_is_quarantined),
		cmocka_unit_test(test_a_standby_that_is_cut_off_knows),
		cmocka_unit_test(test_read_only_below_the_floor),
		cmocka_unit_test(test_a_restored_store_begins_a_new_log),
		cmocka_unit_test(test_old_copies),
		cmocka_unit_test(test_an_install_cut_short_is_ended),
		cmocka_unit_test(test_an_install_is_ended_once),
		cmocka_unit_test(test_six_nodes_two_of_them_far_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
