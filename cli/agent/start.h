/* Starts the agent of a profile, in the background, exactly one. */
#ifndef KLUIS_CLI_AGENT_START_H
#define KLUIS_CLI_AGENT_START_H

#include "base/err.h"

/* Returns when an agent of this directory answers: one that was there, or one that was started for
 * it: `program agent --foreground`. program NULL: this program itself, which must be `kluis`.
 * idle_ms: of one that is started. Any number of processes may do this at once. KLUIS_ENOTFOUND,
 * KLUIS_EINVAL: the directory; KLUIS_ETIMEOUT; KLUIS_EIO: it did not come up, and what it said. */
KLUIS_MUST_CHECK int agent_start(
	const char *profile_dir, const char *program, uint64_t idle_ms, struct err *e);

#endif
