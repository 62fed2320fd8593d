/* kluisctl restore plan|cluster: a node's store made anew from a snapshot, without any node. */
#include "backup/restore.h"

#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "cli/client/json_reader.h"
#include "cli/ops/offline.h"
#include "cli/ops/ops.h"
#include "cli/ui/progress.h"
#include "crypto/pem.h"

enum { RESTORE_PEM_BYTES_MAX = 16 * 1024 };

/* A restore, from its arguments on. */
struct restore {
	struct invocation *inv;
	struct offline offline;
	struct offline_snapshot snapshot;
	bool found;
	struct restore_plan plan;
	struct backup_key_set keys;   /* They open the chain. */
	struct key_pub *operator_key; /* Proves the record. */
	struct buf record;	      /* The signed one of this restore. */
	struct progress progress;
};

static void restore_release(struct restore *r)
{
	if (r->found) {
		backup_manifest_release(&r->snapshot.manifest);
	}
	offline_release(&r->offline);
	backup_key_set_release(&r->keys);
	key_pub_free(r->operator_key);
	buf_release(&r->record);
}

static int restore_open(struct restore *r)
{
	struct invocation *inv = r->inv;
	int rc = offline_open(inv, &r->offline);

	if (rc == 0 && r->offline.config->data_dir == NULL) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "the settings name no data directory");
	}
	rc = rc != 0 ? rc
		     : offline_find(
			       inv, &r->offline, invocation_value(inv, "snapshot"), &r->snapshot);
	r->found = rc == 0;
	return rc != 0 ? rc
		       : restore_plan(r->offline.repository, r->snapshot.hash, &r->offline.trust,
				 &r->plan, &inv->err);
}

static char *restore_db(const struct restore *r)
{
	return x_asprintf("%s/db", r->offline.config->data_dir);
}

static json_t *plan_record(const struct restore *r)
{
	const struct restore_plan *p = &r->plan;
	_cleanup_(x_freep) char *db = restore_db(r);
	uint64_t now_ms = clock_wall_ms(&clock_system);

	return json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:b}",
		"id", json_sprintf("%llu", (unsigned long long)r->snapshot.manifest.id),
		"manifest_hash", json_hex(bytes_of(p->manifest_hash, HASH_BYTES)), "lineage",
		json_hex(bytes_of(p->lineage, ID_BYTES)), "created", (json_int_t)p->wall_ms,
		"age_ms", (json_int_t)(now_ms > p->wall_ms ? now_ms - p->wall_ms : 0), "node",
		(json_int_t)p->node, "index", (json_int_t)p->index, "snapshots",
		(json_int_t)p->snapshots, "objects", (json_int_t)p->objects, "bytes",
		(json_int_t)p->bytes, "value_bytes", (json_int_t)p->value_bytes, "repository",
		repository_path(r->offline.repository), "store", db, "store_there",
		file_exists(db));
}

static const struct output_column plan_columns[] = {{"id", "Snapshot", OUTPUT_TEXT},
	{"created", "Taken", OUTPUT_TIME}, {"age_ms", "Lost: what came in the last", OUTPUT_MS},
	{"node", "By node", OUTPUT_TEXT}, {"index", "Index", OUTPUT_TEXT},
	{"snapshots", "Snapshots to read", OUTPUT_TEXT}, {"objects", "Objects", OUTPUT_TEXT},
	{"bytes", "Bytes to read", OUTPUT_BYTES}, {"value_bytes", "Bytes to write", OUTPUT_BYTES},
	{"manifest_hash", "Manifest", OUTPUT_TEXT}, {"lineage", "Old lineage", OUTPUT_TEXT},
	{"repository", "From", OUTPUT_TEXT}, {"store", "Into", OUTPUT_TEXT},
	{"store_there", "A store is there already", OUTPUT_TEXT}};

int ops_restore_plan(struct invocation *inv)
{
	_cleanup_(restore_release) struct restore r = {.inv = inv};
	json_t *record;
	int rc = restore_open(&r);

	if (rc != 0) {
		return rc;
	}
	record = plan_record(&r);
	output_record(&inv->out, plan_columns, ARRAY_SIZE(plan_columns), record);
	json_decref(record);
	return 0;
}

static int restore_operator_key(struct restore *r)
{
	struct invocation *inv = r->inv;
	_cleanup_(buf_release) struct buf pem = BUF_INIT;
	const char *file = r->offline.config->restore_key;
	int rc;

	if (file == NULL) {
		return err_set(
			&inv->err, KLUIS_EINVAL, "the settings name no [cluster] restore_key");
	}
	rc = file_read(file, RESTORE_PEM_BYTES_MAX, &pem, &inv->err);
	rc = rc != 0 ? rc
		     : pem_public_key(buf_bytes(&pem), KEY_ECDSA_P256, &r->operator_key, &inv->err);
	return rc == 0 ? 0 : err_wrap(&inv->err, rc, "operator restore key '%s'", file);
}

static int record_load_key(struct invocation *inv, struct key **ret_key)
{
	_cleanup_(secret_buf_release) struct buf pem = BUF_INIT;
	const char *file;
	int rc = ops_needed(inv, "restore-key", &file);

	if (rc != 0) {
		return rc;
	}
	buf_reserve(&pem, 128 * 1024); /* So that no growth leaves a copy behind. */
	rc = file_read(file, RESTORE_PEM_BYTES_MAX, &pem, &inv->err);
	rc = rc != 0 ? rc : pem_private_key(buf_bytes(&pem), KEY_ECDSA_P256, ret_key, &inv->err);
	return rc == 0 ? 0 : err_wrap(&inv->err, rc, "operator restore key '%s'", file);
}

static int record_sign(struct restore *r)
{
	struct restore_record record = {
		.raft_index = r->plan.index, .unix_ms = clock_wall_ms(&clock_system)};
	_cleanup_(key_freep) struct key *key = NULL;
	int rc = record_load_key(r->inv, &key);

	if (rc != 0) {
		return rc;
	}
	memcpy(record.cluster_id, r->plan.cluster_id, ID_BYTES);
	memcpy(record.old_lineage, r->plan.lineage, ID_BYTES);
	random_fill(&random_system, record.new_lineage, ID_BYTES);
	memcpy(record.manifest_hash, r->snapshot.hash, HASH_BYTES);
	return restore_record_sign(&record, key, &r->record, &r->inv->err);
}

/* The record of this restore: signed at the first node, and taken as it is at the others, so that
 * all share one new lineage. Checked before the file is written. */
static int restore_record(struct restore *r)
{
	struct invocation *inv = r->inv;
	struct restore_record record;
	const char *file;
	bool there;
	int rc = ops_needed(inv, "record", &file);

	if (rc != 0) {
		return rc;
	}
	there = file_exists(file);
	rc = there ? file_read(file, RESTORE_RECORD_BYTES, &r->record, &inv->err) : record_sign(r);
	rc = rc != 0 ? rc
		     : restore_record_check(buf_bytes(&r->record), r->operator_key,
			       &r->snapshot.manifest, r->snapshot.hash, &record, &inv->err);
	if (rc != 0) {
		return err_wrap(&inv->err, rc, "'%s'", file);
	}
	return there ? 0 : file_write(file, buf_bytes(&r->record), 0644, &inv->err);
}

static void restore_progress(void *data, uint64_t rows, uint64_t rows_total)
{
	struct restore *r = data;

	progress_set(&r->progress, rows, rows_total);
}

static int restore_confirm(struct restore *r)
{
	struct invocation *inv = r->inv;
	_cleanup_(x_freep) char *db = restore_db(r);
	_cleanup_(x_freep) char *question = NULL;
	char time[21];

	if (file_exists(db)) {
		return err_set(&inv->err, KLUIS_EEXIST,
			"'%s' is there: a restore goes into a data directory without a store", db);
	}
	clock_format(r->plan.wall_ms, time);
	question = x_asprintf("Restore into '%s' the state of %s (index %llu)? What came later is "
			      "lost.",
		db, time, (unsigned long long)r->plan.index);
	return invocation_confirm(inv, question) ? 0 : inv->err.code;
}

static int restore_run(struct restore *r, struct restore_result *ret_result)
{
	struct restore_config config = {.repository = r->offline.repository,
		.manifest_hash = r->snapshot.hash,
		.trust = &r->offline.trust,
		.keys = &r->keys,
		.record = buf_bytes(&r->record),
		.operator_key = r->operator_key,
		.dir = r->offline.config->data_dir,
		.progress = restore_progress,
		.progress_data = r};
	int rc;

	progress_init(&r->progress, &r->inv->out, "restore");
	rc = restore_cluster(&config, ret_result, &r->inv->err);
	progress_release(&r->progress);
	return rc;
}

static void restore_print(const struct restore *r, const struct restore_result *result)
{
	static const struct output_column columns[] = {{"id", "Snapshot", OUTPUT_TEXT},
		{"index", "Index", OUTPUT_TEXT}, {"rows", "Rows", OUTPUT_TEXT},
		{"written", "Bytes", OUTPUT_BYTES}, {"new_lineage", "New lineage", OUTPUT_TEXT},
		{"store", "Store", OUTPUT_TEXT}};
	json_t *record = plan_record(r);

	(void)json_object_set_new(
		record, "new_lineage", json_hex(bytes_of(result->lineage, ID_BYTES)));
	(void)json_object_set_new(record, "rows", json_integer((json_int_t)result->rows));
	(void)json_object_set_new(record, "written", json_integer((json_int_t)result->value_bytes));
	(void)json_object_set_new(record, "store_there", json_true());
	output_record(&r->inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
	output_note(&r->inv->out, "Now: kluisd init --restored --config ..., at every node; then "
				  "start them all.");
}

int ops_restore_cluster(struct invocation *inv)
{
	_cleanup_(restore_release) struct restore r = {.inv = inv};
	struct restore_result result;
	int rc;

	if (invocation_value(inv, "dry-run") != NULL) {
		return ops_restore_plan(inv);
	}
	rc = ops_key_files(inv, &r.keys);
	rc = rc != 0 ? rc : restore_open(&r);
	rc = rc != 0 ? rc : restore_operator_key(&r);
	rc = rc != 0 ? rc : restore_confirm(&r);
	rc = rc != 0 ? rc : restore_record(&r);
	rc = rc != 0 ? rc : restore_run(&r, &result);
	if (rc == 0) {
		restore_print(&r, &result);
	}
	return rc;
}
