/* Journal increments between cycles (docs/format-backup.md section 4): which one is built on which,
 * whose turn it is to take the next, and which ones a repository may forget. */
#ifndef KLUIS_BACKUP_JOURNAL_H
#define KLUIS_BACKUP_JOURNAL_H

#include "backup/point.h"
#include "storage/journal_store.h"
#include "storage/snapshot_store.h"

/* What number `number` (from 1) is best built on; 0: the cycle's snapshot. Each one ships what
 * changed behind that, so that no chain is longer than the sum of the number's digits in base 16,
 * and nothing is shipped more often than it has digits. Pure. */
uint32_t journal_parent(uint32_t number);

/* The manifest to build number `number` on, of those that this repository holds: the newest one
 * (manifest hash `newest`), or one below it. KLUIS_ENOTFOUND: `newest` is not here.
 * Release ret_manifest. Blocking. */
KLUIS_MUST_CHECK int journal_find_parent(struct repository *repository,
	const uint8_t newest[HASH_BYTES], uint32_t number, const struct backup_trust *trust,
	struct backup_manifest *ret_manifest, uint8_t ret_hash[HASH_BYTES], struct err *e);

struct journal_facts {
	const struct snapshot_row *base; /* The newest confirmed cycle. */
	const struct journal_row *row;
	const uint64_t *nodes; /* That can take a snapshot, ascending. */
	size_t n_nodes;
	uint64_t every_ms;
};
/* Cluster time from which on the next one may be taken. Pure. */
uint64_t journal_due_ms(const struct journal_facts *facts);
/* Between one node's turn to take it and the next one's. Pure. */
uint64_t journal_turn_ms(const struct journal_facts *facts);
/* The place of a node in the order of those that may take it: who took the last one is 0, or who
 * took the cycle. SIZE_MAX: it has none, for it does not hold the cycle. Pure. */
size_t journal_place(const struct journal_facts *facts, uint64_t node);

/* One that lies in a repository. */
struct journal_copy {
	struct manifest_name name;
	uint8_t base[HASH_BYTES];
	uint32_t cycle;
	uint64_t received_ms; /* By this site's clock. */
	bool chain;	      /* Work: the log's newest ones are built on it. */
	bool prune;	      /* Result. */
};
struct journal_keep {
	const struct journal_row *row; /* Of the log. */
	uint8_t lineage[ID_BYTES];
	uint64_t cycle, index; /* Of the newest confirmed cycle that is here; 0: none. */
	uint64_t now_ms, kept_ms;
};
/* Sets prune in each of n. One goes when a later cycle is here that reaches as far, alone or with
 * its own journal; or an hour after it came when nothing newer is built on it. Those of another
 * lineage go by age, once this one has a cycle here. None goes while one that stays is built on
 * it. Pure. */
void journal_keep_plan(struct journal_copy *copies, size_t n, const struct journal_keep *keep);

#endif
