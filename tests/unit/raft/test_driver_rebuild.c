/* A peer's data takes the place of our own, and the log with its promises stays. */
#include "tests/lib/test.h"

#include "tests/unit/raft/lib/driver_rig.h"

static const struct rig_disk whole = {.voters = 5, .term = 5, .last = 10, .applied = 4};
/* Its log begins behind 4; the data is gone. */
static const struct rig_disk without_data = {
	.voters = 5, .term = 5, .snapshot = 4, .last = 10, .applied = 4, .rebuild = true};

static struct driver_rig *rig_clean(const struct rig_disk *disk)
{
	return rig_new(disk, DRIVER_GUARD_MAX, 0);
}

static bool rebuilding(const struct driver_rig *rig)
{
	return driver_status(rig->driver).rebuilding;
}

/* The leader, node 2, makes itself known: all up to 10 is committed. */
static void led_by_2(struct driver_rig *rig)
{
	rig_append(rig, 2, 5, 10, 1, 10, NULL, 0);
}

/* Time passes under that leader. */
static void led_for(struct driver_rig *rig, unsigned ms)
{
	for (unsigned at = 0; at < ms; at += 50) {
		rig_tick(rig, 50);
		led_by_2(rig);
	}
}

/* Answers the log read that apply waits for. */
static void give_read(struct driver_rig *rig)
{
	struct entry *entries[LOG_READ_ENTRIES_MAX];

	for (unsigned i = 0; i < rig->read_n; i++) {
		entries[i] = entry_ref(rig->log[rig->read_first + i]);
	}
	driver_read_done(rig->driver, rig->read_token, 0, entries, rig->read_n);
}

static void snapshot_message(struct driver_rig *rig, enum message_type type, uint64_t peer,
	uint64_t index, uint64_t index_term, uint64_t configuration_index)
{
	struct message_snapshot snapshot = {.index = index,
		.index_term = index_term,
		.configuration_index = configuration_index,
		.configuration = rig->configuration,
		.manifest = bytes_str("files")};
	struct message message = {.type = type, .term = 5, .snapshot = &snapshot};

	assert_int_equal(rig_receive(rig, peer, &message), 0);
}

/* The leader: its core wants this. */
static void offer(struct driver_rig *rig, uint64_t peer, uint64_t index, uint64_t index_term)
{
	snapshot_message(rig, MESSAGE_SNAPSHOT, peer, index, index_term, 1);
}

static void give(struct driver_rig *rig, uint64_t peer, uint64_t index, uint64_t index_term)
{
	snapshot_message(rig, MESSAGE_SNAPSHOT_GIVE, peer, index, index_term, 1);
}

static uint64_t wanted(struct driver_rig *rig)
{
	struct message message;
	uint64_t index;

	assert_true(rig_last(rig, 0, MESSAGE_SNAPSHOT_WANT, &message));
	assert_int_equal(message.term, 5);
	index = message.snapshot_want.min_index;
	message_release(&message);
	return index;
}

static void test_data_is_replaced_and_the_log_stays(void **state)
{
	struct driver_rig *rig = rig_clean(&without_data);
	struct entry *entry = rig_command(11, 5);
	struct message answer;

	(void)state;
	rig_tick(rig, 10);
	led_by_2(rig);
	assert_int_equal(wanted(rig), 4);
	assert_int_equal(rig->applies, 0);
	/* What it promises meanwhile it promises as ever. */
	rig_append(rig, 2, 5, 10, 1, 10, &entry, 1);
	rig_persist(rig);
	assert_true(rig_last(rig, 2, MESSAGE_APPEND_RESULT, &answer));
	assert_true(answer.append_result.rejected == 0 && answer.append_result.last_index == 11);
	give(rig, 2, 7, 1);
	assert_int_equal(rig->fetches, 1);
	give(rig, 2, 7, 1);
	assert_int_equal(rig->fetches, 1); /* That one is under way. */
	driver_fetched(rig->driver, 0);
	assert_int_equal(rig->replaces, 1);
	assert_int_equal(rig->installs, 0);
	assert_true(rebuilding(rig));
	rig_append(rig, 2, 5, 11, 5, 11, NULL, 0);
	assert_int_equal(rig->applies, 0); /* Not in between. */
	driver_replaced(rig->driver, 0);
	assert_false(rebuilding(rig));
	assert_int_equal(rig->read_first, 8);
	give_read(rig);
	assert_int_equal(rig->applied, 11); /* From 8 on: the rig asserts the order. */
	assert_int_equal(driver_status(rig->driver).first, 5);
	assert_int_equal(rig->fatal, 0);
	entry_unref(entry);
	rig_free(rig);
}

/* While it runs: what is applied stays what it is until the other takes its place, and that one is
 * no older. */
static void test_data_in_doubt(void **state)
{
	struct driver_rig *rig = rig_clean(&whole);

	(void)state;
	driver_rebuild(rig->driver);
	led_by_2(rig);
	assert_int_equal(rig->applied, 4);
	assert_int_equal(wanted(rig), 4);
	give(rig, 2, 3, 1);
	assert_int_equal(rig->fetches, 0);
	rig_forget(rig);
	led_for(rig, SNAPSHOT_RESEND_MS - 100);
	assert_int_equal(rig_count(rig, 0, MESSAGE_SNAPSHOT_WANT), 0);
	led_for(rig, 200);
	assert_int_equal(wanted(rig), 4); /* Asked again. */
	give(rig, 3, 9, 1);
	driver_fetched(rig->driver, KLUIS_EIO);
	give(rig, 3, 9, 1); /* Given up, offered again. */
	assert_int_equal(rig->fetches, 2);
	driver_fetched(rig->driver, 0);
	driver_applied(rig->driver, 4, 0); /* Late news of the old data. */
	driver_replaced(rig->driver, 0);
	assert_int_equal(driver_status(rig->driver).applied, 9);
	give_read(rig);
	assert_int_equal(rig->applied, 10);
	rig_free(rig);
}

/* Behind the end of what our disk has a crash would leave data without its log. */
static void test_only_at_what_the_disk_has(void **state)
{
	struct driver_rig *rig = rig_clean(&without_data);
	struct entry *entry = rig_command(11, 5);

	(void)state;
	rig_append(rig, 2, 5, 10, 1, 10, &entry, 1);
	give(rig, 4, 11, 5);
	driver_fetched(rig->driver, 0);
	assert_int_equal(rig->replaces, 0);
	rig_persist(rig);
	assert_int_equal(rig->replaces, 1);
	entry_unref(entry);
	rig_free(rig);
}

/* A snapshot of what our log does not have takes the log's place, too, as ever. */
static void test_log_that_is_behind(void **state)
{
	struct driver_rig *rig = rig_clean(&without_data);

	(void)state;
	led_by_2(rig);
	offer(rig, 2, 30, 5);
	driver_fetched(rig->driver, 0);
	assert_int_equal(rig->replaces, 0);
	assert_int_equal(rig->installs, 1);
	driver_persisted(rig->driver, rig->write_seq, 0);
	driver_installed(rig->driver, 0);
	assert_false(rebuilding(rig));
	assert_int_equal(driver_status(rig->driver).applied, 30);
	rig_free(rig);
}

/* The same index with another term is not what our log says. */
static void test_another_history(void **state)
{
	struct driver_rig *rig = rig_clean(&without_data);

	(void)state;
	led_by_2(rig);
	give(rig, 2, 7, 3);
	give(rig, 2, 30, 5); /* Nor is what it does not have: that is for the leader to offer. */
	assert_int_equal(rig->fetches, 0);
	rig_free(rig);
}

/* What was fetched before, for a log that was behind then, is no help now. */
static void test_an_old_fetch_is_in_nobodys_way(void **state)
{
	struct driver_rig *rig = rig_clean(&whole);
	struct entry *entries[4];

	(void)state;
	led_by_2(rig);
	offer(rig, 2, 12, 5);
	rig_append(rig, 3, 6, 10, 1, 10, NULL, 0); /* Another leader meanwhile. */
	driver_fetched(rig->driver, 0);
	assert_int_equal(rig->installs, 0);
	for (unsigned i = 0; i < 4; i++) {
		entries[i] = rig_command(11 + i, 6);
	}
	rig_append(rig, 3, 6, 10, 1, 14, entries, 4);
	rig_persist(rig);
	give_read(rig);
	assert_int_equal(rig->applied, 14);
	rig_forget(rig);
	driver_rebuild(rig->driver);
	rig_tick(rig, 10);
	assert_int_equal(rig_count(rig, 0, MESSAGE_SNAPSHOT_WANT), 1);
	for (unsigned i = 0; i < 4; i++) {
		entry_unref(entries[i]);
	}
	rig_free(rig);
}

static void test_stop(void **state)
{
	struct driver_rig *rig = rig_clean(&whole);

	(void)state;
	driver_rebuild(rig->driver);
	led_by_2(rig);
	give(rig, 3, 9, 1);
	assert_int_equal(rig->applied, 4);
	assert_int_equal(driver_rebuild_stop(rig->driver), 0);
	give_read(rig);
	assert_int_equal(rig->applied, 10); /* Goes on with what is there. */
	driver_fetched(rig->driver, 0);
	assert_int_equal(rig->replaces, 0);
	assert_int_equal(rig->installs, 0);
	driver_rebuild(rig->driver);
	led_for(rig, SNAPSHOT_RESEND_MS + 50);
	give(rig, 2, 10, 1);
	driver_fetched(rig->driver, 0);
	assert_int_equal(rig->replaces, 1);
	assert_int_equal(driver_rebuild_stop(rig->driver), KLUIS_EBUSY); /* Too late. */
	driver_replaced(rig->driver, 0);
	rig_free(rig);
}

static void test_errors_are_fatal(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct driver_rig *rig = rig_clean(&without_data);

		rig->fail_replace = i == 0 ? KLUIS_EIO : 0;
		led_by_2(rig);
		give(rig, 2, 7, 1);
		driver_fetched(rig->driver, 0);
		if (i == 1) {
			driver_replaced(rig->driver, KLUIS_EIO);
		}
		assert_int_equal(rig->fatal, 1);
		rig_free(rig);
	}
}

static void want(struct driver_rig *rig, uint64_t peer, uint64_t min_index)
{
	struct message message = {.type = MESSAGE_SNAPSHOT_WANT, .term = 5};

	message.snapshot_want.min_index = min_index;
	assert_int_equal(rig_receive(rig, peer, &message), 0);
}

static void manifest(struct driver_rig *rig, uint64_t peer, uint64_t index)
{
	struct driver_snapshot snapshot = {.index = index,
		.term = 1,
		.configuration_index = 1,
		.configuration = rig->configuration};

	driver_manifest(rig->driver, peer, 0, &snapshot, bytes_str("files"));
}

/* Whoever has data gives it, leader or not, to the one that asked and to nobody's core. */
static void test_what_a_member_gives(void **state)
{
	struct driver_rig *rig = rig_clean(&whole);
	struct message message;

	(void)state;
	want(rig, 4, 1000);
	assert_int_equal(rig->manifests, 0); /* Nobody has that. */
	led_by_2(rig);
	want(rig, 4, 7);
	assert_int_equal(rig->manifests, 1);
	assert_int_equal(rig->manifest_peer, 4);
	assert_int_equal(rig->manifest_index, 7);
	want(rig, 4, 7);
	assert_int_equal(rig->manifests, 1); /* It is being made. */
	manifest(rig, 3, 8);		     /* 3 did not ask. */
	assert_int_equal(rig_count(rig, 3, MESSAGE_SNAPSHOT_GIVE), 0);
	manifest(rig, 4, 8);
	assert_true(rig_last(rig, 4, MESSAGE_SNAPSHOT_GIVE, &message));
	assert_true(message.snapshot->index == 8 && message.snapshot->index_term == 1);
	message_release(&message);
	assert_int_equal(rig_count(rig, 4, MESSAGE_SNAPSHOT), 0);
	driver_rebuild(rig->driver);
	want(rig, 3, 7);
	assert_int_equal(rig->manifests, 1); /* Not what is in doubt. */
	rig_free(rig);
}

/* Who asks has just started: our own link to it may come up later than its link to us. */
static void test_given_as_soon_as_there_is_a_link(void **state)
{
	struct driver_rig *rig = rig_clean(&whole);

	(void)state;
	led_by_2(rig);
	rig->unreachable = BIT(4);
	want(rig, 4, 7);
	manifest(rig, 4, 8);
	rig->unreachable = 0;
	driver_connected(rig->driver, 3);
	assert_int_equal(rig->manifests, 1);
	driver_connected(rig->driver, 4);
	assert_int_equal(rig->manifests, 2);
	assert_int_equal(rig->manifest_index, 7);
	driver_connected(rig->driver, 4); /* It is being made. */
	assert_int_equal(rig->manifests, 2);
	manifest(rig, 4, 8);
	assert_int_equal(rig_count(rig, 4, MESSAGE_SNAPSHOT_GIVE), 1);
	driver_connected(rig->driver, 4); /* It was given. */
	assert_int_equal(rig->manifests, 2);
	rig_free(rig);
}

/* A node that was away is given what its log does not have yet, and asks the same one again as soon
 * as it has. */
static void test_asked_again_when_the_log_is_there(void **state)
{
	struct driver_rig *rig = rig_clean(&without_data);
	struct entry *entry[2] = {rig_command(11, 5), rig_command(12, 5)};
	unsigned asked[2];

	(void)state;
	led_by_2(rig);
	give(rig, 2, 12, 5);
	assert_int_equal(rig->fetches, 0);
	asked[0] = rig_count(rig, 2, MESSAGE_SNAPSHOT_WANT);
	rig_append(rig, 2, 5, 10, 1, 12, entry, 1);
	assert_int_equal(rig_count(rig, 0, MESSAGE_SNAPSHOT_WANT), 1);
	rig_append(rig, 2, 5, 11, 5, 12, entry + 1, 1);
	asked[1] = rig_count(rig, 2, MESSAGE_SNAPSHOT_WANT);
	assert_true(asked[0] == 1 && asked[1] == 2);
	rig_persist(rig);
	assert_int_equal(rig_count(rig, 0, MESSAGE_SNAPSHOT_WANT), 2); /* Once. */
	give(rig, 2, 12, 5);
	driver_fetched(rig->driver, 0);
	driver_replaced(rig->driver, 0);
	assert_false(rebuilding(rig));
	entry_unref(entry[0]);
	entry_unref(entry[1]);
	rig_free(rig);
}

/* A leader without data goes on asking, one member after the other. */
static void test_a_leader_asks_too(void **state)
{
	struct driver_rig *rig = rig_clean(&without_data);
	unsigned asked = 0;

	(void)state;
	rig_lead(rig);
	for (uint64_t peer = 2; peer <= 6; peer++) {
		for (unsigned ms = 0; ms < SNAPSHOT_RESEND_MS; ms += 100) {
			rig_tick(rig, 100);
			for (uint64_t voter = 2; voter <= 5; voter++) {
				rig_result(rig, voter, 0, driver_status(rig->driver).last);
			}
		}
	}
	for (uint64_t peer = 2; peer <= 6; peer++) {
		asked += rig_count(rig, peer, MESSAGE_SNAPSHOT_WANT) > 0;
	}
	assert_int_equal(asked, 5);
	give(rig, 6, 7, 1);
	driver_fetched(rig->driver, 0);
	driver_replaced(rig->driver, 0);
	assert_false(rebuilding(rig));
	assert_int_equal(rig->fatal, 0);
	rig_free(rig);
}

/* A node that starts has no links: whoever is there is asked as soon as the first one is up, not
 * only when it would ask again. */
static void test_asked_as_soon_as_there_is_a_link(void **state)
{
	struct driver_rig *rig = rig_clean(&whole);

	(void)state;
	rig->unreachable = UINT32_MAX;
	driver_rebuild(rig->driver);
	driver_connected(rig->driver, 9); /* No member. */
	rig_tick(rig, 100);
	assert_int_equal(rig_count(rig, 0, MESSAGE_SNAPSHOT_WANT), 0);
	rig->unreachable = ~BIT(4);
	driver_connected(rig->driver, 4);
	assert_int_equal(rig_count(rig, 4, MESSAGE_SNAPSHOT_WANT), 1);
	rig->unreachable = 0;
	driver_connected(rig->driver, 5); /* Somebody was asked. */
	assert_int_equal(rig_count(rig, 0, MESSAGE_SNAPSHOT_WANT), 1);
	give(rig, 4, 9, 1);
	driver_fetched(rig->driver, 0);
	driver_replaced(rig->driver, 0);
	driver_connected(rig->driver, 5); /* Nothing is wanted any more. */
	assert_int_equal(rig_count(rig, 0, MESSAGE_SNAPSHOT_WANT), 1);
	rig_free(rig);
}

/* What a snapshot says of the members is what its data stands at, whatever else is known. */
static void test_members_of_a_replacement(void **state)
{
	struct rig_disk disk = without_data;
	struct driver_rig *rig;
	struct driver_snapshot snapshot;

	(void)state;
	disk.change[0] = 6;
	disk.change[1] = 9;
	rig = rig_clean(&disk);
	led_by_2(rig);
	configuration_find(&rig->configuration, 5)->role = MEMBER_STANDBY; /* As of 6. */
	snapshot_message(rig, MESSAGE_SNAPSHOT_GIVE, 2, 7, 1, 6);
	driver_fetched(rig->driver, 0);
	driver_replaced(rig->driver, 0);
	assert_int_equal(driver_snapshot_at(rig->driver, 7, &snapshot), 0);
	assert_int_equal(snapshot.configuration_index, 6);
	assert_true(configuration_equal(&snapshot.configuration, &rig->configuration));
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data_is_replaced_and_the_log_stays),
		cmocka_unit_test(test_data_in_doubt),
		cmocka_unit_test(test_only_at_what_the_disk_has),
		cmocka_unit_test(test_log_that_is_behind),
		cmocka_unit_test(test_another_history),
		cmocka_unit_test(test_an_old_fetch_is_in_nobodys_way),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_errors_are_fatal),
		cmocka_unit_test(test_what_a_member_gives),
		cmocka_unit_test(test_a_leader_asks_too),
		cmocka_unit_test(test_asked_as_soon_as_there_is_a_link),
		cmocka_unit_test(test_given_as_soon_as_there_is_a_link),
		cmocka_unit_test(test_asked_again_when_the_log_is_there),
		cmocka_unit_test(test_members_of_a_replacement),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
