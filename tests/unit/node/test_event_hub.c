/* The hub by itself, over a state machine in memory: what a subscriber's queue does when it is not
 * emptied, and what happens when news are lost on the way. */
#include "tests/lib/test.h"

#include <string.h>

#include "node/event_hub.h"
#include "tests/lib/fixture/machine.h"
#include "tests/lib/loop.h"

struct world {
	struct api_backend backend;
	struct fixture_machine m;
	struct fixture_client c, other;
	uv_loop_t loop;
	struct mailbox mailbox;
	struct pool *pool;
	struct event_hub *hub;
	struct replica_watch *watch;
	struct event_subscriber sub;
	unsigned news;
	uint64_t cluster_ms;
};

static struct world *world_of(struct api_backend *backend)
{
	return CONTAINER_OF(backend, struct world, backend);
}

static int read_begin(struct api_backend *backend, struct kv **ret_kv)
{
	*ret_kv = world_of(backend)->m.kv;
	return 0;
}

static void read_end(struct api_backend *backend)
{
	(void)backend;
}

static uint64_t applied(struct api_backend *backend, uint64_t *ret_heard_ms)
{
	*ret_heard_ms = clock_monotonic_ms(&clock_system);
	return fsm_position(world_of(backend)->m.fsm)->index;
}

static bool quarantined(struct api_backend *backend)
{
	(void)backend;
	return false;
}

static void watch(struct api_backend *backend, struct replica_watch *watcher)
{
	world_of(backend)->watch = watcher;
}

static uint64_t cluster_now(void *data)
{
	return ((struct world *)data)->cluster_ms;
}

static int setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);
	struct event_hub_config config = {.loop = &w->loop,
		.home = &w->mailbox,
		.backend = &w->backend,
		.stale_ms = 60000,
		.cluster_now = cluster_now,
		.data = w};

	w->backend = (struct api_backend){.read_begin = read_begin,
		.read_end = read_end,
		.applied = applied,
		.quarantined = quarantined,
		.watch = watch};
	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->c);
	fixture_machine_join(&w->m, &w->other, 2);
	assert_int_equal(uv_loop_init(&w->loop), 0);
	assert_int_equal(mailbox_init(&w->mailbox, &w->loop), 0);
	config.pool = w->pool = pool_new("look", 1, 64);
	w->hub = event_hub_new(&config);
	*state = w;
	return 0;
}

static bool hub_idle(void *arg)
{
	return event_hub_idle(((struct world *)arg)->hub);
}

static int teardown(void **state)
{
	struct world *w = *state;

	event_hub_leave(&w->sub);
	event_hub_stop(w->hub);
	event_hub_stop(w->hub);
	loop_until(&w->loop, hub_idle, w, "the hub is idle");
	mailbox_close(&w->mailbox, NULL);
	loop_end(&w->loop);
	event_hub_free(w->hub);
	pool_free(w->pool);
	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

static void news_cb(struct event_subscriber *sub)
{
	CONTAINER_OF(sub, struct world, sub)->news++;
}

static void join(struct world *w, const struct fixture_client *c, const uint64_t *since)
{
	struct err e = {0};

	memset(&w->sub, 0, sizeof w->sub);
	w->news = 0;
	memcpy(w->sub.token_hash, c->token_hash, 32);
	memcpy(w->sub.user_id, c->user_id, 16);
	memcpy(w->sub.device_id, c->device_id, 16);
	w->sub.has_since = since != NULL;
	w->sub.since = since == NULL ? 0 : *since;
	w->sub.news_cb = news_cb;
	assert_int_equal(event_hub_join(w->hub, &w->sub, &e), 0);
	assert_int_equal(w->news, 0); /* Never within the call. */
}

static bool has_news(void *arg)
{
	return ((struct world *)arg)->news > 0;
}

static void wait_news(struct world *w)
{
	loop_until(&w->loop, has_news, w, "news");
	w->news = 0;
}

static bool has_looked(void *arg)
{
	return !((struct world *)arg)->sub.looking;
}

static uint64_t index_now(const struct world *w)
{
	return fsm_position(w->m.fsm)->index;
}

/* What the replica does with what a command gave. */
static void tell(struct world *w)
{
	const struct event_list *events = &w->m.results.events;

	w->watch->cb(w->watch, events->event, events->n, index_now(w), false);
}

static void commit(struct world *w, struct fixture_client *c)
{
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;

	fixture_entry(c, 0, c->revision[0] + 1, 12, 1, false, &entries);
	fixture_commit(c, buf_bytes(&entries), 1, false, &command);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
	fixture_committed(c, buf_bytes(&entries));
	tell(w);
}

static void expect(struct world *w, enum event_type type, const uint8_t *object, uint64_t index)
{
	struct event event;

	assert_true(event_subscriber_take(&w->sub, &event));
	assert_int_equal(event.type, type);
	assert_int_equal(event.index, index);
	if (object != NULL) {
		assert_memory_equal(event.object, object, 16);
	}
}

static void expect_none(struct world *w)
{
	struct event event;

	assert_false(event_subscriber_take(&w->sub, &event));
}

/* Events of the user's device list that never were: number `first` and the next n - 1, each of an
 * index of its own up to what is applied. */
static void tell_made_up(
	struct world *w, const uint8_t user_id[16], uint64_t first, size_t n, uint64_t index)
{
	for (uint64_t i = first; i < first + n; i++) {
		struct event event = {
			.index = index, .type = EVENT_OF_DEVICE, .audience = EVENT_TO_USER};

		memcpy(event.topic, user_id, 16);
		memcpy(event.object, &i, sizeof i);
		w->watch->cb(w->watch, &event, 1, index, false);
	}
}

static void begin(struct world *w)
{
	join(w, &w->c, NULL);
	wait_news(w);
	expect(w, EVENT_OF_RESYNC, NULL, index_now(w));
	expect_none(w);
}

static void test_equal_ones_are_one(void **state)
{
	struct world *w = *state;
	uint64_t index = index_now(w);

	begin(w);
	tell_made_up(w, w->c.user_id, 5, 1, index + 1);
	commit(w, &w->c); /* index + 1 */
	commit(w, &w->c);
	tell_made_up(w, w->c.user_id, 5, 1, index + 2);
	commit(w, &w->other); /* Not hers. */
	wait_news(w);
	loop_until(&w->loop, has_looked, w, "no look is under way");
	/* Two of one place: behind the first one alone one has not seen that place. */
	expect(w, EVENT_OF_VAULT, w->c.vault_id, index + 1);
	expect(w, EVENT_OF_DEVICE, NULL, index + 2);
	expect_none(w);
	assert_int_equal(event_subscriber_cursor(&w->sub), index + 3);
}

static void test_a_full_queue(void **state)
{
	struct world *w = *state;
	uint64_t index = index_now(w);
	uint64_t number = EVENT_QUEUE_MAX;

	begin(w);
	tell_made_up(w, w->c.user_id, 0, EVENT_QUEUE_MAX + 1, index + 1);
	wait_news(w);
	expect(w, EVENT_OF_RESYNC, NULL, index + 1);
	expect_none(w);
	/* Then it goes on. */
	tell_made_up(w, w->c.user_id, number, 1, index + 2);
	wait_news(w);
	expect(w, EVENT_OF_DEVICE, (const uint8_t[16]){0, 1}, index + 2);
	expect_none(w);
}

static void test_a_full_feed(void **state)
{
	struct world *w = *state;
	uint64_t index = index_now(w);

	begin(w);
	tell_made_up(w, w->other.user_id, 0, EVENT_FEED_MAX, index + 1);
	commit(w, &w->c); /* index + 1: does not fit. */
	commit(w, &w->c);
	wait_news(w);
	expect(w, EVENT_OF_RESYNC, NULL, index + 2);
	loop_until(&w->loop, has_looked, w, "looked");
	expect_none(w);
	commit(w, &w->c);
	wait_news(w);
	expect(w, EVENT_OF_VAULT, w->c.vault_id, index + 3);
	/* The store is another one. */
	w->watch->cb(w->watch, NULL, 0, index_now(w), true);
	wait_news(w);
	expect(w, EVENT_OF_RESYNC, NULL, index + 3);
	assert_int_equal(event_hub_counters(w->hub)->lost, 2);
}

/* In the ring, behind the ring, before the hub was there. */
static void test_missed(void **state)
{
	struct world *w = *state;
	uint64_t index = index_now(w), before = index - 1;

	commit(w, &w->c);
	commit(w, &w->other);
	loop_for(&w->loop, 1);
	join(w, &w->c, &index);
	wait_news(w);
	expect(w, EVENT_OF_VAULT, w->c.vault_id, index + 1);
	expect_none(w);
	assert_int_equal(event_hub_counters(w->hub)->looks, 1);
	event_hub_leave(&w->sub);
	/* Its vault was made before the hub was. */
	before = index - 8;
	join(w, &w->c, &before);
	wait_news(w);
	while (w->sub.queued > 1) {
		struct event event;

		assert_true(event_subscriber_take(&w->sub, &event));
	}
	expect(w, EVENT_OF_VAULT, w->c.vault_id, index + 1);
	event_hub_leave(&w->sub);
	for (unsigned i = 0; i < 3; i++) {
		tell_made_up(w, w->other.user_id, 0, EVENT_RING / 2, index + 2);
		loop_for(&w->loop, 1);
	}
	join(w, &w->c, &index);
	wait_news(w);
	expect(w, EVENT_OF_VAULT, w->c.vault_id, index + 1);
	expect_none(w);
	event_hub_leave(&w->sub);
	/* Of another site that is ahead: nothing it knows is told again. */
	index += 3;
	join(w, &w->c, &index);
	loop_until(&w->loop, has_looked, w, "looked");
	assert_int_equal(event_subscriber_cursor(&w->sub), index);
	commit(w, &w->c);
	commit(w, &w->c);
	wait_news(w);
	expect(w, EVENT_OF_VAULT, w->c.vault_id, index + 1);
	expect_none(w);
}

static void test_session_expires(void **state)
{
	struct world *w = *state;

	begin(w);
	w->cluster_ms = w->m.now_ms + SESSION_MS_MAX + 1;
	event_hub_sweep(w->hub);
	assert_int_equal(w->news, 1);
	assert_int_equal(w->sub.rc, KLUIS_EUNAUTHENTICATED);
	expect_none(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_equal_ones_are_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_full_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_full_feed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_session_expires, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
