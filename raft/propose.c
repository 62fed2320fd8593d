#include "raft/propose.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "raft/replica_impl.h"

enum {
	PROPOSE_RETRY_MS = 20,	     /* After a refusal by the leader. */
	FORWARD_BYTES_MAX = 1 << 20, /* One message to the leader, when it has more than one. */
};

/* --- lists --- */

static void propose_push(struct propose_list *list, struct propose *req, enum propose_state state)
{
	req->state = state;
	req->next = NULL;
	req->prev = list->tail;
	*(list->tail == NULL ? &list->head : &list->tail->next) = req;
	list->tail = req;
	list->n++;
	list->bytes += req->command.len;
}

static void propose_push_front(struct propose_list *list, struct propose *req)
{
	req->state = PROPOSE_QUEUED;
	req->prev = NULL;
	req->next = list->head;
	*(list->head == NULL ? &list->tail : &list->head->prev) = req;
	list->head = req;
	list->n++;
	list->bytes += req->command.len;
}

static void propose_unlink(struct propose_list *list, struct propose *req)
{
	assert(list->n > 0 && list->bytes >= req->command.len);
	assert((req->prev == NULL) == (list->head == req));
	assert((req->next == NULL) == (list->tail == req));
	*(req->prev == NULL ? &list->head : &req->prev->next) = req->next;
	*(req->next == NULL ? &list->tail : &req->next->prev) = req->prev;
	list->n--;
	list->bytes -= req->command.len;
}

/* --- the end of a proposal --- */

static void propose_deliver_cb(struct mail *mail)
{
	struct propose *req = CONTAINER_OF(mail, struct propose, mail);

	req->cb(req, req->rc);
}

static void propose_end(struct propose *req, int rc)
{
	buf_release(&req->command);
	req->rc = rc;
	req->mail.deliver_cb = propose_deliver_cb;
	mailbox_send(req->home, &req->mail);
}

static void propose_end_all(struct propose_list *list, int rc)
{
	while (list->head != NULL) {
		struct propose *req = list->head;

		propose_unlink(list, req);
		propose_end(req, rc);
	}
}

/* --- the beginning --- */

/* While the disk is low only what makes room or keeps the cluster going passes. A file is deleted
 * by tombstones and a new page of the folder that listed it: that page has room in the upper half
 * of what is below the floor. */
static bool propose_passes_floor(const struct replica *r, struct bytes bytes)
{
	struct command command;

	if (command_decode(bytes, &command, NULL) != 0) {
		return false;
	}
	return command_passes_floor(&command) ||
	       (command.type == COMMAND_COMMIT && r->free_bytes > r->floor_bytes / 2 &&
		       commit_is_deletion(command.commit.entries, DELETION_PAGE_BYTES_MAX));
}

static int proposer_check(struct replica *r, struct bytes command)
{
	if (command.len > COMMAND_BYTES_MAX) {
		return KLUIS_ETOOLARGE;
	}
	return atomic_load(&r->read_only) && !propose_passes_floor(r, command) ? KLUIS_EREADONLY
									       : 0;
}

static uint64_t propose_waited(const struct propose_list *list, uint64_t now_ms)
{
	return list->head == NULL ? 0 : now_ms - list->head->entered_ms;
}

/* More comes than can be done: who waits behind all that would wait in vain, for his own time is up
 * before, and what is then done for him is lost to others. Refused at once he can try another
 * time. */
static bool proposer_is_behind(struct replica *r)
{
	struct proposer *p = &r->proposer;
	uint64_t now_ms = replica_now(r);
	uint64_t sent_ms = propose_waited(&p->sent, now_ms),
		 queued_ms = propose_waited(&p->queued, now_ms);

	return admission_is_behind(&p->admission, p->queued.n + p->sent.n,
		sent_ms > queued_ms ? sent_ms : queued_ms, now_ms);
}

static int propose_admit(struct replica *r, const struct propose *req)
{
	const struct proposer *p = &r->proposer;
	bool own = req->home == &r->mailbox; /* Few, and needed most now. */

	if (r->stopping) {
		return KLUIS_ECLOSED;
	}
	if (p->queued.n + p->sent.n >= PROPOSALS_MAX ||
		p->queued.bytes + p->sent.bytes + req->command.len > PROPOSALS_WAITING_BYTES_MAX ||
		(!own && proposer_is_behind(r))) {
		return KLUIS_EBUSY;
	}
	return proposer_check(r, buf_bytes(&req->command));
}

static void propose_enter_cb(struct mail *mail)
{
	struct propose *req = CONTAINER_OF(mail, struct propose, mail);
	struct replica *r = req->replica;
	int rc = propose_admit(r, req);

	req->entered_ms = replica_now(r);
	if (rc != 0) {
		propose_end(req, rc);
	} else {
		propose_push(&r->proposer.queued, req, PROPOSE_QUEUED);
	}
}

void propose_start(struct propose *req, struct replica *r, struct mailbox *home,
	struct buf *command, uint64_t deadline_ms, void (*cb)(struct propose *req, int rc))
{
	*req = (struct propose){.replica = r,
		.home = home,
		.command = *command,
		.deadline_ms = deadline_ms,
		.cb = cb};
	*command = BUF_INIT;
	req->mail.deliver_cb = propose_enter_cb;
	if (!replica_enter(r, &req->mail)) {
		propose_end(req, KLUIS_ECLOSED);
	}
}

/* --- commands of the node itself --- */

static void propose_own_cb(struct propose *req, int rc)
{
	if (rc != 0) {
		log_debug("op=propose_own rc=%s msg=\"not done, ignoring\"", err_name(rc));
	}
	free(req);
}

void propose_own(struct replica *r, const struct command *command)
{
	struct propose *req = x_malloc(sizeof *req);
	struct buf bytes = BUF_INIT;

	command_encode(command, &bytes);
	propose_start(req, r, &r->mailbox, &bytes, replica_now(r) + PROPOSE_OWN_MS, propose_own_cb);
}

/* --- as leader: into the log --- */

static void forwarded_answer(
	struct replica *r, uint64_t to, uint64_t boot, uint64_t first, uint64_t last, int rc)
{
	struct message message = {.type = MESSAGE_PROPOSE_RESULT,
		.term = driver_status(r->driver).term,
		.propose_result = {.boot = boot, .first_seq = first, .seq = last, .rc = rc}};
	int sent = driver_send(r->driver, to, &message);

	(void)sent; /* Lost, its origin waits to its deadline and cannot tell. */
}

/* Written in place: pages are copied once on their way into the log. */
static struct entry *proposer_gather(struct replica *r, const struct gathering *g)
{
	struct entry *entry = entry_new(0, 0, ENTRY_COMMAND, g->bytes);
	struct buf payload = {.data = entry->data, .cap = g->bytes};
	const struct propose *req = r->proposer.queued.head;
	uint64_t seq = r->proposer.next_seq;

	payload_begin(&payload, cluster_clock_now(r));
	for (unsigned i = 0; i < g->n; i++) {
		const struct forwarded *f = g->pick[i];
		struct payload_item item;

		if (f != NULL) {
			item = (struct payload_item){
				f->origin, f->boot, f->seq, bytes_of(f->command, f->len)};
		} else {
			item = (struct payload_item){
				r->node_id, r->proposer.boot, seq++, buf_bytes(&req->command)};
			req = req->next;
		}
		payload_add(&payload, &item);
	}
	assert(payload.data == entry->data && payload.len == g->bytes);
	return entry;
}

static void proposer_sent(struct proposer *p, unsigned n, uint64_t term)
{
	for (unsigned i = 0; i < n; i++) {
		struct propose *req = p->queued.head;

		propose_unlink(&p->queued, req);
		req->seq = p->next_seq++;
		req->sent_term = term;
		propose_push(&p->sent, req, PROPOSE_SENT);
	}
}

/* False: nothing more fits now. */
static bool proposer_submit(struct replica *r)
{
	struct driver_status status = driver_status(r->driver);
	struct proposer *p = &r->proposer;
	struct gathering *g = &p->gathering;
	uint64_t index;

	/* What came for a term that is over was never put into the log. */
	forwarded_drop_old(&p->forwarded, status.term);
	forwarded_choose(&p->forwarded, p->queued.head, g);
	/* Asked first, so that nothing is copied in vain each turn while the log is busy. */
	if (g->n == 0 || !status.ready || status.transferee != 0 ||
		gathering_waits(g, status.inflight_bytes, replica_now(r) - p->submitted_ms) ||
		status.inflight_bytes + sizeof(struct entry) + g->bytes > PROPOSALS_BYTES_MAX ||
		driver_submit(r->driver, proposer_gather(r, g), &index) != 0) {
		return false;
	}
	p->submitted_ms = replica_now(r);
	proposer_sent(p, g->own, status.term);
	forwarded_chosen(&p->forwarded, g);
	return true;
}

/* --- as follower: to the leader --- */

static unsigned proposer_fill(
	struct proposer *p, struct message_proposal proposals[PROPOSALS_PER_MESSAGE_MAX])
{
	size_t bytes = 0;
	unsigned n = 0;

	for (struct propose *req = p->queued.head; req != NULL && n < PROPOSALS_PER_MESSAGE_MAX;
		req = req->next) {
		bytes += req->command.len;
		if (n > 0 && bytes > FORWARD_BYTES_MAX) {
			break;
		}
		proposals[n] = (struct message_proposal){
			p->boot, p->next_seq + n, buf_bytes(&req->command)};
		n++;
	}
	return n;
}

static bool proposer_forward(struct replica *r, uint64_t leader, uint64_t term)
{
	struct message_proposal proposals[PROPOSALS_PER_MESSAGE_MAX];
	struct message message = {.type = MESSAGE_PROPOSE, .term = term};
	struct proposer *p = &r->proposer;
	struct link_status link;

	if (p->queued.head == NULL || p->sent.bytes > PROPOSALS_BYTES_MAX ||
		links_status(r->links, leader, &link) != 0 || !link.up ||
		link.queued_bytes[LINK_PROPOSE] > PROPOSALS_BYTES_MAX) {
		return false;
	}
	message.propose.n = proposer_fill(p, proposals);
	message.propose.proposals = proposals;
	if (driver_send(r->driver, leader, &message) != 0) {
		return false; /* Not a byte of it left: it still waits here. */
	}
	proposer_sent(p, message.propose.n, term);
	return true;
}

bool proposer_waits(const struct replica *r)
{
	return r->proposer.queued.head != NULL || r->proposer.forwarded.n > 0;
}

uint64_t proposer_deadline_ms(const struct replica *r)
{
	uint64_t due_ms = r->proposer.submitted_ms + PROPOSALS_GATHER_MS;

	/* Past that time what waits is the driver's to end. */
	return proposer_waits(r) && replica_now(r) < due_ms ? due_ms : UINT64_MAX;
}

void proposer_turn(struct replica *r)
{
	struct proposer *p = &r->proposer;
	struct driver_status status;

	if (!proposer_waits(r)) {
		return;
	}
	status = driver_status(r->driver);
	if (status.role == DRIVER_LEADER) {
		while (proposer_submit(r)) {
		}
		return;
	}
	forwarded_clear(&p->forwarded); /* Their origins see the new term and send them there. */
	if (status.leader != 0 && replica_now(r) >= p->retry_ms) {
		while (proposer_forward(r, status.leader, status.term)) {
		}
	}
}

/* --- from other nodes --- */

/* Proposals of one message that are refused for the same reason, one after the other. */
struct refusal {
	uint64_t boot, first_seq, seq;
	int rc; /* 0: none yet. */
};

static void refusal_tell(struct replica *r, uint64_t peer, struct refusal *refusal)
{
	if (refusal->rc != 0) {
		forwarded_answer(
			r, peer, refusal->boot, refusal->first_seq, refusal->seq, refusal->rc);
		refusal->rc = 0;
	}
}

static void refusal_add(struct replica *r, uint64_t peer, struct refusal *refusal,
	const struct message_proposal *proposal, int rc)
{
	if (refusal->rc == rc && refusal->boot == proposal->boot &&
		refusal->seq + 1 == proposal->seq) {
		refusal->seq = proposal->seq;
		return;
	}
	refusal_tell(r, peer, refusal);
	*refusal = (struct refusal){proposal->boot, proposal->seq, proposal->seq, rc};
}

/* Each for itself: one that is refused takes no other with it. */
static void proposer_receive_proposals(
	struct replica *r, uint64_t peer, const struct message *message)
{
	struct driver_status status = driver_status(r->driver);
	struct refusal refusal = {.rc = 0};
	int all = 0;

	/* For this term alone: so its origin knows, once a later term's entry is applied, that what
	 * it has not seen by then is in no log. */
	if (status.role != DRIVER_LEADER || status.term != message->term) {
		all = KLUIS_ENOTLEADER;
	}
	for (unsigned i = 0; i < message->propose.n; i++) {
		const struct message_proposal *proposal = &message->propose.proposals[i];
		int rc = all != 0 ? all : proposer_check(r, proposal->command);

		if (rc == 0) {
			rc = forwarded_put(&r->proposer.forwarded, peer, message->term, proposal);
			all = rc; /* None overtakes one that found no room. */
		}
		if (rc != 0) {
			refusal_add(r, peer, &refusal, proposal, rc);
		}
	}
	refusal_tell(r, peer, &refusal);
}

/* Refused: it is in no log, so it may be sent again, or end. */
static void proposer_refused(struct replica *r, const struct message *message)
{
	struct proposer *p = &r->proposer;
	int rc = message->propose_result.rc;
	bool again = rc == KLUIS_ENOTLEADER || rc == KLUIS_EBUSY || rc == KLUIS_EAGAIN;
	struct propose *prev;

	for (struct propose *req = p->sent.tail; req != NULL; req = prev) {
		prev = req->prev;
		if (req->seq < message->propose_result.first_seq ||
			req->seq > message->propose_result.seq || req->state != PROPOSE_SENT) {
			continue;
		}
		propose_unlink(&p->sent, req);
		if (again) {
			propose_push_front(&p->queued, req);
		} else {
			propose_end(req, rc);
		}
	}
	if (again) {
		p->retry_ms = replica_now(r) + PROPOSE_RETRY_MS;
	}
}

void proposer_receive(struct replica *r, uint64_t peer, const struct message *message)
{
	if (message->type == MESSAGE_PROPOSE) {
		proposer_receive_proposals(r, peer, message);
	} else if (message->propose_result.boot == r->proposer.boot &&
		   message->propose_result.rc != 0) {
		proposer_refused(r, message);
	}
}

/* --- applied --- */

static struct propose *proposer_find(struct proposer *p, uint64_t seq)
{
	/* In the log's order they end as they were sent: nearly always the first. */
	for (struct propose *req = p->sent.head; req != NULL && req->seq <= seq; req = req->next) {
		if (req->seq == seq) {
			return req;
		}
	}
	return NULL;
}

static void proposer_complete(
	struct proposer *p, const struct fsm_results *results, const struct fsm_result *result)
{
	struct propose *req = proposer_find(p, result->seq);
	struct bytes reply = fsm_results_reply(results, result);
	struct bytes reason = fsm_results_reason(results, result);

	if (req == NULL) {
		return; /* Its time was up before. */
	}
	assert(reply.len + reason.len <= PROPOSE_REPLY_BYTES_MAX);
	propose_unlink(&p->sent, req);
	req->index = result->index;
	req->ordinal = result->ordinal;
	if (reply.len > 0) {
		memcpy(req->reply_space, reply.data, reply.len);
	}
	if (reason.len > 0) {
		memcpy(req->reply_space + reply.len, reason.data, reason.len);
	}
	req->reply = bytes_of(req->reply_space, reply.len);
	req->reason = bytes_of(req->reply_space + reply.len, reason.len);
	propose_end(req, result->rc);
}

/* An entry of `term` is applied: what went to a leader of an earlier one and was not applied by now
 * is in no log that can win. It begins again, under a new number. */
static void proposer_requeue_lost(struct proposer *p, uint64_t term)
{
	struct propose *prev;

	for (struct propose *req = p->sent.tail; req != NULL; req = prev) {
		prev = req->prev;
		if (req->state == PROPOSE_SENT && req->sent_term < term) {
			propose_unlink(&p->sent, req);
			propose_push_front(&p->queued, req);
		}
	}
}

void proposer_applied(struct replica *r, const struct fsm_results *results, uint64_t term)
{
	struct proposer *p = &r->proposer;

	for (size_t i = 0; i < results->n; i++) {
		const struct fsm_result *result = &results->result[i];

		if (result->origin == r->node_id && result->nonce == p->boot) {
			admission_done(&p->admission, replica_now(r));
			proposer_complete(p, results, result);
		}
	}
	if (term > r->term_seen) {
		r->term_seen = term;
		proposer_requeue_lost(p, term);
	}
}

void proposer_doubt(struct replica *r)
{
	for (struct propose *req = r->proposer.sent.head; req != NULL; req = req->next) {
		req->state = PROPOSE_DOUBTFUL;
	}
}

/* --- time --- */

static void proposer_expire(struct propose_list *list, uint64_t now_ms, int rc)
{
	struct propose *next;

	for (struct propose *req = list->head; req != NULL; req = next) {
		next = req->next;
		if (req->deadline_ms <= now_ms) {
			propose_unlink(list, req);
			propose_end(req, rc);
		}
	}
}

/* With a leader in reach it was only the queue that did not move. */
static bool proposer_leader_in_reach(struct replica *r)
{
	uint64_t leader = driver_leader(r->driver);
	struct link_status link;

	return leader == r->node_id ||
	       (leader != 0 && links_status(r->links, leader, &link) == 0 && link.up);
}

void proposer_tick(struct replica *r)
{
	struct proposer *p = &r->proposer;
	uint64_t now_ms = replica_now(r);

	if (p->queued.head != NULL) {
		proposer_expire(&p->queued, now_ms,
			proposer_leader_in_reach(r) ? KLUIS_EBUSY : KLUIS_ENOQUORUM);
	}
	proposer_expire(&p->sent, now_ms, KLUIS_EUNKNOWN_OUTCOME);
}

void proposer_init(struct replica *r)
{
	struct proposer *p = &r->proposer;

	random_fill(r->random, &p->boot, sizeof p->boot);
	p->next_seq = 1;
}

void proposer_stop(struct replica *r)
{
	struct proposer *p = &r->proposer;

	propose_end_all(&p->queued, KLUIS_ECLOSED);
	propose_end_all(&p->sent, KLUIS_EUNKNOWN_OUTCOME);
	forwarded_clear(&p->forwarded);
}
