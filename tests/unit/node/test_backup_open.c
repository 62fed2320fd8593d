/* A node whose backup disk does not work: it runs, says so, makes nothing anew where the disk
 * should be, and goes on with its backups by itself when it is back. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "node/backup_mount.h"
#include "node/backup_parts.h"
#include "tests/unit/node/lib/backup_rig.h"

enum { SITE = 1 };

/* What the alarm is made of. */
static struct api_copies copies_of(struct backup_rig *w)
{
	struct api_copies copies;

	backup_job_copies(w->job[SITE], &copies);
	assert_true(copies.kept);
	return copies;
}

static void start_stopped(struct backup_rig *w, const char *why)
{
	struct api_copies copies;

	backup_rig_start_job(w, SITE);
	copies = copies_of(w);
	if (strstr(copies.stopped, why) == NULL) {
		fail_msg("'%s' instead of '%s'", copies.stopped, why);
	}
}

static void wait_open(struct backup_rig *w)
{
	for (unsigned waited = 0; copies_of(w).stopped[0] != 0; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
	}
}

static void move(const char *from, const char *to)
{
	assert_int_equal(rename(from, to), 0);
}

/* A file stands where the repository was: nothing that needs it is done, nothing of it is asked for
 * in vain, and the others get on. */
static void test_no_repository(void **state)
{
	struct backup_rig *w = *state;
	const char *repository = w->config[SITE].backup_repository_dir;
	_cleanup_(x_freep) char *away = x_asprintf("%s.away", repository);
	struct snapshot_row row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	struct backup_summary summary;
	struct api_verify verify;
	struct err e = {0};

	backup_rig_close_job(w, SITE);
	move(repository, away);
	assert_int_equal(file_create(repository, bytes_str("x"), 0600, NULL), 0);
	start_stopped(w, repository);
	assert_int_equal(
		backup_job_verify(w->job[SITE], row.manifest_hash, 2, &verify, &e), KLUIS_EBEHIND);
	assert_non_null(strstr(e.text, repository));
	row = backup_rig_wait_first(w, backup_rig_claim(w, 1, false));
	assert_true(backup_job_summary(w->job[SITE], &summary));
	assert_true(summary.records > 0);
	assert_int_equal(unlink(repository), 0);
	move(away, repository);
	wait_open(w);
	row = backup_rig_wait_confirmed(w, row.id);
	backup_rig_assert_at_every_site(w, &row);
	row = backup_rig_wait_confirmed(w, backup_rig_claim(w, SITE + 1, false));
	backup_rig_assert_at_every_site(w, &row);
}

/* Closed while it is not open. */
static void test_no_drop(void **state)
{
	struct backup_rig *w = *state;
	const char *drop = w->config[SITE].backup_drop_dir;
	_cleanup_(x_freep) char *away = x_asprintf("%s.away", drop);

	backup_rig_close_job(w, SITE);
	move(drop, away);
	start_stopped(w, "[backup] 'drop': directory");
	assert_false(file_exists(drop));
	backup_rig_close_job(w, SITE);
	start_stopped(w, "[backup] 'drop': directory");
	move(away, drop);
	wait_open(w);
}

/* Fewer file systems are entered on the way to it than were: whatever lies there is not its disk.
 */
static void not_mounted(struct backup_rig *w, const char *what, const char *path)
{
	_cleanup_(x_freep) char *away = x_asprintf("%s.away", path);
	_cleanup_(x_freep) char *file = x_asprintf("%s/%s-mount", w->config[SITE].data_dir, what);
	_cleanup_(x_freep) char *why =
		x_asprintf("the disk of the %s '%s' is not mounted", what, path);
	_cleanup_(buf_release) struct buf mark = BUF_INIT, was = BUF_INIT, is = BUF_INIT;

	backup_rig_close_job(w, SITE);
	assert_int_equal(file_read(file, BACKUP_MOUNT_BYTES, &was, NULL), 0);
	backup_mount_encode(path, backup_mount_count(path) + 1, &mark);
	assert_int_equal(file_write(file, buf_bytes(&mark), 0600, NULL), 0);
	move(path, away);
	assert_int_equal(mkdir(path, 0700), 0);
	start_stopped(w, why);
	assert_non_null(strstr(copies_of(w).stopped, file));
	backup_rig_close_job(w, SITE);
	assert_int_equal(rmdir(path), 0); /* Nothing was made in it. */
	move(away, path);
	start_stopped(w, why);
	assert_int_equal(unlink(file), 0); /* It is there for good. */
	wait_open(w);
	assert_int_equal(file_read(file, BACKUP_MOUNT_BYTES, &is, NULL), 0);
	assert_true(bytes_equal(buf_bytes(&is), buf_bytes(&was)));
}

static void test_not_mounted(void **state)
{
	struct backup_rig *w = *state;

	not_mounted(w, "repository", w->config[SITE].backup_repository_dir);
	not_mounted(w, "drop", w->config[SITE].backup_drop_dir);
}

static void test_mount_count(void **state)
{
	(void)state;
	assert_int_equal(backup_mount_count("/"), 0);
	assert_int_equal(backup_mount_count("/nowhere/at/all"), 0);
	assert_true(backup_mount_count("/proc/self") > 0);
	assert_int_equal(
		backup_mount_count("/proc/self/nowhere/at/all"), backup_mount_count("/proc/self"));
}

/* What is damaged, or of another repository, says nothing. */
static void test_mount_file(void **state)
{
	_cleanup_(x_freep) char *dir = scratch_new("mount");
	_cleanup_(x_freep) char *file = x_asprintf("%s/repository-mount", dir);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	const struct backup_mount mount = {dir, "repository", dir}, drop = {dir, "drop", dir},
				  other = {dir, "repository", "/proc"};

	(void)state;
	assert_int_equal(backup_mount_check(&mount, NULL), 0);
	backup_mount_encode(dir, 200, &bytes);
	assert_int_equal(bytes.len, BACKUP_MOUNT_BYTES);
	for (size_t i = 0; i <= bytes.len; i++) {
		if (i < bytes.len) {
			bytes.data[i] ^= 1;
		}
		assert_int_equal(file_write(file, buf_bytes(&bytes), 0600, NULL), 0);
		assert_int_equal(
			backup_mount_check(&mount, NULL), i < bytes.len ? 0 : KLUIS_ENOTFOUND);
		if (i < bytes.len) {
			bytes.data[i] ^= 1;
		}
	}
	assert_int_equal(backup_mount_check(&other, NULL), 0);
	assert_int_equal(backup_mount_check(&drop, NULL), 0);
	backup_mount_remember(&mount);
	assert_int_equal(backup_mount_check(&mount, NULL), 0);
	assert_int_equal(file_remove_tree(dir, NULL), 0);
}

static char *save_key(struct backup_rig *w, const char *name, const struct key *key)
{
	char *path = x_asprintf("%s/%s", w->rig.dir, name);

	assert_int_equal(backup_key_save(key, BACKUP_KEY_SEAL, path, NULL), 0);
	return path;
}

/* What a drill left that was cut off with the process before this one goes at the start; and a key
 * that does not open what is sealed from now on is said long before a drill needs it. */
static void test_drills(void **state)
{
	struct backup_rig *w = *state;
	struct config *c = &w->config[SITE];
	_cleanup_(x_freep) char *left = x_asprintf("%s/drill", c->data_dir);
	_cleanup_(x_freep) char *below = x_asprintf("%s/db", left);
	_cleanup_(key_freep) struct key *other = NULL;
	_cleanup_(x_freep) char *wrong = NULL, *right = NULL;

	assert_int_equal(key_generate(KEY_KEM_P256, 0, &other, NULL), 0);
	wrong = save_key(w, "wrong.key", other);
	right = save_key(w, "right.key", w->keys.keys[0]);
	backup_rig_close_job(w, SITE);
	assert_int_equal(file_make_dirs(below, 0700, NULL), 0);
	c->backup_drill_key_file = wrong;
	backup_rig_start_job(w, SITE);
	assert_false(file_exists(left));
	assert_non_null(strstr(copies_of(w).drill_text, "'drill_key': sealed to backup key "));
	c->backup_drill_key_old_file = right; /* One of two is enough. */
	assert_int_equal(backup_job_reload(w->job[SITE], NULL), 0);
	assert_string_equal(copies_of(w).drill_text, "");
	backup_rig_close_job(w, SITE);
	c->backup_drill_key_file = c->backup_drill_key_old_file = NULL;
	backup_rig_start_job(w, SITE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mount_count),
		cmocka_unit_test(test_mount_file),
		cmocka_unit_test(test_no_repository),
		cmocka_unit_test(test_no_drop),
		cmocka_unit_test(test_not_mounted),
		cmocka_unit_test(test_drills),
	};

	return cmocka_run_group_tests(tests, backup_rig_set_up, backup_rig_tear_down);
}
