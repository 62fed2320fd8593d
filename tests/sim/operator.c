/* What operators do, and what the leader does for them: wishes, losses for good, new nodes under
 * new ids; and the roles that follow. Chances are drawn from a stream of their own. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "raft/command.h"
#include "tests/sim/sim.h"

enum {
	ROLES_EVERY_MS = 100,
	OPERATOR_GONE_ELECTIONS = 6, /* Silent for so many election timeouts: gone. */
	OPERATOR_VOTERS_MIN = 3,
};

static uint64_t operator_random(struct sim *sim, uint64_t bound)
{
	return random_below(&sim->operator_random.random, bound);
}

bool operator_keeps_roles(const struct sim *sim)
{
	return sim->plan == PLAN_OPERATOR || sim->plan == PLAN_DECLINE;
}

/* --- the leader's part --- */

void operator_roles_init(struct sim_node *node)
{
	struct roles_options options = {.gone_ms = OPERATOR_GONE_ELECTIONS * node->sim->election_ms,
		.steady_ms = 2 * node->sim->election_ms,
		.lead_ms = OPERATOR_GONE_ELECTIONS * node->sim->election_ms};

	roles_init(&node->roles, &options, node->id);
	if (operator_keeps_roles(node->sim)) {
		sim_push(node->sim, ROLES_EVERY_MS, EVENT_ROLES, node, 0, NULL);
	}
}

static void operator_propose(struct sim_node *node, const struct command *command)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;

	command_encode(command, &bytes);
	client_propose(node, buf_bytes(&bytes));
}

/* Before the members are written down: all say that they know how. */
static void operator_begin(struct sim_node *node)
{
	struct command announce = {.type = COMMAND_NODE_ANNOUNCE};
	struct command begin = {.type = COMMAND_SERVERS_BEGIN};
	struct command_servers_begin *first = &begin.servers_begin;

	for (uint64_t id = 1; id <= SIM_NODES && node->up; id++) {
		announce.node_announce.node = id;
		announce.node_announce.feature_level = FEATURE_LEVEL;
		operator_propose(node, &announce);
		first->server[first->n_servers].id = id;
		first->server[first->n_servers++].incarnation[0] = (uint8_t)id;
	}
	first->voters = (uint8_t)node->sim->voters;
	if (node->up) {
		operator_propose(node, &begin);
	}
}

static void operator_leads(struct sim_node *node)
{
	const struct servers *servers = machine_servers(node->machine);
	struct command command;
	bool due;

	if (servers->voters == 0) {
		operator_begin(node);
		return;
	}
	if (node->sim->options.bug == BUG_NO_ROLES) {
		return;
	}
	node->inside = true;
	due = roles_step(&node->roles, node->driver, servers,
		clock_monotonic_ms(&node->clock.clock), &command);
	node_after(node);
	if (due && node->up) {
		operator_propose(node, &command);
	}
}

/* As a real one does when it hears of it: it ends, and never comes back. */
static void operator_ends(struct sim_node *node)
{
	sim_say(node->sim, "node %u is no member any more", node->id);
	node->lost = true;
	node_crash(node);
}

void operator_roles(struct sim_node *node)
{
	struct sim *sim = node->sim;

	sim_push(sim, ROLES_EVERY_MS, EVENT_ROLES, node, 0, NULL);
	if (servers_removed(machine_servers(node->machine), node->id)) {
		operator_ends(node);
	} else if (driver_status(node->driver).ready) {
		operator_leads(node);
	}
}

bool operator_refused(struct sim *sim, struct sim_node *node, unsigned from)
{
	struct sim_node *peer = sim->node[from];

	if (!operator_keeps_roles(sim) || !servers_removed(machine_servers(node->machine), from)) {
		return false;
	}
	if (peer->up && !net_cut(sim, node->id, from)) {
		operator_ends(peer);
	}
	return true;
}

/* --- losses --- */

/* Whether the voters that are not lost stay a majority without id, of what the newest leader knows:
 * the operator asks no more of the cluster than it can give. Before that leader has noticed the
 * loss, it may give id the vote, if it is a standby, and then, or at once, take it from one more,
 * where the number of voters allows it. */
static bool operator_may_lose(struct sim *sim, unsigned id)
{
	struct sim_node *leader = fault_leader(sim);
	struct configuration now;
	unsigned voters = 0, left = 0, going;

	if (leader == NULL || driver_status(leader->driver).configuration_open != 0 ||
		!driver_status(leader->driver).ready) {
		return false;
	}
	driver_configuration(leader->driver, &now);
	for (unsigned i = 0; i < now.n; i++) {
		const struct member *member = &now.member[i];

		voters += member->role == MEMBER_VOTER || member->id == id;
		left += member->role == MEMBER_VOTER && !sim->node[member->id]->lost &&
			member->id != id;
	}
	going = voters > VOTERS_MIN;
	return left >= 2 + going && 2 * (left - going) > voters - going;
}

static void operator_lose(struct sim *sim, struct sim_node *node)
{
	sim_say(sim, "node %u is lost for good", node->id);
	sim->stats.losses++;
	node->lost = sim->options.bug != BUG_SAME_ID;
	if (node->up) {
		node_crash(node);
	}
	disk_release(&node->disk);
	disk_init(&node->disk, machine_new(node->id));
}

static bool operator_any_lost(const struct sim *sim, const struct configuration *now)
{
	for (unsigned i = 0; i < now->n; i++) {
		if (sim->node[now->member[i].id]->lost) {
			return true;
		}
	}
	return false;
}

/* The next loss when what the last one took is made up for. */
static void operator_decline(struct sim *sim)
{
	struct sim_node *leader = fault_leader(sim), *victim;
	struct configuration now;
	unsigned live[SIM_IDS], n = 0;

	if (leader == NULL || machine_servers(leader->machine)->voters == 0 ||
		!operator_settled(sim, NULL, 0)) {
		return;
	}
	driver_configuration(leader->driver, &now);
	for (unsigned i = 0; i < now.n; i++) {
		if (!sim->node[now.member[i].id]->lost) {
			live[n++] = (unsigned)now.member[i].id;
		}
	}
	victim = sim->node[operator_random(sim, 3) == 0 ? leader->id
							: live[operator_random(sim, n)]];
	if (operator_may_lose(sim, victim->id)) {
		operator_lose(sim, victim);
	}
}

/* --- wishes --- */

static struct sim_node *operator_at(struct sim *sim)
{
	struct sim_node *node = sim->node[1 + operator_random(sim, sim->ids)];

	return node->up && !node_paused(node) ? node : NULL;
}

/* A machine of its own, empty, that waits to be let in. */
static void operator_add(struct sim *sim, struct sim_node *at, uint64_t replaces)
{
	struct command command = {.type = COMMAND_SERVER_ADD};
	struct command_server_add *add = &command.server_add;
	char site[16], address[32];

	if (sim->ids == SIM_IDS) {
		return;
	}
	add->id = ++sim->ids;
	add->incarnation[0] = (uint8_t)add->id;
	add->weight = (uint32_t)operator_random(sim, 200);
	add->replaces = replaces;
	/* In the place of the other one, as if on the same machine, or elsewhere. */
	(void)snprintf(site, sizeof site, "s%u",
		(unsigned)(replaces != 0 && operator_random(sim, 2) == 0 ? replaces : add->id));
	(void)snprintf(address, sizeof address, "127.0.0.1:%u", 7000 + (unsigned)add->id);
	add->site = bytes_str(site);
	add->address = bytes_str(address);
	sim->stats.joins++;
	sim_say(sim, "node %llu comes, for %llu", (unsigned long long)add->id,
		(unsigned long long)replaces);
	node_start(sim->node[add->id]);
	buf_clear(&sim->operator_command);
	command_encode(&command, &sim->operator_command);
	client_propose(at, buf_bytes(&sim->operator_command));
}

static void operator_wish(struct sim *sim, struct sim_node *at)
{
	struct command command = {.type = COMMAND_SERVER_WISH};

	command.server_wish.id = 1 + operator_random(sim, sim->ids);
	command.server_wish.wish = (uint8_t)operator_random(sim, SERVER_WISH_MAX + 1);
	sim->stats.wishes++;
	operator_propose(at, &command);
}

static void operator_weight(struct sim *sim, struct sim_node *at)
{
	struct command command = {.type = COMMAND_SERVER_WEIGHT};

	command.server_weight.id = 1 + operator_random(sim, sim->ids);
	command.server_weight.weight = (uint32_t)operator_random(sim, 200);
	operator_propose(at, &command);
}

static void operator_voters(struct sim *sim, struct sim_node *at)
{
	struct command command = {.type = COMMAND_VOTERS_SET};

	command.voters_set.voters = (uint8_t)(OPERATOR_VOTERS_MIN + operator_random(sim, 4));
	operator_propose(at, &command);
}

/* Wiped, and replaced under a new id. */
static void operator_wipe(struct sim *sim, struct sim_node *at)
{
	struct sim_node *victim = sim->node[1 + operator_random(sim, sim->ids)];

	if (victim == at || victim->lost || sim->ids == SIM_IDS ||
		machine_servers(at->machine)->voters == 0 || !operator_may_lose(sim, victim->id)) {
		return;
	}
	operator_lose(sim, victim);
	if (at->up && victim->lost) {
		operator_add(sim, at, victim->id);
	}
}

static void operator_act(struct sim *sim)
{
	struct sim_node *at = operator_at(sim);
	uint64_t dice = operator_random(sim, 100);

	if (at == NULL) {
		return;
	}
	if (sim->operator_command.len > 0 && dice < 40) {
		/* The last one again, for it may be lost: a retry is no second one. */
		client_propose(at, buf_bytes(&sim->operator_command));
	} else if (dice < 55) {
		operator_wipe(sim, at);
	} else if (dice < 65 && machine_servers(at->machine)->voters != 0) {
		operator_add(sim, at, 0);
	} else if (dice < 85) {
		operator_wish(sim, at);
	} else if (dice < 93) {
		operator_weight(sim, at);
	} else {
		operator_voters(sim, at);
	}
}

/* In the calm a last addition is brought to its end: a machine that waits for nothing is no member.
 */
static void operator_retry(struct sim *sim)
{
	struct sim_node *at = operator_at(sim);

	if (at != NULL && sim->operator_command.len > 0) {
		client_propose(at, buf_bytes(&sim->operator_command));
	}
}

void operator_event(struct sim *sim)
{
	if (sim->plan == PLAN_DECLINE && !sim->healed) {
		operator_decline(sim);
	} else if (sim->plan == PLAN_OPERATOR && !sim->healed) {
		operator_act(sim);
	} else if (sim->plan == PLAN_OPERATOR && sim->now_ms < sim->faults_end_ms + 5000) {
		operator_retry(sim);
	}
	sim_push(sim, 100 + operator_random(sim, 1500), EVENT_OPERATOR, NULL, 0, NULL);
}

/* --- what must have come of it --- */

struct tally {
	unsigned voters, good, could, bad; /* bad: votes and should not. */
	uint64_t bad_id;
};

static struct tally operator_tally(
	const struct sim *sim, const struct configuration *now, const struct servers *servers)
{
	struct tally t = {0};

	for (unsigned i = 0; i < now->n; i++) {
		const struct member *member = &now->member[i];
		const struct server *server = servers_find(servers, member->id);
		bool may = server != NULL && server->row.wish <= SERVER_VOTER &&
			   !sim->node[member->id]->lost;
		bool votes = member->role == MEMBER_VOTER;

		t.voters += votes;
		t.good += votes && may;
		t.could += may;
		if (votes && !may) {
			t.bad++;
			t.bad_id = member->id;
		}
	}
	return t;
}

/* No row waits to be followed. */
static uint64_t operator_unfollowed(
	const struct sim *sim, const struct configuration *now, const struct servers *servers)
{
	for (unsigned i = 0; i < servers->n; i++) {
		const struct server_row *row = &servers->server[i].row;
		bool member = configuration_member(now, row->id) != NULL;
		const struct member *next = configuration_member(now, row->successor);
		bool waits = next != NULL && sim->node[next->id]->lost;

		if ((row->wish == SERVER_GONE && !waits) || (row->wish != SERVER_GONE && !member)) {
			return row->id;
		}
	}
	return 0;
}

bool operator_settled(struct sim *sim, char *why, size_t size)
{
	struct sim_node *leader = fault_leader(sim);
	const struct servers *servers;
	struct configuration now;
	uint64_t unfollowed;
	struct tally t;

	if (leader == NULL) {
		return false;
	}
	servers = machine_servers(leader->machine);
	if (servers->voters == 0) {
		return true; /* Too short a life. */
	}
	driver_configuration(leader->driver, &now);
	t = operator_tally(sim, &now, servers);
	unfollowed = operator_unfollowed(sim, &now, servers);
	if (t.bad > 0 && t.voters > VOTERS_MIN) {
		(void)snprintf(
			why, size, "node %llu votes and should not", (unsigned long long)t.bad_id);
		return false;
	}
	if (t.good < servers->voters && t.good < t.could) {
		(void)snprintf(why, size, "%u vote, %u are wanted, %u could", t.good,
			servers->voters, t.could);
		return false;
	}
	/* With three voters of which one is bad nobody can be let go of. */
	if (unfollowed != 0 && t.bad == 0) {
		(void)snprintf(why, size, "node %llu is not where its row wants it (%s)",
			(unsigned long long)unfollowed, leader->roles.waiting);
		return false;
	}
	return true;
}

void operator_end(struct sim *sim)
{
	char why[128] = "no leader";
	struct sim_node *leader = fault_leader(sim);
	struct configuration now;

	if (!operator_keeps_roles(sim)) {
		return;
	}
	if (!operator_settled(sim, why, sizeof why)) {
		sim_violate(sim, CHECK_MEMBERS, "%s", why);
	}
	if (sim->plan == PLAN_DECLINE && leader != NULL &&
		machine_servers(leader->machine)->voters != 0) {
		driver_configuration(leader->driver, &now);
		if (configuration_voters(&now) != VOTERS_MIN || !operator_any_lost(sim, &now)) {
			sim_violate(sim, CHECK_MEMBERS, "%u voters are configured at the end",
				configuration_voters(&now));
		}
	}
}
