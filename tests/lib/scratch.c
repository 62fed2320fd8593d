#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"

char *scratch_new(const char *name)
{
	const char *top = getenv("TMPDIR");
	char *path = x_asprintf("%s/kluis-%s-XXXXXX", top == NULL ? "/tmp" : top, name);

	if (mkdtemp(path) == NULL) {
		perror(path);
		abort();
	}
	return path;
}

void scratch_free(char *path)
{
	struct err e = {0};

	if (file_remove_tree(path, &e) != 0) {
		(void)fprintf(stderr, "%s\n", e.text);
		abort();
	}
	free(path);
}
