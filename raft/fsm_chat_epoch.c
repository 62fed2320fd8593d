#include <assert.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/keypacket.h"
#include "crypto/member.h"
#include "raft/chat_check.h"
#include "raft/fsm_apply.h"
#include "storage/chat_store.h"
#include "storage/object_store.h"
#include "storage/packet_store.h"

/* New epochs: who made one reached every device of every member, and from then on these devices are
 * waited for. */

struct epoch {
	struct session_row session;
	struct object_row conv;
	uint8_t packets_hash[32];
	struct chat_devices devices;
	struct chat_row chat;
};

/* 1: this very command was applied, and nothing came since. */
static int epoch_is_retry(
	struct apply *a, const struct command_chat_epoch *c, const struct epoch *m)
{
	struct chat_epoch_row row;
	int rc;

	if (c->epoch != m->conv.chat_epoch) {
		return 0;
	}
	rc = chat_epoch_store_get(a->view, c->conv_id, c->epoch, &row, a->e);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? err_set(a->e, KLUIS_ECORRUPT, "an epoch is missing")
					     : rc;
	}
	return memcmp(row.packets_hash, m->packets_hash, 32) == 0 &&
	       memcmp(row.members_hash, c->members_hash, 32) == 0;
}

static int epoch_check(struct apply *a, const struct command_chat_epoch *c, struct epoch *m)
{
	struct chat_need need;
	int rc;

	if (c->epoch <= m->conv.chat_epoch ||
		c->epoch - m->conv.chat_epoch > CHAT_EPOCHS_SKIPPED_MAX) {
		return err_set(a->e, KLUIS_EPRECONDITION, "the conversation's epoch moved");
	}
	if (memcmp(c->members_hash, m->conv.members_hash, 32) != 0) {
		return err_set(a->e, KLUIS_EPRECONDITION, "the conversation's members changed");
	}
	rc = apply_writable(a);
	rc = rc != 0 ? rc : chat_devices_get(a->view, c->conv_id, &m->devices, a->e);
	if (rc != 0) {
		return rc;
	}
	rc = chat_packets_check(m->session.user_id, c, &m->devices, &need, a->e);
	return rc != 0 ? apply_refusal(rc) : 0;
}

/* Devices that are in it no more are waited for no more. */
static int epoch_drop_devices(struct apply *a, const struct epoch *m)
{
	enum { SOME = 64 };
	_cleanup_(x_freep) struct chat_device_row *rows = x_calloc(SOME, sizeof *rows);
	struct chat_device_row last;
	size_t n = SOME;
	int rc = 0;

	for (const struct chat_device_row *after = NULL; rc == 0 && n == SOME; after = &last) {
		rc = chat_device_store_list(
			a->view, m->conv.object_id, after, rows, SOME, &n, a->e);
		for (size_t i = 0; rc == 0 && i < n; i++) {
			last = rows[i];
			if (!chat_devices_have(&m->devices, rows[i].user_id, rows[i].device_id)) {
				chat_device_store_delete(a->txn, &rows[i]);
			}
		}
	}
	return rc;
}

/* What came before it, a new device cannot read. */
static int epoch_add_device(struct apply *a, const struct epoch *m, const struct chat_device_id *id)
{
	struct chat_device_row row;
	int rc = chat_device_store_get(
		a->view, m->conv.object_id, id->user_id, id->device_id, &row, a->e);

	if (rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	row = (struct chat_device_row){.delivered = m->chat.last, .read = m->chat.last};
	memcpy(row.conv_id, m->conv.object_id, sizeof row.conv_id);
	memcpy(row.user_id, id->user_id, sizeof row.user_id);
	memcpy(row.device_id, id->device_id, sizeof row.device_id);
	chat_device_store_put(a->txn, &row);
	return 0;
}

static int epoch_devices(struct apply *a, const struct epoch *m)
{
	int rc = epoch_drop_devices(a, m);

	for (size_t i = 0; rc == 0 && i < m->devices.n; i++) {
		rc = epoch_add_device(a, m, &m->devices.device[i]);
	}
	return rc;
}

/* To each device of that id: there is one, but that two users may have chosen the same. A device
 * that has let so many packets wait goes without, for it must not hold up everybody's keys: once it
 * has taken them, a new epoch reaches it. Who is only invited takes no more than from strangers. */
static int epoch_leave(
	struct apply *a, const struct epoch *m, struct packet_row *row, const uint8_t device_id[16])
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < m->devices.n; i++) {
		const struct chat_device_id *id = &m->devices.device[i];

		if (memcmp(id->device_id, device_id, 16) == 0) {
			packet_device(id->user_id, id->device_id, row->rcpt);
			rc = id->accepted ? packet_store_put_accepted(a->txn, row, a->e)
					  : packet_store_put(a->txn, row, a->e);
			rc = rc == KLUIS_EQUOTA ? 0 : rc;
		}
	}
	return rc;
}

static int epoch_packets(struct apply *a, const struct command_chat_epoch *c, const struct epoch *m)
{
	struct bytes rest = c->packets, encoded;
	uint64_t kept_ms = a->cluster.feature_level >= FEATURE_LEVEL_CHAT_KEYS ? CHAT_PACKET_KEPT_MS
									       : CHAT_KEPT_MS;
	struct keypacket packet;
	int rc = 0;

	while (rc == 0 && members_item_next(&rest, &encoded)) {
		struct packet_row row = {.sent_ms = a->now_ms,
			.expires_ms = a->now_ms + kept_ms,
			.to = PACKET_TO_DEVICE,
			.purpose = KEYPACKET_CHAT,
			.epoch = c->epoch,
			.packet = encoded};

		rc = keypacket_parse(encoded, &packet, a->e);
		assert(rc == 0); /* It was looked at. */
		memcpy(row.packet_id, packet.packet_id, sizeof row.packet_id);
		memcpy(row.object_id, packet.object_id, sizeof row.object_id);
		memcpy(row.sender, packet.sender_user, sizeof row.sender);
		rc = epoch_leave(a, m, &row, packet.rcpt_id);
	}
	return rc;
}

static int epoch_write(struct apply *a, const struct command_chat_epoch *c, struct epoch *m)
{
	struct chat_epoch_row row = {
		.epoch = c->epoch, .made_ms = a->now_ms, .devices = (uint16_t)m->devices.n};
	uint64_t place_ms;
	int rc = chat_store_get(a->view, c->conv_id, &m->chat, a->e);

	rc = rc != 0 ? rc : epoch_packets(a, c, m);
	rc = rc != 0 ? rc : epoch_devices(a, m);
	if (rc != 0) {
		return rc;
	}
	place_ms = m->chat.expires_ms;
	chat_store_hurry(&m->chat, a->now_ms); /* The slowest device may be gone. */
	chat_store_put(a->txn, &m->chat, place_ms);
	row.first = m->chat.last + 1;
	memcpy(row.conv_id, c->conv_id, sizeof row.conv_id);
	memcpy(row.user_id, m->session.user_id, sizeof row.user_id);
	memcpy(row.device_id, m->session.device_id, sizeof row.device_id);
	memcpy(row.members_hash, c->members_hash, sizeof row.members_hash);
	memcpy(row.packets_hash, m->packets_hash, sizeof row.packets_hash);
	m->conv.chat_epoch = c->epoch;
	m->conv.chat_stale = false;
	object_store_put(a->txn, &m->conv);
	return chat_epoch_store_add(a->txn, &row, a->e);
}

static int epoch_run(struct apply *a, const struct command_chat_epoch *c, struct epoch *m)
{
	struct member_row member;
	int rc = apply_device_session(a, &c->session, &m->session);

	rc = rc != 0 ? rc
		     : object_store_check(a->view, MEMBER_OBJECT_CONVERSATION, c->conv_id,
			       m->session.user_id, MEMBER_READ, false, &m->conv, &member, a->e);
	if (rc != 0) {
		return rc;
	}
	hash_sha256(c->packets, m->packets_hash);
	memcpy(a->reply.id, c->conv_id, sizeof a->reply.id);
	a->reply.number = c->epoch;
	rc = epoch_is_retry(a, c, m);
	if (rc != 0) {
		return rc > 0 ? 0 : rc;
	}
	rc = epoch_check(a, c, m);
	return rc != 0 ? rc : epoch_write(a, c, m);
}

int apply_chat_epoch(struct apply *a, const struct command_chat_epoch *c)
{
	struct epoch m = {.packets_hash = {0}};
	int rc = epoch_run(a, c, &m);

	chat_devices_release(&m.devices);
	return rc;
}
