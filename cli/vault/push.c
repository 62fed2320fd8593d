/* kluis push services|add|list|remove|open */
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/client/notification.h"
#include "cli/vault/app.h"
#include "crypto/notify.h"

enum { PUSH_AUTH_BYTES = 16 };

static int push_services_body(struct app *k)
{
	static const struct output_column columns[] = {
		{"web", "Web (applicationServerKey)", OUTPUT_TEXT},
		{"fcm", "Firebase", OUTPUT_TEXT}, {"apns", "Apple", OUTPUT_TEXT}};
	struct api_push_services services = {.vapid = BUF_INIT};
	json_t *record;
	int rc = app_online(k);

	rc = rc != 0 ? rc : api_push_services(k->client, &services, &k->inv->err);
	if (rc == 0) {
		record = json_pack("{s:o, s:b, s:b}", "web",
			services.vapid.len == 0 ? json_null()
						: json_base64(buf_bytes(&services.vapid)),
			"fcm", services.fcm, "apns", services.apns);
		output_record(&k->inv->out, columns, ARRAY_SIZE(columns), record);
		json_decref(record);
	}
	buf_release(&services.vapid);
	return rc;
}

int app_push_services(struct invocation *inv)
{
	return app_run(inv, push_services_body);
}

/* Exactly `bytes` of base64url. */
static int push_key(struct invocation *inv, const char *option, size_t bytes, struct buf *to)
{
	const char *text = invocation_value(inv, option);

	return text != NULL && base64_decode(bytes_str(text), bytes, to) == 0 && to->len == bytes
		       ? 0
		       : err_set(&inv->err, KLUIS_EINVAL,
				 "--%s: %zu bytes of base64url, as the browser's subscription has "
				 "it",
				 option, bytes);
}

static int push_add_body(struct app *k)
{
	static const struct output_column columns[] = {{"id", "Id", OUTPUT_TEXT}};
	_cleanup_(buf_release) struct buf p256dh = BUF_INIT, auth = BUF_INIT;
	struct invocation *inv = k->inv;
	struct api_push_target target = {.kind = inv->args[0], .place = inv->args[1]};
	bool web = strcmp(target.kind, "web") == 0;
	uint8_t id[ID_BYTES];
	json_t *record;
	int rc = 0;

	if (!web && strcmp(target.kind, "fcm") != 0 && strcmp(target.kind, "apns") != 0) {
		rc = err_set(
			&inv->err, KLUIS_EINVAL, "'%s' is none of web, fcm and apns", target.kind);
	}
	rc = rc != 0 || !web ? rc : push_key(inv, "p256dh", API_PUSH_KEY_BYTES, &p256dh);
	rc = rc != 0 || !web ? rc : push_key(inv, "auth", PUSH_AUTH_BYTES, &auth);
	rc = rc != 0 ? rc : app_online(k);
	target.p256dh = buf_bytes(&p256dh);
	target.auth = buf_bytes(&auth);
	rc = rc != 0 ? rc : api_push_add(k->client, &target, id, &inv->err);
	if (rc == 0) {
		record = json_pack("{s:o}", "id", json_hex(bytes_of(id, ID_BYTES)));
		output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
		json_decref(record);
	}
	return rc;
}

int app_push_add(struct invocation *inv)
{
	return app_run(inv, push_add_body);
}

static int push_list_body(struct app *k)
{
	static const struct output_column columns[] = {{"id", "ID", OUTPUT_TEXT},
		{"kind", "KIND", OUTPUT_TEXT}, {"device", "DEVICE", OUTPUT_TEXT},
		{"created_ms", "SINCE", OUTPUT_TIME}};
	_cleanup_(x_freep) struct api_push_row *rows = NULL;
	_cleanup_(json_dropp) json_t *list = json_array();
	size_t n = 0;
	int rc = app_online(k);

	rc = rc != 0 ? rc : api_push_list(k->client, &rows, &n, &k->inv->err);
	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(list,
			json_pack("{s:o, s:s, s:o, s:I}", "id",
				json_hex(bytes_of(rows[i].id, ID_BYTES)), "kind", rows[i].kind,
				"device", json_hex(bytes_of(rows[i].device_id, ID_BYTES)),
				"created_ms", (json_int_t)rows[i].created_ms));
	}
	if (rc == 0) {
		output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), list);
	}
	return rc;
}

int app_push_list(struct invocation *inv)
{
	return app_run(inv, push_list_body);
}

static int push_remove_body(struct app *k)
{
	uint8_t id[ID_BYTES];
	int rc = app_online(k);

	if (rc == 0 && hex_decode(k->inv->args[0], id, ID_BYTES) != 0) {
		rc = err_set(&k->inv->err, KLUIS_EINVAL, "'%s' is no id of 'kluis push list'",
			k->inv->args[0]);
	}
	return rc != 0 ? rc : api_push_delete(k->client, id, &k->inv->err);
}

int app_push_remove(struct invocation *inv)
{
	return app_run(inv, push_remove_body);
}

static int push_open_body(struct app *k)
{
	static const struct output_column columns[] = {
		{"conversation", "Conversation", OUTPUT_TEXT}, {"seq", "Number", OUTPUT_TEXT},
		{"unix_ms", "Sent", OUTPUT_TIME}};
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	struct invocation *inv = k->inv;
	struct notification n;
	json_t *record;
	int rc = file_read(strcmp(inv->args[0], "-") == 0 ? NULL : inv->args[0], NOTIFY_BYTES_MAX,
		&payload, &inv->err);

	rc = rc != 0 ? rc : notification_open(k->profile, buf_bytes(&payload), &n, &inv->err);
	if (rc == 0) {
		record = json_pack("{s:o, s:I, s:I}", "conversation",
			json_hex(bytes_of(n.object_id, ID_BYTES)), "seq", (json_int_t)n.seq,
			"unix_ms", (json_int_t)n.unix_ms);
		output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
		json_decref(record);
	}
	return rc;
}

int app_push_open(struct invocation *inv)
{
	return app_run(inv, push_open_body);
}
