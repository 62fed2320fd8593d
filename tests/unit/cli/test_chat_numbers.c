/* What a device makes of the numbers that the cluster gives: messages that are missing, lawfully or
 * not, come late, or were its own; and numbers given twice or taken back. */
#include "tests/lib/cli_fixture/chat_people.h"

#include <string.h>

/* Behind a gap of more than the node's thirty days nobody has withheld anything. */
static void test_expired(void **state)
{
	struct chat_people *f = *state;
	struct chat_received r;

	chat_people_send(f, 0, "one");
	chat_people_send(f, 0, "gone by then");
	chat_people_expect(f, 1, 1, "one");
	f->now_ms += 31 * chat_people_day_ms;
	chat_people_enter_all(f, 2);
	chat_people_send(f, 0, "three");
	assert_int_equal(chat_people_receive(f, &f->people[1].state, 3, 3, &r), 0);
	assert_int_equal(r.problems, 0);
	assert_int_equal(r.missing, 1);
	assert_true(r.opened);
	secret_release(&r.payload);
	chat_people_send(f, 0, "four");
	chat_people_expect(f, 1, 4, "four");
}

/* That thirty days have passed is the node's word; when an epoch was made is its maker's. */
static void test_said_to_be_expired(void **state)
{
	struct chat_people *f = *state;

	chat_people_send(f, 0, "one");
	chat_people_send(f, 0, "withheld");
	chat_people_send(f, 0, "three");
	chat_people_expect(f, 1, 1, "one");
	chat_people_expect(f, 2, 1, "one");
	f->now_ms += 31 * chat_people_day_ms;
	assert_int_equal(chat_people_problems(f, 1, 3, 3), CHAT_GAP);
	/* Nor does an epoch of a few days later hide it. */
	f->now_ms -= 26 * chat_people_day_ms;
	chat_people_enter_all(f, 2);
	chat_people_send(f, 0, "four");
	f->now_ms += 26 * chat_people_day_ms;
	assert_int_equal(chat_people_problems(f, 2, 4, 4), CHAT_GAP);
}

/* It comes after all: once. */
static void test_comes_late(void **state)
{
	struct chat_people *f = *state;
	struct chat_received r;

	chat_people_send(f, 0, "one");
	chat_people_send(f, 0, "late");
	chat_people_send(f, 0, "three");
	chat_people_expect(f, 1, 1, "one");
	assert_int_equal(chat_people_problems(f, 1, 3, 3), CHAT_GAP);
	assert_int_equal(chat_people_receive(f, &f->people[1].state, 2, 2, &r), 0);
	assert_true(r.late && r.opened && r.problems == 0);
	secret_release(&r.payload);
	chat_people_restart(f, 1);
	assert_int_equal(chat_people_receive(f, &f->people[1].state, 2, 2, &r), KLUIS_EVERIFY);
	chat_people_send(f, 0, "four");
	chat_people_expect(f, 1, 4, "four");
}

/* Who has an epoch's keys should have been shown it from its beginning. */
static void test_beginning_withheld(void **state)
{
	struct chat_people *f = *state;
	struct chat_received r;

	chat_people_send(f, 0, "one");
	chat_people_send(f, 1, "two");
	chat_people_send(f, 0, "three");
	assert_int_equal(chat_people_receive(f, &f->people[2].state, 2, 2, &r), 0);
	assert_int_equal(r.problems, 0);
	assert_int_equal(r.passed, 1);
	assert_int_equal(r.passed_ms, f->now_ms);
	secret_release(&r.payload);
	/* ... and the next by the one whose first was left out tells once more. */
	assert_int_equal(chat_people_receive(f, &f->people[2].state, 3, 3, &r), 0);
	assert_int_equal(r.passed, 1);
	secret_release(&r.payload);
	assert_int_equal(chat_people_receive(f, &f->people[1].state, 1, 1, &r), 0);
	assert_int_equal(r.passed, 0);
	secret_release(&r.payload);
}

/* A device that comes later reads what was before from a history, which may have gaps that are
 * nobody's lie; what was for this device has none. */
static void test_history_has_gaps(void **state)
{
	struct chat_people *f = *state;
	struct chat_state *s = &f->people[2].state;
	struct chat_received r;

	chat_people_send(f, 0, "one");
	chat_people_send(f, 1, "two");
	chat_people_send(f, 0, "three");
	chat_state_release(s);
	chat_state_init(s, chat_people_conv, f->people[2].who.user_id, f->people[2].who.device_id);
	chat_people_enter_all(f, 2);
	chat_people_send(f, 0, "four");
	chat_people_send(f, 0, "five");
	chat_people_send(f, 0, "six");
	chat_people_send(f, 0, "seven");
	s->history = true;
	assert_int_equal(chat_people_problems(f, 2, 1, 1), 0);
	assert_int_equal(chat_people_receive(f, s, 3, 3, &r), 0);
	assert_int_equal(r.problems, 0);
	assert_int_equal(r.missing, 1);
	secret_release(&r.payload);
	assert_int_equal(chat_people_receive(f, s, 5, 5, &r), 0);
	assert_true(r.opened);
	assert_int_equal(r.problems, 0);
	assert_int_equal(r.passed, 1);
	secret_release(&r.payload);
	assert_int_equal(chat_people_problems(f, 2, 7, 7), CHAT_GAP);
}

/* What this device sent when it had all else may be gone once the others have it. */
static void test_own_is_gone(void **state)
{
	struct chat_people *f = *state;
	struct chat_state *s = &f->people[0].state;

	chat_people_send(f, 0, "one");
	chat_people_send(f, 0, "two");
	assert_int_equal(chat_state_newest(s), 2);
	chat_people_expect(f, 1, 1, "one");
	chat_people_expect(f, 1, 2, "two");
	chat_people_send(f, 1, "seen");
	chat_people_restart(f, 0);
	chat_people_expect(f, 0, 3, "seen");
	assert_int_equal(s->view_from, 1);
	assert_int_equal(s->n_taken, 0);
	chat_people_restart(f, 0);
	/* It is found like any other, and its writer goes on from it. */
	assert_int_equal(chat_state_row(s, 2)->seq, 2);
	chat_people_send(f, 0, "four");
	chat_people_expect(f, 0, 4, "four");
	chat_people_expect(f, 1, 3, "seen");
	chat_people_expect(f, 1, 4, "four");
}

/* ... but not while something of others is missing before it. */
static void test_own_is_not_gone(void **state)
{
	struct chat_people *f = *state;

	chat_people_send(f, 1, "one");
	chat_people_expect(f, 0, 1, "one");
	chat_people_send(f, 1, "not shown to the first");
	chat_people_send(f, 0, "three");
	for (uint64_t seq = 1; seq <= 3; seq++) {
		static const char *const texts[] = {"one", "not shown to the first", "three"};

		chat_people_expect(f, 1, seq, texts[seq - 1]);
	}
	chat_people_send(f, 1, "four");
	assert_true((chat_people_problems(f, 0, 4, 4) & CHAT_GAP) != 0);
}

/* A message said to be taken, and another one shown under its number. */
static void test_replaced(void **state)
{
	struct chat_people *f = *state;
	struct chat_state *s = &f->people[0].state;

	assert_int_equal(chat_people_seal(f, 0, "dropped"), 0);
	chat_state_sent(s, 1);
	chat_people_restart(f, 0);
	chat_people_send(f, 1, "in its place");
	assert_int_equal(chat_people_problems(f, 0, 1, 1), CHAT_REPLACED);
	assert_int_equal(s->n_taken, 0);
}

/* What is sent and never read is bounded. */
static void test_never_reads(void **state)
{
	struct chat_people *f = *state;
	struct chat_state *s = &f->people[0].state;

	for (size_t i = 0; i < CHAT_TAKEN_MAX + 10; i++) {
		if (i == 900) {
			chat_people_enter_all(f, 2);
		}
		chat_people_send(f, 0, "x");
	}
	assert_int_equal(s->n_taken, CHAT_TAKEN_MAX);
	assert_int_equal(s->last_seq, 10);
	chat_people_restart(f, 0);
	assert_int_equal(chat_state_newest(s), CHAT_TAKEN_MAX + 10);
}

/* After a restore numbers begin again where the cluster is. */
static void test_restored(void **state)
{
	static const uint8_t lineage[ID_BYTES] = {7}, members[HASH_BYTES] = {1};
	struct chat_people *f = *state;
	struct chat_state *s = &f->people[1].state;

	chat_people_send(f, 0, "one");
	chat_people_send(f, 0, "lost");
	chat_people_expect(f, 1, 1, "one");
	chat_people_expect(f, 1, 2, "lost");
	assert_false(chat_state_due(s, members, f->now_ms));
	s->members_rev = 5;
	chat_state_restored(s, lineage, 1, 3);
	assert_int_equal(s->members_rev, 3);
	/* Who has not seen this epoch may have made another one of its number. */
	assert_true(chat_state_due(s, members, f->now_ms));
	assert_int_equal(chat_state_newest(s), 1);
	assert_memory_equal(s->lineage, lineage, ID_BYTES);
	chat_people_restart(f, 1);
	chat_people_send(f, 2, "instead");
	assert_int_equal(chat_people_problems(f, 1, 3, 2), 0);
}

#define NUMBERS_TEST(fn) \
	cmocka_unit_test_setup_teardown(fn, chat_people_setup, chat_people_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		NUMBERS_TEST(test_expired),
		NUMBERS_TEST(test_said_to_be_expired),
		NUMBERS_TEST(test_comes_late),
		NUMBERS_TEST(test_beginning_withheld),
		NUMBERS_TEST(test_history_has_gaps),
		NUMBERS_TEST(test_own_is_gone),
		NUMBERS_TEST(test_own_is_not_gone),
		NUMBERS_TEST(test_replaced),
		NUMBERS_TEST(test_never_reads),
		NUMBERS_TEST(test_restored),
	};

	return cmocka_run_group_tests(tests, chat_people_keys, chat_people_keys_free);
}
