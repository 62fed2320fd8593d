/* Events from the rows as they are: whom a user's session is told of, and what changed for it since
 * an index. On every node the same, so that a cursor of one is good at another. Of what
 * changed it reads index_of, hardly any value. */
#ifndef KLUIS_STORAGE_EVENT_STORE_H
#define KLUIS_STORAGE_EVENT_STORE_H

#include "storage/event.h"
#include "storage/kv.h"

struct event_topic {
	uint8_t audience; /* One enum event_audience. */
	uint8_t id[16];
};
/* Zero it before use. */
struct event_topics {
	struct event_topic *topic; /* Ascending, each once. */
	size_t n, cap;
};
void event_topics_release(struct event_topics *topics);
int event_topic_compare(const void *a, const void *b);

/* The user, the device (all zero: none) and the objects that the user is a member of, by
 * herself or by a group. KLUIS_ETOOLARGE: more than EVENT_TOPICS_MAX; then *topics is what fitted.
 * Blocking.
 */
KLUIS_MUST_CHECK int event_store_topics(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t device_id[16], struct event_topics *topics, struct err *e);

/* The news of these topics with an index above `since` into an empty list, in the order of their
 * indexes; of several of one type and object next to each other the newest. *ret_all: there are
 * more than EVENT_QUEUE_MAX, or rows to look at than EVENT_ROWS_MAX, or what was deleted since then
 * is not known any more: *list is worth nothing, and anything may have changed. Blocking. */
KLUIS_MUST_CHECK int event_store_missed(const struct kv_view *view,
	const struct event_topics *topics, uint64_t since, struct event_list *list, bool *ret_all,
	struct err *e);

#endif
