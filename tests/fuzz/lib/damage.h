/* Directories as a disk, a crash or a hand may leave them: images of a directory at several times,
 * and changes of its files that an input names. For fuzz targets. */
#ifndef KLUIS_TESTS_FUZZ_LIB_DAMAGE_H
#define KLUIS_TESTS_FUZZ_LIB_DAMAGE_H

#include "base/wire.h"

enum { DAMAGE_FILES_MAX = 64, DAMAGE_STATES_MAX = 4, DAMAGE_CHANGES_MAX = 16 };

struct damage_file {
	char *name; /* Below the directory. */
	struct buf bytes;
	size_t used; /* Up to the last byte that is not zero. */
};

struct damage {
	char dir[128]; /* damage_init()'s, or an existing one of the caller's. */
	/* By name. */
	struct damage_file file[DAMAGE_STATES_MAX][DAMAGE_FILES_MAX];
	unsigned n[DAMAGE_STATES_MAX];
};

/* A directory of this process, in memory if there is one; it goes when the process exits. */
void damage_init(struct damage *damage, const char *name);
/* Remembers all files that are there but those whose name begins with one of the prefixes (which
 * end with NULL). */
void damage_keep(struct damage *damage, unsigned state, const char *const *prefixes);
/* Makes the directory's files those of the state, then changes them as w says: { u8 what | u8 file
 * | u32 number | bytes } each. Returns whether anything differs from the state. */
bool damage_make(struct damage *damage, unsigned states, unsigned state, struct wire *w);

#endif
