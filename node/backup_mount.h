/* Whether the disk of a backup repository is mounted: a repository must not be made anew in the
 * empty directory that is there while it is not. What is remembered is how many file systems are
 * entered on the way to it (docs/format-node.md, "repository-mount"). Blocking. */
#ifndef KLUIS_NODE_BACKUP_MOUNT_H
#define KLUIS_NODE_BACKUP_MOUNT_H

#include "base/buf.h"
#include "base/err.h"

enum { BACKUP_MOUNT_BYTES = 40 };

/* Beside that of "/". What is not there yet will be on the file system of what is. */
unsigned backup_mount_count(const char *path);
/* Appends the file's bytes. */
void backup_mount_encode(const char *path, unsigned count, struct buf *to);
/* KLUIS_ENOTFOUND: fewer are entered than were when the repository was open there last. */
KLUIS_MUST_CHECK int backup_mount_check(
	const char *data_dir, const char *repository, struct err *e);
/* The repository is open. */
void backup_mount_remember(const char *data_dir, const char *repository);

#endif
