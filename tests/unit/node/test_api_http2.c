/* The server as an HTTP/2 client sees it. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/text.h"
#include "tests/lib/api/h2_client.h"
#include "tests/lib/api/node.h"

struct fixture {
	struct api_node node;
	struct h2_client h2;
};

static void connect_h2(struct fixture *f)
{
	memset(&f->h2, 0, sizeof f->h2);
	api_node_connect(&f->node, "h2", &f->h2.http);
	assert_true(bytes_equal(tls_client_alpn(f->h2.http.tls), bytes_str("h2")));
	h2_client_init(&f->h2);
}

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	api_node_start(&f->node);
	connect_h2(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	h2_client_release(&f->h2);
	api_node_stop(&f->node);
	free(f);
	return 0;
}

static struct h2_stream *get(struct fixture *f, const char *path)
{
	return h2_client_request(&f->h2, "GET", "node", path, NULL, NULL);
}

static void expect_alive(struct fixture *f)
{
	struct h2_stream *stream = get(f, "/healthz");

	h2_client_until(&f->h2, &stream->closed);
	assert_int_equal(stream->status, 200);
}

static void test_many_streams(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 300; i++) {
		(void)get(f, i % 3 == 0 ? "/v1/version" : i % 3 == 1 ? "/healthz" : "/nowhere");
	}
	for (unsigned i = 0; i < 300; i++) {
		struct h2_stream *stream = &f->h2.stream[i];

		h2_client_until(&f->h2, &stream->closed);
		assert_int_equal(stream->status, i % 3 == 2 ? 404 : 200);
		assert_true(stream->body.len > 0);
		assert_int_equal(stream->error, NGHTTP2_NO_ERROR);
	}
}

static void test_body_too_large(void **state)
{
	struct fixture *f = *state;
	static const struct h2_field announced[] = {
		{"content-type", "application/json"}, {"content-length", "8192"}, {NULL, NULL}};
	static const struct h2_field silent[] = {
		{"content-type", "application/json"}, {NULL, NULL}};
	struct buf body = BUF_INIT;

	memset(buf_extend(&body, 8192), 'x', 8192);
	for (unsigned i = 0; i < 2; i++) {
		struct h2_stream *stream = h2_client_request(&f->h2, "POST", "node",
			"/v1/login/device/start", i == 0 ? announced : silent, &body);

		h2_client_until(&f->h2, &stream->ended);
		assert_int_equal(stream->status, 413);
		assert_non_null(strstr(buf_str(&stream->body), "\"limit\":4096"));
		h2_client_until(&f->h2, &stream->closed);
		assert_int_equal(stream->error, NGHTTP2_NO_ERROR); /* Drained, not reset. */
		expect_alive(f);
	}
	buf_release(&body);
}

static void test_fields(void **state)
{
	struct fixture *f = *state;
	struct buf value = BUF_INIT;
	struct h2_stream *stream;
	char *text;

	memset(buf_extend(&value, 20000), 'x', 20000);
	text = x_strdup(buf_str(&value));
	{
		const struct h2_field large[] = {{"x-large", text}, {NULL, NULL}};

		stream = h2_client_request(&f->h2, "GET", "node", "/healthz", large, NULL);
		h2_client_until(&f->h2, &stream->closed);
		assert_int_equal(stream->status, 431);
	}
	expect_alive(f);
	{
		static const struct h2_field two_hosts[] = {{"host", "other"}, {NULL, NULL}};

		stream = h2_client_request(&f->h2, "GET", "node", "/healthz", two_hosts, NULL);
		h2_client_until(&f->h2, &stream->closed);
		assert_int_equal(stream->status, 400);
	}
	expect_alive(f);
	/* No host at all: nghttp2 or we refuse, and the connection goes on. */
	stream = h2_client_request(&f->h2, "GET", NULL, "/healthz", NULL, NULL);
	h2_client_until(&f->h2, &stream->closed);
	assert_true(stream->status == 400 || stream->error == NGHTTP2_PROTOCOL_ERROR);
	{
		static const struct h2_field upper[] = {{"X-Upper", "a"}, {NULL, NULL}};
		static const struct h2_field hop[] = {{"connection", "close"}, {NULL, NULL}};

		stream = h2_client_request(&f->h2, "GET", "node", "/healthz", hop, NULL);
		h2_client_until(&f->h2, &stream->closed);
		assert_int_not_equal(stream->status, 200);
		(void)upper; /* nghttp2's encoder lowers it: nothing to send. */
	}
	expect_alive(f);
	free(text);
	buf_release(&value);
}

/* CVE-2023-44487: streams opened and reset at once. */
static void send_pending(struct h2_client *client)
{
	const uint8_t *data;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(client->session, &data)) > 0) {
		http_client_send(&client->http, bytes_of(data, (size_t)n));
	}
}

static void test_rapid_reset(void **state)
{
	struct fixture *f = *state;
	struct http_client admin;
	struct answer answer;

	for (unsigned i = 0; i < 400 && !f->h2.ended; i++) {
		struct h2_stream *stream = get(f, "/v1/version");

		/* nghttp2 would drop a request that has not left when it is reset. */
		send_pending(&f->h2);
		assert_int_equal(nghttp2_submit_rst_stream(f->h2.session, NGHTTP2_FLAG_NONE,
					 stream->id, NGHTTP2_CANCEL),
			0);
		send_pending(&f->h2);
	}
	h2_client_until(&f->h2, &f->h2.goaway);
	assert_true(f->h2.goaway || f->h2.ended);
	/* For the resets, not for being idle. */
	api_node_admin(&f->node, &admin);
	answer = http_client_call(&admin, "GET", "/metrics", "", bytes_of(NULL, 0));
	assert_non_null(strstr(buf_str(&answer.body), "\nkluis_http_timeouts_total 0\n"));
	answer_release(&answer);
	http_client_release(&admin);
	h2_client_release(&f->h2);
	connect_h2(f);
	expect_alive(f);
}

/* An answer larger than every window: it waits for the client, and others go past it. */
static void test_back_pressure(void **state)
{
	struct fixture *f = *state;
	struct person person;
	struct http_client writer;
	struct buf page = BUF_INIT, pages = BUF_INIT, text = BUF_INIT, bearer = BUF_INIT;
	struct h2_stream *stream;
	char path[96];

	person_init(&person, "reader");
	api_node_connect(&f->node, "http/1.1", &writer);
	api_node_join(&f->node, &person, &writer);
	api_node_vault(&f->node, &person, &writer);
	memset(buf_extend(&text, 200000), 'y', 200000);
	person_page(&person, 0, 1, buf_str(&text), &page);
	{
		struct buf head = BUF_INIT, fields = BUF_INIT;
		struct answer answer;

		person_head(&person, 0, buf_bytes(&page), &head);
		buf_printf(&fields, "Content-Type: application/octet-stream\r\nIf-None-Match: "
				    "*\r\nKluis-Head: ");
		base64_append(&fields, buf_bytes(&head));
		buf_printf(&fields, "\r\n");
		(void)snprintf(path, sizeof path, "/v1/vaults/");
		hex_encode(bytes_of(person.vault_id, 16), path + 11);
		(void)snprintf(path + 43, sizeof path - 43, "/pages/0");
		answer = http_client_call(&writer, "PUT", path, buf_str(&fields), buf_bytes(&page));
		assert_int_equal(answer.status, 201);
		answer_release(&answer);
		buf_release(&head);
		buf_release(&fields);
	}
	(void)snprintf(path + 43, sizeof path - 43, "/pages:get");
	buf_printf(&pages, "{\"pages\":[0");
	for (unsigned i = 1; i < 20; i++) {
		buf_printf(&pages, ",0");
	}
	buf_printf(&pages, "]}");
	buf_printf(&bearer, "Bearer %s", writer.token);
	/* Anew: one that asked nothing is hung up on, however slow this machine is. */
	h2_client_release(&f->h2);
	connect_h2(f);
	{
		const struct h2_field fields[] = {{"content-type", "application/json"},
			{"authorization", buf_str(&bearer)}, {NULL, NULL}};

		f->h2.hold_window = true;
		stream = h2_client_request(&f->h2, "POST", "node", path, fields, &pages);
	}
	/* The windows are full after 64 KiB; nothing more may come, and the session lives. */
	while (stream->body.len < 65535) {
		size_t before = stream->body.len;
		uint8_t bytes[16384];
		struct err e = {0};
		size_t n = 0;

		{
			const uint8_t *data;
			ssize_t m;

			while ((m = nghttp2_session_mem_send(f->h2.session, &data)) > 0) {
				http_client_send(&f->h2.http, bytes_of(data, (size_t)m));
			}
		}
		assert_int_equal(tls_client_read(f->h2.http.tls, bytes, sizeof bytes,
					 clock_monotonic_ms(&clock_system) + 60000, &n, &e),
			0);
		assert_true(n > 0); /* 0: it has hung up. */
		assert_true(nghttp2_session_mem_recv(f->h2.session, bytes, n) >= 0);
		assert_true(stream->body.len >= before);
	}
	assert_false(stream->ended);
	h2_client_consume(&f->h2);
	h2_client_until(&f->h2, &stream->closed);
	assert_int_equal(stream->status, 200);
	assert_int_equal(stream->body.len, 20 * (page.len + 4));
	for (unsigned i = 0; i < 20; i++) {
		assert_memory_equal(
			stream->body.data + i * (page.len + 4) + 4, page.data, page.len);
	}
	http_client_release(&writer);
	person_release(&person);
	buf_release(&page);
	buf_release(&pages);
	buf_release(&text);
	buf_release(&bearer);
}

static void test_early_end(void **state)
{
	struct fixture *f = *state;
	static const struct h2_field fields[] = {
		{"content-type", "application/json"}, {"content-length", "4000"}, {NULL, NULL}};
	struct buf body = BUF_INIT;
	bool never = false;

	/* In the middle of bodies and of answers. */
	memset(buf_extend(&body, 100), 'x', 100);
	for (unsigned i = 0; i < 10; i++) {
		(void)h2_client_request(
			&f->h2, "POST", "node", "/v1/login/device/start", fields, &body);
		(void)get(f, "/v1/version");
	}
	{
		const uint8_t *data;
		ssize_t n;

		while ((n = nghttp2_session_mem_send(f->h2.session, &data)) > 0) {
			http_client_send(&f->h2.http, bytes_of(data, (size_t)n));
		}
	}
	(void)never;
	h2_client_release(&f->h2);
	connect_h2(f);
	expect_alive(f);
	buf_release(&body);
}

static void test_stop_while_busy(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 50; i++) {
		(void)get(f, "/v1/version");
	}
	/* teardown() stops the node with these on their way: it must end. */
	{
		const uint8_t *data;
		ssize_t n;

		while ((n = nghttp2_session_mem_send(f->h2.session, &data)) > 0) {
			http_client_send(&f->h2.http, bytes_of(data, (size_t)n));
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_many_streams, setup, teardown),
		cmocka_unit_test_setup_teardown(test_body_too_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rapid_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_back_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_early_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop_while_busy, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
