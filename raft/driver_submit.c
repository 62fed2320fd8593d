/* What the owner asks of a leader: proposals and a hand-over. */
#include <assert.h>
#include <stdatomic.h>

#include "raft/driver_impl.h"

/* The state machine has all the bytes before it that it may, and more are committed: the others are
 * faster. What is committed meanwhile is answered here only once it is applied here. */
static bool submit_outruns_apply(const struct driver *driver)
{
	return driver->raft.commit_index > driver->apply_issued &&
	       driver->apply_bytes > APPLY_BYTES_MAX - ENTRY_BYTES_MAX;
}

static int submit_check(const struct driver *driver, size_t bytes)
{
	const struct raft *raft = &driver->raft;

	if (!driver_is_leader(driver)) {
		return KLUIS_ENOTLEADER;
	}
	if (!driver_is_ready(driver) || raft_transferee(raft) != 0) {
		return KLUIS_EAGAIN;
	}
	/* A leader can commit far ahead of its own slow disk and of its own state machine. */
	if (driver_guard_on(driver, GUARD_PROPOSAL_BYTES) &&
		(driver->inflight_bytes + bytes > PROPOSALS_BYTES_MAX ||
			driver->unstored_bytes + bytes > 2 * PROPOSALS_BYTES_MAX ||
			driver_last_index(driver) - driver->applied > APPLY_LAG_ENTRIES_MAX ||
			submit_outruns_apply(driver))) {
		return KLUIS_EBUSY;
	}
	return 0;
}

int driver_submit(struct driver *driver, struct entry *entry, uint64_t *ret_index)
{
	size_t bytes = sizeof *entry + entry->len;
	int rc = KLUIS_ECLOSED;

	assert(entry->type == ENTRY_COMMAND && atomic_load(&entry->refs) == 1);
	if (driver_enter(driver)) {
		rc = submit_check(driver, bytes);
		if (rc == 0) {
			if (driver->inflight_bytes == 0) {
				driver->inflight_commit = driver_last_index(driver);
			}
			driver->inflight_bytes += bytes;
			if (driver_append_own(driver, entry) != 0) {
				driver->inflight_bytes -= bytes;
				rc = KLUIS_EAGAIN;
			}
		}
		if (rc == 0) {
			*ret_index = entry->index;
		}
		driver_leave(driver);
	}
	entry_unref(entry);
	return rc;
}

/* The voter whose log is furthest among those that answered lately; 0: none. */
static uint64_t transfer_choose(const struct driver *driver)
{
	const struct raft_configuration *all = &driver->raft.configuration;
	uint64_t best = 0, best_match = 0;

	for (unsigned i = 0; i < all->n; i++) {
		uint64_t id = all->servers[i].id;
		struct driver_peer_status status = driver_peer_status(driver, id);

		if (id != driver->options.id && all->servers[i].role == RAFT_VOTER &&
			status.heard_ms < driver->options.election_timeout_ms &&
			status.match > best_match) {
			best = id;
			best_match = status.match;
		}
	}
	return best;
}

int driver_transfer(struct driver *driver, uint64_t peer)
{
	struct raft_event event = {.type = RAFT_TRANSFER};
	int rc = KLUIS_ECLOSED;

	if (!driver_enter(driver)) {
		return rc;
	}
	if (peer == 0 && driver_is_leader(driver)) {
		peer = transfer_choose(driver);
	}
	event.transfer.server_id = peer;
	if (!driver_is_leader(driver)) {
		rc = KLUIS_ENOTLEADER;
	} else if (raft_transferee(&driver->raft) != 0) {
		rc = KLUIS_EBUSY;
	} else if (peer == 0) {
		rc = KLUIS_ENOQUORUM;
	} else {
		rc = driver_step(driver, &event, NULL) == 0 ? 0 : KLUIS_EINVAL;
	}
	driver_leave(driver);
	return rc;
}
