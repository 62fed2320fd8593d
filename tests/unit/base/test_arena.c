#include "tests/lib/test.h"

#include <string.h>

#include "base/arena.h"

/* Every allocation is aligned, its own, and stays until the end. */
static void test_allocations_are_apart(void **state)
{
	enum { COUNT = 3000 };
	static uint8_t *at[COUNT];
	struct arena arena = {0};

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < COUNT; i++) {
			size_t bytes = i % 500 == 499 ? 100000 : i % 97;

			at[i] = arena_alloc(&arena, bytes);
			assert_int_equal((uintptr_t)at[i] % _Alignof(max_align_t), 0);
			memset(at[i], (int)(i & 0xff), bytes);
		}
		for (unsigned i = 0; i < COUNT; i++) {
			size_t bytes = i % 500 == 499 ? 100000 : i % 97;

			for (size_t j = 0; j < bytes; j++) {
				assert_int_equal(at[i][j], i & 0xff);
			}
		}
		arena_clear(&arena);
	}
	arena_release(&arena);
	assert_null(arena.chunks);
	assert_null(arena.spare);
}

static void test_copy(void **state)
{
	struct arena arena = {0};
	char text[] = "row";
	struct bytes copy = arena_copy(&arena, bytes_str(text));

	(void)state;
	text[0] = 'x';
	assert_true(bytes_equal(copy, bytes_str("row")));
	assert_int_equal(arena_copy(&arena, bytes_of(NULL, 0)).len, 0);
	arena_release(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allocations_are_apart),
		cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
