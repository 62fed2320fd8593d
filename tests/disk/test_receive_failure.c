/* A receiver's disk fails once, at each call in turn, while it takes in what was shipped: nothing
 * is accepted that is not whole and synced, and with a good disk the next look takes all of it. */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "tests/disk/disk_shim.h"
#include "tests/unit/backup/lib/pair.h"

enum { CALLS_MAX = 25 };

/* Whether the nth call of the kind was reached; *n_failed counts looks that came to nothing. */
static bool receive_failing(struct backup_pair *w, enum disk_shim_kind kind, unsigned nth,
	int error, unsigned *n_failed)
{
	const char *dir = repository_path(w->sites.repository[1]);
	uint8_t hash[HASH_BYTES];
	struct receive_report report = {0};
	struct err e = {0};
	bool reached, accepted;
	int rc;

	pair_take(w, 30, 3000, hash);
	pair_carry(w, hash, UINT32_MAX);
	disk_shim_arm(dir, kind, nth, error);
	rc = receive_scan(
		&w->receiver, w->sshd->drop, 1, clock_wall_ms(&clock_system), &report, &e);
	reached = disk_shim_disarm();
	accepted = report.n_accepted == 1;
	receive_report_release(&report);
	if (accepted) { /* The call was none that it hangs on. */
		backup_model_assert(&w->model, &w->sites, w->sites.repository[1], hash);
		return reached;
	}
	assert_true(reached);
	assert_int_equal(rc, error == ENOSPC ? KLUIS_ENOSPACE : KLUIS_EIO);
	(*n_failed)++;
	pair_assert_received(w, hash);
	return true;
}

static void fail_each(void **state, enum disk_shim_kind kind, int error)
{
	struct backup_pair *w = *state;
	unsigned nth = 1, n_failed = 0;

	while (receive_failing(w, kind, nth, error, &n_failed)) {
		assert_true(++nth < CALLS_MAX);
	}
	/* Two objects, a manifest and a receipt, each with a directory. */
	assert_true(n_failed >= 4);
}

static void test_no_space(void **state)
{
	fail_each(state, SHIM_WRITE, ENOSPC);
}

static void test_no_write(void **state)
{
	fail_each(state, SHIM_WRITE, EIO);
}

static void test_no_sync(void **state)
{
	fail_each(state, SHIM_SYNC, EIO);
}

static void test_no_name(void **state)
{
	fail_each(state, SHIM_NAME, ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_space, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_no_write, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_no_sync, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_no_name, pair_set_up, pair_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
