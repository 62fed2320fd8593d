/* What a repository may forget (docs/format-backup.md section 4, chain). Pure: no clock, no files.
 */
#ifndef KLUIS_BACKUP_RETENTION_H
#define KLUIS_BACKUP_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct retention_snapshot {
	uint8_t lineage[16];
	uint64_t index;
	uint32_t cycle;
	bool full, manual;
	bool pinned;	      /* Its point must stay restorable. */
	bool base;	      /* Another one here is built on it. */
	bool stray;	      /* Not in the log: it makes no other snapshot old. */
	bool unconfirmed;     /* In the log, but nobody may rely on it yet: nor does that. */
	uint64_t received_ms; /* By this site's clock, when it was complete here. */
	bool counts;	      /* Work: a cycle, and its newest snapshot. */
	bool prune;	      /* Result. */
};

struct retention_rules {
	uint64_t kept_ms;  /* Younger ones stay. */
	uint64_t fresh_ms; /* Nothing is pruned when the newest is older. */
	uint32_t cycles_kept;
};
extern const struct retention_rules retention_default;
/* How old the newest snapshot may be where one is due every interval_ms (0: never): two intervals,
 * and never less than BACKUP_FRESH_MS. Older, nothing is pruned, and operators are told. */
uint64_t retention_fresh_ms(uint64_t interval_ms);
/* Those of a site with these settings: times as [backup] keep_s and interval_s say. */
struct retention_rules retention_rules_of(uint64_t kept_ms, uint64_t interval_ms);

/* Sets prune in each of n snapshots, in any order. Nothing is pruned when the newest is older than
 * fresh_ms (somebody may keep new ones away until the old ones are gone), or when its time lies
 * ahead of now_ms. A snapshot with a cycle stays while fewer than cycles_kept newer cycles that
 * were confirmed are here (two snapshots of one cycle count once, and the older goes by age if it
 * is nobody's base), or when a pinned point's chain needs it. Strays count as neither. */
void retention_plan(struct retention_snapshot *snapshots, size_t n, uint64_t now_ms,
	const struct retention_rules *rules);
/* After retention_plan(): whether all that the point of snapshots[top] is made of is here, and
 * stays. */
bool retention_point_stays(const struct retention_snapshot *snapshots, size_t n, size_t top);

#endif
