/* A call that must succeed, and what must be so: else the program says which and ends. */
#ifndef KLUIS_TESTS_INTEROP_LIBRARY_CHECK_H
#define KLUIS_TESTS_INTEROP_LIBRARY_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#include <kluis.h>

static struct kluis_failure failure;

#define MUST(call)                                                                      \
	do {                                                                            \
		if ((call) != 0) {                                                      \
			fprintf(stderr, "%d: %s: %s\n", __LINE__, #call, failure.text); \
			exit(1);                                                        \
		}                                                                       \
	} while (0)
#define CHECK(what)                                                           \
	do {                                                                  \
		if (!(what)) {                                                \
			fprintf(stderr, "%d: not so: %s\n", __LINE__, #what); \
			exit(1);                                              \
		}                                                             \
	} while (0)

#endif
