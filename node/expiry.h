/* When this node's certificates end: alarms at 30, 7 and 1 days before, so that nobody learns it
 * from a cluster that stands still. Pure but for the log. */
#ifndef KLUIS_NODE_EXPIRY_H
#define KLUIS_NODE_EXPIRY_H

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

enum expiry_level {
	EXPIRY_FAR,
	EXPIRY_30_DAYS, /* 30 days or less are left. */
	EXPIRY_7_DAYS,
	EXPIRY_1_DAY,
	EXPIRY_OVER,
};

enum { EXPIRY_CERTIFICATES_MAX = 2 };

/* not_after_ms 0: there is no such certificate, which is EXPIRY_FAR. */
enum expiry_level expiry_level(uint64_t not_after_ms, uint64_t wall_ms);
/* Whole days, 0 once it is over. */
uint64_t expiry_days_left(uint64_t not_after_ms, uint64_t wall_ms);

/* One certificate in force. */
struct expiry_certificate {
	const char *name; /* "api", "link" */
	uint64_t not_after_ms;
};

/* What was looked at and told. Zero but for the clock. */
struct expiry_watch {
	const struct clock *clock;
	uint64_t day; /* Of the last look, since 1970. */
	uint64_t not_after_ms[EXPIRY_CERTIFICATES_MAX];
	enum expiry_level told[EXPIRY_CERTIFICATES_MAX];
};

/* Call it every minute or so, with the same certificates in the same order. Looks once a day by the
 * wall clock and at once at a certificate that is new. Logs ERR when a level is reached and a
 * warning on the days between; returns how many lines were ERR. */
unsigned expiry_tick(
	struct expiry_watch *watch, const struct expiry_certificate *certificates, size_t n);

#endif
