/* A tar archive (POSIX.1-2017 pax, ustar blocks) as a stream. Everything in it is its owner's
 * alone: 0600, 0700. */
#ifndef KLUIS_CLI_CLIENT_TAR_H
#define KLUIS_CLI_CLIENT_TAR_H

#include "base/buf.h"
#include "base/err.h"

enum { TAR_BLOCK_BYTES = 512 };

/* Appends the header of a file of `size` bytes, or of a folder (path without '/' at its end). After
 * a file's header come its bytes and tar_pad(). path: UTF-8, without '/' at its beginning. */
void tar_file(struct buf *to, const char *path, uint64_t size, uint64_t mtime_ms);
void tar_folder(struct buf *to, const char *path);
/* What fills a file's last block. */
void tar_pad(struct buf *to, uint64_t size);
void tar_end(struct buf *to);

#endif
