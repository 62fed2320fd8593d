#include "tests/lib/test.h"

#include <string.h>

#include "crypto/head.h"
#include "crypto/identity.h"
#include "crypto/member.h"
#include "crypto/page.h"
#include "storage/page_store.h"
#include "storage/session_store.h"
#include "storage/upkeep_store.h"
#include "storage/object_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/machine.h"

/* Each case changes one thing of a commit that would be taken and expects its refusal; afterwards
 * the store must be as before, to the byte of its state hash. */
struct world {
	struct fixture_machine m;
	struct fixture_client c, other;
};

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->c);
	fixture_machine_join(&w->m, &w->other, 2);
	fixture_entry(&w->c, 0, 1, 12, 1, false, &entries);
	fixture_entry(&w->c, 1, 1, 12, 2, false, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
	fixture_committed(&w->c, buf_bytes(&entries));
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;
	struct err e = {0};

	assert_int_equal(fixture_check_store(w->m.kv, &e), 0);
	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

static void expect(struct world *w, const struct buf *command, int rc)
{
	struct position before = *fsm_position(w->m.fsm);

	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(command)), rc);
	if (rc != 0) {
		assert_memory_equal(before.state_hash, fsm_position(w->m.fsm)->state_hash, 32);
		assert_int_equal(w->m.results.result[0].reply_len, 0);
	}
}

/* A good commit of page 0, revision 2, to be spoiled. */
static void good_entries(const struct world *w, struct buf *entries)
{
	buf_clear(entries);
	fixture_entry(&w->c, 0, 2, 12, 7, false, entries);
}

static void test_commit_succeeds_and_repeats(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct command_reply first, again;
	struct commit_entry entry;
	struct bytes left;
	struct position before;
	uint8_t page[32], told[32], none[32] = {0};

	good_entries(w, &entries);
	left = buf_bytes(&entries);
	assert_true(commit_entry_next(&left, &entry));
	hash_sha256(entry.bytes, page);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, 0);
	first = fixture_machine_reply(&w->m);
	assert_true(first.number == w->c.seq + 1);
	assert_memory_equal(first.hash, w->c.next_hash, 32);
	command_reply_page_hash(&first, told);
	assert_memory_equal(told, page, 32);
	before = *fsm_position(w->m.fsm);
	/* The identical head again: the first answer, but nothing of a page; nothing written. */
	expect(w, &command, 0);
	again = fixture_machine_reply(&w->m);
	assert_true(again.number == first.number);
	assert_memory_equal(first.hash, again.hash, 32);
	command_reply_page_hash(&again, told);
	assert_memory_equal(told, none, 32);
	assert_memory_equal(before.state_hash, fsm_position(w->m.fsm)->state_hash, 32);
}

static void test_commit_repeats_behind_newer(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT, next = BUF_INIT;

	good_entries(w, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, 0);
	fixture_committed(&w->c, buf_bytes(&entries));
	buf_clear(&entries);
	fixture_entry(&w->c, 0, 3, 12, 8, false, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &next);
	expect(w, &next, 0);
	expect(w, &command, 0);
	assert_true(fixture_machine_reply(&w->m).number == w->c.seq);
}

/* The command with `at` bytes into its signed head changed. */
static void spoil_head(struct buf *command, const struct buf *entries, size_t at)
{
	/* version, type, token hash, vault id, purge, length of the head */
	size_t head = 2 + 32 + 16 + 1 + 4;

	assert_true(command->len == head + HEAD_BYTES + 4 + entries->len);
	command->data[head + at] ^= 1;
}

static void test_commit_head_fields(void **state)
{
	static const struct {
		size_t at; /* CRYPTO section 10: offset in the head. */
		int rc;
	} rows[] = {{0, KLUIS_EINVAL},	    /* magic */
		{4, KLUIS_ESUITE},	    /* version */
		{5, KLUIS_ESUITE},	    /* signature suite */
		{7, KLUIS_EINVAL},	    /* flags */
		{8, KLUIS_EINVAL},	    /* vault */
		{24, KLUIS_EPRECONDITION},  /* seq: far ahead */
		{31, KLUIS_EPRECONDITION},  /* seq */
		{32, KLUIS_EINVAL},	    /* epoch: far ahead */
		{39, KLUIS_EPRECONDITION},  /* members_rev */
		{40, KLUIS_EINVAL},	    /* page_count: beyond all bounds */
		{80, KLUIS_EPRECONDITION},  /* prev_head_hash */
		{112, KLUIS_EPRECONDITION}, /* members_hash */
		{144, KLUIS_EFORBIDDEN},    /* writer_user */
		{160, KLUIS_EFORBIDDEN},    /* writer_device */
		{200, KLUIS_EINVAL}};	    /* the zero bytes */
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		good_entries(w, &entries);
		fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
		spoil_head(&command, &entries, rows[i].at);
		expect(w, &command, rows[i].rc);
	}
}

/* A key of a vault may be made and never be used before the next one; but not all epochs go at
 * once, and none comes back. */
static void test_commit_epochs(void **state)
{
	static const struct {
		uint32_t epoch;
		int rc;
	} rows[] = {{1 + VAULT_EPOCHS_MAX, KLUIS_EINVAL}, {VAULT_EPOCHS_MAX, 0},
		{VAULT_EPOCHS_MAX - 1, KLUIS_EINVAL}, {VAULT_EPOCHS_MAX + 1, 0}};
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	uint64_t revision = 2;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		w->c.key_epoch = rows[i].epoch;
		buf_clear(&entries);
		fixture_entry(&w->c, 0, revision, 12, 7, false, &entries);
		fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
		expect(w, &command, rows[i].rc);
		if (rows[i].rc == 0) {
			fixture_committed(&w->c, buf_bytes(&entries));
			revision++;
		}
	}
}

static void test_commit_page_count(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;

	good_entries(w, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 1, false, &command); /* Never shrinks. */
	expect(w, &command, KLUIS_EINVAL);
	fixture_commit(&w->c, buf_bytes(&entries), VAULT_PAGES_MAX + 1, false, &command);
	expect(w, &command, KLUIS_EINVAL);
	buf_clear(&entries);
	fixture_entry(&w->c, 2, 1, 12, 7, false, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command); /* Outside the tree. */
	expect(w, &command, KLUIS_EINVAL);
}

static void test_commit_page_fields(void **state)
{
	/* CRYPTO section 9: offsets in the page. */
	static const struct {
		size_t at;
		uint8_t flip;
		int rc;
	} rows[] = {{0, 1, KLUIS_EINVAL}, {4, 1, KLUIS_ESUITE}, {5, 4, KLUIS_ESUITE},
		{6, 4, KLUIS_EINVAL}, {7, 1, KLUIS_EINVAL}, {8, 1, KLUIS_EINVAL},
		{31, 1, KLUIS_EINVAL}, {39, 1, KLUIS_EINVAL}, {43, 1, KLUIS_EINVAL},
		{47, 1, KLUIS_EINVAL}, {48, 1, KLUIS_EINVAL}, {96, 2, KLUIS_EINVAL},
		{97, 1, KLUIS_EINVAL}, {111, 1, KLUIS_EINVAL}};
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		good_entries(w, &entries);
		entries.data[8 + 8 + 1 + 4 + rows[i].at] ^= rows[i].flip;
		fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
		expect(w, &command, rows[i].rc);
	}
}

static void test_commit_revisions(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;

	fixture_entry(&w->c, 0, 1, 12, 7, false, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, KLUIS_ECONFLICT);
	buf_clear(&entries);
	fixture_entry(&w->c, 0, 3, 12, 7, false, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, KLUIS_ECONFLICT);
	/* The second page spoils the first. */
	good_entries(w, &entries);
	fixture_entry(&w->c, 1, 3, 12, 7, false, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, KLUIS_ECONFLICT);
}

static void test_commit_entry_says_otherwise(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;

	good_entries(w, &entries);
	entries.data[7] = 1; /* page_no of the entry, not of the page. */
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, KLUIS_EINVAL);
	good_entries(w, &entries);
	entries.data[15] = 3; /* Revision. */
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, KLUIS_EINVAL);
}

static void test_commit_order(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;

	/* command_encode() would not make it: put together by hand. */
	fixture_commit(&w->c, bytes_of(NULL, 0), 2, false, &command);
	fixture_entry(&w->c, 1, 2, 12, 7, false, &entries);
	fixture_entry(&w->c, 0, 2, 12, 8, false, &entries);
	command.len -= 4;
	buf_put_lp32(&command, buf_bytes(&entries));
	expect(w, &command, KLUIS_EINVAL);
	fixture_commit(&w->c, bytes_of(NULL, 0), 2, false, &command);
	buf_clear(&entries);
	fixture_entry(&w->c, 0, 2, 12, 7, false, &entries);
	fixture_entry(&w->c, 0, 3, 12, 8, false, &entries); /* The same page twice. */
	command.len -= 4;
	buf_put_lp32(&command, buf_bytes(&entries));
	expect(w, &command, KLUIS_EINVAL);
}

static void test_commit_without_pages(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf command = BUF_INIT;

	fixture_commit(&w->c, bytes_of(NULL, 0), 2, false, &command);
	expect(w, &command, 0);
}

static void test_commit_staged(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT, stage = BUF_INIT;

	fixture_entry(&w->c, 0, 2, 12, 9, true, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, KLUIS_ENOTFOUND);
	fixture_stage(&w->c, 0, 2, 12, 9, &stage);
	expect(w, &stage, 0);
	w->m.now_ms += STAGED_KEPT_MS;
	expect(w, &command, KLUIS_ENOTFOUND); /* Expired, though not cleaned up yet. */
	expect(w, &stage, 0);		      /* Again: a later expiry. */
	expect(w, &command, 0);
}

static void test_stage_refusals(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	struct command c = {.type = COMMAND_STAGE_PAGE};
	struct fixture_client mixed = w->c;

	memcpy(c.stage_page.session.token_hash, w->c.token_hash, 32);
	memcpy(c.stage_page.vault_id, w->c.vault_id, 16);
	fixture_page(&w->c, 0, 2, 12, 1, &page);
	c.stage_page.page = buf_bytes(&page);
	hash_sha256(c.stage_page.page, c.stage_page.hash);
	c.stage_page.hash[0] ^= 1;
	assert_int_equal(fixture_machine_do(&w->m, &c), KLUIS_EINVAL);
	c.stage_page.hash[0] ^= 1;
	memcpy(c.stage_page.vault_id, w->other.vault_id, 16);
	assert_int_equal(fixture_machine_do(&w->m, &c), KLUIS_ENOTFOUND);
	memcpy(c.stage_page.vault_id, w->c.vault_id, 16);
	memcpy(mixed.vault_id, w->other.vault_id, 16); /* The page is of another vault. */
	buf_clear(&page);
	fixture_page(&mixed, 0, 2, 12, 1, &page);
	c.stage_page.page = buf_bytes(&page);
	hash_sha256(c.stage_page.page, c.stage_page.hash);
	assert_int_equal(fixture_machine_do(&w->m, &c), KLUIS_EINVAL);
	mixed = w->c;
	memcpy(mixed.device_id, w->other.device_id, 16); /* By another device. */
	buf_clear(&page);
	fixture_page(&mixed, 0, 2, 12, 1, &page);
	c.stage_page.page = buf_bytes(&page);
	hash_sha256(c.stage_page.page, c.stage_page.hash);
	assert_int_equal(fixture_machine_do(&w->m, &c), KLUIS_EINVAL);
	memcpy(mixed.device_id, w->c.device_id, 16);
	buf_clear(&page);
	fixture_page(&mixed, VAULT_PAGES_MAX, 1, 12, 1, &page);
	c.stage_page.page = buf_bytes(&page);
	hash_sha256(c.stage_page.page, c.stage_page.hash);
	assert_int_equal(fixture_machine_do(&w->m, &c), KLUIS_EINVAL);
}

static void test_commit_by_stranger(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct fixture_client thief = w->c;

	good_entries(w, &entries);
	memcpy(thief.token_hash, w->other.token_hash, 32);
	fixture_commit(&thief, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, KLUIS_ENOTFOUND); /* As if there were no such vault. */
	memset(thief.token_hash, 9, 32);
	fixture_commit(&thief, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, KLUIS_EUNAUTHENTICATED);
}

static void test_session_ends(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct command end = {.type = COMMAND_SESSION_END, .session_end.which = SESSION_END_ALL};

	memcpy(end.session_end.session.token_hash, w->c.token_hash, 32);
	assert_int_equal(fixture_machine_do(&w->m, &end), 0);
	good_entries(w, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, KLUIS_EUNAUTHENTICATED);
	fixture_session_create(&w->c, 1000, &command);
	expect(w, &command, 0);
	w->m.now_ms += 1000; /* Expires on the millisecond, by cluster time. */
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, KLUIS_EUNAUTHENTICATED);
}

static void test_second_factor_missing(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct command login = {.type = COMMAND_SESSION_CREATE,
		.session_create = {.level = SESSION_LOGIN, .ttl_ms = 1000}};
	struct fixture_client weak = w->c;

	memset(weak.token_hash, 3, 32);
	memcpy(login.session_create.user_id, w->c.user_id, 16);
	memcpy(login.session_create.device_id, w->c.device_id, 16);
	memcpy(login.session_create.token_hash, weak.token_hash, 32);
	assert_int_equal(fixture_machine_do(&w->m, &login), 0);
	good_entries(w, &entries);
	fixture_commit(&weak, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, KLUIS_EMFA);
}

static void test_device_revoked(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT, entries = BUF_INIT, command = BUF_INIT;
	uint8_t second[16] = {42};

	fixture_device_body(second, &body);
	fixture_identity_append(&w->c, IDENTITY_DEVICE_ADD, buf_bytes(&body), &command);
	expect(w, &command, 0);
	expect(w, &command, 0); /* The same statement again. */
	fixture_identity_append(&w->c, IDENTITY_DEVICE_ADD, buf_bytes(&body), &command);
	expect(w, &command, KLUIS_EEXIST); /* A device id is never used twice. */
	w->c.chain_seq--;
	{
		struct kv_view *view = kv_view_new(w->m.kv);
		struct user_row user;

		assert_int_equal(user_store_get(view, w->c.user_id, &user, NULL), 0);
		memcpy(w->c.chain_hash, user.chain_hash, 32);
		kv_view_free(view);
	}
	buf_clear(&body);
	buf_append(&body, w->c.device_id, 16);
	buf_put_u16(&body, 0);
	fixture_identity_append(&w->c, IDENTITY_DEVICE_REVOKE, buf_bytes(&body), &command);
	expect(w, &command, 0);
	good_entries(w, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, KLUIS_EUNAUTHENTICATED);
	fixture_session_create(&w->c, 1000, &command);
	expect(w, &command, KLUIS_EUNAUTHENTICATED);
}

static void test_identity_refusals(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT, command = BUF_INIT;
	struct fixture_client c = w->c;

	buf_put_u32(&body, 1);
	c.chain_hash[0] ^= 1; /* prev_hash */
	fixture_identity_append(&c, IDENTITY_POLICY, buf_bytes(&body), &command);
	expect(w, &command, KLUIS_EPRECONDITION);
	c = w->c;
	c.chain_seq++;
	fixture_identity_append(&c, IDENTITY_POLICY, buf_bytes(&body), &command);
	expect(w, &command, KLUIS_EPRECONDITION);
	c = w->c;
	memcpy(c.user_id, w->other.user_id, 16);
	fixture_identity_append(&c, IDENTITY_POLICY, buf_bytes(&body), &command);
	expect(w, &command, KLUIS_EFORBIDDEN);
	c = w->c;
	fixture_identity_append(&c, 8, buf_bytes(&body), &command);
	expect(w, &command, KLUIS_EINVAL);
	c = w->c;
	fixture_identity_append(&c, IDENTITY_DEVICE_ADD, buf_bytes(&body), &command);
	expect(w, &command, KLUIS_EINVAL);
	c = w->c;
	fixture_identity_append(&c, IDENTITY_DEVICE_REVOKE, buf_bytes(&body), &command);
	expect(w, &command, KLUIS_EINVAL);
	c = w->c;
	fixture_identity_append(&c, IDENTITY_POLICY, buf_bytes(&body), &command);
	expect(w, &command, 0);
}

static void test_read_only(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT, again = BUF_INIT;
	struct command on = {
		.type = COMMAND_READONLY, .readonly = {.on = true, .actor = bytes_str("operator")}};

	good_entries(w, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &again);
	expect(w, &again, 0);
	fixture_committed(&w->c, buf_bytes(&entries));
	assert_int_equal(fixture_machine_do(&w->m, &on), 0);
	buf_clear(&entries);
	fixture_entry(&w->c, 0, 3, 12, 7, false, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, KLUIS_EREADONLY);
	expect(w, &again, 0); /* A retry writes nothing. */
	fixture_stage(&w->c, 0, 3, 12, 7, &command);
	expect(w, &command, KLUIS_EREADONLY);
	buf_clear(&entries);
	fixture_entry(&w->c, 0, 3, 0, 7, false, &entries); /* A tombstone makes room. */
	fixture_commit(&w->c, buf_bytes(&entries), 2, true, &command);
	expect(w, &command, 0);
	fixture_committed(&w->c, buf_bytes(&entries));
	on.readonly.on = false;
	assert_int_equal(fixture_machine_do(&w->m, &on), 0);
	for (uint64_t node = 1; node <= 3; node++) {
		on.readonly.on = true;
		on.readonly.node = node;
		assert_int_equal(fixture_machine_do(&w->m, &on), 0);
		fixture_stage(&w->c, 0, 4, 12, 7, &command);
		/* Three of six full disks leave no majority with room. */
		expect(w, &command, node < 3 ? 0 : KLUIS_EREADONLY);
	}
	on.readonly.node = 77;
	assert_int_equal(fixture_machine_do(&w->m, &on), KLUIS_ENOTFOUND);
}

/* One page deleted, another one in place of the folder's, as `kluis rm` does. */
static void deletion(struct world *w, unsigned bucket, unsigned more, struct buf *command)
{
	_cleanup_(buf_release) struct buf entries = BUF_INIT;

	fixture_entry(&w->c, 0, w->c.revision[0] + 1, 0, 9, false, &entries);
	for (unsigned page = 1; page <= more; page++) {
		fixture_entry(&w->c, page, w->c.revision[page] + 1, bucket, 9, false, &entries);
	}
	fixture_commit(&w->c, buf_bytes(&entries), 2 + more, false, command);
}

/* Half of the nodes are low: what removes a page may bring its folder's along, from that level of
 * all nodes on at which they all agree to it. */
static void test_deletions_while_read_only(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf command = BUF_INIT;

	for (uint64_t node = 1; node <= 3; node++) {
		struct command low = {
			.type = COMMAND_READONLY, .readonly = {.node = node, .on = true}};

		assert_int_equal(fixture_machine_do(&w->m, &low), 0);
	}
	deletion(w, 12, 1, &command);
	expect(w, &command, KLUIS_EREADONLY);
	for (uint64_t node = 1; node <= 6; node++) {
		struct command known = {.type = COMMAND_NODE_ANNOUNCE,
			.node_announce = {.node = node,
				.feature_level = FEATURE_LEVEL_DELETIONS,
				.site = bytes_str("s"),
				.version = bytes_str("s")}};

		assert_int_equal(fixture_machine_do(&w->m, &known), 0);
	}
	/* 4 x 128 KiB with their heads are within the bound, with one more beyond it. */
	deletion(w, 17, 5, &command);
	expect(w, &command, KLUIS_EREADONLY);
	deletion(w, 17, 4, &command);
	expect(w, &command, 0);
}

static void test_vault_create_refusals(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf command = BUF_INIT, spoiled = BUF_INIT;
	struct fixture_client fresh, same = w->c;
	size_t create = 2 + 32 + 4 + 32 + 4;
	size_t body = create + 70 + 2;

	fixture_client_init(&fresh, 9);
	memcpy(fresh.user_id, w->c.user_id, 16);
	memcpy(fresh.device_id, w->c.device_id, 16);
	memcpy(fresh.token_hash, w->c.token_hash, 32);
	fixture_vault_create(&fresh, &command);
	for (size_t i = 0; i < 2; i++) {
		size_t at[] = {create + 5, body}; /* statement type; kind of object */

		buf_clear(&spoiled);
		buf_append_bytes(&spoiled, buf_bytes(&command));
		spoiled.data[at[i]] ^= 2;
		expect(w, &spoiled, KLUIS_EINVAL);
	}
	buf_clear(&spoiled);
	buf_append_bytes(&spoiled, buf_bytes(&command));
	spoiled.data[body + 1] ^= 1; /* founder */
	expect(w, &spoiled, KLUIS_EFORBIDDEN);
	buf_clear(&spoiled);
	buf_append_bytes(&spoiled, buf_bytes(&command));
	spoiled.data[body + 17] ^= 1; /* a vault has no group key */
	expect(w, &spoiled, KLUIS_EINVAL);
	buf_clear(&spoiled);
	buf_append_bytes(&spoiled, buf_bytes(&command));
	spoiled.data[create + 6] ^= 1; /* object id: the head is of another vault */
	expect(w, &spoiled, KLUIS_EINVAL);
	expect(w, &command, 0);
	expect(w, &command, 0); /* The very same again. */
	memcpy(same.vault_id, w->other.vault_id, 16);
	fixture_vault_create(&same, &command);
	expect(w, &command, KLUIS_EEXIST);
}

static struct command idempotent(const struct buf *command, const char *key, uint8_t body)
{
	struct command c;

	assert_int_equal(command_decode(buf_bytes(command), &c, NULL), 0);
	c.vault_create.once.key = bytes_str(key);
	memset(c.vault_create.once.body_hash, body, 32);
	return c;
}

static void test_idempotency(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf one = BUF_INIT, two = BUF_INIT;
	struct fixture_client a = w->c, b = w->c;
	struct command c;

	a.vault_id[0] ^= 1;
	b.vault_id[0] ^= 2;
	fixture_vault_create(&a, &one);
	fixture_vault_create(&b, &two);
	c = idempotent(&one, "key", 1);
	assert_int_equal(fixture_machine_do(&w->m, &c), 0);
	c = idempotent(&two, "key", 1); /* Same key and body hash: the first answer. */
	assert_int_equal(fixture_machine_do(&w->m, &c), 0);
	assert_memory_equal(fixture_machine_reply(&w->m).id, a.vault_id, 16);
	c = idempotent(&two, "key", 2);
	assert_int_equal(fixture_machine_do(&w->m, &c), KLUIS_EIDEMPOTENCY);
	w->m.now_ms += IDEMPOTENCY_KEPT_MS;
	assert_int_equal(fixture_machine_do(&w->m, &c), 0); /* Forgotten by then. */
	assert_memory_equal(fixture_machine_reply(&w->m).id, b.vault_id, 16);
}

static void test_patch_and_delete(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct command patch = {.type = COMMAND_VAULT_PATCH,
		.vault_patch = {.revision = 1, .label = bytes_str("new")}};
	struct command drop = {.type = COMMAND_VAULT_DELETE, .vault_delete.revision = 1};
	struct command expire = {.type = COMMAND_EXPIRE, .expire.max_rows = 3};
	struct member_of vaults[2];
	struct vault_row row;
	struct kv_view *view;
	unsigned steps = 0;
	size_t n;

	memcpy(patch.vault_patch.session.token_hash, w->c.token_hash, 32);
	memcpy(patch.vault_patch.vault_id, w->c.vault_id, 16);
	memcpy(drop.vault_delete.session.token_hash, w->c.token_hash, 32);
	memcpy(drop.vault_delete.vault_id, w->c.vault_id, 16);
	assert_int_equal(fixture_machine_do(&w->m, &patch), 0);
	assert_true(fixture_machine_reply(&w->m).number == 2);
	assert_int_equal(fixture_machine_do(&w->m, &patch), KLUIS_EPRECONDITION);
	assert_int_equal(fixture_machine_do(&w->m, &drop), KLUIS_EPRECONDITION);
	drop.vault_delete.revision = 2;
	assert_int_equal(fixture_machine_do(&w->m, &drop), 0);
	view = kv_view_new(w->m.kv);
	assert_int_equal(member_store_objects(view, MEMBER_OBJECT_VAULT, w->c.user_id, NULL, vaults,
				 2, &n, NULL),
		0);
	assert_int_equal(n, 0);
	kv_view_free(view);
	good_entries(w, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	expect(w, &command, KLUIS_EGONE);
	do {
		assert_true(steps++ < 50);
		w->m.now_ms += EXPIRE_INTERVAL_MS;
		assert_int_equal(fixture_machine_do(&w->m, &expire), 0);
		assert_true(fixture_machine_reply(&w->m).number <= 3);
	} while (fixture_machine_reply(&w->m).number > 0);
	assert_true(steps > 3); /* In bounded steps. */
	view = kv_view_new(w->m.kv);
	assert_int_equal(vault_store_get(view, w->c.vault_id, &row, NULL), 0);
	assert_int_equal(row.state, VAULT_GONE);
	kv_view_free(view);
	fixture_vault_create(&w->c, &command); /* Its id is never free again. */
	expect(w, &command, KLUIS_EEXIST);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_commit_succeeds_and_repeats),
		T(test_commit_repeats_behind_newer),
		T(test_commit_head_fields),
		T(test_commit_epochs),
		T(test_commit_page_count),
		T(test_commit_page_fields),
		T(test_commit_revisions),
		T(test_commit_entry_says_otherwise),
		T(test_commit_order),
		T(test_commit_without_pages),
		T(test_commit_staged),
		T(test_stage_refusals),
		T(test_commit_by_stranger),
		T(test_session_ends),
		T(test_second_factor_missing),
		T(test_device_revoked),
		T(test_identity_refusals),
		T(test_read_only),
		T(test_deletions_while_read_only),
		T(test_vault_create_refusals),
		T(test_idempotency),
		T(test_patch_and_delete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
