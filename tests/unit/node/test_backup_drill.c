/* A drill of the node's own: what its process says becomes the check that the log is told of, and
 * what says nothing of the snapshot does not. The process is this program, called as kluisd is. */
#include "tests/lib/test.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "node/backup_parts.h"
#include "tests/lib/loop.h"

struct world {
	uv_loop_t loop;
	struct config config;
	struct backup_job job;
	bool woken;
};

static void woken_cb(uv_async_t *async)
{
	((struct world *)async->loop->data)->woken = true;
}

/* With what a drill makes while it runs. */
static void world_open(struct world *w, const char *what)
{
	_cleanup_(x_freep) char *left = NULL;

	memset(w, 0, sizeof *w);
	assert_int_equal(uv_loop_init(&w->loop), 0);
	w->loop.data = w;
	assert_int_equal(uv_timer_init(&w->loop, &w->job.timer), 0);
	assert_int_equal(uv_async_init(&w->loop, &w->job.claimed, woken_cb), 0);
	(void)pthread_mutex_init(&w->job.lock, NULL);
	w->config.file = (char *)(uintptr_t)what;
	w->config.backup_drill_key_file = (char *)(uintptr_t) "the-key";
	w->config.data_dir = scratch_new("drill");
	left = x_asprintf("%s/drill/db", w->config.data_dir);
	assert_int_equal(file_make_dirs(left, 0700, NULL), 0);
	w->job.config = &w->config;
	memset(w->job.drill.hash, 0xcd, HASH_BYTES);
	memset(w->job.drill.point, 0xab, HASH_BYTES);
}

static bool is_over(void *data)
{
	return !((struct world *)data)->job.drill.running;
}

static bool has_begun(void *data)
{
	return ((struct world *)data)->job.drill.text_len > 0;
}

static bool is_woken(void *data)
{
	return ((struct world *)data)->woken;
}

static void world_close(struct world *w)
{
	uv_close((uv_handle_t *)&w->job.timer, NULL);
	uv_close((uv_handle_t *)&w->job.claimed, NULL);
	loop_end(&w->loop);
	(void)pthread_mutex_destroy(&w->job.lock);
	scratch_free(w->config.data_dir);
}

static bool is_left(const struct world *w)
{
	_cleanup_(x_freep) char *left = x_asprintf("%s/drill", w->config.data_dir);

	return file_exists(left);
}

/* Runs one to its end; what it found. */
static struct backup_found run(const char *what)
{
	struct backup_found found;
	struct world w;

	world_open(&w, what);
	backup_drill_start(&w.job);
	loop_until(&w.loop, is_over, &w, "the drill");
	assert_true(w.job.drill.next_ms >= backup_job_now() + PROOF_RETRY_MS / 2);
	found = w.job.watch.found[CHECK_LEVEL_DRILL - 1];
	assert_int_equal(w.job.drill.trouble[0] == 0, found.set);
	assert_int_equal(is_left(&w), strcmp(what, "killed") != 0); /* Else its own affair. */
	if (found.set) {
		loop_until(&w.loop, is_woken, &w, "a look at once");
	}
	world_close(&w);
	return found;
}

static void test_good(void **state)
{
	struct backup_found found = run("good");
	uint8_t hash[HASH_BYTES];

	(void)state;
	memset(hash, 0xcd, sizeof hash);
	assert_true(found.set && found.ok);
	assert_memory_equal(found.manifest_hash, hash, sizeof hash);
	assert_string_equal(found.text, "");
}

/* The last line says why; a long one is cut. */
static void test_bad(void **state)
{
	struct backup_found found = run("bad");

	(void)state;
	assert_true(found.set && !found.ok);
	assert_string_equal(found.text, "kluisd: restore: segment 7 of objects/ab/ab12...*");
	found = run("bad-long");
	assert_true(found.set && !found.ok);
	assert_int_equal(strlen(found.text), CHECK_TEXT_BYTES_MAX);
	found = run("bad-silent");
	assert_true(found.set && !found.ok);
}

static void test_says_nothing(void **state)
{
	(void)state;
	assert_false(run("no-key").set);
	assert_false(run("killed").set);
}

/* One that could not be made is made as soon as it can be, whosever turn it is by then. */
static void test_room_at_last(void **state)
{
	struct kv *kv = kv_memory_new();
	struct replica_status status = {.free_bytes = 1 << 20, .floor_bytes = 2 << 20};
	struct snapshot_row row = {.id = 7, .node = 3, .state = SNAPSHOT_CONFIRMED};
	struct world w;

	(void)state;
	memset(row.manifest_hash, 0xab, HASH_BYTES);
	status.cluster_now_ms = 1800000000000;
	world_open(&w, "good");
	w.config.id = 3;
	w.job.watch.known = true;
	w.job.watch.summary.n_nodes = 1;
	w.job.watch.summary.nodes[0] = (struct node_backup_row){.node = 3, .drills = true};
	backup_drill_look(&w.job, kv, &status, &row, 1);
	assert_non_null(strstr(w.job.drill.trouble, "no room for a second store: 1 MiB are free"));
	w.job.watch.summary.nodes[0].drills = false; /* Nobody's turn. */
	status.free_bytes = 1 << 30;
	backup_drill_look(&w.job, kv, &status, &row, 1);
	assert_false(w.job.drill.running); /* Not at once. */
	w.job.drill.next_ms = 0;
	backup_drill_look(&w.job, kv, &status, &row, 1);
	assert_true(w.job.drill.running);
	loop_until(&w.loop, is_over, &w, "the drill");
	assert_string_equal(w.job.drill.trouble, "");
	w.job.drill.next_ms = 0;
	backup_drill_look(&w.job, kv, &status, &row, 1);
	assert_false(w.job.drill.running);
	world_close(&w);
	kv_close(kv);
}

/* The key before this one, while a chain is sealed to both. */
static void test_two_keys(void **state)
{
	struct backup_found found;
	struct world w;

	(void)state;
	world_open(&w, "two");
	w.config.backup_drill_key_old_file = (char *)(uintptr_t) "the-old-key";
	backup_drill_start(&w.job);
	loop_until(&w.loop, is_over, &w, "the drill");
	found = w.job.watch.found[CHECK_LEVEL_DRILL - 1];
	assert_true(found.set && found.ok);
	world_close(&w);
}

/* What a journal increment's drill finds; by its end a cycle is confirmed up to `newest`. */
static struct backup_found run_minute(const char *what, uint64_t newest, bool *ret_overtaken)
{
	struct backup_found found;
	struct world w;

	world_open(&w, what);
	w.job.drill.minute = 77;
	w.job.watch.summary.newest.index = newest;
	backup_drill_start(&w.job);
	loop_until(&w.loop, is_over, &w, "the drill");
	*ret_overtaken = w.job.drill.overtaken;
	found = w.job.watch.found[CHECK_LEVEL_DRILL - 1];
	world_close(&w);
	return found;
}

/* One that is gone, since a later cycle was confirmed, is no copy that does not restore. */
static void test_minute(void **state)
{
	struct backup_found found;
	bool overtaken;

	(void)state;
	found = run_minute("bad", 76, &overtaken);
	assert_true(found.set && !found.ok && !overtaken);
	assert_non_null(strstr(found.text, "journal increment of index 77: kluisd: restore"));
	found = run_minute("bad", 77, &overtaken);
	assert_true(!found.set && overtaken);
	found = run_minute("good", 77, &overtaken);
	assert_true(found.set && found.ok && !overtaken);
}

static bool chosen(const struct world *w, uint8_t snapshot, uint8_t point, uint64_t minute)
{
	const struct backup_drill *drill = &w->job.drill;

	return drill->hash[0] == snapshot && drill->point[31] == point && drill->minute == minute;
}

/* The minutes that lie here belong to the snapshot's drill, but behind one that was overtaken. */
static void test_choice(void **state)
{
	struct snapshot_row row = {.id = 3, .index = 4};
	struct world w;

	(void)state;
	world_open(&w, "good");
	w.config.id = 2;
	memset(row.manifest_hash, 1, HASH_BYTES);
	backup_drill_choose(&w.job, &row);
	assert_true(chosen(&w, 1, 1, 0));
	w.job.journal.row = (struct journal_row){
		.base_id = 3, .number = 1, .confirmed = 1, .confirmed_index = 9, .node = 2};
	memset(w.job.journal.row.confirmed_hash, 2, HASH_BYTES);
	backup_drill_choose(&w.job, &row);
	assert_true(chosen(&w, 1, 2, 9));
	w.job.drill.overtaken = true;
	backup_drill_choose(&w.job, &row);
	assert_true(chosen(&w, 1, 1, 0));
	world_close(&w);
}

/* A node that stops does not wait for it, and learns nothing from its end. */
static void test_stopped(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, "slow");
	backup_drill_start(&w.job);
	loop_until(&w.loop, has_begun, &w, "its begin");
	w.job.closing = true;
	w.job.pruning = true; /* So that this job, which was never started, is not freed. */
	backup_drill_close(&w.job);
	loop_until(&w.loop, is_over, &w, "its end");
	assert_false(w.job.watch.found[CHECK_LEVEL_DRILL - 1].set);
	assert_false(is_left(&w)); /* Nobody else would remove it. */
	world_close(&w);
}

static bool has_words(int n, char **words, int from, const char *a, const char *b)
{
	return n > from + 1 && strcmp(words[from], a) == 0 && strcmp(words[from + 1], b) == 0;
}

/* As kluisd: `drill --config WHAT --snapshot HASH --key-file KEY --parent PID`. */
static int drill_main(int n, char **words)
{
	const char *what = words[3];
	char hash[65], parent[16];

	memset(hash, 0, sizeof hash);
	for (unsigned i = 0; i < 64; i++) {
		hash[i] = i % 2 == 0 ? 'a' : 'b';
	}
	(void)snprintf(parent, sizeof parent, "%d", (int)getppid());
	if (n < 10 || strcmp(words[2], "--config") != 0 ||
		!has_words(n, words, 4, "--snapshot", hash) ||
		!has_words(n, words, 6, "--key-file", "the-key") ||
		!has_words(n, words, 8, "--parent", parent) ||
		has_words(n, words, 10, "--key-file", "the-old-key") !=
			(strcmp(what, "two") == 0)) {
		(void)fprintf(stderr, "not as kluisd is called\n");
		return 14;
	}
	if (strncmp(what, "bad", 3) == 0) {
		if (strcmp(what, "bad-silent") != 0) {
			(void)fprintf(stderr, "<4>op=drill msg=\"a warning\"\n");
			(void)fprintf(stderr,
				"kluisd: restore: segment 7 of objects/ab/ab12...*%s\n",
				strcmp(what, "bad-long") == 0
					? "................................................."
					  "................................................."
					  "................................................."
					  "................................................."
					: "");
		}
		return 14;
	}
	if (strcmp(what, "killed") == 0) {
		(void)raise(SIGKILL);
	}
	if (strcmp(what, "slow") == 0) {
		(void)fprintf(stderr, "begun\n");
		(void)pause(); /* Until it is killed. */
	}
	return strcmp(what, "no-key") == 0 ? 13 : 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_says_nothing),
		cmocka_unit_test(test_room_at_last),
		cmocka_unit_test(test_two_keys),
		cmocka_unit_test(test_minute),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_stopped),
	};

	if (argc > 3 && strcmp(argv[1], "drill") == 0) {
		return drill_main(argc, argv);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
