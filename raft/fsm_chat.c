#include <assert.h>
#include <string.h>

#include "crypto/chat.h"
#include "crypto/member.h"
#include "raft/fsm_apply.h"
#include "storage/chat_store.h"
#include "storage/object_store.h"

/* Messages of a conversation and what devices have of them: few rows each, for they come in
 * thousands a second. */

/* A message on its way. */
struct send {
	struct session_row session;
	struct object_row conv;
	struct chat_message message;
	struct chat_device_row device;
	struct chat_row chat;
	uint64_t place_ms; /* Of chat in the expiry queue, before. */
};

static int send_parse(struct apply *a, const struct command_message_send *c, struct send *s)
{
	struct member_row member;
	int rc = apply_device_session(a, &c->session, &s->session);

	rc = rc != 0 ? rc
		     : object_store_check(a->view, MEMBER_OBJECT_CONVERSATION, c->conv_id,
			       s->session.user_id, MEMBER_WRITE, false, &s->conv, &member, a->e);
	if (rc != 0) {
		return rc;
	}
	rc = chat_parse(c->message, &s->message, a->e);
	if (rc != 0) {
		return apply_refusal(rc);
	}
	if (memcmp(s->message.place.conv_id, c->conv_id, 16) != 0) {
		return err_set(a->e, KLUIS_EINVAL, "a message of another conversation");
	}
	if (memcmp(s->message.place.user_id, s->session.user_id, 16) != 0 ||
		memcmp(s->message.place.device_id, s->session.device_id, 16) != 0) {
		return err_set(a->e, KLUIS_EFORBIDDEN, "a message by another device");
	}
	return 0;
}

static void send_answer(struct apply *a, uint64_t seq, uint64_t time_ms)
{
	a->reply.number = seq;
	command_reply_set_message_ms(&a->reply, time_ms);
}

/* Whether it comes behind all that the device has sent, as all do but those that are sent again. */
static bool send_is_next(const struct send *s)
{
	const struct chat_message *m = &s->message;

	return s->device.seq == 0 || m->place.epoch > s->device.epoch ||
	       (m->place.epoch == s->device.epoch && m->index > s->device.index);
}

/* 1: this very message was taken, and is answered again. 0: it was not, or so long ago that it is
 * gone. The device's messages are a list from the newest one back. */
static int send_is_retry(struct apply *a, const struct send *s)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	uint64_t seq = s->device.seq;
	struct message_row row;

	if (send_is_next(s)) {
		return 0;
	}
	if (memcmp(s->device.hash, s->message.link, 32) == 0) {
		send_answer(a, seq, s->device.time_ms); /* It may be gone already. */
		return 1;
	}
	for (unsigned n = 0; n < CHAT_RETRY_MAX && seq >= s->chat.first; n++) {
		int rc = message_store_get(a->view, s->conv.object_id, seq, &value, &row, a->e);

		if (rc != 0) {
			return rc == KLUIS_ENOTFOUND
				       ? err_set(a->e, KLUIS_ECORRUPT, "a message is missing")
				       : rc;
		}
		if (memcmp(row.hash, s->message.link, 32) == 0) {
			send_answer(a, row.seq, row.time_ms);
			return 1;
		}
		seq = row.before;
	}
	return 0;
}

static int send_check(struct apply *a, const struct send *s)
{
	const struct chat_message *m = &s->message;

	if (s->conv.chat_stale || m->place.epoch != s->conv.chat_epoch) {
		return err_set(a->e, KLUIS_ECONFLICT, "the conversation needs another epoch");
	}
	if (!send_is_next(s)) {
		return err_set(a->e, KLUIS_EPRECONDITION, "the message's index was used");
	}
	if (s->chat.last + 1 - s->chat.first >= CHAT_MESSAGES_MAX ||
		s->chat.bytes + m->header.len + m->ciphertext.len + m->tag.len + m->signature.len >
			CHAT_BYTES_MAX) {
		return err_set(a->e, KLUIS_EQUOTA, "too many messages wait for a device");
	}
	return 0;
}

/* Moves what a device has; whether devices are worth counting again: only those that have least
 * hold messages back. */
static bool device_moves(struct chat_device_row *device, const struct chat_row *chat,
	uint64_t delivered, uint64_t read)
{
	bool held = device->delivered <= chat->acked && delivered > device->delivered;

	device->delivered = delivered > device->delivered ? delivered : device->delivered;
	device->read = read > device->read ? read : device->read;
	return held;
}

static int send_write(struct apply *a, const struct command_message_send *c, struct send *s)
{
	struct message_row row = {.seq = s->chat.last + 1,
		.time_ms = a->now_ms,
		.before = s->device.seq,
		.message = c->message};
	/* Who has all others has this one, too. */
	uint64_t delivered = s->device.delivered == s->chat.last ? row.seq : 0;
	uint64_t read = s->device.read == s->chat.last ? row.seq : 0;
	size_t dropped;
	/* Each message takes more of the old ones along than it brings. */
	int rc = chat_store_drop(a->txn, &s->chat, CHAT_SEND_DROPS, &dropped, a->e);

	if (rc != 0) {
		return rc;
	}
	memcpy(row.hash, s->message.link, sizeof row.hash);
	message_store_add(a->txn, &s->chat, &row);
	if (device_moves(&s->device, &s->chat, delivered, read)) {
		chat_store_hurry(&s->chat, a->now_ms);
	}
	chat_store_put(a->txn, &s->chat, s->place_ms);
	s->device.epoch = s->message.place.epoch;
	s->device.index = s->message.index;
	s->device.seq = row.seq;
	s->device.time_ms = row.time_ms;
	memcpy(s->device.hash, s->message.link, sizeof s->device.hash);
	chat_device_store_put(a->txn, &s->device);
	send_answer(a, row.seq, row.time_ms);
	return 0;
}

static int send_rows(struct apply *a, struct send *s)
{
	int rc = chat_store_get(a->view, s->conv.object_id, &s->chat, a->e);

	if (rc != 0) {
		return rc;
	}
	s->place_ms = s->chat.expires_ms;
	rc = chat_device_store_get(a->view, s->conv.object_id, s->session.user_id,
		s->session.device_id, &s->device, a->e);
	return rc == KLUIS_ENOTFOUND
		       ? err_set(a->e, KLUIS_ECONFLICT, "the conversation needs another epoch")
		       : rc;
}

int apply_message_send(struct apply *a, const struct command_message_send *c)
{
	struct send s;
	int rc = send_parse(a, c, &s);

	rc = rc != 0 ? rc : send_rows(a, &s);
	rc = rc != 0 ? rc : send_is_retry(a, &s);
	if (rc != 0) {
		return rc > 0 ? 0 : rc;
	}
	rc = send_check(a, &s);
	rc = rc != 0 ? rc : apply_writable(a);
	return rc != 0 ? rc : send_write(a, c, &s);
}

int apply_receipt(struct apply *a, const struct command_receipt *c)
{
	struct session_row session;
	struct member_row member;
	struct object_row conv;
	struct chat_device_row device;
	struct chat_row chat;
	int rc = apply_device_session(a, &c->session, &session);

	rc = rc != 0 ? rc
		     : object_store_check(a->view, MEMBER_OBJECT_CONVERSATION, c->conv_id,
			       session.user_id, MEMBER_READ, false, &conv, &member, a->e);
	rc = rc != 0 ? rc : chat_store_get(a->view, c->conv_id, &chat, a->e);
	if (rc == 0 && c->delivered > chat.last) {
		rc = err_set(a->e, KLUIS_EINVAL, "there is no such message yet");
	}
	if (rc != 0) {
		return rc;
	}
	rc = chat_device_store_get(
		a->view, c->conv_id, session.user_id, session.device_id, &device, a->e);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND
			       ? err_set(a->e, KLUIS_ECONFLICT, "the device is not in the epoch")
			       : rc;
	}
	if (device_moves(&device, &chat, c->delivered, c->read)) {
		uint64_t place_ms = chat.expires_ms;

		chat_store_hurry(&chat, a->now_ms);
		chat_store_put(a->txn, &chat, place_ms);
	}
	chat_device_store_put(a->txn, &device);
	return 0;
}
