/* Vaults and single pages that are shared, through the whole API: chains signed by devices, packets
 * sealed to real keys, and what a node refuses before any other hears of it. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "raft/command.h"
#include "tests/unit/node/lib/share_rig.h"

/* --- vaults --- */

/* Bob becomes a member who may write, and says yes. */
static void invite_bob(struct share_rig *f)
{
	struct answer answer;

	share_rig_add(f, &f->vault, f->person[BOB].user_id, MEMBER_USER, MEMBER_WRITE);
	share_rig_pack_for(f, KEYPACKET_VAULT, &f->vault, &f->person[BOB]);
	answer = share_rig_change(f, OWNER, "vaults", &f->vault);
	if (answer.status != 200) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	assert_int_equal(answer_number(&answer, "members_rev"), f->vault.seq);
	assert_int_equal(answer_number(&answer, "epoch"), f->vault.epoch);
	answer_release(&answer);
}

static void test_vault(void **state_)
{
	struct share_rig *f = *state_;
	const uint8_t *v = f->vault.id;
	struct answer answer;
	uint8_t packet[16] = {0};
	char hex[33];

	share_rig_expect(share_rig_ask(f, BOB, "GET", "vaults", v, "/members"), 404);
	invite_bob(f);
	share_rig_listed(f, BOB, "/v1/vaults", "invited", "write");
	share_rig_expect(share_rig_ask(f, BOB, "GET", "vaults", v, ""), 200);
	share_rig_expect(share_rig_ask(f, BOB, "GET", "vaults", v, "/head"), 403);
	share_rig_expect(share_rig_ask(f, CAROL, "GET", "vaults", v, "/members"), 404);
	share_rig_expect(share_rig_ask(f, CAROL, "POST", "vaults", v, "/accept"), 404);
	answer = share_rig_ask(f, BOB, "GET", "vaults", v, "/members/chain");
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 2);
	answer_release(&answer);
	answer = share_rig_ask(f, BOB, "GET", "vaults", v, "/members");
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 2);
	answer_release(&answer);

	/* The key waits for him, and for nobody else, until he says that he has it. */
	assert_int_equal(share_rig_count(f, OWNER, "/v1/packets"), 0);
	answer = share_rig_list(f, BOB, "/v1/packets");
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 1);
	hex_encode(bytes_of(f->person[BOB].user_id, 16), hex);
	assert_string_equal(share_rig_member(share_rig_item(&answer, 0), "rcpt"), hex);
	hex_encode(bytes_of(f->person[OWNER].user_id, 16), hex);
	assert_string_equal(share_rig_member(share_rig_item(&answer, 0), "sender"), hex);
	assert_int_equal(
		hex_decode(share_rig_member(share_rig_item(&answer, 0), "packet_id"), packet, 16),
		0);
	answer_release(&answer);
	assert_int_equal(
		share_rig_count(f, BOB, "/v1/packets?object=00000000000000000000000000000000"), 0);
	share_rig_expect(share_rig_ask(f, CAROL, "POST", "packets", packet, "/ack"),
		204); /* Not hers: stays. */
	assert_int_equal(share_rig_count(f, BOB, "/v1/packets"), 1);
	for (unsigned i = 0; i < 2; i++) {
		share_rig_expect(share_rig_ask(f, BOB, "POST", "packets", packet, "/ack"), 204);
		assert_int_equal(share_rig_count(f, BOB, "/v1/packets"), 0);
	}
	share_rig_expect(share_rig_ask(f, BOB, "POST", "vaults", v, "/accept"), 204);
	share_rig_listed(f, BOB, "/v1/vaults", "accepted", "write");
	share_rig_expect(share_rig_ask(f, BOB, "GET", "vaults", v, "/head"), 200);

	/* Out again: with a new key, or not at all. */
	{
		struct share_chain before = f->vault;

		share_rig_remove(f, &f->vault, f->person[BOB].user_id);
		share_rig_refused(
			share_rig_change(f, OWNER, "vaults", &f->vault), 412, "needs a new key");
		f->vault = before;
	}
	share_rig_remove(f, &f->vault, f->person[BOB].user_id);
	share_rig_rotate(f, &f->vault, NULL);
	share_rig_expect(share_rig_change(f, OWNER, "vaults", &f->vault), 200);
	share_rig_expect(share_rig_ask(f, BOB, "GET", "vaults", v, ""), 404);
	assert_int_equal(share_rig_count(f, BOB, "/v1/vaults"), 0);
}

static void test_decline(void **state_)
{
	struct share_rig *f = *state_;
	struct answer answer;

	invite_bob(f);
	share_rig_expect(share_rig_ask(f, BOB, "POST", "vaults", f->vault.id, "/decline"), 204);
	share_rig_expect(share_rig_ask(f, BOB, "GET", "vaults", f->vault.id, ""), 404);
	share_rig_expect(share_rig_ask(f, BOB, "POST", "vaults", f->vault.id, "/accept"), 404);
	answer = share_rig_ask(f, OWNER, "GET", "vaults", f->vault.id, "/members");
	for (size_t i = 0; i < 2; i++) {
		const char *role = share_rig_member(share_rig_item(&answer, i), "role");

		assert_string_equal(share_rig_member(share_rig_item(&answer, i), "state"),
			strcmp(role, "admin") == 0 ? "accepted" : "declined");
	}
	answer_release(&answer);
	share_rig_refused(share_rig_ask(f, OWNER, "POST", "vaults", f->vault.id, "/decline"), 403,
		"no admin");
}

/* One thing wrong with each; the vault stays as it was. */
static void test_refused(void **state_)
{
	struct share_rig *f = *state_;
	const struct share_chain was = f->vault;
	const uint8_t *bob = f->person[BOB].user_id;
	struct share_chain other = f->vault;
	struct share_packet spec = {.purpose = KEYPACKET_VAULT, .object = &was, .rcpt = bob};
	struct answer answer;
	char target[96];

	share_rig_add(f, &f->vault, bob, MEMBER_USER, MEMBER_READ);
	share_rig_refused(share_rig_change(f, OWNER, "vaults", &was), 412, "key packet");
	f->vault = was;
	/* Signed by another device, of another object, no statement at all. */
	share_rig_state(f, &f->vault, MEMBER_REMOVE, bytes_of(bob, 16), f->person[BOB].device);
	share_rig_refused(share_rig_change(f, OWNER, "vaults", &was), 403,
		"not signed by this session's device");
	other.id[0] ^= 1;
	share_rig_add(f, &other, bob, MEMBER_USER, MEMBER_READ);
	share_rig_refused(share_rig_change(f, OWNER, "vaults", &was), 400, "is of another object");
	share_rig_text(&f->statements, bytes_str("KGR1"));
	share_rig_refused(share_rig_change(f, OWNER, "vaults", &was), 400, "statement");
	share_rig_refused(share_rig_change(f, OWNER, "vaults", &was), 400, "without a statement");
	/* A packet by another user, to a key of another's, expired, no packet. */
	f->vault = was;
	spec.key = key_public(f->person[BOB].transfer);
	spec.sender = &f->person[BOB];
	share_rig_add(f, &f->vault, bob, MEMBER_USER, MEMBER_READ);
	share_rig_pack(f, &spec);
	share_rig_refused(share_rig_change(f, OWNER, "vaults", &was), 403, "is by another user");
	f->vault = was;
	spec.sender = NULL;
	spec.key = key_public(f->person[CAROL].transfer);
	share_rig_add(f, &f->vault, bob, MEMBER_USER, MEMBER_READ);
	share_rig_pack(f, &spec);
	share_rig_refused(
		share_rig_change(f, OWNER, "vaults", &was), 412, "not its recipient's now");
	f->vault = was;
	spec.key = key_public(f->person[BOB].transfer);
	spec.expires_ms = 1;
	share_rig_add(f, &f->vault, bob, MEMBER_USER, MEMBER_READ);
	share_rig_pack(f, &spec);
	share_rig_refused(share_rig_change(f, OWNER, "vaults", &was), 400, "has expired");
	f->vault = was;
	share_rig_add(f, &f->vault, bob, MEMBER_USER, MEMBER_READ);
	share_rig_text(&f->packet_texts, bytes_str("KKP1"));
	share_rig_refused(share_rig_change(f, OWNER, "vaults", &was), 400, "packet");
	/* By who is no admin, and no member. */
	f->vault = was;
	invite_bob(f);
	share_rig_expect(share_rig_ask(f, BOB, "POST", "vaults", was.id, "/accept"), 204);
	other = f->vault;
	share_rig_remove(f, &other, f->person[OWNER].user_id);
	share_rig_refused(share_rig_change(f, BOB, "vaults", &was), 403, "role");
	other = f->vault;
	share_rig_remove(f, &other, bob);
	share_rig_refused(share_rig_change(f, CAROL, "vaults", &was), 404, "no such vault");
	/* A chain that has moved; the last admin. */
	other = was;
	share_rig_add(f, &other, f->person[CAROL].user_id, MEMBER_USER, MEMBER_READ);
	share_rig_pack_for(f, KEYPACKET_VAULT, &was, &f->person[CAROL]);
	share_rig_refused(share_rig_change(f, OWNER, "vaults", &was), 412, "chain moved");
	other = f->vault;
	share_rig_remove(f, &other, f->person[OWNER].user_id);
	share_rig_rotate(f, &other, NULL);
	share_rig_pack_for(f, KEYPACKET_VAULT, &other, &f->person[BOB]);
	share_rig_expect(share_rig_change(f, OWNER, "vaults", &was), 403);
	/* Twice the same object; no Idempotency-Key. */
	other = f->vault;
	share_rig_remove(f, &other, bob);
	share_rig_also(f, &was);
	other = f->vault;
	share_rig_remove(f, &other, bob);
	share_rig_refused(share_rig_change(f, OWNER, "vaults", &was), 400, "comes twice");
	answer = http_client_json(&f->http[OWNER], "POST",
		share_rig_path(target, "vaults", was.id, "/members"), "", "{\"statements\":[]}");
	share_rig_refused(answer, 428, "Idempotency-Key");
	answer = share_rig_ask(f, OWNER, "GET", "vaults", was.id, "/members");
	assert_int_equal(answer_number(&answer, "members_rev"), 2);
	answer_release(&answer);
}

static void test_too_many(void **state_)
{
	struct share_rig *f = *state_;
	struct answer answer;

	for (unsigned i = 0; i <= MEMBERS_STATEMENTS_MAX; i++) {
		share_rig_text(&f->statements, bytes_str("x"));
	}
	/* A list of so many is none; in two halves it is a limit with a number. */
	share_rig_refused(share_rig_change(f, OWNER, "vaults", &f->vault), 400, "too many");
	for (unsigned half = 0; half < 2; half++) {
		struct share_chain other = f->vault;

		other.id[0] ^= 1;
		for (unsigned i = 0; i < MEMBERS_STATEMENTS_MAX / 2 + 1; i++) {
			share_rig_text(&f->statements, bytes_str("x"));
		}
		if (half == 0) {
			share_rig_also(f, &other);
		}
	}
	answer = share_rig_change(f, OWNER, "vaults", &f->vault);
	assert_int_equal(answer.status, 413);
	assert_int_equal(answer_number(&answer, "limit"), MEMBERS_STATEMENTS_MAX);
	answer_release(&answer);
}

/* --- one page --- */

static void put_page(struct share_rig *f, uint64_t page_no)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT, head = BUF_INIT, fields = BUF_INIT;
	char target[96], rest[32];

	person_page(&f->person[OWNER], page_no, 1, "a page", &page);
	person_head(&f->person[OWNER], page_no, buf_bytes(&page), &head);
	buf_printf(&fields,
		"Content-Type: application/octet-stream\r\nIf-None-Match: *\r\nKluis-Head: ");
	base64_append(&fields, buf_bytes(&head));
	buf_printf(&fields, "\r\n");
	(void)snprintf(rest, sizeof rest, "/pages/%u", (unsigned)page_no);
	share_rig_expect(http_client_call(&f->http[OWNER], "PUT",
				 share_rig_path(target, "vaults", f->vault.id, rest),
				 buf_str(&fields), buf_bytes(&page)),
		201);
	person_committed(&f->person[OWNER], page_no);
}

static void grant_text(struct share_rig *f, unsigned who, unsigned page, unsigned revision)
{
	buf_printf(&f->more, ",\"grants\":[{\"user\":\"");
	hex_append(&f->more, bytes_of(f->person[who].user_id, 16));
	buf_printf(&f->more, "\",\"vault\":\"");
	hex_append(&f->more, bytes_of(f->vault.id, 16));
	buf_printf(&f->more, "\",\"page\":%u,\"revision\":%u}]", page, revision);
}

static void test_page(void **state_)
{
	struct share_rig *f = *state_;
	const uint8_t *v = f->vault.id;

	put_page(f, 0);
	put_page(f, 1);
	share_rig_expect(share_rig_ask(f, CAROL, "GET", "vaults", v, "/pages/0"), 404);
	share_rig_expect(share_rig_ask(f, CAROL, "GET", "vaults", v, "/members/chain"), 404);
	grant_text(f, CAROL, 0, 1);
	share_rig_refused(share_rig_send(f, OWNER, "/v1/packets"), 400, "no packets");
	grant_text(f, BOB, 0, 1); /* Its key is for another. */
	share_rig_pack_for(f, KEYPACKET_PAGE, &f->vault, &f->person[CAROL]);
	share_rig_expect(share_rig_send(f, OWNER, "/v1/packets"), 400);
	grant_text(f, CAROL, 0, 1);
	share_rig_pack_for(f, KEYPACKET_PAGE, &f->vault, &f->person[CAROL]);
	share_rig_expect(share_rig_send(f, BOB, "/v1/packets"), 403);
	grant_text(f, CAROL, 0, 1);
	share_rig_pack_for(f, KEYPACKET_PAGE, &f->vault, &f->person[CAROL]);
	share_rig_expect(share_rig_send(f, OWNER, "/v1/packets"), 204);
	assert_int_equal(share_rig_count(f, CAROL, "/v1/packets"), 1);
	share_rig_expect(share_rig_ask(f, CAROL, "GET", "vaults", v, "/pages/0"), 200);
	share_rig_expect(share_rig_ask(f, CAROL, "GET", "vaults", v, "/pages/0/versions/1"), 200);
	/* That page, to her, and nothing else. */
	share_rig_expect(share_rig_ask(f, CAROL, "GET", "vaults", v, "/pages/0/versions/2"), 404);
	share_rig_expect(share_rig_ask(f, CAROL, "GET", "vaults", v, "/pages/1"), 404);
	share_rig_expect(share_rig_ask(f, CAROL, "GET", "vaults", v, "/pages/0/versions"), 404);
	share_rig_expect(share_rig_ask(f, CAROL, "GET", "vaults", v, "/head"), 404);
	share_rig_expect(share_rig_ask(f, BOB, "GET", "vaults", v, "/pages/0"), 404);
	/* With the chain, to hold the key's sender against; and not who else is in it. */
	share_rig_expect(share_rig_ask(f, CAROL, "GET", "vaults", v, "/members/chain"), 200);
	share_rig_expect(share_rig_ask(f, CAROL, "GET", "vaults", v, "/members"), 404);
	share_rig_expect(share_rig_ask(f, BOB, "GET", "vaults", v, "/members/chain"), 404);
}

/* A keyring's key for a device of one's own: to the key that it has. */
static void test_own_device(void **state_)
{
	struct share_rig *f = *state_;
	struct share_packet spec = {.purpose = KEYPACKET_DEVICE,
		.object = &f->vault,
		.rcpt = f->person[OWNER].device_id,
		.key = key_public(f->person[BOB].transfer)};
	struct answer answer;
	char hex[33];

	share_rig_pack(f, &spec);
	share_rig_refused(share_rig_send(f, OWNER, "/v1/packets"), 412, "not its recipient's now");
	spec.key = key_public(f->person[OWNER].transfer); /* Its device has the same. */
	share_rig_pack(f, &spec);
	share_rig_expect(share_rig_send(f, OWNER, "/v1/packets"), 204);
	answer = share_rig_list(f, OWNER, "/v1/packets");
	hex_encode(bytes_of(f->person[OWNER].device_id, 16), hex);
	assert_string_equal(share_rig_member(share_rig_item(&answer, 0), "rcpt"), hex);
	answer_release(&answer);
	spec.rcpt = f->person[BOB].device_id;
	share_rig_pack(f, &spec);
	share_rig_expect(share_rig_send(f, OWNER, "/v1/packets"), 404);
}

/* Pages of the list are made of what was looked at, whatever of it is shown. */
static void test_packet_pages(void **state_)
{
	struct share_rig *f = *state_;
	struct buf target = BUF_INIT;
	struct answer answer;
	size_t seen = 0, pages = 0;
	bool done = false;

	invite_bob(f);
	for (unsigned i = 0; i < 4; i++) {
		share_rig_pack_for(f, KEYPACKET_VAULT, &f->vault, &f->person[BOB]);
	}
	share_rig_expect(share_rig_send(f, OWNER, "/v1/packets"), 204);
	buf_printf(&target, "/v1/packets?limit=2");
	while (!done) {
		answer = share_rig_list(f, BOB, buf_str(&target));
		seen += json_array_size(json_object_get(answer.json, "items"));
		done = json_is_true(json_object_get(answer.json, "done"));
		buf_clear(&target);
		if (!done) {
			buf_printf(&target, "/v1/packets?limit=2&cursor=%s",
				answer_text(&answer, "next"));
		}
		answer_release(&answer);
		pages++;
	}
	assert_int_equal(seen, 5);
	assert_int_equal(pages, 3);
	buf_release(&target);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_vault, share_rig_setup, share_rig_teardown),
		cmocka_unit_test_setup_teardown(test_decline, share_rig_setup, share_rig_teardown),
		cmocka_unit_test_setup_teardown(test_refused, share_rig_setup, share_rig_teardown),
		cmocka_unit_test_setup_teardown(test_too_many, share_rig_setup, share_rig_teardown),
		cmocka_unit_test_setup_teardown(test_page, share_rig_setup, share_rig_teardown),
		cmocka_unit_test_setup_teardown(
			test_own_device, share_rig_setup, share_rig_teardown),
		cmocka_unit_test_setup_teardown(
			test_packet_pages, share_rig_setup, share_rig_teardown),
	};

	return cmocka_run_group_tests(tests, share_rig_people, share_rig_people_end);
}
