/* kluisctl restore cluster: a node's store made anew from a snapshot, without any node. */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "cli/client/json_reader.h"
#include "cli/ops/restore_parts.h"
#include "crypto/pem.h"

enum { RESTORE_PEM_BYTES_MAX = 16 * 1024 };

void restore_release(struct restore *r)
{
	if (r->found) {
		backup_manifest_release(&r->snapshot.manifest);
	}
	for (size_t i = 0; i < r->n_sources; i++) {
		free((char *)(uintptr_t)r->sources[i].dir);
	}
	offline_release(&r->offline);
	backup_key_set_release(&r->keys);
	key_pub_free(r->operator_key);
	buf_release(&r->encoded);
	buf_release(&r->record);
}

static int restore_find(struct restore *r)
{
	struct invocation *inv = r->inv;
	const char *id = invocation_value(inv, "snapshot");

	if (invocation_value(inv, "to-newest") == NULL) {
		return offline_find(inv, &r->offline, id, &r->snapshot);
	}
	return id == NULL ? offline_find_newest(inv, &r->offline, &r->snapshot)
			  : err_set(&inv->err, KLUIS_EINVAL, "--snapshot or --to-newest, not both");
}

int restore_open(struct restore *r)
{
	struct invocation *inv = r->inv;
	int rc = offline_open(inv, &r->offline);

	if (rc == 0 && r->offline.config->data_dir == NULL) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "the settings name no data directory");
	}
	rc = rc != 0 ? rc : restore_find(r);
	r->found = rc == 0;
	return rc != 0 ? rc
		       : restore_plan(r->offline.repository, r->snapshot.hash, &r->offline.trust,
				 &r->plan, &inv->err);
}

char *restore_db(const struct restore *r)
{
	return x_asprintf("%s/db", r->offline.config->data_dir);
}

/* --- what is deleted again ------------------------------------------------------------------- */

/* A journal's own directory, or a repository with one. */
static void source_add(struct restore *r, const char *dir)
{
	char *inside = deletion_journal_dir(dir);

	if (file_exists(inside)) {
		r->sources[r->n_sources++].dir = inside;
	} else {
		free(inside);
		r->sources[r->n_sources++].dir = x_strdup(dir);
	}
}

static int source_list(struct restore *r)
{
	const char *dir;

	r->sources[r->n_sources++].dir =
		deletion_journal_dir(repository_path(r->offline.repository));
	for (size_t i = 0; (dir = invocation_value_at(r->inv, "deletions", i)) != NULL; i++) {
		if (r->n_sources == RESTORE_SOURCES_MAX) {
			return err_set(&r->inv->err, KLUIS_EINVAL, "more than %d --deletions",
				RESTORE_SOURCES_MAX - 1);
		}
		source_add(r, dir);
	}
	return 0;
}

const struct deletion_source *restore_newest(const struct restore *r)
{
	const struct deletion_source *newest = NULL;

	for (size_t i = 0; i < r->n_sources; i++) {
		const struct deletion_source *s = &r->sources[i];

		if (s->found && (newest == NULL || s->mark.wall_ms > newest->mark.wall_ms)) {
			newest = s;
		}
	}
	return newest;
}

/* What may be missing from the list is said whatever was asked. */
static int source_tell(struct restore *r)
{
	const struct deletion_source *newest = restore_newest(r);

	for (size_t i = 0; i < r->n_sources; i++) {
		if (!r->sources[i].found && i > 0) {
			return err_set(&r->inv->err, KLUIS_ENOTFOUND, "no deletion journal in '%s'",
				r->sources[i].dir);
		}
		if (!r->sources[i].found) {
			output_warning(&r->inv->out, "there is no deletion journal in '%s'",
				r->sources[i].dir);
		}
	}
	if (newest == NULL) {
		output_warning(&r->inv->out,
			"accounts and vaults that were deleted after the "
			"snapshot come back: give --deletions of another site");
	} else if (memcmp(newest->mark.lineage, r->plan.lineage, ID_BYTES) == 0 &&
		   newest->mark.index < r->plan.index) {
		output_warning(&r->inv->out,
			"the newest deletion journal ends before the snapshot: what was deleted "
			"after it comes back; give --deletions of another site");
	}
	return 0;
}

/* Under this nonce; appends. */
static int restore_gather(struct restore *r, const uint8_t nonce[ID_BYTES], struct buf *to)
{
	struct invocation *inv = r->inv;
	const struct deletion_point point = {.cluster_id = r->plan.cluster_id,
		.lineage = r->plan.lineage,
		.index = r->plan.index};
	_cleanup_(x_freep) char *scratch = offline_scratch(&r->offline);
	int rc = source_list(r);

	rc = rc != 0 ? rc
		     : deletion_list_collect(r->sources, r->n_sources, &r->offline.trust, &point,
			       scratch, nonce, to, &inv->err);
	return rc != 0 ? rc : source_tell(r);
}

int restore_collect(struct restore *r)
{
	uint8_t nonce[ID_BYTES];
	int rc;

	random_fill(&random_system, nonce, sizeof nonce);
	rc = restore_gather(r, nonce, &r->encoded);
	return rc != 0 ? rc
		       : deletion_list_parse(buf_bytes(&r->encoded), &r->deletions, &r->inv->err);
}

/* --- the cluster ----------------------------------------------------------------------------- */

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

/* Signs for what is deleted again, too: its list makes the new lineage. */
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
	deletion_list_lineage(buf_bytes(&r->encoded), record.new_lineage);
	memcpy(record.manifest_hash, r->snapshot.hash, HASH_BYTES);
	return restore_record_sign(&record, key, &r->record, &r->inv->err);
}

/* The file is the record and the list behind it. */
static int record_read(struct restore *r, const char *file)
{
	struct invocation *inv = r->inv;
	_cleanup_(buf_release) struct buf both = BUF_INIT;
	int rc = file_read(file, RESTORE_RECORD_BYTES + DELETION_LIST_BYTES_MAX, &both, &inv->err);

	if (rc == 0 && both.len < RESTORE_RECORD_BYTES) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "not a restore record");
	}
	if (rc != 0) {
		return rc;
	}
	buf_append(&r->record, both.data, RESTORE_RECORD_BYTES);
	buf_append(&r->encoded, both.data + RESTORE_RECORD_BYTES, both.len - RESTORE_RECORD_BYTES);
	return deletion_list_parse(buf_bytes(&r->encoded), &r->deletions, &inv->err);
}

static int record_write(struct restore *r, const char *file)
{
	_cleanup_(buf_release) struct buf both = BUF_INIT;

	buf_append_bytes(&both, buf_bytes(&r->record));
	buf_append_bytes(&both, buf_bytes(&r->encoded));
	return file_write(file, buf_bytes(&both), 0644, &r->inv->err);
}

static int record_check(struct restore *r)
{
	struct restore_record unused;

	return restore_record_check(buf_bytes(&r->record), r->operator_key, &r->snapshot.manifest,
		r->snapshot.hash, &unused, &r->inv->err);
}

/* --deletions beside a record that is there: of the run that made it and was cut off, mostly. What
 * the journals know must be in it, for it is the record alone that says what is deleted again. */
static int record_covers(struct restore *r)
{
	const uint8_t nonce[ID_BYTES] = {0}; /* Only looked at. */
	_cleanup_(buf_release) struct buf journals = BUF_INIT;
	struct err *e = &r->inv->err;
	struct deletion_list known;
	size_t lacks;
	int rc = restore_gather(r, nonce, &journals);

	rc = rc != 0 ? rc : deletion_list_parse(buf_bytes(&journals), &known, e);
	if (rc != 0) {
		return rc;
	}
	lacks = deletion_list_lacks(&r->deletions, &known);
	return lacks == 0 ? 0
			  : err_set(e, KLUIS_EINVAL,
				    "%zu deletions that the journals know of are not in the "
				    "record: --deletions was for the first node, which decided; "
				    "without it this record is taken as it is",
				    lacks);
}

static int record_take(struct restore *r, const char *file)
{
	int rc = record_read(r, file);

	rc = rc != 0 ? rc : record_check(r);
	return rc != 0 || invocation_value(r->inv, "deletions") == NULL ? rc : record_covers(r);
}

/* What is deleted again: from the record's file, else from the journals. */
static int restore_decide(struct restore *r)
{
	const char *file;
	int rc = ops_needed(r->inv, "record", &file);

	if (rc != 0) {
		return rc;
	}
	if (!file_exists(file)) {
		return restore_collect(r);
	}
	rc = record_take(r, file);
	return rc == 0 ? 0 : err_wrap(&r->inv->err, rc, "'%s'", file);
}

/* The record of this restore: signed at the first node, and taken as it is at the others, so that
 * all share one new lineage and delete the same again. Checked before the file is written. */
static int restore_record(struct restore *r)
{
	const char *file = invocation_value(r->inv, "record");
	int rc;

	if (r->record.len > 0) {
		return 0;
	}
	rc = record_sign(r);
	rc = rc != 0 ? rc : record_check(r);
	return rc != 0 ? err_wrap(&r->inv->err, rc, "'%s'", file) : record_write(r, file);
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
	clock_format(r->plan.cluster_time_ms, time);
	question = x_asprintf(
		"Restore into '%s' the state of %s (index %llu), and delete %zu "
		"accounts and %zu vaults, revoke %zu devices and shut out %zu members again? "
		"What came later is lost.",
		db, time, (unsigned long long)r->plan.index, r->deletions.n_persons,
		r->deletions.n_vaults, r->deletions.n_devices, r->deletions.n_members);
	return invocation_confirm(inv, question) ? 0 : inv->err.code;
}

static int restore_run(struct restore *r, struct restore_result *ret_result)
{
	struct restore_config config = {.repository = r->offline.repository,
		.manifest_hash = r->snapshot.hash,
		.trust = &r->offline.trust,
		.keys = &r->keys,
		.record = buf_bytes(&r->record),
		.deletions = buf_bytes(&r->encoded),
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
		{"written", "Bytes", OUTPUT_BYTES},
		{"persons_deleted", "Accounts deleted again", OUTPUT_TEXT},
		{"vaults_deleted", "Vaults deleted again", OUTPUT_TEXT},
		{"devices_revoked", "Devices revoked again", OUTPUT_TEXT},
		{"members_removed", "Members shut out again", OUTPUT_TEXT},
		{"admins_kept", "Removed since, but the last admin", OUTPUT_TEXT},
		{"manifest_hash", "Manifest", OUTPUT_TEXT},
		{"new_lineage", "New lineage", OUTPUT_TEXT}, {"store", "Store", OUTPUT_TEXT}};
	_cleanup_(x_freep) char *db = restore_db(r);
	json_t *record = json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:s}",
		"id", json_sprintf("%llu", (unsigned long long)r->snapshot.manifest.id), "index",
		(json_int_t)result->index, "rows", (json_int_t)result->rows, "written",
		(json_int_t)result->value_bytes, "persons_deleted",
		(json_int_t)result->persons_deleted, "vaults_deleted",
		(json_int_t)result->vaults_deleted, "devices_revoked",
		(json_int_t)result->devices_revoked, "members_removed",
		(json_int_t)result->members_removed, "admins_kept", (json_int_t)result->admins_kept,
		"manifest_hash", json_hex(bytes_of(r->snapshot.hash, HASH_BYTES)), "new_lineage",
		json_hex(bytes_of(result->lineage, ID_BYTES)), "store", db);

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
	rc = rc != 0 ? rc : restore_decide(&r);
	rc = rc != 0 ? rc : restore_confirm(&r);
	rc = rc != 0 ? rc : restore_record(&r);
	rc = rc != 0 ? rc : restore_run(&r, &result);
	if (rc == 0) {
		restore_print(&r, &result);
	}
	return rc;
}
