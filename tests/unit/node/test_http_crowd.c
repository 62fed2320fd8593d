/* Who is connected, and who goes when there is no room. */
#include "tests/lib/test.h"

#include "base/mem.h"
#include "node/http_crowd.h"

static void test_keys(void **state)
{
	(void)state;
	assert_true(http_crowd_key("192.0.2.1") != http_crowd_key("192.0.2.2"));
	assert_true(http_crowd_key("2001:db8::1") == http_crowd_key("2001:db8::2"));
	assert_true(http_crowd_key("2001:db8::1") != http_crowd_key("2001:db8:0:1::1"));
	assert_true(http_crowd_key("unix") == 0);
}

static void test_counts(void **state)
{
	struct http_crowd *crowd = x_calloc(1, sizeof *crowd);
	struct http_guest guest[3000];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(guest); i++) {
		guest[i] = (struct http_guest){0};
		http_crowd_enter(crowd, &guest[i], i % 1500);
		assert_int_equal(guest[i].address->connections, 1 + i / 1500);
	}
	assert_ptr_equal(guest[7].address, guest[1507].address);
	for (unsigned i = 0; i < ARRAY_SIZE(guest); i += 2) {
		http_crowd_busy(crowd, &guest[i]);
		http_crowd_busy(crowd, &guest[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(guest); i++) {
		http_crowd_leave(crowd, &guest[i]);
		http_crowd_leave(crowd, &guest[i]);
	}
	assert_null(crowd->first);
	assert_null(crowd->last);
	for (unsigned i = 0; i < HTTP_CROWD_BUCKETS; i++) {
		assert_null(crowd->bucket[i]);
	}
	free(crowd);
}

static void test_surplus(void **state)
{
	struct http_crowd *crowd = x_calloc(1, sizeof *crowd);
	struct http_guest few[2] = {0}, many[5] = {0}, other = {0}, pushing = {0};

	(void)state;
	http_crowd_enter(crowd, &few[0], 1);
	assert_ptr_equal(http_crowd_surplus(crowd, &few[0]), &few[0]); /* Nobody else. */
	http_crowd_enter(crowd, &few[1], 1);
	for (unsigned i = 0; i < 5; i++) {
		http_crowd_enter(crowd, &many[i], 2);
	}
	http_crowd_enter(crowd, &other, 3);
	assert_ptr_equal(http_crowd_surplus(crowd, &other), &many[0]);
	http_crowd_busy(crowd, &many[0]); /* Not in the middle of a request. */
	assert_ptr_equal(http_crowd_surplus(crowd, &other), &many[1]);
	http_crowd_idle(crowd, &many[0]); /* Idle again, but not for as long. */
	assert_ptr_equal(http_crowd_surplus(crowd, &other), &many[1]);
	http_crowd_enter(crowd, &pushing, 2);
	assert_ptr_equal(http_crowd_surplus(crowd, &pushing), &pushing);
	http_crowd_leave(crowd, &pushing);
	for (unsigned i = 0; i < 5; i++) {
		http_crowd_busy(crowd, &many[i]);
	}
	assert_ptr_equal(http_crowd_surplus(crowd, &other), &few[0]);
	for (unsigned i = 0; i < 5; i++) {
		http_crowd_leave(crowd, &many[i]);
	}
	http_crowd_leave(crowd, &few[0]);
	http_crowd_leave(crowd, &few[1]);
	http_crowd_leave(crowd, &other);
	assert_null(crowd->first);
	free(crowd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_surplus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
