/* A site's disk as code under test meets it: the file calls of the whole program pass through here
 * (the linker's --wrap). A machine dies at any of them; a power cut takes back what was not synced,
 * as POSIX allows it: bytes of files without fsync(), names without fsync() of their directory. One
 * thread's: a step is of the thread that began it, and no other one may write meanwhile. */
#ifndef KLUIS_TESTS_SIM_BACKUP_DISK_H
#define KLUIS_TESTS_SIM_BACKUP_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"

struct disk;

/* graves: a directory on the same file system for what may have to come back. */
struct disk *disk_new(struct random *random, const char *graves);
void disk_free(struct disk *disk);

struct disk_step {
	uint64_t fuse;	  /* The machine dies at this file call (from 1); 0: it does not. */
	uint64_t room;	  /* Bytes that can be written before there is no space left. */
	uint64_t wall_ms; /* What a file that is synced now bears as its time. */
	bool unsynced;	  /* Planted bug: fsync() of a file does nothing. */
};
/* From here to disk_step_end() file calls are of this disk; without a step they pass untouched. */
void disk_step_begin(struct disk *disk, const struct disk_step *step);
bool disk_step_end(void); /* Whether the machine died. */
/* A coin of the step's, so that a seed decides; heads without a step. */
bool disk_coin(void);
/* Steps have ended and nothing below is open. */
void disk_power_cut(struct disk *disk);
uint64_t disk_undone(const struct disk *disk); /* Names and bytes that power cuts took, ever. */

#endif
