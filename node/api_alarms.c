/* What is looked at for an operator, and what of it is an alarm. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/api_sys_view.h"
#include "node/backup_summary.h"
#include "node/expiry.h"
#include "node/pepper.h"

/* What is looked at, once for health and alarms. */
struct check {
	const char *name;
	bool ok, critical;
	char text[384];
	/* Sites and snapshots that it is about, each with a line end: one more is told of at once,
	 * which a number in the text is not. */
	char about[1024];
};
enum { CHECKS = 23, COPIES_PRUNE_LATE_MS = 4 * 3600 * 1000 };

static void check_set(
	struct check *check, const char *name, bool ok, bool critical, const char *text)
{
	*check = (struct check){.name = name, .ok = ok, .critical = critical};
	(void)snprintf(check->text, sizeof check->text, "%s", text);
}

static void check_about(struct check *check, const char *fmt, ...) KLUIS_PRINTF(2, 3);

/* Beyond the room for it nothing is added: who looks sees the text. */
static void check_about(struct check *check, const char *fmt, ...)
{
	size_t len = strlen(check->about), left = sizeof check->about - len;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(check->about + len, left, fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n + 2 > left) {
		check->about[len] = 0;
	} else {
		check->about[len + (size_t)n] = '\n';
		check->about[len + (size_t)n + 1] = 0;
	}
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
			check_about(check, "node %llu", (unsigned long long)peer->id);
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

size_t sys_shipments_get(struct api *api, struct api_shipment ret_rows[SITES_MAX])
{
	const struct api_hooks *hooks = &api->config.hooks;

	return hooks->shipments == NULL ? 0 : hooks->shipments(hooks->data, ret_rows);
}

/* Nothing is shipped to a site whose host key is not the pinned one until an operator looked. */
static void check_shipping(struct check *check, struct api *api)
{
	struct api_shipment rows[SITES_MAX], *worst = NULL;
	size_t n = sys_shipments_get(api, rows), failed = 0;

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
	for (size_t i = 0; i < n; i++) {
		if (rows[i].rc != 0) {
			check_about(check, "site %s%s", rows[i].site,
				rows[i].rc == KLUIS_EPIN ? " host key" : "");
		}
	}
}

/* Nobody may learn from a restore that there was nothing to restore. */
static void check_backup(struct check *check, struct api *api, const struct backup_summary *backup)
{
	uint64_t age_ms, now_ms = clock_wall_ms(api->config.clock);
	uint64_t limit_ms = retention_fresh_ms(api->config.schedule.interval_ms);
	bool young = api_now(api) - api->started_ms < limit_ms;

	check_set(check, "backup", true, false, "this node takes part in no backups");
	if (backup == NULL) {
		return;
	}
	age_ms = backup_summary_age_ms(backup, now_ms);
	if (age_ms == UINT64_MAX) {
		check_set(check, "backup", young, true, "no snapshot was ever confirmed");
	} else if (age_ms > limit_ms) {
		check_set(check, "backup", false, age_ms > 3 * limit_ms, "");
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

/* Its number where it is no member any more. The caller's. */
static char *site_or_node(struct api_call *call, const struct sys_view *view, uint64_t id)
{
	const char *site = sys_site_of(call, view, id);

	return site[0] != 0 ? x_asprintf("site %s", site)
			    : x_asprintf("node %llu", (unsigned long long)id);
}

/* What a site confirmed stands in the log, also when that site and its disk are gone since: only
 * those count that this node has a link to, as for `kluisctl backup status`. */
static void check_holders(struct check *check, struct api_call *call, const struct sys_view *view,
	const struct backup_summary *backup)
{
	const struct snapshot_row *newest = backup == NULL ? NULL : &backup->newest;
	_cleanup_(buf_release) struct buf here = BUF_INIT, away = BUF_INIT;
	unsigned needed = call->api->config.backup_copies, n = 0;

	check_set(check, "holders", true, false, "enough sites hold the newest confirmed snapshot");
	if (newest == NULL || newest->id == 0) {
		return; /* `backup` says it. */
	}
	for (unsigned i = 0; i < newest->n_confirmations; i++) {
		uint64_t node = newest->confirmation[i].node;
		_cleanup_(x_freep) char *site = site_or_node(call, view, node);
		bool online = replica_status_reaches(&view->status, node);
		struct buf *names = online ? &here : &away;

		n += online;
		buf_printf(names, "%s%s", names->len == 0 ? "" : ", ", site);
		if (!online) {
			check_about(check, "%s", site);
		}
	}
	if (n < needed) {
		check->ok = false;
		(void)snprintf(check->text, sizeof check->text,
			"%u sites of %u hold the newest confirmed snapshot%s%s%s%s", n, needed,
			n == 0 ? "" : ": ", buf_str(&here),
			away.len == 0 ? "" : "; away: ", buf_str(&away));
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
	for (size_t i = 0; bad != NULL && i < backup->n_checks; i++) {
		const struct check_row *row = &backup->checks[i];

		if (!row->ok) {
			check_about(check, "site %s snapshot %llu",
				sys_site_of(call, view, row->node), (unsigned long long)row->id);
		}
	}
}

void sys_copies_get(struct api *api, struct api_copies *ret_copies)
{
	const struct api_hooks *hooks = &api->config.hooks;

	memset(ret_copies, 0, sizeof *ret_copies);
	if (hooks->copies != NULL) {
		hooks->copies(hooks->data, ret_copies);
	}
}

/* While a disk keeps this node from its backups it takes none, keeps none and confirms none. */
static void check_repository(struct check *check, struct api *api)
{
	_cleanup_(x_freep) struct api_copies *copies = x_malloc(sizeof *copies);

	sys_copies_get(api, copies);
	check_set(check, "repository", copies->stopped[0] == 0, true,
		copies->kept ? "repository and drops can be used"
			     : "this node takes part in no backups");
	if (copies->stopped[0] != 0) {
		(void)snprintf(check->text, sizeof check->text,
			"this node takes part in no backups: %s", copies->stopped);
	}
}

/* What re-reading the copies here has found, and whether it, and forgetting them, goes on. */
static void check_copies(struct check *check, struct api *api)
{
	_cleanup_(x_freep) struct api_copies *copies = x_malloc(sizeof *copies);
	uint64_t now_ms = clock_wall_ms(api->config.clock), since_ms;
	bool late, unforgotten;

	sys_copies_get(api, copies);
	unforgotten = copies->prune_text[0] != 0 ||
		      (copies->period_ms != 0 && copies->prune_age_ms > COPIES_PRUNE_LATE_MS);
	since_ms = copies->ended_ms != 0 ? copies->ended_ms : copies->began_ms;
	late = copies->period_ms != 0 && since_ms != 0 && now_ms > since_ms + 2 * copies->period_ms;
	check_set(check, "copies", copies->damaged == 0 && copies->rc == 0 && !late && !unforgotten,
		copies->damaged > 0,
		!copies->kept		 ? "this node keeps no snapshots"
		: copies->period_ms == 0 ? "the copies here are not read yet"
					 : "every copy is as it was taken in");
	if (copies->damaged > 0) {
		char hash[HEX_LEN(sizeof copies->last) + 1];

		hex_encode(bytes_of(copies->last, sizeof copies->last), hash);
		check_about(check, "snapshot %.16s", hash);
		(void)snprintf(check->text, sizeof check->text, "%u damaged snapshots here: %s",
			copies->damaged, copies->text);
	} else if (copies->rc != 0 || late) {
		(void)snprintf(check->text, sizeof check->text,
			"the copies here are not read again: %s",
			copies->rc != 0 ? err_text(copies->rc) : "it takes too long");
	} else if (unforgotten) {
		(void)snprintf(check->text, sizeof check->text,
			"what is too old is not forgotten here for %llu hours: %s",
			(unsigned long long)(copies->prune_age_ms / 3600000),
			copies->prune_text[0] != 0 ? copies->prune_text : "it takes too long");
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

	sys_copies_get(api, copies);
	check_set(check, "drops", true, false,
		copies->n_drops == 0 ? "no site ships to this one"
				     : "nothing but snapshots came in");
	for (size_t i = 0; i < copies->n_drops; i++) {
		const struct api_drop *drop = &copies->drops[i];

		if (drop->over_quota || drop->rc != 0 ||
			(drop->refused_ms != 0 && now_ms < drop->refused_ms + LOOK_MS)) {
			worst = worst == NULL || drop->over_quota ? drop : worst;
			check_about(check, "site %s", drop->site);
		}
	}
	if (worst != NULL) {
		check->ok = false;
		(void)snprintf(check->text, sizeof check->text, "from site '%s'%s: %s", worst->site,
			worst->over_quota ? ", over its quota" : "", worst->text);
	}
}

/* A backup that nobody ever restored is a hope. */
static void check_proof(struct check *check, struct api *api, const struct backup_summary *backup)
{
	_cleanup_(x_freep) struct api_copies *copies = x_malloc(sizeof *copies);
	uint64_t now_ms = clock_wall_ms(api->config.clock);
	char text[sizeof check->text];

	sys_copies_get(api, copies);
	check_set(check, "proof", true, false, "this node takes part in no backups");
	if (backup != NULL) {
		bool late = backup_summary_unproven(backup, now_ms, text, sizeof text);

		check_set(check, "proof", !late, false,
			late ? text : "a restore was proven, or is not due to be");
	}
	if (check->ok && copies->drill_text[0] != 0) {
		check_set(check, "proof", false, false, "");
		(void)snprintf(check->text, sizeof check->text, "no drill can be made here: %s",
			copies->drill_text);
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
		check_about(check, "site %s %s", sys_site_of(call, view, node), setting);
		(void)snprintf(check->text, sizeof check->text,
			"[backup] '%s' at site '%s' is not what it is here", setting,
			sys_site_of(call, view, node));
	}
}

static void check_roots_about(struct check *check, struct api_call *call,
	const struct sys_view *view, const struct root_summary *roots)
{
	uint64_t now_ms = clock_wall_ms(call->api->config.clock);

	for (size_t i = 0; i < roots->n; i++) {
		const struct root_site *site = &roots->site[i];
		enum root_state state = root_site_state(site, now_ms);

		if (state == ROOT_DIFFERS || state == ROOT_LATE) {
			check_about(check, "site %s snapshot %llu",
				sys_site_of(call, view, site->node),
				(unsigned long long)(state == ROOT_LATE ? site->missing_id
									: site->id));
		}
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
		check_roots_about(check, call, view, &backup->roots);
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
		const char *site = sys_site_of(call, view, view->nodes[i].node);

		if (!view->nodes[i].quarantined) {
			continue;
		}
		if (sites.len == 0) {
			check_set(check, "state", false, true, "");
		}
		check_about(check, "site %s", site);
		buf_printf(&sites, "%s'%s'", sites.len == 0 ? "" : ", ", site);
	}
	if (sites.len > 0) {
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
	check_repository(&checks[21], call->api);
	check_holders(&checks[22], call, view, backup);
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

static json_t *alarm_json(const char *name, bool critical, const char *text, const char *about)
{
	json_t *alarm = json_object(), *items = json_array();

	for (size_t len; *about != 0; about += len + 1) {
		len = strcspn(about, "\n");
		(void)json_array_append_new(items, json_stringn(about, len));
	}
	json_put(alarm, "name", json_make_text(name));
	json_put(alarm, "severity", json_make_text(critical ? "critical" : "warning"));
	json_put(alarm, "text", json_make_text(text));
	json_put(alarm, "about", items);
	return alarm;
}

json_t *sys_alarms_json(struct api_call *call, const struct sys_view *view)
{
	struct check checks[CHECKS];
	json_t *items = json_array();

	checks_make(call, view, checks);
	for (unsigned i = 0; i < CHECKS; i++) {
		if (!checks[i].ok) {
			(void)json_array_append_new(
				items, alarm_json(checks[i].name, checks[i].critical,
					       checks[i].text, checks[i].about));
		}
	}
	if (view->cluster.read_only) {
		(void)json_array_append_new(
			items, alarm_json("readonly", false,
				       "an operator made the cluster read-only", ""));
	}
	if (!view->policies_agree) {
		(void)json_array_append_new(items,
			alarm_json("accounts", false,
				"the nodes' [accounts] settings differ: the strictest hold", ""));
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
		*ret_items = sys_alarms_json(call, &view);
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

	return rc == 0 ? call_list_all(call, sys_alarms_json(call, &view)) : rc;
}
