/* One raft_step() and its effects in their order, and what follows from it. */
#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "raft/driver_impl.h"

static int step_vote(struct driver *driver, const struct raft_update *update)
{
	int rc = 0;

	if (update->flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) {
		rc = driver->io.store_vote(
			driver->ctx, driver->raft.current_term, driver->raft.voted_for);
		if (rc != 0) {
			driver_die(driver, rc, "store the vote");
		}
	}
	return rc;
}

static void step_entries(struct driver *driver, const struct raft_update *update,
	const struct driver_step_input *input)
{
	struct raft_entry *batch = update->entries.batch;
	void *memory;

	if (!(update->flags & (RAFT_UPDATE_ENTRIES))) {
		return;
	}
	memory = batch[0].batch;
	if (batch == &driver->raft.barrier) {
		struct entry *entry = entry_new(
			update->entries.index, driver->raft.current_term, ENTRY_BARRIER, 0);

		write_append(driver, update->entries.index, &entry, 1);
		entry_unref(entry);
	} else {
		assert(input != NULL && update->entries.index >= input->first);
		assert(update->entries.index + update->entries.n == input->first + input->n);
		write_append(driver, update->entries.index,
			input->entries + (update->entries.index - input->first), update->entries.n);
	}
	raft_free(memory); /* libraft's view of them; the entries are ours. */
}

static void step_snapshot(struct driver *driver, struct raft_update *update)
{
	if (!(update->flags & (RAFT_UPDATE_SNAPSHOT))) {
		return;
	}
	raft_free(update->snapshot.chunk.base);
	raft_configuration_close(&update->snapshot.metadata.configuration);
	snapshot_install(driver);
}

static void send_result(struct driver *driver, uint64_t peer,
	const struct raft_append_entries_result *result, bool stale)
{
	struct message message = {.type = MESSAGE_APPEND_RESULT, .term = result->term};
	const struct driver_peer *known = peer_get(driver, peer);

	message.append_result.rejected = result->rejected;
	message.append_result.last_index = result->last_log_index;
	message.append_result.marks =
		(struct message_marks){contact_mark(driver), known->newest.mark};
	if (stale && driver_guard_on(driver, GUARD_STALE_APPEND)) {
		/* libraft leaves last_log_index uninitialised here and, for an append from the
		 * log's beginning, says success: a leader of the new term would take that as a
		 * match and commit with a copy that does not exist. */
		message.append_result.last_index = 0;
		message.append_result.rejected += message.append_result.rejected == 0;
	}
	peer_send(driver, peer, &message);
}

static void step_message(struct driver *driver, const struct raft_message *from, bool stale)
{
	struct message message = {.term = driver->raft.current_term};

	switch (from->type) {
	case RAFT_APPEND_ENTRIES:
		peer_send_append(driver, from->server_id, &from->append_entries);
		return;
	case RAFT_APPEND_ENTRIES_RESULT:
		send_result(driver, from->server_id, &from->append_entries_result, stale);
		return;
	case RAFT_REQUEST_VOTE:
		message.type = MESSAGE_VOTE;
		message.term = from->request_vote.term;
		message.vote.last_index = from->request_vote.last_log_index;
		message.vote.last_term = from->request_vote.last_log_term;
		message.vote.disrupt = from->request_vote.disrupt_leader;
		break;
	case RAFT_REQUEST_VOTE_RESULT:
		message.type = MESSAGE_VOTE_RESULT;
		message.term = from->request_vote_result.term;
		message.vote_result.granted = from->request_vote_result.vote_granted;
		break;
	case RAFT_INSTALL_SNAPSHOT:
		peer_want_manifest(driver, from->server_id, from->install_snapshot.last_index);
		return;
	case RAFT_TIMEOUT_NOW:
		message.type = MESSAGE_TIMEOUT_NOW;
		message.timeout_now.last_index = from->timeout_now.last_log_index;
		message.timeout_now.last_term = from->timeout_now.last_log_term;
		break;
	}
	if (message.term != 0) { /* A node without any state has nothing to say. */
		peer_send(driver, from->server_id, &message);
	}
}

/* Leadership won or lost in this step. */
static void step_role(struct driver *driver, const struct raft_update *update, uint64_t term)
{
	bool leader = driver_is_leader(driver);

	if (leader && (!driver->was_leader || driver->raft.current_term != term)) {
		driver->counters.elections++;
		peers_reset(driver);
		reads_lost(driver, KLUIS_ENOTLEADER);
		driver->inflight_bytes = 0;
		driver->inflight_commit = driver_last_index(driver);
		/* Raft thesis 6.4: without an entry of the own term it stays unknown what is
		 * committed. libraft makes one only when it sees uncommitted entries. */
		driver->barrier_due = !(update->flags & (RAFT_UPDATE_ENTRIES)) &&
				      driver_guard_on(driver, GUARD_BARRIER);
		log_debug("op=raft state=leader term=%llu", (unsigned long long)term);
	} else if (!leader && driver->was_leader) {
		peers_reset(driver);
		reads_lost(driver, KLUIS_ENOTLEADER);
		driver->inflight_bytes = 0;
		driver->barrier_due = false;
		log_debug("op=raft state=follower term=%llu", (unsigned long long)term);
	}
	driver->was_leader = leader;
}

/* Due after every step, not only when libraft says that it moved. */
static void step_timer(struct driver *driver)
{
	uint64_t due = raft_timeout(&driver->raft);

	if (due < driver->now_ms + TIMER_MS_MIN && driver_guard_on(driver, GUARD_TIMER)) {
		/* A leader with a member it does not send to would be due in the past for ever. */
		driver->counters.timer_clamps++;
		due = driver->now_ms + TIMER_MS_MIN;
	}
	driver->deadline_ms = due;
}

int driver_step(
	struct driver *driver, struct raft_event *event, const struct driver_step_input *input)
{
	struct raft_update update;
	uint64_t term = driver->raft.current_term;
	bool stale = input != NULL && input->stale;
	int rv;

	assert(driver->busy && !driver->dead);
	memset(&update, 0, sizeof update);
	event->time = driver->now_ms;
	event->capacity = 0;
	driver->counters.steps++;
	rv = raft_step(&driver->raft, event, &update);
	if (rv != 0) {
		if (event->type != RAFT_SUBMIT && event->type != RAFT_TRANSFER) {
			/* The core's state may be half changed. */
			driver_die(driver, KLUIS_EINTERNAL, raft_strerror(rv));
		}
		return rv;
	}
	if (step_vote(driver, &update) != 0) {
		return 0;
	}
	step_entries(driver, &update, input);
	if (!driver->dead) {
		/* Before the messages: what is held for peers is the old role's. */
		step_role(driver, &update, term);
	}
	for (unsigned i = 0; i < update.messages.n && !driver->dead; i++) {
		step_message(driver, &update.messages.batch[i], stale);
	}
	if (!driver->dead) {
		step_snapshot(driver, &update);
		step_timer(driver);
	}
	return 0;
}

/* --- what follows --- */

int driver_append_own(struct driver *driver, struct entry *entry)
{
	struct raft_event event = {.type = RAFT_SUBMIT};
	struct driver_step_input input = {
		.entries = &entry, .first = driver_last_index(driver) + 1, .n = 1};
	struct raft_entry raft_entry;
	void *batch;
	int rv;

	entry->index = input.first;
	entry->term = driver->raft.current_term;
	batch = convert_entries(&entry, 1, &raft_entry);
	event.submit.entries = &raft_entry;
	event.submit.n = 1;
	rv = driver_step(driver, &event, &input);
	if (rv != 0) {
		raft_free(batch);
	}
	return rv;
}

static void settle_barrier(struct driver *driver)
{
	struct entry *entry;

	driver->barrier_due = false;
	if (!driver_is_leader(driver)) {
		return;
	}
	entry = entry_new(0, 0, ENTRY_BARRIER, 0);
	if (driver_append_own(driver, entry) != 0) {
		driver_die(driver, KLUIS_EINTERNAL, "barrier of a new term");
	}
	entry_unref(entry);
}

/* Takes what was committed out of the count of what is in flight. */
static void settle_inflight(struct driver *driver)
{
	while (driver->inflight_bytes > 0 && driver->inflight_commit < driver->raft.commit_index) {
		const struct entry *entry = tail_get(&driver->tail, ++driver->inflight_commit);

		assert(entry != NULL);
		if (entry->type == ENTRY_COMMAND) {
			assert(entry->len + sizeof *entry <= driver->inflight_bytes);
			driver->inflight_bytes -= entry->len + sizeof *entry;
		}
	}
}

/* Keeps what is not on disk or not committed, and of the rest what fits. */
static void settle_tail(struct driver *driver)
{
	uint64_t limit = driver->raft.commit_index < driver->raft.last_stored
				 ? driver->raft.commit_index
				 : driver->raft.last_stored;

	while (driver->tail.bytes > driver->options.cache_bytes && driver->tail.n > 0 &&
		driver->tail.first <= limit) {
		tail_drop(&driver->tail, driver->tail.first);
	}
}

void driver_settle(struct driver *driver)
{
	bool more = true;

	assert(driver->busy);
	while (more && !driver->dead) {
		if (driver->barrier_due) {
			settle_barrier(driver);
		} else {
			more = apply_issue(driver);
		}
	}
	if (driver->dead) {
		return;
	}
	rebuild_progress(driver);
	if (driver->dead) {
		return;
	}
	commit_tell(driver);
	settle_inflight(driver);
	settle_tail(driver);
	reads_progress(driver);
}
