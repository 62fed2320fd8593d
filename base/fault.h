/* Named points where a test can make the next call fail. In a build without tests they are compiled
 * away. */
#ifndef KLUIS_BASE_FAULT_H
#define KLUIS_BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#ifdef KLUIS_TEST_BUILD
/* true: behave as if the call at this point had failed. Any thread. */
#define FAULT_POINT(name) fault_hit(name)
bool fault_hit(const char *name);
/* The nth hit (from 1) of points whose name begins with `prefix` fails, and every later one too
 * when `stay`. The environment variable KLUIS_FAULT=prefix:nth[:stay] does the same for a program
 * under test. */
void fault_arm(const char *prefix, uint64_t nth, bool stay);
void fault_disarm(void);
uint64_t fault_hits(void); /* Since fault_arm(): a loop over nth ends when this is below nth. */
#else
#define FAULT_POINT(name) false
#endif

#endif
