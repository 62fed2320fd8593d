/* The log's disk: what is queued to it, and what has come back from it. */
#include <assert.h>

#include "raft/driver_impl.h"

static void write_push(struct driver *driver, uint64_t first, uint64_t last, size_t bytes)
{
	if (driver->writes_n == driver->writes_capacity) {
		size_t capacity = driver->writes_capacity == 0 ? 64 : driver->writes_capacity * 2;
		struct driver_write *writes = x_malloc(capacity * sizeof *writes);

		for (size_t i = 0; i < driver->writes_n; i++) {
			writes[i] = driver->writes[(driver->writes_head + i) &
						   (driver->writes_capacity - 1)];
		}
		free(driver->writes);
		driver->writes = writes;
		driver->writes_capacity = capacity;
		driver->writes_head = 0;
	}
	driver->writes[(driver->writes_head + driver->writes_n++) & (driver->writes_capacity - 1)] =
		(struct driver_write){driver->write_seq, first, last, bytes};
	driver->unstored_bytes += bytes;
}

void write_append(struct driver *driver, uint64_t first, struct entry *const *entries, unsigned n)
{
	size_t bytes = 0;
	int rc;

	assert(n > 0 && entries[0]->index == first);
	if (first <= driver_last_index(driver)) {
		driver->counters.truncations++;
		tail_truncate(&driver->tail, first);
		if (driver_last_index(driver) >= first) {
			/* The cut lies before what is in memory: it is all on disk. */
			tail_reset(&driver->tail, first);
		}
	}
	for (unsigned i = 0; i < n; i++) {
		tail_append(&driver->tail, entries[i]);
		bytes += sizeof *entries[i] + entries[i]->len;
	}
	driver->write_seq++;
	write_push(driver, first, first + n - 1, bytes);
	rc = driver->io.append(driver->ctx, driver->write_seq, entries, n);
	if (rc != 0) {
		driver_die(driver, rc, "append to the log");
	}
}

/* Takes finished writes off the ring; returns where the durable log ends. */
static uint64_t writes_finish(struct driver *driver, uint64_t seq)
{
	uint64_t end = 0;

	while (driver->writes_n > 0) {
		const struct driver_write *write = &driver->writes[driver->writes_head];

		if (write->seq > seq) {
			break;
		}
		end = write->last;
		assert(driver->unstored_bytes >= write->bytes);
		driver->unstored_bytes -= write->bytes;
		driver->writes_head = (driver->writes_head + 1) & (driver->writes_capacity - 1);
		driver->writes_n--;
	}
	return end;
}

/* What a queued write will cut off is not ours to count: the leader of the next term may already
 * have replaced it in memory. */
static uint64_t writes_uncut(const struct driver *driver, uint64_t end)
{
	for (size_t i = 0; i < driver->writes_n; i++) {
		const struct driver_write *write =
			&driver->writes[(driver->writes_head + i) & (driver->writes_capacity - 1)];

		if (write->first <= end) {
			end = write->first - 1;
		}
	}
	return end;
}

void driver_persisted(struct driver *driver, uint64_t seq, int rc)
{
	struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};
	uint64_t end;

	if (!driver_enter(driver)) {
		return;
	}
	assert(seq <= driver->write_seq);
	if (rc != 0) {
		driver_die(driver, rc, "write the log");
	}
	end = writes_finish(driver, seq);
	if (driver_guard_on(driver, GUARD_TRUNCATED)) {
		end = writes_uncut(driver, end);
	}
	if (!driver->dead && !driver->installing && end > driver->raft.last_stored) {
		event.persisted_entries.index = end;
		(void)driver_step(driver, &event, NULL); /* Ends in driver_die() on failure. */
	}
	driver_leave(driver);
}

void driver_read_done(
	struct driver *driver, uint64_t token, int rc, struct entry **entries, unsigned n)
{
	struct driver_peer *peer = NULL;

	if (driver_enter(driver)) {
		if (rc == KLUIS_EIO || rc == KLUIS_ECORRUPT) {
			driver_die(driver, rc, "read the log");
		}
		for (unsigned i = 0; i < driver->peers_n; i++) {
			if (driver->peer[i].read_token == token) {
				peer = &driver->peer[i];
			}
		}
		if (!driver->dead && token == driver->apply_token) {
			apply_read_done(driver, rc, entries, n);
		} else if (!driver->dead && peer != NULL) {
			peer_read_done(driver, peer, rc, entries, n);
		}
		driver_leave(driver);
	}
	for (unsigned i = 0; i < n; i++) {
		entry_unref(entries[i]);
	}
}
