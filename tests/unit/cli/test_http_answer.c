#include "tests/lib/test.h"

#include <string.h>

#include <malloc.h>

#include "cli/client/http_answer.h"
#include "cli/client/json_reader.h"
#include "crypto/secret.h"

/* Blocks of the heap that were given up with this in them. */
static const char marker[] = "kst_not-to-be-left-behind";
static unsigned left_behind;

void __real_free(void *block);
void __wrap_free(void *block);
void *__real_realloc(void *block, size_t size);
void *__wrap_realloc(void *block, size_t size);

static bool marked(void *block)
{
	return block != NULL &&
	       memmem(block, malloc_usable_size(block), marker, sizeof marker - 1) != NULL;
}

void __wrap_free(void *block)
{
	left_behind += marked(block);
	__real_free(block);
}

void *__wrap_realloc(void *block, size_t size)
{
	left_behind += marked(block) && size > malloc_usable_size(block);
	return __real_realloc(block, size);
}

/* Feeds the text in pieces of `step` bytes. */
static int parse(const char *text, size_t len, size_t step, size_t body_max, bool head,
	struct http_answer *answer, bool *ret_done)
{
	struct http_parse *p = http_parse_new(answer, body_max, head);
	int rc = 0;

	*ret_done = false;
	for (size_t at = 0; at < len && rc == 0; at += step) {
		size_t n = len - at < step ? len - at : step;

		rc = http_parse_feed(p, bytes_of(text + at, n), ret_done, NULL);
	}
	http_parse_free(p);
	return rc;
}

static const char good[] = "HTTP/1.1 200 OK\r\nKluis-Index: ab:1\r\nContent-Length: 5\r\n"
			   "ETag: \"1-a\"\r\n\r\nhello";

static void test_every_step(void **state)
{
	(void)state;
	for (size_t step = 1; step <= sizeof good - 1; step++) {
		struct http_answer answer = {0};
		bool done;

		assert_int_equal(parse(good, sizeof good - 1, step, 5, false, &answer, &done), 0);
		assert_true(done);
		assert_int_equal(answer.status, 200);
		assert_true(bytes_equal(buf_bytes(&answer.body), bytes_str("hello")));
		assert_true(
			bytes_equal(http_answer_header(&answer, "kluis-index"), bytes_str("ab:1")));
		assert_true(bytes_equal(http_answer_header(&answer, "ETAG"), bytes_str("\"1-a\"")));
		assert_null(http_answer_header(&answer, "nothing").data);
		assert_true(answer.keep_alive);
		http_answer_release(&answer);
	}
}

/* A token in an answer, which grows as it comes, and in a request's text. */
static void test_nothing_is_left(void **state)
{
	static const char *const heads[] = {
		"Content-Length: 4029\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nfbd\r\n"};
	struct http_answer answer = {0};
	struct buf text = BUF_INIT;
	bool done;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		_cleanup_(secret_buf_release) struct buf sent = BUF_INIT;

		buf_printf(
			&sent, "HTTP/1.1 200 OK\r\nX-Token: %s\r\n%s%s", marker, heads[i], marker);
		memset(buf_extend(&sent, 4029 - (sizeof marker - 1)), 'x',
			4029 - (sizeof marker - 1));
		buf_printf(&sent, "%s", i == 0 ? "" : "\r\n0\r\n\r\n");
		left_behind = 0;
		assert_int_equal(
			parse((const char *)sent.data, sent.len, 61, 5000, false, &answer, &done),
			0);
		assert_true(done);
		assert_int_equal(answer.body.len, 4029);
		http_answer_release(&answer);
		assert_int_equal(left_behind, 0);
	}
	json_take_text(
		json_pack("{s:s, s:[s,s,s,s]}", "token", marker, "list", good, good, good, good),
		&text);
	assert_true(text.len > 256);
	assert_int_equal(left_behind, 0);
	assert_true(marked(text.data)); /* The test sees what it looks for. */
	secret_buf_release(&text);
	assert_int_equal(left_behind, 0);
}

static void test_every_cut_is_not_done(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof good - 1; len++) {
		struct http_answer answer = {0};
		bool done;

		assert_int_equal(parse(good, len, 7, 5, false, &answer, &done), 0);
		assert_false(done);
		http_answer_release(&answer);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *text;
		int rc;
	} rows[] = {
		{"SSH-2.0-x\r\n\r\n", KLUIS_EPROTO},
		{"HTTP/1.1 200 OK\r\n\r\nno length", KLUIS_EPROTO},
		{"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", KLUIS_ETOOLARGE},
		{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", KLUIS_EPROTO},
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
			KLUIS_EPROTO},
		{"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", KLUIS_EPROTO},
		{"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
			KLUIS_EPROTO},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n",
			KLUIS_ETOOLARGE},
		{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", KLUIS_EPROTO},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_answer answer = {0};
		bool done;

		assert_int_equal(
			parse(rows[i].text, strlen(rows[i].text), 1000, 5, false, &answer, &done),
			rows[i].rc);
		http_answer_release(&answer);
	}
}

static void test_header_limits(void **state)
{
	_cleanup_(buf_release) struct buf many = BUF_INIT;
	_cleanup_(buf_release) struct buf large = BUF_INIT;
	struct http_answer answer = {0};
	bool done;

	(void)state;
	buf_printf(&many, "HTTP/1.1 200 OK\r\n");
	for (int i = 0; i <= HTTP_HEADERS_MAX; i++) {
		buf_printf(&many, "a: b\r\n");
	}
	buf_printf(&large, "HTTP/1.1 200 OK\r\nname: ");
	for (int i = 0; i < HTTP_HEADER_BYTES_MAX; i++) {
		buf_printf(&large, "v");
	}
	assert_int_equal(
		parse((char *)many.data, many.len, 100, 5, false, &answer, &done), KLUIS_EPROTO);
	assert_int_equal(
		parse((char *)large.data, large.len, 100, 5, false, &answer, &done), KLUIS_EPROTO);
	http_answer_release(&answer);
}

static void test_bodiless(void **state)
{
	static const char head[] = "HTTP/1.1 404 No\r\nContent-Length: 99\r\n\r\n";
	static const char none[] = "HTTP/1.1 204 No\r\n\r\n";
	static const char hints[] = "HTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
				    "Content-Length: 2\r\n\r\nok";
	struct http_answer answer = {0};
	bool done;

	(void)state;
	assert_int_equal(parse(head, sizeof head - 1, 3, 5, true, &answer, &done), 0);
	assert_true(done);
	assert_int_equal(answer.status, 404);
	assert_int_equal(parse(none, sizeof none - 1, 3, 5, false, &answer, &done), 0);
	assert_true(done);
	assert_int_equal(parse(hints, sizeof hints - 1, 3, 5, false, &answer, &done), 0);
	assert_true(done);
	assert_int_equal(answer.status, 200);
	assert_true(bytes_equal(buf_bytes(&answer.body), bytes_str("ok")));
	assert_null(http_answer_header(&answer, "link").data);
	http_answer_release(&answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_step),
		cmocka_unit_test(test_nothing_is_left),
		cmocka_unit_test(test_every_cut_is_not_done),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_header_limits),
		cmocka_unit_test(test_bodiless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
