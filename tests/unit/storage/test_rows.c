#include "tests/lib/test.h"

#include <string.h>

#include "base/err.h"
#include "base/random.h"
#include "base/wire.h"
#include "storage/key_codec.h"
#include "tests/lib/fixture/rows.h"

static void test_round_trips(void **state)
{
	(void)state;
	for (size_t i = 0; i < FIXTURE_ROW_KINDS; i++) {
		_cleanup_(buf_release) struct buf key = BUF_INIT, value = BUF_INIT,
						  again = BUF_INIT;

		fixture_rows[i].sample(&key, &value);
		assert_int_equal(
			fixture_rows[i].decode(buf_bytes(&key), buf_bytes(&value), &again), 0);
		assert_true(bytes_equal(buf_bytes(&value), buf_bytes(&again)));
	}
}

static void refused(const struct fixture_row *row, struct bytes key, struct bytes value)
{
	_cleanup_(buf_release) struct buf again = BUF_INIT;

	if (row->decode(key, value, &again) != KLUIS_ECORRUPT) {
		fail_msg("%s: %zu and %zu bytes were taken", row->name, key.len, value.len);
	}
}

/* Truncated, too long, of another format. */
static void test_exact(void **state)
{
	(void)state;
	for (size_t i = 0; i < FIXTURE_ROW_KINDS; i++) {
		const struct fixture_row *row = &fixture_rows[i];
		_cleanup_(buf_release) struct buf key = BUF_INIT, value = BUF_INIT;
		/* What ends in a key of any length has no length of its own. */
		bool open_ended = strcmp(row->name, "by_index") == 0;

		row->sample(&key, &value);
		for (size_t n = 0; n < value.len; n++) {
			if (!open_ended || n < 34) {
				refused(row, buf_bytes(&key), bytes_of(value.data, n));
			}
		}
		value.data[0] ^= 3;
		refused(row, buf_bytes(&key), buf_bytes(&value));
		value.data[0] ^= 3;
		buf_put_u8(&value, 0);
		if (!open_ended) {
			refused(row, buf_bytes(&key), buf_bytes(&value));
		}
	}
}

/* Flipped bits: refused, or a row that encodes to exactly the bytes it was read from. */
static void test_flips(void **state)
{
	struct random_seeded random;

	(void)state;
	random_seeded_init(&random, 3);
	for (size_t i = 0; i < FIXTURE_ROW_KINDS; i++) {
		_cleanup_(buf_release) struct buf key = BUF_INIT, value = BUF_INIT;

		fixture_rows[i].sample(&key, &value);
		for (unsigned n = 0; n < 2000; n++) {
			_cleanup_(buf_release) struct buf again = BUF_INIT;
			size_t at = (size_t)random_below(&random.random, value.len);
			uint8_t bit = (uint8_t)(1U << random_below(&random.random, 8));

			value.data[at] ^= bit;
			if (fixture_rows[i].decode(buf_bytes(&key), buf_bytes(&value), &again) ==
				0) {
				assert_true(bytes_equal(buf_bytes(&value), buf_bytes(&again)));
			}
			value.data[at] ^= bit;
		}
	}
}

static void test_keys_order_as_fields(void **state)
{
	struct row_key a = row_key_begin(KEY_HEAD), b = row_key_begin(KEY_HEAD), after;
	uint8_t id[16] = {1};

	(void)state;
	row_key_put_id(&a, id);
	row_key_put_id(&b, id);
	after = row_key_after_prefix(&a);
	row_key_put_u64(&a, 255);
	row_key_put_u64(&b, 256);
	assert_true(bytes_compare(row_key_bytes(&a), row_key_bytes(&b)) < 0);
	assert_true(bytes_compare(row_key_bytes(&b), row_key_bytes(&after)) < 0);
	memset(id, 0xff, sizeof id);
	a = row_key_begin(KEY_HEAD);
	row_key_put_id(&a, id);
	after = row_key_after_prefix(&a);
	assert_int_equal(after.len, 1); /* 0xff has no successor of its own length. */
	assert_int_equal(after.data[0], KEY_HEAD + 1);
	assert_true(row_key_is_row(row_key_bytes(&a)));
	a = row_key_begin(KEY_BY_INDEX);
	assert_false(row_key_is_row(row_key_bytes(&a)));
	assert_false(row_key_is_row(bytes_of(NULL, 0)));
	assert_string_equal(row_key_family_name(KEY_BYTES), "bytes");
	assert_string_equal(row_key_family_name(0x99), "?");
}

/* First four bytes of SHA-256("abc") are ba7816bf: mod 42. */
static void test_slice(void **state)
{
	(void)state;
	assert_int_equal(row_key_slice(bytes_str("abc")), 0xba7816bfU % 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_exact),
		cmocka_unit_test(test_flips),
		cmocka_unit_test(test_keys_order_as_fields),
		cmocka_unit_test(test_slice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
