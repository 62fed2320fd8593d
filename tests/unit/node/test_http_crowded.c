/* Many at the door: who takes all there is of connections, handshakes, requests, bodies and answers
 * is stopped; others are not. On a clock that the test moves. */
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "tests/lib/api/h2_client.h"
#include "tests/lib/api/node.h"
#include "tests/lib/stepped_clock.h"

enum { CONNECTIONS = 8, WAIT_MS = 60000, ANSWERS_BYTES = 8 << 20 };

struct fixture {
	struct stepped_clock clock;
	struct api_node node;
};

static void fixture_start(void **state, unsigned connections_max)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	stepped_clock_init(&f->clock);
	api_node_prepare(&f->node);
	f->node.config.clock = &f->clock.clock;
	f->node.config.connections_max = connections_max;
	f->node.config.answer_bytes_max = ANSWERS_BYTES;
	api_node_run(&f->node);
	*state = f;
}

static int setup(void **state)
{
	fixture_start(state, 0);
	return 0;
}

static int setup_small(void **state)
{
	fixture_start(state, CONNECTIONS);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	api_node_stop(&f->node);
	free(f);
	return 0;
}

static uint64_t metric(struct fixture *f, const char *name)
{
	struct http_client admin;
	struct answer answer;
	char line[96];
	const char *at;
	uint64_t value;

	api_node_admin(&f->node, &admin);
	answer = http_client_call(&admin, "GET", "/metrics", "", bytes_of(NULL, 0));
	(void)snprintf(line, sizeof line, "\n%s ", name);
	at = strstr(buf_str(&answer.body), line);
	assert_non_null(at);
	value = strtoull(at + strlen(line), NULL, 10);
	answer_release(&answer);
	http_client_release(&admin);
	return value;
}

/* A TCP connection from 127.0.0.<host>, without a word of TLS. */
static int connect_from(struct fixture *f, unsigned host)
{
	struct sockaddr_in from = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + host)};
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)api_port(f->node.api)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval patience = {.tv_sec = WAIT_MS / 1000};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, 0) <= 0;
}

static bool is_open(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) < 0;
}

/* Waits until a number of the server is at least this. */
static void wait_metric(struct fixture *f, const char *name, uint64_t least)
{
	uint64_t deadline_ms = clock_monotonic_ms(&clock_system) + WAIT_MS;

	while (metric(f, name) < least) {
		if (clock_monotonic_ms(&clock_system) > deadline_ms) {
			fail_msg("%s never reached %llu", name, (unsigned long long)least);
		}
	}
}

static void expect_served(struct fixture *f)
{
	struct http_client client;
	struct answer answer;

	api_node_connect(&f->node, "http/1.1", &client);
	answer = http_client_call(&client, "GET", "/healthz", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	http_client_release(&client);
}

/* --- connections ------------------------------------------------------------------------------ */

/* All places are taken by somebody who says nothing: others still get in, at that one's expense. */
static void test_idle_crowd_makes_room(void **state)
{
	struct fixture *f = *state;
	int fd[CONNECTIONS - 1], more[CONNECTIONS];
	struct http_client client;
	struct answer answer;

	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++) {
		fd[i] = connect_from(f, 2);
	}
	wait_metric(f, "kluis_http_accepted_total", ARRAY_SIZE(fd));
	/* The operators' connection is one, too: seven and it and one more are too many. */
	api_node_connect(&f->node, "http/1.1", &client);
	expect_served(f);
	wait_metric(f, "kluis_http_evicted_total", 1);
	assert_true(is_closed(fd[0])); /* The one that was idle for longest. */
	assert_true(is_open(fd[ARRAY_SIZE(fd) - 1]));
	/* He himself cannot push: the last of his is the one that goes. */
	for (unsigned i = 0; i < ARRAY_SIZE(more); i++) {
		more[i] = connect_from(f, 2);
	}
	assert_true(is_closed(more[CONNECTIONS - 1]));
	assert_true(is_open(fd[1]));
	answer = http_client_call(&client, "GET", "/healthz", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	http_client_release(&client);
	for (unsigned i = 0; i < ARRAY_SIZE(more); i++) {
		(void)close(more[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++) {
		(void)close(fd[i]);
	}
}

/* Handshakes cost more than anything else that a stranger can ask for. */
static void test_connecting_without_end(void **state)
{
	struct fixture *f = *state;
	uint64_t refused = metric(f, "kluis_http_refused_total");

	for (unsigned i = 0; i < HTTP_ACCEPTS_BURST; i++) {
		int fd = connect_from(f, 3);

		(void)shutdown(fd, SHUT_WR);
		assert_true(is_closed(fd));
		(void)close(fd);
	}
	assert_int_equal(metric(f, "kluis_http_refused_total"), refused);
	for (unsigned i = 0; i < 10; i++) {
		int fd = connect_from(f, 3);

		assert_true(is_closed(fd)); /* Though this side has not ended. */
		(void)close(fd);
	}
	assert_int_equal(metric(f, "kluis_http_refused_total"), refused + 10);
	expect_served(f); /* Another address. */
	stepped_clock_step(&f->clock, 1000);
	refused = metric(f, "kluis_http_refused_total");
	(void)close(connect_from(f, 3));
	assert_int_equal(metric(f, "kluis_http_refused_total"), refused);
}

static void test_silent_handshake(void **state)
{
	struct fixture *f = *state;
	int fd = connect_from(f, 2);

	wait_metric(f, "kluis_http_accepted_total", 1);
	assert_true(is_open(fd));
	stepped_clock_step(&f->clock, HTTP_HANDSHAKE_MS + 1);
	assert_true(is_closed(fd));
	assert_int_equal(metric(f, "kluis_http_timeouts_total"), 1);
	(void)close(fd);
}

/* --- requests --------------------------------------------------------------------------------- */

/* A body that has begun and does not go on. */
static ssize_t stuck_cb(nghttp2_session *session, int32_t id, uint8_t *to, size_t max,
	uint32_t *flags, nghttp2_data_source *source, void *data)
{
	(void)session;
	(void)id;
	(void)to;
	(void)max;
	(void)flags;
	(void)source;
	(void)data;
	return NGHTTP2_ERR_DEFERRED;
}

static void hold_requests(struct h2_client *client, unsigned n)
{
	static const char *const fields[][2] = {{":method", "POST"}, {":scheme", "https"},
		{":path", "/v1/login/device/start"}, {":authority", "node"},
		{"content-type", "application/json"}, {"content-length", "4000"}};
	nghttp2_data_provider source = {.read_callback = stuck_cb};
	nghttp2_nv list[ARRAY_SIZE(fields)];
	const uint8_t *data;
	ssize_t len;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		list[i] = (nghttp2_nv){(uint8_t *)(uintptr_t)fields[i][0],
			(uint8_t *)(uintptr_t)fields[i][1], strlen(fields[i][0]),
			strlen(fields[i][1]), NGHTTP2_NV_FLAG_NONE};
	}
	while (n-- > 0) {
		assert_true(nghttp2_submit_request(client->session, NULL, list, ARRAY_SIZE(list),
				    &source, NULL) > 0);
	}
	while ((len = nghttp2_session_mem_send(client->session, &data)) > 0) {
		http_client_send(&client->http, bytes_of(data, (size_t)len));
	}
}

static int ask_on(struct h2_client *client)
{
	struct h2_stream *stream = h2_client_request(client, "GET", "node", "/healthz", NULL, NULL);

	h2_client_until(client, &stream->closed);
	return stream->status;
}

/* One address with as many requests under way as it may have: the next is told to wait. */
static void test_requests_of_an_address(void **state)
{
	enum { EACH = 64, N = HTTP_REQUESTS_PER_ADDRESS_MAX / EACH };
	struct fixture *f = *state;
	struct h2_client *clients = x_calloc(N + 1, sizeof *clients);

	for (unsigned i = 0; i <= N; i++) {
		api_node_connect(&f->node, "h2", &clients[i].http);
		h2_client_init(&clients[i]);
		assert_int_equal(ask_on(&clients[i]), 200);
	}
	for (unsigned i = 0; i < N; i++) {
		hold_requests(&clients[i], i == 0 ? EACH - 1 : EACH);
	}
	/* Each connection's are all taken once it has answered a later one. */
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(ask_on(&clients[i]), 200);
	}
	hold_requests(&clients[0], 1);
	assert_int_equal(ask_on(&clients[0]), 429);
	assert_int_equal(ask_on(&clients[N]), 429);
	h2_client_release(&clients[1]);
	while (ask_on(&clients[N]) != 200) { /* As soon as the server has seen its end. */
	}
	for (unsigned i = 0; i <= N; i++) {
		if (i != 1) {
			h2_client_release(&clients[i]);
		}
	}
	free(clients);
}

/* Bodies that never end: so many bytes an address, then it is told to wait; nobody else is. */
static void test_bodies_of_an_address(void **state)
{
	enum { N = HTTP_BODIES_PER_ADDRESS_BYTES_MAX / REQUEST_BODY_BYTES_MAX };
	static const char token[] = "kst_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	struct fixture *f = *state;
	struct http_client *clients = x_calloc(N + 1, sizeof *clients);
	struct buf text = BUF_INIT;
	struct answer answer;
	size_t head;

	buf_printf(&text,
		"POST /v1/vaults/00000000000000000000000000000000/commits HTTP/1.1\r\nHost: "
		"a\r\nAuthorization: Bearer %s\r\nContent-Type: "
		"application/octet-stream\r\nContent-Length: %d\r\n\r\n",
		token, REQUEST_BODY_BYTES_MAX);
	head = text.len;
	memset(buf_extend(&text, REQUEST_BODY_BYTES_MAX), 0, REQUEST_BODY_BYTES_MAX);
	for (unsigned i = 0; i < N; i++) {
		api_node_connect(&f->node, "http/1.1", &clients[i]);
		http_client_send(&clients[i], bytes_of(text.data, text.len - 1));
	}
	wait_metric(f, "kluis_http_body_bytes", (uint64_t)N * (REQUEST_BODY_BYTES_MAX - 1));
	api_node_connect(&f->node, "http/1.1", &clients[N]);
	http_client_send(&clients[N], bytes_of(text.data, head + 1000));
	answer = http_client_receive(&clients[N], false);
	assert_int_equal(answer.status, 429);
	assert_string_equal(answer_field(&answer, "retry-after"), "1");
	answer_release(&answer);
	expect_served(f); /* What has no body. */
	for (unsigned i = 0; i <= N; i++) {
		http_client_release(&clients[i]);
	}
	wait_metric(f, "kluis_http_accepted_total", N + 2);
	free(clients);
	buf_release(&text);
}

/* --- readers ---------------------------------------------------------------------------------- */

enum { PAGE_TEXT = 200000, PAGES = 64 };

/* A vault with one large page; body: of a call that asks for it PAGES times. */
static void large_answer(struct fixture *f, struct person *person, struct http_client *client,
	char path[96], struct buf *body)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT, text = BUF_INIT, head = BUF_INIT,
					  fields = BUF_INIT;
	struct answer answer;

	person_init(person, "reader");
	api_node_connect(&f->node, "http/1.1", client);
	api_node_join(&f->node, person, client);
	api_node_vault(&f->node, person, client);
	memset(buf_extend(&text, PAGE_TEXT), 'y', PAGE_TEXT);
	person_page(person, 0, 1, buf_str(&text), &page);
	person_head(person, 0, buf_bytes(&page), &head);
	buf_printf(&fields, "Content-Type: application/octet-stream\r\nIf-None-Match: "
			    "*\r\nKluis-Head: ");
	base64_append(&fields, buf_bytes(&head));
	buf_printf(&fields, "\r\n");
	(void)snprintf(path, 96, "/v1/vaults/");
	hex_encode(bytes_of(person->vault_id, 16), path + 11);
	(void)snprintf(path + 43, 96 - 43, "/pages/0");
	answer = http_client_call(client, "PUT", path, buf_str(&fields), buf_bytes(&page));
	assert_int_equal(answer.status, 201);
	answer_release(&answer);
	(void)snprintf(path + 43, 96 - 43, "/pages:get");
	buf_printf(body, "{\"pages\":[0");
	for (unsigned i = 1; i < PAGES; i++) {
		buf_printf(body, ",0");
	}
	buf_printf(body, "]}");
}

/* Asks and reads nothing yet; the kernel takes little on the way. */
static void ask(struct fixture *f, const char *token, const char *path, struct buf *body,
	struct http_client *client)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	int small = 65536;

	api_node_connect(&f->node, "http/1.1", client);
	assert_int_equal(
		setsockopt(tls_client_fd(client->tls), SOL_SOCKET, SO_RCVBUF, &small, sizeof small),
		0);
	buf_printf(&text,
		"POST %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Type: "
		"application/json\r\nContent-Length: %zu\r\n\r\n",
		path, token, body->len);
	buf_append_bytes(&text, buf_bytes(body));
	http_client_send(client, buf_bytes(&text));
}

/* Reads about so many bytes; false: the connection ended first. */
static bool read_some(struct http_client *client, size_t want)
{
	static uint8_t bytes[16384];

	while (want > 0) {
		struct err e = {0};
		size_t n = 0;
		int rc = tls_client_read(client->tls, bytes, sizeof bytes,
			clock_monotonic_ms(&clock_system) + WAIT_MS, &n, &e);

		if (rc != 0 || n == 0) {
			return false;
		}
		want -= n < want ? n : want;
	}
	return true;
}

/* Time goes on, and the server has looked at its connections since. */
static void step_clock(struct fixture *f, unsigned ms)
{
	uint64_t accepted = metric(f, "kluis_http_accepted_total");
	int due = connect_from(f, 2);

	assert_true(ms > HTTP_HANDSHAKE_MS);
	wait_metric(f, "kluis_http_accepted_total", accepted + 1);
	stepped_clock_step(&f->clock, ms);
	assert_true(is_closed(due));
	(void)close(due);
}

/* One that takes a little now and then is cut off; one that takes what it must is not. */
static void test_slow_readers(void **state)
{
	struct fixture *f = *state;
	struct http_client writer, slow, fair;
	struct person person;
	struct buf body = BUF_INIT;
	char path[96];
	const size_t must = (size_t)HTTP_BODY_BYTES_PER_SECOND_MIN * HTTP_BODY_STALL_MS / 1000;

	large_answer(f, &person, &writer, path, &body);
	ask(f, writer.token, path, &body, &slow);
	ask(f, writer.token, path, &body, &fair);
	assert_true(read_some(&slow, 1) && read_some(&fair, 1));
	for (unsigned i = 0; i < 4; i++) {
		assert_true(read_some(&fair, must));
		if (i < 2) {
			assert_true(read_some(&slow, 20000));
		}
		step_clock(f, HTTP_BODY_STALL_MS / 2);
	}
	assert_true(read_some(&fair, 3 * must));
	assert_false(read_some(&slow, (size_t)PAGES * PAGE_TEXT));
	http_client_release(&writer);
	http_client_release(&slow);
	http_client_release(&fair);
	person_release(&person);
	buf_release(&body);
}

/* Answers that nobody takes: so many bytes, then new requests are refused, and once they are gone
 * taken again. */
static void test_answers_in_memory(void **state)
{
	enum { N = 64 };
	struct fixture *f = *state;
	struct http_client writer, late, *readers = x_calloc(N, sizeof *readers);
	struct person person;
	struct buf body = BUF_INIT;
	struct answer answer;
	char path[96];

	large_answer(f, &person, &writer, path, &body);
	api_node_connect(&f->node, "http/1.1", &late);
	for (unsigned i = 0; i < N; i++) {
		ask(f, writer.token, path, &body, &readers[i]);
	}
	wait_metric(f, "kluis_http_answer_bytes", ANSWERS_BYTES + 1);
	answer = http_client_call(&late, "GET", "/healthz", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 429);
	assert_string_equal(answer_text(&answer, "code"), "rate-limited");
	answer_release(&answer);
	assert_in_range(metric(f, "kluis_http_answer_bytes"), ANSWERS_BYTES,
		N * (TLS_STREAM_HIGH_BYTES + 2UL * PAGE_TEXT + (128UL << 10)));
	for (unsigned i = 0; i < N; i++) {
		http_client_release(&readers[i]);
	}
	while (metric(f, "kluis_http_answer_bytes") > ANSWERS_BYTES) {
	}
	answer = http_client_call(&late, "GET", "/healthz", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	http_client_release(&late);
	http_client_release(&writer);
	free(readers);
	person_release(&person);
	buf_release(&body);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_idle_crowd_makes_room, setup_small, teardown),
		cmocka_unit_test_setup_teardown(test_connecting_without_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silent_handshake, setup, teardown),
		cmocka_unit_test_setup_teardown(test_requests_of_an_address, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bodies_of_an_address, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_readers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answers_in_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
