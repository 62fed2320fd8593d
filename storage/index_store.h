/* by_index: which rows changed when. One row for each live row and each tombstone, in the order of
 * the changes, with the value's SHA-256: sync, slices, backups and the state root never read the
 * values they do not send. */
#ifndef KLUIS_STORAGE_INDEX_STORE_H
#define KLUIS_STORAGE_INDEX_STORE_H

#include "storage/key_codec.h"
#include "storage/kv.h"

/* When a row was changed last: raft index, then the how-manieth change of that entry. */
struct modification {
	uint64_t index;
	uint32_t ordinal;
};

int modification_compare(const struct modification *a, const struct modification *b);

struct index_row {
	struct modification at;
	bool deleted;	  /* A tombstone: the row is gone, hash is zero. */
	uint8_t hash[32]; /* SHA-256 of the row's value. */
	struct bytes key; /* Of the row; in an iterator valid until its next step. */
};

/* Of both rows of the index, and one key of by_index more, without the row's key in two of them. */
enum { INDEX_BYTES_MAX = 160 };
void index_row_encode(const struct index_row *row, struct buf *to);
/* key: of the by_index row itself. ret_row->key points into value. */
KLUIS_MUST_CHECK int index_row_decode(
	struct bytes key, struct bytes value, struct index_row *ret_row, struct err *e);

/* When a row was changed last and how: at, deleted and hash; ret_row->key is `key`. KLUIS_ENOTFOUND
 * when it never was there or its tombstone was forgotten. */
KLUIS_MUST_CHECK int index_store_of(
	const struct kv_view *view, struct bytes key, struct index_row *ret_row, struct err *e);
/* Keys and value of the two rows that say the same: by_index finds it by time, index_of by key. */
struct row_key index_by_key(const struct modification *at);
struct row_key index_of_key(struct bytes key);
void index_of_encode(const struct index_row *row, struct buf *to);
KLUIS_MUST_CHECK int index_of_decode(
	struct bytes key, struct bytes value, struct index_row *ret_row, struct err *e);

/* Rows changed with after < raft index <= upto, tombstones among them, in order. */
struct index_iter;
struct index_iter *index_iter_new(const struct kv_view *view, uint64_t after, uint64_t upto);
/* true: *ret_row is the next one. false: the end or a failure; ask index_iter_status(). */
bool index_iter_next(struct index_iter *iter, struct index_row *ret_row);
KLUIS_MUST_CHECK int index_iter_status(const struct index_iter *iter, struct err *e);
void index_iter_free(struct index_iter *iter); /* NULL is allowed. */

/* A row that is gone, with a key of its own. */
struct index_tombstone {
	struct modification at;
	struct row_key key;
};
/* Looks at no more than max rows behind *cursor with a raft index <= upto, gives the tombstones
 * among them and moves the cursor to the last one looked at, or behind upto when none was left. */
KLUIS_MUST_CHECK int index_store_tombstones(const struct kv_view *view, struct modification *cursor,
	uint64_t upto, struct index_tombstone *ret_rows, size_t max, size_t *ret_n, struct err *e);

/* SHA-256 over { u64 index | u32 ordinal | lp32 key | value hash } of all LIVE rows in by_index
 * order (tombstones may be forgotten at different times after a restore, live rows may not differ):
 * equal on all nodes at one index. Streams; never reads a value. Blocking for as long as a scan of
 * by_index takes. */
KLUIS_MUST_CHECK int index_store_root(
	const struct kv_view *view, uint8_t ret_root[32], uint64_t *ret_rows, struct err *e);
/* The same, fed by a restore that has the rows in order. */
struct index_root;
struct index_root *index_root_new(void);
void index_root_add(struct index_root *root, const struct index_row *row);
void index_root_end(struct index_root *root, uint8_t ret_root[32]); /* Frees root. */

#endif
