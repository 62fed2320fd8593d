#include "tests/lib/test.h"

#include <string.h>

#include "base/random.h"
#include "base/wire.h"
#include "crypto/hash.h"
#include "storage/omap.h"
#include "storage/txn.h"
#include "tests/lib/fixture/check.h"

enum { KEYS = 40 };

/* Rows of a family that nothing else looks into. */
static struct row_key key_of(uint64_t i)
{
	struct row_key key = row_key_begin(KEY_MEMBER_STATEMENT);

	row_key_put_u64(&key, i);
	return key;
}

/* The view shows exactly the model's rows, in order, from any first key to any end. */
static void expect(const struct txn *txn, const struct omap *model, struct random *random)
{
	struct row_key first = key_of(random_below(random, KEYS)), end = key_of(KEYS);
	struct kv_iter *iter =
		kv_iter_new(txn_view(txn), row_key_bytes(&first), row_key_bytes(&end));
	const struct omap_item *item = omap_seek(model, row_key_bytes(&first), false);

	for (; item != NULL; item = omap_seek(model, omap_key(item), true)) {
		_cleanup_(buf_release) struct buf value = BUF_INIT;

		assert_true(kv_iter_next(iter));
		assert_true(bytes_equal(kv_iter_key(iter), omap_key(item)));
		assert_true(bytes_equal(kv_iter_value(iter), omap_value(item)));
		assert_int_equal(kv_get(txn_view(txn), omap_key(item), &value, NULL), 0);
		assert_true(bytes_equal(buf_bytes(&value), omap_value(item)));
	}
	assert_false(kv_iter_next(iter));
	assert_int_equal(kv_iter_status(iter, NULL), 0);
	kv_iter_free(iter);
}

static void change(struct txn *txn, struct omap *model, struct random *random)
{
	struct row_key key = key_of(random_below(random, KEYS));
	static const uint8_t values[4][2] = {{1, 0}, {1, 1}, {1, 2}, {1, 3}};
	const uint8_t *value = values[random_below(random, 4)]; /* Outlives the txn. */
	_cleanup_(buf_release) struct buf old = BUF_INIT;
	uint8_t hash[32];

	switch (random_below(random, 4)) {
	case 0:
		txn_delete(txn, row_key_bytes(&key));
		(void)omap_remove(model, row_key_bytes(&key));
		if (kv_get(txn_view(txn), row_key_bytes(&key), &old, NULL) != KLUIS_ENOTFOUND) {
			fail_msg("deleted and still there");
		}
		break;
	case 1:
		hash_sha256(bytes_of(value, 2), hash);
		txn_put_borrowed(txn, row_key_bytes(&key), bytes_of(value, 2), hash);
		omap_put(model, row_key_bytes(&key), bytes_of(value, 2), false);
		break;
	default:
		txn_put(txn, row_key_bytes(&key), bytes_of(value, 2));
		omap_put(model, row_key_bytes(&key), bytes_of(value, 2), false);
		break;
	}
}

/* All of the index that the view shows. */
static void dump_index(const struct kv_view *view, struct buf *to)
{
	struct row_key first = row_key_begin(KEY_BY_INDEX);
	struct kv_iter *iter = kv_iter_new(view, row_key_bytes(&first), bytes_of(NULL, 0));

	buf_clear(to);
	while (kv_iter_next(iter)) {
		_cleanup_(buf_release) struct buf value = BUF_INIT;

		assert_int_equal(kv_get(view, kv_iter_key(iter), &value, NULL), 0);
		assert_true(bytes_equal(buf_bytes(&value), kv_iter_value(iter)));
		buf_put_lp32(to, kv_iter_key(iter));
		buf_put_lp32(to, kv_iter_value(iter));
	}
	assert_int_equal(kv_iter_status(iter, NULL), 0);
	kv_iter_free(iter);
}

/* Tombstones are forgotten as expire commands do it, some of them of rows that come again. */
static void forget(struct txn *txn, uint64_t upto, struct random *random)
{
	struct modification cursor = {0};
	struct index_tombstone rows[KEYS];
	size_t n;

	assert_int_equal(
		index_store_tombstones(txn_view(txn), &cursor, upto, rows, KEYS, &n, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		if (random_below(random, 2) == 0) {
			assert_int_equal(
				txn_forget(txn, &rows[i].at, row_key_bytes(&rows[i].key), NULL), 0);
		}
	}
}

/* What a command sees of the index does not depend on what is stored already: a node that stored
 * more at a time would forget other tombstones. */
static void test_index_before_and_after_store(void **state)
{
	struct kv *kv = kv_memory_new();
	struct position start = {0};
	struct txn *txn = txn_new(kv, &start);
	_cleanup_(buf_release) struct buf before = BUF_INIT, after = BUF_INIT;
	struct random_seeded random;
	struct omap model = {0};
	size_t seen = 0;

	(void)state;
	random_seeded_init(&random, 11);
	for (uint64_t index = 1; index < 300; index++) {
		txn_entry_begin(txn, index, 1);
		for (unsigned commands = 0; commands < 3; commands++) {
			struct omap saved = omap_copy(&model);
			bool abort = random_below(&random.random, 4) == 0;

			dump_index(txn_view(txn), &before);
			txn_command_begin(txn);
			if (random_below(&random.random, 3) == 0) {
				forget(txn, random_below(&random.random, index + 1),
					&random.random);
			}
			for (unsigned n = 0; n < random_below(&random.random, 6); n++) {
				change(txn, &model, &random.random);
			}
			if (abort) {
				txn_command_abort(txn);
				omap_release(&model);
				model = saved;
				dump_index(txn_view(txn), &after);
				assert_true(bytes_equal(buf_bytes(&before), buf_bytes(&after)));
			} else {
				omap_release(&saved);
				assert_int_equal(txn_command_commit(txn, NULL), 0);
			}
			expect(txn, &model, &random.random);
		}
		if (random_below(&random.random, 3) == 0) {
			struct kv_view *view;

			dump_index(txn_view(txn), &before);
			assert_int_equal(txn_store(txn, NULL), 0);
			view = kv_view_new(kv);
			dump_index(view, &after);
			kv_view_free(view);
			assert_true(bytes_equal(buf_bytes(&before), buf_bytes(&after)));
			assert_int_equal(fixture_check_store(kv, NULL), 0);
			seen += before.len;
		}
	}
	assert_true(seen > 0);
	omap_release(&model);
	txn_free(txn);
	kv_close(kv);
}

/* Only a tombstone is forgotten, and only the one that was meant. */
static void test_forget_refuses(void **state)
{
	struct kv *kv = kv_memory_new();
	struct position start = {0};
	struct txn *txn = txn_new(kv, &start);
	struct row_key key = key_of(1), other = key_of(2);
	struct modification at = {1, 0};

	(void)state;
	txn_entry_begin(txn, 1, 1);
	txn_command_begin(txn);
	txn_put(txn, row_key_bytes(&key), bytes_str("a"));
	assert_int_equal(txn_command_commit(txn, NULL), 0);
	txn_command_begin(txn);
	assert_int_equal(txn_forget(txn, &at, row_key_bytes(&key), NULL), KLUIS_ECORRUPT);
	assert_int_equal(txn_forget(txn, &at, row_key_bytes(&other), NULL), KLUIS_ECORRUPT);
	txn_delete(txn, row_key_bytes(&key));
	assert_int_equal(txn_command_commit(txn, NULL), 0);
	txn_command_begin(txn);
	assert_int_equal(txn_forget(txn, &at, row_key_bytes(&key), NULL), KLUIS_ECORRUPT);
	at.ordinal = 1;
	assert_int_equal(txn_forget(txn, &at, row_key_bytes(&key), NULL), 0);
	txn_command_abort(txn);
	txn_free(txn);
	kv_close(kv);
}

static void test_overlay_against_model(void **state)
{
	struct kv *kv = kv_memory_new();
	struct position start = {0};
	struct txn *txn = txn_new(kv, &start);
	struct random_seeded random;
	struct omap model = {0}, before;

	(void)state;
	random_seeded_init(&random, 8);
	for (uint64_t index = 1; index < 400; index++) {
		txn_entry_begin(txn, index, 1);
		for (unsigned commands = 0; commands < 3; commands++) {
			txn_command_begin(txn);
			before = omap_copy(&model);
			for (unsigned n = 0; n < random_below(&random.random, 8); n++) {
				change(txn, &model, &random.random);
			}
			expect(txn, &model, &random.random);
			if (random_below(&random.random, 3) == 0) {
				txn_command_abort(txn);
				omap_release(&model);
				model = before;
			} else {
				omap_release(&before);
				assert_int_equal(txn_command_commit(txn, NULL), 0);
			}
			expect(txn, &model, &random.random);
		}
		if (random_below(&random.random, 4) == 0) {
			assert_int_equal(txn_store(txn, NULL), 0);
			expect(txn, &model, &random.random);
			assert_int_equal(fixture_check_store(kv, NULL), 0);
		}
	}
	omap_release(&model);
	txn_free(txn);
	kv_close(kv);
}

/* What a command leaves as it was has not changed: no modification, no move of the hash. */
static void test_no_change_is_none(void **state)
{
	struct kv *kv = kv_memory_new();
	struct position start = {0}, after;
	struct txn *txn = txn_new(kv, &start);
	struct row_key key = key_of(1);
	struct index_row row;

	(void)state;
	txn_entry_begin(txn, 1, 1);
	txn_command_begin(txn);
	txn_put(txn, row_key_bytes(&key), bytes_str("a"));
	assert_int_equal(txn_command_commit(txn, NULL), 0);
	after = *txn_position(txn);
	assert_memory_not_equal(after.state_hash, start.state_hash, 32);
	txn_entry_begin(txn, 2, 1);
	txn_command_begin(txn);
	txn_put(txn, row_key_bytes(&key), bytes_str("b"));
	txn_delete(txn, row_key_bytes(&key));
	txn_put(txn, row_key_bytes(&key), bytes_str("a"));
	assert_int_equal(txn_command_commit(txn, NULL), 0);
	assert_memory_equal(after.state_hash, txn_position(txn)->state_hash, 32);
	assert_true(txn_position(txn)->commands == 1);
	assert_int_equal(index_store_of(txn_view(txn), row_key_bytes(&key), &row, NULL), 0);
	assert_true(row.at.index == 1 && row.at.ordinal == 0);
	txn_command_begin(txn);
	txn_delete(txn, row_key_bytes(&key));
	assert_int_equal(txn_command_commit(txn, NULL), 0);
	assert_int_equal(index_store_of(txn_view(txn), row_key_bytes(&key), &row, NULL), 0);
	assert_true(row.deleted && row.at.index == 2);
	txn_command_begin(txn);
	assert_int_equal(txn_forget(txn, &row.at, row_key_bytes(&key), NULL), 0);
	assert_int_equal(txn_command_commit(txn, NULL), 0);
	assert_int_equal(
		index_store_of(txn_view(txn), row_key_bytes(&key), &row, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(txn_store(txn, NULL), 0);
	assert_int_equal(fixture_check_store(kv, NULL), 0);
	txn_free(txn);
	kv_close(kv);
}

/* The formula of docs/format-storage.md, put together by hand. */
static void test_state_hash_formula(void **state)
{
	struct kv *kv = kv_memory_new();
	struct position start = {0};
	struct txn *txn = txn_new(kv, &start);
	struct row_key key = key_of(7);
	_cleanup_(buf_release) struct buf whole = BUF_INIT;
	uint8_t value_hash[32], hash[32];

	(void)state;
	txn_entry_begin(txn, 1, 1);
	txn_command_begin(txn);
	txn_put(txn, row_key_bytes(&key), bytes_str("value"));
	assert_int_equal(txn_command_commit(txn, NULL), 0);
	hash_sha256(bytes_str("value"), value_hash);
	buf_put_lp16(&whole, bytes_str("kluis/v1/state"));
	buf_put_lp32(&whole, bytes_of(start.state_hash, 32));
	buf_put_u32(&whole, 8);
	buf_put_u64(&whole, 1);
	buf_put_u32(&whole, 4 + key.len + 1 + 32);
	buf_put_lp32(&whole, row_key_bytes(&key));
	buf_put_u8(&whole, 0);
	buf_append(&whole, value_hash, 32);
	hash_sha256(buf_bytes(&whole), hash);
	assert_memory_equal(hash, txn_position(txn)->state_hash, 32);
	txn_free(txn);
	kv_close(kv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overlay_against_model),
		cmocka_unit_test(test_index_before_and_after_store),
		cmocka_unit_test(test_forget_refuses),
		cmocka_unit_test(test_no_change_is_none),
		cmocka_unit_test(test_state_hash_formula),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
