/* Clients of the real proposer and reader: commands of nobody in particular, those of sessions, and
 * linearizable reads, at any node. */
#include <assert.h>
#include <string.h>

#include "raft/command.h"
#include "raft/replica_impl.h"
#include "tests/sim/sim.h"

enum { CLIENT_PATIENCE_MS = 5000 };

/* --- writes --- */

struct sim_write {
	struct propose propose;
	struct sim_node *node;
	struct sim_session *session; /* NULL: of nobody in particular. */
	uint64_t attempt, since_ms, proposal;
	bool of_person;
	unsigned person_client;
};

/* The client hears that it was applied. */
static void write_acked(struct sim_write *write, uint64_t index)
{
	struct sim_node *node = write->node;
	struct sim *sim = node->sim;
	bool early = sim->options.bug == BUG_ACK_BEFORE_QUORUM && index == node->appended_index;

	sim_say(sim, "node %u acknowledges %llu", node->id, (unsigned long long)index);
	oracle_acked(sim, index, early ? node->appended_hash : sim->oracle.fact[index].entry);
	if (sim->healed && write->since_ms >= sim->faults_end_ms && !sim->progressed) {
		sim->progressed = true;
		sim->progressed_ms = sim->now_ms;
	}
}

static void write_cb(struct propose *req, int rc)
{
	struct sim_write *write = CONTAINER_OF(req, struct sim_write, propose);
	struct sim *sim = write->node->sim;

	if (!write->node->ending) {
		if (req->index != 0) {
			write_acked(write, req->index);
		} else if (rc == KLUIS_EUNKNOWN_OUTCOME) {
			sim->stats.unknown++;
		} else {
			sim->stats.refused++;
			history_refused(sim, write->proposal);
		}
		if (write->session != NULL && rc != KLUIS_EUNKNOWN_OUTCOME) {
			session_answer(sim, write->session, write->attempt, req->index, rc);
		}
		if (write->of_person && rc != KLUIS_EUNKNOWN_OUTCOME) {
			person_answer(sim, write->person_client, write->attempt, req, rc);
		}
	}
	free(write);
}

static struct sim_write *write_new(struct sim_node *node)
{
	struct sim_write *write = x_calloc(1, sizeof *write);

	write->node = node;
	write->since_ms = node->sim->now_ms;
	return write;
}

void client_propose(struct sim_node *node, struct bytes command)
{
	front_propose(node, &write_new(node)->propose, command, CLIENT_PATIENCE_MS, write_cb);
	node_after(node);
}

static void client_noise(struct sim_node *node)
{
	_cleanup_(buf_release) struct buf command = BUF_INIT;
	struct sim *sim = node->sim;
	struct sim_write *write = write_new(node);
	uint32_t level = sim->person == NULL ? 1 : FEATURE_LEVEL;
	bool alone = machine_command(&sim->random.random, ++sim->command_id, level, &command);

	if (sim_random(sim, 100) < sim->big_percent) {
		buf_put_zeros(&command, (size_t)sim_random(sim, 20000));
	}
	if (alone) {
		write->proposal = history_proposed(sim, buf_bytes(&command));
	}
	front_propose(node, &write->propose, buf_bytes(&command), CLIENT_PATIENCE_MS, write_cb);
	node_after(node);
}

static void client_session(struct sim *sim, struct sim_node *node)
{
	struct sim_session *session = &sim->session[sim_random(sim, SIM_SESSIONS)];
	struct sim_write *write;
	uint64_t attempt = session->attempt;

	session_run(sim, session, node);
	if (session->attempt == attempt) {
		return;
	}
	write = write_new(node);
	write->session = session;
	write->attempt = session->attempt;
	front_propose(
		node, &write->propose, buf_bytes(&session->command), CLIENT_PATIENCE_MS, write_cb);
	node_after(node);
}

static void client_person(struct sim *sim, struct sim_node *node)
{
	unsigned number = (unsigned)sim_random(sim, SIM_PERSON_CLIENTS);
	struct sim_write *write;
	uint64_t attempt = 0;
	struct bytes command = person_run(sim, number, node, &attempt);

	if (command.len == 0) {
		return;
	}
	write = write_new(node);
	write->of_person = true;
	write->person_client = number;
	write->attempt = attempt;
	front_propose(node, &write->propose, command, CLIENT_PATIENCE_MS, write_cb);
	node_after(node);
}

/* --- reads --- */

struct sim_read {
	struct read_index read;
	struct applied_wait wait;
	struct sim_node *node;
	uint64_t visible;	     /* What it must show at least. */
	struct sim_session *session; /* Whose vault it shows; NULL: none. */
	uint64_t vault_visible;
};

static void read_serve(struct sim_read *read)
{
	struct sim_node *node = read->node;
	struct sim *sim = node->sim;
	struct fixture_client seen;

	sim_say(sim, "node %u serves a read at %llu", node->id,
		(unsigned long long)machine_index(node->machine));
	oracle_read(sim, node->id, read->visible, machine_index(node->machine));
	if (read->session == NULL) {
		return;
	}
	sim->stats.vault_reads++;
	seen = read->session->client;
	seen.seq = 0;
	(void)machine_vault(node->machine, &seen, read->session->stale);
	history_read(sim, read->session->vault, seen.seq, history_head(seen.head_hash),
		read->vault_visible);
	if (seen.seq > 0) {
		session_read(read->session, &seen);
	}
}

static void read_cb(struct read_index *req, int rc)
{
	struct sim_read *read = CONTAINER_OF(req, struct sim_read, read);

	if (rc == 0 && !read->node->ending) {
		read_serve(read);
	}
	free(read);
}

static void wait_cb(struct applied_wait *req, int rc)
{
	struct sim_read *read = CONTAINER_OF(req, struct sim_read, wait);

	if (rc == 0 && !read->node->ending) {
		read_serve(read);
	}
	free(read);
}

/* Planted bugs: a leader, or who follows one, answers at once. */
static bool read_short_cut(struct sim_node *node)
{
	uint64_t now_ms = clock_monotonic_ms(&node->clock.clock);

	switch (node->sim->options.bug) {
	case BUG_STALE_LEADER_READ:
		return driver_leader(node->driver) == node->id;
	case BUG_FOLLOWER_READ:
		return driver_leader(node->driver) != node->id;
	case BUG_LEASE_READ: /* A lease of an election timeout since a quorum last answered. */
		return driver_leader(node->driver) == node->id &&
		       driver_contact(node->driver).ms + node->sim->election_ms > now_ms;
	default:
		return false;
	}
}

static void client_read(struct sim *sim, struct sim_node *node)
{
	struct sim_read *read = x_calloc(1, sizeof *read);
	bool waits = sim_chance(sim, 150);

	read->node = node;
	read->visible = sim->oracle.visible_max;
	if (sim_chance(sim, 700)) {
		read->session = &sim->session[sim_random(sim, SIM_SESSIONS)];
		read->vault_visible = sim->vault[read->session->vault].visible;
	}
	if (read_short_cut(node)) {
		read_serve(read);
		free(read);
	} else if (waits) { /* Knows the index of the newest answer, as after its own write. */
		front_wait(node, &read->wait, read->visible, CLIENT_PATIENCE_MS, wait_cb);
	} else {
		front_read(node, &read->read, CLIENT_PATIENCE_MS, read_cb);
	}
	node_after(node);
}

/* --- all --- */

void client_event(struct sim *sim)
{
	struct sim_node *node = sim->node[1 + sim_random(sim, sim->ids)];

	if (sim->progressed && sim->now_ms > sim->progressed_ms + SIM_LOAD_AFTER_MS) {
		return;
	}
	sim_push(sim, 1 + sim_random(sim, sim->client_gap_ms * 2ULL), EVENT_CLIENT, NULL, 0, NULL);
	if (!node->up || node_paused(node)) {
		return;
	}
	if (sim->person != NULL && sim_chance(sim, 200)) {
		client_person(sim, node);
	} else if (sim_chance(sim, 300)) {
		client_read(sim, node);
	} else if (sim_chance(sim, 500)) {
		client_noise(node);
	} else {
		client_session(sim, node);
	}
}
