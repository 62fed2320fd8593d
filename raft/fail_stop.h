/* The one way in which a node gives up: at once, without clean-up, so that nothing it does not know
 * for sure reaches a peer or a client. */
#ifndef KLUIS_RAFT_FAIL_STOP_H
#define KLUIS_RAFT_FAIL_STOP_H

#include "base/mem.h"

enum {
	FAIL_STOP_EXIT_CODE = 70,    /* EX_SOFTWARE of sysexits.h. */
	FAIL_REFUSED_EXIT_CODE = 78, /* EX_CONFIG: starting it again does not help. */
};

/* Logs the reason as an error and ends the process with _exit(FAIL_STOP_EXIT_CODE): no atexit
 * handler may flush what a failed fsync left in doubt. Carrying on after one failed append broke
 * every simulated run. Any thread. */
_Noreturn void fail_stop(const char *fmt, ...) KLUIS_PRINTF(1, 2);
/* The same with FAIL_REFUSED_EXIT_CODE: the other nodes will have nothing to do with this one. */
_Noreturn void fail_stop_refused(const char *fmt, ...) KLUIS_PRINTF(1, 2);

#endif
