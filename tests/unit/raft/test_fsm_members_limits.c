/* How many members there can be of what. */
#include "tests/lib/test.h"

#include <string.h>

#include "storage/object_store.h"
#include "tests/unit/raft/lib/sharing_rig.h"

static void new_user(struct sharing_rig *w, unsigned number, uint8_t ret_id[16])
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct fixture_client c;

	fixture_client_init(&c, number);
	fixture_service_create(&c, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
	fixture_service_enrol(&c, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
	memcpy(ret_id, c.user_id, 16);
}

/* Of alice, with nobody else in it; *rc is what it came to. */
static void found(
	struct sharing_rig *w, struct fixture_object *o, unsigned kind, unsigned number, int rc)
{
	fixture_object_init(o, kind, number);
	fixture_section_begin(&w->s, o);
	fixture_create(&w->s, w->alice.user_id);
	sharing_change(w, &w->alice, rc);
}

static void test_members_of_a_vault(void **state)
{
	enum { STEP = 341 }; /* Three of it and alice are 1,024. */
	struct sharing_rig *w = *state;
	uint8_t user[16];

	for (unsigned i = 0; i < 3 * STEP; i++) {
		if (i % STEP == 0) {
			fixture_section_begin(&w->s, &w->vault);
		}
		new_user(w, 1000 + i, user);
		fixture_add(&w->s, user, MEMBER_USER, MEMBER_READ);
		fixture_give(&w->s, w->alice.user_id, user, NULL, 1);
		if (i % STEP == STEP - 1) {
			sharing_change(w, &w->alice, 0);
		}
	}
	fixture_section_begin(&w->s, &w->vault);
	fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_READ);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 1);
	sharing_change(w, &w->alice, KLUIS_ETOOLARGE);
}

static void test_groups_of_a_vault(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object group;

	for (unsigned i = 0; i <= VAULT_GROUPS_MAX; i++) {
		found(w, &group, MEMBER_OBJECT_GROUP, 100 + i, 0);
		fixture_section_begin(&w->s, &w->vault);
		fixture_add(&w->s, group.id, MEMBER_GROUP, MEMBER_READ);
		fixture_give(&w->s, w->alice.user_id, group.id, &group, 1);
		sharing_change(w, &w->alice, i < VAULT_GROUPS_MAX ? 0 : KLUIS_ETOOLARGE);
	}
}

static void test_vaults_of_a_group(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object group, vault;
	struct fixture_client c = w->alice;

	found(w, &group, MEMBER_OBJECT_GROUP, 1, 0);
	for (unsigned i = 0; i <= GROUP_VAULTS_MAX; i++) {
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;

		fixture_made_up("shared", i, c.vault_id, 16);
		fixture_vault_create(&c, &bytes);
		assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
		fixture_object_vault(&vault, &c);
		fixture_section_begin(&w->s, &vault);
		fixture_add(&w->s, group.id, MEMBER_GROUP, MEMBER_READ);
		fixture_give(&w->s, w->alice.user_id, group.id, &group, 1);
		sharing_change(w, &w->alice, i < GROUP_VAULTS_MAX ? 0 : KLUIS_EQUOTA);
	}
}

/* Those that she accepted; being asked is no bound. */
static void test_groups_of_a_user(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object group;

	for (unsigned i = 0; i < USER_GROUPS_MAX; i++) {
		found(w, &group, MEMBER_OBJECT_GROUP, 100 + i, 0);
	}
	fixture_section_begin(&w->s, &group);
	fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_ADMIN);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 1);
	sharing_change(w, &w->alice, 0);
	found(w, &w->group, MEMBER_OBJECT_GROUP, 1, KLUIS_EQUOTA);
	sharing_answer(w, &w->bob, group.id, true, 0);
	fixture_object_init(&w->group, MEMBER_OBJECT_GROUP, 2);
	fixture_section_begin(&w->s, &w->group);
	fixture_create(&w->s, w->bob.user_id);
	fixture_add(&w->s, w->alice.user_id, MEMBER_USER, MEMBER_READ);
	fixture_give(&w->s, w->bob.user_id, w->alice.user_id, NULL, 1);
	sharing_change(w, &w->bob, 0);
	sharing_answer(w, &w->alice, w->group.id, true, KLUIS_EQUOTA);
	sharing_answer(w, &w->alice, group.id, false, 0);
	sharing_answer(w, &w->alice, w->group.id, true, 0);
}

static void test_conversations_of_a_user(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object talk;

	for (unsigned i = 0; i < USER_CONVERSATIONS_MAX; i++) {
		found(w, &talk, MEMBER_OBJECT_CONVERSATION, 100 + i, 0);
	}
	found(w, &talk, MEMBER_OBJECT_CONVERSATION, 1, KLUIS_EQUOTA);
	fixture_object_init(&talk, MEMBER_OBJECT_CONVERSATION, 2);
	fixture_section_begin(&w->s, &talk);
	fixture_create(&w->s, w->bob.user_id);
	fixture_add(&w->s, w->alice.user_id, MEMBER_USER, MEMBER_WRITE);
	sharing_change(w, &w->bob, KLUIS_EQUOTA);
}

#define T(f) cmocka_unit_test_setup_teardown(f, sharing_setup, sharing_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_members_of_a_vault),
		T(test_groups_of_a_vault),
		T(test_vaults_of_a_group),
		T(test_groups_of_a_user),
		T(test_conversations_of_a_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
