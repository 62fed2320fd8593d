/* bench_replica COUNT [NODES BUCKET DEPTH [leader]]: COUNT pages of 2^BUCKET bytes staged through a
 * follower (or the leader), DEPTH at a time. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "tests/lib/fixture/client.h"
#include "tests/unit/raft/lib/replica_rig.h"

struct bench {
	struct replica_rig rig;
	struct fixture_client client;
	unsigned node, bucket, count, started, ended, failed;
	uint64_t bytes;
};

struct flight {
	struct propose propose;
	struct bench *bench;
};

static uint64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void flight_cb(struct propose *req, int rc);

static void flight_start(struct flight *f)
{
	struct bench *b = f->bench;
	struct buf command = BUF_INIT;

	fixture_stage(&b->client, 0, 1, b->bucket, 100 + b->started++, &command);
	b->bytes += command.len;
	propose_start(&f->propose, b->rig.node[b->node], &b->rig.mailbox, &command,
		clock_monotonic_ms(&clock_system) + 30000, flight_cb);
}

static void flight_cb(struct propose *req, int rc)
{
	struct flight *f = CONTAINER_OF(req, struct flight, propose);

	f->bench->ended++;
	f->bench->failed += rc != 0;
	if (f->bench->started < f->bench->count) {
		flight_start(f);
	}
}

static void bench_begin(struct bench *b)
{
	static const int steps = 5;

	(void)replica_rig_leader(&b->rig);
	fixture_client_init(&b->client, 1);
	for (int i = 0; i < steps; i++) {
		struct buf command = BUF_INIT;

		switch (i) {
		case 0:
			fixture_cluster_init(&command, b->rig.n);
			break;
		case 1:
			replica_rig_wait_clock(&b->rig, 0);
			fixture_service_create(&b->client, &command);
			break;
		case 2:
			fixture_service_enrol(&b->client, &command);
			break;
		case 3:
			fixture_session_create(&b->client, 1000 * 1000, &command);
			break;
		default:
			fixture_vault_create(&b->client, &command);
			break;
		}
		assert_int_equal(replica_rig_propose(&b->rig, 0, &command, 10000, NULL), 0);
	}
}

int main(int argc, char **argv)
{
	struct bench *b = x_calloc(1, sizeof *b);
	struct flight flights[64];
	unsigned depth, nodes, leader;
	uint64_t begin;
	double took;

	log_set_level(LOG_LEVEL_ERR);
	b->count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000;
	nodes = argc > 4 ? (unsigned)strtoul(argv[2], NULL, 10) : RIG_NODES_MAX;
	b->bucket = argc > 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 16;
	depth = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 8;
	assert_true(depth > 0 && depth <= 64);
	replica_rig_init(&b->rig, nodes, nodes < 6 ? nodes : 5);
	replica_rig_start_all(&b->rig);
	bench_begin(b);
	leader = replica_rig_leader(&b->rig);
	b->node = argc > 5 ? leader : (leader + 1) % nodes;
	begin = now_us();
	for (unsigned i = 0; i < depth && i < b->count; i++) {
		flights[i].bench = b;
		flight_start(&flights[i]);
	}
	while (b->ended < b->count) {
		(void)uv_run(&b->rig.loop, UV_RUN_ONCE);
	}
	took = (double)(now_us() - begin) / 1e6;
	(void)printf(
		"%u nodes, 2^%u bytes, %u at a time through a %s: %.0f/s, %.1f MB/s, %u failed, "
		"%.2f s\n",
		nodes, b->bucket, depth, b->node == leader ? "leader" : "follower", b->count / took,
		(double)b->bytes / 1e6 / took, b->failed, took);
	replica_rig_release(&b->rig);
	free(b);
	return 0;
}
