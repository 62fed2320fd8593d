/* The state root of a snapshot, made at every node. When the log marks one, the apply thread takes
 * a view of the store there (a few microseconds); the rest is a walk on a thread of its own that
 * mostly rests. A newer mark ends the walk for an older one. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "node/backup_parts.h"
#include "storage/cluster_store.h"
#include "storage/report_store.h"

enum {
	ROOT_STEP_ROWS = 16,
	ROOT_WORK_MS = 10, /* Then it rests nine times as long: a tenth of a core, or of a disk. */
	ROOT_RESTS = 9,
	ROOT_REST_MS_MAX = 990,
};

/* --- the mark, on the apply thread ----------------------------------------------------------- */

static void root_view_drop(struct backup_job *job, struct kv_view *view)
{
	if (view != NULL) {
		kv_view_free(view);
		replica_read_end(job->replica);
	}
}

static void root_take_view(struct backup_job *job, const struct fsm_mark *mark)
{
	struct kv_view *view, *old;
	struct kv *kv = NULL;

	if (replica_read_begin(job->replica, &kv) != 0) {
		return; /* Never: this thread replaces the store. */
	}
	view = kv_view_new(kv);
	(void)pthread_mutex_lock(&job->lock);
	old = job->root.view;
	job->root.view = view;
	job->root.marked = *mark;
	atomic_store(&job->root.stop, true); /* The walk of one before it. */
	(void)pthread_mutex_unlock(&job->lock);
	root_view_drop(job, old);
	(void)uv_async_send(&job->claimed);
}

static void root_marked_cb(void *data, struct fsm *fsm, const struct fsm_mark *mark)
{
	struct backup_job *job = data;

	(void)pthread_mutex_lock(&job->lock);
	job->root.seen = mark->index;
	job->root.store = replica_store_number(job->replica);
	(void)pthread_mutex_unlock(&job->lock);
	if (mark->node == job->config->id) {
		backup_take_marked(job, fsm, mark); /* Its manifest says the root. */
	} else {
		root_take_view(job, mark);
	}
}

/* --- the walk, on its own thread ------------------------------------------------------------- */

static int root_rest(struct backup_job *job, uint64_t *worked_from_ms, struct err *e)
{
	uint64_t worked_ms = backup_job_now() - *worked_from_ms, rest_ms = worked_ms * ROOT_RESTS;
	struct timespec rest = {.tv_sec = 0};

	if (worked_ms >= ROOT_WORK_MS) {
		rest_ms = rest_ms < ROOT_REST_MS_MAX ? rest_ms : ROOT_REST_MS_MAX;
		rest.tv_nsec = (long)rest_ms * 1000000L;
		(void)nanosleep(&rest, NULL); /* An early end only works more. */
		*worked_from_ms = backup_job_now();
	}
	if (atomic_load(&job->root.stop)) {
		return err_set(e, KLUIS_ECLOSED, "stopped");
	}
	return replica_read_unwanted(job->replica)
		       ? err_set(e, KLUIS_EBEHIND, "the store is being replaced")
		       : 0;
}

static int root_walk_all(struct backup_job *job, unsigned slice)
{
	struct backup_root *root = &job->root;
	struct root_walk *walk = root_walk_new(root->walked, slice);
	uint64_t from_ms = backup_job_now();
	bool more = true;
	int rc = 0;

	while (rc == 0 && more) {
		rc = root_walk_step(walk, ROOT_STEP_ROWS, &more, &root->err);
		rc = rc != 0 ? rc : root_rest(job, &from_ms, &root->err);
	}
	root_walk_end(walk, rc == 0 ? &root->found : NULL);
	return rc;
}

/* Values are read as the backup refreshes its rows: all of them in 42 cycles, at every node. An
 * operator's own snapshot has all of them read. */
static int root_slice(struct backup_root *root, unsigned *ret_slice)
{
	struct snapshot_row row;
	int rc = snapshot_store_get(root->walked, root->at.id, &row, &root->err);

	if (rc == 0) {
		*ret_slice = row.kind == SNAPSHOT_MANUAL ? (unsigned)KEY_SLICES
							 : (unsigned)(row.cycle % KEY_SLICES);
	}
	return rc;
}

static int root_work(struct pool_work *work)
{
	struct backup_job *job = CONTAINER_OF(work, struct backup_job, root.work);
	struct backup_root *root = &job->root;
	unsigned slice = 0;
	int rc;

	memset(&root->err, 0, sizeof root->err);
	kv_view_set_passing(root->walked);
	rc = root_slice(root, &slice);
	rc = rc != 0 ? rc : root_walk_all(job, slice);
	if (rc == KLUIS_ECORRUPT) {
		replica_doubt(job->replica, root->err.text);
	} else if (rc == 0 && root->found.bad > 0) {
		replica_doubt(job->replica, root->found.text);
	}
	root_view_drop(job, root->walked); /* Before anybody waits for it. */
	root->walked = NULL;
	return rc;
}

static void root_done_cb(struct pool_work *work, int rc)
{
	struct backup_job *job = CONTAINER_OF(work, struct backup_job, root.work);
	struct backup_root *root = &job->root;

	root->busy = false;
	root->set = rc == 0;
	if (rc == 0) {
		log_info("op=state_root snapshot=%llu index=%llu rows=%llu values=%llu bad=%llu",
			(unsigned long long)root->at.id, (unsigned long long)root->at.index,
			(unsigned long long)root->found.rows,
			(unsigned long long)root->found.values,
			(unsigned long long)root->found.bad);
		(void)uv_async_send(&job->claimed); /* Told at once; the tick would, too. */
	} else if (rc != KLUIS_ECLOSED) {
		log_err("op=state_root snapshot=%llu index=%llu rc=%s error=\"%s\"",
			(unsigned long long)root->at.id, (unsigned long long)root->at.index,
			err_name(rc), root->err.text);
	}
	backup_job_ended(job);
}

static void root_begin(struct backup_job *job)
{
	struct backup_root *root = &job->root;

	(void)pthread_mutex_lock(&job->lock);
	if (root->view != NULL) {
		root->walked = root->view;
		root->view = NULL;
		root->at = root->marked;
		atomic_store(&root->stop, false);
	}
	(void)pthread_mutex_unlock(&job->lock);
	if (root->walked == NULL) {
		return;
	}
	root->set = false;
	root->busy = pool_submit(root->pool, &root->work, job->home, root_work, root_done_cb) == 0;
	if (!root->busy) { /* Never: nothing else is in its queue. */
		root_view_drop(job, root->walked);
		root->walked = NULL;
	}
}

/* --- telling, and being judged --------------------------------------------------------------- */

static void root_told_cb(struct propose *req, int rc)
{
	struct backup_job *job = CONTAINER_OF(req, struct backup_job, root.propose);

	job->root.telling = false;
	if (rc == 0 || !err_retryable(rc)) {
		job->root.set = false;
	}
	if (rc != 0) {
		log_info("op=state_root rc=%s, %s", err_name(rc),
			err_retryable(rc) ? "retrying" : "ignoring");
	}
	backup_job_ended(job);
}

static void root_tell(struct backup_job *job)
{
	struct backup_root *root = &job->root;
	struct command command = {.type = COMMAND_STATE_ROOT};

	command.state_root.id = root->at.id;
	command.state_root.node = job->config->id;
	command.state_root.index = root->at.index;
	memcpy(command.state_root.root, root->found.root, sizeof command.state_root.root);
	root->telling = true;
	backup_job_propose(job, &root->propose, &command, root_told_cb);
}

/* Whether more than half of all nodes have another root there than this node. */
static bool root_differs(const struct backup_job *job, const struct kv_view *view, uint64_t index)
{
	struct report_row rows[SITES_MAX];
	struct node_counts nodes;
	const uint8_t *majority;
	bool differs = false;
	size_t n = 0;

	if (report_store_at(view, KEY_STATE_ROOT, index, rows, SITES_MAX, &n, NULL) != 0 ||
		node_store_count(view, &nodes, NULL) != 0) {
		return false; /* The next tick looks again. */
	}
	majority = report_majority(rows, n, nodes.n);
	for (size_t i = 0; majority != NULL && i < n; i++) {
		differs = differs || (rows[i].node == job->config->id &&
					     memcmp(rows[i].hash, majority, 32) != 0);
	}
	return differs;
}

/* Of the newest mark that this process has seen: what an earlier one did about its own is done. And
 * of the store that it was of: a peer's in its place is in no doubt. */
static void root_judge(struct backup_job *job, const struct kv_view *view)
{
	uint64_t index, store;

	(void)pthread_mutex_lock(&job->lock);
	index = job->root.seen;
	store = job->root.store;
	(void)pthread_mutex_unlock(&job->lock);
	if (index != 0 && index != job->root.doubted &&
		store == replica_store_number(job->replica) && root_differs(job, view, index)) {
		_cleanup_(x_freep) char *what =
			x_asprintf("its state root at index %llu is not the majority's",
				(unsigned long long)index);

		job->root.doubted = index;
		replica_doubt(job->replica, what);
	}
}

void backup_root_look(struct backup_job *job, const struct kv_view *view)
{
	struct backup_root *root = &job->root;

	if (!root->busy && !root->telling) {
		if (root->set) {
			root_tell(job);
		} else {
			root_begin(job);
		}
	}
	root_judge(job, view);
}

static void root_drop(struct backup_job *job)
{
	struct kv_view *view;

	(void)pthread_mutex_lock(&job->lock);
	view = job->root.view;
	job->root.view = NULL;
	(void)pthread_mutex_unlock(&job->lock);
	root_view_drop(job, view);
}

void backup_root_blind(struct backup_job *job, const struct replica_status *status)
{
	/* A node that is only behind makes its root later. */
	if (status->quarantined || replica_read_unwanted(job->replica)) {
		root_drop(job);
	}
}

/* --- life ------------------------------------------------------------------------------------ */

void backup_root_start(struct backup_job *job)
{
	job->root.pool = pool_new_background("root", 1, 1);
	replica_on_mark(job->replica, root_marked_cb, job);
}

void backup_root_close(struct backup_job *job)
{
	assert(job->closing);
	replica_on_mark(job->replica, NULL, NULL);
	atomic_store(&job->root.stop, true);
	root_drop(job);
}

void backup_root_free(struct backup_job *job)
{
	assert(!job->root.busy && job->root.view == NULL);
	pool_free(job->root.pool);
}
