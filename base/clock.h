/* Time, injectable: everything that decides by time takes a struct clock, so that tests and the
 * simulator step it. */
#ifndef KLUIS_BASE_CLOCK_H
#define KLUIS_BASE_CLOCK_H

#include <stdint.h>

struct clock {
	uint64_t (*monotonic_ms)(const struct clock *clock); /* Never goes back. */
	uint64_t (*wall_ms)(const struct clock *clock);	     /* Unix milliseconds; may jump. */
};

extern const struct clock clock_system;

uint64_t clock_monotonic_ms(const struct clock *clock);
uint64_t clock_wall_ms(const struct clock *clock);

/* A clock that moves only when it is told to. */
struct clock_manual {
	struct clock clock;
	uint64_t monotonic_ms, wall_ms;
};
void clock_manual_init(struct clock_manual *manual, uint64_t wall_ms);
void clock_manual_step(struct clock_manual *manual, uint64_t ms);

/* "2026-11-21T23:34:00Z" (RFC 3339, UTC); 21 bytes with NUL. */
void clock_format(uint64_t wall_ms, char to[21]);

#endif
