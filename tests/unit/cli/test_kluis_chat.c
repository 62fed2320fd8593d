/* Every call of kluis_chat.h, by two accounts. */
#include "tests/lib/cli_fixture/fake_chat.h"

#include <stdio.h>
#include <string.h>

#include "cli/client/kluis_chat.h"
#include "cli/client/kluis_impl.h"

int __wrap_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e);
int __wrap_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e)
{
	return fake_chat_call(client, request, answer, e);
}

struct handles {
	struct fake_chat *f;
	struct kluis *k[2];
	struct kluis_failure failure;
	struct buf seen;
	int worst;
};

#define DONE(h, call)                                      \
	do {                                               \
		if ((call) != 0) {                         \
			fail_msg("%s", (h)->failure.text); \
		}                                          \
	} while (0)

/* The library opens the profiles itself. */
static int setup(void **state)
{
	struct handles *h = x_calloc(1, sizeof *h);

	if (fake_chat_setup((void **)&h->f) != 0) {
		return -1;
	}
	for (size_t i = 0; i < 2; i++) {
		struct fake_user *u = &h->f->users[i];

		people_free(u->people);
		client_free(u->client);
		profile_close(u->profile);
		DONE(h, kluis_open(u->dir, NULL, 0, &h->k[i], &h->failure));
		u->people = NULL;
		u->profile = h->k[i]->profile;
		u->client = h->k[i]->client;
	}
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct handles *h = *state;
	void *f = h->f;

	for (size_t i = 0; i < 2; i++) {
		struct fake_user *u = &h->f->users[i];

		kluis_close(h->k[i]);
		u->profile = NULL;
		u->client = NULL;
	}
	buf_release(&h->seen);
	free(h);
	return fake_chat_teardown(&f);
}

static int message_cb(void *arg, const struct kluis_chat_message *m)
{
	struct handles *h = arg;

	buf_printf(&h->seen, "%llu %s %s %s %llu%s\n", (unsigned long long)m->seq, m->user, m->kind,
		m->text == NULL ? "-" : m->text, (unsigned long long)m->of_seq,
		m->mine ? " mine" : "");
	h->worst = m->problem_code != 0 ? m->problem_code : h->worst;
	assert_true((m->problem == NULL) == (m->problem_code == 0));
	return 0;
}

static int refuse_cb(void *arg, const struct kluis_chat_message *m)
{
	(void)arg;
	(void)m;
	return 1;
}

static void list_cb(void *arg, const struct kluis_chat *chat)
{
	struct handles *h = arg;

	buf_printf(&h->seen, "%s %s %s %llu %d\n", chat->title, chat->state, chat->role,
		(unsigned long long)chat->unread, chat->unsent);
}

static void member_cb(void *arg, const struct kluis_chat_member *member)
{
	struct handles *h = arg;

	h->worst++;
	assert_int_equal(member->verified, strcmp(member->user, "alice") == 0); /* Oneself. */
	buf_printf(&h->seen, "%s:%s ", member->user, member->role);
}

static void expect(struct handles *h, const char *text)
{
	assert_string_equal(h->seen.len == 0 ? "" : buf_str(&h->seen), text);
	buf_clear(&h->seen);
}

static void test_chat(void **state)
{
	static const char *const users[] = {"bob"};
	struct handles *h = *state;
	struct kluis *alice = h->k[0], *bob = h->k[1];
	char id[33];
	uint64_t seq = 0;
	int news = 0;

	assert_int_equal(
		kluis_chat_new(alice, "two\nlines", users, 1, id, &h->failure), KLUIS_BAD_INPUT);
	DONE(h, kluis_chat_new(alice, "plans", users, 1, id, &h->failure));
	DONE(h, kluis_chat_list(bob, list_cb, h, &h->failure));
	expect(h, " invited write 1 0\n");
	DONE(h, kluis_chat_accept(bob, id, &h->failure));
	DONE(h, kluis_chat_wait(bob, id, 0, &news, &h->failure));
	/* Service accounts have no vault for it. */
	assert_int_equal(kluis_chat_history(alice, id, 1, &h->failure), KLUIS_FORBIDDEN);
	assert_int_equal(
		kluis_chat_attach(alice, id, "/dev/null", &seq, &h->failure), KLUIS_NOT_FOUND);
	assert_int_equal(
		kluis_chat_save(alice, id, "{}", 2, "/dev/null", &h->failure), KLUIS_BAD_INPUT);
	assert_int_equal(news, 1);
	DONE(h, kluis_chat_read_last(bob, id, 1, message_cb, h, &h->failure));
	expect(h, "1 alice title plans 0\n");
	DONE(h, kluis_chat_wait(bob, "plans", 0, &news, &h->failure));
	assert_int_equal(news, 0);
	DONE(h, kluis_chat_send(alice, "plans", "at noon", &seq, &h->failure));
	assert_int_equal(seq, 2);
	assert_int_equal(
		kluis_chat_send(alice, "plans", "\xff", &seq, &h->failure), KLUIS_BAD_INPUT);
	DONE(h, kluis_chat_send_data(bob, "plans", 17, "\0\1", 2, &seq, &h->failure));
	DONE(h, kluis_chat_read(alice, "plans", 1, message_cb, h, &h->failure));
	expect(h, "1 alice title plans 0 mine\n2 alice text at noon 0 mine\n3 bob other - 0\n");
	assert_int_equal(h->f->delivered[0], 3);
	assert_int_equal(h->f->read[0], 0);
	DONE(h, kluis_chat_edit(alice, "plans", 2, "at one", &h->failure));
	assert_int_equal(kluis_chat_edit(alice, "plans", 3, "mine", &h->failure), KLUIS_FORBIDDEN);
	DONE(h, kluis_chat_delete(alice, "plans", 2, &h->failure));
	assert_int_equal(kluis_chat_delete(alice, "plans", 9, &h->failure), KLUIS_NOT_FOUND);
	DONE(h, kluis_chat_set_title(alice, "plans", "lunch", &h->failure));
	assert_int_equal(
		kluis_chat_read(bob, "plans", 0, refuse_cb, NULL, &h->failure), KLUIS_FAILED);
	DONE(h, kluis_chat_read(bob, "plans", 0, message_cb, h, &h->failure));
	expect(h, "2 alice text at noon 0\n3 bob other - 0 mine\n4 alice edit at one 2\n"
		  "5 alice delete - 2\n6 alice title lunch 0\n");
	assert_int_equal(h->worst, 0);
}

static void test_members(void **state)
{
	static const char *const users[] = {"bob"}, *const nobody[] = {"dave"};
	struct handles *h = *state;
	char id[33];

	assert_int_equal(kluis_chat_new(h->k[0], "x", nobody, 1, id, &h->failure), KLUIS_NOT_FOUND);
	DONE(h, kluis_chat_new(h->k[0], "x", users, 1, id, &h->failure));
	DONE(h, kluis_chat_add(h->k[0], id, "carol", &h->failure));
	DONE(h, kluis_chat_members(h->k[0], id, member_cb, h, &h->failure));
	assert_int_equal(h->worst, 3);
	assert_non_null(strstr(buf_str(&h->seen), "alice:admin "));
	assert_non_null(strstr(buf_str(&h->seen), "carol:write "));
	buf_clear(&h->seen);
	DONE(h, kluis_chat_remove(h->k[0], id, "carol", &h->failure));
	assert_int_equal(kluis_chat_remove(h->k[0], id, "carol", &h->failure), KLUIS_NOT_FOUND);
	DONE(h, kluis_chat_leave(h->k[1], id, &h->failure));
	DONE(h, kluis_chat_list(h->k[1], list_cb, h, &h->failure));
	expect(h, "");
}

static void document_cb(void *arg, const struct kluis_document *d)
{
	struct handles *h = arg;

	buf_printf(&h->seen, "%s %s %s\n", d->sender_class, d->content, d->id);
}

static int take_cb(void *arg, const void *data, size_t len)
{
	struct handles *h = arg;

	buf_append(&h->seen, data, len);
	return 0;
}

static void test_inbox(void **state)
{
	struct handles *h = *state;
	_cleanup_(x_freep) char *path = x_asprintf("%s/bob.delivery", h->f->dir);
	char id[33];

	DONE(h, kluis_inbox_leave(h->k[0], "bob", "a text", 6, &h->failure));
	DONE(h, kluis_inbox_list(h->k[1], document_cb, h, &h->failure));
	assert_int_equal(sscanf(buf_str(&h->seen), "provider text %32s", id), 1);
	buf_clear(&h->seen);
	DONE(h, kluis_inbox_read(h->k[1], id, take_cb, h, &h->failure));
	expect(h, "a text");
	assert_int_equal(kluis_inbox_read(h->k[1], "x", take_cb, h, &h->failure), KLUIS_BAD_INPUT);
	assert_int_equal(kluis_inbox_read(h->k[0], id, take_cb, h, &h->failure), KLUIS_NOT_FOUND);
	DONE(h, kluis_inbox_delete(h->k[1], id, &h->failure));
	DONE(h, kluis_inbox_token(h->k[1], "mail", 1, 10, path, &h->failure));
	DONE(h, kluis_deliver(path, 1, "From: x\n\n", 9, &h->failure));
	DONE(h, kluis_inbox_list(h->k[1], document_cb, h, &h->failure));
	assert_int_equal(sscanf(buf_str(&h->seen), "provider mime %32s", id), 1);
	buf_clear(&h->seen);
	DONE(h, kluis_inbox_read(h->k[1], id, take_cb, h, &h->failure));
	expect(h, "From: x\n\n");
}

#define LIBRARY_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		LIBRARY_TEST(test_chat),
		LIBRARY_TEST(test_members),
		LIBRARY_TEST(test_inbox),
	};

	return cmocka_run_group_tests(tests, fake_chat_accounts, fake_chat_accounts_free);
}
