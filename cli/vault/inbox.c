/* kluis inbox list|read|take|delete|leave|token|deliver */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/client/delivery.h"
#include "cli/client/inbox.h"
#include "cli/client/json_reader.h"
#include "cli/vault/app.h"

enum {
	INBOX_DAYS_MAX = 400,
	INBOX_DAYS_DEFAULT = 365,
	INBOX_DOCS_DEFAULT = 100000,
	INBOX_DOCS_LIMIT = 1000000000,
};

static const char *class_name(unsigned sender_class)
{
	static const char *const names[] = {"anonymous", "provider", "user"};

	return sender_class < ARRAY_SIZE(names) ? names[sender_class] : "unknown";
}

static const char *content_name(unsigned content_type)
{
	switch (content_type) {
	case INBOX_TEXT:
		return "text";
	case INBOX_MIME:
		return "mime";
	case INBOX_SHARE:
		return "share";
	default:
		return "other";
	}
}

/* The name of who left it by a session; the node says which. */
static json_t *sender_name(struct people *people, const struct api_inbox_row *row)
{
	const struct identity *user;
	struct err ignored = {0};

	if (!row->has_sender) {
		return json_null();
	}
	return people_get(people, row->sender_id, false, &user, &ignored) == 0
		       ? json_string(user->name)
		       : json_hex(bytes_of(row->sender_id, ID_BYTES));
}

static json_t *inbox_row(struct people *people, const struct api_inbox_row *row)
{
	return json_pack("{s:o, s:I, s:I, s:s, s:o, s:s, s:I}", "id",
		json_hex(bytes_of(row->doc_id, ID_BYTES)), "time_ms", (json_int_t)row->time_ms,
		"expires_ms", (json_int_t)row->expires_ms, "class", class_name(row->sender_class),
		"sender", sender_name(people, row), "type", content_name(row->content_type),
		"bytes", (json_int_t)row->bytes);
}

static void inbox_show(struct app *k, const json_t *rows)
{
	static const struct output_column columns[] = {{"id", "ID", OUTPUT_TEXT},
		{"time_ms", "TIME", OUTPUT_TIME}, {"class", "CLASS", OUTPUT_TEXT},
		{"sender", "LEFT BY", OUTPUT_TEXT}, {"type", "TYPE", OUTPUT_TEXT},
		{"bytes", "SIZE", OUTPUT_BYTES}};

	output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), rows);
}

static int inbox_list_body(struct app *k)
{
	_cleanup_(x_freep) struct api_inbox_row *rows = NULL;
	struct people *people = people_new(k->profile, k->client);
	json_t *list = json_array();
	size_t n = 0;
	int rc = app_online(k);

	rc = rc != 0 ? rc : api_inbox(k->client, &rows, &n, &k->inv->err);
	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(list, inbox_row(people, &rows[i]));
	}
	if (rc == 0) {
		inbox_show(k, list);
	}
	json_decref(list);
	people_free(people);
	return rc;
}

int app_inbox_list(struct invocation *inv)
{
	return app_run(inv, inbox_list_body);
}

/* An id, or the beginning of one. */
static int inbox_find(struct app *k, const char *text, uint8_t ret_id[ID_BYTES])
{
	_cleanup_(x_freep) struct api_inbox_row *rows = NULL;
	const struct api_inbox_row *found = NULL;
	struct err *e = &k->inv->err;
	size_t n = 0, len = strlen(text);
	int rc;

	if (hex_decode(text, ret_id, ID_BYTES) == 0) {
		return 0;
	}
	rc = api_inbox(k->client, &rows, &n, e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		char hex[HEX_LEN(ID_BYTES) + 1];

		hex_encode(bytes_of(rows[i].doc_id, ID_BYTES), hex);
		if (len > 0 && strncmp(hex, text, len) == 0) {
			rc = found == NULL ? 0
					   : err_set(e, KLUIS_ECONFLICT,
						     "several documents begin with '%s'", text);
			found = &rows[i];
		}
	}
	if (rc == 0 && found == NULL) {
		rc = err_set(e, KLUIS_ENOTFOUND, "there is no document '%s'", text);
	}
	if (rc == 0) {
		memcpy(ret_id, found->doc_id, ID_BYTES);
	}
	return rc;
}

static int read_show(struct app *k, const char *name, const struct inbox_opened *opened)
{
	struct bytes content = secret_bytes(&opened->content);
	struct invocation *inv = k->inv;
	json_t *record;

	if (inv->out.format != OUTPUT_JSON) {
		return fwrite(content.data, 1, content.len, inv->out.data) == content.len
			       ? 0
			       : err_set_errno(&inv->err, errno, "write to stdout");
	}
	record = json_pack("{s:s, s:s, s:s, s:I}", "id", name, "class",
		class_name(opened->sender_class), "type", content_name(opened->content_type),
		"unix_ms", (json_int_t)opened->unix_ms);
	if (opened->content_type == INBOX_TEXT && utf8_valid(content)) {
		(void)json_object_set_new(
			record, "text", json_stringn((const char *)content.data, content.len));
	} else {
		(void)json_object_set_new(record, "content", json_base64(content));
	}
	output_record(&inv->out, NULL, 0, record);
	json_decref(record);
	return 0;
}

static int inbox_read_body(struct app *k)
{
	const char *name = k->inv->args[0];
	struct inbox_opened opened = {.content = SECRET_INIT};
	uint8_t id[ID_BYTES];
	int rc = app_online(k);

	rc = rc != 0 ? rc : inbox_find(k, name, id);
	rc = rc != 0 ? rc : inbox_read(k->profile, k->client, id, &opened, &k->inv->err);
	rc = rc != 0 ? rc : read_show(k, name, &opened);
	secret_release(&opened.content);
	return rc;
}

int app_inbox_read(struct invocation *inv)
{
	return app_run(inv, inbox_read_body);
}

static int inbox_take_body(struct app *k)
{
	struct writing w = {.k = k};
	uint8_t id[ID_BYTES];
	int rc = app_online(k);

	rc = rc != 0 ? rc : inbox_find(k, k->inv->args[0], id);
	if (rc == 0) {
		rc = app_open_writing(k, k->inv->args[1], &w);
		rc = rc != 0 ? rc : inbox_take(w.vault, w.put, id, w.path, &k->inv->err);
		app_close_writing(&w);
	}
	return rc;
}

int app_inbox_take(struct invocation *inv)
{
	return app_run(inv, inbox_take_body);
}

/* Of one document; one that is not there would not be deleted, either. */
static int doomed_add(struct app *k, struct people *people, const struct api_inbox_row *rows,
	size_t n, const char *text, json_t *doomed)
{
	uint8_t id[ID_BYTES];
	int rc = inbox_find(k, text, id);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (memcmp(rows[i].doc_id, id, ID_BYTES) == 0) {
			(void)json_array_append_new(doomed, inbox_row(people, &rows[i]));
			return 0;
		}
	}
	return rc != 0 ? rc
		       : err_set(&k->inv->err, KLUIS_ENOTFOUND, "there is no document '%s'", text);
}

static int inbox_delete_dry(struct app *k)
{
	_cleanup_(x_freep) struct api_inbox_row *rows = NULL;
	_cleanup_(json_dropp) json_t *doomed = json_array();
	struct people *people = people_new(k->profile, k->client);
	size_t n = 0;
	int rc = api_inbox(k->client, &rows, &n, &k->inv->err);

	for (size_t i = 0; rc == 0 && i < k->inv->n_args; i++) {
		rc = doomed_add(k, people, rows, n, k->inv->args[i], doomed);
	}
	if (rc == 0) {
		inbox_show(k, doomed);
	}
	people_free(people);
	return rc;
}

static int inbox_delete_body(struct app *k)
{
	struct invocation *inv = k->inv;
	int rc = app_online(k);

	if (rc == 0 && invocation_value(inv, "dry-run") != NULL) {
		return inbox_delete_dry(k);
	}
	if (rc == 0 && !invocation_confirm(inv, "Delete it, on all sites, for good?")) {
		rc = inv->err.code;
	}
	for (size_t i = 0; rc == 0 && i < inv->n_args; i++) {
		uint8_t id[ID_BYTES];

		rc = inbox_find(k, inv->args[i], id);
		rc = rc != 0 ? rc : api_inbox_delete(k->client, id, &inv->err);
	}
	return rc;
}

int app_inbox_delete(struct invocation *inv)
{
	return app_run(inv, inbox_delete_body);
}

static int inbox_leave_body(struct app *k)
{
	_cleanup_(secret_buf_release) struct buf content = BUF_INIT;
	static const struct output_column columns[] = {{"id", "Id", OUTPUT_TEXT}};
	struct invocation *inv = k->inv;
	struct people *people = people_new(k->profile, k->client);
	const struct identity *owner;
	uint8_t id[ID_BYTES];
	json_t *record;
	int rc = app_online(k);

	rc = rc != 0 ? rc : people_by_name(people, inv->args[0], &owner, &inv->err);
	rc = rc != 0 ? rc
		     : file_read(inv->n_args < 2 || strcmp(inv->args[1], "-") == 0 ? NULL
										   : inv->args[1],
			       INBOX_CONTENT_BYTES_MAX, &content, &inv->err);
	rc = rc != 0 ? rc
		     : inbox_leave(people, owner,
			       utf8_valid(buf_bytes(&content)) ? INBOX_TEXT : INBOX_MIME,
			       buf_bytes(&content), id, &inv->err);
	if (rc == 0) {
		record = json_pack("{s:o}", "id", json_hex(bytes_of(id, ID_BYTES)));
		output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
		json_decref(record);
	}
	people_free(people);
	return rc;
}

int app_inbox_leave(struct invocation *inv)
{
	return app_run(inv, inbox_leave_body);
}

static int token_create_body(struct app *k)
{
	static const struct output_column columns[] = {
		{"id", "Id", OUTPUT_TEXT}, {"file", "File", OUTPUT_TEXT}};
	struct invocation *inv = k->inv;
	const char *label = invocation_value(inv, "label");
	struct delivery_terms terms = {.label = label == NULL ? "" : label};
	uint8_t id[ID_BYTES];
	uint64_t days;
	json_t *record;
	int rc = app_online(k);

	rc = rc != 0 ? rc
		     : invocation_number(inv, "days", INBOX_DAYS_DEFAULT, INBOX_DAYS_MAX, &days);
	rc = rc != 0 ? rc
		     : invocation_number(
			       inv, "docs", INBOX_DOCS_DEFAULT, INBOX_DOCS_LIMIT, &terms.docs);
	if (rc != 0) {
		return rc;
	}
	terms.expires_ms = clock_wall_ms(&clock_system) + days * 24 * 3600 * 1000;
	rc = delivery_create(k->profile, k->client, &terms, inv->args[0], id, &inv->err);
	if (rc == 0) {
		record = json_pack(
			"{s:o, s:s}", "id", json_hex(bytes_of(id, ID_BYTES)), "file", inv->args[0]);
		output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
		json_decref(record);
	}
	return rc;
}

int app_inbox_token_create(struct invocation *inv)
{
	return app_run(inv, token_create_body);
}

static int token_list_body(struct app *k)
{
	static const struct output_column columns[] = {{"id", "ID", OUTPUT_TEXT},
		{"label", "LABEL", OUTPUT_TEXT}, {"created_ms", "CREATED", OUTPUT_TIME},
		{"expires_ms", "EXPIRES", OUTPUT_TIME}, {"docs", "LEFT", OUTPUT_TEXT}};
	json_t *items = NULL;
	int rc = app_online(k);

	rc = rc != 0 ? rc : api_inbox_tokens(k->client, &items, &k->inv->err);
	if (rc == 0) {
		output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), items);
	}
	json_decref(items);
	return rc;
}

int app_inbox_token_list(struct invocation *inv)
{
	return app_run(inv, token_list_body);
}

static int token_end_body(struct app *k)
{
	uint8_t id[ID_BYTES];
	int rc = app_online(k);

	if (rc == 0 && hex_decode(k->inv->args[0], id, ID_BYTES) != 0) {
		rc = err_set(&k->inv->err, KLUIS_EINVAL,
			"'%s' is no id of 'kluis inbox token list'", k->inv->args[0]);
	}
	return rc != 0 ? rc : api_inbox_token_end(k->client, id, &k->inv->err);
}

int app_inbox_token_end(struct invocation *inv)
{
	return app_run(inv, token_end_body);
}

/* For who reads sysexits.h: a mail system tries again what may succeed later, and sends back the
 * rest. What looks like an attack is tried again, too: the sender has done nothing wrong. */
static int deliver_exit(int rc)
{
	switch (rc) {
	case KLUIS_ETOOLARGE:
		return EX_DATAERR;
	case KLUIS_EUNAUTHENTICATED:
	case KLUIS_EFORBIDDEN:
	case KLUIS_ENOTFOUND:
	case KLUIS_EGONE:
		return EX_NOPERM;
	default:
		return EX_TEMPFAIL;
	}
}

static int deliver_run(struct invocation *inv, const struct delivery *delivery)
{
	_cleanup_(secret_buf_release) struct buf content = BUF_INIT;
	uint64_t give_up_ms;
	int rc = app_give_up_ms(inv, &give_up_ms);

	rc = rc != 0 ? rc : file_read(NULL, INBOX_CONTENT_BYTES_MAX, &content, &inv->err);
	rc = rc != 0 ? rc
		     : delivery_send(delivery,
			       invocation_value(inv, "anonymous") == NULL ? INBOX_PROVIDER
									  : INBOX_ANONYMOUS,
			       invocation_value(inv, "text") == NULL ? INBOX_MIME : INBOX_TEXT,
			       buf_bytes(&content), give_up_ms, &inv->err);
	inv->exit_code = deliver_exit(rc);
	return rc;
}

int app_inbox_deliver(struct invocation *inv)
{
	struct delivery delivery;
	int rc = delivery_read(inv->args[0], &delivery, &inv->err);

	/* Who put the file elsewhere, or may not read it, mends that: no mail goes back for it. */
	inv->exit_code = rc == KLUIS_ENOTFOUND || rc == KLUIS_EIO ? EX_TEMPFAIL : EX_CONFIG;
	rc = rc != 0 ? rc : deliver_run(inv, &delivery);
	delivery_release(&delivery);
	return rc;
}
