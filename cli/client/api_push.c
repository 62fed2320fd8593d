/* Calls about notifications. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "cli/client/api_chat.h"
#include "cli/client/json_reader.h"

int api_push_services(struct client *client, struct api_push_services *ret_services, struct err *e)
{
	struct api_push_services services = {.vapid = BUF_INIT};
	json_t *object;
	struct json_reader r;
	int rc = api_get(client, "/v1/push/services", &object, e);

	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	if (!json_is_null(json_object_get(object, "web"))) {
		json_reader_base64(&r, "web", API_PUSH_KEY_BYTES, &services.vapid);
	}
	services.fcm = json_reader_bool(&r, "fcm");
	services.apns = json_reader_bool(&r, "apns");
	rc = json_reader_end(&r, "push services", e);
	json_decref(object);
	if (rc != 0) {
		buf_release(&services.vapid);
		return rc;
	}
	*ret_services = services;
	return 0;
}

static int push_row_parse(const json_t *item, struct api_push_row *to, struct err *e)
{
	struct json_reader r = json_reader_of(item);

	json_reader_hex(&r, "id", to->id, ID_BYTES);
	json_reader_hex(&r, "device", to->device_id, ID_BYTES);
	(void)snprintf(to->kind, sizeof to->kind, "%s", json_reader_string(&r, "kind"));
	to->created_ms = json_reader_u64(&r, "created");
	return json_reader_end(&r, "push", e);
}

int api_push_list(
	struct client *client, struct api_push_row **ret_rows, size_t *ret_n, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	_cleanup_(x_freep) struct api_push_row *rows = NULL;
	int rc = api_list(client, "/v1/push", CLIENT_AUTH | CLIENT_READ, API_PUSH_MAX, &items, e);

	rows = x_calloc(json_array_size(items) + 1, sizeof *rows);
	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		rc = push_row_parse(json_array_get(items, i), &rows[i], e);
	}
	if (rc == 0) {
		*ret_n = json_array_size(items);
		*ret_rows = rows;
		rows = NULL;
	}
	return rc;
}

int api_push_add(struct client *client, const struct api_push_target *target,
	uint8_t ret_id[ID_BYTES], struct err *e)
{
	bool web = strcmp(target->kind, "web") == 0;
	json_t *body = json_pack(
		"{s:s, s:s}", "kind", target->kind, web ? "endpoint" : "token", target->place);
	json_t *object;
	struct json_reader r;
	int rc;

	if (body == NULL) {
		return err_set(e, KLUIS_EINVAL, "an endpoint or token is text (UTF-8)");
	}
	if (web) {
		(void)json_object_set_new(body, "p256dh", json_base64(target->p256dh));
		(void)json_object_set_new(body, "auth", json_base64(target->auth));
	}
	rc = api_create(client, "/v1/push", body, CLIENT_AUTH, &object, e);
	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	json_reader_hex(&r, "id", ret_id, ID_BYTES);
	rc = json_reader_end(&r, "push", e);
	json_decref(object);
	return rc;
}

int api_push_delete(struct client *client, const uint8_t id[ID_BYTES], struct err *e)
{
	char target[API_TARGET_MAX];

	api_target(target, "push", id, "%s", "");
	return api_json(client, "DELETE", target, NULL, CLIENT_AUTH, NULL, e);
}

int api_push_send(struct client *client, const uint8_t object_id[ID_BYTES],
	const struct api_push_item *items, size_t n, struct err *e)
{
	json_t *list = json_array();

	assert(n > 0 && n <= API_PUSH_ITEMS_MAX);
	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(
			list, json_pack("{s:o, s:o, s:o}", "user",
				      json_hex(bytes_of(items[i].user_id, ID_BYTES)), "device",
				      json_hex(bytes_of(items[i].device_id, ID_BYTES)), "payload",
				      json_base64(buf_bytes(&items[i].payload))));
	}
	return api_json(client, "POST", "/v1/push/send",
		json_pack("{s:o, s:o}", "object", json_hex(bytes_of(object_id, ID_BYTES)), "items",
			list),
		CLIENT_AUTH, NULL, e);
}
