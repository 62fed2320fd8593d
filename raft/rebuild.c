/* A store that is worth nothing (a majority found another state, or its files are damaged or gone)
 * is replaced by a checkpoint of a peer's, while the log stays: every promise of this node
 * stands in its log, its vote and its pins, so that it goes on under its id (docs/architecture.md,
 * "A store that is rebuilt"). */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "raft/catch_up_impl.h"

/* --- on disk --- */

int rebuild_forget(const struct replica *r, struct err *e)
{
	_cleanup_(x_freep) char *marker = replica_path(r, REBUILD_MARKER);

	if (!file_exists(marker)) {
		return 0;
	}
	if (FAULT_POINT("rebuild.forget") || unlink(marker) != 0) {
		return err_set_errno(e, errno, "remove '%s'", marker);
	}
	return file_sync_dir(r->dir, e);
}

/* replacement/ is there: the store in it takes the place of ours, whatever crashes. */
static int rebuild_finish(const struct replica *r, struct err *e)
{
	_cleanup_(x_freep) char *from = replica_path(r, "replacement");
	int rc = catch_up_move_store(r, "replacement", e);

	if (rc == 0) {
		rc = rebuild_forget(r, e);
	}
	return rc == 0 ? file_remove_tree(from, e) : rc;
}

int rebuild_boot(struct replica *r, struct err *e)
{
	_cleanup_(x_freep) char *from = replica_path(r, "replacement");
	_cleanup_(x_freep) char *marker = replica_path(r, REBUILD_MARKER);
	_cleanup_(x_freep) char *db = replica_path(r, "db");
	int rc = 0;

	if (file_exists(from)) {
		log_warn("op=rebuild msg=\"a replacement of the store was cut short, going on with "
			 "it\"");
		rc = rebuild_finish(r, e);
	}
	if (rc == 0 && file_exists(marker)) {
		log_warn("op=rebuild msg=\"the store was given up: a peer's takes its place\"");
		r->without_data = true;
		rc = file_remove_tree(db, e);
	}
	return rc == 0 ? 0 : err_wrap(e, rc, "rebuild the store");
}

/* --- putting it in place --- */

int rebuild_replace(struct replica *r, const struct driver_snapshot *snapshot)
{
	struct catch_up *c = r->catch_up;

	assert(c != NULL && c->state == CATCH_UP_READY && c->snapshot.index == snapshot->index);
	c->state = CATCH_UP_INSTALLING;
	applier_push(r, apply_job_new(r, APPLY_REPLACE, 0));
	return 0;
}

int rebuild_swap(struct replica *r, struct err *e)
{
	_cleanup_(x_freep) char *to = replica_path(r, "replacement");
	struct catch_up *c = r->catch_up; /* Stays: the core waits for this work. */
	int rc;

	if (FAULT_POINT("rebuild.commit") || rename(c->dir, to) != 0) {
		return err_set_errno(e, errno, "rename '%s' to '%s'", c->dir, to);
	}
	rc = file_sync_dir(r->dir, e);
	if (rc != 0) {
		return rc;
	}
	fsm_free(r->applier.fsm);
	kv_close(r->applier.kv);
	rc = rebuild_finish(r, e);
	return rc == 0 ? replica_open_store(r, e) : rc;
}

void rebuild_swapped(struct replica *r)
{
	struct catch_up *c = r->catch_up;
	uint64_t index;

	assert(c != NULL && c->state == CATCH_UP_INSTALLING);
	index = c->snapshot.index;
	r->catch_up = NULL;
	catch_up_free(c);
	r->flushed_index = index;
	proposer_doubt(r);
	rebuild_done(r);
	log_info(
		"op=rebuild state=done index=%" PRIu64 " msg=\"the store is a peer's now\"", index);
	reader_applied(r);
	driver_replaced(r->driver, 0);
}

/* What was found damaged went with the old store. */
static void rebuild_trust(struct replica *r)
{
	(void)pthread_mutex_lock(&r->status_lock);
	r->damage[0] = 0;
	(void)pthread_mutex_unlock(&r->status_lock);
	atomic_store(&r->doubted, false);
	r->doubt_told = false;
}

void rebuild_done(struct replica *r)
{
	r->bytes_to_flush = 0;
	r->without_data = r->broken = false;
	rebuild_trust(r);
	r->rebuilt_ms = replica_now(r);
	r->hash_asked_ms = 0; /* It is to be judged at once. */
	/* Nobody else uses the state machine until this returns: the apply thread waits for work.
	 */
	rebuild_judged(r, fsm_quarantined(r->applier.fsm));
}

/* --- when --- */

void replica_doubt(struct replica *r, const char *what)
{
	bool first;

	(void)pthread_mutex_lock(&r->status_lock);
	first = r->damage[0] == 0;
	if (first) {
		(void)snprintf(r->damage, sizeof r->damage, "%s", *what == 0 ? "?" : what);
	}
	(void)pthread_mutex_unlock(&r->status_lock);
	atomic_store(&r->doubted, true);
	if (first) {
		log_err("op=store state=damaged msg=\"%s: a peer's store is to take its place\"",
			what);
	}
}

void rebuild_broke(struct replica *r)
{
	r->broken = true;
	atomic_store(&r->quarantined, true); /* What it has applied gets older and older. */
}

void rebuild_judged(struct replica *r, bool quarantined)
{
	bool before = atomic_load(&r->quarantined),
	     now = quarantined || r->without_data || r->broken;

	if (quarantined && !before) {
		log_err("op=state_hash index=%" PRIu64
			" msg=\"a majority disagrees with this node's state: it is rebuilt from a "
			"peer\"",
			r->position.index);
	} else if (!now && before) {
		log_info("op=state_hash index=%" PRIu64 " msg=\"this node's state is in no doubt "
			 "any more\"",
			r->position.index);
	}
	atomic_store(&r->quarantined, now); /* Ends when it agrees again. */
}

/* The same node again and again is a bad memory or disk: not all the time. */
static void rebuild_wait(struct replica *r)
{
	uint64_t now_ms = replica_now(r);

	if (r->rebuild_wait_ms == 0 ||
		(r->rebuilt_ms != 0 && now_ms - r->rebuilt_ms > REBUILD_WAIT_MS_MAX)) {
		r->rebuild_wait_ms = REBUILD_WAIT_MS;
	} else if (r->rebuild_wait_ms < REBUILD_WAIT_MS_MAX) {
		r->rebuild_wait_ms *= 2;
	}
	r->rebuild_due_ms = now_ms + r->rebuild_wait_ms;
}

void rebuild_failed(struct replica *r, int rc)
{
	if (rc != KLUIS_ENOSPACE || r->without_data || r->broken ||
		!driver_status(r->driver).rebuilding) {
		return; /* Another one is asked. */
	}
	/* Entries go on to be applied, or the log could not be cut and would fill the disk. */
	if (driver_rebuild_stop(r->driver) == 0) {
		rebuild_wait(r);
		log_err("op=rebuild rc=%s msg=\"no room for a second store beside this one: make "
			"some, or stop this node and run 'kluisd rebuild'\"",
			err_name(rc));
	}
}

static void rebuild_ask(struct replica *r)
{
	struct command command = {.type = COMMAND_HASH_ASK, .hash_ask = {.node = r->node_id}};
	uint64_t now_ms = replica_now(r);

	if (driver_leader(r->driver) != 0 &&
		(r->hash_asked_ms == 0 || now_ms - r->hash_asked_ms >= HASH_ASK_MS)) {
		r->hash_asked_ms = now_ms;
		propose_own(r, &command);
	}
}

void rebuild_tick(struct replica *r)
{
	struct driver_status status = driver_status(r->driver);
	uint64_t now_ms = replica_now(r);

	if (!r->begun || status.rebuilding || !atomic_load(&r->quarantined)) {
		return;
	}
	if (now_ms < r->rebuild_due_ms || status.role == DRIVER_LEADER || status.leader == 0) {
		rebuild_ask(r);
		return;
	}
	rebuild_wait(r);
	log_warn("op=rebuild state=begun index=%" PRIu64
		 " msg=\"a peer's store is fetched, the log stays\"",
		r->position.index);
	driver_rebuild(r->driver);
}
