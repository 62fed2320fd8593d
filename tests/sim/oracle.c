#include <string.h>

#include "tests/sim/sim.h"

/* What is 0 stands for "not known yet". */
static uint64_t fact_value(uint64_t hash)
{
	return hash == 0 ? 1 : hash;
}

static struct sim_fact *oracle_fact(struct sim *sim, uint64_t index)
{
	struct sim_oracle *oracle = &sim->oracle;

	if (index >= oracle->facts) {
		size_t facts = (size_t)index * 2 + 1024;

		oracle->fact = x_realloc(oracle->fact, facts * sizeof *oracle->fact);
		memset(oracle->fact + oracle->facts, 0,
			(facts - oracle->facts) * sizeof *oracle->fact);
		oracle->facts = facts;
	}
	return &oracle->fact[index];
}

enum { ORACLE_TERMS_MAX = 1 << 20 }; /* Later ones come of damaged messages alone. */

static uint64_t *oracle_row(uint64_t **row, size_t *n, uint64_t term)
{
	static uint64_t none;

	if (term >= ORACLE_TERMS_MAX) {
		none = 0;
		return &none;
	}
	if (term >= *n) {
		size_t more = (size_t)term * 2 + 64;

		*row = x_realloc(*row, more * sizeof **row);
		memset(*row + *n, 0, (more - *n) * sizeof **row);
		*n = more;
	}
	return *row + term;
}

void oracle_vote(struct sim *sim, uint64_t node, uint64_t term, uint64_t vote)
{
	uint64_t *seen = oracle_row(&sim->oracle.vote[node], &sim->oracle.votes[node], term);

	if (vote != 0 && *seen != 0 && *seen != vote) {
		sim_violate(sim, CHECK_VOTE, "node %llu votes for %llu and %llu in term %llu",
			(unsigned long long)node, (unsigned long long)*seen,
			(unsigned long long)vote, (unsigned long long)term);
	}
	if (vote != 0) {
		*seen = vote;
	}
}

void oracle_leader(struct sim *sim, uint64_t node, uint64_t term)
{
	uint64_t *seen = oracle_row(&sim->oracle.leader, &sim->oracle.leaders, term);

	if (*seen != 0 && *seen != node) {
		sim_violate(sim, CHECK_LEADER, "two leaders in term %llu: %llu and %llu",
			(unsigned long long)term, (unsigned long long)*seen,
			(unsigned long long)node);
	}
	*seen = node;
}

uint64_t oracle_entry_hash(const struct entry *entry)
{
	return fact_value(
		sim_hash(entry->term * 4 + entry->type + entry->index * 31, entry_bytes(entry)));
}

void oracle_applied(struct sim *sim, uint64_t node, const struct entry *entry)
{
	struct sim_fact *fact = oracle_fact(sim, entry->index);
	uint64_t hash = oracle_entry_hash(entry);

	if (fact->entry != 0 && fact->entry != hash) {
		sim_violate(sim, CHECK_ENTRY, "two entries at index %llu (node %llu, term %llu)",
			(unsigned long long)entry->index, (unsigned long long)node,
			(unsigned long long)entry->term);
	}
	if (fact->acked != 0 && fact->acked != hash) {
		sim_violate(sim, CHECK_ACKED,
			"acknowledged write at index %llu is lost (node %llu)",
			(unsigned long long)entry->index, (unsigned long long)node);
	}
	if (fact->entry == 0) {
		history_entry(sim, entry);
	}
	fact->entry = hash;
	if (entry->type == ENTRY_CONFIGURATION) {
		fact->members = fact_value(sim_hash(0, entry_bytes(entry)));
	}
}

void oracle_snapshot(struct sim *sim, uint64_t node, const struct driver_snapshot *snapshot)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	uint64_t at = snapshot->index;

	configuration_encode(&snapshot->configuration, &bytes);
	while (at > 0 && oracle_fact(sim, at)->members == 0) {
		at--;
	}
	if (snapshot->configuration_index != at ||
		oracle_fact(sim, at)->members != fact_value(sim_hash(0, buf_bytes(&bytes)))) {
		sim_violate(sim, CHECK_SNAPSHOT,
			"node %llu: a snapshot of %llu does not name the members of entry %llu",
			(unsigned long long)node, (unsigned long long)snapshot->index,
			(unsigned long long)at);
	}
}

void oracle_state(struct sim *sim, uint64_t node, uint64_t index, uint64_t hash)
{
	struct sim_fact *fact = oracle_fact(sim, index);

	hash = fact_value(hash);
	if (fact->hash != 0 && fact->hash != hash) {
		sim_violate(sim, CHECK_STATE, "two states at index %llu (node %llu)",
			(unsigned long long)index, (unsigned long long)node);
	}
	fact->hash = hash;
}

void oracle_acked(struct sim *sim, uint64_t index, uint64_t entry_hash)
{
	struct sim_oracle *oracle = &sim->oracle;
	struct sim_fact *fact = oracle_fact(sim, index);

	oracle->acked_n++;
	sim->stats.acked++;
	if ((fact->acked != 0 && fact->acked != entry_hash) ||
		(fact->entry != 0 && fact->entry != entry_hash)) {
		sim_violate(sim, CHECK_ACKED, "acknowledged write at index %llu is another's",
			(unsigned long long)index);
	}
	fact->acked = entry_hash;
	if (index > oracle->acked_max) {
		oracle->acked_max = index;
	}
	if (index > oracle->visible_max) {
		oracle->visible_max = index;
	}
}

void oracle_read(struct sim *sim, uint64_t node, uint64_t visible_at_start, uint64_t served)
{
	sim->stats.reads++;
	if (served < visible_at_start) {
		sim_violate(sim, CHECK_READ,
			"stale read at node %llu: shows %llu, began after %llu",
			(unsigned long long)node, (unsigned long long)served,
			(unsigned long long)visible_at_start);
	}
	if (served > sim->oracle.visible_max) {
		sim->oracle.visible_max = served;
	}
}

void oracle_clock(struct sim *sim, uint64_t node, uint64_t before_ms, uint64_t now_ms)
{
	uint64_t latest_ms = SIM_WALL_MS + sim->now_ms + SIM_CLOCK_SLACK_MS + sim->shifted_ms;

	if (now_ms < before_ms) {
		sim_violate(sim, CHECK_CLOCK, "cluster time goes back at node %llu",
			(unsigned long long)node);
	} else if (now_ms > latest_ms) {
		sim_violate(sim, CHECK_CLOCK, "cluster time is %llu ms ahead of true time",
			(unsigned long long)(now_ms - SIM_WALL_MS - sim->now_ms));
	}
}

/* NULL, or the first member of the leader's configuration that has not all that was acknowledged.
 */
static struct sim_node *oracle_behind(struct sim *sim, const struct sim_node *leader)
{
	struct configuration configuration;

	driver_configuration(leader->driver, &configuration);
	for (unsigned i = 0; i < configuration.n; i++) {
		struct sim_node *node = sim->node[configuration.member[i].id];

		if (node->lost) {
			continue;
		}
		if (!node->up || machine_index(node->machine) < sim->oracle.acked_max ||
			machine_index(node->machine) < machine_index(leader->machine)) {
			return node;
		}
	}
	return NULL;
}

bool oracle_converged(struct sim *sim)
{
	struct sim_node *leader = fault_leader(sim);

	return leader != NULL && oracle_behind(sim, leader) == NULL;
}

void oracle_end(struct sim *sim)
{
	struct sim_node *leader = fault_leader(sim), *behind;

	if (!sim->progressed) {
		sim_violate(sim, CHECK_LIVENESS,
			"no write was acknowledged within %d ms of the end of all faults",
			SIM_LIVENESS_MS);
	} else if (leader == NULL) {
		sim_violate(sim, CHECK_CONVERGED, "no leader at the end");
	} else if ((behind = oracle_behind(sim, leader)) != NULL) {
		sim_violate(sim, CHECK_CONVERGED, "node %u stands at %llu, acknowledged is %llu",
			behind->id,
			(unsigned long long)(behind->up ? machine_index(behind->machine) : 0),
			(unsigned long long)sim->oracle.acked_max);
	} else {
		person_end(sim, leader->machine);
	}
	operator_end(sim);
}

void oracle_release(struct sim_oracle *oracle)
{
	free(oracle->fact);
	free(oracle->leader);
	for (unsigned i = 0; i <= SIM_IDS; i++) {
		free(oracle->vote[i]);
	}
}
