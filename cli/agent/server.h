/* The agent as a process: a Unix socket in the profile directory, one store behind it, one thread.
 */
#ifndef KLUIS_CLI_AGENT_SERVER_H
#define KLUIS_CLI_AGENT_SERVER_H

#include "base/err.h"

struct server_config {
	const char *profile_dir; /* 0700 and ours. */
	uint64_t idle_ms;	 /* 1..AGENT_IDLE_MS_MAX */
	/* Called once, when connections are taken; NULL: nobody waits. */
	void (*ready)(void *arg);
	void *arg;
};

/* Serves until it is told to stop (AGENT_STOP, SIGTERM, SIGINT, SIGHUP) or was idle for long
 * enough; then takes the socket away. Blocks. The caller forbade dumps (secret_forbid_dumps()).
 * KLUIS_EEXIST: the profile has an agent already. KLUIS_ENOTFOUND, KLUIS_EINVAL: see
 * profile_check_dir(). */
KLUIS_MUST_CHECK int server_run(const struct server_config *config, struct err *e);

#endif
