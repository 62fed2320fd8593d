/* The one async pattern: a request struct that embeds `struct op`, one short function per state, a
 * table of legal moves. Steps run only from the run queue, on the loop's thread, so the stack is
 * flat. A callback stores its result and calls op_wake(); it never works and never calls up. */
#ifndef KLUIS_BASE_OP_H
#define KLUIS_BASE_OP_H

#include <stdbool.h>
#include <uv.h>

#include "base/mem.h"
#include "base/pool.h"

struct op;

struct op_step {
	const char *name;
	unsigned (*run)(
		struct op *op); /* Returns the next state, or what op_wait()/op_work() return. */
	uint32_t next;		/* BIT()s of the states it may return. */
};

struct op_def {
	const char *name;
	unsigned final;		    /* The state after the last step. */
	const struct op_step *step; /* By state; step[0] is the first to run. */
};

enum { OP_TRACE_MAX = 256 };

/* Steps that are ready to run, on one loop. */
struct op_queue {
	uv_idle_t idle;
	struct mailbox *home; /* For op_work(). */
	struct op *head, **tail;
	uint64_t next_id, running;
	struct op_trace {
		const char *op, *state;
		uint64_t id;
		int rc;
	} trace[OP_TRACE_MAX]; /* The last moves, for a crash report. */
	unsigned trace_at;
};

struct op {
	const struct op_def *def;
	struct op_queue *queue;
	struct op *next;
	uint64_t id;
	unsigned state;
	int rc; /* What the last wait ended with: 0 or KLUIS_E*. */
	bool waiting, queued;
	void (*done)(struct op *op); /* The last call made for this op; may free it. */
	struct pool_work work;
	int (*work_fn)(struct op *op);
};

#define OP_OF(ptr, type) CONTAINER_OF(ptr, type, op)

int op_queue_init(struct op_queue *queue, uv_loop_t *loop, struct mailbox *home);
void op_queue_close(struct op_queue *queue,
	uv_close_cb cb); /* Nothing may be queued. idle.data is the queue. */
/* The last moves on each queue, oldest first, a line each, to fd: what a crash report shows. Safe
 * in a signal handler and on any thread; a line that its own thread is just writing may be of two
 * moves. */
void op_report(int fd);

void op_start(struct op *op, const struct op_def *def, struct op_queue *queue,
	void (*done)(struct op *op));
/* From a callback, on the loop thread: the wait ended with rc. Exactly once per op_wait(). */
void op_wake(struct op *op, int rc);
/* As a step's return value: run `next` when op_wake() is called. */
unsigned op_wait(struct op *op, unsigned next);
/* As a step's return value: run fn on the pool, then `next` with op->rc = what fn returned, or
 * KLUIS_EBUSY. */
unsigned op_work(struct op *op, struct pool *pool, int (*fn)(struct op *op), unsigned next);

#endif
