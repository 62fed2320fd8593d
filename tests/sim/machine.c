/* The real state machine over the in-memory store: a clone is what a flush, a checkpoint or a crash
 * leaves. */
#include "tests/sim/machine.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "raft/fsm.h"
#include "storage/key_codec.h"
#include "storage/mfa_store.h"
#include "storage/page_store.h"
#include "storage/person_store.h"
#include "storage/vault_store.h"
#include "tests/lib/fixture/client.h"

struct machine {
	uint64_t node;
	struct kv *kv;
	struct fsm *fsm; /* NULL: nothing is applied to it, it is only kept. */
	struct position position;
	struct fsm_results results;
	bool impure;
};

/* So often in the short logs of a seed. */
enum { MACHINE_REPORT_ENTRIES = 32 };

static struct machine *machine_over(struct kv *kv, uint64_t node, const struct position *position)
{
	struct machine *machine = x_calloc(1, sizeof *machine);

	machine->node = node;
	machine->kv = kv;
	machine->position = *position;
	return machine;
}

struct machine *machine_new(uint64_t node)
{
	static const struct position nothing;

	return machine_over(kv_memory_new(), node, &nothing);
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
	return machine_over(kv_memory_clone(machine->kv), node, &machine->position);
}

void machine_live(struct machine *machine)
{
	int rc;

	assert(machine->fsm == NULL);
	rc = fsm_new(machine->kv, machine->node, &machine->fsm, NULL);
	assert(rc == 0);
	fsm_set_report_entries(machine->fsm, MACHINE_REPORT_ENTRIES);
	machine->position = *fsm_position(machine->fsm);
}

const struct servers *machine_servers(const struct machine *machine)
{
	assert(machine->fsm != NULL);
	return fsm_servers(machine->fsm);
}

uint64_t machine_index(const struct machine *machine)
{
	return machine->position.index;
}

uint64_t machine_term(const struct machine *machine)
{
	return machine->position.term;
}

uint64_t machine_hash(const struct machine *machine)
{
	const struct position *position = &machine->position;
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

int machine_apply(struct machine *machine, struct entry *const *entries, unsigned n)
{
	int rc;

	if (machine->impure && n == 1 && entries[0]->type == ENTRY_BARRIER) {
		machine->results.n = 0;
		machine->results.report_due = false;
		rc = machine_stain(machine, entries[0]->index);
	} else {
		rc = fsm_apply(machine->fsm, entries, n, &machine->results, NULL);
	}
	machine->position = *fsm_position(machine->fsm);
	return rc;
}

const struct fsm_results *machine_results(const struct machine *machine)
{
	return &machine->results;
}

const struct position *machine_position(const struct machine *machine)
{
	return &machine->position;
}

static void machine_pages(const struct kv_view *view, struct fixture_client *c)
{
	for (uint64_t i = 0; i < c->page_count && i < FIXTURE_PAGES_MAX; i++) {
		struct page_row row = {.revision = 0};
		int rc = page_store_get(view, c->vault_id, i, &row, NULL);

		assert(rc == 0 || rc == KLUIS_ENOTFOUND);
		c->revision[i] = row.revision;
	}
}

bool machine_vault(const struct machine *machine, struct fixture_client *c, bool pages)
{
	struct kv_view *view = kv_view_new(machine->kv);
	struct vault_row row;
	int rc = vault_store_get(view, c->vault_id, &row, NULL);

	assert(rc == 0 || rc == KLUIS_ENOTFOUND);
	if (rc == 0) {
		c->seq = row.seq;
		c->page_count = row.page_count;
		c->key_epoch = row.key_epoch;
		memcpy(c->head_hash, row.head_hash, sizeof c->head_hash);
		if (pages) {
			machine_pages(view, c);
		}
	}
	kv_view_free(view);
	return rc == 0;
}

bool machine_person(const struct machine *machine, const uint8_t user_id[16], uint8_t factor,
	struct person_row *ret_person, struct mfa_row *ret_factor)
{
	const uint8_t mfa_id[16] = {factor};
	struct kv_view *view = kv_view_new(machine->kv);
	int rc = person_store_get(view, user_id, ret_person, NULL), found;

	*ret_factor = (struct mfa_row){.next = 0};
	found = mfa_store_get(view, user_id, mfa_id, ret_factor, NULL);
	kv_view_free(view);
	assert((rc == 0 || rc == KLUIS_ENOTFOUND) && (found == 0 || found == KLUIS_ENOTFOUND));
	return rc == 0;
}

bool machine_quarantined(const struct machine *machine)
{
	return machine->results.quarantined;
}

/* The position's row says something else than the rows beside it. */
void machine_shift(struct machine *machine, int by, uint64_t first, uint64_t last)
{
	struct position position = machine->position;
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
	machine->fsm = NULL;
	machine_live(machine);
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

/* Sometimes the same idempotency key with other bytes. */
bool machine_command(struct random *random, uint64_t id, uint32_t level, struct buf *to)
{
	struct command command;
	char name[32];
	uint64_t dice = random_below(random, 100);

	(void)snprintf(name, sizeof name, "a%llu", (unsigned long long)random_below(random, 24));
	if (id <= 2 || dice < 2) {
		fixture_cluster_init(to, 6);
		return false;
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
		command.node_announce.feature_level = level;
		command.node_announce.site = command.node_announce.version = bytes_str(name);
	} else if (dice < 90) {
		command = (struct command){.type = COMMAND_EXPIRE};
		command.expire.max_rows = 8;
	} else {
		fixture_cluster_init(to, 6);
		return false;
	}
	command_encode(&command, to);
	return command.type == COMMAND_SERVICE_CREATE;
}
