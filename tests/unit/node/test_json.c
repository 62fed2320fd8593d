/* Objects and lists of objects inside a request's body: read as strictly as the body itself. */
#include "tests/lib/test.h"

#include <string.h>

#include "node/json.h"

enum { ITEMS_MAX = 3 };

/* {"a": {"n": 1..9}, "list": [{"n": 1..9}, ...]}: the sum of all, or a failure. */
static int sum(const char *text, uint64_t *ret_sum, struct err *e)
{
	struct json_in reader, inner;
	uint64_t total;
	size_t n;
	int rc;

	json_in_begin(&reader, bytes_str(text), e);
	json_in_enter(&reader, "a", &inner);
	total = json_in_u64(&inner, "n", 1, 9);
	json_in_leave(&reader, &inner);
	n = json_in_objects(&reader, "list", ITEMS_MAX);
	for (size_t i = 0; i < n; i++) {
		json_in_enter_nth(&reader, "list", i, &inner);
		total += json_in_u64(&inner, "n", 1, 9);
		json_in_leave(&reader, &inner);
	}
	rc = json_in_end(&reader);
	if (rc == 0) {
		*ret_sum = total;
	}
	return rc;
}

static void test_nested(void **state)
{
	struct err e = {0};
	uint64_t total = 0;

	(void)state;
	assert_int_equal(
		sum("{\"a\":{\"n\":1},\"list\":[{\"n\":2},{\"n\":3},{\"n\":4}]}", &total, &e), 0);
	assert_int_equal(total, 10);
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *said;
	} rows[] = {
		{"{\"list\":[{\"n\":2}]}", "'a' is missing"},
		{"{\"a\":[],\"list\":[{\"n\":2}]}", "'a' has another type"},
		{"{\"a\":{},\"list\":[{\"n\":2}]}", "'n' is missing"},
		{"{\"a\":{\"n\":0},\"list\":[{\"n\":2}]}", "'n' is out of range"},
		{"{\"a\":{\"n\":1,\"m\":1},\"list\":[{\"n\":2}]}", "unknown field"},
		{"{\"a\":{\"n\":1}}", "'list' is missing"},
		{"{\"a\":{\"n\":1},\"list\":{}}", "'list' has another type"},
		{"{\"a\":{\"n\":1},\"list\":[]}", "too few or too many"},
		{"{\"a\":{\"n\":1},\"list\":[{},{},{},{}]}", "too few or too many"},
		{"{\"a\":{\"n\":1},\"list\":[7]}", "holds what is no object"},
		{"{\"a\":{\"n\":1},\"list\":[{\"n\":1},{\"n\":1,\"x\":2}]}", "unknown field"},
		{"{\"a\":{\"n\":1},\"list\":[{\"n\":1}],\"b\":1}", "unknown field"},
		{"{\"a\":{\"n\":1,\"n\":1},\"list\":[{\"n\":1}]}", "not JSON"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err e = {0};
		uint64_t total = 77;

		assert_int_equal(sum(rows[i].text, &total, &e), KLUIS_EINVAL);
		assert_int_equal(total, 77);
		if (strstr(e.text, rows[i].said) == NULL) {
			fail_msg("row %zu: '%s' does not say '%s'", i, e.text, rows[i].said);
		}
	}
}

/* {"texts": [...]} of at most three texts of at most four bytes. */
static void test_texts(void **state)
{
	static const char *const refused[] = {"{}", "{\"texts\":\"a\"}", "{\"texts\":[]}",
		"{\"texts\":[\"a\",\"b\",\"c\",\"d\"]}", "{\"texts\":[\"\"]}",
		"{\"texts\":[\"abcde\"]}", "{\"texts\":[1]}", "{\"texts\":[\"a\",null]}",
		"{\"texts\":[\"a\\u0000b\"]}"};
	_cleanup_(buf_release) struct buf texts = BUF_INIT;
	struct json_in reader;
	struct err e = {0};

	(void)state;
	json_in_begin(&reader, bytes_str("{\"texts\":[\"a\",\"abcd\"]}"), &e);
	assert_int_equal(json_in_texts(&reader, "texts", ITEMS_MAX, 4, &texts), 2);
	assert_int_equal(json_in_end(&reader), 0);
	assert_true(bytes_equal(buf_bytes(&texts), bytes_of("a\0abcd", 7)));
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		buf_clear(&texts);
		json_in_begin(&reader, bytes_str(refused[i]), &e);
		(void)json_in_texts(&reader, "texts", ITEMS_MAX, 4, &texts);
		assert_int_equal(json_in_end(&reader), KLUIS_EINVAL);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(test_nested),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_texts)};

	json_clear_freed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
