/* What was fetched takes the place of store and log (docs/format-catch-up.md, "Installing"). */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "raft/catch_up_impl.h"
#include "raft/fail_stop.h"

int catch_up_install(struct replica *r, uint64_t seq, const struct driver_snapshot *snapshot)
{
	struct catch_up *c = r->catch_up;

	assert(c != NULL && c->state == CATCH_UP_READY && c->snapshot.index == snapshot->index);
	c->state = CATCH_UP_INSTALLING;
	c->install_seq = seq;
	applier_push(r, apply_job_new(r, APPLY_INSTALL, 0));
	return 0;
}

int catch_up_move_store(const struct replica *r, const char *from_dir, struct err *e)
{
	_cleanup_(x_freep) char *db = replica_path(r, "db");
	_cleanup_(x_freep) char *from = x_asprintf("%s/%s/db", r->dir, from_dir);
	int rc;

	if (!file_exists(from)) {
		return 0;
	}
	rc = file_remove_tree(db, e);
	if (rc == 0 && (FAULT_POINT("catch_up.move") || rename(from, db) != 0)) {
		rc = err_set_errno(e, errno, "rename '%s' to '%s'", from, db);
	}
	return rc == 0 ? file_sync_dir(r->dir, e) : rc;
}

/* The record goes first and durably: if it came back after a crash, behind entries that were stored
 * since, the log would be begun anew and lose them. */
int catch_up_end_install(const struct replica *r, struct err *e)
{
	_cleanup_(x_freep) char *install = replica_path(r, "install");
	_cleanup_(x_freep) char *record = replica_path(r, "install/snapshot");
	int rc = rebuild_forget(r, e);

	if (rc != 0) {
		return rc;
	}
	if (FAULT_POINT("catch_up.end") || (unlink(record) != 0 && errno != ENOENT)) {
		return err_set_errno(e, errno, "remove '%s'", record);
	}
	rc = file_sync_dir(install, e);
	return rc == 0 ? file_remove_tree(install, e) : rc;
}

/* After the rename a crash at any place ends with the fetched store: replica_boot() goes on. */
int catch_up_swap(struct replica *r, struct err *e)
{
	_cleanup_(x_freep) char *install = replica_path(r, "install");
	struct catch_up *c = r->catch_up; /* Stays: the core waits for this work. */
	int rc;

	if (FAULT_POINT("catch_up.commit") || rename(c->dir, install) != 0) {
		return err_set_errno(e, errno, "rename '%s' to '%s'", c->dir, install);
	}
	rc = file_sync_dir(r->dir, e);
	if (rc != 0) {
		return rc;
	}
	fsm_free(r->applier.fsm);
	kv_close(r->applier.kv);
	rc = catch_up_move_store(r, "install", e);
	return rc == 0 ? replica_open_store(r, e) : rc;
}

void catch_up_swapped(struct replica *r)
{
	_cleanup_(buf_release) struct buf record = BUF_INIT;
	struct catch_up *c = r->catch_up;

	assert(c != NULL && c->state == CATCH_UP_INSTALLING);
	proposer_doubt(r);
	snapshot_record_encode(&c->snapshot, &record);
	entry_log_reset(r->log, c->install_seq, c->snapshot.index + 1, buf_bytes(&record));
	r->bytes_to_flush = 0;
	r->flushed_index = c->snapshot.index;
}

void catch_up_persisted(struct replica *r, uint64_t seq)
{
	struct catch_up *c = r->catch_up;
	struct err e = {0};

	if (c == NULL || c->state != CATCH_UP_INSTALLING || c->install_seq != seq) {
		return;
	}
	if (catch_up_end_install(r, &e) != 0) {
		fail_stop("end an install: %s", e.text); /* Done again at the next start. */
	}
	log_info("op=catch_up index=%llu msg=\"installed\"", (unsigned long long)c->snapshot.index);
	r->catch_up = NULL;
	catch_up_free(c);
	rebuild_done(r);
	reader_applied(r);
	driver_installed(r->driver, 0);
}
