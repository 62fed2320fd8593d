/* The newest journal increment: one row, replaced with each (docs/format-backup.md section 4). */
#ifndef KLUIS_STORAGE_JOURNAL_STORE_H
#define KLUIS_STORAGE_JOURNAL_STORE_H

#include "base/limits.h"
#include "storage/kv.h"
#include "storage/txn.h"

struct journal_holder {
	uint64_t node;
	uint32_t number; /* Of the newest one that it said it holds. */
};

struct journal_row {
	uint64_t base_id, base_cycle; /* The confirmed cycle it stands on; id 0: none yet. */
	uint32_t number;	      /* From 1 on each cycle, one more each time. */
	uint64_t node;		      /* Who took it. */
	uint64_t index, term;	      /* S */
	uint64_t time_ms;	      /* Cluster time of S, as its taker says. */
	uint64_t created_ms;	      /* Cluster time when it was recorded. */
	uint8_t manifest_hash[32];
	/* The newest one that enough sites hold. Its number is 0 as long as it is one of the cycle
	 * before; its index is 0 when there never was one. */
	uint32_t confirmed;
	uint64_t confirmed_index, confirmed_time_ms;
	uint8_t confirmed_hash[32];
	uint8_t n_holders; /* Beside who took what they hold. */
	struct journal_holder holder[SITES_MAX];
};
void journal_row_encode(const struct journal_row *row, struct buf *to);
KLUIS_MUST_CHECK int journal_row_decode(
	struct bytes value, struct journal_row *ret_row, struct err *e);
/* All zero before the first. */
KLUIS_MUST_CHECK int journal_store_get(
	const struct kv_view *view, struct journal_row *ret_row, struct err *e);
void journal_store_put(struct txn *txn, const struct journal_row *row);

/* What this node said last; 0: nothing of this cycle. */
uint32_t journal_held(const struct journal_row *row, uint64_t node);
/* Whether a row changed behind raft index `after` that a restore would bring back: sessions and the
 * records of backups themselves are no change. */
KLUIS_MUST_CHECK int journal_changed(
	const struct kv_view *view, uint64_t after, bool *ret_changed, struct err *e);

#endif
