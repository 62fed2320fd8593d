#include <assert.h>
#include <string.h>

#include "tests/sim/sim.h"

struct disk_op *disk_op_new(enum disk_op_kind kind, uint64_t seq)
{
	struct disk_op *op = x_calloc(1, sizeof *op);

	op->kind = kind;
	op->seq = seq;
	return op;
}

static void disk_op_free(struct disk_op *op)
{
	for (unsigned i = 0; i < op->n; i++) {
		entry_unref(op->entry[i]);
	}
	free(op->entry);
	machine_free(op->machine);
	free(op->snapshot);
	free(op);
}

void disk_init(struct sim_disk *disk, struct machine *machine)
{
	*disk = (struct sim_disk){.first = 1, .machine = machine, .latency_ms = 3};
	disk->queue_tail = &disk->queue;
}

static void disk_cut(struct sim_disk *disk, uint64_t index)
{
	while (disk->n > 0 && disk->first + disk->n > index) {
		entry_unref(disk->entry[--disk->n]);
	}
}

static void disk_drop_queue(struct sim_disk *disk)
{
	while (disk->queue != NULL) {
		struct disk_op *op = disk->queue;

		disk->queue = op->next;
		disk_op_free(op);
	}
	disk->queue_tail = &disk->queue;
	disk->queued = disk->syncing = 0;
}

void disk_release(struct sim_disk *disk)
{
	disk_drop_queue(disk);
	disk_cut(disk, 0);
	free(disk->entry);
	machine_free(disk->machine);
}

uint64_t disk_last(const struct sim_disk *disk)
{
	return disk->first + disk->n - 1;
}

struct entry *disk_entry(const struct sim_disk *disk, uint64_t index)
{
	return index < disk->first || index > disk_last(disk) ? NULL
							      : disk->entry[index - disk->first];
}

static void disk_put(struct sim_disk *disk, struct entry *entry)
{
	if (disk->n == disk->capacity) {
		disk->capacity = disk->capacity * 2 + 64;
		disk->entry = x_realloc(disk->entry, disk->capacity * sizeof *disk->entry);
	}
	disk->entry[disk->n++] = entry_ref(entry);
}

void disk_bootstrap(struct sim_disk *disk, struct entry *entry)
{
	assert(disk->n == 0 && disk->term == 0);
	disk->term = 1;
	disk_put(disk, entry);
}

void disk_vote(struct sim_disk *disk, uint64_t term, uint64_t vote)
{
	disk->old_term = disk->term;
	disk->old_vote = disk->vote;
	disk->term = term;
	disk->vote = vote;
}

/* The first n entries of op. */
static void disk_write(struct sim_node *node, const struct disk_op *op, unsigned n)
{
	struct sim_disk *disk = &node->disk;
	uint64_t first = op->entry[0]->index;
	bool keep = node->sim->options.bug == BUG_LOST_TRUNCATION;

	if (first > disk_last(disk) + 1) {
		sim_violate(node->sim, CHECK_GAP, "node %u writes entry %llu behind %llu", node->id,
			(unsigned long long)first, (unsigned long long)disk_last(disk));
		return;
	}
	if (!keep) {
		disk_cut(disk, first);
	}
	for (unsigned i = 0; i < n; i++) {
		if (first + i <= disk_last(disk)) { /* Only with the bug: what was there stays. */
			struct entry **slot = &disk->entry[first + i - disk->first];

			entry_unref(*slot);
			*slot = entry_ref(op->entry[i]);
		} else {
			disk_put(disk, op->entry[i]);
		}
	}
}

static void disk_forget(struct sim_disk *disk, uint64_t index)
{
	size_t n = index < disk->first ? 0 : (size_t)(index - disk->first + 1);

	if (n > disk->n) {
		n = disk->n;
	}
	for (size_t i = 0; i < n; i++) {
		entry_unref(disk->entry[i]);
	}
	memmove(disk->entry, disk->entry + n, (disk->n - n) * sizeof *disk->entry);
	disk->n -= n;
	disk->first += n;
}

static void disk_install(struct sim_disk *disk, const struct disk_op *op)
{
	disk_cut(disk, 0);
	disk->first = op->snapshot->index + 1;
	disk->snapshot = *op->snapshot;
	disk->has_snapshot = true;
	machine_free(disk->machine);
	disk->machine = machine_clone(op->machine, 0);
	disk->lost = false;
}

/* n: of an append, how many entries. */
static void disk_apply(struct sim_node *node, const struct disk_op *op, unsigned n)
{
	struct sim_disk *disk = &node->disk;

	switch (op->kind) {
	case DISK_APPEND:
		disk_write(node, op, n);
		break;
	case DISK_RECORD:
		disk->snapshot = *op->snapshot;
		disk->has_snapshot = true;
		disk_forget(disk, op->discard);
		break;
	case DISK_INSTALL:
		disk_install(disk, op);
		break;
	case DISK_VOTE:
		disk_vote(disk, op->term, op->vote);
		break;
	}
}

static void disk_kick(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;

	if (disk->syncing == 0 && disk->queued > 0) {
		disk->syncing = disk->queued; /* One sync for all that is queued now. */
		sim_push(node->sim, 1 + sim_random(node->sim, disk->latency_ms), EVENT_DISK, node,
			0, NULL);
	}
}

void disk_push(struct sim_node *node, struct disk_op *op)
{
	struct sim_disk *disk = &node->disk;

	*disk->queue_tail = op;
	disk->queue_tail = &op->next;
	disk->queued++;
	disk_kick(node);
}

void disk_done(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;
	uint64_t seq = 0;
	bool install = false, fail = node->crash == FAIL_SYNC;

	if (fail && node->sim->options.bug != BUG_CARRY_ON) {
		node->failing = true;
	}
	while (disk->syncing > 0) {
		struct disk_op *op = disk->queue;

		assert(op != NULL);
		disk->queue = op->next;
		if (disk->queue == NULL) {
			disk->queue_tail = &disk->queue;
		}
		disk->syncing--;
		disk->queued--;
		if (!fail) {
			disk_apply(node, op, op->n);
		}
		if (op->seq > seq) {
			seq = op->seq;
		}
		install |= op->kind == DISK_INSTALL;
		disk_op_free(op);
	}
	node->crash = fail ? CRASH_NEVER : node->crash;
	disk_kick(node);
	if (node->failing && seq == 0) {
		node->doomed =
			true; /* A record of a snapshot: nobody waits for it, it ends the node. */
		node_after(node);
	} else if (seq != 0) {
		node->inside = true;
		driver_persisted(node->driver, seq, node->failing ? KLUIS_EIO : 0);
		node_after(node);
	}
	node->installed_due = install && !fail && node->up;
}

/* A record whose bytes did not all reach the platter; reading it back, the CRC says so. */
static struct entry *disk_torn(const struct entry *entry)
{
	struct entry *torn = entry_copy(
		entry->index, entry->term, (enum entry_type)entry->type, entry_bytes(entry));

	for (uint32_t i = torn->len / 2; i < torn->len; i++) {
		torn->data[i] = 0;
	}
	return torn;
}

static void disk_tear(struct sim_node *node, const struct disk_op *op)
{
	struct sim *sim = node->sim;
	unsigned n = (unsigned)sim_random(sim, op->n + 1);

	if (op->kind != DISK_APPEND || sim_chance(sim, 400)) {
		return; /* Nothing of it. */
	}
	disk_write(node, op, n);
	if (sim->options.bug == BUG_TORN_TAIL && n < op->n && op->entry[n]->type == ENTRY_COMMAND) {
		struct entry *torn = disk_torn(op->entry[n]);

		disk_put(&node->disk, torn);
		entry_unref(torn);
	}
}

void disk_crash(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;

	/* Behind a write that failed nothing reaches the disk. */
	while (disk->queue != NULL && !node->failing) {
		struct disk_op *op = disk->queue;

		if (!sim_chance(node->sim, 500)) {
			disk_tear(node, op);
			break;
		}
		disk_apply(node, op, op->n);
		disk->queue = op->next;
		disk_op_free(op);
	}
	disk_drop_queue(disk);
}
