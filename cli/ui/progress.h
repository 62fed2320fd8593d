/* A progress bar on a terminal for anything that takes over a second. */
#ifndef KLUIS_CLI_UI_PROGRESS_H
#define KLUIS_CLI_UI_PROGRESS_H

#include <pthread.h>
#include <stdbool.h>

#include "cli/ui/output.h"

struct progress {
	pthread_mutex_t lock;
	FILE *to; /* NULL: shows nothing. */
	const char *what;
	uint64_t total, done;
	uint64_t started_ms, drawn_ms;
	bool drawn;
	bool ticking, stopping; /* A thread shows the time. */
	pthread_t ticker;
	pthread_cond_t stop;
};

/* what: a word kept by the caller ("put"). Shows nothing when quiet, in JSON, or when stderr is no
 * terminal. */
void progress_init(struct progress *p, const struct output *o, const char *what);
/* As progress_init(), for what says nothing until it is done: from the second second on it shows
 * for how long it has been waited. Nothing is set. Where nothing is shown it starts no thread. */
void progress_init_waiting(struct progress *p, const struct output *o, const char *what);
/* Any thread. total 0 = unknown. Draws at most ten times a second. */
void progress_set(struct progress *p, uint64_t done, uint64_t total);
/* Wipes the bar. */
void progress_release(struct progress *p);

#endif
