/* Whole small files and directories, durably. Blocking: never on a loop thread. */
#ifndef KLUIS_BASE_FILE_H
#define KLUIS_BASE_FILE_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* Appends the file's bytes; KLUIS_ETOOLARGE beyond max. NULL: standard input, as it is: a pipe of
 * another user's is not opened again. */
KLUIS_MUST_CHECK int file_read(const char *path, size_t max, struct buf *to, struct err *e);
/* Temporary file, fsync, rename, fsync of the directory: after a crash either the old or the new
 * bytes are there. */
KLUIS_MUST_CHECK int file_write(const char *path, struct bytes bytes, mode_t mode, struct err *e);
/* As file_write(), but KLUIS_EEXIST when the path exists. */
KLUIS_MUST_CHECK int file_create(const char *path, struct bytes bytes, mode_t mode, struct err *e);
/* fsync of a directory, so that names in it survive a power cut. */
KLUIS_MUST_CHECK int file_sync_dir(const char *path, struct err *e);
/* All missing parts of the path; an existing directory is success. */
KLUIS_MUST_CHECK int file_make_dirs(const char *path, mode_t mode, struct err *e);
/* The directory and all below it, without following links; a missing one is success. */
KLUIS_MUST_CHECK int file_remove_tree(const char *path, struct err *e);
/* write(2) until all is written; errno on failure. What is not of whole blocks, or not where blocks
 * are, ends file_set_direct(). */
KLUIS_MUST_CHECK int file_write_all(int fd, struct bytes bytes);
enum { FILE_BLOCK_BYTES = 4096 };
/* What is written to fd from now on, in whole blocks from memory at a multiple of them, goes past
 * the page cache (O_DIRECT) where the file system can: for what nobody here reads soon. */
void file_set_direct(int fd);
/* Has the disk begin with what was written to fd so far, and does not wait: a later fsync then has
 * only the rest to wait for. Promises nothing. */
void file_write_behind(int fd);
bool file_exists(const char *path);
/* Of read(2) of a regular file, failed with this errno: what lies there is lost. false: it is this
 * process that may not read, or has no memory. */
bool file_is_lost(int errnum);

#endif
