/* kluisctl backup status against a node's real API: exit codes for monitoring. */
#include "tests/lib/api/node.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backup/retention.h"
#include "storage/row.h"
#include "tests/lib/test.h"

/* Of cli/ops/ops.h, whose struct command is another one than the state machine's. */
struct program;
extern const struct program ops_program;
int program_run(const struct program *program, int argc, char **argv);

enum { HOUR_MS = 3600 * 1000, NONE = 10, TOO_OLD = 11, MISSING = 3 };

/* A node with these settings, and in its log a confirmed snapshot of that age that node 2, which it
 * has a link to, and `holder` hold. age_ms 0: none. */
struct world {
	uint64_t interval_ms, age_ms, holder;
	bool failed; /* And one that failed behind it. */
};

static void put_row(struct api_node *node, const struct snapshot_row *row)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_SNAPSHOT);

	row_key_put_u64(&key, row->id);
	snapshot_row_encode(row, &value);
	assert_int_equal(kv_write(node->machine.kv,
				 &(struct kv_change){row_key_bytes(&key), buf_bytes(&value), false},
				 1, NULL),
		0);
}

static void put_rows(struct api_node *node, const struct world *w)
{
	uint64_t now_ms = fsm_position(node->machine.fsm)->cluster_time_ms;
	struct snapshot_row row = {.id = 3,
		.kind = SNAPSHOT_FULL,
		.state = SNAPSHOT_CONFIRMED,
		.node = 1,
		.cycle = 1,
		.index = fsm_position(node->machine.fsm)->index,
		.created_ms = now_ms - w->age_ms,
		.n_confirmations = 2,
		.confirmation = {{.node = 2}, {.node = w->holder}}};

	if (w->age_ms != 0) {
		put_row(node, &row);
	}
	if (w->failed) {
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
	FILE *file = tmpfile();
	int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), rc;

	assert_non_null(file);
	(void)fflush(stdout);
	assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
	assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
	rc = program_run(&ops_program, max_age == NULL ? 7 : 9, argv);
	(void)fflush(stdout);
	assert_true(dup2(out, STDOUT_FILENO) >= 0);
	assert_true(dup2(err, STDERR_FILENO) >= 0);
	(void)close(out);
	(void)close(err);
	rewind(file);
	ret_text[fread(ret_text, 1, max - 1, file)] = 0;
	(void)fclose(file);
	return rc;
}

static void test_exit_codes(void **state)
{
	static const struct {
		struct world world;
		const char *max_age;
		int code;
		const char *text;
	} cases[] = {
		{{0, 0, 1, false}, NULL, NONE, "no snapshot was ever confirmed"},
		{{0, 7 * HOUR_MS, 1, false}, NULL, 0, "\"newest_age_limit_ms\": 28800000"},
		{{0, 9 * HOUR_MS, 1, false}, NULL, TOO_OLD,
			"the newest confirmed snapshot is 9 hours old"},
		{{0, 9 * HOUR_MS, 1, false}, "10", 0, NULL},
		{{0, 7 * HOUR_MS, 1, false}, "6", TOO_OLD, "7 hours old"},
		{{0, 1 * HOUR_MS, 1, false}, "0", TOO_OLD, "1 hours old"},
		{{0, 1 * HOUR_MS, 1, false}, "8761", 2, "--max-age"},
		{{0, 1 * HOUR_MS, 1, false}, "a day", 2, "--max-age"},
		/* Where a cycle is due each day two of them are two days. */
		{{24 * HOUR_MS, 47 * HOUR_MS, 1, false}, NULL, 0,
			"\"newest_age_limit_ms\": 172800000"},
		{{24 * HOUR_MS, 49 * HOUR_MS, 1, false}, NULL, TOO_OLD, "49 hours old"},
		{{24 * HOUR_MS, 47 * HOUR_MS, 1, false}, "8", TOO_OLD, "47 hours old"},
		{{0, HOUR_MS, 5, false}, NULL, MISSING,
			"1 sites of 2 hold the newest confirmed snapshot; away: 5"},
		{{0, 9 * HOUR_MS, 5, true}, NULL, TOO_OLD, "9 hours old"}, /* The worst. */
		{{0, HOUR_MS, 1, true}, NULL, MISSING, "1 snapshots have failed since"},
	};
	char text[16384];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct api_node node;
		int code;

		api_node_prepare(&node);
		node.config.backup_copies = 2;
		node.config.schedule.interval_ms = cases[i].world.interval_ms;
		put_rows(&node, &cases[i].world);
		api_node_run(&node);
		code = status(&node, cases[i].max_age, text, sizeof text);
		api_node_stop(&node);
		if (code != cases[i].code ||
			(cases[i].text != NULL && strstr(text, cases[i].text) == NULL)) {
			fail_msg("case %zu: %d, not %d and '%s': %s", i, code, cases[i].code,
				cases[i].text == NULL ? "" : cases[i].text, text);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_exit_codes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
