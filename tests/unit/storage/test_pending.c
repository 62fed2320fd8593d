#include "tests/lib/test.h"

#include <string.h>

#include "base/random.h"
#include "base/wire.h"
#include "storage/pending.h"

enum { KEYS = 300 };

/* Keys of which one is a prefix of another, and some that differ only behind their 16th byte. */
static struct row_key key_of(unsigned i)
{
	struct row_key key = row_key_begin(KEY_MEMBER_STATEMENT);

	row_key_put_u8(&key, (uint8_t)(i % 2 == 0 ? 0 : 200));
	if (i % 3 == 0) {
		row_key_put_u64(&key, 7);
		row_key_put_u64(&key, 7);
	}
	row_key_put_u32(&key, i / 4);
	if (i % 4 >= 2) {
		row_key_put_u8(&key, (uint8_t)(i % 4));
	}
	return key;
}

static int compare_keys(const void *a, const void *b)
{
	const struct row_key *x = a, *y = b;

	return bytes_compare(row_key_bytes(x), row_key_bytes(y));
}

static void check(const struct pending *p, const struct row_key *sorted, size_t n)
{
	struct pending_row *rows[KEYS];
	struct pending_row *at = pending_seek(p, bytes_of("", 0), false);

	assert_int_equal(p->n, n);
	pending_list(p, rows);
	for (size_t i = 0; i < n; i++) {
		struct bytes key = row_key_bytes(&sorted[i]);

		assert_true(bytes_equal(rows[i]->key, key));
		assert_ptr_equal(at, rows[i]);
		assert_ptr_equal(pending_get(p, key), rows[i]);
		assert_ptr_equal(pending_seek(p, key, false), rows[i]);
		assert_true(i == 0 || pending_compare(rows[i - 1], rows[i]) < 0);
		at = pending_seek(p, key, true);
	}
	assert_null(at);
}

static void test_against_sorted_keys(void **state)
{
	struct pending p = {0};
	struct random_seeded random;

	(void)state;
	random_seeded_init(&random, 3);
	for (unsigned round = 0; round < 20; round++) {
		struct row_key sorted[KEYS];
		bool there[KEYS] = {false};
		size_t n = 0;

		check(&p, sorted, 0);
		for (unsigned step = 0; step < 2 * KEYS; step++) {
			unsigned i = (unsigned)random_below(&random.random, KEYS);
			struct row_key key = key_of(i);
			struct pending_row *row = pending_get(&p, row_key_bytes(&key));

			assert_true((row != NULL) == there[i]);
			if (row == NULL) {
				sorted[n++] = key;
				there[i] = true;
			}
			row = pending_add(&p, row_key_bytes(&key));
			assert_ptr_equal(row, pending_add(&p, row_key_bytes(&key)));
			assert_true(row->state.how == PENDING_NONE && !row->known);
		}
		qsort(sorted, n, sizeof *sorted, compare_keys);
		check(&p, sorted, n);
		pending_clear(&p);
	}
	pending_release(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_sorted_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
