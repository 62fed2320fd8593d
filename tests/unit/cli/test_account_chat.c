/* The history of conversations and the files sent in them, against the API of a real node: what one
 * device read another one reads later, and what a member made of it is seen. */
#include "tests/lib/account_rig/account_talk.h"

#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/client/kluis_chat.h"
#include "cli/client/kluis_impl.h"
#include "cli/client/share.h"

/* What alice's first device read her second one reads, and goes on from there; also what the node
 * has dropped. */
static void test_new_device(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES];

	begin_with(f, true, id);
	say(f, &f->first, id, "one");
	say(f, &bob, id, "two");
	expect(f, &bob, id, "1:plans 2:one 3:two ");
	expect(f, &f->first, id, "1:plans 2:one 3:two ");
	need_second(f);
	expect(f, &f->second, id, "1:plans 2:one 3:two ");
	expect(f, &f->second, id, "");
	say(f, &bob, id, "three");
	say(f, &f->second, id, "four");
	expect(f, &f->second, id, "4:three 5:four ");
	expect(f, &f->first, id, "4:three 5:four ");
	expect(f, &bob, id, "4:three 5:four ");
	/* Again, for who asks. */
	expect_last(f, &f->second, id, 3, "3:two 4:three 5:four ");
	expect_last(f, &f->first, id, 100, "1:plans 2:one 3:two 4:three 5:four ");
}

static void test_switched_off(void **state)
{
	struct fixture *f = *state;
	struct conversation_archived archived;
	uint8_t id[ID_BYTES];
	struct run r;

	begin_with(f, false, id);
	say(f, &f->first, id, "one");
	expect(f, &bob, id, "1:plans 2:one ");
	expect(f, &f->first, id, "1:plans 2:one ");
	expect_last(f, &f->first, id, 10, "");
	r = run_open(f, &bob, id);
	MUST(f, conversation_archived(r.c, &archived, &f->err));
	assert_true(archived.there);
	assert_false(archived.history);
	assert_int_equal(archived.segments, 0);
	assert_int_equal(r.c->backlog.n, 0);
	assert_int_equal(conversation_archive_switch(r.c, true, &f->err), KLUIS_EFORBIDDEN);
	run_close(&r);
	/* From here on. */
	r = run_open(f, &f->first, id);
	MUST(f, conversation_archive_switch(r.c, true, &f->err));
	run_close(&r);
	say(f, &f->first, id, "two");
	expect(f, &f->first, id, "3:two ");
	expect_last(f, &f->first, id, 10, "3:two ");
}

/* Bob makes the vault before alice does, and shares it with her: it is not the conversation's. */
static void test_vault_by_another(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES], vault_id[ID_BYTES], hash[HASH_BYTES];
	struct run r = {.people = people_new(f->first.profile, f->first.client)};
	struct vault *vault;
	struct share_user users[2] = {{.role = MEMBER_ADMIN}, {.role = MEMBER_WRITE}};
	uint8_t ids[1][ID_BYTES];

	user_id(f, &f->first, "bob", ids[0]);
	memcpy(users[0].id, ids[0], ID_BYTES);
	user_id(f, &f->first, "alice", users[1].id);
	MUST(f, conversation_create(
			r.people, "plans", (const uint8_t(*)[ID_BYTES])ids, 1, &r.c, &f->err));
	memcpy(id, r.c->id, ID_BYTES);
	HASH_TH(hash, "kluis/v1/chat-vault", bytes_of(id, ID_BYTES),
		bytes_of(r.c->members->steps[0].hash, HASH_BYTES));
	memcpy(vault_id, hash, ID_BYTES);
	run_close(&r);
	MUST(f, vault_create_as(bob.profile, bob.client, "trap", vault_id, &f->err));
	MUST(f, vault_open_id(bob.profile, bob.client, vault_id, &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	MUST(f, share_move_users(vault, users, 2, NULL, NULL, &f->err));
	vault_close(vault);
	r = run_open(f, &f->first, id);
	assert_int_equal(conversation_archive_switch(r.c, true, &f->err), KLUIS_EVERIFY);
	assert_non_null(strstr(f->err.text, "did not begin"));
	assert_null(r.c->archive);
	run_close(&r);
	/* Nor is the invitation to it taken. */
	assert_int_equal(
		vault_open_id(f->first.profile, f->first.client, vault_id, &vault, &f->err),
		KLUIS_EFORBIDDEN);
}

/* The three see the same; the third came later, and reads what was before. */
static void test_member_added_and_removed(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES], carol_id[ID_BYTES];
	struct conversation *c;
	struct people *people;
	struct run r;

	begin_with(f, true, id);
	say(f, &bob, id, "one");
	expect(f, &bob, id, "1:plans 2:one ");
	user_id(f, &f->first, "carol", carol_id);
	r = run_open(f, &f->first, id);
	MUST(f, conversation_add(r.c, carol_id, &f->err));
	assert_int_equal(r.c->archive_trouble.code, 0);
	assert_non_null(members_find(&r.c->archive->vault->membership->members, carol_id));
	run_close(&r);
	r = run_open(f, &carol, id);
	MUST(f, conversation_accept(r.c, &f->err));
	run_close(&r);
	say(f, &f->first, id, "two");
	expect(f, &carol, id, "1:plans 2:one 3:two ");
	r = run_open(f, &f->first, id);
	MUST(f, conversation_remove(r.c, carol_id, &f->err));
	assert_null(members_find(&r.c->archive->vault->membership->members, carol_id));
	assert_int_equal(r.c->archive->vault->membership->members.epoch, 2);
	run_close(&r);
	say(f, &f->first, id, "three");
	expect(f, &f->first, id, "1:plans 2:one 3:two 4:three ");
	people = people_new(carol.profile, carol.client);
	assert_int_equal(conversation_open(people, id, &c, &f->err), KLUIS_EFORBIDDEN);
	people_free(people);
	expect(f, &bob, id, "3:two 4:three ");
	/* Asked in once more she has all of it, also what was said meanwhile. */
	add_carol(f, id);
	say(f, &f->first, id, "four");
	expect(f, &carol, id, "4:three 5:four ");
	expect_last(f, &carol, id, 3, "3:two 4:three 5:four ");
}

static void assert_archive_role(
	struct fixture *f, struct device *d, const uint8_t *id, unsigned role)
{
	struct run r = run_open(f, d, id);

	MUST(f, conversation_archive_open(r.c, &f->err));
	assert_non_null(r.c->archive);
	assert_int_equal(vault_role(r.c->archive->vault), role);
	run_close(&r);
}

/* The last one in it is not told to hand it over. */
static void test_last_in_it(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES], bob_id[ID_BYTES];
	struct run r;

	begin_with(f, false, id);
	user_id(f, &f->first, "bob", bob_id);
	r = run_open(f, &f->first, id);
	MUST(f, conversation_remove(r.c, bob_id, &f->err));
	assert_int_equal(conversation_leave(r.c, &f->err), KLUIS_EFORBIDDEN);
	assert_non_null(strstr(f->err.text, "the only one left"));
	f->err = (struct err){0};
	run_close(&r);
}

/* Who takes over a conversation manages its history, and who began it can leave both. */
static void test_handed_over(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES], ids[2][ID_BYTES], alice_id[ID_BYTES];
	struct run r;

	begin_with(f, true, id);
	user_id(f, &f->first, "alice", alice_id);
	say(f, &f->first, id, "one");
	user_id(f, &f->first, "bob", ids[0]);
	user_id(f, &f->first, "carol", ids[1]);
	r = run_open(f, &f->first, id);
	assert_int_equal(conversation_leave(r.c, &f->err), KLUIS_EFORBIDDEN);
	assert_non_null(strstr(f->err.text, "no admin who has accepted would remain"));
	assert_non_null(strstr(f->err.text, "hand it over first ('kluis chat transfer')"));
	/* Bob has not taken the invitation to its vault: alice manages that until he has. */
	MUST(f, conversation_transfer(r.c, ids[0], MEMBER_READ, &f->err));
	assert_string_equal(r.c->archive_trouble.text, "");
	run_close(&r);
	assert_archive_role(f, &f->first, id, MEMBER_ADMIN);
	expect(f, &bob, id, "1:plans 2:one ");
	assert_archive_role(f, &bob, id, MEMBER_ADMIN);
	assert_archive_role(f, &f->first, id, MEMBER_READ);
	/* She archives nothing, and decides about it no more. */
	r = run_open(f, &f->first, id);
	assert_int_equal(conversation_archive_switch(r.c, false, &f->err), KLUIS_EFORBIDDEN);
	run_close(&r);
	say(f, &bob, id, "two");
	expect(f, &f->first, id, "1:plans 2:one 3:two ");
	r = run_open(f, &f->first, id);
	assert_int_equal(r.c->backlog.n, 0);
	MUST(f, conversation_leave(r.c, &f->err));
	run_close(&r);
	/* Carol comes, and reads what was before. */
	r = run_open(f, &bob, id);
	MUST(f, conversation_add(r.c, ids[1], &f->err));
	assert_int_equal(r.c->archive_trouble.code, 0);
	/* Alice has left, and nobody signed that yet. */
	assert_int_equal(r.c->archive->vault->membership->members.count, 3);
	MUST(f, conversation_remove(r.c, alice_id, &f->err));
	assert_int_equal(r.c->archive->vault->membership->members.count, 2);
	run_close(&r);
	r = run_open(f, &carol, id);
	MUST(f, conversation_accept(r.c, &f->err));
	run_close(&r);
	expect_last(f, &bob, id, 1, "3:two ");
	expect(f, &carol, id, "1:plans 2:one 3:two ");
}

/* Bob is told that carol is out of the conversation, and she is in its vault still: he waits. */
static void test_nobody_archives_for_a_removed_member(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES], carol_id[ID_BYTES];
	struct conversation_archived archived;
	struct run r;

	begin_with(f, true, id);
	user_id(f, &f->first, "carol", carol_id);
	r = run_open(f, &f->first, id);
	MUST(f, conversation_add(r.c, carol_id, &f->err));
	lie = (struct lie){.target = "/v1/vaults/", .kind = LIE_REFUSE, .rc = KLUIS_ECONNECT};
	MUST(f, conversation_remove(r.c, carol_id, &f->err));
	lie_end();
	assert_int_not_equal(r.c->archive_trouble.code, 0);
	run_close(&r);
	say(f, &bob, id, "not for carol");
	expect(f, &bob, id, "1:plans 2:not for carol ");
	r = run_open(f, &bob, id);
	MUST(f, conversation_archived(r.c, &archived, &f->err));
	assert_int_equal(archived.segments, 0);
	assert_int_equal(r.c->backlog.n, 2);
	run_close(&r);
	/* Alice's next run puts it right, and his next archives. */
	expect(f, &f->first, id, "1:plans 2:not for carol ");
	expect(f, &bob, id, "");
	r = run_open(f, &bob, id);
	MUST(f, conversation_archived(r.c, &archived, &f->err));
	assert_int_equal(r.c->backlog.n, 0);
	assert_int_equal(archived.last, 2);
	assert_int_equal(r.c->archive->vault->membership->members.count, 2);
	run_close(&r);
}

/* Two archive the same: the second finds it there. */
static void test_two_archive_the_same(void **state)
{
	struct fixture *f = *state;
	struct conversation_archived archived;
	struct run a, b;
	struct seen seen = {.problems = 0};
	const struct conversation_read reader = {.each = seen_cb, .arg = &seen, .lazy = true};
	uint8_t id[ID_BYTES];
	size_t n;

	begin_with(f, true, id);
	say(f, &f->first, id, "one");
	say(f, &bob, id, "two");
	a = run_open(f, &f->first, id);
	b = run_open(f, &bob, id);
	MUST(f, conversation_read(a.c, &reader, &n, &f->err));
	MUST(f, conversation_read(b.c, &reader, &n, &f->err));
	assert_int_equal(n, 3);
	/* Kept until then, also when the run ends. */
	assert_int_equal(a.c->backlog.n, 3);
	run_close(&a);
	a = run_open(f, &f->first, id);
	assert_int_equal(a.c->backlog.n, 3);
	MUST(f, conversation_archived(a.c, &archived, &f->err));
	MUST(f, conversation_archive_flush(b.c, false, &f->err));
	MUST(f, conversation_archive_flush(a.c, false, &f->err));
	assert_int_equal(a.c->archive_trouble.code + b.c->archive_trouble.code, 0);
	assert_int_equal(a.c->backlog.n + b.c->backlog.n, 0);
	assert_int_equal(a.c->archive->vault->head.seq, b.c->archive->vault->head.seq);
	run_close(&a);
	run_close(&b);
	buf_release(&seen.lines);
	need_second(f);
	expect(f, &f->second, id, "1:plans 2:one 3:two ");
}

/* A file comes whole and as its message says, or not at all. */
static void test_file(void **state)
{
	struct fixture *f = *state;
	_cleanup_(x_freep) char *source = x_asprintf("%s/source", f->dir);
	_cleanup_(x_freep) char *copy = x_asprintf("%s/copy", f->dir);
	_cleanup_(buf_release) struct buf content = BUF_INIT, back = BUF_INIT;
	struct seen seen = {.problems = 0};
	struct err trouble;
	uint8_t id[ID_BYTES];
	uint64_t seq;
	struct run r;

	memset(buf_extend(&content, 600000), 'x', 600000);
	MUST(f, file_write(source, buf_bytes(&content), 0600, &f->err));
	begin_with(f, true, id);
	r = run_open(f, &bob, id);
	MUST(f, conversation_attach(r.c, source, &seq, &f->err));
	MUST(f, conversation_attach(r.c, source, &seq, &f->err)); /* It lies there once. */
	assert_int_equal(seq, 3);
	run_close(&r);
	MUST(f, read_run(f, &f->first, id, 0, &seen, &trouble));
	assert_int_equal(trouble.code, 0);
	assert_string_equal(buf_str(&seen.lines), "1:plans 2:source 3:source ");
	assert_int_equal(seen.file.size, 600000);
	r = run_open(f, &f->first, id);
	MUST(f, conversation_fetch(r.c, &seen.file, copy, &f->err));
	MUST(f, file_read(copy, 1 << 20, &back, &f->err));
	assert_true(bytes_equal(buf_bytes(&back), buf_bytes(&content)));
	assert_int_equal(unlink(copy), 0);
	/* A message that names other content under a hash that the vault has. */
	seen.file.size++;
	assert_int_equal(conversation_fetch(r.c, &seen.file, copy, &f->err), KLUIS_EVERIFY);
	seen.file.size--;
	seen.file.sha256[0] ^= 1;
	assert_int_equal(conversation_fetch(r.c, &seen.file, copy, &f->err), KLUIS_ENOTFOUND);
	assert_false(file_exists(copy));
	run_close(&r);
	conversation_file_release(&seen.file);
	buf_release(&seen.lines);
}

/* An invitation that was not taken opens nothing, and breaks nothing. */
static void test_vault_of_an_invitation(void **state)
{
	struct fixture *f = *state;
	struct vault *vault;
	uint8_t id[ID_BYTES];
	struct run r;

	begin_with(f, true, id);
	r = run_open(f, &f->first, id);
	MUST(f, account_refresh(bob.profile, bob.client, &f->err));
	assert_int_equal(
		vault_open_id(bob.profile, bob.client, r.c->state.vault_id, &vault, &f->err),
		KLUIS_EFORBIDDEN);
	run_close(&r);
}

struct public_seen {
	char lines[200], payload[400];
	size_t len;
};

static int public_cb(void *arg, const struct kluis_chat_message *message)
{
	struct public_seen *seen = arg;
	size_t at = strlen(seen->lines);

	assert_int_equal(message->problem_code, 0);
	assert_true(message->payload_len < sizeof seen->payload);
	(void)snprintf(seen->lines + at, sizeof seen->lines - at, "%s ", message->kind);
	memcpy(seen->payload, message->payload, message->payload_len);
	seen->len = message->payload_len;
	return 0;
}

/* The same by the public calls. */
static void test_public_calls(void **state)
{
	static const char *const users[] = {"bob"};
	struct fixture *f = *state;
	struct kluis alice = {.profile = f->first.profile, .client = f->first.client};
	struct kluis other = {.profile = f->second.profile, .client = f->second.client};
	_cleanup_(x_freep) char *copy = x_asprintf("%s/saved", f->dir);
	_cleanup_(x_freep) char *source = x_asprintf("%s/sent", f->dir);
	_cleanup_(buf_release) struct buf back = BUF_INIT;
	struct public_seen seen = {.lines = ""};
	struct kluis_failure failure = {0};
	char id[33];
	uint64_t seq = 0;

	MUST(f, file_write(source, bytes_str("content"), 0600, &f->err));
	assert_int_equal(kluis_chat_new(&alice, "public", users, 1, id, &failure), 0);
	assert_int_equal(kluis_chat_attach(&alice, id, source, &seq, &failure), 0);
	assert_int_equal(seq, 2);
	assert_int_equal(kluis_chat_read(&alice, id, 0, public_cb, &seen, &failure), 0);
	assert_string_equal(seen.lines, "title file ");
	seen.lines[0] = 0;
	assert_int_equal(kluis_chat_read_last(&alice, id, 1, public_cb, &seen, &failure), 0);
	assert_string_equal(seen.lines, "file ");
	seen.lines[0] = 0;
	assert_int_equal(kluis_chat_read_last(&other, id, 1, public_cb, &seen, &failure), 0);
	assert_string_equal(seen.lines, "file ");
	assert_int_equal(kluis_chat_save(&other, id, seen.payload, seen.len, copy, &failure), 0);
	MUST(f, file_read(copy, 100, &back, &f->err));
	assert_true(bytes_equal(buf_bytes(&back), bytes_str("content")));
	assert_int_equal(kluis_chat_history(&alice, id, 0, &failure), 0);
	assert_int_equal(kluis_chat_read_last(&alice, id, 1, public_cb, &seen, &failure), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_device),
		cmocka_unit_test(test_switched_off),
		cmocka_unit_test(test_vault_by_another),
		cmocka_unit_test(test_member_added_and_removed),
		cmocka_unit_test(test_last_in_it),
		cmocka_unit_test(test_handed_over),
		cmocka_unit_test(test_nobody_archives_for_a_removed_member),
		cmocka_unit_test(test_two_archive_the_same),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_vault_of_an_invitation),
		cmocka_unit_test(test_public_calls),
	};

	return three_main(argc, argv, tests, ARRAY_SIZE(tests));
}
