#include "node/expiry.h"

#include <assert.h>
#include <stdbool.h>

#include "base/log.h"

static const uint64_t day_ms = 24ULL * 3600 * 1000;

enum expiry_level expiry_level(uint64_t not_after_ms, uint64_t wall_ms)
{
	if (not_after_ms == 0 || not_after_ms > wall_ms + 30 * day_ms) {
		return EXPIRY_FAR;
	}
	if (not_after_ms > wall_ms + 7 * day_ms) {
		return EXPIRY_30_DAYS;
	}
	if (not_after_ms > wall_ms + day_ms) {
		return EXPIRY_7_DAYS;
	}
	return not_after_ms > wall_ms ? EXPIRY_1_DAY : EXPIRY_OVER;
}

uint64_t expiry_days_left(uint64_t not_after_ms, uint64_t wall_ms)
{
	return not_after_ms > wall_ms ? (not_after_ms - wall_ms) / day_ms : 0;
}

/* Returns whether it is an alarm. */
static bool expiry_tell(const struct expiry_certificate *certificate, uint64_t wall_ms,
	enum expiry_level level, enum expiry_level told)
{
	char end[21];

	clock_format(certificate->not_after_ms, end);
	log_line(level > told ? LOG_LEVEL_ERR : LOG_LEVEL_WARN,
		"op=expiry certificate=%s state=%s days_left=%llu not_after=%s msg=\"issue a new "
		"one, put it in place and reload\"",
		certificate->name, level == EXPIRY_OVER ? "expired" : "expires",
		(unsigned long long)expiry_days_left(certificate->not_after_ms, wall_ms), end);
	return level > told;
}

unsigned expiry_tick(
	struct expiry_watch *watch, const struct expiry_certificate *certificates, size_t n)
{
	uint64_t wall_ms = clock_wall_ms(watch->clock), day = wall_ms / day_ms;
	bool new_day = day != watch->day;
	unsigned alarms = 0;

	assert(n <= EXPIRY_CERTIFICATES_MAX);
	watch->day = day;
	for (size_t i = 0; i < n; i++) {
		bool fresh = certificates[i].not_after_ms != watch->not_after_ms[i];
		enum expiry_level level = expiry_level(certificates[i].not_after_ms, wall_ms);
		enum expiry_level told = fresh ? EXPIRY_FAR : watch->told[i];

		if (!fresh && !new_day) {
			continue;
		}
		watch->not_after_ms[i] = certificates[i].not_after_ms;
		watch->told[i] = level;
		if (level != EXPIRY_FAR) {
			alarms += expiry_tell(&certificates[i], wall_ms, level, told);
		}
	}
	return alarms;
}
