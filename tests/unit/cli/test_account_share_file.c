/* One file or page of a vault given alone, against the API of a real node and against one that
 * lies. */
#include "tests/lib/account_rig/account_given.h"
#include "tests/lib/account_rig/account_share.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "cli/client/inbox.h"
#include "cli/client/json_reader.h"
#include "cli/client/put.h"
#include "storage/packet_store.h"
#include "tests/lib/fixture/sharing.h"

static int got_write(void *arg, struct bytes bytes, struct err *e)
{
	(void)e;
	buf_append_bytes(arg, bytes);
	return 0;
}

/* The only one, or the first. */
static int fetch(struct fixture *f, struct device *d, struct buf *ret_content)
{
	const struct get_config config = {.write = got_write, .arg = ret_content};
	struct given seen;
	int rc;

	given_look(f, d, &seen);
	assert_true(seen.n > 0);
	assert_int_equal(seen.files[0].problem.code, 0);
	rc = shared_file_get(seen.people, &seen.files[0], &config, &f->err);
	given_look_end(&seen);
	return rc;
}

/* The node's clock, which goes with its entries, so far before that of clients. */
static void time_goes(struct fixture *f, uint64_t ahead_ms)
{
	_cleanup_(x_freep) char *name = x_asprintf("%" PRIu64, ahead_ms);

	f->node.machine.now_ms = clock_wall_ms(&clock_system) + ahead_ms;
	put_note(f, &f->first, name);
}

static void assert_got(struct fixture *f, struct device *d, const char *text)
{
	_cleanup_(buf_release) struct buf content = BUF_INIT;

	MUST(f, fetch(f, d, &content));
	assert_true(bytes_equal(buf_bytes(&content), bytes_str(text)));
}

static void assert_fetch_fails(struct fixture *f, struct device *d, int wanted, const char *words)
{
	_cleanup_(buf_release) struct buf content = BUF_INIT;
	int rc = fetch(f, d, &content);

	if (rc != wanted || strstr(f->err.text, words) == NULL) {
		fail_msg("%d '%s', not %d with '%s'", rc, f->err.text, wanted, words);
	}
}

/* Given, seen, fetched; it stays what it was, alone; and ends. */
static void test_file(void **state)
{
	struct fixture *f = *state;
	const struct shared_file *file;
	struct vault *vault;
	struct given seen;
	char hex[HEX_LEN(ID_BYTES) + 1];
	uint8_t id[ID_BYTES];
	unsigned before;

	put_note(f, &f->first, "file");
	put_text(f, &f->first, "file", "one");
	MUST(f, given_give(f, &f->first, "file", "bob", "/text", 0, id));
	hex_encode(bytes_of(id, ID_BYTES), hex);
	given_look(f, &bob, &seen);
	MUST(f, shared_file_find(seen.files, seen.n, hex, &file, &f->err));
	assert_string_equal(file->who, "alice");
	assert_string_equal(file->name, "text");
	assert_int_equal(file->size, 3);
	assert_false(file->mine);
	given_look_end(&seen);
	given_look(f, &f->first, &seen);
	assert_int_equal(shared_file_find(seen.files, seen.n, "", &file, &f->err), KLUIS_ENOTFOUND);
	hex[8] = 0;
	f->err = (struct err){0};
	MUST(f, shared_file_find(seen.files, seen.n, hex, &file, &f->err));
	assert_string_equal(file->who, "bob");
	assert_true(file->mine);
	given_look_end(&seen);
	assert_got(f, &bob, "one");
	put_text(f, &f->first, "file", "two"); /* It was given as it was. */
	assert_got(f, &bob, "one");
	f->err = (struct err){0};
	assert_int_not_equal(vault_open(bob.profile, bob.client, "file", &vault, &f->err), 0);
	before = logged(f, &f->first, "pages-unshared");
	given_end_all(f, &f->first);
	assert_int_equal(logged(f, &f->first, "pages-unshared"), before + 1);
	assert_fetch_fails(f, &bob, KLUIS_ENOTFOUND, "text");
}

/* Given twice: the end of one is not that of the other, nor is a third one's that comes to nothing.
 */
static void test_twice(void **state)
{
	struct fixture *f = *state;
	uint8_t first[ID_BYTES], second[ID_BYTES], third[ID_BYTES];
	char target[API_TARGET_MAX];

	given_twice(f, "twice", first, second);
	MUST(f, given_give(f, &f->first, "twice", "carol", "/text", 0, third));
	assert_int_equal(given_grants(f, &bob), 1);
	assert_int_equal(use_of(f, &bob).packets, 2);
	given_end(f, &f->first, first);
	assert_int_equal(use_of(f, &bob).packets, 1);
	given_end(f, &bob, first);
	assert_got(f, &bob, "one");
	api_target(target, "users", bob.profile->user_id, "/inbox");
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_EQUOTA};
	assert_int_equal(given_give(f, &f->first, "twice", "bob", "/text", 0, first), KLUIS_EQUOTA);
	lie_end();
	assert_got(f, &bob, "one");
	/* Not that of the same page of another vault, either. */
	given_prepared(f, "once", "two");
	given_end(f, &f->first, second);
	assert_int_equal(given_grants(f, &bob), 1);
	given_end_all(f, &f->first);
	assert_int_equal(given_grants(f, &bob), 0);
	assert_int_equal(given_grants(f, &carol), 0);
	assert_fetch_fails(f, &bob, KLUIS_ENOTFOUND, "text");
	given_end_all(f, &carol);
}

/* The giver's clock stands far behind the cluster's. */
static void test_clock_behind(void **state)
{
	struct fixture *f = *state;

	given_prepared(f, "clock behind", "one");
	time_goes(f, 3600 * 1000);
	given_end_all(f, &f->first);
	assert_fetch_fails(f, &bob, KLUIS_ENOTFOUND, "text");
}

/* Nobody keeps what she was given by filling her own box, and nobody is half given what has no room
 * there. */
static void test_full_box(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES];
	struct given seen;

	given_prepared(f, "full box", "one");
	assert_got(f, &bob, "one");
	fill_box(f, &bob);
	put_text(f, &f->first, "full box", "two");
	assert_int_equal(given_give(f, &f->first, "full box", "bob", "/text", 0, id), KLUIS_EQUOTA);
	given_look(f, &f->first, &seen);
	assert_int_equal(seen.n, 1); /* Of the first one alone. */
	given_look_end(&seen);
	assert_got(f, &bob, "one");
	given_end_all(f, &f->first);
	assert_fetch_fails(f, &bob, KLUIS_ENOTFOUND, "text");
	empty_box(f, &bob);
}

/* Her inbox has no room for the note: what was opened until then closes, and nobody is told of it.
 */
static void test_full_inbox(void **state)
{
	struct fixture *f = *state;
	struct given seen;
	uint8_t id[ID_BYTES];
	char target[API_TARGET_MAX];

	put_note(f, &f->first, "full inbox");
	put_text(f, &f->first, "full inbox", "one");
	api_target(target, "users", bob.profile->user_id, "/inbox");
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_EQUOTA};
	assert_int_equal(
		given_give(f, &f->first, "full inbox", "bob", "/text", 0, id), KLUIS_EQUOTA);
	lie_end();
	given_look(f, &f->first, &seen);
	assert_int_equal(seen.n, 0);
	given_look_end(&seen);
	assert_int_equal(given_grants(f, &bob), 0);
	/* With room it is there. */
	MUST(f, given_give(f, &f->first, "full inbox", "bob", "/text", 0, id));
	assert_int_equal(given_grants(f, &bob), 1);
}

static uint64_t grant_ends(struct fixture *f, const struct device *d, const struct share_note *note)
{
	struct bytes run = note->pages;
	struct share_note_page page;
	struct page_grant grant;
	struct kv_view *view;

	assert_true(share_note_page_next(&run, &page));
	(void)pthread_mutex_lock(&f->node.lock);
	view = kv_view_new(f->node.machine.kv);
	assert_int_equal(grant_store_get(view, d->profile->user_id, note->vault_id, page.page_no,
				 page.revision, &grant, NULL),
		0);
	kv_view_free(view);
	(void)pthread_mutex_unlock(&f->node.lock);
	return grant.expires_ms;
}

/* What was given before is what it was when giving it again fails: for how long, too. */
static void test_given_before(void **state)
{
	static const unsigned days[] = {1, 30};
	struct fixture *f = *state;
	char target[API_TARGET_MAX];
	char hex[HEX_LEN(ID_BYTES) + 1];
	const struct shared_file *last;
	struct packet_use before;
	struct given seen;
	uint8_t id[ID_BYTES];
	uint64_t ends;

	given_prepared(f, "given before", "one");
	given_days = 20;
	MUST(f, given_give(f, &f->first, "given before", "bob", "/text", 0, id));
	given_days = 7; /* Of several it is the last that says for how long. */
	MUST(f, given_give(f, &f->first, "given before", "bob", "/text", 0, id));
	given_look(f, &bob, &seen);
	hex_encode(bytes_of(id, ID_BYTES), hex);
	MUST(f, shared_file_find(seen.files, seen.n, hex, &last, &f->err));
	ends = last->note.expires_ms;
	assert_true(grant_ends(f, &bob, &last->note) == ends);
	before = use_of(f, &bob);
	api_target(target, "users", bob.profile->user_id, "/inbox");
	for (size_t i = 0; i < ARRAY_SIZE(days); i++) {
		lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_EQUOTA};
		given_days = days[i];
		assert_int_equal(given_give(f, &f->first, "given before", "bob", "/text", 0, id),
			KLUIS_EQUOTA);
		lie_end();
		assert_true(grant_ends(f, &bob, &last->note) == ends);
		assert_int_equal(use_of(f, &bob).grants, before.grants);
		assert_int_equal(use_of(f, &bob).packets, before.packets);
		assert_got(f, &bob, "one");
	}
	given_days = 7;
	given_look_end(&seen);
	/* Also while nobody says what was given before. */
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_EQUOTA};
	more_lies[0] =
		(struct lie){.target = "/v1/inbox?", .kind = LIE_REFUSE, .rc = KLUIS_ECONNECT};
	assert_int_equal(
		given_give(f, &f->first, "given before", "bob", "/text", 0, id), KLUIS_EQUOTA);
	lie_end();
	assert_got(f, &bob, "one");
	given_end_all(f, &f->first);
	assert_fetch_fails(f, &bob, KLUIS_ENOTFOUND, "text");
}

/* What cannot be read of one sender hides nothing of another. */
static void test_unreadable_entry(void **state)
{
	static const int cases[] = {KLUIS_EPROTO, KLUIS_ESUITE, KLUIS_EVERSION, KLUIS_EINVAL};
	struct fixture *f = *state;
	char target[API_TARGET_MAX];
	uint8_t id[ID_BYTES];
	struct given seen;

	given_prepared(f, "readable", "one");
	put_note(f, &carol, "unreadable");
	put_text(f, &carol, "unreadable", "two");
	MUST(f, given_give(f, &carol, "unreadable", "bob", "/text", 0, id));
	api_target(target, "users", carol.profile->user_id, "/identity");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned good = 0, bad = 0;

		lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = cases[i]};
		given_look(f, &bob, &seen);
		lie_end();
		assert_int_equal(seen.n, 2);
		for (size_t k = 0; k < seen.n; k++) {
			good += seen.files[k].problem.code == 0 &&
				strcmp(seen.files[k].who, "alice") == 0;
			bad += seen.files[k].problem.code == KLUIS_EVERIFY;
		}
		assert_int_equal(good, 1);
		assert_int_equal(bad, 1);
		given_look_end(&seen);
	}
	/* That nobody is reached is none's fault. */
	f->err = (struct err){0};
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_ECONNECT};
	seen.people = people_new(bob.profile, bob.client);
	assert_int_equal(shared_files(seen.people, &seen.files, &seen.n, &f->err), KLUIS_ECONNECT);
	people_free(seen.people);
	lie_end();
	given_end_all(f, &carol);
}

/* The page's own bytes, with all its items. */
static void test_page(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf content = BUF_INIT;
	uint8_t id[ID_BYTES];
	struct bytes left;
	struct page_item item;
	unsigned before;

	put_note(f, &f->first, "page");
	put_text(f, &f->first, "page", "one");
	assert_int_equal(given_give(f, &f->first, "page", "bob", NULL, 1000, id), KLUIS_ENOTFOUND);
	before = logged(f, &f->first, "pages-shared");
	MUST(f, given_give(f, &f->first, "page", "bob", NULL, 0, id));
	assert_int_equal(logged(f, &f->first, "pages-shared"), before + 1);
	MUST(f, fetch(f, &bob, &content));
	left = buf_bytes(&content);
	assert_true(left.len > 0);
	while (left.len > 0) {
		assert_int_equal(page_item_next(&left, &item), 0);
	}
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	struct vault *vault;
	uint8_t id[ID_BYTES];

	put_note(f, &f->first, "refused");
	put_text(f, &f->first, "refused", "one");
	assert_int_equal(given_give(f, &f->first, "refused", "bob", "/", 0, id), KLUIS_EINVAL);
	assert_int_equal(
		given_give(f, &f->first, "refused", "bob", "/none", 0, id), KLUIS_ENOTFOUND);
	assert_int_equal(
		given_give(f, &f->first, "refused", "alice", "/text", 0, id), KLUIS_EINVAL);
	f->err = (struct err){0};
	MUST(f, vault_open(f->first.profile, f->first.client, "refused", &vault, &f->err));
	MUST(f, share_require_verified(vault, true, &f->err));
	vault_close(vault);
	assert_int_equal(
		given_give(f, &f->first, "refused", "bob", "/text", 0, id), KLUIS_EFORBIDDEN);
}

/* Whoever is not its admin gives nothing of a vault. */
static void test_no_admin(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(carol.profile, carol.client);
	struct share_with with;
	struct vault *vault;
	uint8_t id[ID_BYTES];

	put_note(f, &f->first, "no admin");
	put_text(f, &f->first, "no admin", "one");
	MUST(f, vault_open(f->first.profile, f->first.client, "no admin", &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	MUST(f, share_resolve(vault->people, "carol", &with, &f->err));
	assert_int_equal(logged(f, &f->first, "members-changed"), 0);
	MUST(f, share_add(vault, &with, MEMBER_WRITE, &f->err));
	assert_int_equal(logged(f, &f->first, "members-changed"), 1);
	MUST(f, account_refresh(carol.profile, carol.client, &f->err));
	MUST(f, share_answer(people, MEMBER_OBJECT_VAULT, vault->id, true, &f->err));
	vault_close(vault);
	people_free(people);
	assert_int_equal(logged(f, &carol, "invitation-accepted"), 1);
	assert_int_equal(logged(f, &carol, "invitation-declined"), 0);
	assert_int_equal(
		given_give(f, &carol, "no admin", "bob", "/text", 0, id), KLUIS_EFORBIDDEN);
}

static void test_withheld_key(void **state)
{
	struct fixture *f = *state;

	given_prepared(f, "withheld key", "one");
	lie = (struct lie){.target = "/v1/packets",
		.kind = LIE_REPLACE,
		.instead = bytes_str("{\"items\":[],\"done\":true,\"next\":\"\"}")};
	assert_fetch_fails(f, &bob, KLUIS_ENOTFOUND, "withholds");
	lie_end();
	assert_got(f, &bob, "one");
}

/* The target of a page of the vault as bob asks for it. */
static char *page_target_of(const struct share_note *note)
{
	char id[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(note->vault_id, ID_BYTES), id);
	return x_asprintf("/v1/vaults/%s/pages/", id);
}

static void note_of(struct fixture *f, struct given *seen)
{
	given_look(f, &bob, seen);
	assert_true(seen->n > 0);
}

/* By an admin who means harm: bytes of a file, said to be a page of items. */
static void test_malformed_page(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(f->first.profile, f->first.client);
	_cleanup_(buf_release) struct buf note = BUF_INIT;
	const struct identity *identity;
	struct share_note_page page;
	struct share_note items;
	struct bytes run;
	struct given seen;
	uint8_t doc_id[ID_BYTES];

	given_prepared(f, "malformed", "no items");
	note_of(f, &seen);
	run = seen.files[0].note.pages;
	assert_true(share_note_page_next(&run, &page));
	items = seen.files[0].note;
	items.kind = SHARE_NOTE_ITEM;
	items.body = bytes_str("{\"name\": \"items\"}");
	MUST(f, share_note_make(&items, &page, 1, f->first.profile->signing, &note, &f->err));
	MUST(f, api_inbox_delete(bob.client, seen.files[0].doc_id, &f->err));
	MUST(f, people_get(people, bob.profile->user_id, true, &identity, &f->err));
	MUST(f, inbox_leave(people, identity, INBOX_SHARE, buf_bytes(&note), doc_id, &f->err));
	assert_fetch_fails(f, &bob, KLUIS_EVERIFY, "malformed");
	given_look_end(&seen);
	people_free(people);
}

static void test_swapped_page(void **state)
{
	struct fixture *f = *state;
	_cleanup_(x_freep) char *target = NULL;
	_cleanup_(buf_release) struct buf other = BUF_INIT, same = BUF_INIT;
	struct share_note_page page;
	struct bytes run;
	struct given seen;

	given_prepared(f, "swapped page", "one");
	note_of(f, &seen);
	run = seen.files[0].note.pages;
	assert_true(share_note_page_next(&run, &page));
	target = page_target_of(&seen.files[0].note);
	/* Another page of the vault; the next revision; a byte. */
	MUST(f, api_page(f->first.client, seen.files[0].note.vault_id, 0, &other, &f->err));
	assert_int_not_equal(page.page_no, 0);
	lie = (struct lie){.target = target, .kind = LIE_REPLACE, .instead = buf_bytes(&other)};
	assert_fetch_fails(f, &bob, KLUIS_EVERIFY, "not the one that 'alice' gave");
	lie_end();
	MUST(f, api_page(f->first.client, seen.files[0].note.vault_id, page.page_no, &same,
			&f->err));
	for (size_t at = 0; at < same.len; at += same.len / 7) {
		lie = (struct lie){.target = target, .kind = LIE_FLIP, .at = at};
		assert_fetch_fails(f, &bob, KLUIS_EVERIFY, "not the one that 'alice' gave");
		lie_end();
	}
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_ENOTFOUND};
	assert_fetch_fails(f, &bob, KLUIS_ENOTFOUND, "text");
	lie_end();
	given_look_end(&seen);
	assert_got(f, &bob, "one");
}

/* A list of packets with this one in it alone. */
static void packets_answer(struct bytes packet, struct buf *to)
{
	json_take_text(json_pack("{s:[{s:o}], s:b, s:s}", "items", "packet", json_base64(packet),
			       "done", 1, "next", ""),
		to);
}

static void test_swapped_key(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf packet = BUF_INIT, answer = BUF_INIT;
	_cleanup_(json_dropp) json_t *items = NULL;
	_cleanup_(x_freep) char *target = NULL;
	char object[HEX_LEN(ID_BYTES) + 1];
	struct json_reader r;
	struct keypacket parsed;
	struct given seen;

	given_prepared(f, "swapped key", "one");
	note_of(f, &seen);
	hex_encode(bytes_of(seen.files[0].note.vault_id, ID_BYTES), object);
	given_look_end(&seen);
	target = x_asprintf("/v1/packets?object=%s", object);
	MUST(f, api_list(bob.client, target, CLIENT_AUTH | CLIENT_READ, 100, &items, &f->err));
	assert_int_equal(json_array_size(items), 1);
	r = json_reader_of(json_array_get(items, 0));
	json_reader_base64(&r, "packet", KEYPACKET_BYTES_MAX, &packet);
	for (size_t at = 16 + ID_BYTES; at < packet.len; at += 37) {
		packet.data[at] ^= 1;
		if (keypacket_parse(buf_bytes(&packet), &parsed, NULL) == 0) {
			buf_clear(&answer);
			packets_answer(buf_bytes(&packet), &answer);
			lie = (struct lie){.target = "/v1/packets",
				.kind = LIE_REPLACE,
				.instead = buf_bytes(&answer)};
			assert_fetch_fails(f, &bob, KLUIS_EVERIFY, "");
			lie_end();
		}
		packet.data[at] ^= 1;
	}
	assert_got(f, &bob, "one");
}

/* By somebody who is no admin of that vault, whom the node would help: her key, under the id that
 * the note names or in a note of her own. */
static void test_accomplice(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf packet = BUF_INIT, answer = BUF_INIT, note = BUF_INIT;
	static const uint8_t gift[80];
	struct packets_gift fields = {
		.purpose = KEYPACKET_PAGE, .epoch = 1, .secret = bytes_of(gift, sizeof gift)};
	struct people *people = people_new(carol.profile, carol.client);
	const struct identity *identity;
	struct share_note_page page;
	struct keypacket parsed;
	struct share_note mine;
	struct bytes run;
	struct given seen;
	uint8_t doc_id[ID_BYTES];

	given_prepared(f, "accomplice", "one");
	note_of(f, &seen);
	run = seen.files[0].note.pages;
	assert_true(share_note_page_next(&run, &page));
	MUST(f, account_refresh(carol.profile, carol.client, &f->err));
	MUST(f, people_get(people, bob.profile->user_id, true, &identity, &f->err));
	MUST(f, people_transfer_key(identity, &fields.rcpt, &f->err));
	fields.object_id = seen.files[0].note.vault_id;
	fields.rcpt_id = bob.profile->user_id;
	MUST(f, packets_seal(carol.profile, &fields, &packet, &f->err));
	memcpy(packet.data + 16, page.packet_id, ID_BYTES);
	packets_answer(buf_bytes(&packet), &answer);
	lie = (struct lie){
		.target = "/v1/packets", .kind = LIE_REPLACE, .instead = buf_bytes(&answer)};
	assert_fetch_fails(f, &bob, KLUIS_EVERIFY, "another KeyPacket");
	lie_end();
	/* Her own note, of that page. */
	buf_clear(&packet);
	MUST(f, packets_seal(carol.profile, &fields, &packet, &f->err));
	assert_int_equal(keypacket_parse(buf_bytes(&packet), &parsed, NULL), 0);
	memcpy(page.packet_id, parsed.packet_id, ID_BYTES);
	mine = seen.files[0].note;
	memcpy(mine.sender_user, carol.profile->user_id, ID_BYTES);
	MUST(f, share_note_make(&mine, &page, 1, carol.profile->signing, &note, &f->err));
	given_end_all(f, &bob);
	MUST(f, inbox_leave(people, identity, INBOX_SHARE, buf_bytes(&note), doc_id, &f->err));
	buf_clear(&answer);
	packets_answer(buf_bytes(&packet), &answer);
	lie = (struct lie){
		.target = "/v1/packets", .kind = LIE_REPLACE, .instead = buf_bytes(&answer)};
	assert_fetch_fails(f, &bob, KLUIS_EVERIFY, "without being one of its admins");
	lie_end();
	given_look_end(&seen);
	people_free(people);
}

/* A note in somebody else's name is shown as what it is, and not fetched. */
static void test_forged_note(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf note = BUF_INIT;
	struct people *people = people_new(carol.profile, carol.client);
	const struct shared_file *found;
	const struct identity *identity;
	struct share_note forged;
	struct share_note_page page;
	struct bytes run;
	struct given seen;
	uint8_t doc_id[ID_BYTES];

	given_prepared(f, "forged note", "one");
	note_of(f, &seen);
	run = seen.files[0].note.pages;
	assert_true(share_note_page_next(&run, &page));
	forged = seen.files[0].note;
	MUST(f, share_note_make(&forged, &page, 1, carol.profile->signing, &note, &f->err));
	given_end_all(f, &bob);
	MUST(f, people_get(people, bob.profile->user_id, true, &identity, &f->err));
	MUST(f, inbox_leave(people, identity, INBOX_SHARE, buf_bytes(&note), doc_id, &f->err));
	given_look_end(&seen);
	given_look(f, &bob, &seen);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.files[0].problem.code, KLUIS_EVERIFY);
	assert_int_equal(
		shared_file_find(seen.files, seen.n, "", &found, &f->err), KLUIS_ENOTFOUND);
	given_look_end(&seen);
	/* A document that the node changed hides no other. */
	MUST(f, given_give(f, &f->first, "forged note", "bob", "/text", 0, doc_id));
	given_look(f, &bob, &seen);
	assert_int_equal(seen.n, 2);
	assert_int_equal((seen.files[0].problem.code == 0) + (seen.files[1].problem.code == 0), 1);
	given_look_end(&seen);
	people_free(people);
}

/* Of more pages than one call takes. */
static void test_large(void **state)
{
	struct fixture *f = *state;
	const struct put_config put_config = {.force = true};
	const struct get_config config = {.write = NULL};
	_cleanup_(buf_release) struct buf large = BUF_INIT;
	struct put_result result;
	struct vault *vault;
	struct given seen;
	struct put *put;
	uint8_t id[ID_BYTES];
	bool is_local;

	put_note(f, &f->first, "large");
	buf_put_zeros(&large, (size_t)257 * PAGE_CONTENT_BYTES_MAX + 5);
	MUST(f, vault_open(f->first.profile, f->first.client, "large", &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	MUST(f, put_new(vault, &put_config, &put, &f->err));
	MUST(f, put_from(put, put_source_of(buf_bytes(&large), "/zeros", 0600), NULL, &is_local,
			&f->err));
	MUST(f, put_finish(put, &result, &f->err));
	put_free(put);
	vault_close(vault);
	MUST(f, given_give(f, &f->first, "large", "bob", "/zeros", 0, id));
	given_look(f, &bob, &seen);
	assert_int_equal(seen.files[0].note.n_pages, 258);
	MUST(f, shared_file_get(seen.people, &seen.files[0], &config, &f->err));
	given_look_end(&seen);
	given_end_all(f, &f->first);
	assert_fetch_fails(f, &bob, KLUIS_ENOTFOUND, "zeros");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_page, given_forget),
		cmocka_unit_test_teardown(test_refused, given_forget),
		cmocka_unit_test_teardown(test_no_admin, given_forget),
		cmocka_unit_test_teardown(test_withheld_key, given_forget),
		cmocka_unit_test_teardown(test_swapped_page, given_forget),
		cmocka_unit_test_teardown(test_swapped_key, given_forget),
		cmocka_unit_test_teardown(test_accomplice, given_forget),
		cmocka_unit_test_teardown(test_forged_note, given_forget),
		cmocka_unit_test_teardown(test_large, given_forget),
		cmocka_unit_test_teardown(test_file, given_forget),
		cmocka_unit_test_teardown(test_twice, given_forget),
		cmocka_unit_test_teardown(test_full_box, given_forget),
		cmocka_unit_test_teardown(test_full_inbox, given_forget),
		cmocka_unit_test_teardown(test_given_before, given_forget),
		cmocka_unit_test_teardown(test_malformed_page, given_forget),
		cmocka_unit_test_teardown(test_unreadable_entry, given_forget),
		/* Last: after it the node's clock is too far ahead to give anything. */
		cmocka_unit_test_teardown(test_clock_behind, given_forget)};

	return cmocka_run_group_tests(tests, setup_given, teardown_three);
}
