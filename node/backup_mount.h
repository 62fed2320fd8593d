/* Whether the disk of a backup repository, or of the drops, is mounted: neither must be made anew
 * in the empty directory that is there while it is not. What is remembered is how many file systems
 * are entered on the way to it (docs/format-node.md, "repository-mount, drop-mount"). Blocking. */
#ifndef KLUIS_NODE_BACKUP_MOUNT_H
#define KLUIS_NODE_BACKUP_MOUNT_H

#include "base/buf.h"
#include "base/err.h"

enum { BACKUP_MOUNT_BYTES = 40 };

/* What is to be on a disk of its own, and where: "repository" or "drop", as the settings have it;
 * a file of that name in the data directory remembers it. */
struct backup_mount {
	const char *data_dir, *what, *path;
};

/* Beside that of "/". What is not there yet will be on the file system of what is. */
unsigned backup_mount_count(const char *path);
/* Appends the file's bytes. */
void backup_mount_encode(const char *path, unsigned count, struct buf *to);
/* KLUIS_ENOTFOUND: fewer are entered than were when it was open there last. */
KLUIS_MUST_CHECK int backup_mount_check(const struct backup_mount *mount, struct err *e);
/* It is open. */
void backup_mount_remember(const struct backup_mount *mount);

#endif
