/* op, pool and mailbox together: steps on the loop, work on a pool, wake-ups from callbacks. */
#include "tests/lib/test.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crash.h"
#include "base/err.h"
#include "base/op.h"

enum { COUNT_WORK, COUNT_CHECK, COUNT_AGAIN, COUNT_DONE };

struct loop_fixture {
	uv_loop_t loop;
	struct mailbox home;
	struct op_queue queue;
	struct pool *pool;
	unsigned done;
};

struct count {
	struct op op;
	struct loop_fixture *fixture;
	unsigned worked, rounds;
};

static int count_work_fn(struct op *op)
{
	OP_OF(op, struct count)->worked++;
	return 0;
}

static unsigned count_work(struct op *op)
{
	return op_work(op, OP_OF(op, struct count)->fixture->pool, count_work_fn, COUNT_CHECK);
}

static unsigned count_check(struct op *op)
{
	struct count *c = OP_OF(op, struct count);

	assert_int_equal(op->rc, 0);
	return ++c->rounds < 10 ? COUNT_AGAIN : COUNT_DONE;
}

static unsigned count_again(struct op *op)
{
	op_wake(op, 0);
	return op_wait(op, COUNT_WORK);
}

static const struct op_step count_steps[] = {
	[COUNT_WORK] = {"work", count_work, BIT(COUNT_CHECK)},
	[COUNT_CHECK] = {"check", count_check, BIT(COUNT_AGAIN) | BIT(COUNT_DONE)},
	[COUNT_AGAIN] = {"again", count_again, BIT(COUNT_WORK)},
};
static const struct op_def count_def = {"count", COUNT_DONE, count_steps};

static void idle_closed_cb(uv_handle_t *handle)
{
	(void)handle;
}

static void count_done(struct op *op)
{
	struct loop_fixture *f = OP_OF(op, struct count)->fixture;

	f->done++;
	if (f->queue.running == 0) {
		mailbox_close(&f->home, NULL);
		op_queue_close(&f->queue, idle_closed_cb);
	}
}

static void test_many_ops_share_a_pool(void **state)
{
	enum { OPS = 200 };
	struct loop_fixture f = {0};
	struct count *counts = x_calloc(OPS, sizeof *counts);

	(void)state;
	assert_int_equal(uv_loop_init(&f.loop), 0);
	assert_int_equal(mailbox_init(&f.home, &f.loop), 0);
	assert_int_equal(op_queue_init(&f.queue, &f.loop, &f.home), 0);
	f.pool = pool_new("test", 3, OPS);
	for (unsigned i = 0; i < OPS; i++) {
		counts[i].fixture = &f;
		op_start(&counts[i].op, &count_def, &f.queue, count_done);
	}
	assert_int_equal(f.done, 0); /* Nothing runs before the loop does. */
	assert_int_equal(uv_run(&f.loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(f.done, OPS);
	for (unsigned i = 0; i < OPS; i++) {
		assert_int_equal(counts[i].worked, 10);
	}
	pool_free(f.pool);
	assert_int_equal(uv_loop_close(&f.loop), 0);
	free(counts);
}

struct gate {
	struct pool_work work;
	pthread_mutex_t *lock;
	unsigned *done;
	struct mailbox *home;
};

static int gate_fn(struct pool_work *work)
{
	struct gate *g = CONTAINER_OF(work, struct gate, work);

	(void)pthread_mutex_lock(g->lock);
	(void)pthread_mutex_unlock(g->lock);
	return KLUIS_EIO;
}

static void gate_done_cb(struct pool_work *work, int rc)
{
	struct gate *g = CONTAINER_OF(work, struct gate, work);

	assert_int_equal(rc, KLUIS_EIO);
	if (++*g->done == 3) {
		mailbox_close(g->home, NULL);
	}
}

static void test_pool_refuses_beyond_its_bound(void **state)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct gate gates[4];
	struct mailbox home;
	uv_loop_t loop;
	struct pool *pool = pool_new("bound", 1, 2);
	unsigned done = 0, busy = 0;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(mailbox_init(&home, &loop), 0);
	(void)pthread_mutex_lock(&lock); /* The first work blocks until we let go. */
	for (unsigned i = 0; i < 4; i++) {
		gates[i] = (struct gate){.lock = &lock, .done = &done, .home = &home};
		if (i == 1) {
			while (pool_waiting(pool) != 0) {
				(void)sched_yield(); /* Until the thread holds the first. */
			}
		}
		if (pool_submit(pool, &gates[i].work, &home, gate_fn, gate_done_cb) != 0) {
			busy++;
		}
	}
	assert_int_equal(busy, 1);
	(void)pthread_mutex_unlock(&lock);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(done, 3);
	pool_free(pool);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void crash_done(struct op *op)
{
	OP_OF(op, struct count)->fixture->done++;
}

/* Runs some ops and dies of an assertion while their queue is there. */
static void crash_in_child(void)
{
	struct loop_fixture f = {.done = 0};
	struct count c = {.fixture = &f};
	bool broken = true;

	crash_report_install("test");
	f.pool = pool_new("crash", 1, 4);
	if (uv_loop_init(&f.loop) != 0 || mailbox_init(&f.home, &f.loop) != 0 ||
		op_queue_init(&f.queue, &f.loop, &f.home) != 0) {
		_exit(3);
	}
	op_start(&c.op, &count_def, &f.queue, crash_done);
	while (f.done == 0) {
		(void)uv_run(&f.loop, UV_RUN_ONCE);
	}
	assert(!broken);
}

static int priority_work(struct pool_work *work)
{
	(void)work;
	return getpriority(PRIO_PROCESS, 0);
}

static void priority_done_cb(struct pool_work *work, int rc)
{
	work->rc = rc;
	mailbox_close(work->home, NULL);
}

/* Of a thread of this pool, which is freed. */
static int priority_in(struct pool *pool)
{
	struct pool_work work;
	struct mailbox home;
	uv_loop_t loop;

	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(mailbox_init(&home, &loop), 0);
	assert_int_equal(pool_submit(pool, &work, &home, priority_work, priority_done_cb), 0);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	pool_free(pool);
	assert_int_equal(uv_loop_close(&loop), 0);
	return work.rc;
}

static void test_background_pools_stand_back(void **state)
{
	int ours = getpriority(PRIO_PROCESS, 0);
	int lower = ours + POOL_BACKGROUND_NICE;

	(void)state;
	assert_int_equal(priority_in(pool_new("front", 1, 1)), ours);
	assert_int_equal(priority_in(pool_new_background("back", 1, 1)), lower > 19 ? 19 : lower);
	assert_int_equal(getpriority(PRIO_PROCESS, 0), ours);
}

static void test_crash_report(void **state)
{
	_cleanup_(buf_release) struct buf said = BUF_INIT;
	int fds[2], status;
	ssize_t n;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)signal(SIGABRT, SIG_DFL); /* cmocka has one of its own. */
		(void)dup2(fds[1], STDERR_FILENO);
		crash_in_child();
		_exit(4);
	}
	(void)close(fds[1]);
	do {
		n = read(fds[0], buf_extend(&said, 4096), 4096);
		assert_true(n >= 0);
		said.len -= 4096 - (size_t)n;
	} while (n > 0);
	(void)close(fds[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(buf_str(&said), "!broken")); /* glibc's own line comes first. */
	assert_non_null(
		strstr(buf_str(&said), "test: ended by SIGABRT; the last moves, oldest first:\n"
				       "op=count/1 state=work rc=0\nop=count/1 state=check rc=0\n"
				       "op=count/1 state=again rc=0\n"));
	assert_non_null(strstr(buf_str(&said), "op=count/1 state=done rc=0\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_ops_share_a_pool),
		cmocka_unit_test(test_pool_refuses_beyond_its_bound),
		cmocka_unit_test(test_background_pools_stand_back),
		cmocka_unit_test(test_crash_report),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
