/* A peer's data takes the place of our own, which is lost or worth nothing, while the log stays.
 * What this node promised stands in its log and its vote: it votes, acknowledges and may lead
 * meanwhile. The state machine is a function of the log, so that data which stands at an entry that
 * our own log has, too, is what ours would be. */
#include <assert.h>

#include "raft/driver_impl.h"

bool rebuild_takes(const struct driver *driver, const struct driver_snapshot *snapshot)
{
	return driver->rebuilding && snapshot->index >= driver->apply_issued &&
	       driver_term_of(driver, snapshot->index) == snapshot->term;
}

void rebuild_end(struct driver *driver)
{
	driver->rebuilding = driver->replacing = false;
	driver->rebuild_asked_ms = driver->rebuild_early = 0;
	fetch_forget(driver);
}

/* --- asking --- */

/* Rebuilding, and nothing is fetched that may help. */
static bool rebuild_idle(const struct driver *driver)
{
	const struct driver_fetch *fetch = &driver->fetch;

	if (!driver->rebuilding || driver->installing || driver->replacing) {
		return false;
	}
	/* One from before the rebuilding began, which our log passed, is of no use. */
	return fetch->state == FETCH_NONE ||
	       (fetch->state == FETCH_READY && !rebuild_takes(driver, &fetch->snapshot) &&
		       fetch->snapshot.index <= driver_last_index(driver));
}

uint64_t rebuild_deadline(const struct driver *driver)
{
	if (!rebuild_idle(driver) || driver->raft.configuration.n == 0) {
		return UINT64_MAX;
	}
	return driver->rebuild_asked_ms == 0 ? driver->now_ms
					     : driver->rebuild_asked_ms + SNAPSHOT_RESEND_MS;
}

static bool rebuild_ask_peer(struct driver *driver, uint64_t peer)
{
	struct message message = {.type = MESSAGE_SNAPSHOT_WANT, .term = driver->raft.current_term};

	/* No older than what is there: what was applied is not applied again. */
	message.snapshot_want.min_index = driver->apply_issued;
	return peer != driver->options.id && message.term != 0 &&
	       peer_try_send(driver, peer, &message) == 0;
}

/* One member after the other: any may have good data, and the leader has other work. */
static void rebuild_ask(struct driver *driver)
{
	const struct raft_configuration *members = &driver->raft.configuration;
	bool asked = false;

	for (unsigned i = 0; i < members->n && !asked; i++) {
		asked = rebuild_ask_peer(
			driver, members->servers[driver->rebuild_asks++ % members->n].id);
	}
	driver->rebuild_asked_nobody = !asked;
	driver->rebuild_early = 0;
	driver->rebuild_asked_ms = driver->now_ms == 0 ? 1 : driver->now_ms;
}

void driver_connected(struct driver *driver, uint64_t peer)
{
	struct driver_peer *known;

	if (driver_enter(driver)) {
		known = peer_find(driver, peer);
		if (known != NULL) {
			peer_connected(driver, known);
		}
		if (driver->rebuild_asked_nobody) {
			driver->rebuild_asked_ms = 0; /* At once, if it is still to be. */
		}
		driver_leave(driver);
	}
}

void rebuild_given(struct driver *driver, uint64_t peer, const struct message *message)
{
	const struct message_snapshot *given = message->snapshot;
	struct driver_snapshot snapshot = {.index = given->index,
		.term = given->index_term,
		.configuration_index = given->configuration_index,
		.configuration = given->configuration};

	if (!rebuild_idle(driver)) {
		return;
	}
	if (rebuild_takes(driver, &snapshot)) {
		fetch_begin(driver, peer, message, &snapshot);
		driver->fetch.term = 0; /* Not for the core: it is perhaps no leader's. */
	} else if (driver->rebuild_asked_ms != 0 && snapshot.index > driver_last_index(driver)) {
		driver->rebuild_early = snapshot.index;
	}
}

/* A node that was away is given what its log gets only now: then the same one is asked again. */
static void rebuild_caught_up(struct driver *driver)
{
	if (driver->rebuild_early != 0 && driver->rebuild_early <= driver_last_index(driver) &&
		rebuild_idle(driver)) {
		assert(driver->rebuild_asks > 0);
		driver->rebuild_asks--;
		rebuild_ask(driver);
	}
}

/* --- putting it in place --- */

/* Only at what our own disk has: behind the end of the log a crash would leave the state machine
 * ahead of it. */
static bool rebuild_ready(const struct driver *driver)
{
	return driver->fetch.state == FETCH_READY && !driver->installing && !driver->replacing &&
	       rebuild_takes(driver, &driver->fetch.snapshot) &&
	       driver->fetch.snapshot.index <= driver->raft.last_stored;
}

static void rebuild_replace(struct driver *driver)
{
	int rc;

	driver->replacing = true;
	driver->counters.replaces++;
	apply_reset(driver, driver->applied);
	rc = driver->io.replace(driver->ctx, &driver->fetch.snapshot);
	if (rc != 0) {
		driver_die(driver, rc, "replace the state machine's data");
	}
}

void rebuild_progress(struct driver *driver)
{
	if (rebuild_ready(driver)) {
		rebuild_replace(driver);
	} else if (rebuild_deadline(driver) <= driver->now_ms) {
		rebuild_ask(driver);
	} else {
		rebuild_caught_up(driver);
	}
}

void driver_replaced(struct driver *driver, int rc)
{
	if (!driver_enter(driver)) {
		return;
	}
	assert(driver->replacing && driver->fetch.state == FETCH_READY);
	if (rc != 0) {
		driver_die(driver, rc, "replace the state machine's data");
	} else {
		apply_reset_to(driver, &driver->fetch.snapshot);
		rebuild_end(driver);
		driver_close_configuration(driver);
	}
	driver_leave(driver);
}

/* --- begin and end --- */

void driver_rebuild(struct driver *driver)
{
	if (driver_enter(driver)) {
		driver->rebuilding = true;
		driver_leave(driver);
	}
}

int driver_rebuild_stop(struct driver *driver)
{
	if (driver->replacing) {
		return KLUIS_EBUSY;
	}
	if (driver_enter(driver)) {
		driver->rebuilding = false;
		driver->rebuild_asked_ms = 0;
		driver_leave(driver);
	}
	return 0;
}
