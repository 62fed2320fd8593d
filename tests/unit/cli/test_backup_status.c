/* kluisctl backup status against a node's real API: exit codes for monitoring. */
#include "tests/lib/api/node.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backup/retention.h"
#include "node/backup_summary.h"
#include "storage/row.h"
#include "tests/lib/capture.h"
#include "tests/lib/test.h"

/* Of cli/ops/ops.h, whose struct command is another one than the state machine's. */
struct program;
extern const struct program ops_program;
int program_run(const struct program *program, int argc, char **argv);

enum { HOUR_MS = 3600 * 1000, NONE = 10, TOO_OLD = 11, MISSING = 3, DAMAGED = 14 };

/* The worst last. */
enum trouble {
	FAILED = 1,    /* A snapshot has, behind the newest. */
	AWAY = 2,      /* Who holds it. */
	UNDELETED = 4, /* The journal of deletions is behind. */
	EXPOSED = 8,   /* Something changed behind it. */
	STOPPED = 16,  /* A disk keeps the node from backups. */
	ROTTEN = 32,   /* A check of a copy was not good. */
	OLD = 64,
	EMPTY = 128, /* There is none. */
};

/* A node with these settings, and in its log a confirmed snapshot of that age that node 2, which it
 * has a link to, and `holder` hold. age_ms 0: none. */
struct world {
	uint64_t interval_ms, age_ms, holder;
	unsigned troubles; /* Of FAILED .. ROTTEN. */
};

static void put(struct api_node *node, const struct row_key *key, const struct buf *value)
{
	const struct kv_change change = {row_key_bytes(key), buf_bytes(value), false};

	assert_int_equal(kv_write(node->machine.kv, &change, 1, NULL), 0);
}

static void put_row(struct api_node *node, const struct snapshot_row *row)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_SNAPSHOT);

	row_key_put_u64(&key, row->id);
	snapshot_row_encode(row, &value);
	put(node, &key, &value);
}

static void put_damage(struct api_node *node)
{
	const struct check_row row = {.node = 2, .level = 2, .id = 3, .text = "rotten"};
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_CHECK);

	row_key_put_u64(&key, row.node);
	row_key_put_u8(&key, row.level);
	check_row_encode(&row, &value);
	put(node, &key, &value);
}

static void stopped_copies(void *data, struct api_copies *ret_copies)
{
	(void)data;
	memset(ret_copies, 0, sizeof *ret_copies);
	memcpy(ret_copies->stopped, "no disk", sizeof "no disk");
}

static bool undeleted_summary(void *data, struct backup_summary *ret_summary)
{
	(void)data;
	*ret_summary = (struct backup_summary){.deletions_lag_ms = HOUR_MS, .deletions_late = true};
	return true;
}

static void put_rows(struct api_node *node, const struct world *w)
{
	uint64_t now_ms = fsm_position(node->machine.fsm)->cluster_time_ms;
	struct snapshot_row row = {.id = 3,
		.kind = SNAPSHOT_FULL,
		.state = SNAPSHOT_CONFIRMED,
		.node = 1,
		.cycle = 1,
		.index = fsm_position(node->machine.fsm)->index - ((w->troubles & EXPOSED) != 0),
		.created_ms = now_ms - w->age_ms,
		.n_confirmations = 2,
		.confirmation = {{.node = 2}, {.node = w->holder}}};

	if (w->age_ms != 0) {
		put_row(node, &row);
	}
	if ((w->troubles & ROTTEN) != 0) {
		put_damage(node);
	}
	if ((w->troubles & FAILED) != 0) {
		put_row(node, &(struct snapshot_row){.id = 4,
				      .kind = SNAPSHOT_INCREMENT,
				      .state = SNAPSHOT_FAILED,
				      .node = 1,
				      .created_ms = now_ms});
	}
}

/* The exit code, and all that it writes. max_age NULL: none is given. */
static int status(const struct api_node *node, const char *max_age, char *ret_text, size_t max)
{
	char *argv[] = {"kluisctl", "-o", "json", "--socket", node->admin_path, "backup", "status",
		max_age == NULL ? NULL : "--max-age", (char *)(uintptr_t)max_age, NULL};
	struct capture capture;
	int rc;

	capture_begin(&capture);
	rc = program_run(&ops_program, max_age == NULL ? 7 : 9, argv);
	capture_end(&capture, ret_text, max);
	return rc;
}

static void assert_status(
	const struct world *world, const char *max_age, int wanted, const char *wanted_text)
{
	struct api_node node;
	char text[16384];
	int code;

	api_node_prepare(&node);
	node.config.backup_copies = 2;
	node.config.schedule.interval_ms = world->interval_ms;
	node.config.backup_journal_ms = (world->troubles & EXPOSED) != 0 ? 60000 : 0;
	if ((world->troubles & STOPPED) != 0) {
		node.config.hooks.copies = stopped_copies;
	}
	if ((world->troubles & UNDELETED) != 0) {
		node.config.hooks.summary = undeleted_summary;
	}
	put_rows(&node, world);
	api_node_run(&node);
	code = status(&node, max_age, text, sizeof text);
	api_node_stop(&node);
	if (code != wanted || (wanted_text != NULL && strstr(text, wanted_text) == NULL)) {
		fail_msg("%d, not %d and '%s': %s", code, wanted,
			wanted_text == NULL ? "" : wanted_text, text);
	}
}

static void test_exit_codes(void **state)
{
	static const struct {
		struct world world;
		const char *max_age;
		int code;
		const char *text;
	} cases[] = {
		{{0, 0, 1, 0}, NULL, NONE, "no snapshot was ever confirmed"},
		{{0, 7 * HOUR_MS, 1, 0}, NULL, 0, "\"newest_age_limit_ms\": 28800000"},
		{{0, 9 * HOUR_MS, 1, 0}, NULL, TOO_OLD,
			"the newest confirmed snapshot is 9 hours old"},
		{{0, 9 * HOUR_MS, 1, 0}, "10", 0, NULL},
		{{0, 7 * HOUR_MS, 1, 0}, "6", TOO_OLD, "7 hours old"},
		{{0, 1 * HOUR_MS, 1, 0}, "0", TOO_OLD, "1 hours old"},
		{{0, 1 * HOUR_MS, 1, 0}, "8761", 2, "--max-age"},
		{{0, 1 * HOUR_MS, 1, 0}, "a day", 2, "--max-age"},
		/* Where a cycle is due each day two of them are two days. */
		{{24 * HOUR_MS, 47 * HOUR_MS, 1, 0}, NULL, 0, "\"newest_age_limit_ms\": 172800000"},
		{{24 * HOUR_MS, 49 * HOUR_MS, 1, 0}, NULL, TOO_OLD, "49 hours old"},
		{{24 * HOUR_MS, 47 * HOUR_MS, 1, 0}, "8", TOO_OLD, "47 hours old"},
		{{0, HOUR_MS, 5, 0}, NULL, MISSING,
			"1 sites of 2 hold the newest confirmed snapshot; away: 5"},
		{{0, 9 * HOUR_MS, 5, FAILED}, NULL, TOO_OLD, "9 hours old"}, /* The worst. */
		{{0, HOUR_MS, 1, FAILED}, NULL, MISSING, "1 snapshots have failed since"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_status(&cases[i].world, cases[i].max_age, cases[i].code, cases[i].text);
	}
}

/* Each trouble beside all that are less. */
static void test_the_worst_first(void **state)
{
	static const struct {
		enum trouble trouble;
		int code;
		const char *text;
	} cases[] = {{FAILED, MISSING, "1 snapshots have failed since"},
		{AWAY, MISSING, "1 sites of 2 hold the newest"},
		{UNDELETED, TOO_OLD, "what was deleted in the last 60 minutes"},
		{EXPOSED, TOO_OLD, "what changed in the last "},
		{STOPPED, MISSING, "this site takes part in no backups: no disk"},
		{ROTTEN, DAMAGED, "snapshot 3: rotten"}, {OLD, TOO_OLD, "9 hours old"},
		{EMPTY, NONE, "no snapshot was ever confirmed"}};
	unsigned troubles = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world world = {.holder = 1, .age_ms = HOUR_MS};

		troubles |= cases[i].trouble;
		world.troubles = troubles;
		world.holder = (troubles & AWAY) != 0 ? 5 : 1;
		world.age_ms = (troubles & EMPTY) != 0 ? 0
			       : (troubles & OLD) != 0 ? 9 * HOUR_MS
						       : HOUR_MS;
		assert_status(&world, NULL, cases[i].code, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_codes),
		cmocka_unit_test(test_the_worst_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
