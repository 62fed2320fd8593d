/* Membership: one member at a time, and only while it cannot cost the quorum. */
#include <assert.h>

#include "raft/driver_impl.h"

enum change_kind { CHANGE_ADD, CHANGE_REMOVE, CHANGE_PROMOTE, CHANGE_DEMOTE };

struct change {
	enum change_kind kind;
	uint64_t id;
};

/* What differs between old and next; false unless it is one member and a legal move. */
static bool change_find(const struct configuration *old, const struct configuration *next,
	struct change *ret_change)
{
	unsigned moves = 0;

	for (unsigned i = 0; i < next->n; i++) {
		const struct member *now = &next->member[i];
		const struct member *was = configuration_member(old, now->id);

		if (was == NULL) {
			moves += now->role == MEMBER_STANDBY ? 1 : 2;
			*ret_change = (struct change){CHANGE_ADD, now->id};
		} else if (was->role != now->role) {
			moves++;
			*ret_change = (struct change){
				now->role == MEMBER_VOTER ? CHANGE_PROMOTE : CHANGE_DEMOTE,
				now->id};
		}
	}
	for (unsigned i = 0; i < old->n; i++) {
		const struct member *was = &old->member[i];

		if (configuration_member(next, was->id) == NULL) {
			moves += was->role == MEMBER_STANDBY ? 1 : 2;
			*ret_change = (struct change){CHANGE_REMOVE, was->id};
		}
	}
	return moves == 1;
}

bool driver_member_current(const struct driver *driver, uint64_t id)
{
	struct driver_peer_status status = driver_peer_status(driver, id);

	/* However short the log is: one that has not heard that it is a member votes for nobody. */
	return id == driver->options.id ||
	       (status.heard_ms < driver->options.election_timeout_ms &&
		       status.match >= driver->raft.configuration_committed_index &&
		       status.match + CHANGE_LAG_ENTRIES_MAX >= driver_last_index(driver));
}

/* A majority of its voters is online and caught up. */
static bool change_quorum(const struct driver *driver, const struct configuration *configuration)
{
	unsigned current = 0;

	for (unsigned i = 0; i < configuration->n; i++) {
		const struct member *member = &configuration->member[i];

		current +=
			member->role == MEMBER_VOTER && driver_member_current(driver, member->id);
	}
	return current > configuration_voters(configuration) / 2;
}

static int change_check_now(const struct driver *driver, struct err *e)
{
	if (!driver_is_leader(driver)) {
		return err_set(e, KLUIS_ENOTLEADER, "this node is not the leader");
	}
	if (!driver_is_ready(driver) && driver_guard_on(driver, GUARD_CHANGE_TERM)) {
		/* Ongaro, raft-dev 2015: without it two configurations that differ by two servers
		 * can each have a quorum. */
		return err_set(e, KLUIS_EAGAIN, "the leader has not committed anything yet");
	}
	if (driver->raft.configuration_uncommitted_index != 0) {
		return err_set(e, KLUIS_EAGAIN, "another change is under way");
	}
	if (raft_transferee(&driver->raft) != 0) {
		return err_set(e, KLUIS_EAGAIN, "leadership moves");
	}
	return 0;
}

static int change_check_move(const struct driver *driver, const struct configuration *old,
	const struct configuration *next, struct err *e)
{
	struct change change = {CHANGE_ADD, 0};
	bool legal = change_find(old, next, &change);

	if (!legal && driver_guard_on(driver, GUARD_CHANGE_ONE)) {
		return err_set(e, KLUIS_EINVAL,
			"a change moves one member by one step, and only standbys come and go");
	}
	if (configuration_voters(next) < VOTERS_MIN &&
		driver_guard_on(driver, GUARD_CHANGE_VOTERS)) {
		return err_set(e, KLUIS_EINVAL, "fewer than %d voters would be left", VOTERS_MIN);
	}
	if (change.id == driver->options.id && (change.kind != CHANGE_ADD)) {
		return err_set(e, KLUIS_EINVAL, "hand leadership over first");
	}
	if (!driver_guard_on(driver, GUARD_CHANGE_ONLINE)) {
		return 0;
	}
	/* Not by libraft's rounds of catching up: one that has everything ends none of them until
	 * the next entry comes, and while one is under way no other change is possible. */
	if (change.kind == CHANGE_PROMOTE && !driver_member_current(driver, change.id)) {
		return err_set(e, KLUIS_EAGAIN, "member %llu has not caught up",
			(unsigned long long)change.id);
	}
	if (!change_quorum(driver, old) || !change_quorum(driver, next)) {
		return err_set(
			e, KLUIS_EAGAIN, "no majority of the voters is online and caught up");
	}
	return 0;
}

static int change_check(
	const struct driver *driver, const struct configuration *next, struct err *e)
{
	struct configuration old;
	int rc = change_check_now(driver, e);

	if (rc == 0) {
		driver_configuration(driver, &old);
		rc = change_check_move(driver, &old, next, e);
	}
	return rc;
}

int driver_change(struct driver *driver, const struct configuration *next, struct err *e)
{
	struct buf bytes = BUF_INIT;
	struct entry *entry;
	int rc = KLUIS_ECLOSED;

	if (!driver_enter(driver)) {
		return rc;
	}
	rc = change_check(driver, next, e);
	if (rc == 0) {
		configuration_encode(next, &bytes);
		entry = entry_copy(0, 0, ENTRY_CONFIGURATION, buf_bytes(&bytes));
		if (driver_append_own(driver, entry) != 0) {
			rc = err_set(e, KLUIS_EAGAIN, "the core refused the change");
		}
		entry_unref(entry);
		buf_release(&bytes);
	} else {
		driver->counters.refused_changes++;
	}
	driver_leave(driver);
	return rc;
}
