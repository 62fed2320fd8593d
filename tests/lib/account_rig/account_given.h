/* Pages and files that one of three people gives to another alone. */
#ifndef KLUIS_TESTS_LIB_ACCOUNT_GIVEN_H
#define KLUIS_TESTS_LIB_ACCOUNT_GIVEN_H

#include "cli/client/share_file.h"
#include "tests/lib/account_rig/account_three.h"

/* cmocka's, of a group; the node has the clock of those who give. */
int setup_given(void **state);

extern unsigned given_days; /* For how long: 7. */
/* The file at path, or, without one, the page. */
int given_give(struct fixture *f, struct device *d, const char *name, const char *who,
	const char *path, uint64_t page_no, uint8_t ret_id[ID_BYTES]);

/* What one has been given, or gave. */
struct given {
	struct people *people;
	struct shared_file *files;
	size_t n;
};
void given_look(struct fixture *f, struct device *d, struct given *given);
void given_look_end(struct given *given);

#endif
