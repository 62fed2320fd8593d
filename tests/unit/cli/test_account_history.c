/* Histories of conversations that do not hold, against the API of a real node: what is wrong is
 * told once, and the reading goes on; who is in a history's vault; who switched it. */
#include "tests/lib/account_rig/account_talk.h"

#include <stdio.h>
#include <string.h>

#include "cli/client/conversation_archive_impl.h"
#include "cli/client/kluis_chat.h"
#include "cli/client/kluis_impl.h"
#include "cli/client/share.h"
#include "storage/key_codec.h"
#include "tests/lib/fixture/forget.h"

/* What bob puts into the history in place of what he read. */
typedef void forge_fn(struct chat_record *record);

/* Of the n that he has read and not archived yet, number `at`. */
static void forge_at(struct fixture *f, const uint8_t *id, size_t n, size_t at, forge_fn *change)
{
	const struct conversation_read reader = {.each = seen_cb, .lazy = true};
	struct seen seen = {.problems = 0};
	struct conversation_read forger = reader;
	struct run r = run_open(f, &bob, id);
	size_t n_read;

	forger.arg = &seen;
	MUST(f, conversation_read(r.c, &forger, &n_read, &f->err));
	assert_int_equal(r.c->backlog.n, n);
	change(&r.c->backlog.records[at]);
	MUST(f, conversation_archive_flush(r.c, false, &f->err));
	assert_int_equal(r.c->archive_trouble.code, 0);
	run_close(&r);
	buf_release(&seen.lines);
}

static void forge(struct fixture *f, const uint8_t *id, forge_fn *change)
{
	forge_at(f, id, 3, 1, change);
}

static void forge_key(struct chat_record *record)
{
	record->key[0] ^= 1;
}

static void forge_text(struct chat_record *record)
{
	record->message.data[CHAT_HEADER_BYTES] ^= 1;
}

static void forge_gone(struct chat_record *record)
{
	record->opened = false;
}

static void begin_forged(struct fixture *f, uint8_t id[ID_BYTES], forge_fn *change)
{
	begin_with(f, true, id);
	say(f, &f->first, id, "one");
	say(f, &f->first, id, "two");
	forge(f, id, change);
}

/* One run that reads this, and what it says of the history. */
static void expect_trouble(struct fixture *f, struct device *d, const uint8_t *id, uint64_t last,
	const char *lines, uint64_t missing, int code, const char *says)
{
	struct seen seen = {.problems = 0};
	struct err trouble;

	MUST(f, read_run(f, d, id, last, &seen, &trouble));
	assert_string_equal(seen.lines.len == 0 ? "" : buf_str(&seen.lines), lines);
	assert_int_equal(seen.problems, 0);
	assert_int_equal(seen.missing, missing);
	if (trouble.code != code || strstr(trouble.text, says) == NULL) {
		fail_msg("%d: %s", trouble.code, trouble.text);
	}
	buf_release(&seen.lines);
}

/* A message that nobody signed is not shown, whoever archived it, and what is behind it is; and
 * alice, who has read another one, is told. */
static void test_archived_lie(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {.problems = 0};
	uint8_t id[ID_BYTES];
	struct err trouble;

	begin_forged(f, id, forge_text);
	MUST(f, read_run(f, &f->first, id, 0, &seen, &trouble));
	assert_string_equal(buf_str(&seen.lines), "1:plans 2:one 3:two ");
	buf_clear(&seen.lines);
	assert_int_equal(trouble.code, KLUIS_EPIN);
	assert_non_null(strstr(trouble.text, "another message 2"));
	buf_release(&seen.lines);
	expect_trouble(f, &f->first, id, 2, "3:two ", 1, KLUIS_EVERIFY,
		"history of the conversation: message 2: ");
}

/* Signed as it should be, by an account that never was in the conversation. */
static void forge_stranger(struct chat_record *record)
{
	static const uint8_t key[CHAT_KEY_BYTES] = {7};
	struct chat_spec spec = {
		.sym = SYM_AES_256, .type = CHAT_TEXT, .payload = bytes_str("let me in")};
	struct chat_message message;

	assert_int_equal(chat_parse(buf_bytes(&record->message), &message, NULL), 0);
	spec.place = message.place;
	memcpy(spec.place.user_id, carol.profile->user_id, ID_BYTES);
	memcpy(spec.place.device_id, carol.profile->device_id, ID_BYTES);
	buf_clear(&record->message);
	assert_int_equal(chat_seal(key, &spec, carol.profile->device, &record->message, NULL), 0);
	assert_int_equal(chat_parse(buf_bytes(&record->message), &message, NULL), 0);
	memcpy(record->link, message.link, HASH_BYTES);
	memcpy(record->key, key, CHAT_KEY_BYTES);
}

/* All have read it, and the node has no more of it: who comes now reads it from the history. */
static void forget_read(struct fixture *f, const uint8_t *id)
{
	struct seen seen = {.problems = 0};
	struct err trouble;

	MUST(f, read_run(f, &bob, id, 0, &seen, &trouble));
	MUST(f, read_run(f, &f->first, id, 0, &seen, &trouble));
	buf_release(&seen.lines);
	assert_true(fixture_forget_rows(f->node.machine.kv, KEY_MESSAGE) > 0);
}

/* Carol comes late to a history with one forged record. */
static void test_archived_lie_to_who_comes_later(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES];

	begin_forged(f, id, forge_text);
	forget_read(f, id);
	add_carol(f, id);
	say(f, &f->first, id, "three");
	expect_trouble(f, &carol, id, 0, "1:plans 3:two 4:three ", 1, KLUIS_EVERIFY, "message 2: ");
	say(f, &f->first, id, "four");
	expect(f, &carol, id, "5:four ");
}

/* What a stranger says is not shown, whoever archived it: by the members of all epochs, where
 * nothing of that one is here. */
static void test_archived_stranger(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {.problems = 0};
	uint8_t id[ID_BYTES];
	struct err trouble;

	begin_forged(f, id, forge_stranger);
	MUST(f, read_run(f, &f->first, id, 0, &seen, &trouble));
	buf_release(&seen.lines);
	expect_trouble(f, &f->first, id, 3, "1:plans 3:two ", 1, KLUIS_EVERIFY,
		"message 2 by 'carol', whom the conversation's admins let not in");
}

/* ... and by its members to who has the keys of that epoch. */
static void test_archived_stranger_in_an_epoch(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {.problems = 0};
	uint8_t id[ID_BYTES];
	struct err trouble;

	begin_with(f, true, id);
	say(f, &bob, id, "one");
	say(f, &f->first, id, "two");
	forge(f, id, forge_stranger);
	assert_true(fixture_forget_rows(f->node.machine.kv, KEY_MESSAGE) > 0);
	MUST(f, read_run(f, &f->first, id, 0, &seen, &trouble));
	assert_string_equal(buf_str(&seen.lines), "1:plans 3:two ");
	assert_int_equal(trouble.code, KLUIS_EVERIFY);
	assert_non_null(strstr(trouble.text, "let not in"));
	buf_release(&seen.lines);
}

static void forge_number(struct chat_record *record)
{
	record->seq = 2;
}

/* Bob archives a message under a lower number that the history lacks. Nobody signs numbers: carol
 * is shown it as that, told when it comes as it is, and reads on. */
static void test_archived_as_another_number(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {.problems = 0};
	uint8_t id[ID_BYTES];
	struct err trouble;
	struct run r;

	begin_with(f, false, id);
	say(f, &f->first, id, "one");
	forget_read(f, id);
	r = run_open(f, &f->first, id);
	MUST(f, conversation_archive_switch(r.c, true, &f->err));
	run_close(&r);
	say(f, &f->first, id, "two");
	expect(f, &bob, id, "3:two ");
	say(f, &bob, id, "three");
	forge_at(f, id, 1, 0, forge_number);
	add_carol(f, id);
	say(f, &f->first, id, "four");
	MUST(f, read_run(f, &carol, id, 0, &seen, &trouble));
	assert_string_equal(buf_str(&seen.lines), "2:three 3:- 4:- 5:four ");
	assert_int_equal(seen.problems, CHAT_REPEATED);
	assert_int_equal(conversation_problem_code(seen.problems), KLUIS_EVERIFY);
	assert_int_equal(trouble.code, 0);
	buf_release(&seen.lines);
	say(f, &bob, id, "five");
	expect(f, &carol, id, "6:five ");
}

/* A site that has no time for it just now says nothing of the history: carol does not read past
 * what only that has. */
static void test_busy_is_not_missing(void **state)
{
	static const int busy[] = {KLUIS_ERATE, KLUIS_EBEHIND, KLUIS_ECONNECT};
	struct fixture *f = *state;
	struct seen seen = {.problems = 0};
	uint8_t id[ID_BYTES];
	struct err trouble;

	begin_with(f, true, id);
	say(f, &f->first, id, "one");
	forget_read(f, id);
	add_carol(f, id);
	say(f, &f->first, id, "two");
	for (size_t i = 0; i < ARRAY_SIZE(busy); i++) {
		lie = (struct lie){.target = "/v1/vaults", .kind = LIE_REFUSE, .rc = busy[i]};
		assert_int_equal(read_run(f, &carol, id, 0, &seen, &trouble), busy[i]);
		assert_int_not_equal(lie.struck, 0);
		lie_end();
		f->err = (struct err){0};
	}
	assert_int_equal(seen.lines.len, 0);
	expect(f, &carol, id, "1:plans 2:one 3:two ");
}

/* What bob, who may write, puts into a page of the history. */
static void scribble(struct fixture *f, const uint8_t *id, uint64_t page_no, struct bytes content)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	struct api_entry entry = {.page_no = page_no};
	struct run r = run_open(f, &bob, id);
	uint8_t plain[HASH_BYTES];
	struct vault *vault;

	MUST(f, conversation_archive_open(r.c, &f->err));
	vault = r.c->archive->vault;
	hash_sha256(content, plain);
	MUST(f, vault_next_revision(vault, page_no, &entry.revision, &f->err));
	MUST(f, vault_seal_page(vault, page_no, entry.revision, PAGE_CHUNK, 0, content, plain,
			&page, &f->err));
	entry.epoch = vault_write_key(vault)->epoch;
	entry.page = buf_bytes(&page);
	hash_sha256(entry.page, entry.page_hash);
	MUST(f, vault_commit(vault, &entry, 1, &f->err));
	run_close(&r);
}

/* Three segments: messages 1 and 2, 3, 4. */
static void begin_long(struct fixture *f, uint8_t id[ID_BYTES])
{
	char text[40001] = {0};

	begin_with(f, true, id);
	for (int c = 'a'; c <= 'c'; c++) {
		memset(text, c, sizeof text - 1);
		say(f, &f->first, id, text);
	}
	forget_read(f, id);
}

/* Whatever one segment holds: the others are read, and what comes live. */
static void test_damaged_segment(void **state)
{
	struct fixture *f = *state;
	struct conversation_archived archived;
	uint8_t id[ID_BYTES];
	struct run r;

	begin_long(f, id);
	scribble(f, id, 3, bytes_str("no segment"));
	add_carol(f, id);
	say(f, &bob, id, "five");
	expect_trouble(f, &carol, id, 0, "1:plans 2:aaaaaaaaaaaaaaaa 4:cccccccccccccccc 5:five ", 1,
		KLUIS_ECORRUPT,
		"history of the conversation: its segment from message 3 on (page 3): ");
	say(f, &bob, id, "six");
	expect(f, &carol, id, "6:six ");
	/* Also the first one, which nothing is shown before; and the newest. */
	scribble(f, id, 2, bytes_str("none either"));
	expect_trouble(f, &carol, id, 10, "4:cccccccccccccccc 5:five 6:six ", 3, KLUIS_ECORRUPT,
		"its segment from message 1 on (page 2): ");
	scribble(f, id, 4, bytes_str("nor here"));
	r = run_open(f, &f->first, id);
	MUST(f, conversation_archived(r.c, &archived, &f->err));
	assert_int_equal(archived.segments, 3);
	assert_int_equal(archived.last, 0);
	assert_int_equal(conversation_archive_verdict(r.c), KLUIS_ECORRUPT);
	run_close(&r);
	expect_trouble(f, &f->first, id, 0, "5:five 6:six ", 0, KLUIS_ECORRUPT,
		"its segment from message 4 on (page 4): ");
}

/* What was read again and is missing there is not missing before what comes live. */
static void test_damaged_behind_what_is_read_again(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES];

	begin_long(f, id);
	scribble(f, id, 4, bytes_str("no segment"));
	say(f, &bob, id, "five");
	expect_trouble(f, &f->first, id, 10,
		"1:plans 2:aaaaaaaaaaaaaaaa 3:bbbbbbbbbbbbbbbb 5:five ", 0, KLUIS_ECORRUPT,
		"its segment from message 4 on (page 4): ");
}

static int nobody_cb(void *arg, const struct kluis_chat_message *message)
{
	(void)arg;
	(void)message;
	return 0;
}

/* A segment that a later version wrote is told, and ended with; one that is none weighs more. */
static void test_segment_of_a_later_version(void **state)
{
	static const char later[] = "KCA1\x02";
	struct fixture *f = *state;
	struct kluis alice = {.profile = f->first.profile, .client = f->first.client};
	struct kluis_failure failure = {0};
	char hex[HEX_LEN(ID_BYTES) + 1];
	uint8_t id[ID_BYTES];

	begin_long(f, id);
	scribble(f, id, 3, bytes_str(later));
	expect_trouble(f, &f->first, id, 4, "1:plans 2:aaaaaaaaaaaaaaaa 4:cccccccccccccccc ", 1,
		KLUIS_EVERSION, "its segment from message 3 on (page 3): ");
	hex_encode(bytes_of(id, ID_BYTES), hex);
	assert_int_equal(
		kluis_chat_read_last(&alice, hex, 4, nobody_cb, NULL, &failure), KLUIS_EVERSION);
	scribble(f, id, 4, bytes_str("no segment"));
	expect_trouble(f, &f->first, id, 4, "1:plans 2:aaaaaaaaaaaaaaaa ", 0, KLUIS_ECORRUPT,
		"its segment from message 4 on (page 4): ");
}

/* Whatever keeps an admin's device from putting right who is in the vault: it reads on, and says
 * so. */
static void test_read_where_nobody_follows(void **state)
{
	static const int why[] = {KLUIS_EINTERNAL, KLUIS_EVERIFY, KLUIS_ERATE};
	struct fixture *f = *state;
	uint8_t id[ID_BYTES];

	begin_with(f, true, id);
	say(f, &f->first, id, "one");
	forget_read(f, id);
	for (size_t i = 0; i < ARRAY_SIZE(why); i++) {
		char hex[HEX_LEN(ID_BYTES) + 1], target[80];

		hex_encode(bytes_of(id, ID_BYTES), hex);
		(void)snprintf(target, sizeof target, "/v1/conversations/%s/members", hex);
		lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = why[i]};
		expect_trouble(f, &f->first, id, 2, "1:plans 2:one ", 0, why[i],
			"history of the conversation: ");
		lie_end();
	}
	expect_last(f, &f->first, id, 2, "1:plans 2:one ");
}

/* Bob archives all that he read but `n` messages from number `from` on. */
static void archive_without(struct fixture *f, const uint8_t *id, uint64_t from, uint64_t n)
{
	struct seen seen = {.problems = 0};
	const struct conversation_read reader = {.each = seen_cb, .arg = &seen, .lazy = true};
	struct run r = run_open(f, &bob, id);
	struct chat_segment left = {.n = 0};
	size_t shown;

	MUST(f, conversation_read(r.c, &reader, &shown, &f->err));
	for (size_t i = 0; i < r.c->backlog.n; i++) {
		const struct chat_record *record = &r.c->backlog.records[i];

		if (record->seq < from || record->seq >= from + n) {
			assert_int_equal(
				chat_segment_take(&left, record, SIZE_MAX), CHAT_MERGE_TAKEN);
		}
	}
	assert_int_equal(r.c->backlog.n, left.n + n);
	chat_segment_release(&r.c->backlog);
	r.c->backlog = left;
	MUST(f, conversation_archive_flush(r.c, false, &f->err));
	assert_int_equal(r.c->archive_trouble.code, 0);
	run_close(&r);
	buf_release(&seen.lines);
}

static void begin_with_hole(struct fixture *f, uint8_t id[ID_BYTES], size_t n)
{
	char text[40001] = {0};

	begin_with(f, true, id);
	for (size_t i = 0; i < n + 2; i++) {
		memset(text, (int)('a' + i), sizeof text - 1);
		say(f, &f->first, id, text);
	}
	archive_without(f, id, 3, n);
}

/* What is missing between two segments, both full, has its place behind the first. */
static void test_hole_between_segments(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES];

	begin_with_hole(f, id, 1);
	forget_read(f, id);
	add_carol(f, id);
	expect(f, &carol, id, "1:plans 2:aaaaaaaaaaaaaaaa 3:bbbbbbbbbbbbbbbb 4:cccccccccccccccc ");
}

/* A page that the cluster changes is fetched for one message, not for each that it may have. */
static void test_damaged_is_asked_for_once(void **state)
{
	struct fixture *f = *state;
	const struct chat_record *record;
	char hex[HEX_LEN(ID_BYTES) + 1], target[80];
	uint8_t id[ID_BYTES];
	unsigned once;
	struct run r;

	begin_with(f, true, id);
	say(f, &bob, id, "one");
	forget_read(f, id);
	add_carol(f, id);
	r = run_open(f, &carol, id);
	MUST(f, conversation_archive_open(r.c, &f->err));
	hex_encode(bytes_of(r.c->archive->vault->id, ID_BYTES), hex);
	(void)snprintf(target, sizeof target, "/v1/vaults/%s/pages/2", hex);
	lie = (struct lie){.target = target, .kind = LIE_FLIP};
	MUST(f, conversation_archive_find(r.c, 1, &record, &f->err));
	assert_null(record);
	once = lie.struck;
	MUST(f, conversation_archive_find(r.c, 2, &record, &f->err));
	assert_null(record);
	assert_int_equal(lie.struck, once);
	lie_end();
	assert_int_equal(conversation_archive_verdict(r.c), KLUIS_EVERIFY);
	run_close(&r);
	expect(f, &carol, id, "1:plans 2:one ");
}

/* A history that cannot be read at all, to who needs it. */
static void test_damaged_index(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES];

	begin_with(f, true, id);
	say(f, &f->first, id, "one");
	forget_read(f, id);
	add_carol(f, id);
	scribble(f, id, CHAT_INDEX_PAGE, bytes_str("no index"));
	say(f, &bob, id, "two");
	expect_trouble(f, &carol, id, 0, "3:two ", 2, KLUIS_ECORRUPT,
		"history of the conversation: the history: malformed");
	say(f, &bob, id, "three");
	expect_trouble(f, &carol, id, 0, "4:three ", 0, KLUIS_ECORRUPT, "malformed");
}

/* A history that is not there is asked for once a run, however many messages it might open. */
static void test_missing_is_asked_for_once(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {.problems = 0};
	uint8_t id[ID_BYTES];
	struct err trouble;
	unsigned once;

	begin_with(f, true, id);
	for (unsigned i = 0; i < 4; i++) {
		say(f, &f->first, id, "before carol");
	}
	add_carol(f, id);
	lie = (struct lie){.target = "/v1/vaults", .kind = LIE_REFUSE, .rc = KLUIS_ENOTFOUND};
	{
		struct run r = run_open(f, &carol, id);

		MUST(f, conversation_archive_open(r.c, &f->err));
		run_close(&r);
	}
	once = lie.struck;
	assert_int_not_equal(once, 0);
	lie.struck = 0;
	MUST(f, read_run(f, &carol, id, 0, &seen, &trouble));
	assert_string_equal(buf_str(&seen.lines), "1:- 2:- 3:- 4:- 5:- ");
	assert_int_equal(lie.struck, once);
	lie_end();
	buf_release(&seen.lines);
}

/* As the cluster would answer. */
static void members_list(struct buf *to, const uint8_t (*ids)[ID_BYTES], size_t n)
{
	buf_printf(to, "{\"items\":[");
	for (size_t i = 0; i < n; i++) {
		char hex[HEX_LEN(ID_BYTES) + 1];

		hex_encode(bytes_of(ids[i], ID_BYTES), hex);
		buf_printf(to, "%s{\"id\":\"%s\",\"state\":\"accepted\"}", i == 0 ? "" : ",", hex);
	}
	buf_printf(to, "],\"done\":true}");
}

/* One run of hers, in which the cluster lists these as members; who is in the vault then. */
static struct err follow_listed(struct fixture *f, struct run *r, const uint8_t (*ids)[ID_BYTES],
	size_t n, struct members *ret_members)
{
	_cleanup_(buf_release) struct buf list = BUF_INIT;
	char hex[HEX_LEN(ID_BYTES) + 1], target[80];
	struct err trouble;

	hex_encode(bytes_of(r->c->id, ID_BYTES), hex);
	(void)snprintf(target, sizeof target, "/v1/conversations/%s/members", hex);
	members_list(&list, ids, n);
	lie = (struct lie){.target = target, .kind = LIE_INVENT, .instead = buf_bytes(&list)};
	MUST(f, conversation_archive_open(r->c, &f->err));
	lie_end();
	assert_non_null(r->c->archive);
	*ret_members = r->c->archive->vault->membership->members;
	trouble = r->c->archive_trouble;
	return trouble;
}

/* The cluster leaves people out of its list, and who began it, too: nobody goes by that. */
static void test_list_takes_nobody_out(void **state)
{
	struct fixture *f = *state;
	const struct share_user gone = {.role = 0};
	uint8_t id[ID_BYTES], alice[1][ID_BYTES];
	struct members members;
	struct member *herself;
	struct run r;

	begin_with(f, true, id);
	user_id(f, &f->first, "alice", alice[0]);
	for (size_t n = 0; n < 2; n++) {
		r = run_open(f, &f->first, id);
		assert_int_equal(
			follow_listed(f, &r, (const uint8_t(*)[ID_BYTES])alice, n, &members).code,
			0);
		assert_int_equal(members.count, 2);
		assert_int_equal(members.epoch, 1);
		/* Who is gone already, by another device: nothing is sent. */
		MUST(f, share_move_users(r.c->archive->vault, &gone, 1, NULL, NULL, &f->err));
		run_close(&r);
	}
	/* Whatever the conversation says of herself. */
	r = run_open(f, &f->first, id);
	herself = (struct member *)members_find(&r.c->members->members, alice[0]);
	herself->id[0] ^= 1;
	assert_int_equal(
		follow_listed(f, &r, (const uint8_t(*)[ID_BYTES])alice, 1, &members).code, 0);
	assert_int_equal(members.count, 2);
	run_close(&r);
}

/* Another device of hers, which is shown the conversation as it was, brings nobody back, and takes
 * nobody out. */
static void test_old_list_moves_nobody(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES], ids[3][ID_BYTES];
	struct run older, r;
	struct members members;
	struct err trouble;

	need_second(f);
	begin_with(f, true, id);
	user_id(f, &f->first, "alice", ids[0]);
	user_id(f, &f->first, "bob", ids[1]);
	user_id(f, &f->first, "carol", ids[2]);
	older = run_open(f, &f->second, id);
	add_carol(f, id);
	trouble = follow_listed(f, &older, (const uint8_t(*)[ID_BYTES])ids, 2, &members);
	assert_int_equal(trouble.code, KLUIS_ECONFLICT);
	assert_non_null(members_find(&members, ids[2]));
	run_close(&older);
	older = run_open(f, &f->second, id);
	r = run_open(f, &f->first, id);
	MUST(f, conversation_remove(r.c, ids[2], &f->err));
	run_close(&r);
	trouble = follow_listed(f, &older, (const uint8_t(*)[ID_BYTES])ids, 3, &members);
	assert_int_equal(trouble.code, KLUIS_ECONFLICT);
	assert_null(members_find(&members, ids[2]));
	run_close(&older);
	/* As it is, it goes on. */
	add_carol(f, id);
}

/* Nor where it is shown only with the change that the vault has gone on, too. */
static void test_old_list_and_old_vault(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES], carols[ID_BYTES];
	struct run older, r;
	struct member *her;

	need_second(f);
	begin_with(f, true, id);
	add_carol(f, id);
	user_id(f, &f->first, "carol", carols);
	older = run_open(f, &f->second, id);
	MUST(f, conversation_archive_open(older.c, &f->err));
	assert_non_null(members_find(&older.c->archive->vault->membership->members, carols));
	r = run_open(f, &f->first, id);
	MUST(f, conversation_remove(r.c, carols, &f->err));
	run_close(&r);
	her = (struct member *)members_find(&older.c->members->members, carols);
	her->role = MEMBER_READ; /* What is to be done to her in the vault as it was. */
	conversation_archive_members(older.c);
	assert_int_equal(older.c->archive_trouble.code, KLUIS_ECONFLICT);
	assert_null(members_find(&older.c->archive->vault->membership->members, carols));
	run_close(&older);
}

static void switch_as_bob(struct fixture *f, const uint8_t *id, bool on)
{
	struct run r = run_open(f, &bob, id);

	MUST(f, conversation_archive_open(r.c, &f->err));
	MUST(f, archive_set_history(r.c, on, &f->err));
	run_close(&r);
}

static void expect_switched(struct fixture *f, const uint8_t *id, const char *lines, int switched)
{
	struct seen seen = {.problems = 0};
	struct err trouble;

	MUST(f, read_run(f, &f->first, id, 0, &seen, &trouble));
	assert_string_equal(buf_str(&seen.lines), lines);
	assert_int_equal(trouble.code, 0);
	assert_int_equal(seen.switched, switched);
	buf_release(&seen.lines);
}

/* Bob switches the history: alice is told once, with what she reads next, which is not archived
 * yet. */
static void test_switched_by_another(void **state)
{
	struct fixture *f = *state;
	struct conversation_archived archived;
	uint8_t id[ID_BYTES];
	struct run r;

	begin_with(f, false, id);
	say(f, &f->first, id, "one");
	expect_switched(f, id, "1:plans 2:one ", HISTORY_AS_SEEN);
	switch_as_bob(f, id, true);
	say(f, &f->first, id, "two");
	expect_switched(f, id, "3:two ", HISTORY_SWITCHED_ON);
	r = run_open(f, &f->first, id);
	MUST(f, conversation_archived(r.c, &archived, &f->err));
	assert_int_equal(archived.segments, 0);
	assert_int_equal(r.c->history_switched, HISTORY_AS_SEEN);
	run_close(&r);
	say(f, &f->first, id, "three");
	expect_switched(f, id, "4:three ", HISTORY_AS_SEEN);
	switch_as_bob(f, id, false);
	say(f, &f->first, id, "four");
	expect_switched(f, id, "5:four ", HISTORY_SWITCHED_OFF);
	/* What she decides herself is no news. */
	switch_as_bob(f, id, true);
	r = run_open(f, &f->first, id);
	MUST(f, conversation_archive_switch(r.c, false, &f->err));
	assert_int_equal(r.c->history_switched, HISTORY_AS_SEEN);
	run_close(&r);
	say(f, &f->first, id, "five");
	expect_switched(f, id, "6:five ", HISTORY_AS_SEEN);
}

/* Nor does it open with another key; who has the right one cannot put it there, and another who has
 * read it can where there is none. */
static void test_archived_key(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {.problems = 0};
	uint8_t id[ID_BYTES];
	struct err trouble;

	begin_forged(f, id, forge_key);
	expect(f, &f->first, id, "1:plans 2:one 3:two ");
	MUST(f, read_run(f, &f->first, id, 3, &seen, &trouble));
	assert_string_equal(buf_str(&seen.lines), "1:plans 2:- 3:two ");
	buf_release(&seen.lines);
}

static void test_archived_without_key(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES];

	begin_forged(f, id, forge_gone);
	expect_last(f, &bob, id, 3, "1:plans 2:- 3:two ");
	expect(f, &f->first, id, "1:plans 2:one 3:two ");
	expect_last(f, &bob, id, 3, "1:plans 2:one 3:two ");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_archived_lie),
		cmocka_unit_test(test_archived_lie_to_who_comes_later),
		cmocka_unit_test(test_archived_stranger),
		cmocka_unit_test(test_archived_stranger_in_an_epoch),
		cmocka_unit_test(test_archived_as_another_number),
		cmocka_unit_test(test_busy_is_not_missing),
		cmocka_unit_test(test_damaged_segment),
		cmocka_unit_test(test_damaged_behind_what_is_read_again),
		cmocka_unit_test(test_segment_of_a_later_version),
		cmocka_unit_test(test_read_where_nobody_follows),
		cmocka_unit_test(test_hole_between_segments),
		cmocka_unit_test(test_damaged_is_asked_for_once),
		cmocka_unit_test(test_damaged_index),
		cmocka_unit_test(test_missing_is_asked_for_once),
		cmocka_unit_test(test_list_takes_nobody_out),
		cmocka_unit_test(test_old_list_moves_nobody),
		cmocka_unit_test(test_old_list_and_old_vault),
		cmocka_unit_test(test_switched_by_another),
		cmocka_unit_test(test_archived_key),
		cmocka_unit_test(test_archived_without_key),
	};

	return three_main(argc, argv, tests, ARRAY_SIZE(tests));
}
