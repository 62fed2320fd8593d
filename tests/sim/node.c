#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

/* --- life --- */

struct sim_node *node_new(struct sim *sim, unsigned id)
{
	struct sim_node *node = x_calloc(1, sizeof *node);

	node->sim = sim;
	node->id = id;
	front_clock_init(
		&node->clock, sim, sim->clocks ? 900 + (unsigned)sim_random(sim, 200) : 1000);
	disk_init(&node->disk, machine_new(id));
	node->batches_tail = &node->batches;
	return node;
}

static void node_drop_batches(struct sim_node *node)
{
	while (node->batches != NULL) {
		struct sim_batch *batch = node->batches;

		node->batches = batch->next;
		for (unsigned i = 0; i < batch->n; i++) {
			entry_unref(batch->entry[i]);
		}
		free(batch->entry);
		free(batch);
	}
	node->batches_tail = &node->batches;
}

static void node_drop_volatile(struct sim_node *node)
{
	node_drop_batches(node);
	front_stop(node);
	driver_free(node->driver);
	machine_free(node->machine);
	machine_free(node->flushing);
	machine_free(node->offered);
	machine_free(node->staged);
	node->driver = NULL;
	node->machine = node->flushing = node->offered = node->staged = NULL;
	node->applying = node->installed_due = node->inside = node->doomed = node->failing = false;
	node->crash = CRASH_NEVER;
	node->timer_at = node->paused_until_ms = 0;
}

void node_free(struct sim_node *node)
{
	if (node != NULL) {
		node_drop_volatile(node);
		disk_release(&node->disk);
		free(node);
	}
}

void node_bootstrap(struct sim_node *node, const struct configuration *configuration)
{
	struct entry *entry = driver_bootstrap(configuration);

	disk_bootstrap(&node->disk, entry);
	entry_unref(entry);
}

static void node_driver_start(struct sim_node *node)
{
	const struct sim_disk *disk = &node->disk;
	struct driver_log_entry *entries = x_calloc(disk->n + 1, sizeof *entries);
	struct driver_start start = {.term = disk->term,
		.vote = disk->vote,
		.snapshot = disk->has_snapshot ? &disk->snapshot : NULL,
		.first_index = disk->first,
		.n = disk->n,
		.entries = entries,
		.applied = disk->lost ? (disk->has_snapshot ? disk->snapshot.index : 0)
				      : machine_index(node->machine),
		.rebuild = disk->lost};
	struct err e = {0};

	if (node->sim->options.bug == BUG_OLD_SLOT && disk->old_term != 0) {
		start.term = disk->old_term;
		start.vote = disk->old_vote;
	}
	for (size_t i = 0; i < disk->n; i++) {
		entries[i] = (struct driver_log_entry){.term = disk->entry[i]->term,
			.type = disk->entry[i]->type,
			.entry = disk->entry[i]->type == ENTRY_CONFIGURATION ? disk->entry[i]
									     : NULL};
	}
	if (driver_start(node->driver, &start, &e) != 0 && !node->failing) {
		sim_violate(node->sim, CHECK_START, "node %u does not start: %s", node->id, e.text);
	}
	free(entries);
}

void node_start(struct sim_node *node)
{
	struct sim *sim = node->sim;
	struct driver_options options =
		driver_options_default(node->id, (uint32_t)sim_random(sim, UINT32_MAX));

	options.election_timeout_ms = sim->election_ms;
	options.heartbeat_ms = sim->heartbeat_ms;
	options.trailing_entries = sim->trailing;
	options.inflight_entries = 16;
	options.cache_bytes = sim->cache_bytes;
	options.guards_off = sim->options.guards_off;
	node->up = true;
	node->epoch++;
	front_clock_start(&node->clock, 1000 + sim_random(sim, 1000000));
	node->house_ms = node->disk_checked_ms = 0;
	node->disk.latency_ms =
		sim->healed || sim_chance(sim, 700) ? 5 : 1 + (unsigned)sim_random(sim, 60);
	node->machine = machine_clone(node->disk.machine, node->id);
	machine_live(node->machine);
	if (sim->options.bug == BUG_IMPURE) {
		machine_set_impure(node->machine, true);
	}
	if (sim->options.bug == BUG_APPLY_TWICE || sim->options.bug == BUG_APPLY_SKIP) {
		machine_shift(node->machine, sim->options.bug == BUG_APPLY_TWICE ? -1 : 1,
			node->disk.has_snapshot ? node->disk.snapshot.index : 1,
			disk_last(&node->disk));
	}
	operator_roles_init(node);
	node->driver = driver_new(&options, &node_io, node);
	node->inside = true;
	node_driver_start(node);
	front_start(node);
	sim_say(sim, "node %u starts: term %llu, log %llu..%llu, applied %llu", node->id,
		(unsigned long long)node->disk.term, (unsigned long long)node->disk.first,
		(unsigned long long)disk_last(&node->disk),
		(unsigned long long)machine_index(node->machine));
	if (!sim->violated) {
		node_after(node);
	}
}

void node_crash(struct sim_node *node)
{
	struct sim *sim = node->sim;

	assert(node->up);
	sim_say(sim, "node %u ends%s", node->id, node->failing ? " on an error" : "");
	if (node->failing) {
		sim->stats.io_errors++;
	} else {
		sim->stats.crashes++;
	}
	disk_crash(node);
	sim->stats.steps += driver_counters(node->driver)->steps;
	sim->stats.truncations += driver_counters(node->driver)->truncations;
	sim->stats.stale_dropped += driver_counters(node->driver)->dropped_old_connection;
	sim->stats.elections += driver_counters(node->driver)->elections;
	sim->stats.installs += driver_counters(node->driver)->installs;
	sim->stats.replaces += driver_counters(node->driver)->replaces;
	sim->stats.read_rounds += driver_counters(node->driver)->read_rounds;
	node_drop_volatile(node);
	node->up = false;
	node->epoch++;
	for (unsigned i = 1; i <= sim->ids; i++) {
		if (i != node->id) {
			net_reconnect(sim, node->id, i);
			net_reconnect(sim, i, node->id);
		}
	}
	if (!node->lost) {
		sim_push(sim, 50 + sim_random(sim, 2500), EVENT_RESTART, node, 0, NULL);
	}
}

/* --- after each driver call --- */

static void node_arm(struct sim_node *node)
{
	uint64_t due = front_clock_due(&node->clock, driver_deadline_ms(node->driver));
	uint64_t now = node->sim->now_ms;

	if (node->timer_at == 0 || due < node->timer_at) {
		/* A timer that is due later than the deadline finds that out when it fires. */
		node->timer_at = due < now ? now : due;
		sim_push(node->sim, node->timer_at - now, EVENT_TIMER, node, ++node->timer_gen,
			NULL);
	}
}

/* Who votes, as this node knows it. */
static void node_say_members(struct sim_node *node)
{
	struct configuration now;
	char voters[8 * SITES_MAX] = "";
	size_t at = 0;

	driver_configuration(node->driver, &now);
	for (unsigned i = 0; i < now.n; i++) {
		if (now.member[i].role == MEMBER_VOTER) {
			at += (size_t)snprintf(voters + at, sizeof voters - at, " %llu",
				(unsigned long long)now.member[i].id);
		}
	}
	sim_say(node->sim, "node %u: of %u members vote%s (committed %llu, open %llu)", node->id,
		now.n, voters, (unsigned long long)node->status.configuration_index,
		(unsigned long long)node->status.configuration_open);
}

static void node_look(struct sim_node *node)
{
	uint64_t open = node->status.configuration_open;
	uint64_t committed = node->status.configuration_index;
	struct driver_status *status = &node->status;

	*status = driver_status(node->driver);
	if (node->sim->options.verbose &&
		(status->configuration_open != open || status->configuration_index != committed)) {
		node_say_members(node);
	}
	sim_mix(node->sim, status->commit << 8 | status->term);
	if (status->role == DRIVER_LEADER && status->term != node->last_leader_term) {
		node->last_leader_term = status->term;
		oracle_leader(node->sim, node->id, status->term);
		sim_say(node->sim, "node %u leads term %llu", node->id,
			(unsigned long long)status->term);
	}
}

bool node_survives(struct sim_node *node)
{
	node->inside = false;
	if (node->doomed) {
		node_crash(node);
		return false;
	}
	node_look(node);
	return true;
}

void node_after(struct sim_node *node)
{
	if (node_survives(node) && front_turn(node)) {
		node_arm(node);
	}
}

bool node_paused(const struct sim_node *node)
{
	return node->sim->now_ms < node->paused_until_ms;
}

void node_pause(struct sim_node *node, uint64_t ms)
{
	assert(node->up);
	node->sim->stats.pauses++;
	node->paused_until_ms = node->sim->now_ms + ms;
	sim_say(node->sim, "node %u is stopped for %llu ms", node->id, (unsigned long long)ms);
}

/* --- events --- */

/* As the replica does: who has no data does not lead. Not always to the same one, which may have
 * none either. */
static void node_hand_over(struct sim_node *node)
{
	struct driver_status status = driver_status(node->driver);
	uint64_t to = 1 + sim_random(node->sim, SIM_NODES);

	if (status.role == DRIVER_LEADER && status.rebuilding && status.transferee == 0 &&
		to != node->id) {
		int rc = driver_transfer(node->driver, to);

		(void)rc; /* Nobody is there to take it: later. */
	}
}

static void node_timer(struct sim_node *node, uint64_t gen)
{
	uint64_t due;

	if (gen != node->timer_gen) {
		return;
	}
	node->timer_at = 0;
	due = front_clock_due(&node->clock, driver_deadline_ms(node->driver));
	if (due <= node->sim->now_ms) {
		node->inside = true;
		driver_tick(node->driver);
		node_hand_over(node);
		node_after(node);
	} else {
		node_arm(node);
	}
}

static void node_read(struct sim_node *node, const struct sim_log_read *read)
{
	struct entry *entries[LOG_READ_ENTRIES_MAX];
	unsigned n = 0;

	while (n < read->n && n < 8) { /* Short reads are legal. */
		struct entry *entry = disk_entry(&node->disk, read->first + n);

		if (entry == NULL) {
			break;
		}
		entries[n++] = entry_ref(entry);
	}
	node->inside = true;
	driver_read_done(node->driver, read->token, n == 0 ? KLUIS_ENOTFOUND : 0, entries, n);
	node_after(node);
}

static void node_applied(struct sim_node *node, struct entry *const *entries, unsigned n)
{
	uint64_t before_ms = machine_position(node->machine)->cluster_time_ms;
	int rc = machine_apply(node->machine, entries, n);

	if (rc != 0) {
		sim_violate(node->sim, CHECK_NODE, "node %u: apply: %s", node->id, err_text(rc));
		return;
	}
	oracle_state(
		node->sim, node->id, machine_index(node->machine), machine_hash(node->machine));
	oracle_clock(
		node->sim, node->id, before_ms, machine_position(node->machine)->cluster_time_ms);
	if (machine_quarantined(node->machine)) {
		sim_violate(node->sim, CHECK_REPORT, "node %u: most nodes have another state",
			node->id);
	}
	front_applied(node, machine_results(node->machine));
}

static void node_flush(struct sim_node *node)
{
	const struct sim_disk *disk = &node->disk;
	uint64_t since = disk->has_snapshot ? disk->snapshot.index : 0;

	if (node->flushing == NULL &&
		machine_index(node->machine) >= since + node->sim->snapshot_every) {
		node->flushing = machine_clone(node->machine, node->id);
		sim_push(node->sim, 1 + sim_random(node->sim, 200), EVENT_FLUSH, node, 0, NULL);
	}
}

/* Planted bug: the first two change places. */
static void node_swap(struct sim_batch *batch)
{
	struct entry *first = batch->entry[0], *second = batch->entry[1];

	batch->entry[0] = entry_copy(
		first->index, second->term, (enum entry_type)second->type, entry_bytes(second));
	batch->entry[1] = entry_copy(
		second->index, first->term, (enum entry_type)first->type, entry_bytes(first));
	entry_unref(first);
	entry_unref(second);
}

/* Applies one entry or the whole batch at once: the state must not depend on it. */
static void node_apply_batch(struct sim_node *node, struct sim_batch *batch)
{
	struct sim *sim = node->sim;
	unsigned at = 0;

	if (sim->options.bug == BUG_APPLY_ORDER && batch->n > 1 && sim_chance(sim, 20)) {
		node_swap(batch);
	}
	while (at < batch->n && !sim->violated) {
		unsigned n = batch->n - at;

		if (sim_chance(sim, 300)) {
			n = 1;
		}
		node_applied(node, batch->entry + at, n);
		at += n;
	}
}

static void node_apply(struct sim_node *node)
{
	struct sim_batch *batch = node->batches;
	uint64_t last;

	node->applying = false;
	if (batch == NULL) {
		return;
	}
	node->batches = batch->next;
	if (node->batches == NULL) {
		node->batches_tail = &node->batches;
	} else {
		node->applying = true;
		sim_push(node->sim, sim_random(node->sim, 4), EVENT_APPLY, node, 0, NULL);
	}
	node_apply_batch(node, batch);
	last = batch->entry[batch->n - 1]->index;
	for (unsigned i = 0; i < batch->n; i++) {
		entry_unref(batch->entry[i]);
	}
	free(batch->entry);
	free(batch);
	node_flush(node);
	node->inside = true;
	driver_applied(node->driver, last, 0);
	node_after(node);
}

static void node_flushed(struct sim_node *node)
{
	struct sim *sim = node->sim;
	struct machine *flushed = node->flushing;
	uint64_t index = machine_index(flushed);

	node->flushing = NULL;
	if (index > machine_index(node->disk.machine) && sim->options.bug != BUG_LOST_FLUSH) {
		machine_free(node->disk.machine);
		node->disk.machine = flushed;
	} else {
		machine_free(flushed);
	}
	node->inside = true;
	if (driver_snapshot_taken(node->driver, index) == 0) {
		sim->stats.snapshots++;
	}
	node_after(node);
}

/* A checkpoint stays pinned until another one is made for a peer that needs a newer one. */
static void node_manifest(struct sim_node *node, uint64_t peer, uint64_t min_index)
{
	struct driver_snapshot snapshot;
	uint64_t index = machine_index(node->machine);
	int rc = driver_snapshot_at(node->driver, index, &snapshot);

	if (node->offered != NULL && node->offered_snapshot.index >= min_index &&
		sim_chance(node->sim, 980)) {
		rc = 0;
	} else if (rc == 0) {
		machine_free(node->offered);
		node->offered = machine_clone(node->machine, node->id);
		node->offered_snapshot = snapshot;
		node->offered_id = ++node->sim->checkpoint_id;
	}
	if (rc == 0) {
		snapshot = node->offered_snapshot;
		if (node->sim->options.bug == BUG_SNAPSHOT_AHEAD) {
			rc = driver_snapshot_at(node->driver, index, &snapshot);
		} else if (node->sim->options.bug == BUG_SNAPSHOT_MEMBERS) {
			driver_configuration(node->driver, &snapshot.configuration);
		}
		oracle_snapshot(node->sim, node->id, &snapshot);
	}
	node->inside = true;
	driver_manifest(node->driver, peer, rc, &snapshot,
		bytes_of(&node->offered_id, sizeof node->offered_id));
	node_after(node);
}

static void node_fetched(struct sim_node *node, uint64_t gen)
{
	struct sim *sim = node->sim;
	struct sim_node *from = sim->node[node->fetch_from];
	int rc = 0;

	if (gen != node->fetch_gen) {
		return;
	}
	if (!from->up || from->offered == NULL || from->offered_id != node->fetch_id ||
		net_cut(sim, from->id, node->id) || net_cut(sim, node->id, from->id) ||
		sim_chance(sim, sim->loss)) {
		rc = KLUIS_EIO;
	} else {
		machine_free(node->staged);
		node->staged = machine_clone(from->offered, node->id);
	}
	node->inside = true;
	driver_fetched(node->driver, rc);
	node_after(node);
}

static void node_installed(struct sim_node *node)
{
	node->installed_due = false;
	node_drop_batches(node);
	machine_free(node->machine);
	machine_free(node->flushing);
	node->flushing = NULL;
	node->machine = node->staged;
	node->staged = NULL;
	machine_live(node->machine);
	sim_say(node->sim, "node %u installed %llu", node->id,
		(unsigned long long)machine_index(node->machine));
	oracle_state(
		node->sim, node->id, machine_index(node->machine), machine_hash(node->machine));
	front_applied(node, NULL);
	node->inside = true;
	driver_installed(node->driver, 0);
	node_after(node);
}

static void node_replaced(struct sim_node *node)
{
	node_drop_batches(node);
	machine_free(node->machine);
	machine_free(node->flushing);
	machine_free(node->disk.machine);
	node->flushing = NULL;
	node->machine = node->staged;
	node->staged = NULL;
	machine_live(node->machine);
	node->disk.machine = machine_clone(node->machine, node->id);
	node->disk.lost = false;
	sim_say(node->sim, "node %u has the data of a peer: %llu", node->id,
		(unsigned long long)machine_index(node->machine));
	oracle_state(
		node->sim, node->id, machine_index(node->machine), machine_hash(node->machine));
	front_applied(node, NULL);
	node->inside = true;
	driver_replaced(node->driver, 0);
	node_after(node);
}

void node_lose_data(struct sim_node *node)
{
	assert(!node->up);
	machine_free(node->disk.machine);
	node->disk.machine = machine_new(node->id);
	node->disk.lost = true;
	sim_say(node->sim, "node %u has lost its data", node->id);
}

void node_rebuild(struct sim_node *node)
{
	assert(node->up);
	node->inside = true;
	driver_rebuild(node->driver);
	node_after(node);
}

void node_event(struct sim_node *node, const struct sim_event *event)
{
	bool current = event->epoch == node->epoch;

	if (current && event->kind == EVENT_RESTART && !node->up && !node->lost) {
		node_start(node);
	} else if (current && node->up) {
		switch (event->kind) {
		case EVENT_DISK:
			disk_done(node);
			if (node->installed_due) {
				node_installed(node);
			}
			break;
		case EVENT_EARLY:
			node->inside = true;
			driver_persisted(node->driver, event->arg, 0);
			node_after(node);
			break;
		case EVENT_TIMER:
			node_timer(node, event->arg);
			break;
		case EVENT_APPLY:
			node_apply(node);
			break;
		case EVENT_READ:
			node_read(node, event->ptr);
			break;
		case EVENT_FLUSH:
			if (node->flushing != NULL) {
				node_flushed(node);
			}
			break;
		case EVENT_MANIFEST:
			node_manifest(node, event->arg & 0xff, event->arg >> 8);
			break;
		case EVENT_ROLES:
			operator_roles(node);
			break;
		case EVENT_FETCH:
			node_fetched(node, event->arg);
			break;
		case EVENT_REPLACE:
			node_replaced(node);
			break;
		default:
			break;
		}
	}
	if (event->kind == EVENT_READ) {
		free(event->ptr);
	}
}
