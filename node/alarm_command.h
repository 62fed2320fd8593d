/* Tells of alarms as they are raised and end: in the log, and by an operator's program, which gets
 * each as one line of JSON on its standard input. No shell, no arguments, one run at a time, each
 * bounded in time, and a pause between two: a cluster in trouble must not become one more. */
#ifndef KLUIS_NODE_ALARM_COMMAND_H
#define KLUIS_NODE_ALARM_COMMAND_H

#include <jansson.h>
#include <uv.h>

#include "base/err.h"
#include "base/mailbox.h"
#include "base/pool.h"

struct alarm_command;

enum {
	ALARM_LOOK_MS = 15 * 1000, /* Between two looks; an alarm is raised when two see it. */
	ALARM_RUN_MS = 30 * 1000,  /* Then the program and its children are killed. */
	ALARM_TRIES = 3,
	ALARMS_MAX = 32,
	ALARM_ABOUT_MAX = 64, /* Kept in mind of each; what comes behind them is no news. */
};

struct alarm_command_config {
	const char *path; /* NULL: the log alone. */
	const char *site;
	uint64_t node;
	uint64_t look_ms, run_ms, pause_ms, repeat_ms;
	/* What there is now: an array of {name, severity, text, about}; about: the sites and
	 * snapshots that an alarm is about, which is told again when one is new. Blocking, on pool.
	 */
	int (*alarms)(void *data, json_t **ret_items, struct err *e);
	void *data;
};

/* Everything pointed to outlives it. On the loop's thread. KLUIS_EIO. */
KLUIS_MUST_CHECK int alarm_command_start(struct alarm_command **ret_command,
	const struct alarm_command_config *config, uv_loop_t *loop, struct mailbox *home,
	struct pool *pool, struct err *e);
/* Kills a program that runs; closed_cb when nothing of it is left. On the loop's thread. */
void alarm_command_close(struct alarm_command *command, void (*closed_cb)(void *data), void *data);

#endif
