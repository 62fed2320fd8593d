/* The table of logins that are half way: worth one answer, bounded, and nobody can push others out.
 */
#include "tests/lib/test.h"

#include <string.h>

#include "base/limits.h"
#include "node/handshake.h"

static struct handshake_table *table;
static struct random_seeded seeded;

static int setup(void **state)
{
	(void)state;
	table = handshake_table_new(API_HANDSHAKE_MS, API_HANDSHAKES_PER_ADDRESS_MAX);
	random_seeded_init(&seeded, 7);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	handshake_table_free(table);
	return 0;
}

static void put(uint64_t address, uint64_t now_ms, uint8_t ret_id[ID_BYTES])
{
	struct handshake *h = handshake_new(&seeded.random);

	memcpy(h->user_id, &address, sizeof address);
	memcpy(ret_id, h->id, ID_BYTES);
	handshake_put(table, h, address, now_ms);
}

static bool take(const uint8_t id[ID_BYTES], uint64_t now_ms)
{
	struct handshake *h = handshake_take(table, id, now_ms);
	bool found = h != NULL;

	assert_true(!found || memcmp(h->id, id, ID_BYTES) == 0);
	handshake_free(h);
	return found;
}

static void test_once(void **state)
{
	uint8_t id[ID_BYTES], other[ID_BYTES], none[ID_BYTES] = {1};

	(void)state;
	put(1, 100, id);
	put(1, 100, other);
	assert_false(take(none, 100));
	assert_true(take(id, 100));
	assert_false(take(id, 100));
	assert_true(take(other, 100 + API_HANDSHAKE_MS - 1));
	assert_int_equal(handshake_count(table, 100), 0);
}

static void test_late(void **state)
{
	uint8_t id[ID_BYTES], later[ID_BYTES];

	(void)state;
	put(1, 100, id);
	put(2, 101, later);
	assert_false(take(id, 100 + API_HANDSHAKE_MS));
	assert_int_equal(handshake_count(table, 100 + API_HANDSHAKE_MS), 1);
	assert_int_equal(handshake_count(table, 101 + API_HANDSHAKE_MS), 0);
	assert_false(take(later, 101));
}

/* One address that opens 10,000 loses its own oldest, not anybody else's. */
static void test_one_address(void **state)
{
	static uint8_t ids[10000][ID_BYTES];
	uint8_t other[ID_BYTES];
	const size_t n = ARRAY_SIZE(ids), kept = API_HANDSHAKES_PER_ADDRESS_MAX;

	(void)state;
	put(2, 0, other);
	for (size_t i = 0; i < n; i++) {
		put(1, 0, ids[i]);
	}
	assert_int_equal(handshake_count(table, 0), kept + 1);
	assert_false(take(ids[n - kept - 1], 0));
	assert_true(take(ids[n - kept], 0));
	assert_true(take(ids[n - 1], 0));
	assert_true(take(other, 0));
	assert_int_equal(handshake_count(table, API_HANDSHAKE_MS), 0);
}

/* Many addresses: the table stays at its bound, and who has few keeps them. */
static void test_many_addresses(void **state)
{
	uint8_t few[ID_BYTES], id[ID_BYTES], newcomer[ID_BYTES];

	(void)state;
	put(1, 0, few);
	for (uint64_t i = 0; i < 2 * API_HANDSHAKES_MAX; i++) {
		put(2 + i % 20, 0, id);
	}
	assert_int_equal(handshake_count(table, 0), API_HANDSHAKES_MAX);
	put(1000, 0, newcomer);
	assert_int_equal(handshake_count(table, 0), API_HANDSHAKES_MAX);
	assert_true(take(few, 0));
	assert_true(take(id, 0));
	assert_true(take(newcomer, 0));
}

/* Every address has one, or none: who was there for longest makes room, each once. */
static void test_one_each(void **state)
{
	static uint8_t ids[2 * API_HANDSHAKES_MAX][ID_BYTES];

	(void)state;
	for (uint64_t i = 0; i < ARRAY_SIZE(ids); i++) {
		put(i * 0x10001, 0, ids[i]);
	}
	assert_int_equal(handshake_count(table, 0), API_HANDSHAKES_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		assert_int_equal(take(ids[i], 0), i >= API_HANDSHAKES_MAX);
	}
}

/* Challenges of authenticators: of one user few wait, and nobody else's go for hers. */
static void test_few_of_a_key(void **state)
{
	static const uint8_t alice[ID_BYTES] = {1}, bob[ID_BYTES] = {1, 2};
	uint8_t ids[API_CHALLENGES_PER_USER_MAX + 2][ID_BYTES], theirs[ID_BYTES];
	const size_t n = ARRAY_SIZE(ids);

	(void)state;
	handshake_table_free(table);
	table = handshake_table_new(API_CHALLENGE_MS, API_CHALLENGES_PER_USER_MAX);
	put(handshake_user_key(bob), 0, theirs);
	for (size_t i = 0; i < n; i++) {
		put(handshake_user_key(alice), 0, ids[i]);
	}
	assert_int_equal(handshake_count(table, API_CHALLENGE_MS - 1), n - 2 + 1);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(take(ids[i], 1), i >= 2);
	}
	assert_true(take(theirs, API_CHALLENGE_MS - 1));
}

/* Ids are chosen by their owners, who must not share a key by it. */
static void test_user_keys(void **state)
{
	static const uint8_t one[ID_BYTES] = {1}, other[ID_BYTES] = {[ID_BYTES - 1] = 1};

	(void)state;
	assert_true(handshake_user_key(one) == handshake_user_key(one));
	assert_true(handshake_user_key(one) != handshake_user_key(other));
}

/* Against a list: the same are there, whatever is put, taken and late. */
static void test_random(void **state)
{
	enum { N = 300 };
	static uint8_t ids[N][ID_BYTES];
	uint64_t at[N] = {0}, now = 0;
	bool there[N] = {false};

	(void)state;
	for (unsigned turn = 0; turn < 20000; turn++) {
		size_t i = random_below(&seeded.random, N), expected = 0;

		now += random_below(&seeded.random, 1000);
		there[i] = there[i] && now < at[i] + API_HANDSHAKE_MS;
		if (at[i] != 0) {
			assert_int_equal(take(ids[i], now), there[i]);
		}
		there[i] = random_below(&seeded.random, 3) != 0;
		if (there[i]) {
			at[i] = now;
			put(random_below(&seeded.random, 5), now, ids[i]);
		}
		for (size_t k = 0; turn % 100 == 0 && k < N; k++) {
			expected += there[k] && now < at[k] + API_HANDSHAKE_MS ? 1 : 0;
		}
		if (turn % 100 == 0) {
			assert_int_equal(handshake_count(table, now), expected);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_address, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_each, setup, teardown),
		cmocka_unit_test_setup_teardown(test_few_of_a_key, setup, teardown),
		cmocka_unit_test(test_user_keys),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
