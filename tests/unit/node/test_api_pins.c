/* Operators pin snapshots: at most so many, and none that sites may have forgotten some of. */
#include "tests/lib/test.h"

#include <string.h>

#include "base/limits.h"
#include "tests/lib/api/node.h"

enum { TAKER = 2, CYCLES = 130, CYCLE_MS = 60 * 1000, KEPT_MS = 10 * CYCLE_MS };

struct world {
	struct api_node node;
	struct http_client admin;
	uint64_t cycle[CYCLES + 1]; /* Ids, from 1. */
};

static uint64_t take(struct world *w, uint8_t kind, bool finish)
{
	struct fixture_machine *m = &w->node.machine;
	struct command c = {.type = COMMAND_SNAPSHOT_CLAIM,
		.snapshot_claim = {.node = TAKER,
			.kind = kind,
			.slot = kind == SNAPSHOT_MANUAL ? 0 : m->now_ms,
			.ttl_ms = 1000}};
	uint64_t id;

	(void)pthread_mutex_lock(&w->node.lock);
	assert_int_equal(fixture_machine_do(m, &c), 0);
	id = fixture_machine_reply(m).number;
	if (finish) {
		c = (struct command){.type = COMMAND_SNAPSHOT_RECORD,
			.snapshot_record = {.id = id, .node = TAKER, .index = id, .term = 1}};
		memset(c.snapshot_record.manifest_hash, 1, 32);
		assert_int_equal(fixture_machine_do(m, &c), 0);
		c = (struct command){.type = COMMAND_SNAPSHOT_CONFIRM,
			.snapshot_confirm = {.id = id, .node = 1, .needed = 1}};
		memset(c.snapshot_confirm.manifest_hash, 1, 32);
		assert_int_equal(fixture_machine_do(m, &c), 0);
	}
	(void)pthread_mutex_unlock(&w->node.lock);
	return id;
}

static int set_up(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	*state = w;
	api_node_prepare(&w->node);
	w->node.config.retention = (struct retention_rules){
		.kept_ms = KEPT_MS, .fresh_ms = KEPT_MS, .cycles_kept = BACKUP_CYCLES_KEPT};
	for (unsigned i = 1; i <= CYCLES; i++) {
		w->node.machine.now_ms += CYCLE_MS;
		w->cycle[i] = take(w, SNAPSHOT_INCREMENT, true);
	}
	api_node_run(&w->node);
	api_node_admin(&w->node, &w->admin);
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	http_client_release(&w->admin);
	api_node_stop(&w->node);
	free(w);
	return 0;
}

static struct answer call(struct world *w, const char *verb, uint64_t id, const char *behind)
{
	_cleanup_(x_freep) char *target =
		x_asprintf("/v1/sys/snapshots/%llu%s", (unsigned long long)id, behind);

	return http_client_call(&w->admin, verb, target, "", bytes_of(NULL, 0));
}

static bool is_pinned(struct world *w, uint64_t id)
{
	struct answer answer = call(w, "GET", id, "");
	bool pinned;

	assert_int_equal(answer.status, 200);
	pinned = json_is_true(json_object_get(answer.json, "pinned"));
	answer_release(&answer);
	return pinned;
}

static void test_pin_and_unpin(void **state)
{
	struct world *w = *state;
	uint64_t newest = w->cycle[CYCLES];

	assert_false(is_pinned(w, newest));
	for (unsigned i = 0; i < 2; i++) { /* Again is no error. */
		answer_expect(call(w, "POST", newest, "/pin"), 204, NULL);
		assert_true(is_pinned(w, newest));
	}
	for (unsigned i = 0; i < 2; i++) {
		answer_expect(call(w, "DELETE", newest, "/pin"), 204, NULL);
		assert_false(is_pinned(w, newest));
	}
	answer_expect(call(w, "POST", newest + 1000, "/pin"), 404, "not-found");
	answer_expect(call(w, "DELETE", newest + 1000, "/pin"), 404, "not-found");
	answer_expect(call(w, "POST", take(w, SNAPSHOT_MANUAL, false), "/pin"), 409, "conflict");
}

/* A point is made of 42 cycles: of those before the newest 83 there may be none any more. */
static void test_not_what_is_forgotten(void **state)
{
	enum { OLDEST = CYCLES - BACKUP_CYCLES_KEPT + BACKUP_SLICES };
	struct world *w = *state;

	answer_expect(call(w, "POST", w->cycle[1], "/pin"), 410, "gone");
	answer_expect(call(w, "POST", w->cycle[OLDEST - 1], "/pin"), 410, "gone");
	assert_false(is_pinned(w, w->cycle[OLDEST - 1]));
	answer_expect(call(w, "POST", w->cycle[OLDEST], "/pin"), 204, NULL);
	/* What that one needs is kept from now on, and more is not. */
	answer_expect(call(w, "DELETE", w->cycle[1], "/pin"), 204, NULL);
}

/* What was forgotten is not here again because no snapshot has come since. */
static void test_not_in_a_gap(void **state)
{
	struct world *w = *state;

	w->node.machine.now_ms += 2 * KEPT_MS;
	(void)take(w, SNAPSHOT_MANUAL, false); /* Unfinished; only the time goes on by it. */
	answer_expect(call(w, "POST", w->cycle[1], "/pin"), 410, "gone");
	assert_false(is_pinned(w, w->cycle[1]));
	answer_expect(call(w, "POST", w->cycle[CYCLES], "/pin"), 204, NULL);
}

static void test_at_most_so_many(void **state)
{
	struct world *w = *state;
	uint64_t id[SNAPSHOTS_PINNED_MAX + 1], index;

	for (unsigned i = 0; i <= SNAPSHOTS_PINNED_MAX; i++) {
		id[i] = take(w, SNAPSHOT_MANUAL, true);
	}
	for (unsigned i = 0; i < SNAPSHOTS_PINNED_MAX; i++) {
		answer_expect(call(w, "POST", id[i], "/pin"), 204, NULL);
	}
	index = fsm_position(w->node.machine.fsm)->index;
	answer_expect(call(w, "POST", id[SNAPSHOTS_PINNED_MAX], "/pin"), 409, "conflict");
	/* It is not even asked of the log. */
	assert_true(fsm_position(w->node.machine.fsm)->index == index);
	answer_expect(call(w, "POST", id[0], "/pin"), 204, NULL); /* It is one of them. */
	answer_expect(call(w, "DELETE", id[0], "/pin"), 204, NULL);
	answer_expect(call(w, "POST", id[SNAPSHOTS_PINNED_MAX], "/pin"), 204, NULL);
	/* The records of cycles stay all the same. */
	for (unsigned i = 0; i < 2 * SNAPSHOTS_KEPT; i++) {
		(void)take(w, SNAPSHOT_MANUAL, true);
	}
	for (unsigned i = CYCLES - BACKUP_CYCLES_KEPT; i <= CYCLES; i++) {
		assert_false(is_pinned(w, w->cycle[i]));
	}
	assert_true(is_pinned(w, id[1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pin_and_unpin, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_what_is_forgotten, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_in_a_gap, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_at_most_so_many, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
