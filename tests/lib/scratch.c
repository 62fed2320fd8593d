#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"

enum { SCRATCH_MIB_MIN = 2048 };

/* In memory where there is room: thousands of syncs a test are the disk's time, not the test's, and
 * what a sync is good for no unit test can see (tests/sim and tests/fault do). TMPDIR says
 * otherwise. */
static const char *scratch_top(void)
{
	const char *top = getenv("TMPDIR");
	struct statvfs room;

	if (top != NULL) {
		return top;
	}
	if (access("/dev/shm", W_OK) == 0 && statvfs("/dev/shm", &room) == 0 &&
		((uint64_t)room.f_bavail * room.f_frsize) >> 20 >= SCRATCH_MIB_MIN) {
		return "/dev/shm";
	}
	return "/tmp";
}

char *scratch_new(const char *name)
{
	char *path = x_asprintf("%s/kluis-%s-XXXXXX", scratch_top(), name);

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
