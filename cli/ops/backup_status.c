/* kluisctl backup status: how well the cluster is backed up, with an exit code for monitoring. */
#include <string.h>

#include "backup/retention.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/ops/ops.h"

enum { MAX_AGE_H_MAX = 8760 };

static const struct output_column snapshot_columns[] = {{"id", "ID", OUTPUT_TEXT},
	{"cycle", "CYCLE", OUTPUT_TEXT}, {"kind", "KIND", OUTPUT_TEXT},
	{"state", "STATE", OUTPUT_TEXT}, {"index", "INDEX", OUTPUT_TEXT},
	{"created", "CREATED", OUTPUT_TIME}, {"bytes", "BYTES", OUTPUT_BYTES},
	{"taker", "TAKEN AT", OUTPUT_TEXT}, {"copies", "COPIES", OUTPUT_TEXT},
	{"sites", "AT", OUTPUT_TEXT}, {"away", "AWAY", OUTPUT_TEXT},
	{"error", "ERROR", OUTPUT_TEXT}};
static const struct output_column check_columns[] = {{"site", "SITE", OUTPUT_TEXT},
	{"level", "LEVEL", OUTPUT_TEXT}, {"ok", "GOOD", OUTPUT_TEXT},
	{"id", "SNAPSHOT", OUTPUT_TEXT}, {"time", "CHECKED", OUTPUT_TIME},
	{"good_time", "LAST GOOD", OUTPUT_TIME}, {"text", "WHAT IS WRONG", OUTPUT_TEXT}};
static const struct output_column root_columns[] = {{"site", "SITE", OUTPUT_TEXT},
	{"state", "STATE ROOT", OUTPUT_TEXT}, {"id", "OF SNAPSHOT", OUTPUT_TEXT},
	{"index", "INDEX", OUTPUT_TEXT}, {"missing", "OWES", OUTPUT_TEXT}};
static const struct output_column summary_columns[] = {{"newest", "Newest confirmed", OUTPUT_TEXT},
	{"newest_age_ms", "Its age", OUTPUT_MS},
	{"newest_age_limit_ms", "How old it may be", OUTPUT_MS},
	{"newest_copies", "Sites beside the taker that hold it", OUTPUT_TEXT},
	{"newest_away", "Sites that held it and are away", OUTPUT_TEXT},
	{"confirmations_needed", "That make it count", OUTPUT_TEXT},
	{"recovery_time", "Recovery point", OUTPUT_TIME},
	{"recovery_index", "Its index", OUTPUT_TEXT},
	{"recovery_age_ms", "Changes since then, for", OUTPUT_MS},
	{"deletions_lag_ms", "Journal of deletions here is behind by", OUTPUT_MS},
	{"failed_since", "Failed since", OUTPUT_TEXT}, {"running", "Under way", OUTPUT_TEXT},
	{"next", "Next cycle", OUTPUT_TIME}, {"proven_time", "Last proven restore", OUTPUT_TIME},
	{"proven_id", "Of snapshot", OUTPUT_TEXT}, {"proven_site", "At", OUTPUT_TEXT},
	{"drill_sites", "Sites that drill weekly, in turn", OUTPUT_TEXT},
	{"stopped", "What keeps this site from taking part", OUTPUT_TEXT}};

static const json_t *member_of(const json_t *members, const json_t *node)
{
	const json_t *member;
	size_t i;

	json_array_foreach(members, i, member)
	{
		if (json_equal(json_object_get(member, "node"), node)) {
			return member;
		}
	}
	return NULL;
}

/* The site of a node, by what the members are called; its number when it is none any more. */
static json_t *site_of(const json_t *members, const json_t *node)
{
	json_t *site = json_object_get(member_of(members, node), "site");

	return json_is_string(site) ? json_incref(site)
				    : json_sprintf("%lld", (long long)json_integer_value(node));
}

static void names_add(struct buf *names, const json_t *members, const json_t *node)
{
	_cleanup_(json_dropp) json_t *site = site_of(members, node);

	buf_put_str(names, names->len == 0 ? "" : " ");
	buf_put_str(names, json_string_value(site) == NULL ? "?" : json_string_value(site));
}

/* What a site confirmed stands in the log, also when that site and its disk are gone since: only
 * those count that the node asked has a link to. */
static void snapshot_add_sites(json_t *snapshot, const json_t *members, json_int_t needed)
{
	_cleanup_(buf_release) struct buf here = BUF_INIT;
	_cleanup_(buf_release) struct buf away = BUF_INIT;
	const json_t *nodes = json_object_get(snapshot, "confirmed_by"), *node;
	json_int_t copies = 0;
	size_t i;

	json_array_foreach(nodes, i, node)
	{
		bool online = json_is_true(json_object_get(member_of(members, node), "online"));

		copies += online;
		names_add(online ? &here : &away, members, node);
	}
	(void)json_object_set_new(
		snapshot, "taker", site_of(members, json_object_get(snapshot, "node")));
	(void)json_object_set_new(snapshot, "sites", json_string(buf_str(&here)));
	(void)json_object_set_new(snapshot, "away", json_string(buf_str(&away)));
	(void)json_object_set_new(snapshot, "copies",
		json_sprintf("%lld/%lld", (long long)copies, (long long)needed));
	(void)json_object_set_new(snapshot, "copies_here", json_integer(copies));
}

/* Of the nodes that drill by themselves. */
static json_t *drill_sites(const json_t *members, const json_t *nodes)
{
	_cleanup_(buf_release) struct buf names = BUF_INIT;
	const json_t *node;
	size_t i;

	json_array_foreach(nodes, i, node)
	{
		names_add(&names, members, node);
	}
	return json_string(buf_str(&names));
}

static void status_name_sites(json_t *status, const json_t *members)
{
	const json_t *needed = json_object_get(status, "confirmations_needed");
	json_t *proven = json_object_get(status, "proven"), *row;
	size_t i;

	json_array_foreach(json_object_get(status, "items"), i, row)
	{
		snapshot_add_sites(row, members, json_integer_value(needed));
		if (json_equal(json_object_get(row, "id"), json_object_get(status, "newest"))) {
			(void)json_object_set(
				status, "newest_copies", json_object_get(row, "copies_here"));
			(void)json_object_set(status, "newest_away", json_object_get(row, "away"));
		}
	}
	json_array_foreach(json_object_get(status, "checks"), i, row)
	{
		(void)json_object_set_new(
			row, "site", site_of(members, json_object_get(row, "node")));
	}
	json_array_foreach(json_object_get(status, "state_roots"), i, row)
	{
		(void)json_object_set_new(
			row, "site", site_of(members, json_object_get(row, "node")));
	}
	(void)json_object_set_new(
		status, "drill_sites", drill_sites(members, json_object_get(status, "drilled_by")));
	if (json_is_object(proven)) {
		(void)json_object_set(status, "proven_time", json_object_get(proven, "good_time"));
		(void)json_object_set(status, "proven_id", json_object_get(proven, "good_id"));
		(void)json_object_set_new(
			status, "proven_site", site_of(members, json_object_get(proven, "node")));
	}
}

/* --- what retention holds -------------------------------------------------------------------- */

static void retention_fill(const json_t *row, struct retention_snapshot *ret_snapshot)
{
	const char *state = json_string_value(json_object_get(row, "state"));
	const char *kind = json_string_value(json_object_get(row, "kind"));
	bool confirmed = state != NULL && strcmp(state, "confirmed") == 0;

	*ret_snapshot = (struct retention_snapshot){
		.index = (uint64_t)json_integer_value(json_object_get(row, "index")),
		.cycle = (uint32_t)json_integer_value(json_object_get(row, "cycle")),
		.full = kind != NULL && strcmp(kind, "full") == 0,
		.manual = kind != NULL && strcmp(kind, "manual") == 0,
		.pinned = json_is_true(json_object_get(row, "pinned")),
		.stray = !confirmed && (state == NULL || strcmp(state, "shipped") != 0),
		.unconfirmed = !confirmed,
		.received_ms = (uint64_t)json_integer_value(json_object_get(row, "created"))};
}

/* Records outlive the copies that sites forget by age and count: by the same rules, of such a
 * record no copy is told any more. */
static void status_expire(json_t *status, const struct retention_rules *rules, uint64_t now_ms)
{
	json_t *items = json_object_get(status, "items"), *row;
	size_t i, n = json_array_size(items);
	_cleanup_(x_freep) struct retention_snapshot *all = x_calloc(n + 1, sizeof *all);

	json_array_foreach(items, i, row)
	{
		retention_fill(row, &all[i]);
	}
	retention_plan(all, n, now_ms, rules);
	json_array_foreach(items, i, row)
	{
		if (all[i].prune && !all[i].stray) {
			(void)json_object_set_new(row, "state", json_string("expired"));
			(void)json_object_set_new(row, "confirmed_by", json_array());
		}
	}
}

/* Of a node that can say: when the next cycle is due, and what it and the others still keep. */
static void status_add_schedule(struct invocation *inv, json_t *status)
{
	struct err before = inv->err;
	_cleanup_(json_dropp) json_t *schedule = NULL;
	_cleanup_(json_dropp) json_t *settings = NULL;
	struct retention_rules rules;
	const char *keep_s;
	uint64_t seconds;

	if (ops_call(inv, "GET", "/v1/sys/schedule", NULL, &schedule) != 0 ||
		ops_call(inv, "GET", "/v1/sys/config", NULL, &settings) != 0) {
		inv->err = before; /* It is no failure that there is none. */
		return;
	}
	(void)json_object_set(
		status, "next", json_object_get(json_object_get(schedule, "next"), "slot"));
	keep_s = json_string_value(json_object_get(settings, "backup.keep_s"));
	if (keep_s == NULL || u64_parse(bytes_str(keep_s), BACKUP_KEEP_S_MAX, &seconds) != 0) {
		return;
	}
	rules = retention_rules_of(seconds * 1000,
		(uint64_t)json_integer_value(json_object_get(schedule, "interval_ms")));
	status_expire(status, &rules,
		(uint64_t)json_integer_value(json_object_get(schedule, "cluster_time")));
}

static int status_load(struct invocation *inv, json_t **ret_status)
{
	_cleanup_(json_dropp) json_t *status = NULL;
	_cleanup_(json_dropp) json_t *members = NULL;
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc = ops_call(inv, "GET", "/v1/sys/backups", NULL, &status);

	rc = rc != 0 ? rc : ops_list(inv, "/v1/sys/snapshots", &items);
	rc = rc != 0 ? rc : ops_list(inv, "/v1/sys/members", &members);
	if (rc != 0) {
		return rc;
	}
	(void)json_object_set(status, "items", items);
	status_add_schedule(inv, status);
	status_name_sites(status, members);
	*ret_status = status;
	status = NULL;
	return 0;
}

static void status_print(const struct invocation *inv, const json_t *status)
{
	if (inv->out.format == OUTPUT_JSON) {
		output_record(&inv->out, summary_columns, ARRAY_SIZE(summary_columns), status);
		return;
	}
	output_rows(&inv->out, snapshot_columns, ARRAY_SIZE(snapshot_columns),
		json_object_get(status, "items"));
	(void)fputc('\n', inv->out.data);
	if (json_array_size(json_object_get(status, "checks")) > 0) {
		output_rows(&inv->out, check_columns, ARRAY_SIZE(check_columns),
			json_object_get(status, "checks"));
		(void)fputc('\n', inv->out.data);
	}
	if (json_array_size(json_object_get(status, "state_roots")) > 0) {
		output_rows(&inv->out, root_columns, ARRAY_SIZE(root_columns),
			json_object_get(status, "state_roots"));
		(void)fputc('\n', inv->out.data);
	}
	output_record(&inv->out, summary_columns, ARRAY_SIZE(summary_columns), status);
}

/* One that differs before one that is late. */
static int judge_roots(struct invocation *inv, const json_t *status, const char *state)
{
	bool differs = strcmp(state, "differs") == 0;
	const json_t *root;
	size_t i;

	json_array_foreach(json_object_get(status, "state_roots"), i, root)
	{
		const char *now = json_string_value(json_object_get(root, "state"));
		const char *site = json_string_value(json_object_get(root, "site"));

		if (now != NULL && strcmp(now, state) == 0) {
			return err_set(&inv->err, differs ? KLUIS_EVERIFY : KLUIS_EPARTIAL,
				differs ? "site '%s': another state root than the others'"
					: "site '%s': no word on the state root",
				site == NULL ? "?" : site);
		}
	}
	return 0;
}

static int judge_checks(struct invocation *inv, const json_t *status)
{
	const json_t *check;
	size_t i;

	json_array_foreach(json_object_get(status, "checks"), i, check)
	{
		if (!json_is_true(json_object_get(check, "ok"))) {
			const char *site = json_string_value(json_object_get(check, "site"));
			const char *id = json_string_value(json_object_get(check, "id"));
			const char *text = json_string_value(json_object_get(check, "text"));

			return err_set(&inv->err, KLUIS_EVERIFY, "site '%s': snapshot %s: %s",
				site == NULL ? "?" : site, id == NULL ? "?" : id,
				text == NULL ? "?" : text);
		}
	}
	return 0;
}

/* Whether there is anything to restore that is young enough, at any site. */
static int judge_age(struct invocation *inv, const json_t *status, uint64_t max_age_ms)
{
	json_int_t age_ms = json_integer_value(json_object_get(status, "newest_age_ms"));

	if (!json_is_string(json_object_get(status, "newest"))) {
		return err_set(&inv->err, KLUIS_ENOTFOUND, "no snapshot was ever confirmed");
	}
	return age_ms <= (json_int_t)max_age_ms
		       ? 0
		       : err_set(&inv->err, KLUIS_EBEHIND,
				 "the newest confirmed snapshot is %lld hours old",
				 (long long)(age_ms / 3600000));
}

static int judge_stopped(struct invocation *inv, const json_t *status)
{
	const char *stopped = json_string_value(json_object_get(status, "stopped"));

	return stopped == NULL ? 0
			       : err_set(&inv->err, KLUIS_EPARTIAL,
					 "this site takes part in no backups: %s", stopped);
}

/* What a restore would not know of. */
static int judge_late(struct invocation *inv, const json_t *status)
{
	json_int_t exposed_ms = json_integer_value(json_object_get(status, "recovery_age_ms")),
		   lag_ms = json_integer_value(json_object_get(status, "deletions_lag_ms"));

	if (json_is_true(json_object_get(status, "recovery_late"))) {
		return err_set(&inv->err, KLUIS_EBEHIND,
			"what changed in the last %lld minutes is in no backup",
			(long long)(exposed_ms / 60000));
	}
	return json_is_true(json_object_get(status, "deletions_late"))
		       ? err_set(&inv->err, KLUIS_EBEHIND,
				 "what was deleted in the last %lld minutes is not in this site's "
				 "journal",
				 (long long)(lag_ms / 60000))
		       : 0;
}

static int judge_copies(struct invocation *inv, const json_t *status)
{
	json_int_t copies = json_integer_value(json_object_get(status, "newest_copies"));
	json_int_t needed = json_integer_value(json_object_get(status, "confirmations_needed"));
	json_int_t failed = json_integer_value(json_object_get(status, "failed_since"));
	const char *away = json_string_value(json_object_get(status, "newest_away"));

	if (copies < needed) {
		return err_set(&inv->err, KLUIS_EPARTIAL,
			"%lld sites of %lld hold the newest confirmed snapshot%s%s",
			(long long)copies, (long long)needed,
			away == NULL || away[0] == 0 ? "" : "; away: ", away == NULL ? "" : away);
	}
	return failed == 0 ? 0
			   : err_set(&inv->err, KLUIS_EPARTIAL,
				     "%lld snapshots have failed since the newest confirmed one",
				     (long long)failed);
}

/* The worst first: nothing young enough to restore; something that is not what it should be; this
 * site out of it, which may be why others are late; what is late; what is less than it should be.
 */
static int status_judge(struct invocation *inv, const json_t *status, uint64_t max_age_ms)
{
	const char *unproven = json_string_value(json_object_get(status, "proof_late"));
	int rc = judge_age(inv, status, max_age_ms);

	rc = rc != 0 ? rc : judge_checks(inv, status);
	rc = rc != 0 ? rc : judge_roots(inv, status, "differs");
	rc = rc != 0 ? rc : judge_stopped(inv, status);
	rc = rc != 0 ? rc : judge_late(inv, status);
	rc = rc != 0 ? rc : judge_copies(inv, status);
	if (rc == 0 && unproven != NULL) {
		rc = err_set(&inv->err, KLUIS_EPARTIAL, "%s", unproven);
	}
	return rc != 0 ? rc : judge_roots(inv, status, "late");
}

int ops_backup_status(struct invocation *inv)
{
	_cleanup_(json_dropp) json_t *status = NULL;
	const json_t *limit;
	uint64_t hours;
	int rc = invocation_number(inv, "max-age", 0, MAX_AGE_H_MAX, &hours);

	rc = rc != 0 ? rc : status_load(inv, &status);
	if (rc != 0) {
		return rc;
	}
	status_print(inv, status);
	if (invocation_value(inv, "max-age") != NULL) {
		return status_judge(inv, status, hours * 3600000);
	}
	limit = json_object_get(status, "newest_age_limit_ms");
	return status_judge(inv, status,
		json_is_integer(limit) ? (uint64_t)json_integer_value(limit)
				       : retention_fresh_ms(0)); /* Of an older node. */
}
