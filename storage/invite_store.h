/* Invitations to register, by the SHA-256 of their token. */
#ifndef KLUIS_STORAGE_INVITE_STORE_H
#define KLUIS_STORAGE_INVITE_STORE_H

#include "storage/kv.h"
#include "storage/txn.h"

enum { INVITE_NOTE_BYTES_MAX = 128, INVITE_USES_MAX = 10000 };

struct invite_row {
	uint8_t token_hash[32]; /* SHA-256 of the token's ASCII bytes. */
	uint64_t created_ms, expires_ms;
	uint32_t uses_left;		      /* At least 1: the row goes with the last one. */
	char note[INVITE_NOTE_BYTES_MAX + 1]; /* The operator's. */
};
void invite_row_encode(const struct invite_row *row, struct buf *to);
KLUIS_MUST_CHECK int invite_row_decode(
	struct bytes key, struct bytes value, struct invite_row *ret_row, struct err *e);
/* KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int invite_store_get(const struct kv_view *view, const uint8_t token_hash[32],
	struct invite_row *ret_row, struct err *e);
/* Up to max with a hash behind `after` (NULL: from the first), ascending. */
KLUIS_MUST_CHECK int invite_store_list(const struct kv_view *view, const uint8_t *after,
	struct invite_row *ret_rows, size_t max, size_t *ret_n, struct err *e);
/* With its place in the expiry queue; a row that is there keeps its expires_ms. */
void invite_store_put(struct txn *txn, const struct invite_row *row);
void invite_store_delete(struct txn *txn, const struct invite_row *row);

#endif
