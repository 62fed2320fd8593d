#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

static uint64_t clock_read_ms(clockid_t id)
{
	struct timespec now;
	int rv = clock_gettime(id, &now);

	assert(rv == 0);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t clock_system_monotonic(const struct clock *clock)
{
	(void)clock;
	return clock_read_ms(CLOCK_MONOTONIC);
}

static uint64_t clock_system_wall(const struct clock *clock)
{
	(void)clock;
	return clock_read_ms(CLOCK_REALTIME);
}

const struct clock clock_system = {clock_system_monotonic, clock_system_wall};

uint64_t clock_monotonic_ms(const struct clock *clock)
{
	return clock->monotonic_ms(clock);
}

uint64_t clock_wall_ms(const struct clock *clock)
{
	return clock->wall_ms(clock);
}

static uint64_t clock_manual_monotonic(const struct clock *clock)
{
	return CONTAINER_OF(clock, const struct clock_manual, clock)->monotonic_ms;
}

static uint64_t clock_manual_wall(const struct clock *clock)
{
	return CONTAINER_OF(clock, const struct clock_manual, clock)->wall_ms;
}

void clock_manual_init(struct clock_manual *manual, uint64_t wall_ms)
{
	*manual = (struct clock_manual){{clock_manual_monotonic, clock_manual_wall}, 1, wall_ms};
}

void clock_manual_step(struct clock_manual *manual, uint64_t ms)
{
	manual->monotonic_ms += ms;
	manual->wall_ms += ms;
}

void clock_format(uint64_t wall_ms, char to[21])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm utc;

	memset(&utc, 0, sizeof utc);
	(void)gmtime_r(&seconds, &utc);
	if (strftime(to, 21, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0) {
		(void)snprintf(to, 21, "-");
	}
}
