/* Keys that travel by themselves: packets, single pages, and how long they stay. */
#include "tests/lib/test.h"

#include <string.h>

#include "crypto/identity.h"
#include "storage/object_store.h"
#include "storage/packet_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/person.h"
#include "tests/lib/fixture/sharing.h"

struct world {
	struct fixture_machine m;
	struct fixture_client alice, bob;
	struct fixture_object vault, group; /* Alice's vault; her group, a member of it. */
	struct buf packets, grants;
	unsigned number;
};

static void must(struct world *w, const struct command *command)
{
	assert_int_equal(fixture_machine_do(&w->m, command), 0);
}

static void must_change(struct world *w, struct fixture_section *s)
{
	_cleanup_(buf_release) struct buf space = BUF_INIT;
	struct command command = fixture_change(&w->alice, &s, 1, &space);

	must(w, &command);
	fixture_section_release(s);
}

static void page(struct world *w, uint64_t page_no)
{
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;

	fixture_entry(&w->alice, page_no, w->alice.revision[page_no] + 1, 12, 1, false, &entries);
	fixture_commit(&w->alice, buf_bytes(&entries), page_no + 1, false, &command);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
	fixture_committed(&w->alice, buf_bytes(&entries));
}

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);
	struct fixture_section s;

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->alice);
	fixture_machine_join(&w->m, &w->bob, 2);
	fixture_machine_level(&w->m);
	page(w, 0);
	fixture_object_vault(&w->vault, &w->alice);
	fixture_object_init(&w->group, MEMBER_OBJECT_GROUP, 1);
	fixture_section_begin(&s, &w->group);
	fixture_create(&s, w->alice.user_id);
	must_change(w, &s);
	fixture_section_begin(&s, &w->vault);
	fixture_add(&s, w->group.id, MEMBER_GROUP, MEMBER_WRITE);
	fixture_give(&s, w->alice.user_id, w->group.id, &w->group, 1);
	must_change(w, &s);
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;
	struct err e = {0};

	if (fixture_check_store(w->m.kv, &e) != 0) {
		fail_msg("%s", e.text);
	}
	buf_release(&w->packets);
	buf_release(&w->grants);
	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

/* One packet more in the next command; its number is its id. */
static void pack(struct world *w, struct fixture_packet p)
{
	_cleanup_(buf_release) struct buf packet = BUF_INIT;

	p.number = p.number != 0 ? p.number : ++w->number;
	fixture_packet(&p, &packet);
	members_item_append(&w->packets, buf_bytes(&packet));
}

static struct fixture_packet to_bob(struct world *w, unsigned purpose, uint32_t epoch)
{
	return (struct fixture_packet){.purpose = purpose,
		.sender = w->alice.user_id,
		.rcpt = w->bob.user_id,
		.object = w->vault.id,
		.epoch = epoch};
}

static void send_as(struct world *w, const struct fixture_client *c, int rc)
{
	struct command command = {.type = COMMAND_PACKET_SEND,
		.packet_send = {
			.packets = buf_bytes(&w->packets), .grants = buf_bytes(&w->grants)}};
	uint8_t before[32];

	memcpy(before, fsm_position(w->m.fsm)->state_hash, 32);
	memcpy(command.packet_send.session.token_hash, c->token_hash, 32);
	assert_int_equal(fixture_machine_do(&w->m, &command), rc);
	if (rc != 0) {
		assert_memory_equal(before, fsm_position(w->m.fsm)->state_hash, 32);
	}
	buf_clear(&w->packets);
	buf_clear(&w->grants);
}

static int ack(struct world *w, const struct fixture_client *c, unsigned number)
{
	struct command command = {.type = COMMAND_PACKET_ACK};

	memcpy(command.packet_ack.session.token_hash, c->token_hash, 32);
	fixture_made_up("packet", number, command.packet_ack.packet_id, 16);
	return fixture_machine_do(&w->m, &command);
}

static unsigned packets_of(struct world *w, const uint8_t rcpt[16])
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct packet_use use;

	assert_int_equal(packet_use_get(view, rcpt, &use, NULL), 0);
	kv_view_free(view);
	return use.packets;
}

static void invite_bob(struct world *w)
{
	struct fixture_section s;

	fixture_section_begin(&s, &w->vault);
	fixture_add(&s, w->bob.user_id, MEMBER_USER, MEMBER_READ);
	fixture_give(&s, w->alice.user_id, w->bob.user_id, NULL, w->vault.epoch);
	must_change(w, &s);
}

static void expire_all(struct world *w)
{
	struct command expire = {.type = COMMAND_EXPIRE, .expire.max_rows = 3};

	do {
		w->m.now_ms += EXPIRE_INTERVAL_MS;
		must(w, &expire);
	} while (fixture_machine_reply(&w->m).number > 0);
}

/* What an admin gives a member later: an older key, or one that was lost. */
static void test_to_member(void **state)
{
	struct world *w = *state;

	pack(w, to_bob(w, KEYPACKET_VAULT, 1));
	send_as(w, &w->alice, KLUIS_ENOTFOUND); /* No member. */
	invite_bob(w);
	pack(w, to_bob(w, KEYPACKET_VAULT, 1));
	send_as(w, &w->alice, 0);
	assert_int_equal(packets_of(w, w->bob.user_id), 2);
	pack(w, to_bob(w, KEYPACKET_VAULT, 2));
	send_as(w, &w->alice, KLUIS_EINVAL); /* There is no such key. */
	pack(w, to_bob(w, KEYPACKET_VAULT, 0));
	send_as(w, &w->alice, KLUIS_EINVAL);
	pack(w, to_bob(w, KEYPACKET_VAULT, 1));
	send_as(w, &w->bob, KLUIS_EFORBIDDEN); /* No admin. */
	pack(w, (struct fixture_packet){.purpose = KEYPACKET_VAULT,
			.sender = w->bob.user_id,
			.rcpt = w->bob.user_id,
			.object = w->vault.id,
			.epoch = 1});
	send_as(w, &w->alice, KLUIS_EFORBIDDEN); /* In another's name. */
	pack(w, (struct fixture_packet){.purpose = KEYPACKET_VAULT,
			.sender = w->alice.user_id,
			.rcpt = w->group.id,
			.object = w->vault.id,
			.epoch = 1});
	send_as(w, &w->alice, KLUIS_EPRECONDITION); /* Not under the group's key. */
	pack(w, (struct fixture_packet){.purpose = KEYPACKET_VAULT,
			.sender = w->alice.user_id,
			.rcpt = w->group.id,
			.rcpt_kid = w->group.kid,
			.object = w->vault.id,
			.epoch = 1});
	send_as(w, &w->alice, 0);
	assert_int_equal(packets_of(w, w->group.id), 2);
}

static const uint8_t revoked_device[16] = {0x55};

/* A second device of alice comes and goes. */
static void revoke_device(struct world *w)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, bytes = BUF_INIT;

	fixture_device_body(revoked_device, &body);
	fixture_identity_append(&w->alice, IDENTITY_DEVICE_ADD, buf_bytes(&body), &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
	buf_clear(&body);
	buf_append(&body, revoked_device, 16);
	buf_put_u16(&body, 0);
	fixture_identity_append(&w->alice, IDENTITY_DEVICE_REVOKE, buf_bytes(&body), &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
}

static void test_other_purposes(void **state)
{
	static const unsigned elsewhere[] = {KEYPACKET_CHAT, KEYPACKET_CALL};
	struct world *w = *state;
	uint8_t device[16];

	for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++) {
		pack(w, to_bob(w, elsewhere[i], 1));
		send_as(w, &w->alice, KLUIS_EINVAL);
	}
	pack(w, (struct fixture_packet){.purpose = KEYPACKET_DEVICE,
			.sender = w->alice.user_id,
			.rcpt = w->bob.device_id,
			.object = w->alice.user_id,
			.epoch = 1});
	send_as(w, &w->alice, KLUIS_ENOTFOUND); /* Another one's device. */
	pack(w, (struct fixture_packet){.purpose = KEYPACKET_DEVICE,
			.number = 77,
			.sender = w->alice.user_id,
			.rcpt = w->alice.device_id,
			.object = w->alice.user_id,
			.epoch = 1});
	send_as(w, &w->alice, 0);
	revoke_device(w);
	pack(w, (struct fixture_packet){.purpose = KEYPACKET_DEVICE,
			.sender = w->alice.user_id,
			.rcpt = revoked_device,
			.object = w->alice.user_id,
			.epoch = 1});
	send_as(w, &w->alice, KLUIS_ENOTFOUND);
	packet_device(w->alice.user_id, w->alice.device_id, device);
	assert_int_equal(packets_of(w, device), 1);
	assert_int_equal(packets_of(w, w->alice.device_id), 0);
	assert_int_equal(ack(w, &w->bob, 77), KLUIS_ENOTFOUND);
	assert_int_equal(ack(w, &w->alice, 77), 0);
	assert_int_equal(packets_of(w, device), 0);
	pack(w, (struct fixture_packet){.purpose = KEYPACKET_GROUP,
			.sender = w->alice.user_id,
			.rcpt = w->bob.user_id,
			.object = w->group.id,
			.epoch = 1});
	send_as(w, &w->alice, KLUIS_ENOTFOUND); /* Not in the group. */
	pack(w, (struct fixture_packet){.purpose = KEYPACKET_GROUP,
			.sender = w->alice.user_id,
			.rcpt = w->alice.user_id,
			.object = w->group.id,
			.epoch = 1});
	send_as(w, &w->alice, 0);
}

static void test_acknowledged(void **state)
{
	struct world *w = *state;

	invite_bob(w);
	pack(w, (struct fixture_packet){.purpose = KEYPACKET_VAULT,
			.number = 5,
			.sender = w->alice.user_id,
			.rcpt = w->bob.user_id,
			.object = w->vault.id,
			.epoch = 1});
	send_as(w, &w->alice, 0);
	assert_int_equal(ack(w, &w->alice, 5), KLUIS_ENOTFOUND);
	assert_int_equal(ack(w, &w->bob, 6), KLUIS_ENOTFOUND);
	assert_int_equal(ack(w, &w->bob, 5), 0);
	assert_int_equal(ack(w, &w->bob, 5), KLUIS_ENOTFOUND);
	assert_int_equal(packets_of(w, w->bob.user_id), 1);
}

/* The same again is the same one; another one under its id is none. */
static void test_again(void **state)
{
	struct world *w = *state;
	struct fixture_packet p;

	invite_bob(w);
	p = to_bob(w, KEYPACKET_VAULT, 1);
	p.number = 9;
	pack(w, p);
	send_as(w, &w->alice, 0);
	pack(w, p);
	send_as(w, &w->alice, 0);
	assert_int_equal(packets_of(w, w->bob.user_id), 2);
	p.expires_ms = w->m.now_ms + 1000;
	pack(w, p);
	send_as(w, &w->alice, KLUIS_EEXIST);
}

static bool opened(struct world *w, const struct fixture_client *c, uint64_t page_no, uint64_t rev)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct page_grant row;
	int rc = grant_store_check(
		view, c->user_id, w->vault.id, page_no, rev, w->m.now_ms, &row, NULL);

	assert_true(rc == 0 || rc == KLUIS_ENOTFOUND);
	kv_view_free(view);
	return rc == 0;
}

static bool any_opened(struct world *w, const struct fixture_client *c)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	bool any;

	assert_int_equal(
		grant_store_any(view, c->user_id, w->vault.id, w->m.now_ms, &any, NULL), 0);
	kv_view_free(view);
	return any;
}

static void grant(struct world *w, const struct fixture_client *c, uint64_t page_no, uint64_t rev)
{
	struct command_grant g = {.page_no = page_no, .revision = rev};

	memcpy(g.user_id, c->user_id, 16);
	memcpy(g.vault_id, w->vault.id, 16);
	command_grant_append(&w->grants, &g);
}

/* One revision of one page, for as long as its key travels. */
static void test_page_alone(void **state)
{
	struct world *w = *state;
	struct fixture_packet p = to_bob(w, KEYPACKET_PAGE, 1);

	grant(w, &w->bob, 0, 1);
	pack(w, to_bob(w, KEYPACKET_VAULT, 1));
	send_as(w, &w->alice, KLUIS_ENOTFOUND);
	grant(w, &w->alice, 0, 1);
	pack(w, p);
	send_as(w, &w->alice, KLUIS_EINVAL); /* To somebody who gets no key. */
	grant(w, &w->bob, 0, 2);
	pack(w, p);
	send_as(w, &w->alice, KLUIS_ENOTFOUND); /* No such revision. */
	grant(w, &w->bob, 0, 1);
	pack(w, p);
	send_as(w, &w->bob, KLUIS_ENOTFOUND); /* Not his vault. */
	p.expires_ms = w->m.now_ms + 3600 * 1000;
	grant(w, &w->bob, 0, 1);
	pack(w, p);
	send_as(w, &w->alice, 0);
	assert_true(opened(w, &w->bob, 0, 1));
	assert_false(opened(w, &w->bob, 0, 2));
	assert_false(opened(w, &w->bob, 1, 1));
	assert_false(opened(w, &w->alice, 0, 1));
	p.expires_ms += 3600 * 1000; /* Longer. */
	grant(w, &w->bob, 0, 1);
	pack(w, p);
	send_as(w, &w->alice, 0);
	w->m.now_ms += 3600 * 1000;
	assert_true(opened(w, &w->bob, 0, 1));
	p.expires_ms = w->m.now_ms + 1000; /* The last word counts, also when it is shorter. */
	grant(w, &w->bob, 0, 1);
	pack(w, p);
	send_as(w, &w->alice, 0);
	assert_true(opened(w, &w->bob, 0, 1));
	assert_true(any_opened(w, &w->bob));
	assert_false(any_opened(w, &w->alice));
	w->m.now_ms += 1000;
	assert_false(any_opened(w, &w->bob));
	assert_false(opened(w, &w->bob, 0, 1)); /* Swept or not. */
	w->m.now_ms += 3600 * 1000;
	expire_all(w);
	assert_int_equal(packets_of(w, w->bob.user_id), 0);
}

static void fill_box(struct world *w)
{
	while (packets_of(w, w->bob.user_id) < PACKETS_MAX) {
		unsigned room = PACKETS_MAX - packets_of(w, w->bob.user_id);

		for (unsigned i = 0; i < room && i < PACKETS_SEND_MAX; i++) {
			pack(w, to_bob(w, KEYPACKET_PAGE, 1));
		}
		send_as(w, &w->alice, 0);
	}
}

/* --- the end of a share --- */

static void unshare(struct world *w, const struct fixture_client *c, uint64_t page_no,
	unsigned number, unsigned gone)
{
	_cleanup_(buf_release) struct buf pages = BUF_INIT;
	struct command_unshared page = {.page_no = page_no, .revision = 1};
	struct command command = {.type = COMMAND_PAGES_UNSHARE};

	fixture_made_up("packet", number, page.packet_id, 16);
	command_unshared_append(&pages, &page);
	memcpy(command.pages_unshare.session.token_hash, c->token_hash, 32);
	memcpy(command.pages_unshare.user_id, w->bob.user_id, 16);
	memcpy(command.pages_unshare.vault_id, w->vault.id, 16);
	command.pages_unshare.pages = buf_bytes(&pages);
	must(w, &command);
	assert_int_equal(fixture_machine_reply(&w->m).number, gone);
}

/* Page 0 to bob; the number of its packet. */
static unsigned share_page(struct world *w)
{
	grant(w, &w->bob, 0, 1);
	pack(w, to_bob(w, KEYPACKET_PAGE, 1));
	send_as(w, &w->alice, 0);
	assert_true(opened(w, &w->bob, 0, 1));
	return w->number;
}

/* The key goes with the page, at once; again it changes nothing. */
static void test_unshared(void **state)
{
	struct world *w = *state;
	unsigned number = share_page(w);

	unshare(w, &w->alice, 0, number, 2);
	assert_false(opened(w, &w->bob, 0, 1));
	assert_false(any_opened(w, &w->bob));
	assert_int_equal(packets_of(w, w->bob.user_id), 0);
	unshare(w, &w->alice, 0, number, 0);
	number = share_page(w);
	assert_int_equal(ack(w, &w->bob, number), 0);
	unshare(w, &w->alice, 0, number, 1); /* He has the key already. */
	assert_false(opened(w, &w->bob, 0, 1));
}

/* Whoever was given something cannot keep it by filling her own box, nor by whatever else is in it
 * under the packet's id. */
static void test_full_box_ends_no_less(void **state)
{
	struct world *w = *state;
	unsigned number = share_page(w);

	fill_box(w);
	unshare(w, &w->alice, 0, number, 2);
	assert_false(opened(w, &w->bob, 0, 1));
	assert_int_equal(packets_of(w, w->bob.user_id), PACKETS_MAX - 1);
	number = share_page(w);
	assert_int_equal(ack(w, &w->bob, number), 0);
	invite_bob(w); /* A packet of another purpose. */
	pack(w, (struct fixture_packet){.purpose = KEYPACKET_VAULT,
			.number = number,
			.sender = w->alice.user_id,
			.rcpt = w->bob.user_id,
			.object = w->vault.id,
			.epoch = 1});
	assert_int_equal(ack(w, &w->bob, number - 1), 0);
	send_as(w, &w->alice, 0);
	unshare(w, &w->alice, 0, number, 1);
	assert_false(opened(w, &w->bob, 0, 1));
	assert_int_equal(ack(w, &w->bob, number), 0); /* It stayed. */
}

/* Nobody's but who gave it, or an admin's; and the former's also when she is none any more. */
static void test_unshared_by(void **state)
{
	struct world *w = *state;
	unsigned number = share_page(w);
	struct fixture_section s;
	struct command answer;

	unshare(w, &w->bob, 0, number, 0);
	assert_true(opened(w, &w->bob, 0, 1));
	assert_int_equal(packets_of(w, w->bob.user_id), 1);
	fixture_section_begin(&s, &w->vault);
	fixture_add(&s, w->bob.user_id, MEMBER_USER, MEMBER_ADMIN);
	fixture_give(&s, w->alice.user_id, w->bob.user_id, NULL, w->vault.epoch);
	must_change(w, &s);
	answer = fixture_answer(&w->bob, w->vault.id, true);
	must(w, &answer);
	unshare(w, &w->bob, 0, number, 1);
	assert_false(opened(w, &w->bob, 0, 1));
	number = share_page(w);
	fixture_section_begin(&s, &w->vault);
	fixture_role(&s, w->alice.user_id, MEMBER_READ);
	must_change(w, &s);
	unshare(w, &w->alice, 0, number, 2);
	assert_false(opened(w, &w->bob, 0, 1));
}

static void test_unshared_while_read_only(void **state)
{
	struct world *w = *state;
	unsigned number = share_page(w);
	struct command command = {
		.type = COMMAND_READONLY, .readonly = {.on = true, .actor = bytes_str("op")}};

	must(w, &command);
	unshare(w, &w->alice, 0, number, 2);
	assert_false(opened(w, &w->bob, 0, 1));
}

static void test_past_is_refused(void **state)
{
	struct world *w = *state;
	struct fixture_packet p = to_bob(w, KEYPACKET_PAGE, 1);

	p.expires_ms = w->m.now_ms;
	pack(w, p);
	send_as(w, &w->alice, KLUIS_EINVAL);
	p.expires_ms = w->m.now_ms + 1;
	pack(w, p);
	send_as(w, &w->alice, 0);
}

/* Users' packets go when their time comes, a group's stay as long as it needs them. */
static void test_expiry(void **state)
{
	struct world *w = *state;
	struct fixture_section s;

	invite_bob(w);
	assert_int_equal(packets_of(w, w->bob.user_id), 1);
	assert_int_equal(packets_of(w, w->group.id), 1);
	w->m.now_ms += PACKET_KEPT_MS - 60000;
	expire_all(w);
	assert_int_equal(packets_of(w, w->bob.user_id), 1);
	w->m.now_ms += 60000;
	expire_all(w);
	assert_int_equal(packets_of(w, w->bob.user_id), 0);
	assert_int_equal(packets_of(w, w->group.id), 1);
	{
		_cleanup_(buf_release) struct buf session = BUF_INIT;

		fixture_session_create(&w->alice, SESSION_MS_MAX, &session);
		assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&session)), 0);
	}
	fixture_section_begin(&s, &w->vault);
	fixture_remove(&s, w->group.id);
	fixture_remove(&s, w->bob.user_id);
	fixture_rotate(&s);
	must_change(w, &s);
	w->m.now_ms += PACKET_KEPT_MS;
	expire_all(w);
	assert_int_equal(packets_of(w, w->group.id), 0);
}

static void test_quota(void **state)
{
	struct world *w = *state;

	fill_box(w);
	pack(w, to_bob(w, KEYPACKET_PAGE, 1));
	send_as(w, &w->alice, KLUIS_EQUOTA);
	assert_int_equal(ack(w, &w->bob, 1), 0);
	pack(w, to_bob(w, KEYPACKET_PAGE, 1));
	send_as(w, &w->alice, 0);
}

static void rotate(struct world *w)
{
	struct fixture_section s;

	fixture_section_begin(&s, &w->vault);
	fixture_rotate(&s);
	fixture_give(&s, w->alice.user_id, w->bob.user_id, NULL, w->vault.epoch);
	fixture_give(&s, w->alice.user_id, w->group.id, &w->group, w->vault.epoch);
	must_change(w, &s);
}

/* Nobody stays in by filling another member's box. */
static void test_full_box_holds_nothing_up(void **state)
{
	struct world *w = *state;
	struct command answer;

	invite_bob(w);
	fill_box(w);
	rotate(w);
	assert_int_equal(packets_of(w, w->bob.user_id), PACKETS_MAX);
	answer = fixture_answer(&w->bob, w->vault.id, true);
	must(w, &answer);
	rotate(w);
	assert_int_equal(packets_of(w, w->bob.user_id), PACKETS_MAX + 1);
	pack(w, to_bob(w, KEYPACKET_VAULT, 2)); /* What he missed. */
	send_as(w, &w->alice, 0);
	assert_int_equal(packets_of(w, w->bob.user_id), PACKETS_MAX + 2);
	pack(w, to_bob(w, KEYPACKET_PAGE, 1));
	send_as(w, &w->alice, KLUIS_EQUOTA);
}

/* ... but an invitation waits until there is room. */
static void test_no_invitation_to_a_full_box(void **state)
{
	struct world *w = *state;
	struct fixture_section s, *list[] = {&s};
	_cleanup_(buf_release) struct buf space = BUF_INIT;
	struct command command;

	fill_box(w);
	fixture_section_begin(&s, &w->vault);
	fixture_add(&s, w->bob.user_id, MEMBER_USER, MEMBER_READ);
	fixture_give(&s, w->alice.user_id, w->bob.user_id, NULL, 1);
	command = fixture_change(&w->alice, list, 1, &space);
	assert_int_equal(fixture_machine_do(&w->m, &command), KLUIS_EQUOTA);
	fixture_section_release(&s);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_to_member),
		T(test_other_purposes),
		T(test_acknowledged),
		T(test_again),
		T(test_page_alone),
		T(test_unshared),
		T(test_full_box_ends_no_less),
		T(test_unshared_by),
		T(test_unshared_while_read_only),
		T(test_past_is_refused),
		T(test_expiry),
		T(test_quota),
		T(test_full_box_holds_nothing_up),
		T(test_no_invitation_to_a_full_box),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
