/* What the apply thread says changed, on its way to a loop: bounded; when it is full, all there is
 * to say is that something was lost. */
#ifndef KLUIS_NODE_EVENT_FEED_H
#define KLUIS_NODE_EVENT_FEED_H

#include <pthread.h>

#include "node/api_backend.h"
#include "node/call_signal.h"
#include "storage/event.h"

struct event_feed {
	struct replica_watch watch;
	struct mailbox *home;
	struct mail mail;
	/* On home's loop: event_feed_take() has something. */
	void (*cb)(struct event_feed *feed);
	/* Under lock. */
	pthread_mutex_t lock;
	struct event_list events;
	uint64_t index; /* Up to which they tell all. */
	bool lost, mailed;
	struct call_signal *signals, **signals_tail; /* That other nodes passed on. */
	unsigned n_signals;
};

void event_feed_init(
	struct event_feed *feed, struct mailbox *home, void (*cb)(struct event_feed *feed));
void event_feed_release(struct event_feed *feed);
/* Swaps what came with *list, which must be empty. *ret_index: up to where that is all there is;
 * *ret_lost: something before it is missing. */
void event_feed_take(
	struct event_feed *feed, struct event_list *list, uint64_t *ret_index, bool *ret_lost);

/* What other nodes passed on, in order: a list by ->next of the caller's references; NULL: none. */
struct call_signal *event_feed_take_signals(struct event_feed *feed);

#endif
