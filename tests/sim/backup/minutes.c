/* One site's part in the journal, what node/backup_journal.c does, over the same functions of
 * backup/: a look a tick, a minute of it being a tick here. */
#include <string.h>

#include "backup/journal.h"
#include "backup/ship.h"
#include "backup/snapshot.h"
#include "tests/sim/backup/fortnight.h"

static const struct snapshot_row *minutes_record(const struct site *site, uint64_t id)
{
	for (size_t i = 0; id != 0 && i < site->n_rows; i++) {
		if (site->rows[i].id == id) {
			return &site->rows[i];
		}
	}
	return NULL;
}

/* What the log names now, and what it had named before. */
void minutes_look(struct site *site)
{
	struct minutes *m = &site->minutes;
	const struct journal_row *row = &site->f->journal;

	if (m->row.number != 0 &&
		memcmp(m->row.manifest_hash, row->manifest_hash, HASH_BYTES) != 0) {
		m->n_seen += m->n_seen < JOURNAL_SEEN;
		memmove(m->seen[1], m->seen[0], (m->n_seen - 1) * HASH_BYTES);
		memcpy(m->seen[0], m->row.manifest_hash, HASH_BYTES);
	}
	m->row = *row;
}

/* What the log said stands in the site's store. */
void minutes_drop(struct site *site)
{
	struct journal_row row = site->minutes.row;

	backup_manifest_release(&site->minutes.manifest);
	memset(&site->minutes, 0, sizeof site->minutes);
	site->minutes.row = row;
}

/* --- taking ---------------------------------------------------------------------------------- */

static int minutes_parent(struct site *site, const struct snapshot_row *base, uint32_t number,
	struct backup_manifest *ret_parent, uint8_t ret_hash[HASH_BYTES], struct err *e)
{
	const struct journal_row *row = &site->minutes.row;
	bool same = number > 1;
	const uint8_t *newest[] = {same ? row->manifest_hash : NULL,
		same && row->confirmed != 0 ? row->confirmed_hash : NULL, base->manifest_hash};
	int rc = KLUIS_ENOTFOUND;

	for (size_t i = 0; rc == KLUIS_ENOTFOUND && i < ARRAY_SIZE(newest); i++) {
		if (newest[i] != NULL) {
			rc = journal_find_parent(site->repository, newest[i], number,
				&site->f->trust, ret_parent, ret_hash, e);
		}
	}
	return rc;
}

static bool minutes_wanted(
	struct site *site, const struct kv_view *view, const struct snapshot_row *base)
{
	const struct journal_row *row = &site->minutes.row;
	uint64_t index = 0;
	bool changed;

	if (row->base_id == base->id) {
		bool stands = row->confirmed == row->number || row->node == site->node ||
			      site_has_receipt(site, row->manifest_hash);

		index = stands ? row->index : row->confirmed != 0 ? row->confirmed_index : 0;
	}
	if (journal_changed(view, index > base->index ? index : base->index, &changed, NULL) != 0) {
		abort();
	}
	return changed;
}

static bool minutes_my_turn(
	struct site *site, const struct kv_view *view, const struct snapshot_row *base)
{
	struct minutes *m = &site->minutes;
	uint64_t due_ms;
	struct journal_facts facts = {.base = base,
		.row = &m->row,
		.nodes = site->f->members.nodes,
		.n_nodes = site->f->members.n,
		.every_ms = TICK_MS};
	size_t place;

	due_ms = journal_due_ms(&facts);
	if (cluster_now(site->f) < due_ms || !minutes_wanted(site, view, base)) {
		m->due_ms = 0;
		return false;
	}
	if (m->due_ms != due_ms) {
		m->due_ms = due_ms;
		m->seen_ms = site->f->true_ms;
	}
	place = journal_place(&facts, site->node);
	return place != SIZE_MAX &&
	       site->f->true_ms - m->seen_ms >= place * journal_turn_ms(&facts);
}

static struct snapshot_plan minutes_plan(const struct site *site, const struct snapshot_row *base,
	const struct position *position, uint32_t number)
{
	struct snapshot_plan plan = {.cycle = (uint32_t)base->cycle,
		.number = number,
		.id = position->index,
		.index = position->index,
		.term = position->term,
		.cluster_time_ms = position->cluster_time_ms,
		.wall_ms = site_wall_ms(site),
		.node = site->node};

	memcpy(plan.cluster_id, site->f->cluster_id, ID_BYTES);
	memcpy(plan.lineage, site->f->lineage, ID_BYTES);
	memcpy(plan.state_hash, position->state_hash, HASH_BYTES);
	return plan;
}

/* From the living store, whose truth is written down with it. */
static void minutes_take(
	struct site *site, const struct kv_view *view, const struct snapshot_row *base)
{
	struct fortnight *f = site->f;
	struct minutes *m = &site->minutes;
	_cleanup_(backup_manifest_release) struct backup_manifest parent = {0};
	uint32_t number = m->row.base_id == base->id ? m->row.number + 1 : 1;
	struct position position;
	struct snapshot_plan plan;
	struct err e = {0};
	int rc;

	if (position_get(view, &position, NULL) != 0) {
		abort();
	}
	plan = minutes_plan(site, base, &position, number);
	plant(f->options.bug);
	site_step_begin(site);
	rc = minutes_parent(site, base, number, &parent, plan.base, &e);
	if (rc == 0) {
		plan.from = parent.index;
		rc = snapshot_take(site->repository, &plan, view,
			key_public(f->keys.keys[f->keys.n - 1]), site->signer, NULL, &m->manifest,
			m->hash, &e);
	}
	plant(BUG_NONE);
	if (!site_step_end(site, "journal", rc, &e) || rc != 0) {
		return;
	}
	truth_add(f, plan.id, view, plan.index);
	m->base_id = base->id;
	m->number = number;
	m->taken = true;
	f->stats.minutes++;
}

static void minutes_record_it(struct site *site)
{
	struct minutes *m = &site->minutes;
	struct command command = {.type = COMMAND_JOURNAL_RECORD,
		.journal_record = {.base_id = m->base_id,
			.number = m->number,
			.node = site->node,
			.index = m->manifest.index,
			.term = m->manifest.term,
			.time_ms = m->manifest.cluster_time_ms}};
	int rc;

	memcpy(command.journal_record.manifest_hash, m->hash, HASH_BYTES);
	rc = cluster_propose(site->f, site, &command);
	/* A conflict: another one was faster, or a cycle came in between. */
	if (rc != 0 && rc != KLUIS_ENOQUORUM && rc != KLUIS_EUNKNOWN_OUTCOME &&
		rc != KLUIS_ECONFLICT) {
		fortnight_violate(site->f, CHECK_STEP, "journal: record: %s", err_name(rc));
	}
	backup_manifest_release(&m->manifest);
	memset(&m->manifest, 0, sizeof m->manifest);
	m->taken = false;
}

void minutes_work(struct site *site)
{
	struct fortnight *f = site->f;
	const struct snapshot_row *base;
	struct snapshot_state_row state;
	struct kv_view *view;

	if (!cluster_reached(f, site)) {
		return;
	}
	if (site->minutes.taken) { /* A tick later than it was taken: much may happen between. */
		minutes_record_it(site);
		return;
	}
	cluster_state(f, &state);
	base = minutes_record(site, state.confirmed_id);
	if (base == NULL) {
		return;
	}
	view = kv_view_new(f->machine.kv);
	if (minutes_my_turn(site, view, base)) {
		minutes_take(site, view, base);
	}
	kv_view_free(view);
	if (site_up(site) && site->minutes.taken && fortnight_chance(f, 700)) {
		minutes_record_it(site);
	}
}

/* --- shipping -------------------------------------------------------------------------------- */

/* Hashes of those above number `from`, newest first; how many. */
static size_t minutes_chain(
	struct site *site, uint32_t from, uint8_t ret_hashes[JOURNAL_CHAIN_MAX][HASH_BYTES])
{
	const uint8_t *next = site->minutes.row.manifest_hash;
	size_t n = 0;

	for (;;) {
		_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
		int rc = point_manifest(site->repository, next, &site->f->trust, &m, NULL);

		if (rc != 0 || m.type != MANIFEST_JOURNAL || m.number <= from ||
			n == JOURNAL_CHAIN_MAX) {
			return n;
		}
		memcpy(ret_hashes[n++], next, HASH_BYTES);
		memcpy(site->minutes.below, m.base, HASH_BYTES);
		next = site->minutes.below;
	}
}

void minutes_ship(struct site *site, struct site *to)
{
	const struct journal_row *row = &site->minutes.row;
	const struct snapshot_row *base = minutes_record(site, row->base_id);
	uint8_t hashes[JOURNAL_CHAIN_MAX][HASH_BYTES];
	uint32_t held = journal_held(row, to->node);
	struct ship_report report;
	struct err e = {0};
	int rc = 0;

	if (base == NULL || row->number == 0 || row->node != site->node || held >= row->number ||
		(base->node != to->node && !ship_confirmed_by(base, to->node)) ||
		!site_reached(site) || !site_reached(to) || site_ship_hangs(site)) {
		return;
	}
	for (size_t i = minutes_chain(site, held, hashes); rc == 0 && i > 0; i--) {
		rc = site_ship_one(site, to, hashes[i - 1], &report, &e);
		if (!site_ship_was_sane(rc, to)) {
			fortnight_violate(site->f, CHECK_STEP, "site %llu ships a journal: %s: %s",
				(unsigned long long)site->node, err_name(rc), e.text);
		}
	}
}

/* --- confirming ------------------------------------------------------------------------------ */

void minutes_confirm(struct site *site)
{
	struct fortnight *f = site->f;
	const struct journal_row *row = &site->minutes.row;
	struct command command = {.type = COMMAND_JOURNAL_CONFIRM,
		.journal_confirm = {.base_id = row->base_id,
			.number = row->number,
			.node = site->node,
			.needed = COPIES}};
	int rc;

	if (row->number == 0 || row->node == site->node ||
		journal_held(row, site->node) >= row->number ||
		(f->options.bug != BUG_MINUTE_UNSEEN &&
			!site_has_receipt(site, row->manifest_hash))) {
		return;
	}
	memcpy(command.journal_confirm.manifest_hash, row->manifest_hash, HASH_BYTES);
	rc = cluster_propose(f, site, &command);
	if (rc != 0 && rc != KLUIS_ENOQUORUM && rc != KLUIS_EUNKNOWN_OUTCOME &&
		rc != KLUIS_ECONFLICT) { /* Overtaken. */
		fortnight_violate(f, CHECK_STEP, "journal: confirm: %s", err_name(rc));
	}
}
