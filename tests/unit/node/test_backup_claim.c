/* Which nodes a cycle may be taken by: those that can sign it, have room for it and are in no
 * quarantine. */
#include "tests/lib/test.h"

#include <string.h>

#include "node/backup_job.h"
#include "raft/command.h"
#include "tests/lib/fixture/machine.h"

enum { NODES = 6 };

static void announce(struct fixture_machine *m, uint64_t node, uint8_t backup_key)
{
	struct command c = {.type = COMMAND_NODE_ANNOUNCE,
		.node_announce = {.node = node, .feature_level = FEATURE_LEVEL_SCHEDULE}};

	memset(c.node_announce.backup_key, backup_key, sizeof c.node_announce.backup_key);
	assert_int_equal(fixture_machine_do(m, &c), 0);
}

static void read_only(struct fixture_machine *m, uint64_t node, bool on)
{
	struct command c = {.type = COMMAND_READONLY, .readonly = {.node = node, .on = on}};

	assert_int_equal(fixture_machine_do(m, &c), 0);
}

/* All report one state, but for `other`. */
static void report(struct fixture_machine *m, uint64_t other)
{
	uint64_t index = fsm_position(m->fsm)->index;

	for (uint64_t node = 1; node <= NODES; node++) {
		struct command c = {.type = COMMAND_HASH_REPORT,
			.hash_report = {.node = node, .index = index, .hash = {node == other}}};

		assert_int_equal(fixture_machine_do(m, &c), 0);
	}
}

/* The nodes, as digits. */
static void assert_nodes(struct fixture_machine *m, const char *expected)
{
	struct kv_view *view = kv_view_new(m->kv);
	char text[SITES_MAX + 1] = "";
	uint64_t nodes[SITES_MAX];
	size_t n = 0;

	assert_int_equal(backup_claim_nodes(view, nodes, &n, NULL), 0);
	kv_view_free(view);
	for (size_t i = 0; i < n; i++) {
		text[i] = (char)('0' + nodes[i]);
	}
	assert_string_equal(text, expected);
}

static void test_healthy_nodes_only(void **state)
{
	struct fixture_machine m;
	struct fixture_client c;

	(void)state;
	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	for (uint64_t node = 1; node <= NODES; node++) {
		announce(&m, node, (uint8_t)node);
	}
	assert_nodes(&m, "123456");
	announce(&m, 2, 0);
	assert_nodes(&m, "13456");
	read_only(&m, 3, true);
	assert_nodes(&m, "1456");
	report(&m, 4);
	assert_nodes(&m, "156");
	report(&m, 0);
	assert_nodes(&m, "1456");
	read_only(&m, 3, false);
	announce(&m, 2, 2);
	assert_nodes(&m, "123456");
	fixture_machine_release(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_healthy_nodes_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
