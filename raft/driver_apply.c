/* Committed entries to the state machine: in order, from memory or the log, bounded. */
#include <assert.h>

#include "raft/driver_impl.h"

static uint64_t apply_limit(const struct driver *driver)
{
	uint64_t commit = driver->raft.commit_index, stored = driver->raft.last_stored;

	/* What is committed elsewhere may not be on our own disk yet: applied first and lost in a
	 * crash, the state machine would be ahead of the log. */
	return commit > stored && driver_guard_on(driver, GUARD_APPLY_STORED) ? stored : commit;
}

void apply_reset(struct driver *driver, uint64_t index)
{
	driver->applied = driver->apply_issued = index;
	driver->apply_token = 0;
	driver->batch_head = driver->batch_n = 0;
	driver->apply_bytes = 0;
	driver->apply_entries = 0;
}

void apply_reset_to(struct driver *driver, const struct driver_snapshot *snapshot)
{
	apply_reset(driver, snapshot->index);
	driver->members =
		(struct driver_members){snapshot->configuration_index, snapshot->configuration};
}

/* How many of entries[0 .. n-1] may go now: within the bounds, and up to a configuration, which
 * must be closed before the next entry is looked at. */
static unsigned apply_room(
	const struct driver *driver, struct entry *const *entries, unsigned n, size_t *ret_bytes)
{
	size_t bytes = 0;
	unsigned k = 0;

	while (k < n && driver->apply_entries + k < APPLY_ENTRIES_MAX) {
		size_t more = entries[k]->len;

		if (driver->apply_bytes + bytes + more > APPLY_BYTES_MAX &&
			driver->apply_entries + k > 0) {
			break;
		}
		bytes += more;
		if (entries[k++]->type == ENTRY_CONFIGURATION) {
			break;
		}
	}
	*ret_bytes = bytes;
	return k;
}

static void apply_configuration(struct driver *driver, const struct entry *entry)
{
	struct raft_event event = {.type = RAFT_CONFIGURATION};
	struct driver_members *members = &driver->members;

	if (configuration_decode(entry_bytes(entry), &members->configuration, NULL) != 0) {
		driver_die(driver, KLUIS_ECORRUPT, "configuration in the log");
		return;
	}
	members->index = entry->index;
	if (driver->raft.configuration_uncommitted_index != entry->index) {
		return;
	}
	event.configuration.index = entry->index;
	event.configuration.conf = convert_to_raft(&members->configuration);
	(void)driver_step(driver, &event, NULL); /* Ends in driver_die() on failure. */
}

/* Gives away as many of the entries as fit; true if a step was made. */
static bool apply_give(struct driver *driver, struct entry *const *entries, unsigned n)
{
	size_t bytes;
	unsigned k = apply_room(driver, entries, n, &bytes);
	int rc;

	if (k == 0) {
		return false;
	}
	assert(entries[0]->index == driver->apply_issued + 1);
	driver->apply_issued += k;
	driver->apply_entries += k;
	driver->apply_bytes += bytes;
	driver->batch[(driver->batch_head + driver->batch_n++) % APPLY_ENTRIES_MAX] =
		(struct driver_batch){driver->apply_issued, bytes};
	rc = driver->io.apply(driver->ctx, entries, k);
	if (rc != 0) {
		driver_die(driver, rc, "apply");
		return false;
	}
	if (entries[k - 1]->type == ENTRY_CONFIGURATION) {
		apply_configuration(driver, entries[k - 1]);
	}
	return true;
}

static void apply_read(struct driver *driver, uint64_t limit)
{
	uint64_t left = limit - driver->apply_issued;
	int rc;

	driver->apply_token = ++driver->token;
	driver->counters.log_reads++;
	rc = driver->io.read(driver->ctx, driver->apply_token, driver->apply_issued + 1,
		left < LOG_READ_ENTRIES_MAX ? (unsigned)left : LOG_READ_ENTRIES_MAX);
	if (rc != 0) {
		driver_die(driver, rc, "read the log");
	}
}

bool apply_issue(struct driver *driver)
{
	struct entry *entries[APPLY_ENTRIES_MAX];
	uint64_t limit = apply_limit(driver);
	unsigned n = 0;

	if (driver->installing || driver->rebuilding || driver->apply_token != 0 ||
		limit <= driver->apply_issued || driver->apply_entries == APPLY_ENTRIES_MAX) {
		return false;
	}
	while (n < APPLY_ENTRIES_MAX && driver->apply_issued + n < limit) {
		entries[n] = tail_get(&driver->tail, driver->apply_issued + 1 + n);
		if (entries[n] == NULL) {
			break;
		}
		n++;
	}
	if (n == 0) {
		apply_read(driver, limit);
		return false;
	}
	return apply_give(driver, entries, n);
}

void apply_read_done(struct driver *driver, int rc, struct entry **entries, unsigned n)
{
	driver->apply_token = 0;
	for (unsigned i = 0; i < n; i++) {
		uint64_t index = driver->apply_issued + 1 + i;

		if (entries[i]->index != index ||
			entries[i]->term != driver_term_of(driver, index)) {
			driver_die(driver, KLUIS_ECORRUPT, "committed entry in the log");
			return;
		}
	}
	if (rc != 0 || n == 0) {
		driver_die(driver, rc == 0 ? KLUIS_ECORRUPT : rc, "committed entry in the log");
		return;
	}
	if (driver->rebuilding) {
		return; /* Began while they were read. */
	}
	(void)apply_give(driver, entries, n); /* What does not fit is read again. */
}

void driver_applied(struct driver *driver, uint64_t index, int rc)
{
	if (!driver_enter(driver)) {
		return;
	}
	if (rc != 0) {
		driver_die(driver, rc, "apply");
	}
	/* What was under way when a snapshot took its place is in the snapshot. */
	if (!driver->dead && !driver->installing && !driver->replacing && index > driver->applied) {
		assert(index <= driver->apply_issued);
		driver->apply_entries -= (unsigned)(index - driver->applied);
		driver->applied = index;
		while (driver->batch_n > 0 && driver->batch[driver->batch_head].last <= index) {
			driver->apply_bytes -= driver->batch[driver->batch_head].bytes;
			driver->batch_head = (driver->batch_head + 1) % APPLY_ENTRIES_MAX;
			driver->batch_n--;
		}
	}
	driver_leave(driver);
}
