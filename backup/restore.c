#include "backup/restore.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/feed.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "storage/import.h"

/* One more key that the chain is sealed to; what is beyond the room for them no restore opens. */
static void restore_plan_kid(struct restore_plan *plan, const uint8_t kid[KID_BYTES])
{
	for (unsigned i = 0; i < plan->n_kids; i++) {
		if (memcmp(plan->kids[i], kid, KID_BYTES) == 0) {
			return;
		}
	}
	if (plan->n_kids < BACKUP_KEYS_MAX) {
		memcpy(plan->kids[plan->n_kids++], kid, KID_BYTES);
	}
}

static int restore_plan_sizes(struct point *point, struct restore_plan *plan, struct err *e)
{
	for (unsigned i = 0; i < point->n; i++) {
		const struct backup_manifest *m = &point->snapshots[i].manifest;

		for (uint32_t k = 0; k < m->n_index + m->n_packs; k++) {
			_cleanup_(x_closep) int fd = -1;
			uint64_t bytes = 0;
			int rc = repository_open_object(
				point->repository, m->objects[k].hash, &fd, &bytes, e);

			if (rc == 0 && bytes != m->objects[k].bytes) {
				rc = err_set(e, KLUIS_EVERIFY, "%llu bytes, the manifest says %llu",
					(unsigned long long)bytes,
					(unsigned long long)m->objects[k].bytes);
			}
			if (rc != 0) {
				return repository_object_fault(m->objects[k].hash, rc, e);
			}
			plan->objects++;
			plan->bytes += bytes;
		}
		plan->value_bytes += m->value_bytes;
		plan->oldest_wall_ms = m->wall_ms;
		restore_plan_kid(plan, m->kid);
	}
	return 0;
}

int restore_plan(struct repository *repository, const uint8_t manifest_hash[HASH_BYTES],
	const struct backup_trust *trust, struct restore_plan *ret_plan, struct err *e)
{
	struct restore_plan plan = {0};
	const struct backup_manifest *m;
	struct point *point = NULL;
	int rc = point_open(repository, manifest_hash, trust, &point, e);

	if (rc != 0) {
		return rc;
	}
	m = &point->snapshots[0].manifest;
	plan.index = m->index;
	plan.term = m->term;
	plan.cycle = m->cycle;
	plan.manual = m->manual;
	plan.node = m->node;
	plan.cluster_time_ms = m->cluster_time_ms;
	plan.wall_ms = m->wall_ms;
	plan.least_value_bytes = m->value_bytes; /* Nothing is newer than they are. */
	plan.snapshots = point->n;
	plan.journals = point->n_journals;
	memcpy(plan.manifest_hash, manifest_hash, HASH_BYTES);
	memcpy(plan.cluster_id, m->cluster_id, ID_BYTES);
	memcpy(plan.lineage, m->lineage, ID_BYTES);
	rc = restore_plan_sizes(point, &plan, e);
	point_free(point);
	if (rc == 0) {
		*ret_plan = plan;
	}
	return rc;
}

int restore_record_check(struct bytes encoded, const struct key_pub *operator_key,
	const struct backup_manifest *m, const uint8_t manifest_hash[HASH_BYTES],
	struct restore_record *ret_record, struct err *e)
{
	struct restore_record record;
	int rc = restore_record_parse(encoded, &record, e);

	rc = rc != 0 ? rc : restore_record_verify(&record, operator_key, e);
	if (rc != 0) {
		return rc;
	}
	if (record.raft_index != m->index ||
		memcmp(record.cluster_id, m->cluster_id, ID_BYTES) != 0 ||
		memcmp(record.old_lineage, m->lineage, ID_BYTES) != 0 ||
		memcmp(record.new_lineage, m->lineage, ID_BYTES) == 0 ||
		memcmp(record.manifest_hash, manifest_hash, HASH_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "restore record: for another snapshot");
	}
	*ret_record = record;
	return 0;
}

struct restore {
	const struct restore_config *config;
	struct point *point;
	struct restore_record record;
	struct deletion_list deletions;
	char *db, *restoring;
	int lock; /* On restoring. */
	struct restore_result result;
};

/* On the feed's thread: it alone reads, decrypts and compares with the index. */
static int restore_next(
	void *data, struct index_row *ret_row, struct buf *value, bool *ret_more, struct err *e)
{
	struct point_rows *rows = data;
	struct index_entry entry;
	int rc = point_rows_next(rows, &entry, ret_more, e);

	if (rc != 0 || !*ret_more) {
		return rc;
	}
	*ret_row = (struct index_row){
		.at = {.index = entry.index, .ordinal = entry.ordinal}, .key = entry.key};
	memcpy(ret_row->hash, entry.value_hash, HASH_BYTES);
	return point_rows_value(rows, value, e);
}

static int restore_batch(
	struct restore *r, const struct feed_batch *batch, struct import *import, struct err *e)
{
	const struct restore_config *c = r->config;
	uint64_t before = r->result.value_bytes;
	int rc;

	for (size_t i = 0; i < batch->n; i++) {
		if (FAULT_POINT("backup.restore.row")) {
			return err_set(e, KLUIS_EIO, "a row cannot be written");
		}
		r->result.value_bytes += batch->rows[i].value.len;
	}
	r->result.rows += batch->n;
	rc = pace_wait(c->pace, r->result.value_bytes - before, c->cancel, NULL, e);
	if (rc != 0) {
		return rc;
	}
	if (c->cancel != NULL && atomic_load(c->cancel)) {
		return err_set(e, KLUIS_ECLOSED, "stopped");
	}
	return import_put_checked(import, batch->rows, batch->n, e);
}

static int restore_rows(
	struct restore *r, struct point_rows *rows, struct import *import, struct err *e)
{
	const struct restore_config *c = r->config;
	const struct feed_source source = {restore_next, rows};
	const struct feed_batch *batch = NULL;
	uint64_t total = point_rows_live(rows);
	struct feed *feed = feed_new(&source);
	int rc;

	for (;;) {
		rc = feed_next(feed, &batch, e);
		if (rc != 0 || batch == NULL) {
			break;
		}
		rc = restore_batch(r, batch, import, e);
		if (rc != 0) {
			break;
		}
		if (c->progress != NULL) {
			c->progress(c->progress_data, r->result.rows, total);
		}
	}
	feed_free(feed);
	return rc;
}

static int restore_fill(struct restore *r, struct import *import, struct err *e)
{
	const struct backup_manifest *m = &r->point->snapshots[0].manifest;
	struct import_end end = {.index = m->index,
		.term = m->term,
		.cluster_time_ms = m->cluster_time_ms,
		.ledger = r->deletions.vaults,
		.n_ledger = r->deletions.n_vaults,
		.users = r->deletions.persons,
		.n_users = r->deletions.n_persons,
		.devices = r->deletions.devices,
		.n_devices = r->deletions.n_devices,
		.members = r->deletions.members,
		.n_members = r->deletions.n_members};
	struct import_deleted deleted;
	struct point_rows *rows = NULL;
	int rc = point_rows_new(r->point, r->config->keys, r->config->dir, &rows, e);

	if (rc == 0) {
		rc = restore_rows(r, rows, import, e);
	}
	if (rc == 0) {
		point_rows_root(rows, end.state_root);
	}
	point_rows_free(rows);
	if (rc != 0) {
		return rc;
	}
	memcpy(end.record, r->config->record.data, RESTORE_RECORD_BYTES);
	rc = import_finish(import, &end, e);
	deleted = import_deleted(import);
	r->result.vaults_deleted = deleted.vaults;
	r->result.persons_deleted = deleted.persons;
	r->result.devices_revoked = deleted.devices;
	r->result.members_removed = deleted.members;
	r->result.admins_kept = deleted.admins_kept;
	return rc;
}

static int restore_store(struct restore *r, struct err *e)
{
	const struct kv_options options = {.create = true};
	struct import *import = NULL;
	struct kv *kv = NULL;
	int rc = kv_rocksdb_open(r->restoring, &options, &kv, e);

	if (rc == 0) {
		rc = import_new(kv, &import, e);
	}
	if (rc == 0) {
		rc = restore_fill(r, import, e);
	}
	import_free(import);
	kv_close(kv);
	return rc;
}

/* The rename of the store is the moment it counts. */
static int restore_publish(struct restore *r, struct err *e)
{
	int rc = file_sync_dir(r->restoring, e);

	if (rc == 0 && FAULT_POINT("backup.restore.publish")) {
		rc = err_set(e, KLUIS_EIO, "the store cannot be renamed");
	}
	if (rc == 0 && rename(r->restoring, r->db) != 0) {
		rc = err_set_errno(e, errno, "rename to '%s'", r->db);
	}
	return rc != 0 ? rc : file_sync_dir(r->config->dir, e);
}

/* What a run left that was interrupted; not of one that is at it. */
static int restore_sweep(struct restore *r, struct err *e)
{
	_cleanup_(x_closep) int fd = -1;
	int rc = lock_dir(r->restoring, &fd, e);

	return rc == KLUIS_ENOTFOUND ? 0 : rc != 0 ? rc : file_remove_tree(r->restoring, e);
}

static int restore_prepare(struct restore *r, struct err *e)
{
	int rc = file_make_dirs(r->config->dir, 0700, e);

	if (rc != 0) {
		return rc;
	}
	if (file_exists(r->db)) {
		return err_set(e, KLUIS_EEXIST,
			"'%s' is there already: restore into a new data directory", r->db);
	}
	rc = restore_sweep(r, e);
	if (rc == 0 && mkdir(r->restoring, 0700) != 0) {
		rc = err_set_errno(e, errno, "create '%s'", r->restoring);
	}
	return rc != 0 ? rc : lock_dir(r->restoring, &r->lock, e);
}

static int restore_run(struct restore *r, struct err *e)
{
	int rc = restore_prepare(r, e);

	rc = rc != 0 ? rc : restore_store(r, e);
	if (rc == 0) {
		rc = restore_publish(r, e);
	}
	if (rc != 0 && r->lock >= 0 && file_remove_tree(r->restoring, NULL) != 0) {
		log_warn("op=restore path=%s is left behind, ignoring", r->restoring);
	}
	return rc;
}

/* The list is signed by way of the lineage that the record names. */
static int restore_deletions(struct restore *r, struct err *e)
{
	struct bytes encoded = r->config->deletions;
	uint8_t lineage[ID_BYTES];
	int rc = deletion_list_parse(encoded, &r->deletions, e);

	if (rc != 0) {
		return rc;
	}
	deletion_list_lineage(encoded, lineage);
	return memcmp(lineage, r->record.new_lineage, ID_BYTES) == 0
		       ? 0
		       : err_set(e, KLUIS_EVERIFY, "restore record: of another list of deletions");
}

static void restore_release(struct restore *r)
{
	point_free(r->point);
	free(r->db);
	free(r->restoring);
	x_closep(&r->lock);
}

int restore_cluster(
	const struct restore_config *config, struct restore_result *ret_result, struct err *e)
{
	_cleanup_(restore_release) struct restore r = {.config = config,
		.db = x_asprintf("%s/db", config->dir),
		.restoring = x_asprintf("%s/db.restoring", config->dir),
		.lock = -1};
	const struct backup_manifest *m;
	int rc;

	assert(config->keys != NULL && config->operator_key != NULL);
	rc = point_open(config->repository, config->manifest_hash, config->trust, &r.point, e);
	if (rc != 0) {
		return rc;
	}
	m = &r.point->snapshots[0].manifest;
	rc = restore_record_check(
		config->record, config->operator_key, m, config->manifest_hash, &r.record, e);
	rc = rc != 0 ? rc : restore_deletions(&r, e);
	rc = rc != 0 ? rc : restore_run(&r, e);
	if (rc != 0) {
		return rc;
	}
	r.result.index = m->index;
	r.result.term = m->term;
	memcpy(r.result.cluster_id, m->cluster_id, ID_BYTES);
	memcpy(r.result.lineage, r.record.new_lineage, ID_BYTES);
	*ret_result = r.result;
	return 0;
}
