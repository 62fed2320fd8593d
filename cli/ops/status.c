/* kluisctl status: every node that was asked is a row, whether it answered or not. */
#include <string.h>

#include "base/wire.h"
#include "cli/ops/ops.h"

struct status {
	struct invocation *inv;
	json_t *rows;
	uint64_t leader; /* As a node that answered says; 0: none did. */
	size_t down;
};

static const struct output_column status_columns[] = {{"node", "NODE", OUTPUT_TEXT},
	{"site", "SITE", OUTPUT_TEXT}, {"state", "STATE", OUTPUT_TEXT},
	{"role", "ROLE", OUTPUT_TEXT}, {"leader", "LEADER", OUTPUT_TEXT},
	{"term", "TERM", OUTPUT_TEXT}, {"applied_index", "APPLIED", OUTPUT_TEXT},
	{"read_only", "READ-ONLY", OUTPUT_TEXT}, {"version", "VERSION", OUTPUT_TEXT},
	{"uptime_ms", "UPTIME", OUTPUT_MS}, {"certificate_days_left", "CERT-DAYS", OUTPUT_TEXT},
	{"alarm_names", "ALARMS", OUTPUT_TEXT}, {"error", "ERROR", OUTPUT_TEXT}};

/* Their names, for the table. */
static json_t *status_alarm_names(const json_t *alarms)
{
	_cleanup_(buf_release) struct buf names = BUF_INIT;
	const json_t *alarm;
	size_t i;

	json_array_foreach(alarms, i, alarm)
	{
		const char *name = json_string_value(json_object_get(alarm, "name"));

		buf_put_str(&names, i == 0 ? "" : ",");
		buf_put_str(&names, name == NULL ? "?" : name);
	}
	return json_string(names.len == 0 ? "none" : buf_str(&names));
}

/* What each alarm says, behind the table. */
static void status_tell_alarms(const struct status *s)
{
	const json_t *row, *alarm;
	size_t i, k;

	json_array_foreach(s->rows, i, row)
	{
		const char *site = json_string_value(json_object_get(row, "site"));

		json_array_foreach(json_object_get(row, "alarms"), k, alarm)
		{
			const char *severity =
				json_string_value(json_object_get(alarm, "severity"));
			const char *name = json_string_value(json_object_get(alarm, "name"));
			const char *text = json_string_value(json_object_get(alarm, "text"));

			output_note(&s->inv->out, "%s: %s: %s: %s", site == NULL ? "?" : site,
				severity == NULL ? "?" : severity, name == NULL ? "?" : name,
				text == NULL ? "?" : text);
		}
	}
}

static void status_answered(struct status *s, json_t *answer, const char *socket)
{
	const json_t *leader = json_object_get(answer, "leader");

	if (json_is_integer(leader)) {
		s->leader = (uint64_t)json_integer_value(leader);
	}
	(void)json_object_set_new(
		answer, "alarm_names", status_alarm_names(json_object_get(answer, "alarms")));
	(void)json_object_set_new(answer, "state", json_string("up"));
	(void)json_object_set_new(answer, "socket", json_string(socket));
	(void)json_array_append(s->rows, answer);
}

static void status_silent(struct status *s, const struct err *why, const char *socket)
{
	s->down++;
	(void)json_array_append_new(s->rows, json_pack("{s:s, s:s, s:s}", "state", "down", "error",
						     why->text, "socket", socket));
}

static void status_ask(struct status *s, const char *socket)
{
	struct err why = {0};
	struct client *client;
	json_t *answer = NULL;

	if (ops_client(s->inv, socket, &client) != 0) {
		status_silent(s, &s->inv->err, socket);
		return;
	}
	if (api_json(client, "GET", "/v1/sys/status", NULL, 0, &answer, &why) == 0) {
		status_answered(s, answer, socket);
		json_decref(answer);
	} else {
		status_silent(s, &why, socket);
	}
	client_free(client);
}

static bool status_has(const struct status *s, json_int_t node)
{
	const json_t *row;
	size_t i;

	json_array_foreach(s->rows, i, row)
	{
		if (json_integer_value(json_object_get(row, "node")) == node) {
			return true;
		}
	}
	return false;
}

/* A silent socket is named by the member it must be, when only one is left unseen. */
static void status_name_silent(struct status *s, const json_t *members)
{
	const json_t *member, *unseen = NULL;
	json_t *row, *silent = NULL;
	size_t i, n_unseen = 0, n_silent = 0;

	json_array_foreach(members, i, member)
	{
		if (!status_has(s, json_integer_value(json_object_get(member, "node")))) {
			unseen = member;
			n_unseen++;
		}
	}
	json_array_foreach(s->rows, i, row)
	{
		if (json_object_get(row, "node") == NULL) {
			silent = row;
			n_silent++;
		}
	}
	if (n_unseen == 1 && n_silent == 1) {
		(void)json_object_set(silent, "node", json_object_get(unseen, "node"));
		(void)json_object_set(silent, "site", json_object_get(unseen, "site"));
		(void)json_object_set(silent, "role", json_object_get(unseen, "role"));
	}
}

/* Members nobody was asked about, as the first node that answered sees them. */
static void status_add_members(struct status *s, size_t asked)
{
	const json_t *members = NULL, *member;
	size_t i, n_silent = 0;

	for (i = 0; i < asked; i++) {
		const json_t *row = json_array_get(s->rows, i);

		members = members == NULL ? json_object_get(row, "members") : members;
		n_silent += json_object_get(row, "node") == NULL;
	}
	status_name_silent(s, members);
	if (n_silent > 1) {
		return; /* Which rows they are cannot be told: none is shown twice. */
	}
	json_array_foreach(members, i, member)
	{
		bool online = json_is_true(json_object_get(member, "online"));

		if (status_has(s, json_integer_value(json_object_get(member, "node")))) {
			continue;
		}
		s->down += !online;
		(void)json_array_append_new(s->rows,
			json_pack("{s:O, s:O, s:O, s:s}", "node", json_object_get(member, "node"),
				"site", json_object_get(member, "site"), "role",
				json_object_get(member, "role"), "state",
				online ? "online" : "offline"));
	}
}

int ops_status(struct invocation *inv)
{
	struct status s = {.inv = inv, .rows = json_array()};
	const char *socket;
	size_t asked;
	int rc = 0;

	for (asked = 0; (socket = ops_socket(inv, asked)) != NULL && asked < OPS_SOCKETS_MAX;
		asked++) {
		status_ask(&s, socket);
	}
	inv->err = (struct err){0};
	status_add_members(&s, asked);
	output_rows(&inv->out, status_columns, ARRAY_SIZE(status_columns), s.rows);
	status_tell_alarms(&s);
	if (s.leader == 0) {
		rc = err_set(&inv->err, KLUIS_ENOQUORUM, "no node that answered knows a leader");
	} else if (s.down > 0) {
		rc = err_set(&inv->err, KLUIS_EPARTIAL, "%zu of %zu nodes are down", s.down,
			json_array_size(s.rows));
	}
	json_decref(s.rows);
	return rc;
}
