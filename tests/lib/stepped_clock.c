#include "tests/lib/stepped_clock.h"

#include "base/mem.h"

static uint64_t stepped_monotonic(const struct clock *clock)
{
	return atomic_load(&CONTAINER_OF(clock, const struct stepped_clock, clock)->now_ms);
}

static uint64_t stepped_wall(const struct clock *clock)
{
	(void)clock;
	return clock_wall_ms(&clock_system);
}

void stepped_clock_init(struct stepped_clock *stepped)
{
	stepped->clock = (struct clock){stepped_monotonic, stepped_wall};
	atomic_init(&stepped->now_ms, 1000000);
}

void stepped_clock_step(struct stepped_clock *stepped, uint64_t ms)
{
	(void)atomic_fetch_add(&stepped->now_ms, ms);
}
