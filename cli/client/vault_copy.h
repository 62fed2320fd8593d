/* One vault as it was in a snapshot: what an operator takes out with `kluisctl restore vault` and
 * its owner reads and takes up (docs/format-vault-copy.md). Ciphertext and a signed head; a
 * directory of the file `copy` and one file a page. */
#ifndef KLUIS_CLI_CLIENT_VAULT_COPY_H
#define KLUIS_CLI_CLIENT_VAULT_COPY_H

#include "base/limits.h"
#include "crypto/head.h"

struct vault_copy_leaf {
	uint64_t revision; /* 0: never written. */
	uint32_t epoch;
	uint8_t leaf[HASH_BYTES];
};
struct vault_copy {
	uint8_t cluster_id[ID_BYTES], lineage[ID_BYTES], manifest_hash[HASH_BYTES];
	uint64_t index, time_ms; /* Of the snapshot: raft index, cluster time. */
	uint8_t head_bytes[HEAD_BYTES];
	struct head head;		/* Parsed from them. */
	struct vault_copy_leaf *leaves; /* head.page_count. */
};
void vault_copy_release(struct vault_copy *copy);

/* Appends the file's bytes; head is not looked at, head_bytes is. */
void vault_copy_encode(const struct vault_copy *copy, struct buf *to);
/* The leaves are those of the head (KLUIS_EVERIFY when not); who signed that is not looked at.
 * KLUIS_ECORRUPT, KLUIS_EVERSION. Release *ret_copy. */
KLUIS_MUST_CHECK int vault_copy_parse(
	struct bytes bytes, struct vault_copy *ret_copy, struct err *e);
/* From <dir>/copy. */
KLUIS_MUST_CHECK int vault_copy_read(const char *dir, struct vault_copy *ret_copy, struct err *e);
/* "<dir>/copy", "<dir>/page-<page_no>"; the caller frees it. */
char *vault_copy_file(const char *dir);
char *vault_copy_page(const char *dir, uint64_t page_no);

#endif
