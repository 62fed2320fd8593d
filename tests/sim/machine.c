/* The real state machine over the in-memory store: a clone is what a flush, a checkpoint or a crash
 * leaves. */
#include "tests/sim/machine.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "raft/fsm.h"
#include "storage/key_codec.h"
#include "tests/lib/fixture/client.h"

struct machine {
	uint64_t node;
	struct kv *kv;
	struct fsm *fsm;
	struct fsm_results results;
	struct fsm_report report; /* The newest one due. */
	bool impure;
};

/* So often in the short logs of a seed. */
enum { MACHINE_REPORT_ENTRIES = 32 };

static struct machine *machine_over(struct kv *kv, uint64_t node)
{
	struct machine *machine = x_calloc(1, sizeof *machine);
	int rc;

	machine->node = node;
	machine->kv = kv;
	rc = fsm_new(kv, node, &machine->fsm, NULL);
	assert(rc == 0);
	fsm_set_report_entries(machine->fsm, MACHINE_REPORT_ENTRIES);
	return machine;
}

struct machine *machine_new(uint64_t node)
{
	return machine_over(kv_memory_new(), node);
}

void machine_free(struct machine *machine)
{
	if (machine != NULL) {
		fsm_free(machine->fsm);
		kv_close(machine->kv);
		fsm_results_release(&machine->results);
		free(machine);
	}
}

struct machine *machine_clone(const struct machine *machine, uint64_t node)
{
	return machine_over(kv_memory_clone(machine->kv), node);
}

const struct servers *machine_servers(const struct machine *machine)
{
	return fsm_servers(machine->fsm);
}

uint64_t machine_index(const struct machine *machine)
{
	return fsm_position(machine->fsm)->index;
}

uint64_t machine_term(const struct machine *machine)
{
	return fsm_position(machine->fsm)->term;
}

uint64_t machine_hash(const struct machine *machine)
{
	const struct position *position = fsm_position(machine->fsm);
	uint64_t hash;

	memcpy(&hash, position->state_hash, sizeof hash);
	return hash ^ position->cluster_time_ms ^ position->commands << 32;
}

/* Planted bug: one row too much, another at each node. */
static int machine_stain(struct machine *machine, uint64_t index)
{
	struct entry *entry;
	_cleanup_(buf_release) struct buf payload = BUF_INIT, command = BUF_INIT;
	struct fsm_results results = {0};
	int rc;

	machine_command_of(machine->node, index, &command);
	payload_begin(&payload, 0);
	payload_add(&payload, &(struct payload_item){.command = buf_bytes(&command)});
	entry = entry_copy(index, machine_term(machine), ENTRY_COMMAND, buf_bytes(&payload));
	rc = fsm_apply(machine->fsm, &entry, 1, &results, NULL);
	fsm_results_release(&results);
	entry_unref(entry);
	return rc;
}

static int machine_run(
	struct machine *machine, struct entry *const *entries, unsigned n, struct buf *done)
{
	int rc = fsm_apply(machine->fsm, entries, n, &machine->results, NULL);

	if (rc == 0 && machine->results.report_due) {
		machine->report = machine->results.report;
	}
	for (size_t i = 0; rc == 0 && i < machine->results.n; i++) {
		const struct fsm_result *result = &machine->results.result[i];
		struct machine_done item = {.index = result->index,
			.origin = result->origin,
			.boot = result->nonce,
			.seq = result->seq,
			.rc = result->rc};

		buf_append(done, &item, sizeof item);
	}
	return rc;
}

int machine_apply(
	struct machine *machine, struct entry *const *entries, unsigned n, struct buf *done)
{
	if (machine->impure && n == 1 && entries[0]->type == ENTRY_BARRIER) {
		return machine_stain(machine, entries[0]->index);
	}
	return machine_run(machine, entries, n, done);
}

bool machine_quarantined(const struct machine *machine)
{
	return machine->results.quarantined;
}

/* The position's row says something else than the rows beside it. */
void machine_shift(struct machine *machine, int by, uint64_t first, uint64_t last)
{
	struct position position = *fsm_position(machine->fsm);
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_POSITION);
	struct kv_change change;
	int rc;

	if ((by < 0 && position.index <= first) || (by > 0 && position.index >= last)) {
		return;
	}
	position.index = by < 0 ? position.index - 1 : position.index + 1;
	position_encode(&position, &value);
	change = (struct kv_change){.key = row_key_bytes(&key), .value = buf_bytes(&value)};
	rc = kv_write(machine->kv, &change, 1, NULL);
	assert(rc == 0);
	fsm_free(machine->fsm);
	rc = fsm_new(machine->kv, machine->node, &machine->fsm, NULL);
	assert(rc == 0);
	fsm_set_report_entries(machine->fsm, MACHINE_REPORT_ENTRIES);
}

void machine_set_impure(struct machine *machine, bool on)
{
	machine->impure = on;
}

/* --- commands --- */

static void command_account(struct command *command, uint64_t id, uint64_t salt, const char *name)
{
	*command = (struct command){.type = COMMAND_SERVICE_CREATE};
	command->service_create.actor = bytes_str("sim");
	command->service_create.name = bytes_str(name);
	memcpy(command->service_create.enrol_hash, &id, sizeof id);
	memcpy(command->service_create.enrol_hash + 8, &salt, sizeof salt);
	if (salt % 2 == 0) {
		command->service_create.once.key = bytes_str(name);
		memcpy(command->service_create.once.body_hash, &id, sizeof id);
	}
}

void machine_command_of(uint64_t node, uint64_t id, struct buf *to)
{
	struct command command;
	char name[32];

	(void)snprintf(name, sizeof name, "n%llu", (unsigned long long)node);
	command_account(&command, id, 1, name);
	command_encode(&command, to);
}

bool machine_report(struct machine *machine, struct buf *to)
{
	struct command command = {.type = COMMAND_HASH_REPORT};
	bool due = machine->report.index != 0;

	if (due) {
		command.hash_report.node = machine->node;
		command.hash_report.index = machine->report.index;
		memcpy(command.hash_report.hash, machine->report.hash, 32);
		command_encode(&command, to);
		machine->report.index = 0;
	}
	return due;
}

/* Never twice the same bytes, but sometimes the same idempotency key. */
void machine_command(struct random *random, uint64_t id, struct buf *to)
{
	struct command command;
	char name[32];
	uint64_t dice = random_below(random, 100);

	(void)snprintf(name, sizeof name, "a%llu", (unsigned long long)random_below(random, 24));
	if (id <= 2 || dice < 2) {
		fixture_cluster_init(to, 6);
		return;
	}
	if (dice < 60) {
		command_account(&command, id, random_below(random, 64), name);
	} else if (dice < 75) {
		command = (struct command){.type = COMMAND_SERVICE_DISABLE};
		command.service_disable.actor = bytes_str("sim");
		command.service_disable.name = bytes_str(name);
	} else if (dice < 85) {
		command = (struct command){.type = COMMAND_NODE_ANNOUNCE};
		command.node_announce.node = 1 + random_below(random, 6);
		command.node_announce.feature_level = 1;
		command.node_announce.site = command.node_announce.version = bytes_str(name);
	} else if (dice < 90) {
		command = (struct command){.type = COMMAND_EXPIRE};
		command.expire.max_rows = 8;
	} else {
		fixture_cluster_init(to, 6);
		return;
	}
	command_encode(&command, to);
}
