/* Conversations of three accounts against what a cluster does, and against one that loses answers,
 * is reached by others first, or lies. */
#include "tests/lib/cli_fixture/fake_chat.h"

#include <string.h>

#include "base/text.h"
#include "cli/client/chat_store.h"

int __wrap_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e);
int __wrap_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e)
{
	return fake_chat_call(client, request, answer, e);
}

static void test_three_talk(void **state)
{
	struct fake_chat *f = *state;

	fake_chat_begin(f, 3);
	assert_int_equal(f->epoch, 1);
	assert_int_equal(fake_chat_send(f, 0, "hello"), 0);
	assert_int_equal(fake_chat_send(f, 1, "hello back"), 0);
	assert_int_equal(fake_chat_send(f, 2, "me too"), 0);
	assert_int_equal(fake_chat_send(f, 0, "good"), 0);
	for (size_t i = 0; i < 3; i++) {
		fake_chat_expect(f, i, "hello\nhello back\nme too\ngood\n");
		fake_chat_expect(f, i, "");
		assert_int_equal(f->delivered[i], 5);
		assert_int_equal(f->read[i], 5);
	}
	assert_int_equal(f->epoch, 1);
}

/* The packets of an epoch go once its keys are stored. */
static void test_packets_are_acknowledged(void **state)
{
	struct fake_chat *f = *state;

	fake_chat_begin(f, 3);
	for (size_t i = 0; i < f->n_packets; i++) {
		assert_int_equal(f->packets[i].bytes.len, 0);
	}
}

static void test_lost_answer(void **state)
{
	struct fake_chat *f = *state;

	fake_chat_begin(f, 2);
	f->lose = "/messages";
	assert_int_equal(fake_chat_send(f, 0, "once"), KLUIS_EUNKNOWN_OUTCOME);
	assert_int_equal(fake_chat_send(f, 0, "twice"), 0);
	assert_int_equal(f->posts, 4); /* The title, and one twice. */
	assert_int_equal(f->n_messages, 3);
	fake_chat_expect(f, 1, "once\ntwice\n");
	fake_chat_expect(f, 0, "once\ntwice\n");
}

/* Sealed, stored, and never sent: the next run sends those bytes. */
static void test_no_site_reached(void **state)
{
	struct fake_chat *f = *state;
	struct chat_state stored;
	struct conversation *c;

	fake_chat_begin(f, 2);
	f->fail = "/messages";
	assert_int_equal(fake_chat_send(f, 0, "later"), KLUIS_ECONNECT);
	assert_int_equal(chat_store_load(f->users[0].profile, f->id, &stored, &f->err), 0);
	assert_true(stored.pending.len > 0);
	f->fail = NULL;
	fake_chat_reopen(f, 0);
	c = fake_chat_open(f, 0);
	assert_int_equal(conversation_flush(c, &f->err), 0);
	assert_int_equal(conversation_flush(c, &f->err), 0);
	conversation_close(c);
	assert_int_equal(f->n_messages, 2);
	assert_true(bytes_equal(buf_bytes(&f->messages[1].bytes), buf_bytes(&stored.pending)));
	fake_chat_expect(f, 1, "later\n");
	chat_state_release(&stored);
}

/* The answer was lost, and what it was about is read before anything else is sent. */
static void test_lost_answer_is_read_back(void **state)
{
	struct fake_chat *f = *state;

	fake_chat_begin(f, 2);
	f->lose = "/messages";
	assert_int_equal(fake_chat_send(f, 0, "once"), KLUIS_EUNKNOWN_OUTCOME);
	fake_chat_expect(f, 0, "once\n");
	assert_int_equal(fake_chat_send(f, 0, "twice"), 0);
	assert_int_equal(f->n_messages, 3);
	fake_chat_expect(f, 1, "once\ntwice\n");
}

static void test_member_added(void **state)
{
	struct fake_chat *f = *state;
	struct conversation *c;

	fake_chat_begin(f, 2);
	assert_int_equal(fake_chat_send(f, 1, "before carol"), 0);
	c = fake_chat_open(f, 0);
	assert_int_equal(conversation_add(c, fake_chat_user_id(f, 2), &f->err), 0);
	assert_int_equal(conversation_add(c, fake_chat_user_id(f, 2), &f->err), KLUIS_EEXIST);
	conversation_close(c);
	/* By one who does not know yet. */
	assert_int_equal(fake_chat_send(f, 1, "with carol"), 0);
	assert_int_equal(f->epoch, 2);
	c = fake_chat_open(f, 2);
	assert_int_equal(conversation_accept(c, &f->err), 0);
	conversation_close(c);
	fake_chat_expect(f, 2, "-\n-\nwith carol\n");
	fake_chat_expect(f, 0, "before carol\nwith carol\n");
	assert_int_equal(fake_chat_send(f, 2, "thanks"), 0);
	fake_chat_expect(f, 0, "thanks\n");
}

/* Who was removed has no key of what follows, and is not told of it as a member either. */
static void test_member_removed(void **state)
{
	struct fake_chat *f = *state;
	struct conversation *c;

	fake_chat_begin(f, 3);
	c = fake_chat_open(f, 0);
	assert_int_equal(conversation_remove(c, fake_chat_user_id(f, 2), &f->err), 0);
	conversation_close(c);
	assert_int_equal(fake_chat_send(f, 1, "between us"), 0);
	assert_int_equal(f->epoch, 2);
	for (size_t i = 0; i < f->n_packets; i++) {
		assert_false(f->packets[i].parsed.epoch == 2 &&
			     memcmp(f->packets[i].parsed.rcpt_id, f->users[2].profile->device_id,
				     ID_BYTES) == 0);
	}
	fake_chat_expect(f, 0, "between us\n");
	/* A cluster that goes on showing it everything. */
	memcpy(f->states[2], "accepted", sizeof "accepted");
	assert_int_equal(
		conversation_open(f->users[2].people, f->id, &c, &f->err), KLUIS_EFORBIDDEN);
}

/* Left: the others write under keys that were not given to them any more. */
static void test_left(void **state)
{
	struct fake_chat *f = *state;
	struct chat_state stored;
	struct conversation *c;
	size_t n;

	fake_chat_begin(f, 3);
	c = fake_chat_open(f, 2);
	assert_int_equal(conversation_leave(c, &f->err), 0);
	conversation_close(c);
	assert_int_equal(chat_store_load(f->users[2].profile, f->id, &stored, &f->err), 0);
	assert_int_equal(stored.n_epochs, 0);
	chat_state_release(&stored);
	n = f->n_packets;
	assert_int_equal(fake_chat_send(f, 0, "without carol"), 0);
	assert_int_equal(f->n_packets, n + 2);
	fake_chat_expect(f, 1, "without carol\n");
}

static void other_makes_epoch(struct fake_chat *f, const char *target)
{
	struct conversation *c;

	(void)target;
	c = fake_chat_open(f, 1);
	assert_int_equal(conversation_need_epoch(c, &f->err), 0);
	conversation_close(c);
}

/* Two make the same epoch: the second takes the first's. */
static void test_epoch_race(void **state)
{
	struct fake_chat *f = *state;

	fake_chat_begin(f, 2);
	f->stale = true; /* A device came or went. */
	assert_int_equal(fake_chat_send(f, 0, "refused first"), 0);
	assert_int_equal(f->epoch, 2);
	f->stale = true;
	fake_chat_reopen(f, 0);
	f->before = NULL;
	{
		struct conversation *c = fake_chat_open(f, 0);

		f->before = other_makes_epoch;
		assert_int_equal(conversation_need_epoch(c, &f->err), 0);
		assert_int_equal(f->epoch, 3);
		assert_int_equal(chat_state_current(&c->state)->epoch, 3);
		conversation_close(c);
	}
	assert_int_equal(fake_chat_send(f, 0, "in the third"), 0);
	fake_chat_expect(f, 1, "refused first\nin the third\n");
	fake_chat_expect(f, 0, "refused first\nin the third\n");
}

/* A pending message whose epoch ended meanwhile goes out in the next one, once. */
static void test_pending_over_an_epoch(void **state)
{
	struct fake_chat *f = *state;

	fake_chat_begin(f, 2);
	f->fail = "/messages";
	assert_int_equal(fake_chat_send(f, 0, "held up"), KLUIS_ECONNECT);
	f->fail = NULL;
	f->stale = true;
	assert_int_equal(fake_chat_send(f, 1, "meanwhile"), 0);
	assert_int_equal(f->epoch, 2);
	/* Reading on closes the first epoch, and must not lose it. */
	fake_chat_expect(f, 0, "meanwhile\n");
	assert_int_equal(fake_chat_send(f, 0, "after it"), 0);
	fake_chat_expect(f, 1, "meanwhile\nheld up\nafter it\n");
	fake_chat_expect(f, 0, "held up\nafter it\n");
}

static void count_epochs(struct fake_chat *f)
{
	fake_chat_begin(f, 2);
	for (int i = 0; i < 12; i++) {
		f->stale = true;
		assert_int_equal(fake_chat_send(f, 0, "x"), 0);
	}
	assert_int_equal(f->epoch, 13);
}

/* More epochs than a state holds, read by one who was away. */
static void test_away_for_many_epochs(void **state)
{
	struct fake_chat *f = *state;

	count_epochs(f);
	fake_chat_expect(f, 1, "x\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\n");
	assert_int_equal(fake_chat_send(f, 1, "back"), 0);
	fake_chat_expect(f, 0, "x\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nback\n");
}

/* ... and who writes before reading. */
static void test_writes_before_reading(void **state)
{
	struct fake_chat *f = *state;

	count_epochs(f);
	assert_int_equal(fake_chat_send(f, 1, "first"), 0);
	fake_chat_expect(f, 1, "x\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nfirst\n");
}

static int stop_cb(void *arg, const struct conversation_item *item, struct err *e)
{
	size_t *left = arg;

	(void)item;
	return (*left)-- == 0 ? err_set(e, KLUIS_EIO, "the disk is full") : 0;
}

/* What the reader could not take comes again. */
static void test_reader_fails(void **state)
{
	struct fake_chat *f = *state;
	size_t left = 1, n = 0;
	const struct conversation_read reader = {.each = stop_cb, .arg = &left};
	struct conversation *c;

	fake_chat_begin(f, 2);
	assert_int_equal(fake_chat_send(f, 0, "one"), 0);
	assert_int_equal(fake_chat_send(f, 0, "two"), 0);
	c = fake_chat_open(f, 1);
	assert_int_equal(conversation_read(c, &reader, &n, &f->err), KLUIS_EIO);
	conversation_close(c);
	assert_int_equal(n, 0);
	fake_chat_expect(f, 1, "one\ntwo\n");
}

/* The disk ends before a message leaves: none leaves. */
static void test_state_cannot_be_stored(void **state)
{
	struct fake_chat *f = *state;
	struct conversation *c;
	uint64_t seq;

	fake_chat_begin(f, 2);
	c = fake_chat_open(f, 0);
	memset(c->state.title, 'x', CHAT_TITLE_BYTES_MAX);
	secret_release(&f->users[0].profile->salt_key);
	assert_int_equal(conversation_send(c, CHAT_TEXT, bytes_str("x"), &seq, &f->err),
		KLUIS_EUNAUTHENTICATED);
	conversation_close(c);
	assert_int_equal(f->posts, 1);
}

/* The profile as it was before the last message. */
static void test_old_copy(void **state)
{
	struct fake_chat *f = *state;
	struct fake_seen seen = {.n = 0};
	struct chat_state old;

	fake_chat_begin(f, 2);
	assert_int_equal(chat_store_load(f->users[0].profile, f->id, &old, &f->err), 0);
	assert_int_equal(fake_chat_send(f, 0, "one"), 0);
	assert_int_equal(chat_store_save(f->users[0].profile, &old, &f->err), 0);
	chat_state_release(&old);
	assert_int_equal(fake_chat_send(f, 0, "two"), KLUIS_ECONFLICT);
	assert_int_equal(f->n_messages, 2);
	assert_int_equal(fake_chat_read(f, 0, &seen), 0);
	assert_int_equal(seen.problems, CHAT_COPY);
	buf_release(&seen.texts);
	assert_int_equal(fake_chat_send(f, 0, "three"), 0);
	assert_int_equal(f->epoch, 2);
	fake_chat_expect(f, 1, "one\ntwo\nthree\n");
}

/* Lies. */

static void show_without_second(
	struct fake_chat *f, size_t user, struct fake_message *messages, size_t *n)
{
	(void)f;
	if (user == 1) {
		(*n)--;
		memmove(&messages[1], &messages[2], (*n - 1) * sizeof *messages);
		for (size_t i = 1; i < *n; i++) {
			messages[i].seq = i + 1;
		}
	}
}

static void show_gap(struct fake_chat *f, size_t user, struct fake_message *messages, size_t *n)
{
	(void)f;
	if (user == 1) {
		(*n)--;
		memmove(&messages[1], &messages[2], (*n - 1) * sizeof *messages);
	}
}

static void show_swapped(struct fake_chat *f, size_t user, struct fake_message *messages, size_t *n)
{
	struct fake_message first = messages[1];

	(void)f;
	if (user == 1 && *n >= 3) {
		messages[1] = messages[2];
		messages[2] = first;
		messages[1].seq = 2;
		messages[2].seq = 3;
	}
}

static void show_twice(struct fake_chat *f, size_t user, struct fake_message *messages, size_t *n)
{
	(void)f;
	if (user == 1) {
		messages[*n] = messages[1];
		messages[*n].seq = *n + 1;
		(*n)++;
	}
}

static unsigned problems_with(struct fake_chat *f,
	void (*show)(struct fake_chat *, size_t, struct fake_message *, size_t *))
{
	struct fake_seen seen = {.n = 0};

	fake_chat_begin(f, 3);
	assert_int_equal(fake_chat_send(f, 0, "one"), 0);
	assert_int_equal(fake_chat_send(f, 0, "two"), 0);
	fake_chat_expect(f, 2, "one\ntwo\n");
	assert_int_equal(fake_chat_send(f, 2, "seen"), 0);
	f->show = show;
	assert_int_equal(fake_chat_read(f, 1, &seen), 0);
	buf_release(&seen.texts);
	return seen.problems;
}

static void test_dropped(void **state)
{
	assert_int_equal(problems_with(*state, show_without_second), CHAT_ORDER);
}

static void test_withheld(void **state)
{
	assert_int_equal(problems_with(*state, show_gap), CHAT_GAP);
}

static void test_swapped(void **state)
{
	assert_int_equal(problems_with(*state, show_swapped), CHAT_ORDER);
}

/* Nothing of an answer that no member can have made counts. */
static void test_replayed(void **state)
{
	struct fake_chat *f = *state;
	struct fake_seen seen = {.n = 0};

	fake_chat_begin(f, 2);
	assert_int_equal(fake_chat_send(f, 0, "one"), 0);
	f->show = show_twice;
	assert_int_equal(fake_chat_read(f, 1, &seen), KLUIS_EVERIFY);
	assert_non_null(strstr(f->err.text, "replay"));
	assert_int_equal(seen.n, 0);
	buf_release(&seen.texts);
	f->show = NULL;
	fake_chat_expect(f, 1, "one\n");
}

static void show_flipped(struct fake_chat *f, size_t user, struct fake_message *messages, size_t *n)
{
	static uint8_t bytes[CHAT_MESSAGE_BYTES_MAX];
	struct fake_message *last = &messages[*n - 1];

	(void)f;
	if (user == 1) {
		memcpy(bytes, last->bytes.data, last->bytes.len);
		bytes[CHAT_HEADER_BYTES + 1] ^= 1;
		last->bytes.data = bytes;
	}
}

static void test_changed(void **state)
{
	struct fake_chat *f = *state;
	struct fake_seen seen = {.n = 0};

	fake_chat_begin(f, 2);
	assert_int_equal(fake_chat_send(f, 0, "one"), 0);
	f->show = show_flipped;
	assert_int_equal(fake_chat_read(f, 1, &seen), KLUIS_EVERIFY);
	f->show = NULL;
	buf_release(&seen.texts);
	fake_chat_expect(f, 1, "one\n");
}

/* The KeyPacket of an epoch is withheld from one. */
static void test_no_packet(void **state)
{
	struct fake_chat *f = *state;
	struct fake_seen seen = {.n = 0};

	fake_chat_begin(f, 2);
	f->stale = true;
	assert_int_equal(fake_chat_send(f, 0, "in the second"), 0);
	for (size_t i = 0; i < f->n_packets; i++) {
		buf_release(&f->packets[i].bytes);
	}
	assert_int_equal(fake_chat_read(f, 1, &seen), 0);
	assert_int_equal(seen.problems, CHAT_CLOSED);
	assert_string_equal(buf_str(&seen.texts), "-\n");
	buf_release(&seen.texts);
}

/* The newest messages are not there any more: to who has read them, and to who has sent them. */
static void test_rolled_back(void **state)
{
	struct fake_chat *f = *state;
	struct conversation *c;

	fake_chat_begin(f, 2);
	assert_int_equal(fake_chat_send(f, 0, "one"), 0);
	fake_chat_expect(f, 1, "one\n");
	f->n_messages--;
	for (size_t i = 0; i < 2; i++) {
		fake_chat_reopen(f, i);
		assert_int_equal(
			conversation_open(f->users[i].people, f->id, &c, &f->err), KLUIS_EPIN);
		assert_non_null(strstr(f->err.text, "rolled back"));
	}
	/* By a restore that the user accepted they may. */
	f->users[1].profile->lineage[0] ^= 1;
	c = fake_chat_open(f, 1);
	assert_int_equal(c->state.last_seq, 1);
	conversation_close(c);
	f->n_messages++;
}

static void show_without_own(
	struct fake_chat *f, size_t user, struct fake_message *messages, size_t *n)
{
	(void)f;
	if (user == 0 && *n == 3) {
		messages[1] = messages[2];
		(*n)--;
	}
}

/* All others had it before its writer read it back: the node has dropped it. */
static void test_own_is_gone(void **state)
{
	struct fake_chat *f = *state;

	fake_chat_begin(f, 2);
	assert_int_equal(fake_chat_send(f, 0, "one"), 0);
	fake_chat_expect(f, 1, "one\n");
	assert_int_equal(fake_chat_send(f, 1, "two"), 0);
	f->show = show_without_own;
	fake_chat_expect(f, 0, "two\n");
}

static void show_end(struct fake_chat *f, size_t user, struct fake_message *messages, size_t *n)
{
	(void)f;
	if (user == 2) {
		messages[0] = messages[*n - 1];
		*n = 1;
	}
}

/* Who was in it from the first epoch on is shown it from number 1. */
static void test_beginning_withheld(void **state)
{
	struct fake_chat *f = *state;
	struct fake_seen seen = {.n = 0};
	uint8_t ids[2][ID_BYTES];
	struct conversation *c;

	memcpy(ids[0], fake_chat_user_id(f, 1), ID_BYTES);
	memcpy(ids[1], fake_chat_user_id(f, 2), ID_BYTES);
	assert_int_equal(conversation_create(f->users[0].people, "plans",
				 (const uint8_t(*)[ID_BYTES])ids, 2, &c, &f->err),
		0);
	conversation_close(c);
	assert_int_equal(fake_chat_send(f, 0, "one"), 0);
	f->show = show_end;
	c = fake_chat_open(f, 2);
	assert_int_equal(conversation_accept(c, &f->err), 0);
	conversation_close(c);
	assert_int_equal(fake_chat_read(f, 2, &seen), 0);
	assert_int_equal(seen.problems, CHAT_GAP);
	buf_release(&seen.texts);
}

/* A conversation of others, to which the cluster says that one is invited. */
static void test_invitation_invented(void **state)
{
	struct fake_chat *f = *state;
	struct conversation *c;

	fake_chat_begin(f, 2);
	memcpy(f->states[2], "invited", sizeof "invited");
	assert_int_equal(conversation_open(f->users[2].people, f->id, &c, &f->err), KLUIS_EVERIFY);
	assert_non_null(strstr(f->err.text, "made that up"));
}

static void add_third(struct fake_chat *f, const char *target)
{
	struct conversation *c;

	(void)target;
	c = fake_chat_open(f, 0);
	assert_int_equal(conversation_add(c, fake_chat_user_id(f, 2), &f->err), 0);
	conversation_close(c);
	assert_int_equal(fake_chat_send(f, 0, "to three"), 0);
}

/* Members change, and somebody writes, between a look at who they are and the reading. */
static void test_members_change_meanwhile(void **state)
{
	struct fake_chat *f = *state;
	struct fake_seen seen = {.n = 0};
	const struct conversation_read reader = {.each = stop_cb, .arg = &(size_t){9}};
	struct conversation *c;

	fake_chat_begin(f, 2);
	fake_chat_reopen(f, 1);
	c = fake_chat_open(f, 1);
	add_third(f, NULL);
	assert_int_equal(conversation_read(c, &reader, &seen.n, &f->err), 0);
	assert_int_equal(seen.n, 1);
	conversation_close(c);
}

/* A member of whom no statement knows. */
static void test_members_rolled_back(void **state)
{
	struct fake_chat *f = *state;
	struct conversation *c;

	fake_chat_begin(f, 3);
	f->n_statements--;
	f->members.seq--;
	fake_chat_reopen(f, 1);
	assert_int_equal(conversation_open(f->users[1].people, f->id, &c, &f->err), KLUIS_EPIN);
	f->n_statements++;
	f->members.seq++;
}

/* Edits and deletions count when their writer wrote what they are about. */
struct edits {
	size_t n;
	struct {
		enum chat_kind kind;
		uint64_t of_seq;
		bool not_theirs;
	} rows[8];
};

static int edits_cb(void *arg, const struct conversation_item *item, struct err *e)
{
	struct edits *edits = arg;

	(void)e;
	edits->rows[edits->n].kind = item->content.kind;
	edits->rows[edits->n].of_seq = item->of_seq;
	edits->rows[edits->n++].not_theirs = item->not_theirs;
	return 0;
}

static void send_edit(struct fake_chat *f, size_t user, uint64_t of)
{
	struct buf payload = BUF_INIT;
	struct conversation *c = fake_chat_open(f, user);
	uint64_t seq;

	chat_content_edit(f->messages[of - 1].parsed.link, "better", &payload);
	assert_int_equal(conversation_send(c, CHAT_JSON, buf_bytes(&payload), &seq, &f->err), 0);
	conversation_close(c);
	buf_release(&payload);
}

static void test_edits(void **state)
{
	struct fake_chat *f = *state;
	struct edits edits = {.n = 0};
	const struct conversation_read reader = {.each = edits_cb, .arg = &edits};
	struct conversation *c;
	size_t n;

	fake_chat_begin(f, 2);
	assert_int_equal(fake_chat_send(f, 0, "one"), 0);
	send_edit(f, 0, 2);
	send_edit(f, 1, 2);
	fake_chat_reopen(f, 1);
	c = fake_chat_open(f, 1);
	assert_int_equal(conversation_read(c, &reader, &n, &f->err), 0);
	conversation_close(c);
	assert_int_equal(n, 3);
	assert_int_equal(edits.rows[1].kind, CHAT_KIND_EDIT);
	assert_int_equal(edits.rows[1].of_seq, 2);
	assert_false(edits.rows[1].not_theirs);
	assert_int_equal(edits.rows[2].of_seq, 2);
	assert_true(edits.rows[2].not_theirs);
}

static void test_find(void **state)
{
	struct fake_chat *f = *state;
	char hex[HEX_LEN(ID_BYTES) + 1];
	uint8_t id[ID_BYTES];

	fake_chat_begin(f, 2);
	hex_encode(bytes_of(f->id, ID_BYTES), hex);
	assert_int_equal(conversation_find(f->users[1].people, hex, id, &f->err), 0);
	assert_memory_equal(id, f->id, ID_BYTES);
	assert_int_equal(conversation_find(f->users[1].people, "plans", id, &f->err), 0);
	hex[8] = 0;
	assert_int_equal(conversation_find(f->users[1].people, hex, id, &f->err), 0);
	assert_memory_equal(id, f->id, ID_BYTES);
	hex[5] = 0;
	assert_int_equal(conversation_find(f->users[1].people, hex, id, &f->err), KLUIS_ENOTFOUND);
	assert_int_equal(
		conversation_find(f->users[1].people, "other", id, &f->err), KLUIS_ENOTFOUND);
}

static void test_content(void **state)
{
	struct chat_content content;
	static const char *const other[] = {"{", "[]", "{\"kind\":1}", "{\"kind\":\"edit\"}",
		"{\"kind\":\"edit\",\"of\":\"00\",\"text\":\"x\"}", "{\"kind\":\"title\"}",
		"{\"kind\":\"title\",\"title\":\"\"}", "{\"kind\":\"new\"}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
		chat_content_parse(CHAT_JSON, bytes_str(other[i]), &content);
		assert_int_equal(content.kind, CHAT_KIND_OTHER);
		assert_null(content.text);
		chat_content_release(&content);
	}
	chat_content_parse(CHAT_TEXT, bytes_str("\xff"), &content);
	assert_int_equal(content.kind, CHAT_KIND_OTHER);
	chat_content_release(&content);
	chat_content_parse(CHAT_JSON, bytes_str("{\"kind\":\"title\",\"title\":\"a\"}"), &content);
	assert_int_equal(content.kind, CHAT_KIND_TITLE);
	assert_string_equal(content.text, "a");
	chat_content_release(&content);
}

#define CHAT_TEST(fn) cmocka_unit_test_setup_teardown(fn, fake_chat_setup, fake_chat_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		CHAT_TEST(test_three_talk),
		CHAT_TEST(test_packets_are_acknowledged),
		CHAT_TEST(test_lost_answer),
		CHAT_TEST(test_no_site_reached),
		CHAT_TEST(test_lost_answer_is_read_back),
		CHAT_TEST(test_member_added),
		CHAT_TEST(test_member_removed),
		CHAT_TEST(test_left),
		CHAT_TEST(test_epoch_race),
		CHAT_TEST(test_pending_over_an_epoch),
		CHAT_TEST(test_away_for_many_epochs),
		CHAT_TEST(test_writes_before_reading),
		CHAT_TEST(test_reader_fails),
		CHAT_TEST(test_state_cannot_be_stored),
		CHAT_TEST(test_old_copy),
		CHAT_TEST(test_dropped),
		CHAT_TEST(test_withheld),
		CHAT_TEST(test_swapped),
		CHAT_TEST(test_replayed),
		CHAT_TEST(test_changed),
		CHAT_TEST(test_no_packet),
		CHAT_TEST(test_members_rolled_back),
		CHAT_TEST(test_rolled_back),
		CHAT_TEST(test_own_is_gone),
		CHAT_TEST(test_beginning_withheld),
		CHAT_TEST(test_invitation_invented),
		CHAT_TEST(test_members_change_meanwhile),
		CHAT_TEST(test_edits),
		CHAT_TEST(test_find),
		cmocka_unit_test(test_content),
	};

	return cmocka_run_group_tests(tests, fake_chat_accounts, fake_chat_accounts_free);
}
