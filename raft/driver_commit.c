/* Telling the peers what is committed without waiting for the next entries or heartbeat: a request
 * that came in at a follower is answered once that follower applied it, and a read there waits for
 * the same. */
#include <assert.h>

#include "raft/driver_impl.h"

/* How far the peer could be told: its answers say what it has of our log. */
static uint64_t commit_known(const struct driver *driver, const struct driver_peer *peer)
{
	raft_index match = 0;

	if (peer->core_snapshot != 0 || raft_match_index(&driver->raft, peer->id, &match) != 0) {
		return 0;
	}
	return driver->raft.commit_index < match ? driver->raft.commit_index : match;
}

/* A peer whose answer was not among the quorum's is told when that answer comes: often it is the
 * one at which the request waits. */
static bool commit_tell_due(const struct driver *driver)
{
	if (!driver_is_leader(driver)) {
		return false;
	}
	for (unsigned i = 0; i < driver->peers_n; i++) {
		if (commit_known(driver, &driver->peer[i]) > driver->peer[i].told_commit) {
			return true;
		}
	}
	return false;
}

/* An append without entries, as a heartbeat is one. Both its log position and the commit index it
 * carries are what the peer is known to have: so whatever else stands in the peer's log, it cannot
 * commit an entry that is not ours. */
static void commit_tell_peer(struct driver *driver, struct driver_peer *peer)
{
	uint64_t known = commit_known(driver, peer);
	struct raft_append_entries append = {.term = driver->raft.current_term,
		.prev_log_index = known,
		.prev_log_term = known == 0 ? 0 : driver_term_of(driver, known),
		.leader_commit = known};

	if (append.prev_log_term != 0 && known > peer->told_commit) {
		peer_send_append(driver, peer->id, &append);
		driver->counters.commits_told++;
	}
	peer->told_commit = known > peer->told_commit ? known : peer->told_commit;
}

static uint64_t commit_tell_ms(const struct driver *driver)
{
	return driver->told_ms + (driver->more_comes ? COMMIT_TELL_MORE_MS : COMMIT_TELL_MS);
}

void driver_expect_more(struct driver *driver, bool more)
{
	driver->more_comes = more;
}

void commit_tell(struct driver *driver)
{
	if (driver->now_ms < commit_tell_ms(driver) || !commit_tell_due(driver)) {
		return; /* commit_tell_deadline() brings us back. */
	}
	for (unsigned i = 0; i < driver->peers_n; i++) {
		commit_tell_peer(driver, &driver->peer[i]);
	}
	driver->told_ms = driver->now_ms;
}

uint64_t commit_tell_deadline(const struct driver *driver)
{
	return commit_tell_due(driver) ? commit_tell_ms(driver) : UINT64_MAX;
}
