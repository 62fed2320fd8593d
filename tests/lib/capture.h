/* What this process writes to its standard output and error. */
#ifndef KLUIS_TESTS_LIB_CAPTURE_H
#define KLUIS_TESTS_LIB_CAPTURE_H

#include <stddef.h>
#include <stdio.h>

struct capture {
	FILE *file;
	int out, err; /* As they were. */
};
void capture_begin(struct capture *capture);
/* Both are as before; of what was written the first max - 1 bytes and a 0 are in ret_text. */
void capture_end(struct capture *capture, char *ret_text, size_t max);

#endif
