#include "backup/ship_queue.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "base/mem.h"

enum { QUEUE_PAUSE_MS = 100 }; /* Between two looks at `cancel`. */

struct ship_queue {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct manifest_object *objects;
	uint32_t n;
	bool ended, whole;
	uint8_t manifest_hash[HASH_BYTES]; /* When whole. */
	unsigned references;
};

struct ship_queue *ship_queue_new(void)
{
	struct ship_queue *queue = x_calloc(1, sizeof *queue);
	pthread_condattr_t monotonic;

	(void)pthread_mutex_init(&queue->lock, NULL); /* Cannot fail with default attributes. */
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC); /* Clocks of days jump. */
	(void)pthread_cond_init(&queue->more, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	queue->references = 1;
	return queue;
}

struct ship_queue *ship_queue_ref(struct ship_queue *queue)
{
	(void)pthread_mutex_lock(&queue->lock); /* Fails only for a broken mutex. */
	assert(queue->references > 0);
	queue->references++;
	(void)pthread_mutex_unlock(&queue->lock);
	return queue;
}

void ship_queue_unref(struct ship_queue *queue)
{
	bool last;

	if (queue == NULL) {
		return;
	}
	(void)pthread_mutex_lock(&queue->lock);
	assert(queue->references > 0);
	last = --queue->references == 0;
	(void)pthread_mutex_unlock(&queue->lock);
	if (last) {
		(void)pthread_cond_destroy(&queue->more); /* Nobody waits: nobody has it. */
		(void)pthread_mutex_destroy(&queue->lock);
		free(queue->objects);
		free(queue);
	}
}

void ship_queue_add(struct ship_queue *queue, const struct manifest_object *object)
{
	(void)pthread_mutex_lock(&queue->lock);
	assert(!queue->ended && queue->n < BACKUP_OBJECTS_MAX);
	if ((queue->n & (queue->n - 1)) == 0) { /* At each power of two. */
		size_t room = queue->n == 0 ? 1 : 2 * (size_t)queue->n;

		queue->objects = x_realloc(queue->objects, room * sizeof *queue->objects);
	}
	queue->objects[queue->n++] = *object;
	(void)pthread_cond_broadcast(&queue->more);
	(void)pthread_mutex_unlock(&queue->lock);
}

void ship_queue_end(struct ship_queue *queue, const uint8_t *manifest_hash)
{
	(void)pthread_mutex_lock(&queue->lock);
	if (!queue->ended && manifest_hash != NULL) {
		queue->whole = true;
		memcpy(queue->manifest_hash, manifest_hash, HASH_BYTES);
	}
	queue->ended = true;
	(void)pthread_cond_broadcast(&queue->more);
	(void)pthread_mutex_unlock(&queue->lock);
}

bool ship_queue_manifest(struct ship_queue *queue, uint8_t ret_hash[HASH_BYTES])
{
	bool whole;

	(void)pthread_mutex_lock(&queue->lock);
	whole = queue->whole;
	memcpy(ret_hash, queue->manifest_hash, HASH_BYTES);
	(void)pthread_mutex_unlock(&queue->lock);
	return whole;
}

bool ship_queue_waits(struct ship_queue *queue)
{
	bool waits;

	(void)pthread_mutex_lock(&queue->lock);
	waits = queue->n > 0 && !queue->ended;
	(void)pthread_mutex_unlock(&queue->lock);
	return waits;
}

static void queue_pause(struct ship_queue *queue)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until); /* There since Linux 2.6. */
	until.tv_nsec += QUEUE_PAUSE_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	(void)pthread_cond_timedwait(&queue->more, &queue->lock, &until); /* Late is fine. */
}

bool ship_queue_get(struct ship_queue *queue, uint32_t at, const atomic_bool *cancel,
	struct manifest_object *ret_object)
{
	bool cancelled = false, there;

	(void)pthread_mutex_lock(&queue->lock);
	assert(at <= queue->n);
	while (at == queue->n && !queue->ended && !cancelled) {
		queue_pause(queue);
		cancelled = cancel != NULL && atomic_load(cancel);
	}
	there = at < queue->n && !cancelled;
	if (there) {
		*ret_object = queue->objects[at];
	}
	(void)pthread_mutex_unlock(&queue->lock);
	return there;
}
