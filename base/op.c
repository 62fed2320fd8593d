#include "base/op.h"

#include <assert.h>
#include <stdatomic.h>
#include <unistd.h>

enum { OP_QUEUES_MAX = 16, OP_LINE_BYTES_MAX = 200 };

/* For op_report(). One more than that is left out. */
static struct op_queue *_Atomic op_queues[OP_QUEUES_MAX];

static void op_queues_swap(struct op_queue *from, struct op_queue *to)
{
	for (size_t i = 0; i < OP_QUEUES_MAX; i++) {
		struct op_queue *expected = from;

		if (atomic_compare_exchange_strong(&op_queues[i], &expected, to)) {
			return;
		}
	}
}

static void op_trace(struct op *op, const char *state)
{
	struct op_queue *queue = op->queue;

	queue->trace[queue->trace_at++ % OP_TRACE_MAX] =
		(struct op_trace){op->def->name, state, op->id, op->rc};
}

static void op_run(struct op *op)
{
	op->waiting = false;
	while (op->state != op->def->final && !op->waiting) {
		const struct op_step *step = &op->def->step[op->state];
		unsigned next;

		op_trace(op, step->name);
		next = step->run(op);
		assert(next <= op->def->final && (step->next & BIT(next)) != 0);
		op->state = next;
	}
	if (!op->waiting) {
		op_trace(op, "done");
		assert(op->queue->running > 0);
		op->queue->running--;
		op->done(op); /* op may be gone from here on. */
	}
}

static void op_queue_drain(uv_idle_t *idle)
{
	struct op_queue *queue = idle->data;
	struct op *op = queue->head;

	/* Take the batch: what these steps wake runs in the next loop turn, so that I/O is never
	 * starved. */
	queue->head = NULL;
	queue->tail = &queue->head;
	while (op != NULL) {
		struct op *next = op->next;

		op->queued = false;
		op_run(op);
		op = next;
	}
	if (queue->head == NULL) {
		(void)uv_idle_stop(idle); /* Cannot fail. */
	}
}

int op_queue_init(struct op_queue *queue, uv_loop_t *loop, struct mailbox *home)
{
	*queue = (struct op_queue){.home = home, .tail = &queue->head};
	queue->idle.data = queue;
	op_queues_swap(NULL, queue);
	return uv_idle_init(loop, &queue->idle);
}

void op_queue_close(struct op_queue *queue, uv_close_cb cb)
{
	assert(queue->head == NULL);
	op_queues_swap(queue, NULL);
	uv_close((uv_handle_t *)&queue->idle, cb);
}

/* A line is made without malloc() and stdio, which a signal handler must not use. */
struct op_line {
	char text[OP_LINE_BYTES_MAX];
	size_t len;
};

static void op_line_text(struct op_line *line, const char *text)
{
	while (*text != 0 && line->len < sizeof line->text) {
		line->text[line->len++] = *text++;
	}
}

static void op_line_number(struct op_line *line, uint64_t number)
{
	char digits[21];
	size_t at = sizeof digits - 1;

	digits[at] = 0;
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	op_line_text(line, digits + at);
}

static void op_report_move(int fd, const struct op_trace *move)
{
	struct op_line line = {.len = 0};

	op_line_text(&line, "op=");
	op_line_text(&line, move->op);
	op_line_text(&line, "/");
	op_line_number(&line, move->id);
	op_line_text(&line, " state=");
	op_line_text(&line, move->state);
	op_line_text(&line, move->rc < 0 ? " rc=-" : " rc=");
	op_line_number(&line, (uint64_t)(move->rc < 0 ? -(int64_t)move->rc : move->rc));
	op_line_text(&line, "\n");
	if (write(fd, line.text, line.len) < 0) {
		return; /* The process ends: nobody is left to be told. */
	}
}

void op_report(int fd)
{
	for (size_t i = 0; i < OP_QUEUES_MAX; i++) {
		const struct op_queue *queue = atomic_load(&op_queues[i]);

		for (unsigned k = 0; queue != NULL && k < OP_TRACE_MAX; k++) {
			struct op_trace move = queue->trace[(queue->trace_at + k) % OP_TRACE_MAX];

			if (move.op != NULL && move.state != NULL) {
				op_report_move(fd, &move);
			}
		}
	}
}

void op_wake(struct op *op, int rc)
{
	assert(!op->queued);
	op->rc = rc;
	op->queued = true;
	op->next = NULL;
	*op->queue->tail = op;
	op->queue->tail = &op->next;
	(void)uv_idle_start(&op->queue->idle, op_queue_drain); /* Cannot fail with a callback. */
}

void op_start(struct op *op, const struct op_def *def, struct op_queue *queue,
	void (*done)(struct op *op))
{
	op->def = def;
	op->queue = queue;
	op->done = done;
	op->id = ++queue->next_id;
	op->state = 0;
	op->waiting = op->queued = false;
	queue->running++;
	op_wake(op, 0);
}

unsigned op_wait(struct op *op, unsigned next)
{
	op->waiting = true;
	return next;
}

static int op_work_run(struct pool_work *work)
{
	struct op *op = CONTAINER_OF(work, struct op, work);

	return op->work_fn(op);
}

static void op_work_done_cb(struct pool_work *work, int rc)
{
	op_wake(CONTAINER_OF(work, struct op, work), rc);
}

unsigned op_work(struct op *op, struct pool *pool, int (*fn)(struct op *op), unsigned next)
{
	int rc;

	op->work_fn = fn;
	rc = pool_submit(pool, &op->work, op->queue->home, op_work_run, op_work_done_cb);
	if (rc != 0) {
		op_wake(op, rc);
	}
	return op_wait(op, next);
}
