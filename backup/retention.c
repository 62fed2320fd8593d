#include "backup/retention.h"

#include <string.h>

#include "base/limits.h"

const struct retention_rules retention_default = {
	.kept_ms = BACKUP_KEPT_MS,
	.fresh_ms = BACKUP_FRESH_MS,
	.cycles_kept = BACKUP_CYCLES_KEPT,
};

/* In one lineage the log says which is newer; between two only our own clock can. */
static bool retention_newer(const struct retention_snapshot *a, const struct retention_snapshot *b)
{
	if (memcmp(a->lineage, b->lineage, sizeof a->lineage) == 0) {
		return a->index > b->index;
	}
	return a->received_ms > b->received_ms;
}

/* Whether restoring `top` may read `below`: the chain is the snapshot itself and the 41 cycles
 * under it, or for a manual one its base's chain. */
static bool retention_needs(
	const struct retention_snapshot *top, const struct retention_snapshot *below)
{
	uint32_t oldest = top->cycle < BACKUP_SLICES ? 1 : top->cycle - BACKUP_SLICES + 1;

	if (top == below) {
		return true;
	}
	return !below->manual && memcmp(top->lineage, below->lineage, sizeof top->lineage) == 0 &&
	       below->index < top->index && below->cycle >= oldest && below->cycle <= top->cycle;
}

/* A cycle that was overtaken before it was confirmed is here twice: they count once. */
static bool retention_again(
	const struct retention_snapshot *all, size_t n, const struct retention_snapshot *one)
{
	for (size_t i = 0; i < n; i++) {
		if (!all[i].stray && !all[i].manual && all[i].cycle == one->cycle &&
			all[i].index > one->index &&
			memcmp(all[i].lineage, one->lineage, sizeof one->lineage) == 0) {
			return true;
		}
	}
	return false;
}

static bool retention_may_go(const struct retention_snapshot *all, size_t n,
	const struct retention_snapshot *one, uint64_t now_ms, const struct retention_rules *rules)
{
	uint32_t newer_cycles = 0;

	if (now_ms < one->received_ms || now_ms - one->received_ms <= rules->kept_ms) {
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		newer_cycles += all[i].counts && retention_newer(&all[i], one);
		if (all[i].pinned && retention_needs(&all[i], one)) {
			return false;
		}
	}
	/* Nothing is built on a manual one, nor on one that was overtaken for good. */
	return one->manual || newer_cycles >= rules->cycles_kept ||
	       (!one->base && !one->stray && !one->counts);
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
		all[i].counts =
			!all[i].stray && !all[i].manual && !retention_again(all, n, &all[i]);
	}
	for (size_t i = 0; i < n; i++) {
		all[i].prune = fresh && retention_may_go(all, n, &all[i], now_ms, rules);
	}
}
