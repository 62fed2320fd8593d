/* How fast backups go beside clients. */
#include "tests/lib/test.h"

#include "backup/pace.h"

static uint64_t count_of(void *data)
{
	return *(uint64_t *)data;
}

/* Time moves by itself a little at each look: who waits gets on. */
struct world {
	struct clock clock;
	uint64_t now_ms, done;
	atomic_uint_fast64_t moved;
	struct pace *pace;
};

static uint64_t world_now(const struct clock *clock)
{
	struct world *w = CONTAINER_OF((struct clock *)(uintptr_t)clock, struct world, clock);

	w->now_ms += 40;
	return w->now_ms;
}

static void world_begin(struct world *w, uint64_t bytes_per_second)
{
	*w = (struct world){.clock = {world_now, world_now}, .now_ms = 1000000};
	w->pace = pace_new(&(struct pace_config){bytes_per_second, count_of, &w->done, &w->clock});
}

/* Milliseconds that so many bytes took. */
static uint64_t world_move(struct world *w, unsigned times, uint64_t bytes)
{
	uint64_t begin_ms = w->now_ms;

	for (unsigned i = 0; i < times; i++) {
		assert_int_equal(pace_wait(w->pace, bytes, NULL, &w->moved, NULL), 0);
	}
	return w->now_ms - begin_ms;
}

static void test_idle_is_not_held(void **state)
{
	struct world w;

	(void)state;
	world_begin(&w, 1000);
	assert_true(world_move(&w, 100, 1000000) < 5000);
	w.now_ms += 10000;
	w.done += 100; /* Ten in a second: no clients. */
	assert_true(world_move(&w, 100, 1000000) < 5000);
	assert_int_equal(pace_wait(NULL, 1, NULL, NULL, NULL), 0);
	pace_free(w.pace);
	pace_free(NULL);
}

/* Its claim, mark, record and all nodes' state roots come within a moment. */
static void test_snapshot_is_no_client(void **state)
{
	struct world w;

	(void)state;
	world_begin(&w, 1000);
	for (unsigned second = 0; second < 10; second++) {
		w.now_ms += 900;
		assert_false(pace_busy(w.pace));
		w.done += 10;
		w.now_ms += PACE_LOOK_MS;
		assert_false(pace_busy(w.pace));
	}
	w.done += PACE_BUSY_PER_S; /* As many in a moment are clients, before the second is over. */
	w.now_ms += PACE_LOOK_MS;
	assert_true(pace_busy(w.pace));
	pace_free(w.pace);
}

static void test_busy_is_held(void **state)
{
	struct world w;
	uint64_t ms;

	(void)state;
	world_begin(&w, 1000000);
	w.now_ms += 1000;
	w.done += 50;
	assert_true(pace_busy(w.pace));
	ms = world_move(&w, 10, 100000); /* A second's worth, some of which is made up for. */
	assert_in_range(ms, 700, 1300);
	assert_true(w.moved > 0); /* Who is held does not hang. */
	w.now_ms += PACE_BUSY_MS;
	assert_false(pace_busy(w.pace));
	assert_true(world_move(&w, 10, 100000) < 500);
	pace_free(w.pace);
}

/* What was to wait long goes on as soon as clients are gone, and ends when it is to. */
static void test_wait_ends(void **state)
{
	struct world w;
	atomic_bool cancel = true;

	(void)state;
	world_begin(&w, 1000);
	w.now_ms += 1000;
	w.done += 50;
	assert_true(pace_busy(w.pace));
	assert_int_equal(
		pace_wait(w.pace, 1000000, NULL, NULL, NULL), 0); /* A thousand seconds' worth. */
	assert_int_equal(pace_wait(w.pace, 1, &cancel, NULL, NULL), KLUIS_ECLOSED);
	w.now_ms += PACE_BUSY_MS - 500;
	assert_in_range(world_move(&w, 1, 1), 1, 1000);
	pace_free(w.pace);
}

static void test_no_measure(void **state)
{
	struct world w;

	(void)state;
	world_begin(&w, 0);
	w.now_ms += 1000;
	w.done += 1000;
	assert_false(pace_busy(w.pace));
	assert_true(world_move(&w, 100, 1000000) < 5000);
	pace_free(w.pace);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_is_not_held),
		cmocka_unit_test(test_snapshot_is_no_client),
		cmocka_unit_test(test_busy_is_held),
		cmocka_unit_test(test_wait_ends),
		cmocka_unit_test(test_no_measure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
