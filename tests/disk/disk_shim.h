/* Stands between a program and libc's file calls, and lets them fail or take long: of files below
 * one directory only. Linked into a test, or preloaded into a program under test with
 *   KLUIS_SHIM_DIR=DIR KLUIS_SHIM_SLOW=FILE: every sync below DIR takes as many milliseconds as
 * FILE says while it exists (looked at each time), and leaves a byte in FILE.slept. */
#ifndef KLUIS_TESTS_DISK_DISK_SHIM_H
#define KLUIS_TESTS_DISK_DISK_SHIM_H

#include <stdbool.h>

enum disk_shim_kind {
	SHIM_WRITE, /* write, pwrite, fallocate, ftruncate */
	SHIM_SYNC,  /* fsync, fdatasync, sync_file_range */
	SHIM_NAME,  /* open to create, rename, unlink, link, mkdir */
	SHIM_ALLOC, /* malloc, calloc, realloc: of the whole process */
	SHIM_KINDS,
};

/* The nth call of that kind from now on (from 1) fails with error; later ones do not. Any thread.
 */
void disk_shim_arm(const char *dir, enum disk_shim_kind kind, unsigned nth, int error);
/* ... and whether it was reached. */
bool disk_shim_disarm(void);

#endif
