/* Snapshot records: who takes which, what it holds, which sites have it. */
#ifndef KLUIS_STORAGE_SNAPSHOT_STORE_H
#define KLUIS_STORAGE_SNAPSHOT_STORE_H

#include "base/limits.h"
#include "storage/kv.h"
#include "storage/txn.h"

enum snapshot_kind {
	SNAPSHOT_FULL = 1,	/* All rows: the first of a lineage. Counts as a cycle. */
	SNAPSHOT_INCREMENT = 2, /* Changes since base_index and slice cycle mod 42. */
	SNAPSHOT_MANUAL = 3,	/* All rows, by an operator's command; no cycle. */
};
enum snapshot_state {
	SNAPSHOT_RUNNING = 1,	/* Claimed by `node` until claim_expires_ms. */
	SNAPSHOT_SHIPPED = 2,	/* The manifest is recorded; sites confirm. */
	SNAPSHOT_CONFIRMED = 3, /* Enough sites confirmed. */
	SNAPSHOT_FAILED = 4,
};
enum { SNAPSHOT_ERROR_BYTES_MAX = 200, SNAPSHOT_DAMAGE_BYTES_MAX = 160 };

struct snapshot_confirmation {
	uint64_t node;	  /* Of the receiving site. */
	uint64_t time_ms; /* Cluster time. */
};

struct snapshot_row {
	uint64_t id; /* Raft index of the claim that made it: unique, ascending. */
	uint8_t kind, state;
	bool pinned;
	uint64_t node;	/* The taker. */
	uint64_t slot;	/* Unix milliseconds the cycle stands for (00, 04, .. UTC); manual: claimed.
			 */
	uint64_t cycle; /* Dense over confirmed ones, from 1; 0 for manual ones. */
	uint64_t base_id,
		base_index; /* Last confirmed cycle's id and index S' at the claim; 0: none. */
	uint64_t created_ms, claim_expires_ms; /* Cluster time. */
	/* From the record on: */
	uint64_t index, term; /* S */
	uint64_t objects, bytes;
	uint8_t manifest_hash[32], state_root[32];
	uint64_t confirmed_ms;
	uint8_t n_confirmations;
	struct snapshot_confirmation confirmation[SITES_MAX];
	char error[SNAPSHOT_ERROR_BYTES_MAX + 1]; /* Why it failed, or whose copy is damaged. */
};
/* A site's word that its copy is damaged, as the error of the record: at most
 * SNAPSHOT_DAMAGE_BYTES_MAX. */
void snapshot_row_put_damage(struct snapshot_row *row, uint64_t node, struct bytes text);
/* Whether the error is that node's word. */
bool snapshot_row_damage_of(const struct snapshot_row *row, uint64_t node);
/* What a record says that failed because its taker's state root is another one than the majority's,
 * or that of what it was taken against. */
#define SNAPSHOT_DISOWNED      "its state root is not the majority's"
#define SNAPSHOT_BASE_DISOWNED "its base's state root is not the majority's"
/* Whether it says so, and nothing else: it was a snapshot, and is none. */
bool snapshot_row_disowned(const struct snapshot_row *row);
void snapshot_row_encode(const struct snapshot_row *row, struct buf *to);
KLUIS_MUST_CHECK int snapshot_row_decode(
	struct bytes key, struct bytes value, struct snapshot_row *ret_row, struct err *e);
KLUIS_MUST_CHECK int snapshot_store_get(
	const struct kv_view *view, uint64_t id, struct snapshot_row *ret_row, struct err *e);
/* Up to max records with an id above `after`, ascending. */
KLUIS_MUST_CHECK int snapshot_store_list(const struct kv_view *view, uint64_t after,
	struct snapshot_row *ret_rows, size_t max, size_t *ret_n, struct err *e);
/* KLUIS_ECONFLICT: SNAPSHOTS_PINNED_MAX are pinned. */
KLUIS_MUST_CHECK int snapshot_check_pins(const struct snapshot_row *rows, size_t n, struct err *e);
void snapshot_store_put(struct txn *txn, const struct snapshot_row *row);
/* From now on it is the confirmed one of its cycle. */
void snapshot_store_put_cycle(struct txn *txn, const struct snapshot_row *row);
/* The record, and its place as the confirmed one of its cycle. */
KLUIS_MUST_CHECK int snapshot_store_delete(
	struct txn *txn, const struct snapshot_row *row, struct err *e);
/* The confirmed snapshot of a cycle. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int snapshot_store_cycle(
	const struct kv_view *view, uint64_t cycle, struct snapshot_row *ret_row, struct err *e);

/* Where the schedule stands. */
struct snapshot_state_row {
	uint64_t claimed_id; /* Of the running or shipped cycle snapshot; 0: none. */
	uint64_t last_slot;  /* Of the newest cycle claimed. */
	uint64_t confirmed_id, confirmed_cycle, confirmed_index; /* The newest confirmed cycle. */
	/* Raft index up to which tombstones may be forgotten: S of the oldest increment still kept.
	 */
	uint64_t tombstones_upto;
};
void snapshot_state_encode(const struct snapshot_state_row *row, struct buf *to);
KLUIS_MUST_CHECK int snapshot_state_decode(
	struct bytes value, struct snapshot_state_row *ret_row, struct err *e);
/* All zero before the first claim. */
KLUIS_MUST_CHECK int snapshot_store_state(
	const struct kv_view *view, struct snapshot_state_row *ret_row, struct err *e);
void snapshot_store_put_state(struct txn *txn, const struct snapshot_state_row *row);

#endif
