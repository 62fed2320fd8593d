/* Telling the peers what is committed without waiting for the next entries or heartbeat: a request
 * that came in at a follower is answered once that follower applied it, and a read there waits for
 * the same. */
#include <assert.h>

#include "raft/driver_impl.h"

/* An append without entries, as a heartbeat is one. Both its log position and the commit index it
 * carries are what the peer is known to have: so whatever else stands in the peer's log, it cannot
 * commit an entry that is not ours. */
static void commit_tell_peer(struct driver *driver, struct driver_peer *peer, uint64_t match)
{
	struct raft_append_entries append = {.term = driver->raft.current_term,
		.prev_log_index = match,
		.prev_log_term = driver_term_of(driver, match),
		.leader_commit =
			driver->raft.commit_index < match ? driver->raft.commit_index : match};

	if (append.prev_log_term != 0 && append.leader_commit > peer->told_commit) {
		peer_send_append(driver, peer->id, &append);
		driver->counters.commits_told++;
	}
}

void commit_tell(struct driver *driver)
{
	if (!driver_is_leader(driver) || driver->told_commit >= driver->raft.commit_index) {
		return;
	}
	if (driver->now_ms < driver->told_ms + COMMIT_TELL_MS) {
		return; /* commit_tell_deadline() brings us back. */
	}
	for (unsigned i = 0; i < driver->peers_n; i++) {
		raft_index match = 0;

		if (driver->peer[i].core_snapshot == 0 &&
			raft_match_index(&driver->raft, driver->peer[i].id, &match) == 0 &&
			match > 0) {
			commit_tell_peer(driver, &driver->peer[i], match);
		}
	}
	driver->told_commit = driver->raft.commit_index;
	driver->told_ms = driver->now_ms;
}

uint64_t commit_tell_deadline(const struct driver *driver)
{
	bool due = driver_is_leader(driver) && driver->told_commit < driver->raft.commit_index;

	return due ? driver->told_ms + COMMIT_TELL_MS : UINT64_MAX;
}
