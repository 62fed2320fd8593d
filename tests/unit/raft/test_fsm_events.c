/* What is told as it is applied, and what the rows say was missed: the same, whoever asks, since
 * whenever. */
#include "tests/lib/test.h"

#include <string.h>

#include "base/random.h"
#include "storage/event_store.h"
#include "storage/session_store.h"
#include "tests/lib/fixture/machine.h"

enum { CLIENTS = 3, ACTIONS = 120 };

struct world {
	struct fixture_machine m;
	struct fixture_client c[CLIENTS];
	struct event_list live; /* Since the clients were there. */
	uint64_t begun;		/* Index then. */
	unsigned tokens;
	bool deleted[CLIENTS];
};

static int setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->c[0]);
	for (unsigned i = 1; i < CLIENTS; i++) {
		fixture_machine_join(&w->m, &w->c[i], i + 1);
	}
	w->begun = fsm_position(w->m.fsm)->index;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	event_list_release(&w->live);
	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

/* Runs it and keeps what it told. */
static int run(struct world *w, const struct buf *command)
{
	int rc = fixture_machine_run(&w->m, buf_bytes(command));
	const struct event_list *told = &w->m.results.events;

	assert_true(rc == 0 || told->n == 0); /* A refusal changes nothing. */
	for (size_t i = 0; i < told->n; i++) {
		assert_int_equal(told->event[i].index, fsm_position(w->m.fsm)->index);
		event_list_add(&w->live, &told->event[i]);
	}
	return rc;
}

static void act_commit(struct world *w, unsigned who, uint64_t salt)
{
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct fixture_client *c = &w->c[who];

	fixture_entry(c, 0, c->revision[0] + 1, 12, salt, false, &entries);
	fixture_commit(c, buf_bytes(&entries), 1, false, &command);
	assert_int_equal(run(w, &command), w->deleted[who] ? KLUIS_EGONE : 0);
	if (!w->deleted[who]) {
		fixture_committed(c, buf_bytes(&entries));
	}
}

static void act_session(struct world *w, unsigned who)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct fixture_client c = w->c[who];

	fixture_made_up("another token", w->tokens++, c.token_hash, sizeof c.token_hash);
	fixture_session_create(&c, SESSION_MS_MAX, &bytes);
	assert_int_equal(run(w, &bytes), 0);
}

static void act_end_others(struct world *w, unsigned who)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct command command = {.type = COMMAND_SESSION_END};

	memcpy(command.session_end.session.token_hash, w->c[who].token_hash, 32);
	command.session_end.which = SESSION_END_OTHERS;
	command_encode(&command, &bytes);
	assert_int_equal(run(w, &bytes), 0);
}

static void act_delete(struct world *w, unsigned who)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct command command = {.type = COMMAND_VAULT_DELETE};

	memcpy(command.vault_delete.session.token_hash, w->c[who].token_hash, 32);
	memcpy(command.vault_delete.vault_id, w->c[who].vault_id, 16);
	command.vault_delete.revision = 1;
	command_encode(&command, &bytes);
	assert_int_equal(run(w, &bytes), w->deleted[who] ? KLUIS_EGONE : 0);
	w->deleted[who] = true;
}

static bool told(const struct event_topics *topics, const struct event *event)
{
	for (size_t i = 0; i < topics->n; i++) {
		if ((event->audience & topics->topic[i].audience) != 0 &&
			memcmp(event->topic, topics->topic[i].id, 16) == 0) {
			return true;
		}
	}
	return false;
}

static struct event *find(struct event_list *list, const struct event *wanted)
{
	for (size_t i = 0; i < list->n; i++) {
		if (list->event[i].type == wanted->type &&
			memcmp(list->event[i].object, wanted->object, 16) == 0) {
			return &list->event[i];
		}
	}
	return NULL;
}

/* Each type and object once, the newest. */
static void reduce(const struct event_list *from, const struct event_topics *topics, uint64_t since,
	struct event_list *to)
{
	for (size_t i = 0; i < from->n; i++) {
		const struct event *event = &from->event[i];
		struct event *same;

		if (event->type == EVENT_OF_NONE || event->index <= since || !told(topics, event)) {
			continue;
		}
		same = find(to, event);
		if (same == NULL) {
			event_list_add(to, event);
		} else if (same->index < event->index) {
			*same = *event;
		}
	}
}

static void expect_same(struct world *w, const struct fixture_client *c, uint64_t since)
{
	struct event_list missed = {0}, wanted = {0}, found = {0};
	struct event_topics topics = {0};
	struct kv_view *view = kv_view_new(w->m.kv);
	bool all = true;

	assert_int_equal(event_store_topics(view, c->user_id, c->device_id, &topics, NULL), 0);
	assert_int_equal(event_store_missed(view, &topics, since, &missed, &all, NULL), 0);
	assert_false(all);
	for (size_t i = 1; i < missed.n; i++) {
		assert_true(missed.event[i - 1].index <= missed.event[i].index);
	}
	reduce(&w->live, &topics, since, &wanted);
	reduce(&missed, &topics, since, &found);
	assert_int_equal(found.n, wanted.n);
	for (size_t i = 0; i < wanted.n; i++) {
		const struct event *same = find(&found, &wanted.event[i]);

		assert_non_null(same);
		assert_int_equal(same->index, wanted.event[i].index);
	}
	kv_view_free(view);
	event_topics_release(&topics);
	event_list_release(&missed);
	event_list_release(&wanted);
	event_list_release(&found);
}

static void test_missed_is_what_was_told(void **state)
{
	struct world *w = *state;
	struct random_seeded seeded;

	random_seeded_init(&seeded, 7);
	for (unsigned i = 0; i < ACTIONS; i++) {
		unsigned who = (unsigned)random_below(&seeded.random, CLIENTS);
		uint64_t action = random_below(&seeded.random, 20);

		w->m.now_ms += 1;
		if (action < 10) {
			act_commit(w, who, i);
		} else if (action < 16) {
			act_session(w, who);
		} else if (action < 19) {
			act_end_others(w, who);
		} else {
			act_delete(w, who);
		}
		for (unsigned k = 0; k < CLIENTS; k++) {
			uint64_t now = fsm_position(w->m.fsm)->index;
			uint64_t since =
				w->begun + random_below(&seeded.random, now - w->begun + 1);

			expect_same(w, &w->c[k], since);
		}
	}
	assert_true(w->live.n > ACTIONS / 2);
}

/* More than can be told: the client fetches everything. */
static void test_too_many(void **state)
{
	struct world *w = *state;
	struct event_list missed = {0};
	struct event_topics topics = {0};
	struct kv_view *view;
	bool all = false;

	for (unsigned i = 0; i <= EVENT_QUEUE_MAX + 4; i++) {
		w->m.now_ms += 1;
		act_session(w, 0); /* Others make room: both are news. */
	}
	view = kv_view_new(w->m.kv);
	assert_int_equal(
		event_store_topics(view, w->c[0].user_id, w->c[0].device_id, &topics, NULL), 0);
	assert_int_equal(event_store_missed(view, &topics, w->begun, &missed, &all, NULL), 0);
	assert_true(all);
	kv_view_free(view);
	event_list_release(&missed);
	event_topics_release(&topics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_missed_is_what_was_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
