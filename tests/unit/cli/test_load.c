/* The load generator's engine and its HTTP/1.1 side, against a server that fails on demand. */
#include "tests/lib/cli_fixture/cli_fixture.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "cli/load/http_load.h"
#include "tests/lib/fake_node/routes.h"

enum { CLIENTS = 4, REQUESTS = 10, DRY_MS = 60000 };

struct rig {
	struct cli_fixture *f;
	struct load *load;
	struct load_result result;
	struct buf request;
	unsigned left[CLIENTS], answers;
	int answer; /* What answered_cb gives. */
	size_t answer_max;
};

static bool next_cb(void *arg, unsigned client, struct load_request *ret_request)
{
	struct rig *rig = arg;

	assert_true(client < CLIENTS);
	if (rig->left[client] == 0) {
		return false;
	}
	rig->left[client]--;
	*ret_request = (struct load_request){
		.kind = 1, .head = buf_bytes(&rig->request), .payload_bytes = 100};
	return true;
}

static int answered_cb(void *arg, unsigned client, const struct load_request *request,
	const struct load_answer *answer, struct err *e)
{
	struct rig *rig = arg;

	(void)client;
	assert_int_equal(request->kind, 1);
	assert_int_equal(answer->rc, 0);
	assert_non_null(memchr(answer->body.data, '{', answer->body.len));
	rig->answers++;
	return rig->answer == 0 ? 0 : err_set(e, rig->answer, "as the test wants it");
}

static const struct load_workload workload = {next_cb, answered_cb};

static void rig_request(struct rig *rig, const char *target)
{
	char token[CLIENT_TOKEN_BYTES_MAX + 1];

	client_token(rig->f->client, token);
	buf_clear(&rig->request);
	buf_printf(&rig->request, "GET %s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n\r\n",
		target, token);
}

static struct load *rig_load(struct rig *rig, const char *url, uint64_t request_ms)
{
	static const char *const alpn[] = {TLS_ALPN_HTTP1};
	_cleanup_(x_freep) char *address = NULL;
	struct load_config config = {.protocol = &http_load_protocol,
		.protocol_arg = &rig->answer_max,
		.endpoints = (const char *const *)&address,
		.n_endpoints = 1,
		.clients = CLIENTS,
		.request_ms = request_ms};
	struct load *load;
	struct err e = {0};

	assert_int_equal(client_endpoint_address(url, &address, &e), 0);
	assert_int_equal(
		tls_ctx_new_client(fake_node_ca(rig->f->node), alpn, 1, &config.ctx, &e), 0);
	assert_int_equal(load_new(&config, &load, &e), 0);
	tls_ctx_unref(config.ctx);
	return load;
}

static int rig_setup(void **state)
{
	struct rig *rig = x_calloc(1, sizeof *rig);
	void *fixture = NULL;
	struct err e = {0};

	assert_int_equal(cli_fixture_setup(&fixture), 0);
	rig->f = fixture;
	rig->answer_max = 4096;
	rig->load = rig_load(rig, fake_node_url(rig->f->node), 0);
	assert_int_equal(load_connect(rig->load, &e), 0);
	rig_request(rig, "/v1/vaults?limit=7");
	for (unsigned i = 0; i < CLIENTS; i++) {
		rig->left[i] = REQUESTS;
	}
	*state = rig;
	return 0;
}

static int rig_teardown(void **state)
{
	struct rig *rig = *state;
	void *fixture = rig->f;

	load_free(rig->load);
	buf_release(&rig->request);
	free(rig);
	return cli_fixture_teardown(&fixture);
}

static int rig_run(struct rig *rig, uint64_t limit_ms, struct err *e)
{
	return load_run(rig->load, &workload, rig, limit_ms, &rig->result, e);
}

static void rig_expect_all(struct rig *rig, int error, uint64_t times)
{
	struct err e = {0};

	assert_int_equal(rig_run(rig, 0, &e), 0);
	assert_int_equal(rig->result.latency[0].n, 0);
	assert_int_equal(rig->result.latency[1].n, CLIENTS * REQUESTS);
	assert_int_equal(rig->answers, CLIENTS * REQUESTS);
	assert_int_equal(rig->result.payload_bytes[1], CLIENTS * REQUESTS * 100);
	for (int code = 1; code < (int)KLUIS_ERROR_MAX; code++) {
		assert_int_equal(rig->result.errors[code], code == -error ? times : 0);
	}
	assert_int_equal(rig->result.first_error.code, times == 0 ? 0 : error);
}

static void test_every_request_is_counted(void **state)
{
	struct rig *rig = *state;

	rig_expect_all(rig, 0, 0);
	assert_int_equal(fake_node_count(rig->f->node, "limit=7"), CLIENTS * REQUESTS);
	assert_true(rig->result.elapsed_ns >= latency_at(&rig->result.latency[1], 1000));
	assert_true(rig->result.gap_ns > 0 && rig->result.gap_ns <= rig->result.elapsed_ns);
	assert_true(rig->result.ran_dry);
}

/* The same engine serves several runs, each counted by itself. */
static void test_runs_again(void **state)
{
	struct rig *rig = *state;

	rig_expect_all(rig, 0, 0);
	rig->answers = 0;
	for (unsigned i = 0; i < CLIENTS; i++) {
		rig->left[i] = REQUESTS;
	}
	rig_expect_all(rig, 0, 0);
}

/* What a later attempt can change is sent again, and counted under its error. */
static void test_failed_attempts_are_made_again(void **state)
{
	static const struct {
		enum fake_fault fault;
		int status, rc;
	} rows[] = {
		{FAKE_STATUS, 503, KLUIS_ENOQUORUM},
		{FAKE_STATUS, 504, KLUIS_EUNKNOWN_OUTCOME},
		{FAKE_STATUS, 429, KLUIS_ERATE},
		{FAKE_DROP_BEFORE, 0, KLUIS_ECLOSED},
		{FAKE_DROP_AFTER, 0, KLUIS_ECLOSED},
		{FAKE_CUT_BODY, 0, KLUIS_ECLOSED},
		{FAKE_GARBAGE, 0, KLUIS_EPROTO},
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		fake_node_fault(rig->f->node, rows[i].fault, "limit=7", 5, 3, rows[i].status);
		rig->answers = 0;
		for (unsigned c = 0; c < CLIENTS; c++) {
			rig->left[c] = REQUESTS;
		}
		rig_expect_all(rig, rows[i].rc, 3);
		assert_int_equal(fake_node_struck(rig->f->node), 3);
		/* The wait is part of the latency that a user sees. */
		assert_true(latency_at(&rig->result.latency[1], 1000) >= LOAD_BACKOFF_MS * 1000000);
	}
}

/* What none can change ends the run at once. */
static void test_final_answers_end_the_run(void **state)
{
	struct rig *rig = *state;
	struct err e = {0};

	fake_node_fault(rig->f->node, FAKE_STATUS, "limit=7", 5, 1, 404);
	assert_int_equal(rig_run(rig, 0, &e), KLUIS_ENOTFOUND);
	assert_int_equal(e.code, KLUIS_ENOTFOUND);
	assert_true(rig->result.latency[1].n < CLIENTS * REQUESTS);
	assert_int_equal(rig->result.errors[-KLUIS_ENOTFOUND], 1);
}

static void test_wrong_content_ends_the_run(void **state)
{
	struct rig *rig = *state;
	struct err e = {0};

	rig->answer = KLUIS_EVERIFY;
	assert_int_equal(rig_run(rig, 0, &e), KLUIS_EVERIFY);
	assert_string_equal(e.text, "as the test wants it");
	assert_int_equal(rig->result.latency[1].n, 0);
}

static void test_too_large_an_answer(void **state)
{
	struct rig *rig = *state;
	struct err e = {0};

	fake_node_fault(rig->f->node, FAKE_HUGE, "limit=7", 0, 1, 0);
	assert_int_equal(rig_run(rig, 0, &e), 0);
	assert_int_equal(rig->result.errors[-KLUIS_ETOOLARGE], 1);
}

static void test_time_is_up(void **state)
{
	struct rig *rig = *state;
	struct err e = {0};

	for (unsigned i = 0; i < CLIENTS; i++) {
		rig->left[i] = UINT32_MAX;
	}
	for (unsigned limit_ms = 50; rig->answers == 0; limit_ms *= 2) {
		assert_true(limit_ms < 60000);
		assert_int_equal(rig_run(rig, limit_ms, &e), 0);
	}
	assert_false(rig->result.ran_dry);
	assert_true(rig->result.elapsed_ns >= 25 * 1000000ULL);
	assert_int_equal(rig->result.latency[1].n, rig->answers);
	assert_true(rig->answers > 0);
}

/* With a limit the run ends when the first client is dry: what follows would be another load. */
static void test_first_dry_client_ends_it(void **state)
{
	struct rig *rig = *state;
	struct err e = {0};

	for (unsigned i = 1; i < CLIENTS; i++) {
		rig->left[i] = UINT32_MAX;
	}
	assert_int_equal(rig_run(rig, DRY_MS, &e), 0);
	assert_true(rig->result.ran_dry);
	assert_int_equal(rig->left[0], 0);
	assert_true(rig->result.elapsed_ns < DRY_MS * 1000000ULL);
}

static void test_untrusted_server(void **state)
{
	struct rig *rig = *state;
	struct fake_node *other = fake_node_new();
	struct load *load = rig_load(rig, fake_node_url(other), 0);
	struct err e = {0};

	assert_int_equal(load_connect(load, &e), KLUIS_EVERIFY);
	load_free(load);
	fake_node_free(other);
}

struct silence {
	struct fake_node *node;
	unsigned ms;
};

/* While this holds the node's lock no request is answered. */
static void *silence_thread(void *arg)
{
	const struct silence *silence = arg;
	struct timespec time = {
		.tv_sec = silence->ms / 1000, .tv_nsec = silence->ms % 1000 * 1000000};

	(void)pthread_mutex_lock(&silence->node->lock);
	(void)nanosleep(&time, NULL);
	(void)pthread_mutex_unlock(&silence->node->lock);
	return NULL;
}

/* Whether all met the silence, and somebody was answered beside it. */
static bool silent_node(struct rig *rig, unsigned ms)
{
	struct silence silence = {rig->f->node, ms};
	pthread_t thread;
	struct err e = {0};

	load_free(rig->load);
	rig->load = rig_load(rig, fake_node_url(rig->f->node), ms / 3);
	assert_int_equal(load_connect(rig->load, &e), 0);
	for (unsigned i = 0; i < CLIENTS; i++) {
		rig->left[i] = UINT32_MAX;
	}
	assert_int_equal(pthread_create(&thread, NULL, silence_thread, &silence), 0);
	assert_int_equal(rig_run(rig, 2 * ms, &e), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return rig->result.errors[-KLUIS_ETIMEOUT] >= CLIENTS &&
	       rig->result.gap_ns >= (uint64_t)ms / 2 * 1000000 && rig->result.latency[1].n > 0;
}

static void test_silent_node(void **state)
{
	/* Longer where a busy machine keeps all of them waiting by itself. */
	for (unsigned ms = 600; !silent_node(*state, ms); ms *= 2) {
		assert_true(ms < 20000);
	}
}

static void test_bounds(void **state)
{
	const char *endpoint = "127.0.0.1:1", *bad = "127.0.0.1";
	struct load_config config = {
		.protocol = &http_load_protocol, .endpoints = &endpoint, .n_endpoints = 1};
	struct load *load = NULL;
	struct err e = {0};

	(void)state;
	assert_int_equal(load_new(&config, &load, &e), KLUIS_EINVAL);
	config.clients = LOAD_CLIENTS_MAX + 1;
	assert_int_equal(load_new(&config, &load, &e), KLUIS_EINVAL);
	config.clients = 1;
	config.n_endpoints = 0;
	assert_int_equal(load_new(&config, &load, &e), KLUIS_EINVAL);
	config.n_endpoints = LOAD_ENDPOINTS_MAX + 1;
	assert_int_equal(load_new(&config, &load, &e), KLUIS_EINVAL);
	config.n_endpoints = 1;
	config.endpoints = &bad;
	assert_int_equal(load_new(&config, &load, &e), KLUIS_EINVAL);
	assert_null(load);
}

int main(void)
{
#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_every_request_is_counted),
		RIG_TEST(test_runs_again),
		RIG_TEST(test_failed_attempts_are_made_again),
		RIG_TEST(test_final_answers_end_the_run),
		RIG_TEST(test_wrong_content_ends_the_run),
		RIG_TEST(test_too_large_an_answer),
		RIG_TEST(test_time_is_up),
		RIG_TEST(test_first_dry_client_ends_it),
		RIG_TEST(test_untrusted_server),
		RIG_TEST(test_silent_node),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
