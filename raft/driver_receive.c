/* What comes from a peer: decoded, filtered by the guards, then to the core. */
#include <assert.h>

#include "raft/driver_impl.h"

enum { RAFT_FEATURES = 1 /* The peer reports its capacity: always 0. */ };

static void receive_step(struct driver *driver, struct driver_peer *peer,
	struct raft_message *message, const struct driver_step_input *input)
{
	struct raft_event event = {.type = RAFT_RECEIVE};

	message->server_id = peer->id;
	message->server_address = peer->address;
	event.receive.message = message;
	(void)driver_step(driver, &event, input); /* Ends in driver_die() on failure. */
}

/* --- append --- */

/* A leader proposes a second configuration only when the first is committed, so the second's
 * arrival behind the first commits the first. libraft keeps one open configuration and on a cut
 * would fall back to the one before both. */
static void append_chain(struct driver *driver, const struct message *message, unsigned at)
{
	struct raft_event event = {.type = RAFT_CONFIGURATION};
	const struct message_append *append = &message->append;
	uint64_t open = driver->raft.configuration_uncommitted_index;
	uint64_t prev_index = append->prev_index + at;
	uint64_t prev_term = at == 0 ? append->prev_term : append->entries[at - 1]->term;

	if (open == 0 || open > prev_index || message->term < driver->raft.current_term ||
		driver_term_of(driver, prev_index) != prev_term || driver_is_leader(driver) ||
		!driver_guard_on(driver, GUARD_CHAIN)) {
		return;
	}
	event.configuration.index = open;
	event.configuration.conf = convert_copy(&driver->raft.configuration);
	(void)driver_step(driver, &event, NULL); /* Ends in driver_die() on failure. */
}

/* Entries from .. to-1 of the message as an append of their own. */
static void append_part(struct driver *driver, struct driver_peer *peer,
	const struct message *message, unsigned from, unsigned to)
{
	const struct message_append *append = &message->append;
	struct raft_message raft = {.type = RAFT_APPEND_ENTRIES};
	struct driver_step_input input = {.entries = to > from ? append->entries + from : NULL,
		.first = append->prev_index + from + 1,
		.n = to - from,
		.stale = message->term < driver->raft.current_term};

	raft.append_entries = (struct raft_append_entries){.term = message->term,
		.prev_log_index = append->prev_index + from,
		.prev_log_term = from == 0 ? append->prev_term : append->entries[from - 1]->term,
		.leader_commit = append->commit,
		.n_entries = to - from};
	if (to > from) {
		/* libraft frees the batch, or gives it back in the update. */
		(void)convert_entries(append->entries + from, to - from, driver->raft_entries);
		raft.append_entries.entries = driver->raft_entries;
	}
	receive_step(driver, peer, &raft, &input);
}

/* How much of a leader's append our snapshot covers: true if our log begins behind its previous
 * entry. What the snapshot covers is committed, so that this leader has the same. The core would
 * reject it, and a leader that knows of an older match takes that for a late answer: it would send
 * the same for ever. */
static bool append_covered(
	const struct driver *driver, const struct message *message, uint64_t *ret_covered)
{
	const struct raft_trail *trail = &driver->raft.trail;
	uint64_t prev_index = message->append.prev_index;

	if (message->term < driver->raft.current_term || prev_index >= trail->snapshot.index ||
		trail->offset == 0 || driver->installing ||
		driver_term_of(driver, prev_index) != 0 ||
		!driver_guard_on(driver, GUARD_COVERED)) {
		return false;
	}
	*ret_covered = trail->snapshot.index - prev_index;
	return true;
}

/* All of it is covered: an append of nothing behind the snapshot says so to the leader. */
static void append_nothing(
	struct driver *driver, struct driver_peer *peer, const struct message *message)
{
	const struct raft_trail *trail = &driver->raft.trail;
	struct raft_message raft = {.type = RAFT_APPEND_ENTRIES};
	struct driver_step_input input = {.stale = false};

	raft.append_entries = (struct raft_append_entries){.term = message->term,
		.prev_log_index = trail->snapshot.index,
		.prev_log_term = trail->snapshot.term,
		.leader_commit = message->append.commit};
	receive_step(driver, peer, &raft, &input);
}

/* libraft records a configuration at the index of its step's first new entry: one that is not first
 * would never be closed nor rolled back. */
static void receive_append(
	struct driver *driver, struct driver_peer *peer, const struct message *message)
{
	const struct message_append *append = &message->append;
	uint64_t covered = 0;
	unsigned from = 0;

	if (append_covered(driver, message, &covered)) {
		if (covered >= append->n) {
			append_nothing(driver, peer, message);
			return;
		}
		from = (unsigned)covered; /* The core compares the term of the entry before. */
	}
	if (append->n > 0 && driver->unstored_bytes > UNSTORED_BYTES_MAX &&
		message->term >= driver->raft.current_term) {
		return; /* Our disk is behind: the leader sends it again. */
	}
	for (unsigned i = from; i < append->n && !driver->dead; i++) {
		if (append->entries[i]->type != ENTRY_CONFIGURATION) {
			continue;
		}
		if (i > from && driver_guard_on(driver, GUARD_SPLIT)) {
			driver->counters.splits++;
			append_part(driver, peer, message, from, i);
			from = i;
		}
		if (!driver->dead) {
			append_chain(driver, message, i);
		}
	}
	if (!driver->dead) {
		append_part(driver, peer, message, from, append->n);
	}
}

/* The core waits for the newest snapshot that it named; the peer was offered one when it asked
 * first and has installed that one now. Told that the newest does not match, the core goes on from
 * there. */
static void receive_installed(struct driver *driver, struct driver_peer *peer, uint64_t last_index)
{
	struct raft_message raft = {.type = RAFT_APPEND_ENTRIES_RESULT};
	uint64_t waited = peer->core_snapshot;

	if (driver->dead || !driver_is_leader(driver) || peer->pinned == 0 ||
		last_index < peer->pinned) {
		return;
	}
	peer->pinned = peer->core_snapshot = 0;
	if (last_index < waited && driver_guard_on(driver, GUARD_INSTALLED)) {
		raft.append_entries_result =
			(struct raft_append_entries_result){.term = driver->raft.current_term,
				.rejected = waited,
				.last_log_index = last_index,
				.features = RAFT_FEATURES};
		receive_step(driver, peer, &raft, NULL);
	}
}

static void receive_append_result(
	struct driver *driver, struct driver_peer *peer, const struct message *message)
{
	struct raft_message raft = {.type = RAFT_APPEND_ENTRIES_RESULT};
	uint64_t rejected = message->append_result.rejected;
	raft_index match = 0;

	if (driver_is_leader(driver) && message->term == driver->raft.current_term &&
		raft_match_index(&driver->raft, peer->id, &match) == 0) {
		peer->heard_ms = driver->now_ms == 0 ? 1 : driver->now_ms;
		contact_answered(driver, peer, &message->append_result.marks);
		/* A late rejection would set the next index at or below the match: "in flight"
		 * wraps to a huge number and the peer gets empty heartbeats for ever. */
		if (rejected > 0 &&
			(rejected <= match || message->append_result.last_index < match) &&
			driver_guard_on(driver, GUARD_REJECTION)) {
			driver->counters.dropped_rejections++;
			return;
		}
	}
	raft.append_entries_result = (struct raft_append_entries_result){.term = message->term,
		.rejected = rejected,
		.last_log_index = message->append_result.last_index,
		.features = RAFT_FEATURES};
	receive_step(driver, peer, &raft, NULL);
	if (rejected == 0 && message->term == driver->raft.current_term) {
		receive_installed(driver, peer, message->append_result.last_index);
	}
}

/* --- the rest --- */

/* This node's own row of the configuration; NULL: it is no member. */
static struct raft_server *receive_self(struct driver *driver)
{
	struct raft_configuration *all = &driver->raft.configuration;

	for (unsigned i = 0; i < all->n; i++) {
		if (all->servers[i].id == driver->options.id) {
			return &all->servers[i];
		}
	}
	return NULL;
}

/* Raft thesis 4.1: whose vote counts is for the candidate's configuration to say. One that has not
 * heard of its own promotion and therefore grants no vote can leave the cluster without a leader
 * for ever, when the leader that promoted it is lost. libraft denies: for this one step the node
 * votes. */
static void receive_vote_standing_by(struct driver *driver, struct driver_peer *peer,
	struct raft_message *raft, struct raft_server *self)
{
	assert(driver->raft.state == RAFT_FOLLOWER);
	self->role = RAFT_VOTER;
	receive_step(driver, peer, raft, NULL);
	receive_self(driver)->role = RAFT_STANDBY; /* A vote changes no configuration. */
}

/* Raft thesis 4.2.3: a server denies its vote for the minimum election timeout after it heard of a
 * leader. libraft denies it until its own timer has run out, and never forgets a leader while it
 * stands by: the first candidate would have to wait until the others stand, too, who then have no
 * vote left to give. */
static void receive_forget_leader(struct driver *driver)
{
	struct raft *raft = &driver->raft;

	if (raft->state == RAFT_FOLLOWER && driver_guard_on(driver, GUARD_SILENT_LEADER) &&
		driver->now_ms - driver->leader_ms >= driver->options.election_timeout_ms) {
		/* Both, or what is written next is reported to node 0. */
		raft->follower_state.current_leader.id = 0;
		raft_free(raft->follower_state.current_leader.address);
		raft->follower_state.current_leader.address = NULL;
	}
}

static void receive_vote(
	struct driver *driver, struct driver_peer *peer, const struct message *message)
{
	struct raft_message raft = {.type = RAFT_REQUEST_VOTE};
	struct raft_server *self = receive_self(driver);

	raft.request_vote = (struct raft_request_vote){.term = message->term,
		.candidate_id = peer->id,
		.last_log_index = message->vote.last_index,
		.last_log_term = message->vote.last_term,
		.disrupt_leader = message->vote.disrupt};
	receive_forget_leader(driver);
	if (self != NULL && self->role == RAFT_STANDBY &&
		driver_guard_on(driver, GUARD_STANDBY_VOTES)) {
		receive_vote_standing_by(driver, peer, &raft, self);
	} else {
		receive_step(driver, peer, &raft, NULL);
	}
}

static void receive_vote_result(
	struct driver *driver, struct driver_peer *peer, const struct message *message)
{
	struct raft_message raft = {.type = RAFT_REQUEST_VOTE_RESULT};

	/* libraft looks into the candidate's half of a union before it asks whether it is one. */
	if (driver->raft.state != RAFT_CANDIDATE && driver_guard_on(driver, GUARD_VOTE_RESULT)) {
		driver->counters.dropped_votes++;
		return;
	}
	raft.request_vote_result =
		(struct raft_request_vote_result){.version = 2, /* Says whether it is a pre-vote. */
			.term = message->term,
			.vote_granted = message->vote_result.granted,
			.features = RAFT_FEATURES};
	receive_step(driver, peer, &raft, NULL);
}

static void receive_timeout_now(
	struct driver *driver, struct driver_peer *peer, const struct message *message)
{
	struct raft_message raft = {.type = RAFT_TIMEOUT_NOW};

	raft.timeout_now = (struct raft_timeout_now){.term = message->term,
		.last_log_index = message->timeout_now.last_index,
		.last_log_term = message->timeout_now.last_term};
	receive_step(driver, peer, &raft, NULL);
}

static void receive_dispatch(
	struct driver *driver, struct driver_peer *peer, const struct message *message)
{
	switch (message->type) {
	case MESSAGE_APPEND:
		contact_heard(peer, message->append.marks.sent, driver->now_ms);
		receive_append(driver, peer, message);
		contact_append(driver, peer, message);
		break;
	case MESSAGE_APPEND_RESULT:
		receive_append_result(driver, peer, message);
		break;
	case MESSAGE_VOTE:
		receive_vote(driver, peer, message);
		break;
	case MESSAGE_VOTE_RESULT:
		receive_vote_result(driver, peer, message);
		break;
	case MESSAGE_SNAPSHOT:
		snapshot_offered(driver, peer->id, message);
		break;
	case MESSAGE_TIMEOUT_NOW:
		receive_timeout_now(driver, peer, message);
		break;
	case MESSAGE_READ_ROUND:
	case MESSAGE_READ_ROUND_RESULT:
	case MESSAGE_READ_INDEX:
	case MESSAGE_READ_INDEX_RESULT:
		reads_receive(driver, peer->id, message);
		break;
	case MESSAGE_SNAPSHOT_WANT:
		peer_wants_snapshot(driver, peer, message);
		break;
	case MESSAGE_SNAPSHOT_GIVE:
		rebuild_given(driver, peer->id, message);
		break;
	case MESSAGE_PROPOSE: /* Not for the core: driver_receive() hands them on. */
	case MESSAGE_PROPOSE_RESULT:
		break;
	}
}

/* A term has one leader. The core would note whoever claims our own as a follower's leader, in the
 * half of a union where a leader keeps its peers' progress. */
static bool receive_usurps(const struct driver *driver, const struct message *message)
{
	return driver_is_leader(driver) && message->term == driver->raft.current_term &&
	       (message->type == MESSAGE_APPEND || message->type == MESSAGE_SNAPSHOT);
}

/* What the decoder cannot know: the bytes of configurations, and who leads. The core is built
 * without its asserts and believes everything. */
static bool receive_valid(const struct driver *driver, const struct message *message)
{
	struct configuration configuration;

	if (receive_usurps(driver, message)) {
		return false;
	}
	if (message->type != MESSAGE_APPEND || !driver_guard_on(driver, GUARD_VALIDATE)) {
		return true;
	}
	for (unsigned i = 0; i < message->append.n; i++) {
		const struct entry *entry = message->append.entries[i];

		if (entry->type == ENTRY_CONFIGURATION &&
			configuration_decode(entry_bytes(entry), &configuration, NULL) != 0) {
			return false;
		}
		if (entry->type == ENTRY_BARRIER && entry->len != 0) {
			return false;
		}
	}
	return true;
}

int driver_receive(struct driver *driver, uint64_t peer, uint64_t connection, struct bytes bytes)
{
	struct driver_peer *known;
	struct message message;
	bool proposed;
	int rc;

	if (peer == 0 || peer == driver->options.id) {
		return KLUIS_EPROTO;
	}
	if (!driver_enter(driver)) {
		return KLUIS_ECLOSED;
	}
	driver->counters.received++;
	known = peer_get(driver, peer);
	if (connection < known->connection && driver_guard_on(driver, GUARD_FIFO)) {
		driver->counters.dropped_old_connection++;
		driver_leave(driver);
		return 0;
	}
	known->connection = connection;
	rc = message_decode(bytes, &message, NULL);
	if (rc == 0 && !receive_valid(driver, &message)) {
		message_release(&message);
		rc = KLUIS_EPROTO;
	}
	proposed = rc == 0 &&
		   (message.type == MESSAGE_PROPOSE || message.type == MESSAGE_PROPOSE_RESULT);
	if (rc != 0) {
		driver->counters.malformed++;
	} else if (!proposed) {
		driver->receiving = known;
		receive_dispatch(driver, known, &message);
		driver->receiving = NULL;
	}
	driver_leave(driver);
	if (proposed && !driver->dead) {
		/* Outside, for a refusal is answered at once, through the driver. */
		driver->io.proposed(driver->ctx, peer, &message);
	}
	if (rc == 0) {
		message_release(&message);
	}
	return rc == 0 ? 0 : KLUIS_EPROTO;
}
