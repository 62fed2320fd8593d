/* kluisctl bench against a node's real API. */
#include "tests/lib/api/node.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/client/json_reader.h"
#include "cli/client/session.h"
#include "cli/load/page_load.h"
#include "tests/lib/test.h"

/* Of cli/ops/ops.h, whose struct command is another one than the state machine's. */
struct program;
extern const struct program ops_program;
int program_run(const struct program *program, int argc, char **argv);

struct rig {
	struct api_node node;
	char *dir, *profile, *url, *out;
};

static void must(int rc, const struct err *e)
{
	if (rc != 0) {
		fail_msg("%s: %s", err_name(rc), e->text);
	}
}

/* The one-time token of a new account, from the operator. */
static void rig_token(struct rig *rig, char token[128])
{
	struct client_config config = {.socket_path = rig->node.admin_path};
	struct client *operator_client;
	struct err e = {0};
	json_t *answer;

	must(client_new(&config, &operator_client, &e), &e);
	must(api_create(operator_client, "/v1/sys/services", json_pack("{s:s}", "name", "bench"), 0,
		     &answer, &e),
		&e);
	(void)snprintf(token, 128, "%s", json_string_value(json_object_get(answer, "token")));
	json_decref(answer);
	client_free(operator_client);
}

static void rig_enrol(struct rig *rig)
{
	const char *url = rig->url;
	struct client_config config = {
		.endpoints = &url, .n_endpoints = 1, .ca_pem = buf_bytes(&rig->node.ca.cert_pem)};
	_cleanup_(api_cluster_release) struct api_cluster cluster = {0};
	struct profile *profile;
	struct client *client;
	struct err e = {0};
	char token[128];

	rig_token(rig, token);
	must(client_new(&config, &client, &e), &e);
	must(api_well_known(client, &cluster, &e), &e);
	must(profile_make(rig->profile, &cluster, "bench", "laptop", &url, 1, &profile, &e), &e);
	must(session_enrol(profile, client, token, &e), &e);
	profile_close(profile);
	client_free(client);
}

static int rig_setup(void **state)
{
	struct rig *rig = x_calloc(1, sizeof *rig);

	api_node_start(&rig->node);
	rig->dir = scratch_new("bench");
	rig->profile = x_asprintf("%s/profile", rig->dir);
	rig->out = x_asprintf("%s/out", rig->dir);
	rig->url = x_asprintf("https://127.0.0.1:%u", api_port(rig->node.api));
	rig_enrol(rig);
	*state = rig;
	return 0;
}

static int rig_teardown(void **state)
{
	struct rig *rig = *state;

	api_node_stop(&rig->node);
	scratch_free(rig->dir);
	free(rig->profile);
	free(rig->out);
	free(rig->url);
	free(rig);
	return 0;
}

/* Runs the command and gives what it wrote to stdout, if it is JSON. */
static int bench(struct rig *rig, json_t **ret_report, const char *const *words)
{
	char *argv[32] = {"kluisctl", "bench", "--profile", rig->profile, "-o", "json"};
	int argc = 6, rc, saved = dup(STDOUT_FILENO);
	FILE *out = fopen(rig->out, "w+");

	while (*words != NULL) {
		argv[argc++] = (char *)*words++;
	}
	assert_non_null(out);
	(void)fflush(stdout);
	assert_true(dup2(fileno(out), STDOUT_FILENO) >= 0);
	rc = program_run(&ops_program, argc, argv);
	(void)fflush(stdout);
	assert_true(dup2(saved, STDOUT_FILENO) >= 0);
	(void)close(saved);
	(void)fclose(out);
	*ret_report = json_load_file(rig->out, 0, NULL);
	return rc;
}
#define BENCH(rig, report, ...) bench(rig, report, (const char *const[]){__VA_ARGS__, NULL})

static json_int_t number(const json_t *report, const char *op, const char *key)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(report, "items"), i, row)
	{
		if (strcmp(json_string_value(json_object_get(row, "op")), op) == 0) {
			assert_true(json_is_integer(json_object_get(row, key)));
			return json_integer_value(json_object_get(row, key));
		}
	}
	return -1;
}

static size_t vaults(struct rig *rig)
{
	struct profile *profile;
	struct client *client;
	struct err e = {0};
	json_t *items;
	size_t n;

	must(profile_open(rig->profile, &profile, &e), &e);
	must(session_client(profile, NULL, 0, &client, &e), &e);
	must(api_list(client, "/v1/vaults", CLIENT_AUTH, 1000, &items, &e), &e);
	n = json_array_size(items);
	json_decref(items);
	client_free(client);
	profile_close(profile);
	return n;
}

static void test_puts(void **state)
{
	struct rig *rig = *state;
	unsigned before = rig->node.proposals;
	json_t *report;

	assert_int_equal(BENCH(rig, &report, "--clients", "3", "--requests", "20"), 0);
	assert_int_equal(number(report, "put", "requests"), 21); /* 7 each. */
	assert_int_equal(number(report, "get", "requests"), -1);
	assert_int_equal(json_integer_value(json_object_get(report, "page_bytes")), 4096 + 144);
	assert_int_equal(json_object_size(json_object_get(report, "errors")), 0);
	/* Each put was one commit; three vaults came and went. */
	assert_true(rig->node.proposals - before >= 21 + 3 + 3);
	assert_int_equal(vaults(rig), 0);
	json_decref(report);
}

/* Uploads ahead of a commit that does not come: the vaults stay as they were made. */
static void test_staged(void **state)
{
	struct rig *rig = *state;
	unsigned before = rig->node.proposals;
	struct profile *profile;
	struct client *client;
	json_t *report, *items;
	const json_t *vault;
	struct err e = {0};
	size_t i;

	assert_int_equal(BENCH(rig, &report, "--op", "stage", "--clients", "2", "--requests", "10",
				 "--bucket", "256k", "--keep"),
		0);
	assert_int_equal(number(report, "put", "requests"), 10);
	assert_int_equal(json_object_size(json_object_get(report, "errors")), 0);
	json_decref(report);
	assert_true(rig->node.proposals - before >= 10 + 2);
	must(profile_open(rig->profile, &profile, &e), &e);
	must(session_client(profile, NULL, 0, &client, &e), &e);
	must(api_list(client, "/v1/vaults", CLIENT_AUTH, 1000, &items, &e), &e);
	assert_int_equal(json_array_size(items), 2);
	json_array_foreach(items, i, vault)
	{
		assert_int_equal(json_integer_value(json_object_get(vault, "seq")), 1);
	}
	json_decref(items);
	client_free(client);
	profile_close(profile);
}

static void test_gets_in_time(void **state)
{
	struct rig *rig = *state;
	unsigned before = rig->node.read_indexes;
	json_t *report;

	assert_int_equal(BENCH(rig, &report, "--op", "get", "--clients", "2", "--seconds", "1",
				 "--pages", "5", "--bucket", "64k", "--endpoint", rig->url),
		0);
	assert_true(number(report, "get", "requests") > 10);
	assert_int_equal(number(report, "put", "requests"), -1);
	assert_true(
		rig->node.read_indexes - before > (unsigned)number(report, "get", "requests") / 2);
	assert_int_equal(json_integer_value(json_object_get(report, "page_bytes")), 65536 + 144);
	assert_int_equal(vaults(rig), 0);
	json_decref(report);
}

static void test_stale_gets_ask_no_quorum(void **state)
{
	struct rig *rig = *state;
	unsigned before = rig->node.read_indexes;
	json_t *report;

	assert_int_equal(BENCH(rig, &report, "--op", "get", "--clients", "2", "--requests", "200",
				 "--consistency", "stale", "--pages", "2"),
		0);
	assert_int_equal(number(report, "get", "requests"), 200);
	assert_true(rig->node.read_indexes - before < 100);
	json_decref(report);
}

static void test_mixed(void **state)
{
	struct rig *rig = *state;
	json_t *report;
	json_int_t gets, puts;

	assert_int_equal(BENCH(rig, &report, "--op", "mixed", "--clients", "4", "--requests", "400",
				 "--reads", "50", "--pages", "8"),
		0);
	gets = number(report, "get", "requests");
	puts = number(report, "put", "requests");
	assert_int_equal(gets + puts, 400);
	assert_in_range(gets, 120, 280);
	json_decref(report);
}

/* What a run that was cut off left is gone after the next one; other vaults stay. */
static void test_leftovers_are_removed(void **state)
{
	struct rig *rig = *state;
	json_t *report;

	assert_int_equal(BENCH(rig, &report, "--clients", "3", "--requests", "3", "--keep"), 0);
	json_decref(report);
	assert_int_equal(vaults(rig), 3);
	assert_int_equal(BENCH(rig, &report, "--clients", "1", "--requests", "1"), 0);
	json_decref(report);
	assert_int_equal(vaults(rig), 0);
}

static void test_no_leader(void **state)
{
	struct rig *rig = *state;
	json_t *report;

	rig->node.no_leader = true;
	assert_int_equal(BENCH(rig, &report, "--requests", "1", "--timeout", "1"), 13);
	assert_null(report);
	rig->node.no_leader = false;
}

static void test_refused_options(void **state)
{
	static const char *const rows[][2] = {{"--op", "push"}, {"--bucket", "5k"},
		{"--bucket", "512k"}, {"--clients", "0"}, {"--clients", "5000"}, {"--pages", "0"},
		{"--seconds", "0"}, {"--reads", "101"}, {"--consistency", "eventual"},
		{"--endpoint", "http://127.0.0.1:1"}};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *report;

		assert_int_equal(BENCH(rig, &report, rows[i][0], rows[i][1]), 2);
		assert_null(report);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_puts),
		cmocka_unit_test(test_staged),
		cmocka_unit_test(test_gets_in_time),
		cmocka_unit_test(test_stale_gets_ask_no_quorum),
		cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_leftovers_are_removed),
		cmocka_unit_test(test_no_leader),
		cmocka_unit_test(test_refused_options),
	};

	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
