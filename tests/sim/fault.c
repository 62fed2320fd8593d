#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

struct sim_node *fault_leader(struct sim *sim)
{
	struct sim_node *leader = NULL;
	uint64_t term = 0;

	for (unsigned i = 1; i <= sim->ids; i++) {
		struct sim_node *node = sim->node[i];

		if (node->up) {
			struct driver_status status = driver_status(node->driver);

			if (status.role == DRIVER_LEADER && status.term > term) {
				leader = node;
				term = status.term;
			}
		}
	}
	return leader;
}

static struct sim_node *fault_victim(struct sim *sim)
{
	struct sim_node *leader = fault_leader(sim);
	struct sim_node *any = sim->node[1 + sim_random(sim, sim->ids)];

	return leader != NULL && sim_chance(sim, 300) ? leader : any;
}

static void fault_crash(struct sim *sim)
{
	struct sim_node *node = fault_victim(sim);
	enum crash_point point = (enum crash_point)sim_random(sim, FAIL_SYNC + 1);

	if (!node->up) {
		return;
	}
	if (point == CRASH_NEVER) {
		node_crash(node);
	} else {
		node->crash = point;
		node->crash_after = point == CRASH_AT_SEND ? (unsigned)sim_random(sim, 12) : 0;
	}
}

static void fault_all_crash(struct sim *sim)
{
	for (unsigned i = 1; i <= sim->ids; i++) {
		if (sim->node[i]->up && !sim_chance(sim, 200)) {
			node_crash(sim->node[i]);
		}
	}
}

static bool fault_without_data(const struct sim_node *node)
{
	return node->disk.lost || (node->up && driver_status(node->driver).rebuilding);
}

/* The data of a node is lost or in doubt, its log is not. The others have theirs. */
static void fault_data(struct sim *sim)
{
	struct sim_node *node = fault_victim(sim);
	unsigned without = 0;

	for (unsigned i = 1; i <= SIM_NODES; i++) {
		without += fault_without_data(sim->node[i]);
	}
	if (without >= VOTERS_MIN - 1 || fault_without_data(node)) {
		return;
	}
	if (node->up && sim_chance(sim, 500)) {
		node_rebuild(node);
		return;
	}
	if (node->up) {
		node_crash(node);
	}
	node_lose_data(node);
}

/* Two sides that do not hear each other. */
static void fault_split(struct sim *sim)
{
	uint64_t side = sim_random(sim, 1U << sim->ids);

	sim_say(sim, "split %llx", (unsigned long long)side);
	for (unsigned i = 1; i <= sim->ids; i++) {
		for (unsigned k = 1; k <= sim->ids; k++) {
			sim->link[i][k].blocked = ((side >> (i - 1)) ^ (side >> (k - 1))) & 1;
		}
	}
}

/* The leader hears nobody, and perhaps nobody hears it. */
static void fault_isolate(struct sim *sim)
{
	struct sim_node *leader = fault_leader(sim);
	bool deaf = sim_chance(sim, 300), mute = !deaf || sim_chance(sim, 500);

	if (leader == NULL) {
		return;
	}
	sim_say(sim, "isolate %u", leader->id);
	for (unsigned k = 1; k <= sim->ids; k++) {
		sim->link[leader->id][k].blocked |= mute;
		sim->link[k][leader->id].blocked |= deaf || sim_chance(sim, 700);
	}
}

static void fault_one_way(struct sim *sim)
{
	sim->link[1 + sim_random(sim, sim->ids)][1 + sim_random(sim, sim->ids)].blocked = true;
}

static void fault_join(struct sim *sim)
{
	for (unsigned i = 1; i <= sim->ids; i++) {
		for (unsigned k = 1; k <= sim->ids; k++) {
			sim->link[i][k].blocked = false;
		}
	}
}

/* Mostly small, sometimes longer than an election. */
static unsigned fault_scale(struct sim *sim, unsigned small, unsigned big, unsigned huge)
{
	unsigned dice = (unsigned)sim_random(sim, 100);

	return (unsigned)sim_random(sim, dice < 70 ? small : dice < 90 ? big : huge);
}

static void fault_weather(struct sim *sim)
{
	sim->loss = sim_chance(sim, 300) ? 0 : (unsigned)sim_random(sim, 150);
	sim->reconnect = (unsigned)sim_random(sim, 30);
	sim->jitter_ms = 2 + fault_scale(sim, 20, 300, 1500);
}

static void fault_disk(struct sim *sim)
{
	fault_victim(sim)->disk.latency_ms = 1 + fault_scale(sim, 10, 150, 2500);
}

static void fault_transfer(struct sim *sim)
{
	struct sim_node *leader = fault_leader(sim);
	uint64_t to = sim_chance(sim, 500) ? 0 : 1 + sim_random(sim, sim->ids);

	if (leader != NULL && to != leader->id && !node_paused(leader)) {
		leader->inside = true;
		if (driver_transfer(leader->driver, to) == 0) {
			sim->stats.transfers++;
		}
		node_after(leader);
	}
}

/* Moves one member by one step, if the leader's guards let it. */
static void fault_change(struct sim *sim)
{
	struct sim_node *leader = fault_leader(sim);
	struct configuration next;
	struct member *member;
	unsigned id = 1 + (unsigned)sim_random(sim, sim->ids);
	char site[16], address[32];
	int rc = 0;

	if (leader == NULL || node_paused(leader) || sim->plan != PLAN_MOVES) {
		return;
	}
	driver_configuration(leader->driver, &next);
	member = configuration_find(&next, id);
	leader->inside = true;
	if (member == NULL) {
		(void)snprintf(site, sizeof site, "s%u", id);
		(void)snprintf(address, sizeof address, "127.0.0.1:%u", 7000 + id);
		rc = configuration_add(&next, id, MEMBER_STANDBY, site, address);
	} else if (member->role == MEMBER_VOTER) {
		member->role = MEMBER_STANDBY;
	} else if (sim_chance(sim, 200)) {
		(void)configuration_remove(&next, id);
	} else {
		member->role = MEMBER_VOTER;
	}
	if (rc == 0 && driver_change(leader->driver, &next, NULL) == 0) {
		sim->stats.changes++;
		sim_say(sim, "node %u changes member %u", leader->id, id);
	}
	node_after(leader);
}

/* Stopped and gone on: it does not know that time went by. */
static void fault_pause(struct sim *sim)
{
	struct sim_node *node = fault_victim(sim);
	uint64_t ms = 200 + fault_scale(sim, 1000, 5000, 15000);
	uint64_t left_ms = sim->faults_end_ms - sim->now_ms;

	if (node->up && !node_paused(node)) {
		node_pause(node, ms < left_ms ? ms : left_ms);
	}
}

static unsigned fault_liars(const struct sim *sim)
{
	unsigned liars = 0;

	for (unsigned i = 1; i <= sim->ids; i++) {
		liars += sim->node[i]->clock.wall_offset_ms != 0;
	}
	return liars;
}

/* A wall clock is set wrong by up to two hours, or right; or a monotonic one jumps ahead, as a
 * machine's does that was frozen. */
static void fault_clock(struct sim *sim)
{
	struct sim_node *node = fault_victim(sim);
	struct sim_clock *clock = &node->clock;

	sim->stats.jumps++;
	if (sim_chance(sim, 300) && node->up && !node_paused(node)) {
		uint64_t ahead_ms = sim_random(sim, 5000);

		clock->base_ms += ahead_ms;
		sim->shifted_ms += ahead_ms;
		node->timer_at = 0; /* Due earlier now. */
		node_after(node);
	} else if (clock->wall_offset_ms != 0) {
		clock->wall_offset_ms = 0;
	} else if (fault_liars(sim) < SIM_LIARS_MAX) {
		clock->wall_offset_ms = (int64_t)sim_random(sim, 4 * 3600000) - 2 * 3600000;
	}
	sim_say(sim, "node %u: wall clock wrong by %lld ms", node->id,
		(long long)clock->wall_offset_ms);
}

/* Other files take the disk's room: first little is left, then perhaps none. */
static void fault_full(struct sim *sim)
{
	struct sim_disk *disk = &fault_victim(sim)->disk;

	sim->stats.full++;
	disk->low_until_ms = sim->now_ms + 1000 + sim_random(sim, 8000);
	disk->full_until_ms = sim_chance(sim, 400) ? disk->low_until_ms - sim_random(sim, 1000) : 0;
}

static const struct fault {
	void (*run)(struct sim *sim);
	unsigned weight;
} faults[] = {
	{fault_crash, 4},
	{fault_all_crash, 1},
	{fault_split, 2},
	{fault_isolate, 2},
	{fault_one_way, 2},
	{fault_join, 5},
	{fault_weather, 1},
	{fault_disk, 1},
	{fault_transfer, 1},
	{fault_change, 6},
	{fault_data, 1},
	{fault_pause, 1},
	{fault_clock, 1},
	{fault_full, 1},
};

void fault_event(struct sim *sim)
{
	unsigned total = 0, at;

	if (sim->healed || sim->plan == PLAN_DECLINE) {
		return; /* What is lost for good is enough. */
	}
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		total += faults[i].weight;
	}
	at = (unsigned)sim_random(sim, total);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		if (at < faults[i].weight) {
			faults[i].run(sim);
			break;
		}
		at -= faults[i].weight;
	}
	sim_push(sim, 20 + sim_random(sim, sim->election_ms), EVENT_FAULT, NULL, 0, NULL);
}

void fault_heal(struct sim *sim)
{
	sim_say(sim, "all faults end");
	sim->healed = true;
	fault_join(sim);
	sim->loss = sim->reconnect = 0;
	sim->jitter_ms = 10;
	for (unsigned i = 1; i <= sim->ids; i++) {
		sim->node[i]->crash = CRASH_NEVER;
		sim->node[i]->disk.latency_ms = 5;
		sim->node[i]->disk.low_until_ms = sim->node[i]->disk.full_until_ms = 0;
	}
}
