/* Conversations that go on: past an epoch's limits, a full box, a site that dies meanwhile, a
 * restore. */
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

/* By the numbers that the cluster gives: most are of others, of whom nothing is read here. */
static void test_epoch_after_many_messages(void **state)
{
	struct fake_chat *f = *state;

	fake_chat_begin(f, 2);
	assert_int_equal(fake_chat_send(f, 0, "second"), 0);
	f->unseen = CHAT_EPOCH_MESSAGES_MAX - 4;
	assert_int_equal(fake_chat_send(f, 0, "last but one"), 0);
	assert_int_equal(fake_chat_send(f, 0, "last"), 0);
	assert_int_equal(f->messages[f->n_messages - 1].seq, CHAT_EPOCH_MESSAGES_MAX);
	assert_int_equal(f->epoch, 1);
	assert_int_equal(fake_chat_send(f, 0, "in the second"), 0);
	assert_int_equal(f->epoch, 2);
	/* Of which nothing at all is read. */
	f->unseen = CHAT_EPOCH_MESSAGES_MAX - 2;
	assert_int_equal(fake_chat_send(f, 0, "last"), 0);
	assert_int_equal(f->epoch, 2);
	assert_int_equal(fake_chat_send(f, 0, "in the third"), 0);
	assert_int_equal(f->epoch, 3);
}

static void test_epoch_after_a_week(void **state)
{
	struct fake_chat *f = *state;
	struct conversation *c;
	uint64_t seq;

	fake_chat_begin(f, 2);
	c = fake_chat_open(f, 0);
	c->state.epochs[0].made_ms -= CHAT_EPOCH_MS + 1;
	assert_int_equal(conversation_send(c, CHAT_TEXT, bytes_str("a week on"), &seq, &f->err), 0);
	assert_int_equal(f->epoch, 2);
	assert_int_equal(conversation_send(c, CHAT_TEXT, bytes_str("and on"), &seq, &f->err), 0);
	assert_int_equal(f->epoch, 2);
	conversation_close(c);
	fake_chat_expect(f, 1, "a week on\nand on\n");
}

/* One device that reads nothing stops all: who it is is said, as the cluster says it. */
static void test_too_many_wait(void **state)
{
	struct fake_chat *f = *state;

	fake_chat_begin(f, 3);
	assert_int_equal(fake_chat_send(f, 0, "one"), 0);
	fake_chat_expect(f, 0, "one\n");
	fake_chat_expect(f, 2, "one\n");
	f->full = true;
	assert_int_equal(fake_chat_send(f, 0, "two"), KLUIS_EQUOTA);
	assert_non_null(strstr(f->err.text, "a device of 'bob' has fetched none behind message 1"));
	f->fail = "/receipts";
	assert_int_equal(fake_chat_send(f, 0, "three"), KLUIS_EQUOTA);
	f->full = false;
	f->fail = NULL;
	assert_int_equal(fake_chat_send(f, 0, "three"), 0);
	fake_chat_expect(f, 1, "one\ntwo\nthree\n");
}

static int full_cb(void *arg, const struct conversation_item *item, struct err *e)
{
	size_t *left = arg;

	(void)item;
	return (*left)-- == 0 ? err_set(e, KLUIS_ENOSPACE, "the disk is full") : 0;
}

static int note_cb(void *arg, const struct conversation_item *item, struct err *e)
{
	(void)e;
	buf_printf(arg, "%s\n", item->content.text);
	return 0;
}

/* A site dies in the middle of an answer: who goes on by itself hands out nothing twice. */
static void test_cut_in_the_middle(void **state)
{
	struct fake_chat *f = *state;
	struct buf seen = BUF_INIT;
	const struct conversation_read reader = {.each = note_cb, .arg = &seen, .keep = true};
	struct conversation *c;
	size_t n;

	fake_chat_begin(f, 2);
	assert_int_equal(fake_chat_send(f, 0, "one"), 0);
	f->stale = true;
	assert_int_equal(fake_chat_send(f, 0, "two"), 0);
	fake_chat_reopen(f, 1);
	c = fake_chat_open(f, 1);
	f->fail = "/v1/packets";
	assert_int_equal(conversation_read(c, &reader, &n, &f->err), KLUIS_ECONNECT);
	assert_string_equal(buf_str(&seen), "one\n");
	conversation_close(c);
	f->fail = NULL;
	c = fake_chat_open(f, 1);
	assert_int_equal(conversation_read(c, &reader, &n, &f->err), 0);
	assert_string_equal(buf_str(&seen), "one\ntwo\n");
	conversation_close(c);
	buf_release(&seen);
}

/* ... and one that it could not take it hands out again. */
static void test_cut_by_the_reader(void **state)
{
	struct fake_chat *f = *state;
	size_t left = 1, n = 0;
	const struct conversation_read reader = {.each = full_cb, .arg = &left, .keep = true};
	struct conversation *c;

	fake_chat_begin(f, 2);
	assert_int_equal(fake_chat_send(f, 0, "one"), 0);
	assert_int_equal(fake_chat_send(f, 0, "two"), 0);
	c = fake_chat_open(f, 1);
	assert_int_equal(conversation_read(c, &reader, &n, &f->err), KLUIS_ENOSPACE);
	conversation_close(c);
	fake_chat_expect(f, 1, "one\ntwo\n");
}

static void set_third(struct fake_chat *f, bool in)
{
	struct conversation *c = fake_chat_open(f, 0);

	assert_int_equal(in ? conversation_add(c, fake_chat_user_id(f, 2), &f->err)
			    : conversation_remove(c, fake_chat_user_id(f, 2), &f->err),
		0);
	conversation_close(c);
}

/* Restored to before a member came: all goes on from there, also who the members are, and those who
 * had seen her take part. */
static void test_restored_before_a_member(void **state)
{
	struct fake_chat *f = *state;
	struct conversation *c;

	fake_chat_begin(f, 2);
	set_third(f, true);
	assert_int_equal(fake_chat_send(f, 0, "with carol"), 0);
	fake_chat_expect(f, 1, "with carol\n");
	fake_chat_expect(f, 2, "-\nwith carol\n");
	fake_chat_restore(f, 2, 1, 1);
	assert_int_equal(
		conversation_open(f->users[2].people, f->id, &c, &f->err), KLUIS_EFORBIDDEN);
	fake_chat_expect(f, 1, "");
	assert_int_equal(fake_chat_send(f, 1, "where is carol"), 0);
	assert_int_equal(f->epoch, 3); /* The second was used. */
	fake_chat_expect(f, 0, "where is carol\n");
	assert_int_equal(fake_chat_send(f, 0, "lost"), 0);
	fake_chat_expect(f, 1, "where is carol\nlost\n");
	set_third(f, true);
	assert_int_equal(f->n_statements, 3);
	set_third(f, false);
	assert_int_equal(fake_chat_send(f, 0, "let her"), 0);
	fake_chat_expect(f, 1, "let her\n");
	fake_chat_reopen(f, 1);
	c = fake_chat_open(f, 1);
	assert_int_equal(conversation_leave(c, &f->err), 0);
	conversation_close(c);
}

/* Another change in place of one that was lost: whoever saw that one goes on with the others, and
 * is told of the message that came in place of the one she read. */
static void test_restored_and_changed(void **state)
{
	struct fake_chat *f = *state;
	struct fake_seen seen = {.n = 0};

	fake_chat_begin(f, 2);
	set_third(f, true);
	assert_int_equal(fake_chat_send(f, 0, "with carol"), 0);
	fake_chat_expect(f, 1, "with carol\n");
	fake_chat_restore(f, 2, 1, 1);
	set_third(f, true);
	set_third(f, false);
	assert_int_equal(fake_chat_send(f, 0, "in its place"), 0);
	assert_int_equal(fake_chat_send(f, 0, "without"), 0);
	assert_int_equal(fake_chat_read(f, 1, &seen), 0);
	assert_string_equal(buf_str(&seen.texts), "without\n");
	assert_int_equal(seen.problems, CHAT_ORDER);
	buf_release(&seen.texts);
	assert_int_equal(fake_chat_send(f, 1, "me too"), 0);
}

#define CHAT_TEST(fn) cmocka_unit_test_setup_teardown(fn, fake_chat_setup, fake_chat_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		CHAT_TEST(test_epoch_after_many_messages),
		CHAT_TEST(test_epoch_after_a_week),
		CHAT_TEST(test_too_many_wait),
		CHAT_TEST(test_cut_in_the_middle),
		CHAT_TEST(test_cut_by_the_reader),
		CHAT_TEST(test_restored_before_a_member),
		CHAT_TEST(test_restored_and_changed),
	};

	return cmocka_run_group_tests(tests, fake_chat_accounts, fake_chat_accounts_free);
}
