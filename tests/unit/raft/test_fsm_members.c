/* Vaults that several share: who may change members, and what has to come with it. */
#include "tests/lib/test.h"

#include <string.h>

#include "storage/deletion_store.h"
#include "storage/object_store.h"
#include "tests/unit/raft/lib/sharing_rig.h"

/* Nothing is hers before she says so; then she writes, under the chain as it stands. */
static void test_share(void **state)
{
	struct sharing_rig *w = *state;
	struct command_reply reply;

	sharing_add(w, &w->bob, MEMBER_WRITE, false);
	reply = fixture_machine_reply(&w->m);
	assert_memory_equal(reply.id, w->vault.id, 16);
	assert_int_equal(reply.number, 2);
	assert_memory_equal(reply.hash, w->vault.hash, 32);
	assert_int_equal(command_reply_epoch(&reply), 1);
	assert_int_equal(sharing_packets(w, w->bob.user_id), 1);
	sharing_learn(w);
	assert_int_equal(sharing_commit(w, &w->bob), KLUIS_EFORBIDDEN);
	sharing_answer(w, &w->carol, w->vault.id, true, KLUIS_ENOTFOUND);
	sharing_answer(w, &w->bob, w->vault.id, true, 0);
	sharing_answer(w, &w->bob, w->vault.id, true, 0); /* Again. */
	assert_int_equal(sharing_commit(w, &w->bob), 0);
	assert_int_equal(sharing_commit(w, &w->carol), KLUIS_ENOTFOUND);
	assert_int_equal(sharing_commit(w, &w->alice), 0);
}

static void test_reader_does_not_write(void **state)
{
	struct sharing_rig *w = *state;

	sharing_add(w, &w->bob, MEMBER_READ, true);
	sharing_learn(w);
	assert_int_equal(sharing_commit(w, &w->bob), KLUIS_EFORBIDDEN);
	fixture_section_begin(&w->s, &w->vault);
	fixture_role(&w->s, w->bob.user_id, MEMBER_WRITE);
	sharing_change(w, &w->alice, 0);
	assert_int_equal(
		sharing_commit(w, &w->alice), KLUIS_EPRECONDITION); /* Of an older chain. */
	sharing_learn(w);
	assert_int_equal(sharing_commit(w, &w->bob), 0);
}

static void test_declined(void **state)
{
	struct sharing_rig *w = *state;
	struct kv_view *view;
	struct member_row row;

	sharing_add(w, &w->bob, MEMBER_WRITE, true);
	sharing_answer(w, &w->bob, w->vault.id, false, 0);
	sharing_answer(w, &w->bob, w->vault.id, false, 0);
	sharing_answer(w, &w->bob, w->vault.id, true, KLUIS_ENOTFOUND);
	sharing_learn(w);
	assert_int_equal(sharing_commit(w, &w->bob), KLUIS_ENOTFOUND);
	view = kv_view_new(w->m.kv); /* The admins see it. */
	assert_int_equal(member_store_get(view, w->vault.id, w->bob.user_id, &row, NULL), 0);
	assert_int_equal(row.state, MEMBER_DECLINED);
	kv_view_free(view);
	sharing_answer(w, &w->alice, w->vault.id, false, KLUIS_EFORBIDDEN); /* The last admin. */
	sharing_answer(w, &w->bob, w->group.id, true, KLUIS_ENOTFOUND);
}

/* Bob is removed, carol stays, with the new key; bob is out and his old key is worth nothing. */
static void test_removed_is_shut_out(void **state)
{
	struct sharing_rig *w = *state;

	sharing_add(w, &w->bob, MEMBER_WRITE, true);
	sharing_add(w, &w->carol, MEMBER_WRITE, true);
	sharing_learn(w);
	assert_int_equal(sharing_commit(w, &w->bob), 0);
	fixture_section_begin(&w->s, &w->vault);
	fixture_remove(&w->s, w->bob.user_id);
	fixture_rotate(&w->s);
	fixture_give(&w->s, w->alice.user_id, w->carol.user_id, NULL, 2);
	fixture_give(&w->s, w->alice.user_id, w->alice.user_id, NULL, 2);
	sharing_change(w, &w->alice, 0);
	assert_int_equal(sharing_packets(w, w->carol.user_id), 2);
	assert_int_equal(sharing_packets(w, w->alice.user_id), 1);
	assert_int_equal(sharing_commit(w, &w->bob), KLUIS_ENOTFOUND);
	assert_int_equal(sharing_commit(w, &w->carol), KLUIS_EPRECONDITION);
	w->alice.members_rev = (uint32_t)w->vault.seq;
	memcpy(w->alice.members_hash, w->vault.hash, 32);
	assert_int_equal(sharing_commit(w, &w->carol), KLUIS_EINVAL); /* Under the old key. */
	w->alice.key_epoch = 3;
	assert_int_equal(sharing_commit(w, &w->carol), KLUIS_EINVAL); /* Under one nobody has. */
	sharing_learn(w);
	assert_int_equal(sharing_commit(w, &w->carol), 0);
}

/* A ledger knows of it, so that no restore lets him in again; of changes that were refused it does
 * not. */
static void test_removal_is_noted(void **state)
{
	struct sharing_rig *w = *state;
	struct deletion_note notes[2];
	struct kv_view *view;
	uint8_t id[16];
	size_t n = 0;

	sharing_add(w, &w->bob, MEMBER_WRITE, true);
	fixture_section_begin(&w->s, &w->vault);
	fixture_remove(&w->s, w->bob.user_id);
	fixture_rotate(&w->s);
	sharing_change(w, &w->alice, 0);
	deletion_member_id(w->vault.id, w->bob.user_id, id);
	view = kv_view_new(w->m.kv);
	assert_int_equal(deletion_notes(view, KEY_MEMBER_LEDGER, NULL, notes, 2, &n, NULL), 0);
	kv_view_free(view);
	assert_int_equal(n, 1);
	assert_memory_equal(notes[0].id, id, sizeof id);
	assert_true(
		notes[0].time_ms == w->m.now_ms && notes[0].index == fsm_position(w->m.fsm)->index);
}

static void test_removal_rotates(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object was;

	sharing_add(w, &w->bob, MEMBER_WRITE, true);
	sharing_add(w, &w->carol, MEMBER_READ, true);
	was = w->vault;
	fixture_section_begin(&w->s, &w->vault);
	fixture_remove(&w->s, w->bob.user_id);
	sharing_change(w, &w->alice, KLUIS_EPRECONDITION); /* No rotate. */
	w->vault = was;
	fixture_section_begin(&w->s, &w->vault);
	fixture_rotate(&w->s);
	fixture_remove(&w->s, w->bob.user_id);
	fixture_give(&w->s, w->alice.user_id, w->carol.user_id, NULL, 2);
	sharing_change(w, &w->alice, KLUIS_EPRECONDITION); /* It comes first. */
	w->vault = was;
	fixture_section_begin(&w->s, &w->vault);
	fixture_remove(&w->s, w->bob.user_id);
	fixture_rotate(&w->s);
	sharing_change(w, &w->alice, KLUIS_EPRECONDITION); /* Carol has no key. */
	w->vault = was;
	fixture_section_begin(&w->s, &w->vault);
	fixture_remove(&w->s, w->bob.user_id);
	fixture_rotate(&w->s);
	fixture_give(&w->s, w->alice.user_id, w->carol.user_id, NULL, 1);
	sharing_change(w, &w->alice, KLUIS_EINVAL); /* The old one. */
	w->vault = was;
	fixture_section_begin(&w->s, &w->vault);
	fixture_remove(&w->s, w->bob.user_id);
	fixture_rotate(&w->s);
	fixture_give(&w->s, w->alice.user_id, w->carol.user_id, NULL, 2);
	fixture_give(&w->s, w->alice.user_id, w->carol.user_id, NULL, 2);
	sharing_change(w, &w->alice, KLUIS_EINVAL); /* Twice. */
	w->vault = was;
	fixture_section_begin(&w->s, &w->vault);
	fixture_remove(&w->s, w->bob.user_id);
	fixture_rotate(&w->s);
	fixture_give(&w->s, w->alice.user_id, w->carol.user_id, NULL, 2);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 2);
	sharing_change(w, &w->alice, KLUIS_EINVAL); /* For the one removed. */
	w->vault = was;
	fixture_section_begin(&w->s, &w->vault);
	fixture_remove(&w->s, w->bob.user_id);
	fixture_rotate(&w->s);
	fixture_give(&w->s, w->bob.user_id, w->carol.user_id, NULL, 2);
	sharing_change(w, &w->alice, KLUIS_EFORBIDDEN); /* By another sender. */
	assert_int_equal(sharing_role(w, &w->bob), MEMBER_WRITE);
}

/* The key of something else is none of the vault's. */
static void test_packet_of_another_kind(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object other = w->vault;

	fixture_section_begin(&w->s, &w->vault);
	fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_READ);
	w->vault.kind = MEMBER_OBJECT_GROUP;
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 1);
	w->vault.kind = MEMBER_OBJECT_VAULT;
	sharing_change(w, &w->alice, KLUIS_EINVAL);
	w->vault = other;
	fixture_section_begin(&w->s, &w->vault);
	fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_READ);
	w->vault.id[0] ^= 1;
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 1);
	w->vault.id[0] ^= 1;
	sharing_change(w, &w->alice, KLUIS_EINVAL);
}

/* While it was private its owner made new keys by commits: whoever comes gets the one in use, and
 * whoever goes has none of those that come. */
static void test_epoch_ahead_of_the_chain(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object was;

	w->alice.key_epoch = 3;
	assert_int_equal(sharing_commit(w, &w->alice), 0);
	was = w->vault;
	fixture_section_begin(&w->s, &w->vault);
	fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_WRITE);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 1);
	sharing_change(w, &w->alice, KLUIS_EPRECONDITION);
	w->vault = was;
	fixture_section_begin(&w->s, &w->vault);
	fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_WRITE);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 3);
	sharing_change(w, &w->alice, 0);
	sharing_answer(w, &w->bob, w->vault.id, true, 0);
	was = w->vault;
	for (unsigned rotates = 1; rotates <= 3; rotates++) {
		w->vault = was;
		fixture_section_begin(&w->s, &w->vault);
		for (unsigned i = 0; i < rotates; i++) {
			fixture_rotate(&w->s);
		}
		fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 1 + rotates);
		sharing_change(w, &w->alice, rotates < 3 ? KLUIS_EINVAL : 0);
	}
	sharing_learn(w);
	assert_int_equal(sharing_commit(w, &w->bob), 0);
}

static void test_disabled_user(void **state)
{
	struct sharing_rig *w = *state;
	struct command disable = {.type = COMMAND_SERVICE_DISABLE,
		.service_disable = {.actor = bytes_str("op"), .name = bytes_str(w->bob.name)}};

	sharing_expect(w, &disable, 0);
	fixture_section_begin(&w->s, &w->vault);
	fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_READ);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 1);
	sharing_change(w, &w->alice, KLUIS_ENOTFOUND);
}

/* Nobody waits for whom is out by her own will, nor is a packet for her too much. */
static void test_declined_needs_no_key(void **state)
{
	struct sharing_rig *w = *state;

	sharing_add(w, &w->bob, MEMBER_READ, false);
	sharing_add(w, &w->carol, MEMBER_READ, false);
	sharing_answer(w, &w->carol, w->vault.id, false, 0);
	fixture_section_begin(&w->s, &w->vault);
	fixture_rotate(&w->s);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 2);
	fixture_give(&w->s, w->alice.user_id, w->carol.user_id, NULL, 2);
	sharing_change(w, &w->alice, 0);
	assert_int_equal(sharing_packets(w, w->carol.user_id), 1); /* The one of before. */
	fixture_section_begin(&w->s, &w->vault);
	fixture_rotate(&w->s);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 3);
	sharing_change(w, &w->alice, 0);
}

static void test_addition_brings_the_key(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object was = w->vault;

	fixture_section_begin(&w->s, &w->vault);
	fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_READ);
	sharing_change(w, &w->alice, KLUIS_EPRECONDITION);
	w->vault = was;
	fixture_section_begin(&w->s, &w->vault);
	fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_READ);
	fixture_give(&w->s, w->alice.user_id, w->carol.user_id, NULL, 1);
	sharing_change(w, &w->alice, KLUIS_EINVAL); /* For somebody else. */
	w->vault = was;
	fixture_section_begin(&w->s, &w->vault);
	fixture_rotate(&w->s);
	sharing_change(w, &w->alice, 0);
	fixture_section_begin(&w->s, &w->vault);
	fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_READ);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 1);
	sharing_change(w, &w->alice, KLUIS_EPRECONDITION); /* History alone. */
}

/* With the older keys along, who comes new reads what was before. */
static void test_addition_with_history(void **state)
{
	struct sharing_rig *w = *state;

	fixture_section_begin(&w->s, &w->vault);
	fixture_rotate(&w->s);
	sharing_change(w, &w->alice, 0);
	fixture_section_begin(&w->s, &w->vault);
	fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_READ);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 1);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 2);
	sharing_change(w, &w->alice, 0);
	assert_int_equal(sharing_packets(w, w->bob.user_id), 2);
}

static void test_admins_alone(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object was;

	sharing_add(w, &w->bob, MEMBER_ADMIN, false);
	was = w->vault;
#define BY(who, rc)                                                             \
	do {                                                                    \
		w->vault = was;                                                 \
		fixture_section_begin(&w->s, &w->vault);                        \
		fixture_add(&w->s, w->carol.user_id, MEMBER_USER, MEMBER_READ); \
		fixture_give(&w->s, w->who.user_id, w->carol.user_id, NULL, 1); \
		sharing_change(w, &w->who, rc);                                 \
	} while (0)
	BY(bob, KLUIS_EFORBIDDEN); /* Invited only. */
	BY(carol, KLUIS_ENOTFOUND);
	sharing_answer(w, &w->bob, w->vault.id, true, 0);
	w->vault = was;
	fixture_section_begin(&w->s, &w->vault);
	fixture_role(&w->s, w->bob.user_id, MEMBER_WRITE);
	sharing_change(w, &w->alice, 0);
	was = w->vault;
	BY(bob, KLUIS_EFORBIDDEN);
	BY(alice, 0);
#undef BY
}

static void test_moved_chain(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object fork = w->vault;

	sharing_add(w, &w->bob, MEMBER_READ, true);
	fixture_section_begin(&w->s, &fork);
	fixture_add(&w->s, w->carol.user_id, MEMBER_USER, MEMBER_READ);
	fixture_give(&w->s, w->alice.user_id, w->carol.user_id, NULL, 1);
	sharing_change(w, &w->alice, KLUIS_EPRECONDITION); /* The same seq. */
	fork = w->vault;
	fork.hash[0] ^= 1;
	fixture_section_begin(&w->s, &fork);
	fixture_rotate(&w->s);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 2);
	sharing_change(w, &w->alice, KLUIS_EPRECONDITION); /* Another one before it. */
	fork = w->vault;
	fork.seq++;
	fixture_section_begin(&w->s, &fork);
	fixture_rotate(&w->s);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 2);
	sharing_change(w, &w->alice, KLUIS_EPRECONDITION); /* One is missing. */
}

/* The owner hands the vault over: first there is another admin, who wants to be. */
static void test_last_admin(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object was = w->vault;

	fixture_section_begin(&w->s, &w->vault);
	fixture_role(&w->s, w->alice.user_id, MEMBER_WRITE);
	sharing_change(w, &w->alice, KLUIS_EFORBIDDEN);
	w->vault = was;
	fixture_section_begin(&w->s, &w->vault);
	fixture_remove(&w->s, w->alice.user_id);
	fixture_rotate(&w->s);
	sharing_change(w, &w->alice, KLUIS_EFORBIDDEN);
	w->vault = was;
	sharing_add(w, &w->bob, MEMBER_ADMIN, false);
	was = w->vault;
	fixture_section_begin(&w->s, &w->vault);
	fixture_role(&w->s, w->alice.user_id, MEMBER_READ);
	sharing_change(w, &w->alice, KLUIS_EFORBIDDEN);
	w->vault = was;
	sharing_answer(w, &w->bob, w->vault.id, true, 0);
	fixture_section_begin(&w->s, &w->vault);
	fixture_role(&w->s, w->alice.user_id, MEMBER_READ);
	fixture_rotate(&w->s);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 2);
	sharing_change(w, &w->alice, KLUIS_EFORBIDDEN); /* No admin any more by then. */
	w->vault = was;
	fixture_section_begin(&w->s, &w->vault);
	fixture_role(&w->s, w->alice.user_id, MEMBER_READ);
	sharing_change(w, &w->alice, 0);
	assert_int_equal(sharing_role(w, &w->alice), MEMBER_READ);
	sharing_answer(w, &w->bob, w->vault.id, false, KLUIS_EFORBIDDEN);
	fixture_section_begin(&w->s, &w->vault);
	fixture_remove(&w->s, w->alice.user_id);
	fixture_rotate(&w->s);
	sharing_change(w, &w->bob, 0);
	assert_int_equal(sharing_role(w, &w->alice), 0);
}

static void test_again_is_success(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_section *const sections[] = {&w->s}, *const both[] = {&w->s, &w->t};
	struct fixture_object other;
	struct command command;
	struct command_reply reply;

	fixture_section_begin(&w->s, &w->vault);
	fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_READ);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 1);
	command = fixture_change(&w->alice, sections, 1, &w->space);
	sharing_expect(w, &command, 0);
	sharing_expect(w, &command, 0);
	reply = fixture_machine_reply(&w->m);
	assert_int_equal(reply.number, 2);
	assert_memory_equal(reply.hash, w->vault.hash, 32);
	assert_int_equal(sharing_packets(w, w->bob.user_id), 1);
	fixture_object_vault(&other, &w->bob);
	fixture_section_begin(&w->t, &other);
	fixture_rotate(&w->t); /* New, behind one that is not. */
	command = fixture_change(&w->alice, both, 2, &w->space);
	sharing_expect(w, &command, KLUIS_EPRECONDITION);
	command = fixture_change(&w->carol, sections, 1, &w->space);
	sharing_expect(w, &command, KLUIS_ENOTFOUND); /* It tells a stranger nothing. */
	command.members_change.once.key = bytes_str("key");
	command = fixture_change(&w->alice, sections, 1, &w->space);
	command.members_change.once.key = bytes_str("key");
	sharing_expect(w, &command, 0);
	command.members_change.once.body_hash[0] = 1;
	sharing_expect(w, &command, 0); /* The first one was no first one, and is not kept. */
}

static void test_malformed(void **state)
{
	struct sharing_rig *w = *state;
	struct fixture_object was = w->vault;
	static const uint8_t nobody[16] = {1};

#define MADE(rc, ...)                                    \
	do {                                             \
		w->vault = was;                          \
		fixture_section_begin(&w->s, &w->vault); \
		__VA_ARGS__;                             \
		sharing_change(w, &w->alice, rc);        \
	} while (0)
	MADE(KLUIS_ENOTFOUND, fixture_add(&w->s, nobody, MEMBER_USER, MEMBER_READ));
	MADE(KLUIS_EINVAL, fixture_add(&w->s, w->alice.user_id, MEMBER_USER, MEMBER_READ));
	MADE(KLUIS_EINVAL, fixture_add(&w->s, w->bob.user_id, MEMBER_USER, MEMBER_ADMIN + 1));
	MADE(KLUIS_EINVAL, fixture_add(&w->s, w->bob.user_id, MEMBER_USER, 0));
	MADE(KLUIS_EINVAL, fixture_add(&w->s, w->bob.user_id, MEMBER_GROUP, MEMBER_ADMIN));
	MADE(KLUIS_EINVAL, fixture_add(&w->s, w->bob.user_id, MEMBER_GROUP + 1, MEMBER_READ));
	MADE(KLUIS_ENOTFOUND, fixture_add(&w->s, w->bob.user_id, MEMBER_GROUP, MEMBER_READ));
	MADE(KLUIS_EINVAL, fixture_remove(&w->s, w->bob.user_id));
	MADE(KLUIS_EINVAL, fixture_role(&w->s, w->bob.user_id, MEMBER_READ));
	MADE(KLUIS_EINVAL, fixture_role(&w->s, w->alice.user_id, MEMBER_ADMIN + 1));
	MADE(KLUIS_EINVAL, w->vault.epoch++; fixture_rotate(&w->s));
	MADE(KLUIS_EINVAL, w->vault.kid[0] = 1; fixture_rotate(&w->s));
	MADE(KLUIS_EINVAL, fixture_rotate(&w->s); w->s.section.label = bytes_str("label"));
	MADE(KLUIS_EINVAL, fixture_rotate(&w->s); w->s.section.group_key = bytes_of(was.key, 65));
	MADE(KLUIS_EINVAL, fixture_role(&w->s, w->alice.user_id, MEMBER_ADMIN);
		fixture_give(&w->s, w->alice.user_id, w->alice.user_id, NULL, 1));
	MADE(KLUIS_EINVAL, fixture_rotate(&w->s);
		fixture_give(&w->s, w->alice.user_id, w->alice.user_id, NULL, 3));
	MADE(KLUIS_EINVAL, fixture_rotate(&w->s); fixture_section_begin(&w->t, &w->vault);
		fixture_rotate(&w->t)); /* Named twice. */
#undef MADE
}

/* Whoever sent it is told what is missing, and of what. */
static void test_reason(void **state)
{
	struct sharing_rig *w = *state;
	struct bytes reason;

	sharing_add(w, &w->bob, MEMBER_READ, false);
	sharing_add(w, &w->carol, MEMBER_READ, false);
	fixture_section_begin(&w->s, &w->vault);
	fixture_rotate(&w->s);
	fixture_give(&w->s, w->alice.user_id, w->bob.user_id, NULL, 2);
	sharing_change(w, &w->alice, KLUIS_EPRECONDITION);
	reason = fsm_results_reason(&w->m.results, &w->m.results.result[0]);
	assert_true(reason.len > 7 + 32 && reason.len <= FSM_REASON_BYTES_MAX);
	assert_memory_equal(reason.data, "object ", 7);
	assert_true(bytes_equal(bytes_of(reason.data + 7 + 32, reason.len - 7 - 32),
		bytes_str(": 1 of 3 key packets are missing")));
}

/* While the disk is low, whoever has to go, goes. */
static void test_read_only(void **state)
{
	struct sharing_rig *w = *state;
	struct command read_only = {
		.type = COMMAND_READONLY, .readonly = {.on = true, .actor = bytes_str("op")}};
	struct fixture_object was;

	sharing_add(w, &w->bob, MEMBER_READ, true);
	assert_int_equal(fixture_machine_do(&w->m, &read_only), 0);
	was = w->vault;
	fixture_section_begin(&w->s, &w->vault);
	fixture_add(&w->s, w->carol.user_id, MEMBER_USER, MEMBER_READ);
	fixture_give(&w->s, w->alice.user_id, w->carol.user_id, NULL, 1);
	sharing_change(w, &w->alice, KLUIS_EREADONLY);
	w->vault = was;
	fixture_section_begin(&w->s, &w->vault);
	fixture_rotate(&w->s);
	sharing_change(w, &w->alice, KLUIS_EREADONLY);
	w->vault = was;
	fixture_section_begin(&w->s, &w->vault);
	fixture_remove(&w->s, w->bob.user_id);
	fixture_rotate(&w->s);
	sharing_change(w, &w->alice, 0);
}

/* What older nodes do not know is not written. */
static void test_level(void **state)
{
	struct sharing_rig old;

	(void)state;
	memset(&old, 0, sizeof old);
	fixture_machine_init(&old.m, NULL);
	fixture_machine_begin(&old.m, &old.alice);
	fixture_object_vault(&old.vault, &old.alice);
	sharing_answer(&old, &old.alice, old.vault.id, true, KLUIS_ECONFLICT);
	fixture_section_begin(&old.s, &old.vault);
	fixture_rotate(&old.s);
	sharing_change(&old, &old.alice, KLUIS_ECONFLICT);
	buf_release(&old.space);
	fixture_machine_release(&old.m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, sharing_setup, sharing_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_share),
		T(test_reader_does_not_write),
		T(test_declined),
		T(test_removed_is_shut_out),
		T(test_removal_is_noted),
		T(test_removal_rotates),
		T(test_packet_of_another_kind),
		T(test_epoch_ahead_of_the_chain),
		T(test_disabled_user),
		T(test_declined_needs_no_key),
		T(test_addition_brings_the_key),
		T(test_addition_with_history),
		T(test_admins_alone),
		T(test_moved_chain),
		T(test_last_admin),
		T(test_again_is_success),
		T(test_malformed),
		T(test_reason),
		T(test_read_only),
		cmocka_unit_test(test_level),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
