#include "tests/lib/test.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "raft/fail_stop.h"
#include "tests/unit/raft/lib/log_rig.h"

enum { SMALL_SEGMENT = 16 * 1024 };

static void rig_open(struct log_rig *rig, const char *dir)
{
	struct err e = {0};

	if (log_rig_open(rig, dir, SMALL_SEGMENT, &e) != 0) {
		fail_msg("%s", e.text);
	}
}

static void check_entries(
	struct log_rig *rig, uint64_t first, unsigned n, uint64_t term, size_t len)
{
	for (uint64_t at = first; at < first + n;) {
		struct entry **entries;
		unsigned got;

		assert_int_equal(
			log_rig_read(rig, at, (unsigned)(first + n - at), &entries, &got), 0);
		assert_true(got > 0);
		for (unsigned i = 0; i < got; i++) {
			assert_true(log_rig_entry_good(entries[i], at + i, term, len));
			assert_int_equal(entry_log_term(rig->log, at + i), term);
			entry_unref(entries[i]);
		}
		free(entries);
		at += got;
	}
}

static unsigned count_files(const char *dir, const char *prefix)
{
	DIR *d = opendir(dir);
	struct dirent *found;
	unsigned n = 0;

	assert_non_null(d);
	while ((found = readdir(d)) != NULL) {
		n += strncmp(found->d_name, prefix, strlen(prefix)) == 0;
	}
	(void)closedir(d);
	return n;
}

static void test_new_log_is_empty(void **state)
{
	char *dir = scratch_new("log");
	struct log_rig rig;

	(void)state;
	for (int i = 0; i < 2; i++) {
		rig_open(&rig, dir);
		assert_int_equal(entry_log_first(rig.log), 1);
		assert_int_equal(entry_log_last(rig.log), 0);
		assert_int_equal(entry_log_snapshot(rig.log).len, 0);
		log_rig_close(&rig);
	}
	scratch_free(dir);
}

static void test_entries_survive_a_restart(void **state)
{
	char *dir = scratch_new("log");
	struct log_rig rig;

	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		rig_open(&rig, dir);
		assert_int_equal(entry_log_last(rig.log), round * 7);
		check_entries(&rig, 1, round * 7, 3, 700);
		log_rig_append(&rig, round * 7 + 1, 7, 3, 700);
		if (round % 2 == 0) {
			check_entries(&rig, 1, round * 7 + 7, 3, 700); /* Not written yet, too. */
		}
		log_rig_wait(&rig);
		log_rig_close(&rig);
	}
	assert_true(count_files(dir, "segment-") > 4);
	scratch_free(dir);
}

static void test_sizes_around_staging(void **state)
{
	static const size_t sizes[] = {0, 1, 7, 8, 9, 2047, 2048, 2049, 4096, 65536, 1 << 20};
	char *dir = scratch_new("log");
	struct log_rig rig;
	struct err e = {0};

	(void)state;
	assert_int_equal(log_rig_open(&rig, dir, 0, &e), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		log_rig_append(&rig, 1 + i, 1, 1, sizes[i]);
	}
	log_rig_wait(&rig);
	log_rig_close(&rig);
	assert_int_equal(log_rig_open(&rig, dir, 0, &e), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		check_entries(&rig, 1 + i, 1, 1, sizes[i]);
	}
	log_rig_close(&rig);
	scratch_free(dir);
}

static void test_truncate_then_append(void **state)
{
	char *dir = scratch_new("log");
	struct log_rig rig;

	(void)state;
	rig_open(&rig, dir);
	/* All in one group commit, and again each on its own. */
	for (unsigned waits = 0; waits < 2; waits++) {
		uint64_t term = 1 + waits * 10;

		for (unsigned i = 0; i < 5; i++) {
			log_rig_append(&rig, 1 + i * 3, 10, term + i, 600);
			if (waits) {
				log_rig_wait(&rig);
			}
		}
		log_rig_wait(&rig);
		assert_int_equal(entry_log_last(rig.log), 22);
		for (unsigned i = 0; i < 4; i++) {
			check_entries(&rig, 1 + i * 3, 3, term + i, 600);
		}
		check_entries(&rig, 13, 10, term + 4, 600);
		log_rig_close(&rig);
		rig_open(&rig, dir);
		assert_int_equal(entry_log_last(rig.log), 22);
		check_entries(&rig, 10, 3, term + 3, 600);
		check_entries(&rig, 13, 10, term + 4, 600);
	}
	log_rig_close(&rig);
	scratch_free(dir);
}

static void test_segments_are_recycled_and_filled_once(void **state)
{
	char *dir = scratch_new("log");
	uint64_t last = 0, fills = 0;
	struct log_rig rig;

	(void)state;
	fault_arm("log.prepare", UINT64_MAX, false);
	rig_open(&rig, dir);
	for (unsigned round = 0; round < 200; round++) {
		log_rig_append(&rig, last + 1, 5, 1, 900);
		log_rig_wait(&rig);
		last += 5;
		entry_log_trim(rig.log, last - 2, bytes_str("snapshot"));
		if (round == 50) {
			fills = fault_hits();
		}
	}
	/* 60 segments were used after round 50: nothing was filled for them. */
	assert_true(fault_hits() <= fills + 2);
	assert_true(entry_log_first(rig.log) > last - 40);
	check_entries(&rig, entry_log_first(rig.log),
		(unsigned)(last + 1 - entry_log_first(rig.log)), 1, 900);
	log_rig_close(&rig);
	fault_disarm();
	assert_true(count_files(dir, "segment-") + count_files(dir, "free-") <= 12);
	rig_open(&rig, dir);
	assert_int_equal(entry_log_last(rig.log), last);
	assert_true(bytes_equal(entry_log_snapshot(rig.log), bytes_str("snapshot")));
	check_entries(&rig, entry_log_first(rig.log),
		(unsigned)(last + 1 - entry_log_first(rig.log)), 1, 900);
	log_rig_close(&rig);
	scratch_free(dir);
}

static void test_reset_begins_anew(void **state)
{
	char *dir = scratch_new("log");
	struct log_rig rig;

	(void)state;
	rig_open(&rig, dir);
	log_rig_append(&rig, 1, 40, 1, 900);
	entry_log_reset(rig.log, ++rig.seq, 1001, bytes_str("at 1000"));
	assert_int_equal(entry_log_first(rig.log), 1001);
	assert_int_equal(entry_log_last(rig.log), 1000);
	log_rig_append(&rig, 1001, 3, 2, 100);
	log_rig_wait(&rig);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(entry_log_first(rig.log), 1001);
		assert_int_equal(entry_log_last(rig.log), 1003);
		assert_true(bytes_equal(entry_log_snapshot(rig.log), bytes_str("at 1000")));
		check_entries(&rig, 1001, 3, 2, 100);
		log_rig_close(&rig);
		rig_open(&rig, dir);
	}
	log_rig_close(&rig);
	assert_int_equal(count_files(dir, "segment-"), 1);
	scratch_free(dir);
}

static void test_truncation_across_a_cut_front(void **state)
{
	char *dir = scratch_new("log");
	struct log_rig rig;

	(void)state;
	/* The second segment begins by voiding entries of the first; then the first goes. */
	rig_open(&rig, dir);
	log_rig_append(&rig, 1, 14, 1, 1000);
	log_rig_wait(&rig);
	log_rig_append(&rig, 9, 30, 2, 1000);
	log_rig_wait(&rig);
	entry_log_trim(rig.log, 25, bytes_str("s"));
	log_rig_close(&rig);
	rig_open(&rig, dir);
	assert_true(entry_log_first(rig.log) > 1 && entry_log_first(rig.log) <= 26);
	assert_int_equal(entry_log_last(rig.log), 38);
	check_entries(&rig, 26, 13, 2, 1000);
	log_rig_close(&rig);
	scratch_free(dir);
}

static void test_read_of_what_is_gone(void **state)
{
	char *dir = scratch_new("log");
	struct entry **entries;
	struct log_rig rig;
	unsigned n;

	(void)state;
	rig_open(&rig, dir);
	assert_int_equal(log_rig_read(&rig, 1, 1, &entries, &n), KLUIS_ENOTFOUND);
	free(entries);
	log_rig_append(&rig, 1, 60, 1, 900);
	log_rig_wait(&rig);
	entry_log_trim(rig.log, 50, bytes_str("s"));
	assert_int_equal(log_rig_read(&rig, 1, 1, &entries, &n), KLUIS_ENOTFOUND);
	free(entries);
	assert_int_equal(log_rig_read(&rig, 61, 1, &entries, &n), KLUIS_ENOTFOUND);
	free(entries);
	log_rig_close(&rig);
	scratch_free(dir);
}

static void test_one_process_at_a_time(void **state)
{
	char *dir = scratch_new("log");
	struct log_rig one, two;
	struct err e = {0};

	(void)state;
	rig_open(&one, dir);
	assert_int_equal(log_rig_open(&two, dir, SMALL_SEGMENT, &e), KLUIS_EBUSY);
	assert_non_null(strstr(e.text, dir));
	log_rig_close(&one);
	rig_open(&two, dir);
	log_rig_close(&two);
	scratch_free(dir);
}

/* --- against a model --- */

enum { MODEL_MAX = 4000 };
struct model {
	uint64_t first, last; /* first: what may be asked for at least. */
	uint64_t term[MODEL_MAX];
	size_t len[MODEL_MAX];
};

static void model_check(struct log_rig *rig, const struct model *m)
{
	assert_true(entry_log_first(rig->log) <= m->first);
	assert_int_equal(entry_log_last(rig->log), m->last);
	for (uint64_t i = m->first; i <= m->last; i++) {
		struct entry *entry = NULL;

		assert_int_equal(entry_log_term(rig->log, i), m->term[i]);
		assert_int_equal(entry_log_load(rig->log, i, &entry, NULL), 0);
		assert_true(log_rig_entry_good(entry, i, m->term[i], m->len[i]));
		entry_unref(entry);
	}
}

static void model_append(struct log_rig *rig, struct model *m, struct random *r, uint64_t *term)
{
	unsigned n = 1 + (unsigned)random_below(r, 12);
	size_t len = (size_t)random_below(r, random_below(r, 4) == 0 ? 6000 : 300);
	uint64_t at = m->last + 1;

	if (random_below(r, 6) == 0 && m->last >= m->first) {
		at -= random_below(r, m->last - m->first + 1);
		(*term)++;
	}
	log_rig_append(rig, at, n, *term, len);
	for (unsigned i = 0; i < n; i++) {
		m->term[at + i] = *term;
		m->len[at + i] = len;
	}
	m->last = at + n - 1;
}

static void model_step(
	struct log_rig *rig, struct model *m, struct random *r, uint64_t *term, const char *dir)
{
	switch (random_below(r, 12)) {
	case 0:
		log_rig_close(rig);
		rig_open(rig, dir);
		model_check(rig, m);
		return;
	case 1:
		if (m->last >= m->first && random_below(r, 3) == 0) {
			m->first += random_below(r, m->last - m->first + 1);
			entry_log_trim(rig->log, m->first - 1, bytes_str("trim"));
		}
		return;
	case 2:
		if (random_below(r, 10) == 0) {
			m->first = m->last + 1 + random_below(r, 5);
			m->last = m->first - 1;
			entry_log_reset(rig->log, ++rig->seq, m->first, bytes_str("reset"));
		}
		return;
	case 3:
		log_rig_wait(rig);
		return;
	default:
		model_append(rig, m, r, term);
		return;
	}
}

static void test_random_work_against_a_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++) {
		char *dir = scratch_new("log");
		struct model *m = x_calloc(1, sizeof *m);
		struct random_seeded seeded;
		struct log_rig rig;
		uint64_t term = 1;

		print_message("seed %u\n", (unsigned)seed);
		random_seeded_init(&seeded, seed);
		m->first = 1;
		rig_open(&rig, dir);
		for (unsigned i = 0; i < 220 && m->last < MODEL_MAX - 40; i++) {
			model_step(&rig, m, &seeded.random, &term, dir);
		}
		model_check(&rig, m);
		log_rig_close(&rig);
		free(m);
		scratch_free(dir);
	}
}

/* --- failures end the process, and nothing acknowledged is lost --- */

/* In the child: writes, and tells through fd what was acknowledged: {last index, its term}. */
static void faulty_work(const char *dir, int fd)
{
	struct log_rig rig;
	struct err e = {0};
	uint64_t last = 0;

	if (log_rig_open(&rig, dir, SMALL_SEGMENT, &e) != 0) {
		_exit(FAIL_STOP_EXIT_CODE); /* It did not start: as good. */
	}
	for (uint64_t round = 1; round <= 24; round++) {
		uint64_t from = round % 5 == 0 ? last - 2 : last + 1, told[2];

		log_rig_append(&rig, from, 5, round, 700);
		log_rig_wait(&rig);
		last = from + 4;
		told[0] = last;
		told[1] = round;
		if (write(fd, told, sizeof told) != (ssize_t)sizeof told) {
			_exit(1);
		}
		if (round % 8 == 0) {
			entry_log_trim(rig.log, last - 6, bytes_str("s"));
		}
	}
	log_rig_close(&rig);
	_exit(0);
}

/* Returns the child's exit code; *ret_told: the last it acknowledged. */
static int faulty_run(const char *dir, const char *prefix, uint64_t nth, uint64_t ret_told[2])
{
	uint64_t told[2];
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		(void)close(fds[0]);
		log_set_level((enum log_level)0);
		fault_arm(prefix, nth, true);
		faulty_work(dir, fds[1]);
	}
	(void)close(fds[1]);
	ret_told[0] = ret_told[1] = 0;
	while (read(fds[0], told, sizeof told) == (ssize_t)sizeof told) {
		memcpy(ret_told, told, sizeof told);
	}
	(void)close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* What was acknowledged is there, but for what the next, unfinished round had begun to void. */
static void faulty_check(const char *dir, const uint64_t told[2])
{
	bool voids = (told[1] + 1) % 5 == 0;
	uint64_t safe = voids ? told[0] - 3 : told[0];
	struct log_rig rig;

	rig_open(&rig, dir);
	assert_true(entry_log_last(rig.log) >= safe);
	assert_true(entry_log_vote_term(rig.log) >= told[1]);
	for (uint64_t at = safe - 1; at <= safe; at++) {
		assert_int_equal(entry_log_term(rig.log, at), told[1]);
		check_entries(&rig, at, 1, told[1], 700);
	}
	log_rig_close(&rig);
}

static void fail_each(const char *prefix, unsigned at_least)
{
	uint64_t nth, told[2];
	int code = FAIL_STOP_EXIT_CODE;

	for (nth = 1; code != 0; nth++) {
		char *dir = scratch_new("log");

		code = faulty_run(dir, prefix, nth, told);
		assert_true(code == 0 || code == FAIL_STOP_EXIT_CODE);
		if (told[0] > 0) {
			faulty_check(dir, told);
		}
		scratch_free(dir);
	}
	assert_true(nth > at_least);
}

static void test_every_failing_call_stops_the_node(void **state)
{
	(void)state;
	fail_each("log.write", 20);
	fail_each("log.sync", 20);
	fail_each("log.head", 6);
	fail_each("log.rename", 6);
	fail_each("log.prepare", 2);
	fail_each("slot.", 40);
	fail_each("file.", 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_log_is_empty),
		cmocka_unit_test(test_entries_survive_a_restart),
		cmocka_unit_test(test_sizes_around_staging),
		cmocka_unit_test(test_truncate_then_append),
		cmocka_unit_test(test_segments_are_recycled_and_filled_once),
		cmocka_unit_test(test_reset_begins_anew),
		cmocka_unit_test(test_truncation_across_a_cut_front),
		cmocka_unit_test(test_read_of_what_is_gone),
		cmocka_unit_test(test_one_process_at_a_time),
		cmocka_unit_test(test_random_work_against_a_model),
		cmocka_unit_test(test_every_failing_call_stops_the_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
