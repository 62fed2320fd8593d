/* What a node that is far behind fetches: the files of a checkpoint (docs/format-catch-up.md).
 * Pure.
 */
#ifndef KLUIS_RAFT_MANIFEST_H
#define KLUIS_RAFT_MANIFEST_H

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

enum {
	MANIFEST_ID_BYTES = 16,
	MANIFEST_NAME_BYTES_MAX = 64,
	MANIFEST_FILES_MAX = 8192,
	MANIFEST_FILE_BYTES_MAX_SHIFT = 40, /* A file is at most 1 TiB. */
};

struct manifest_file {
	char name[MANIFEST_NAME_BYTES_MAX + 1]; /* [A-Za-z0-9._-], not beginning with a dot. */
	uint64_t bytes;
	uint8_t hash[32]; /* SHA-256 */
};

/* Zero it before use; manifest_release() after. */
struct manifest {
	uint8_t id[MANIFEST_ID_BYTES]; /* Of the checkpoint, random. */
	unsigned n;
	struct manifest_file *files; /* In ascending order of name. */
};

void manifest_release(struct manifest *manifest);
/* Takes any order; the name must be as above (asserted: it is ours). */
void manifest_add(
	struct manifest *manifest, const char *name, uint64_t bytes, const uint8_t hash[32]);
bool manifest_name_valid(const char *name, size_t len);
uint64_t manifest_bytes(const struct manifest *manifest); /* Of all files together. */
/* Whether bytes offset .. offset + len - 1 lie in a file of that number; any numbers. */
bool manifest_has(const struct manifest *manifest, uint32_t file, uint64_t offset, uint32_t len);
/* Sorts the files. KLUIS_ETOOLARGE beyond MANIFEST_BYTES_MAX or MANIFEST_FILES_MAX. */
KLUIS_MUST_CHECK int manifest_encode(struct manifest *manifest, struct buf *to);
/* Exact length, every field checked. KLUIS_EPROTO, KLUIS_EVERSION. */
KLUIS_MUST_CHECK int manifest_decode(
	struct bytes bytes, struct manifest *ret_manifest, struct err *e);

#endif
