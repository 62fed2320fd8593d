/* What a device keeps of a conversation: every index used once, every message opened once, also
 * over crashes at any point; what is late, lost, moved or shown to others alone; and what whoever
 * takes the state can still open. */
#include "tests/lib/cli_fixture/chat_people.h"

#include <string.h>

#include "base/wire.h"

static void test_three_talk(void **state)
{
	struct chat_people *f = *state;

	chat_people_send(f, 0, "hello");
	chat_people_expect(f, 1, 1, "hello");
	chat_people_send(f, 1, "hello back");
	chat_people_send(f, 0, "and again");
	for (size_t i = 0; i < CHAT_PEOPLE; i++) {
		chat_people_restart(f, i);
	}
	chat_people_expect(f, 1, 2, "hello back");
	chat_people_expect(f, 1, 3, "and again");
	for (uint64_t seq = 1; seq <= 3; seq++) {
		static const char *const texts[] = {"hello", "hello back", "and again"};

		chat_people_expect(f, 0, seq, texts[seq - 1]);
		chat_people_restart(f, 0);
		chat_people_expect(f, 2, seq, texts[seq - 1]);
	}
	assert_int_equal(f->people[2].state.last_seq, 3);
}

/* The run ends after the state was stored and before the answer: the same bytes go again, and
 * nothing else takes their index. */
static void test_pending_is_resent_as_it_is(void **state)
{
	struct chat_people *f = *state;
	struct buf before = BUF_INIT;
	struct chat_state *s = &f->people[0].state;

	assert_int_equal(chat_people_seal(f, 0, "once"), 0);
	buf_append_bytes(&before, buf_bytes(&s->pending));
	chat_people_restart(f, 0);
	assert_true(bytes_equal(buf_bytes(&before), buf_bytes(&s->pending)));
	assert_int_equal(s->epochs[0].sender.next, 1);
	chat_state_sent(s, chat_people_post(f, 0));
	chat_people_send(f, 0, "twice");
	assert_int_equal(f->sent[1].message.index, 1);
	assert_memory_equal(f->sent[1].message.prev_own, f->sent[0].message.link, HASH_BYTES);
	chat_people_expect(f, 1, 1, "once");
	chat_people_expect(f, 1, 2, "twice");
	buf_release(&before);
}

/* The answer was lost, and the message is shown before it was sent again. */
static void test_pending_is_read_back(void **state)
{
	struct chat_people *f = *state;

	assert_int_equal(chat_people_seal(f, 0, "lost answer"), 0);
	chat_people_post(f, 0);
	chat_people_restart(f, 0);
	chat_people_expect(f, 0, 1, "lost answer");
	assert_int_equal(f->people[0].state.pending.len, 0);
	chat_people_send(f, 0, "next");
	chat_people_expect(f, 1, 1, "lost answer");
	chat_people_expect(f, 1, 2, "next");
}

/* Refused because the epoch is over: what it said is sealed anew, and nobody misses the other. */
static void test_refused_is_sealed_in_the_next_epoch(void **state)
{
	struct chat_people *f = *state;
	struct chat_state *s = &f->people[0].state;
	uint8_t first[HASH_BYTES];

	chat_people_send(f, 0, "before");
	chat_people_expect(f, 0, 1, "before");
	assert_int_equal(chat_people_seal(f, 0, "again"), 0);
	hash_sha256(buf_bytes(&s->pending), first);
	/* Others have begun the next epoch, and this device has read in it. */
	chat_people_enter_all(f, 2);
	chat_people_send(f, 1, "new epoch");
	chat_people_expect(f, 0, 2, "new epoch");
	chat_people_restart(f, 0);
	/* Which told it that the other one never will be taken. */
	assert_int_equal(s->pending.len, 0);
	assert_true(s->has_draft);
	assert_int_equal(s->draft_type, CHAT_TEXT);
	assert_true(bytes_equal(secret_bytes(&s->draft), bytes_str("again")));
	assert_int_equal(chat_state_seal_draft(s, SYM_AES_256, chat_people_key[0], &f->err), 0);
	assert_false(s->has_draft);
	chat_people_restart(f, 0);
	assert_int_equal(chat_people_post(f, 0), 3);
	chat_state_sent(s, 3);
	assert_int_equal(f->sent[2].message.place.epoch, 2);
	chat_people_expect(f, 1, 1, "before");
	chat_people_expect(f, 1, 2, "new epoch");
	chat_people_expect(f, 1, 3, "again");
}

static void test_refused_epoch_is_spent(void **state)
{
	struct chat_people *f = *state;
	struct chat_state *s = &f->people[0].state;

	assert_int_equal(chat_people_seal(f, 0, "refused"), 0);
	assert_false(chat_state_due(s, (const uint8_t[HASH_BYTES]){1}, f->now_ms));
	assert_int_equal(chat_state_unseal(s, &f->err), 0);
	chat_people_restart(f, 0);
	assert_true(chat_state_due(s, (const uint8_t[HASH_BYTES]){1}, f->now_ms));
	assert_int_equal(chat_state_seal_draft(s, SYM_AES_256, chat_people_key[0], &f->err),
		KLUIS_ECONFLICT);
	assert_int_equal(s->pending.len, 0);
	assert_true(s->has_draft);
}

/* From a copy of the profile: what the other one sent since shows it, and no index is used for a
 * second message from then on. */
static void test_old_copy_is_seen(void **state)
{
	struct chat_people *f = *state;
	struct chat_state copy;
	struct chat_received r;

	chat_people_copy(f, 0, &copy);
	chat_people_send(f, 0, "sent by the first");
	assert_int_equal(chat_people_receive(f, &copy, 1, 1, &r), 0);
	assert_int_equal(r.problems, CHAT_COPY);
	secret_release(&r.payload);
	assert_true(chat_state_due(&copy, (const uint8_t[HASH_BYTES]){1}, f->now_ms));
	assert_int_equal(chat_state_seal(&copy, SYM_AES_256, CHAT_TEXT, bytes_str("x"),
				 chat_people_key[0], &f->err),
		KLUIS_ECONFLICT);
	assert_memory_equal(copy.own_link, f->sent[0].message.link, HASH_BYTES);
	chat_state_release(&copy);
}

/* ... which has sealed one itself: that is refused, and what it says is not lost. */
static void test_old_copy_with_pending(void **state)
{
	struct chat_people *f = *state;
	struct chat_state copy;
	struct chat_received r;

	chat_people_copy(f, 0, &copy);
	chat_people_send(f, 0, "sent by the first");
	assert_int_equal(chat_state_seal(&copy, SYM_AES_256, CHAT_TEXT, bytes_str("mine"),
				 chat_people_key[0], &f->err),
		0);
	assert_int_equal(chat_people_receive(f, &copy, 1, 1, &r), 0);
	assert_int_equal(r.problems, CHAT_COPY);
	assert_true(r.opened && copy.has_draft && copy.pending.len == 0);
	assert_true(bytes_equal(secret_bytes(&copy.draft), bytes_str("mine")));
	secret_release(&r.payload);
	chat_state_release(&copy);
}

static void test_shown_twice(void **state)
{
	struct chat_people *f = *state;
	struct secret before = SECRET_INIT, after = SECRET_INIT;
	struct chat_received r;
	struct chat_state *s = &f->people[1].state;

	chat_people_send(f, 0, "one");
	chat_people_send(f, 0, "two");
	chat_people_expect(f, 1, 1, "one");
	chat_people_expect(f, 1, 2, "two");
	assert_int_equal(chat_state_encode(s, &before, &f->err), 0);
	assert_int_equal(chat_people_receive(f, s, 1, 3, &r), KLUIS_EVERIFY);
	assert_int_equal(chat_people_receive(f, s, 2, 2, &r), KLUIS_EVERIFY);
	assert_int_equal(chat_people_receive(f, s, 1, 2, &r), KLUIS_EVERIFY);
	assert_int_equal(chat_people_receive(f, s, 1, 0, &r), KLUIS_EVERIFY);
	assert_int_equal(chat_state_encode(s, &after, &f->err), 0);
	assert_true(bytes_equal(secret_bytes(&before), secret_bytes(&after)));
	secret_release(&before);
	secret_release(&after);
}

static void expect_repeated(struct chat_people *f, struct chat_state *s, uint64_t at)
{
	struct chat_received r;

	assert_int_equal(chat_people_receive(f, s, at, at, &r), 0);
	assert_int_equal(r.problems, CHAT_REPEATED);
	assert_int_equal(r.repeats, 2);
	assert_false(r.opened);
	assert_int_equal(s->last_seq, at);
}

/* The history has message 5 as number 2: it takes that number when it comes as it is, and what
 * follows goes on from there. */
static void test_misplaced_by_the_history(void **state)
{
	struct chat_people *f = *state;
	struct chat_received r;
	struct chat_state *s = &f->people[2].state;

	chat_people_send(f, 0, "one");
	chat_people_send(f, 1, "missing");
	chat_people_expect(f, 0, 1, "one");
	chat_people_expect(f, 0, 2, "missing");
	chat_people_send(f, 0, "three");
	chat_people_expect(f, 0, 3, "three");
	chat_people_send(f, 0, "four");
	chat_people_send(f, 1, "five");
	chat_people_expect(f, 0, 4, "four");
	chat_people_expect(f, 0, 5, "five");
	chat_people_send(f, 0, "six");
	chat_people_send(f, 1, "seven");
	s->from_history = true;
	assert_int_equal(chat_people_problems(f, 2, 5, 2), 0);
	/* By the history alone no message comes twice. */
	assert_int_equal(chat_people_receive(f, s, 5, 3, &r), KLUIS_EVERIFY);
	s->from_history = false;
	chat_people_expect(f, 2, 3, "three");
	chat_people_expect(f, 2, 4, "four");
	chat_people_restart(f, 2);
	expect_repeated(f, s, 5);
	/* Nor live. */
	assert_int_equal(chat_people_receive(f, s, 5, 6, &r), KLUIS_EVERIFY);
	assert_int_equal(chat_people_receive(f, s, 2, 2, &r), KLUIS_EVERIFY);
	chat_people_expect(f, 2, 6, "six");
	chat_people_expect(f, 2, 7, "seven");
}

static void test_not_signed(void **state)
{
	struct chat_people *f = *state;
	struct chat_received r;

	chat_people_send(f, 0, "mine");
	assert_int_equal(chat_state_receive(&f->people[1].state, 1, f->now_ms, &f->sent[0].message,
				 key_public(chat_people_key[2]), NULL, &r, &f->err),
		KLUIS_EVERIFY);
	assert_int_equal(f->people[1].state.last_seq, 0);
	chat_people_expect(f, 1, 1, "mine");
}

static void test_another_conversation(void **state)
{
	struct chat_people *f = *state;
	struct chat_received r;
	struct chat_state other;

	chat_people_send(f, 0, "here");
	chat_state_init(&other, f->people[2].who.user_id, f->people[1].who.user_id,
		f->people[1].who.device_id);
	assert_int_equal(chat_people_receive(f, &other, 1, 1, &r), KLUIS_EVERIFY);
	chat_state_release(&other);
}

/* A message that is left out shows by the next number, or, renumbered, by its writer's next. */
static void test_dropped(void **state)
{
	struct chat_people *f = *state;

	chat_people_send(f, 0, "one");
	chat_people_send(f, 0, "two");
	chat_people_send(f, 0, "three");
	chat_people_expect(f, 1, 1, "one");
	assert_int_equal(chat_people_problems(f, 1, 3, 3), CHAT_GAP);
	chat_people_expect(f, 2, 1, "one");
	assert_int_equal(chat_people_problems(f, 2, 3, 2), CHAT_ORDER);
}

/* ... or by the next of whoever had read it. */
static void test_dropped_for_one(void **state)
{
	struct chat_people *f = *state;

	chat_people_send(f, 0, "to all but the third");
	chat_people_expect(f, 1, 1, "to all but the third");
	chat_people_send(f, 1, "answer");
	assert_int_equal(chat_people_problems(f, 2, 2, 1), CHAT_FORK);
}

static void test_moved(void **state)
{
	struct chat_people *f = *state;

	chat_people_send(f, 0, "one");
	chat_people_send(f, 0, "two");
	assert_int_equal(chat_people_problems(f, 1, 2, 1), CHAT_ORDER);
	assert_int_equal(chat_people_problems(f, 1, 1, 2), CHAT_ORDER);
	chat_people_expect(f, 2, 1, "one");
	chat_people_send(f, 2, "an answer");
	/* The answer before what it answers. */
	chat_state_release(&f->people[1].state);
	chat_state_init(&f->people[1].state, chat_people_conv, f->people[1].who.user_id,
		f->people[1].who.device_id);
	assert_int_equal(chat_people_enter(f, 1, 1, 1, 1), 0);
	assert_int_equal(chat_people_problems(f, 1, 3, 1), CHAT_FORK);
}

/* Two histories: each is fine by itself until somebody writes who saw the other one. */
static void test_forked(void **state)
{
	struct chat_people *f = *state;
	struct chat_state copy;
	struct chat_received r;

	/* Number 1 is one message for the second member, and another one, of the same device, for
	 * the third. */
	chat_people_copy(f, 0, &copy);
	chat_people_send(f, 0, "yes");
	assert_int_equal(chat_state_seal(&copy, SYM_AES_256, CHAT_TEXT, bytes_str("no"),
				 chat_people_key[0], &f->err),
		0);
	buf_append_bytes(&f->sent[1].bytes, buf_bytes(&copy.pending));
	f->n = 2;
	assert_int_equal(chat_parse(buf_bytes(&f->sent[1].bytes), &f->sent[1].message, NULL), 0);
	chat_people_expect(f, 1, 1, "yes");
	assert_int_equal(chat_people_receive(f, &f->people[2].state, 2, 1, &r), 0);
	assert_int_equal(r.problems, 0);
	secret_release(&r.payload);
	chat_people_send(f, 1, "agreed");
	assert_int_equal(chat_people_problems(f, 2, 3, 2), CHAT_FORK);
	chat_state_release(&copy);
}

/* What was seen only grows. */
static void test_seen_goes_back(void **state)
{
	struct chat_people *f = *state;
	struct chat_state old;

	chat_people_send(f, 0, "one");
	chat_people_copy(f, 1, &old);
	chat_people_expect(f, 1, 1, "one");
	chat_people_send(f, 1, "two");
	chat_people_expect(f, 2, 1, "one");
	chat_people_expect(f, 2, 2, "two");
	/* A state from before, which has not seen one. */
	memcpy(old.own_link, f->people[1].state.own_link, HASH_BYTES);
	old.epochs[0].sender.next = 1;
	assert_int_equal(chat_state_seal(&old, SYM_AES_256, CHAT_TEXT, bytes_str("three"),
				 chat_people_key[1], &f->err),
		0);
	buf_append_bytes(&f->sent[2].bytes, buf_bytes(&old.pending));
	f->n = 3;
	assert_int_equal(chat_parse(buf_bytes(&f->sent[2].bytes), &f->sent[2].message, NULL), 0);
	assert_true((chat_people_problems(f, 2, 3, 3) & CHAT_FORK) != 0);
	chat_state_release(&old);
}

static void send_many(struct chat_people *f, size_t i, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		chat_people_send(f, i, "x");
	}
}

static void test_skipped_keys_are_limited(void **state)
{
	struct chat_people *f = *state;
	struct chat_received r;

	send_many(f, 0, 2003);
	/* 2,001 before it: it does not open, and ends nothing. */
	assert_int_equal(chat_people_problems(f, 1, 2002, 2002), CHAT_CLOSED);
	assert_int_equal(chat_people_receive(f, &f->people[2].state, 2001, 2001, &r), 0);
	assert_true(r.opened);
	secret_release(&r.payload);
	assert_int_equal(ratchet_skipped(&f->people[2].state.epochs[0].chains[0]), 2000);
	chat_people_restart(f, 2);
	assert_int_equal(chat_people_receive(f, &f->people[2].state, 2002, 2002, &r), 0);
	assert_true(r.opened && r.problems == 0);
	secret_release(&r.payload);
	/* Each once. */
	assert_int_equal(chat_people_receive(f, &f->people[2].state, 2003, 2003, &r), 0);
	assert_int_equal(r.problems, 0);
	secret_release(&r.payload);
}

/* All chains together hold so many. */
static void test_skipped_keys_of_all(void **state)
{
	struct chat_people *f = *state;

	for (size_t i = 0; i < CHAT_PEOPLE; i++) {
		send_many(f, i, 1340);
	}
	assert_int_equal(chat_people_problems(f, 1, 1340, 1340), 0); /* The first that it sees. */
	assert_int_equal(chat_people_problems(f, 1, 2680, 2680) & CHAT_CLOSED, 0);
	assert_int_equal(chat_people_problems(f, 1, 4020, 4020) & CHAT_CLOSED, CHAT_CLOSED);
}

/* Who takes the whole state opens nothing that was read; and what is sent in later epochs neither,
 * once the device is out of them or has new ones that were not taken. */
static bool key_opens(const uint8_t *mk, const struct chat_message *m)
{
	struct secret payload = SECRET_INIT;
	unsigned type;
	bool opened = chat_open(mk, m, &type, &payload, NULL) == 0;

	secret_release(&payload);
	return opened;
}

/* By the next 64 keys of the chain, or one that was passed over. */
static bool chain_opens(const struct ratchet *chain, const struct chat_message *m)
{
	struct secret ck = SECRET_INIT;
	uint8_t mk[CHAT_KEY_BYTES];
	bool opened = false;

	secret_set(&ck, secret_bytes(&chain->chain));
	for (size_t k = 0; k < 64 && !opened; k++) {
		chat_step(&ck, mk);
		opened = key_opens(mk, m);
	}
	for (size_t k = 0; k < ratchet_skipped(chain) && !opened; k++) {
		opened = key_opens(chain->skipped.data + k * RATCHET_SKIPPED_BYTES + 4, m);
	}
	secret_release(&ck);
	return opened;
}

static bool state_opens(const struct chat_state *s, const struct chat_message *m)
{
	bool opened = false;

	for (size_t i = 0; i < s->n_epochs && !opened; i++) {
		opened = s->epochs[i].has_sender && chain_opens(&s->epochs[i].sender, m);
		for (size_t j = 0; j < s->epochs[i].n_chains && !opened; j++) {
			opened = chain_opens(&s->epochs[i].chains[j], m);
		}
	}
	return opened;
}

static void test_forward_secrecy(void **state)
{
	struct chat_people *f = *state;
	struct chat_state taken;

	chat_people_send(f, 0, "one");
	chat_people_send(f, 1, "two");
	chat_people_send(f, 2, "three");
	assert_true(state_opens(&f->people[1].state, &f->sent[0].message)); /* The check checks. */
	for (size_t i = 0; i < CHAT_PEOPLE; i++) {
		chat_people_expect(f, i, 1, "one");
		chat_people_expect(f, i, 2, "two");
		chat_people_expect(f, i, 3, "three");
	}
	chat_people_copy(f, 1, &taken);
	for (size_t k = 0; k < 3; k++) {
		assert_false(state_opens(&taken, &f->sent[k].message));
	}
	/* The rest of the epoch is theirs, but not the next one. */
	chat_people_send(f, 0, "four");
	assert_true(state_opens(&taken, &f->sent[3].message));
	chat_people_enter_all(f, 2);
	chat_people_send(f, 0, "five");
	assert_false(state_opens(&taken, &f->sent[4].message));
	chat_people_expect(f, 1, 4, "four");
	chat_people_expect(f, 1, 5, "five");
	/* The epoch before is gone. */
	assert_int_equal(f->people[1].state.n_epochs, 1);
	assert_false(chat_state_awaits(&f->people[1].state, 1));
	chat_state_release(&taken);
}

/* Nor are own ones that were never read back left open. */
static void test_forward_secrecy_of_own(void **state)
{
	struct chat_people *f = *state;
	struct chat_state *s = &f->people[0].state;

	chat_people_send(f, 0, "one");
	chat_people_send(f, 0, "two");
	chat_people_expect(f, 1, 1, "one");
	chat_people_expect(f, 1, 2, "two");
	chat_people_send(f, 1, "seen");
	assert_true(state_opens(s, &f->sent[1].message));
	chat_people_expect(f, 0, 3, "seen");
	assert_false(state_opens(s, &f->sent[0].message));
	assert_false(state_opens(s, &f->sent[1].message));
}

/* Neither chain keys nor message keys that were used are left anywhere in the encoding. */
static bool holds_bytes(struct bytes where, const uint8_t *what)
{
	return memmem(where.data, where.len, what, CHAT_KEY_BYTES) != NULL;
}

static void test_used_keys_are_gone(void **state)
{
	struct chat_people *f = *state;
	struct secret ck = SECRET_INIT, epoch_secret = SECRET_INIT, encoded = SECRET_INIT;
	uint8_t mk[CHAT_KEY_BYTES], first[CHAT_KEY_BYTES];

	chat_people_secret(1, &epoch_secret);
	chat_chain_key(
		secret_bytes(&epoch_secret), chat_people_conv, 1, f->people[0].who.device_id, &ck);
	memcpy(first, ck.data, sizeof first);
	chat_step(&ck, mk);
	assert_int_equal(chat_state_encode(&f->people[1].state, &encoded, &f->err), 0);
	assert_true(holds_bytes(secret_bytes(&encoded), first));
	assert_false(holds_bytes(secret_bytes(&encoded), epoch_secret.data));
	chat_people_send(f, 0, "one");
	chat_people_expect(f, 1, 1, "one");
	assert_int_equal(chat_state_encode(&f->people[1].state, &encoded, &f->err), 0);
	assert_false(holds_bytes(secret_bytes(&encoded), first));
	assert_false(holds_bytes(secret_bytes(&encoded), mk));
	assert_true(holds_bytes(secret_bytes(&encoded), ck.data));
	secret_release(&ck);
	secret_release(&epoch_secret);
	secret_release(&encoded);
}

static void test_epochs_are_entered_once(void **state)
{
	struct chat_people *f = *state;
	struct chat_state *s = &f->people[0].state;

	assert_int_equal(chat_people_enter(f, 0, 1, 1, 1), KLUIS_EVERIFY);
	assert_int_equal(chat_people_enter(f, 0, 2, 2, 2), 0);
	chat_people_send(f, 0, "in the second");
	chat_people_expect(f, 0, 1, "in the second");
	/* Erased: a packet that is shown again does not bring it back. */
	assert_int_equal(chat_people_enter(f, 0, 1, 1, 1), KLUIS_EVERIFY);
	/* Of a member list before the last: somebody who was removed would be back. */
	assert_int_equal(chat_people_enter(f, 0, 3, 1, 1), KLUIS_EVERIFY);
	assert_int_equal(chat_people_enter(f, 0, 3, 2, 2), 0);
	assert_int_equal(s->n_epochs, 2);
	assert_int_equal(chat_state_current(s)->epoch, 3);
}

static void test_epoch_of_others(void **state)
{
	struct chat_people *f = *state;
	struct chat_epoch_key key = {.epoch = 2};
	struct chat_entry entry = {
		.key = &key, .members_rev = 1, .writers = &f->people[1].who, .n = 1};

	secret_init(&key.secret, CHAT_KEY_BYTES);
	assert_int_equal(chat_state_enter(&f->people[0].state, &entry, &f->err), KLUIS_EVERIFY);
	chat_epoch_key_release(&key);
}

static void test_unread_epochs_are_limited(void **state)
{
	struct chat_people *f = *state;

	for (uint32_t epoch = 2; epoch <= CHAT_EPOCHS_MAX; epoch++) {
		assert_int_equal(chat_people_enter(f, 0, epoch, 1, 1), 0);
	}
	assert_int_equal(chat_people_enter(f, 0, CHAT_EPOCHS_MAX + 1, 1, 1), KLUIS_ETOOLARGE);
	assert_int_equal(f->people[0].state.n_epochs, CHAT_EPOCHS_MAX);
}

/* Messages of before this device came are no lie; a message of an epoch in between is. */
static void test_joins_later(void **state)
{
	struct chat_people *f = *state;
	struct chat_state late;
	struct chat_received r;

	chat_people_send(f, 0, "before");
	chat_state_init(
		&late, chat_people_conv, f->people[2].who.user_id, f->people[2].who.device_id);
	chat_state_release(&f->people[2].state);
	f->people[2].state = late;
	assert_int_equal(chat_people_enter(f, 2, 2, 2, 2), 0);
	assert_int_equal(chat_people_enter(f, 0, 2, 2, 2), 0);
	assert_int_equal(chat_people_receive(f, &f->people[2].state, 1, 1, &r), 0);
	assert_int_equal(r.problems, 0);
	assert_false(r.opened);
	chat_people_send(f, 0, "after");
	chat_people_expect(f, 2, 2, "after");
	assert_int_equal(chat_people_enter(f, 0, 3, 2, 2), 0);
	chat_people_send(f, 0, "not for the third");
	assert_int_equal(chat_people_problems(f, 2, 3, 3), CHAT_CLOSED);
	/* What it cannot open counts for order all the same. */
	assert_int_equal(chat_people_enter(f, 2, 4, 2, 2), 0);
	assert_int_equal(chat_people_enter(f, 0, 4, 2, 2), 0);
	chat_people_send(f, 0, "again for all");
	chat_people_expect(f, 2, 4, "again for all");
}

static void test_when_an_epoch_is_due(void **state)
{
	struct chat_people *f = *state;
	static const uint8_t members[HASH_BYTES] = {1}, others[HASH_BYTES] = {2};
	struct chat_state *s = &f->people[0].state, none;

	chat_state_init(
		&none, chat_people_conv, f->people[0].who.user_id, f->people[0].who.device_id);
	assert_true(chat_state_due(&none, members, f->now_ms));
	assert_false(chat_state_due(s, members, f->now_ms));
	assert_true(chat_state_due(s, others, f->now_ms));
	assert_false(chat_state_due(s, members, f->now_ms + 7 * chat_people_day_ms));
	assert_true(chat_state_due(s, members, f->now_ms + 7 * chat_people_day_ms + 1));
	send_many(f, 0, 999);
	assert_false(chat_state_due(s, members, f->now_ms));
	send_many(f, 0, 1);
	assert_true(chat_state_due(s, members, f->now_ms));
	/* ... and by what others wrote, once it was read. */
	assert_false(chat_state_due(&f->people[1].state, members, f->now_ms));
	for (uint64_t seq = 1; seq <= 1000; seq++) {
		chat_people_expect(f, 1, seq, "x");
	}
	assert_true(chat_state_due(&f->people[1].state, members, f->now_ms));
}

/* Every cut and every changed byte of the encoding is refused, or is a state all the same. */
static void test_encoding(void **state)
{
	struct chat_people *f = *state;
	struct secret encoded = SECRET_INIT, again = SECRET_INIT;
	struct chat_state *s = &f->people[1].state, back;
	struct chat_received r;

	chat_people_send(f, 0, "one");
	chat_people_send(f, 0, "two");
	chat_people_send(f, 0, "three");
	assert_int_equal(chat_people_receive(f, s, 3, 3, &r), 0);
	secret_release(&r.payload);
	assert_int_equal(chat_people_seal(f, 1, "taken"), 0);
	chat_state_sent(s, 4);
	assert_int_equal(chat_people_seal(f, 1, "pending"), 0);
	memcpy(s->title, "a title", 8);
	assert_int_equal(chat_state_encode(s, &encoded, &f->err), 0);
	assert_int_equal(chat_state_decode(secret_bytes(&encoded), &back, &f->err), 0);
	assert_int_equal(chat_state_encode(&back, &again, &f->err), 0);
	assert_true(bytes_equal(secret_bytes(&encoded), secret_bytes(&again)));
	assert_string_equal(back.title, "a title");
	chat_state_release(&back);
	for (size_t len = 0; len < encoded.len; len++) {
		assert_int_not_equal(
			chat_state_decode(bytes_of(encoded.data, len), &back, NULL), 0);
	}
	for (size_t i = 0; i < encoded.len; i++) {
		encoded.data[i] ^= 0x41;
		if (chat_state_decode(secret_bytes(&encoded), &back, NULL) == 0) {
			chat_state_release(&back);
		}
		encoded.data[i] ^= 0x41;
	}
	encoded.data[0] = 4;
	assert_int_equal(chat_state_decode(secret_bytes(&encoded), &back, NULL), KLUIS_EVERSION);
	/* Version 2 ends before the bits of the one row, version 1 before the lineage and the one
	 * number. */
	encoded.data[0] = 2;
	assert_int_equal(
		chat_state_decode(bytes_of(encoded.data, encoded.len - 1), &back, &f->err), 0);
	assert_int_equal(back.n_taken, 1);
	chat_state_release(&back);
	encoded.data[0] = 1;
	assert_int_equal(
		chat_state_decode(
			bytes_of(encoded.data, encoded.len - 1 - (ID_BYTES + 2 + 16 + HASH_BYTES)),
			&back, &f->err),
		0);
	assert_int_equal(back.n_taken, 0);
	chat_state_release(&back);
	secret_release(&encoded);
	secret_release(&again);
}

#define STATE_TEST(fn) cmocka_unit_test_setup_teardown(fn, chat_people_setup, chat_people_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		STATE_TEST(test_three_talk),
		STATE_TEST(test_pending_is_resent_as_it_is),
		STATE_TEST(test_pending_is_read_back),
		STATE_TEST(test_refused_is_sealed_in_the_next_epoch),
		STATE_TEST(test_refused_epoch_is_spent),
		STATE_TEST(test_old_copy_is_seen),
		STATE_TEST(test_old_copy_with_pending),
		STATE_TEST(test_shown_twice),
		STATE_TEST(test_misplaced_by_the_history),
		STATE_TEST(test_not_signed),
		STATE_TEST(test_another_conversation),
		STATE_TEST(test_dropped),
		STATE_TEST(test_dropped_for_one),
		STATE_TEST(test_moved),
		STATE_TEST(test_forked),
		STATE_TEST(test_seen_goes_back),
		STATE_TEST(test_skipped_keys_are_limited),
		STATE_TEST(test_skipped_keys_of_all),
		STATE_TEST(test_forward_secrecy),
		STATE_TEST(test_forward_secrecy_of_own),
		STATE_TEST(test_used_keys_are_gone),
		STATE_TEST(test_epochs_are_entered_once),
		STATE_TEST(test_epoch_of_others),
		STATE_TEST(test_unread_epochs_are_limited),
		STATE_TEST(test_joins_later),
		STATE_TEST(test_when_an_epoch_is_due),
		STATE_TEST(test_encoding),
	};

	return cmocka_run_group_tests(tests, chat_people_keys, chat_people_keys_free);
}
