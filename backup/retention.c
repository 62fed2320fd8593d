#include "backup/retention.h"

#include <string.h>

#include "base/limits.h"

const struct retention_rules retention_default = {
	.kept_ms = BACKUP_KEPT_MS,
	.fresh_ms = BACKUP_FRESH_MS,
	.cycles_kept = BACKUP_CYCLES_KEPT,
};

uint64_t retention_fresh_ms(uint64_t interval_ms)
{
	return BACKUP_FRESH_MS < 2 * interval_ms ? 2 * interval_ms : BACKUP_FRESH_MS;
}

struct retention_rules retention_rules_of(uint64_t kept_ms, uint64_t interval_ms)
{
	struct retention_rules rules = retention_default;

	rules.kept_ms = kept_ms;
	rules.fresh_ms = retention_fresh_ms(interval_ms);
	return rules;
}

static bool retention_same_lineage(
	const struct retention_snapshot *a, const struct retention_snapshot *b)
{
	return memcmp(a->lineage, b->lineage, sizeof a->lineage) == 0;
}

/* In one lineage the log says which is newer; between two only our own clock can. */
static bool retention_newer(const struct retention_snapshot *a, const struct retention_snapshot *b)
{
	if (retention_same_lineage(a, b)) {
		return a->index > b->index;
	}
	return a->received_ms > b->received_ms;
}

static uint32_t retention_oldest(const struct retention_snapshot *top)
{
	return top->cycle < BACKUP_SLICES ? 1 : top->cycle - BACKUP_SLICES + 1;
}

/* Whether restoring `top` may read `below`: the chain is the snapshot itself and the 41 cycles
 * under it, or for a manual one its base's chain. */
static bool retention_needs(
	const struct retention_snapshot *top, const struct retention_snapshot *below)
{
	if (top == below) {
		return true;
	}
	return !below->manual && retention_same_lineage(top, below) && below->index < top->index &&
	       below->cycle >= retention_oldest(top) && below->cycle <= top->cycle;
}

/* A cycle that others may rely on. */
static bool retention_is_cycle(const struct retention_snapshot *one)
{
	return !one->stray && !one->unconfirmed && !one->manual;
}

/* A cycle that was overtaken before it was confirmed is here twice: they count once. */
static bool retention_again(
	const struct retention_snapshot *all, size_t n, const struct retention_snapshot *one)
{
	for (size_t i = 0; i < n; i++) {
		if (retention_is_cycle(&all[i]) && all[i].cycle == one->cycle &&
			all[i].index > one->index && retention_same_lineage(&all[i], one)) {
			return true;
		}
	}
	return false;
}

/* Whether the cycle that a stands for is newer than one. One's own is not: the next cycle may be
 * built on either of its two snapshots. */
static bool retention_newer_cycle(
	const struct retention_snapshot *a, const struct retention_snapshot *one)
{
	bool of_cycle = !one->stray && !one->manual;

	return of_cycle && retention_same_lineage(a, one) ? a->cycle > one->cycle
							  : retention_newer(a, one);
}

static bool retention_may_go(const struct retention_snapshot *all, size_t n,
	const struct retention_snapshot *one, uint64_t now_ms, const struct retention_rules *rules)
{
	uint32_t newer_cycles = 0;

	if (now_ms < one->received_ms || now_ms - one->received_ms <= rules->kept_ms) {
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		newer_cycles += all[i].counts && retention_newer_cycle(&all[i], one);
		if (all[i].pinned && retention_needs(&all[i], one)) {
			return false;
		}
	}
	/* Nothing is built on a manual one, nor on one that was overtaken for good. */
	return one->manual || newer_cycles >= rules->cycles_kept ||
	       (!one->base && !one->stray && retention_again(all, n, one));
}

static bool retention_fresh(const struct retention_snapshot *all, size_t n, uint64_t now_ms,
	const struct retention_rules *rules)
{
	const struct retention_snapshot *newest = NULL;

	for (size_t i = 0; i < n; i++) {
		if (!all[i].stray && (newest == NULL || retention_newer(&all[i], newest))) {
			newest = &all[i];
		}
	}
	return newest != NULL && newest->received_ms <= now_ms &&
	       now_ms - newest->received_ms <= rules->fresh_ms;
}

void retention_plan(struct retention_snapshot *all, size_t n, uint64_t now_ms,
	const struct retention_rules *rules)
{
	bool fresh = retention_fresh(all, n, now_ms, rules);

	for (size_t i = 0; fresh && i < n; i++) {
		all[i].counts = retention_is_cycle(&all[i]) && !retention_again(all, n, &all[i]);
	}
	for (size_t i = 0; i < n; i++) {
		all[i].prune = fresh && retention_may_go(all, n, &all[i], now_ms, rules);
	}
}

static bool retention_cycle_stays(const struct retention_snapshot *all, size_t n,
	const struct retention_snapshot *top, uint32_t cycle)
{
	for (size_t i = 0; i < n; i++) {
		if (all[i].cycle == cycle && !all[i].stray && !all[i].prune &&
			retention_needs(top, &all[i])) {
			return true;
		}
	}
	return false;
}

bool retention_point_stays(const struct retention_snapshot *all, size_t n, size_t top)
{
	const struct retention_snapshot *of = &all[top];
	bool stays = !of->prune;

	for (uint32_t cycle = retention_oldest(of); stays && cycle <= of->cycle; cycle++) {
		stays = retention_cycle_stays(all, n, of, cycle);
	}
	return stays;
}
