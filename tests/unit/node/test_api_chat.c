/* Conversations through the whole API: epochs for real devices, signed messages, receipts. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "crypto/chat.h"
#include "tests/unit/node/lib/share_rig.h"

/* A conversation of the owner and bob, who has accepted. */
static struct share_chain begin(struct share_rig *f)
{
	struct share_chain talk;

	share_rig_create(f, &talk, MEMBER_OBJECT_CONVERSATION, NULL);
	share_rig_add(f, &talk, f->person[BOB].user_id, MEMBER_USER, MEMBER_WRITE);
	share_rig_expect(share_rig_send(f, OWNER, "/v1/conversations"), 201);
	share_rig_expect(share_rig_ask(f, BOB, "POST", "conversations", talk.id, "/accept"), 204);
	return talk;
}

/* The epoch's packet for a device, sealed to this one's key. */
static void pack_device(struct share_rig *f, const struct share_chain *talk, uint32_t epoch,
	unsigned device_of, unsigned key_of)
{
	struct share_chain at = *talk;
	struct share_packet spec = {.purpose = KEYPACKET_CHAT,
		.object = &at,
		.rcpt = f->person[device_of].device_id,
		.key = key_public(f->person[key_of].transfer)};

	at.epoch = epoch;
	share_rig_pack(f, &spec);
}

static struct answer make_epoch(
	struct share_rig *f, unsigned who, const struct share_chain *talk, uint32_t epoch)
{
	char target[96];

	buf_printf(&f->more, ",\"epoch\":%u,\"members_hash\":\"", (unsigned)epoch);
	hex_append(&f->more, bytes_of(talk->hash, 32));
	buf_printf(&f->more, "\"");
	return share_rig_send(f, who, share_rig_path(target, "conversations", talk->id, "/epochs"));
}

static void make_first_epoch(struct share_rig *f, const struct share_chain *talk)
{
	pack_device(f, talk, 1, OWNER, OWNER);
	pack_device(f, talk, 1, BOB, BOB);
	share_rig_expect(make_epoch(f, OWNER, talk, 1), 201);
}

/* A message of this one's device, signed by that one's. */
static void seal(struct share_rig *f, const struct share_chain *talk, unsigned who, unsigned signer,
	uint32_t index, struct buf *to)
{
	static const uint8_t key[CHAT_KEY_BYTES] = {9};
	struct chat_spec spec = {.place = {.epoch = 1},
		.sym = SYM_AES_256,
		.index = index,
		.type = CHAT_TEXT,
		.payload = bytes_str("good morning")};
	struct err e = {0};

	memcpy(spec.place.conv_id, talk->id, 16);
	memcpy(spec.place.user_id, f->person[who].user_id, 16);
	memcpy(spec.place.device_id, f->person[who].device_id, 16);
	buf_clear(to);
	assert_int_equal(chat_seal(key, &spec, f->person[signer].device, to, &e), 0);
}

static struct answer post(
	struct share_rig *f, unsigned who, const struct share_chain *talk, struct bytes message)
{
	char target[96];

	return http_client_call(&f->http[who], "POST",
		share_rig_path(target, "conversations", talk->id, "/messages"),
		"Content-Type: application/octet-stream\r\n", message);
}

static void say(struct share_rig *f, unsigned who, const struct share_chain *talk, uint32_t index,
	uint64_t seq)
{
	_cleanup_(buf_release) struct buf message = BUF_INIT;

	seal(f, talk, who, who, index, &message);
	for (unsigned i = 0; i < 2; i++) { /* Sent again it has the number that it got. */
		struct answer answer = post(f, who, talk, buf_bytes(&message));

		if (answer.status != 201) {
			fail_msg("%d %s", answer.status, buf_str(&answer.body));
		}
		assert_int_equal(answer_number(&answer, "seq"), seq);
		assert_true(answer_number(&answer, "time_ms") > 0);
		answer_release(&answer);
	}
}

static struct answer receipt(struct share_rig *f, unsigned who, const struct share_chain *talk,
	unsigned delivered, unsigned read)
{
	char target[96], body[64];

	(void)snprintf(body, sizeof body, "{\"delivered\":%u,\"read\":%u}", delivered, read);
	return http_client_json(&f->http[who], "POST",
		share_rig_path(target, "conversations", talk->id, "/receipts"), "", body);
}

static void test_epoch(void **state)
{
	struct share_rig *f = *state;
	struct share_chain talk = begin(f);
	struct answer answer;
	char hex[33];

	pack_device(f, &talk, 1, OWNER, OWNER);
	share_rig_refused(make_epoch(f, OWNER, &talk, 1), 412, "device");
	pack_device(f, &talk, 1, OWNER, OWNER);
	pack_device(f, &talk, 1, BOB, CAROL);
	share_rig_refused(make_epoch(f, OWNER, &talk, 1), 412, "not its recipient's now");
	pack_device(f, &talk, 1, OWNER, OWNER);
	pack_device(f, &talk, 1, BOB, BOB);
	pack_device(f, &talk, 1, CAROL, CAROL); /* No member. */
	share_rig_expect(make_epoch(f, OWNER, &talk, 1), 412);
	share_rig_refused(make_epoch(f, OWNER, &talk, 1), 400, "no packets");
	pack_device(f, &talk, 1, OWNER, OWNER);
	share_rig_refused(make_epoch(f, CAROL, &talk, 1), 404, "no such");
	make_first_epoch(f, &talk);
	answer = share_rig_list(f, BOB, "/v1/packets");
	hex_encode(bytes_of(f->person[BOB].device_id, 16), hex);
	assert_string_equal(share_rig_member(share_rig_item(&answer, 0), "rcpt"), hex);
	answer_release(&answer);
	answer = share_rig_ask(f, BOB, "GET", "conversations", talk.id, "");
	assert_int_equal(answer_number(&answer, "chat_epoch"), 1);
	assert_true(json_is_false(json_object_get(answer.json, "chat_stale")));
	assert_int_equal(answer_number(&answer, "last_seq"), 0);
	answer_release(&answer);
}

static void test_messages(void **state)
{
	struct share_rig *f = *state;
	_cleanup_(buf_release) struct buf message = BUF_INIT;
	struct share_chain talk = begin(f), other;
	struct answer answer;

	seal(f, &talk, OWNER, OWNER, 0, &message);
	share_rig_refused(post(f, OWNER, &talk, buf_bytes(&message)), 409, "epoch");
	make_first_epoch(f, &talk);
	say(f, OWNER, &talk, 0, 1);
	say(f, BOB, &talk, 0, 2);
	say(f, OWNER, &talk, 4, 3); /* What is left out is the sender's business. */
	seal(f, &talk, OWNER, OWNER, 2, &message);
	share_rig_refused(post(f, OWNER, &talk, buf_bytes(&message)), 412, "index");
	seal(f, &talk, OWNER, BOB, 5, &message);
	share_rig_refused(post(f, OWNER, &talk, buf_bytes(&message)), 403, "not signed");
	seal(f, &talk, OWNER, OWNER, 5, &message);
	share_rig_refused(post(f, BOB, &talk, buf_bytes(&message)), 403, "another device");
	share_rig_refused(post(f, CAROL, &talk, buf_bytes(&message)), 404, "no such");
	share_rig_refused(
		post(f, OWNER, &talk, bytes_of(message.data, message.len - 1)), 400, "message");
	other = talk;
	other.id[0] ^= 1;
	share_rig_refused(
		post(f, OWNER, &other, buf_bytes(&message)), 400, "of another conversation");

	answer = share_rig_ask(f, BOB, "GET", "conversations", talk.id, "/messages?after=1");
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 2);
	assert_int_equal(json_integer_value(json_object_get(share_rig_item(&answer, 0), "seq")), 2);
	answer_release(&answer);
	answer = share_rig_ask(f, BOB, "GET", "conversations", talk.id, "/messages?limit=2");
	assert_true(json_is_false(json_object_get(answer.json, "done")));
	answer_release(&answer);
	share_rig_expect(
		share_rig_ask(f, CAROL, "GET", "conversations", talk.id, "/messages"), 404);
	share_rig_expect(
		share_rig_ask(f, BOB, "GET", "conversations", talk.id, "/messages?after=x"), 400);
	/* Somebody else comes: no message before an epoch that she has, too. */
	share_rig_add(f, &talk, f->person[CAROL].user_id, MEMBER_USER, MEMBER_READ);
	share_rig_expect(share_rig_change(f, OWNER, "conversations", &talk), 200);
	share_rig_refused(post(f, OWNER, &talk, buf_bytes(&message)), 409, "epoch");
	share_rig_expect(
		share_rig_ask(f, CAROL, "GET", "conversations", talk.id, "/messages"), 403);
}

static void test_receipts(void **state)
{
	struct share_rig *f = *state;
	struct share_chain talk = begin(f);
	struct answer answer;

	share_rig_expect(receipt(f, BOB, &talk, 0, 0), 409); /* In no epoch yet. */
	make_first_epoch(f, &talk);
	say(f, OWNER, &talk, 0, 1);
	say(f, OWNER, &talk, 1, 2);
	share_rig_refused(receipt(f, BOB, &talk, 1, 2), 400, "'read'");
	share_rig_expect(receipt(f, BOB, &talk, 3, 0), 400);
	share_rig_expect(receipt(f, CAROL, &talk, 1, 0), 404);
	share_rig_expect(receipt(f, BOB, &talk, 2, 1), 204);
	share_rig_expect(receipt(f, BOB, &talk, 1, 0), 204); /* Never back. */
	answer = share_rig_ask(f, BOB, "GET", "conversations", talk.id, "");
	assert_int_equal(answer_number(&answer, "last_seq"), 2);
	assert_int_equal(answer_number(&answer, "delivered"), 2);
	assert_int_equal(answer_number(&answer, "read"), 1);
	answer_release(&answer);
	answer = share_rig_ask(f, OWNER, "GET", "conversations", talk.id, "/receipts");
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 2);
	answer_release(&answer);
	answer = share_rig_ask(f, OWNER, "GET", "conversations", talk.id, "/receipts?limit=1");
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 1);
	assert_true(json_is_false(json_object_get(answer.json, "done")));
	answer_release(&answer);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_epoch, share_rig_setup, share_rig_teardown),
		cmocka_unit_test_setup_teardown(test_messages, share_rig_setup, share_rig_teardown),
		cmocka_unit_test_setup_teardown(test_receipts, share_rig_setup, share_rig_teardown),
	};

	return cmocka_run_group_tests(tests, share_rig_people, share_rig_people_end);
}
