/* A local file on its way into a vault: read once in order, and again in pieces when a commit has
 * to be made anew. */
#ifndef KLUIS_CLI_CLIENT_PUT_SOURCE_H
#define KLUIS_CLI_CLIENT_PUT_SOURCE_H

#include "cli/client/tree.h"

struct put_source {
	char *local_path, *path; /* path: in the vault. */
	int fd;
	bool pipe;		 /* Cannot be read again. */
	uint64_t size, mtime_ns; /* When it was opened. */
	struct hash hash;
	struct tree_file file; /* Grows with each chunk; complete at the end of the file. */
	size_t pages_cap;
	/* Instead of a file: appends the bytes of this chunk, none behind the last. */
	int (*read)(void *arg, uint64_t chunk, struct buf *to, struct err *e);
	void (*release)(void *arg);
	void *arg;
	uint64_t next_chunk;
	bool expected; /* At the end the content must have this hash, else KLUIS_EVERIFY. */
	uint8_t expected_sha256[HASH_BYTES];
	uint64_t *earlier; /* Chunk pages that an interrupted upload of it had committed. */
	size_t n_earlier;
};

/* size bytes that `read` gives, for any chunk and as often as it is asked; release frees arg with
 * the source. mode: permission bits. */
struct put_source *put_source_new(const char *path, uint64_t size, unsigned mode, uint64_t mtime_ms,
	int (*read)(void *arg, uint64_t chunk, struct buf *to, struct err *e),
	void (*release)(void *arg), void *arg);
/* From memory: a copy, cleared when it is freed; its time is now. */
struct put_source *put_source_of(struct bytes content, const char *path, unsigned mode);
/* local_path "-": stdin. KLUIS_EINVAL for what is no file. */
KLUIS_MUST_CHECK int put_source_open(
	const char *local_path, const char *path, struct put_source **ret_source, struct err *e);
void put_source_free(struct put_source *source); /* NULL is fine. */
/* The next chunk into `to` (emptied first; whole chunks but for the last). Empty: the end; then
 * size, time and hash stand in source->file, and KLUIS_ECONFLICT says that the file changed. */
KLUIS_MUST_CHECK int put_source_next(struct put_source *source, struct buf *to, struct err *e);
/* A chunk again; it must have this hash, else KLUIS_ECONFLICT. */
KLUIS_MUST_CHECK int put_source_again(struct put_source *source, uint64_t chunk,
	const uint8_t plain_hash[HASH_BYTES], struct buf *to, struct err *e);
/* SHA-256 of the whole file, which is then at its beginning again. */
KLUIS_MUST_CHECK int put_source_sha256(
	struct put_source *source, uint8_t ret_sha256[HASH_BYTES], struct err *e);
void put_source_add_page(struct put_source *source, uint64_t page_no);

/* The note of an upload under way, so that the next run goes on with it; one a vault. */
KLUIS_MUST_CHECK int put_journal_store(
	const struct vault *vault, const struct put_source *source, struct err *e);
/* Takes the note's pages into the source if it is of this file; *ret_any: there is a note. */
KLUIS_MUST_CHECK int put_journal_load(
	const struct vault *vault, struct put_source *source, bool *ret_any, struct err *e);
KLUIS_MUST_CHECK int put_journal_drop(const struct vault *vault, struct err *e);

#endif
