/* kluisctl backup status: how well the cluster is backed up, with an exit code for monitoring. */
#include <string.h>

#include "base/wire.h"
#include "cli/ops/ops.h"

enum { MAX_AGE_H = 8, MAX_AGE_H_MAX = 8760 };

static const struct output_column snapshot_columns[] = {{"id", "ID", OUTPUT_TEXT},
	{"cycle", "CYCLE", OUTPUT_TEXT}, {"kind", "KIND", OUTPUT_TEXT},
	{"state", "STATE", OUTPUT_TEXT}, {"index", "INDEX", OUTPUT_TEXT},
	{"created", "CREATED", OUTPUT_TIME}, {"bytes", "BYTES", OUTPUT_BYTES},
	{"copies", "COPIES", OUTPUT_TEXT}, {"sites", "AT", OUTPUT_TEXT},
	{"error", "ERROR", OUTPUT_TEXT}};
static const struct output_column check_columns[] = {{"site", "SITE", OUTPUT_TEXT},
	{"level", "LEVEL", OUTPUT_TEXT}, {"ok", "GOOD", OUTPUT_TEXT},
	{"id", "SNAPSHOT", OUTPUT_TEXT}, {"time", "CHECKED", OUTPUT_TIME},
	{"good_time", "LAST GOOD", OUTPUT_TIME}, {"text", "WHAT IS WRONG", OUTPUT_TEXT}};
static const struct output_column summary_columns[] = {{"newest", "Newest confirmed", OUTPUT_TEXT},
	{"newest_age_ms", "Its age", OUTPUT_MS},
	{"newest_copies", "Sites beside the taker that hold it", OUTPUT_TEXT},
	{"confirmations_needed", "That make it count", OUTPUT_TEXT},
	{"failed_since", "Failed since", OUTPUT_TEXT}, {"running", "Under way", OUTPUT_TEXT},
	{"next", "Next cycle", OUTPUT_TIME}, {"proven_time", "Last proven restore", OUTPUT_TIME},
	{"proven_id", "Of snapshot", OUTPUT_TEXT}, {"proven_site", "At", OUTPUT_TEXT}};

/* The site of a node, by what the members are called; its number when it is none any more. */
static json_t *site_of(const json_t *members, const json_t *node)
{
	const json_t *member;
	size_t i;

	json_array_foreach(members, i, member)
	{
		if (json_equal(json_object_get(member, "node"), node)) {
			return json_incref(json_object_get(member, "site"));
		}
	}
	return json_sprintf("%lld", (long long)json_integer_value(node));
}

static void snapshot_add_sites(json_t *snapshot, const json_t *members, json_int_t needed)
{
	_cleanup_(buf_release) struct buf names = BUF_INIT;
	const json_t *nodes = json_object_get(snapshot, "confirmed_by"), *node;
	size_t i;

	json_array_foreach(nodes, i, node)
	{
		_cleanup_(json_dropp) json_t *site = site_of(members, node);

		buf_put_str(&names, i == 0 ? "" : " ");
		buf_put_str(
			&names, json_string_value(site) == NULL ? "?" : json_string_value(site));
	}
	(void)json_object_set_new(snapshot, "sites", json_string(buf_str(&names)));
	(void)json_object_set_new(snapshot, "copies",
		json_sprintf("%zu/%lld", json_array_size(nodes), (long long)needed));
}

static void status_name_sites(json_t *status, const json_t *members)
{
	const json_t *needed = json_object_get(status, "confirmations_needed");
	json_t *proven = json_object_get(status, "proven"), *row;
	size_t i;

	json_array_foreach(json_object_get(status, "items"), i, row)
	{
		snapshot_add_sites(row, members, json_integer_value(needed));
	}
	json_array_foreach(json_object_get(status, "checks"), i, row)
	{
		(void)json_object_set_new(
			row, "site", site_of(members, json_object_get(row, "node")));
	}
	if (json_is_object(proven)) {
		(void)json_object_set(status, "proven_time", json_object_get(proven, "good_time"));
		(void)json_object_set(status, "proven_id", json_object_get(proven, "good_id"));
		(void)json_object_set_new(
			status, "proven_site", site_of(members, json_object_get(proven, "node")));
	}
}

/* When the next cycle is due, from a node that knows of a schedule. */
static void status_add_next(struct invocation *inv, json_t *status)
{
	struct err before = inv->err;
	json_t *schedule = NULL;

	if (ops_call(inv, "GET", "/v1/sys/schedule", NULL, &schedule) == 0) {
		(void)json_object_set(
			status, "next", json_object_get(json_object_get(schedule, "next"), "slot"));
		json_decref(schedule);
	}
	inv->err = before; /* It is no failure that there is none. */
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
	status_name_sites(status, members);
	status_add_next(inv, status);
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
	output_record(&inv->out, summary_columns, ARRAY_SIZE(summary_columns), status);
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

/* The worst first. */
static int status_judge(struct invocation *inv, const json_t *status, uint64_t max_age_h)
{
	const json_t *newest = json_object_get(status, "newest");
	json_int_t age_ms = json_integer_value(json_object_get(status, "newest_age_ms"));
	json_int_t copies = json_integer_value(json_object_get(status, "newest_copies"));
	json_int_t needed = json_integer_value(json_object_get(status, "confirmations_needed"));
	json_int_t failed = json_integer_value(json_object_get(status, "failed_since"));
	int rc;

	if (!json_is_string(newest)) {
		return err_set(&inv->err, KLUIS_ENOTFOUND, "no snapshot was ever confirmed");
	}
	if (age_ms > (json_int_t)(max_age_h * 3600000)) {
		return err_set(&inv->err, KLUIS_EBEHIND,
			"the newest confirmed snapshot is %lld hours old",
			(long long)(age_ms / 3600000));
	}
	rc = judge_checks(inv, status);
	if (rc == 0 && copies < needed) {
		rc = err_set(&inv->err, KLUIS_EPARTIAL,
			"%lld sites of %lld hold the newest confirmed snapshot", (long long)copies,
			(long long)needed);
	}
	if (rc == 0 && failed > 0) {
		rc = err_set(&inv->err, KLUIS_EPARTIAL,
			"%lld snapshots have failed since the newest confirmed one",
			(long long)failed);
	}
	return rc;
}

int ops_backup_status(struct invocation *inv)
{
	_cleanup_(json_dropp) json_t *status = NULL;
	uint64_t max_age_h;
	int rc = invocation_number(inv, "max-age", MAX_AGE_H, MAX_AGE_H_MAX, &max_age_h);

	rc = rc != 0 ? rc : status_load(inv, &status);
	if (rc != 0) {
		return rc;
	}
	status_print(inv, status);
	return status_judge(inv, status, max_age_h);
}
