#include "backup/pace.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>

enum { PAUSE_MS = 50 }; /* Between two looks while it waits. */

struct pace {
	struct pace_config config;
	pthread_mutex_t lock; /* Over what follows. */
	uint64_t looked_ms;
	uint64_t seen, seen_ms; /* Where the second begins that is counted over. */
	uint64_t busy_until_ms;
	uint64_t next_us; /* What has been given away is moved by then. */
};

struct pace *pace_new(const struct pace_config *config)
{
	struct pace *p = x_calloc(1, sizeof *p);

	p->config = *config;
	p->config.clock = config->clock == NULL ? &clock_system : config->clock;
	(void)pthread_mutex_init(&p->lock, NULL); /* Cannot fail with default attributes. */
	p->seen = config->count(config->data);
	p->looked_ms = p->seen_ms = clock_monotonic_ms(p->config.clock);
	return p;
}

void pace_free(struct pace *p)
{
	if (p != NULL) {
		(void)pthread_mutex_destroy(&p->lock); /* Not held: nobody uses p any more. */
		free(p);
	}
}

/* Under the lock. A few at once are no clients: a snapshot's own claim, mark and state roots are
 * counted, too. */
static bool pace_count(struct pace *p, uint64_t now_ms)
{
	if (now_ms - p->looked_ms >= PACE_LOOK_MS) {
		uint64_t count = p->config.count(p->config.data), passed_ms = now_ms - p->seen_ms;
		uint64_t done = count > p->seen ? count - p->seen : 0;
		uint64_t over_ms = passed_ms > PACE_COUNT_MS ? passed_ms : PACE_COUNT_MS;
		bool busy = done * 1000 >= PACE_BUSY_PER_S * over_ms;

		p->looked_ms = now_ms;
		if (busy) {
			p->busy_until_ms = now_ms + PACE_BUSY_MS;
		}
		if (busy || passed_ms >= PACE_COUNT_MS) {
			p->seen = count;
			p->seen_ms = now_ms;
		}
	}
	return p->config.bytes_per_second != 0 && now_ms < p->busy_until_ms;
}

void pace_look(struct pace *p)
{
	(void)pace_busy(p);
}

bool pace_busy(struct pace *p)
{
	bool busy;

	(void)pthread_mutex_lock(&p->lock); /* Fails only for a broken mutex. */
	busy = pace_count(p, clock_monotonic_ms(p->config.clock));
	(void)pthread_mutex_unlock(&p->lock);
	return busy;
}

/* When these bytes may be moved; 0: now. */
static uint64_t pace_take(struct pace *p, uint64_t bytes)
{
	uint64_t now_ms = clock_monotonic_ms(p->config.clock), at_us = 0;

	(void)pthread_mutex_lock(&p->lock);
	if (pace_count(p, now_ms)) {
		uint64_t least_us = now_ms > PACE_BURST_MS ? (now_ms - PACE_BURST_MS) * 1000 : 0;

		at_us = p->next_us > least_us ? p->next_us : least_us;
		p->next_us = at_us + bytes * 1000000 / p->config.bytes_per_second;
	} else {
		p->next_us = 0;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return at_us;
}

int pace_wait(struct pace *p, uint64_t bytes, const atomic_bool *cancel,
	atomic_uint_fast64_t *moved, struct err *e)
{
	uint64_t at_us = p == NULL ? 0 : pace_take(p, bytes);

	while (at_us > 0) {
		uint64_t now_us = clock_monotonic_ms(p->config.clock) * 1000, left_ms;

		if (now_us >= at_us || !pace_busy(p)) {
			break;
		}
		if (cancel != NULL && atomic_load(cancel)) {
			return err_set(e, KLUIS_ECLOSED, "stopped");
		}
		if (moved != NULL) {
			(void)atomic_fetch_add(moved, 1);
		}
		left_ms = (at_us - now_us + 999) / 1000;
		(void)poll(NULL, 0, left_ms < PAUSE_MS ? (int)left_ms : PAUSE_MS);
	}
	return 0;
}
