/* What a snapshot that is given to a peer says of the members. */
#include "tests/lib/test.h"

#include "tests/unit/raft/lib/driver_rig.h"

/* At index: node 5 stands by from the first change on, node 4 from the second. */
static void expect_members(
	const struct driver_rig *rig, const struct rig_disk *disk, uint64_t index)
{
	struct configuration members = rig->configuration;
	struct driver_snapshot snapshot;
	uint64_t since = 1;

	for (unsigned i = 0; i < 2 && disk->change[i] <= index; i++) {
		configuration_find(&members, 5 - i)->role = MEMBER_STANDBY;
		since = disk->change[i];
	}
	assert_int_equal(driver_snapshot_at(rig->driver, index, &snapshot), 0);
	assert_int_equal(snapshot.index, index);
	assert_int_equal(snapshot.term, 1);
	assert_int_equal(snapshot.configuration_index, since);
	assert_true(configuration_equal(&snapshot.configuration, &members));
}

/* The members are those of the entry that the data stands at, wherever that is between the
 * configurations of the log. */
static void test_members_are_as_old_as_the_data(void **state)
{
	struct rig_disk disk = {
		.voters = 5, .term = 5, .snapshot = 20, .last = 30, .change = {23, 27}};

	(void)state;
	for (disk.applied = 20; disk.applied <= 30; disk.applied++) {
		struct driver_rig *rig = rig_new(&disk, DRIVER_GUARD_MAX, 0);

		expect_members(rig, &disk, disk.applied);
		rig_free(rig);
	}
}

/* ... and they follow it. */
static void test_members_follow_what_is_applied(void **state)
{
	struct rig_disk disk = {.voters = 5, .term = 5, .last = 8, .applied = 1, .change = {4, 6}};
	struct driver_rig *rig = rig_new(&disk, DRIVER_GUARD_MAX, 0);
	struct driver_snapshot snapshot;

	(void)state;
	rig_append(rig, 2, 5, 8, 1, 8, NULL, 0);
	for (uint64_t index = 2; index <= 8; index++) {
		struct entry *entry = entry_ref(rig->log[index]);

		if (rig->applied < index) {
			driver_read_done(rig->driver, rig->read_token, 0, &entry, 1);
		} else {
			entry_unref(entry);
		}
		/* It was given away, and is not there yet. */
		assert_int_equal(driver_snapshot_at(rig->driver, index, &snapshot), KLUIS_EAGAIN);
		driver_applied(rig->driver, index, 0);
		expect_members(rig, &disk, index);
	}
	assert_int_equal(driver_snapshot_at(rig->driver, 3, &snapshot), KLUIS_EAGAIN);
	rig_free(rig);
}

/* What was installed says itself whose members its data knows. */
static void test_members_of_an_install(void **state)
{
	static const struct rig_disk disk = {.voters = 5, .term = 5, .last = 10, .applied = 1};
	struct driver_rig *rig = rig_new(&disk, DRIVER_GUARD_MAX, 0);
	struct message_snapshot offer = {.index = 100,
		.index_term = 5,
		.configuration_index = 50,
		.configuration = rig->configuration,
		.manifest = bytes_str("files")};
	struct message message = {.type = MESSAGE_SNAPSHOT, .term = 5, .snapshot = &offer};
	struct driver_snapshot snapshot;

	(void)state;
	configuration_find(&offer.configuration, 5)->role = MEMBER_STANDBY;
	assert_int_equal(rig_receive(rig, 2, &message), 0);
	driver_fetched(rig->driver, 0);
	assert_int_equal(driver_snapshot_at(rig->driver, 1, &snapshot), KLUIS_EAGAIN);
	rig_persist(rig);
	driver_installed(rig->driver, 0);
	assert_int_equal(driver_snapshot_at(rig->driver, 100, &snapshot), 0);
	assert_int_equal(snapshot.term, 5);
	assert_int_equal(snapshot.configuration_index, 50);
	assert_true(configuration_equal(&snapshot.configuration, &offer.configuration));
	rig_free(rig);
}

/* A voter that is behind the leader's log may be the one that is missing for a majority. After a
 * restart of all, the leader's data stands before the second configuration of its log, which the
 * core takes for committed: that data must go to the voter, or nothing is ever committed again
 * (seed 1025453).
 */
static void test_a_snapshot_from_before_the_known_configuration(void **state)
{
	static const struct rig_disk disk = {.voters = 6,
		.term = 5,
		.snapshot = 20,
		.last = 30,
		.applied = 20,
		.change = {23, 27}};
	struct driver_rig *rig = rig_new(&disk, DRIVER_GUARD_MAX, 0);
	struct driver_snapshot snapshot;
	struct message offer;

	(void)state;
	rig_elect(rig);
	rig_persist(rig);
	rig_result(rig, 4, 30, 5);
	assert_int_equal(rig->manifests, 1);
	assert_int_equal(driver_snapshot_at(rig->driver, 20, &snapshot), 0);
	driver_manifest(rig->driver, 4, 0, &snapshot, bytes_str("files"));
	assert_true(rig_last(rig, 4, MESSAGE_SNAPSHOT, &offer));
	assert_int_equal(offer.snapshot->index, 20);
	assert_int_equal(offer.snapshot->configuration_index, 1);
	assert_true(configuration_equal(&offer.snapshot->configuration, &rig->configuration));
	message_release(&offer);
	rig_forget(rig);
	rig_result(rig, 4, 0, 20); /* Installed: what follows comes as entries. */
	assert_true(rig_count(rig, 4, MESSAGE_APPEND) > 0 || rig->reads > 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members_are_as_old_as_the_data),
		cmocka_unit_test(test_members_follow_what_is_applied),
		cmocka_unit_test(test_members_of_an_install),
		cmocka_unit_test(test_a_snapshot_from_before_the_known_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
