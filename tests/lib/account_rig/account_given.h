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
/* A new vault of alice's with that text in a file, which bob is given. */
void given_prepared(struct fixture *f, const char *name, const char *text);
/* The same with the text "one", given twice. */
void given_twice(struct fixture *f, const char *name, uint8_t ret_first[ID_BYTES],
	uint8_t ret_second[ID_BYTES]);
/* How many pages of others the node shows this device's user. */
unsigned given_grants(struct fixture *f, const struct device *d);
/* Ends what has that id, or all that one gave and was given. */
void given_end(struct fixture *f, struct device *d, const uint8_t id[ID_BYTES]);
void given_end_all(struct fixture *f, struct device *d);
/* cmocka's, after a test: of alice's and bob's all. */
int given_forget(void **state);

/* What one has been given, or gave. */
struct given {
	struct people *people;
	struct shared_file *files;
	size_t n;
};
void given_look(struct fixture *f, struct device *d, struct given *given);
void given_look_end(struct given *given);

#endif
