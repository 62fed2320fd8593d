#include "tests/lib/test.h"

#include <string.h>

#include "base/wire.h"
#include "crypto/identity.h"
#include "storage/chat_store.h"
#include "storage/event_store.h"
#include "storage/key_codec.h"
#include "storage/object_store.h"
#include "storage/packet_store.h"
#include "tests/unit/raft/lib/chat_rig.h"

/* Epochs, messages and receipts of a conversation. */

static void test_first_epoch(void **state)
{
	static const uint8_t other[16] = {0x99};
	struct chat_rig *w = *state;
	struct command command = chat_message(w, &w->base.p, 0);
	struct chat_epoch_row row;
	struct kv_view *view;

	chat_expect(w, &command, KLUIS_ECONFLICT); /* There are no keys yet. */
	command = chat_epoch(w, &w->base.p, 1);
	command.chat_epoch.packets.len -= w->packet_bytes;
	chat_expect(w, &command, KLUIS_EPRECONDITION); /* One is missing. */
	command = chat_epoch(w, &w->base.p, 1);
	chat_packet(w, &w->base.p, 1, w->base.q.device_id);
	command.chat_epoch.packets = buf_bytes(&w->packets);
	chat_expect(w, &command, KLUIS_EPRECONDITION); /* One twice. */
	command = chat_epoch(w, &w->base.p, 1);
	chat_packet(w, &w->base.p, 1, other);
	command.chat_epoch.packets = buf_bytes(&w->packets);
	chat_expect(w, &command, KLUIS_EPRECONDITION); /* For nobody. */
	command = chat_epoch(w, &w->base.p, 1);
	command.chat_epoch.members_hash[0] ^= 1;
	chat_expect(w, &command, KLUIS_EPRECONDITION);
	command = chat_epoch(w, &w->base.p, CHAT_EPOCHS_SKIPPED_MAX + 1);
	chat_expect(w, &command, KLUIS_EPRECONDITION);
	command = chat_epoch(w, &w->s, 1);
	chat_expect(w, &command, KLUIS_ENOTFOUND); /* No member. */
	command = chat_epoch(w, &w->r, 1);
	memcpy(command.chat_epoch.conv_id, chat_invited, 16);
	chat_expect(w, &command, KLUIS_EFORBIDDEN); /* Has not accepted. */
	command = chat_epoch(w, &w->base.p, 1);
	for (unsigned turn = 0; turn < 2; turn++) { /* The same again. */
		chat_expect(w, &command, 0);
		assert_true(fixture_machine_reply(&w->base.m).number == 1);
	}
	view = kv_view_new(w->base.m.kv);
	assert_int_equal(chat_epoch_store_get(view, chat_conv, 1, &row, NULL), 0);
	assert_int_equal(row.devices, 3);
	assert_true(row.first == 1 && row.made_ms == w->base.m.now_ms);
	assert_memory_equal(row.device_id, w->base.p.device_id, 16);
	kv_view_free(view);
	command = chat_epoch(w, &w->base.q, 1); /* Another one came first. */
	chat_expect(w, &command, KLUIS_EPRECONDITION);
	command = chat_epoch(w, &w->base.p, 1);
	w->packets.data[w->packets.len - 1] ^= 1; /* Her own, with another key in it. */
	chat_expect(w, &command, KLUIS_EPRECONDITION);
	/* Numbers may be skipped: a restore takes back some that clients have used. */
	command = chat_epoch(w, &w->base.q, 1 + CHAT_EPOCHS_SKIPPED_MAX);
	chat_expect(w, &command, 0);
}

/* Each packet is of this epoch, by the one who asks. */
static void test_packets(void **state)
{
	static const size_t places[] = {12, 16 + 16, 16 + 80, 16 + 96 + 3};
	struct chat_rig *w = *state;
	struct command command = chat_epoch(w, &w->base.p, 1), web;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		size_t at = 2 + places[i];

		command = chat_epoch(w, &w->base.p, 1);
		w->packets.data[at] ^= 1; /* Purpose, sender, object, epoch. */
		chat_expect(w, &command, KLUIS_EINVAL);
	}
	command = chat_epoch(w, &w->base.p, 1);
	w->packets.data[2] = 'X';
	chat_expect(w, &command, KLUIS_EINVAL);
	web = fixture_login(&w->base.p, 20, false);
	chat_expect(w, &web, 0);
	command = chat_epoch(w, &w->base.p, 1);
	command.chat_epoch.session = fixture_token(20); /* Of no device. */
	chat_expect(w, &command, KLUIS_EFORBIDDEN);
}

static uint32_t packets_of_r(struct chat_rig *w)
{
	struct kv_view *view = kv_view_new(w->base.m.kv);
	struct packet_use use;
	uint8_t rcpt[16];

	packet_device(w->r.user_id, w->r.device_id, rcpt);
	assert_int_equal(packet_use_get(view, rcpt, &use, NULL), 0);
	kv_view_free(view);
	return use.packets;
}

/* A device that fetches nothing holds nobody up; and who only invites her does not fill what others
 * have room in. */
static void test_a_full_box(void **state)
{
	struct chat_rig *w = *state;
	struct command command;

	w->in = chat_invited;
	for (uint32_t epoch = 1; epoch <= PACKETS_MAX + 2; epoch++) {
		command = chat_epoch(w, &w->base.p, epoch);
		buf_clear(&w->packets);
		chat_packet(w, &w->base.p, epoch, w->base.p.device_id);
		chat_packet(w, &w->base.p, epoch, w->r.device_id);
		command.chat_epoch.packets = buf_bytes(&w->packets);
		chat_expect(w, &command, 0);
	}
	assert_int_equal(packets_of_r(w), PACKETS_MAX);
	w->in = chat_conv;
	chat_begin(w);
	assert_int_equal(packets_of_r(w), PACKETS_MAX + 1);
}

static unsigned rows_of(struct chat_rig *w, enum key_family family)
{
	struct row_key first = row_key_begin(family), end;
	struct kv_view *view = kv_view_new(w->base.m.kv);
	struct kv_iter *iter;
	unsigned n = 0;

	row_key_put_id(&first, chat_conv);
	end = row_key_after_prefix(&first);
	iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	while (kv_iter_next(iter)) {
		n++;
	}
	kv_iter_free(iter);
	kv_view_free(view);
	return n;
}

static const uint64_t day_ms = 24ULL * 3600 * 1000;

/* What a device finds that was away from the making of an epoch on for so long, with a message that
 * was sent on the seventh day: is its packet there? */
static bool comes_back(struct chat_rig *w, uint64_t days)
{
	struct command command, login;

	chat_begin(w);
	chat_expire(w, 7 * day_ms - EXPIRE_INTERVAL_MS);
	login = fixture_login(&w->base.p, TOKEN_P, true);
	chat_expect(w, &login, 0);
	command = chat_message(w, &w->base.p, 0);
	chat_expect(w, &command, 0);
	chat_expire(w, (days - 7) * day_ms);
	return packets_of_r(w) > 0;
}

/* Whoever can still have a message can still read it. */
static void test_comes_back(void **state)
{
	struct chat_rig *w = *state;

	assert_true(comes_back(w, 36));
	assert_int_equal(rows_of(w, KEY_MESSAGE), 1);
	chat_expire(w, 2 * day_ms);
	assert_int_equal(rows_of(w, KEY_MESSAGE), 0);
	chat_expire(w, 6 * day_ms);
	assert_true(packets_of_r(w) > 0);
	chat_expire(w, 2 * day_ms);
	assert_int_equal(packets_of_r(w), 0);
}

/* A node of an earlier version would drop them sooner. */
static void test_comes_back_before_the_level(void **state)
{
	struct chat_rig *w = *state;

	assert_false(comes_back(w, 36));
}

static void test_messages(void **state)
{
	struct chat_rig *w = *state;
	struct command command;
	struct message_row row;
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct kv_view *view;

	chat_begin(w);
	for (uint32_t i = 0; i < 6; i++) { /* In turn; an index may be left out. */
		command = chat_message(w, i % 2 == 0 ? &w->base.p : &w->base.q, 2 * i);
		w->base.m.now_ms += 1000;
		chat_expect(w, &command, 0);
		assert_true(fixture_machine_reply(&w->base.m).number == i + 1);
		assert_true(chat_reply_ms(w) == w->base.m.now_ms);
	}
	view = kv_view_new(w->base.m.kv);
	assert_int_equal(message_store_get(view, chat_conv, 6, &value, &row, NULL), 0);
	assert_true(bytes_equal(row.message, command.message_send.message));
	assert_true(row.before == 4 && row.time_ms == w->base.m.now_ms);
	kv_view_free(view);
	command = chat_message(w, &w->base.q, 10);
	w->message.data[140] ^= 1; /* Another one with the same index. */
	chat_expect(w, &command, KLUIS_EPRECONDITION);
	command = chat_message(w, &w->base.q, 9);
	chat_expect(w, &command, KLUIS_EPRECONDITION);
	command = chat_message(w, &w->base.q, 11);
	command.message_send.message.len--;
	chat_expect(w, &command, KLUIS_EINVAL);
	command = chat_message(w, &w->base.q, 11);
	w->message.data[8] ^= 1; /* Another conversation's. */
	chat_expect(w, &command, KLUIS_EINVAL);
	command = chat_message(w, &w->base.q, 11);
	command.message_send.session = fixture_token(TOKEN_P);
	chat_expect(w, &command, KLUIS_EFORBIDDEN);
	command = chat_message(w, &w->s, 0);
	chat_expect(w, &command, KLUIS_ENOTFOUND);
	command = chat_message(w, &w->r, 0);
	chat_expect(w, &command, KLUIS_EFORBIDDEN); /* May read. */
	command = chat_message(w, &w->r, 0);
	memcpy(command.message_send.conv_id, chat_invited, 16);
	chat_expect(w, &command, KLUIS_EFORBIDDEN); /* Has not accepted. */
	w->epoch = 2;
	command = chat_message(w, &w->base.q, 11);
	chat_expect(w, &command, KLUIS_ECONFLICT);
}

/* The event of that type in a list, of which there is one. */
static const struct event *event_in(const struct event_list *list, enum event_type type)
{
	const struct event *found = NULL;

	for (size_t i = 0; i < list->n; i++) {
		if (list->event[i].type == type) {
			assert_null(found);
			found = &list->event[i];
		}
	}
	assert_non_null(found);
	assert_int_equal(found->audience, EVENT_TO_OBJECT);
	assert_memory_equal(found->topic, chat_conv, 16);
	assert_memory_equal(found->object, chat_conv, 16);
	return found;
}

/* Members are told of messages as they are taken; and later, of all that was missed, once. */
static void test_told(void **state)
{
	struct chat_rig *w = *state;
	struct event_topic topic = {.audience = EVENT_TO_OBJECT};
	const struct event_topics topics = {.topic = &topic, .n = 1};
	struct event_list missed = {0};
	uint64_t since;
	struct command command;
	struct kv_view *view;
	bool all = true;

	memcpy(topic.id, chat_conv, 16);
	chat_begin(w);
	since = fsm_position(w->base.m.fsm)->index;
	for (uint32_t i = 0; i < 3; i++) {
		const struct event *event;

		command = chat_message(w, &w->base.p, i);
		chat_expect(w, &command, 0);
		event = event_in(&w->base.m.results.events, EVENT_OF_MESSAGE);
		assert_true(event->has_seq && event->seq == i + 1);
	}
	command = chat_receipt(&w->base.q, 3, 3);
	chat_expect(w, &command, 0);
	(void)event_in(&w->base.m.results.events, EVENT_OF_RECEIPT);
	view = kv_view_new(w->base.m.kv);
	assert_int_equal(event_store_missed(view, &topics, since, &missed, &all, NULL), 0);
	kv_view_free(view);
	assert_false(all);
	assert_true(event_in(&missed, EVENT_OF_MESSAGE)->seq == 3);
	event_list_release(&missed);
}

/* A message that was taken is answered as it was: also when others came since, when its signature
 * is another one (which is no part of it), and when it is gone. */
static void test_sent_again(void **state)
{
	struct chat_rig *w = *state;
	struct command command;
	uint64_t first_ms;

	chat_begin(w);
	command = chat_message(w, &w->base.p, 0);
	chat_expect(w, &command, 0);
	first_ms = w->base.m.now_ms;
	w->base.m.now_ms += 5;
	for (uint32_t i = 1; i < CHAT_RETRY_MAX; i++) {
		command = chat_message(w, &w->base.q, i);
		chat_expect(w, &command, 0);
		command = chat_message(w, &w->base.p, i);
		chat_expect(w, &command, 0);
	}
	command = chat_message(w, &w->base.p, 0);
	w->message.data[w->message.len - 1] ^= 1;
	chat_expect(w, &command, 0);
	assert_true(fixture_machine_reply(&w->base.m).number == 1);
	assert_true(chat_reply_ms(w) == first_ms);
	command = chat_epoch(w, &w->base.q, 2); /* Answered in a later epoch, too. */
	chat_expect(w, &command, 0);
	command = chat_message(w, &w->base.p, 0);
	chat_expect(w, &command, 0);
	w->epoch = 2;
	command = chat_message(w, &w->base.p, 0); /* Each epoch counts from 0. */
	chat_expect(w, &command, 0);
	w->epoch = 1;
	command = chat_message(w, &w->base.p, 0); /* So long ago that nobody looks. */
	chat_expect(w, &command, KLUIS_ECONFLICT);
	chat_all_have(w, 2 * CHAT_RETRY_MAX);
	chat_expire(w, CHAT_SWEEP_MS);
	assert_true(chat_state(w).first == 2 * CHAT_RETRY_MAX + 1);
	w->epoch = 2;
	command = chat_message(w, &w->base.p, 0); /* The newest is known when it is gone. */
	chat_expect(w, &command, 0);
	assert_true(fixture_machine_reply(&w->base.m).number == 2 * CHAT_RETRY_MAX);
	assert_true(chat_reply_ms(w) == first_ms + 5);
}

static void test_receipts(void **state)
{
	struct chat_rig *w = *state;
	struct command command;

	chat_begin(w);
	for (uint32_t i = 0; i < 4; i++) {
		command = chat_message(w, &w->base.p, i);
		chat_expect(w, &command, 0);
	}
	/* Its own it has. */
	assert_true(
		chat_device(w, &w->base.p).delivered == 4 && chat_device(w, &w->base.p).read == 4);
	assert_true(chat_device(w, &w->base.q).delivered == 0);
	command = chat_receipt(&w->base.q, 3, 2);
	chat_expect(w, &command, 0);
	assert_true(
		chat_device(w, &w->base.q).delivered == 3 && chat_device(w, &w->base.q).read == 2);
	command = chat_receipt(&w->base.q, 2, 1); /* Came late. */
	chat_expect(w, &command, 0);
	assert_true(
		chat_device(w, &w->base.q).delivered == 3 && chat_device(w, &w->base.q).read == 2);
	command = chat_message(w, &w->base.q, 0); /* It lacks one: it does not have all. */
	chat_expect(w, &command, 0);
	assert_true(
		chat_device(w, &w->base.q).delivered == 3 && chat_device(w, &w->base.q).read == 2);
	command = chat_receipt(&w->base.q, 6, 0); /* There is none. */
	chat_expect(w, &command, KLUIS_EINVAL);
	command = chat_receipt(&w->s, 1, 1);
	chat_expect(w, &command, KLUIS_ENOTFOUND);
	command = chat_receipt(&w->r, 1, 1);
	chat_expect(w, &command, 0);
	memcpy(command.receipt.conv_id, chat_invited, 16);
	chat_expect(w, &command, KLUIS_EFORBIDDEN);
}

/* The transit copy goes when all have it, in time and without their asking. */
static void test_gone_when_all_have_it(void **state)
{
	struct chat_rig *w = *state;
	struct command command;

	chat_begin(w);
	for (uint32_t i = 0; i < 5; i++) {
		command = chat_message(w, &w->base.p, i);
		chat_expect(w, &command, 0);
	}
	command = chat_receipt(&w->base.q, 5, 5);
	chat_expect(w, &command, 0);
	chat_expire(w, CHAT_SWEEP_MS);
	assert_true(chat_state(w).first == 1); /* r has none yet. */
	chat_all_have(w, 3);
	assert_true(chat_state(w).first == 1);
	chat_expire(w, CHAT_SWEEP_MS - 1);
	assert_true(chat_state(w).first == 4 && chat_state(w).acked == 3);
	chat_all_have(w, 5);
	command = chat_message(
		w, &w->base.p, 5); /* What is known to be had goes with it: none yet. */
	chat_expect(w, &command, 0);
	assert_true(chat_state(w).first == 4);
	chat_expire(w, CHAT_SWEEP_MS);
	assert_true(chat_state(w).first == 6 && chat_state(w).last == 6);
	chat_expire(w, CHAT_KEPT_MS);
	assert_true(chat_state(w).first == 7 && chat_state(w).bytes == 0);
}

/* Each message takes two of the old ones along, so that a busy conversation keeps itself small. */
static void test_messages_take_others_along(void **state)
{
	enum { MANY = 20 };
	struct chat_rig *w = *state;
	struct command command;
	uint32_t i = 0;

	chat_begin(w);
	for (; i < MANY; i++) {
		command = chat_message(w, &w->base.p, i);
		chat_expect(w, &command, 0);
	}
	chat_all_have(w, MANY);
	w->base.m.now_ms += CHAT_SWEEP_MS + EXPIRE_INTERVAL_MS;
	command = (struct command){.type = COMMAND_EXPIRE, .expire = {.max_rows = 5}};
	chat_expect(w, &command, 0); /* Counts, and drops few. */
	assert_true(chat_state(w).first == 6 && chat_state(w).acked == MANY);
	for (; i < MANY + 3; i++) {
		command = chat_message(w, &w->base.p, i);
		chat_expect(w, &command, 0);
	}
	assert_true(chat_state(w).first == 6 + 3 * CHAT_SEND_DROPS);
}

/* Whoever is removed writes nothing more, and is waited for no more; who comes new has what comes
 * from then on. */
static void test_members_change(void **state)
{
	struct chat_rig *w = *state;
	struct command command, late;
	struct fixture_section s;

	chat_begin(w);
	command = chat_message(w, &w->base.q, 0);
	chat_expect(w, &command, 0);
	fixture_section_begin(&s, &w->conv);
	fixture_remove(&s, w->base.q.user_id);
	fixture_add(&s, w->s.user_id, MEMBER_USER, MEMBER_WRITE);
	chat_change(w, &w->base.p, &s);
	late = chat_message(w, &w->base.q, 1);
	chat_expect(w, &late, KLUIS_ENOTFOUND);
	command = chat_message(w, &w->base.p, 0);
	chat_expect(w, &command, KLUIS_ECONFLICT);
	command = chat_epoch(w, &w->base.p, 2); /* As it was. */
	chat_expect(w, &command, KLUIS_EPRECONDITION);
	buf_clear(&w->packets);
	chat_packet(w, &w->base.p, 2, w->base.p.device_id);
	chat_packet(w, &w->base.p, 2, w->r.device_id);
	chat_packet(w, &w->base.p, 2, w->s.device_id); /* Is invited. */
	command.chat_epoch.packets = buf_bytes(&w->packets);
	chat_expect(w, &command, 0);
	assert_true(chat_device(w, &w->s).delivered == 1);
	w->epoch = 2;
	command = chat_message(w, &w->base.p, 0);
	chat_expect(w, &command, 0);
	command = chat_message(w, &w->s, 0);
	chat_expect(w, &command, KLUIS_EFORBIDDEN); /* Has not accepted. */
}

/* Who declines is in the keys no more. */
static void test_declined(void **state)
{
	struct chat_rig *w = *state;
	struct fixture_client r = chat_client(&w->r);
	struct command command;

	chat_begin(w);
	command = fixture_answer(&r, chat_conv, false);
	chat_expect(w, &command, 0);
	command = chat_message(w, &w->base.p, 0);
	chat_expect(w, &command, KLUIS_ECONFLICT);
	command = chat_epoch(w, &w->base.p, 2);
	command.chat_epoch.packets.len -= w->packet_bytes;
	command.chat_epoch.packets.data += w->packet_bytes; /* The first is r's. */
	chat_expect(w, &command, 0);
}

/* A device more or less: no message before the others have new keys. */
static void test_devices_change(void **state)
{
	static const uint8_t phone[16] = {0x77};
	struct chat_rig *w = *state;
	struct command command;

	chat_begin(w);
	command = chat_message(w, &w->base.p, 0);
	chat_expect(w, &command, 0);
	chat_add_device(w, &w->base.q, TOKEN_Q, phone);
	command = chat_message(w, &w->base.p, 1);
	chat_expect(w, &command, KLUIS_ECONFLICT);
	command = chat_epoch(w, &w->base.p, 2);
	chat_expect(w, &command, KLUIS_EPRECONDITION); /* Not without it. */
	command = chat_epoch(w, &w->base.p, 2);
	chat_packet(w, &w->base.p, 2, phone);
	command.chat_epoch.packets = buf_bytes(&w->packets);
	chat_expect(w, &command, 0);
	w->epoch = 2;
	command = chat_message(w, &w->base.p, 0);
	chat_expect(w, &command, 0);
	assert_true(chat_device_of(w, w->base.q.user_id, phone).delivered == 1);
	assert_true(chat_device(w, &w->base.q).delivered == 0); /* As before. */
	chat_all_have(w, 2);
	chat_expire(w, CHAT_SWEEP_MS);
	assert_true(chat_state(w).first == 2); /* The phone holds the second one. */
	chat_revoke_device(w, &w->base.q, TOKEN_Q, phone);
	command = chat_message(w, &w->base.p, 1);
	chat_expect(w, &command, KLUIS_ECONFLICT);
	command = chat_epoch(w, &w->base.p, 3);
	chat_expect(w, &command, 0);
	chat_expire(w, CHAT_SWEEP_MS);
	assert_true(chat_state(w).first == 3); /* It is not waited for. */
}

/* An account that is disabled reads nothing, and has new keys made when it comes back. */
static void test_disabled(void **state)
{
	struct chat_rig *w = *state;
	struct command rule = {.type = COMMAND_PERSON_RULE,
		.person_rule = {.actor = bytes_str("op"),
			.name = bytes_str(w->base.q.name),
			.what = PERSON_DISABLE}};
	struct command command;

	chat_begin(w);
	chat_expect(w, &rule, 0);
	command = chat_message(w, &w->base.p, 0);
	chat_expect(w, &command, KLUIS_ECONFLICT);
	command = chat_epoch(w, &w->base.p, 2);
	chat_expect(w, &command, KLUIS_EPRECONDITION);
	buf_clear(&w->packets);
	chat_packet(w, &w->base.p, 2, w->base.p.device_id);
	chat_packet(w, &w->base.p, 2, w->r.device_id);
	command.chat_epoch.packets = buf_bytes(&w->packets);
	chat_expect(w, &command, 0);
	w->epoch = 2;
	command = chat_message(w, &w->base.p, 0);
	chat_expect(w, &command, 0);
	rule.person_rule.what = PERSON_ENABLE;
	chat_expect(w, &rule, 0);
	command = chat_message(w, &w->base.p, 1);
	chat_expect(w, &command, KLUIS_ECONFLICT);
	command = chat_epoch(w, &w->base.p, 3);
	chat_expect(w, &command, 0);
}

/* Service accounts write, too. */
static void test_service_disabled(void **state)
{
	struct chat_rig *w = *state;
	struct command command, disable = {.type = COMMAND_SERVICE_DISABLE,
					.service_disable = {.actor = bytes_str("op"),
						.name = bytes_str(w->base.service.name)}};
	struct fixture_section s;

	fixture_section_begin(&s, &w->conv);
	fixture_add(&s, w->base.service.user_id, MEMBER_USER, MEMBER_WRITE);
	chat_change(w, &w->base.p, &s);
	command = chat_epoch(w, &w->base.p, 1);
	chat_packet(w, &w->base.p, 1, w->base.service.device_id);
	command.chat_epoch.packets = buf_bytes(&w->packets);
	chat_expect(w, &command, 0);
	chat_expect(w, &disable, 0);
	command = chat_message(w, &w->base.p, 0);
	chat_expect(w, &command, KLUIS_ECONFLICT);
	command = chat_epoch(w, &w->base.p, 2);
	chat_expect(w, &command, 0);
}

/* Who leaves for good is waited for no more; with the last one all of it goes. */
static void test_members_go(void **state)
{
	static const enum key_family families[] = {
		KEY_MESSAGE, KEY_CHAT, KEY_CHAT_DEVICE, KEY_CHAT_EPOCH};
	struct chat_rig *w = *state;
	struct command command = {
		.type = COMMAND_ACCOUNT_DELETE, .account_delete.session = fixture_token(TOKEN_Q)};
	struct command send;

	chat_begin(w);
	send = chat_message(w, &w->base.p, 0);
	chat_expect(w, &send, 0);
	chat_expect(w, &command, 0);
	chat_expire(w, 0);
	chat_expect(w, &send, 0); /* The very same. */
	send = chat_message(w, &w->base.p, 1);
	chat_expect(w, &send, KLUIS_ECONFLICT);
	command.account_delete.session = fixture_token(TOKEN_R);
	chat_expect(w, &command, 0);
	chat_expire(w, 0);
	assert_int_equal(rows_of(w, KEY_MESSAGE), 1);
	command.account_delete.session = fixture_token(TOKEN_P);
	chat_expect(w, &command, 0);
	chat_expire(w, 0);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		assert_int_equal(rows_of(w, families[i]), 0);
	}
}

/* What nobody fetches does not grow without end. */
static void test_quota(void **state)
{
	struct chat_rig *w = *state;
	struct command command;
	unsigned n = 0;

	chat_begin(w);
	chat_pretend(w, CHAT_MESSAGES_MAX - 1, 1);
	command = chat_message(w, &w->base.p, n++);
	chat_expect(w, &command, 0);
	command = chat_message(w, &w->base.p, n);
	chat_expect(w, &command, KLUIS_EQUOTA);
	chat_pretend(w, 1, CHAT_BYTES_MAX - w->message.len);
	command = chat_message(w, &w->base.p, n++);
	chat_expect(w, &command, 0);
	command = chat_message(w, &w->base.p, n);
	chat_expect(w, &command, KLUIS_EQUOTA);
	chat_pretend(w, 1, CHAT_BYTES_MAX - w->message.len + 1);
	chat_expect(w, &command, KLUIS_EQUOTA);
}

static void test_read_only(void **state)
{
	struct chat_rig *w = *state;
	struct command on = {
		.type = COMMAND_READONLY, .readonly = {.on = true, .actor = bytes_str("op")}};
	struct command command;

	chat_begin(w);
	command = chat_message(w, &w->base.p, 0);
	chat_expect(w, &command, 0);
	chat_expect(w, &on, 0);
	chat_expect(w, &command, 0); /* It was taken. */
	command = chat_message(w, &w->base.p, 1);
	chat_expect(w, &command, KLUIS_EREADONLY);
	command = chat_epoch(w, &w->base.p, 2);
	chat_expect(w, &command, KLUIS_EREADONLY);
	command = chat_receipt(&w->base.q, 1, 1); /* Makes room. */
	chat_expect(w, &command, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, chat_rig_setup, chat_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_first_epoch),
		T(test_packets),
		T(test_a_full_box),
		T(test_comes_back),
		cmocka_unit_test_setup_teardown(
			test_comes_back_before_the_level, chat_rig_setup_first, chat_rig_teardown),
		T(test_messages),
		T(test_told),
		T(test_sent_again),
		T(test_receipts),
		T(test_gone_when_all_have_it),
		T(test_messages_take_others_along),
		T(test_members_change),
		T(test_declined),
		T(test_devices_change),
		T(test_disabled),
		T(test_service_disabled),
		T(test_members_go),
		cmocka_unit_test_setup_teardown(
			test_quota, chat_rig_setup, chat_rig_teardown_unchecked),
		T(test_read_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
