/* Time limits of the server, on a clock that the test moves: each is reached exactly when it should
 * be, and not before. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/api/node.h"
#include "tests/lib/stepped_clock.h"

struct fixture {
	struct stepped_clock clock;
	struct api_node node;
};

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	stepped_clock_init(&f->clock);
	api_node_prepare(&f->node);
	f->node.config.clock = &f->clock.clock;
	f->node.config.per_address_max = 4;
	api_node_run(&f->node);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	api_node_stop(&f->node);
	free(f);
	return 0;
}

/* What the server's own sweep, once a second of real time, has seen. */
static uint64_t timeouts(struct fixture *f)
{
	struct http_client admin;
	struct answer answer;
	uint64_t n;

	api_node_admin(&f->node, &admin);
	answer = http_client_call(&admin, "GET", "/metrics", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	n = strtoull(strstr(buf_str(&answer.body), "\nkluis_http_timeouts_total ") + 27, NULL, 10);
	answer_release(&answer);
	http_client_release(&admin);
	return n;
}

/* A sweep has come and gone: seen by a connection that is due at once. */
static void after_a_sweep(struct fixture *f, struct http_client *due)
{
	(void)f;
	assert_true(http_client_closed(due));
}

/* Opens two connections, sends `text` on both; at limit - 1 the first must be open still, beyond it
 * closed. The second one is given up to the sweep that shows it. */
static void expect_closed_after(struct fixture *f, const char *text, uint64_t limit_ms)
{
	struct http_client client;
	struct http_client idle;
	uint64_t before = timeouts(f);

	/* One that is due HTTP_HEADER_MS after the start, in whatever state the other is. */
	api_node_connect(&f->node, "http/1.1", &client);
	if (*text != '\0') {
		http_client_send(&client, bytes_str(text));
	}
	{
		/* Its bytes have been seen once a later connection was answered. */
		struct answer answer;

		api_node_connect(&f->node, "http/1.1", &idle);
		answer = http_client_call(&idle, "GET", "/healthz", "", bytes_of(NULL, 0));
		assert_int_equal(answer.status, 200);
		answer_release(&answer);
		http_client_release(&idle);
	}
	assert_int_equal(timeouts(f), before);
	stepped_clock_step(&f->clock, limit_ms + 1);
	after_a_sweep(f, &client);
	assert_true(timeouts(f) > before);
	http_client_release(&client);
}

static void test_silent(void **state)
{
	expect_closed_after(*state, "", HTTP_HEADER_MS);
}

static void test_slow_head(void **state)
{
	expect_closed_after(*state, "GET /healthz HTTP/1.1\r\nHost: a\r\n", HTTP_HEADER_MS);
}

static void test_slow_body(void **state)
{
	expect_closed_after(*state,
		"POST /v1/login/device/start HTTP/1.1\r\nHost: a\r\nContent-Type: "
		"application/json\r\nContent-Length: 100\r\n\r\n{",
		HTTP_BODY_STALL_MS);
}

/* Within the limits nothing is closed: three connections, one in each state, a second short of its
 * limit, and a fourth that is due shows that a sweep went by. */
static void test_not_before(void **state)
{
	struct fixture *f = *state;
	struct http_client idle, body, due;
	struct answer answer;

	api_node_connect(&f->node, "http/1.1", &idle);
	answer = http_client_call(&idle, "GET", "/healthz", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	api_node_connect(&f->node, "http/1.1", &body);
	http_client_send(
		&body, bytes_str("POST /v1/login/device/start HTTP/1.1\r\nHost: a\r\nContent-Type: "
				 "application/json\r\nContent-Length: 2\r\n\r\n{"));
	api_node_connect(&f->node, "http/1.1", &due);
	/* TLS 1.3: a client is done before its server. One more answer: the server is done, too. */
	(void)timeouts(f);
	stepped_clock_step(&f->clock, HTTP_BODY_STALL_MS - 1000);
	after_a_sweep(f, &due);
	http_client_release(&due);
	http_client_send(&body, bytes_str("}"));
	answer = http_client_receive(&body, false);
	assert_int_equal(answer.status, 400);
	answer_release(&answer);
	answer = http_client_call(&idle, "GET", "/healthz", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	/* Keep-alive ends, too. */
	stepped_clock_step(&f->clock, HTTP_IDLE_MS + 1);
	assert_true(http_client_closed(&idle));
	http_client_release(&idle);
	http_client_release(&body);
}

static void test_connections_per_address(void **state)
{
	struct fixture *f = *state;
	struct http_client client[4], surplus;
	struct tls_ctx *ctx;
	char address[32];
	struct err e = {0};

	for (unsigned i = 0; i < 4; i++) {
		api_node_connect(&f->node, "http/1.1", &client[i]);
	}
	memset(&surplus, 0, sizeof surplus);
	ctx = certs_client_ctx(&f->node.ca, "http/1.1");
	(void)snprintf(address, sizeof address, "127.0.0.1:%u", api_port(f->node.api));
	assert_true(tls_client_connect(address, ctx, clock_monotonic_ms(&clock_system) + 60000,
			    &surplus.tls, &e) != 0);
	for (unsigned i = 0; i < 4; i++) {
		struct answer answer =
			http_client_call(&client[i], "GET", "/healthz", "", bytes_of(NULL, 0));

		assert_int_equal(answer.status, 200);
		answer_release(&answer);
		http_client_release(&client[i]);
	}
	tls_ctx_unref(ctx);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_silent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_head, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_body, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_before, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connections_per_address, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
