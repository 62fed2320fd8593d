#include "tests/lib/test.h"

#include <string.h>

#include "crypto/member.h"
#include "storage/chat_store.h"
#include "storage/object_store.h"
#include "storage/row.h"
#include "storage/upkeep_store.h"

/* Messages in transit: kept until every device has them, or for 30 days. */
struct world {
	struct kv *kv;
	struct txn *txn;
};
static const uint8_t conv[16] = {7};
enum { START_MS = 1000 };

static int world_setup(void **state)
{
	static const struct position start;
	struct world *w = x_calloc(1, sizeof *w);

	w->kv = kv_memory_new();
	w->txn = txn_new(w->kv, &start);
	txn_entry_begin(w->txn, 1, 1);
	txn_command_begin(w->txn);
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	assert_int_equal(txn_command_commit(w->txn, NULL), 0);
	txn_free(w->txn);
	kv_close(w->kv);
	free(w);
	return 0;
}

static struct chat_row chat_of(struct world *w)
{
	struct chat_row chat;

	assert_int_equal(chat_store_get(txn_view(w->txn), conv, &chat, NULL), 0);
	return chat;
}

/* n messages, one each 10 ms, of 100 bytes. */
static void fill(struct world *w, unsigned n)
{
	static const uint8_t bytes[100] = {1};
	struct chat_row chat = chat_of(w);
	uint64_t place_ms = chat.expires_ms;

	for (unsigned i = 0; i < n; i++) {
		struct message_row row = {.seq = chat.last + 1,
			.time_ms = START_MS + 10 * chat.last,
			.hash = {2},
			.message = bytes_of(bytes, sizeof bytes)};

		message_store_add(w->txn, &chat, &row);
	}
	chat_store_put(w->txn, &chat, place_ms);
}

static void device(struct world *w, uint8_t id, uint64_t delivered)
{
	struct chat_device_row row = {
		.user_id = {id}, .device_id = {1}, .delivered = delivered, .read = delivered};

	memcpy(row.conv_id, conv, 16);
	chat_device_store_put(w->txn, &row);
}

static size_t sweep(struct world *w, uint64_t now_ms, uint64_t hold_until_ms, size_t max)
{
	size_t n = 0;

	assert_int_equal(chat_store_sweep(w->txn, conv, now_ms, hold_until_ms, max, &n, NULL), 0);
	return n;
}

/* The one place in the queue that the row speaks of, or none. */
static void queue_is(struct world *w, uint64_t expires_ms)
{
	struct expiry_row rows[4];
	size_t n = 0;

	assert_true(chat_of(w).expires_ms == expires_ms);
	assert_int_equal(expiry_store_due(txn_view(w->txn), UINT64_MAX - 1, rows, 4, &n, NULL), 0);
	assert_int_equal(n, expires_ms != 0);
	if (n > 0) {
		assert_true(rows[0].expires_ms == expires_ms && rows[0].kind == EXPIRY_CHAT);
		assert_int_equal(rows[0].subject_bytes, 16);
		assert_memory_equal(rows[0].subject, conv, 16);
	}
}

static void test_the_slowest_holds(void **state)
{
	struct world *w = *state;
	struct chat_row chat;
	size_t n = 0;

	fill(w, 10);
	queue_is(w, START_MS + CHAT_KEPT_MS);
	assert_true(chat_of(w).bytes == 1000);
	device(w, 1, 5);
	device(w, 2, 3);
	device(w, 3, 9);
	assert_int_equal(sweep(w, 2000, 0, 100), 3);
	chat = chat_of(w);
	assert_true(chat.first == 4 && chat.last == 10 && chat.bytes == 700 && chat.acked == 3);
	queue_is(w, START_MS + 30 + CHAT_KEPT_MS); /* Of the oldest that is left. */
	device(w, 2, 10);
	device(w, 1, 10);
	assert_int_equal(chat_store_drop(w->txn, &chat, 100, &n, NULL), 0);
	assert_int_equal(n, 0); /* Nobody has counted again. */
	assert_int_equal(sweep(w, 2000, 0, 2), 2);
	queue_is(w, 2000); /* There is more to do. */
	chat = chat_of(w);
	assert_true(chat.first == 6 && chat.acked == 9);
	assert_int_equal(chat_store_drop(w->txn, &chat, 3, &n, NULL), 0);
	assert_int_equal(n, 3);
	chat_store_put(w->txn, &chat, 2000);
	device(w, 3, 10);
	assert_int_equal(sweep(w, 2000, 0, 100), 2);
	chat = chat_of(w);
	assert_true(chat.first == 11 && chat.last == 10 && chat.bytes == 0);
	queue_is(w, 0);
	assert_int_equal(chat_store_sweep(w->txn, conv, 2000, 0, 1, &n, NULL), KLUIS_ENOTFOUND);
	fill(w, 1);
	assert_true(chat_of(w).last == 11 && chat_of(w).first == 11);
	queue_is(w, START_MS + 100 + CHAT_KEPT_MS);
}

/* More devices than one look takes: the slowest is found wherever it stands. */
static void test_many_devices(void **state)
{
	struct world *w = *state;

	fill(w, 9);
	for (uint8_t i = 0; i < 200; i++) {
		device(w, i, 9);
	}
	device(w, 64, 2);
	device(w, 199, 1);
	assert_int_equal(sweep(w, 2000, 0, 100), 1);
	device(w, 199, 9);
	assert_int_equal(sweep(w, 2000, 0, 100), 1);
	device(w, 64, 9);
	assert_int_equal(sweep(w, 2000, 0, 100), 7);
}

/* After 30 days they go, whoever has not come; not while purging is on hold. */
static void test_age(void **state)
{
	struct world *w = *state;
	uint64_t now_ms = START_MS + CHAT_KEPT_MS + 25;

	fill(w, 10);
	device(w, 1, 0);
	assert_int_equal(sweep(w, now_ms, now_ms + 5, 100), 0);
	queue_is(w, now_ms + 5);
	assert_int_equal(sweep(w, now_ms, now_ms, 2), 2);
	queue_is(w, now_ms);
	assert_int_equal(sweep(w, now_ms, 0, 100), 1); /* 0, 10 and 20 ms. */
	queue_is(w, START_MS + 30 + CHAT_KEPT_MS);
	assert_int_equal(sweep(w, START_MS + 90 + CHAT_KEPT_MS, 0, 100), 7);
	queue_is(w, 0);
	assert_true(chat_of(w).bytes == 0);
}

static void test_hurry(void **state)
{
	struct chat_row chat = {.expires_ms = 0};

	(void)state;
	chat_store_hurry(&chat, 1000);
	assert_true(chat.expires_ms == 0); /* Nothing is kept. */
	chat.expires_ms = 1000 + CHAT_SWEEP_MS;
	chat_store_hurry(&chat, 1001);
	assert_true(chat.expires_ms == 1000 + CHAT_SWEEP_MS); /* Sooner already. */
	chat_store_hurry(&chat, 999);
	assert_true(chat.expires_ms == 999 + CHAT_SWEEP_MS);
}

static void test_read(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct message_iter *iter;
	struct message_row row;
	uint64_t seq = 4;

	fill(w, 9);
	iter = message_iter_new(txn_view(w->txn), conv, seq);
	while (message_iter_next(iter, &row)) {
		assert_true(row.seq == ++seq && row.time_ms == START_MS + 10 * (seq - 1));
		assert_int_equal(row.message.len, 100);
	}
	assert_int_equal(message_iter_status(iter, NULL), 0);
	message_iter_free(iter);
	assert_true(seq == 9);
	assert_int_equal(
		message_store_get(txn_view(w->txn), conv, 10, &value, &row, NULL), KLUIS_ENOTFOUND);
}

static void test_epochs_kept(void **state)
{
	struct world *w = *state;
	struct chat_epoch_row row = {.made_ms = 1}, back;

	memcpy(row.conv_id, conv, 16);
	for (row.epoch = 3; row.epoch < 63; row.epoch += 3) {
		row.first = row.epoch;
		assert_int_equal(chat_epoch_store_add(w->txn, &row, NULL), 0);
	}
	assert_int_equal(chat_epoch_store_get(txn_view(w->txn), conv, 60, &back, NULL), 0);
	assert_true(back.first == 60);
	assert_int_equal(chat_epoch_store_get(txn_view(w->txn), conv,
				 60 - 3 * (CHAT_EPOCHS_KEPT - 1), &back, NULL),
		0);
	assert_int_equal(chat_epoch_store_get(
				 txn_view(w->txn), conv, 60 - 3 * CHAT_EPOCHS_KEPT, &back, NULL),
		KLUIS_ENOTFOUND);
}

static unsigned rows_of(struct world *w)
{
	struct kv_iter *iter = kv_iter_new(txn_view(w->txn), bytes_of(NULL, 0), bytes_of(NULL, 0));
	unsigned n = 0;

	while (kv_iter_next(iter)) {
		n += kv_iter_key(iter).data[0] < KEY_DERIVED_FIRST;
	}
	kv_iter_free(iter);
	return n;
}

static void test_purge(void **state)
{
	struct world *w = *state;
	struct chat_epoch_row row = {.epoch = 1, .conv_id = {7}};
	size_t n = 1, steps = 0;

	fill(w, 10);
	device(w, 1, 0);
	device(w, 2, 0);
	assert_int_equal(chat_epoch_store_add(w->txn, &row, NULL), 0);
	assert_int_equal(rows_of(w), 10 + 2 + 1 + 1 + 1);
	for (; n > 0; steps++) {
		assert_int_equal(chat_store_purge(w->txn, conv, 4, &n, NULL), 0);
		assert_true(n <= 4);
	}
	assert_int_equal(steps, 4 + 1);
	assert_int_equal(rows_of(w), 0);
}

/* Every conversation of a user, and of nobody else. */
static void test_stale(void **state)
{
	enum { MANY = 150 };
	struct world *w = *state;
	struct object_row object = {
		.kind = MEMBER_OBJECT_CONVERSATION, .state = OBJECT_ACTIVE, .members_rev = 1};
	struct member_row member = {
		.kind = MEMBER_USER, .state = MEMBER_ACCEPTED, .role = MEMBER_WRITE};

	for (uint8_t i = 0; i < MANY; i++) {
		object.object_id[0] = member.object_id[0] = i;
		member.member_id[0] = i == 77 ? 2 : 1;
		object_store_put(w->txn, &object);
		member_store_put(w->txn, MEMBER_OBJECT_CONVERSATION, &member);
	}
	assert_int_equal(chat_store_stale(w->txn, (uint8_t[16]){1}, NULL), 0);
	for (uint8_t i = 0; i < MANY; i++) {
		struct object_row back;

		assert_int_equal(
			object_store_get(txn_view(w->txn), (uint8_t[16]){i}, &back, NULL), 0);
		assert_int_equal(back.chat_stale, i != 77);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_the_slowest_holds),
		T(test_many_devices),
		T(test_age),
		cmocka_unit_test(test_hurry),
		T(test_read),
		T(test_epochs_kept),
		T(test_purge),
		T(test_stale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
