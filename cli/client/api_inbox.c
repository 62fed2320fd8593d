/* Calls about the inbox. */
#include <string.h>

#include "cli/client/api_chat.h"
#include "cli/client/json_reader.h"

int api_inbox_put(struct client *client, const uint8_t owner_id[ID_BYTES], struct bytes document,
	struct err *e)
{
	_cleanup_(http_answer_release) struct http_answer answer = {0};
	char target[API_TARGET_MAX];
	struct client_request request = {.method = "POST",
		.target = target,
		.type = "application/octet-stream",
		.body = document,
		.flags = CLIENT_AUTH};

	api_target(target, "users", owner_id, "/inbox");
	return client_call(client, &request, &answer, e);
}

static int inbox_row_parse(const json_t *item, struct api_inbox_row *to, struct err *e)
{
	struct json_reader r = json_reader_of(item);
	uint64_t sender_class, content_type;

	json_reader_hex(&r, "doc", to->doc_id, ID_BYTES);
	to->time_ms = json_reader_u64(&r, "time_ms");
	to->expires_ms = json_reader_u64(&r, "expires_ms");
	to->bytes = json_reader_u64(&r, "bytes");
	sender_class = json_reader_u64(&r, "class");
	content_type = json_reader_u64(&r, "content_type");
	if (json_is_string(json_object_get(item, "sender"))) {
		json_reader_hex(&r, "sender", to->sender_id, ID_BYTES);
		to->has_sender = true;
	}
	if (r.failed == NULL && (sender_class > UINT8_MAX || content_type > UINT16_MAX)) {
		r.failed = "class";
	}
	to->sender_class = (unsigned)sender_class;
	to->content_type = (unsigned)content_type;
	return json_reader_end(&r, "inbox", e);
}

int api_inbox(struct client *client, struct api_inbox_row **ret_rows, size_t *ret_n, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	_cleanup_(x_freep) struct api_inbox_row *rows = NULL;
	size_t n;
	int rc = api_list(client, "/v1/inbox", CLIENT_AUTH | CLIENT_READ, API_INBOX_MAX, &items, e);

	if (rc != 0) {
		return rc;
	}
	n = json_array_size(items);
	rows = x_calloc(n + 1, sizeof *rows);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = inbox_row_parse(json_array_get(items, i), &rows[i], e);
	}
	if (rc == 0) {
		*ret_rows = rows;
		*ret_n = n;
		rows = NULL;
	}
	return rc;
}

int api_inbox_get(struct client *client, const uint8_t doc_id[ID_BYTES], struct buf *ret_document,
	struct err *e)
{
	_cleanup_(http_answer_release) struct http_answer answer = {0};
	char target[API_TARGET_MAX];
	struct client_request request = {.method = "GET",
		.target = target,
		.answer_max = INBOX_DOCUMENT_BYTES_MAX,
		.flags = CLIENT_AUTH | CLIENT_READ};
	int rc;

	api_target(target, "inbox", doc_id, "%s", "");
	rc = client_call(client, &request, &answer, e);
	if (rc == 0) {
		buf_append_bytes(ret_document, buf_bytes(&answer.body));
	}
	return rc;
}

int api_inbox_delete(struct client *client, const uint8_t doc_id[ID_BYTES], struct err *e)
{
	char target[API_TARGET_MAX];

	api_target(target, "inbox", doc_id, "%s", "");
	return api_json(client, "DELETE", target, NULL, CLIENT_AUTH, NULL, e);
}

int api_inbox_token_create(struct client *client, const char *label, uint64_t expires_ms,
	uint64_t docs, struct api_inbox_token *ret_token, struct err *e)
{
	_cleanup_(json_dropp) json_t *object = NULL;
	struct api_inbox_token token;
	struct json_reader r;
	const char *text;
	int rc = api_create(client, "/v1/inbox/tokens",
		json_pack("{s:s, s:I, s:I}", "label", label, "expires_ms", (json_int_t)expires_ms,
			"docs", (json_int_t)docs),
		CLIENT_AUTH, &object, e);

	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	text = json_reader_string(&r, "token");
	json_reader_hex(&r, "id", token.token_id, ID_BYTES);
	if (r.failed == NULL && strlen(text) > API_INBOX_TOKEN_CHARS_MAX) {
		r.failed = "token";
	}
	rc = json_reader_end(&r, "inbox token", e);
	if (rc == 0) {
		memcpy(token.token, text, strlen(text) + 1);
		*ret_token = token;
	}
	secret_clear(&token, sizeof token);
	return rc;
}

int api_inbox_tokens(struct client *client, json_t **ret_items, struct err *e)
{
	return api_list(client, "/v1/inbox/tokens", CLIENT_AUTH | CLIENT_READ, API_INBOX_TOKENS_MAX,
		ret_items, e);
}

int api_inbox_token_end(struct client *client, const uint8_t token_id[ID_BYTES], struct err *e)
{
	char target[API_TARGET_MAX];

	api_target(target, "inbox/tokens", token_id, "%s", "");
	return api_json(client, "DELETE", target, NULL, CLIENT_AUTH, NULL, e);
}
