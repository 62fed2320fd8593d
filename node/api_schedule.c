/* Operators look at the schedule of cycles. */
#include <string.h>

#include "backup/schedule.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/api_sys_view.h"
#include "node/backup_job.h"
#include "storage/report_store.h"

static json_t *node_json(struct api_call *call, const struct sys_view *view, uint64_t node)
{
	json_t *row = json_object();

	json_put(row, "node", json_make_number(node));
	json_put(row, "site", json_make_text(sys_site_of(call, view, node)));
	return row;
}

/* The claim that stands. */
static json_t *running_json(
	struct api_call *call, const struct sys_view *view, const struct schedule_facts *facts)
{
	for (size_t i = 0; i < facts->n_rows; i++) {
		const struct snapshot_row *row = &facts->rows[i];
		json_t *running;

		if (row->id != facts->state.claimed_id || row->state > SNAPSHOT_SHIPPED) {
			continue;
		}
		running = node_json(call, view, row->node);
		json_put(running, "id", json_sprintf("%llu", (unsigned long long)row->id));
		json_put(running, "state",
			json_make_text(row->state == SNAPSHOT_RUNNING ? "running" : "shipped"));
		json_put(running, "slot", json_make_number(row->slot));
		json_put(running, "claimed_until", json_make_number(row->claim_expires_ms));
		return running;
	}
	return json_null();
}

static json_t *next_json(
	struct api_call *call, const struct sys_view *view, const struct schedule_facts *facts)
{
	struct schedule_turn turn;
	json_t *next, *order;

	if (!schedule_look(facts, &turn)) {
		return json_null();
	}
	next = json_object();
	order = json_array();
	for (size_t i = 0; i < turn.n; i++) {
		(void)json_array_append_new(order, node_json(call, view, turn.order[i]));
	}
	json_put(next, "slot", json_make_number(turn.slot));
	json_put(next, "from", json_make_number(turn.from_ms));
	json_put(next, "turn_ms", json_make_number(turn.turn_ms));
	json_put(next, "order", order);
	return next;
}

/* Who reported which state as of the newest snapshot. */
static int agreement_json(struct api_call *call, const struct sys_view *view,
	const struct schedule_facts *facts, json_t **ret_json)
{
	struct report_row reports[SITES_MAX];
	const struct snapshot_row *newest = NULL;
	json_t *rows = json_array();
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; i < facts->n_rows; i++) {
		newest = facts->rows[i].index != 0 ? &facts->rows[i] : newest;
	}
	if (newest != NULL) {
		rc = report_store_at(call->view, KEY_HASH_REPORT, newest->index, reports, SITES_MAX,
			&n, &call->e);
	}
	for (size_t i = 0; rc == 0 && i < n; i++) {
		json_t *row = node_json(call, view, reports[i].node);

		json_put(row, "state_hash", json_make_hash(reports[i].hash));
		(void)json_array_append_new(rows, row);
	}
	*ret_json = json_object();
	json_put(
		*ret_json, "index", newest == NULL ? json_null() : json_make_number(newest->index));
	json_put(*ret_json, "reports", rows);
	return rc;
}

static int schedule_read(struct api_call *call, const struct sys_view *view,
	struct schedule_facts *facts, struct snapshot_row *rows)
{
	int rc = snapshot_store_list(
		call->view, 0, rows, SNAPSHOTS_KEPT + 1, &facts->n_rows, &call->e);

	facts->rows = rows;
	facts->leader = view->status.leader_id;
	facts->now_ms = call->now_ms;
	facts->rules = call->api->config.schedule;
	rc = rc != 0 ? rc : snapshot_store_state(call->view, &facts->state, &call->e);
	return rc != 0 ? rc
		       : backup_claim_nodes(call->view, facts->nodes, &facts->n_nodes, &call->e);
}

int sys_schedule_read(struct api_call *call)
{
	_cleanup_(x_freep) struct snapshot_row *rows = x_calloc(SNAPSHOTS_KEPT + 1, sizeof *rows);
	struct schedule_facts facts = {.n_rows = 0};
	struct sys_view view;
	json_t *body, *agreement;
	int rc = sys_view_get(call, &view);

	rc = rc != 0 ? rc : schedule_read(call, &view, &facts, rows);
	if (rc != 0) {
		return rc;
	}
	rc = agreement_json(call, &view, &facts, &agreement);
	if (rc != 0) {
		json_decref(agreement);
		return rc;
	}
	body = json_object();
	json_put(body, "interval_ms", json_make_number(facts.rules.interval_ms));
	json_put(body, "offset_ms", json_make_number(facts.rules.offset_ms));
	json_put(body, "cluster_time", json_make_number(call->now_ms));
	json_put(body, "last_slot",
		facts.state.last_slot == 0 ? json_null() : json_make_number(facts.state.last_slot));
	json_put(body, "running", running_json(call, &view, &facts));
	json_put(body, "next", next_json(call, &view, &facts));
	json_put(body, "agreement", agreement);
	call_json(call, 200, body);
	return 0;
}
