#include "cli/client/api_chat.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/client/json_reader.h"

static const char chat_octets[] = "application/octet-stream";

static json_t *json_runs(const struct bytes *runs, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(array, json_base64(runs[i]));
	}
	return array;
}

static int conversation_parse(
	const json_t *object, struct api_conversation *ret_conversation, struct err *e)
{
	struct json_reader r = json_reader_of(object);
	struct api_conversation c = {.chat_epoch = 0};
	uint64_t epoch;
	int rc;

	json_reader_hex(&r, "id", c.id, ID_BYTES);
	(void)snprintf(c.role, sizeof c.role, "%s", json_reader_string(&r, "role"));
	(void)snprintf(c.state, sizeof c.state, "%s", json_reader_string(&r, "state"));
	c.created_ms = json_reader_u64(&r, "created_ms");
	c.members_rev = json_reader_u64(&r, "members_rev");
	json_reader_hex(&r, "members_hash", c.members_hash, HASH_BYTES);
	epoch = json_reader_u64(&r, "chat_epoch");
	c.chat_epoch = (uint32_t)epoch;
	c.chat_stale = json_reader_bool(&r, "chat_stale");
	c.last_seq = json_reader_u64(&r, "last_seq");
	if (epoch > UINT32_MAX && r.failed == NULL) {
		r.failed = "chat_epoch";
	}
	rc = json_reader_end(&r, "conversation", e);
	if (rc == 0) {
		*ret_conversation = c;
	}
	return rc;
}

int api_conversations(struct client *client, struct api_conversation **ret_conversations,
	size_t *ret_n, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	_cleanup_(x_freep) struct api_conversation *list = NULL;
	size_t n;
	int rc = api_list(client, "/v1/conversations", CLIENT_AUTH | CLIENT_READ,
		API_CONVERSATIONS_MAX, &items, e);

	if (rc != 0) {
		return rc;
	}
	n = json_array_size(items);
	list = x_calloc(n + 1, sizeof *list);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = conversation_parse(json_array_get(items, i), &list[i], e);
	}
	if (rc == 0) {
		*ret_conversations = list;
		*ret_n = n;
		list = NULL;
	}
	return rc;
}

int api_conversation(struct client *client, const uint8_t conv_id[ID_BYTES],
	struct api_conversation *ret_conversation, struct err *e)
{
	_cleanup_(json_dropp) json_t *object = NULL;
	char target[API_TARGET_MAX];
	int rc;

	api_target(target, "conversations", conv_id, "%s", "");
	rc = api_get(client, target, &object, e);
	return rc != 0 ? rc : conversation_parse(object, ret_conversation, e);
}

int api_conversation_create(struct client *client, struct bytes create,
	const struct bytes *statements, size_t n, struct err *e)
{
	json_t *body = json_pack("{s:o, s:s, s:o}", "create", json_base64(create), "label", "",
		"statements", json_runs(statements, n));

	return api_create(client, "/v1/conversations", body, CLIENT_AUTH, NULL, e);
}

int api_conversation_change(struct client *client, const uint8_t conv_id[ID_BYTES],
	const struct bytes *statements, size_t n, struct err *e)
{
	char target[API_TARGET_MAX];
	json_t *body = json_pack("{s:o}", "statements", json_runs(statements, n));

	api_target(target, "conversations", conv_id, "/members");
	return api_create(client, target, body, CLIENT_AUTH, NULL, e);
}

int api_conversation_answer(
	struct client *client, const uint8_t conv_id[ID_BYTES], bool accept, struct err *e)
{
	char target[API_TARGET_MAX];

	api_target(target, "conversations", conv_id, "/%s", accept ? "accept" : "decline");
	return api_json(client, "POST", target, NULL, CLIENT_AUTH, NULL, e);
}

int api_conversation_members(struct client *client, const uint8_t conv_id[ID_BYTES],
	api_member_fn *each, void *arg, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	char target[API_TARGET_MAX];
	int rc;

	api_target(target, "conversations", conv_id, "/members");
	rc = api_list(
		client, target, CLIENT_AUTH | CLIENT_READ, API_CONVERSATION_MEMBERS_MAX, &items, e);
	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		struct json_reader r = json_reader_of(json_array_get(items, i));
		const char *state = json_reader_string(&r, "state");
		uint8_t id[ID_BYTES];

		json_reader_hex(&r, "id", id, ID_BYTES);
		rc = json_reader_end(&r, "member", e);
		if (rc == 0) {
			each(arg, id, state);
		}
	}
	return rc;
}

int api_chat_epoch(struct client *client, const uint8_t conv_id[ID_BYTES],
	const struct api_chat_epoch *epoch, struct err *e)
{
	char target[API_TARGET_MAX];
	json_t *body = json_pack("{s:I, s:o, s:o}", "epoch", (json_int_t)epoch->epoch,
		"members_hash", json_hex(bytes_of(epoch->members_hash, HASH_BYTES)), "packets",
		json_runs(epoch->packets, epoch->n));

	api_target(target, "conversations", conv_id, "/epochs");
	return api_create(client, target, body, CLIENT_AUTH, NULL, e);
}

int api_message_send(struct client *client, const uint8_t conv_id[ID_BYTES], struct bytes message,
	uint64_t *ret_seq, uint64_t *ret_time_ms, struct err *e)
{
	_cleanup_(http_answer_release) struct http_answer answer = {0};
	_cleanup_(json_dropp) json_t *object = NULL;
	char target[API_TARGET_MAX];
	struct client_request request = {.method = "POST",
		.target = target,
		.type = chat_octets,
		.body = message,
		.flags = CLIENT_AUTH};
	struct json_reader r;
	uint64_t seq, time_ms;
	int rc;

	api_target(target, "conversations", conv_id, "/messages");
	rc = client_call(client, &request, &answer, e);
	rc = rc != 0 ? rc : json_object_parse(buf_bytes(&answer.body), &object, e);
	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	seq = json_reader_u64(&r, "seq");
	time_ms = json_reader_u64(&r, "time_ms");
	rc = json_reader_end(&r, "message", e);
	if (rc == 0) {
		*ret_seq = seq;
		*ret_time_ms = time_ms;
	}
	return rc;
}

void api_messages_free(struct api_message *messages, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		buf_release(&messages[i].message);
	}
	free(messages);
}

static int messages_parse(struct json_reader *r, uint64_t after, struct api_message *messages,
	size_t n, struct err *e)
{
	const json_t *items = json_reader_array(r, "items");

	for (size_t i = 0; i < n; i++) {
		struct json_reader item = json_reader_of(json_array_get(items, i));

		messages[i].seq = json_reader_u64(&item, "seq");
		messages[i].time_ms = json_reader_u64(&item, "time_ms");
		json_reader_base64(&item, "message", CHAT_MESSAGE_BYTES_MAX, &messages[i].message);
		if (item.failed == NULL && messages[i].seq <= after) {
			item.failed = "seq";
		}
		if (json_reader_end(&item, "messages", e) != 0) {
			return KLUIS_EPROTO;
		}
		after = messages[i].seq;
	}
	return 0;
}

int api_messages(struct client *client, const uint8_t conv_id[ID_BYTES], uint64_t after,
	struct api_message **ret_messages, size_t *ret_n, bool *ret_done, struct err *e)
{
	_cleanup_(json_dropp) json_t *object = NULL;
	struct api_message *messages;
	char target[API_TARGET_MAX];
	struct json_reader r;
	bool done;
	size_t n;
	int rc;

	api_target(target, "conversations", conv_id, "/messages?after=%" PRIu64 "&limit=%d", after,
		API_MESSAGES_MAX);
	rc = api_get(client, target, &object, e);
	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	n = json_array_size(json_reader_array(&r, "items"));
	done = json_reader_bool(&r, "done");
	rc = json_reader_end(&r, "messages", e);
	if (rc == 0 && (n > API_MESSAGES_MAX || (n == 0 && !done))) {
		rc = err_set(e, KLUIS_EPROTO, "messages: a list without an end");
	}
	if (rc != 0) {
		return rc;
	}
	messages = x_calloc(n + 1, sizeof *messages);
	rc = messages_parse(&r, after, messages, n, e);
	if (rc != 0) {
		api_messages_free(messages, n);
		return rc;
	}
	*ret_messages = messages;
	*ret_n = n;
	*ret_done = done;
	return 0;
}

int api_receipt(struct client *client, const uint8_t conv_id[ID_BYTES], uint64_t delivered,
	uint64_t read, struct err *e)
{
	char target[API_TARGET_MAX];
	json_t *body = json_pack(
		"{s:I, s:I}", "delivered", (json_int_t)delivered, "read", (json_int_t)read);

	api_target(target, "conversations", conv_id, "/receipts");
	return api_json(client, "POST", target, body, CLIENT_AUTH, NULL, e);
}

int api_receipts(struct client *client, const uint8_t conv_id[ID_BYTES],
	struct api_receipt **ret_receipts, size_t *ret_n, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	_cleanup_(x_freep) struct api_receipt *list = NULL;
	char target[API_TARGET_MAX];
	size_t n;
	int rc;

	api_target(target, "conversations", conv_id, "/receipts");
	rc = api_list(client, target, CLIENT_AUTH | CLIENT_READ, API_RECEIPTS_MAX, &items, e);
	if (rc != 0) {
		return rc;
	}
	n = json_array_size(items);
	list = x_calloc(n + 1, sizeof *list);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct json_reader r = json_reader_of(json_array_get(items, i));

		json_reader_hex(&r, "user", list[i].user_id, ID_BYTES);
		json_reader_hex(&r, "device", list[i].device_id, ID_BYTES);
		list[i].delivered = json_reader_u64(&r, "delivered");
		list[i].read = json_reader_u64(&r, "read");
		rc = json_reader_end(&r, "receipts", e);
	}
	if (rc == 0) {
		*ret_receipts = list;
		*ret_n = n;
		list = NULL;
	}
	return rc;
}
