/* The state root by steps, and rows that are not what was written. */
#include "tests/lib/test.h"

#include <string.h>

#include "storage/key_codec.h"
#include "storage/root_walk.h"
#include "tests/lib/fixture/forget.h"
#include "tests/lib/fixture/machine.h"

struct world {
	struct fixture_machine m;
	struct fixture_client c;
	uint8_t root[32]; /* As index_store_root() says, of the whole store. */
	uint64_t rows;
};

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);
	struct kv_view *view;

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->c);
	view = kv_view_new(w->m.kv);
	assert_int_equal(index_store_root(view, w->root, &w->rows, NULL), 0);
	kv_view_free(view);
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

static struct root_found walk(struct world *w, unsigned slice, unsigned step)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct root_walk *walk = root_walk_new(view, slice);
	struct root_found found;
	bool more = true;

	kv_view_set_passing(view);
	while (more) {
		assert_int_equal(root_walk_step(walk, step, &more, NULL), 0);
	}
	root_walk_end(walk, &found);
	kv_view_free(view);
	return found;
}

/* All slices; how many bad rows they found together, and how many of them had the root of a store
 * that is whole. */
static uint64_t walk_slices(struct world *w, unsigned *ret_whole)
{
	uint64_t values = 0, bad = 0;

	*ret_whole = 0;
	for (unsigned slice = 0; slice < KEY_SLICES; slice++) {
		struct root_found found = walk(w, slice, 7);
		bool whole = memcmp(found.root, w->root, 32) == 0;

		assert_true(whole == (found.bad == 0) && found.rows == w->rows);
		*ret_whole += whole;
		values += found.values;
		bad += found.bad;
	}
	assert_true(values == w->rows); /* Each once. */
	return bad;
}

static void test_whole(void **state)
{
	struct world *w = *state;
	struct root_found found;
	unsigned whole;

	for (unsigned step = 1; step < 1000; step += 111) {
		found = walk(w, KEY_SLICES, step);
		assert_memory_equal(found.root, w->root, 32);
		assert_true(found.rows == w->rows && found.values == w->rows && found.bad == 0);
		assert_string_equal(found.text, "");
	}
	assert_true(walk_slices(w, &whole) == 0 && whole == KEY_SLICES);
}

static void test_a_value_that_rotted(void **state)
{
	struct world *w = *state;
	unsigned n = fixture_rot_rows(w->m.kv, KEY_AUDIT), whole;
	struct root_found found = walk(w, KEY_SLICES, 64);

	assert_true(n > 0 && found.bad == n && found.rows == w->rows);
	assert_memory_not_equal(found.root, w->root, 32);
	assert_non_null(strstr(found.text, "audit row"));
	assert_non_null(strstr(found.text, "is not what was written"));
	assert_true(walk_slices(w, &whole) == n && whole < KEY_SLICES && whole > 0);
}

static void test_rows_that_are_gone(void **state)
{
	struct world *w = *state;
	unsigned n = fixture_forget_rows(w->m.kv, KEY_VAULT), whole;
	struct root_found found = walk(w, KEY_SLICES, 64);

	assert_true(n == 1 && found.bad == 1);
	assert_non_null(strstr(found.text, "is gone"));
	assert_true(walk_slices(w, &whole) == 1 && whole == KEY_SLICES - 1);
}

/* What by_index says is part of the root, whatever slice. */
static void test_an_index_that_rotted(void **state)
{
	struct world *w = *state;

	assert_true(fixture_rot_rows(w->m.kv, KEY_BY_INDEX) > 0);
	for (unsigned slice = 0; slice <= KEY_SLICES; slice++) {
		assert_memory_not_equal(walk(w, slice, 64).root, w->root, 32);
	}
	assert_true(walk(w, KEY_SLICES, 64).bad == w->rows);
}

static void test_given_up(void **state)
{
	struct world *w = *state;
	struct kv_view *view = kv_view_new(w->m.kv);
	struct root_walk *walk = root_walk_new(view, KEY_SLICES);
	bool more = false;

	assert_int_equal(root_walk_step(walk, 3, &more, NULL), 0);
	assert_true(more);
	root_walk_end(walk, NULL);
	kv_view_free(view);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_whole),
		T(test_a_value_that_rotted),
		T(test_rows_that_are_gone),
		T(test_an_index_that_rotted),
		T(test_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
