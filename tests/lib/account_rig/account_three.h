/* Three people at the API of a real node: alice, bob and carol, each with one device. */
#ifndef KLUIS_TESTS_LIB_ACCOUNT_THREE_H
#define KLUIS_TESTS_LIB_ACCOUNT_THREE_H

#include "tests/lib/account_rig/account_rig.h"

extern struct device bob, carol;

/* cmocka's, of a group: registered once for all. */
int setup_three(void **state);
int teardown_three(void **state);
/* Bob and carol, for a setup of its own. */
void three_open(struct fixture *f);
/* main() of a program of tests of these: with an argument those alone that it names. */
int three_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n);

#endif
