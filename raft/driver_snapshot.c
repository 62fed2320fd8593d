/* Snapshots: taken here, or offered by a leader, fetched beside the live data and put in its place.
 * The core cannot abort an install, takes no entries and cannot stand for election during one, so
 * that it hears of an offer only when all its bytes are here. */
#include <assert.h>

#include "raft/driver_impl.h"

void fetch_forget(struct driver *driver)
{
	driver->fetch.state = FETCH_NONE;
	buf_release(&driver->fetch.manifest);
}

static bool snapshot_same(const struct driver_snapshot *a, const struct driver_snapshot *b)
{
	return a->index == b->index && a->term == b->term &&
	       a->configuration_index == b->configuration_index &&
	       configuration_equal(&a->configuration, &b->configuration);
}

/* The core answers at once when it has these entries already, else it asks for the install. */
static void snapshot_feed(
	struct driver *driver, uint64_t from, uint64_t term, const struct driver_snapshot *snapshot)
{
	struct raft_event event = {.type = RAFT_RECEIVE};
	struct raft_message raft = {.type = RAFT_INSTALL_SNAPSHOT};
	struct driver_peer *peer = peer_get(driver, from);

	raft.server_id = peer->id;
	raft.server_address = peer->address;
	raft.install_snapshot = (struct raft_install_snapshot){.term = term,
		.last_index = snapshot->index,
		.last_term = snapshot->term,
		.conf = convert_to_raft(&snapshot->configuration),
		.conf_index = snapshot->configuration_index,
		.data = {raft_malloc(sizeof(uint64_t)), sizeof(uint64_t)}};
	event.receive.message = &raft;
	(void)driver_step(driver, &event, NULL); /* Ends in driver_die() on failure. */
	if (driver->fetch.state == FETCH_READY && !driver->installing) {
		fetch_forget(driver); /* It came too late: the log has it by now. */
	}
}

void fetch_begin(struct driver *driver, uint64_t peer, const struct message *message,
	const struct driver_snapshot *snapshot)
{
	int rc;

	driver->fetch.state = FETCH_RUNNING;
	driver->fetch.source = peer;
	driver->fetch.term = message->term;
	driver->fetch.snapshot = *snapshot;
	buf_clear(&driver->fetch.manifest);
	buf_append_bytes(&driver->fetch.manifest, message->snapshot->manifest);
	rc = driver->io.fetch(driver->ctx, peer, snapshot, buf_bytes(&driver->fetch.manifest));
	if (rc != 0) {
		driver_die(driver, rc, "fetch a snapshot");
	}
}

void snapshot_offered(struct driver *driver, uint64_t peer, const struct message *message)
{
	const struct message_snapshot *offer = message->snapshot;
	const struct driver_fetch *fetch = &driver->fetch;
	struct driver_snapshot snapshot = {.index = offer->index,
		.term = offer->index_term,
		.configuration_index = offer->configuration_index,
		.configuration = offer->configuration};

	if (message->term < driver->raft.current_term &&
		driver_guard_on(driver, GUARD_STALE_SNAPSHOT)) {
		/* libraft answers it with success and an index that it never set. */
		driver->counters.dropped_stale++;
		return;
	}
	if (driver->installing || driver->replacing) {
		return;
	}
	if (snapshot.index <= driver->raft.trail.snapshot.index ||
		driver_term_of(driver, snapshot.index) == snapshot.term ||
		message->term < driver->raft.current_term) {
		snapshot_feed(driver, peer, message->term, &snapshot);
	} else if (fetch->state == FETCH_READY && snapshot_same(&fetch->snapshot, &snapshot)) {
		snapshot_feed(driver, peer, message->term, &snapshot);
	} else if (fetch->state == FETCH_RUNNING && fetch->source == peer &&
		   fetch->term == message->term && driver_guard_on(driver, GUARD_REOFFER)) {
		return; /* The leader offers again at every heartbeat; perhaps a newer one. */
	} else {
		fetch_begin(driver, peer, message, &snapshot);
		if (!driver->dead && !driver_guard_on(driver, GUARD_PREFETCH)) {
			snapshot_feed(driver, peer, message->term, &snapshot);
		}
	}
}

void driver_fetched(struct driver *driver, int rc)
{
	struct driver_fetch *fetch = &driver->fetch;

	if (!driver_enter(driver)) {
		return;
	}
	if (fetch->state != FETCH_RUNNING) {
		driver_leave(driver);
		return;
	}
	if (rc != 0) {
		fetch_forget(driver);
	} else {
		fetch->state = FETCH_READY;
		if (driver->installing) { /* Only with GUARD_PREFETCH off. */
			snapshot_install(driver);
		} else if (rebuild_takes(driver, &fetch->snapshot)) {
			driver_leave(driver); /* rebuild_progress() puts it in its place. */
			return;
		} else if (fetch->term == driver->raft.current_term && !driver_is_leader(driver)) {
			snapshot_feed(driver, fetch->source, fetch->term, &fetch->snapshot);
		} /* Else the new leader's offer decides. */
	}
	driver_leave(driver);
}

void snapshot_install(struct driver *driver)
{
	const struct driver_snapshot *snapshot = &driver->fetch.snapshot;
	int rc;

	driver->installing = true;
	if (driver->fetch.state != FETCH_READY) {
		assert(!driver_guard_on(driver, GUARD_PREFETCH));
		return;
	}
	driver->counters.installs++;
	tail_reset(&driver->tail, snapshot->index + 1);
	apply_reset(driver, driver->applied);
	driver->write_seq++;
	rc = driver->io.install(driver->ctx, driver->write_seq, snapshot);
	if (rc != 0) {
		driver_die(driver, rc, "install a snapshot");
	}
}

void driver_installed(struct driver *driver, int rc)
{
	struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT};

	if (!driver_enter(driver)) {
		return;
	}
	assert(driver->installing && driver->fetch.state == FETCH_READY);
	if (rc != 0) {
		driver_die(driver, rc, "install a snapshot");
	} else {
		/* Earlier writes lie before it in the queue, later ones there are none. */
		driver->writes_n = 0;
		driver->unstored_bytes = 0;
		driver->installing = false;
		driver->snapshot = driver->fetch.snapshot;
		apply_reset_to(driver, &driver->snapshot);
		rebuild_end(driver);
		event.persisted_snapshot.metadata = convert_snapshot(&driver->snapshot);
		event.persisted_snapshot.last = true;
		(void)driver_step(driver, &event, NULL); /* Ends in driver_die() on failure. */
	}
	driver_leave(driver);
}

/* --- taken here --- */

int driver_snapshot_at(
	const struct driver *driver, uint64_t index, struct driver_snapshot *ret_snapshot)
{
	const struct driver_members *members = &driver->members;
	uint64_t term = driver_term_of(driver, index);

	/* Not the newest configuration that the core knows to be committed: after a restart that
	 * one is perhaps far ahead of what is applied, and a member without which nothing more is
	 * committed may wait for this very snapshot. */
	if (driver->dead || driver->installing || driver->replacing || term == 0 ||
		index > driver->applied || members->index > index) {
		return KLUIS_EAGAIN;
	}
	*ret_snapshot = (struct driver_snapshot){.index = index,
		.term = term,
		.configuration_index = members->index,
		.configuration = members->configuration};
	return 0;
}

/* How many entries before index stay in the log. */
void driver_set_trailing(struct driver *driver, unsigned entries)
{
	driver->options.trailing_entries = entries;
}

static unsigned snapshot_trailing(const struct driver *driver, uint64_t index)
{
	uint64_t pinned = peers_pinned(driver);
	uint64_t trailing = driver->options.trailing_entries;

	if (pinned <= index && index - pinned + 1 > trailing) {
		trailing = index - pinned + 1; /* Its own entry, too: the core asks for its term. */
	}
	return trailing < SNAPSHOT_PINNED_ENTRIES_MAX ? (unsigned)trailing
						      : SNAPSHOT_PINNED_ENTRIES_MAX;
}

static void snapshot_record(struct driver *driver, const struct driver_snapshot *snapshot)
{
	struct raft_event event = {.type = RAFT_SNAPSHOT};
	uint64_t before = driver->raft.trail.offset, after;
	int rc;

	event.snapshot.metadata = convert_snapshot(snapshot);
	event.snapshot.trailing = snapshot_trailing(driver, snapshot->index);
	(void)driver_step(driver, &event, NULL); /* Ends in driver_die() on failure. */
	if (driver->dead) {
		return;
	}
	driver->snapshot = *snapshot;
	after = driver->raft.trail.offset;
	tail_drop(&driver->tail, after);
	rc = driver->io.snapshot_record(driver->ctx, snapshot, after > before ? after : 0);
	if (rc != 0) {
		driver_die(driver, rc, "record a snapshot");
	}
}

int driver_snapshot_taken(struct driver *driver, uint64_t index)
{
	struct driver_snapshot snapshot;
	int rc = KLUIS_ECLOSED;

	if (!driver_enter(driver)) {
		return rc;
	}
	rc = driver_snapshot_at(driver, index, &snapshot);
	if (driver_guard_on(driver, GUARD_SNAPSHOT)) {
		/* Only a closed configuration may be recorded as the snapshot's. */
		if (driver->raft.configuration_uncommitted_index != 0 ||
			index <= driver->raft.trail.snapshot.index) {
			rc = KLUIS_EAGAIN;
		}
		/* Its term is known from the last snapshot alone: a peer could not go on from
		 * there. */
		if (peers_pinned(driver) <= driver->raft.trail.offset) {
			rc = KLUIS_EAGAIN;
		}
	} else if (rc == 0) {
		convert_from_raft(&driver->raft.configuration, &snapshot.configuration);
	}
	if (rc == 0) {
		snapshot_record(driver, &snapshot);
	}
	driver_leave(driver);
	return rc;
}
