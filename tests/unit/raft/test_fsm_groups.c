/* Groups as members of vaults, and conversations. */
#include "tests/lib/test.h"

#include <string.h>

#include "storage/object_store.h"
#include "tests/unit/raft/lib/sharing_rig.h"

static void test_group(void **state)
{
	struct sharing_rig *w = *state;
	struct kv_view *view;
	struct object_row row;

	sharing_group(w, false);
	sharing_learn(w);
	assert_int_equal(sharing_commit(w, &w->bob), KLUIS_ENOTFOUND);
	sharing_answer(w, &w->bob, w->group.id, true, 0);
	assert_int_equal(sharing_commit(w, &w->bob), 0);
	assert_int_equal(sharing_packets(w, w->group.id), 1);
	view = kv_view_new(w->m.kv);
	assert_int_equal(object_store_get(view, w->group.id, &row, NULL), 0);
	kv_view_free(view);
	assert_true(row.kind == MEMBER_OBJECT_GROUP && row.state == OBJECT_ACTIVE);
	assert_true(row.epoch == 1 && row.members_rev == 2);
	assert_memory_equal(row.members_hash, w->group.hash, 32);
	assert_memory_equal(row.founder, w->alice.user_id, 16);
	assert_memory_equal(row.group_key, w->group.key, 65);
	assert_memory_equal(row.group_kid, w->group.kid, 16);
	assert_true(row.label_bytes == 6 && memcmp(row.label, "sealed", 6) == 0);
	sharing_answer(w, &w->bob, w->group.id, false, 0);
	assert_int_equal(sharing_commit(w, &w->bob), KLUIS_ENOTFOUND);
}

/* A new key of the group for who remains, and with it one of each of its vaults. */
static void test_group_removal(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object was, vault_was, old;

	sharing_group(w, true);
	fixture_section_begin(&w->s, &w->group);
	fixture_add(&w->s, w->carol.user_id, MEMBER_USER, MEMBER_READ);
	fixture_give(&w->s, w->alice.user_id, w->carol.user_id, NULL, 1);
	sharing_change(w, &w->alice, 0);
	sharing_answer(w, &w->carol, w->group.id, true, 0);
	was = w->group;
	vault_was = w->vault;
#define REMOVE_BOB()                                                              \
	do {                                                                      \
		w->group = was;                                                   \
		w->vault = vault_was;                                             \
		fixture_section_begin(&w->s, &w->group);                          \
		fixture_remove(&w->s, w->bob.user_id);                            \
		fixture_rotate(&w->s);                                            \
		fixture_give(&w->s, w->alice.user_id, w->carol.user_id, NULL, 2); \
	} while (0)
	REMOVE_BOB();
	sharing_change(w, &w->alice, KLUIS_EPRECONDITION); /* The vault keeps its key. */
	REMOVE_BOB();
	fixture_section_begin(&w->t, &w->vault);
	fixture_role(&w->t, w->group.id, MEMBER_READ);
	sharing_change(w, &w->alice, KLUIS_EPRECONDITION);
	REMOVE_BOB();
	fixture_section_begin(&w->t, &w->vault);
	fixture_rotate(&w->t);
	sharing_change(w, &w->alice, KLUIS_EPRECONDITION); /* The group does not get it. */
	old = was;
	REMOVE_BOB();
	fixture_section_begin(&w->t, &w->vault);
	fixture_rotate(&w->t);
	fixture_give(&w->t, w->alice.user_id, w->group.id, &old, 2);
	sharing_change(w, &w->alice, KLUIS_EPRECONDITION); /* Under the key that bob has. */
	assert_int_equal(sharing_role(w, &w->bob), MEMBER_WRITE);
	REMOVE_BOB();
	fixture_section_begin(&w->t, &w->vault);
	fixture_rotate(&w->t);
	fixture_give(&w->t, w->alice.user_id, w->group.id, &w->group, 2);
	sharing_change(w, &w->alice, 0);
	assert_int_equal(sharing_role(w, &w->bob), 0);
	assert_int_equal(sharing_role(w, &w->carol), MEMBER_WRITE);
	sharing_learn(w);
	assert_int_equal(sharing_commit(w, &w->bob), KLUIS_ENOTFOUND);
	assert_int_equal(sharing_commit(w, &w->carol), 0);
#undef REMOVE_BOB
}

/* In one command with its removal from a vault, that vault needs no key for it. */
static void test_group_leaves_vault(void **state)
{
	struct sharing_rig *w = *state;

	sharing_group(w, true);
	fixture_section_begin(&w->t, &w->vault);
	fixture_remove(&w->t, w->group.id);
	fixture_rotate(&w->t);
	fixture_section_begin(&w->s, &w->group);
	fixture_remove(&w->s, w->bob.user_id);
	fixture_rotate(&w->s);
	sharing_change(w, &w->alice, 0);
	assert_int_equal(sharing_role(w, &w->bob), 0);
}

/* Who binds a group's admins to a vault is one of them; groups do not nest. */
static void test_group_by_its_admin(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object bobs, was;

	fixture_object_vault(&bobs, &w->bob);
	sharing_group(w, true);
	was = bobs;
	fixture_section_begin(&w->s, &bobs);
	fixture_add(&w->s, w->group.id, MEMBER_GROUP, MEMBER_READ);
	fixture_give(&w->s, w->bob.user_id, w->group.id, &w->group, 1);
	sharing_change(w, &w->bob, KLUIS_EFORBIDDEN);
	fixture_section_begin(&w->s, &w->group);
	fixture_role(&w->s, w->bob.user_id, MEMBER_ADMIN);
	sharing_change(w, &w->alice, 0);
	bobs = was;
	fixture_section_begin(&w->s, &bobs);
	fixture_add(&w->s, w->group.id, MEMBER_GROUP, MEMBER_READ);
	fixture_give(&w->s, w->bob.user_id, w->group.id, &w->group, 1);
	sharing_change(w, &w->bob, 0);
	fixture_section_begin(&w->s, &w->group);
	fixture_add(&w->s, w->group.id, MEMBER_GROUP, MEMBER_READ);
	sharing_change(w, &w->alice, KLUIS_EINVAL);
}

static void test_group_by_admins_alone(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object was;

	sharing_group(w, true);
	was = w->group;
	fixture_section_begin(&w->s, &w->group);
	fixture_role(&w->s, w->bob.user_id, MEMBER_ADMIN);
	sharing_change(w, &w->bob, KLUIS_EFORBIDDEN);
	w->group = was;
	fixture_section_begin(&w->s, &w->group);
	fixture_role(&w->s, w->bob.user_id, MEMBER_ADMIN);
	sharing_change(w, &w->carol, KLUIS_ENOTFOUND);
}

static void test_create(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object o, fresh;
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct fixture_client d;

	fixture_object_init(&fresh, MEMBER_OBJECT_GROUP, 2);
#define MADE(rc, ...)                             \
	do {                                      \
		o = fresh;                        \
		fixture_section_begin(&w->s, &o); \
		__VA_ARGS__;                      \
		sharing_change(w, &w->alice, rc); \
	} while (0)
	MADE(KLUIS_EFORBIDDEN, fixture_create(&w->s, w->bob.user_id));
	MADE(KLUIS_EINVAL, fixture_create(&w->s, w->alice.user_id);
		w->s.section.group_key = bytes_of(NULL, 0));
	MADE(KLUIS_EINVAL, fixture_create(&w->s, w->alice.user_id); o.key[1] ^= 1);
	MADE(KLUIS_EINVAL, o.kind = MEMBER_OBJECT_VAULT; fixture_create(&w->s, w->alice.user_id));
	MADE(KLUIS_EINVAL, o.kind = MEMBER_OBJECT_CONVERSATION; o.kid[0] = 1;
		fixture_create(&w->s, w->alice.user_id));
	MADE(KLUIS_ENOTFOUND, o.seq = 1; fixture_rotate(&w->s));
	memcpy(fresh.id, w->bob.vault_id, 16);
	MADE(KLUIS_EEXIST, fixture_create(&w->s, w->alice.user_id));
	memcpy(fresh.id, w->bob.user_id, 16);
	MADE(KLUIS_EEXIST, fixture_create(&w->s, w->alice.user_id));
	fixture_object_init(&fresh, MEMBER_OBJECT_GROUP, 2);
	MADE(0, fixture_create(&w->s, w->alice.user_id));
	MADE(KLUIS_EEXIST, fixture_create(&w->s, w->alice.user_id);
		fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_READ));
#undef MADE
	/* Nor may a vault or a user have its id. */
	d = w->alice;
	memcpy(d.vault_id, fresh.id, 16);
	fixture_vault_create(&d, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), KLUIS_EEXIST);
	fixture_client_init(&d, 9);
	memcpy(d.user_id, fresh.id, 16);
	fixture_service_create(&d, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
	fixture_service_enrol(&d, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), KLUIS_EEXIST);
}

static void test_group_deleted(void **state)
{
	struct sharing_rig *w = *state;
	struct command drop = {.type = COMMAND_OBJECT_DELETE};

	sharing_group(w, true);
	memcpy(drop.object_delete.object_id, w->group.id, 16);
	memcpy(drop.object_delete.session.token_hash, w->bob.token_hash, 32);
	sharing_expect(w, &drop, KLUIS_EFORBIDDEN);
	memcpy(drop.object_delete.session.token_hash, w->carol.token_hash, 32);
	sharing_expect(w, &drop, KLUIS_ENOTFOUND);
	memcpy(drop.object_delete.session.token_hash, w->alice.token_hash, 32);
	sharing_expect(w, &drop, KLUIS_ECONFLICT); /* A member of the vault. */
	fixture_section_begin(&w->s, &w->vault);
	fixture_remove(&w->s, w->group.id);
	fixture_rotate(&w->s);
	sharing_change(w, &w->alice, 0);
	sharing_expect(w, &drop, 0);
	sharing_expect(w, &drop, KLUIS_EGONE);
	fixture_section_begin(&w->s, &w->group);
	fixture_rotate(&w->s);
	sharing_change(w, &w->alice, KLUIS_EGONE);
	sharing_answer(w, &w->bob, w->group.id, false, KLUIS_EGONE);
	fixture_object_init(&w->group, MEMBER_OBJECT_GROUP, 1);
	fixture_section_begin(&w->s, &w->group);
	fixture_create(&w->s, w->alice.user_id);
	w->s.section.label = bytes_str("another");
	sharing_change(w, &w->alice, KLUIS_EGONE); /* The very create statement, but long ago. */
	memcpy(drop.object_delete.object_id, w->vault.id, 16);
	sharing_expect(w, &drop, KLUIS_ENOTFOUND);
}

/* --- conversations --- */

static void test_conversation(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object talk, was;
	struct object_row row;
	struct kv_view *view;

	fixture_object_init(&talk, MEMBER_OBJECT_CONVERSATION, 5);
	fixture_section_begin(&w->s, &talk);
	fixture_create(&w->s, w->alice.user_id);
	fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_WRITE);
	sharing_change(w, &w->alice, 0);
	view = kv_view_new(w->m.kv);
	assert_int_equal(object_store_get(view, talk.id, &row, NULL), 0);
	kv_view_free(view);
	assert_true(row.kind == MEMBER_OBJECT_CONVERSATION && row.chat_stale);
	assert_int_equal(row.chat_epoch, 0);
	was = talk;
	fixture_section_begin(&w->s, &talk);
	fixture_rotate(&w->s);
	sharing_change(w, &w->alice, KLUIS_EINVAL);
	talk = was;
	fixture_section_begin(&w->s, &talk);
	fixture_add(&w->s, w->carol.user_id, MEMBER_USER, MEMBER_WRITE);
	fixture_give(&w->s, w->alice.user_id, w->carol.user_id, NULL, 1);
	sharing_change(w, &w->alice, KLUIS_EINVAL);
	talk = was;
	fixture_section_begin(&w->s, &talk);
	fixture_remove(&w->s, w->bob.user_id); /* Its epochs are made of messages. */
	sharing_change(w, &w->alice, 0);
}

/* 200 and no more. */
static void test_conversation_is_bounded(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object talk;

	fixture_object_init(&talk, MEMBER_OBJECT_CONVERSATION, 5);
	fixture_section_begin(&w->s, &talk);
	fixture_create(&w->s, w->alice.user_id);
	for (unsigned i = 0; i < CONVERSATION_MEMBERS_MAX; i++) {
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;
		struct fixture_client c;

		if (i == CONVERSATION_MEMBERS_MAX - 1) {
			sharing_change(w, &w->alice, 0);
			fixture_section_begin(&w->s, &talk);
		}
		fixture_client_init(&c, 100 + i);
		fixture_service_create(&c, &bytes);
		assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
		fixture_service_enrol(&c, &bytes);
		assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
		fixture_add(&w->s, c.user_id, MEMBER_USER, MEMBER_READ);
	}
	sharing_change(w, &w->alice, KLUIS_ETOOLARGE);
}

/* 200 users over 50 vaults: one of them goes, and all keys are made anew, in one command. */
static void test_large_group(void **state)
{
	enum { USERS = 200, SHARED = 50, PACKET_BYTES = 700 };
	struct sharing_rig *w = *state;
	struct fixture_object vault[SHARED];
	struct fixture_section section[1 + SHARED], *list[1 + SHARED];
	struct command command;
	uint8_t user[USERS][16];
	unsigned packets = 0;

	fixture_section_begin(&section[0], &w->group);
	fixture_create(&section[0], w->alice.user_id);
	for (unsigned i = 0; i < USERS; i++) {
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;
		struct fixture_client c;

		fixture_client_init(&c, 100 + i);
		fixture_service_create(&c, &bytes);
		assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
		fixture_service_enrol(&c, &bytes);
		assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
		memcpy(user[i], c.user_id, 16);
		fixture_add(&section[0], user[i], MEMBER_USER, MEMBER_READ);
		fixture_give(&section[0], w->alice.user_id, user[i], NULL, 1);
	}
	list[0] = &section[0];
	command = fixture_change(&w->alice, list, 1, &w->space);
	sharing_expect(w, &command, 0);
	fixture_section_release(&section[0]);
	for (unsigned i = 0; i < SHARED; i++) {
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;
		struct fixture_client c = w->alice;

		fixture_made_up("shared", i, c.vault_id, 16);
		fixture_vault_create(&c, &bytes);
		assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
		fixture_object_vault(&vault[i], &c);
		list[i] = &section[i];
		fixture_section_begin(list[i], &vault[i]);
		fixture_add(list[i], w->group.id, MEMBER_GROUP, MEMBER_WRITE);
		fixture_give(list[i], w->alice.user_id, w->group.id, &w->group, 1);
	}
	command = fixture_change(&w->alice, list, SHARED, &w->space);
	sharing_expect(w, &command, 0);
	fixture_section_begin(&section[SHARED], &w->group);
	list[0] = &section[SHARED];
	fixture_remove(list[0], user[0]);
	fixture_rotate(list[0]);
	for (unsigned i = 1; i < USERS; i++, packets++) {
		fixture_give(list[0], w->alice.user_id, user[i], NULL, 2);
	}
	for (unsigned i = 0; i < SHARED; i++, packets++) {
		fixture_section_release(&section[i]);
		list[1 + i] = &section[i];
		fixture_section_begin(list[1 + i], &vault[i]);
		fixture_rotate(list[1 + i]);
		fixture_give(list[1 + i], w->alice.user_id, w->group.id, &w->group, 2);
	}
	command = fixture_change(&w->alice, list, 1 + SHARED, &w->space);
	/* Real ones are of this size, and the request's body is base64. */
	assert_true((w->space.len + packets * PACKET_BYTES) / 3 * 4 < REQUEST_BODY_BYTES_MAX);
	sharing_expect(w, &command, 0);
	for (unsigned i = 0; i <= SHARED; i++) {
		fixture_section_release(list[i]);
	}
	assert_int_equal(sharing_packets(w, w->group.id), 2 * SHARED);
	assert_int_equal(sharing_packets(w, user[0]), 1);
	assert_int_equal(sharing_packets(w, user[1]), 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, sharing_setup, sharing_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_group),
		T(test_group_removal),
		T(test_group_leaves_vault),
		T(test_group_by_its_admin),
		T(test_group_by_admins_alone),
		T(test_create),
		T(test_group_deleted),
		T(test_conversation),
		T(test_conversation_is_bounded),
		T(test_large_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
