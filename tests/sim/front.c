#include "tests/sim/front.h"

#include <assert.h>
#include <string.h>

#include "raft/replica_impl.h"
#include "tests/sim/sim.h"

enum {
	FRONT_HOUSE_MS = HEARTBEAT_MS / 3,
	FRONT_MAIL_MAX = 1 << 16, /* In one turn: more is a loop. */
};

/* --- clocks --- */

static uint64_t front_monotonic_ms(const struct clock *clock)
{
	const struct sim_clock *c = CONTAINER_OF(clock, struct sim_clock, clock);

	return c->base_ms + (c->sim->now_ms - c->from_ms) * c->rate / 1000;
}

static uint64_t front_wall_ms(const struct clock *clock)
{
	const struct sim_clock *c = CONTAINER_OF(clock, struct sim_clock, clock);

	return (uint64_t)((int64_t)(SIM_WALL_MS + c->sim->now_ms) + c->wall_offset_ms);
}

void front_clock_init(struct sim_clock *clock, const struct sim *sim, unsigned rate)
{
	*clock = (struct sim_clock){
		.clock = {front_monotonic_ms, front_wall_ms}, .sim = sim, .rate = rate};
}

void front_clock_start(struct sim_clock *clock, uint64_t local_ms)
{
	clock->from_ms = clock->sim->now_ms;
	clock->base_ms = local_ms;
}

uint64_t front_clock_due(const struct sim_clock *clock, uint64_t local_ms)
{
	uint64_t ahead = local_ms > clock->base_ms ? local_ms - clock->base_ms : 0;

	return clock->from_ms + (ahead * 1000 + clock->rate - 1) / clock->rate;
}

/* --- what the code under test calls instead of replica.c, link.c and mailbox.c --- */

uint64_t replica_now(const struct replica *r)
{
	return clock_monotonic_ms(r->clock);
}

bool replica_enter(struct replica *r, struct mail *mail)
{
	mailbox_send(&r->mailbox, mail);
	return true;
}

void mailbox_send(struct mailbox *mailbox, struct mail *mail)
{
	mail->next = NULL;
	*mailbox->tail = mail;
	mailbox->tail = &mail->next;
}

struct links {
	struct sim_node *node;
};

size_t links_peers(const struct links *links, uint64_t *to, size_t max)
{
	size_t n = 0;

	for (unsigned i = 1; i <= links->node->sim->ids && n < max; i++) {
		if (i != links->node->id) {
			to[n++] = i;
		}
	}
	return n;
}

int links_status(const struct links *links, uint64_t peer, struct link_status *ret_status)
{
	const struct sim_node *node = links->node;
	const struct sim *sim = node->sim;
	const struct sim_node *other;

	*ret_status = (struct link_status){.peer = peer};
	if (peer == 0 || peer > sim->ids) {
		return KLUIS_ENOTFOUND;
	}
	other = sim->node[peer];
	ret_status->up = other->up; /* A cut is found out later than by asking. */
	ret_status->wall_known = other->up && !net_cut(sim, node->id, other->id) &&
				 !net_cut(sim, other->id, node->id);
	ret_status->wall_offset_ms = other->clock.wall_offset_ms - node->clock.wall_offset_ms;
	return 0;
}

/* --- life --- */

void front_start(struct sim_node *node)
{
	struct replica *r = x_calloc(1, sizeof *r);

	r->node_id = node->id;
	r->clock = &node->clock.clock;
	r->random = &node->sim->random.random;
	r->driver = node->driver;
	r->links = x_calloc(1, sizeof *r->links);
	r->links->node = node;
	r->mailbox.tail = &r->mailbox.head;
	r->position = *machine_position(node->machine);
	proposer_init(r);
	reader_init(r);
	node->front = r;
}

static void front_deliver(struct replica *r)
{
	for (unsigned i = 0; r->mailbox.head != NULL; i++) {
		struct mail *mail = r->mailbox.head;

		assert(i < FRONT_MAIL_MAX);
		r->mailbox.head = mail->next;
		if (r->mailbox.head == NULL) {
			r->mailbox.tail = &r->mailbox.head;
		}
		mail->deliver_cb(mail);
	}
}

void front_stop(struct sim_node *node)
{
	struct replica *r = node->front;

	if (r == NULL) {
		return;
	}
	node->ending = true; /* The callbacks only free. */
	r->stopping = true;
	front_deliver(r);
	proposer_stop(r);
	reader_stop(r);
	front_deliver(r);
	node->ending = false;
	node->front = NULL;
	free(r->links);
	free(r);
}

/* --- a turn --- */

/* As replica_house.c does: no writes while the disk is low, and another one leads. */
static void front_disk(struct sim_node *node)
{
	struct replica *r = node->front;
	bool low = node->sim->now_ms < node->disk.low_until_ms;

	atomic_store(&r->read_only, low);
	if (low && driver_status(r->driver).role == DRIVER_LEADER) {
		int rc = driver_transfer(r->driver, 0);

		(void)rc; /* Nobody can take it, or it is under way. */
	}
}

static void front_house(struct replica *r)
{
	struct sim_node *node = r->links->node;
	uint64_t now_ms = replica_now(r);

	node->house_ms = now_ms + FRONT_HOUSE_MS;
	proposer_tick(r);
	reader_tick(r);
	cluster_clock_tick(r);
	if (now_ms >= node->disk_checked_ms + DISK_CHECK_MS) {
		node->disk_checked_ms = now_ms;
		front_disk(node);
	}
}

/* Planted bug: what is in the leader's log counts as done. */
static void front_ack_early(struct sim_node *node)
{
	struct replica *r = node->front;
	struct fsm_results results = {0};
	struct fsm_result result = {
		.index = node->appended_index, .origin = node->id, .nonce = r->proposer.boot};

	results.result = &result;
	results.n = 1;
	while (r->proposer.sent.head != NULL) {
		result.seq = r->proposer.sent.head->seq;
		proposer_applied(r, &results, 0);
	}
}

static void front_bugs(struct sim_node *node, const struct driver_status *status)
{
	static const struct fsm_results nothing;

	if (node->sim->options.bug == BUG_ACK_BEFORE_QUORUM && status->role == DRIVER_LEADER) {
		front_ack_early(node);
	} else if (node->sim->options.bug == BUG_REQUEUE_EARLY) {
		proposer_applied(node->front, &nothing, status->term);
	}
}

static void front_lead(struct sim_node *node, const struct driver_status *status)
{
	struct replica *r = node->front;

	if (status->role == DRIVER_LEADER && !r->led) {
		cluster_clock_lead(r);
		if (node->sim->options.bug == BUG_OWN_CLOCK) {
			r->cluster_clock.base_ms = clock_wall_ms(r->clock);
		}
	}
	r->led = status->role == DRIVER_LEADER;
}

static bool front_step(struct sim_node *node, void (*step)(struct replica *r))
{
	node->inside = true;
	step(node->front);
	return node_survives(node);
}

static bool front_run(struct sim_node *node)
{
	struct replica *r = node->front;

	front_deliver(r);
	front_lead(node, &node->status);
	if ((r->proposer.queued.head != NULL || r->proposer.forwarded.n > 0) &&
		!front_step(node, proposer_turn)) {
		return false;
	}
	if (r->reader.pending != NULL && !front_step(node, reader_turn)) {
		return false;
	}
	front_bugs(node, &node->status);
	return true;
}

bool front_turn(struct sim_node *node)
{
	if (replica_now(node->front) >= node->house_ms && !front_step(node, front_house)) {
		return false;
	}
	do {
		if (!front_run(node)) {
			return false;
		}
	} while (node->front->mailbox.head != NULL);
	return true;
}

/* --- events --- */

static void front_report(struct replica *r, const struct fsm_report *report)
{
	struct command command = {.type = COMMAND_HASH_REPORT};

	command.hash_report.node = r->node_id;
	command.hash_report.index = report->index;
	memcpy(command.hash_report.hash, report->hash, sizeof command.hash_report.hash);
	propose_own(r, &command);
}

void front_applied(struct sim_node *node, const struct fsm_results *results)
{
	struct replica *r = node->front;

	r->position = *machine_position(node->machine);
	cluster_clock_applied(r);
	if (results == NULL) {
		proposer_doubt(r);
	} else {
		proposer_applied(r, results, r->position.term);
	}
	reader_applied(r);
	if (results != NULL && results->report_due) {
		front_report(r, &results->report);
	}
}

/* Planted bug: refused, though it goes into the log. */
static void front_refuse(struct sim_node *node, uint64_t peer, const struct message *message)
{
	const struct message_proposal *proposals = message->propose.proposals;
	struct message refusal = {.type = MESSAGE_PROPOSE_RESULT, .term = message->term};
	int rc;

	refusal.propose_result.boot = proposals[0].boot;
	refusal.propose_result.first_seq = proposals[0].seq;
	refusal.propose_result.seq = proposals[message->propose.n - 1].seq;
	refusal.propose_result.rc = KLUIS_EBUSY;
	rc = driver_send(node->driver, peer, &refusal);
	(void)rc;
}

void front_proposed(struct sim_node *node, uint64_t peer, const struct message *message)
{
	struct sim *sim = node->sim;
	struct message other = *message;

	if (message->type == MESSAGE_PROPOSE && sim->options.bug == BUG_OLD_PROPOSAL) {
		other.term = driver_status(node->driver).term;
	}
	proposer_receive(node->front, peer, &other);
	if (message->type == MESSAGE_PROPOSE && sim->options.bug == BUG_REFUSE_LOGGED &&
		sim_chance(sim, 5)) {
		front_refuse(node, peer, message);
	}
}

/* Inside a driver call: only takes a note. */
void front_read_ready(struct sim_node *node, uint64_t token, int rc, uint64_t index)
{
	if (node->sim->options.bug == BUG_READ_BEFORE_APPLY && rc == 0 &&
		index > node->front->position.index) {
		index = node->front->position.index;
	}
	reader_ready(node->front, token, rc, index);
}

/* --- requests --- */

static uint64_t front_deadline(const struct sim_node *node, uint64_t patience_ms)
{
	return replica_now(node->front) + patience_ms;
}

void front_propose(struct sim_node *node, struct propose *req, struct bytes command,
	uint64_t patience_ms, void (*cb)(struct propose *req, int rc))
{
	struct buf copy = BUF_INIT;

	buf_append_bytes(&copy, command);
	propose_start(req, node->front, &node->front->mailbox, &copy,
		front_deadline(node, patience_ms), cb);
}

void front_read(struct sim_node *node, struct read_index *req, uint64_t patience_ms,
	void (*cb)(struct read_index *req, int rc))
{
	read_index_start(
		req, node->front, &node->front->mailbox, front_deadline(node, patience_ms), cb);
}

void front_wait(struct sim_node *node, struct applied_wait *req, uint64_t index,
	uint64_t patience_ms, void (*cb)(struct applied_wait *req, int rc))
{
	applied_wait_start(req, node->front, &node->front->mailbox, index,
		front_deadline(node, patience_ms), cb);
}
