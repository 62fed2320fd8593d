#include "tests/lib/account_rig/account_three.h"

struct device bob, carol;

void three_open(struct fixture *f)
{
	device_open_as(f, &bob, "bob", "bob");
	MUST(f, registration(f, &bob, old_password));
	device_open_as(f, &carol, "carol", "carol");
	MUST(f, registration(f, &carol, old_password));
}

int setup_three(void **state)
{
	int rc = setup(state);

	three_open(*state);
	return rc;
}

int teardown_three(void **state)
{
	device_close(&bob);
	device_close(&carol);
	return teardown(state);
}

int three_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n)
{
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return _cmocka_run_group_tests("tests", tests, n, setup_three, teardown_three);
}
