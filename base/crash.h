/* What a process says when it dies of a fault of its own: the signal and the last moves of its
 * operations (base/op.h), on standard error. Names, numbers and states; never a byte of anybody's.
 */
#ifndef KLUIS_BASE_CRASH_H
#define KLUIS_BASE_CRASH_H

/* From now on a failed assert(), abort(), and the signals of bad memory accesses and instructions
 * report before they end the process as they would have. Signals that something else handles (a
 * sanitizer) are left to it. `program` is kept. Once, before threads are started. */
void crash_report_install(const char *program);

#endif
