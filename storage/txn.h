/* The state machine's working copy: reads go through what is written but not stored yet; commands
 * are undone when they are refused; at the end everything becomes one atomic batch. Keeps the
 * modification index and the rolling state hash. */
#ifndef KLUIS_STORAGE_TXN_H
#define KLUIS_STORAGE_TXN_H

#include "storage/event.h"
#include "storage/index_store.h"
#include "storage/kv.h"
#include "storage/position.h"

struct txn;

/* Over the store as it is; *position is where it stands. One thread. */
struct txn *txn_new(struct kv *kv, const struct position *position);
void txn_free(struct txn *txn); /* Drops what was not stored. NULL is allowed. */

/* What the state machine reads: the store with everything put so far. Owned by the txn; values and
 * iterators are valid until the next change. */
const struct kv_view *txn_view(const struct txn *txn);

/* One raft entry, then its commands. ordinals count from 0 within an entry. */
void txn_entry_begin(struct txn *txn, uint64_t index, uint64_t term);
/* Goes on, behind what was stored, as part of the entry the position stands at, with ordinals from
 * here on (above all that the entry gave itself): the last step of a restore. */
void txn_entry_resume(struct txn *txn, uint32_t ordinal);
void txn_command_begin(struct txn *txn);
/* Gives each row that the command changed its modification index, in key order, and moves the state
 * hash: H' = SHA-256("kluis/v1/state" | H | u64 index | n x { lp32 key | u8 deleted | value hash
 * }). A command without changes leaves it alone. KLUIS_ECORRUPT, KLUIS_EIO: end the process. */
KLUIS_MUST_CHECK int txn_command_commit(struct txn *txn, struct err *e);
/* Whether the last command that was committed changed a row of the family. */
bool txn_changed(const struct txn *txn, enum key_family family);
/* As if the command had never come. */
void txn_command_abort(struct txn *txn);

/* Key and value are copied. Only rows (row_key_is_row()), only between txn_command_begin() and its
 * end. A row that ends a command as it began it has not changed. */
void txn_put(struct txn *txn, struct bytes key, struct bytes value);
/* As txn_put() for large bytes whose SHA-256 is known: no pass over them and no copy. value must
 * stay until txn_store() or txn_free(). */
void txn_put_borrowed(
	struct txn *txn, struct bytes key, struct bytes value, const uint8_t hash[32]);
/* Deleting what is not there is no change. */
void txn_delete(struct txn *txn, struct bytes key);
/* Drops a row's tombstone for good (see fsm_expire); touches no row and no state hash.
 * KLUIS_ECORRUPT: it has none of that modification; KLUIS_EIO. */
KLUIS_MUST_CHECK int txn_forget(
	struct txn *txn, const struct modification *at, struct bytes key, struct err *e);

/* What the commands committed since the last txn_store(), or as of it, changed, in order: news,
 * with its index. Valid until the next txn_entry_begin() or _resume(). */
const struct event_list *txn_events(const struct txn *txn);

/* The position after what was committed; cluster time and counters are the caller's to move. */
struct position *txn_position(struct txn *txn);

/* One batch: rows, by_index, index_of, position. The txn is empty afterwards and may go on. */
KLUIS_MUST_CHECK int txn_store(struct txn *txn, struct err *e);

#endif
