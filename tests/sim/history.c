/* What clients were told, against what there is: every proposal at most once, a refused one never,
 * and each vault one chain of versions in which no read goes back. */
#include <assert.h>
#include <string.h>

#include "raft/command.h"
#include "tests/sim/sim.h"

/* --- proposals --- */

static struct sim_proposal *proposals_find(const struct sim_proposals *table, uint64_t hash)
{
	size_t at = hash & (table->capacity - 1);

	while (table->slot[at].hash != 0 && table->slot[at].hash != hash) {
		at = (at + 1) & (table->capacity - 1);
	}
	return &table->slot[at];
}

static void proposals_grow(struct sim_proposals *table)
{
	struct sim_proposals bigger = {
		.n = table->n, .capacity = table->capacity == 0 ? 1024 : table->capacity * 2};

	bigger.slot = x_calloc(bigger.capacity, sizeof *bigger.slot);
	for (size_t i = 0; i < table->capacity; i++) {
		if (table->slot[i].hash != 0) {
			*proposals_find(&bigger, table->slot[i].hash) = table->slot[i];
		}
	}
	free(table->slot);
	*table = bigger;
}

static uint64_t proposal_hash(struct bytes command)
{
	uint64_t hash = sim_hash(17, command);

	return hash == 0 ? 1 : hash;
}

uint64_t history_proposed(struct sim *sim, struct bytes command)
{
	struct sim_proposals *table = &sim->proposals;
	uint64_t hash = proposal_hash(command);
	struct sim_proposal *proposal;

	if (2 * (table->n + 1) > table->capacity) {
		proposals_grow(table);
	}
	proposal = proposals_find(table, hash);
	assert(proposal->hash == 0); /* No other has these bytes. */
	proposal->hash = hash;
	table->n++;
	return hash;
}

void history_refused(struct sim *sim, uint64_t hash)
{
	struct sim_proposal *proposal;

	if (hash == 0) {
		return;
	}
	proposal = proposals_find(&sim->proposals, hash);
	assert(proposal->hash == hash);
	proposal->refused = true;
	if (proposal->at != 0) {
		sim_violate(sim, CHECK_ONCE, "a proposal is refused and stands at %llu",
			(unsigned long long)(proposal->at >> 16));
	}
}

static void history_item(struct sim *sim, struct bytes command, uint64_t at)
{
	struct sim_proposal *proposal = proposals_find(&sim->proposals, proposal_hash(command));

	if (proposal->hash == 0) {
		return;
	}
	if (proposal->refused) {
		sim_violate(sim, CHECK_ONCE, "a refused proposal stands at %llu",
			(unsigned long long)(at >> 16));
	} else if (proposal->at != 0) {
		sim_violate(sim, CHECK_ONCE, "a proposal stands at %llu.%u and %llu.%u",
			(unsigned long long)(proposal->at >> 16), (unsigned)(proposal->at & 0xffff),
			(unsigned long long)(at >> 16), (unsigned)(at & 0xffff));
	}
	proposal->at = at;
}

void history_entry(struct sim *sim, const struct entry *entry)
{
	struct payload payload;
	struct payload_item item;

	if (entry->type != ENTRY_COMMAND || sim->proposals.n == 0 ||
		payload_decode(entry_bytes(entry), &payload) != 0) {
		return;
	}
	for (uint64_t i = 0; payload_next(&payload, &item); i++) {
		history_item(sim, item.command, entry->index << 16 | i);
	}
}

/* --- vaults --- */

uint64_t history_head(const uint8_t hash[32])
{
	uint64_t head;

	memcpy(&head, hash, sizeof head);
	return head;
}

static struct sim_version *vault_version(struct sim_vault *vault, uint64_t seq)
{
	if (seq >= vault->n) {
		size_t n = (size_t)seq * 2 + 64;

		vault->version = x_realloc(vault->version, n * sizeof *vault->version);
		memset(vault->version + vault->n, 0, (n - vault->n) * sizeof *vault->version);
		vault->n = n;
	}
	return &vault->version[seq];
}

void history_sent(struct sim *sim, unsigned vault, unsigned session, uint64_t seq, uint64_t head)
{
	struct sim_version *version = vault_version(&sim->vault[vault], seq);

	assert(version->sent[session] == 0 || version->sent[session] == head);
	version->sent[session] = head;
}

/* One head at a seq, one that somebody asked for and was not told no. */
static void vault_shows(struct sim *sim, unsigned number, uint64_t seq, uint64_t head)
{
	struct sim_vault *vault = &sim->vault[number];
	struct sim_version *version = vault_version(vault, seq);
	unsigned writer = 0;

	while (writer < SIM_SESSIONS && version->sent[writer] != head) {
		writer++;
	}
	if (writer == SIM_SESSIONS || version->refused[writer]) {
		sim_violate(sim, CHECK_HISTORY, "vault %u: at %llu is what nobody %s", number,
			(unsigned long long)seq,
			writer == SIM_SESSIONS ? "wrote" : "was let write");
	} else if (version->shown != 0 && version->shown != head) {
		sim_violate(sim, CHECK_HISTORY, "vault %u: two versions at %llu", number,
			(unsigned long long)seq);
	}
	version->shown = head;
	if (seq > vault->visible) {
		vault->visible = seq;
	}
}

void history_accepted(
	struct sim *sim, unsigned vault, unsigned session, uint64_t seq, uint64_t head)
{
	assert(vault_version(&sim->vault[vault], seq)->sent[session] == head);
	vault_shows(sim, vault, seq, head);
}

void history_denied(struct sim *sim, unsigned number, unsigned session, uint64_t seq)
{
	struct sim_version *version = vault_version(&sim->vault[number], seq);

	sim->stats.lost_races++;
	version->refused[session] = true;
	if (version->sent[session] == version->shown) {
		sim_violate(sim, CHECK_HISTORY, "vault %u: a writer is denied what stands at %llu",
			number, (unsigned long long)seq);
	}
}

void history_read(struct sim *sim, unsigned vault, uint64_t seq, uint64_t head, uint64_t visible)
{
	if (seq < visible) {
		sim_violate(sim, CHECK_HISTORY,
			"vault %u: a read shows version %llu, %llu was known", vault,
			(unsigned long long)seq, (unsigned long long)visible);
	}
	if (seq > 0) {
		vault_shows(sim, vault, seq, head);
	}
}

void history_release(struct sim *sim)
{
	free(sim->proposals.slot);
	for (unsigned i = 0; i < SIM_VAULTS; i++) {
		free(sim->vault[i].version);
	}
}
