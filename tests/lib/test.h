/* What every test includes: cmocka with its own needs, and a scratch directory. */
#ifndef KLUIS_TESTS_LIB_TEST_H
#define KLUIS_TESTS_LIB_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A new directory below TMPDIR (default /tmp), removed with all below it by scratch_free(). */
char *scratch_new(const char *name);
void scratch_free(char *path);

#endif
