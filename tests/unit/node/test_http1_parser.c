#include "tests/lib/test.h"

#include <string.h>

#include "node/http1_parser.h"

struct outcome {
	int rc; /* 0: whole requests came; else the error. */
	unsigned heads, ends;
	struct buf body;
	enum http_verb verb;
	bool keep_alive;
};

/* Feeds `step` bytes at a time. */
static struct outcome parse(const char *text, size_t len, size_t step)
{
	struct http1_parser parser;
	struct outcome out = {0};
	size_t at = 0;

	http1_parser_init(&parser);
	while (out.rc == 0) {
		size_t n = len - at < step ? len - at : step, taken;
		int event = http1_parser_feed(&parser, bytes_of(text + at, n), &taken);

		assert_true(taken <= n);
		at += taken;
		if (event < 0) {
			out.rc = event;
		} else if (event == HTTP1_HEAD) {
			out.heads++;
			out.verb = parser.head.verb;
			out.keep_alive = parser.head.keep_alive;
		} else if (event == HTTP1_BODY) {
			assert_true(parser.piece.len > 0);
			buf_append_bytes(&out.body, parser.piece);
		} else if (event == HTTP1_END) {
			out.ends++;
		} else {
			assert_int_equal(event, HTTP1_MORE);
			assert_int_equal(taken, n);
			if (at == len) {
				break;
			}
		}
	}
	http1_parser_release(&parser);
	return out;
}

static void expect(const char *text, int rc, unsigned ends, const char *body)
{
	static const size_t steps[] = {1, 2, 3, 7, 1 << 20};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct outcome out = parse(text, strlen(text), steps[i]);

		if (out.rc != rc || out.ends != ends) {
			fail_msg("step %zu: rc %d, %u requests, wanted %d, %u: %s", steps[i],
				out.rc, out.ends, rc, ends, text);
		}
		if (body != NULL) {
			assert_string_equal(buf_str(&out.body), body);
		}
		buf_release(&out.body);
	}
}

#define H "Host: a\r\n"

static void test_accepts(void **state)
{
	(void)state;
	expect("GET / HTTP/1.1\r\n" H "\r\n", 0, 1, "");
	expect("GET / HTTP/1.0\r\n\r\n", 0, 1, "");
	expect("PUT /x HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", 0, 1, "abc");
	expect("PUT /x HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 0, 1, "");
	expect("PUT /x HTTP/1.1\r\n" H
	       "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
		0, 1, "abcde");
	expect("PUT /x HTTP/1.1\r\n" H
	       "Transfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n",
		0, 1, "0123456789");
	expect("GET / HTTP/1.1\r\n" H "\r\nGET /b HTTP/1.1\r\n" H "\r\n", 0, 2, "");
	expect("PUT /x HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n" H "\r\n",
		0, 2, "abc");
	expect("GET /a?b=%20 HTTP/1.1\r\nhOsT:a\r\nX-Tab:\t v\t\r\nEmpty:\r\n\r\n", 0, 1, "");
	expect("PURGE / HTTP/1.1\r\n" H "\r\n", 0, 1, "");
	/* Not whole yet: neither an error nor a request. */
	expect("GET / HTTP/1.1\r\n" H "\r", 0, 0, "");
	expect("PUT /x HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nab", 0, 0, "ab");
	expect("PUT /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", 0, 0,
		"abc");
}

/* Each of these has been read in two ways by two servers in a row. */
static void test_refuses(void **state)
{
	static const char *const inputs[] = {
		/* Two lengths. */
		"POST / HTTP/1.1\r\n" H
		"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\n" H
		"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\nabc",
		/* Lengths that are no number, or too large a one. */
		"POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" H "Content-Length: -3\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" H "Content-Length: 0x3\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" H "Content-Length: 3 \r\n a\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" H "Content-Length: \r\n\r\n",
		"POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551616\r\n\r\n",
		"POST / HTTP/1.1\r\n" H "Content-Length: 9223372036854775808\r\n\r\n",
		/* Codings. */
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n",
		"POST / HTTP/1.1\r\n" H
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		/* Lines. */
		"GET / HTTP/1.1\nHost: a\n\n",
		"GET / HTTP/1.1\r\nHost: a\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
		"GET / HTTP/1.1\r\n" H "X: a\r\n folded\r\n\r\n",
		"GET / HTTP/1.1\r\n folded: a\r\n" H "\r\n",
		"GET / HTTP/1.1\r\n" H "X : a\r\n\r\n",
		"GET / HTTP/1.1\r\n" H "X\t: a\r\n\r\n",
		"GET / HTTP/1.1\r\n" H "no colon\r\n\r\n",
		"GET / HTTP/1.1\r\n" H ": no name\r\n\r\n",
		"GET / HTTP/1.1\r\n" H "X: a\x01z\r\n\r\n",
		"GET / HTTP/1.1\r\n" H "X: a\x7fz\r\n\r\n",
		"\r\nGET / HTTP/1.1\r\n" H "\r\n",
		"\r\n\r\n",
		/* Host. */
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
		"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
		/* Request lines. */
		"GET / HTTP/2.0\r\n" H "\r\n",
		"GET / HTTP/1.2\r\n" H "\r\n",
		"GET / HTTP/0.9\r\n" H "\r\n",
		"GET /\r\n" H "\r\n",
		"GET  / HTTP/1.1\r\n" H "\r\n",
		"get / HTTP/1.1\r\n" H "\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"BOGUS / HTTP/1.1\r\n" H "\r\n",
		"GET / HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n",
		/* Chunks. */
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nG\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n100000000\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0000000003\r\nabc\r\n",
		"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		expect(inputs[i], KLUIS_EINVAL, 0, NULL);
	}
}

static void test_nul(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n";
	struct outcome out = parse(text, sizeof text - 1, 1 << 20);

	(void)state;
	assert_int_equal(out.rc, KLUIS_EINVAL);
}

static void test_sizes(void **state)
{
	struct buf text = BUF_INIT;

	(void)state;
	buf_printf(&text, "GET / HTTP/1.1\r\n" H "X: ");
	for (size_t i = 0; i < HTTP_HEADER_BYTES_MAX; i++) {
		buf_append(&text, "x", 1);
	}
	expect(buf_str(&text), KLUIS_EHEADERS, 0, NULL); /* Before the section ends. */
	buf_clear(&text);
	buf_printf(&text, "GET / HTTP/1.1\r\n" H);
	for (unsigned i = 0; i < HTTP_HEADERS_MAX - 1; i++) {
		buf_printf(&text, "A: b\r\n");
	}
	buf_printf(&text, "\r\n");
	expect(buf_str(&text), 0, 1, NULL);
	buf_clear(&text);
	buf_printf(&text, "GET / HTTP/1.1\r\n" H);
	for (unsigned i = 0; i < HTTP_HEADERS_MAX; i++) {
		buf_printf(&text, "A: b\r\n");
	}
	buf_printf(&text, "\r\n");
	expect(buf_str(&text), KLUIS_EHEADERS, 0, NULL);
	buf_clear(&text);
	buf_printf(&text, "GET /");
	for (size_t i = 0; i < HTTP_TARGET_BYTES_MAX; i++) {
		buf_append(&text, "x", 1);
	}
	buf_printf(&text, " HTTP/1.1\r\n" H "\r\n");
	expect(buf_str(&text), KLUIS_ETOOLARGE, 0, NULL);
	buf_clear(&text);
	buf_printf(&text, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3;");
	for (size_t i = 0; i < 5000; i++) {
		buf_append(&text, "x", 1);
	}
	expect(buf_str(&text), KLUIS_EINVAL, 0, NULL);
	buf_release(&text);
}

static void test_keep_alive(void **state)
{
	static const struct {
		const char *text;
		bool keep;
	} rows[] = {
		{"GET / HTTP/1.1\r\n" H "\r\n", true},
		{"GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", false},
		{"GET / HTTP/1.1\r\n" H "Connection: x, Close\r\n\r\n", false},
		{"GET / HTTP/1.0\r\n" H "\r\n", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct outcome out = parse(rows[i].text, strlen(rows[i].text), 1 << 20);

		assert_int_equal(out.rc, 0);
		assert_int_equal(out.keep_alive, rows[i].keep);
		assert_int_equal(out.verb, VERB_GET);
	}
}

static void test_target(void **state)
{
	static const struct {
		const char *target, *path, *query;
	} rows[] = {
		{"/", "/", ""},
		{"/a/b?c=d&e", "/a/b", "c=d&e"},
		{"/a?", "/a", ""},
		{"/a??", "/a", "?"},
		{"*", NULL, NULL},
		{"", NULL, NULL},
		{"http://a/b", NULL, NULL},
		{"/a#b", NULL, NULL},
		{"/a b", NULL, NULL},
		{"/\x80", NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bytes path = {0}, query = {0};
		int rc = http_target_split(bytes_str(rows[i].target), &path, &query);

		if (rows[i].path == NULL) {
			assert_int_equal(rc, KLUIS_EINVAL);
		} else {
			assert_int_equal(rc, 0);
			assert_true(bytes_is(path, rows[i].path));
			assert_true(bytes_is(query, rows[i].query));
		}
	}
}

static void test_percent(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"", ""},
		{"abc", "abc"},
		{"a%3Ab", "a:b"},
		{"%c3%A9", "\xc3\xa9"},
		{"%", NULL},
		{"%2", NULL},
		{"%zz", NULL},
		{"a%2Fb", NULL},
		{"a%5cb", NULL},
		{"a%00b", NULL},
		{"a%0ab", NULL},
		{"a%7f", NULL},
		{"123456789", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf to = BUF_INIT;
		int rc = http_percent_decode(bytes_str(rows[i].text), 8, &to);

		assert_int_equal(rc == 0, rows[i].want != NULL);
		if (rc == 0) {
			assert_string_equal(buf_str(&to), rows[i].want);
		}
		buf_release(&to);
	}
}

static void test_fields(void **state)
{
	struct http_fields fields = {0};
	struct bytes value;

	(void)state;
	assert_int_equal(http_fields_add(&fields, bytes_str("If-Match"), bytes_str(" \"a\" ")), 0);
	assert_int_equal(http_fields_add(&fields, bytes_str("Accept"), bytes_str("x ,Y,, z")), 0);
	assert_int_equal(http_fields_add(&fields, bytes_str("accept"), bytes_str("w")), 0);
	assert_int_equal(http_fields_add(&fields, bytes_str("a b"), bytes_str("")), KLUIS_EINVAL);
	assert_int_equal(http_fields_add(&fields, bytes_str(""), bytes_str("")), KLUIS_EINVAL);
	assert_int_equal(
		http_fields_add(&fields, bytes_str("a"), bytes_str("b\r\nc: d")), KLUIS_EINVAL);
	assert_int_equal(http_fields_get(&fields, "if-match", &value), 1);
	assert_true(bytes_is(value, "\"a\""));
	assert_int_equal(http_fields_get(&fields, "accept", &value), 2);
	assert_int_equal(http_fields_get(&fields, "host", &value), 0);
	http_fields_release(&fields);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepts),
		cmocka_unit_test(test_refuses),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_keep_alive),
		cmocka_unit_test(test_target),
		cmocka_unit_test(test_percent),
		cmocka_unit_test(test_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
