/* Who may take part: nobody before all members have met, and no directory that lost a part. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "tests/lib/fixture/client.h"
#include "tests/unit/raft/lib/replica_rig.h"

enum { TIMEOUT_MS = 60000 };

/* Two of three voters are a majority, but the third may know what one of them has forgotten: until
 * all have met once nobody votes, and after that they need not meet again. */
static void test_a_cluster_begins_when_all_have_met(void **state)
{
	struct replica_rig rig;
	struct buf command = BUF_INIT;
	uint64_t index;

	(void)state;
	replica_rig_init(&rig, 3, 3);
	replica_rig_start(&rig, 0);
	replica_rig_start(&rig, 1);
	while (!replica_rig_status(&rig, 0).peers[0].met ||
		!replica_rig_status(&rig, 1).peers[0].met) {
		replica_rig_run(&rig, 20);
	}
	fixture_cluster_init(&command, 3);
	assert_int_equal(replica_rig_propose(&rig, 0, &command, 1500, NULL), KLUIS_ENOQUORUM);
	for (unsigned i = 0; i < 2; i++) {
		struct replica_status status = replica_rig_status(&rig, i);

		assert_true(!status.begun && !status.ready && status.term == 1);
		assert_false(status.peers[1].met);
		/* What was met stays met, and one more start does not begin. */
		replica_rig_stop(&rig, i, 0);
		replica_rig_start(&rig, i);
		assert_false(replica_rig_status(&rig, i).begun);
	}
	replica_rig_start(&rig, 2);
	(void)replica_rig_leader(&rig);
	fixture_cluster_init(&command, 3);
	assert_int_equal(replica_rig_propose(&rig, 0, &command, TIMEOUT_MS, NULL), 0);
	while (!replica_rig_status(&rig, 0).begun || !replica_rig_status(&rig, 1).begun ||
		!replica_rig_status(&rig, 2).begun) {
		replica_rig_run(&rig, 20);
	}
	for (unsigned i = 0; i < 3; i++) {
		replica_rig_stop(&rig, i, 0);
	}
	replica_rig_start(&rig, 0);
	assert_true(replica_rig_status(&rig, 0).begun);
	replica_rig_start(&rig, 2);
	(void)replica_rig_leader(&rig);
	assert_int_equal(replica_rig_read(&rig, 2, TIMEOUT_MS, &index), 0);
	assert_true(index > 1);
	replica_rig_release(&rig);
}

/* Starting must never make what only `kluisd init` may make. */
static void test_a_directory_that_lost_a_part(void **state)
{
	static const char *const parts[] = {"data/peers", "data/log"};
	struct replica_rig rig;
	struct err e;

	(void)state;
	replica_rig_init(&rig, 3, 2); /* The third is a standby: its log is empty. */
	for (unsigned node = 1; node < 3; node++) {
		for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
			_cleanup_(x_freep) char *part = replica_rig_path(&rig, node, parts[i]);
			_cleanup_(x_freep) char *kept = x_asprintf("%s.kept", part);

			assert_int_equal(rename(part, kept), 0);
			for (int again = 0; again < 2; again++) {
				assert_int_equal(
					replica_rig_try_start(&rig, node, &e), KLUIS_ECORRUPT);
				assert_non_null(strstr(e.text, "is missing"));
				assert_false(file_exists(part));
			}
			assert_int_equal(rename(kept, part), 0);
		}
	}
	/* The log of another, with its pins or without. */
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		_cleanup_(x_freep) char *from = replica_rig_path(&rig, 0, parts[i]);
		_cleanup_(x_freep) char *to = replica_rig_path(&rig, 1, parts[i]);

		assert_int_equal(file_remove_tree(to, NULL), 0);
		assert_int_equal(rename(from, to), 0);
		assert_int_equal(replica_rig_try_start(&rig, 1, &e), KLUIS_ECORRUPT);
		assert_non_null(strstr(e.text, "another log"));
	}
	replica_rig_release(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_cluster_begins_when_all_have_met),
		cmocka_unit_test(test_a_directory_that_lost_a_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
