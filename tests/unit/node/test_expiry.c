#include "tests/lib/test.h"

#include <stdbool.h>

#include "base/limits.h"
#include "base/mem.h"
#include "node/expiry.h"

#define NOW_MS (20000 * DAY_MS + 5)

static void test_levels(void **state)
{
	(void)state;
	assert_int_equal(expiry_level(0, NOW_MS), EXPIRY_FAR);
	assert_int_equal(expiry_level(NOW_MS + 30 * DAY_MS + 1, NOW_MS), EXPIRY_FAR);
	assert_int_equal(expiry_level(NOW_MS + 30 * DAY_MS, NOW_MS), EXPIRY_30_DAYS);
	assert_int_equal(expiry_level(NOW_MS + 7 * DAY_MS + 1, NOW_MS), EXPIRY_30_DAYS);
	assert_int_equal(expiry_level(NOW_MS + 7 * DAY_MS, NOW_MS), EXPIRY_7_DAYS);
	assert_int_equal(expiry_level(NOW_MS + DAY_MS + 1, NOW_MS), EXPIRY_7_DAYS);
	assert_int_equal(expiry_level(NOW_MS + DAY_MS, NOW_MS), EXPIRY_1_DAY);
	assert_int_equal(expiry_level(NOW_MS + 1, NOW_MS), EXPIRY_1_DAY);
	assert_int_equal(expiry_level(NOW_MS, NOW_MS), EXPIRY_OVER);
	assert_int_equal(expiry_level(1, NOW_MS), EXPIRY_OVER);
	assert_int_equal(expiry_days_left(NOW_MS + DAY_MS - 1, NOW_MS), 0);
	assert_int_equal(expiry_days_left(NOW_MS + 9 * DAY_MS, NOW_MS), 9);
	assert_int_equal(expiry_days_left(1, NOW_MS), 0);
}

/* A node that runs for a year alarms four times for each certificate, without a restart. */
static void test_daily(void **state)
{
	struct clock_manual clock;
	struct expiry_watch watch = {.clock = &clock.clock};
	struct expiry_certificate certs[] = {
		{"api", NOW_MS + 60 * DAY_MS}, {"link", NOW_MS + 20 * DAY_MS + 1000}};
	unsigned alarms[100] = {0};

	(void)state;
	clock_manual_init(&clock, NOW_MS);
	for (unsigned day = 0; day < 100; day++) {
		for (unsigned hour = 0; hour < 24; hour++) {
			alarms[day] += expiry_tick(&watch, certs, ARRAY_SIZE(certs));
			clock_manual_step(&clock, DAY_MS / 24);
		}
	}
	for (unsigned day = 0; day < 100; day++) {
		bool link = day == 0 || day == 14 || day == 20 || day == 21;
		bool api = day == 30 || day == 53 || day == 59 || day == 60;

		if (alarms[day] != (unsigned)link + (unsigned)api) {
			fail_msg("%u alarms on day %u", alarms[day], day);
		}
	}
	/* A new one is looked at when it comes, not on the next day. */
	certs[0].not_after_ms = clock.wall_ms + 200 * DAY_MS;
	assert_int_equal(expiry_tick(&watch, certs, ARRAY_SIZE(certs)), 0);
	certs[0].not_after_ms = clock.wall_ms + 3 * DAY_MS;
	assert_int_equal(expiry_tick(&watch, certs, ARRAY_SIZE(certs)), 1);
	assert_int_equal(expiry_tick(&watch, certs, ARRAY_SIZE(certs)), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_daily),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
