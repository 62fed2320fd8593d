/* Taking in what the other sites shipped here: one look after another into each sender's drop, each
 * by itself, so that no sender's rubbish, and no large snapshot, holds another one up. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "base/log.h"
#include "node/backup_parts.h"

enum {
	INTAKE_EARLY_BYTES = 256 << 20, /* In one look: some seconds. */
	INTAKE_FREE_SHARE = 10,		/* A tenth of the file system stays free. */
};

/* A drop without a quota in the settings may take a quarter of its file system. */
static uint64_t intake_share_bytes(const char *drop)
{
	struct statvfs vfs;

	return statvfs(drop, &vfs) == 0 ? (uint64_t)vfs.f_blocks * vfs.f_frsize / 4 : 0;
}

/* What nothing asked for yet may come as long as a tenth of the repository's file system is
 * free: the node stops writing at less. */
static uint64_t intake_early_bytes(const char *repository)
{
	struct statvfs vfs;
	uint64_t room = 0;

	if (statvfs(repository, &vfs) == 0 && vfs.f_bavail > vfs.f_blocks / INTAKE_FREE_SHARE) {
		room = (uint64_t)(vfs.f_bavail - vfs.f_blocks / INTAKE_FREE_SHARE) * vfs.f_frsize;
	}
	return room < INTAKE_EARLY_BYTES ? room : INTAKE_EARLY_BYTES;
}

static int intake_work(struct pool_work *work)
{
	struct backup_intake *in = CONTAINER_OF(work, struct backup_intake, work);
	uint64_t from_ms = backup_job_now();
	int rc;

	memset(&in->err, 0, sizeof in->err);
	if (in->as.quota.bytes == 0) {
		in->as.quota.bytes = intake_share_bytes(in->drop);
	}
	in->as.early_bytes = intake_early_bytes(in->job->config->backup_repository_dir);
	rc = receive_scan(&in->as, in->drop, in->site->id, clock_wall_ms(&clock_system),
		&in->report, &in->err);
	in->took_ms = backup_job_now() - from_ms;
	return rc;
}

/* What alarms and metrics are made of. */
static void intake_tell(struct backup_intake *in, int rc)
{
	const struct receive_report *report = &in->report;
	uint64_t refused = rc != 0 ? 0 : report->refused + report->leftovers + report->evicted;

	(void)pthread_mutex_lock(&in->job->lock);
	in->last.rc = rc;
	if (rc != 0) {
		(void)snprintf(in->last.text, sizeof in->last.text, "%s", in->err.text);
	} else {
		in->last.bytes = report->bytes;
		in->last.files = report->files;
		in->last.quota_bytes = in->as.quota.bytes;
		in->last.over_quota = report->over_quota;
		in->last.refused += refused;
		in->last.accepted += report->n_accepted;
		if (refused > 0) {
			in->last.refused_ms = clock_wall_ms(&clock_system);
			(void)snprintf(in->last.text, sizeof in->last.text, "%s",
				report->reason[0] != 0 ? report->reason
						       : "files that nothing asks for");
		}
	}
	(void)pthread_mutex_unlock(&in->job->lock);
}

/* Rubbish can come in any number of pieces: what is said of it comes once a minute. */
static void intake_log(struct backup_intake *in, int rc)
{
	const struct receive_report *report = &in->report;
	unsigned gone;

	if (rc != 0) {
		log_err("op=backup_receive from=%s rc=%s error=\"%s\", retrying", in->site->name,
			err_name(rc), in->err.text);
		return;
	}
	for (unsigned i = 0; i < report->n_accepted; i++) {
		log_info("op=backup_receive from=%s snapshot=%llu index=%llu state=accepted",
			in->site->name, (unsigned long long)report->accepted[i].id,
			(unsigned long long)report->accepted[i].index);
	}
	gone = report->refused + report->leftovers + report->evicted;
	in->untold += gone;
	if (in->untold == 0 || backup_job_now() < in->told_ms + BACKUP_JOB_TOLD_MS) {
		return;
	}
	log_err("op=backup_receive from=%s removed=%u over_quota=%s files=%zu bytes=%llu "
		"reason=\"%s\"",
		in->site->name, in->untold, report->over_quota ? "yes" : "no", report->files,
		(unsigned long long)report->bytes, report->reason);
	in->untold = 0;
	in->told_ms = backup_job_now();
}

/* A drop that takes long to look through is looked at less often; taking a snapshot in is no
 * looking. */
static uint64_t intake_pause_ms(const struct backup_intake *in, int rc, uint64_t least_ms)
{
	uint64_t pause_ms = 10 * in->took_ms;

	if (rc != 0) {
		pause_ms = BACKUP_JOB_RETRY_MS;
	} else if (in->report.n_accepted + in->report.early > 0 || pause_ms < least_ms) {
		pause_ms = least_ms;
	} else if (pause_ms > BACKUP_JOB_RECEIVE_MS_MAX) {
		pause_ms = BACKUP_JOB_RECEIVE_MS_MAX;
	}
	return backup_job_pause(in->job, pause_ms);
}

static uint64_t intake_least_ms(const struct backup_intake *in, uint64_t otherwise_ms)
{
	return backup_job_now() < in->hurry_ms ? BACKUP_JOB_HURRY_LOOK_MS : otherwise_ms;
}

/* As often as a sender likes, and no oftener than looks may be that take so long. */
void backup_receive_hurry(struct backup_intake *in)
{
	uint64_t now_ms = backup_job_now(), pause_ms;

	in->hurry_ms = now_ms + BACKUP_JOB_HURRY_MS;
	pause_ms = intake_pause_ms(in, 0, BACKUP_JOB_HURRY_LOOK_MS);
	if (in->looked_ms + pause_ms < in->next_ms) {
		in->next_ms = in->expect_ms = in->looked_ms + pause_ms;
	}
}

static void intake_done_cb(struct pool_work *work, int rc)
{
	struct backup_intake *in = CONTAINER_OF(work, struct backup_intake, work);
	struct backup_job *job = in->job;

	if (rc != KLUIS_ECLOSED) {
		intake_tell(in, rc);
		intake_log(in, rc);
	}
	if (rc == 0 && in->report.waiting == 0 &&
		in->hurry_ms <= in->began_ms + BACKUP_JOB_HURRY_MS) {
		in->hurry_ms = 0; /* Nothing came since this look began. */
	}
	in->next_ms = backup_job_now() +
		      intake_pause_ms(in, rc, intake_least_ms(in, BACKUP_JOB_RECEIVE_MS));
	in->expect_ms = backup_job_now() +
			intake_pause_ms(in, rc, intake_least_ms(in, BACKUP_JOB_EXPECT_MS));
	if (rc == 0) {
		in->early_ms = in->report.early_ms;
		if (in->report.n_accepted > 0) {
			backup_keep_look_again(job);
		}
		receive_report_release(&in->report);
	}
	backup_job_receiver_done(&in->as);
	in->looked_ms = backup_job_now();
	in->busy = false;
	(void)uv_async_send(&job->claimed); /* Confirm at once; the tick would, too. */
	backup_job_ended(job);
}

/* The sender is at a snapshot, or has one that this site's copy is missing of. */
static bool intake_expects(
	const struct backup_intake *in, const struct snapshot_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (rows[i].node == in->site->id &&
			(rows[i].state == SNAPSHOT_RUNNING ||
				(ship_whole(&rows[i]) &&
					!ship_confirmed_by(&rows[i], in->job->config->id)))) {
			return true;
		}
	}
	return false;
}

void backup_receive_look(struct backup_job *job, const struct snapshot_row *rows, size_t n)
{
	uint64_t tick_ms = BACKUP_JOB_TICK_MS;

	for (size_t i = 0; i < job->n_intakes; i++) {
		struct backup_intake *in = &job->intake[i];
		bool expects = intake_expects(in, rows, n);

		tick_ms =
			expects && tick_ms > BACKUP_JOB_EXPECT_MS ? BACKUP_JOB_EXPECT_MS : tick_ms;
		tick_ms = backup_job_now() < in->hurry_ms ? BACKUP_JOB_HURRY_LOOK_MS : tick_ms;
		if (in->busy || backup_job_now() < (expects ? in->expect_ms : in->next_ms)) {
			continue;
		}
		in->began_ms = backup_job_now();
		in->as = backup_job_receiver(job, rows, n);
		in->as.early_ms = in->early_ms;
		in->busy = pool_submit(job->pool, &in->work, job->home, intake_work,
				   intake_done_cb) == 0;
		if (!in->busy) {
			backup_job_receiver_done(&in->as);
		}
	}
	tick_ms = backup_job_pause(job, tick_ms);
	tick_ms = tick_ms < BACKUP_JOB_TICK_MS_MIN ? BACKUP_JOB_TICK_MS_MIN : tick_ms;
	if (uv_timer_get_repeat(&job->timer) != tick_ms) {
		uv_timer_set_repeat(&job->timer, tick_ms);
		(void)uv_timer_again(&job->timer); /* It was started: cannot fail. */
	}
}

void backup_receive_add(struct backup_job *job, const struct config_site *site)
{
	struct backup_intake *in = &job->intake[job->n_intakes++];

	assert(job->n_intakes <= SITES_MAX);
	in->drop = x_asprintf("%s/%s/incoming", job->config->backup_drop_dir, site->name);
	in->job = job;
	in->site = site;
	in->watch = -1;
	memcpy(in->last.site, site->name, sizeof in->last.site);
}

int backup_receive_open(struct backup_intake *in, struct err *e)
{
	int rc = file_make_dirs(in->drop, 0700, e);

	in->watch = rc == 0 ? backup_arrivals_add(&in->job->arrivals, in->drop) : -1;
	return rc;
}

bool backup_receive_busy(const struct backup_job *job)
{
	bool busy = job->confirming;

	for (size_t i = 0; i < job->n_intakes; i++) {
		busy = busy || job->intake[i].busy;
	}
	return busy;
}

void backup_receive_release(struct backup_job *job)
{
	for (size_t i = 0; i < job->n_intakes; i++) {
		free(job->intake[i].drop);
	}
	backup_arrivals_release(&job->arrivals);
}

/* --- confirming ------------------------------------------------------------------------------ */

static void confirm_cb(struct propose *req, int rc)
{
	struct backup_job *job = CONTAINER_OF(req, struct backup_job, confirm);

	job->confirming = false;
	if (rc != 0) {
		log_warn("op=backup_confirm rc=%s, retrying", err_name(rc));
	}
	backup_job_ended(job);
}

bool backup_job_holds(
	struct backup_job *job, uint64_t index, const uint8_t manifest_hash[HASH_BYTES])
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(x_closep) int fd = -1;
	struct manifest_name name = {.index = index};
	struct receipt receipt;

	memcpy(name.lineage, job->identity->lineage, ID_BYTES);
	memcpy(name.hash, manifest_hash, HASH_BYTES);
	return rehash_damage_of(&job->rehash.state, manifest_hash) == NULL &&
	       repository_get_receipt(
		       job->repository, manifest_hash, job->config->id, &bytes, NULL) == 0 &&
	       receipt_open(buf_bytes(&bytes), &job->trust, &receipt, NULL) == 0 &&
	       receipt.node == job->config->id &&
	       memcmp(receipt.manifest_hash, manifest_hash, HASH_BYTES) == 0 &&
	       repository_open_manifest(job->repository, &name, &fd, NULL) == 0;
}

/* That this site's copy is damaged: the log takes its confirmation back, so that the taker ships it
 * again. The taker's own copy counts as none: it says so, and when it is whole again. */
static bool confirm_damage(
	struct backup_job *job, const struct snapshot_row *row, struct command *command)
{
	const char *damage = rehash_damage_of(&job->rehash.state, row->manifest_hash);
	uint64_t node = job->config->id;
	bool own = row->node == node, told = snapshot_row_damage_of(row, node), say;

	if (own) {
		say = told == (damage == NULL);
	} else {
		say = damage != NULL && ship_confirmed_by(row, node);
	}
	if (say) {
		*command = (struct command){.type = COMMAND_SNAPSHOT_DAMAGE};
		command->snapshot_damage.id = row->id;
		command->snapshot_damage.node = node;
		memcpy(command->snapshot_damage.manifest_hash, row->manifest_hash, HASH_BYTES);
		command->snapshot_damage.error = bytes_str(damage == NULL ? "" : damage);
	}
	return say;
}

static bool confirm_whole(
	struct backup_job *job, const struct snapshot_row *row, struct command *command)
{
	if (row->node == job->config->id || ship_confirmed_by(row, job->config->id) ||
		!backup_job_holds(job, row->index, row->manifest_hash)) {
		return false;
	}
	*command = (struct command){.type = COMMAND_SNAPSHOT_CONFIRM};
	command->snapshot_confirm.id = row->id;
	command->snapshot_confirm.node = job->config->id;
	command->snapshot_confirm.needed = (uint8_t)job->config->backup_copies;
	memcpy(command->snapshot_confirm.manifest_hash, row->manifest_hash, HASH_BYTES);
	return true;
}

void backup_confirm_look(
	struct backup_job *job, const struct snapshot_row *rows, size_t n, unsigned feature_level)
{
	struct command command;
	bool damage = feature_level >= FEATURE_LEVEL_DAMAGE;

	for (size_t i = 0; i < n && !job->confirming; i++) {
		if (ship_whole(&rows[i]) &&
			(confirm_whole(job, &rows[i], &command) ||
				(damage && confirm_damage(job, &rows[i], &command)))) {
			job->confirming = true;
			backup_job_propose(job, &job->confirm, &command, confirm_cb);
		}
	}
}
