/* Rows that another thread makes. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "backup/feed.h"

enum { ROWS = 5000, LARGE_BYTES = 3 << 20 };

struct maker {
	uint64_t made, end;
	int rc; /* At the end. */
	uint8_t *large;
	char key[32];
};

/* Row i has i mod 7 bytes of value, but each 500th some MiB. */
static int maker_next(
	void *data, struct index_row *ret_row, struct buf *value, bool *ret_more, struct err *e)
{
	struct maker *m = data;
	uint64_t i = m->made;

	if (i == m->end) {
		*ret_more = false;
		return m->rc == 0 ? 0 : err_set(e, m->rc, "row %llu", (unsigned long long)i);
	}
	m->made++;
	(void)snprintf(m->key, sizeof m->key, "key %llu", (unsigned long long)i);
	*ret_row = (struct index_row){
		.at = {i + 1, 0}, .deleted = i % 3 == 0, .key = bytes_str(m->key)};
	*ret_more = true;
	buf_append(value, m->large, i % 500 == 499 ? LARGE_BYTES : i % 7);
	return 0;
}

static void assert_row(const struct import_row *row, uint64_t i)
{
	char key[32];

	(void)snprintf(key, sizeof key, "key %llu", (unsigned long long)i);
	assert_int_equal(row->row.at.index, i + 1);
	assert_true(row->row.deleted == (i % 3 == 0));
	assert_true(bytes_equal(row->row.key, bytes_str(key)));
	assert_int_equal(row->value.len, i % 500 == 499 ? LARGE_BYTES : i % 7);
	if (row->value.len > 0) {
		assert_int_equal(row->value.data[row->value.len - 1], 0x5a);
	}
}

static uint64_t take_all(struct feed *feed, int *ret_rc, struct err *e)
{
	const struct feed_batch *batch = NULL;
	uint64_t n = 0;

	while ((*ret_rc = feed_next(feed, &batch, e)) == 0 && batch != NULL) {
		for (size_t i = 0; i < batch->n; i++) {
			assert_row(&batch->rows[i], n++);
		}
	}
	return n;
}

static struct maker maker_of(uint64_t end, int rc)
{
	struct maker m = {.end = end, .rc = rc, .large = x_malloc(LARGE_BYTES)};

	memset(m.large, 0x5a, LARGE_BYTES);
	return m;
}

static void test_rows_in_order(void **state)
{
	const uint64_t ends[] = {0, 1, ROWS};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct maker m = maker_of(ends[i], 0);
		struct feed *feed = feed_new(&(struct feed_source){maker_next, &m});
		int rc;

		assert_int_equal(take_all(feed, &rc, NULL), ends[i]);
		assert_int_equal(rc, 0);
		feed_free(feed);
		free(m.large);
	}
}

/* What was made before it failed is good. */
static void test_failure_comes_last(void **state)
{
	struct maker m = maker_of(ROWS, KLUIS_ECORRUPT);
	struct feed *feed = feed_new(&(struct feed_source){maker_next, &m});
	struct err e = {0};
	int rc;

	(void)state;
	assert_int_equal(take_all(feed, &rc, &e), ROWS);
	assert_int_equal(rc, KLUIS_ECORRUPT);
	assert_string_equal(e.text, "row 5000");
	assert_int_equal(take_all(feed, &rc, NULL), 0);
	assert_int_equal(rc, KLUIS_ECORRUPT);
	feed_free(feed);
	free(m.large);
}

/* Who gives up early waits for no row but the one that is being made, and memory is bounded. */
static void test_given_up(void **state)
{
	struct maker m = maker_of(UINT64_MAX, 0);
	struct feed *feed = feed_new(&(struct feed_source){maker_next, &m});
	const struct feed_batch *batch = NULL;

	(void)state;
	assert_int_equal(feed_next(feed, &batch, NULL), 0);
	assert_row(&batch->rows[0], 0);
	feed_free(feed);
	assert_true(m.made < 10000);
	feed_free(NULL);
	free(m.large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_in_order),
		cmocka_unit_test(test_failure_comes_last),
		cmocka_unit_test(test_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
