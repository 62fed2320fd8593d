/* Uploads that were cut: what they leave in a drop neither blocks the sender nor fills the drop,
 * and what may be under way is let alone. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "tests/unit/backup/lib/pair.h"
#include "tests/unit/backup/lib/raw_sftp.h"

enum { MINUTE_S = 60, DAY_S = 24 * 3600 };

static char *drop_path(const struct backup_pair *w, const struct drop_name *name)
{
	char text[DROP_NAME_BYTES];

	drop_name_format(name, text);
	return x_asprintf("%s/%s", w->sshd->drop, text);
}

/* As if its last byte had come age_s ago; less than none: the clock was put back since. */
static void drop_age(const struct backup_pair *w, const struct drop_name *name, int age_s)
{
	_cleanup_(x_freep) char *path = drop_path(w, name);
	time_t at = (time_t)(clock_wall_ms(&clock_system) / 1000) - age_s;
	struct timespec times[2] = {{.tv_sec = at}, {.tv_sec = at}};

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* One try of an object, or of a manifest, that nothing asks for. */
static struct drop_name drop_try(
	struct backup_pair *w, bool manifest, unsigned attempt, size_t bytes, int age_s)
{
	struct drop_name name = {.manifest = manifest, .hash = {9}, .attempt = attempt};
	_cleanup_(buf_release) struct buf rubbish = BUF_INIT;
	char text[DROP_NAME_BYTES];

	buf_put_zeros(&rubbish, bytes);
	drop_name_format(&name, text);
	pair_drop_file(w, text, buf_bytes(&rubbish));
	drop_age(w, &name, age_s);
	return name;
}

static bool drop_has(const struct backup_pair *w, const struct drop_name *name)
{
	_cleanup_(x_freep) char *path = drop_path(w, name);
	struct stat st;

	return lstat(path, &st) == 0;
}

/* One look removes so many as cut, and nothing for another reason. */
static void assert_cut(struct backup_pair *w, uint64_t wall_ms, unsigned cut)
{
	struct receive_report report = pair_receive_at(w, wall_ms);

	assert_int_equal(report.cut, cut);
	assert_int_equal(report.n_accepted + report.refused + report.leftovers + report.evicted, 0);
	receive_report_release(&report);
}

static uint64_t now_ms(void)
{
	return clock_wall_ms(&clock_system);
}

static int ship_again(
	struct backup_pair *w, const uint8_t hash[HASH_BYTES], struct ship_report *ret_report)
{
	return ship_snapshot(w->sites.repository[0], hash, "ber", &w->target, ret_report, NULL);
}

/* As a full disk leaves them: every try a file that never got a byte. The first ten are the
 * sender's own. */
static struct drop_name use_up_names(
	struct backup_pair *w, const uint8_t hash[HASH_BYTES], struct ship_report *report)
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct drop_name name = {.attempt = 0};

	assert_int_equal(
		point_manifest(w->sites.repository[0], hash, &w->sites.trust, &m, NULL), 0);
	memcpy(name.hash, m.objects[0].hash, HASH_BYTES);
	w->target.backoff_ms = 1;
	fault_arm("backup.sftp.write", 1, true);
	assert_int_equal(ship_again(w, hash, report), KLUIS_EPROTO);
	assert_int_equal(report->connections, SHIP_ATTEMPTS_MAX);
	assert_int_equal(pair_drop_count(w), SHIP_ATTEMPTS_MAX);
	for (; name.attempt < SHIP_NAMES_MAX; name.attempt++) {
		char text[DROP_NAME_BYTES];

		drop_name_format(&name, text);
		assert_int_equal(drop_has(w, &name), name.attempt < SHIP_ATTEMPTS_MAX);
		if (name.attempt >= SHIP_ATTEMPTS_MAX - 1) {
			pair_drop_file(w, text, bytes_of(NULL, 0));
		}
		drop_age(w, &name, SHIP_NAMES_MAX - (int)name.attempt);
	}
	assert_int_equal(ship_again(w, hash, report), KLUIS_EQUOTA);
	fault_disarm();
	name.attempt--;
	return name;
}

/* So many names has an object; they last for longer than it takes until the first are free again,
 * and it goes through as soon as there is room. */
static void test_names_become_free(void **state)
{
	struct backup_pair *w = *state;
	struct ship_report report;
	struct drop_name last;
	uint8_t hash[HASH_BYTES];

	pair_take(w, 5, 1000, hash);
	last = use_up_names(w, hash, &report);
	assert_cut(w, now_ms(), 0); /* Any of them may still be under way. */
	assert_int_equal(ship_again(w, hash, &report), KLUIS_EQUOTA);
	assert_int_equal(report.connections, 1);
	w->receiver.began_ms = now_ms(); /* However long this site has been at it. */
	assert_cut(w, now_ms() + BACKUP_CUT_MS, SHIP_NAMES_MAX - 1);
	assert_int_equal(pair_drop_count(w), 1);
	assert_true(drop_has(w, &last));
	assert_int_equal(pair_ship(w, hash).connections, 1);
	pair_assert_received(w, hash);
	assert_int_equal(pair_drop_count(w), 0);
}

/* One that stands still for as long as it likes is the newest, and can be finished; then it is
 * found whole, though a name below it is free. */
static void test_what_is_under_way_stays(void **state)
{
	struct backup_pair *w = *state;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct drop_name name = {.attempt = 0};
	LIBSSH2_SFTP_HANDLE *file = NULL;
	struct ship_report report;
	struct raw_sftp sender;
	uint8_t hash[HASH_BYTES];
	uint64_t size = 0;
	size_t half;
	int fd = -1;

	pair_take(w, 5, 1000, hash);
	assert_int_equal(
		point_manifest(w->sites.repository[0], hash, &w->sites.trust, &m, NULL), 0);
	memcpy(name.hash, m.objects[0].hash, HASH_BYTES);
	assert_int_equal(
		repository_open_object(w->sites.repository[0], name.hash, &fd, &size, NULL), 0);
	assert_int_equal(read(fd, buf_extend(&bytes, size), size), size);
	(void)close(fd);
	half = size / 2;
	raw_sftp_open(&sender, w->sshd);
	for (; name.attempt < 2; name.attempt++) {
		char text[DROP_NAME_BYTES];
		_cleanup_(x_freep) char *path = NULL;

		drop_name_format(&name, text);
		path = x_asprintf("%s/%s", w->sshd->path, text);
		if (file != NULL) {
			(void)libssh2_sftp_close(file); /* Cut. */
		}
		file = raw_sftp_create(&sender, path, 0440, bytes_of(bytes.data, half));
		assert_non_null(file);
		drop_age(w, &name, (20 - (int)name.attempt) * MINUTE_S);
	}
	assert_cut(w, now_ms(), 1);
	assert_int_equal(pair_drop_count(w), 1);
	assert_int_equal(libssh2_sftp_write(file, (const char *)bytes.data + half, size - half),
		size - half);
	assert_int_equal(libssh2_sftp_close(file), 0);
	raw_sftp_close(&sender);
	report = pair_ship(w, hash);
	assert_int_equal(report.objects_skipped, 1);
	pair_assert_received(w, hash);
}

/* What counts is when each was written, not its number, which a sender uses again. */
static void test_which_goes(void **state)
{
	struct backup_pair *w = *state;

	for (unsigned manifest = 0; manifest < 2; manifest++) {
		struct drop_name alone = drop_try(w, manifest, 3, 5, DAY_S - MINUTE_S), low, high;

		assert_cut(w, now_ms(), 0);
		assert_true(drop_has(w, &alone));
		low = drop_try(w, manifest, 1, 0, 9 * MINUTE_S); /* Later, and still fresh. */
		high = drop_try(w, manifest, 7, 8, 11 * MINUTE_S);
		assert_cut(w, now_ms(), 2);
		assert_false(drop_has(w, &alone) || drop_has(w, &high));
		high = drop_try(w, manifest, 8, 2, MINUTE_S);
		assert_cut(w, now_ms(), 0); /* Both may be growing. */
		assert_true(drop_has(w, &low) && drop_has(w, &high));
		assert_cut(w, now_ms() + 2 * MINUTE_S * 1000, 1);
		assert_false(drop_has(w, &low));
		assert_true(drop_has(w, &high));
	}
	/* Another hash, or a manifest of the same, is another thing. */
	assert_int_equal(pair_drop_count(w), 2);
}

/* What was written before the clock was put back says nothing of what is younger. */
static void test_clock_put_back(void **state)
{
	struct backup_pair *w = *state;
	struct drop_name future = drop_try(w, false, 0, 3, -DAY_S / 2);
	struct drop_name whole = drop_try(w, false, 1, 100, 11 * MINUTE_S);

	assert_cut(w, now_ms(), 0);
	assert_true(drop_has(w, &future) && drop_has(w, &whole));
}

/* What a manifest asks for stays, whatever comes later under its hash, and so does what stands for
 * an object that was taken in. */
static void test_what_is_asked_for_stays(void **state)
{
	struct backup_pair *w = *state;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	_cleanup_(x_freep) char *path = NULL;
	struct receive_report report;
	struct drop_name name = {.attempt = 1}, stands;
	char text[DROP_NAME_BYTES];
	uint8_t hash[HASH_BYTES];

	pair_take(w, 5, 1000, hash);
	assert_int_equal(
		point_manifest(w->sites.repository[0], hash, &w->sites.trust, &m, NULL), 0);
	pair_carry(w, hash, 1); /* The other object is still to come. */
	memcpy(name.hash, m.objects[0].hash, HASH_BYTES);
	drop_name_format(&name, text);
	pair_drop_file(w, text, bytes_str("cut"));
	name.attempt = 0;
	drop_age(w, &name, 20 * MINUTE_S);
	stands = drop_try(w, false, 0, 0, 0);
	path = drop_path(w, &stands);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(truncate(path, 4096), 0);
	drop_age(w, &stands, 20 * MINUTE_S);
	(void)drop_try(w, false, 1, 3, MINUTE_S);
	report = pair_receive(w);
	assert_int_equal(report.waiting, 1);
	assert_int_equal(report.cut, 0);
	receive_report_release(&report);
	assert_true(drop_has(w, &name) && drop_has(w, &stands));
	assert_int_equal(pair_ship(w, hash).objects_skipped, 1);
	pair_assert_received(w, hash);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_names_become_free, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_what_is_under_way_stays, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_which_goes, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_clock_put_back, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_what_is_asked_for_stays, pair_set_up, pair_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
