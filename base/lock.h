/* Files and directories that one process at a time works with: flock(2), which ends with the
 * process. */
#ifndef KLUIS_BASE_LOCK_H
#define KLUIS_BASE_LOCK_H

#include <sys/types.h>

#include "base/err.h"

/* Locks what is open at fd under that path, until fd is closed. KLUIS_EBUSY: another one has it,
 * whom e names. */
KLUIS_MUST_CHECK int lock_take(int fd, const char *path, struct err *e);
/* The lock is the descriptor's. KLUIS_ENOTFOUND: there is no such directory; KLUIS_EBUSY: another
 * one has it, whom e names, or the directory was removed just now. */
KLUIS_MUST_CHECK int lock_dir(const char *path, int *ret_fd, struct err *e);
/* The process that has such a lock on the directory, by /proc/locks; 0: none, or nobody can tell.
 */
pid_t lock_holder(const char *path);

#endif
