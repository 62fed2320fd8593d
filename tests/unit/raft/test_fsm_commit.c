#include "tests/lib/test.h"

#include "tests/lib/fixture/machine.h"
#include <string.h>
static void test_smoke(void **state)
{
	struct fixture_machine m;
	struct fixture_client c;
	_cleanup_(buf_release) struct buf command = BUF_INIT, entries = BUF_INIT;
	(void)state;
	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	for (unsigned i = 1; i < 20; i++) {
		buf_clear(&entries);
		fixture_entry(&c, 0, i, 12, i, false, &entries);
		fixture_commit(&c, buf_bytes(&entries), 1, false, &command);
		assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), 0);
		assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), 0);
		fixture_committed(&c, buf_bytes(&entries));
	}
	fixture_machine_release(&m);
}
int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_smoke)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
