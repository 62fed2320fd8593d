#include "raft/admission.h"

#include <assert.h>

#include "base/limits.h"

/* Large entries are applied one or two a second: over a shorter time it would seem that nothing
 * moves. */
static void admission_turn(struct admission *a, uint64_t now_ms)
{
	assert(now_ms >= a->since_ms);
	if (now_ms - a->since_ms < PROPOSALS_RATE_MS) {
		return;
	}
	a->before = now_ms - a->since_ms < 2 * PROPOSALS_RATE_MS ? a->now : 0;
	a->now = 0;
	a->since_ms = now_ms;
}

void admission_done(struct admission *admission, uint64_t now_ms)
{
	admission_turn(admission, now_ms);
	admission->now++;
}

bool admission_is_behind(
	struct admission *admission, uint64_t waiting, uint64_t waited_ms, uint64_t now_ms)
{
	uint64_t done, over_ms;

	admission_turn(admission, now_ms);
	done = admission->before + admission->now;
	over_ms = PROPOSALS_RATE_MS + (now_ms - admission->since_ms);
	return admission->before > 0 && waiting * over_ms / done > PROPOSALS_WAITING_MS_MAX &&
	       waited_ms > PROPOSALS_WAITED_MS_MIN;
}
