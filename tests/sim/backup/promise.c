/* What is promised: which points have to be restorable, what they are made of, and where that has
 * to lie. A site that was lost takes its confirmations with it. */
#include <string.h>

#include "tests/sim/backup/fortnight.h"

static uint64_t newest_cycle(const struct fortnight *f)
{
	struct snapshot_state_row state;

	cluster_state(f, &state);
	return state.confirmed_cycle;
}

/* The last 42 cycles that were confirmed; pinned ones; manual ones of the last week. */
static bool promised(const struct fortnight *f, const struct snapshot_row *row, uint64_t newest)
{
	if (row->state != SNAPSHOT_CONFIRMED) {
		return false;
	}
	if (row->pinned) {
		return true;
	}
	return row->kind == SNAPSHOT_MANUAL ? row->confirmed_ms + 7 * DAY_MS > cluster_now(f)
					    : row->cycle + BACKUP_SLICES > newest;
}

size_t promise_points(const struct fortnight *f, const struct snapshot_row *to[POINTS_MAX])
{
	uint64_t newest = newest_cycle(f);
	size_t n = 0;

	for (size_t i = 0; i < f->n_rows && n < POINTS_MAX; i++) {
		if (promised(f, &f->rows[i], newest)) {
			to[n++] = &f->rows[i];
		}
	}
	return n;
}

size_t promise_chain(const struct fortnight *f, const struct snapshot_row *top,
	const struct snapshot_row *to[BACKUP_SLICES])
{
	const struct snapshot_row *row = top;
	size_t n = 0;

	while (row != NULL && n < BACKUP_SLICES) {
		to[n++] = row;
		if (row->kind != SNAPSHOT_INCREMENT) {
			break;
		}
		row = cluster_record(f, row->base_id);
	}
	return n;
}

const struct manifest_name *promise_find(
	const struct manifest_name *names, size_t n, const uint8_t hash[HASH_BYTES])
{
	for (size_t i = 0; i < n; i++) {
		if (memcmp(names[i].hash, hash, HASH_BYTES) == 0) {
			return &names[i];
		}
	}
	return NULL;
}

bool promise_has(const struct manifest_name *names, size_t n, const uint8_t hash[HASH_BYTES])
{
	return promise_find(names, n, hash) != NULL;
}

size_t promise_names(struct site *site, struct manifest_name **ret_names)
{
	struct repository *repository = site->repository;
	size_t n = 0;

	*ret_names = NULL;
	/* A site that is down has its disk all the same: an operator may read it. */
	if (repository == NULL && repository_open(site->path, &repository, NULL) != 0) {
		return 0;
	}
	if (repository_list(repository, ret_names, &n, NULL, NULL) != 0) {
		abort();
	}
	if (repository != site->repository) {
		repository_close(repository);
	}
	return n;
}

bool promise_whole_at(struct site *site, const struct snapshot_row *row)
{
	const struct snapshot_row *chain[BACKUP_SLICES];
	_cleanup_(x_freep) struct manifest_name *names = NULL;
	size_t n = promise_names(site, &names), links = promise_chain(site->f, row, chain);

	for (size_t i = 0; i < links; i++) {
		if (!promise_has(names, n, chain[i]->manifest_hash)) {
			return false;
		}
	}
	return true;
}

/* --- where it lies --------------------------------------------------------------------------- */

struct lists {
	struct manifest_name *names[SITES];
	size_t n[SITES];
};

static void lists_load(struct fortnight *f, struct lists *lists)
{
	for (unsigned i = 0; i < SITES; i++) {
		lists->n[i] = promise_names(&f->site[i], &lists->names[i]);
	}
}

static void lists_release(struct lists *lists)
{
	for (unsigned i = 0; i < SITES; i++) {
		free(lists->names[i]);
	}
}

/* Who confirmed it and was not lost holds it: so many copies are left. */
static void held_check(struct fortnight *f, const struct lists *lists,
	const struct snapshot_row *row, const struct snapshot_row *point)
{
	unsigned holders = 0;

	for (unsigned i = 0; i < SITES; i++) {
		struct site *site = &f->site[i];
		bool confirmed = !site->lost && ship_confirmed_by(row, site->node);
		const struct manifest_name *name =
			promise_find(lists->names[i], lists->n[i], row->manifest_hash);

		holders += confirmed;
		if (name == NULL ? confirmed : !objects_still(site, name)) {
			fortnight_violate(f, CHECK_HELD,
				"site %llu holds not all of snapshot %llu, which cycle %llu needs",
				(unsigned long long)site->node, (unsigned long long)row->id,
				(unsigned long long)point->cycle);
		}
	}
	if (holders == 0) {
		fortnight_violate(f, CHECK_HELD,
			"nobody is left who confirmed snapshot %llu, which cycle %llu needs",
			(unsigned long long)row->id, (unsigned long long)point->cycle);
	}
}

/* Of each record the oldest point that needs it; NULL: none does. */
static void held_needed(struct fortnight *f, const struct snapshot_row *needed[SNAPSHOTS_KEPT + 1])
{
	const struct snapshot_row *points[POINTS_MAX], *chain[BACKUP_SLICES];
	size_t n = promise_points(f, points);

	memset(needed, 0, (SNAPSHOTS_KEPT + 1) * sizeof *needed);
	for (size_t i = n; i > 0; i--) {
		size_t links = promise_chain(f, points[i - 1], chain);

		for (size_t k = 0; k < links; k++) {
			needed[chain[k] - f->rows] = points[i - 1];
		}
	}
}

void check_held(struct fortnight *f)
{
	_cleanup_(lists_release) struct lists lists;
	const struct snapshot_row *needed[SNAPSHOTS_KEPT + 1];

	held_needed(f, needed);
	lists_load(f, &lists);
	for (size_t i = 0; i < f->n_rows && !f->failed; i++) {
		if (needed[i] != NULL) {
			held_check(f, &lists, &f->rows[i], needed[i]);
		}
	}
}

/* --- after a loss ---------------------------------------------------------------------------- */

static bool whole_somewhere(struct fortnight *f, const struct snapshot_row *row)
{
	bool whole = false;

	for (unsigned i = 0; i < SITES && !whole; i++) {
		whole = promise_whole_at(&f->site[i], row);
	}
	return whole;
}

void check_lost(struct fortnight *f)
{
	const struct snapshot_row *points[POINTS_MAX];
	size_t n = promise_points(f, points);

	check_held(f);
	f->in_pieces = false;
	for (size_t i = 0; i < n && !f->in_pieces; i++) {
		f->in_pieces = !whole_somewhere(f, points[i]);
	}
}

void check_whole_nowhere(struct fortnight *f, const struct snapshot_row *row)
{
	if (f->in_pieces) {
		f->stats.pieces++; /* check_held() says whether they are all there. */
		return;
	}
	fortnight_violate(f, CHECK_HELD, "no site holds all of snapshot %llu cycle %llu",
		(unsigned long long)row->id, (unsigned long long)row->cycle);
}
