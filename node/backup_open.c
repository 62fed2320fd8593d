/* Opening what a site keeps backups on, its drops and its repository. What their disk answers keeps
 * no node from serving: it takes part in no backups, says so, and tries again. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "backup/renew.h"
#include "base/log.h"
#include "node/backup_mount.h"
#include "node/backup_parts.h"
#include "node/preflight.h"

static int open_drops(struct backup_job *job, struct err *e)
{
	const struct backup_mount mount = {
		job->config->data_dir, "drop", job->config->backup_drop_dir};
	int rc = preflight_drop(job->config, e);

	rc = rc != 0 ? rc : backup_mount_check(&mount, e);
	for (size_t i = 0; rc == 0 && i < job->n_intakes; i++) {
		rc = backup_receive_open(&job->intake[i], e);
	}
	if (rc == 0) {
		backup_mount_remember(&mount);
	}
	return rc;
}

/* Behind a change of this node's key. */
static int open_renew(struct backup_job *job, struct err *e)
{
	unsigned n = 0;
	int rc = renew_manifests(
		job->opening.repository, &job->trust, job->config->id, job->signer, &n, e);

	if (n > 0) {
		log_info("op=backup_key state=signed manifests=%u", n);
	}
	return rc;
}

static int open_repository(struct backup_job *job, struct err *e)
{
	struct backup_opening *o = &job->opening;
	const struct config *c = job->config;
	const struct backup_mount mount = {c->data_dir, "repository", c->backup_repository_dir};
	int rc = backup_mount_check(&mount, e);

	rc = rc != 0 ? rc : repository_open_writer(c->backup_repository_dir, &o->repository, e);
	if (rc != 0) {
		return rc;
	}
	rc = open_renew(job, e);
	if (rc != 0) {
		repository_close(o->repository);
		o->repository = NULL;
		return rc;
	}
	backup_mount_remember(&mount);
	rehash_load(o->repository, &o->rehash);
	return 0;
}

static int open_work(struct pool_work *work)
{
	struct backup_job *job = CONTAINER_OF(work, struct backup_job, opening.work);
	struct backup_opening *o = &job->opening;
	int rc;

	memset(&o->err, 0, sizeof o->err);
	backup_drill_clear(job); /* Of the process before this one. */
	rc = open_drops(job, &o->err);
	return rc != 0 ? rc : open_repository(job, &o->err);
}

static void open_done_cb(struct pool_work *work, int rc)
{
	struct backup_job *job = CONTAINER_OF(work, struct backup_job, opening.work);
	struct backup_opening *o = &job->opening;
	bool news = strcmp(o->trouble, o->err.text) != 0;

	o->busy = false;
	(void)pthread_mutex_lock(&job->lock);
	if (rc == 0) {
		job->repository = job->receiver.repository = o->repository;
		backup_keep_init(job, &o->rehash);
		o->done = true;
	}
	(void)snprintf(o->trouble, sizeof o->trouble, "%s", o->err.text);
	(void)pthread_mutex_unlock(&job->lock);
	if (rc == 0) {
		log_info("op=backup_open repository=%s state=open", repository_path(o->repository));
		(void)uv_async_send(&job->claimed); /* Go on at once; the tick would, too. */
	} else {
		o->next_ms = backup_job_now() + backup_job_pause(job, BACKUP_JOB_OPEN_MS);
	}
	if (rc != 0 && news) { /* The alarm says the rest. */
		log_err("op=backup_open rc=%s error=\"%s\", no backups here, retrying",
			err_name(rc), o->err.text);
	}
	backup_job_ended(job);
}

void backup_open_look(struct backup_job *job)
{
	struct backup_opening *o = &job->opening;

	if (o->done || o->busy || job->closing || backup_job_now() < o->next_ms) {
		return;
	}
	o->busy = pool_submit(job->pool, &o->work, job->home, open_work, open_done_cb) == 0;
}

bool backup_open_trouble(struct backup_job *job, char ret_text[256])
{
	const struct backup_opening *o = &job->opening;
	uint64_t now_ms = backup_job_now();
	bool done;

	(void)pthread_mutex_lock(&job->lock);
	done = o->done;
	memcpy(ret_text, o->trouble, sizeof o->trouble);
	(void)pthread_mutex_unlock(&job->lock);
	if (!done && ret_text[0] == 0 && now_ms > job->began_ms + BACKUP_JOB_OPEN_LATE_MS) {
		(void)snprintf(ret_text, sizeof o->trouble, "its disk has not answered for %llu s",
			(unsigned long long)((now_ms - job->began_ms) / 1000));
	}
	return !done;
}
