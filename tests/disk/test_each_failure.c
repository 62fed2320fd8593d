/* Every write, sync, name and (of thousands, some) allocation of a node's start and work fails
 * once, in turn, until one comes through without: the process ends or goes on, and what it
 * acknowledged is there when it starts again on a good disk.
 *
 *   KLUIS_ALLOC_FROM=N KLUIS_ALLOC_COUNT=N: every allocation of this window instead of some of all;
 *   a first one beyond the last starts again from there. */
#include "tests/lib/test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "raft/fail_stop.h"
#include "raft/fsm.h"
#include "storage/account_store.h"
#include "tests/disk/disk_shim.h"
#include "tests/lib/fixture/client.h"
#include "tests/unit/raft/lib/replica_rig.h"

enum {
	WRITES = 6,
	TIMEOUT_MS = 30000,
	LIFE_S = 300, /* Of one that hangs. */
	LIVES_MAX = 5000,
	ACKED_MAX = LIVES_MAX * WRITES
};

/* What a child found, by its exit status. */
enum {
	CHILD_DONE = 0,
	CHILD_LOST = 40,
	CHILD_NO_START = 41,
	CHILD_REFUSED = 42,
	CHILD_UNREACHED = 43
};

struct lives {
	struct replica_rig rig;
	unsigned next; /* Number of the next account. */
	unsigned n_acked;
	unsigned acked[ACKED_MAX];
};

static int propose_account(struct replica_rig *rig, unsigned number)
{
	struct command command = {.type = COMMAND_SERVICE_CREATE};
	struct buf bytes = BUF_INIT;
	char name[16];

	(void)snprintf(name, sizeof name, "a%u", number);
	command.service_create.actor = bytes_str("op");
	command.service_create.name = bytes_str(name);
	memcpy(command.service_create.enrol_hash, &number, sizeof number);
	command_encode(&command, &bytes);
	return replica_rig_propose(rig, 0, &bytes, TIMEOUT_MS, NULL);
}

static bool account_there(struct replica_rig *rig, unsigned number)
{
	struct account_row row;
	struct kv_view *view;
	struct kv *kv;
	char name[16];
	int rc;

	(void)snprintf(name, sizeof name, "a%u", number);
	if (replica_read_begin(rig->node[0], &kv) != 0) {
		return false;
	}
	view = kv_view_new(kv);
	rc = account_store_get(view, name, &row, NULL);
	kv_view_free(view);
	replica_read_end(rig->node[0]);
	return rc == 0;
}

struct flush {
	struct replica_work work;
	bool done;
};

/* What the apply thread does now and then: all to disk, and a checkpoint for a peer. */
static int flush_work(struct replica_work *work, struct fsm *fsm)
{
	const char *dir = getenv("KLUIS_TEST_CHECKPOINT");
	uint64_t index, term;
	struct err e = {0};

	(void)work;
	if (fsm_flush(fsm, &index, &e) != 0) {
		fail_stop("flush the store: %s", e.text);
	}
	if (file_remove_tree(dir, NULL) != 0) {
		return KLUIS_EIO;
	}
	return fsm_checkpoint(fsm, dir, &index, &term, NULL);
}

static void flush_cb(struct replica_work *work, int rc)
{
	(void)rc; /* A checkpoint that fails is made again. */
	CONTAINER_OF(work, struct flush, work)->done = true;
}

static void flush(struct replica_rig *rig)
{
	_cleanup_(x_freep) char *dir = replica_rig_path(rig, 0, "data/checkpoint");
	struct flush flush = {.done = false};

	(void)setenv("KLUIS_TEST_CHECKPOINT", dir, 1);
	replica_work_start(&flush.work, rig->node[0], &rig->mailbox, flush_work, flush_cb);
	while (!flush.done) {
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	}
}

/* In a child: one life of the node; tells the parent of each write that was acknowledged. */
static void live(struct lives *lives, int to_parent)
{
	struct replica_rig *rig = &lives->rig;
	struct err e = {0};

	if (uv_loop_fork(&rig->loop) != 0 || replica_rig_try_start(rig, 0, &e) != 0) {
		_exit(CHILD_NO_START);
	}
	for (unsigned i = 0; i < WRITES; i++) {
		unsigned number = lives->next + i;

		if (propose_account(rig, number) == 0) {
			if (write(to_parent, &number, sizeof number) != sizeof number) {
				_exit(CHILD_LOST);
			}
		}
		if (i == WRITES / 2) {
			flush(rig);
		}
	}
	replica_stop(rig->node[0], 0);
}

/* In a child, on a good disk: everything acknowledged in all lives is there. */
static void check(struct lives *lives)
{
	struct replica_rig *rig = &lives->rig;
	struct err e = {0};
	uint64_t index;

	if (uv_loop_fork(&rig->loop) != 0 || replica_rig_try_start(rig, 0, &e) != 0) {
		(void)fprintf(stderr, "does not start: %s\n", e.text);
		_exit(CHILD_NO_START);
	}
	if (replica_rig_read(rig, 0, TIMEOUT_MS, &index) != 0) {
		_exit(CHILD_REFUSED);
	}
	for (unsigned i = 0; i < lives->n_acked; i++) {
		if (!account_there(rig, lives->acked[i])) {
			(void)fprintf(stderr, "a%u is lost\n", lives->acked[i]);
			_exit(CHILD_LOST);
		}
	}
	replica_stop(rig->node[0], 0);
	_exit(CHILD_DONE);
}

static int wait_child(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* One life in which the nth call of kind fails, and the look at it. False: there were not so many.
 */
static bool one_life(struct lives *lives, enum disk_shim_kind kind, unsigned nth)
{
	_cleanup_(x_freep) char *data = replica_rig_path(&lives->rig, 0, "data");
	int fds[2], code;
	unsigned number;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(LIFE_S);
		(void)close(fds[0]);
		disk_shim_arm(data, kind, nth, nth % 2 == 0 ? ENOSPC : EIO);
		live(lives, fds[1]);
		_exit(disk_shim_disarm() ? CHILD_DONE : CHILD_UNREACHED);
	}
	(void)close(fds[1]);
	while (read(fds[0], &number, sizeof number) == sizeof number) {
		assert_true(lives->n_acked < ACKED_MAX);
		lives->acked[lives->n_acked++] = number;
	}
	(void)close(fds[0]);
	code = wait_child(pid);
	lives->next += WRITES;
	/* Ended by fail_stop(), by an assertion on memory, refused to start, or did not need it. */
	if (code != CHILD_DONE && code != CHILD_UNREACHED && code != CHILD_NO_START &&
		code != FAIL_STOP_EXIT_CODE && code != 128 + SIGABRT) {
		fail_msg("kind %d, call %u: the process ended with %d", (int)kind, nth, code);
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(LIFE_S);
		check(lives);
	}
	if (wait_child(pid) != CHILD_DONE) {
		fail_msg("kind %d, call %u (life ended with %d): not whole", (int)kind, nth, code);
	}
	return code != CHILD_UNREACHED;
}

static void lives_begin(struct lives *lives)
{
	struct buf bytes = BUF_INIT;
	pid_t pid;

	memset(lives, 0, sizeof *lives);
	replica_rig_init(&lives->rig, 1, 1);
	fixture_cluster_init(&bytes, 1);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		assert_int_equal(uv_loop_fork(&lives->rig.loop), 0);
		replica_rig_start(&lives->rig, 0);
		(void)replica_rig_leader(&lives->rig);
		if (replica_rig_propose(&lives->rig, 0, &bytes, TIMEOUT_MS, NULL) != 0) {
			_exit(CHILD_REFUSED);
		}
		replica_stop(lives->rig.node[0], 0);
		_exit(CHILD_DONE);
	}
	buf_release(&bytes);
	assert_int_equal(wait_child(pid), CHILD_DONE);
}

static void each(enum disk_shim_kind kind, unsigned step_percent)
{
	static struct lives lives;
	unsigned nth = 1, n = 0;

	lives_begin(&lives);
	while (one_life(&lives, kind, nth)) {
		nth += 1 + nth * step_percent / 100;
		n++;
	}
	print_message("%u failures, the last possible call was before %u; %u writes acknowledged\n",
		n, nth, lives.n_acked);
	assert_true(n > 3);
	assert_true(lives.n_acked > 0);
	replica_rig_release(&lives.rig);
}

static void test_each_write(void **state)
{
	(void)state;
	each(SHIM_WRITE, 0);
}

static void test_each_sync(void **state)
{
	(void)state;
	each(SHIM_SYNC, 0);
}

static void test_each_name(void **state)
{
	(void)state;
	each(SHIM_NAME, 0);
}

/* A number of the environment; 0 when it is not set. */
static unsigned env_number(const char *name)
{
	const char *text = getenv(name);

	return text == NULL ? 0 : (unsigned)strtoul(text, NULL, 10);
}

static void each_of_window(unsigned from, unsigned count)
{
	static struct lives lives;
	unsigned first = from, n = 0;

	assert_in_range(count, 1, LIVES_MAX);
	lives_begin(&lives);
	/* How many there are is known only beyond the last. */
	while (!one_life(&lives, SHIM_ALLOC, first) && first > 1) {
		first = first * 3 / 4;
	}
	for (unsigned nth = first; n < count && one_life(&lives, SHIM_ALLOC, nth); nth++) {
		n++;
	}
	print_message("allocations %u to %u failed one by one; %u writes acknowledged\n", first,
		first + n - 1, lives.n_acked);
	assert_true(n > 3);
	assert_true(lives.n_acked > 0);
	replica_rig_release(&lives.rig);
}

static void test_allocations(void **state)
{
	unsigned count = env_number("KLUIS_ALLOC_COUNT"), from = env_number("KLUIS_ALLOC_FROM");

	(void)state;
	if (count > 0) {
		each_of_window(from > 0 ? from : 1, count);
	} else {
		each(SHIM_ALLOC, 12);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_write),
		cmocka_unit_test(test_each_sync),
		cmocka_unit_test(test_each_name),
		cmocka_unit_test(test_allocations),
	};

	cmocka_set_test_filter(getenv("KLUIS_ALLOC_COUNT") != NULL ? "test_allocations" : NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
