#include "node/event_feed.h"

#include <assert.h>

#include "base/limits.h"

static void feed_deliver_cb(struct mail *mail)
{
	struct event_feed *feed = CONTAINER_OF(mail, struct event_feed, mail);

	(void)pthread_mutex_lock(&feed->lock);
	feed->mailed = false;
	(void)pthread_mutex_unlock(&feed->lock);
	feed->cb(feed);
}

/* On the apply thread. A batch without news wakes nobody. */
static void feed_watch_cb(
	struct replica_watch *watch, const struct event *events, size_t n, uint64_t index, bool all)
{
	struct event_feed *feed = CONTAINER_OF(watch, struct event_feed, watch);
	bool mail;

	(void)pthread_mutex_lock(&feed->lock);
	feed->index = index;
	feed->lost |= all || n > EVENT_FEED_MAX - feed->events.n;
	if (feed->lost) {
		event_list_clear(&feed->events);
	}
	for (size_t i = 0; !feed->lost && i < n; i++) {
		event_list_add(&feed->events, &events[i]);
	}
	mail = !feed->mailed && (feed->lost || n > 0);
	feed->mailed |= mail;
	(void)pthread_mutex_unlock(&feed->lock);
	if (mail) {
		mailbox_send(feed->home, &feed->mail);
	}
}

/* On the core thread. */
static void feed_relayed_cb(struct replica_watch *watch, struct bytes message)
{
	struct event_feed *feed = CONTAINER_OF(watch, struct event_feed, watch);
	struct call_signal *signal;
	bool mail = false, full;

	if (call_signal_decode(message, &signal, NULL) != 0) {
		return; /* Of a later version, perhaps: it was worth nothing to us. */
	}
	(void)pthread_mutex_lock(&feed->lock);
	full = feed->n_signals == EVENT_RELAYED_MAX;
	if (!full) {
		*feed->signals_tail = signal;
		feed->signals_tail = &signal->next;
		feed->n_signals++;
		mail = !feed->mailed;
		feed->mailed = true;
	}
	(void)pthread_mutex_unlock(&feed->lock);
	if (full) {
		call_signal_unref(signal);
	} else if (mail) {
		mailbox_send(feed->home, &feed->mail);
	}
}

struct call_signal *event_feed_take_signals(struct event_feed *feed)
{
	struct call_signal *signals;

	(void)pthread_mutex_lock(&feed->lock);
	signals = feed->signals;
	feed->signals = NULL;
	feed->signals_tail = &feed->signals;
	feed->n_signals = 0;
	(void)pthread_mutex_unlock(&feed->lock);
	return signals;
}

void event_feed_init(
	struct event_feed *feed, struct mailbox *home, void (*cb)(struct event_feed *feed))
{
	*feed = (struct event_feed){.home = home, .cb = cb};
	feed->watch.cb = feed_watch_cb;
	feed->watch.relayed_cb = feed_relayed_cb;
	feed->signals_tail = &feed->signals;
	feed->mail.deliver_cb = feed_deliver_cb;
	(void)pthread_mutex_init(&feed->lock, NULL);
}

void event_feed_release(struct event_feed *feed)
{
	struct call_signal *signal = event_feed_take_signals(feed);

	while (signal != NULL) {
		struct call_signal *next = signal->next;

		call_signal_unref(signal);
		signal = next;
	}
	event_list_release(&feed->events);
	(void)pthread_mutex_destroy(&feed->lock);
}

void event_feed_take(
	struct event_feed *feed, struct event_list *list, uint64_t *ret_index, bool *ret_lost)
{
	struct event_list taken;

	assert(list->n == 0);
	(void)pthread_mutex_lock(&feed->lock);
	taken = feed->events;
	feed->events = *list;
	*list = taken;
	*ret_index = feed->index;
	*ret_lost = feed->lost;
	feed->lost = false;
	(void)pthread_mutex_unlock(&feed->lock);
}
