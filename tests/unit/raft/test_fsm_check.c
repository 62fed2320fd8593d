/* What sites found when they checked snapshots, what becomes of copies that are damaged, and what
 * nodes say of backups. */
#include "tests/lib/test.h"

#include <string.h>

#include "storage/check_store.h"
#include "storage/node_backup_store.h"
#include "storage/snapshot_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/machine.h"

struct world {
	struct fixture_machine m;
	struct fixture_client c;
};

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);
	struct command c = {.type = COMMAND_NODE_ANNOUNCE,
		.node_announce = {.feature_level = FEATURE_LEVEL_CHECKS}};

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->c);
	for (c.node_announce.node = 1; c.node_announce.node <= 6; c.node_announce.node++) {
		assert_int_equal(fixture_machine_do(&w->m, &c), 0);
	}
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	assert_int_equal(fixture_check_store(w->m.kv, NULL), 0);
	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

static uint64_t claim(struct world *w)
{
	struct command c = {.type = COMMAND_SNAPSHOT_CLAIM,
		.snapshot_claim = {.node = 2, .kind = SNAPSHOT_MANUAL, .ttl_ms = 1000}};

	assert_int_equal(fixture_machine_do(&w->m, &c), 0);
	return fixture_machine_reply(&w->m).number;
}

static uint64_t shipped(struct world *w)
{
	uint64_t id = claim(w);
	struct command c = {.type = COMMAND_SNAPSHOT_RECORD,
		.snapshot_record = {.id = id, .node = 2, .index = id, .term = 1}};

	assert_int_equal(fixture_machine_do(&w->m, &c), 0);
	return id;
}

static int check(struct world *w, uint64_t id, uint64_t node, uint8_t level, bool ok)
{
	struct command c = {.type = COMMAND_SNAPSHOT_CHECK,
		.snapshot_check = {.id = id, .node = node, .level = level, .ok = ok}};

	c.snapshot_check.text = bytes_str(ok ? "" : "a byte");
	return fixture_machine_do(&w->m, &c);
}

static struct check_row check_of(struct world *w, uint64_t node, uint8_t level)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct check_row row;

	assert_int_equal(check_store_get(view, node, level, &row, NULL), 0);
	kv_view_free(view);
	return row;
}

/* A failure does not hide when it was last good; nothing is said of what is not finished. */
static void test_check(void **state)
{
	struct world *w = *state;
	uint64_t id = shipped(w), later;
	struct check_row row;

	assert_int_equal(check(w, id, 4, 2, true), 0);
	row = check_of(w, 4, 2);
	assert_true(row.ok && row.id == id && row.good_id == id && row.good_ms == w->m.now_ms);
	w->m.now_ms += 1000;
	later = shipped(w);
	assert_int_equal(check(w, later, 4, 2, false), 0);
	row = check_of(w, 4, 2);
	assert_true(!row.ok && row.id == later && row.index == later);
	assert_true(row.time_ms == w->m.now_ms && row.good_id == id && row.good_ms < row.time_ms);
	assert_string_equal(row.text, "a byte");
	assert_int_equal(check(w, later, 4, 4, true), 0); /* Each level by itself. */
	assert_false(check_of(w, 4, 2).ok);
	assert_int_equal(check_of(w, 4, 4).good_id, later);
	assert_int_equal(check(w, later, 4, 2, true), 0);
	assert_string_equal(check_of(w, 4, 2).text, "");
	assert_int_equal(check(w, 999999, 4, 2, true), KLUIS_ENOTFOUND);
	assert_int_equal(check(w, later, 77, 2, true), KLUIS_ENOTFOUND);
	assert_int_equal(check(w, claim(w), 4, 2, true), KLUIS_ECONFLICT);
}

/* All levels of all sites, and none of a node that is no member any more. */
static void test_list(void **state)
{
	struct world *w = *state;
	uint64_t id = shipped(w);
	struct check_row rows[CHECKS_MAX];
	struct kv_view *view;
	size_t n = 0;

	for (uint8_t level = 4; level > 0; level--) {
		assert_int_equal(check(w, id, 5, level, true), 0);
		assert_int_equal(check(w, id, 3, level, level != 2), 0);
	}
	view = kv_view_new(w->m.kv);
	assert_int_equal(check_store_list(view, rows, &n, NULL), 0);
	kv_view_free(view);
	assert_int_equal(n, 8);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(rows[i].node, i < 4 ? 3 : 5);
		assert_int_equal(rows[i].level, i % 4 + 1);
		assert_int_equal(rows[i].ok, i != 1);
	}
}

static int confirm(struct world *w, uint64_t id, uint64_t node)
{
	struct command c = {.type = COMMAND_SNAPSHOT_CONFIRM,
		.snapshot_confirm = {.id = id, .node = node, .needed = 3}};

	return fixture_machine_do(&w->m, &c);
}

static int damage(struct world *w, uint64_t id, uint64_t node, const char *text)
{
	struct command c = {.type = COMMAND_SNAPSHOT_DAMAGE,
		.snapshot_damage = {.id = id, .node = node, .error = bytes_str(text)}};

	return fixture_machine_do(&w->m, &c);
}

static void assert_copies(struct world *w, uint64_t id, unsigned n, const char *error)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct snapshot_row row;

	assert_int_equal(snapshot_store_get(view, id, &row, NULL), 0);
	kv_view_free(view);
	assert_int_equal(row.state, SNAPSHOT_CONFIRMED);
	assert_int_equal(row.n_confirmations, n);
	assert_string_equal(row.error, error);
}

/* A site's word that its copy is damaged takes back its confirmation and nothing else, until it
 * confirms anew. The taker, which confirms nothing, takes its word back itself. */
static void test_damage(void **state)
{
	struct world *w = *state;
	uint64_t id = shipped(w);

	for (uint64_t node = 3; node <= 5; node++) {
		assert_int_equal(confirm(w, id, node), 0);
	}
	assert_int_equal(damage(w, id, 4, "bad"), 0);
	assert_copies(w, id, 2, "node 4: bad");
	assert_int_equal(damage(w, id, 4, "bad"), 0); /* Said twice. */
	assert_int_equal(confirm(w, id, 1), 0);	      /* Of another one. */
	assert_int_equal(damage(w, id, 2, ""), 0);
	assert_copies(w, id, 3, "node 4: bad");
	assert_int_equal(confirm(w, id, 4), 0);
	assert_copies(w, id, 4, "");
	assert_int_equal(damage(w, id, 2, "bad"), 0);
	assert_int_equal(damage(w, id, 3, ""), KLUIS_ECONFLICT);
	assert_copies(w, id, 4, "node 2: bad");
	assert_int_equal(damage(w, id, 2, ""), 0);
	assert_copies(w, id, 4, "");
	assert_int_equal(damage(w, id + 1, 4, "bad"), KLUIS_ENOTFOUND);
	assert_int_equal(damage(w, claim(w), 2, "bad"), KLUIS_ECONFLICT);
}

/* --- what nodes say of backups --------------------------------------------------------------- */

static int announce(struct world *w, uint64_t node, uint8_t copies, uint64_t keep_s, bool drills)
{
	struct command c = {.type = COMMAND_BACKUP_ANNOUNCE,
		.backup_announce = {.node = node,
			.copies = copies,
			.interval_s = 60,
			.offset_s = 1,
			.keep_s = keep_s,
			.drills = drills}};

	w->m.now_ms += 1000;
	return fixture_machine_do(&w->m, &c);
}

static int announced(struct world *w, uint64_t node, struct node_backup_row *ret_row)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	int rc = node_backup_store_get(view, node, ret_row, NULL);

	kv_view_free(view);
	return rc;
}

/* Since when a site drills is what it first said of that, whatever else it says later. */
static void test_announce(void **state)
{
	struct node_backup_row row, rows[SITES_MAX];
	struct world *w = *state;
	struct kv_view *view;
	uint64_t since_ms;
	size_t n = 0;

	assert_int_equal(announced(w, 2, &row), KLUIS_ENOTFOUND);
	assert_int_equal(announce(w, 2, 3, 100, false), 0);
	since_ms = w->m.now_ms;
	assert_int_equal(announce(w, 2, 3, 200, false), 0);
	assert_int_equal(announced(w, 2, &row), 0);
	assert_true(row.node == 2 && row.interval_s == 60 && row.offset_s == 1);
	assert_true(row.keep_s == 200 && row.copies == 3 && !row.drills);
	assert_true(row.since_ms == since_ms);
	assert_int_equal(announce(w, 2, 3, 200, true), 0);
	assert_int_equal(announced(w, 2, &row), 0);
	assert_true(row.drills && row.since_ms == w->m.now_ms);
	assert_int_equal(announce(w, 5, 1, 200, false), 0);
	assert_int_equal(announce(w, 77, 3, 100, false), KLUIS_ENOTFOUND); /* No node. */
	assert_int_equal(announced(w, 77, &row), KLUIS_ENOTFOUND);
	view = kv_view_new(w->m.kv);
	assert_int_equal(node_backup_store_list(view, rows, &n, NULL), 0);
	kv_view_free(view);
	assert_true(n == 2 && rows[0].node == 2 && rows[1].node == 5);
	assert_int_equal(announce(w, 2, 0, 0, false), 0); /* No part in backups any more. */
	assert_int_equal(announced(w, 2, &row), KLUIS_ENOTFOUND);
	assert_int_equal(announce(w, 2, 0, 0, false), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_check), T(test_list), T(test_damage), T(test_announce)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
