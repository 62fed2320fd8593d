/* Notifications on their way to push services: a bounded queue in memory and threads that send,
 * again after a pause when that may help. Only the node that accepted them sends them; what is
 * still waiting when it stops is lost, as push may always be: events tell the same. */
#ifndef KLUIS_NODE_PUSH_H
#define KLUIS_NODE_PUSH_H

#include "node/push_service.h"

enum {
	PUSH_THREADS = 2,
	PUSH_QUEUE_MAX = 2048,
	PUSH_SENDER_MAX = 512, /* Of them, of one sender: others' find room, too. */
	PUSH_ATTEMPTS_MAX = 6,
	PUSH_PAUSE_MS = 1000, /* Before the second attempt; four times as long each time. */
	PUSH_PAUSE_MS_MAX = 600 * 1000, /* Also of what a service asks for; beyond it: lost. */
	PUSH_ITEMS_MAX = 256,		/* Of one request. */
};

struct push;

struct push_job {
	uint8_t user_id[16], push_id[16]; /* The row, for who is told that it is gone. */
	uint8_t sender_id[16];
	struct push_target target;
	struct bytes payload; /* KNP1; copied. */
};

struct push_kind_counts {
	uint64_t sent, retried, lost, gone, refused; /* Since the start; refused: no room. */
};
struct push_counts {
	struct push_kind_counts kind[PUSH_APNS + 1]; /* By enum push_kind. */
	size_t waiting;
};

/* gone_cb: the service knows it no more; on a thread of its own, must not block. pause_ms: as
 * PUSH_PAUSE_MS, 0 for that (tests have less). service is the caller's and outlives it. */
struct push *push_new(struct push_service *service, unsigned pause_ms,
	void (*gone_cb)(void *data, const uint8_t user_id[16], const uint8_t push_id[16]),
	void *data);
/* Ends the threads: an attempt under way may take PUSH_ATTEMPT_MS. gone_cb is not called after it,
 * and push_submit() takes nothing more. Once; blocking. NULL is fine. */
void push_stop(struct push *push);
/* After push_stop(): what waits is dropped. NULL is fine. */
void push_free(struct push *push);
/* Any thread; does not block. KLUIS_EBUSY: the queue is full, or has as many of this sender as it
 * may. */
KLUIS_MUST_CHECK int push_submit(struct push *push, const struct push_job *job);
void push_counts(struct push *push, struct push_counts *ret_counts);

#endif
