/* Members come and go while a cluster of real replicas runs: let in by their incarnation, promoted
 * for one that is gone, removed and forgotten. What ends the process of a node is in
 * tests/cluster/test_members.py. */
#include "tests/lib/test.h"

#include <string.h>

#include "raft/servers.h"
#include "tests/lib/fixture/client.h"
#include "tests/unit/raft/lib/replica_rig.h"

enum { TIMEOUT_MS = 60000 };

static int propose(struct replica_rig *rig, unsigned node, const struct command *command)
{
	struct buf bytes = BUF_INIT;

	command_encode(command, &bytes);
	return replica_rig_propose(rig, node, &bytes, TIMEOUT_MS, NULL);
}

static struct servers rows(struct replica_rig *rig, unsigned node)
{
	struct servers servers = {.n = 0};
	struct kv_view *view;
	struct kv *kv;

	while (replica_read_begin(rig->node[node], &kv) != 0) {
		replica_rig_run(rig, 20); /* A fetched store is put in place. */
	}
	view = kv_view_new(kv);
	assert_int_equal(servers_load(view, &servers, NULL), 0);
	kv_view_free(view);
	replica_read_end(rig->node[node]);
	return servers;
}

/* Waits for it; the test's own timeout is the bound. */
#define UNTIL(rig, condition)               \
	while (!(condition)) {              \
		replica_rig_run((rig), 20); \
	}

static void begin(struct replica_rig *rig)
{
	struct buf init = BUF_INIT;

	(void)replica_rig_leader(rig);
	fixture_cluster_init(&init, rig->founders);
	assert_int_equal(replica_rig_propose(rig, 0, &init, TIMEOUT_MS, NULL), 0);
	for (unsigned i = 0; i < rig->founders; i++) {
		struct command announce = {.type = COMMAND_NODE_ANNOUNCE,
			.node_announce = {.node = i + 1, .feature_level = FEATURE_LEVEL}};

		assert_int_equal(propose(rig, 0, &announce), 0);
	}
	UNTIL(rig, rows(rig, 0).voters != 0);
}

static int add(struct replica_rig *rig, unsigned node, const uint8_t *incarnation)
{
	struct command command = {.type = COMMAND_SERVER_ADD,
		.server_add = {.id = node + 1,
			.weight = SERVER_WEIGHT_DEFAULT,
			.site = bytes_str("new"),
			.address = bytes_str(rig->servers[node].address)}};

	memcpy(command.server_add.incarnation, incarnation, 16);
	return propose(rig, 0, &command);
}

static enum replica_vote vote_of(struct replica_rig *rig, unsigned at, unsigned node)
{
	struct replica_status status = replica_rig_status(rig, at);

	const struct replica_peer_status *peer = replica_status_peer(&status, node + 1);

	if (peer != NULL) {
		return peer->vote;
	}
	return at == node ? status.vote : REPLICA_SPARE;
}

static void test_join_promote_and_remove(void **state)
{
	struct command gone = {
		.type = COMMAND_SERVER_WISH, .server_wish = {.id = 3, .wish = SERVER_GONE}};
	struct replica_rig rig;
	uint8_t incarnation[16];
	char *dir;

	(void)state;
	replica_rig_init_joining(&rig, 4, 3, 1);
	rig.gone_ms = 4000; /* Longer than a busy machine keeps one of them waiting. */
	dir = replica_rig_path(&rig, 3, "data");
	assert_int_equal(replica_incarnation(rig.dir, 4, incarnation, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(replica_incarnation(dir, 4, incarnation, NULL), 0);
	free(dir);
	for (unsigned i = 0; i < 3; i++) {
		replica_rig_start(&rig, i);
	}
	begin(&rig);
	assert_int_equal(rows(&rig, 0).n, 3);
	assert_int_equal(rows(&rig, 0).voters, 3);

	/* It waits, and nobody speaks with it. */
	replica_rig_start(&rig, 3);
	replica_rig_run(&rig, 500);
	assert_true(replica_rig_status(&rig, 3).joining);
	assert_false(replica_rig_status(&rig, 3).begun);
	assert_int_equal(replica_rig_status(&rig, 3).term, 0);
	assert_int_equal(vote_of(&rig, 0, 3), REPLICA_SPARE);

	assert_int_equal(add(&rig, 3, incarnation), 0);
	UNTIL(&rig, replica_rig_status(&rig, 3).begun);
	replica_rig_converge(&rig);
	/* What they say of it is a copy, made some times a second. */
	UNTIL(&rig,
		vote_of(&rig, 0, 3) == REPLICA_STANDBY && vote_of(&rig, 3, 3) == REPLICA_STANDBY);
	assert_false(replica_rig_status(&rig, 3).joining);
	assert_int_equal(rows(&rig, 3).n, 4);

	/* A voter goes; the newcomer takes its place, and what is committed needs its word. */
	if (replica_rig_leader(&rig) == 2) {
		replica_rig_stop(&rig, 2, 1000);
	} else {
		replica_rig_stop(&rig, 2, 0);
	}
	UNTIL(&rig, vote_of(&rig, 0, 3) == REPLICA_VOTER && vote_of(&rig, 0, 2) == REPLICA_STANDBY);
	UNTIL(&rig, vote_of(&rig, 3, 3) == REPLICA_VOTER);
	assert_int_equal(propose(&rig, 0, &gone), 0);
	UNTIL(&rig, rows(&rig, 0).n == 3 && rows(&rig, 1).n == 3 && rows(&rig, 3).n == 3);
	replica_rig_converge(&rig);
	UNTIL(&rig, vote_of(&rig, 0, 2) == REPLICA_SPARE);
	UNTIL(&rig, replica_rig_status(&rig, 0).n_peers == 2);

	/* Two of the three are enough, with the newcomer among them, also after they began again.
	 */
	replica_rig_stop(&rig, 1, 0);
	replica_rig_stop(&rig, 3, 0);
	replica_rig_start(&rig, 3);
	assert_true(replica_rig_status(&rig, 3).begun);
	(void)replica_rig_leader(&rig);
	gone.server_wish = (struct command_server_wish){.id = 4, .wish = SERVER_VOTER};
	assert_int_equal(propose(&rig, 3, &gone), 0);
	replica_rig_release(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_join_promote_and_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
