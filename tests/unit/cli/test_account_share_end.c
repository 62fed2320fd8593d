/* The end of a page that was given alone: by its notes, of which the giver has one, and whoever was
 * given it can leave her others. */
#include "tests/lib/account_rig/account_given.h"

#include <string.h>

#include "base/clock.h"
#include "cli/client/inbox.h"

/* One that is over, and that the inbox still has, keeps nothing open. */
static void test_twice_and_over(void **state)
{
	struct fixture *f = *state;
	struct given seen;
	uint8_t id[ID_BYTES];

	given_prepared(f, "over", "one");
	MUST(f, given_give(f, &f->first, "over", "bob", "/text", 0, id));
	given_look(f, &f->first, &seen);
	assert_int_equal(seen.n, 2);
	seen.files[0].note.expires_ms = clock_wall_ms(&clock_system) - 1;
	MUST(f, shared_file_end(seen.people, seen.files, seen.n, &seen.files[1], &f->err));
	given_look_end(&seen);
	assert_int_equal(given_grants(f, &bob), 0);
}

/* The recipient leaves the giver the note of the share that has ended: it keeps nothing open, and
 * hides nothing of what there is, left twice. */
static void test_ended_note_given_back(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(bob.profile, bob.client);
	uint8_t first[ID_BYTES], second[ID_BYTES], doc_id[ID_BYTES];
	const struct shared_file *ended, *going;
	const struct identity *alice;
	char hex[HEX_LEN(ID_BYTES) + 1];
	struct given seen;

	given_twice(f, "ended", first, second);
	given_look(f, &bob, &seen);
	hex_encode(bytes_of(first, ID_BYTES), hex);
	MUST(f, shared_file_find(seen.files, seen.n, hex, &ended, &f->err));
	hex_encode(bytes_of(second, ID_BYTES), hex);
	MUST(f, shared_file_find(seen.files, seen.n, hex, &going, &f->err));
	MUST(f, people_get(people, ended->note.sender_user, true, &alice, &f->err));
	given_end(f, &f->first, first);
	MUST(f, inbox_leave(people, alice, INBOX_SHARE, buf_bytes(&ended->bytes), doc_id, &f->err));
	for (unsigned i = 0; i < 4; i++) {
		MUST(f, inbox_leave(people, alice, INBOX_SHARE, buf_bytes(&going->bytes), doc_id,
				&f->err));
	}
	given_look_end(&seen);
	people_free(people);
	given_end(f, &f->first, second);
	assert_int_equal(given_grants(f, &bob), 0);
	given_look(f, &f->first, &seen);
	for (size_t i = 0; i < seen.n; i++) {
		assert_false(seen.files[i].left);
	}
	given_look_end(&seen);
	given_end(f, &f->first, second); /* One of those, whichever. */
}

/* What was given before the signing key was made anew ends as any other, and keeps open what it
 * gives as well. */
static void test_new_keys(void **state)
{
	struct fixture *f = *state;
	uint8_t first[ID_BYTES], second[ID_BYTES], doc_id[ID_BYTES];
	struct people *people = people_new(bob.profile, bob.client);
	struct account_terms terms = cheap();
	_cleanup_(buf_release) struct buf note = BUF_INIT;
	const struct identity *alice;
	unsigned left = 0;
	struct given seen;

	given_twice(f, "new keys", first, second);
	given_look(f, &bob, &seen);
	buf_append_bytes(&note, buf_bytes(&seen.files[0].bytes));
	given_look_end(&seen);
	terms.new_keys = true;
	MUST(f, account_passwd(f->first.profile, f->first.client, bytes_str(old_password), &terms,
			&f->code, &f->err));
	given_end(f, &f->first, first);
	assert_int_equal(given_grants(f, &bob), 1);
	/* Not what somebody else leaves: the key is out of use because it may be known. */
	MUST(f, people_get(people, f->first.profile->user_id, true, &alice, &f->err));
	MUST(f, inbox_leave(people, alice, INBOX_SHARE, buf_bytes(&note), doc_id, &f->err));
	given_look(f, &f->first, &seen);
	assert_int_equal(seen.n, 2);
	for (size_t i = 0; i < seen.n; i++) {
		left += seen.files[i].left;
		assert_int_equal(
			seen.files[i].problem.code, seen.files[i].left ? 0 : KLUIS_EVERIFY);
	}
	assert_int_equal(left, 1);
	given_look_end(&seen);
	people_free(people);
	given_end(f, &f->first, second);
	assert_int_equal(given_grants(f, &bob), 0);
}

/* Whoever was given something leaves its note with who gave it, and one of her own under the same
 * id: that keeps nobody from ending it. */
static void test_note_given_back(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf note = BUF_INIT;
	struct people *people = people_new(bob.profile, bob.client);
	const struct shared_file *found;
	const struct identity *alice;
	struct share_note_page page;
	struct share_note own;
	struct bytes run;
	struct given seen;
	char hex[HEX_LEN(ID_BYTES) + 1];
	uint8_t doc_id[ID_BYTES];

	given_prepared(f, "given back", "one");
	given_look(f, &bob, &seen);
	assert_true(seen.n > 0);
	own = seen.files[0].note;
	run = own.pages;
	assert_true(share_note_page_next(&run, &page));
	hex_encode(bytes_of(own.share_id, ID_BYTES), hex);
	MUST(f, people_get(people, own.sender_user, true, &alice, &f->err));
	memcpy(own.rcpt_user, own.sender_user, ID_BYTES);
	memcpy(own.sender_user, bob.profile->user_id, ID_BYTES);
	MUST(f, share_note_make(&own, &page, 1, bob.profile->signing, &note, &f->err));
	MUST(f, inbox_leave(people, alice, INBOX_SHARE, buf_bytes(&note), doc_id, &f->err));
	MUST(f, inbox_leave(people, alice, INBOX_SHARE, buf_bytes(&seen.files[0].bytes), doc_id,
			&f->err));
	given_look_end(&seen);
	people_free(people);
	given_look(f, &f->first, &seen);
	assert_int_equal(seen.n, 3);
	MUST(f, shared_file_find(seen.files, seen.n, hex, &found, &f->err));
	assert_true(found->mine);
	MUST(f, shared_file_end(seen.people, seen.files, seen.n, found, &f->err));
	given_look_end(&seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_twice_and_over, given_forget),
		cmocka_unit_test_teardown(test_ended_note_given_back, given_forget),
		cmocka_unit_test_teardown(test_note_given_back, given_forget),
		cmocka_unit_test_teardown(test_new_keys, given_forget)};

	return cmocka_run_group_tests(tests, setup_given, teardown_three);
}
