/* Read-index rounds (Raft thesis 6.4): the leader's commit index may be served to reads that began
 * before a quorum said that this term is still the newest it knows. */
#include <assert.h>
#include <string.h>

#include "raft/driver_impl.h"

static void readers_push(struct driver_readers *readers, struct driver_reader reader)
{
	if (readers->n == readers->capacity) {
		readers->capacity = readers->capacity == 0 ? 16 : readers->capacity * 2;
		readers->reader =
			x_realloc(readers->reader, readers->capacity * sizeof *readers->reader);
	}
	readers->reader[readers->n++] = reader;
}

void reads_release(struct driver_reads *reads)
{
	free(reads->waiting.reader);
	free(reads->running.reader);
	memset(reads, 0, sizeof *reads);
}

static void reader_answer(
	struct driver *driver, struct driver_reader reader, int rc, uint64_t index)
{
	struct message message = {.type = MESSAGE_READ_INDEX_RESULT};

	if (reader.peer == 0) {
		driver->io.read_ready(driver->ctx, reader.token, rc, index);
		return;
	}
	message.read_index_result.request = reader.token;
	message.read_index_result.rc = rc;
	message.read_index_result.index = index;
	peer_send(driver, reader.peer, &message);
}

static void readers_answer(
	struct driver *driver, struct driver_readers *readers, int rc, uint64_t index)
{
	for (unsigned i = 0; i < readers->n; i++) {
		reader_answer(driver, readers->reader[i], rc, index);
	}
	readers->n = 0;
}

/* All that wait end with rc. */
void reads_lost(struct driver *driver, int rc)
{
	struct driver_reads *reads = &driver->reads;

	reads->round_open = false;
	readers_answer(driver, &reads->running, rc, 0);
	readers_answer(driver, &reads->waiting, rc, 0);
}

/* --- the leader's round --- */

static void round_send(struct driver *driver)
{
	const struct raft_configuration *all = &driver->raft.configuration;
	struct message message = {.type = MESSAGE_READ_ROUND, .term = driver->raft.current_term};

	message.read_round.round = driver->reads.round;
	driver->reads.sent_ms = driver->now_ms;
	for (unsigned i = 0; i < all->n; i++) {
		uint64_t id = all->servers[i].id;

		if (id != driver->options.id && all->servers[i].role == RAFT_VOTER &&
			!peer_get(driver, id)->round_confirmed) {
			peer_send(driver, id, &message);
		}
	}
}

static bool round_confirmed(const struct driver *driver)
{
	const struct raft_configuration *all = &driver->raft.configuration;
	unsigned voters = 0, confirmed = 0;

	for (unsigned i = 0; i < all->n; i++) {
		const struct driver_peer *peer = peer_find(driver, all->servers[i].id);

		if (all->servers[i].role == RAFT_VOTER) {
			voters++;
			confirmed += all->servers[i].id == driver->options.id ||
				     (peer != NULL && peer->round_confirmed);
		}
	}
	return confirmed > voters / 2;
}

static void round_finish(struct driver *driver)
{
	driver->reads.round_open = false;
	readers_answer(driver, &driver->reads.running, 0, driver->reads.index);
}

/* All that wait run in one round, or request, under a new number. */
static void reads_open(struct driver_reads *reads)
{
	struct driver_readers swap = reads->running;

	assert(!reads->round_open && reads->running.n == 0);
	reads->running = reads->waiting;
	reads->waiting = swap;
	reads->round_open = true;
	reads->round++;
}

static void round_begin(struct driver *driver)
{
	struct driver_reads *reads = &driver->reads;

	reads_open(reads);
	reads->index = driver->raft.commit_index;
	for (unsigned i = 0; i < driver->peers_n; i++) {
		driver->peer[i].round_confirmed = false;
	}
	driver->counters.read_rounds++;
	round_send(driver);
	if (round_confirmed(driver)) {
		round_finish(driver);
	}
}

/* --- the follower's request --- */

static void request_send(struct driver *driver)
{
	struct message message = {.type = MESSAGE_READ_INDEX};

	message.read_index.request = driver->reads.round;
	driver->reads.sent_ms = driver->now_ms;
	peer_send(driver, driver->reads.leader, &message);
}

/* A read that comes while a request is out waits for the next: the answer on its way may be older
 * than the read. */
static void request_begin(struct driver *driver)
{
	struct driver_reads *reads = &driver->reads;

	reads_open(reads);
	reads->leader = driver_leader(driver);
	reads->begun_ms = driver->now_ms;
	request_send(driver);
}

static void request_progress(struct driver *driver)
{
	struct driver_reads *reads = &driver->reads;
	uint64_t leader = driver_leader(driver);

	if (leader == 0 || (reads->round_open && reads->leader != leader)) {
		reads_lost(driver, KLUIS_ENOTLEADER);
	} else if (reads->round_open && driver->now_ms - reads->begun_ms >= READ_INDEX_MS) {
		reads->round_open = false;
		readers_answer(driver, &reads->running, KLUIS_ETIMEOUT, 0);
	} else if (reads->round_open && driver->now_ms - reads->sent_ms >= READ_ROUND_RESEND_MS) {
		request_send(driver);
	}
	if (!reads->round_open && reads->waiting.n > 0) {
		request_begin(driver);
	}
}

/* --- both --- */

void reads_progress(struct driver *driver)
{
	struct driver_reads *reads = &driver->reads;

	if (!reads->round_open && reads->waiting.n == 0) {
		return;
	}
	if (!driver_is_leader(driver)) {
		request_progress(driver);
		return;
	}
	if (reads->round_open && driver->now_ms - reads->sent_ms >= READ_ROUND_RESEND_MS) {
		round_send(driver);
	}
	if (!reads->round_open && reads->waiting.n > 0 &&
		(driver_is_ready(driver) || !driver_guard_on(driver, GUARD_READ_TERM))) {
		round_begin(driver);
	}
}

uint64_t reads_deadline(const struct driver *driver)
{
	return driver->reads.round_open ? driver->reads.sent_ms + READ_ROUND_RESEND_MS : UINT64_MAX;
}

static int reads_add(struct driver *driver, struct driver_reader reader)
{
	struct driver_reads *reads = &driver->reads;

	if (reads->waiting.n + reads->running.n >= READS_WAITING_MAX) {
		return KLUIS_EBUSY;
	}
	readers_push(&reads->waiting, reader);
	return 0;
}

int driver_read_index(struct driver *driver, uint64_t token)
{
	int rc = KLUIS_ECLOSED;

	if (driver_enter(driver)) {
		rc = driver_leader(driver) == 0
			     ? KLUIS_ENOQUORUM
			     : reads_add(driver, (struct driver_reader){.token = token});
		driver_leave(driver);
	}
	return rc;
}

static void receive_round(struct driver *driver, uint64_t peer, const struct message *message)
{
	struct message answer = {
		.type = MESSAGE_READ_ROUND_RESULT, .term = driver->raft.current_term};

	if (answer.term == 0) {
		return;
	}
	answer.read_round_result.round = message->read_round.round;
	answer.read_round_result.confirmed =
		message->term == driver->raft.current_term && driver_leader(driver) == peer;
	peer_send(driver, peer, &answer);
}

static void receive_round_result(
	struct driver *driver, uint64_t peer, const struct message *message)
{
	struct driver_reads *reads = &driver->reads;

	if (!driver_is_leader(driver) || !reads->round_open ||
		message->term != driver->raft.current_term ||
		message->read_round_result.round != reads->round ||
		!message->read_round_result.confirmed) {
		return;
	}
	peer_get(driver, peer)->round_confirmed = true;
	if (round_confirmed(driver)) {
		round_finish(driver);
	}
}

static void receive_index(struct driver *driver, uint64_t peer, const struct message *message)
{
	struct driver_reader reader = {.peer = peer, .token = message->read_index.request};
	int rc = driver_is_leader(driver) ? reads_add(driver, reader) : KLUIS_ENOTLEADER;

	if (rc != 0) {
		reader_answer(driver, reader, rc, 0);
	}
}

static void receive_index_result(
	struct driver *driver, uint64_t peer, const struct message *message)
{
	struct driver_reads *reads = &driver->reads;

	if (driver_is_leader(driver) || !reads->round_open || reads->leader != peer ||
		message->read_index_result.request != reads->round) {
		return;
	}
	reads->round_open = false;
	readers_answer(driver, &reads->running, message->read_index_result.rc,
		message->read_index_result.index);
}

void reads_receive(struct driver *driver, uint64_t peer, const struct message *message)
{
	switch (message->type) {
	case MESSAGE_READ_ROUND:
		receive_round(driver, peer, message);
		break;
	case MESSAGE_READ_ROUND_RESULT:
		receive_round_result(driver, peer, message);
		break;
	case MESSAGE_READ_INDEX:
		receive_index(driver, peer, message);
		break;
	default:
		assert(message->type == MESSAGE_READ_INDEX_RESULT);
		receive_index_result(driver, peer, message);
		break;
	}
}
