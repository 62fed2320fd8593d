/* When this node last knew how far the cluster's log is committed: the age of a stale read counts
 * from there. That a leader's name is remembered says nothing: a standby never forgets it. Nor does
 * it say much that a message came: it may have waited long, for instance in our own socket while
 * this process was stopped. So moments are those at which something was SENT to which the message
 * is an answer, as with a lease (Raft thesis 6.4.1).
 *
 * A leader counts from the newest moment at which it sent what more than half of the voters have
 * answered: until then nobody else can have led. To a follower it echoes a mark of that one's once
 * a quorum has answered what was sent after the mark had come: all that was committed before the
 * follower made that mark is below the commit index that the append names. */
#include <assert.h>

#include "raft/driver_impl.h"

uint64_t contact_mark(const struct driver *driver)
{
	return driver->mark_base + driver->now_ms;
}

/* When we made it; 0: it is none of this process, or there is none. */
static uint64_t mark_ms(const struct driver *driver, uint64_t mark)
{
	uint64_t ms = mark - driver->mark_base;

	return mark == 0 || ms > driver->now_ms ? 0 : ms;
}

void contact_heard(struct driver_peer *peer, uint64_t mark, uint64_t now_ms)
{
	peer->newest = (struct driver_mark){mark, now_ms};
}

void contact_append(
	struct driver *driver, const struct driver_peer *peer, const struct message *message)
{
	const struct message_append *append = &message->append;
	uint64_t ms = mark_ms(driver, append->marks.echo);

	if (driver_is_leader(driver) || message->term != driver->raft.current_term ||
		driver_leader(driver) != peer->id) {
		return;
	}
	driver->leader_ms = driver->now_ms;
	if (ms > driver->contact.ms && append->commit >= driver->contact.commit) {
		driver->contact = (struct driver_contact){ms, append->commit};
	}
}

void contact_answered(
	struct driver *driver, struct driver_peer *peer, const struct message_marks *marks)
{
	uint64_t ms = mark_ms(driver, marks->echo);

	contact_heard(peer, marks->sent, driver->now_ms);
	peer->asked_ms = ms > peer->asked_ms ? ms : peer->asked_ms;
}

/* The latest moment by which more than half of the voters have answered what we sent; we
 * answer ourselves. */
static uint64_t contact_quorum_ms(const struct driver *driver, uint64_t now_ms)
{
	const struct raft_configuration *all = &driver->raft.configuration;
	uint64_t heard[SITES_MAX]; /* Latest first. */
	unsigned voters = 0;

	assert(all->n <= SITES_MAX);
	for (unsigned i = 0; i < all->n; i++) {
		const struct driver_peer *peer = peer_find(driver, all->servers[i].id);
		uint64_t ms = peer == NULL ? 0 : peer->asked_ms;
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

struct message_marks contact_marks(struct driver *driver, struct driver_peer *peer)
{
	/* Before an entry of its own term is committed a leader does not know what is. */
	if (driver_is_ready(driver) &&
		contact_quorum_ms(driver, driver->now_ms) > peer->due.came_ms) {
		peer->echo = peer->due.mark;
		peer->due = peer->newest;
	}
	return (struct message_marks){contact_mark(driver), peer->echo};
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
