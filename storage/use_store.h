/* What a person's vaults take: pages and their bytes, as they stand now (older revisions are not
 * counted). Charged to the person who founded the vault; kept up with every commit, so that a quota
 * can be held without walking her vaults. */
#ifndef KLUIS_STORAGE_USE_STORE_H
#define KLUIS_STORAGE_USE_STORE_H

#include "storage/kv.h"
#include "storage/txn.h"

struct use {
	uint64_t bytes, pages;
};
struct use_row {
	uint8_t user_id[16];
	struct use use;
};
void use_row_encode(const struct use_row *row, struct buf *to);
KLUIS_MUST_CHECK int use_row_decode(
	struct bytes key, struct bytes value, struct use_row *ret_row, struct err *e);
/* KLUIS_ENOTFOUND: nobody who is charged: a service account, or a person who is gone. */
KLUIS_MUST_CHECK int use_store_get(const struct kv_view *view, const uint8_t user_id[16],
	struct use_row *ret_row, struct err *e);
/* A new person, with nothing. */
void use_store_begin(struct txn *txn, const uint8_t user_id[16]);
void use_store_delete(struct txn *txn, const uint8_t user_id[16]);
/* What took `was` takes `is` now. *ret_row (may be NULL) is the row then. KLUIS_ENOTFOUND, as
 * use_store_get(). */
KLUIS_MUST_CHECK int use_store_move(struct txn *txn, const uint8_t user_id[16],
	const struct use *was, const struct use *is, struct use_row *ret_row, struct err *e);

/* What a person takes and may take: the operator's word on her, else the policy in force. */
struct quota {
	struct use used, max; /* max 0: no quota. */
};
/* KLUIS_ENOTFOUND, as use_store_get(). */
KLUIS_MUST_CHECK int quota_get(const struct kv_view *view, const uint8_t user_id[16],
	struct quota *ret_quota, struct err *e);

#endif
