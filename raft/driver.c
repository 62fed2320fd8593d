#include "raft/driver.h"

#include <assert.h>
#include <stdio.h>

#include "raft/driver_impl.h"

static const char *const guard_names[] = {
#define X(sym, name) [sym] = name,
	DRIVER_GUARDS(X)
#undef X
};

const char *driver_guard_name(enum driver_guard guard)
{
	assert(guard < DRIVER_GUARD_MAX);
	return guard_names[guard];
}

bool driver_guard_on(const struct driver *driver, enum driver_guard guard)
{
#ifdef KLUIS_TEST_BUILD
	return (driver->options.guards_off & BIT(guard)) == 0;
#else
	(void)driver;
	(void)guard;
	return true;
#endif
}

struct driver_options driver_options_default(uint64_t id, uint32_t seed)
{
	return (struct driver_options){.id = id,
		.election_timeout_ms = ELECTION_TIMEOUT_MS,
		.heartbeat_ms = HEARTBEAT_MS,
		.trailing_entries = SNAPSHOT_TRAILING_ENTRIES,
		.inflight_entries = INFLIGHT_ENTRIES_MAX,
		.cache_bytes = LOG_CACHE_BYTES_MAX,
		.seed = seed};
}

/* --- life --- */

struct driver *driver_new(
	const struct driver_options *options, const struct driver_io *io, void *ctx)
{
	struct driver *driver = x_calloc(1, sizeof *driver);
	char id[24];
	int rv;

	assert(options->id != 0 && options->inflight_entries > 0);
	driver->options = *options;
	driver->io = *io;
	driver->ctx = ctx;
	(void)snprintf(id, sizeof id, "%llu", (unsigned long long)options->id);
	rv = raft_init(&driver->raft, NULL, NULL, options->id, id);
	assert(rv == 0);
	driver->raft.tracer = NULL; /* The default one formats every line and then drops it. */
	raft_seed(&driver->raft, options->seed);
	raft_set_election_timeout(&driver->raft, options->election_timeout_ms);
	raft_set_heartbeat_timeout(&driver->raft, options->heartbeat_ms);
	/* Then the core looks again where the peer stands, and we whether it still fetches. */
	raft_set_install_snapshot_timeout(&driver->raft, SNAPSHOT_RESEND_MS);
	raft_set_max_inflight_entries(&driver->raft, options->inflight_entries);
	/* A pre-vote can wedge a 3/3 split for ever: terms never rise. */
	raft_set_pre_vote(&driver->raft, false);
	/* An election while most disks report "full" would leave a leader that cannot lead. */
	raft_set_capacity_threshold(
		&driver->raft, driver_guard_on(driver, GUARD_CAPACITY) ? 0 : UINT16_MAX);
	driver->raft_entries = x_malloc(ENTRIES_PER_MESSAGE_MAX * sizeof *driver->raft_entries);
	tail_init(&driver->tail, 1);
	/* Answers to what an earlier process of this node asked must not match. */
	driver->reads.round = (uint64_t)options->seed << 32;
	driver->mark_base = ((uint64_t)options->seed << 32) + 1; /* 0 is no mark. */
	return driver;
}

void driver_free(struct driver *driver)
{
	if (driver == NULL) {
		return;
	}
	assert(!driver->busy);
	for (unsigned i = 0; i < driver->peers_n; i++) {
		peer_drop_held(&driver->peer[i]);
	}
	raft_close(&driver->raft, NULL);
	tail_release(&driver->tail);
	reads_release(&driver->reads);
	buf_release(&driver->fetch.manifest);
	buf_release(&driver->scratch);
	free(driver->writes);
	free(driver->raft_entries);
	free(driver);
}

struct entry *driver_bootstrap(const struct configuration *configuration)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;

	configuration_encode(configuration, &bytes);
	return entry_copy(1, 1, ENTRY_CONFIGURATION, buf_bytes(&bytes));
}

/* Which members the state machine's data knows of. */
static void start_members(struct driver *driver, const struct driver_start *start)
{
	struct driver_members *members = &driver->members;

	if (start->snapshot != NULL) {
		*members = (struct driver_members){
			start->snapshot->configuration_index, start->snapshot->configuration};
	}
	for (size_t i = 0; i < start->n && start->first_index + i <= start->applied; i++) {
		const struct driver_log_entry *entry = &start->entries[i];
		uint64_t index = start->first_index + i;

		if (entry->type == ENTRY_CONFIGURATION && index > members->index) {
			int rc = configuration_decode(
				entry_bytes(entry->entry), &members->configuration, NULL);

			assert(rc == 0); /* start_check() saw it. */
			members->index = index;
		}
	}
}

static int start_check(const struct driver_start *start, struct err *e)
{
	uint64_t snapshot = start->snapshot == NULL ? 0 : start->snapshot->index;
	uint64_t last = start->n > 0 ? start->first_index + start->n - 1 : snapshot;
	uint64_t last_term = 0;

	if (start->first_index == 0 || start->first_index > snapshot + 1) {
		return err_set(e, KLUIS_ECORRUPT, "log begins at %llu behind the snapshot at %llu",
			(unsigned long long)start->first_index, (unsigned long long)snapshot);
	}
	if (last < snapshot) {
		return err_set(e, KLUIS_ECORRUPT, "log ends before the snapshot at %llu",
			(unsigned long long)snapshot);
	}
	if (start->applied < snapshot || start->applied > last) {
		return err_set(e, KLUIS_ECORRUPT, "applied index %llu is not in the log",
			(unsigned long long)start->applied);
	}
	for (size_t i = 0; i < start->n; i++) {
		const struct driver_log_entry *entry = &start->entries[i];
		struct configuration configuration;
		uint64_t index = start->first_index + i;

		if (entry->term < last_term || entry->term == 0 || entry->term > start->term ||
			!entry_type_valid(entry->type)) {
			return err_set(e, KLUIS_ECORRUPT, "log entry %llu of term %llu",
				(unsigned long long)index, (unsigned long long)entry->term);
		}
		if (entry->type == ENTRY_CONFIGURATION &&
			configuration_decode(entry_bytes(entry->entry), &configuration, e) != 0) {
			return err_wrap(
				e, KLUIS_ECORRUPT, "log entry %llu", (unsigned long long)index);
		}
		last_term = entry->term;
	}
	if (snapshot == 0 && start->n > 0 && start->entries[0].type != ENTRY_CONFIGURATION) {
		return err_set(e, KLUIS_ECORRUPT, "log does not begin with a configuration");
	}
	return 0;
}

/* What libraft wants to see of the log; each configuration has a batch of its own. */
static struct raft_entry *start_entries(const struct driver_start *start)
{
	struct raft_entry *entries = x_calloc(start->n + 1, sizeof *entries);

	for (size_t i = 0; i < start->n; i++) {
		const struct driver_log_entry *from = &start->entries[i];

		entries[i] = (struct raft_entry){
			.term = from->term, .type = (enum raft_entry_type)from->type};
		if (from->type == ENTRY_CONFIGURATION) {
			(void)convert_entries(&from->entry, 1, &entries[i]); /* In .batch. */
		}
	}
	return entries;
}

/* The last configuration of a log counts as open until it is applied again; the state machine may
 * have it already. */
void driver_close_configuration(struct driver *driver)
{
	uint64_t open = driver->raft.configuration_uncommitted_index;

	if (open != 0 && open <= driver->applied && !driver->dead) {
		struct raft_event event = {.type = RAFT_CONFIGURATION};

		event.configuration.index = open;
		event.configuration.conf = convert_copy(&driver->raft.configuration);
		(void)driver_step(driver, &event, NULL); /* Ends in driver_die() on failure. */
	}
}

int driver_start(struct driver *driver, const struct driver_start *start, struct err *e)
{
	struct raft_event event = {.type = RAFT_START};
	struct raft_snapshot_metadata metadata;
	struct raft_entry *entries;
	int rc = start_check(start, e);

	assert(!driver->started);
	if (rc != 0) {
		return rc;
	}
	driver->started = true;
	driver->applied = driver->apply_issued = start->applied;
	driver->rebuilding = start->rebuild;
	start_members(driver, start);
	tail_reset(&driver->tail, start->first_index + start->n);
	if (start->n == 0 && start->snapshot != NULL) {
		tail_reset(&driver->tail, start->snapshot->index + 1);
	}
	event.start.term = start->term;
	event.start.voted_for = start->vote;
	event.start.start_index = start->first_index;
	if (start->snapshot != NULL && start->snapshot->index != 0) {
		driver->snapshot = *start->snapshot;
		metadata = convert_snapshot(start->snapshot);
		event.start.metadata = &metadata;
		if (start->n == 0) {
			event.start.start_index = start->snapshot->index + 1;
		}
	}
	entries = start_entries(start);
	event.start.entries = entries;
	event.start.n_entries = (unsigned)start->n;
	if (driver_enter(driver)) {
		(void)driver_step(driver, &event, NULL); /* Ends in driver_die() on failure. */
		driver_close_configuration(driver);
		driver_leave(driver);
	}
	for (size_t i = 0; i < start->n; i++) {
		raft_free(entries[i].batch);
	}
	free(entries);
	return driver->dead ? err_set(e, KLUIS_ECORRUPT, "%s", driver->error.text) : 0;
}

bool driver_enter(struct driver *driver)
{
	assert(!driver->busy); /* An io function called back into the driver. */
	assert(driver->started);
	if (driver->dead) {
		return false;
	}
	driver->busy = true;
	driver->now_ms = driver->io.now_ms(driver->ctx);
	return true;
}

void driver_leave(struct driver *driver)
{
	if (!driver->dead) {
		driver_settle(driver);
	}
	driver->busy = false;
}

void driver_die(struct driver *driver, int rc, const char *what)
{
	if (driver->dead) {
		return;
	}
	driver->dead = true;
	(void)err_set(&driver->error, rc, "raft: %s: %s", what, err_text(rc));
	driver->io.fatal(driver->ctx, &driver->error);
}

/* --- state --- */

uint64_t driver_term_of(const struct driver *driver, uint64_t index)
{
	const struct raft_trail *trail = &driver->raft.trail;
	unsigned n = trail->front <= trail->back ? trail->back - trail->front
						 : trail->size - trail->front + trail->back;
	uint64_t term = 0;

	if (index == 0 || index <= trail->offset || n == 0 ||
		index > trail->records[(trail->front + n - 1) % trail->size].index) {
		return index != 0 && index == trail->snapshot.index ? trail->snapshot.term : 0;
	}
	/* Newest first: that is where nearly all questions are about. */
	for (unsigned i = n; i > 0; i--) {
		unsigned at = (trail->front + i - 1) % trail->size;

		if (index > trail->records[at].index) {
			break;
		}
		term = trail->records[at].term;
	}
	return term;
}

uint64_t driver_last_index(const struct driver *driver)
{
	return tail_last(&driver->tail);
}

bool driver_is_leader(const struct driver *driver)
{
	return driver->raft.state == RAFT_LEADER;
}

bool driver_is_ready(const struct driver *driver)
{
	return driver_is_leader(driver) && driver->raft.commit_index > 0 &&
	       driver_term_of(driver, driver->raft.commit_index) == driver->raft.current_term;
}

uint64_t driver_leader(const struct driver *driver)
{
	if (driver->raft.state == RAFT_LEADER) {
		return driver->options.id;
	}
	return driver->raft.state == RAFT_FOLLOWER ? driver->raft.follower_state.current_leader.id
						   : 0;
}

unsigned driver_election_timeout_ms(const struct driver *driver)
{
	return driver->options.election_timeout_ms;
}

void driver_configuration(const struct driver *driver, struct configuration *ret_configuration)
{
	convert_from_raft(&driver->raft.configuration, ret_configuration);
}

struct driver_status driver_status(const struct driver *driver)
{
	const struct raft *raft = &driver->raft;

	return (struct driver_status){
		.role = raft->state == RAFT_LEADER	? DRIVER_LEADER
			: raft->state == RAFT_CANDIDATE ? DRIVER_CANDIDATE
							: DRIVER_FOLLOWER,
		.term = raft->current_term,
		.vote = raft->voted_for,
		.leader = driver_leader(driver),
		.ready = driver_is_ready(driver),
		.commit = raft->commit_index,
		.last = driver_last_index(driver),
		.stored = raft->last_stored,
		.applied = driver->applied,
		.first = raft->trail.offset + 1,
		.snapshot = raft->trail.snapshot.index,
		.transferee = raft_transferee(raft),
		.installing = driver->installing,
		.fetching = driver->fetch.state == FETCH_RUNNING,
		.rebuilding = driver->rebuilding,
		.fetched = driver->fetch.state == FETCH_READY,
		.configuration_index = raft->configuration_committed_index,
		.configuration_open = raft->configuration_uncommitted_index,
		.inflight_bytes = driver->inflight_bytes,
	};
}

const struct driver_counters *driver_counters(const struct driver *driver)
{
	return &driver->counters;
}

/* --- timer --- */

uint64_t driver_deadline_ms(const struct driver *driver)
{
	uint64_t due = driver->deadline_ms, reads = reads_deadline(driver);
	uint64_t tell = commit_tell_deadline(driver), rebuild = rebuild_deadline(driver);

	due = reads < due ? reads : due;
	due = rebuild < due ? rebuild : due;
	return tell < due ? tell : due;
}

void driver_tick(struct driver *driver)
{
	if (!driver_enter(driver)) {
		return;
	}
	if (driver->now_ms >= driver->deadline_ms) {
		struct raft_event event = {.type = RAFT_TIMEOUT};

		(void)driver_step(driver, &event, NULL); /* Ends in driver_die() on failure. */
	}
	driver_leave(driver);
}
