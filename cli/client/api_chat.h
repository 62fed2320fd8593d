/* The calls of docs/openapi.yaml about conversations, events and the inbox; as cli/client/api.h:
 * form alone is checked, nothing is verified here. */
#ifndef KLUIS_CLI_CLIENT_API_CHAT_H
#define KLUIS_CLI_CLIENT_API_CHAT_H

#include "cli/client/api.h"
#include "crypto/chat.h"

enum {
	API_CONVERSATIONS_MAX = 4096,
	API_MESSAGES_MAX = 500, /* Of one answer. */
	API_CONVERSATION_MEMBERS_MAX = 200,
	API_RECEIPTS_MAX = 65536,
	API_EVENTS_MAX = 500,
	API_SIGNAL_BYTES_MAX = 16384,
	API_ICE_URIS_MAX = 64,
	API_INBOX_MAX = 65536,
	API_INBOX_TOKEN_CHARS_MAX = 64,
	API_INBOX_TOKENS_MAX = 1024,
	API_PUSH_MAX = 1024,
	API_PUSH_ITEMS_MAX = 256,
	API_PUSH_KEY_BYTES = 65,
};

/* A conversation as the node describes it to this user. */
struct api_conversation {
	uint8_t id[ID_BYTES];
	char role[16];	/* read, write, admin */
	char state[16]; /* invited, accepted */
	uint64_t created_ms, members_rev, last_seq;
	uint8_t members_hash[HASH_BYTES];
	uint32_t chat_epoch; /* 0: none yet. */
	bool chat_stale;     /* No message is taken before there is a new epoch. */
};
/* A new array, the caller's. */
KLUIS_MUST_CHECK int api_conversations(struct client *client,
	struct api_conversation **ret_conversations, size_t *ret_n, struct err *e);
KLUIS_MUST_CHECK int api_conversation(struct client *client, const uint8_t conv_id[ID_BYTES],
	struct api_conversation *ret_conversation, struct err *e);
/* create: the statement; n more that add members. */
KLUIS_MUST_CHECK int api_conversation_create(struct client *client, struct bytes create,
	const struct bytes *statements, size_t n, struct err *e);
/* POST members: further statements. KLUIS_EPRECONDITION: the chain moved. */
KLUIS_MUST_CHECK int api_conversation_change(struct client *client, const uint8_t conv_id[ID_BYTES],
	const struct bytes *statements, size_t n, struct err *e);
/* POST accept, or decline, which leaves as well. */
KLUIS_MUST_CHECK int api_conversation_answer(
	struct client *client, const uint8_t conv_id[ID_BYTES], bool accept, struct err *e);
/* Who the members are by the node's word: of interest is the state alone, which no statement says.
 * each: state "invited", "accepted", "declined". */
typedef void api_member_fn(void *arg, const uint8_t id[ID_BYTES], const char *state);
KLUIS_MUST_CHECK int api_conversation_members(struct client *client,
	const uint8_t conv_id[ID_BYTES], api_member_fn *each, void *arg, struct err *e);

/* POST epochs. KLUIS_EPRECONDITION: another one was made meanwhile, or the members or their devices
 * are others. */
struct api_chat_epoch {
	uint32_t epoch;
	const uint8_t *members_hash;
	const struct bytes *packets; /* One for each active device. */
	size_t n;
};
KLUIS_MUST_CHECK int api_chat_epoch(struct client *client, const uint8_t conv_id[ID_BYTES],
	const struct api_chat_epoch *epoch, struct err *e);
/* POST messages; the identical message again is answered as the first time. KLUIS_ECONFLICT: its
 * epoch is over. KLUIS_EPRECONDITION: its index was used by another message. */
KLUIS_MUST_CHECK int api_message_send(struct client *client, const uint8_t conv_id[ID_BYTES],
	struct bytes message, uint64_t *ret_seq, uint64_t *ret_time_ms, struct err *e);

struct api_message {
	uint64_t seq, time_ms;
	struct buf message; /* At most CHAT_MESSAGE_BYTES_MAX. */
};
void api_messages_free(struct api_message *messages, size_t n); /* NULL is fine. */
/* GET messages: those after `after`, strictly ascending, one answer's worth, in a new array.
 * *ret_done: no more now. */
KLUIS_MUST_CHECK int api_messages(struct client *client, const uint8_t conv_id[ID_BYTES],
	uint64_t after, struct api_message **ret_messages, size_t *ret_n, bool *ret_done,
	struct err *e);
KLUIS_MUST_CHECK int api_receipt(struct client *client, const uint8_t conv_id[ID_BYTES],
	uint64_t delivered, uint64_t read, struct err *e);
struct api_receipt {
	uint8_t user_id[ID_BYTES], device_id[ID_BYTES];
	uint64_t delivered, read;
};
/* A new array. */
KLUIS_MUST_CHECK int api_receipts(struct client *client, const uint8_t conv_id[ID_BYTES],
	struct api_receipt **ret_receipts, size_t *ret_n, struct err *e);

/* GET events by long poll: what happened since the cursor ("": from now on). */
struct api_event {
	char *type; /* message, members, conversation, inbox ... or one of a newer version. */
	char cursor[API_CURSOR_BYTES_MAX + 1]; /* What comes behind it. */
	bool has_object, has_seq;
	uint8_t object[ID_BYTES];
	uint64_t seq; /* Of a message, its number; of a keyring, its revision. */
	/* Of a call: who says what. */
	uint8_t user_id[ID_BYTES], device_id[ID_BYTES];
	struct buf data;
};
void api_events_free(struct api_event *events, size_t n); /* NULL is fine. */
/* A new array, and a new string. KLUIS_EPROTO; KLUIS_ENOTFOUND: this cluster has no events. */
KLUIS_MUST_CHECK int api_events(struct client *client, const char *cursor, unsigned wait_ms,
	struct api_event **ret_events, size_t *ret_n, char **ret_cursor, struct err *e);

/* POST /v1/calls/{conv}/signal: to the members' other devices that are connected. KLUIS_ERATE. */
KLUIS_MUST_CHECK int api_call_signal(
	struct client *client, const uint8_t conv_id[ID_BYTES], struct bytes data, struct err *e);
/* GET /v1/calls/ice: JSON of docs/openapi.yaml, its form checked; the caller drops it. */
KLUIS_MUST_CHECK int api_call_ice(struct client *client, json_t **ret_ice, struct err *e);

/* POST /v1/users/{id}/inbox by the session or, with token, by that alone. The same
 * bytes again are success; KLUIS_ECONFLICT: another document of that id is there. */
KLUIS_MUST_CHECK int api_inbox_put(struct client *client, const uint8_t owner_id[ID_BYTES],
	struct bytes document, struct err *e);
struct api_inbox_row {
	uint8_t doc_id[ID_BYTES];
	uint64_t time_ms, expires_ms, bytes;
	unsigned sender_class, content_type;
	bool has_sender;
	uint8_t sender_id[ID_BYTES];
};
/* A new array. */
KLUIS_MUST_CHECK int api_inbox(
	struct client *client, struct api_inbox_row **ret_rows, size_t *ret_n, struct err *e);
/* Appends the document. */
KLUIS_MUST_CHECK int api_inbox_get(struct client *client, const uint8_t doc_id[ID_BYTES],
	struct buf *ret_document, struct err *e);
KLUIS_MUST_CHECK int api_inbox_delete(
	struct client *client, const uint8_t doc_id[ID_BYTES], struct err *e);
struct api_inbox_token {
	char token[API_INBOX_TOKEN_CHARS_MAX + 1]; /* The caller clears it. */
	uint8_t token_id[ID_BYTES];
};
/* label: printable text that the node can read. KLUIS_EINVAL: it, or the time, is not allowed. */
KLUIS_MUST_CHECK int api_inbox_token_create(struct client *client, const char *label,
	uint64_t expires_ms, uint64_t docs, struct api_inbox_token *ret_token, struct err *e);
/* JSON of docs/openapi.yaml; the caller drops it. */
KLUIS_MUST_CHECK int api_inbox_tokens(struct client *client, json_t **ret_items, struct err *e);
KLUIS_MUST_CHECK int api_inbox_token_end(
	struct client *client, const uint8_t token_id[ID_BYTES], struct err *e);

/* GET /v1/push/services: what a device may subscribe to. The caller releases vapid (empty: web push
 * is not spoken). */
struct api_push_services {
	struct buf vapid;
	bool fcm, apns;
};
KLUIS_MUST_CHECK int api_push_services(
	struct client *client, struct api_push_services *ret_services, struct err *e);
struct api_push_row {
	uint8_t id[ID_BYTES], device_id[ID_BYTES];
	char kind[8]; /* web, fcm, apns */
	uint64_t created_ms;
};
/* A new array. */
KLUIS_MUST_CHECK int api_push_list(
	struct client *client, struct api_push_row **ret_rows, size_t *ret_n, struct err *e);
/* Subscribes the session's device. place: an endpoint's URL (web) or a token. KLUIS_EFORBIDDEN: not
 * to that host; KLUIS_ESUITE: the cluster does not speak to that service. */
struct api_push_target {
	const char *kind, *place;
	struct bytes p256dh, auth; /* Of web alone. */
};
KLUIS_MUST_CHECK int api_push_add(struct client *client, const struct api_push_target *target,
	uint8_t ret_id[ID_BYTES], struct err *e);
KLUIS_MUST_CHECK int api_push_delete(
	struct client *client, const uint8_t id[ID_BYTES], struct err *e);
/* POST /v1/push/send for n <= API_PUSH_ITEMS_MAX devices of members of the object, those of one
 * user side by side. That one of them is notified nobody promises. */
struct api_push_item {
	uint8_t user_id[ID_BYTES], device_id[ID_BYTES];
	struct buf payload; /* crypto/notify.h */
};
KLUIS_MUST_CHECK int api_push_send(struct client *client, const uint8_t object_id[ID_BYTES],
	const struct api_push_item *items, size_t n, struct err *e);

#endif
