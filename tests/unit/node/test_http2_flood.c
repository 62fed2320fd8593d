/* HTTP/2 frames that no library would send: resets, continuations, acknowledgements, compression
 * and windows turned against the server. The connection that does it ends; others go on, and
 * nothing of it stays. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/wire.h"
#include "tests/lib/api/node.h"

enum {
	DATA = 0,
	HEADERS = 1,
	PRIORITY = 2,
	RST_STREAM = 3,
	SETTINGS = 4,
	PING = 6,
	GOAWAY = 7,
	WINDOW_UPDATE = 8,
	CONTINUATION = 9,
	END_STREAM = 1,
	ACK = 1,
	END_HEADERS = 4,
	ENOUGH = 20000, /* Frames of one kind. */
	PATIENCE_MS = 60000,
	CALM = 0xb, /* ENHANCE_YOUR_CALM */
};

struct raw {
	struct http_client http;
	struct buf out;
	bool ended;	 /* The server closed the connection ... */
	int64_t goaway;	 /* ... and its last GOAWAY said this; -1: there was none. */
	unsigned resets; /* RST_STREAM frames that came. */
	unsigned ends;	 /* Frames with END_STREAM. */
};

/* --- frames ----------------------------------------------------------------------------------- */

static void put(struct raw *raw, unsigned type, unsigned flags, uint32_t stream, struct bytes bytes)
{
	buf_put_u8(&raw->out, 0);
	buf_put_u16(&raw->out, (unsigned)bytes.len);
	buf_put_u8(&raw->out, type);
	buf_put_u8(&raw->out, flags);
	buf_put_u32(&raw->out, stream);
	buf_append_bytes(&raw->out, bytes);
}

static void put_number(
	struct raw *raw, unsigned type, unsigned flags, uint32_t stream, uint32_t number)
{
	uint8_t bytes[4];

	store_u32(bytes, number);
	put(raw, type, flags, stream, bytes_of(bytes, sizeof bytes));
}

/* RFC 7541 section 6.2.2: literal, new name, not indexed; no Huffman code. Below 127 bytes. */
static void put_field(struct buf *to, const char *name, const char *value)
{
	buf_put_u8(to, 0);
	buf_put_u8(to, (unsigned)strlen(name));
	buf_put_str(to, name);
	buf_put_u8(to, (unsigned)strlen(value));
	buf_put_str(to, value);
}

static void put_request(struct raw *raw, uint32_t stream, const char *verb, const char *path,
	unsigned flags, struct bytes more)
{
	_cleanup_(buf_release) struct buf block = BUF_INIT;

	put_field(&block, ":method", verb);
	put_field(&block, ":scheme", "https");
	put_field(&block, ":path", path);
	put_field(&block, ":authority", "node");
	buf_append_bytes(&block, more);
	put(raw, HEADERS, flags, stream, buf_bytes(&block));
}

/* --- the connection --------------------------------------------------------------------------- */

static void raw_connect(struct api_node *node, struct raw *raw)
{
	*raw = (struct raw){.goaway = -1};
	api_node_connect(node, "h2", &raw->http);
	buf_put_str(&raw->out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	put(raw, SETTINGS, 0, 0, bytes_of(NULL, 0));
}

static void raw_release(struct raw *raw)
{
	buf_release(&raw->out);
	http_client_release(&raw->http);
}

static void raw_send(struct raw *raw)
{
	struct err e = {0};

	if (!raw->ended && tls_client_write(raw->http.tls, buf_bytes(&raw->out),
				   clock_monotonic_ms(&clock_system) + PATIENCE_MS, &e) != 0) {
		raw->ended = true;
	}
	buf_clear(&raw->out);
}

static void raw_take(struct raw *raw)
{
	struct buf *in = &raw->http.in;

	while (in->len >= 9) {
		struct wire w = wire_of(buf_bytes(in));
		size_t len = (size_t)wire_u8(&w) << 16 | wire_u16(&w);
		unsigned type = wire_u8(&w), flags = wire_u8(&w);
		uint32_t stream = wire_u32(&w);

		if (in->len < 9 + len) {
			return;
		}
		if (type == GOAWAY) {
			raw->goaway = load_u32(in->data + 9 + 4);
		}
		raw->resets += type == RST_STREAM;
		raw->ends += stream != 0 && (type == DATA || type == HEADERS) &&
			     (flags & END_STREAM) != 0;
		buf_consume(in, 9 + len);
	}
}

/* Reads until the server has closed, `ends` answers are there, or (patience) nothing comes. */
static void raw_read(struct raw *raw, unsigned ends, uint64_t patience_ms)
{
	uint64_t deadline_ms = clock_monotonic_ms(&clock_system) + patience_ms;

	while (raw->ends < ends) {
		uint8_t *to = buf_extend(&raw->http.in, 16384);
		struct err e = {0};
		size_t n = 0;
		int rc = tls_client_read(raw->http.tls, to, 16384, deadline_ms, &n, &e);

		raw->http.in.len -= 16384 - (rc == 0 ? n : 0);
		if (rc == KLUIS_ETIMEOUT) {
			return;
		}
		raw_take(raw);
		if (rc != 0 || n == 0) {
			raw->ended = true;
			return;
		}
	}
}

/* ... or a stream was reset. */
static void raw_read_refusal(struct raw *raw)
{
	for (unsigned i = 0;
		i < 600 && !raw->ended && raw->resets == 0 && raw->ends == 0 && raw->goaway < 0;
		i++) {
		raw_read(raw, 1, 100);
	}
}

static uint64_t metric(struct api_node *node, const char *name)
{
	struct http_client admin;
	struct answer answer;
	char line[96];
	const char *at;
	uint64_t value;

	api_node_admin(node, &admin);
	answer = http_client_call(&admin, "GET", "/metrics", "", bytes_of(NULL, 0));
	(void)snprintf(line, sizeof line, "\n%s ", name);
	at = strstr(buf_str(&answer.body), line);
	assert_non_null(at);
	value = strtoull(at + strlen(line), NULL, 10);
	answer_release(&answer);
	http_client_release(&admin);
	return value;
}

/* The stream was reset, the connection ended, or the answer is a refusal. */
static bool raw_refused(struct api_node *node, const struct raw *raw, uint64_t malformed_before)
{
	return raw->resets > 0 || raw->ended || raw->goaway >= 0 ||
	       (raw->ends == 1 && metric(node, "kluis_http_malformed_total") > malformed_before);
}

/* The server ended this connection for what came on it, before any time was up, and serves others.
 */
static void expect_ended(struct api_node *node, struct raw *raw, const char *what)
{
	struct raw other;

	raw_send(raw);
	raw_read(raw, UINT32_MAX, PATIENCE_MS);
	if (!raw->ended || metric(node, "kluis_http_timeouts_total") > 0) {
		fail_msg("%s: the connection lives", what);
	}
	raw_release(raw);
	raw_connect(node, &other);
	put_request(&other, 1, "GET", "/healthz", END_STREAM | END_HEADERS, bytes_of(NULL, 0));
	raw_send(&other);
	raw_read(&other, 1, PATIENCE_MS);
	assert_int_equal(other.ends, 1);
	assert_int_equal(other.resets, 0);
	raw_release(&other);
	assert_int_equal(metric(node, "kluis_http_body_bytes"), 0);
	assert_int_equal(metric(node, "kluis_http_answer_bytes"), 0);
}

/* --- floods ----------------------------------------------------------------------------------- */

/* CVE-2023-44487 */
static void test_rapid_reset(void **state)
{
	struct raw raw;
	uint64_t before = metric(*state, "kluis_http_malformed_total");

	raw_connect(*state, &raw);
	for (uint32_t i = 0; i < ENOUGH && !raw.ended; i++) {
		put_request(&raw, 2 * i + 1, "GET", "/v1/version", END_STREAM | END_HEADERS,
			bytes_of(NULL, 0));
		put_number(&raw, RST_STREAM, 0, 2 * i + 1, 8);
		if (i % 50 == 0) {
			raw_send(&raw);
		}
	}
	raw_send(&raw);
	expect_ended(*state, &raw, "rapid reset");
	assert_true(metric(*state, "kluis_http_malformed_total") > before);
}

/* CVE-2025-8671: the client breaks a rule of the stream, so that it is the server who resets. */
static void test_made_to_reset(void **state)
{
	for (unsigned way = 0; way < 2; way++) {
		struct raw raw;

		raw_connect(*state, &raw);
		for (uint32_t i = 0; i < ENOUGH && !raw.ended; i++) {
			put_request(&raw, 2 * i + 1, "GET", "/v1/version",
				way == 0 ? END_STREAM | END_HEADERS : END_HEADERS,
				bytes_of(NULL, 0));
			if (way == 0) {
				put_number(&raw, WINDOW_UPDATE, 0, 2 * i + 1, 0);
			} else {
				/* Beyond 2^31 - 1: the stream's window overflows. */
				put_number(&raw, WINDOW_UPDATE, 0, 2 * i + 1, 0x7fffffff);
			}
			if (i % 50 == 0) {
				raw_send(&raw);
				raw_read(&raw, UINT32_MAX, 1);
			}
		}
		expect_ended(*state, &raw, "made to reset");
	}
}

/* CVE-2024-28182 */
static void test_continuations(void **state)
{
	static const size_t sizes[] = {0, 1, 1000};

	for (size_t k = 0; k < ARRAY_SIZE(sizes); k++) {
		_cleanup_(buf_release) struct buf part = BUF_INIT;
		struct raw raw;

		while (part.len < sizes[k]) {
			buf_put_u8(&part, 0x88); /* Indexed: ":status", which is wrong here. */
		}
		raw_connect(*state, &raw);
		put_request(&raw, 1, "GET", "/healthz", END_STREAM, bytes_of(NULL, 0));
		for (unsigned i = 0; i < ENOUGH && !raw.ended; i++) {
			put(&raw, CONTINUATION, 0, 1, buf_bytes(&part));
			if (i % 50 == 0) {
				raw_send(&raw);
			}
		}
		expect_ended(*state, &raw, "continuations");
	}
}

/* CVE-2019-9512, CVE-2019-9515: each must be acknowledged, and nobody reads that. */
static void test_acknowledgements(void **state)
{
	for (unsigned way = 0; way < 2; way++) {
		struct raw raw;
		unsigned sent = 0;

		raw_connect(*state, &raw);
		while (sent < 50 * ENOUGH && !raw.ended) {
			for (unsigned i = 0; i < 1000; i++, sent++) {
				if (way == 0) {
					put(&raw, PING, 0, 0, bytes_of("12345678", 8));
				} else {
					put(&raw, SETTINGS, 0, 0, bytes_of(NULL, 0));
				}
			}
			raw_send(&raw);
		}
		expect_ended(*state, &raw, "acknowledgements");
	}
}

/* A field of 4 KB in the table, named thousands of times: 16 KiB of fields are all there is. */
static void test_compression_bomb(void **state)
{
	_cleanup_(buf_release) struct buf block = BUF_INIT;
	uint64_t before = metric(*state, "kluis_http_malformed_total");
	struct raw raw;

	buf_put_u8(&block, 0x40); /* Literal with indexing, new name. */
	buf_put_u8(&block, 1);
	buf_put_str(&block, "x");
	buf_put_u8(&block, 0x7f); /* 127 + 3800 - 127 */
	buf_put_u8(&block, (3800 - 127) % 128 + 128);
	buf_put_u8(&block, (3800 - 127) / 128);
	memset(buf_extend(&block, 3800), 'y', 3800);
	memset(buf_extend(&block, 8000), 0xbe, 8000); /* Indexed: the table's newest. */
	raw_connect(*state, &raw);
	put_request(&raw, 1, "GET", "/healthz", END_STREAM | END_HEADERS, buf_bytes(&block));
	raw_send(&raw);
	raw_read_refusal(&raw);
	assert_true(raw_refused(*state, &raw, before));
	put(&raw, DATA, 0, 0, bytes_of("x", 1)); /* DATA of stream 0 ends any connection. */
	expect_ended(*state, &raw, "compression bomb");
}

/* RFC 9113 sections 8.2.1, 8.2.2, 8.3.1, 8.1.1: what would be another request over HTTP/1.1. */
static void test_smuggling(void **state)
{
	static const struct {
		const char *name, *value;
	} rows[] = {
		{"transfer-encoding", "chunked"},
		{"connection", "close"},
		{"keep-alive", "x"},
		{"proxy-connection", "x"},
		{"upgrade", "h2c"},
		{"te", "gzip"},
		{"x", "a\r\nb: c"},
		{"x", "a\nb"},
		{"x\r\ny", "a"},
		{"X", "a"},
		{"x y", "a"},
		{"", "a"},
		{":path", "/nowhere"},
		{":x", "a"},
		{"content-length", "1"},
		{"content-length", "-0"},
		{"content-length", "0, 0"},
		{"host", "other"},
	};
	struct raw raw;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf more = BUF_INIT;
		uint64_t before = metric(*state, "kluis_http_malformed_total");

		raw_connect(*state, &raw);
		put_field(&more, rows[i].name, rows[i].value);
		put_request(
			&raw, 1, "GET", "/v1/version", END_STREAM | END_HEADERS, buf_bytes(&more));
		raw_send(&raw);
		raw_read_refusal(&raw);
		if (!raw_refused(*state, &raw, before)) {
			fail_msg("taken: '%s: %s'", rows[i].name, rows[i].value);
		}
		raw_release(&raw);
	}
	assert_int_equal(metric(*state, "kluis_http_body_bytes"), 0);
}

/* More streams at once than were offered, all with an announced body that does not come. */
static void test_streams(void **state)
{
	_cleanup_(buf_release) struct buf more = BUF_INIT;
	struct raw raw;

	put_field(&more, "content-type", "application/json");
	put_field(&more, "content-length", "4000");
	raw_connect(*state, &raw);
	for (uint32_t i = 0; i < 4 * HTTP_STREAMS_MAX; i++) {
		put_request(&raw, 2 * i + 1, "POST", "/v1/login/device/start", END_HEADERS,
			buf_bytes(&more));
		put(&raw, DATA, 0, 2 * i + 1, bytes_of("{", 1));
	}
	raw_send(&raw);
	for (unsigned i = 0; i < 60 && raw.resets == 0 && !raw.ended; i++) {
		raw_read(&raw, UINT32_MAX, 1000);
	}
	/* Either those beyond are refused one by one, or for so many the connection ends. */
	assert_true(raw.resets > 0 || raw.ended);
	assert_true(metric(*state, "kluis_http_body_bytes") <= HTTP_STREAMS_MAX);
	raw_release(&raw);
	raw_connect(*state, &raw);
	put(&raw, DATA, 0, 0, bytes_of("x", 1));
	expect_ended(*state, &raw, "streams");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_rapid_reset, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(
			test_made_to_reset, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(
			test_continuations, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(
			test_acknowledgements, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(
			test_compression_bomb, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(test_smuggling, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(test_streams, api_node_setup, api_node_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
