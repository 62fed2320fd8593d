/* The small parts: entity tags, ranges, cursors, rate limits, challenges. */
#include "tests/lib/test.h"

#include <string.h>

#include "base/text.h"
#include "node/cursor.h"
#include "node/etag.h"
#include "node/http_message.h"
#include "node/ratelimit.h"

static void test_etag(void **state)
{
	static const struct {
		const char *field;
		bool weak, match;
		int rc;
	} rows[] = {
		{"\"1-aa\"", false, true, 0},
		{"\"1-ab\"", false, false, 0},
		{"W/\"1-aa\"", false, false, 0},
		{"W/\"1-aa\"", true, true, 0},
		{"*", false, true, 0},
		{"\"x\", \"1-aa\"", false, true, 0},
		{"\"x\",\"1-aa\" , \"y\"", true, true, 0},
		{" \"1-aa\" ", false, true, 0},
		{"1-aa", false, false, KLUIS_EINVAL},
		{"\"1-aa", false, false, KLUIS_EINVAL},
		{"", false, false, KLUIS_EINVAL},
		{"\"1-aa\",", false, false, KLUIS_EINVAL},
		{"\"1-aa\" \"b\"", false, false, KLUIS_EINVAL},
		{"*, \"a\"", false, false, KLUIS_EINVAL},
		{"\"a b\"", false, false, KLUIS_EINVAL},
		{"W/", true, false, KLUIS_EINVAL},
	};
	uint8_t hash[32] = {0xaa, 0xbb};
	char text[ETAG_CHARS_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool match = false;
		int rc = etag_match(bytes_str(rows[i].field), "\"1-aa\"", rows[i].weak, &match);

		assert_int_equal(rc, rows[i].rc);
		assert_int_equal(match, rows[i].match);
	}
	{
		bool match = true;

		assert_int_equal(etag_match(bytes_str("*"), NULL, false, &match), 0);
		assert_false(match);
	}
	etag_format(UINT64_MAX, hash, text);
	assert_string_equal(text, "\"18446744073709551615-aabb000000000000\"");
}

static void test_range(void **state)
{
	static const struct {
		const char *field;
		int rc;
		uint64_t first, len;
	} rows[] = {
		{"bytes=0-0", 0, 0, 1},
		{"bytes=0-99", 0, 0, 10},
		{"bytes=3-", 0, 3, 7},
		{"bytes=9-9", 0, 9, 1},
		{"bytes=-4", 0, 6, 4},
		{"bytes=-40", 0, 0, 10},
		{"bytes=10-", KLUIS_ERANGE, 0, 0},
		{"bytes=-0", KLUIS_ERANGE, 0, 0},
		{"bytes=5-4", 1, 0, 0},
		{"bytes=a-b", 1, 0, 0},
		{"bytes=0-1,3-4", 1, 0, 0},
		{"lines=0-1", 1, 0, 0},
		{"bytes=", 1, 0, 0},
		{"bytes=-", 1, 0, 0},
		{"bytes=18446744073709551615-", KLUIS_ERANGE, 0, 0},
		{"bytes=18446744073709551616-", 1, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t first = 0, len = 0;

		assert_int_equal(
			range_parse(bytes_str(rows[i].field), 10, &first, &len), rows[i].rc);
		assert_int_equal(first, rows[i].first);
		assert_int_equal(len, rows[i].len);
	}
	{
		uint64_t first, len;

		assert_int_equal(range_parse(bytes_str("bytes=-1"), 0, &first, &len), KLUIS_ERANGE);
		assert_int_equal(range_parse(bytes_str("bytes=0-"), 0, &first, &len), KLUIS_ERANGE);
	}
}

static void test_cursor(void **state)
{
	static const uint8_t lineage[16] = {1, 2, 3}, other[16] = {9};
	struct buf text = BUF_INIT, key = BUF_INIT;
	uint64_t index = 0, seq = 0, page = 0;

	(void)state;
	cursor_format(5, lineage, bytes_of("key", 3), &text);
	assert_int_equal(cursor_parse(buf_bytes(&text), 5, lineage, &key), 0);
	assert_true(bytes_is(buf_bytes(&key), "key"));
	assert_int_equal(cursor_parse(buf_bytes(&text), 6, lineage, &key), KLUIS_EINVAL);
	assert_int_equal(cursor_parse(buf_bytes(&text), 5, other, &key), KLUIS_ELINEAGE);
	for (size_t len = 0; len < 24; len++) {
		assert_int_equal(
			cursor_parse(bytes_of(text.data, len), 5, lineage, &key), KLUIS_EINVAL);
	}
	buf_clear(&text);
	lineage_index_format(lineage, 77, &text);
	assert_string_equal(buf_str(&text), "01020300000000000000000000000000:77");
	assert_int_equal(lineage_index_parse(buf_bytes(&text), lineage, &index), 0);
	assert_int_equal(index, 77);
	assert_int_equal(lineage_index_parse(buf_bytes(&text), other, &index), KLUIS_ELINEAGE);
	assert_int_equal(lineage_index_parse(bytes_str("x:1"), lineage, &index), KLUIS_EINVAL);
	assert_int_equal(lineage_index_parse(bytes_str(""), lineage, &index), KLUIS_EINVAL);
	buf_clear(&text);
	since_format(lineage, 3, UINT64_MAX, &text);
	assert_int_equal(since_parse(buf_bytes(&text), lineage, &seq, &page), 0);
	assert_int_equal(seq, 3);
	assert_true(page == UINT64_MAX);
	buf_clear(&text);
	since_format(lineage, 3, 8, &text);
	assert_int_equal(since_parse(buf_bytes(&text), lineage, &seq, &page), 0);
	assert_int_equal(page, 8);
	buf_append(&text, ".1", 2);
	assert_int_equal(since_parse(buf_bytes(&text), lineage, &seq, &page), KLUIS_EINVAL);
	buf_release(&text);
	buf_release(&key);
}

static void test_ratelimit(void **state)
{
	struct ratelimit *limit = ratelimit_new(10, 3);
	uint64_t retry_ms = 0;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(ratelimit_take(limit, 1, 1000, &retry_ms));
	}
	assert_false(ratelimit_take(limit, 1, 1000, &retry_ms));
	assert_in_range(retry_ms, 100, 101);
	assert_true(ratelimit_take(limit, 2, 1000, &retry_ms)); /* Another's bucket. */
	assert_false(ratelimit_take(limit, 1, 1099, &retry_ms));
	assert_true(ratelimit_take(limit, 1, 1100, &retry_ms));
	assert_false(ratelimit_take(limit, 1, 1100, &retry_ms));
	/* It never holds more than a burst. */
	for (unsigned i = 0; i < 3; i++) {
		assert_true(ratelimit_take(limit, 1, UINT64_MAX / 2, &retry_ms));
	}
	assert_false(ratelimit_take(limit, 1, UINT64_MAX / 2, &retry_ms));
	/* More keys than there is room for: none is refused for another's sake. */
	for (uint64_t key = 0; key < 20000; key++) {
		assert_true(ratelimit_take(limit, 1000 + key, 5000 + key, &retry_ms));
	}
	ratelimit_free(limit);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_etag),
		cmocka_unit_test(test_range),
		cmocka_unit_test(test_cursor),
		cmocka_unit_test(test_ratelimit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
