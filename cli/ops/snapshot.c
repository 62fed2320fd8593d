/* kluisctl snapshot save|list|inspect|verify|pin|unpin: by a node, or of a directory. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "backup/verify.h"
#include "base/clock.h"
#include "cli/ops/offline.h"
#include "cli/ops/ops.h"
#include "cli/ui/progress.h"

enum { SAVE_WAIT_S = 600, SAVE_POLL_MS = 300, SAVE_WAIT_MAX_S = 86400 };

static const struct output_column snapshot_columns[] = {{"id", "ID", OUTPUT_TEXT},
	{"kind", "KIND", OUTPUT_TEXT}, {"state", "STATE", OUTPUT_TEXT},
	{"node", "NODE", OUTPUT_TEXT}, {"index", "INDEX", OUTPUT_TEXT},
	{"created", "CREATED", OUTPUT_TIME}, {"bytes", "BYTES", OUTPUT_BYTES},
	{"objects", "OBJECTS", OUTPUT_TEXT}, {"pinned", "PINNED", OUTPUT_TEXT},
	{"confirmed_by", "CONFIRMED BY", OUTPUT_TEXT}, {"error", "ERROR", OUTPUT_TEXT}};

static const struct output_column offline_columns[] = {{"id", "ID", OUTPUT_TEXT},
	{"kind", "KIND", OUTPUT_TEXT}, {"state", "STATE", OUTPUT_TEXT},
	{"node", "NODE", OUTPUT_TEXT}, {"index", "INDEX", OUTPUT_TEXT},
	{"created", "CREATED", OUTPUT_TIME}, {"bytes", "BYTES", OUTPUT_BYTES},
	{"objects", "OBJECTS", OUTPUT_TEXT}, {"manifest_hash", "MANIFEST", OUTPUT_TEXT}};

static const struct output_column inspect_columns[] = {{"id", "Id", OUTPUT_TEXT},
	{"kind", "Kind", OUTPUT_TEXT}, {"state", "State", OUTPUT_TEXT},
	{"node", "Taken by node", OUTPUT_TEXT}, {"index", "Index", OUTPUT_TEXT},
	{"term", "Term", OUTPUT_TEXT}, {"cycle", "Cycle", OUTPUT_TEXT},
	{"created", "Created", OUTPUT_TIME}, {"bytes", "Bytes", OUTPUT_BYTES},
	{"objects", "Objects", OUTPUT_TEXT}, {"rows", "Rows", OUTPUT_TEXT},
	{"pinned", "Pinned", OUTPUT_TEXT}, {"confirmed_by", "Confirmed by", OUTPUT_TEXT},
	{"manifest_hash", "Manifest", OUTPUT_TEXT}, {"state_root", "State root", OUTPUT_TEXT},
	{"lineage", "Lineage", OUTPUT_TEXT}, {"error", "Error", OUTPUT_TEXT}};

static const struct output_column verify_columns[] = {{"id", "Id", OUTPUT_TEXT},
	{"level", "Level asked for", OUTPUT_TEXT}, {"ok", "Good", OUTPUT_TEXT},
	{"passed", "Levels that it passed", OUTPUT_TEXT},
	{"snapshots", "Snapshots in the point", OUTPUT_TEXT}, {"objects", "Objects", OUTPUT_TEXT},
	{"bytes", "Bytes", OUTPUT_BYTES}, {"rows", "Rows", OUTPUT_TEXT},
	{"text", "What is wrong", OUTPUT_TEXT}};

static void sleep_poll(void)
{
	struct timespec time = {.tv_nsec = SAVE_POLL_MS * 1000000L};

	(void)nanosleep(&time, NULL); /* An early wake only polls once more. */
}

/* Follows a snapshot until enough sites confirmed it or it failed. */
static int save_wait(struct invocation *inv, struct client *client, json_t **snapshot)
{
	uint64_t seconds, deadline_ms;
	_cleanup_(x_freep) char *target = NULL;
	const char *id = json_string_value(json_object_get(*snapshot, "id"));
	int rc = invocation_number(inv, "timeout", SAVE_WAIT_S, SAVE_WAIT_MAX_S, &seconds);

	if (rc != 0 || id == NULL || !ops_part_valid(id)) {
		return rc != 0 ? rc : err_set(&inv->err, KLUIS_EPROTO, "snapshot: no id");
	}
	target = x_asprintf("/v1/sys/snapshots/%s", id);
	deadline_ms = clock_monotonic_ms(&clock_system) + seconds * 1000;
	for (;;) {
		const char *state = json_string_value(json_object_get(*snapshot, "state"));
		json_t *next;

		if (state != NULL && strcmp(state, "confirmed") == 0) {
			return 0;
		}
		if (state != NULL && strcmp(state, "failed") == 0) {
			return err_set(&inv->err, KLUIS_EIO, "the snapshot failed: %s",
				json_string_value(json_object_get(*snapshot, "error")));
		}
		if (clock_monotonic_ms(&clock_system) >= deadline_ms) {
			return err_set(&inv->err, KLUIS_EPARTIAL,
				"the snapshot is not confirmed after %" PRIu64 " s; it goes on",
				seconds);
		}
		sleep_poll();
		rc = api_json(client, "GET", target, NULL, 0, &next, &inv->err);
		if (rc != 0) {
			return rc;
		}
		json_decref(*snapshot);
		*snapshot = next;
	}
}

/* body: taken. */
static int save(struct invocation *inv, json_t *body)
{
	_cleanup_(json_dropp) json_t *snapshot = NULL;
	struct progress progress;
	struct client *client;
	int rc = ops_client(inv, ops_socket(inv, 0), &client);

	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	progress_init_waiting(&progress, &inv->out, "snapshot");
	rc = api_create(client, "/v1/sys/snapshots", body, 0, &snapshot, &inv->err);
	if (rc == 0 && invocation_value(inv, "wait") != NULL) {
		rc = save_wait(inv, client, &snapshot);
	}
	progress_release(&progress);
	client_free(client);
	if (snapshot != NULL) {
		output_record(&inv->out, inspect_columns, ARRAY_SIZE(inspect_columns), snapshot);
	}
	return rc;
}

int ops_snapshot_save(struct invocation *inv)
{
	return save(inv, json_object());
}

int ops_backup_run(struct invocation *inv)
{
	return save(inv, json_pack("{s:b}", "cycle", 1));
}

static int list_offline(struct invocation *inv)
{
	_cleanup_(offline_release) struct offline o = {.config = NULL};
	_cleanup_(json_dropp) json_t *rows = json_array();
	struct offline_snapshot *all;
	size_t n, damaged;
	int rc = offline_open(inv, &o);

	rc = rc != 0 ? rc : offline_list(inv, &o, &all, &n, &damaged);
	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(rows, offline_row(&all[i]));
	}
	offline_snapshots_free(all, n);
	output_rows(&inv->out, offline_columns, ARRAY_SIZE(offline_columns), rows);
	return damaged == 0 ? 0
			    : err_set(&inv->err, KLUIS_EVERIFY,
				      "%zu damaged manifests: use another site's copies", damaged);
}

static bool is_offline(const struct invocation *inv)
{
	return invocation_value(inv, "repository") != NULL ||
	       invocation_value(inv, "config") != NULL;
}

int ops_snapshot_list(struct invocation *inv)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc;

	if (is_offline(inv)) {
		return list_offline(inv);
	}
	rc = ops_list(inv, "/v1/sys/snapshots", &items);
	if (rc == 0) {
		output_rows(&inv->out, snapshot_columns, ARRAY_SIZE(snapshot_columns), items);
	}
	return rc;
}

int ops_snapshot_inspect(struct invocation *inv)
{
	_cleanup_(json_dropp) json_t *record = NULL;
	int rc;

	if (is_offline(inv)) {
		_cleanup_(offline_release) struct offline o = {.config = NULL};
		struct offline_snapshot found;

		rc = offline_open(inv, &o);
		rc = rc != 0 ? rc : offline_find(inv, &o, inv->args[0], &found);
		if (rc == 0) {
			record = offline_row(&found);
			backup_manifest_release(&found.manifest);
		}
	} else if (!ops_part_valid(inv->args[0])) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "'%s' is no snapshot", inv->args[0]);
	} else {
		_cleanup_(x_freep) char *target = x_asprintf("/v1/sys/snapshots/%s", inv->args[0]);

		rc = ops_call(inv, "GET", target, NULL, &record);
	}
	if (rc == 0) {
		output_record(&inv->out, inspect_columns, ARRAY_SIZE(inspect_columns), record);
	}
	return rc;
}

/* As a node has it, level is the one that was asked for; these are what came before what is wrong.
 */
static json_t *verify_passed(unsigned highest)
{
	json_t *levels = json_array();

	for (unsigned level = 1; level <= highest; level++) {
		(void)json_array_append_new(levels, json_integer((json_int_t)level));
	}
	return levels;
}

static int verify_offline(struct invocation *inv, uint64_t level, json_t **ret_record)
{
	_cleanup_(offline_release) struct offline o = {.config = NULL};
	_cleanup_(backup_key_set_release) struct backup_key_set keys = {.n = 0};
	struct offline_snapshot found;
	_cleanup_(x_freep) char *scratch = NULL;
	struct verify_report report = {.level = 0};
	int rc = offline_open(inv, &o);

	rc = rc != 0 || level < 3 ? rc : ops_key_files(inv, &keys);
	rc = rc != 0 ? rc : offline_find(inv, &o, inv->args[0], &found);
	if (rc != 0) {
		return rc;
	}
	scratch = offline_scratch(&o);
	rc = verify_snapshot(o.repository, found.hash, &o.trust, (unsigned)level, &keys, scratch,
		&report, &inv->err);
	backup_manifest_release(&found.manifest);
	*ret_record = json_pack("{s:s, s:i, s:b, s:o, s:i, s:I, s:I, s:I, s:s}", "id", inv->args[0],
		"level", (int)level, "ok", rc == 0, "passed", verify_passed(report.level),
		"snapshots", (int)report.snapshots, "objects", (json_int_t)report.objects, "bytes",
		(json_int_t)report.bytes, "rows", (json_int_t)report.rows, "text",
		rc == 0 ? "" : inv->err.text);
	return rc;
}

static int verify_by_node(struct invocation *inv, uint64_t level, json_t **ret_record)
{
	_cleanup_(x_freep) char *target = x_asprintf("/v1/sys/snapshots/%s/verify", inv->args[0]);
	int rc;

	if (!ops_part_valid(inv->args[0])) {
		return err_set(&inv->err, KLUIS_EINVAL, "'%s' is no snapshot", inv->args[0]);
	}
	if (level == 3) {
		return err_set(&inv->err, KLUIS_EINVAL,
			"level 3 needs the backup key, which no node has: give --repository, "
			"--config and --key-file");
	}
	rc = ops_call(
		inv, "POST", target, json_pack("{s:I}", "level", (json_int_t)level), ret_record);
	if (rc == 0 && !json_is_true(json_object_get(*ret_record, "ok"))) {
		const char *text = json_string_value(json_object_get(*ret_record, "text"));

		rc = err_set(&inv->err, KLUIS_EVERIFY, "the snapshot is damaged: %s",
			text == NULL ? "" : text);
	}
	return rc;
}

int ops_snapshot_verify(struct invocation *inv)
{
	_cleanup_(json_dropp) json_t *record = NULL;
	struct progress progress;
	uint64_t level;
	int rc = invocation_number(inv, "level", 2, UINT32_MAX, &level);

	if (rc == 0 && (level == 0 || level > 3)) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "--level is 1, 2 or 3");
	}
	if (rc == 0) {
		progress_init_waiting(&progress, &inv->out, "verify");
		rc = is_offline(inv) ? verify_offline(inv, level, &record)
				     : verify_by_node(inv, level, &record);
		progress_release(&progress);
	}
	if (record != NULL) {
		output_record(&inv->out, verify_columns, ARRAY_SIZE(verify_columns), record);
	}
	return rc;
}

static int pin_call(struct invocation *inv, const char *method)
{
	_cleanup_(x_freep) char *target = x_asprintf("/v1/sys/snapshots/%s/pin", inv->args[0]);

	if (!ops_part_valid(inv->args[0])) {
		return err_set(&inv->err, KLUIS_EINVAL, "'%s' is no snapshot", inv->args[0]);
	}
	return ops_call(inv, method, target, NULL, NULL);
}

int ops_snapshot_pin(struct invocation *inv)
{
	return pin_call(inv, "POST");
}

int ops_snapshot_unpin(struct invocation *inv)
{
	return pin_call(inv, "DELETE");
}
