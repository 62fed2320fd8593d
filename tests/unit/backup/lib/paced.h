/* For tests of how fast backups go beside clients: a clock that moves with each look, so that who
 * waits gets on, and clients who are always at work. */
#ifndef KLUIS_TESTS_UNIT_BACKUP_LIB_PACED_H
#define KLUIS_TESTS_UNIT_BACKUP_LIB_PACED_H

#include "backup/pace.h"

struct paced {
	struct clock clock;
	uint64_t now_ms, entries;
};

void paced_init(struct paced *paced);
/* A measure by that clock, which knows already that clients are at work. The caller frees it. */
struct pace *paced_new(struct paced *paced, uint64_t bytes_per_second);

#endif
