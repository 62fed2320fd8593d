/* Conversations: epochs of their keys, messages on their way, what devices have of them. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "crypto/chat.h"
#include "crypto/member.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/share_in.h"
#include "storage/chat_store.h"
#include "storage/object_store.h"

/* The conversation of the path, for an accepted member with at least this role. */
static int call_chat(struct api_call *call, unsigned role_min, struct object_row *ret_row)
{
	struct member_row member;

	return object_store_check(call->view, MEMBER_OBJECT_CONVERSATION, call->vault_id,
		call->session.user_id, role_min, false, ret_row, &member, &call->e);
}

/* Epochs. */

struct epoch_in {
	uint32_t epoch;
	uint8_t members_hash[32];
	size_t n_packets;
	struct buf packets;
};

static void epoch_in_release(void *extra)
{
	struct epoch_in *in = extra;

	buf_release(&in->packets);
}

int epoch_send_parse(struct api_call *call)
{
	struct epoch_in *in = call_extra(call, sizeof *in);
	struct json_in reader;
	int rc;

	call->extra_release = epoch_in_release;
	json_in_begin(&reader, call_body(call), &call->e);
	in->epoch = (uint32_t)json_in_u64(&reader, "epoch", 1, UINT32_MAX);
	json_in_hex(&reader, "members_hash", in->members_hash, sizeof in->members_hash);
	in->n_packets = json_in_binaries(
		&reader, "packets", CHAT_DEVICES_MAX, KEYPACKET_BYTES_MAX, &in->packets);
	rc = json_in_end(&reader);
	rc = rc == 0 && in->n_packets == 0 ? call_fail(call, KLUIS_EINVAL, "no packets") : rc;
	return rc != 0 ? rc : vault_id_parse(call);
}

int epoch_send_read(struct api_call *call)
{
	struct object_row conv;
	int rc = call_need_device(call);

	return rc != 0 ? rc : call_chat(call, MEMBER_READ, &conv);
}

/* The keys that the members' devices have. */
struct chat_rcpts {
	struct packet_rcpts rcpts;
	struct device_row *devices; /* Ascending by id; two users may have the same. */
	size_t n;
};

static int device_order(const void *a, const void *b)
{
	const struct device_row *p = a, *q = b;

	return memcmp(p->device_id, q->device_id, ID_BYTES);
}

static int chat_current(struct packet_rcpts *rcpts, struct api_call *call,
	const struct keypacket *packet, bool *ret_current)
{
	struct chat_rcpts *chat = CONTAINER_OF(rcpts, struct chat_rcpts, rcpts);
	size_t low = 0, high = chat->n;

	(void)call;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(chat->devices[middle].device_id, packet->rcpt_id, ID_BYTES) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	*ret_current = false;
	for (; low < chat->n &&
		memcmp(chat->devices[low].device_id, packet->rcpt_id, ID_BYTES) == 0;
		low++) {
		*ret_current = *ret_current || packet_is_to_device(packet, &chat->devices[low]);
	}
	return 0; /* One for nobody's device is apply's to refuse. */
}

static int chat_add_devices(
	struct api_call *call, struct chat_rcpts *chat, const uint8_t user_id[16])
{
	struct device_row *rows;
	uint8_t last[16] = {0};
	bool first = true;
	size_t n = 0;

	do {
		int rc;

		chat->devices = x_realloc(
			chat->devices, (chat->n + LIST_LIMIT_MAX) * sizeof *chat->devices);
		rows = chat->devices + chat->n;
		rc = device_store_list(call->view, user_id, first ? NULL : last, rows,
			LIST_LIMIT_MAX, &n, &call->e);
		if (rc != 0) {
			return rc;
		}
		first = false;
		for (size_t i = 0; i < n; i++) {
			memcpy(last, rows[i].device_id, sizeof last);
			if (!rows[i].revoked && chat->n < CHAT_DEVICES_MAX) {
				chat->devices[chat->n++] = rows[i];
			}
		}
	} while (n == LIST_LIMIT_MAX);
	return 0;
}

static int chat_rcpts_load(struct api_call *call, struct chat_rcpts *chat)
{
	_cleanup_(x_freep) struct member_row *members =
		x_calloc(CONVERSATION_MEMBERS_MAX, sizeof *members);
	size_t n = 0;
	int rc = member_store_list(
		call->view, call->vault_id, NULL, members, CONVERSATION_MEMBERS_MAX, &n, &call->e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (members[i].state != MEMBER_DECLINED) {
			rc = chat_add_devices(call, chat, members[i].member_id);
		}
	}
	if (rc == 0 && chat->n > 0) {
		qsort(chat->devices, chat->n, sizeof *chat->devices, device_order);
	}
	return rc;
}

static int epoch_verify(struct api_call *call)
{
	const struct epoch_in *in = call->extra;
	struct chat_rcpts chat = {.rcpts = {chat_current}};
	struct packet_list list = {NULL, 0};
	int rc = packet_list_add(call, &list, buf_bytes(&in->packets), in->n_packets);

	rc = rc != 0 ? rc : chat_rcpts_load(call, &chat);
	rc = rc != 0 ? rc : packet_list_verify(call, &list, &chat.rcpts);
	free(chat.devices);
	packet_list_release(&list);
	return rc;
}

int epoch_send_check(struct api_call *call)
{
	const struct epoch_in *in = call->extra;
	struct command command = {.type = COMMAND_CHAT_EPOCH};
	int rc = epoch_verify(call);

	if (rc != 0) {
		return rc;
	}
	command.chat_epoch.session = call_session(call);
	memcpy(command.chat_epoch.conv_id, call->vault_id, 16);
	command.chat_epoch.epoch = in->epoch;
	memcpy(command.chat_epoch.members_hash, in->members_hash, 32);
	command.chat_epoch.packets = buf_bytes(&in->packets);
	call_propose(call, &command);
	return 0;
}

bool epoch_send_answered(struct api_call *call)
{
	struct command_reply reply;
	json_t *body;

	call->rc = call_reply(call, &reply);
	if (call->rc == 0) {
		body = json_object();
		json_put(body, "epoch", json_make_number(reply.number));
		call_json(call, 201, body);
	}
	return true;
}

/* Messages. */

struct message_in {
	struct chat_message message; /* Points into the body. */
	uint8_t device_key[65];
};

int message_send_parse(struct api_call *call)
{
	struct message_in *in = call_extra(call, sizeof *in);
	int rc = vault_id_parse(call);

	rc = rc != 0 ? rc : chat_parse(call_body(call), &in->message, &call->e);
	if (rc != 0) {
		return call_refusal(call, rc, "message");
	}
	return memcmp(in->message.place.conv_id, call->vault_id, ID_BYTES) == 0
		       ? 0
		       : call_fail(call, KLUIS_EINVAL, "the message is of another conversation");
}

int message_send_read(struct api_call *call)
{
	struct message_in *in = call->extra;
	struct object_row conv;
	int rc = call_chat(call, MEMBER_WRITE, &conv);

	if (rc == 0 && (memcmp(in->message.place.user_id, call->session.user_id, ID_BYTES) != 0 ||
			       memcmp(in->message.place.device_id, call->session.device_id,
				       ID_BYTES) != 0)) {
		rc = call_fail(call, KLUIS_EFORBIDDEN, "the message is by another device");
	}
	return rc != 0 ? rc : call_device_key(call, in->device_key);
}

int message_send_check(struct api_call *call)
{
	const struct message_in *in = call->extra;
	_cleanup_(key_pub_freep) struct key_pub *key = NULL;
	struct command command = {.type = COMMAND_MESSAGE_SEND};
	int rc = key_cache_get(call->api->device_keys,
		bytes_of(in->device_key, sizeof in->device_key), &key, &call->e);

	if (rc != 0) {
		return err_set(&call->e, KLUIS_EINTERNAL, "stored device key is malformed");
	}
	rc = chat_verify(&in->message, key, &call->e);
	if (rc != 0) {
		return rc == KLUIS_EVERIFY ? call_fail(call, KLUIS_EFORBIDDEN,
						     "the message is not signed by this device")
					   : rc;
	}
	command.message_send.session = call_session(call);
	memcpy(command.message_send.conv_id, call->vault_id, 16);
	command.message_send.message = call_body(call);
	call_propose(call, &command);
	return 0;
}

bool message_send_answered(struct api_call *call)
{
	struct command_reply reply;
	json_t *body;

	call->rc = call_reply(call, &reply);
	if (call->rc == 0) {
		body = json_object();
		json_put(body, "seq", json_make_number(reply.number));
		json_put(body, "time_ms", json_make_number(command_reply_message_ms(&reply)));
		call_json(call, 201, body);
	}
	return true;
}

/* At most `limit` messages behind `after`, and so many bytes; *ret_more: there are more. */
static int message_items(
	struct api_call *call, uint64_t after, json_t *items, uint64_t *ret_last, bool *ret_more)
{
	struct message_iter *iter = message_iter_new(call->view, call->vault_id, after);
	struct message_row row;
	size_t bytes = 0;
	int rc;

	while (!*ret_more && message_iter_next(iter, &row)) {
		*ret_more =
			json_array_size(items) == call->limit || bytes >= API_STATEMENTS_BYTES_MAX;
		if (!*ret_more) {
			json_t *item = json_object();

			bytes += row.message.len;
			*ret_last = row.seq;
			json_put(item, "seq", json_make_number(row.seq));
			json_put(item, "time_ms", json_make_number(row.time_ms));
			json_put(item, "message", json_make_base64(row.message));
			(void)json_array_append_new(items, item);
		}
	}
	rc = *ret_more ? 0 : message_iter_status(iter, &call->e);
	message_iter_free(iter);
	return rc;
}

int message_list_read(struct api_call *call)
{
	struct object_row conv;
	const uint8_t *cursor = NULL;
	uint8_t key[8];
	uint64_t last = 0;
	bool more = false;
	json_t *items;
	int rc = call_chat(call, MEMBER_READ, &conv);

	rc = rc != 0 ? rc : call_cursor(call, sizeof key, &cursor);
	if (rc != 0) {
		return rc;
	}
	items = json_array();
	rc = message_items(
		call, cursor == NULL ? call->since_seq : load_u64(cursor), items, &last, &more);
	if (rc != 0) {
		json_decref(items);
		return rc;
	}
	store_u64(key, last);
	call_list(call, items, bytes_of(key, more ? sizeof key : 0));
	return 0;
}

/* Receipts. */

int call_chat_state(struct api_call *call, const uint8_t conv_id[16], json_t *to)
{
	struct chat_device_row device = {.epoch = 0};
	struct chat_row chat;
	int rc = chat_store_get(call->view, conv_id, &chat, &call->e);

	if (rc == 0) {
		rc = chat_device_store_get(call->view, conv_id, call->session.user_id,
			call->session.device_id, &device, &call->e);
		rc = rc == KLUIS_ENOTFOUND ? 0 : rc; /* Not in the epoch: it has nothing. */
	}
	if (rc == 0) {
		json_put(to, "last_seq", json_make_number(chat.last));
		json_put(to, "delivered", json_make_number(device.delivered));
		json_put(to, "read", json_make_number(device.read));
	}
	return rc;
}

int receipt_send_parse(struct api_call *call)
{
	struct json_in reader;
	int rc;

	json_in_begin(&reader, call_body(call), &call->e);
	call->number = json_in_u64(&reader, "delivered", 0, INT64_MAX);
	call->revision = json_in_u64(&reader, "read", 0, INT64_MAX);
	rc = json_in_end(&reader);
	if (rc == 0 && call->revision > call->number) {
		rc = call_fail(call, KLUIS_EINVAL, "'read' is above 'delivered'");
	}
	return rc != 0 ? rc : vault_id_parse(call);
}

int receipt_send_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_RECEIPT};
	struct object_row conv;
	int rc = call_need_device(call);

	rc = rc != 0 ? rc : call_chat(call, MEMBER_READ, &conv);
	if (rc != 0) {
		return rc;
	}
	command.receipt.session = call_session(call);
	memcpy(command.receipt.conv_id, call->vault_id, 16);
	command.receipt.delivered = call->number;
	command.receipt.read = call->revision;
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}

static json_t *receipt_json(const struct chat_device_row *row)
{
	json_t *item = json_object();

	json_put(item, "user", json_make_id(row->user_id));
	json_put(item, "device", json_make_id(row->device_id));
	json_put(item, "delivered", json_make_number(row->delivered));
	json_put(item, "read", json_make_number(row->read));
	return item;
}

int receipt_list_read(struct api_call *call)
{
	_cleanup_(x_freep) struct chat_device_row *rows = x_calloc(call->limit + 1, sizeof *rows);
	struct chat_device_row after = {.epoch = 0};
	struct object_row conv;
	const uint8_t *cursor = NULL;
	uint8_t key[32] = {0};
	json_t *items;
	size_t n = 0;
	int rc = call_chat(call, MEMBER_READ, &conv);

	rc = rc != 0 ? rc : call_cursor(call, sizeof key, &cursor);
	if (rc == 0 && cursor != NULL) {
		memcpy(after.user_id, cursor, 16);
		memcpy(after.device_id, cursor + 16, 16);
	}
	rc = rc != 0 ? rc
		     : chat_device_store_list(call->view, call->vault_id,
			       cursor == NULL ? NULL : &after, rows, call->limit + 1, &n, &call->e);
	if (rc != 0) {
		return rc;
	}
	items = json_array();
	for (size_t i = 0; i < n && i < call->limit; i++) {
		(void)json_array_append_new(items, receipt_json(&rows[i]));
		memcpy(key, rows[i].user_id, 16);
		memcpy(key + 16, rows[i].device_id, 16);
	}
	call_list(call, items, bytes_of(key, n > call->limit ? sizeof key : 0));
	return 0;
}
