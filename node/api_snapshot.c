/* Operators look at snapshots, ask for one, have copies checked, and pin what is to stay. */
#include <stdio.h>
#include <string.h>

#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/api_sys_view.h"
#include "storage/cluster_store.h"
#include "node/backup_summary.h"
#include "storage/snapshot_store.h"

enum { SNAPSHOT_BATCH = 64, SNAPSHOT_LISTED_MAX = 1024 };

static json_t *snapshot_json(const struct snapshot_row *row)
{
	static const char *const kinds[] = {[SNAPSHOT_FULL] = "full",
		[SNAPSHOT_INCREMENT] = "increment",
		[SNAPSHOT_MANUAL] = "manual"};
	static const char *const states[] = {[SNAPSHOT_RUNNING] = "running",
		[SNAPSHOT_SHIPPED] = "shipped",
		[SNAPSHOT_CONFIRMED] = "confirmed",
		[SNAPSHOT_FAILED] = "failed"};
	json_t *snapshot = json_object(), *nodes = json_array();

	for (unsigned i = 0; i < row->n_confirmations; i++) {
		(void)json_array_append_new(nodes, json_make_number(row->confirmation[i].node));
	}
	json_put(snapshot, "id",
		json_sprintf("%llu", (unsigned long long)row->id)); /* A name, not a number. */
	json_put(snapshot, "state", json_make_text(states[row->state]));
	json_put(snapshot, "kind", json_make_text(kinds[row->kind]));
	json_put(snapshot, "pinned", json_boolean(row->pinned));
	json_put(snapshot, "node", json_make_number(row->node));
	json_put(snapshot, "index", json_make_number(row->index));
	json_put(snapshot, "term", json_make_number(row->term));
	json_put(snapshot, "cycle", json_make_number(row->cycle));
	json_put(snapshot, "slot", json_make_number(row->slot));
	json_put(snapshot, "created", json_make_number(row->created_ms));
	json_put(snapshot, "bytes", json_make_number(row->bytes));
	json_put(snapshot, "objects", json_make_number(row->objects));
	json_put(snapshot, "manifest_hash", json_make_hash(row->manifest_hash));
	json_put(snapshot, "confirmed_by", nodes);
	json_put(snapshot, "error", json_make_text(row->error));
	return snapshot;
}

/* Calls each() for every record, ascending. */
static int snapshots_walk(
	struct api_call *call, void (*each)(const struct snapshot_row *row, void *data), void *data)
{
	_cleanup_(x_freep) struct snapshot_row *rows = x_calloc(SNAPSHOT_BATCH, sizeof *rows);
	uint64_t after = 0;
	size_t n = SNAPSHOT_BATCH, seen = 0;

	while (n == SNAPSHOT_BATCH && seen < SNAPSHOT_LISTED_MAX) {
		int rc = snapshot_store_list(call->view, after, rows, SNAPSHOT_BATCH, &n, &call->e);

		if (rc != 0) {
			return rc;
		}
		for (size_t i = 0; i < n; i++) {
			each(&rows[i], data);
			after = rows[i].id;
		}
		seen += n;
	}
	return 0;
}

static void list_each(const struct snapshot_row *row, void *data)
{
	(void)json_array_insert_new(data, 0, snapshot_json(row));
}

int sys_snapshot_list_read(struct api_call *call)
{
	json_t *items = json_array();
	int rc = snapshots_walk(call, list_each, items);

	if (rc != 0) {
		json_decref(items);
		return rc;
	}
	return call_list_all(call, items);
}

static json_t *check_json(const struct check_row *row)
{
	json_t *check = json_object();

	json_put(check, "node", json_make_number(row->node));
	json_put(check, "level", json_make_number(row->level));
	json_put(check, "ok", json_boolean(row->ok));
	json_put(check, "id", json_sprintf("%llu", (unsigned long long)row->id));
	json_put(check, "time", json_make_number(row->time_ms));
	json_put(check, "good_id",
		row->good_ms == 0 ? json_null()
				  : json_sprintf("%llu", (unsigned long long)row->good_id));
	json_put(check, "good_time",
		row->good_ms == 0 ? json_null() : json_make_number(row->good_ms));
	json_put(check, "text", json_make_text(row->text));
	return check;
}

static void backups_put_newest(
	struct api_call *call, const struct backup_summary *backups, json_t *body)
{
	const struct snapshot_row *newest = &backups->newest;
	bool any = newest->id != 0;

	json_put(body, "newest",
		any ? json_sprintf("%llu", (unsigned long long)newest->id) : json_null());
	json_put(body, "newest_age_ms",
		any ? json_make_number(backup_summary_age_ms(backups, call->now_ms)) : json_null());
	json_put(body, "newest_age_limit_ms",
		json_make_number(retention_fresh_ms(call->api->config.schedule.interval_ms)));
	json_put(body, "newest_copies", json_make_number(newest->n_confirmations));
	json_put(body, "newest_cycle", json_make_number(newest->cycle));
}

static void backups_put_recovery(
	struct api_call *call, const struct backup_summary *backups, json_t *body)
{
	uint64_t every_ms = call->api->config.backup_journal_ms;
	bool any = backups->recovery_index != 0;

	json_put(body, "recovery_time", any ? json_make_number(backups->recovery_ms) : json_null());
	json_put(body, "recovery_index",
		any ? json_make_number(backups->recovery_index) : json_null());
	json_put(body, "recovery_age_ms",
		any ? json_make_number(backup_summary_exposed_ms(backups, call->now_ms))
		    : json_null());
	json_put(body, "recovery_late",
		json_boolean(backup_summary_late(backups, call->now_ms, every_ms)));
	json_put(body, "deletions_lag_ms", json_make_number(backups->deletions_lag_ms));
	json_put(body, "deletions_late", json_boolean(backups->deletions_late));
	json_put(body, "journal_number", json_make_number(backups->journal.number));
	json_put(body, "journal_node", json_make_number(backups->journal.node));
	json_put(body, "journal_copies", json_make_number(backups->journal.n_holders));
}

/* Since when something is exposed only a node knows that watched; how far its journal of deletions
 * is, one that has one. */
static void backups_add_watched(struct api_call *call, struct backup_summary *backups)
{
	const struct api_hooks *hooks = &call->api->config.hooks;
	_cleanup_(x_freep) struct backup_summary *watched = x_calloc(1, sizeof *watched);

	if (hooks->summary != NULL && hooks->summary(hooks->data, watched)) {
		backups->clean_ms = watched->clean_ms;
		backups->deletions_lag_ms = watched->deletions_lag_ms;
		backups->deletions_late = watched->deletions_late;
	}
}

static json_t *root_json(const struct root_site *site, uint64_t now_ms)
{
	json_t *root = json_object();

	json_put(root, "node", json_make_number(site->node));
	json_put(root, "state", json_make_text(root_state_name(root_site_state(site, now_ms))));
	json_put(root, "id",
		site->id == 0 ? json_null() : json_sprintf("%llu", (unsigned long long)site->id));
	json_put(root, "index", json_make_number(site->index));
	json_put(root, "missing",
		site->missing_id == 0 ? json_null()
				      : json_sprintf("%llu", (unsigned long long)site->missing_id));
	return root;
}

/* Of the node that is asked: the others know it by what is not confirmed. */
static void backups_put_stopped(struct api_call *call, json_t *body)
{
	_cleanup_(x_freep) struct api_copies *copies = x_malloc(sizeof *copies);

	sys_copies_get(call->api, copies);
	json_put(body, "stopped",
		copies->stopped[0] == 0 ? json_null() : json_make_text(copies->stopped));
}

static json_t *backups_json(struct api_call *call, const struct backup_summary *backups)
{
	const struct check_row *proven = backup_summary_proven(backups);
	json_t *body = json_object(), *checks = json_array(), *drills = json_array(),
	       *roots = json_array();
	char late[64];

	for (size_t i = 0; i < backups->roots.n; i++) {
		(void)json_array_append_new(
			roots, root_json(&backups->roots.site[i], call->now_ms));
	}
	for (size_t i = 0; i < backups->n_checks; i++) {
		(void)json_array_append_new(checks, check_json(&backups->checks[i]));
	}
	for (size_t i = 0; i < backups->n_nodes; i++) {
		if (backups->nodes[i].drills) {
			(void)json_array_append_new(
				drills, json_make_number(backups->nodes[i].node));
		}
	}
	json_put(body, "snapshots", json_make_number(backups->records));
	json_put(body, "confirmed", json_make_number(backups->confirmed));
	json_put(body, "confirmations_needed", json_make_number(call->api->config.backup_copies));
	backups_put_newest(call, backups, body);
	backups_put_recovery(call, backups, body);
	json_put(body, "failed_since", json_make_number(backups->failed));
	json_put(body, "running",
		backups->running == 0 ? json_null()
				      : json_sprintf("%llu", (unsigned long long)backups->running));
	json_put(body, "proven", proven == NULL ? json_null() : check_json(proven));
	json_put(body, "proof_late",
		backup_summary_unproven(backups, call->now_ms, late, sizeof late)
			? json_make_text(late)
			: json_null());
	json_put(body, "drilled_by", drills);
	json_put(body, "checks", checks);
	json_put(body, "state_roots", roots);
	backups_put_stopped(call, body);
	return body;
}

int sys_backups_read(struct api_call *call)
{
	enum { ROWS_MAX = SNAPSHOTS_KEPT + 1 };
	_cleanup_(x_freep) struct snapshot_row *rows = x_calloc(ROWS_MAX, sizeof *rows);
	_cleanup_(x_freep) struct backup_summary *backups = x_calloc(1, sizeof *backups);
	size_t n = 0;
	int rc = snapshot_store_list(call->view, 0, rows, ROWS_MAX, &n, &call->e);

	rc = rc != 0 ? rc : backup_summary_read(call->view, rows, n, backups, &call->e);
	if (rc == 0) {
		backups_add_watched(call, backups);
		call_json(call, 200, backups_json(call, backups));
	}
	return rc;
}

/* What is claimed here and never begun would keep the other sites waiting. */
static int save_can(struct api_call *call)
{
	_cleanup_(x_freep) struct api_copies *copies = x_malloc(sizeof *copies);

	if (call->api->config.hooks.snapshot_claimed == NULL) {
		return call_fail(call, KLUIS_EINVAL, "this node is not set up to take snapshots");
	}
	sys_copies_get(call->api, copies);
	return copies->stopped[0] == 0
		       ? 0
		       : call_fail(call, KLUIS_EBEHIND,
				 "this node takes part in no backups: %s: ask another site",
				 copies->stopped);
}

int sys_snapshot_save_parse(struct api_call *call)
{
	bool *cycle = call_extra(call, sizeof *cycle);
	struct json_in reader;

	json_in_begin(&reader, call_body(call), &call->e);
	*cycle = json_in_has(&reader, "cycle") && json_in_bool(&reader, "cycle");
	if (json_in_end(&reader) != 0) {
		return call->e.code;
	}
	return save_can(call);
}

/* A cycle out of turn stands for now. */
static int save_cycle(struct api_call *call, struct command_snapshot_claim *claim)
{
	struct cluster_row cluster;
	int rc = cluster_store_get(call->view, &cluster, &call->e);

	if (rc == 0 && cluster.feature_level < FEATURE_LEVEL_SCHEDULE) {
		rc = call_fail(call, KLUIS_ECONFLICT, "not all nodes take cycles yet");
	}
	claim->kind = SNAPSHOT_INCREMENT;
	claim->slot = call->now_ms;
	claim->ttl_ms = schedule_claim_ms(&call->api->config.schedule);
	return rc;
}

int sys_snapshot_save_read(struct api_call *call)
{
	const bool *cycle = call->extra;
	struct command command = {.type = COMMAND_SNAPSHOT_CLAIM};
	int rc;

	command.snapshot_claim.node = call->api->config.node_id;
	command.snapshot_claim.kind = SNAPSHOT_MANUAL;
	command.snapshot_claim.ttl_ms = API_SNAPSHOT_CLAIM_MS;
	rc = *cycle ? save_cycle(call, &command.snapshot_claim) : 0;
	if (rc != 0) {
		return rc;
	}
	command.snapshot_claim.actor = call_actor(call);
	command.snapshot_claim.once = call_once(call);
	call_propose(call, &command);
	return 0;
}

int sys_snapshot_save_applied(struct api_call *call)
{
	struct command_reply reply;
	struct snapshot_row row;
	int rc = call_reply(call, &reply);

	if (rc == 0) {
		rc = snapshot_store_get(call->view, reply.number, &row, &call->e);
	}
	if (rc != 0) {
		return rc;
	}
	call->number =
		row.state == SNAPSHOT_RUNNING && row.node == call->api->config.node_id ? row.id : 0;
	buf_printf(&call->location, "/v1/sys/snapshots/%llu", (unsigned long long)row.id);
	call_json(call, 202, snapshot_json(&row));
	return 0;
}

void sys_snapshot_save_finish(struct api_call *call)
{
	const struct api_hooks *hooks = &call->api->config.hooks;

	if (call->number != 0) {
		hooks->snapshot_claimed(hooks->data, call->number);
	}
}

static int snapshot_find(struct api_call *call, struct snapshot_row *ret_row)
{
	uint64_t id = 0;
	int rc = call_param_u64(call, 0, &id);

	rc = rc != 0 ? rc : snapshot_store_get(call->view, id, ret_row, &call->e);
	if (rc == KLUIS_ENOTFOUND) {
		(void)call_fail(call, rc, "no snapshot %llu in the log", (unsigned long long)id);
	}
	return rc;
}

int sys_snapshot_get_read(struct api_call *call)
{
	struct snapshot_row row;
	int rc = snapshot_find(call, &row);

	if (rc == 0) {
		call_json(call, 200, snapshot_json(&row));
	}
	return rc;
}

struct verification {
	unsigned level;
	uint8_t manifest_hash[32];
	struct api_verify found;
};

int sys_snapshot_verify_parse(struct api_call *call)
{
	struct verification *verification = call_extra(call, sizeof *verification);
	struct json_in reader;
	int rc;

	json_in_begin(&reader, call_body(call), &call->e);
	verification->level = (unsigned)json_in_u64(&reader, "level", 1, 2);
	rc = json_in_end(&reader);
	if (rc != 0) {
		return rc;
	}
	return call->api->config.hooks.snapshot_verify != NULL &&
			       call->api->config.pool_ship != NULL
		       ? 0
		       : call_fail(call, KLUIS_EINVAL, "this node holds no repository");
}

int sys_snapshot_verify_read(struct api_call *call)
{
	struct verification *verification = call->extra;
	struct snapshot_row row;
	int rc = snapshot_find(call, &row);

	if (rc == 0 && row.state != SNAPSHOT_SHIPPED && row.state != SNAPSHOT_CONFIRMED) {
		rc = call_fail(call, KLUIS_ECONFLICT, "the snapshot is not finished");
	}
	if (rc == 0) {
		memcpy(verification->manifest_hash, row.manifest_hash, 32);
	}
	return rc;
}

static int verify_work(struct pool_work *work)
{
	struct api_call *call = CONTAINER_OF(work, struct api_call, work);
	struct verification *verification = call->extra;
	const struct api_hooks *hooks = &call->api->config.hooks;

	return hooks->snapshot_verify(hooks->data, verification->manifest_hash, verification->level,
		&verification->found, &call->e);
}

static void verify_done_cb(struct pool_work *work, int rc)
{
	struct api_call *call = CONTAINER_OF(work, struct api_call, work);
	const struct verification *verification = call->extra;
	json_t *body;

	if (rc == 0) {
		body = json_object();
		json_put(body, "id", json_make_text(call->param[0]));
		json_put(body, "level", json_make_number(verification->level));
		json_put(body, "ok", json_boolean(verification->found.ok));
		json_put(body, "objects", json_make_number(verification->found.objects));
		json_put(body, "bytes", json_make_number(verification->found.bytes));
		json_put(body, "text", json_make_text(verification->found.text));
		call_json(call, 200, body);
	}
	call_resume(call, rc);
}

int sys_snapshot_verify_begin(struct api_call *call)
{
	return pool_submit(call->api->config.pool_ship, &call->work, &call->api->mailbox,
		verify_work, verify_done_cb);
}

/* What an operator found with the backup key, which no node has: levels 3 and 4. */
int sys_snapshot_check_parse(struct api_call *call)
{
	struct json_in reader;
	int rc;

	json_in_begin(&reader, call_body(call), &call->e);
	call->number = json_in_u64(&reader, "level", 3, CHECK_LEVEL_DRILL);
	call->revision = json_in_bool(&reader, "ok");
	json_in_hex(&reader, "manifest_hash", call->hash, sizeof call->hash);
	json_in_string(&reader, "text", CHECK_TEXT_BYTES_MAX, &call->text[0]);
	rc = json_in_end(&reader);
	if (rc == 0 && (call->revision != 0) != (call->text[0].len == 0)) {
		rc = call_fail(call, KLUIS_EINVAL, "text says what is wrong, and nothing else");
	}
	return rc;
}

int sys_snapshot_check_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_SNAPSHOT_CHECK};
	struct command_snapshot_check *check = &command.snapshot_check;
	struct snapshot_row row;
	int rc = snapshot_find(call, &row);

	if (rc == 0 && memcmp(row.manifest_hash, call->hash, sizeof call->hash) != 0) {
		rc = call_fail(call, KLUIS_ECONFLICT, "another snapshot has this number");
	}
	if (rc != 0) {
		return rc;
	}
	check->id = row.id;
	check->node = call->api->config.node_id;
	check->level = (uint8_t)call->number;
	check->ok = call->revision != 0;
	check->text = buf_bytes(&call->text[0]);
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}

/* --- pins ------------------------------------------------------------------------------------ */

static struct retention_snapshot pin_retention(
	const struct snapshot_row *row, const struct snapshot_row *rows, size_t n)
{
	struct retention_snapshot snapshot = {.index = row->index,
		.cycle = (uint32_t)row->cycle,
		.full = row->kind == SNAPSHOT_FULL,
		.manual = row->kind == SNAPSHOT_MANUAL,
		.pinned = row->pinned,
		.stray = row->state != SNAPSHOT_SHIPPED && row->state != SNAPSHOT_CONFIRMED,
		.unconfirmed = row->state != SNAPSHOT_CONFIRMED,
		.received_ms = row->created_ms};
	for (size_t i = 0; i < n; i++) {
		snapshot.base = snapshot.base || rows[i].base_id == row->id;
	}
	return snapshot;
}

/* Whether sites still have, by the rules that they forget by, all that its point is made of. What
 * they have let go no pin brings back, whatever has come since, or has not. */
static bool pin_in_time(
	const struct api_call *call, const struct snapshot_row *rows, size_t n, uint64_t id)
{
	_cleanup_(x_freep) struct retention_snapshot *all = x_calloc(n + 1, sizeof *all);
	struct retention_rules rules = call->api->config.retention;
	size_t top = n;

	rules.fresh_ms = UINT64_MAX;
	for (size_t i = 0; i < n; i++) {
		all[i] = pin_retention(&rows[i], rows, n);
		top = rows[i].id == id ? i : top;
	}
	retention_plan(all, n, call->now_ms, &rules);
	return top < n && retention_point_stays(all, n, top);
}

static int pin_check(struct api_call *call, const struct snapshot_row *row)
{
	enum { ROWS_MAX = SNAPSHOTS_KEPT + 1 };
	_cleanup_(x_freep) struct snapshot_row *rows = x_calloc(ROWS_MAX, sizeof *rows);
	size_t n = 0;
	int rc = snapshot_store_list(call->view, 0, rows, ROWS_MAX, &n, &call->e);

	if (rc != 0 || row->pinned) {
		return rc;
	}
	if (row->state != SNAPSHOT_SHIPPED && row->state != SNAPSHOT_CONFIRMED) {
		return call_fail(call, KLUIS_ECONFLICT, "the snapshot is not finished");
	}
	rc = snapshot_check_pins(rows, n, &call->e); /* The state machine's rule. */
	if (rc != 0) {
		return rc;
	}
	if (!pin_in_time(call, rows, n, row->id)) {
		return call_fail(call, KLUIS_EGONE,
			"its point is out of retention: sites may have forgotten what it is made "
			"of");
	}
	return 0;
}

static int snapshot_pin(struct api_call *call, bool on)
{
	struct command command = {.type = COMMAND_SNAPSHOT_PIN};
	struct snapshot_row row;
	int rc = snapshot_find(call, &row);

	rc = rc != 0 || !on ? rc : pin_check(call, &row);
	if (rc != 0) {
		return rc;
	}
	command.snapshot_pin.id = row.id;
	command.snapshot_pin.on = on;
	command.snapshot_pin.actor = call_actor(call);
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}

int sys_snapshot_pin_read(struct api_call *call)
{
	return snapshot_pin(call, true);
}

int sys_snapshot_unpin_read(struct api_call *call)
{
	return snapshot_pin(call, false);
}
