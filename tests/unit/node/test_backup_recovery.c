/* How old the recovery point is, what operators are told of it, and when that is an alarm. */
#include "tests/lib/test.h"

#include <string.h>

#include "node/backup_summary.h"
#include "tests/lib/api/node.h"
#include "tests/lib/fixture/machine.h"

enum { EVERY_MS = 60000, MINUTE_MS = 60000 };

/* What a confirmed snapshot and a journal row say, over a store in which something changed at each
 * index up to the machine's. */
static struct backup_summary summary_of(struct fixture_machine *m, const struct snapshot_row *row,
	const struct journal_row *journal)
{
	struct kv_view *view = kv_view_new(m->kv);
	struct backup_summary summary;
	struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_JOURNAL);

	journal_row_encode(journal, &value);
	kv_view_free(view);
	assert_int_equal(
		kv_write(m->kv, &(struct kv_change){row_key_bytes(&key), buf_bytes(&value), false},
			1, NULL),
		0);
	buf_release(&value);
	view = kv_view_new(m->kv);
	assert_int_equal(backup_summary_read(view, row, row->id != 0, &summary, NULL), 0);
	kv_view_free(view);
	return summary;
}

static void test_point(void **state)
{
	struct fixture_machine m;
	struct fixture_client c;
	struct snapshot_row row = {0};
	struct journal_row journal = {0};
	struct backup_summary s;
	uint64_t last;

	(void)state;
	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	last = fsm_position(m.fsm)->index;
	s = summary_of(&m, &row, &journal);
	assert_true(s.recovery_index == 0);
	assert_true(backup_summary_exposed_ms(&s, 1000) == UINT64_MAX);
	assert_false(backup_summary_late(&s, UINT64_MAX / 2, EVERY_MS)); /* `backup` says it. */
	row = (struct snapshot_row){
		.id = 3, .state = SNAPSHOT_CONFIRMED, .index = last - 1, .created_ms = 5000};
	s = summary_of(&m, &row, &journal);
	assert_true(s.recovery_index == last - 1 && s.recovery_ms == 5000 && s.exposed);
	assert_int_equal(backup_summary_exposed_ms(&s, 7000), 2000);
	s.clean_ms = 6000; /* It was watched: nothing was exposed then. */
	assert_int_equal(backup_summary_exposed_ms(&s, 7000), 1000);
	/* Just now, or by a clock that is behind the cluster's: 0 would say that nothing is. */
	assert_int_equal(backup_summary_exposed_ms(&s, 6000), 1);
	assert_int_equal(backup_summary_exposed_ms(&s, 100), 1);
	/* A recorded increment is no point yet. */
	journal = (struct journal_row){.base_id = 3, .number = 1, .index = last};
	s = summary_of(&m, &row, &journal);
	assert_true(s.recovery_index == last - 1 && s.exposed);
	journal.confirmed = 1;
	journal.confirmed_index = last;
	journal.confirmed_time_ms = 6500;
	s = summary_of(&m, &row, &journal);
	assert_true(s.recovery_index == last && s.recovery_ms == 6500 && !s.exposed);
	assert_int_equal(backup_summary_exposed_ms(&s, 700000), 0); /* Nothing changed since. */
	/* A later snapshot is the newer point. */
	journal.confirmed_index = last - 2;
	row.index = last;
	s = summary_of(&m, &row, &journal);
	assert_true(s.recovery_index == last && s.recovery_ms == 5000);
	fixture_machine_release(&m);
}

static void test_late(void **state)
{
	struct backup_summary s = {.recovery_index = 1, .recovery_ms = 1000, .exposed = true};

	(void)state;
	assert_false(backup_summary_late(&s, 1000 + JOURNAL_LATE_MS, EVERY_MS));
	assert_true(backup_summary_late(&s, 1001 + JOURNAL_LATE_MS, EVERY_MS));
	assert_false(backup_summary_late(&s, 1001 + JOURNAL_LATE_MS, 0)); /* Not asked for. */
	assert_false(backup_summary_late(&s, 1001 + JOURNAL_LATE_MS, 2 * EVERY_MS));
	assert_true(backup_summary_late(&s, 1001 + 20 * EVERY_MS, 2 * EVERY_MS));
	assert_true(backup_summary_late_ms(2 * EVERY_MS) == 20 * EVERY_MS);
	assert_true(backup_summary_late_ms(0) == UINT64_MAX);
	s.exposed = false;
	assert_false(backup_summary_late(&s, UINT64_MAX / 2, EVERY_MS));
}

/* Eleven minutes. */
static bool exposed_summary(void *data, struct backup_summary *ret_summary)
{
	(void)data;
	*ret_summary = (struct backup_summary){
		.newest = {.id = 1,
			.index = 2,
			.n_confirmations = 3,
			.confirmation = {{.node = 1}, {.node = 2}, {.node = 5}}},
		.recovery_index = 2,
		.recovery_ms = clock_wall_ms(&clock_system) - 11 * MINUTE_MS - 500,
		.exposed = true,
		.deletions_lag_ms = 12 * MINUTE_MS,
		.deletions_late = true,
		.journal = {.n_holders = 4}};
	ret_summary->newest.created_ms = ret_summary->recovery_ms;
	return true;
}

static void test_alarm(void **state)
{
	struct api_node node;
	struct http_client admin;
	struct answer answer;

	(void)state;
	api_node_prepare(&node);
	node.config.hooks.summary = exposed_summary;
	node.config.backup_journal_ms = EVERY_MS;
	api_node_run(&node);
	api_node_admin(&node, &admin);
	answer = http_client_call(&admin, "GET", "/v1/sys/alarms", "", bytes_of(NULL, 0));
	assert_non_null(strstr(buf_str(&answer.body),
		"\"name\":\"recovery\",\"severity\":\"warning\",\"text\":\"what changed in the "
		"last 11 minutes is in no backup\""));
	answer_release(&answer);
	answer = http_client_call(&admin, "GET", "/v1/sys/metrics", "", bytes_of(NULL, 0));
	assert_non_null(strstr(buf_str(&answer.body), "\nkluis_backup_recovery_age_seconds 66"));
	assert_non_null(strstr(
		buf_str(&answer.body), "\nkluis_backup_recovery_age_limit_seconds 600.000\n"));
	assert_non_null(strstr(buf_str(&answer.body), "\nkluis_backup_proof_late_seconds 0.000\n"));
	assert_non_null(strstr(buf_str(&answer.body), "\nkluis_backup_journal_copies 4\n"));
	assert_non_null(
		strstr(buf_str(&answer.body), "\nkluis_backup_deletions_lag_seconds 720.000\n"));
	/* This node's own, and one that it has a link to. */
	assert_non_null(strstr(buf_str(&answer.body), "\nkluis_backup_newest_copies 3\n"));
	assert_non_null(
		strstr(buf_str(&answer.body), "\nkluis_backup_newest_copies_reachable 2\n"));
	answer_release(&answer);
	answer = http_client_call(&admin, "GET", "/v1/sys/backups", "", bytes_of(NULL, 0));
	assert_non_null(strstr(
		buf_str(&answer.body), "\"deletions_lag_ms\":720000,\"deletions_late\":true"));
	answer_release(&answer);
	http_client_release(&admin);
	api_node_stop(&node);
}

/* A site that has been able to drill for fifteen days, and what drills were: the test's data. */
static bool drilling_summary(void *data, struct backup_summary *ret_summary)
{
	const uint64_t *good_days_ago = data;
	uint64_t now_ms = clock_wall_ms(&clock_system);

	*ret_summary = (struct backup_summary){.n_nodes = 2,
		.nodes = {{.node = 1, .copies = 3, .since_ms = now_ms - 20 * DAY_MS},
			{.node = 2,
				.copies = 3,
				.drills = true,
				.since_ms = now_ms - 15 * DAY_MS}}};
	if (*good_days_ago != 0) {
		ret_summary->n_checks = 1;
		ret_summary->checks[0] = (struct check_row){.node = 2,
			.level = CHECK_LEVEL_DRILL,
			.ok = true,
			.id = 7,
			.good_id = 7,
			.time_ms = now_ms - *good_days_ago * DAY_MS,
			.good_ms = now_ms - *good_days_ago * DAY_MS};
	}
	return true;
}

/* That nobody proved a restore is an alarm, and a metric that says so, too. Without increments none
 * is late. */
static void test_proof_alarm(void **state)
{
	static const struct {
		uint64_t good_days_ago;
		const char *text; /* NULL: none. */
		const char *late;
	} cases[] = {{0, "no restore was ever proven by a drill", "8640"},
		{15, "the last restore was proven 15 days ago", "8640"}, {13, NULL, "0.000\n"}};
	uint64_t good_days_ago = 0;
	struct api_node node;
	struct http_client admin;

	(void)state;
	api_node_prepare(&node);
	node.config.hooks.summary = drilling_summary;
	node.config.hooks.data = &good_days_ago;
	api_node_run(&node);
	api_node_admin(&node, &admin);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(x_freep) char *alarm =
			x_asprintf("\"name\":\"proof\",\"severity\":\"warning\",\"text\":\"%s\"",
				cases[i].text == NULL ? "" : cases[i].text);
		_cleanup_(x_freep) char *late =
			x_asprintf("\nkluis_backup_proof_late_seconds %s", cases[i].late);
		struct answer answer;

		good_days_ago = cases[i].good_days_ago;
		answer = http_client_call(&admin, "GET", "/v1/sys/alarms", "", bytes_of(NULL, 0));
		if (cases[i].text == NULL) {
			assert_null(strstr(buf_str(&answer.body), "\"name\":\"proof\""));
		} else {
			assert_non_null(strstr(buf_str(&answer.body), alarm));
		}
		answer_release(&answer);
		answer = http_client_call(&admin, "GET", "/v1/sys/metrics", "", bytes_of(NULL, 0));
		assert_non_null(strstr(buf_str(&answer.body), late));
		assert_non_null(strstr(
			buf_str(&answer.body), "\nkluis_backup_recovery_age_limit_seconds +Inf\n"));
		answer_release(&answer);
	}
	http_client_release(&admin);
	api_node_stop(&node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_point),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_alarm),
		cmocka_unit_test(test_proof_alarm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
