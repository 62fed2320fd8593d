#include "raft/forwarded.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "raft/command.h"

enum { FORWARDED_OWN = SITES_MAX, FORWARDED_NONE };

static struct forwarded_queue *forwarded_queue_of(struct forwarded_set *set, uint64_t origin)
{
	struct forwarded_queue *free_queue = NULL;

	for (unsigned i = 0; i < SITES_MAX; i++) {
		struct forwarded_queue *queue = &set->queue[i];

		if (queue->n > 0 && queue->origin == origin) {
			return queue;
		}
		if (queue->n == 0 && (free_queue == NULL || queue->origin == origin)) {
			free_queue = queue;
		}
	}
	return free_queue;
}

int forwarded_put(struct forwarded_set *set, uint64_t origin, uint64_t term,
	const struct message_proposal *proposal)
{
	struct forwarded_queue *queue = forwarded_queue_of(set, origin);
	struct forwarded *f;

	if (queue == NULL || queue->n >= PROPOSALS_MAX ||
		proposal->command.len > FORWARDED_BYTES_MAX - queue->bytes) {
		return KLUIS_EBUSY;
	}
	f = x_malloc(sizeof *f + proposal->command.len);
	*f = (struct forwarded){.origin = origin,
		.boot = proposal->boot,
		.seq = proposal->seq,
		.term = term,
		.len = proposal->command.len};
	memcpy(f->command, proposal->command.data, proposal->command.len);
	if (queue->origin != origin) {
		queue->origin = origin;
		queue->taken = 0;
	}
	*(queue->n == 0 ? &queue->head : &queue->tail->next) = f;
	queue->tail = f;
	queue->n++;
	queue->bytes += f->len;
	set->n++;
	return 0;
}

static void forwarded_drop(struct forwarded_set *set, struct forwarded_queue *queue)
{
	struct forwarded *f = queue->head;

	assert(queue->n > 0 && set->n > 0 && queue->bytes >= f->len);
	queue->head = f->next;
	queue->n--;
	queue->bytes -= f->len;
	set->n--;
	free(f);
}

void forwarded_drop_old(struct forwarded_set *set, uint64_t term)
{
	for (unsigned i = 0; i < SITES_MAX; i++) {
		struct forwarded_queue *queue = &set->queue[i];

		while (queue->n > 0 && queue->head->term != term) {
			forwarded_drop(set, queue);
		}
	}
}

void forwarded_clear(struct forwarded_set *set)
{
	for (unsigned i = 0; i < SITES_MAX; i++) {
		while (set->queue[i].n > 0) {
			forwarded_drop(set, &set->queue[i]);
		}
	}
	assert(set->n == 0);
}

static uint64_t forwarded_later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The queue that had least; our own when it is one of those. */
static unsigned forwarded_next(const struct gathering *g, struct forwarded *const heads[SITES_MAX],
	const struct propose *own)
{
	unsigned best = own == NULL ? FORWARDED_NONE : FORWARDED_OWN;
	uint64_t least = own == NULL ? UINT64_MAX : g->own_taken;

	for (unsigned i = 0; i < SITES_MAX; i++) {
		if (heads[i] != NULL && g->taken[i] < least) {
			best = i;
			least = g->taken[i];
		}
	}
	return best;
}

static bool gathering_add(
	struct gathering *g, struct forwarded *pick, size_t command_bytes, uint64_t *taken)
{
	size_t bytes = PAYLOAD_ITEM_BYTES + command_bytes;

	/* The entry ends here, also when one behind it would fit: a big one must not wait for ever
	 * behind small ones. */
	if (g->bytes + bytes > ENTRY_BYTES_MAX || g->n == PROPOSALS_PER_ENTRY_MAX) {
		return false;
	}
	g->pick[g->n++] = pick;
	g->own += pick == NULL;
	g->bytes += bytes;
	g->now = *taken;
	*taken += bytes;
	return true;
}

void forwarded_choose(
	const struct forwarded_set *set, const struct propose *own, struct gathering *g)
{
	struct forwarded *heads[SITES_MAX];
	bool more = true;

	g->n = g->own = 0;
	g->bytes = PAYLOAD_HEAD_BYTES;
	g->now = set->now;
	g->own_taken = forwarded_later(set->own_taken, set->now);
	for (unsigned i = 0; i < SITES_MAX; i++) {
		heads[i] = set->queue[i].n == 0 ? NULL : set->queue[i].head;
		g->taken[i] = forwarded_later(set->queue[i].taken, set->now);
	}
	while (more) {
		unsigned next = forwarded_next(g, heads, own);

		if (next == FORWARDED_NONE) {
			more = false;
		} else if (next == FORWARDED_OWN) {
			more = gathering_add(g, NULL, own->command.len, &g->own_taken);
			own = own->next;
		} else {
			struct forwarded *f = heads[next];

			more = gathering_add(g, f, f->len, &g->taken[next]);
			heads[next] = f == set->queue[next].tail ? NULL : f->next;
		}
	}
}

bool gathering_waits(const struct gathering *g, size_t inflight_bytes, uint64_t since_ms)
{
	return inflight_bytes > 0 && g->bytes < PROPOSALS_GATHER_BYTES &&
	       since_ms < PROPOSALS_GATHER_MS;
}

void forwarded_chosen(struct forwarded_set *set, const struct gathering *g)
{
	for (unsigned i = 0; i < SITES_MAX; i++) {
		set->queue[i].taken = g->taken[i];
	}
	set->own_taken = g->own_taken;
	set->now = g->now;
	for (unsigned i = 0; i < g->n; i++) {
		struct forwarded_queue *queue;

		if (g->pick[i] == NULL) {
			continue;
		}
		queue = forwarded_queue_of(set, g->pick[i]->origin);
		assert(queue != NULL && queue->head == g->pick[i]);
		forwarded_drop(set, queue);
	}
}
