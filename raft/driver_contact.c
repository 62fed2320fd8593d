/* When this node last knew how far the cluster's log is committed: the age of a stale read counts
 * from there. That a leader's name is remembered says nothing: a standby never forgets it. */
#include <assert.h>

#include "raft/driver_impl.h"

void contact_append(
	struct driver *driver, const struct driver_peer *peer, const struct message *message)
{
	const struct message_append *append = &message->append;

	if (driver_is_leader(driver) || message->term != driver->raft.current_term ||
		driver_leader(driver) != peer->id) {
		return;
	}
	driver->leader_ms = driver->now_ms;
	/* A lower commit index is one that tells this peer of its own log alone, or an older
	 * leader's of which the new one does not know yet. */
	if (append->commit >= driver->contact.commit) {
		driver->contact = (struct driver_contact){driver->now_ms, append->commit};
	}
}

/* The latest moment by which more than half of the voters had answered; we answer ourselves. */
static uint64_t contact_quorum_ms(const struct driver *driver, uint64_t now_ms)
{
	const struct raft_configuration *all = &driver->raft.configuration;
	uint64_t heard[SITES_MAX]; /* Latest first. */
	unsigned voters = 0;

	assert(all->n <= SITES_MAX);
	for (unsigned i = 0; i < all->n; i++) {
		const struct driver_peer *peer = peer_find(driver, all->servers[i].id);
		uint64_t ms = peer == NULL ? 0 : peer->heard_ms;
		unsigned at = voters;

		if (all->servers[i].role != RAFT_VOTER) {
			continue;
		}
		ms = all->servers[i].id == driver->options.id ? now_ms : ms;
		for (; at > 0 && heard[at - 1] < ms; at--) {
			heard[at] = heard[at - 1];
		}
		heard[at] = ms;
		voters++;
	}
	return voters == 0 ? 0 : heard[voters / 2];
}

struct driver_contact driver_contact(struct driver *driver)
{
	uint64_t ms = 0;

	if (driver_is_ready(driver)) {
		ms = contact_quorum_ms(driver, driver->io.now_ms(driver->ctx));
	}
	if (ms > driver->contact.ms && driver->raft.commit_index >= driver->contact.commit) {
		driver->contact = (struct driver_contact){ms, driver->raft.commit_index};
	}
	return driver->contact;
}
