/* Taking one snapshot: checkpoint, rows into the repository, record. */
#include <assert.h>
#include <malloc.h>
#include <poll.h>
#include <string.h>

#include "backup/snapshot.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "node/backup_parts.h"
#include "raft/fsm.h"
#include "storage/cluster_store.h"

enum {
	TAKE_CLEAR,
	TAKE_MARK,
	TAKE_MARKED,
	TAKE_CHECKPOINT,
	TAKE_WRITE,
	TAKE_RECORD,
	TAKE_RECORDED,
	TAKE_FAILED,
	TAKE_DONE
};
enum { TAKE_PAUSE_MS = 20 };

static struct backup_job *take_job(struct op *op)
{
	return CONTAINER_OF(op, struct backup_job, take.op);
}

/* The loop is on it: whoever waits for the log is not one who hangs. */
static void take_moves(struct backup_take *take)
{
	(void)atomic_fetch_add(&take->moved, 1);
}

static int take_clear_work(struct op *op)
{
	struct backup_job *job = take_job(op);

	/* What busy hours left in the C library: 16 of 87 MiB after 1 GiB of pages were put, which
	 * the snapshot's own buffers would come on top of. */
	(void)malloc_trim(0); /* Says only whether there was anything. */
	return file_remove_tree(job->checkpoint_dir, &job->take.err);
}

static unsigned take_clear(struct op *op)
{
	struct backup_job *job = take_job(op);

	return op_work(
		op, job->pool, take_clear_work, job->take.marks ? TAKE_MARK : TAKE_CHECKPOINT);
}

/* --- at a mark, which all nodes see ---------------------------------------------------------- */

static void take_proposed_cb(struct propose *req, int rc)
{
	op_wake(&CONTAINER_OF(req, struct backup_take, propose)->op, rc);
}

/* Apply thread. */
void backup_take_marked(struct backup_job *job, struct fsm *fsm, const struct fsm_mark *mark)
{
	struct backup_take *take = &job->take;
	struct err e = {0};
	uint64_t index = 0, term;
	bool wanted;
	int rc;

	(void)pthread_mutex_lock(&job->lock);
	wanted = take->marking == mark->id;
	(void)pthread_mutex_unlock(&job->lock);
	if (!wanted) {
		return; /* Of an earlier life: it is marked again. */
	}
	rc = fsm_checkpoint(fsm, job->checkpoint_dir, &index, &term, &e);
	assert(rc != 0 || index == mark->index);
	(void)pthread_mutex_lock(&job->lock);
	take->marking = 0;
	take->checkpoint_index = mark->index;
	take->checkpoint_rc = rc;
	take->checkpoint_err = e;
	(void)pthread_mutex_unlock(&job->lock);
}

/* Whether the mark was met. */
static bool take_is_marked(struct backup_job *job)
{
	struct backup_take *take = &job->take;
	bool marked;

	(void)pthread_mutex_lock(&job->lock);
	marked = take->checkpoint_index != 0;
	if (marked) {
		take->op.rc = take->checkpoint_rc;
		take->err = take->checkpoint_err;
	}
	(void)pthread_mutex_unlock(&job->lock);
	return marked;
}

static unsigned take_mark(struct op *op)
{
	struct backup_job *job = take_job(op);
	struct backup_take *take = &job->take;
	struct command command = {.type = COMMAND_SNAPSHOT_MARK};

	take_moves(take);
	if (op->rc != 0) {
		return TAKE_FAILED;
	}
	if (take_is_marked(job)) {
		return TAKE_WRITE;
	}
	if (take->row.state != SNAPSHOT_RUNNING) {
		op->rc = err_set(&take->err, KLUIS_ECONFLICT, "mark: the claim was given up");
		return TAKE_FAILED;
	}
	(void)pthread_mutex_lock(&job->lock);
	take->marking = take->row.id;
	(void)pthread_mutex_unlock(&job->lock);
	command.snapshot_mark.id = take->row.id;
	command.snapshot_mark.node = job->config->id;
	command.snapshot_mark.after = take->row.index;
	backup_job_propose(job, &take->propose, &command, take_proposed_cb);
	return op_wait(op, TAKE_MARKED);
}

/* This node has applied it before it answers. Without an answer, and when another mark came before
 * this one, the next tick knows more. */
static unsigned take_marked(struct op *op)
{
	struct backup_job *job = take_job(op);
	struct backup_take *take = &job->take;

	if (take_is_marked(job)) {
		return TAKE_WRITE;
	}
	if (!job->closing && (op->rc == 0 || op->rc == KLUIS_ECONFLICT || err_retryable(op->rc))) {
		take->retry = true;
		op->rc = 0;
		return op_wait(op, TAKE_MARK);
	}
	(void)err_set(&take->err, op->rc, "mark: %s", err_text(op->rc));
	return TAKE_FAILED;
}

/* --- where the node happens to be, while others do not know of marks ------------------------- */

static int take_checkpoint_work(struct replica_work *work, struct fsm *fsm)
{
	struct backup_job *job = CONTAINER_OF(work, struct backup_job, take.checkpoint);
	uint64_t term;

	return fsm_checkpoint(
		fsm, job->checkpoint_dir, &job->take.checkpoint_index, &term, &job->take.err);
}

static void take_checkpoint_cb(struct replica_work *work, int rc)
{
	op_wake(&CONTAINER_OF(work, struct backup_take, checkpoint)->op, rc);
}

static unsigned take_checkpoint(struct op *op)
{
	struct backup_job *job = take_job(op);

	if (op->rc != 0) {
		return TAKE_FAILED;
	}
	replica_work_start(&job->take.checkpoint, job->replica, job->home, take_checkpoint_work,
		take_checkpoint_cb);
	return op_wait(op, TAKE_WRITE);
}

static void take_plan(
	struct backup_job *job, const struct position *position, struct snapshot_plan *ret_plan)
{
	const struct snapshot_row *row = &job->take.row;
	struct snapshot_plan plan = {.full = row->kind != SNAPSHOT_INCREMENT,
		.manual = row->kind == SNAPSHOT_MANUAL,
		.cycle = (uint32_t)row->cycle,
		.id = row->id,
		.from = row->kind == SNAPSHOT_INCREMENT ? row->base_index : 0,
		.index = position->index,
		.term = position->term,
		.cluster_time_ms = position->cluster_time_ms,
		.wall_ms = clock_wall_ms(&clock_system),
		.node = job->config->id};

	memcpy(plan.cluster_id, job->identity->cluster_id, ID_BYTES);
	memcpy(plan.lineage, job->identity->lineage, ID_BYTES);
	memcpy(plan.base, job->take.base_hash, HASH_BYTES);
	memcpy(plan.state_hash, position->state_hash, HASH_BYTES);
	*ret_plan = plan;
}

static void take_published(void *data, const struct manifest_object *object)
{
	struct backup_job *job = data;

	ship_queue_add(job->take.objects, object);
	(void)uv_async_send(&job->claimed); /* Ship it at once; the tick would, too. */
}

static int take_write_view(struct backup_job *job, const struct kv_view *view)
{
	struct backup_take *take = &job->take;
	struct position position;
	struct snapshot_plan plan;
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	const struct snapshot_watch watch = {.cancel = &take->stop,
		.pace = job->pace,
		.moved = &take->moved,
		.published = take_published,
		.data = job};
	int rc = position_get(view, &position, &take->err);

	if (rc != 0) {
		return rc;
	}
	take_plan(job, &position, &plan);
	(void)pthread_mutex_lock(&job->lock);
	pub = key_pub_ref(job->pub);
	(void)pthread_mutex_unlock(&job->lock);
	return snapshot_take(job->repository, &plan, view, pub, job->signer, &watch,
		&take->manifest, take->hash, &take->err);
}

/* Until somebody gives it up. */
static void take_hang(const struct backup_take *take)
{
	while (!atomic_load(&take->stop)) {
		(void)poll(NULL, 0, TAKE_PAUSE_MS);
	}
}

static int take_write_work(struct op *op)
{
	const struct kv_options options = {.read_only = true, .cache_bytes = 16 << 20};
	struct backup_job *job = take_job(op);
	struct kv *kv = NULL;
	struct kv_view *view;
	int rc;

	if (FAULT_POINT("backup.take.hang")) { /* As a disk does that never answers. */
		take_hang(&job->take);
	}
	rc = kv_rocksdb_open(job->checkpoint_dir, &options, &kv, &job->take.err);

	if (rc == 0) {
		view = kv_view_new(kv);
		rc = take_write_view(job, view);
		kv_view_free(view);
		kv_close(kv);
	}
	if (rc == KLUIS_ECORRUPT) {
		replica_doubt(job->replica, job->take.err.text); /* Its files are the store's. */
	}
	if (file_remove_tree(job->checkpoint_dir, NULL) != 0) {
		log_warn("op=backup_take path=%s is left behind, ignoring", job->checkpoint_dir);
	}
	return rc;
}

static unsigned take_write(struct op *op)
{
	struct backup_job *job = take_job(op);

	take_moves(&job->take);
	if (op->rc == 0) {
		job->take.index = job->take.checkpoint_index;
		job->take.objects = ship_queue_new();
		(void)uv_async_send(&job->claimed); /* Renewed with S, if it was not marked. */
	}
	return op->rc != 0 ? (unsigned)TAKE_FAILED
			   : op_work(op, job->pool, take_write_work, TAKE_RECORD);
}

static unsigned take_record(struct op *op)
{
	struct backup_job *job = take_job(op);
	struct backup_take *take = &job->take;
	struct command command = {.type = COMMAND_SNAPSHOT_RECORD};
	struct command_snapshot_record *record = &command.snapshot_record;

	if (op->rc != 0) {
		return TAKE_FAILED;
	}
	if (FAULT_POINT("backup.take.record")) { /* As while nobody answers. */
		take->retry = true;
		return op_wait(op, TAKE_RECORD);
	}
	take_moves(take);
	record->id = take->row.id;
	record->node = job->config->id;
	record->index = take->manifest.index;
	record->term = take->manifest.term;
	record->objects = take->manifest.n_index + take->manifest.n_packs;
	record->bytes = backup_manifest_bytes(&take->manifest);
	memcpy(record->manifest_hash, take->hash, HASH_BYTES);
	memcpy(record->state_root, take->manifest.state_root, HASH_BYTES);
	backup_job_propose(job, &take->propose, &command, take_proposed_cb);
	return op_wait(op, TAKE_RECORDED);
}

/* Who ships ahead goes on with the manifest, or ends. */
static void take_end_objects(struct backup_take *take, bool recorded)
{
	if (take->objects != NULL) {
		ship_queue_end(take->objects, recorded ? take->hash : NULL);
		ship_queue_unref(take->objects);
		take->objects = NULL;
	}
}

static unsigned take_recorded(struct op *op)
{
	struct backup_job *job = take_job(op);
	struct backup_take *take = &job->take;

	take_end_objects(take, op->rc == 0);
	if (op->rc != 0 && err_retryable(op->rc) && !job->closing) {
		take->retry = true; /* The next tick proposes again: the command says the same. */
		op->rc = 0;
		return op_wait(op, TAKE_RECORD);
	}
	if (op->rc != 0) {
		(void)err_set(&take->err, op->rc, "record: %s", err_text(op->rc));
		return TAKE_FAILED;
	}
	log_info("op=backup_take snapshot=%llu index=%llu live=%llu bytes=%llu state=recorded",
		(unsigned long long)take->row.id, (unsigned long long)take->manifest.index,
		(unsigned long long)take->manifest.live,
		(unsigned long long)backup_manifest_bytes(&take->manifest));
	return TAKE_DONE;
}

static void take_fail_cb(struct propose *req, int rc)
{
	(void)rc; /* Without an answer the claim runs out by itself. */
	op_wake(&CONTAINER_OF(req, struct backup_take, propose)->op, 0);
}

/* Tried no more in this life; the log says why. */
static void take_give_up(struct backup_job *job, struct propose *req, int rc, const struct err *e,
	void (*cb)(struct propose *req, int rc))
{
	struct backup_take *take = &job->take;
	struct command command = {.type = COMMAND_SNAPSHOT_FAIL};

	log_err("op=backup_take snapshot=%llu rc=%s error=\"%s\"", (unsigned long long)take->row.id,
		err_name(rc), e->text);
	take->given_up = take->row.id;
	command.snapshot_fail.id = take->row.id;
	command.snapshot_fail.node = job->config->id;
	command.snapshot_fail.error = bytes_str(e->text);
	if (command.snapshot_fail.error.len > SNAPSHOT_ERROR_BYTES_MAX) {
		command.snapshot_fail.error.len = SNAPSHOT_ERROR_BYTES_MAX;
	}
	backup_job_propose(job, req, &command, cb);
}

static unsigned take_failed(struct op *op)
{
	struct backup_job *job = take_job(op);
	struct backup_take *take = &job->take;

	take_end_objects(take, false);
	if (job->closing) {
		return TAKE_DONE; /* Taken up at the next start: the record says it runs. */
	}
	if (take->given_up == take->row.id) {
		log_info("op=backup_take snapshot=%llu state=ended, hung until now",
			(unsigned long long)take->row.id);
		return TAKE_DONE;
	}
	take_give_up(job, &take->propose, op->rc, &take->err, take_fail_cb);
	return op_wait(op, TAKE_DONE);
}

static const struct op_step take_steps[] = {
	[TAKE_CLEAR] = {"clear", take_clear, BIT(TAKE_MARK) | BIT(TAKE_CHECKPOINT)},
	[TAKE_MARK] = {"mark", take_mark, BIT(TAKE_MARKED) | BIT(TAKE_WRITE) | BIT(TAKE_FAILED)},
	[TAKE_MARKED] = {"marked", take_marked,
		BIT(TAKE_MARK) | BIT(TAKE_WRITE) | BIT(TAKE_FAILED)},
	[TAKE_CHECKPOINT] = {"checkpoint", take_checkpoint, BIT(TAKE_WRITE) | BIT(TAKE_FAILED)},
	[TAKE_WRITE] = {"write", take_write, BIT(TAKE_RECORD) | BIT(TAKE_FAILED)},
	[TAKE_RECORD] = {"record", take_record,
		BIT(TAKE_RECORD) | BIT(TAKE_RECORDED) | BIT(TAKE_FAILED)},
	[TAKE_RECORDED] = {"recorded", take_recorded,
		BIT(TAKE_RECORD) | BIT(TAKE_FAILED) | BIT(TAKE_DONE)},
	[TAKE_FAILED] = {"failed", take_failed, BIT(TAKE_DONE)},
};
static const struct op_def take_def = {"backup_take", TAKE_DONE, take_steps};

static void take_done(struct op *op)
{
	struct backup_job *job = take_job(op);

	take_end_objects(&job->take, false);
	backup_manifest_release(&job->take.manifest);
	job->take.busy = false;
	(void)uv_async_send(&job->claimed); /* Ship it at once; the tick would, too. */
	backup_job_ended(job);
}

/* --- one that hangs -------------------------------------------------------------------------- */

static void take_failing_cb(struct propose *req, int rc)
{
	struct backup_job *job = CONTAINER_OF(req, struct backup_job, take.fail);

	(void)rc; /* Without an answer the claim runs out by itself. */
	job->take.failing = false;
	backup_job_ended(job);
}

uint64_t backup_stall_ms(const struct backup_job *job)
{
	struct schedule_rules rules;

	backup_claim_rules(job->config, &rules);
	return job->config->backup_stall_ms != 0 ? job->config->backup_stall_ms
						 : schedule_stall_ms(&rules);
}

/* Its thread may stand in a call that never returns: then all that can be done is to let another
 * site take the cycle. */
static void take_watch(struct backup_job *job)
{
	struct backup_take *take = &job->take;
	uint64_t stall_ms = backup_stall_ms(job);
	struct err e = {0};

	if (take->given_up == take->row.id ||
		schedule_gets_on(&take->pulse, take->row.id, atomic_load(&take->moved),
			backup_job_now(), stall_ms)) {
		return;
	}
	atomic_store(&take->stop, true); /* If it comes back. */
	(void)err_set(&e, KLUIS_ETIMEOUT, "the taker hangs: nothing was taken for %llu s",
		(unsigned long long)(stall_ms / 1000));
	take->failing = true;
	take_give_up(job, &take->fail, KLUIS_ETIMEOUT, &e, take_failing_cb);
}

bool backup_take_hangs(const struct backup_job *job)
{
	return job->take.busy && job->take.given_up == job->take.row.id;
}

static int take_base(struct backup_job *job, const struct kv_view *view, struct err *e)
{
	struct backup_take *take = &job->take;
	struct snapshot_row base;
	int rc;

	memset(take->base_hash, 0, HASH_BYTES);
	if (take->row.kind != SNAPSHOT_INCREMENT) {
		return 0;
	}
	rc = snapshot_store_get(view, take->row.base_id, &base, e);
	if (rc == 0) {
		memcpy(take->base_hash, base.manifest_hash, HASH_BYTES);
	}
	return rc;
}

/* What the log says of it by now. */
static void take_know(struct backup_take *take, const struct snapshot_row *rows, size_t n)
{
	take->row.state = SNAPSHOT_FAILED; /* Unless its record is there. */
	for (size_t i = 0; i < n; i++) {
		if (rows[i].id == take->row.id) {
			take->row.state = rows[i].state;
			take->row.index = rows[i].index;
		}
	}
}

/* All nodes make the state root at the mark of a snapshot. */
static bool take_marks(const struct kv_view *view)
{
	struct cluster_row cluster;

	return cluster_store_get(view, &cluster, NULL) == 0 &&
	       cluster.feature_level >= FEATURE_LEVEL_ROOTS;
}

void backup_take_look(struct backup_job *job, const struct kv_view *view,
	const struct snapshot_row *rows, size_t n)
{
	struct backup_take *take = &job->take;
	struct err e = {0};

	if (take->busy) {
		if (take->retry) {
			take->retry = false;
			/* There may have been no look since it began to wait: not before a leader
			 * is there again. */
			take_moves(take);
			take_know(take, rows, n);
			op_wake(&take->op, 0);
		}
		take_watch(job);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (rows[i].state != SNAPSHOT_RUNNING || rows[i].node != job->config->id ||
			rows[i].id <= take->given_up) {
			continue;
		}
		take->row = rows[i];
		take->index = 0;
		memset(&take->err, 0, sizeof take->err);
		if (take_base(job, view, &e) != 0) {
			log_err("op=backup_take snapshot=%llu error=\"%s\", retrying",
				(unsigned long long)rows[i].id, e.text);
			return;
		}
		take->busy = true;
		take->marks = take_marks(view);
		atomic_store(&take->stop, false);
		take->pulse = (struct schedule_pulse){0};
		(void)pthread_mutex_lock(&job->lock);
		take->checkpoint_index = take->marking = 0;
		(void)pthread_mutex_unlock(&job->lock);
		op_start(&take->op, &take_def, &job->queue, take_done);
		return;
	}
}

void backup_take_close(struct backup_job *job)
{
	assert(job->closing);
	atomic_store(&job->take.stop, true);
	if (job->take.busy && job->take.retry) {
		job->take.retry = false;
		op_wake(&job->take.op, KLUIS_ECLOSED);
	}
}
