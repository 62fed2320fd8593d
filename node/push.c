#include "node/push.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "crypto/notify.h"

/* One notification. */
struct push_item {
	struct push_item *next;
	struct push_job job;
	uint8_t payload[NOTIFY_BYTES_MAX];
	uint64_t due_ms;
	unsigned attempts; /* Made so far. */
};

struct push {
	struct push_service *service;
	void (*gone_cb)(void *data, const uint8_t user_id[16], const uint8_t push_id[16]);
	void *data;
	unsigned pause_ms;
	pthread_t threads[PUSH_THREADS];
	pthread_mutex_t lock; /* Guards all that follows. */
	pthread_cond_t wake;
	struct push_item *first; /* By due_ms. */
	struct push_counts counts;
	bool stopping;
};

static void push_item_free(struct push_item *item)
{
	secret_clear(item, sizeof *item); /* The endpoint is as good as a key to it. */
	free(item);
}

/* Under the lock: behind those that are due as soon. */
static void push_insert(struct push *push, struct push_item *item)
{
	struct push_item **at = &push->first;

	while (*at != NULL && (*at)->due_ms <= item->due_ms) {
		at = &(*at)->next;
	}
	item->next = *at;
	*at = item;
	push->counts.waiting++;
	(void)pthread_cond_signal(&push->wake);
}

/* Under the lock: until something may have become due, or changed. */
static void push_wait(struct push *push)
{
	uint64_t due_ms;
	struct timespec until;

	if (push->first == NULL) {
		(void)pthread_cond_wait(&push->wake, &push->lock);
		return;
	}
	due_ms = push->first->due_ms;
	until.tv_sec = (time_t)(due_ms / 1000);
	until.tv_nsec = (long)(due_ms % 1000 * 1000000);
	(void)pthread_cond_timedwait(&push->wake, &push->lock, &until);
}

/* The next one that is due; NULL: the threads are to end. */
static struct push_item *push_next(struct push *push)
{
	struct push_item *item = NULL;

	(void)pthread_mutex_lock(&push->lock);
	while (!push->stopping) {
		item = push->first;
		if (item != NULL && item->due_ms <= clock_monotonic_ms(&clock_system)) {
			push->first = item->next;
			push->counts.waiting--;
			break;
		}
		item = NULL;
		push_wait(push);
	}
	(void)pthread_mutex_unlock(&push->lock);
	return item;
}

/* How long until the next attempt; false: there is none. */
static bool push_pause(
	const struct push *push, const struct push_item *item, uint64_t after_s, uint64_t *ret_ms)
{
	uint64_t pause_ms = push->pause_ms;

	if (item->attempts >= PUSH_ATTEMPTS_MAX || after_s * 1000 > PUSH_PAUSE_MS_MAX) {
		return false;
	}
	for (unsigned i = 1; i < item->attempts; i++) {
		pause_ms *= 4;
	}
	pause_ms = pause_ms < after_s * 1000 ? after_s * 1000 : pause_ms;
	*ret_ms = pause_ms < PUSH_PAUSE_MS_MAX ? pause_ms : PUSH_PAUSE_MS_MAX;
	return true;
}

static void push_settle(struct push *push, struct push_item *item, enum push_outcome outcome,
	uint64_t after_s, const struct err *e)
{
	uint64_t pause_ms = 0;
	bool again = outcome == PUSH_RETRY && push_pause(push, item, after_s, &pause_ms);
	struct push_kind_counts *counts = &push->counts.kind[item->job.target.kind];

	if (outcome != PUSH_SENT) {
		/* A service that is down is not a line for each attempt. */
		log_line(again ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
			"op=push kind=%s attempt=%u: %s%s", push_kind_name(item->job.target.kind),
			item->attempts, e->text, again ? ", retrying" : ", ignoring");
	}
	if (outcome == PUSH_GONE) {
		push->gone_cb(push->data, item->job.user_id, item->job.push_id);
	}
	(void)pthread_mutex_lock(&push->lock);
	counts->sent += outcome == PUSH_SENT;
	counts->gone += outcome == PUSH_GONE;
	counts->retried += again;
	counts->lost += outcome == PUSH_LOST || (outcome == PUSH_RETRY && !again);
	if (again && !push->stopping) {
		item->due_ms = clock_monotonic_ms(&clock_system) + pause_ms;
		push_insert(push, item);
		item = NULL;
	}
	(void)pthread_mutex_unlock(&push->lock);
	if (item != NULL) {
		push_item_free(item);
	}
}

static void *push_thread(void *data)
{
	struct push *push = data;
	struct push_item *item;

	while ((item = push_next(push)) != NULL) {
		struct err e = {0};
		uint64_t after_s = 0;
		enum push_outcome outcome;

		item->attempts++;
		outcome = push_service_send(
			push->service, &item->job.target, item->job.payload, &after_s, &e);
		push_settle(push, item, outcome, after_s, &e);
	}
	return NULL;
}

struct push *push_new(struct push_service *service, unsigned pause_ms,
	void (*gone_cb)(void *data, const uint8_t user_id[16], const uint8_t push_id[16]),
	void *data)
{
	struct push *push = x_calloc(1, sizeof *push);
	pthread_condattr_t attributes;

	push->service = service;
	push->pause_ms = pause_ms == 0 ? PUSH_PAUSE_MS : pause_ms;
	push->gone_cb = gone_cb;
	push->data = data;
	(void)pthread_mutex_init(&push->lock, NULL);
	/* due_ms is of the monotonic clock. */
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&push->wake, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	for (size_t i = 0; i < PUSH_THREADS; i++) {
		int rc = pthread_create(&push->threads[i], NULL, push_thread, push);

		assert(rc == 0);
	}
	return push;
}

void push_stop(struct push *push)
{
	if (push == NULL) {
		return;
	}
	(void)pthread_mutex_lock(&push->lock);
	assert(!push->stopping);
	push->stopping = true;
	(void)pthread_cond_broadcast(&push->wake);
	(void)pthread_mutex_unlock(&push->lock);
	for (size_t i = 0; i < PUSH_THREADS; i++) {
		(void)pthread_join(push->threads[i], NULL);
	}
}

void push_free(struct push *push)
{
	if (push == NULL) {
		return;
	}
	assert(push->stopping);
	while (push->first != NULL) {
		struct push_item *item = push->first;

		push->first = item->next;
		push_item_free(item);
	}
	(void)pthread_cond_destroy(&push->wake);
	(void)pthread_mutex_destroy(&push->lock);
	free(push);
}

/* Under the lock. */
static bool push_has_room(const struct push *push, const uint8_t sender_id[16])
{
	size_t of_sender = 0;

	if (push->stopping || push->counts.waiting >= PUSH_QUEUE_MAX) {
		return false;
	}
	for (const struct push_item *item = push->first; item != NULL; item = item->next) {
		of_sender += memcmp(item->job.sender_id, sender_id, 16) == 0;
	}
	return of_sender < PUSH_SENDER_MAX;
}

int push_submit(struct push *push, const struct push_job *job)
{
	struct push_item *item;
	int rc = 0;

	assert(job->payload.len <= NOTIFY_BYTES_MAX);
	assert(push_kind_name(job->target.kind) != NULL);
	item = x_calloc(1, sizeof *item);
	item->job = *job;
	memcpy(item->payload, job->payload.data, job->payload.len);
	item->job.payload = bytes_of(item->payload, job->payload.len);
	item->due_ms = clock_monotonic_ms(&clock_system);
	(void)pthread_mutex_lock(&push->lock);
	if (!push_has_room(push, item->job.sender_id)) {
		push->counts.kind[job->target.kind].refused++;
		rc = KLUIS_EBUSY;
	} else {
		push_insert(push, item);
		item = NULL;
	}
	(void)pthread_mutex_unlock(&push->lock);
	if (item != NULL) {
		push_item_free(item);
	}
	return rc;
}

void push_counts(struct push *push, struct push_counts *ret_counts)
{
	(void)pthread_mutex_lock(&push->lock);
	*ret_counts = push->counts;
	(void)pthread_mutex_unlock(&push->lock);
}
