/* The hand-made encoding against bytes worked out from the protobuf rules (and sent to a real etcd
 * by tests/bench/run). */
#include "tests/lib/test.h"

#include <string.h>

#include "tests/bench/etcd/etcd_rpc.h"

static void expect(const struct buf *got, const void *want, size_t len)
{
	assert_int_equal(got->len, len);
	assert_memory_equal(got->data, want, len);
}

static void test_requests(void **state)
{
	static const uint8_t put[] = "\0\0\0\0\x08\x0a\x01k\x12\x03val";
	static const uint8_t range[] = "\0\0\0\0\x03\x0a\x01k";
	static const uint8_t stale[] = "\0\0\0\0\x05\x0a\x01k\x38\x01";
	_cleanup_(buf_release) struct buf to = BUF_INIT;

	(void)state;
	etcd_put(bytes_str("k"), bytes_str("val"), &to);
	expect(&to, put, sizeof put - 1);
	buf_clear(&to);
	etcd_range(bytes_str("k"), false, &to);
	expect(&to, range, sizeof range - 1);
	buf_clear(&to);
	etcd_range(bytes_str("k"), true, &to);
	expect(&to, stale, sizeof stale - 1);
}

/* A value long enough for lengths of two and three bytes. */
static void test_long_value(void **state)
{
	static const uint8_t head[] = {0, 0, 1, 0, 0x17, 0x0a, 1, 'k', 0x12, 0x90, 0x80, 0x04};
	_cleanup_(buf_release) struct buf to = BUF_INIT;
	uint8_t *value = x_calloc(1, 65552);

	(void)state;
	etcd_put(bytes_str("k"), bytes_of(value, 65552), &to);
	assert_int_equal(to.len, 5 + 3 + 4 + 65552);
	assert_memory_equal(to.data, head, sizeof head);
	free(value);
}

/* header {cluster_id 1: 5}, kvs {key "k", mod_revision 2, value "val", lease 0}, count 1. */
static const uint8_t answer[] = "\0\0\0\0\x14"
				"\x0a\x02\x08\x05"
				"\x12\x0c\x0a\x01k\x18\x02\x2a\x03val\x30"
				"\x00\x20\x01";

static void test_answer(void **state)
{
	struct bytes value;
	struct err e;

	(void)state;
	assert_int_equal(etcd_range_value(bytes_of(answer, 25), &value, &e), 0);
	assert_true(bytes_equal(value, bytes_str("val")));
}

static void test_no_such_key(void **state)
{
	static const uint8_t empty[] = "\0\0\0\0\x04\x0a\x02\x08\x05";
	struct bytes value;
	struct err e;

	(void)state;
	assert_int_equal(etcd_range_value(bytes_of(empty, 9), &value, &e), KLUIS_ENOTFOUND);
}

static void test_every_truncation(void **state)
{
	struct bytes value;
	struct err e;

	(void)state;
	for (size_t len = 0; len < 25; len++) {
		uint8_t *copy = x_memdup(answer, len == 0 ? 1 : len);

		assert_int_equal(etcd_range_value(bytes_of(copy, len), &value, &e), KLUIS_EPROTO);
		if (len >= 5) { /* And with a frame that says it is whole. */
			copy[4] = (uint8_t)(len - 5);
			assert_true(etcd_range_value(bytes_of(copy, len), &value, &e) != 0 ||
				    value.len == 3);
		}
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_long_value),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_no_such_key),
		cmocka_unit_test(test_every_truncation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
