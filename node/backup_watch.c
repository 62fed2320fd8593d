/* What the job tells of backups: a summary for metrics and alarms, and checks of snapshots into the
 * log. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "node/backup_parts.h"
#include "storage/cluster_store.h"

/* Any thread. The last word on a level stands. */
void backup_watch_found(struct backup_job *job, const uint8_t manifest_hash[HASH_BYTES],
	unsigned level, bool ok, const char *text)
{
	struct backup_found *found = &job->watch.found[level - 1];

	(void)pthread_mutex_lock(&job->lock);
	found->set = true;
	found->ok = ok;
	memcpy(found->manifest_hash, manifest_hash, HASH_BYTES);
	(void)snprintf(found->text, sizeof found->text, "%s", ok ? "" : text);
	for (char *c = found->text; *c != 0; c++) {
		*c = (unsigned char)*c < 0x80 ? *c : '?'; /* A letter may have been cut in two. */
	}
	(void)pthread_mutex_unlock(&job->lock);
	if (!ok) {
		log_err("op=backup_check level=%u error=\"%s\"", level, text);
	}
	(void)uv_async_send(&job->claimed); /* Said at once; the tick would, too. */
}

static void watch_check_cb(struct propose *req, int rc)
{
	struct backup_job *job = CONTAINER_OF(req, struct backup_job, watch.propose);

	job->watch.checking = false;
	if (rc == 0 || !err_retryable(rc)) {
		(void)pthread_mutex_lock(&job->lock);
		/* Not what was found since. */
		if (memcmp(&job->watch.found[job->watch.level - 1], &job->watch.told,
			    sizeof job->watch.told) == 0) {
			job->watch.found[job->watch.level - 1].set = false;
		}
		(void)pthread_mutex_unlock(&job->lock);
	}
	if (rc != 0) {
		log_warn("op=backup_check rc=%s, %s", err_name(rc),
			err_retryable(rc) ? "retrying" : "ignoring");
	}
	backup_job_ended(job);
}

static bool watch_next(struct backup_job *job)
{
	struct backup_watch *watch = &job->watch;

	(void)pthread_mutex_lock(&job->lock);
	watch->level = 0;
	for (unsigned i = 0; i < CHECK_LEVEL_DRILL && watch->level == 0; i++) {
		if (watch->found[i].set) {
			watch->told = watch->found[i];
			watch->level = i + 1;
		}
	}
	(void)pthread_mutex_unlock(&job->lock);
	return watch->level != 0;
}

/* Writes down what was found, once all nodes know the command. */
static void watch_tell(struct backup_job *job, const struct kv_view *view,
	const struct snapshot_row *rows, size_t n)
{
	struct command command = {.type = COMMAND_SNAPSHOT_CHECK};
	struct command_snapshot_check *check = &command.snapshot_check;
	struct cluster_row cluster;

	if (job->watch.checking || cluster_store_get(view, &cluster, NULL) != 0 ||
		cluster.feature_level < FEATURE_LEVEL_CHECKS || !watch_next(job)) {
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (memcmp(rows[i].manifest_hash, job->watch.told.manifest_hash, HASH_BYTES) == 0) {
			check->id = rows[i].id;
		}
	}
	if (check->id == 0) { /* Its record is gone. */
		(void)pthread_mutex_lock(&job->lock);
		job->watch.found[job->watch.level - 1].set = false;
		(void)pthread_mutex_unlock(&job->lock);
		return;
	}
	check->node = job->config->id;
	check->level = (uint8_t)job->watch.level;
	check->ok = job->watch.told.ok;
	check->text = bytes_str(job->watch.told.text);
	job->watch.checking = true;
	backup_job_propose(job, &job->watch.propose, &command, watch_check_cb);
}

void backup_watch_look(struct backup_job *job, const struct kv_view *view,
	const struct replica_status *status, const struct snapshot_row *rows, size_t n)
{
	struct backup_summary summary;
	struct err e = {0};

	watch_tell(job, view, rows, n);
	if (backup_summary_read(view, rows, n, &summary, &e) != 0) {
		log_err("op=backup_summary error=\"%s\", retrying", e.text);
		return;
	}
	if (!summary.exposed) {
		job->watch.clean_ms = status->cluster_now_ms;
	}
	summary.clean_ms = job->watch.clean_ms;
	(void)pthread_mutex_lock(&job->lock);
	job->watch.summary = summary;
	job->watch.known = true;
	(void)pthread_mutex_unlock(&job->lock);
}

bool backup_job_summary(void *data, struct backup_summary *ret_summary)
{
	struct backup_job *job = data;
	bool known;

	(void)pthread_mutex_lock(&job->lock);
	known = job->watch.known;
	if (known) {
		*ret_summary = job->watch.summary;
		ret_summary->deletions_lag_ms =
			backup_deletions_lag_ms(job, &ret_summary->deletions_late);
	}
	(void)pthread_mutex_unlock(&job->lock);
	return known;
}
