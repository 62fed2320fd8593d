#include "tests/unit/raft/lib/chat_rig.h"

#include <string.h>

#include "base/wire.h"
#include "crypto/chat.h"
#include "crypto/identity.h"
#include "crypto/keypacket.h"
#include "crypto/member.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/test.h"

uint8_t chat_conv[16], chat_invited[16];

struct fixture_client chat_client(const struct fixture_person *p)
{
	struct fixture_client c = {.name = ""};

	memcpy(c.user_id, p->user_id, sizeof c.user_id);
	memcpy(c.token_hash, p->token_hash, sizeof c.token_hash);
	return c;
}

void chat_change(struct chat_rig *w, const struct fixture_person *by, struct fixture_section *s)
{
	_cleanup_(buf_release) struct buf space = BUF_INIT;
	struct fixture_client c = chat_client(by);
	struct fixture_section *const sections[] = {s};
	struct command command = fixture_change(&c, sections, 1, &space);

	chat_expect(w, &command, 0);
	fixture_section_release(s);
}

static void rig_answer(struct chat_rig *w, const struct fixture_person *p)
{
	struct fixture_client c = chat_client(p);
	struct command command = fixture_answer(&c, chat_conv, true);

	chat_expect(w, &command, 0);
}

static void rig_conversations(struct chat_rig *w)
{
	struct fixture_section s;

	fixture_object_init(&w->conv, MEMBER_OBJECT_CONVERSATION, 1);
	memcpy(chat_conv, w->conv.id, sizeof chat_conv);
	fixture_section_begin(&s, &w->conv);
	fixture_create(&s, w->base.p.user_id);
	fixture_add(&s, w->base.q.user_id, MEMBER_USER, MEMBER_WRITE);
	fixture_add(&s, w->r.user_id, MEMBER_USER, MEMBER_READ);
	chat_change(w, &w->base.p, &s);
	rig_answer(w, &w->base.q);
	rig_answer(w, &w->r);
	fixture_object_init(&w->invited, MEMBER_OBJECT_CONVERSATION, 2);
	memcpy(chat_invited, w->invited.id, sizeof chat_invited);
	fixture_section_begin(&s, &w->invited);
	fixture_create(&s, w->base.p.user_id);
	fixture_add(&s, w->r.user_id, MEMBER_USER, MEMBER_WRITE);
	chat_change(w, &w->base.p, &s);
}

static int rig_setup(void **state, uint32_t level)
{
	struct chat_rig *w = x_calloc(1, sizeof *w);

	fixture_machine_init(&w->base.m, NULL);
	fixture_machine_begin(&w->base.m, &w->base.service);
	fixture_machine_level_to(&w->base.m, level);
	fixture_machine_person(&w->base.m, &w->base.p, TOKEN_P);
	fixture_machine_person(&w->base.m, &w->base.q, TOKEN_Q);
	fixture_machine_person(&w->base.m, &w->r, TOKEN_R);
	fixture_machine_person(&w->base.m, &w->s, TOKEN_S);
	rig_conversations(w);
	w->in = chat_conv;
	w->epoch = 1;
	*state = w;
	return 0;
}

int chat_rig_setup(void **state)
{
	return rig_setup(state, FEATURE_LEVEL);
}

int chat_rig_setup_first(void **state)
{
	return rig_setup(state, FEATURE_LEVEL_SHARING);
}

int chat_rig_teardown_unchecked(void **state)
{
	struct chat_rig *w = *state;

	fixture_person_release(&w->base.p);
	fixture_person_release(&w->base.q);
	fixture_person_release(&w->r);
	fixture_person_release(&w->s);
	buf_release(&w->packets);
	buf_release(&w->message);
	fixture_machine_release(&w->base.m);
	free(w);
	return 0;
}

int chat_rig_teardown(void **state)
{
	struct chat_rig *w = *state;
	struct err e = {0};

	if (fixture_check_store(w->base.m.kv, &e) != 0) {
		fail_msg("%s", e.text);
	}
	return chat_rig_teardown_unchecked(state);
}

void chat_expect(struct chat_rig *w, const struct command *command, int rc)
{
	person_expect(&w->base, command, rc);
}

uint64_t chat_reply_ms(const struct chat_rig *w)
{
	struct command_reply reply = fixture_machine_reply(&w->base.m);

	return command_reply_message_ms(&reply);
}

void chat_packet(struct chat_rig *w, const struct fixture_person *by, uint32_t epoch,
	const uint8_t device_id[16])
{
	_cleanup_(buf_release) struct buf packet = BUF_INIT;
	const struct fixture_packet fields = {.purpose = KEYPACKET_CHAT,
		.number = epoch * 10000 + (unsigned)w->packets.len,
		.sender = by->user_id,
		.rcpt = device_id,
		.object = w->in,
		.epoch = epoch};

	fixture_packet(&fields, &packet);
	members_item_append(&w->packets, buf_bytes(&packet));
	w->packet_bytes = 2 + packet.len;
}

static struct command_session session_of(const struct fixture_person *p)
{
	struct command_session session;

	memcpy(session.token_hash, p->token_hash, sizeof session.token_hash);
	return session;
}

struct command chat_epoch(struct chat_rig *w, const struct fixture_person *by, uint32_t epoch)
{
	struct command command = {.type = COMMAND_CHAT_EPOCH,
		.chat_epoch = {.session = session_of(by), .epoch = epoch}};

	buf_clear(&w->packets);
	chat_packet(w, by, epoch, w->r.device_id);
	chat_packet(w, by, epoch, w->base.p.device_id);
	chat_packet(w, by, epoch, w->base.q.device_id);
	memcpy(command.chat_epoch.conv_id, w->in, 16);
	memcpy(command.chat_epoch.members_hash, w->in == chat_conv ? w->conv.hash : w->invited.hash,
		32);
	command.chat_epoch.packets = buf_bytes(&w->packets);
	return command;
}

struct command chat_message(struct chat_rig *w, const struct fixture_person *by, uint32_t index)
{
	struct command command = {
		.type = COMMAND_MESSAGE_SEND, .message_send.session = session_of(by)};
	struct buf *to = &w->message;

	buf_clear(to);
	buf_put_str(to, "KCM1");
	buf_put_u8(to, 1);
	buf_put_u8(to, SYM_AES_256);
	buf_put_u16(to, 0);
	buf_append(to, chat_conv, 16);
	buf_put_u32(to, w->epoch);
	buf_put_u32(to, index);
	buf_append(to, by->user_id, 16);
	buf_append(to, by->device_id, 16);
	buf_put_zeros(to, 64);
	buf_put_u32(to, CHAT_PLAINTEXT_BYTES_MIN);
	buf_put_zeros(to, CHAT_PLAINTEXT_BYTES_MIN + CHAT_TAG_BYTES + SIGN_ECDSA_BYTES);
	memcpy(command.message_send.conv_id, chat_conv, 16);
	command.message_send.message = buf_bytes(to);
	return command;
}

struct command chat_receipt(const struct fixture_person *by, uint64_t delivered, uint64_t read)
{
	struct command command = {.type = COMMAND_RECEIPT,
		.receipt = {.session = session_of(by), .delivered = delivered, .read = read}};

	memcpy(command.receipt.conv_id, chat_conv, 16);
	return command;
}

void chat_begin(struct chat_rig *w)
{
	struct command command = chat_epoch(w, &w->base.p, 1);

	chat_expect(w, &command, 0);
}

void chat_all_have(struct chat_rig *w, uint64_t seq)
{
	const struct fixture_person *members[] = {&w->base.p, &w->base.q, &w->r};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		struct command command = chat_receipt(members[i], seq, 0);

		chat_expect(w, &command, 0);
	}
}

void chat_expire(struct chat_rig *w, uint64_t ms)
{
	person_expire(&w->base, ms);
}

void chat_add_device(
	struct chat_rig *w, struct fixture_person *p, unsigned token, const uint8_t device_id[16])
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct command command;

	fixture_device_body(device_id, &body);
	command = fixture_append(p, token, IDENTITY_DEVICE_ADD, buf_bytes(&body));
	chat_expect(w, &command, 0);
	fixture_appended(p);
}

void chat_revoke_device(
	struct chat_rig *w, struct fixture_person *p, unsigned token, const uint8_t device_id[16])
{
	uint8_t body[18] = {0};
	struct command command;

	memcpy(body, device_id, 16);
	command = fixture_append(p, token, IDENTITY_DEVICE_REVOKE, bytes_of(body, sizeof body));
	chat_expect(w, &command, 0);
	fixture_appended(p);
}

void chat_pretend(struct chat_rig *w, uint64_t kept, uint64_t bytes)
{
	struct position position = *fsm_position(w->base.m.fsm);
	struct chat_row row = {.first = 1, .last = kept, .bytes = bytes};
	struct txn *txn;

	fsm_free(w->base.m.fsm); /* It knows rows that it has read. */
	memcpy(row.conv_id, chat_conv, 16);
	txn = txn_new(w->base.m.kv, &position);
	txn_entry_begin(txn, position.index + 1, 1);
	txn_command_begin(txn);
	chat_store_put(txn, &row, 0);
	assert_int_equal(txn_command_commit(txn, NULL), 0);
	assert_int_equal(txn_store(txn, NULL), 0);
	txn_free(txn);
	assert_int_equal(fsm_new(w->base.m.kv, 1, &w->base.m.fsm, NULL), 0);
}

struct chat_row chat_state(struct chat_rig *w)
{
	struct kv_view *view = kv_view_new(w->base.m.kv);
	struct chat_row row;

	assert_int_equal(chat_store_get(view, chat_conv, &row, NULL), 0);
	kv_view_free(view);
	return row;
}

struct chat_device_row chat_device_of(
	struct chat_rig *w, const uint8_t user_id[16], const uint8_t device_id[16])
{
	struct kv_view *view = kv_view_new(w->base.m.kv);
	struct chat_device_row row;

	assert_int_equal(chat_device_store_get(view, chat_conv, user_id, device_id, &row, NULL), 0);
	kv_view_free(view);
	return row;
}

struct chat_device_row chat_device(struct chat_rig *w, const struct fixture_person *p)
{
	return chat_device_of(w, p->user_id, p->device_id);
}
