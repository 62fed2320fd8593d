/* kluis agent [lock|stop|status] */
#include "cli/client/agent.h"

#include <inttypes.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/agent/server.h"
#include "cli/agent/start.h"
#include "cli/client/json_reader.h"
#include "cli/vault/app.h"

int app_idle_ms(struct invocation *inv, uint64_t otherwise_ms, uint64_t *ret_ms)
{
	uint64_t seconds;
	int rc = invocation_number(
		inv, "lock-after", otherwise_ms / 1000, AGENT_IDLE_MS_MAX / 1000, &seconds);

	if (rc == 0 && seconds == 0 && otherwise_ms != 0) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "--lock-after takes at least one second");
	}
	if (rc == 0) {
		*ret_ms = seconds * 1000;
	}
	return rc;
}

static void agent_ready(void *arg)
{
	struct invocation *inv = arg;

	(void)fprintf(inv->out.data, "ready\n");
	(void)fflush(inv->out.data);
}

int app_agent(struct invocation *inv)
{
	_cleanup_(x_freep) char *dir = app_profile_dir(inv);
	struct server_config config = {.profile_dir = dir, .ready = agent_ready, .arg = inv};
	int rc;

	if (dir == NULL) {
		return KLUIS_EINVAL;
	}
	rc = app_idle_ms(inv, AGENT_IDLE_MS_DEFAULT, &config.idle_ms);
	if (rc != 0) {
		return rc;
	}
	return invocation_value(inv, "foreground") != NULL
		       ? server_run(&config, &inv->err)
		       : agent_start(dir, NULL, config.idle_ms, &inv->err);
}

/* One that does not run holds nothing: what was asked for is so. */
static int agent_tell(struct invocation *inv, int (*tell)(struct agent *agent, struct err *e))
{
	_cleanup_(x_freep) char *dir = app_profile_dir(inv);
	_cleanup_(agent_freep) struct agent *agent = NULL;
	int rc;

	if (dir == NULL) {
		return KLUIS_EINVAL;
	}
	agent = agent_new(dir);
	rc = tell(agent, &inv->err);
	if (rc == KLUIS_ENOTFOUND) {
		inv->err = (struct err){0};
		output_note(&inv->out, "No agent runs.");
		rc = 0;
	}
	return rc;
}

int app_agent_lock(struct invocation *inv)
{
	return agent_tell(inv, agent_lock);
}

int app_agent_stop(struct invocation *inv)
{
	return agent_tell(inv, agent_stop);
}

static json_t *status_record(const struct agent_status *status)
{
	if (status == NULL) {
		return json_pack("{s:s}", "state", "none");
	}
	if (!status->unlocked) {
		return json_pack("{s:s, s:I, s:I}", "state", "locked", "pid",
			(json_int_t)status->pid, "idle_ms", (json_int_t)status->idle_ms);
	}
	return json_pack("{s:s, s:I, s:I, s:I, s:s, s:o, s:o, s:I, s:b}", "state", "unlocked",
		"pid", (json_int_t)status->pid, "idle_ms", (json_int_t)status->idle_ms, "left_ms",
		(json_int_t)status->left_ms, "account", status->account, "user_id",
		json_hex(bytes_of(status->user_id, ID_BYTES)), "device_id",
		json_hex(bytes_of(status->device_id, ID_BYTES)), "keys",
		(json_int_t)status->n_items, "memory_locked", status->memory_locked);
}

int app_agent_status(struct invocation *inv)
{
	static const struct output_column columns[] = {{"state", "State", OUTPUT_TEXT},
		{"account", "Account", OUTPUT_TEXT}, {"user_id", "User", OUTPUT_TEXT},
		{"device_id", "Device", OUTPUT_TEXT}, {"left_ms", "Locks in", OUTPUT_MS},
		{"idle_ms", "When idle for", OUTPUT_MS}, {"keys", "Keys held", OUTPUT_TEXT},
		{"memory_locked", "In locked memory", OUTPUT_TEXT},
		{"pid", "Process", OUTPUT_TEXT}};
	_cleanup_(x_freep) char *dir = app_profile_dir(inv);
	_cleanup_(agent_freep) struct agent *agent = NULL;
	struct agent_status status;
	json_t *record;
	int rc;

	if (dir == NULL) {
		return KLUIS_EINVAL;
	}
	agent = agent_new(dir);
	rc = agent_status(agent, &status, &inv->err);
	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	inv->err = (struct err){0};
	record = status_record(rc == 0 ? &status : NULL);
	output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
	return 0;
}
