/* A monotonic clock that a test moves while other threads read it; the wall clock is the system's.
 */
#ifndef KLUIS_TESTS_LIB_STEPPED_CLOCK_H
#define KLUIS_TESTS_LIB_STEPPED_CLOCK_H

#include <stdatomic.h>

#include "base/clock.h"

struct stepped_clock {
	struct clock clock;
	atomic_ullong now_ms;
};
void stepped_clock_init(struct stepped_clock *stepped);
void stepped_clock_step(struct stepped_clock *stepped, uint64_t ms);

#endif
