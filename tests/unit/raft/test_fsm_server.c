/* The rows of the members: who may come, what operators may want, what a removal takes with it. */
#include "tests/lib/test.h"

#include <string.h>

#include "storage/cluster_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/machine.h"

struct world {
	struct fixture_machine m;
	struct fixture_client c;
};

static int announce(struct world *w, uint64_t node, uint32_t level)
{
	struct command command = {.type = COMMAND_NODE_ANNOUNCE,
		.node_announce = {.node = node, .feature_level = level}};

	return fixture_machine_do(&w->m, &command);
}

static int begin(struct world *w, uint8_t voters, unsigned n)
{
	struct command command = {
		.type = COMMAND_SERVERS_BEGIN, .servers_begin = {.voters = voters}};

	command.servers_begin.n_servers = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		command.servers_begin.server[i] = (struct server_first){i + 1, {(uint8_t)(i + 1)}};
	}
	return fixture_machine_do(&w->m, &command);
}

static struct command add_of(uint64_t id, uint64_t replaces, const char *site, const char *address)
{
	return (struct command){.type = COMMAND_SERVER_ADD,
		.server_add = {.id = id,
			.incarnation = {0x70, (uint8_t)id},
			.weight = 50,
			.replaces = replaces,
			.site = bytes_str(site),
			.address = bytes_str(address)}};
}

static int add(struct world *w, uint64_t id, uint64_t replaces, const char *site)
{
	_cleanup_(x_freep) char *address = x_asprintf("%s:7", site);
	struct command command = add_of(id, replaces, site, address);

	return fixture_machine_do(&w->m, &command);
}

static int want(struct world *w, uint64_t id, enum server_wish what)
{
	struct command command = {
		.type = COMMAND_SERVER_WISH, .server_wish = {.id = id, .wish = (uint8_t)what}};

	return fixture_machine_do(&w->m, &command);
}

static int forget(struct world *w, uint64_t id)
{
	struct command command = {.type = COMMAND_SERVER_FORGET, .server_forget = {.id = id}};

	return fixture_machine_do(&w->m, &command);
}

static const struct server_row *row_of(struct world *w, uint64_t id)
{
	const struct server *server = servers_find(fsm_servers(w->m.fsm), id);

	return server == NULL ? NULL : &server->row;
}

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->c);
	*state = w;
	return 0;
}

static int begun_setup(void **state)
{
	struct world *w;

	(void)world_setup(state);
	w = *state;
	for (uint64_t node = 1; node <= 6; node++) {
		assert_int_equal(announce(w, node, 2), 0);
	}
	assert_int_equal(begin(w, 5, 6), 0);
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;
	struct servers stored;
	struct kv_view *view = kv_view_new(w->m.kv);

	/* What is in memory is what is stored. */
	assert_int_equal(servers_load(view, &stored, NULL), 0);
	kv_view_free(view);
	assert_memory_equal(&stored, fsm_servers(w->m.fsm), sizeof stored);
	assert_int_equal(fixture_check_store(w->m.kv, NULL), 0);
	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

static void test_only_once_all_know_it(void **state)
{
	struct world *w = *state;

	assert_int_equal(begin(w, 5, 6), KLUIS_ECONFLICT);
	for (uint64_t node = 1; node <= 5; node++) {
		assert_int_equal(announce(w, node, 2), 0);
	}
	assert_int_equal(begin(w, 5, 6), KLUIS_ECONFLICT);
	assert_int_equal(announce(w, 6, 2), 0);
	assert_int_equal(add(w, 7, 0, "new"), KLUIS_ECONFLICT); /* Not before the first ones. */
	assert_int_equal(begin(w, 5, 6), 0);
	assert_true(w->m.results.servers_changed);
	assert_int_equal(fsm_servers(w->m.fsm)->n, 6);
	assert_int_equal(fsm_servers(w->m.fsm)->voters, 5);
	assert_int_equal(fsm_servers(w->m.fsm)->highest_id, 6);
	assert_int_equal(row_of(w, 3)->weight, SERVER_WEIGHT_DEFAULT);
	assert_int_equal(begin(w, 3, 2), 0); /* A second leader's changes nothing. */
	assert_int_equal(fsm_servers(w->m.fsm)->n, 6);
	assert_int_equal(fsm_servers(w->m.fsm)->voters, 5);
}

static void test_add(void **state)
{
	struct world *w = *state;
	struct command other;

	assert_int_equal(add(w, 7, 0, "new"), 0);
	assert_int_equal(row_of(w, 7)->wish, SERVER_ANY);
	assert_int_equal(row_of(w, 7)->incarnation[0], 0x70);
	assert_string_equal(row_of(w, 7)->address, "new:7");
	assert_int_equal(fsm_servers(w->m.fsm)->highest_id, 7);
	assert_int_equal(add(w, 7, 0, "new"), 0); /* A retry. */
	assert_int_equal(fsm_servers(w->m.fsm)->n, 7);
	other = add_of(7, 0, "new", "new:7");
	other.server_add.incarnation[0] = 0x71; /* Wiped before it ever joined. */
	assert_int_equal(fixture_machine_do(&w->m, &other), KLUIS_EEXIST);
	assert_int_equal(add(w, 3, 0, "x"), KLUIS_EEXIST);   /* A member. */
	assert_int_equal(add(w, 8, 0, "new"), KLUIS_EEXIST); /* Its site. */
	assert_int_equal(add(w, 8, 42, "newer"), KLUIS_ENOTFOUND);
	for (uint64_t id = 8; id <= SITES_MAX; id++) {
		_cleanup_(x_freep) char *site = x_asprintf("s%u", (unsigned)id);

		assert_int_equal(add(w, id, 0, site), 0);
	}
	assert_int_equal(add(w, SITES_MAX + 1, 0, "more"), KLUIS_EQUOTA);
}

/* An id that was given is never given again, however many came and went. */
static void test_ids_are_given_once(void **state)
{
	struct world *w = *state;

	assert_false(servers_removed(fsm_servers(w->m.fsm), 7));
	assert_int_equal(add(w, 7, 0, "new"), 0);
	assert_int_equal(want(w, 7, SERVER_GONE), 0);
	assert_int_equal(forget(w, 7), 0);
	assert_null(row_of(w, 7));
	assert_true(servers_removed(fsm_servers(w->m.fsm), 7));
	assert_false(servers_removed(fsm_servers(w->m.fsm), 8));
	assert_int_equal(add(w, 7, 0, "new"), KLUIS_EEXIST);
	assert_int_equal(add(w, 9, 0, "new"), 0);
	assert_int_equal(add(w, 8, 0, "other"), KLUIS_EEXIST);
}

static void test_replace(void **state)
{
	struct world *w = *state;

	assert_int_equal(add(w, 7, 3, "utr"), 0);
	assert_int_equal(row_of(w, 3)->wish, SERVER_GONE);
	assert_int_equal(row_of(w, 3)->successor, 7);
	/* Its successor may have its site and address. */
	assert_int_equal(add(w, 8, 7, "utr"), 0);
	assert_int_equal(row_of(w, 7)->successor, 8);
	assert_int_equal(want(w, 3, SERVER_GONE), 0); /* At once, then. */
	assert_int_equal(row_of(w, 3)->successor, 0);
	assert_int_equal(want(w, 7, SERVER_ANY), KLUIS_ECONFLICT); /* That is final. */
	assert_int_equal(row_of(w, 7)->wish, SERVER_GONE);
}

static void test_wishes(void **state)
{
	struct world *w = *state;
	struct command weight = {.type = COMMAND_SERVER_WEIGHT, .server_weight = {2, 7, {0}}};
	struct command voters = {.type = COMMAND_VOTERS_SET, .voters_set = {.voters = 3}};

	assert_int_equal(want(w, 9, SERVER_STANDBY), KLUIS_ENOTFOUND);
	assert_int_equal(want(w, 1, SERVER_STANDBY), 0);
	assert_int_equal(want(w, 2, SERVER_DRAINED), 0);
	assert_int_equal(want(w, 3, SERVER_VOTER), 0);
	assert_int_equal(want(w, 4, SERVER_GONE), 0);
	/* 3, 5 and 6 are the last that may vote. */
	assert_int_equal(want(w, 5, SERVER_STANDBY), KLUIS_ECONFLICT);
	assert_int_equal(want(w, 6, SERVER_GONE), KLUIS_ECONFLICT);
	assert_int_equal(want(w, 1, SERVER_ANY), 0);
	assert_int_equal(want(w, 5, SERVER_STANDBY), 0);
	assert_int_equal(fixture_machine_do(&w->m, &weight), 0);
	assert_int_equal(row_of(w, 2)->weight, 7);
	weight.server_weight.id = 99;
	assert_int_equal(fixture_machine_do(&w->m, &weight), KLUIS_ENOTFOUND);
	assert_int_equal(fixture_machine_do(&w->m, &voters), 0);
	assert_int_equal(fsm_servers(w->m.fsm)->voters, 3);
	assert_int_equal(forget(w, 3), KLUIS_ECONFLICT); /* It is to stay. */
}

static unsigned nodes_of(struct world *w)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct node_counts counts;

	assert_int_equal(node_store_count(view, &counts, NULL), 0);
	kv_view_free(view);
	return (unsigned)counts.n;
}

/* Majorities are of those that are there, and one that was removed does not come back by what it
 * had sent before. */
static void test_a_removed_node_counts_no_more(void **state)
{
	struct world *w = *state;
	struct command report = {.type = COMMAND_HASH_REPORT};
	struct node_row row;
	struct kv_view *view;

	report.hash_report.index = fsm_position(w->m.fsm)->index;
	report.hash_report.hash[0] = 1;
	for (uint64_t node = 1; node <= 3; node++) { /* Three of six: no majority. */
		report.hash_report.node = node;
		assert_int_equal(fixture_machine_do(&w->m, &report), 0);
	}
	report.hash_report.hash[0] = 2;
	report.hash_report.node = 4;
	assert_int_equal(fixture_machine_do(&w->m, &report), 0);
	assert_int_equal(want(w, 1, SERVER_GONE), 0);
	assert_int_equal(forget(w, 1), 0);
	assert_int_equal(forget(w, 1), 0); /* Twice is once. */
	assert_int_equal(nodes_of(w), 5);
	assert_int_equal(announce(w, 1, 2), KLUIS_EGONE);
	assert_int_equal(announce(w, 99, 2), KLUIS_EGONE);
	assert_int_equal(nodes_of(w), 5);
	/* Of the five that are left two say 1: none is to blame. */
	report.hash_report.hash[0] = 3;
	report.hash_report.node = 5;
	assert_int_equal(fixture_machine_do(&w->m, &report), 0);
	view = kv_view_new(w->m.kv);
	assert_int_equal(node_store_get(view, 4, &row, NULL), 0);
	kv_view_free(view);
	assert_false(row.quarantined);
	report.hash_report.hash[0] = 1; /* With a third one they are a majority of five. */
	report.hash_report.node = 6;
	assert_int_equal(fixture_machine_do(&w->m, &report), 0);
	assert_true(servers_find(fsm_servers(w->m.fsm), 4)->quarantined);
	assert_false(servers_find(fsm_servers(w->m.fsm), 6)->quarantined);
}

static void test_a_newcomer_announces_itself(void **state)
{
	struct world *w = *state;

	assert_int_equal(announce(w, 7, 2), KLUIS_EGONE);
	assert_int_equal(add(w, 7, 0, "new"), 0);
	assert_int_equal(nodes_of(w), 6);
	assert_int_equal(announce(w, 7, 2), 0);
	assert_int_equal(nodes_of(w), 7);
}

static void test_a_node_short_of_space(void **state)
{
	struct world *w = *state;
	struct command command = {.type = COMMAND_READONLY, .readonly = {.node = 2, .on = true}};

	assert_int_equal(fixture_machine_do(&w->m, &command), 0);
	assert_true(servers_find(fsm_servers(w->m.fsm), 2)->read_only);
	command.readonly.on = false;
	assert_int_equal(fixture_machine_do(&w->m, &command), 0);
	assert_false(servers_find(fsm_servers(w->m.fsm), 2)->read_only);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begun_setup, world_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_only_once_all_know_it, world_setup, world_teardown),
		T(test_add),
		T(test_ids_are_given_once),
		T(test_replace),
		T(test_wishes),
		T(test_a_removed_node_counts_no_more),
		T(test_a_newcomer_announces_itself),
		T(test_a_node_short_of_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
