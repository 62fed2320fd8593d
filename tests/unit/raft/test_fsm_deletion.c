#include "tests/lib/test.h"

#include <string.h>

#include "storage/deletion_store.h"
#include "storage/object_store.h"
#include "storage/session_store.h"
#include "storage/row.h"
#include "storage/upkeep_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/sharing.h"
#include "tests/unit/raft/lib/person_rig.h"

/* Accounts go, and what operators may do to them; the log that their owners read. */

static struct command account_delete(unsigned token)
{
	return (struct command){
		.type = COMMAND_ACCOUNT_DELETE, .account_delete.session = fixture_token(token)};
}

static struct command rule(struct person_rig *w, uint8_t what)
{
	return (struct command){.type = COMMAND_PERSON_RULE,
		.person_rule = {
			.actor = bytes_str("op"), .name = bytes_str(w->p.name), .what = what}};
}

/* Rows of the family whose key goes on with the person's id. */
static unsigned rows_of(struct person_rig *w, enum key_family family)
{
	struct row_key prefix = row_key_begin(family), end;
	struct kv_view *view = person_view(w);
	struct kv_iter *iter;
	unsigned n = 0;

	row_key_put_id(&prefix, w->p.user_id);
	end = row_key_after_prefix(&prefix);
	iter = kv_iter_new(view, row_key_bytes(&prefix), row_key_bytes(&end));
	while (kv_iter_next(iter)) {
		n++;
	}
	kv_iter_free(iter);
	kv_view_free(view);
	return n;
}

static void give_a_vault(struct person_rig *w, struct fixture_client *c)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;

	fixture_client_init(c, 7);
	memcpy(c->user_id, w->p.user_id, 16);
	memcpy(c->device_id, w->p.device_id, 16);
	memcpy(c->token_hash, w->p.token_hash, 32);
	fixture_vault_create(c, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
	fixture_committed(c, bytes_of(NULL, 0));
}

static void expect_gone(struct person_rig *w, const struct fixture_client *c)
{
	static const enum key_family families[] = {KEY_PERSON, KEY_STATEMENT, KEY_DEVICE,
		KEY_USER_SESSION, KEY_UNLOCK, KEY_KEYRING, KEY_KEYRING_OBJECT, KEY_MFA, KEY_PENDING,
		KEY_RECOVERY, KEY_PUSH, KEY_MEMBER_VAULT, KEY_USER_WORK, KEY_ACCESS,
		KEY_ACCESS_STATE};
	struct kv_view *view = person_view(w);
	struct person_name_row name;
	struct vault_row vault;
	struct user_row user;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		assert_int_equal(rows_of(w, families[i]), 0);
	}
	assert_int_equal(person_name_store_get(view, w->p.name, &name, NULL), 0);
	assert_true(name.gone);
	assert_int_equal(user_store_get(view, w->p.user_id, &user, NULL), 0);
	assert_true(user.disabled && user.name[0] == 0);
	assert_int_equal(vault_store_get(view, c->vault_id, &vault, NULL), 0);
	assert_int_equal(vault.state, VAULT_GONE);
	kv_view_free(view);
}

static void test_deleted(void **state)
{
	struct person_rig *w = *state;
	struct fixture_client c;
	struct command command;
	struct command fail = {.type = COMMAND_LOGIN_FAILED, .login_failed.kind = GUARD_PASSWORD};

	give_a_vault(w, &c);
	memcpy(fail.login_failed.id, w->p.user_id, 16);
	person_expect(w, &fail, 0);
	person_factor(w, TOKEN_P, MFA_IP, 1, 0);
	command = (struct command){.type = COMMAND_MFA_ADD,
		.mfa_add = {.session = fixture_token(TOKEN_P), .mfa_id = {2}, .method = MFA_TOTP}};
	person_expect(w, &command, 0);
	command = (struct command){.type = COMMAND_PUSH_PUT,
		.push_put = {.session = fixture_token(TOKEN_P),
			.push_id = {3},
			.kind = 1,
			.sealed = bytes_str("sealed")}};
	person_expect(w, &command, 0);
	w->m.now_ms += FRESH_LOGIN_MS + 1;
	command = account_delete(TOKEN_P);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	command = fixture_login(&w->p, 10, true);
	person_expect(w, &command, 0);
	w->m.now_ms += FRESH_LOGIN_MS;
	command = account_delete(10);
	person_expect(w, &command, 0);
	person_level(w, TOKEN_P, 0);
	person_level(w, 10, 0);
	person_level(w, TOKEN_Q, SESSION_FULL);
	person_expire(w, 0);
	expect_gone(w, &c);
	command = fixture_login(&w->p, 11, true);
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	fixture_person_release(&w->p);
	fixture_person_init(&w->p, TOKEN_P);
	command = fixture_register(&w->p); /* The very same again. */
	person_expect(w, &command, KLUIS_EEXIST);
	memcpy(w->p.name, "other", 6);
	command = fixture_register(&w->p); /* The id. */
	person_expect(w, &command, KLUIS_EEXIST);
	memset(command.account_delete.session.token_hash, 0, 32);
	command = account_delete(TOKEN_P);
	memcpy(command.account_delete.session.token_hash, w->service.token_hash, 32);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
}

/* A member of a vault, a group and a conversation: others go on with them, and can remove her by
 * the chain, which still names her. */
static void test_what_is_shared_stays(void **state)
{
	struct person_rig *w = *state;
	struct command command = account_delete(TOKEN_P), answer;
	struct fixture_section s, *list[] = {&s};
	struct fixture_client c, q;
	struct fixture_object vault, group, talk;
	struct buf space = BUF_INIT;
	struct member_row row;
	struct vault_row kept;
	struct object_row left;
	struct kv_view *view;

	give_a_vault(w, &c);
	fixture_client_init(&q, 8);
	memcpy(q.user_id, w->q.user_id, 16);
	memcpy(q.token_hash, w->q.token_hash, 32);
	fixture_object_vault(&vault, &c);
	fixture_object_init(&group, MEMBER_OBJECT_GROUP, 1);
	fixture_object_init(&talk, MEMBER_OBJECT_CONVERSATION, 2);
#define CHANGE(client)                                                           \
	do {                                                                     \
		struct command change = fixture_change(client, list, 1, &space); \
		person_expect(w, &change, 0);                                    \
		fixture_section_release(&s);                                     \
	} while (0)
	fixture_section_begin(&s, &vault);
	fixture_add(&s, q.user_id, MEMBER_USER, MEMBER_ADMIN);
	fixture_give(&s, c.user_id, q.user_id, NULL, 1);
	CHANGE(&c);
	fixture_section_begin(&s, &group);
	fixture_create(&s, c.user_id); /* Nobody else is in it. */
	CHANGE(&c);
	fixture_section_begin(&s, &talk);
	fixture_create(&s, q.user_id);
	fixture_add(&s, c.user_id, MEMBER_USER, MEMBER_WRITE);
	CHANGE(&q);
	fixture_section_begin(&s, &vault);
	fixture_rotate(&s);
	fixture_give(&s, c.user_id, c.user_id, NULL, 2);
	fixture_give(&s, c.user_id, q.user_id, NULL, 2);
	CHANGE(&c);
	assert_int_equal(rows_of(w, KEY_PACKET), 1);
	answer = fixture_answer(&q, vault.id, true);
	person_expect(w, &answer, 0);
	person_expect(w, &command, 0);
	person_expire(w, 0);
	assert_int_equal(rows_of(w, KEY_MEMBER_VAULT), 0);
	assert_int_equal(rows_of(w, KEY_MEMBER_OF), 0);
	assert_int_equal(rows_of(w, KEY_PACKET), 0);
	assert_int_equal(rows_of(w, KEY_PACKET_USE), 0);
	view = person_view(w);
	assert_int_equal(vault_store_get(view, vault.id, &kept, NULL), 0);
	assert_int_equal(kept.state, VAULT_ACTIVE);
	assert_int_equal(member_store_get(view, vault.id, c.user_id, &row, NULL), 0);
	assert_int_equal(row.state, MEMBER_DECLINED);
	assert_int_equal(object_store_get(view, group.id, &left, NULL), 0);
	assert_int_equal(left.state, OBJECT_GONE);
	assert_int_equal(object_store_get(view, talk.id, &left, NULL), 0);
	assert_true(left.state == OBJECT_ACTIVE && left.chat_stale);
	kv_view_free(view);
	fixture_section_begin(&s, &vault);
	fixture_remove(&s, c.user_id);
	fixture_rotate(&s);
	CHANGE(&q);
	buf_release(&space);
#undef CHANGE
}

/* A little at a time, whatever there is. */
static void test_small_steps(void **state)
{
	struct person_rig *w = *state;
	struct command command = account_delete(TOKEN_P);
	struct command step = {.type = COMMAND_EXPIRE, .expire = {.max_rows = 1}};
	struct fixture_client c;

	give_a_vault(w, &c);
	person_expect(w, &command, 0);
	for (unsigned i = 0; i < 60; i++) {
		w->m.now_ms += EXPIRE_INTERVAL_MS;
		person_expect(w, &step, 0);
		assert_int_equal(fixture_check_store(w->m.kv, NULL), 0);
	}
	expect_gone(w, &c);
}

static void test_operator(void **state)
{
	struct person_rig *w = *state;
	struct access_row rows[8];
	struct kv_view *view;
	struct command command = rule(w, PERSON_DISABLE);
	size_t n = 0;

	person_expect(w, &command, 0);
	person_expect(w, &command, 0); /* Done already. */
	person_level(w, TOKEN_P, 0);
	command = rule(w, PERSON_ENABLE);
	person_expect(w, &command, 0);
	command = fixture_login(&w->p, 10, true);
	person_expect(w, &command, 0);
	command = rule(w, PERSON_END_SESSIONS);
	person_expect(w, &command, 0);
	person_level(w, 10, 0);
	view = person_view(w);
	assert_int_equal(access_store_list(view, w->p.user_id, 2, rows, 8, &n, NULL), 0);
	kv_view_free(view);
	assert_int_equal(n, 4);
	assert_int_equal(rows[0].event, ACCESS_DISABLED);
	assert_string_equal(rows[0].behalf, "op");
	assert_memory_equal(rows[0].who, (uint8_t[16]){0}, 16);
	assert_memory_equal(rows[0].user_id, w->p.user_id, 16);
	assert_true(rows[0].time_ms == w->m.now_ms && rows[0].seq == 3);
	assert_int_equal(rows[1].event, ACCESS_ENABLED);
	assert_int_equal(rows[2].event, ACCESS_LOGIN);
	assert_memory_equal(rows[2].who, w->p.user_id, 16);
	assert_memory_equal(rows[2].device_id, w->p.device_id, 16);
	assert_int_equal(rows[3].event, ACCESS_SESSIONS_ENDED);
	command = rule(w, PERSON_DELETE);
	person_expect(w, &command, 0);
	person_expect(w, &command, KLUIS_EGONE);
	command.person_rule.name = bytes_str("nobody");
	person_expect(w, &command, KLUIS_ENOTFOUND);
	command.person_rule.name = bytes_str(w->service.name);
	person_expect(w, &command, KLUIS_ENOTFOUND);
	person_expire(w, 0);
}

static void test_quota(void **state)
{
	struct person_rig *w = *state;
	_cleanup_(buf_release) struct buf bytes = BUF_INIT, entries = BUF_INIT;
	struct command quota = {.type = COMMAND_PERSON_QUOTA,
		.person_quota = {.actor = bytes_str("op"),
			.name = bytes_str(w->p.name),
			.vaults_max = 1,
			.pages_max = 2}};
	struct fixture_client c;

	person_expect(w, &quota, 0);
	assert_int_equal(person_events(w, &w->p, ACCESS_QUOTA_CHANGED), 1);
	give_a_vault(w, &c);
	fixture_entry(&c, 0, 1, 12, 1, false, &entries);
	fixture_commit(&c, buf_bytes(&entries), 3, false, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), KLUIS_EQUOTA);
	fixture_commit(&c, buf_bytes(&entries), 2, false, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
	fixture_committed(&c, buf_bytes(&entries));
	quota.person_quota.pages_max = 1; /* Later, and lower: what is there can be changed. */
	person_expect(w, &quota, 0);
	buf_clear(&entries);
	fixture_entry(&c, 0, 2, 12, 1, false, &entries);
	fixture_commit(&c, buf_bytes(&entries), 2, false, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
	fixture_committed(&c, buf_bytes(&entries));
	c.vault_id[0] ^= 1;
	fixture_vault_create(&c, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), KLUIS_EQUOTA);
}

static void commit_pages(struct person_rig *w, struct fixture_client *c, struct bytes entries)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;

	fixture_commit(c, entries, 2, false, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
	fixture_committed(c, entries);
}

static struct vault_row vault_of(struct person_rig *w, const struct fixture_client *c)
{
	struct kv_view *view = person_view(w);
	struct vault_row vault;

	assert_int_equal(vault_store_get(view, c->vault_id, &vault, NULL), 0);
	kv_view_free(view);
	return vault;
}

/* A vault knows what its current pages take, unless it was made before that was counted. */
static void test_bytes_are_counted(void **state)
{
	struct person_rig *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, stage = BUF_INIT;
	struct fixture_client c;

	give_a_vault(w, &c);
	assert_true(vault_of(w, &c).counted && vault_of(w, &c).bytes == 0);
	fixture_stage(&c, 1, 1, 13, 2, &stage);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&stage)), 0);
	fixture_entry(&c, 0, 1, 12, 1, false, &entries);
	fixture_entry(&c, 1, 1, 13, 2, true, &entries);
	commit_pages(w, &c, buf_bytes(&entries));
	assert_true(vault_of(w, &c).bytes == 4096 + 144 + 8192 + 144);
	buf_clear(&entries);
	fixture_entry(&c, 0, 2, 14, 3, false, &entries);
	fixture_entry(&c, 1, 2, 0, 4, false, &entries); /* A tombstone. */
	commit_pages(w, &c, buf_bytes(&entries));
	assert_true(vault_of(w, &c).bytes == 16384 + 144 + 144);
	assert_false(vault_of(w, &w->service).counted);
	buf_clear(&entries);
	fixture_entry(&w->service, 0, 1, 12, 1, false, &entries);
	commit_pages(w, &w->service, buf_bytes(&entries));
	assert_true(!vault_of(w, &w->service).counted && vault_of(w, &w->service).bytes == 0);
}

static void test_notes(void **state)
{
	struct person_rig *w = *state;
	struct command note = {.type = COMMAND_ACCESS_NOTE,
		.access_note = {.session = fixture_token(TOKEN_P),
			.event = ACCESS_UNLOCKED,
			.object = {9}}};

	person_expect(w, &note, 0);
	assert_int_equal(person_events(w, &w->p, ACCESS_UNLOCKED), 1);
	note.access_note.session = fixture_token(99);
	person_expect(w, &note, KLUIS_EUNAUTHENTICATED);
}

/* Rows of 400 days; a jump of the clock ahead takes none away for a day. */
static void test_log_expires(void **state)
{
	struct person_rig *w = *state;
	struct command note = {.type = COMMAND_ACCESS_NOTE,
		.access_note = {.session = fixture_token(TOKEN_P), .event = ACCESS_UNLOCKED}};
	struct access_state_row log;
	struct kv_view *view;

	for (unsigned i = 0; i < 40; i++) {
		w->m.now_ms += 1000;
		person_expect(w, &note, 0);
	}
	person_expire(w, ACCESS_KEPT_MS - 40000 - EXPIRE_INTERVAL_MS * 20);
	view = person_view(w);
	assert_int_equal(access_store_state(view, w->p.user_id, &log, NULL), 0);
	assert_true(log.first == 1 && log.last == 42);
	kv_view_free(view);
	person_expire(w, 30000);
	view = person_view(w);
	assert_int_equal(access_store_state(view, w->p.user_id, &log, NULL), 0);
	assert_true(log.first > 15 && log.first < 40 && log.last == 42);
	kv_view_free(view);
	person_expire(w, 60000);
	view = person_view(w);
	assert_int_equal(access_store_state(view, w->p.user_id, &log, NULL), 0);
	assert_true(log.first == 43 && log.last == 42 && log.expires_ms == 0);
	kv_view_free(view);
	assert_int_equal(rows_of(w, KEY_ACCESS), 0);
	note = fixture_login(&w->p, 10, true); /* The chain goes on. */
	person_expect(w, &note, 0);
	view = person_view(w);
	assert_int_equal(access_store_state(view, w->p.user_id, &log, NULL), 0);
	assert_true(log.first == 43 && log.last == 43 && log.expires_ms != 0);
	kv_view_free(view);
}

#define T(f) cmocka_unit_test_setup_teardown(f, person_rig_setup, person_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_deleted),
		T(test_small_steps),
		T(test_what_is_shared_stays),
		T(test_operator),
		T(test_quota),
		T(test_bytes_are_counted),
		T(test_notes),
		T(test_log_expires),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
