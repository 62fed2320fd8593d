/* What a node's driver does to its world: disk, network, state machine, and where it crashes. */
#include <assert.h>
#include <string.h>

#include "tests/sim/sim.h"

static uint64_t io_now_ms(void *ctx)
{
	const struct sim_node *node = ctx;

	return clock_monotonic_ms(&node->clock.clock);
}

/* The process ends here: nothing of this call leaves it any more. */
static bool io_crash(struct sim_node *node, enum crash_point point)
{
	if (!node->doomed && node->crash == point) {
		if (node->crash_after == 0) {
			node->doomed = true;
		} else {
			node->crash_after--;
		}
	}
	return node->doomed;
}

static int io_send(
	void *ctx, uint64_t peer, struct bytes header, struct entry *const *entries, unsigned n)
{
	struct sim_node *node = ctx;

	if (header.data[1] == MESSAGE_PROPOSE && sim_chance(node->sim, node->sim->loss)) {
		return KLUIS_EBUSY; /* Its queue is full. */
	}
	if (!io_crash(node, CRASH_AT_SEND)) {
		net_send(node->sim, node->id, (unsigned)peer, header, entries, n);
	}
	return 0;
}

static void io_proposed(void *ctx, uint64_t peer, const struct message *message)
{
	front_proposed(ctx, peer, message);
}

static int io_store_vote(void *ctx, uint64_t term, uint64_t vote)
{
	struct sim_node *node = ctx;
	struct sim *sim = node->sim;

	if (io_crash(node, CRASH_BEFORE_VOTE)) {
		return 0;
	}
	if (node->crash == FAIL_VOTE) {
		node->failing = true;
		return KLUIS_EIO;
	}
	if (sim->options.bug == BUG_VOTE_BEFORE_SYNC) {
		struct disk_op *op = disk_op_new(DISK_VOTE, 0);

		op->term = term;
		op->vote = vote;
		disk_push(node, op);
	} else if (sim->options.bug != BUG_TERM_NOT_STORED) {
		if (term < node->disk.term) {
			sim_violate(sim, CHECK_TERM, "node %u goes back to term %llu", node->id,
				(unsigned long long)term);
		}
		disk_vote(&node->disk, term, sim->options.bug == BUG_VOTE_NOT_STORED ? 0 : vote);
	}
	oracle_vote(sim, node->id, term, vote);
	(void)io_crash(node, CRASH_AFTER_VOTE);
	return 0;
}

static int io_append(void *ctx, uint64_t seq, struct entry *const *entries, unsigned n)
{
	struct sim_node *node = ctx;
	struct disk_op *op;

	if (node->doomed) {
		return 0;
	}
	if (node->crash == FAIL_APPEND) {
		node->failing = true;
		return KLUIS_EIO;
	}
	if (node->sim->now_ms < node->disk.full_until_ms) {
		if (node->sim->options.bug == BUG_FULL_IGNORED) {
			sim_push(node->sim, 0, EVENT_EARLY, node, seq, NULL);
			return 0;
		}
		node->failing = true;
		return KLUIS_ENOSPACE;
	}
	if (node->sim->options.bug == BUG_ACK_BEFORE_QUORUM &&
		entries[n - 1]->type == ENTRY_COMMAND) {
		node->appended_index = entries[n - 1]->index;
		node->appended_hash = oracle_entry_hash(entries[n - 1]);
	}
	if (node->sim->options.bug == BUG_ACK_BEFORE_DURABLE) {
		sim_push(node->sim, 0, EVENT_EARLY, node, seq, NULL);
		seq = 0;
	}
	op = disk_op_new(DISK_APPEND, seq);
	op->n = n;
	op->entry = x_malloc(n * sizeof *op->entry);
	for (unsigned i = 0; i < n; i++) {
		op->entry[i] = entry_ref(entries[i]);
	}
	disk_push(node, op);
	(void)io_crash(node, CRASH_AT_APPEND);
	return 0;
}

static int io_read(void *ctx, uint64_t token, uint64_t first, unsigned n)
{
	struct sim_node *node = ctx;
	struct sim_log_read *read = x_malloc(sizeof *read);

	*read = (struct sim_log_read){token, first, n};
	node->sim->stats.log_reads++;
	sim_push(node->sim, sim_random(node->sim, 4), EVENT_READ, node, 0, read);
	return 0;
}

static int io_snapshot_record(void *ctx, const struct driver_snapshot *snapshot, uint64_t discard)
{
	struct sim_node *node = ctx;
	struct disk_op *op = disk_op_new(DISK_RECORD, 0);

	oracle_snapshot(node->sim, node->id, snapshot);
	op->snapshot = x_memdup(snapshot, sizeof *snapshot);
	op->discard = discard;
	disk_push(node, op);
	return 0;
}

static int io_apply(void *ctx, struct entry *const *entries, unsigned n)
{
	struct sim_node *node = ctx;
	struct sim_batch *batch = x_calloc(1, sizeof *batch);

	batch->n = n;
	batch->entry = x_malloc(n * sizeof *batch->entry);
	for (unsigned i = 0; i < n; i++) {
		oracle_applied(node->sim, node->id, entries[i]);
		batch->entry[i] = entry_ref(entries[i]);
	}
	*node->batches_tail = batch;
	node->batches_tail = &batch->next;
	if (!node->applying) {
		node->applying = true;
		sim_push(node->sim, sim_random(node->sim, 4), EVENT_APPLY, node, 0, NULL);
	}
	return 0;
}

static int io_manifest(void *ctx, uint64_t peer, uint64_t min_index)
{
	struct sim_node *node = ctx;

	sim_push(node->sim, 1 + sim_random(node->sim, 50), EVENT_MANIFEST, node,
		min_index << 8 | peer, NULL);
	return 0;
}

static int io_fetch(
	void *ctx, uint64_t peer, const struct driver_snapshot *snapshot, struct bytes manifest)
{
	struct sim_node *node = ctx;

	memcpy(&node->fetch_id, manifest.data, sizeof node->fetch_id);
	node->fetch_gen++;
	node->fetch_from = (unsigned)peer;
	sim_say(node->sim, "node %u fetches %llu from %llu", node->id,
		(unsigned long long)snapshot->index, (unsigned long long)peer);
	sim_push(node->sim, 20 + sim_random(node->sim, 1500), EVENT_FETCH, node, node->fetch_gen,
		NULL);
	return 0;
}

static int io_install(void *ctx, uint64_t seq, const struct driver_snapshot *snapshot)
{
	struct sim_node *node = ctx;
	struct disk_op *op = disk_op_new(DISK_INSTALL, seq);

	assert(node->staged != NULL);
	op->snapshot = x_memdup(snapshot, sizeof *snapshot);
	op->machine = machine_clone(node->staged, node->id);
	disk_push(node, op);
	return 0;
}

static int io_replace(void *ctx, const struct driver_snapshot *snapshot)
{
	struct sim_node *node = ctx;

	assert(node->staged != NULL);
	if (machine_index(node->staged) != snapshot->index) {
		sim_violate(node->sim, CHECK_NODE, "node %u: a snapshot of %llu is that of %llu",
			node->id, (unsigned long long)snapshot->index,
			(unsigned long long)machine_index(node->staged));
	}
	sim_push(node->sim, 1 + sim_random(node->sim, 100), EVENT_REPLACE, node, 0, NULL);
	return 0;
}

static void io_read_ready(void *ctx, uint64_t token, int rc, uint64_t index)
{
	front_read_ready(ctx, token, rc, index);
}

static void io_fatal(void *ctx, const struct err *e)
{
	struct sim_node *node = ctx;

	if (!node->failing) {
		sim_violate(node->sim, CHECK_NODE, "node %u: %s", node->id, e->text);
	}
	node->doomed = true;
}

const struct driver_io node_io = {
	.now_ms = io_now_ms,
	.send = io_send,
	.proposed = io_proposed,
	.store_vote = io_store_vote,
	.append = io_append,
	.read = io_read,
	.snapshot_record = io_snapshot_record,
	.apply = io_apply,
	.manifest = io_manifest,
	.fetch = io_fetch,
	.install = io_install,
	.replace = io_replace,
	.read_ready = io_read_ready,
	.fatal = io_fatal,
};
