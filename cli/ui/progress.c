#include "cli/ui/progress.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { PROGRESS_AFTER_MS = 1000, PROGRESS_EVERY_MS = 100, PROGRESS_WIDTH = 30 };

void progress_init(struct progress *p, const struct output *o, const char *what)
{
	bool show = !o->quiet && o->format == OUTPUT_TABLE && isatty(fileno(o->notes));

	*p = (struct progress){.to = show ? o->notes : NULL,
		.what = what,
		.started_ms = clock_monotonic_ms(&clock_system)};
	(void)pthread_mutex_init(&p->lock, NULL); /* Cannot fail with default attributes. */
}

static void progress_draw(struct progress *p, uint64_t now_ms)
{
	char bar[PROGRESS_WIDTH + 1];
	double seconds = (double)(now_ms - p->started_ms) / 1000;
	double speed = (double)p->done / seconds / 1e6;
	uint64_t full = p->total == 0 ? 0 : p->done * PROGRESS_WIDTH / p->total;

	memset(bar, ' ', PROGRESS_WIDTH);
	memset(bar, '=', full > PROGRESS_WIDTH ? PROGRESS_WIDTH : (size_t)full);
	bar[PROGRESS_WIDTH] = 0;
	if (p->total == 0) {
		(void)fprintf(p->to, "\r%s %.1f MB  %.1f MB/s \033[K", p->what,
			(double)p->done / 1e6, speed);
	} else {
		(void)fprintf(p->to, "\r%s [%s] %3" PRIu64 "%%  %.1f MB/s  %.0f s left \033[K",
			p->what, bar, p->done * 100 / p->total, speed,
			p->done == 0 ? 0.0
				     : seconds * (double)(p->total - p->done) / (double)p->done);
	}
	(void)fflush(p->to);
	p->drawn = true;
	p->drawn_ms = now_ms;
}

void progress_set(struct progress *p, uint64_t done, uint64_t total)
{
	uint64_t now_ms;

	(void)pthread_mutex_lock(&p->lock);
	now_ms = clock_monotonic_ms(&clock_system);
	p->done = total != 0 && done > total ? total : done;
	p->total = total;
	if (p->to != NULL && now_ms - p->started_ms >= PROGRESS_AFTER_MS &&
		now_ms - p->drawn_ms >= PROGRESS_EVERY_MS) {
		progress_draw(p, now_ms);
	}
	(void)pthread_mutex_unlock(&p->lock);
}

static void *progress_tick(void *arg)
{
	struct progress *p = arg;
	struct timespec until;

	(void)pthread_mutex_lock(&p->lock);
	(void)clock_gettime(CLOCK_MONOTONIC, &until); /* It always exists. */
	while (!p->stopping) {
		until.tv_sec++;
		while (!p->stopping && pthread_cond_timedwait(&p->stop, &p->lock, &until) == 0) {
		}
		if (!p->stopping) {
			(void)fprintf(p->to, "\r%s: waiting for %" PRIu64 " s \033[K", p->what,
				(clock_monotonic_ms(&clock_system) - p->started_ms) / 1000);
			(void)fflush(p->to);
			p->drawn = true;
		}
	}
	(void)pthread_mutex_unlock(&p->lock);
	return NULL;
}

void progress_init_waiting(struct progress *p, const struct output *o, const char *what)
{
	pthread_condattr_t monotonic;

	progress_init(p, o, what);
	if (p->to == NULL) {
		return;
	}
	(void)pthread_condattr_init(&monotonic); /* These cannot fail on Linux. */
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&p->stop, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	p->ticking = pthread_create(&p->ticker, NULL, progress_tick, p) == 0; /* Else no bar. */
}

static void progress_stop_ticking(struct progress *p)
{
	(void)pthread_mutex_lock(&p->lock);
	p->stopping = true;
	(void)pthread_cond_signal(&p->stop);
	(void)pthread_mutex_unlock(&p->lock);
	(void)pthread_join(p->ticker, NULL); /* It is ours and joinable. */
	(void)pthread_cond_destroy(&p->stop);
}

void progress_release(struct progress *p)
{
	if (p->ticking) {
		progress_stop_ticking(p);
	}
	if (p->drawn) {
		(void)fprintf(p->to, "\r\033[K");
		(void)fflush(p->to);
	}
	(void)pthread_mutex_destroy(&p->lock); /* No thread uses it any more. */
}
