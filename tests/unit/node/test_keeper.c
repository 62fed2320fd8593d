#include "tests/lib/test.h"

#include <string.h>

#include "node/keeper.h"

struct keeper_fixture {
	struct config config;
	struct node_identity identity;
	struct keeper_self self;
	struct keeper_facts facts;
};

/* A ready follower that has announced itself: nothing to do. */
static void fixture_init(struct keeper_fixture *f)
{
	static const uint64_t ids[] = {3, 1, 2};
	struct command command;

	*f = (struct keeper_fixture){.config = {.id = 1, .site = "ams", .n_sites = 3}};
	f->identity = (struct node_identity){.cluster_id = {1}, .lineage = {2}, .node_id = 1};
	for (size_t i = 0; i < 3; i++) {
		struct config_site *site = &f->config.sites[i];

		site->id = ids[i];
		(void)snprintf(site->name, sizeof site->name, "s%d", (int)ids[i]);
		(void)snprintf(site->link.host, sizeof site->link.host, "h%d", (int)ids[i]);
		site->link.port = 7;
	}
	keeper_self_init(&f->self, &f->config, &f->identity);
	f->facts = (struct keeper_facts){.ready = true, .have_cluster = true};
	assert_true(keeper_decide(&f->facts, &f->self, &command));
	assert_int_equal(command.type, COMMAND_NODE_ANNOUNCE);
	assert_true(bytes_equal(command.node_announce.link, bytes_str("h1:7")));
	assert_true(bytes_equal(command.node_announce.site, bytes_str("s1")));
	f->facts.row = (struct node_row){.node = 1,
		.feature_level = FEATURE_LEVEL,
		.site = "s1",
		.version = KLUIS_VERSION,
		.link = "h1:7"};
	assert_false(keeper_decide(&f->facts, &f->self, &command));
}

static void test_only_a_leader_begins_the_cluster(void **state)
{
	struct keeper_fixture f;
	struct command command;

	(void)state;
	fixture_init(&f);
	f.facts.have_cluster = false;
	assert_false(keeper_decide(&f.facts, &f.self, &command));
	f.facts.leads = true;
	assert_true(keeper_decide(&f.facts, &f.self, &command));
	assert_int_equal(command.type, COMMAND_CLUSTER_INIT);
	assert_int_equal(command.cluster_init.n_nodes, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(command.cluster_init.node[i], i + 1);
	}
	assert_memory_equal(command.cluster_init.lineage, f.identity.lineage, 16);
	f.facts.ready = false;
	assert_false(keeper_decide(&f.facts, &f.self, &command));
}

static void test_what_changed_is_announced_anew(void **state)
{
	struct keeper_fixture f;
	struct command command;

	(void)state;
	fixture_init(&f);
	f.config.sites[1].backup_key[31] = 1;
	assert_true(keeper_decide(&f.facts, &f.self, &command));
	assert_int_equal(command.type, COMMAND_NODE_ANNOUNCE);
}

/* What the settings ask of accounts, once all nodes know of persons. */
static void test_policy_is_announced(void **state)
{
	struct keeper_fixture f;
	struct command command;

	(void)state;
	fixture_init(&f);
	f.config.registration = REGISTRATION_INVITE;
	f.config.recovery_delay_s = 7;
	f.config.quota_bytes = 8;
	assert_false(keeper_decide(&f.facts, &f.self, &command));
	f.facts.feature_level = FEATURE_LEVEL_PERSONS;
	assert_true(keeper_decide(&f.facts, &f.self, &command));
	assert_int_equal(command.type, COMMAND_POLICY_ANNOUNCE);
	assert_int_equal(command.policy_announce.registration, POLICY_INVITE);
	assert_int_equal(command.policy_announce.recovery_delay_ms, 7000);
	f.facts.have_policy = true;
	f.facts.policy = (struct policy){
		.registration = POLICY_INVITE, .recovery_delay_ms = 7000, .bytes_max = 8};
	assert_false(keeper_decide(&f.facts, &f.self, &command));
	f.config.quota_pages = 9;
	assert_true(keeper_decide(&f.facts, &f.self, &command));
	assert_int_equal(command.policy_announce.pages_max, 9);
}

/* What they say of backups, once time is known; and that they say nothing any more. */
static void test_backups_are_announced(void **state)
{
	struct keeper_fixture f;
	struct command command;

	(void)state;
	fixture_init(&f);
	f.facts.have_policy = true;
	f.config.backup_interval_s = 14400;
	f.config.backup_offset_s = 60;
	f.config.backup_keep_s = 86400;
	f.config.backup_copies = 2;
	f.facts.feature_level = FEATURE_LEVEL_CHECKS;
	f.facts.time_set = true;
	assert_false(keeper_decide(&f.facts, &f.self, &command)); /* It takes part in none. */
	f.config.backup_public_key_file = (char *)(uintptr_t) "backup.pub";
	f.facts.time_set = false;
	assert_false(keeper_decide(&f.facts, &f.self, &command));
	f.facts.time_set = true;
	f.facts.feature_level = FEATURE_LEVEL_CHECKS - 1;
	assert_false(keeper_decide(&f.facts, &f.self, &command));
	f.facts.feature_level = FEATURE_LEVEL_CHECKS;
	assert_true(keeper_decide(&f.facts, &f.self, &command));
	assert_int_equal(command.type, COMMAND_BACKUP_ANNOUNCE);
	assert_int_equal(command.backup_announce.node, 1);
	assert_int_equal(command.backup_announce.interval_s, 14400);
	assert_int_equal(command.backup_announce.offset_s, 60);
	assert_int_equal(command.backup_announce.keep_s, 86400);
	assert_int_equal(command.backup_announce.copies, 2);
	assert_false(command.backup_announce.drills);
	f.facts.have_backup = true;
	f.facts.backup = (struct node_backup_row){.node = 1,
		.interval_s = 14400,
		.offset_s = 60,
		.keep_s = 86400,
		.copies = 2,
		.since_ms = 9};
	assert_false(keeper_decide(&f.facts, &f.self, &command));
	f.config.backup_drill_key_file = (char *)(uintptr_t) "backup.key";
	assert_true(keeper_decide(&f.facts, &f.self, &command));
	assert_true(command.backup_announce.drills);
	f.config.backup_public_key_file = NULL;
	assert_true(keeper_decide(&f.facts, &f.self, &command));
	assert_int_equal(command.backup_announce.copies, 0);
	f.facts.have_backup = false;
	assert_false(keeper_decide(&f.facts, &f.self, &command));
}

static void test_only_a_leader_cleans_up(void **state)
{
	struct keeper_fixture f;
	struct command command;

	(void)state;
	fixture_init(&f);
	f.facts.expire_due = true;
	assert_false(keeper_decide(&f.facts, &f.self, &command));
	f.facts.leads = true;
	assert_true(keeper_decide(&f.facts, &f.self, &command));
	assert_int_equal(command.type, COMMAND_EXPIRE);
}

/* Not once, when it changes, but until the cluster knows it: or a crash, or a proposal that was
 * lost, would leave a full node unknown, or an empty one counted as full for ever. */
static void test_the_cluster_knows_whose_disk_is_full(void **state)
{
	struct keeper_fixture f;
	struct command command;

	(void)state;
	fixture_init(&f);
	for (unsigned on = 1; on < 2; on--) {
		f.facts.read_only = on == 1;
		for (unsigned i = 0; i < 2; i++) {
			assert_true(keeper_decide(&f.facts, &f.self, &command));
			assert_int_equal(command.type, COMMAND_READONLY);
			assert_int_equal(command.readonly.node, 1);
			assert_int_equal(command.readonly.on, on);
		}
		f.facts.row.read_only = on == 1;
		assert_false(keeper_decide(&f.facts, &f.self, &command));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_a_leader_begins_the_cluster),
		cmocka_unit_test(test_what_changed_is_announced_anew),
		cmocka_unit_test(test_policy_is_announced),
		cmocka_unit_test(test_backups_are_announced),
		cmocka_unit_test(test_only_a_leader_cleans_up),
		cmocka_unit_test(test_the_cluster_knows_whose_disk_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
