/* Whether what comes now would wait in vain behind all that waits: by the rate at which what came
 * before was done lately. No clock of its own. */
#ifndef KLUIS_RAFT_ADMISSION_H
#define KLUIS_RAFT_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

/* Zero it before the first use. */
struct admission {
	/* Done: since since_ms, and in the PROPOSALS_RATE_MS before that. */
	uint64_t now, before, since_ms;
};
/* One more is done. */
void admission_done(struct admission *admission, uint64_t now_ms);
/* waiting: how many are before it; waited_ms: for how long the oldest of them waits. True when it
 * would wait for more than PROPOSALS_WAITING_MS_MAX and the oldest has waited for
 * PROPOSALS_WAITED_MS_MIN; never while nothing was done lately, as in an election. */
bool admission_is_behind(
	struct admission *admission, uint64_t waiting, uint64_t waited_ms, uint64_t now_ms);

#endif
