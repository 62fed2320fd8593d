#include "tests/lib/cli_fixture/cli_fixture.h"

#include <string.h>

#include "base/clock.h"
#include "cli/client/json_reader.h"

static int list(struct cli_fixture *f)
{
	json_t *items;
	int rc;

	f->err = (struct err){0};
	rc = api_list(f->client, "/v1/vaults", CLIENT_AUTH, 100, &items, &f->err);
	if (rc == 0) {
		json_decref(items);
	}
	return rc;
}

/* Each is survived by sending the same request again. */
static void test_survived(void **state)
{
	static const enum fake_fault faults[] = {
		FAKE_DROP_BEFORE, FAKE_DROP_AFTER, FAKE_CUT_BODY, FAKE_GARBAGE, FAKE_NO_LENGTH};
	struct cli_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		fake_node_fault(f->node, faults[i], "GET /v1/vaults?", 0, 2, 0);
		assert_int_equal(list(f), 0);
		assert_int_equal(fake_node_struck(f->node), 2);
	}
}

static void test_busy_answers_are_waited_for(void **state)
{
	static const int statuses[] = {503, 504, 429};
	struct cli_fixture *f = *state;

	/* Patience enough for three of them on a busy machine, too. */
	client_free(f->client);
	assert_int_equal(session_client(f->profile, NULL, 20000, &f->client, &f->err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		fake_node_fault(f->node, FAKE_STATUS, "GET /v1/vaults?", 0, 3, statuses[i]);
		assert_int_equal(list(f), 0);
		assert_int_equal(fake_node_struck(f->node), 3);
	}
}

/* What stays away for good ends in its own error, and in no endless wait. */
static void test_given_up(void **state)
{
	static const struct {
		enum fake_fault fault;
		int status, rc, exit_code;
	} rows[] = {
		{FAKE_STATUS, 503, KLUIS_ENOQUORUM, 13},
		{FAKE_STATUS, 504, KLUIS_EUNKNOWN_OUTCOME, 13},
		{FAKE_DROP_BEFORE, 0, KLUIS_ECLOSED, 13},
	};
	struct cli_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t begin_ms = clock_monotonic_ms(&clock_system);

		fake_node_fault(f->node, rows[i].fault, "GET /v1/vaults?", 0, 1000, rows[i].status);
		assert_int_equal(list(f), rows[i].rc);
		assert_int_equal(err_exit_code(rows[i].rc), rows[i].exit_code);
		assert_true(clock_monotonic_ms(&clock_system) - begin_ms < 60000);
	}
}

static void test_final_answers(void **state)
{
	static const struct {
		int status, rc;
	} rows[] = {{400, KLUIS_EINVAL}, {403, KLUIS_EMFA}, {404, KLUIS_ENOTFOUND},
		{409, KLUIS_ECONFLICT}, {412, KLUIS_EPRECONDITION}, {413, KLUIS_ETOOLARGE},
		{500, KLUIS_EINTERNAL}};
	struct cli_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		fake_node_fault(f->node, FAKE_STATUS, "GET /v1/vaults?", 0, 5, rows[i].status);
		assert_int_equal(list(f), rows[i].rc);
		assert_int_equal(fake_node_struck(f->node), 1);
		assert_int_equal(f->err.code, rows[i].rc);
	}
}

static void test_huge_answer_is_not_read(void **state)
{
	struct cli_fixture *f = *state;

	fake_node_fault(f->node, FAKE_HUGE, "GET /v1/vaults?", 0, 5, 0);
	assert_int_equal(list(f), KLUIS_EPROTO);
	assert_int_equal(fake_node_struck(f->node), 1);
	assert_non_null(strstr(f->err.text, "larger than asked for"));
	/* It is no fault of the user's: nobody answered in a way that counts. */
	assert_int_equal(err_exit_code(KLUIS_EPROTO), 13);
}

/* Redirects are followed nowhere, and named. */
static void test_redirects(void **state)
{
	static const int statuses[] = {300, 301, 302, 307, 308};
	struct cli_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		fake_node_fault(f->node, FAKE_STATUS, "GET /v1/vaults?", 0, 5, statuses[i]);
		assert_int_equal(list(f), KLUIS_EPROTO);
		assert_int_equal(fake_node_struck(f->node), 1);
		assert_non_null(strstr(f->err.text, "redirect"));
	}
}

static void test_ended_session_is_renewed(void **state)
{
	struct cli_fixture *f = *state;
	unsigned before = fake_node_count(f->node, "login/device/finish");

	assert_int_equal(list(f), 0);
	fake_node_drop_sessions(f->node);
	assert_int_equal(list(f), 0);
	assert_int_equal(fake_node_count(f->node, "login/device/finish"), before + 1);
	/* One that stays refused is an error, not a loop. */
	fake_node_fault(f->node, FAKE_STATUS, "GET /v1/vaults?", 0, 100, 401);
	assert_int_equal(list(f), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(fake_node_struck(f->node), 2);
}

static void test_session_outlives_the_process(void **state)
{
	struct cli_fixture *f = *state;
	unsigned before;

	assert_int_equal(list(f), 0);
	before = fake_node_count(f->node, "login/device/finish");
	cli_fixture_reopen(f);
	assert_int_equal(list(f), 0);
	assert_int_equal(fake_node_count(f->node, "login/device/finish"), before);
}

/* A login answer that was lost is not asked for again with the same signature. */
static void test_once(void **state)
{
	struct cli_fixture *f = *state;

	fake_node_drop_sessions(f->node);
	fake_node_fault(f->node, FAKE_DROP_BEFORE, "login/device/finish", 0, 1, 0);
	assert_int_equal(list(f), KLUIS_ECLOSED);
	assert_int_equal(list(f), 0);
}

static void test_failover(void **state)
{
	struct cli_fixture *f = *state;
	struct fake_node *other = fake_node_new();
	const char *urls[] = {"https://127.0.0.1:1", fake_node_url(other), fake_node_url(f->node)};
	struct client_config config = {.endpoints = urls,
		.n_endpoints = ARRAY_SIZE(urls),
		.ca_pem = fake_node_ca(f->node),
		.give_up_ms = 60000};
	struct api_cluster cluster;
	struct client *client;

	/* The first refuses, the second shows a certificate of another CA, the third is good. */
	assert_int_equal(client_new(&config, &client, &f->err), 0);
	assert_int_equal(api_well_known(client, &cluster, &f->err), 0);
	assert_int_equal(fake_node_count(f->node, "GET /.well-known"), 2);
	assert_int_equal(fake_node_count(other, "GET /.well-known"), 0);
	api_cluster_release(&cluster);
	client_free(client);
	config.n_endpoints = 1;
	config.endpoints = urls + 1;
	assert_int_equal(client_new(&config, &client, &f->err), 0);
	assert_int_equal(api_well_known(client, &cluster, &f->err), KLUIS_EVERIFY);
	assert_int_equal(err_exit_code(KLUIS_EVERIFY), 14);
	client_free(client);
	config.endpoints = urls;
	config.give_up_ms = 300;
	assert_int_equal(client_new(&config, &client, &f->err), 0);
	assert_int_equal(api_well_known(client, &cluster, &f->err), KLUIS_ECONNECT);
	client_free(client);
	fake_node_free(other);
}

/* A site whose disk is full takes no writes, the others do. */
static void test_read_only_elsewhere(void **state)
{
	struct cli_fixture *f = *state;
	const char *urls[] = {
		fake_node_url(f->node), fake_node_url(f->node), fake_node_url(f->node)};
	struct client_config config = {.endpoints = urls,
		.n_endpoints = ARRAY_SIZE(urls),
		.ca_pem = fake_node_ca(f->node),
		.give_up_ms = 600000};
	uint64_t begin_ms = clock_monotonic_ms(&clock_system);
	struct api_cluster cluster;
	struct client *client;

	assert_int_equal(client_new(&config, &client, &f->err), 0);
	fake_node_fault(f->node, FAKE_STATUS, "GET /.well-known", 0, 2, KLUIS_EREADONLY);
	assert_int_equal(api_well_known(client, &cluster, &f->err), 0);
	assert_int_equal(fake_node_struck(f->node), 2);
	api_cluster_release(&cluster);
	fake_node_fault(f->node, FAKE_STATUS, "GET /.well-known", 0, 100, KLUIS_EREADONLY);
	assert_int_equal(api_well_known(client, &cluster, &f->err), KLUIS_EREADONLY);
	assert_int_equal(fake_node_struck(f->node), 3); /* Each once, and no waiting. */
	assert_true(clock_monotonic_ms(&clock_system) - begin_ms < 300000);
	client_free(client);
}

static void test_endpoints(void **state)
{
	static const char *const bad[] = {"http://a:1", "https://", "a:1", "https://a:1/path",
		"https://user@a:1", "https://a:1?x"};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct client_config config = {.endpoints = &bad[i], .n_endpoints = 1};
		struct client *client = NULL;

		assert_int_equal(client_new(&config, &client, &e), KLUIS_EINVAL);
		assert_null(client);
	}
}

static void test_json(void **state)
{
	static const char *const bad[] = {"", "[]", "{", "{\"a\":1,\"a\":2}", "{} x",
		"{\"a\":\"\xff\"}",
		"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{"
		"\"a\":"
		"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}}}}}}}}}"};
	json_t *value = NULL;
	struct json_reader r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(json_object_parse(bytes_str(bad[i]), &value, NULL), KLUIS_EPROTO);
		assert_null(value);
	}
	assert_int_equal(
		json_object_parse(bytes_str("{\"n\":-1,\"s\":\"x\",\"b\":true}"), &value, NULL), 0);
	r = json_reader_of(value);
	assert_string_equal(json_reader_string(&r, "s"), "x");
	assert_true(json_reader_bool(&r, "b"));
	assert_int_equal(json_reader_end(&r, "t", NULL), 0);
	assert_int_equal(json_reader_u64(&r, "n"), 0);
	assert_int_equal(json_reader_end(&r, "t", NULL), KLUIS_EPROTO);
	assert_string_equal(json_reader_string(&r, "s"), ""); /* Stays failed. */
	json_decref(value);
}

int main(void)
{
#define FIXTURE(test) cmocka_unit_test_setup_teardown(test, cli_fixture_setup, cli_fixture_teardown)
	const struct CMUnitTest tests[] = {
		FIXTURE(test_survived),
		FIXTURE(test_busy_answers_are_waited_for),
		FIXTURE(test_given_up),
		FIXTURE(test_final_answers),
		FIXTURE(test_huge_answer_is_not_read),
		FIXTURE(test_redirects),
		FIXTURE(test_ended_session_is_renewed),
		FIXTURE(test_session_outlives_the_process),
		FIXTURE(test_once),
		FIXTURE(test_failover),
		FIXTURE(test_read_only_elsewhere),
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
