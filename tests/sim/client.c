#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "raft/command.h"
#include "tests/sim/sim.h"

enum {
	CLIENT_PATIENCE_MS = 5000,
	PROPOSALS_PER_ENTRY = 16,
};

/* --- waiters --- */

static bool waiter_take(struct sim_node *node, uint64_t seq, uint64_t *ret_since_ms)
{
	for (struct sim_waiter **at = &node->waiters; *at != NULL; at = &(*at)->next) {
		struct sim_waiter *waiter = *at;

		if (waiter->seq == seq) {
			*ret_since_ms = waiter->since_ms;
			*at = waiter->next;
			free(waiter);
			return true;
		}
	}
	return false;
}

static void waiters_expire(struct sim_node *node, uint64_t before_ms)
{
	struct sim_waiter **at = &node->waiters;

	while (*at != NULL) {
		struct sim_waiter *waiter = *at;

		if (waiter->since_ms < before_ms) {
			node->sim->stats.unknown++;
			*at = waiter->next;
			free(waiter);
		} else {
			at = &waiter->next;
		}
	}
}

/* The client hears that its write is done. */
static void client_ack(
	struct sim_node *node, uint64_t seq, uint64_t index, uint64_t entry_hash, int rc)
{
	struct sim *sim = node->sim;
	uint64_t since_ms;

	if (!waiter_take(node, seq, &since_ms)) {
		return;
	}
	sim_say(sim, "node %u acknowledges %llu", node->id, (unsigned long long)index);
	oracle_acked(sim, index, entry_hash);
	session_answer(sim, node, seq, rc);
	if (sim->healed && since_ms >= sim->faults_end_ms && !sim->progressed) {
		sim->progressed = true;
		sim->progressed_ms = sim->now_ms;
	}
}

void client_applied(struct sim_node *node, const struct machine_done *done)
{
	if (done->origin == node->id && done->boot == node->boot) {
		client_ack(node, done->seq, done->index, node->sim->oracle.fact[done->index].entry,
			done->rc);
	}
}

/* --- proposals --- */

static void proposal_free(struct sim_proposal *proposal)
{
	buf_release(&proposal->command);
	free(proposal);
}

static void client_enqueue(
	struct sim_node *node, uint64_t origin, uint64_t boot, uint64_t seq, struct bytes command)
{
	struct sim_proposal *proposal = x_calloc(1, sizeof *proposal);

	proposal->origin = origin;
	proposal->boot = boot;
	proposal->seq = seq;
	buf_append_bytes(&proposal->command, command);
	*node->proposals_tail = proposal;
	node->proposals_tail = &proposal->next;
}

void client_proposed(struct sim_node *node, uint64_t peer, const struct message *message)
{
	uint64_t since_ms;

	if (message->type == MESSAGE_PROPOSE) {
		for (unsigned i = 0; i < message->propose.n; i++) {
			const struct message_proposal *proposal = &message->propose.proposals[i];

			client_enqueue(
				node, peer, proposal->boot, proposal->seq, proposal->command);
		}
	} else if (message->propose_result.rc != 0 && message->propose_result.boot == node->boot) {
		(void)waiter_take(node, message->propose_result.seq, &since_ms);
	}
}

static void client_forward(
	struct sim_node *node, uint64_t leader, uint64_t seq, struct bytes command)
{
	struct message_proposal proposal = {.boot = node->boot, .seq = seq, .command = command};
	struct message message = {
		.type = MESSAGE_PROPOSE, .term = driver_status(node->driver).term};
	int rc;

	message.propose.n = 1;
	message.propose.proposals = &proposal;
	node->inside = true;
	rc = driver_send(node->driver, leader, &message);
	(void)rc; /* The network may lose it, too. */
	node_after(node);
}

uint64_t client_propose(struct sim_node *node, struct bytes command)
{
	struct sim_waiter *waiter;
	uint64_t leader = driver_leader(node->driver), seq;

	if (leader == 0) {
		return 0;
	}
	seq = ++node->seq;
	waiter = x_calloc(1, sizeof *waiter);
	waiter->seq = seq;
	waiter->since_ms = node->sim->now_ms;
	waiter->next = node->waiters;
	node->waiters = waiter;
	if (leader == node->id) {
		client_enqueue(node, node->id, node->boot, seq, command);
		node_after(node);
	} else {
		client_forward(node, leader, seq, command);
	}
	return seq;
}

/* A command of nobody in particular. */
static void client_noise(struct sim_node *node)
{
	_cleanup_(buf_release) struct buf command = BUF_INIT;
	struct sim *sim = node->sim;

	machine_command(&sim->random.random, ++sim->command_id, &command);
	if (sim_random(sim, 100) < sim->big_percent) {
		buf_put_zeros(&command, (size_t)sim_random(sim, 20000));
	}
	(void)client_propose(node, buf_bytes(&command));
}

/* One entry of what waits; returns how many went into it. */
static unsigned client_envelope(struct sim_node *node, struct buf *to)
{
	const struct sim_proposal *proposal = node->proposals;
	unsigned n = 0;

	while (proposal != NULL && n < PROPOSALS_PER_ENTRY) {
		proposal = proposal->next;
		n++;
	}
	payload_begin(to, node->sim->now_ms);
	proposal = node->proposals;
	for (unsigned i = 0; i < n; i++) {
		struct payload_item item = {proposal->origin, proposal->boot, proposal->seq,
			buf_bytes(&proposal->command)};

		payload_add(to, &item);
		proposal = proposal->next;
	}
	return n;
}

static void client_answer(struct sim_node *node, const struct sim_proposal *proposal, int rc)
{
	struct message message = {
		.type = MESSAGE_PROPOSE_RESULT, .term = driver_status(node->driver).term};
	int sent;

	message.propose_result.boot = proposal->boot;
	message.propose_result.first_seq = message.propose_result.seq = proposal->seq;
	message.propose_result.rc = rc;
	sent = driver_send(node->driver, proposal->origin, &message);
	(void)sent; /* As above. */
}

/* What the origins hear of their n proposals; rc of the submit. */
static void client_submitted(
	struct sim_node *node, unsigned n, int rc, uint64_t index, struct bytes payload)
{
	uint64_t since_ms;

	for (unsigned i = 0; i < n; i++) {
		struct sim_proposal *proposal = node->proposals;

		assert(proposal != NULL);
		node->proposals = proposal->next;
		if (node->proposals == NULL) {
			node->proposals_tail = &node->proposals;
		}
		if (proposal->origin != node->id) {
			client_answer(node, proposal, rc);
		} else if (rc != 0) {
			(void)waiter_take(node, proposal->seq, &since_ms);
		} else if (node->sim->options.bug == BUG_ACK_BEFORE_QUORUM) {
			struct entry *entry = entry_copy(
				index, driver_status(node->driver).term, ENTRY_COMMAND, payload);

			client_ack(node, proposal->seq, index, oracle_entry_hash(entry), 0);
			entry_unref(entry);
		}
		proposal_free(proposal);
	}
}

static void client_submit(struct sim_node *node)
{
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	unsigned n = client_envelope(node, &payload);
	uint64_t index = 0;
	int rc;

	node->inside = true;
	rc = driver_submit(
		node->driver, entry_copy(0, 0, ENTRY_COMMAND, buf_bytes(&payload)), &index);
	client_submitted(node, n, rc, index, buf_bytes(&payload));
}

void client_progress(struct sim_node *node)
{
	while (node->proposals != NULL) {
		client_submit(node);
		if (!node_survives(node)) {
			return;
		}
	}
	client_reads_serve(node);
}

/* --- reads --- */

static void client_read_done(struct sim_node *node, uint64_t token, bool served)
{
	for (struct sim_read **at = &node->reads; *at != NULL; at = &(*at)->next) {
		struct sim_read *read = *at;

		if (read->token == token) {
			*at = read->next;
			if (served) {
				sim_say(node->sim, "node %u serves a read at %llu (index %llu)",
					node->id, (unsigned long long)machine_index(node->machine),
					(unsigned long long)read->index);
				oracle_read(node->sim, node->id, read->visible,
					machine_index(node->machine));
			}
			free(read);
			return;
		}
	}
}

static bool client_read_short_cut(const struct sim_node *node)
{
	bool leads = driver_leader(node->driver) == node->id;

	return (node->sim->options.bug == BUG_STALE_LEADER_READ && leads) ||
	       (node->sim->options.bug == BUG_FOLLOWER_READ && !leads);
}

void client_read(struct sim_node *node)
{
	struct sim_read *read = x_calloc(1, sizeof *read);
	uint64_t token = read->token = ++node->read_token;

	read->visible = node->sim->oracle.visible_max;
	read->since_ms = node->sim->now_ms;
	read->next = node->reads;
	node->reads = read;
	if (client_read_short_cut(node)) {
		client_read_done(node, token, true);
		return;
	}
	node->inside = true;
	if (driver_read_index(node->driver, token) != 0) {
		client_read_done(node, token, false);
	}
	node_after(node);
}

/* Inside a driver call: only takes a note. */
void client_read_ready(struct sim_node *node, uint64_t token, int rc, uint64_t index)
{
	for (struct sim_read *read = node->reads; read != NULL; read = read->next) {
		if (read->token == token) {
			read->ready = true;
			read->index = rc == 0 ? index : UINT64_MAX;
		}
	}
}

void client_reads_serve(struct sim_node *node)
{
	bool early = node->sim->options.bug == BUG_READ_BEFORE_APPLY;
	struct sim_read *next;

	for (struct sim_read *read = node->reads; read != NULL; read = next) {
		next = read->next;
		if (read->since_ms + CLIENT_PATIENCE_MS < node->sim->now_ms ||
			(read->ready && read->index == UINT64_MAX)) {
			client_read_done(node, read->token, false);
		} else if (read->ready && (early || machine_index(node->machine) >= read->index)) {
			client_read_done(node, read->token, true);
		}
	}
}

/* --- all --- */

void client_crash(struct sim_node *node)
{
	waiters_expire(node, UINT64_MAX);
	while (node->reads != NULL) {
		client_read_done(node, node->reads->token, false);
	}
	while (node->proposals != NULL) {
		struct sim_proposal *proposal = node->proposals;

		node->proposals = proposal->next;
		proposal_free(proposal);
	}
	node->proposals_tail = &node->proposals;
}

void client_event(struct sim *sim)
{
	struct sim_node *node = sim->node[1 + sim_random(sim, sim->ids)];

	if (sim->progressed && sim->now_ms > sim->progressed_ms + SIM_LOAD_AFTER_MS) {
		return;
	}
	sim_push(sim, 1 + sim_random(sim, sim->client_gap_ms * 2ULL), EVENT_CLIENT, NULL, 0, NULL);
	if (!node->up) {
		return;
	}
	if (sim->now_ms > CLIENT_PATIENCE_MS) {
		waiters_expire(node, sim->now_ms - CLIENT_PATIENCE_MS);
	}
	if (sim_chance(sim, 300)) {
		client_read(node);
	} else if (sim_chance(sim, 500)) {
		client_noise(node);
	} else {
		session_run(sim, &sim->session[sim_random(sim, SIM_SESSIONS)], node);
	}
}
