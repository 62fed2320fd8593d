/* Who is told what happens: subscribers, what each is told of, and what it has not taken yet. Fed
 * by the apply thread with what changed, on every node by itself; what was missed is found in the
 * newest events of the node, or in the rows as they are. Nothing of it is stored.
 *
 * A subscriber of a session: event_hub_join() -> news_cb ... (event_subscriber_take() until it says
 * false) -> event_hub_leave(). Everything but what the apply thread does runs on one loop; no
 * callback fires within a call. */
#ifndef KLUIS_NODE_EVENT_HUB_H
#define KLUIS_NODE_EVENT_HUB_H

#include <uv.h>

#include "base/pool.h"
#include "node/api_backend.h"
#include "node/call_signal.h"
#include "storage/event_store.h"

struct event_hub;
struct event_look;
struct event_link;

struct event_subscriber {
	/* Set before event_hub_join(). */
	uint8_t token_hash[32], user_id[16], device_id[16]; /* Of a session that was checked. */
	bool has_since;	      /* Else it is told to fetch everything first. */
	uint64_t since;	      /* What it knows: news up to this index are none. */
	bool poll;	      /* A request that waits. */
	uint64_t deadline_ms; /* news_cb at this time at the latest (clock_system); 0: never. */
	/* There is something to take, or it is over, or the deadline has come; perhaps nothing. May
	 * leave. */
	void (*news_cb)(struct event_subscriber *sub);
	/* Over: no more news. KLUIS_EUNAUTHENTICATED the session has ended, KLUIS_EBEHIND this node
	 * has not heard of a leader for too long, KLUIS_ECONNECT it stops, KLUIS_EBUSY,
	 * KLUIS_ETOOLARGE. */
	int rc;

	/* Private. */
	struct event_hub *hub; /* NULL: has not joined. */
	struct event_subscriber *next, **prev_next;
	struct event_subscriber *ready_next, **ready_prev_next;
	struct event_subscriber *wait_next, **wait_prev_next; /* For a look. */
	struct event_look *look;			      /* Under way. */
	bool looking; /* Told nothing until it knows of what. */
	bool scan, first;
	uint64_t seen;	     /* While looking: number of the first event not yet told. */
	uint64_t seen_index; /* ... and an index up to which all is told. */
	uint64_t expires_ms; /* Of the session; 0: not known yet. */
	struct event_link *links;
	size_t n_links;
	struct event *queue;
	size_t queued, queue_cap;
	struct call_signal **signals; /* EVENT_SIGNALS_MAX of them; NULL: none. */
	size_t n_signals;
};

struct event_hub_config {
	uv_loop_t *loop;
	struct mailbox *home;
	struct pool *pool; /* For reading the store. */
	struct api_backend *backend;
	uint64_t stale_ms; /* Without a word of a leader for longer: subscribers go elsewhere. */
	uint64_t (*cluster_now)(void *data); /* What sessions expire by. */
	void *data;
};

struct event_counters {
	unsigned subscribers, polls; /* Now. */
	uint64_t fed, told, resyncs, looks, lost;
};

/* Watches the backend from here on. Before the loop runs, or on it. Blocking: reads the store's
 * position. */
struct event_hub *event_hub_new(const struct event_hub_config *config);
/* Ends all subscribers (KLUIS_ECONNECT), watches no more, closes its timer. Idempotent. */
void event_hub_stop(struct event_hub *hub);
/* Stopped, everybody has left, and no thread works for it: the mailbox may be closed. */
bool event_hub_idle(const struct event_hub *hub);
void event_hub_free(struct event_hub *hub); /* After the loop and its mailbox. NULL is fine. */

/* The memory stays the caller's and must live until event_hub_leave(). KLUIS_ERATE: the user has
 * too many; KLUIS_EBUSY: the node has; KLUIS_EBEHIND, KLUIS_ECONNECT as above. */
KLUIS_MUST_CHECK int event_hub_join(
	struct event_hub *hub, struct event_subscriber *sub, struct err *e);
void event_hub_leave(struct event_subscriber *sub); /* Idempotent. */
/* The next event; its index is the place to go on from once it is taken. */
bool event_subscriber_take(struct event_subscriber *sub, struct event *ret_event);
/* The next signal of a call, one reference of the caller's; NULL: none. Behind all events. */
struct call_signal *event_subscriber_take_signal(struct event_subscriber *sub);
/* Tells the members of its conversation who are connected here, but for the device that it is of.
 */
void event_hub_signal(struct event_hub *hub, struct call_signal *signal);
/* The place to go on from for a subscriber that took everything. */
uint64_t event_subscriber_cursor(const struct event_subscriber *sub);
const struct event_counters *event_hub_counters(const struct event_hub *hub);

/* What its timer does; for tests. */
void event_hub_sweep(struct event_hub *hub);

#endif
