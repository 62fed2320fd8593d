/* Drills of snapshots that three nodes took: restored into a scratch directory and booted, which
 * nothing that is damaged comes through. */
#include "tests/lib/test.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/keys.h"
#include "backup/proof.h"
#include "backup/repository.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/text.h"
#include "node/drill.h"
#include "tests/unit/node/lib/backup_rig.h"

static int drill(struct backup_rig *w, const struct snapshot_row *row,
	const struct backup_key_set *keys, struct drill_report *ret_report, struct err *e)
{
	_cleanup_(x_freep) char *scratch = x_asprintf("%s/drill", w->rig.dir);
	_cleanup_(backup_trust_release) struct backup_trust trust = {.n = 0};
	struct drill_config config = {.node_dir = w->rig.dir,
		.trust = &trust,
		.keys = keys,
		.manifest_hash = row->manifest_hash,
		.scratch = scratch};
	int rc;

	assert_int_equal(backup_job_trust(&w->config[1], &trust, NULL), 0);
	assert_int_equal(
		repository_open(w->config[1].backup_repository_dir, &config.repository, NULL), 0);
	rc = drill_run(&config, ret_report, e);
	repository_close(config.repository);
	assert_false(file_exists(scratch)); /* Whatever came of it. */
	return rc;
}

/* An account: rows that a restore leaves as they are. */
static void add_account(struct backup_rig *w, const char *name)
{
	struct command command = {.type = COMMAND_SERVICE_CREATE,
		.service_create = {.actor = bytes_str("operator"), .name = bytes_str(name)}};
	uint64_t number;

	memset(command.service_create.enrol_hash, name[0], 32);
	backup_rig_propose(w, &command, &number);
}

static struct journal_row journal_of(struct backup_rig *w)
{
	struct journal_row row;
	struct kv_view *view;
	struct kv *kv = NULL;

	assert_int_equal(replica_read_begin(w->rig.node[0], &kv), 0);
	view = kv_view_new(kv);
	assert_int_equal(journal_store_get(view, &row, NULL), 0);
	kv_view_free(view);
	replica_read_end(w->rig.node[0]);
	return row;
}

static void set_journal(struct backup_rig *w, uint64_t every_s)
{
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		w->config[i].backup_journal_s = every_s;
	}
}

/* What was written behind a snapshot comes back with the minute's increment, in a node that boots.
 */
static void test_drill_of_a_minute(void **state)
{
	struct backup_rig *w = *state;
	struct snapshot_row row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 2, false));
	struct journal_row journal = {0};
	struct drill_report whole, minute;
	struct err e = {0};

	assert_int_equal(drill(w, &row, &w->keys, &whole, &e), 0);
	add_account(w, "minute");
	set_journal(w, 1);
	for (unsigned waited = 0; journal.base_id != row.id || !proof_minute(&journal, &row, 2);
		waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
		journal = journal_of(w);
	}
	set_journal(w, 0);
	memcpy(row.manifest_hash, journal.confirmed_hash, HASH_BYTES);
	assert_int_equal(drill(w, &row, &w->keys, &minute, &e), 0);
	assert_true(minute.index == journal.confirmed_index && minute.index > whole.index);
	assert_true(minute.compared > whole.compared && minute.snapshots > whole.snapshots);
}

/* A directory with something in it is not the drill's to remove, unless it is known to be one of an
 * earlier drill. */
static void test_drill_beside_files(void **state)
{
	struct backup_rig *w = *state;
	struct snapshot_row row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	_cleanup_(x_freep) char *scratch = x_asprintf("%s/mine", w->rig.dir);
	_cleanup_(x_freep) char *file = x_asprintf("%s/mine/file", w->rig.dir);
	_cleanup_(backup_trust_release) struct backup_trust trust = {.n = 0};
	struct drill_config config = {.node_dir = w->rig.dir,
		.trust = &trust,
		.keys = &w->keys,
		.manifest_hash = row.manifest_hash,
		.scratch = scratch};
	struct drill_report report;

	assert_int_equal(backup_job_trust(&w->config[1], &trust, NULL), 0);
	assert_int_equal(
		repository_open(w->config[1].backup_repository_dir, &config.repository, NULL), 0);
	assert_int_equal(mkdir(scratch, 0700), 0);
	assert_int_equal(file_write(file, bytes_str("mine"), 0600, NULL), 0);
	assert_int_equal(drill_run(&config, &report, NULL), KLUIS_EEXIST);
	assert_true(file_exists(file));
	config.leftover = true;
	assert_int_equal(drill_run(&config, &report, NULL), 0);
	assert_false(file_exists(scratch));
	repository_close(config.repository);
}

/* Of a drill that was killed, in a directory that an operator named: the next one removes that, but
 * not with an operator's file beside it. */
static void test_drill_behind_a_killed_one(void **state)
{
	struct backup_rig *w = *state;
	struct snapshot_row row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	_cleanup_(x_freep) char *scratch = x_asprintf("%s/killed", w->rig.dir);
	_cleanup_(x_freep) char *left = x_asprintf("%s/kluis-drill/db", scratch);
	_cleanup_(x_freep) char *file = x_asprintf("%s/file", scratch);
	_cleanup_(backup_trust_release) struct backup_trust trust = {.n = 0};
	struct drill_config config = {.node_dir = w->rig.dir,
		.trust = &trust,
		.keys = &w->keys,
		.manifest_hash = row.manifest_hash,
		.scratch = scratch};
	struct drill_report report;

	assert_int_equal(backup_job_trust(&w->config[1], &trust, NULL), 0);
	assert_int_equal(
		repository_open(w->config[1].backup_repository_dir, &config.repository, NULL), 0);
	assert_int_equal(file_make_dirs(left, 0700, NULL), 0);
	assert_int_equal(file_write(file, bytes_str("mine"), 0600, NULL), 0);
	assert_int_equal(drill_run(&config, &report, NULL), KLUIS_EEXIST);
	assert_true(file_exists(left) && file_exists(file));
	assert_int_equal(unlink(file), 0);
	assert_int_equal(drill_run(&config, &report, NULL), 0);
	assert_false(file_exists(scratch));
	repository_close(config.repository);
}

/* A signal ends it: nothing is left, and nothing is said of the snapshot. At its pace it would take
 * hours. */
static void test_drill_stopped(void **state)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	struct backup_rig *w = *state;
	struct snapshot_row row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	_cleanup_(x_freep) char *scratch = x_asprintf("%s/stopped", w->rig.dir);
	_cleanup_(backup_trust_release) struct backup_trust trust = {.n = 0};
	struct drill_config config = {.trust = &trust,
		.keys = &w->keys,
		.manifest_hash = row.manifest_hash,
		.scratch = scratch,
		.node_dir = w->rig.dir,
		.node_runs = true,
		.busy_bytes_per_second = 1};
	struct drill_report report;

	assert_int_equal(backup_job_trust(&w->config[1], &trust, NULL), 0);
	assert_int_equal(
		repository_open(w->config[1].backup_repository_dir, &config.repository, NULL), 0);
	config.cancel = drill_stop_by_signals();
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		assert_int_equal(raise(numbers[i]), 0);
		assert_int_equal(drill_run(&config, &report, NULL), KLUIS_ECLOSED);
		assert_false(file_exists(scratch));
		assert_true(signal(numbers[i], SIG_DFL) != SIG_ERR);
	}
	repository_close(config.repository);
}

/* A second drill at the same directory: of the process that has the lock nothing is taken. */
static void test_two_drills(void **state)
{
	struct backup_rig *w = *state;
	struct snapshot_row row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	_cleanup_(x_freep) char *scratch = x_asprintf("%s/two", w->rig.dir);
	_cleanup_(x_freep) char *file = x_asprintf("%s/two/file", w->rig.dir);
	_cleanup_(x_freep) char *who = x_asprintf("process %d works in", (int)getpid());
	_cleanup_(backup_trust_release) struct backup_trust trust = {.n = 0};
	struct drill_config config = {.trust = &trust,
		.keys = &w->keys,
		.manifest_hash = row.manifest_hash,
		.scratch = scratch,
		.node_dir = w->rig.dir,
		.leftover = true};
	struct drill_report report;
	struct err e = {0};
	int fd = -1;

	assert_int_equal(backup_job_trust(&w->config[1], &trust, NULL), 0);
	assert_int_equal(
		repository_open(w->config[1].backup_repository_dir, &config.repository, NULL), 0);
	assert_int_equal(mkdir(scratch, 0700), 0);
	assert_int_equal(lock_dir(scratch, &fd, NULL), 0); /* As a drill that works there. */
	assert_int_equal(file_write(file, bytes_str("its store"), 0600, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		config.leftover = i == 0;
		assert_int_equal(drill_run(&config, &report, &e), KLUIS_EBUSY);
		assert_non_null(strstr(e.text, "another drill"));
		assert_non_null(strstr(e.text, who));
	}
	assert_int_equal(drill_sweep(scratch, NULL), KLUIS_EBUSY);
	assert_true(file_exists(file));
	assert_int_equal(close(fd), 0); /* It was killed. */
	config.leftover = true;
	assert_int_equal(drill_run(&config, &report, NULL), 0);
	assert_false(file_exists(scratch));
	assert_int_equal(drill_sweep(scratch, NULL), 0);
	repository_close(config.repository);
}

/* While the site's node runs, a drill takes as long as its bytes may take: by the node's lock, or
 * by what it was told. */
static void test_drill_beside_its_node(void **state)
{
	enum { SECONDS_MIN = 2 };
	struct backup_rig *w = *state;
	struct snapshot_row row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, true));
	_cleanup_(x_freep) char *scratch = x_asprintf("%s/slow", w->rig.dir);
	_cleanup_(backup_trust_release) struct backup_trust trust = {.n = 0};
	struct drill_config config = {.trust = &trust,
		.keys = &w->keys,
		.manifest_hash = row.manifest_hash,
		.scratch = scratch,
		.node_dir = w->config[1].data_dir,
		.leftover = true};
	struct drill_report report;

	assert_int_equal(backup_job_trust(&w->config[1], &trust, NULL), 0);
	assert_int_equal(
		repository_open(w->config[1].backup_repository_dir, &config.repository, NULL), 0);
	assert_int_equal(drill_run(&config, &report, NULL), 0);
	config.busy_bytes_per_second = report.bytes / SECONDS_MIN; /* Read once more to compare. */
	assert_int_equal(drill_run(&config, &report, NULL), 0);
	assert_true(report.ms >= SECONDS_MIN * 1000 / 2);
	config.node_dir = w->rig.dir; /* Nobody has a lock there. */
	config.node_runs = true;
	assert_int_equal(drill_run(&config, &report, NULL), 0);
	assert_true(report.ms >= SECONDS_MIN * 1000 / 2);
	repository_close(config.repository);
}

/* By the file, or as one that is missing. */
static void assert_drill_fails(
	struct backup_rig *w, const struct snapshot_row *row, const char *path, bool there)
{
	const char *name = path + strlen(path) - HEX_LEN(HASH_BYTES);
	struct drill_report report;
	struct err e = {0};
	char named[17];
	int rc = drill(w, row, &w->keys, &report, &e);

	(void)snprintf(named, sizeof named, "%s", name); /* Cut: what messages show of it. */
	if ((rc != KLUIS_EVERIFY && rc != KLUIS_ECORRUPT && (there || rc != KLUIS_ENOTFOUND)) ||
		(strstr(e.text, named) == NULL && (there || strstr(e.text, "missing") == NULL))) {
		fail_msg("'%s': %s: %s", path, err_name(rc), e.text);
	}
}

/* A file of the chain with one byte changed, cut, or gone; takes path. */
static void drill_damage(struct backup_rig *w, const struct snapshot_row *row, char *path)
{
	_cleanup_(buf_release) struct buf good = BUF_INIT, bad = BUF_INIT;

	assert_int_equal(file_read(path, 1 << 28, &good, NULL), 0);
	buf_append_bytes(&bad, buf_bytes(&good));
	bad.data[bad.len / 2] ^= 1;
	assert_int_equal(file_write(path, buf_bytes(&bad), 0600, NULL), 0);
	assert_drill_fails(w, row, path, true);
	assert_int_equal(file_write(path, bytes_of(good.data, good.len - 1), 0600, NULL), 0);
	assert_drill_fails(w, row, path, true);
	assert_int_equal(unlink(path), 0);
	assert_drill_fails(w, row, path, false);
	assert_int_equal(file_write(path, buf_bytes(&good), 0600, NULL), 0);
	free(path);
}

/* What node 1 takes from now on is sealed to it. */
static void another_key(struct backup_rig *w)
{
	const char *path = w->config[0].backup_public_key_file;
	struct err e = {0};

	assert_int_equal(key_generate(KEY_KEM_X25519, 0, &w->keys.keys[1], NULL), 0);
	w->keys.n = 2;
	assert_int_equal(unlink(path), 0);
	assert_int_equal(
		backup_key_save_public(key_public(w->keys.keys[1]), BACKUP_KEY_SEAL, path, NULL),
		0);
	assert_int_equal(backup_job_reload(w->job[0], &e), 0);
}

/* The chain, sealed to two keys, is restored and booted, and has every row; without one of the
 * keys, or with a file of it damaged, it does not come that far. */
static void test_drill(void **state)
{
	struct backup_rig *w = *state;
	struct snapshot_row row, base;
	struct backup_key_set one = {.n = 1};
	struct drill_report report;
	struct err e = {0};

	add_account(w, "alpha");
	(void)backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	another_key(w);
	add_account(w, "beta");
	row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	if (drill(w, &row, &w->keys, &report, &e) != 0) {
		fail_msg("%s", e.text);
	}
	assert_true(report.id == row.id && report.index == row.index && report.snapshots > 1);
	assert_true(report.compared > 0 && report.compared < report.rows && report.bytes > 0);
	one.keys[0] = w->keys.keys[1];
	assert_int_equal(drill(w, &row, &one, &report, &e), KLUIS_EFORBIDDEN);
	base = backup_rig_row(w, row.base_id);
	backup_rig_close_job(w, 1); /* It would mend its copies. */
	drill_damage(w, &row, backup_rig_manifest_path(w, 1, &row));
	drill_damage(w, &row, backup_rig_object_path(w, 1, &row));
	drill_damage(w, &row, backup_rig_manifest_path(w, 1, &base));
	drill_damage(w, &row, backup_rig_object_path(w, 1, &base));
	assert_int_equal(drill(w, &row, &w->keys, &report, &e), 0);
	backup_rig_start_job(w, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drill),
		cmocka_unit_test(test_drill_of_a_minute),
		cmocka_unit_test(test_drill_beside_files),
		cmocka_unit_test(test_drill_behind_a_killed_one),
		cmocka_unit_test(test_two_drills),
		cmocka_unit_test(test_drill_beside_its_node),
		cmocka_unit_test(test_drill_stopped),
	};

	return cmocka_run_group_tests(tests, backup_rig_set_up, backup_rig_tear_down);
}
