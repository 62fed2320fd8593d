/* What operators ask of a node and of the cluster. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/api_sys_view.h"
#include "node/backup_summary.h"
#include "node/expiry.h"
#include "storage/cluster_store.h"
#include "storage/key_codec.h"

/* Those in force here, and the days left of the one that ends first. */
static void status_certificates(struct api *api, const struct replica_status *status, json_t *body)
{
	const struct expiry_certificate certificates[] = {
		{"api", api_certificate_not_after_ms(api)},
		{"link", status->certificate_not_after_ms}};
	uint64_t now_ms = clock_wall_ms(api->config.clock), least = UINT64_MAX;
	json_t *rows = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(certificates); i++) {
		uint64_t left = expiry_days_left(certificates[i].not_after_ms, now_ms);
		json_t *row;

		if (certificates[i].not_after_ms == 0) {
			continue;
		}
		least = left < least ? left : least;
		row = json_object();
		json_put(row, "name", json_make_text(certificates[i].name));
		json_put(row, "not_after", json_make_number(certificates[i].not_after_ms));
		json_put(row, "days_left", json_make_number(left));
		(void)json_array_append_new(rows, row);
	}
	json_put(body, "certificates", rows);
	json_put(body, "certificate_days_left",
		least == UINT64_MAX ? json_null() : json_make_number(least));
}

int sys_status_read(struct api_call *call)
{
	struct api *api = call->api;
	struct sys_view view;
	const struct replica_status *status = &view.status;
	json_t *body;
	int rc = sys_view_get(call, &view);

	if (rc != 0) {
		return rc;
	}
	body = json_object();
	json_put(body, "node", json_make_number(api->config.node_id));
	json_put(body, "site", json_make_text(api->config.site));
	json_put(body, "version", json_make_text(KLUIS_VERSION));
	json_put(body, "cluster_id", json_make_id(api->config.cluster_id));
	json_put(body, "lineage", json_make_id(api->config.lineage));
	json_put(body, "role",
		json_make_text(
			status->role == REPLICA_LEADER ? "leader" : sys_vote_name(status->vote)));
	json_put(body, "leader",
		status->leader_id == 0 ? json_null() : json_make_number(status->leader_id));
	json_put(body, "term", json_make_number(status->term));
	json_put(body, "commit_index", json_make_number(status->commit_index));
	json_put(body, "applied_index", json_make_number(status->applied_index));
	json_put(body, "state_hash", json_make_hash(status->state_hash));
	json_put(body, "state_hash_index", json_make_number(status->state_hash_index));
	json_put(body, "feature_level", json_make_number(view.cluster.feature_level));
	json_put(body, "read_only", json_boolean(status->read_only || view.cluster.read_only));
	json_put(body, "cluster_time", json_make_number(call->now_ms));
	json_put(body, "uptime_ms", json_make_number(api_now(api) - api->started_ms));
	json_put(body, "connections",
		json_make_number(http_server_counters(api->http)->connections));
	status_certificates(api, status, body);
	json_put(body, "alarms", sys_alarms_json(call, &view));
	json_put(body, "members", sys_members_json(call, &view));
	json_put(body, "voters_wanted",
		view.servers.voters == 0 ? json_null() : json_make_number(view.servers.voters));
	json_put(body, "members_waiting", json_make_text(status->members_waiting));
	call_json(call, 200, body);
	return 0;
}

static json_t *leader_json(struct api_call *call, const struct sys_view *view)
{
	json_t *body = json_object();

	json_put(body, "node", json_make_number(view->status.leader_id));
	json_put(body, "site", json_make_text(sys_site_of(call, view, view->status.leader_id)));
	json_put(body, "term", json_make_number(view->status.term));
	return body;
}

int sys_leader_read(struct api_call *call)
{
	struct sys_view view;
	int rc = sys_view_get(call, &view);

	if (rc != 0) {
		return rc;
	}
	if (view.status.leader_id == 0) {
		return call_fail(call, KLUIS_ENOQUORUM, "this node knows of no leader");
	}
	call_json(call, 200, leader_json(call, &view));
	return 0;
}

int sys_transfer_parse(struct api_call *call)
{
	struct json_in reader;

	json_in_begin(&reader, call_body(call), &call->e);
	if (json_in_has(&reader, "to")) {
		call->number = json_in_u64(&reader, "to", 1, INT64_MAX);
	}
	return json_in_end(&reader);
}

/* The names of the sites, for the answer. */
int sys_transfer_read(struct api_call *call)
{
	if (call->extra == NULL) {
		(void)call_extra(call, sizeof(struct sys_view));
	}
	return sys_view_get(call, call->extra);
}

static void transfer_cb(struct replica_transfer *req, int rc)
{
	struct api_call *call = CONTAINER_OF(req, struct api_call, transfer);
	struct sys_view *view = call->extra;

	call->api->config.backend->status(call->api->config.backend, &view->status);
	if (rc == KLUIS_ENOTLEADER) {
		rc = call_fail(call, rc, "ask the leader, node %llu at site '%s'",
			(unsigned long long)view->status.leader_id,
			sys_site_of(call, view, view->status.leader_id));
	} else if (rc == 0) {
		call_json(call, 200, leader_json(call, view));
	}
	call_resume(call, rc);
}

int sys_transfer_begin(struct api_call *call)
{
	struct api_backend *backend = call->api->config.backend;

	backend->transfer(backend, &call->transfer, &call->api->mailbox, call->number,
		clock_monotonic_ms(&clock_system) + API_PROPOSE_MS, transfer_cb);
	return 0;
}

static void metrics_store(struct api *api, struct api_metrics_state *state)
{
	struct kv_stats stats;
	struct kv *kv;

	if (api->config.backend->read_begin(api->config.backend, &kv) == 0) {
		kv_stats(kv, &stats);
		api->config.backend->read_end(api->config.backend);
		state->store_bytes = stats.data_bytes;
		state->store_garbage_bytes = stats.garbage_bytes;
		state->store_memory_bytes = stats.memory_bytes;
	}
}

int sys_metrics_parse(struct api_call *call)
{
	struct api *api = call->api;
	const struct api_hooks *hooks = &api->config.hooks;
	_cleanup_(x_freep) struct api_copies *copies = x_malloc(sizeof *copies);
	struct api_shipment shipments[SITES_MAX];
	struct replica_status status;
	struct backup_summary backup;
	struct api_metrics_state state = {
		.http = http_server_counters(api->http),
		.replica = &status,
		.copies = copies,
		.shipments = shipments,
		.n_shipments = sys_shipments_get(api, shipments),
		.site = api->config.site,
		.calls = api->calls,
		.login_handshakes = handshake_count(api->handshakes, api_now(api)),
		.events = event_hub_counters(api->events),
		.wall_ms = clock_wall_ms(api->config.clock),
		.uptime_ms = api_now(api) - api->started_ms,
		.api_not_after_ms = api_certificate_not_after_ms(api),
	};

	api->config.backend->status(api->config.backend, &status);
	if (hooks->summary != NULL && hooks->summary(hooks->data, &backup)) {
		state.backup = &backup;
		state.backup_copies = api->config.backup_copies;
		state.backup_age_limit_ms = retention_fresh_ms(api->config.schedule.interval_ms);
		state.backup_journal_ms = api->config.backup_journal_ms;
	}
	metrics_store(api, &state);
	sys_copies_get(api, copies);
	api_metrics_print(&api->metrics, &state, &call->body);
	api_push_metrics(api, &call->body);
	call->status = 200;
	call->content_type = "text/plain; version=0.0.4";
	return 0;
}

int sys_config_parse(struct api_call *call)
{
	const struct api_config *config = &call->api->config;
	json_t *body = json_object();

	for (size_t i = 0; i < config->n_settings; i++) {
		json_put(body, config->settings[i].name, json_make_text(config->settings[i].value));
	}
	call_json(call, 200, body);
	return 0;
}

static int reload_work(struct pool_work *work)
{
	struct api_call *call = CONTAINER_OF(work, struct api_call, work);

	/* A bad file is the operator's to mend, who has to be told of it. */
	return api_reload(call->api, &call->e) == 0 ? 0 : KLUIS_EINVAL;
}

static void reload_done_cb(struct pool_work *work, int rc)
{
	struct api_call *call = CONTAINER_OF(work, struct api_call, work);

	if (rc == 0) {
		(void)health_live_parse(call); /* {"status": "ok"} */
	}
	call_resume(call, rc);
}

int sys_reload_begin(struct api_call *call)
{
	return pool_submit(call->api->config.pool_db, &call->work, &call->api->mailbox, reload_work,
		reload_done_cb);
}

int sys_readonly_parse(struct api_call *call)
{
	struct json_in reader;

	json_in_begin(&reader, call_body(call), &call->e);
	call->number = json_in_bool(&reader, "on") ? 1 : 0;
	return json_in_end(&reader);
}

int sys_readonly_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_READONLY};
	json_t *body = json_object();

	command.readonly.on = call->number != 0;
	command.readonly.actor = call_actor(call);
	call_propose(call, &command);
	json_put(body, "on", json_boolean(call->number != 0));
	call_json(call, 200, body);
	return 0;
}

/* Text as it is, ids as hex: 16 random bytes that are all letters are one in 7 million. */
static json_t *audit_text(struct bytes bytes)
{
	struct buf hex = BUF_INIT;
	bool text = true;
	json_t *value;

	for (size_t i = 0; i < bytes.len; i++) {
		text = text && bytes.data[i] >= 0x20 && bytes.data[i] < 0x7f;
	}
	if (text) {
		return json_stringn((const char *)bytes.data, bytes.len);
	}
	hex_append(&hex, bytes);
	value = json_make_text(buf_str(&hex));
	buf_release(&hex);
	return value;
}

static int audit_add(struct api_call *call, uint64_t seq, json_t *items)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_AUDIT);
	struct audit_row row;
	json_t *item;
	int rc = audit_store_get(call->view, seq, &value, &call->e);

	row_key_put_u64(&key, seq);
	if (rc == 0) {
		rc = audit_row_decode(row_key_bytes(&key), buf_bytes(&value), &row, &call->e);
	}
	if (rc != 0) {
		return rc;
	}
	item = json_object();
	json_put(item, "seq", json_make_number(seq));
	json_put(item, "time", json_make_number(row.time_ms));
	json_put(item, "index", json_make_number(row.index));
	json_put(item, "action", json_make_text(command_name(row.action)));
	json_put(item, "actor", audit_text(row.actor));
	json_put(item, "object", audit_text(row.object));
	json_put(item, "prev_hash", json_make_hash(row.prev_hash));
	(void)json_array_append_new(items, item);
	return 0;
}

int sys_audit_read(struct api_call *call)
{
	uint8_t hash[32], key[8];
	const uint8_t *cursor;
	uint64_t last, seq;
	json_t *items;
	int rc = audit_store_last(call->view, &last, hash, &call->e);

	if (rc == 0) {
		rc = call_cursor(call, sizeof key, &cursor);
	}
	if (rc != 0) {
		return rc;
	}
	seq = cursor == NULL || load_u64(cursor) > last + 1 ? last : load_u64(cursor) - 1;
	items = json_array();
	for (; rc == 0 && seq > 0 && json_array_size(items) < call->limit; seq--) {
		rc = audit_add(call, seq, items);
	}
	if (rc == KLUIS_ENOTFOUND) { /* It and those before have expired. */
		rc = 0;
		seq = 0;
	}
	if (rc != 0) {
		json_decref(items);
		return rc;
	}
	store_u64(key, seq + 1);
	call_list(call, items, bytes_of(key, seq > 0 ? sizeof key : 0));
	return 0;
}
