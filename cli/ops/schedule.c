/* kluisctl backup schedule. */
#include <string.h>

#include "base/wire.h"
#include "cli/ops/ops.h"

static const struct output_column schedule_columns[] = {{"interval_ms", "Every", OUTPUT_MS},
	{"offset_ms", "Offset", OUTPUT_MS}, {"cluster_time", "Cluster time", OUTPUT_TIME},
	{"last_slot", "Newest cycle", OUTPUT_TIME}, {"taker", "Taken now by", OUTPUT_TEXT},
	{"next_slot", "Next cycle", OUTPUT_TIME}, {"next_from", "Claimed from", OUTPUT_TIME},
	{"next_order", "By the first of", OUTPUT_TEXT},
	{"state_reports", "State at the newest snapshot", OUTPUT_TEXT}};

static const char *schedule_site(const json_t *row)
{
	const char *site = json_string_value(json_object_get(row, "site"));

	return site == NULL || site[0] == 0 ? "?" : site;
}

static void schedule_taker(json_t *answer)
{
	const json_t *running = json_object_get(answer, "running");
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	if (json_is_object(running)) {
		const char *id = json_string_value(json_object_get(running, "id"));
		const char *state = json_string_value(json_object_get(running, "state"));

		buf_printf(&text, "%s (snapshot %s, %s)", schedule_site(running),
			id == NULL ? "?" : id, state == NULL ? "?" : state);
	} else {
		buf_put_str(&text, "nobody");
	}
	(void)json_object_set_new(answer, "taker", json_string(buf_str(&text)));
}

static void schedule_next(json_t *answer)
{
	const json_t *next = json_object_get(answer, "next"), *row;
	_cleanup_(buf_release) struct buf order = BUF_INIT;
	size_t i;

	if (!json_is_object(next)) {
		(void)json_object_set_new(
			answer, "next_order", json_string("nobody: there is no schedule"));
		return;
	}
	json_array_foreach(json_object_get(next, "order"), i, row)
	{
		buf_printf(&order, "%s%s", i == 0 ? "" : ", ", schedule_site(row));
	}
	(void)json_object_set(answer, "next_slot", json_object_get(next, "slot"));
	(void)json_object_set(answer, "next_from", json_object_get(next, "from"));
	(void)json_object_set_new(answer, "next_order",
		json_string(order.len == 0 ? "nobody: no node has a backup key" : buf_str(&order)));
}

/* Who has the same state: one group each, the first named first. */
static void schedule_reports(json_t *answer)
{
	const json_t *reports = json_object_get(json_object_get(answer, "agreement"), "reports");
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	const json_t *row, *other;
	size_t i, k;

	json_array_foreach(reports, i, row)
	{
		const char *hash = json_string_value(json_object_get(row, "state_hash"));
		bool first = true;

		for (k = 0; hash != NULL && k < json_array_size(reports); k++) {
			const char *its;

			other = json_array_get(reports, k);
			its = json_string_value(json_object_get(other, "state_hash"));
			if (its == NULL || strcmp(its, hash) != 0) {
				continue;
			}
			if (k < i) {
				break; /* Its group was told. */
			}
			if (first) {
				buf_printf(&text, "%s%.12s:", text.len == 0 ? "" : "; ", hash);
			}
			buf_printf(&text, "%s%s", first ? " " : ", ", schedule_site(other));
			first = false;
		}
	}
	(void)json_object_set_new(answer, "state_reports",
		json_string(text.len == 0 ? "no reports" : buf_str(&text)));
}

int ops_backup_schedule(struct invocation *inv)
{
	_cleanup_(json_dropp) json_t *answer = NULL;
	int rc = ops_call(inv, "GET", "/v1/sys/schedule", NULL, &answer);

	if (rc != 0) {
		return rc;
	}
	schedule_taker(answer);
	schedule_next(answer);
	schedule_reports(answer);
	output_record(&inv->out, schedule_columns, ARRAY_SIZE(schedule_columns), answer);
	return 0;
}
