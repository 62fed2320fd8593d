/* What the files of a put share. */
#ifndef KLUIS_CLI_CLIENT_PUT_IMPL_H
#define KLUIS_CLI_CLIENT_PUT_IMPL_H

#include "cli/client/put.h"
#include "cli/client/upload.h"

/* A sealed chunk that waits for its commit. */
struct put_piece {
	struct put_source *source;
	uint64_t chunk; /* Of its file. */
	uint8_t plain_hash[HASH_BYTES];
	struct api_entry entry;
	struct buf page;  /* Inline ones. */
	struct buf plain; /* Of a pipe: it cannot be read again. */
};

struct put {
	struct vault *vault;
	struct put_config config;
	struct tree *tree;
	struct upload *upload;
	bool resuming, noted; /* noted: the journal names an upload of ours. */
	struct put_piece pieces[PUT_CHUNKS_MAX];
	size_t n_pieces, inline_bytes;
	struct change *changes;
	size_t n_changes, changes_cap, cost;
	struct change_notices notices; /* Of the try under way. */
	bool newer;		       /* Another writer was first since the put began. */
	uint64_t next_page;
	uint64_t *carried; /* Doomed before this commit's changes: they outlive a conflict. */
	size_t n_carried;
	struct put_result result;
};

uint64_t put_first_page(const struct vault *vault);
void put_clear_batch(struct put *put);
/* Seals a piece at the next page number, and keeps or stages the page. */
KLUIS_MUST_CHECK int piece_seal(
	struct put *put, struct put_piece *piece, struct bytes content, struct err *e);
/* Commits the pieces and changes there are, after a conflict again on the newer state. */
KLUIS_MUST_CHECK int put_flush(struct put *put, struct err *e);

#endif
