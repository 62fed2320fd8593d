/* A server without descriptors: it neither spins nor dies, and serves again when there are some. */
#include "tests/lib/test.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/api/node.h"

enum { CLIENTS = 8 };

static uint64_t metric(struct http_client *admin, const char *name)
{
	struct answer answer = http_client_call(admin, "GET", "/metrics", "", bytes_of(NULL, 0));
	char line[96];
	const char *at;
	uint64_t value;

	assert_int_equal(answer.status, 200);
	(void)snprintf(line, sizeof line, "\n%s ", name);
	at = strstr(buf_str(&answer.body), line);
	assert_non_null(at);
	value = strtoull(at + strlen(line), NULL, 10);
	answer_release(&answer);
	return value;
}

static void connect_to(int fd, unsigned port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
}

static double processor_seconds(void)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts), 0);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void test_no_descriptors(void **state)
{
	struct api_node node;
	struct http_client admin, client;
	struct rlimit before, none;
	struct answer answer;
	int fds[CLIENTS];
	uint64_t errors, start_ms, ms;
	double used;

	(void)state;
	api_node_start(&node);
	api_node_admin(&node, &admin);
	(void)metric(&admin, "kluis_http_accepted_total");
	for (unsigned i = 0; i < CLIENTS; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM, 0);
		assert_true(fds[i] >= 0);
	}
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 3; /* Every new descriptor would be above it. */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (unsigned i = 0; i < CLIENTS; i++) {
		connect_to(fds[i], api_port(node.api)); /* The kernel takes it. */
	}
	/* For a while: accepting is tried now and then, not all the time, and others are served. */
	used = processor_seconds();
	start_ms = clock_monotonic_ms(&clock_system);
	do {
		errors = metric(&admin, "kluis_http_accept_errors_total");
		(void)usleep(100000);
	} while (clock_monotonic_ms(&clock_system) - start_ms < 600);
	used = processor_seconds() - used;
	ms = clock_monotonic_ms(&clock_system) - start_ms;
	assert_in_range(errors, 1, 2 + ms / HTTP_ACCEPT_RETRY_MS);
	assert_true(used * 1000 < 0.8 * (double)ms);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	for (unsigned i = 0; i < CLIENTS; i++) {
		(void)close(fds[i]);
	}
	api_node_connect(&node, "http/1.1", &client);
	answer = http_client_call(&client, "GET", "/healthz", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	http_client_release(&client);
	http_client_release(&admin);
	api_node_stop(&node);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
