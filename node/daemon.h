/* A running node: replica, API, backup and keeper, from start to an orderly end. */
#ifndef KLUIS_NODE_DAEMON_H
#define KLUIS_NODE_DAEMON_H

#include "node/config.h"

enum {
	DAEMON_DRAIN_MS = 5000,	    /* Running requests at the end. */
	DAEMON_HAND_OVER_MS = 5000, /* Leadership at the end. */
	DAEMON_EXPIRY_MS = 60000,   /* Is it another day? */
	DAEMON_PEPPER_MS = 10000,   /* Are the secrets those of the accounts? */
	DAEMON_POOL_DB_THREADS = 4,
	DAEMON_POOL_DB_QUEUE_MAX = 4096,
	DAEMON_POOL_SHIP_QUEUE_MAX = 64,
};

/* Runs until SIGTERM or SIGINT; SIGHUP reloads the certificates and the log level of config_path.
 * Blocking; once per process. Returns 0 after an orderly end. A failed write to disk, or a command
 * of a newer version, ends the process (70). */
KLUIS_MUST_CHECK int daemon_run(
	const struct config *config, const char *config_path, struct err *e);

#endif
