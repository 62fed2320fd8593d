#include "backup/journal.h"

#include <assert.h>
#include <string.h>

#include "backup/ship.h"

enum { JOURNAL_FOLD = 16, JOURNAL_NUMBER_FOLDED = 0xffff };

uint32_t journal_parent(uint32_t number)
{
	uint64_t step = 1;

	assert(number > 0);
	if (number > JOURNAL_NUMBER_FOLDED) {
		return 0; /* The sum of five digits could pass JOURNAL_CHAIN_MAX. */
	}
	while (number % (step * JOURNAL_FOLD) == 0) {
		step *= JOURNAL_FOLD;
	}
	return (uint32_t)(number - step);
}

int journal_find_parent(struct repository *repository, const uint8_t newest[HASH_BYTES],
	uint32_t number, const struct backup_trust *trust, struct backup_manifest *ret_manifest,
	uint8_t ret_hash[HASH_BYTES], struct err *e)
{
	uint32_t wanted = journal_parent(number);
	struct backup_manifest m = {0};
	uint8_t hash[HASH_BYTES];
	int rc;

	memcpy(hash, newest, HASH_BYTES);
	for (unsigned n = 0;; n++) {
		rc = n <= JOURNAL_CHAIN_MAX ? point_manifest(repository, hash, trust, &m, e)
					    : err_set(e, KLUIS_ECORRUPT, "the journal has no end");
		if (rc != 0) {
			return rc;
		}
		if (m.type != MANIFEST_JOURNAL || m.number <= wanted) {
			break;
		}
		memcpy(hash, m.base, HASH_BYTES);
		backup_manifest_release(&m);
	}
	*ret_manifest = m;
	memcpy(ret_hash, hash, HASH_BYTES);
	return 0;
}

static bool journal_same_base(const struct journal_facts *f)
{
	return f->row->base_id == f->base->id;
}

uint64_t journal_due_ms(const struct journal_facts *f)
{
	uint64_t every_ms = f->every_ms;

	if (!journal_same_base(f)) {
		return f->base->confirmed_ms;
	}
	if (f->row->confirmed != f->row->number && every_ms < JOURNAL_HELD_MS) {
		every_ms = JOURNAL_HELD_MS;
	}
	return f->row->created_ms + every_ms;
}

uint64_t journal_turn_ms(const struct journal_facts *f)
{
	return f->every_ms / 2 < JOURNAL_TURN_MS ? f->every_ms / 2 : JOURNAL_TURN_MS;
}

size_t journal_place(const struct journal_facts *f, uint64_t node)
{
	uint64_t first = journal_same_base(f) ? f->row->node : f->base->node;
	size_t place = 0, start = 0;

	while (start < f->n_nodes && f->nodes[start] < first) {
		start++;
	}
	for (size_t i = 0; i < f->n_nodes; i++) {
		uint64_t at = f->nodes[(start + i) % f->n_nodes];
		bool holds = at == f->base->node || ship_confirmed_by(f->base, at);

		if (holds && at == node) {
			return place;
		}
		place += holds;
	}
	return SIZE_MAX;
}

static struct journal_copy *journal_copy_of(
	struct journal_copy *copies, size_t n, const uint8_t hash[HASH_BYTES])
{
	for (size_t i = 0; i < n; i++) {
		if (memcmp(copies[i].name.hash, hash, HASH_BYTES) == 0) {
			return &copies[i];
		}
	}
	return NULL;
}

/* Whether it is here. */
static bool journal_mark_chain(
	struct journal_copy *copies, size_t n, const uint8_t hash[HASH_BYTES])
{
	struct journal_copy *copy = journal_copy_of(copies, n, hash);
	bool here = copy != NULL;

	while (copy != NULL && !copy->chain) {
		copy->chain = true;
		copy = journal_copy_of(copies, n, copy->base);
	}
	return here;
}

static bool journal_old(uint64_t now_ms, uint64_t received_ms, uint64_t age_ms)
{
	return now_ms > received_ms && now_ms - received_ms > age_ms;
}

/* covered: up to where the newest cycle here reaches, with its journal. */
static bool journal_may_go(
	const struct journal_copy *copy, const struct journal_keep *keep, uint64_t covered)
{
	if (memcmp(copy->name.lineage, keep->lineage, ID_BYTES) != 0) {
		return keep->cycle > 0 &&
		       journal_old(keep->now_ms, copy->received_ms, keep->kept_ms);
	}
	if (copy->cycle < keep->cycle &&
		(copy->name.index <= covered || copy->cycle + (uint64_t)1 < keep->cycle)) {
		return true;
	}
	return !copy->chain && journal_old(keep->now_ms, copy->received_ms, JOURNAL_SPARE_MS);
}

/* What stays needs what it is built on. */
static void journal_keep_below(
	struct journal_copy *copies, size_t n, const struct journal_copy *copy)
{
	struct journal_copy *below = journal_copy_of(copies, n, copy->base);

	while (below != NULL && below->prune) {
		below->prune = false;
		below = journal_copy_of(copies, n, below->base);
	}
}

void journal_keep_plan(struct journal_copy *copies, size_t n, const struct journal_keep *keep)
{
	const struct journal_row *row = keep->row;
	uint64_t covered = keep->index;
	bool here = journal_mark_chain(copies, n, row->confirmed_hash);

	if (here && row->confirmed != 0 && row->base_cycle == keep->cycle &&
		row->confirmed_index > covered) {
		covered = row->confirmed_index;
	}
	(void)journal_mark_chain(copies, n, row->manifest_hash);
	for (size_t i = 0; i < n; i++) {
		copies[i].prune = journal_may_go(&copies[i], keep, covered);
	}
	for (size_t i = 0; i < n; i++) {
		if (!copies[i].prune) {
			journal_keep_below(copies, n, &copies[i]);
		}
	}
}
