/* What a site does with the copies it holds: forgets what is too old, and reads all of them again.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "node/backup_parts.h"

enum { KEEP_SLACK_MS = 3600 * 1000 }; /* Between two clocks that agree. */

/* --- forgetting ------------------------------------------------------------------------------ */

static int prune_work(struct pool_work *work)
{
	struct backup_job *job = CONTAINER_OF(work, struct backup_job, prune);
	struct retention_rules rules = retention_rules_of(
		job->config->backup_keep_s * 1000, job->config->backup_interval_s * 1000);

	return receive_prune(&job->pruning_as, clock_wall_ms(&clock_system), &rules, &job->pruned,
		&job->prune_err);
}

/* What an alarm is made of. */
static void prune_tell(struct backup_job *job, int rc)
{
	(void)pthread_mutex_lock(&job->lock);
	(void)snprintf(job->prune_trouble, sizeof job->prune_trouble, "%s",
		rc == 0 ? "" : job->prune_err.text);
	if (rc == 0) {
		job->pruned_ms = backup_job_now();
	}
	(void)pthread_mutex_unlock(&job->lock);
}

static void prune_done_cb(struct pool_work *work, int rc)
{
	struct backup_job *job = CONTAINER_OF(work, struct backup_job, prune);

	prune_tell(job, rc);
	if (rc != 0) {
		log_err("op=backup_prune rc=%s error=\"%s\", retrying", err_name(rc),
			job->prune_err.text);
	} else if (job->pruned > 0) {
		log_info("op=backup_prune snapshots=%u", job->pruned);
	}
	backup_job_receiver_done(&job->pruning_as);
	job->pruning = false;
	job->prune_ms =
		backup_job_now() + (rc == 0 ? (uint64_t)BACKUP_JOB_PRUNE_MS
					    : backup_job_pause(job, BACKUP_JOB_PRUNE_AGAIN_MS));
	backup_job_ended(job);
}

/* One more is a reason not to wait. */
static size_t keep_disowned(const struct snapshot_row *rows, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		count += snapshot_row_disowned(&rows[i]);
	}
	return count;
}

static void keep_prune(struct backup_job *job, const struct snapshot_row *rows, size_t n)
{
	size_t disowned = keep_disowned(rows, n);

	if (job->pruning || (backup_job_now() < job->prune_ms && disowned <= job->n_disowned)) {
		return;
	}
	job->pruning_as = backup_job_receiver(job, rows, n);
	job->pruning_as.taking = job->take.busy || job->journal.busy;
	memset(&job->prune_err, 0, sizeof job->prune_err);
	job->pruning =
		pool_submit(job->pool, &job->prune, job->home, prune_work, prune_done_cb) == 0;
	if (job->pruning) {
		job->n_disowned = disowned;
	} else {
		backup_job_receiver_done(&job->pruning_as);
	}
}

/* --- reading again --------------------------------------------------------------------------- */

/* Of a cycle that no age makes go yet: fewer are newer than are kept. */
static bool keep_is_due_cycle(
	const struct snapshot_row *row, const struct snapshot_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (ship_whole(&rows[i]) && rows[i].cycle >= row->cycle + BACKUP_CYCLES_KEPT) {
			return false;
		}
	}
	return true;
}

/* Goes by age alone: a manual one, and one of a cycle that was taken again and on which nothing is
 * built. */
static bool keep_is_by_age(
	const struct snapshot_row *row, const struct snapshot_row *rows, size_t n)
{
	bool again = row->cycle == 0;

	for (size_t i = 0; i < n; i++) {
		if (ship_whole(&rows[i]) && rows[i].base_id == row->id) {
			return false;
		}
		again = again || (ship_whole(&rows[i]) && rows[i].cycle == row->cycle &&
					 rows[i].id > row->id);
	}
	return again;
}

/* Whether the log says that this node has a copy which its own clock does not make go yet. What it
 * knows to be damaged it has no longer confirmed. */
static bool keep_is_held(
	const struct backup_rehash *rh, const struct snapshot_row *row, uint64_t wall_ms)
{
	uint64_t node = rh->as.node, since_ms = row->created_ms;

	if (!ship_whole(row) || (row->node != node && !ship_confirmed_by(row, node) &&
					rehash_damage_of(&rh->next, row->manifest_hash) == NULL)) {
		return false;
	}
	/* The clock that let it go is this site's, the times here are the cluster's. */
	return keep_is_by_age(row, rh->as.records, rh->as.n_records)
		       ? since_ms + rh->job->config->backup_keep_s * 1000 > wall_ms + KEEP_SLACK_MS
		       : keep_is_due_cycle(row, rh->as.records, rh->as.n_records);
}

static int keep_name_compare(const void *left, const void *right)
{
	const struct manifest_name *a = left, *b = right;

	return a->index < b->index ? -1 : a->index > b->index;
}

/* The caller frees. */
static struct manifest_name *keep_held(
	const struct backup_rehash *rh, uint64_t wall_ms, size_t *ret_n)
{
	const struct receive_config *as = &rh->as;
	struct manifest_name *names = x_calloc(as->n_records + 1, sizeof *names);
	size_t n = 0;

	for (size_t i = 0; i < as->n_records; i++) {
		const struct snapshot_row *row = &as->records[i];

		if (keep_is_held(rh, row, wall_ms)) {
			names[n].index = row->index;
			memcpy(names[n].lineage, as->lineage, ID_BYTES);
			memcpy(names[n++].hash, row->manifest_hash, HASH_BYTES);
		}
	}
	if (n > 0) {
		qsort(names, n, sizeof *names, keep_name_compare);
	}
	*ret_n = n;
	return names;
}

static void rehash_checked_cb(
	void *data, const uint8_t manifest_hash[HASH_BYTES], bool ok, const char *text)
{
	backup_watch_found(data, manifest_hash, 2, ok, text);
}

static int rehash_work(struct pool_work *work)
{
	struct backup_rehash *rh = CONTAINER_OF(work, struct backup_rehash, work);
	_cleanup_(x_freep) struct manifest_name *held = NULL;
	struct rehash_config config = rh->config;
	uint64_t wall_ms = clock_wall_ms(&clock_system);

	memset(&rh->err, 0, sizeof rh->err);
	config.held = held = keep_held(rh, wall_ms, &config.n_held);
	return rehash_step(&config, &rh->next, wall_ms, &rh->err);
}

static void rehash_done_cb(struct pool_work *work, int rc)
{
	struct backup_rehash *rh = CONTAINER_OF(work, struct backup_rehash, work);
	struct backup_job *job = rh->job;

	(void)pthread_mutex_lock(&job->lock);
	if (rc == 0) {
		rh->state = rh->next;
	}
	if (rc != KLUIS_ECLOSED) {
		rh->rc = rc;
	}
	(void)pthread_mutex_unlock(&job->lock);
	if (rc != 0 && rc != KLUIS_ECLOSED) {
		log_err("op=rehash rc=%s error=\"%s\", retrying", err_name(rc), rh->err.text);
	}
	backup_job_receiver_done(&rh->as);
	rh->busy = false;
	rh->next_ms = backup_job_now() + rh->config.step_ms;
	backup_job_ended(job);
}

void backup_keep_suspect(struct backup_job *job, const uint8_t manifest_hash[HASH_BYTES])
{
	(void)pthread_mutex_lock(&job->lock);
	job->rehash.suspicious = job->rehash.config.period_ms != 0;
	memcpy(job->rehash.suspect, manifest_hash, HASH_BYTES);
	(void)pthread_mutex_unlock(&job->lock);
	(void)uv_async_send(&job->claimed); /* Read at once; the tick would, too. */
}

bool backup_keep_damaged(struct backup_job *job)
{
	bool damaged;

	(void)pthread_mutex_lock(&job->lock);
	damaged = job->rehash.suspicious || job->rehash.state.n_damaged > 0;
	(void)pthread_mutex_unlock(&job->lock);
	return damaged;
}

static bool keep_take_suspect(struct backup_job *job)
{
	struct backup_rehash *rh = &job->rehash;
	bool suspicious;

	(void)pthread_mutex_lock(&job->lock);
	suspicious = rh->suspicious;
	rh->suspicious = false;
	memcpy(rh->reading, rh->suspect, HASH_BYTES);
	(void)pthread_mutex_unlock(&job->lock);
	return suspicious;
}

static void keep_rehash(struct backup_job *job, const struct snapshot_row *rows, size_t n)
{
	struct backup_rehash *rh = &job->rehash;

	if (rh->busy || rh->config.period_ms == 0) {
		return;
	}
	rh->config.suspect = keep_take_suspect(job) ? rh->reading : NULL;
	if (rh->config.suspect == NULL && backup_job_now() < rh->next_ms) {
		return;
	}
	rh->next = rh->state;
	rh->as = backup_job_receiver(job, rows, n);
	rh->busy = pool_submit(job->pool, &rh->work, job->home, rehash_work, rehash_done_cb) == 0;
	if (!rh->busy) {
		backup_job_receiver_done(&rh->as);
		if (rh->config.suspect != NULL) {
			backup_keep_suspect(job, rh->reading);
		}
	}
}

void backup_keep_look_again(struct backup_job *job)
{
	if (job->rehash.state.n_damaged > 0) {
		job->rehash.next_ms = 0;
	}
}

void backup_keep_init(struct backup_job *job, const struct rehash_state *state)
{
	struct backup_rehash *rh = &job->rehash;
	uint64_t period_ms = job->config->backup_rehash_s * 1000;

	assert(job->repository != NULL);
	rh->job = job;
	rh->state = *state;
	rh->config = (struct rehash_config){.repository = job->repository,
		.trust = &job->trust,
		.signer = job->signer,
		.node = job->config->id,
		.period_ms = period_ms,
		.step_ms = period_ms / BACKUP_JOB_REHASH_STEPS < BACKUP_JOB_REHASH_MS
				   ? period_ms / BACKUP_JOB_REHASH_STEPS + 1
				   : BACKUP_JOB_REHASH_MS,
		.cancel = &job->cancel,
		.checked_cb = rehash_checked_cb,
		.data = job};
}

void backup_keep_look(struct backup_job *job, const struct snapshot_row *rows, size_t n)
{
	keep_prune(job, rows, n);
	keep_rehash(job, rows, n);
}

bool backup_keep_busy(const struct backup_job *job)
{
	return job->pruning || job->rehash.busy;
}

/* --- what operators are told ------------------------------------------------------------------ */

void backup_job_copies(void *data, struct api_copies *ret_copies)
{
	struct backup_job *job = data;
	const struct rehash_state *state = &job->rehash.state;

	memset(ret_copies, 0, sizeof *ret_copies);
	ret_copies->kept = true;
	(void)backup_open_trouble(job, ret_copies->stopped);
	(void)pthread_mutex_lock(&job->lock);
	ret_copies->period_ms = job->rehash.config.period_ms;
	ret_copies->began_ms = state->began_ms;
	ret_copies->ended_ms = state->ended_ms;
	ret_copies->objects = state->objects;
	ret_copies->bytes = state->bytes;
	ret_copies->found = state->found;
	ret_copies->damaged = state->n_damaged;
	ret_copies->rc = job->rehash.rc;
	memcpy(ret_copies->prune_text, job->prune_trouble, sizeof job->prune_trouble);
	ret_copies->prune_age_ms =
		backup_job_now() - (job->pruned_ms != 0 ? job->pruned_ms : job->began_ms);
	if (state->n_damaged > 0) {
		const struct rehash_damage *last = &state->damaged[state->n_damaged - 1];

		(void)snprintf(ret_copies->text, sizeof ret_copies->text, "%s", last->text);
		memcpy(ret_copies->last, last->manifest_hash, HASH_BYTES);
	}
	(void)snprintf(ret_copies->drill_text, sizeof ret_copies->drill_text, "%s",
		job->drill.trouble[0] != 0 ? job->drill.trouble : job->drill.key_trouble);
	for (size_t i = 0; i < job->n_intakes; i++) {
		ret_copies->drops[i] = job->intake[i].last;
	}
	ret_copies->n_drops = job->n_intakes;
	(void)pthread_mutex_unlock(&job->lock);
}
