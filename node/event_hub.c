#include "node/event_hub.h"

#include <assert.h>
#include <string.h>

#include "node/event_feed.h"
#include "node/event_look.h"
#include "node/event_ring.h"
#include "node/event_table.h"
#include "storage/position.h"

struct event_hub {
	struct event_hub_config config;
	struct event_feed feed;
	struct event_list fed; /* What is being told. */
	struct event_ring ring;
	struct event_table *table;
	uint64_t index; /* All up to here has been told. */
	struct event_subscriber *subs, *ready, *waiting, **waiting_tail;
	unsigned looks; /* Under way. */
	struct event_counters counters;
	uv_timer_t timer;
	uint64_t due_ms; /* What it is set for; 0: nothing. */
	bool stopped;
	struct mail tell_mail;
	bool telling; /* tell_mail is under way. */
};

static uint64_t hub_now(void)
{
	return clock_monotonic_ms(&clock_system);
}

/* --- lists of subscribers --- */

static void sub_ready(struct event_subscriber *sub)
{
	struct event_hub *hub = sub->hub;

	if (sub->ready_prev_next == NULL) {
		sub->ready_next = hub->ready;
		sub->ready_prev_next = &hub->ready;
		if (sub->ready_next != NULL) {
			sub->ready_next->ready_prev_next = &sub->ready_next;
		}
		hub->ready = sub;
	}
}

static void sub_unready(struct event_subscriber *sub)
{
	if (sub->ready_prev_next != NULL) {
		*sub->ready_prev_next = sub->ready_next;
		if (sub->ready_next != NULL) {
			sub->ready_next->ready_prev_next = sub->ready_prev_next;
		}
		sub->ready_prev_next = NULL;
	}
}

static void sub_wait(struct event_subscriber *sub)
{
	struct event_hub *hub = sub->hub;

	if (sub->wait_prev_next == NULL) {
		sub->wait_next = NULL;
		sub->wait_prev_next = hub->waiting_tail;
		*hub->waiting_tail = sub;
		hub->waiting_tail = &sub->wait_next;
	}
}

static void sub_unwait(struct event_subscriber *sub)
{
	struct event_hub *hub = sub->hub;

	if (sub->wait_prev_next != NULL) {
		*sub->wait_prev_next = sub->wait_next;
		if (sub->wait_next != NULL) {
			sub->wait_next->wait_prev_next = sub->wait_prev_next;
		} else {
			hub->waiting_tail = sub->wait_prev_next;
		}
		sub->wait_prev_next = NULL;
	}
}

/* Tells those that have something; each may leave, and take others with it. */
static void hub_tell(struct event_hub *hub)
{
	while (hub->ready != NULL) {
		struct event_subscriber *sub = hub->ready;

		sub_unready(sub);
		sub->news_cb(sub);
	}
}

/* --- one subscriber's queue --- */

static void sub_drop(struct event_subscriber *sub)
{
	free(sub->queue);
	sub->queue = NULL;
	sub->queued = sub->queue_cap = 0;
}

static void sub_drop_signals(struct event_subscriber *sub)
{
	for (size_t i = 0; i < sub->n_signals; i++) {
		call_signal_unref(sub->signals[i]);
	}
	free(sub->signals);
	sub->signals = NULL;
	sub->n_signals = 0;
}

static void sub_end(struct event_subscriber *sub, int rc)
{
	if (sub->rc == 0) {
		sub->rc = rc;
		sub_drop(sub);
		sub_drop_signals(sub);
		sub_unwait(sub);
		sub_ready(sub);
	}
}

static void sub_append(struct event_subscriber *sub, const struct event *event)
{
	if (sub->queued == sub->queue_cap) {
		sub->queue_cap = sub->queue_cap == 0 ? 4 : 2 * sub->queue_cap;
		sub->queue = x_realloc(sub->queue, sub->queue_cap * sizeof *sub->queue);
	}
	sub->queue[sub->queued++] = *event;
	sub_ready(sub);
}

/* Whoever is told so fetches everything as of then: nothing before it is worth telling. */
static void sub_resync(struct event_subscriber *sub, uint64_t index)
{
	struct event event = {.type = EVENT_OF_RESYNC, .index = index};

	sub_drop(sub);
	sub_append(sub, &event);
	sub->hub->counters.resyncs++;
}

static void sub_push(struct event_subscriber *sub, const struct event *event)
{
	size_t at = 0;

	if (sub->rc != 0 || event->type == EVENT_OF_NONE ||
		(sub->has_since && event->index <= sub->since)) {
		return;
	}
	/* One that waits, of the same type and object, says no more than this one. */
	while (at < sub->queued &&
		(sub->queue[at].type != event->type ||
			memcmp(sub->queue[at].object, event->object, sizeof event->object) != 0)) {
		at++;
	}
	if (at < sub->queued) {
		memmove(&sub->queue[at], &sub->queue[at + 1],
			(sub->queued - at - 1) * sizeof *sub->queue);
		sub->queued--;
	} else if (sub->queued == EVENT_QUEUE_MAX) {
		sub_resync(sub, event->index);
		return;
	}
	sub_append(sub, event);
	sub->hub->counters.told++;
}

bool event_subscriber_take(struct event_subscriber *sub, struct event *ret_event)
{
	if (sub->queued == 0) {
		return false;
	}
	*ret_event = sub->queue[0];
	/* Of several of one index the last one's cursor is behind them all: whoever is cut off in
	 * between is told the others again. */
	if (sub->queued > 1 && sub->queue[1].index == ret_event->index) {
		ret_event->index--;
	}
	sub->queued--;
	memmove(&sub->queue[0], &sub->queue[1], sub->queued * sizeof *sub->queue);
	if (sub->queued == 0) {
		sub_drop(sub);
	}
	return true;
}

/* What it has not taken in time is of no use any more: the oldest goes. */
static void sub_signal(struct event_subscriber *sub, struct call_signal *signal)
{
	if (sub->signals == NULL) {
		sub->signals = x_calloc(EVENT_SIGNALS_MAX, sizeof *sub->signals);
	}
	if (sub->n_signals == EVENT_SIGNALS_MAX) {
		call_signal_unref(event_subscriber_take_signal(sub));
	}
	sub->signals[sub->n_signals++] = call_signal_ref(signal);
	sub_ready(sub);
}

struct call_signal *event_subscriber_take_signal(struct event_subscriber *sub)
{
	struct call_signal *signal = sub->n_signals == 0 ? NULL : sub->signals[0];

	if (signal != NULL) {
		sub->n_signals--;
		memmove(&sub->signals[0], &sub->signals[1], sub->n_signals * sizeof *sub->signals);
	}
	if (sub->n_signals == 0) {
		sub_drop_signals(sub);
	}
	return signal;
}

/* --- looks --- */

static void sub_unlink(struct event_subscriber *sub)
{
	event_table_unlink(sub->hub->table, sub->links, sub->n_links);
	sub->links = NULL;
	sub->n_links = 0;
}

static bool sub_relink(struct event_subscriber *sub, const struct event_topics *topics)
{
	struct event_table *table = sub->hub->table;

	sub_unlink(sub);
	if (event_table_links(table) + topics->n > EVENT_LINKS_MAX) {
		return false;
	}
	sub->links = event_table_link(table, sub, topics->topic, topics->n);
	sub->n_links = topics->n;
	return true;
}

/* It is told nothing until a look has said what it is told of; then all from number `seen` on.
 * Everything up to seen_index was told. */
static void sub_look(struct event_subscriber *sub, uint64_t seen, uint64_t seen_index)
{
	assert(!sub->looking);
	sub->looking = true;
	sub->seen = seen;
	sub->seen_index = seen_index;
	sub->scan = false;
	sub_wait(sub);
}

static bool sub_is_told(const struct event_subscriber *sub, const struct event *event)
{
	for (unsigned audience = EVENT_TO_USER; audience <= EVENT_TO_LAST; audience <<= 1) {
		const struct event_link *link = NULL;

		if ((event->audience & audience) != 0) {
			link = event_table_find(sub->hub->table, audience, event->topic);
		}
		while (link != NULL && link->sub != sub) {
			link = link->next;
		}
		if (link != NULL) {
			return true;
		}
	}
	return false;
}

/* Tells what has come meanwhile. Behind the look's index something may have changed what it found.
 */
static void sub_replay(struct event_subscriber *sub, uint64_t from, uint64_t look_index)
{
	const struct event_ring *ring = &sub->hub->ring;
	bool again = false;

	for (uint64_t i = from; i < ring->next; i++) {
		const struct event *event = event_ring_at(ring, i);

		if (sub_is_told(sub, event)) {
			sub_push(sub, event);
			again |= event->reaches && event->index > look_index;
		}
	}
	sub->looking = false;
	if (again) {
		sub_look(sub, ring->next, sub->hub->index);
	}
}

/* Everything is to be fetched, as of the newest that was told. */
static void sub_forget(struct event_subscriber *sub, uint64_t index)
{
	if (!sub->has_since || sub->since < index) {
		sub->has_since = true;
		sub->since = index;
	}
	sub_resync(sub, sub->since);
}

static void sub_missed(struct event_subscriber *sub, const struct event_look *look)
{
	if (sub->first && !sub->has_since) {
		sub_forget(sub, sub->hub->index > look->index ? sub->hub->index : look->index);
	} else if (look->all) {
		sub_forget(sub, look->index);
	} else {
		for (size_t i = 0; i < look->missed.n; i++) {
			sub_push(sub, &look->missed.event[i]);
		}
	}
	sub->first = false;
}

static void sub_looked(struct event_subscriber *sub, const struct event_look *look)
{
	const struct event_ring *ring = &sub->hub->ring;
	uint64_t from = look->scan ? event_ring_behind(ring, look->index) : sub->seen;

	if (look->rc != 0 || !sub_relink(sub, &look->topics)) {
		sub_end(sub, look->rc != 0 ? look->rc : KLUIS_EBUSY);
		return;
	}
	sub->expires_ms = look->expires_ms;
	sub_missed(sub, look);
	if (look->scan ? look->index < ring->from_index : from < ring->first) {
		/* The newest events do not reach back so far: those between are in the rows. */
		sub->seen_index = look->scan ? look->index : sub->seen_index;
		sub->scan = true;
		sub_wait(sub);
		return;
	}
	sub_replay(sub, from, look->index);
	if (sub->deadline_ms != 0 && hub_now() >= sub->deadline_ms) {
		sub_ready(sub);
	}
}

static void look_done_cb(struct pool_work *work, int rc);

static struct event_look *look_new(struct event_subscriber *sub)
{
	struct event_hub *hub = sub->hub;
	struct event_look *look = x_calloc(1, sizeof *look);

	look->backend = hub->config.backend;
	look->hub = hub;
	look->sub = sub;
	memcpy(look->token_hash, sub->token_hash, sizeof look->token_hash);
	look->now_ms = hub->config.cluster_now(hub->config.data);
	look->scan = sub->scan;
	look->since = sub->seen_index;
	return look;
}

static void hub_look_more(struct event_hub *hub)
{
	while (hub->looks < EVENT_LOOKS_MAX && hub->waiting != NULL) {
		struct event_subscriber *sub = hub->waiting;
		struct event_look *look = look_new(sub);

		if (pool_submit(hub->config.pool, &look->work, hub->config.home, event_look_work,
			    look_done_cb) != 0) {
			event_look_free(look); /* The pool is full: with the next sweep. */
			return;
		}
		sub_unwait(sub);
		sub->look = look;
		hub->looks++;
		hub->counters.looks++;
	}
}

static void look_done_cb(struct pool_work *work, int rc)
{
	struct event_look *look = CONTAINER_OF(work, struct event_look, work);
	struct event_hub *hub = look->hub;

	(void)rc; /* As look->rc. */
	assert(hub->looks > 0);
	hub->looks--;
	if (look->sub != NULL) {
		look->sub->look = NULL;
		if (look->sub->rc == 0) {
			sub_looked(look->sub, look);
		}
	}
	event_look_free(look);
	hub_look_more(hub);
	hub_tell(hub);
}

/* --- what is fed --- */

static void hub_event(struct event_hub *hub, const struct event *event)
{
	event_ring_add(&hub->ring, event);
	hub->counters.fed++;
	for (unsigned audience = EVENT_TO_USER; audience <= EVENT_TO_LAST; audience <<= 1) {
		struct event_link *link = NULL;

		if ((event->audience & audience) != 0) {
			link = event_table_find(hub->table, audience, event->topic);
		}
		for (; link != NULL; link = link->next) {
			struct event_subscriber *sub = link->sub;

			if (sub->looking || sub->rc != 0) {
				continue; /* Is told by the ring when it has looked. */
			}
			sub_push(sub, event);
			if (event->reaches) {
				sub_look(sub, hub->ring.next, event->index - 1);
			}
		}
	}
}

static void hub_lost(struct event_hub *hub, uint64_t index)
{
	event_ring_reset(&hub->ring, index);
	hub->counters.lost++;
	hub->index = index;
	for (struct event_subscriber *sub = hub->subs; sub != NULL; sub = sub->next) {
		if (sub->rc == 0 && !sub->first) {
			sub_forget(sub, index);
		}
		if (sub->rc == 0 && !sub->looking) {
			sub_look(sub, hub->ring.next, index);
		}
	}
}

static void hub_signal(struct event_hub *hub, struct call_signal *signal)
{
	struct event_link *link =
		event_table_find(hub->table, EVENT_TO_OBJECT, signal->conversation_id);

	for (; link != NULL; link = link->next) {
		struct event_subscriber *sub = link->sub;
		bool own = memcmp(sub->user_id, signal->user_id, 16) == 0 &&
			   memcmp(sub->device_id, signal->device_id, 16) == 0;

		if (sub->rc == 0 && !own) {
			sub_signal(sub, signal);
		}
	}
}

static void hub_tell_cb(struct mail *mail)
{
	struct event_hub *hub = CONTAINER_OF(mail, struct event_hub, tell_mail);

	hub->telling = false;
	hub_tell(hub);
}

void event_hub_signal(struct event_hub *hub, struct call_signal *signal)
{
	hub_signal(hub, signal);
	if (hub->ready != NULL && !hub->telling) {
		hub->telling = true; /* No callback within a call. */
		mailbox_send(hub->config.home, &hub->tell_mail);
	}
}

static void hub_signals(struct event_hub *hub)
{
	struct call_signal *signal = event_feed_take_signals(&hub->feed);

	while (signal != NULL) {
		struct call_signal *next = signal->next;

		hub_signal(hub, signal);
		call_signal_unref(signal);
		signal = next;
	}
}

static void hub_feed_cb(struct event_feed *feed)
{
	struct event_hub *hub = CONTAINER_OF(feed, struct event_hub, feed);
	uint64_t index;
	bool lost;

	event_feed_take(feed, &hub->fed, &index, &lost);
	if (lost) {
		hub_lost(hub, index);
	}
	for (size_t i = 0; i < hub->fed.n; i++) {
		hub_event(hub, &hub->fed.event[i]);
	}
	event_list_clear(&hub->fed);
	if (index > hub->index) {
		hub->index = index;
	}
	hub_signals(hub);
	hub_look_more(hub);
	hub_tell(hub);
}

/* --- time --- */

static void hub_timer_cb(uv_timer_t *timer);

static void hub_arm(struct event_hub *hub, uint64_t due_ms)
{
	uint64_t now_ms = hub_now();

	if (!hub->stopped && (hub->due_ms == 0 || due_ms < hub->due_ms)) {
		hub->due_ms = due_ms;
		(void)uv_timer_start(&hub->timer, hub_timer_cb,
			due_ms > now_ms ? due_ms - now_ms : 0, 0); /* Cannot fail. */
	}
}

static int hub_trouble(const struct event_hub *hub)
{
	struct api_backend *backend = hub->config.backend;
	uint64_t heard_ms, now_ms;

	(void)backend->applied(backend, &heard_ms); /* What the store has is asked there. */
	now_ms = hub_now();
	return heard_ms == 0 || now_ms > heard_ms + hub->config.stale_ms ||
			       backend->quarantined(backend)
		       ? KLUIS_EBEHIND
		       : 0;
}

void event_hub_sweep(struct event_hub *hub)
{
	uint64_t now_ms = hub_now(), cluster_ms = hub->config.cluster_now(hub->config.data);
	uint64_t due_ms = now_ms + EVENT_SWEEP_MS;
	int trouble = hub->subs == NULL ? 0 : hub_trouble(hub);

	for (struct event_subscriber *sub = hub->subs; sub != NULL; sub = sub->next) {
		if (trouble != 0) {
			sub_end(sub, trouble);
		} else if (sub->expires_ms != 0 && sub->expires_ms <= cluster_ms) {
			sub_end(sub, KLUIS_EUNAUTHENTICATED);
		} else if (sub->deadline_ms != 0 && sub->deadline_ms <= now_ms && !sub->first) {
			sub_ready(sub);
		} else if (sub->deadline_ms > now_ms && sub->deadline_ms < due_ms) {
			due_ms = sub->deadline_ms;
		}
	}
	hub_look_more(hub);
	hub_tell(hub);
	hub_arm(hub, due_ms);
}

static void hub_timer_cb(uv_timer_t *timer)
{
	struct event_hub *hub = timer->data;

	hub->due_ms = 0;
	event_hub_sweep(hub);
}

/* --- subscribers --- */

static unsigned hub_of_user(const struct event_hub *hub, const uint8_t user_id[16])
{
	const struct event_link *link = event_table_find(hub->table, EVENT_TO_USER, user_id);
	unsigned n = 0;

	for (; link != NULL; link = link->next) {
		n++;
	}
	return n;
}

static int hub_admit(const struct event_hub *hub, const struct event_subscriber *sub, struct err *e)
{
	const struct event_counters *now = &hub->counters;

	if (hub->stopped) {
		return err_set(e, KLUIS_ECONNECT, "this node is stopping");
	}
	if (hub_trouble(hub) != 0) {
		return err_set(e, KLUIS_EBEHIND, "this node has heard of no leader for too long");
	}
	if (hub_of_user(hub, sub->user_id) >= EVENT_USER_MAX) {
		return err_set(e, KLUIS_ERATE, "at most %u subscribers of a user at one node",
			(unsigned)EVENT_USER_MAX);
	}
	if (now->subscribers >= EVENT_SUBSCRIBERS_MAX ||
		(sub->poll && now->polls >= EVENT_POLLS_MAX) ||
		event_table_links(hub->table) >= EVENT_LINKS_MAX) {
		return err_set(e, KLUIS_EBUSY, "this node has as many subscribers as it may");
	}
	return 0;
}

/* Where it begins: in the ring, when that reaches back so far. */
static void sub_begin(struct event_subscriber *sub)
{
	const struct event_ring *ring = &sub->hub->ring;

	sub->first = true;
	if (!sub->has_since || sub->since >= ring->from_index) {
		uint64_t index = sub->has_since ? sub->since : sub->hub->index;

		sub_look(sub, event_ring_behind(ring, index), index);
	} else {
		sub_look(sub, ring->first, sub->since);
		sub->scan = true;
	}
}

int event_hub_join(struct event_hub *hub, struct event_subscriber *sub, struct err *e)
{
	struct event_topic own = {.audience = EVENT_TO_USER};
	int rc = hub_admit(hub, sub, e);

	assert(sub->hub == NULL && sub->news_cb != NULL);
	if (rc != 0) {
		return rc;
	}
	sub->hub = hub;
	sub->next = hub->subs;
	sub->prev_next = &hub->subs;
	if (sub->next != NULL) {
		sub->next->prev_next = &sub->next;
	}
	hub->subs = sub;
	hub->counters.subscribers++;
	hub->counters.polls += sub->poll ? 1 : 0;
	memcpy(own.id, sub->user_id, sizeof own.id);
	sub->links = event_table_link(hub->table, sub, &own, 1);
	sub->n_links = 1;
	sub_begin(sub);
	hub_look_more(hub);
	if (sub->deadline_ms != 0) {
		hub_arm(hub, sub->deadline_ms);
	}
	return 0;
}

void event_hub_leave(struct event_subscriber *sub)
{
	struct event_hub *hub = sub->hub;

	if (hub == NULL) {
		return;
	}
	assert(hub->counters.subscribers > 0);
	hub->counters.subscribers--;
	hub->counters.polls -= sub->poll ? 1 : 0;
	if (sub->look != NULL) {
		sub->look->sub = NULL;
		sub->look = NULL;
	}
	sub_unready(sub);
	sub_unwait(sub);
	sub_unlink(sub);
	sub_drop(sub);
	sub_drop_signals(sub);
	*sub->prev_next = sub->next;
	if (sub->next != NULL) {
		sub->next->prev_next = sub->prev_next;
	}
	sub->hub = NULL;
}

uint64_t event_subscriber_cursor(const struct event_subscriber *sub)
{
	uint64_t index = sub->looking ? sub->seen_index : sub->hub->index;

	return sub->has_since && sub->since > index ? sub->since : index;
}

/* --- life --- */

/* What was applied before the watch was set is in the store by now. */
static uint64_t hub_stored_index(const struct event_hub *hub)
{
	struct api_backend *backend = hub->config.backend;
	struct position position;
	struct kv_view *view;
	struct kv *kv;
	int rc = backend->read_begin(backend, &kv);

	if (rc == 0) {
		view = kv_view_new(kv);
		rc = position_get(view, &position, NULL);
		kv_view_free(view);
		backend->read_end(backend);
	}
	/* Not to be read now: whoever comes is answered from the rows until something is lost. */
	return rc == 0 ? position.index : UINT64_MAX;
}

struct event_hub *event_hub_new(const struct event_hub_config *config)
{
	struct event_hub *hub = x_calloc(1, sizeof *hub);
	int rc;

	hub->config = *config;
	hub->waiting_tail = &hub->waiting;
	hub->tell_mail.deliver_cb = hub_tell_cb;
	hub->table = event_table_new();
	event_feed_init(&hub->feed, config->home, hub_feed_cb);
	config->backend->watch(config->backend, &hub->feed.watch);
	event_ring_init(&hub->ring, hub_stored_index(hub));
	hub->index = hub->ring.from_index == UINT64_MAX ? 0 : hub->ring.from_index;
	rc = uv_timer_init(config->loop, &hub->timer);
	assert(rc == 0);
	hub->timer.data = hub;
	hub_arm(hub, hub_now() + EVENT_SWEEP_MS);
	return hub;
}

void event_hub_stop(struct event_hub *hub)
{
	if (hub->stopped) {
		return;
	}
	hub->stopped = true;
	hub->config.backend->watch(hub->config.backend, NULL);
	uv_close((uv_handle_t *)&hub->timer, NULL);
	for (struct event_subscriber *sub = hub->subs; sub != NULL; sub = sub->next) {
		sub_end(sub, KLUIS_ECONNECT);
	}
	hub_tell(hub);
}

bool event_hub_idle(const struct event_hub *hub)
{
	return hub->stopped && hub->looks == 0 && hub->subs == NULL;
}

void event_hub_free(struct event_hub *hub)
{
	if (hub != NULL) {
		assert(event_hub_idle(hub));
		event_list_release(&hub->fed);
		event_feed_release(&hub->feed);
		event_ring_release(&hub->ring);
		event_table_free(hub->table);
		free(hub);
	}
}

const struct event_counters *event_hub_counters(const struct event_hub *hub)
{
	return &hub->counters;
}
