/* The deletion journal of this site: what the store's ledgers have beyond it is appended, so that
 * a restart, a new data directory or a store from a peer needs no memory. */
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "node/backup_parts.h"
#include "storage/cluster_store.h"
#include "storage/deletion_store.h"
#include "storage/position.h"

static int deletions_open(struct backup_job *job)
{
	struct backup_deletions *d = &job->deletions;
	_cleanup_(x_freep) char *dir = deletion_journal_dir(repository_path(job->repository));
	const struct deletion_journal_config config = {.dir = dir,
		.cluster_id = job->identity->cluster_id,
		.node = job->config->id,
		.signer = job->signer,
		.wall_ms = clock_wall_ms(&clock_system)};
	bool aside = false;
	int rc = deletion_journal_open(&config, &d->journal, &aside, &d->err);

	if (aside) {
		log_err("op=backup_deletions path=%s is damaged or another node's: set aside, "
			"begun "
			"anew",
			dir);
	}
	return rc;
}

/* What an alarm is made of. trouble: NULL leaves it. whole: the journal has all that there was at
 * the last look. */
static void deletions_tell(struct backup_job *job, const char *trouble, bool whole)
{
	struct backup_deletions *d = &job->deletions;

	(void)pthread_mutex_lock(&job->lock);
	if (trouble != NULL) {
		(void)snprintf(d->trouble, sizeof d->trouble, "%s", trouble);
	}
	if (whole && d->trouble[0] == 0) {
		d->whole_ms = d->looked_ms;
	}
	(void)pthread_mutex_unlock(&job->lock);
}

uint64_t backup_deletions_lag_ms(const struct backup_job *job, bool *ret_late)
{
	uint64_t whole_ms = job->deletions.whole_ms, late_ms = job->config->backup_stall_ms;
	uint64_t lag_ms = backup_job_now() - (whole_ms > job->began_ms ? whole_ms : job->began_ms);

	*ret_late = lag_ms > (late_ms != 0 ? late_ms : BACKUP_JOB_DELETIONS_LATE_MS);
	return lag_ms;
}

void backup_job_deletions(void *data, char ret_text[256])
{
	struct backup_job *job = data;
	struct backup_deletions *d = &job->deletions;
	uint64_t lag_ms;
	bool late;

	(void)pthread_mutex_lock(&job->lock);
	memcpy(ret_text, d->trouble, sizeof d->trouble);
	lag_ms = backup_deletions_lag_ms(job, &late);
	(void)pthread_mutex_unlock(&job->lock);
	if (ret_text[0] == 0 && late) {
		(void)snprintf(ret_text, sizeof d->trouble,
			"what was deleted in the last %llu minutes is not in its journal",
			(unsigned long long)(lag_ms / 60000));
	}
}

/* Appends to the batch what one ledger has behind the journal's last record of it. */
static int deletions_gather(struct backup_deletions *d, const struct kv_view *view,
	enum deletion_kind kind, enum key_family family, struct err *e)
{
	const struct deletion *last = deletion_journal_last(d->journal, kind, d->lineage);
	struct deletion_note notes[BACKUP_DELETIONS_STEP], after = {0};
	size_t n = 0;
	int rc;

	if (last != NULL) {
		after.index = last->index;
		memcpy(after.id, last->id, ID_BYTES);
	}
	rc = deletion_notes(
		view, family, last == NULL ? NULL : &after, notes, ARRAY_SIZE(notes), &n, e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct deletion *item = &d->items[d->batch.n++];

		item->kind = kind;
		item->index = notes[i].index;
		item->time_ms = notes[i].time_ms;
		memcpy(item->lineage, d->lineage, ID_BYTES);
		memcpy(item->id, notes[i].id, ID_BYTES);
	}
	d->more |= rc == 0 && n == ARRAY_SIZE(notes);
	return rc;
}

/* A mark may say only what is whole: with more to come, what the one before it said. */
static void deletions_bound(struct backup_deletions *d, const struct position *position)
{
	const struct deletion_mark *mark = deletion_journal_mark(d->journal);

	d->batch.index = position->index;
	d->batch.cluster_time_ms = position->cluster_time_ms;
	if (d->more) {
		bool same = memcmp(mark->lineage, d->lineage, ID_BYTES) == 0;

		d->batch.index = same ? mark->index : 0;
		d->batch.cluster_time_ms = same ? mark->cluster_time_ms : 0;
	}
}

static int deletions_read(struct backup_deletions *d, const struct kv_view *view, struct err *e)
{
	struct cluster_row cluster;
	struct position position;
	int rc = position_get(view, &position, e);

	d->batch = (struct deletion_batch){
		.items = d->items, .lineage = d->lineage, .wall_ms = clock_wall_ms(&clock_system)};
	d->more = false;
	d->looked_ms = backup_job_now();
	rc = rc != 0 ? rc : cluster_store_get(view, &cluster, e);
	if (rc != 0 || d->journal == NULL) {
		return rc;
	}
	memcpy(d->lineage, cluster.lineage, ID_BYTES);
	rc = deletions_gather(d, view, DELETION_VAULT, KEY_LEDGER, e);
	rc = rc != 0 ? rc : deletions_gather(d, view, DELETION_PERSON, KEY_USER_LEDGER, e);
	rc = rc != 0 ? rc : deletions_gather(d, view, DELETION_DEVICE, KEY_DEVICE_LEDGER, e);
	rc = rc != 0 ? rc : deletions_gather(d, view, DELETION_MEMBER, KEY_MEMBER_LEDGER, e);
	if (rc == 0) {
		deletions_bound(d, &position);
	}
	return rc;
}

static int deletions_append(struct backup_deletions *d)
{
	int rc = deletion_journal_append(d->journal, &d->batch, &d->err);

	d->written += rc == 0 ? d->batch.n : 0;
	return rc;
}

/* false: no more now; the next tick may. */
static bool deletions_read_on(struct backup_job *job, int *ret_rc)
{
	struct backup_deletions *d = &job->deletions;
	struct kv_view *view;
	struct kv *kv = NULL;

	if (atomic_load(&job->cancel) || replica_quarantined(job->replica) ||
		replica_read_begin(job->replica, &kv) != 0) {
		return false;
	}
	view = kv_view_new(kv);
	*ret_rc = deletions_read(d, view, &d->err);
	kv_view_free(view);
	replica_read_end(job->replica);
	return true;
}

/* Until the journal has all that the ledgers have: a flood of deletions waits for no ticks. */
static int deletions_work(struct pool_work *work)
{
	struct backup_job *job = CONTAINER_OF(work, struct backup_job, deletions.work);
	struct backup_deletions *d = &job->deletions;
	int rc;

	memset(&d->err, 0, sizeof d->err);
	d->written = 0;
	if (d->journal == NULL) {
		rc = deletions_open(job);
		d->more = true;
	} else {
		rc = deletions_append(d);
	}
	while (rc == 0 && d->more && deletions_read_on(job, &rc)) {
		rc = rc != 0 ? rc : deletions_append(d);
	}
	return rc;
}

static void deletions_done_cb(struct pool_work *work, int rc)
{
	struct backup_job *job = CONTAINER_OF(work, struct backup_job, deletions.work);
	struct backup_deletions *d = &job->deletions;

	d->busy = false;
	deletions_tell(job, rc == 0 ? "" : d->err.text, rc == 0 && !d->more);
	if (rc != 0) {
		log_err("op=backup_deletions rc=%s error=\"%s\", retrying", err_name(rc),
			d->err.text);
		d->next_ms = backup_job_now() + backup_job_pause(job, BACKUP_JOB_RETRY_MS);
	} else if (d->written > 0) {
		log_info("op=backup_deletions records=%llu total=%llu",
			(unsigned long long)d->written,
			(unsigned long long)deletion_journal_mark(d->journal)->count);
	}
	if (rc == 0 && d->more) {
		d->next_ms = 0;
	}
	backup_job_ended(job);
}

/* Whether there is anything to write. */
static bool deletions_due(const struct backup_deletions *d)
{
	return d->journal == NULL || d->batch.n > 0 || backup_job_now() >= d->mark_ms ||
	       memcmp(deletion_journal_mark(d->journal)->lineage, d->lineage, ID_BYTES) != 0;
}

void backup_deletions_look(struct backup_job *job, const struct kv_view *view)
{
	struct backup_deletions *d = &job->deletions;
	uint64_t now_ms = backup_job_now();
	struct err e = {0};
	int rc;

	/* What a majority disagrees with may hold deletions that nobody asked for. */
	if (d->busy || now_ms < d->next_ms || replica_quarantined(job->replica) ||
		FAULT_POINT("backup.deletions.look")) {
		return;
	}
	d->next_ms = now_ms + backup_job_pause(job, BACKUP_JOB_DELETIONS_MS);
	rc = deletions_read(d, view, &e);
	if (rc != 0) {
		if (rc != KLUIS_ENOTFOUND) { /* No cluster yet. */
			log_err("op=backup_deletions rc=%s error=\"%s\", retrying", err_name(rc),
				e.text);
		}
		return;
	}
	if (deletions_due(d)) {
		d->mark_ms = d->journal == NULL ? 0 : now_ms + BACKUP_JOB_MARK_MS;
		d->busy = pool_submit(job->pool, &d->work, job->home, deletions_work,
				  deletions_done_cb) == 0;
	} else {
		deletions_tell(job, NULL, true);
	}
}
