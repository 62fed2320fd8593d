/* What a receiver does with objects before the manifest that names them has come. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "tests/unit/backup/lib/pair.h"

enum { OBJECTS = 2 };

/* A snapshot of two objects at least, as its taker has it and the log does not yet: it is running.
 */
struct early {
	struct backup_pair *w;
	struct backup_manifest m;
	struct snapshot_row *row;
	uint8_t hash[HASH_BYTES];
	uint64_t wall_s; /* Of the next file that comes, by the drop's clock. */
};

static void begin(struct early *early, struct backup_pair *w)
{
	*early = (struct early){.w = w, .wall_s = clock_wall_ms(&clock_system) / 1000 - 60};
	pair_take(w, 40, 4000, early->hash);
	assert_int_equal(point_manifest(w->sites.repository[0], early->hash, &w->sites.trust,
				 &early->m, NULL),
		0);
	assert_true(early->m.n_index + early->m.n_packs >= OBJECTS);
	early->row = &w->records[w->receiver.n_records - 1];
	early->row->state = SNAPSHOT_RUNNING;
	w->receiver.early_bytes = UINT64_MAX;
}

static void finish(struct early *early)
{
	backup_manifest_release(&early->m);
}

static void recorded(struct early *early)
{
	early->row->state = SNAPSHOT_SHIPPED;
}

static char *drop_path(const struct early *early, unsigned at, unsigned attempt)
{
	struct drop_name name = {.attempt = attempt};
	char text[DROP_NAME_BYTES];

	memcpy(name.hash, early->m.objects[at].hash, HASH_BYTES);
	drop_name_format(&name, text);
	return x_asprintf("%s/%s", early->w->sshd->drop, text);
}

static void age(struct early *early, const char *path)
{
	struct timespec when[2] = {
		{.tv_sec = (time_t)early->wall_s}, {.tv_sec = (time_t)early->wall_s}};

	assert_int_equal(utimensat(AT_FDCWD, path, when, 0), 0);
	early->wall_s++;
}

/* Object `at` of the snapshot comes, a second after the one before it; wrong: other bytes. */
static void come(struct early *early, unsigned at, bool wrong)
{
	_cleanup_(x_freep) char *path = drop_path(early, at, 0);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	uint64_t size = 0;
	int fd = -1;

	assert_int_equal(repository_open_object(early->w->sites.repository[0],
				 early->m.objects[at].hash, &fd, &size, NULL),
		0);
	assert_int_equal(read(fd, buf_extend(&bytes, size), size), size);
	(void)close(fd);
	bytes.data[size / 2] ^= wrong;
	pair_drop_file(early->w, strrchr(path, '/') + 1, buf_bytes(&bytes));
	age(early, path);
}

/* Something behind all else. */
static void come_newest(struct early *early)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/o-%064d.0", early->w->sshd->drop, 7);

	pair_drop_file(early->w, strrchr(path, '/') + 1, bytes_str("half of som"));
	age(early, path);
}

/* A look that goes on where the last one ended. */
static struct receive_report look(struct early *early)
{
	struct receive_report report = pair_receive(early->w);

	early->w->receiver.early_ms = report.early_ms;
	return report;
}

static bool held(const struct early *early, unsigned at)
{
	uint64_t size = 0;
	int fd = -1;
	int rc = repository_open_object(
		early->w->sites.repository[1], early->m.objects[at].hash, &fd, &size, NULL);

	if (rc == 0) {
		(void)close(fd);
		assert_true(size == early->m.objects[at].bytes);
	}
	return rc == 0;
}

static void assert_stand_in(const struct early *early, unsigned at, bool stands)
{
	_cleanup_(x_freep) char *path = drop_path(early, at, 0);
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_true((uint64_t)st.st_size == early->m.objects[at].bytes);
	assert_int_equal(st.st_blocks == 0, stands);
}

/* All but what may still grow; the sender finds it there and does not send it again, and with the
 * manifest it is as if all had waited. */
static void test_taken_while_it_comes(void **state)
{
	struct early early;
	struct receive_report report;

	begin(&early, *state);
	come(&early, 0, false);
	report = look(&early);
	assert_int_equal(report.early, 0);
	assert_false(held(&early, 0));
	come(&early, 1, false);
	report = look(&early);
	assert_int_equal(report.early, 1);
	assert_true(held(&early, 0));
	assert_false(held(&early, 1));
	assert_stand_in(&early, 0, true);
	assert_stand_in(&early, 1, false);
	assert_true(report.bytes == early.m.objects[1].bytes);
	recorded(&early);
	assert_int_equal(pair_ship(early.w, early.hash).objects_skipped, OBJECTS);
	pair_assert_received(early.w, early.hash);
	assert_int_equal(pair_drop_count(early.w), 0);
	finish(&early);
}

/* From who is not at a snapshot, nor has one to bring, nothing is taken that no manifest names. */
static void test_only_when_the_log_expects_it(void **state)
{
	struct early early;

	begin(&early, *state);
	come(&early, 0, false);
	come_newest(&early);
	early.row->state = SNAPSHOT_FAILED;
	assert_int_equal(look(&early).early, 0);
	early.row->state = SNAPSHOT_RUNNING;
	early.row->node = 3;
	assert_int_equal(look(&early).early, 0);
	assert_false(held(&early, 0));
	early.row->node = 1;
	assert_int_equal(look(&early).early, 1);
	assert_true(held(&early, 0));
	finish(&early);
}

/* What is not what its name says may have been cut: it stays for the manifest, and is read once. */
static void test_wrong_bytes_wait(void **state)
{
	struct early early;
	struct receive_report report;

	begin(&early, *state);
	come(&early, 0, true);
	come_newest(&early);
	report = look(&early);
	assert_int_equal(report.early + report.refused, 0);
	assert_false(held(&early, 0));
	early.wall_s -= 2; /* The same file, by its times, with other bytes: nobody looks. */
	come(&early, 0, false);
	assert_int_equal(look(&early).early, 0);
	early.w->receiver.early_ms = 0;
	assert_int_equal(look(&early).early, 1);
	finish(&early);
}

/* As much as a drop may hold, and no more before a manifest has asked for some of it. */
static void test_no_more_than_the_quota(void **state)
{
	struct early early;
	uint64_t bytes;

	begin(&early, *state);
	come(&early, 0, false);
	come(&early, 1, false);
	come_newest(&early);
	bytes = early.m.objects[0].bytes + early.m.objects[1].bytes;
	early.w->receiver.quota.bytes = bytes - 1;
	assert_int_equal(look(&early).early, 1);
	assert_int_equal(look(&early).early, 0);
	early.w->receiver.quota.bytes = bytes;
	assert_int_equal(look(&early).early, 1);
	assert_true(held(&early, 0) && held(&early, 1));
	finish(&early);
}

/* Nor than the repository's disk has room for. */
static void test_no_more_than_there_is_room(void **state)
{
	struct early early;

	begin(&early, *state);
	come(&early, 0, false);
	come(&early, 1, false);
	come_newest(&early);
	early.w->receiver.early_bytes = 0;
	assert_int_equal(look(&early).early, 0);
	early.w->receiver.early_bytes = early.m.objects[0].bytes + early.m.objects[1].bytes - 1;
	assert_int_equal(look(&early).early, 1);
	assert_int_equal(look(&early).early, 1);
	finish(&early);
}

/* Many that are not what their names say cost two of them in a look, and hold nothing else up. */
static void test_wrong_bytes_of_many(void **state)
{
	enum { MANY = 20 };
	struct early early;

	begin(&early, *state);
	for (unsigned i = 0; i < MANY; i++) {
		_cleanup_(x_freep) char *path =
			x_asprintf("%s/o-%064u.0", early.w->sshd->drop, i + 10);

		pair_drop_file(early.w, strrchr(path, '/') + 1, bytes_str("rubbish"));
		age(&early, path);
	}
	come(&early, 0, false); /* Behind them by its name. */
	come(&early, 1, false);
	assert_int_equal(look(&early).early, 0);
	assert_false(held(&early, 0));
	come_newest(&early);
	assert_int_equal(look(&early).early, 1);
	assert_true(held(&early, 1));
	finish(&early);
}

/* While its manifest waits for the rest, which may take longer than a day, it does not get old. */
static void test_kept_while_the_manifest_waits(void **state)
{
	uint64_t hour_ms = 3600 * 1000, now_ms = clock_wall_ms(&clock_system);
	struct early early;
	struct receive_report report;
	uint64_t freed;

	begin(&early, *state);
	come(&early, 0, false);
	come_newest(&early);
	assert_int_equal(look(&early).early, 1);
	recorded(&early);
	pair_carry(early.w, early.hash, 0); /* The manifest alone. */
	for (unsigned hours = 2; hours <= 30; hours += 2) {
		report = pair_receive_at(early.w, now_ms + hours * hour_ms);
		receive_report_release(&report);
		assert_int_equal(
			repository_prune(early.w->sites.repository[1], NULL, 0,
				now_ms + hours * hour_ms, BACKUP_LEFTOVER_MS, &freed, NULL),
			0);
	}
	assert_true(held(&early, 0));
	finish(&early);
}

/* What it stands for went: the sender is not blamed, and brings it again. */
static void test_stand_in_for_nothing(void **state)
{
	struct early early;
	struct receive_report report;

	begin(&early, *state);
	come(&early, 0, false);
	come_newest(&early);
	assert_int_equal(look(&early).early, 1);
	assert_int_equal(
		repository_set_aside(early.w->sites.repository[1], early.m.objects[0].hash, NULL),
		0);
	recorded(&early);
	(void)pair_ship(early.w, early.hash);
	report = look(&early);
	assert_int_equal(report.n_accepted + report.refused, 0);
	assert_int_equal(report.waiting, 1);
	assert_int_equal(pair_ship(early.w, early.hash).objects, 1);
	pair_assert_received(early.w, early.hash);
	finish(&early);
}

/* A drop with too many files loses stand-ins last: without them all would be sent again. */
static void test_evicted_last(void **state)
{
	_cleanup_(x_freep) char *path = NULL;
	struct early early;
	struct receive_report report;

	begin(&early, *state);
	come(&early, 0, false);
	come_newest(&early);
	assert_int_equal(look(&early).early, 1);
	path = drop_path(&early, 0, 0);
	early.wall_s -= 30; /* The oldest of all. */
	age(&early, path);
	early.w->receiver.quota.files = 1;
	report = look(&early);
	assert_int_equal(report.evicted, 1);
	assert_stand_in(&early, 0, true);
	finish(&early);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_taken_while_it_comes, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_only_when_the_log_expects_it, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_wrong_bytes_wait, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_no_more_than_the_quota, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_no_more_than_there_is_room, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_wrong_bytes_of_many, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_kept_while_the_manifest_waits, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_stand_in_for_nothing, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_evicted_last, pair_set_up, pair_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
