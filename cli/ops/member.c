/* kluisctl member: what an operator wants of the cluster's members. A node writes it down for all;
 * the leader brings it about, and these commands wait for that. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/ops/ops.h"

enum { MEMBER_WAIT_S = 120, MEMBER_WAIT_MAX_S = 86400, MEMBER_POLL_MS = 200 };

static const struct output_column member_columns[] = {{"node", "NODE", OUTPUT_TEXT},
	{"site", "SITE", OUTPUT_TEXT}, {"role", "ROLE", OUTPUT_TEXT},
	{"state", "STATE", OUTPUT_TEXT}, {"wish", "WISH", OUTPUT_TEXT},
	{"weight", "WEIGHT", OUTPUT_TEXT}, {"leader", "LEADER", OUTPUT_TEXT},
	{"online", "ONLINE", OUTPUT_TEXT}, {"match_index", "MATCH", OUTPUT_TEXT},
	{"address", "ADDRESS", OUTPUT_TEXT}};

int ops_member_list(struct invocation *inv)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc = ops_list(inv, "/v1/sys/members", &items);

	if (rc == 0) {
		output_rows(&inv->out, member_columns, ARRAY_SIZE(member_columns), items);
	}
	return rc;
}

int ops_node_of(struct invocation *inv, const char *text, uint64_t *ret_node)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc;

	if (u64_parse(bytes_str(text), INT64_MAX, ret_node) == 0 && *ret_node > 0) {
		return 0;
	}
	rc = ops_list(inv, "/v1/sys/members", &items);
	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		struct json_reader r = json_reader_of(json_array_get(items, i));

		if (strcmp(json_reader_string(&r, "site"), text) == 0) {
			*ret_node = json_reader_u64(&r, "node");
			return json_reader_end(&r, "member", &inv->err);
		}
	}
	return rc != 0 ? rc : err_set(&inv->err, KLUIS_ENOTFOUND, "no member '%s'", text);
}

/* --- waiting --- */

/* What must have come about; NULL fields do not matter. */
struct member_goal {
	uint64_t node;
	const char *role, *state;
	bool away;     /* It is no member any more. */
	uint64_t gone; /* Another one that must be away; 0: none. */
};

static const json_t *goal_row(const json_t *items, uint64_t node)
{
	const json_t *row;
	size_t i;

	json_array_foreach(items, i, row)
	{
		if (json_integer_value(json_object_get(row, "node")) == (json_int_t)node) {
			return row;
		}
	}
	return NULL;
}

static bool goal_text_is(const json_t *row, const char *name, const char *want)
{
	const char *text = json_string_value(json_object_get(row, name));

	return want == NULL || (text != NULL && strcmp(text, want) == 0);
}

static bool goal_reached(const struct member_goal *goal, const json_t *items)
{
	const json_t *row = goal_row(items, goal->node);

	if (goal->gone != 0 && goal_row(items, goal->gone) != NULL) {
		return false;
	}
	if (goal->away || row == NULL) {
		return goal->away && row == NULL;
	}
	return goal_text_is(row, "role", goal->role) && goal_text_is(row, "state", goal->state);
}

static void member_sleep(void)
{
	struct timespec time = {.tv_nsec = MEMBER_POLL_MS * 1000000L};

	(void)nanosleep(&time, NULL); /* An early wake only polls once more. */
}

/* The node that is asked may itself be one that goes: its silence ends nothing. */
static int member_wait(struct invocation *inv, const struct member_goal *goal, json_t **ret_items)
{
	uint64_t seconds, deadline_ms;
	int rc = invocation_number(inv, "timeout", MEMBER_WAIT_S, MEMBER_WAIT_MAX_S, &seconds);

	if (rc != 0) {
		return rc;
	}
	deadline_ms = clock_monotonic_ms(&clock_system) + seconds * 1000;
	for (;;) {
		json_decref(*ret_items);
		*ret_items = NULL;
		rc = ops_list(inv, "/v1/sys/members", ret_items);
		if (rc == 0 && goal_reached(goal, *ret_items)) {
			return 0;
		}
		if (clock_monotonic_ms(&clock_system) >= deadline_ms) {
			return rc != 0 ? rc
				       : err_set(&inv->err, KLUIS_EPARTIAL,
						 "not done after %" PRIu64
						 " s; it goes on, 'kluisctl member list' shows it",
						 seconds);
		}
		member_sleep();
	}
}

static int member_finish(struct invocation *inv, const struct member_goal *goal)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc;

	if (invocation_value(inv, "no-wait") != NULL) {
		return 0;
	}
	rc = member_wait(inv, goal, &items);
	if (items != NULL) {
		output_rows(&inv->out, member_columns, ARRAY_SIZE(member_columns), items);
	}
	return rc;
}

/* --- commands --- */

static int member_add_body(
	struct invocation *inv, uint64_t node, uint64_t replaces, json_t **ret_body)
{
	const char *site, *link, *incarnation;
	uint64_t weight;
	int rc = ops_needed(inv, "site", &site);

	rc = rc != 0 ? rc : ops_needed(inv, "link", &link);
	rc = rc != 0 ? rc : ops_needed(inv, "incarnation", &incarnation);
	rc = rc != 0 ? rc
		     : invocation_number(
			       inv, "weight", SERVER_WEIGHT_DEFAULT, SERVER_WEIGHT_MAX, &weight);
	if (rc != 0) {
		return rc;
	}
	*ret_body = json_pack("{s:I, s:s, s:s, s:s, s:I}", "node", (json_int_t)node, "site", site,
		"link", link, "incarnation", incarnation, "weight", (json_int_t)weight);
	if (replaces != 0) {
		(void)json_object_set_new(
			*ret_body, "replaces", json_integer((json_int_t)replaces));
	}
	return *ret_body != NULL ? 0 : err_set(&inv->err, KLUIS_EINVAL, "no UTF-8 text");
}

static int member_new_id(struct invocation *inv, const char *text, uint64_t *ret_node)
{
	return u64_parse(bytes_str(text), UINT32_MAX, ret_node) == 0 && *ret_node > 0
		       ? 0
		       : err_set(&inv->err, KLUIS_EINVAL, "'%s' is no node's number", text);
}

static int member_let_in(struct invocation *inv, uint64_t node, uint64_t replaces)
{
	struct member_goal goal = {.node = node, .state = "member", .gone = replaces};
	json_t *body = NULL;
	int rc = member_add_body(inv, node, replaces, &body);

	rc = rc != 0 ? rc : ops_call(inv, "POST", "/v1/sys/members", body, NULL);
	return rc != 0 ? rc : member_finish(inv, &goal);
}

int ops_member_add(struct invocation *inv)
{
	uint64_t node;
	int rc = member_new_id(inv, inv->args[0], &node);

	return rc != 0 ? rc : member_let_in(inv, node, 0);
}

int ops_member_replace(struct invocation *inv)
{
	uint64_t old, node;
	int rc = ops_node_of(inv, inv->args[0], &old);

	rc = rc != 0 ? rc : member_new_id(inv, inv->args[1], &node);
	return rc != 0 ? rc : member_let_in(inv, node, old);
}

/* goal->node is filled in here. */
static int member_want(struct invocation *inv, const char *what, struct member_goal *goal)
{
	_cleanup_(x_freep) char *target = NULL;
	int rc = ops_node_of(inv, inv->args[0], &goal->node);

	if (rc != 0) {
		return rc;
	}
	target = x_asprintf("/v1/sys/members/%" PRIu64 "/%s", goal->node, what);
	rc = ops_call(inv, "POST", target, NULL, NULL);
	return rc != 0 ? rc : member_finish(inv, goal);
}

int ops_member_promote(struct invocation *inv)
{
	struct member_goal goal = {.role = "voter"};

	return member_want(inv, "promote", &goal);
}

int ops_member_demote(struct invocation *inv)
{
	struct member_goal goal = {.role = "standby"};

	return member_want(inv, "demote", &goal);
}

int ops_member_drain(struct invocation *inv)
{
	struct member_goal goal = {.state = "drained"};

	return member_want(inv, "drain", &goal);
}

int ops_member_auto(struct invocation *inv)
{
	struct member_goal goal = {.state = "member"};

	return member_want(inv, "auto", &goal);
}

int ops_member_remove(struct invocation *inv)
{
	struct member_goal goal = {.away = true};

	if (!invocation_confirm(inv, "Remove it for good? Its id is never given again.")) {
		return inv->err.code;
	}
	return member_want(inv, "remove", &goal);
}

static int member_number(struct invocation *inv, const char *text, uint64_t max, uint64_t *ret)
{
	return u64_parse(bytes_str(text), max, ret) == 0
		       ? 0
		       : err_set(&inv->err, KLUIS_EINVAL, "'%s' is no number of 0 to %" PRIu64,
				 text, max);
}

int ops_member_weight(struct invocation *inv)
{
	_cleanup_(x_freep) char *target = NULL;
	uint64_t node, weight;
	int rc = ops_node_of(inv, inv->args[0], &node);

	rc = rc != 0 ? rc : member_number(inv, inv->args[1], SERVER_WEIGHT_MAX, &weight);
	if (rc != 0) {
		return rc;
	}
	target = x_asprintf("/v1/sys/members/%" PRIu64 "/weight", node);
	return ops_call(
		inv, "POST", target, json_pack("{s:I}", "weight", (json_int_t)weight), NULL);
}

int ops_member_voters(struct invocation *inv)
{
	uint64_t voters;
	int rc = member_number(inv, inv->args[0], VOTERS_MAX, &voters);

	return rc != 0 ? rc
		       : ops_call(inv, "POST", "/v1/sys/voters",
				 json_pack("{s:I}", "voters", (json_int_t)voters), NULL);
}
