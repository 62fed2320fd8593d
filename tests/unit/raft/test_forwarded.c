#include "tests/lib/test.h"

#include <string.h>

#include "raft/command.h"
#include "raft/forwarded.h"

static struct forwarded_set set;
static struct gathering gathering;

static int setup(void **state)
{
	(void)state;
	memset(&set, 0, sizeof set);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	forwarded_clear(&set);
	return 0;
}

static int put(uint64_t origin, uint64_t seq, size_t len)
{
	static uint8_t bytes[ENTRY_BYTES_MAX];
	struct message_proposal proposal = {.boot = 7, .seq = seq, .command = {bytes, len}};

	memset(bytes, (int)(origin + seq), len);
	return forwarded_put(&set, origin, 3, &proposal);
}

/* A list of n own commands of len bytes. */
static struct propose *own_new(unsigned n, size_t len)
{
	struct propose *own = x_calloc(n, sizeof *own);

	for (unsigned i = 0; i < n; i++) {
		own[i].command.len = len;
		own[i].next = i + 1 < n ? &own[i + 1] : NULL;
	}
	return own;
}

static size_t taken_of(uint64_t origin)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < gathering.n; i++) {
		if (gathering.pick[i] != NULL && gathering.pick[i]->origin == origin) {
			bytes += gathering.pick[i]->len;
		}
	}
	return bytes;
}

/* One node floods, others have a little to say: what they say is in the next entry. */
static void test_nobody_is_starved(void **state)
{
	struct propose *own = own_new(20, 1000);

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		assert_int_equal(put(9, i, 3000), 0);
	}
	forwarded_choose(&set, NULL, &gathering);
	forwarded_chosen(&set, &gathering);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(put(2, i, 1000), 0);
	}
	forwarded_choose(&set, own, &gathering);
	assert_int_equal(gathering.own, 20);
	assert_int_equal(taken_of(2), 10 * 1000);
	assert_true(taken_of(9) > ENTRY_BYTES_MAX * 9 / 10);
	assert_true(gathering.bytes <= ENTRY_BYTES_MAX);
	free(own);
}

/* Behind an entry that is under way a small one waits for more; with nothing under way it does not.
 */
static void test_a_small_one_waits(void **state)
{
	(void)state;
	assert_int_equal(put(2, 1, PROPOSALS_GATHER_BYTES / 2), 0);
	forwarded_choose(&set, NULL, &gathering);
	assert_false(gathering_waits(&gathering, 0, 0));
	assert_true(gathering_waits(&gathering, 1, PROPOSALS_GATHER_MS - 1));
	assert_false(gathering_waits(&gathering, 1, PROPOSALS_GATHER_MS));
	assert_int_equal(put(2, 2, PROPOSALS_GATHER_BYTES / 2), 0);
	forwarded_choose(&set, NULL, &gathering);
	assert_false(gathering_waits(&gathering, 1, 0));
}

/* Three that all have plenty: a third of the bytes for each, whatever their sizes, entry after
 * entry; in the order in which each sent them. */
static void test_equal_shares(void **state)
{
	struct propose *own = own_new(3000, 700), *next = own;
	size_t own_bytes = 0, two = 0, three = 0;
	uint64_t seq = 0;

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		assert_int_equal(put(2, i, 1900), 0);
	}
	for (unsigned i = 0; i < 22; i++) {
		assert_int_equal(put(3, i, 260000), 0);
	}
	for (unsigned entries = 0; entries < 5; entries++) {
		forwarded_choose(&set, next, &gathering);
		for (unsigned i = 0; i < gathering.n; i++) {
			const struct forwarded *f = gathering.pick[i];

			if (f != NULL && f->origin == 2) {
				assert_int_equal(f->seq, seq);
				seq++;
			}
		}
		own_bytes += gathering.own * 700;
		two += taken_of(2);
		three += taken_of(3);
		forwarded_chosen(&set, &gathering);
		for (unsigned i = 0; i < gathering.own; i++) {
			next = next->next;
		}
	}
	assert_true(own_bytes > 1400000 && own_bytes < 1900000);
	assert_true(two > 1400000 && two < 1900000);
	assert_true(three > 1400000 && three < 2100000);
	free(own);
}

/* A big command is not put off for ever by small ones that still fit. */
static void test_big_ones_get_their_turn(void **state)
{
	unsigned entries = 0;
	size_t big = ENTRY_BYTES_MAX - 100;

	(void)state;
	assert_int_equal(put(4, 0, big), 0);
	do {
		for (unsigned i = 0; i < 300; i++) {
			assert_int_equal(put(5, entries * 300 + i, 1000), 0);
		}
		forwarded_choose(&set, NULL, &gathering);
		big = taken_of(4);
		forwarded_chosen(&set, &gathering);
		entries++;
	} while (big == 0);
	assert_true(entries <= 2);
}

/* Silence earns nothing: who comes back after a while gets its share, not all that it did not use.
 */
static void test_silence_is_no_credit(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 1000; i++) {
			assert_int_equal(put(5, i, 900), 0);
		}
		forwarded_choose(&set, NULL, &gathering);
		forwarded_chosen(&set, &gathering);
	}
	for (unsigned i = 0; i < 3000; i++) {
		assert_int_equal(put(6, i, 900), 0);
		assert_int_equal(put(5, i, 900), 0);
	}
	forwarded_choose(&set, NULL, &gathering);
	assert_true(taken_of(5) > ENTRY_BYTES_MAX * 4 / 10);
	assert_true(taken_of(6) > ENTRY_BYTES_MAX * 4 / 10);
}

/* Each origin has its own bound; a flood of one takes no room from another. */
static void test_bounds(void **state)
{
	unsigned n = 0;

	(void)state;
	while (put(9, n, 1) == 0) {
		n++;
	}
	assert_int_equal(n, PROPOSALS_MAX);
	for (n = 0; put(8, n, ENTRY_BYTES_MAX) == 0; n++) {
	}
	assert_int_equal(n, FORWARDED_BYTES_MAX / ENTRY_BYTES_MAX);
	assert_int_equal(put(8, n, 1), KLUIS_EBUSY);
	for (uint64_t origin = 100; origin < 100 + SITES_MAX - 2; origin++) {
		assert_int_equal(put(origin, 1, 1000), 0);
	}
	assert_int_equal(put(99, 1, 1000), KLUIS_EBUSY); /* More origins than sites. */
	forwarded_drop_old(&set, 3);
	assert_int_equal(put(100, 2, 1000), 0);
	forwarded_drop_old(&set, 4);
	assert_int_equal(set.n, 0);
	forwarded_choose(&set, NULL, &gathering);
	assert_int_equal(gathering.n, 0);
	assert_int_equal(put(99, 1, 1000), 0);
}

/* What is chosen and not taken, because the log was busy, is chosen again. */
static void test_choosing_changes_nothing(void **state)
{
	struct propose *own = own_new(3, 10);
	struct gathering *again = x_malloc(sizeof *again);

	(void)state;
	assert_int_equal(put(2, 1, 100), 0);
	assert_int_equal(put(3, 1, 50), 0);
	assert_int_equal(put(2, 2, 100), 0);
	forwarded_choose(&set, own, &gathering);
	forwarded_choose(&set, own, again);
	assert_int_equal(gathering.n, 6);
	assert_int_equal(gathering.bytes, PAYLOAD_HEAD_BYTES + 6 * PAYLOAD_ITEM_BYTES + 280);
	assert_memory_equal(gathering.pick, again->pick, 6 * sizeof again->pick[0]);
	forwarded_chosen(&set, &gathering);
	assert_int_equal(set.n, 0);
	free(again);
	free(own);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_nobody_is_starved),
		TEST(test_a_small_one_waits),
		TEST(test_equal_shares),
		TEST(test_big_ones_get_their_turn),
		TEST(test_silence_is_no_credit),
		TEST(test_bounds),
		TEST(test_choosing_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
