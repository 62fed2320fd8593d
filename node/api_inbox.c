/* The inbox: what others leave sealed for a user, by their session or by a token she gave away, and
 * what she does with it. Claiming documents with a commit is api_commit.c's. */
#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "crypto/inbox.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "storage/inbox_store.h"

/* Leaving something. */

static int deposit_form(struct api_call *call, struct inbox_document *ret_document)
{
	int rc = inbox_parse(call_body(call), ret_document, &call->e);

	if (rc != 0) {
		return call_refusal(call, rc, "document");
	}
	return memcmp(ret_document->owner_id, call->id, ID_BYTES) == 0
		       ? 0
		       : call_fail(call, KLUIS_EINVAL, "the document is for another inbox");
}

int deposit_parse(struct api_call *call)
{
	struct inbox_document document;
	int rc = call_param_id(call, 0, call->id);

	return rc != 0 ? rc : deposit_form(call, &document);
}

/* What a sender may call herself: nobody else's document looks like a person's. */
static int deposit_class(struct api_call *call, const struct inbox_document *document)
{
	struct person_row person;
	int rc;

	if (call->by_inbox_token) {
		return document->sender_class != INBOX_USER
			       ? 0
			       : call_fail(call, KLUIS_EINVAL,
					 "what a token leaves is of class 0 or 1");
	}
	rc = person_store_get(call->view, call->session.user_id, &person, &call->e);
	if (rc == KLUIS_ENOTFOUND) {
		return document->sender_class != INBOX_ANONYMOUS
			       ? 0
			       : call_fail(call, KLUIS_EINVAL,
					 "what a service leaves is of class 1 or 2");
	}
	return rc != 0 || document->sender_class == INBOX_USER
		       ? rc
		       : call_fail(call, KLUIS_EINVAL, "what a person leaves is of class 2");
}

static int deposit_owner(struct api_call *call)
{
	struct user_row user;
	int rc = user_store_get(call->view, call->id, &user, &call->e);

	return rc == KLUIS_ENOTFOUND || (rc == 0 && user.disabled)
		       ? call_fail(call, KLUIS_ENOTFOUND, "there is no such inbox")
		       : rc;
}

/* Apply decides; what has no room is not sent to six sites first. */
static int deposit_room(struct api_call *call)
{
	struct inbox_use use;
	int rc = inbox_store_use(call->view, call->id, &use, &call->e);
	uint64_t bytes = call_body(call).len;

	if (rc != 0) {
		return rc;
	}
	if (use.docs >= INBOX_DOCS_MAX ||
		(!call->by_inbox_token && use.session_docs >= INBOX_SESSION_DOCS_MAX)) {
		call->problem_limit =
			call->by_inbox_token ? INBOX_DOCS_MAX : INBOX_SESSION_DOCS_MAX;
		return call_fail(call, KLUIS_EQUOTA, "the inbox has as many documents as it may");
	}
	if (use.bytes + bytes > INBOX_BYTES_MAX ||
		(!call->by_inbox_token && use.session_bytes + bytes > INBOX_SESSION_BYTES_MAX)) {
		call->problem_limit =
			call->by_inbox_token ? INBOX_BYTES_MAX : INBOX_SESSION_BYTES_MAX;
		return call_fail(call, KLUIS_EQUOTA, "the inbox has no room for %llu bytes more",
			(unsigned long long)bytes);
	}
	return 0;
}

/* One that lies there already needs no room: it is answered again. */
static int deposit_is_there(
	struct api_call *call, const struct inbox_document *document, bool *ret_there)
{
	struct inbox_row row;
	int rc = inbox_store_get(call->view, call->id, document->doc_id, &row, &call->e);

	*ret_there = rc == 0;
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

int deposit_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_INBOX_PUT};
	struct inbox_document document;
	bool there = false;
	int rc = deposit_form(call, &document);

	assert(rc == 0); /* deposit_parse() */
	rc = deposit_owner(call);
	rc = rc != 0 ? rc : deposit_class(call, &document);
	rc = rc != 0 ? rc : deposit_is_there(call, &document, &there);
	rc = rc != 0 || there ? rc : deposit_room(call);
	if (rc != 0) {
		return rc;
	}
	command.inbox_put.by = call->by_inbox_token ? INBOX_BY_TOKEN : INBOX_BY_SESSION;
	memcpy(command.inbox_put.secret, call->token_hash, sizeof command.inbox_put.secret);
	memcpy(command.inbox_put.owner, call->id, sizeof command.inbox_put.owner);
	command.inbox_put.document = call_body(call);
	call_propose(call, &command);
	return 0;
}

bool deposit_answered(struct api_call *call)
{
	struct command_reply reply;
	json_t *body;

	call->rc = call_reply(call, &reply);
	if (call->rc == 0) {
		body = json_object();
		json_put(body, "doc", json_make_id(reply.id));
		json_put(body, "expires_ms", json_make_number(reply.number));
		call_json(call, 201, body);
	}
	return true;
}

/* The owner's. */

/* Zero: it came another way. */
static json_t *maybe_id(const uint8_t id[16])
{
	static const uint8_t none[16];

	return memcmp(id, none, sizeof none) == 0 ? json_null() : json_make_id(id);
}

static json_t *inbox_json(const struct inbox_row *row)
{
	json_t *item = json_object();

	json_put(item, "doc", json_make_id(row->doc_id));
	json_put(item, "time_ms", json_make_number(row->time_ms));
	json_put(item, "expires_ms", json_make_number(row->expires_ms));
	json_put(item, "class", json_make_number(row->sender_class));
	json_put(item, "content_type", json_make_number(row->content_type));
	json_put(item, "bytes", json_make_number(row->bytes));
	json_put(item, "sender", maybe_id(row->sender));
	json_put(item, "token", maybe_id(row->token_id));
	return item;
}

int inbox_list_read(struct api_call *call)
{
	_cleanup_(x_freep) struct inbox_row *rows = x_calloc(call->limit + 1, sizeof *rows);
	const uint8_t *after;
	struct bytes key = {0};
	json_t *items;
	size_t n = 0;
	int rc = call_cursor(call, 16, &after);

	rc = rc != 0 ? rc
		     : inbox_store_list(call->view, call->session.user_id, after, rows,
			       call->limit + 1, &n, &call->e);
	if (rc != 0) {
		return rc;
	}
	if (n > call->limit) {
		n = call->limit;
		key = bytes_of(rows[n - 1].doc_id, 16);
	}
	items = json_array();
	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(items, inbox_json(&rows[i]));
	}
	call_list(call, items, key);
	return 0;
}

int inbox_id_parse(struct api_call *call)
{
	return call_param_id(call, 0, call->id);
}

static int inbox_missing(struct api_call *call, int rc, const char *what)
{
	return rc == KLUIS_ENOTFOUND ? call_fail(call, rc, "there is no such %s", what) : rc;
}

int inbox_get_read(struct api_call *call)
{
	_cleanup_(buf_release) struct buf document = BUF_INIT;
	struct inbox_row row;
	uint8_t hash[HASH_BYTES];
	int rc = inbox_store_document(
		call->view, call->session.user_id, call->id, &row, &document, &call->e);

	if (rc != 0) {
		return inbox_missing(call, rc, "document");
	}
	hash_sha256(buf_bytes(&document), hash);
	etag_format(1, hash, call->etag);
	return call_octets(call, &document);
}

int inbox_delete_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_INBOX_DELETE};
	struct inbox_row row;
	int rc = call_need_device(call);

	if (rc == 0) {
		rc = inbox_store_get(call->view, call->session.user_id, call->id, &row, &call->e);
		rc = inbox_missing(call, rc, "document");
	}
	if (rc != 0) {
		return rc;
	}
	command.inbox_delete.session = call_session(call);
	command.inbox_delete.docs = bytes_of(call->id, sizeof call->id);
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}

/* Tokens. */

static json_t *token_json(const struct inbox_token_row *row)
{
	json_t *item = json_object();

	json_put(item, "id", json_make_id(row->token_id));
	json_put(item, "label", json_make_text(row->label));
	json_put(item, "created_ms", json_make_number(row->created_ms));
	json_put(item, "expires_ms", json_make_number(row->expires_ms));
	json_put(item, "docs", json_make_number(row->docs_left));
	return item;
}

int inbox_token_list_read(struct api_call *call)
{
	_cleanup_(x_freep) struct inbox_token_row *rows = x_calloc(INBOX_TOKENS_MAX, sizeof *rows);
	json_t *all;
	size_t n = 0;
	int rc = inbox_token_store_list(call->view, call->session.user_id, rows, &n, &call->e);

	if (rc != 0) {
		return rc;
	}
	all = json_array();
	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(all, token_json(&rows[i]));
	}
	return call_list_all(call, all);
}

/* A token being made. */
struct token_in {
	struct buf label;
	uint64_t expires_ms;
	uint32_t docs;
	char token[API_TOKEN_CHARS + 1];
	uint8_t hash[32];
};

static void token_in_release(void *extra)
{
	struct token_in *in = extra;

	buf_release(&in->label);
}

int inbox_token_create_parse(struct api_call *call)
{
	struct token_in *in = call_extra(call, sizeof *in);
	struct json_in reader;
	int rc;

	call->extra_release = token_in_release;
	json_in_begin(&reader, call_body(call), &call->e);
	json_in_string(&reader, "label", INBOX_LABEL_BYTES_MAX, &in->label);
	in->expires_ms = json_in_u64(&reader, "expires_ms", 1, CLUSTER_TIME_MAX_MS);
	in->docs = (uint32_t)json_in_u64(&reader, "docs", 1, INBOX_TOKEN_DOCS_MAX);
	rc = json_in_end(&reader);
	if (rc == 0 && !text_printable(buf_bytes(&in->label))) {
		rc = call_fail(call, KLUIS_EINVAL, "'label' holds what cannot be printed");
	}
	return rc;
}

int inbox_token_create_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_INBOX_TOKEN_CREATE};
	struct token_in *in = call->extra;
	int rc = call_need_device(call);

	if (rc != 0) {
		return rc;
	}
	if (in->expires_ms <= call->now_ms || in->expires_ms - call->now_ms > INBOX_TOKEN_MS_MAX) {
		call->problem_limit = INBOX_TOKEN_MS_MAX;
		return call_fail(call, KLUIS_EINVAL, "'expires_ms' is not in the next %llu days",
			(unsigned long long)(INBOX_TOKEN_MS_MAX / DAY_MS));
	}
	api_token_make(call->api->config.random, "kin_", in->token, in->hash);
	command.inbox_token_create.session = call_session(call);
	command.inbox_token_create.once = call_once(call);
	memcpy(command.inbox_token_create.token_hash, in->hash, sizeof in->hash);
	command.inbox_token_create.expires_ms = in->expires_ms;
	command.inbox_token_create.docs = in->docs;
	command.inbox_token_create.label = buf_bytes(&in->label);
	call_propose(call, &command);
	return 0;
}

int inbox_token_create_applied(struct api_call *call)
{
	const struct token_in *in = call->extra;
	struct command_reply reply;
	json_t *body;
	int rc = call_reply(call, &reply);

	if (rc == KLUIS_ECONFLICT) {
		return call_fail(call, rc,
			"this 'Idempotency-Key' has made a token, and what it is was not kept");
	}
	if (rc != 0) {
		return rc;
	}
	body = json_object();
	json_put(body, "id", json_make_id(reply.id));
	json_put(body, "token", json_make_text(in->token));
	json_put(body, "expires_ms", json_make_number(reply.number));
	json_put(body, "docs", json_make_number(in->docs));
	call_json(call, 201, body);
	return 0;
}

int inbox_token_end_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_INBOX_TOKEN_END};
	struct inbox_token_row row;
	int rc =
		inbox_token_store_find(call->view, call->session.user_id, call->id, &row, &call->e);

	if (rc != 0) {
		return inbox_missing(call, rc, "token");
	}
	command.inbox_token_end.session = call_session(call);
	memcpy(command.inbox_token_end.token_id, call->id, 16);
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}
