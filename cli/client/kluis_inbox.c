/* The public face of the inbox. */
#include "base/text.h"
#include "cli/client/delivery.h"
#include "cli/client/inbox.h"
#include "cli/client/json_reader.h"
#include "cli/client/kluis_chat.h"
#include "cli/client/kluis_impl.h"

static const char *class_name(unsigned sender_class)
{
	return sender_class == INBOX_USER	? "user"
	       : sender_class == INBOX_PROVIDER ? "provider"
						: "anonymous";
}

int kluis_inbox_list(struct kluis *k, kluis_inbox_fn *each, void *arg, struct kluis_failure *error)
{
	_cleanup_(x_freep) struct api_inbox_row *rows = NULL;
	struct err e = {0};
	size_t n = 0;
	int rc = kluis_refresh(k, &e);

	rc = rc != 0 ? rc : api_inbox(k->client, &rows, &n, &e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		char id[HEX_LEN(ID_BYTES) + 1];
		const struct kluis_document document = {.id = id,
			.sender_class = class_name(rows[i].sender_class),
			.content = rows[i].content_type == INBOX_TEXT	? "text"
				   : rows[i].content_type == INBOX_MIME ? "mime"
									: "other",
			.time_ms = rows[i].time_ms,
			.bytes = rows[i].bytes};

		hex_encode(bytes_of(rows[i].doc_id, ID_BYTES), id);
		each(arg, &document);
	}
	return kluis_give(rc, &e, error);
}

static int document_id(const char *text, uint8_t ret_id[ID_BYTES], struct err *e)
{
	return hex_decode(text, ret_id, ID_BYTES) == 0
		       ? 0
		       : err_set(e, KLUIS_EINVAL, "'%s' is no id of a document", text);
}

int kluis_inbox_read(struct kluis *k, const char *id, kluis_write_fn *write, void *arg,
	struct kluis_failure *error)
{
	struct inbox_opened opened = {.content = SECRET_INIT};
	uint8_t doc_id[ID_BYTES];
	struct err e = {0};
	int rc = document_id(id, doc_id, &e);

	rc = rc != 0 ? rc : kluis_refresh(k, &e);
	rc = rc != 0 ? rc : inbox_read(k->profile, k->client, doc_id, &opened, &e);
	if (rc == 0 && write(arg, opened.content.data, opened.content.len) != 0) {
		rc = err_set(&e, KLUIS_EINTERNAL, "the caller did not take it");
	}
	secret_release(&opened.content);
	return kluis_give(rc, &e, error);
}

int kluis_inbox_delete(struct kluis *k, const char *id, struct kluis_failure *error)
{
	uint8_t doc_id[ID_BYTES];
	struct err e = {0};
	int rc = document_id(id, doc_id, &e);

	rc = rc != 0 ? rc : api_inbox_delete(k->client, doc_id, &e);
	return kluis_give(rc, &e, error);
}

int kluis_inbox_take(struct kluis *k, const char *id, const char *vault, const char *path,
	struct kluis_failure *error)
{
	struct kluis_writing w = {.vault = NULL};
	uint8_t doc_id[ID_BYTES];
	int rc = document_id(id, doc_id, &w.err);

	if (rc != 0) {
		return kluis_give(rc, &w.err, error);
	}
	rc = kluis_writing_open(&w, k, vault);
	rc = rc != 0 ? rc : inbox_take(w.vault, w.put, doc_id, path, &w.err);
	return kluis_writing_end(&w, rc, error);
}

int kluis_inbox_leave(struct kluis *k, const char *user, const void *data, size_t len,
	struct kluis_failure *error)
{
	struct bytes content = bytes_of(data, len);
	const struct identity *owner;
	struct people *people = NULL;
	uint8_t doc_id[ID_BYTES];
	struct err e = {0};
	int rc = kluis_people(k, &people, &e);

	rc = rc != 0 ? rc : people_by_name(people, user, &owner, &e);
	rc = rc != 0 ? rc
		     : inbox_leave(people, owner, utf8_valid(content) ? INBOX_TEXT : INBOX_MIME,
			       content, doc_id, &e);
	people_free(people);
	return kluis_give(rc, &e, error);
}

static int token_give(const json_t *item, kluis_inbox_token_fn *each, void *arg, struct err *e)
{
	struct json_reader r = json_reader_of(item);
	struct kluis_inbox_token token = {.label = json_reader_string(&r, "label"),
		.created_ms = json_reader_u64(&r, "created_ms"),
		.expires_ms = json_reader_u64(&r, "expires_ms"),
		.documents = json_reader_u64(&r, "docs")};
	uint8_t id[ID_BYTES];
	int rc;

	json_reader_hex(&r, "id", id, ID_BYTES);
	rc = json_reader_end(&r, "inbox token", e);
	if (rc == 0) {
		hex_encode(bytes_of(id, ID_BYTES), token.id);
		each(arg, &token);
	}
	return rc;
}

int kluis_inbox_tokens(
	struct kluis *k, kluis_inbox_token_fn *each, void *arg, struct kluis_failure *error)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	struct err e = {0};
	int rc = kluis_refresh(k, &e);

	rc = rc != 0 ? rc : api_inbox_tokens(k->client, &items, &e);
	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		rc = token_give(json_array_get(items, i), each, arg, &e);
	}
	return kluis_give(rc, &e, error);
}

int kluis_inbox_token_end(struct kluis *k, const char *id, struct kluis_failure *error)
{
	uint8_t token_id[ID_BYTES];
	struct err e = {0};
	int rc = hex_decode(id, token_id, ID_BYTES) == 0
			 ? kluis_refresh(k, &e)
			 : err_set(&e, KLUIS_EINVAL, "'%s' is no id of a token", id);

	rc = rc != 0 ? rc : api_inbox_token_end(k->client, token_id, &e);
	return kluis_give(rc, &e, error);
}

int kluis_inbox_token(struct kluis *k, const char *label, uint64_t expires_ms, uint64_t documents,
	const char *delivery_file, struct kluis_failure *error)
{
	const struct delivery_terms terms = {
		.label = label, .expires_ms = expires_ms, .docs = documents};
	uint8_t token_id[ID_BYTES];
	struct err e = {0};
	int rc = kluis_refresh(k, &e);

	rc = rc != 0 ? rc
		     : delivery_create(k->profile, k->client, &terms, delivery_file, token_id, &e);
	return kluis_give(rc, &e, error);
}

int kluis_deliver(const char *delivery_file, int is_mail, const void *data, size_t len,
	struct kluis_failure *error)
{
	struct delivery delivery;
	struct err e = {0};
	int rc = delivery_read(delivery_file, &delivery, &e);

	rc = rc != 0 ? rc
		     : delivery_send(&delivery, INBOX_PROVIDER,
			       is_mail != 0 ? INBOX_MIME : INBOX_TEXT, bytes_of(data, len), 0, &e);
	delivery_release(&delivery);
	return kluis_give(rc, &e, error);
}
