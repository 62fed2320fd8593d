/* Runs other people's programs in tests. */
#ifndef KLUIS_TESTS_LIB_PROGRAM_H
#define KLUIS_TESTS_LIB_PROGRAM_H

#include <stdbool.h>

#include "base/buf.h"

/* argv[0] is looked up in PATH; input goes to its standard input; what it writes to standard output
 * and error is appended to *to. Killed after two minutes. Returns its exit status, 128 + signal
 * when one ended it. */
int program_run(const char *const *argv, const char *input, struct buf *to);
/* Whether a program of that name is in PATH. */
bool program_exists(const char *name);

#endif
