/* What operators ask of a node and of the cluster. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/api_sys_view.h"
#include "node/backup_summary.h"
#include "node/expiry.h"
#include "node/pepper.h"
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

/* What is looked at, once for health and alarms. */
struct check {
	const char *name;
	bool ok, critical;
	char text[384];
};
enum { CHECKS = 21 };

static void check_set(
	struct check *check, const char *name, bool ok, bool critical, const char *text)
{
	*check = (struct check){.name = name, .ok = ok, .critical = critical};
	(void)snprintf(check->text, sizeof check->text, "%s", text);
}

static void check_peers(struct check *check, const struct replica_status *status)
{
	unsigned away = 0, others = 0;

	for (unsigned i = 0; i < status->n_peers; i++) {
		others += status->peers[i].id != status->node_id;
		away += status->peers[i].id != status->node_id && !status->peers[i].connected;
	}
	check_set(check, "peers", away == 0, away * 2 > others, "");
	(void)snprintf(check->text, sizeof check->text, "%u of %u other nodes are connected",
		others - away, others);
}

/* Whether the others are who they were, and whether all have met at all. */
static void check_members(struct check *check, const struct replica_status *status)
{
	static const char *const trouble[] = {[REPLICA_PEER_KNOWN] = "",
		[REPLICA_PEER_WIPED] = "was initialised anew: it must come back under a new id",
		[REPLICA_PEER_OLD_COPY] = "runs on an old copy of its directory"};

	check_set(check, "members", status->begun, true,
		status->begun ? "all are who they were" : "not all members have met yet");
	for (unsigned i = 0; i < status->n_peers; i++) {
		const struct replica_peer_status *peer = &status->peers[i];

		if (peer->trouble != REPLICA_PEER_KNOWN) {
			check->ok = false;
			(void)snprintf(check->text, sizeof check->text, "node %llu %s",
				(unsigned long long)peer->id, trouble[peer->trouble]);
		}
	}
}

static void check_certificate(struct check *check, struct api *api, const char *name,
	const char *whose, uint64_t not_after_ms)
{
	uint64_t now_ms = clock_wall_ms(api->config.clock);
	enum expiry_level level = expiry_level(not_after_ms, now_ms);

	check_set(check, name, level == EXPIRY_FAR, level >= EXPIRY_7_DAYS, "");
	if (not_after_ms == 0) {
		(void)snprintf(check->text, sizeof check->text, "no client port is served");
	} else {
		(void)snprintf(check->text, sizeof check->text,
			"the %s certificate ends in %llu days", whose,
			(unsigned long long)expiry_days_left(not_after_ms, now_ms));
	}
}

/* Nothing is shipped to a site whose host key is not the pinned one until an operator looked. */
static void check_shipping(struct check *check, struct api *api)
{
	const struct api_hooks *hooks = &api->config.hooks;
	struct api_shipment rows[SITES_MAX], *worst = NULL;
	size_t n = hooks->shipments == NULL ? 0 : hooks->shipments(hooks->data, rows), failed = 0;

	for (size_t i = 0; i < n; i++) {
		failed += rows[i].rc != 0;
		if (rows[i].rc != 0 && (worst == NULL || rows[i].rc == KLUIS_EPIN)) {
			worst = &rows[i];
		}
	}
	check_set(check, "shipping", failed == 0, worst != NULL && worst->rc == KLUIS_EPIN,
		n == 0 ? "this node ships no snapshots" : "no shipment to a site has failed");
	if (worst != NULL) {
		(void)snprintf(check->text, sizeof check->text, "%zu of %zu sites: %s", failed, n,
			worst->text);
	}
}

/* Nobody may learn from a restore that there was nothing to restore. */
static void check_backup(struct check *check, struct api *api, const struct backup_summary *backup)
{
	uint64_t age_ms, now_ms = clock_wall_ms(api->config.clock);
	bool young = api_now(api) - api->started_ms < BACKUP_FRESH_MS;

	check_set(check, "backup", true, false, "this node takes part in no backups");
	if (backup == NULL) {
		return;
	}
	age_ms = backup_summary_age_ms(backup, now_ms);
	if (age_ms == UINT64_MAX) {
		check_set(check, "backup", young, true, "no snapshot was ever confirmed");
	} else if (age_ms > BACKUP_FRESH_MS) {
		check_set(check, "backup", false, age_ms > 3 * BACKUP_FRESH_MS, "");
		(void)snprintf(check->text, sizeof check->text,
			"the newest confirmed snapshot is %llu hours old",
			(unsigned long long)(age_ms / 3600000));
	} else if (backup->failed > 0) {
		check_set(check, "backup", false, false, "");
		(void)snprintf(check->text, sizeof check->text,
			"%u snapshots have failed since the newest confirmed one, the last: %s",
			backup->failed, backup->trouble.error);
	} else {
		check_set(check, "backup", true, false, "there is a young confirmed snapshot");
	}
}

/* What changed since, a restore would not bring back. */
static void check_recovery(
	struct check *check, struct api *api, const struct backup_summary *backup)
{
	uint64_t every_ms = api->config.backup_journal_ms,
		 now_ms = clock_wall_ms(api->config.clock);
	bool late = backup != NULL && backup_summary_late(backup, now_ms, every_ms);

	check_set(check, "recovery", !late, false,
		every_ms == 0 || backup == NULL ? "this node takes no journal increments"
						: "the recovery point is young");
	if (late) {
		(void)snprintf(check->text, sizeof check->text,
			"what changed in the last %llu minutes is in no backup",
			(unsigned long long)(backup_summary_exposed_ms(backup, now_ms) / 60000));
	}
}

/* A copy or a restore that is not good. */
static void check_verified(struct check *check, struct api_call *call, const struct sys_view *view,
	const struct backup_summary *backup)
{
	const struct check_row *bad = backup == NULL ? NULL : backup_summary_bad(backup);

	check_set(check, "verify", bad == NULL, true, "no check of a snapshot has failed");
	if (bad != NULL) {
		(void)snprintf(check->text, sizeof check->text,
			"site '%s': snapshot %llu at level %u: %s",
			sys_site_of(call, view, bad->node), (unsigned long long)bad->id, bad->level,
			bad->text);
	}
}

static void copies_get(struct api *api, struct api_copies *ret_copies)
{
	const struct api_hooks *hooks = &api->config.hooks;

	memset(ret_copies, 0, sizeof *ret_copies);
	if (hooks->copies != NULL) {
		hooks->copies(hooks->data, ret_copies);
	}
}

/* What re-reading the copies here has found, and whether it goes on. */
static void check_copies(struct check *check, struct api *api)
{
	_cleanup_(x_freep) struct api_copies *copies = x_malloc(sizeof *copies);
	uint64_t now_ms = clock_wall_ms(api->config.clock), since_ms;
	bool late;

	copies_get(api, copies);
	since_ms = copies->ended_ms != 0 ? copies->ended_ms : copies->began_ms;
	late = copies->period_ms != 0 && since_ms != 0 && now_ms > since_ms + 2 * copies->period_ms;
	check_set(check, "copies", copies->damaged == 0 && copies->rc == 0 && !late,
		copies->damaged > 0,
		copies->period_ms == 0 ? "this node keeps no snapshots"
				       : "every copy is as it was taken in");
	if (copies->damaged > 0) {
		(void)snprintf(check->text, sizeof check->text, "%u damaged snapshots here: %s",
			copies->damaged, copies->text);
	} else if (copies->rc != 0 || late) {
		(void)snprintf(check->text, sizeof check->text,
			"the copies here are not read again: %s",
			copies->rc != 0 ? err_text(copies->rc) : "it takes too long");
	}
}

/* Rubbish in a drop means that the sender's SSH key is in other hands, or that something is broken:
 * for a day somebody should look. */
static void check_drops(struct check *check, struct api *api)
{
	enum { LOOK_MS = 24 * 3600 * 1000 };
	_cleanup_(x_freep) struct api_copies *copies = x_malloc(sizeof *copies);
	const struct api_drop *worst = NULL;
	uint64_t now_ms = clock_wall_ms(api->config.clock);

	copies_get(api, copies);
	for (size_t i = 0; i < copies->n_drops; i++) {
		const struct api_drop *drop = &copies->drops[i];

		if (drop->over_quota || drop->rc != 0 ||
			(drop->refused_ms != 0 && now_ms < drop->refused_ms + LOOK_MS)) {
			worst = worst == NULL || drop->over_quota ? drop : worst;
		}
	}
	check_set(check, "drops", worst == NULL, false,
		copies->n_drops == 0 ? "no site ships to this one"
				     : "nothing but snapshots came in");
	if (worst != NULL) {
		(void)snprintf(check->text, sizeof check->text, "from site '%s'%s: %s", worst->site,
			worst->over_quota ? ", over its quota" : "", worst->text);
	}
}

/* A backup that nobody ever restored is a hope. */
static void check_proof(struct check *check, struct api *api, const struct backup_summary *backup)
{
	uint64_t now_ms = clock_wall_ms(api->config.clock);
	char text[sizeof check->text];

	check_set(check, "proof", true, false, "this node takes part in no backups");
	if (backup != NULL) {
		bool late = backup_summary_unproven(backup, now_ms, text, sizeof text);

		check_set(check, "proof", !late, false,
			late ? text : "a restore was proven, or is not due to be");
	}
}

/* Cycles that are due at other times at each site, or copies that one forgets while the others
 * count on it. */
static void check_schedule(struct check *check, struct api_call *call, const struct sys_view *view,
	const struct backup_summary *backup)
{
	const char *setting;
	uint64_t node;

	check_set(check, "schedule", true, false, "no site's [backup] settings differ from here");
	if (backup != NULL &&
		backup_summary_differs(backup, call->api->config.node_id, &node, &setting)) {
		check_set(check, "schedule", false, false, "");
		(void)snprintf(check->text, sizeof check->text,
			"[backup] '%s' at site '%s' is not what it is here", setting,
			sys_site_of(call, view, node));
	}
}

/* Rows that rotted, or were changed by somebody: which site's. */
static void check_roots(struct check *check, struct api_call *call, const struct sys_view *view,
	const struct backup_summary *backup)
{
	check_set(check, "state-root", true, false, "no site has another state root");
	if (backup != NULL) {
		check->ok = sys_roots_text(call, view, &backup->roots, &check->critical,
			check->text, sizeof check->text);
	}
}

/* Without it a restore brings back who left. */
static void check_deletions(struct check *check, struct api *api)
{
	const struct api_hooks *hooks = &api->config.hooks;
	char text[256] = "";

	check_set(check, "deletions", true, false, "this node keeps no journal of deletions");
	if (hooks->deletions != NULL) {
		hooks->deletions(hooks->data, text);
		check_set(check, "deletions", text[0] == 0, false,
			text[0] != 0 ? text : "the journal of deletions is written");
	}
}

/* Whose state is another one than the majority's; all nodes say it, not that site alone. */
static void check_state_sites(
	struct check *check, struct api_call *call, const struct sys_view *view)
{
	_cleanup_(buf_release) struct buf sites = BUF_INIT;

	for (size_t i = 0; i < view->n_nodes; i++) {
		if (view->nodes[i].quarantined) {
			buf_printf(&sites, "%s'%s'", sites.len == 0 ? "" : ", ",
				sys_site_of(call, view, view->nodes[i].node));
		}
	}
	if (sites.len > 0) {
		check_set(check, "state", false, true, "");
		(void)snprintf(check->text, sizeof check->text,
			"a majority disagrees with the state of site %s", buf_str(&sites));
	}
}

static void check_state(struct check *check, struct api_call *call, const struct sys_view *view)
{
	const struct replica_status *status = &view->status;

	check_set(check, "state", !status->quarantined, true,
		status->quarantined ? "a majority disagrees with this node's state"
				    : "no disagreement");
	check_state_sites(check, call, view);
	if (status->rebuilding) {
		(void)snprintf(check->text, sizeof check->text,
			"the store is being replaced by a peer's, fetched %llu of %llu bytes",
			(unsigned long long)status->catching_up_bytes,
			(unsigned long long)status->catching_up_total);
	}
}

/* What the store did not give back as it was written. */
static void check_store(struct check *check, const struct replica_status *status)
{
	check_set(check, "store", status->damage[0] == 0, true, "no damage was found");
	if (status->damage[0] != 0) {
		(void)snprintf(check->text, sizeof check->text,
			"damaged, to be replaced by a peer's ('kluisd rebuild' does it by hand): "
			"%s",
			status->damage);
	}
}

/* With fewer voters than the operators want, fewer may be lost. */
static void check_voters(struct check *check, const struct replica_status *status)
{
	check_set(check, "voters", status->voters >= status->voters_wanted, false, "");
	(void)snprintf(check->text, sizeof check->text, "%u of %u wanted voters", status->voters,
		status->voters_wanted);
}

static void check_pepper(struct check *check, struct api *api)
{
	char text[sizeof check->text];
	bool critical;

	api_pepper_text(api, &critical, text, sizeof text);
	check_set(check, "pepper", text[0] == 0, critical,
		text[0] == 0 ? "accounts are sealed under this node's pepper" : text);
}

static void checks_make(
	struct api_call *call, const struct sys_view *view, struct check checks[CHECKS])
{
	const struct replica_status *status = &view->status;
	const struct api_hooks *hooks = &call->api->config.hooks;
	struct backup_summary summary;
	const struct backup_summary *backup =
		hooks->summary != NULL && hooks->summary(hooks->data, &summary) ? &summary : NULL;

	check_set(&checks[0], "leader", status->leader_id != 0, true,
		status->leader_id != 0 ? "a leader is known" : "no leader is known");
	check_set(&checks[1], "ready", status->ready, true,
		status->ready ? "in touch with the leader" : "not in touch with a leader");
	check_set(&checks[2], "disk", !status->read_only, true,
		status->read_only ? "below the floor of free space" : "enough free space");
	check_state(&checks[3], call, view);
	check_peers(&checks[4], status);
	check_certificate(&checks[5], call->api, "certificate", "API's",
		api_certificate_not_after_ms(call->api));
	check_certificate(&checks[6], call->api, "link_certificate", "links'",
		status->certificate_not_after_ms);
	check_shipping(&checks[7], call->api);
	check_members(&checks[8], status);
	check_store(&checks[9], status);
	check_voters(&checks[10], status);
	check_deletions(&checks[11], call->api);
	check_backup(&checks[12], call->api, backup);
	check_verified(&checks[13], call, view, backup);
	check_pepper(&checks[14], call->api);
	check_copies(&checks[15], call->api);
	check_drops(&checks[16], call->api);
	check_proof(&checks[17], call->api, backup);
	check_schedule(&checks[18], call, view, backup);
	check_recovery(&checks[19], call->api, backup);
	check_roots(&checks[20], call, view, backup);
}

int sys_health_read(struct api_call *call)
{
	struct check checks[CHECKS];
	struct sys_view view;
	json_t *body, *rows;
	bool ok = true;
	int rc = sys_view_get(call, &view);

	if (rc != 0) {
		return rc;
	}
	checks_make(call, &view, checks);
	rows = json_array();
	for (unsigned i = 0; i < CHECKS; i++) {
		json_t *row = json_object();

		ok = ok && checks[i].ok;
		json_put(row, "name", json_make_text(checks[i].name));
		json_put(row, "ok", json_boolean(checks[i].ok));
		json_put(row, "text", json_make_text(checks[i].text));
		(void)json_array_append_new(rows, row);
	}
	body = json_object();
	json_put(body, "ok", json_boolean(ok));
	json_put(body, "checks", rows);
	call_json(call, 200, body);
	return 0;
}

static json_t *alarm_json(const char *name, bool critical, const char *text)
{
	json_t *alarm = json_object();

	json_put(alarm, "name", json_make_text(name));
	json_put(alarm, "severity", json_make_text(critical ? "critical" : "warning"));
	json_put(alarm, "text", json_make_text(text));
	return alarm;
}

static json_t *alarms_json(struct api_call *call, const struct sys_view *view)
{
	struct check checks[CHECKS];
	json_t *items = json_array();

	checks_make(call, view, checks);
	for (unsigned i = 0; i < CHECKS; i++) {
		if (!checks[i].ok) {
			(void)json_array_append_new(items,
				alarm_json(checks[i].name, checks[i].critical, checks[i].text));
		}
	}
	if (view->cluster.read_only) {
		(void)json_array_append_new(items,
			alarm_json("readonly", false, "an operator made the cluster read-only"));
	}
	if (!view->policies_agree) {
		(void)json_array_append_new(items,
			alarm_json("accounts", false,
				"the nodes' [accounts] settings differ: the strictest hold"));
	}
	return items;
}

int api_alarms(struct api *api, json_t **ret_items, struct err *e)
{
	struct api_backend *backend = api->config.backend;
	_cleanup_(x_freep) struct api_call *call = x_calloc(1, sizeof *call); /* Nobody's. */
	struct sys_view view;
	struct kv *kv;
	int rc = backend->read_begin(backend, &kv);

	if (rc != 0) {
		return err_set(e, rc, "the store is being replaced");
	}
	call->api = api;
	call->view = kv_view_new(kv);
	rc = sys_view_get(call, &view);
	if (rc == 0) {
		*ret_items = alarms_json(call, &view);
	} else {
		*e = call->e;
	}
	kv_view_free(call->view);
	backend->read_end(backend);
	return rc;
}

int sys_alarms_read(struct api_call *call)
{
	struct sys_view view;
	int rc = sys_view_get(call, &view);

	return rc == 0 ? call_list_all(call, alarms_json(call, &view)) : rc;
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
	json_put(body, "alarms", alarms_json(call, &view));
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
	struct replica_status status;
	struct backup_summary backup;
	struct api_metrics_state state = {
		.http = http_server_counters(api->http),
		.replica = &status,
		.copies = copies,
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
	}
	metrics_store(api, &state);
	copies_get(api, copies);
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
