/* Vaults, who may use them, and their signed heads. */
#ifndef KLUIS_STORAGE_VAULT_STORE_H
#define KLUIS_STORAGE_VAULT_STORE_H

#include "base/limits.h"
#include "storage/kv.h"
#include "storage/txn.h"

enum vault_state { VAULT_ACTIVE = 1, VAULT_DELETING = 2, VAULT_GONE = 3 };
enum { VAULT_LABEL_BYTES_MAX = 1024, HEAD_SIGNED_BYTES_MAX = 512 };

struct vault_row {
	uint8_t vault_id[16];
	uint8_t state; /* enum vault_state; a deleted vault's id is never free again. */
	uint64_t created_ms;
	uint64_t revision; /* From 1, by each PATCH: ETag of the vault itself. */
	uint64_t seq;	   /* Of the current head. */
	/* key_epoch is the head's, or already that of the chain, which the next head has to use. */
	uint32_t key_epoch, members_rev;
	uint32_t chain_epoch; /* Of the membership chain: 1, and one more by each rotate. */
	uint64_t page_count;
	/* Of all current pages, and who founded it, to whom they are charged; kept for vaults made
	 * from feature level 3 on, `counted`. */
	bool counted;
	uint64_t bytes;
	uint8_t founder[16];
	uint8_t head_hash[32], members_hash[32];
	uint16_t label_bytes; /* What the client sealed as its name; the node cannot read it. */
	uint8_t label[VAULT_LABEL_BYTES_MAX];
};
void vault_row_encode(const struct vault_row *row, struct buf *to);
KLUIS_MUST_CHECK int vault_row_decode(
	struct bytes key, struct bytes value, struct vault_row *ret_row, struct err *e);
/* Whatever its state. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int vault_store_get(const struct kv_view *view, const uint8_t vault_id[16],
	struct vault_row *ret_row, struct err *e);
/* For a request by this user: KLUIS_ENOTFOUND when there is none or the user has no role in it (the
 * two must look alike), KLUIS_EGONE when it was deleted and the user had one, KLUIS_EFORBIDDEN when
 * the role is below role_min (MEMBER_READ ..) or was not accepted yet. *ret_role: the best of the
 * own accepted one and those of accepted groups (vault_access_get()). The same check runs in apply.
 */
KLUIS_MUST_CHECK int vault_store_check(const struct kv_view *view, const uint8_t vault_id[16],
	const uint8_t user_id[16], unsigned role_min, struct vault_row *ret_row, unsigned *ret_role,
	struct err *e);
void vault_store_put(struct txn *txn, const struct vault_row *row);

/* One bounded step of deleting what a vault held: at most max rows of heads, pages, bytes, staged
 * pages and their expiry; the vault's row, its members and its create statement stay.
 * *ret_n 0: nothing was left. */
KLUIS_MUST_CHECK int vault_store_purge(
	struct txn *txn, const uint8_t vault_id[16], size_t max, size_t *ret_n, struct err *e);

/* One page of a commit, as the head row lists it. */
struct head_page {
	uint64_t page_no, revision;
	uint32_t key_epoch;
	uint8_t leaf[32];
};
enum { HEAD_PAGE_BYTES = 8 + 8 + 4 + 32 };
/* A signed head and what its commit changed. */
struct head_row {
	uint64_t seq;
	uint8_t hash[32];
	uint64_t committed_ms;	  /* Cluster time. */
	struct bytes signed_head; /* 208 bytes, kid, signature: as the client sent it. */
	uint32_t n_pages;
	struct bytes pages; /* n_pages x HEAD_PAGE_BYTES, ascending by page_no. */
};
void head_row_encode(const struct head_row *row, struct buf *to);
void head_page_encode(const struct head_page *page, struct buf *to);
/* signed_head and pages point into value. */
KLUIS_MUST_CHECK int head_row_decode(
	struct bytes key, struct bytes value, struct head_row *ret_row, struct err *e);
/* Page i of the row's list; i < n_pages. */
struct head_page head_row_page(const struct head_row *row, uint32_t i);
/* The row of head seq; value holds the bytes that *ret_row points into. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int head_store_get(const struct kv_view *view, const uint8_t vault_id[16],
	uint64_t seq, struct buf *value, struct head_row *ret_row, struct err *e);
void head_store_put(struct txn *txn, const uint8_t vault_id[16], const struct head_row *row);

/* Walks the heads with a seq above since, ascending. The view outlives it. */
struct head_iter;
struct head_iter *head_iter_new(
	const struct kv_view *view, const uint8_t vault_id[16], uint64_t since);
/* true: *ret_row is the next one, valid until the next call. false: the end or a failure; ask
 * head_iter_status(). */
bool head_iter_next(struct head_iter *iter, struct head_row *ret_row);
KLUIS_MUST_CHECK int head_iter_status(const struct head_iter *iter, struct err *e);
void head_iter_free(struct head_iter *iter); /* NULL is allowed. */

/* Pages changed by heads behind (seq, page_no) of the cursor, in order, at most max of them. The
 * cursor begins as {since, UINT64_MAX}: all of head `since` is known; afterwards it names where to
 * go on, and *ret_done says that nothing is left. */
struct change_cursor {
	uint64_t seq, page_no;
};
struct change {
	uint64_t seq;
	struct head_page page;
};
KLUIS_MUST_CHECK int head_store_changes(const struct kv_view *view, const uint8_t vault_id[16],
	struct change_cursor *cursor, struct change *ret_changes, size_t max, size_t *ret_n,
	bool *ret_done, struct err *e);

#endif
