/* Who proves, week by week, that backups restore: from the log's records and cluster time alone,
 * so that all nodes say the same: the sites whose operators gave them the private backup key, in
 * turn. Pure. */
#ifndef KLUIS_BACKUP_PROOF_H
#define KLUIS_BACKUP_PROOF_H

#include "storage/check_store.h"
#include "storage/journal_store.h"
#include "storage/node_backup_store.h"
#include "storage/snapshot_store.h"

/* What is known; all of it cluster time. */
struct proof_facts {
	const struct snapshot_row *rows; /* All records, ascending. */
	size_t n_rows;
	const struct check_row *checks;
	size_t n_checks;
	const struct node_backup_row *nodes; /* What they announced, ascending. */
	size_t n_nodes;
	uint64_t now_ms;
};

/* The sites that drill, in the order of the week that now_ms is in. */
struct proof_turn {
	uint64_t begin_ms; /* Of the week: Monday, 00:00 UTC. */
	uint64_t from_ms;  /* The first may begin; each other one turn_ms behind the one before. */
	uint64_t turn_ms;
	uint64_t order[SITES_MAX];
	size_t n;
	bool proven; /* A drill of this week was good. */
};
void proof_turn(const struct proof_facts *facts, struct proof_turn *ret_turn);

/* The newest confirmed snapshot that this node holds with all that its point is made of; NULL:
 * none. Points into facts. */
const struct snapshot_row *proof_snapshot(const struct proof_facts *facts, uint64_t node);

/* Whether this node holds the journal increments on `base` up to the newest one that enough sites
 * hold: what a restore would go by. */
bool proof_minute(
	const struct journal_row *journal, const struct snapshot_row *base, uint64_t node);

/* Whether this node is to drill now: it is its turn, a week's drill is wanted and there is
 * something to drill. */
bool proof_due(const struct proof_facts *facts, uint64_t node);

/* How much longer than it may be no restore was proven: where sites have the key two weeks, where
 * operators drill thirty days. Before the first proof it counts from when a site said that it
 * drills, or takes part in backups at all. 0: not longer. *ret_proven_ms: the last proof; 0: none.
 */
uint64_t proof_late_ms(const struct proof_facts *facts, uint64_t *ret_proven_ms);

#endif
