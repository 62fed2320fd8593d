/* What of a drop is told at once: a manifest that its writer has closed, and nothing else. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "node/backup_parts.h"

enum { LATER_MS = 3600 * 1000 };

struct world {
	struct config config;
	struct backup_job *job;
	char *dir;
	char *drop[2];
};

static int set_up(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	*state = w;
	w->dir = scratch_new("arrivals");
	w->job = x_calloc(1, sizeof *w->job);
	w->job->config = &w->config;
	backup_arrivals_open(&w->job->arrivals);
	for (unsigned i = 0; i < 2; i++) {
		w->drop[i] = x_asprintf("%s/%u", w->dir, i);
		assert_int_equal(mkdir(w->drop[i], 0700), 0);
		w->job->intake[i].watch = backup_arrivals_add(&w->job->arrivals, w->drop[i]);
		assert_true(w->job->intake[i].watch >= 0);
		w->job->intake[i].job = w->job;
		w->job->intake[i].next_ms = backup_job_now() + LATER_MS;
	}
	w->job->n_intakes = 2;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	backup_arrivals_release(&w->job->arrivals);
	assert_int_equal(file_remove_tree(w->dir, NULL), 0);
	free(w->drop[0]);
	free(w->drop[1]);
	free(w->dir);
	free(w->job);
	free(w);
	return 0;
}

static char *in_drop(struct world *w, unsigned drop, char kind, unsigned number)
{
	return x_asprintf("%s/%c-%064x.%u", w->drop[drop], kind, number, number % 10);
}

/* As an SFTP server does it. */
static void put(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(close(fd), 0);
}

static bool hurries(const struct world *w, unsigned drop)
{
	return w->job->intake[drop].next_ms < backup_job_now() + LATER_MS / 2;
}

static void test_a_manifest(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *path = in_drop(w, 1, 'm', 7);

	assert_false(backup_arrivals_look(w->job));
	put(path);
	assert_true(backup_arrivals_look(w->job));
	assert_false(hurries(w, 0));
	assert_true(hurries(w, 1));
	assert_false(backup_arrivals_look(w->job)); /* Told once. */
}

/* Half a manifest is none: its writer has it open. */
static void test_half_a_manifest(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *path = in_drop(w, 0, 'm', 7);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "KBM1", 4), 4);
	assert_false(backup_arrivals_look(w->job));
	assert_int_equal(close(fd), 0);
	assert_true(backup_arrivals_look(w->job));
}

/* Objects, names that are none, links, directories, what is moved or only read. */
static void test_what_is_none(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *object = in_drop(w, 0, 'o', 7);
	_cleanup_(x_freep) char *manifest = in_drop(w, 0, 'm', 8);
	_cleanup_(x_freep) char *link = in_drop(w, 0, 'm', 9);
	_cleanup_(x_freep) char *below = in_drop(w, 0, 'm', 10);
	_cleanup_(x_freep) char *strange = x_asprintf("%s/m-7.0", w->drop[0]);
	_cleanup_(x_freep) char *beside = x_asprintf("%s/beside", w->dir);
	_cleanup_(x_freep) char *inside = x_asprintf("%s/inside", below);

	put(object);
	put(strange);
	put(beside);
	assert_int_equal(symlink(beside, link), 0);
	assert_int_equal(rename(beside, manifest), 0);
	assert_int_equal(mkdir(below, 0700), 0);
	put(inside);
	assert_int_equal(rename(manifest, object), 0);
	assert_int_equal(unlink(object), 0);
	assert_false(backup_arrivals_look(w->job));
	assert_false(hurries(w, 0));
}

/* More than one wake-up reads: what is left comes with the next ones, and then there is no more. */
static void test_many(void **state)
{
	enum { FILES = 1000, LOOKS_MAX = 100 };
	struct world *w = *state;
	unsigned looks = 0;

	for (unsigned i = 0; i < FILES; i++) {
		_cleanup_(x_freep) char *path = in_drop(w, 0, 'm', i);

		put(path);
	}
	while (backup_arrivals_look(w->job)) {
		assert_true(++looks < LOOKS_MAX);
	}
	assert_true(looks > 1);
}

/* A drop that goes away, or a kernel that refuses: the looks alone find what comes. */
static void test_no_watch(void **state)
{
	struct world *w = *state;
	struct backup_arrivals none = {.fd = -1};
	_cleanup_(x_freep) char *nowhere = x_asprintf("%s/nowhere", w->dir);

	assert_int_equal(backup_arrivals_add(&none, w->drop[0]), -1);
	assert_int_equal(backup_arrivals_add(&w->job->arrivals, nowhere), -1);
	assert_int_equal(rmdir(w->drop[0]), 0);
	assert_false(backup_arrivals_look(w->job));
	backup_arrivals_release(&none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_manifest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_half_a_manifest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_watch, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
