/* When cycles are due, and whose turn it is to claim one: from the log's records and cluster time
 * alone, so that all nodes say the same. It only keeps them from claiming all at once: which claim
 * counts is decided in apply. Pure. */
#ifndef KLUIS_BACKUP_SCHEDULE_H
#define KLUIS_BACKUP_SCHEDULE_H

#include "storage/snapshot_store.h"

struct schedule_rules {
	uint64_t interval_ms; /* 0: no schedule. */
	uint64_t offset_ms;   /* Below the interval: cycles are due at multiples of it, and so much
				 later, since 1970 UTC. */
};

/* What is known; all of it cluster time. */
struct schedule_facts {
	struct schedule_rules rules;
	struct snapshot_state_row state;
	const struct snapshot_row *rows; /* All records, ascending. */
	size_t n_rows;
	uint64_t nodes[SITES_MAX]; /* That can take a snapshot, ascending. */
	size_t n_nodes;
	uint64_t leader; /* 0: none known. */
	uint64_t now_ms;
};

/* The claim that comes next: of a cycle to come, of one that is due, or of one whose taker is
 * silent or failed. */
struct schedule_turn {
	uint64_t slot;
	uint64_t from_ms;	   /* Not before. */
	uint64_t turn_ms;	   /* Between one of order and the next. */
	uint64_t order[SITES_MAX]; /* Who may claim first: another one each cycle, the leader
				      behind all others, who tried in vain behind that. */
	size_t n;
};

/* The newest cycle that is due at now_ms: what was missed is caught up by that one alone. 0: none
 * yet. */
uint64_t schedule_slot(const struct schedule_rules *rules, uint64_t now_ms);
/* False: there is no schedule. */
bool schedule_look(const struct schedule_facts *facts, struct schedule_turn *ret_turn);
/* The place of a node in order, from 0; n when it has none. */
size_t schedule_place(const struct schedule_turn *turn, uint64_t node);
/* How long a claim lasts unless its taker renews it. */
uint32_t schedule_claim_ms(const struct schedule_rules *rules);
/* How long a taker may move nothing: as long as a claim lasts, and at least SCHEDULE_STALL_MS_MIN.
 */
uint64_t schedule_stall_ms(const struct schedule_rules *rules);

/* When a taker was last seen to get on. Zero: not yet. */
struct schedule_pulse {
	uint64_t id, moved, since_ms;
};
/* Whether snapshot `id` gets on: `moved`, any count of what is done for it, was another one less
 * than stall_ms ago. To be called now and then; now_ms never goes back. */
bool schedule_gets_on(struct schedule_pulse *pulse, uint64_t id, uint64_t moved, uint64_t now_ms,
	uint64_t stall_ms);

/* How far the shipping of a recorded snapshot is, for its taker. */
struct schedule_shipping {
	uint64_t moved;	    /* Any count of what is sent of snapshots. */
	unsigned delivered; /* Sites that were brought all of it, or confirmed it. */
	unsigned copies;    /* That make it count. */
	uint64_t stall_ms;  /* schedule_stall_ms(). */
	uint64_t ticks_ms;  /* A clock that never goes back. */
};
/* Whether who took `row` and ships it is to keep its claim: while anything is sent or confirmed
 * within stall_ms, and, until a later cycle is due, while enough sites have all of it and only have
 * to take it in. Each try of the cycle that failed doubles the time, for who ships may not be the
 * one to blame. To be called now and then. */
bool schedule_ships(const struct schedule_facts *facts, const struct snapshot_row *row,
	const struct schedule_shipping *shipping, struct schedule_pulse *pulse);

#endif
