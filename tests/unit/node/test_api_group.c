/* Groups and conversations through the whole API, as test_api_share.c does vaults. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "raft/command.h"
#include "tests/unit/node/lib/share_rig.h"

/* --- groups --- */

static void make_group(struct share_rig *f, struct share_chain *group, const struct key *key)
{
	struct answer answer;
	char target[96];

	share_rig_create(f, group, MEMBER_OBJECT_GROUP, key);
	share_rig_group_key(&f->more, key);
	buf_printf(&f->more, ",\"label\":\"AAAA\"");
	share_rig_add(f, group, f->person[BOB].user_id, MEMBER_USER, MEMBER_READ);
	share_rig_pack_for(f, KEYPACKET_GROUP, group, &f->person[BOB]);
	answer = share_rig_send(f, OWNER, "/v1/groups");
	if (answer.status != 201) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	assert_string_equal(
		answer_field(&answer, "location"), share_rig_path(target, "groups", group->id, ""));
	assert_string_equal(answer_text(&answer, "role"), "admin");
	assert_string_equal(answer_text(&answer, "label"), "AAAA");
	answer_release(&answer);
}

/* The group comes into the vault; what is sealed to it reaches those who are in it. */
static void share_with_group(
	struct share_rig *f, const struct share_chain *group, const struct key *key)
{
	struct share_packet spec = {.purpose = KEYPACKET_VAULT,
		.object = &f->vault,
		.rcpt = group->id,
		.key = key_public(key)};
	struct answer answer;
	char hex[33];

	share_rig_add(f, &f->vault, group->id, MEMBER_GROUP, MEMBER_WRITE);
	share_rig_pack(f, &spec);
	share_rig_expect(share_rig_change(f, OWNER, "vaults", &f->vault), 200);
	assert_int_equal(share_rig_count(f, BOB, "/v1/vaults"), 0);
	share_rig_expect(share_rig_ask(f, BOB, "POST", "groups", group->id, "/accept"), 204);
	answer = share_rig_list(f, BOB, "/v1/vaults");
	hex_encode(bytes_of(group->id, 16), hex);
	assert_string_equal(share_rig_member(share_rig_item(&answer, 0), "via"), hex);
	assert_string_equal(share_rig_member(share_rig_item(&answer, 0), "role"), "write");
	answer_release(&answer);
	assert_int_equal(share_rig_count(f, BOB, "/v1/packets"), 2);
	assert_int_equal(share_rig_count(f, CAROL, "/v1/packets"), 0);
}

static void remove_from_group(
	struct share_rig *f, struct share_chain *group, const struct key *fresh)
{
	const struct share_chain group_was = *group, vault_was = f->vault;
	struct share_packet spec = {.purpose = KEYPACKET_VAULT,
		.object = &f->vault,
		.rcpt = group->id,
		.key = key_public(fresh)};

	/* Its vaults need new keys as well. */
	share_rig_remove(f, group, f->person[BOB].user_id);
	share_rig_rotate(f, group, fresh);
	share_rig_group_key(&f->more, fresh);
	share_rig_refused(share_rig_change(f, OWNER, "groups", group), 412, "not rotated");
	*group = group_was;
	share_rig_rotate(f, &f->vault, NULL);
	share_rig_also(f, &f->vault); /* ... and the group the vault's. */
	share_rig_remove(f, group, f->person[BOB].user_id);
	share_rig_rotate(f, group, fresh);
	share_rig_group_key(&f->more, fresh);
	share_rig_refused(share_rig_change(f, OWNER, "groups", group), 412, "missing");
	*group = group_was;
	f->vault = vault_was;
	share_rig_rotate(f, &f->vault, NULL);
	share_rig_pack(f, &spec);
	share_rig_also(f, &f->vault);
	share_rig_remove(f, group, f->person[BOB].user_id);
	share_rig_rotate(f, group, fresh);
	share_rig_group_key(&f->more, fresh);
	share_rig_expect(share_rig_change(f, OWNER, "groups", group), 200);
	assert_int_equal(share_rig_count(f, BOB, "/v1/vaults"), 0);
	share_rig_expect(share_rig_ask(f, BOB, "GET", "groups", group->id, ""), 404);
}

static void test_group(void **state_)
{
	struct share_rig *f = *state_;
	struct key *key, *fresh;
	struct share_chain group;
	struct err e = {0};

	assert_int_equal(key_generate(KEY_KEM_P256, 0, &key, &e), 0);
	assert_int_equal(key_generate(KEY_KEM_X25519, 0, &fresh, &e), 0);
	make_group(f, &group, key);
	share_rig_listed(f, BOB, "/v1/groups", "invited", "read");
	share_rig_expect(share_rig_ask(f, BOB, "GET", "groups", group.id, "/members"), 200);
	share_rig_expect(share_rig_ask(f, CAROL, "GET", "groups", group.id, ""), 404);
	share_rig_expect(share_rig_ask(f, CAROL, "GET", "conversations", group.id, ""), 404);
	share_with_group(f, &group, key);
	share_rig_expect(share_rig_ask(f, OWNER, "DELETE", "groups", group.id, ""), 409);
	share_rig_expect(share_rig_ask(f, BOB, "DELETE", "groups", group.id, ""), 403);
	remove_from_group(f, &group, fresh);
	share_rig_remove(f, &f->vault, group.id);
	share_rig_rotate(f, &f->vault, NULL);
	share_rig_expect(share_rig_change(f, OWNER, "vaults", &f->vault), 200);
	share_rig_expect(share_rig_ask(f, OWNER, "DELETE", "groups", group.id, ""), 204);
	assert_int_equal(share_rig_count(f, OWNER, "/v1/groups"), 0);
	key_free(key);
	key_free(fresh);
}

static void test_group_key(void **state_)
{
	struct share_rig *f = *state_;
	struct key *key, *other;
	struct share_chain group;
	struct err e = {0};

	assert_int_equal(key_generate(KEY_KEM_P256, 0, &key, &e), 0);
	assert_int_equal(key_generate(KEY_KEM_P256, 0, &other, &e), 0);
	share_rig_create(f, &group, MEMBER_OBJECT_GROUP, key);
	share_rig_refused(share_rig_send(f, OWNER, "/v1/groups"), 400, "key");
	share_rig_create(f, &group, MEMBER_OBJECT_GROUP, key);
	share_rig_group_key(&f->more, other);
	share_rig_refused(share_rig_send(f, OWNER, "/v1/groups"), 400, "another key");
	share_rig_create(f, &group, MEMBER_OBJECT_GROUP, key);
	buf_printf(&f->more, ",\"group_key\":\"AAAA\"");
	share_rig_refused(share_rig_send(f, OWNER, "/v1/groups"), 400, "'group_key'");
	share_rig_create(f, &group, MEMBER_OBJECT_GROUP, key);
	share_rig_refused(
		share_rig_send(f, OWNER, "/v1/conversations"), 400, "no create statement");
	share_rig_create(f, &group, MEMBER_OBJECT_GROUP, key);
	share_rig_group_key(&f->more, key);
	share_rig_expect(
		share_rig_send(f, BOB, "/v1/groups"), 403); /* Signed by the owner's device. */
	key_free(key);
	key_free(other);
}

/* --- conversations --- */

static void test_conversation(void **state_)
{
	struct share_rig *f = *state_;
	struct share_chain talk;
	struct answer answer;

	share_rig_create(f, &talk, MEMBER_OBJECT_CONVERSATION, NULL);
	share_rig_add(f, &talk, f->person[BOB].user_id, MEMBER_USER, MEMBER_WRITE);
	answer = share_rig_send(f, OWNER, "/v1/conversations");
	assert_int_equal(answer.status, 201);
	assert_int_equal(answer_number(&answer, "chat_epoch"), 0);
	assert_true(json_is_true(json_object_get(answer.json, "chat_stale")));
	answer_release(&answer);
	share_rig_listed(f, BOB, "/v1/conversations", "invited", "write");
	assert_int_equal(share_rig_count(f, BOB, "/v1/groups"), 0);
	assert_int_equal(share_rig_count(f, BOB, "/v1/vaults"), 0);
	share_rig_expect(share_rig_ask(f, BOB, "POST", "conversations", talk.id, "/accept"), 204);
	share_rig_remove(f, &talk, f->person[BOB].user_id);
	share_rig_expect(share_rig_change(f, OWNER, "conversations", &talk), 200);
	share_rig_expect(share_rig_ask(f, BOB, "GET", "conversations", talk.id, ""), 404);
	share_rig_expect(
		share_rig_ask(f, OWNER, "GET", "conversations", talk.id, "/members/chain?since=2"),
		200);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_group, share_rig_setup, share_rig_teardown),
		cmocka_unit_test_setup_teardown(
			test_group_key, share_rig_setup, share_rig_teardown),
		cmocka_unit_test_setup_teardown(
			test_conversation, share_rig_setup, share_rig_teardown),
	};

	return cmocka_run_group_tests(tests, share_rig_people, share_rig_people_end);
}
