/* kluisctl backup drill, with a program in kluisd's place and a node's real API: to whom a drill is
 * credited, and how it is stopped. */
#include "tests/lib/api/node.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backup/deletions.h"
#include "base/file.h"
#include "base/text.h"
#include "storage/row.h"
#include "tests/lib/capture.h"
#include "tests/lib/fixture/person.h"
#include "tests/lib/test.h"
#include "tests/unit/backup/lib/site.h"

/* Of cli/ops/ops.h, whose struct command is another one than the state machine's. */
struct program;
extern const struct program ops_program;
int program_run(const struct program *program, int argc, char **argv);

enum { GOOD = 0, BAD = 14, NO_NODE = 13, TEXT_BYTES = 16384, WAIT_MS = 20000 };

struct world {
	struct backup_sites sites;
	struct backup_model model;
	uint8_t hash[HASH_BYTES];
	struct api_node node; /* It is node 1. */
	char text[TEXT_BYTES];
};

static char *path_of(const struct world *w, const char *name)
{
	return x_asprintf("%s/%s", w->sites.dir, name);
}

/* Settings of this node with this repository of its own. */
static void put_settings(struct world *w, unsigned node, const char *repository)
{
	_cleanup_(x_freep) char *path = path_of(w, "kluisd.ini");
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	buf_printf(&text, "[node]\nid = %u\ndata = data\n[cluster]\nid = ", node);
	hex_append(&text, bytes_of(w->sites.cluster_id, ID_BYTES));
	buf_printf(&text, "\n[backup]\nrepository = %s\n", repository);
	for (unsigned i = 0; i < w->sites.trust.n; i++) {
		buf_printf(&text, "[site %s]\nid = %u\nbackup_key = ", w->sites.trust.nodes[i].site,
			(unsigned)w->sites.trust.nodes[i].node);
		hex_append(&text, key_pub_bytes(w->sites.trust.nodes[i].pub));
		buf_put_str(&text, "\n");
	}
	assert_int_equal(file_write(path, buf_bytes(&text), 0600, NULL), 0);
}

/* What stands in kluisd's place does this. */
static void put_program(struct world *w, const char *what)
{
	_cleanup_(x_freep) char *path = path_of(w, "kluisd");
	_cleanup_(x_freep) char *text = x_asprintf("#!/bin/sh\n%s\n", what);

	assert_int_equal(file_write(path, bytes_str(text), 0700, NULL), 0);
}

/* Repository 1 has the deletion journal of this node; 0: of nobody. */
static void put_journal(struct world *w, unsigned node)
{
	_cleanup_(x_freep) char *dir =
		deletion_journal_dir(repository_path(w->sites.repository[0]));
	const struct deletion_journal_config config = {.dir = dir,
		.cluster_id = w->sites.cluster_id,
		.node = node,
		.signer = w->sites.signer[node == 0 ? 0 : node - 1],
		.wall_ms = 1};
	const struct deletion_batch batch = {.lineage = w->sites.lineage, .index = 1, .wall_ms = 2};
	struct deletion_journal *journal;
	bool aside;

	assert_int_equal(file_remove_tree(dir, NULL), 0);
	if (node != 0) {
		assert_int_equal(deletion_journal_open(&config, &journal, &aside, NULL), 0);
		assert_int_equal(deletion_journal_append(journal, &batch, NULL), 0);
		deletion_journal_free(journal);
	}
}

/* The node knows the snapshot. */
static void put_row(struct world *w)
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_SNAPSHOT);
	struct snapshot_row row;
	struct kv_change change;

	assert_int_equal(
		point_manifest(w->sites.repository[0], w->hash, &w->sites.trust, &m, NULL), 0);
	row = backup_record(&m, w->hash);
	row_key_put_u64(&key, row.id);
	snapshot_row_encode(&row, &value);
	change = (struct kv_change){row_key_bytes(&key), buf_bytes(&value), false};
	assert_int_equal(kv_write(w->node.machine.kv, &change, 1, NULL), 0);
	fixture_machine_level(&w->node.machine); /* What is applied next sees it. */
}

static int set_up(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	*state = w;
	backup_sites_init(&w->sites, KEY_KEM_P256);
	backup_model_init(&w->model, 9);
	backup_model_change(&w->model, 20, 20, 100);
	backup_model_snapshot(&w->model, &w->sites, 1, false, w->hash);
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	backup_model_release(&w->model);
	backup_sites_release(&w->sites);
	free(w);
	return 0;
}

/* Of repository 1; more: NULL, or one word more. */
static int drill(struct world *w, const char *more)
{
	_cleanup_(x_freep) char *config = path_of(w, "kluisd.ini");
	_cleanup_(x_freep) char *kluisd = path_of(w, "kluisd");
	_cleanup_(x_freep) char *repository = path_of(w, "repository1");
	char *argv[] = {"kluisctl", "-o", "json", "--socket",
		w->node.admin_path == NULL ? "/nowhere" : w->node.admin_path, "backup", "drill",
		"-c", config, "-R", repository, "-k", "/no-key", "--kluisd", kluisd, "-t", "1",
		(char *)(uintptr_t)more, NULL};
	int argc = more == NULL ? 17 : 18, rc;
	struct capture capture;

	capture_begin(&capture);
	rc = program_run(&ops_program, argc, argv);
	capture_end(&capture, w->text, sizeof w->text);
	return rc;
}

static unsigned proposals(struct world *w)
{
	unsigned n;

	(void)pthread_mutex_lock(&w->node.lock);
	n = w->node.proposals;
	(void)pthread_mutex_unlock(&w->node.lock);
	return n;
}

/* The node that answers is 1. */
static void test_credit(void **state)
{
	static const struct {
		const char *what;
		unsigned node;		/* Of the settings, */
		const char *repository; /* ... their own, */
		unsigned journal;	/* ... and whose journal the drilled one has. */
		int code;
		bool recorded;
		const char *said;
	} cases[] = {
		{"its own", 1, "repository1", 1, GOOD, true, "\"recorded\": true"},
		{"its own, not run yet", 1, "repository1", 0, GOOD, true, "\"recorded\": true"},
		{"another name", 1, "./repository1/../repository1/", 0, GOOD, true, "true"},
		{"a copy of its own", 1, "repository2", 1, GOOD, true, "\"recorded\": true"},
		{"a copy of its own, with settings of node 2", 2, "repository2", 1, GOOD, true,
			"\"recorded\": true"},
		{"node 2's own", 2, "repository1", 2, GOOD, false,
			"are those of node 2, the node that was asked is 1"},
		{"node 2's own, not run yet", 2, "repository1", 0, GOOD, false, "of node 2"},
		{"a copy of node 2's", 1, "repository2", 2, GOOD, false, "\"recorded\": false"},
		{"a copy without a journal", 1, "repository2", 0, GOOD, false, "is not known"},
		{"its own, bad", 1, "repository1", 1, BAD, true, "the drill has failed"},
		{"a copy of its own, bad", 1, "repository2", 1, BAD, false, "it was a copy"},
		{"node 2's own, bad", 2, "repository1", 2, BAD, false, "the drill has failed"},
	};
	struct world *w = *state;

	api_node_prepare(&w->node);
	put_row(w);
	api_node_run(&w->node);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned before = proposals(w);
		int code;

		put_settings(w, cases[i].node, cases[i].repository);
		put_journal(w, cases[i].journal);
		put_program(w, cases[i].code == GOOD ? "echo '{\"id\":\"1\"}'" : "exit 14");
		code = drill(w, NULL);
		if (code != cases[i].code || strstr(w->text, cases[i].said) == NULL ||
			proposals(w) - before != (cases[i].recorded ? 1 : 0)) {
			fail_msg("%s: exit code %d: %s", cases[i].what, code, w->text);
		}
	}
	api_node_stop(&w->node);
}

/* Who is to record it is asked before it begins. */
static void test_without_a_node(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *ran = path_of(w, "ran");

	put_settings(w, 1, "repository1");
	put_program(w, "echo >$(dirname \"$0\")/ran; echo '{\"id\":\"1\"}'");
	assert_int_equal(drill(w, NULL), NO_NODE);
	assert_non_null(strstr(w->text, "--no-record"));
	assert_false(file_exists(ran));
	assert_int_equal(drill(w, "--no-record"), GOOD);
	assert_true(file_exists(ran));
}

static void wait_for_file(const char *path)
{
	const struct timespec pause = {.tv_nsec = 10 * 1000000L};

	for (unsigned waited = 0; !file_exists(path); waited += 10) {
		assert_true(waited < WAIT_MS);
		(void)nanosleep(&pause, NULL);
	}
}

/* Whoever is told to end: the drill ends first, and removes what it made. */
static void test_signals(void **state)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	struct world *w = *state;
	_cleanup_(x_freep) char *begun = path_of(w, "begun");
	_cleanup_(x_freep) char *gone = path_of(w, "gone");

#ifdef __SANITIZE_THREAD__
	skip(); /* It cannot follow the fork of a process that had threads. */
#endif
	put_settings(w, 1, "repository1");
	put_program(w, "d=$(dirname \"$0\")\n"
		       "trap 'sleep 0.2; echo >$d/gone; exit 13' INT TERM HUP\n"
		       "echo >$d/begun\n"
		       "i=0; while [ $i -lt 200 ]; do sleep 0.1; i=$((i + 1)); done");
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			_exit(drill(w, "--no-record"));
		}
		wait_for_file(begun);
		assert_int_equal(kill(pid, numbers[i]), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 128 + numbers[i]);
		assert_true(file_exists(gone));
		assert_true(unlink(begun) == 0 && unlink(gone) == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_signals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_without_a_node, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_credit, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
