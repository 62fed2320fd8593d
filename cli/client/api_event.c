/* Calls about events, and about calls between clients, which come as events. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "cli/client/api_chat.h"
#include "cli/client/json_reader.h"

enum { EVENT_TARGET_MAX = 64 + API_CURSOR_BYTES_MAX };

void api_events_free(struct api_event *events, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(events[i].type);
		buf_release(&events[i].data);
	}
	free(events);
}

static int event_parse(const json_t *item, struct api_event *to, struct err *e)
{
	struct json_reader r = json_reader_of(item);
	const char *cursor = json_reader_string(&r, "cursor");

	to->type = x_strdup(json_reader_string(&r, "type"));
	if (r.failed == NULL && !api_cursor_valid(cursor)) {
		r.failed = "cursor";
	}
	(void)snprintf(to->cursor, sizeof to->cursor, "%s", r.failed == NULL ? cursor : "");
	if (json_is_string(json_object_get(item, "object"))) {
		json_reader_hex(&r, "object", to->object, ID_BYTES);
		to->has_object = r.failed == NULL;
	}
	if (json_object_get(item, "seq") != NULL) {
		to->seq = json_reader_u64(&r, "seq");
		to->has_seq = r.failed == NULL;
	}
	if (strcmp(to->type, "call") == 0) {
		json_reader_hex(&r, "user", to->user_id, ID_BYTES);
		json_reader_hex(&r, "device", to->device_id, ID_BYTES);
		json_reader_base64(&r, "data", API_SIGNAL_BYTES_MAX, &to->data);
	}
	return json_reader_end(&r, "events", e);
}

/* The answer's form; the events into a new array. */
static int events_parse(const json_t *object, struct api_event **ret_events, size_t *ret_n,
	const char **ret_cursor, struct err *e)
{
	struct json_reader r = json_reader_of(object);
	const json_t *items = json_reader_array(&r, "items");
	const char *next = json_reader_string(&r, "cursor");
	size_t n = json_array_size(items);
	struct api_event *events;
	int rc;

	if (r.failed == NULL && (n > API_EVENTS_MAX || !api_cursor_valid(next))) {
		r.failed = "cursor";
	}
	rc = json_reader_end(&r, "events", e);
	if (rc != 0) {
		return rc;
	}
	events = x_calloc(n + 1, sizeof *events);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = event_parse(json_array_get(items, i), &events[i], e);
	}
	if (rc != 0) {
		api_events_free(events, n);
		return rc;
	}
	*ret_events = events;
	*ret_n = n;
	*ret_cursor = next;
	return 0;
}

int api_events(struct client *client, const char *cursor, unsigned wait_ms,
	struct api_event **ret_events, size_t *ret_n, char **ret_cursor, struct err *e)
{
	_cleanup_(json_dropp) json_t *object = NULL;
	char target[EVENT_TARGET_MAX];
	const char *next = NULL;
	int rc;

	assert(cursor[0] == 0 || api_cursor_valid(cursor));
	(void)snprintf(target, sizeof target, "/v1/events?wait_ms=%u%s%s", wait_ms,
		cursor[0] == 0 ? "" : "&since=", cursor);
	rc = api_json(client, "GET", target, NULL, CLIENT_AUTH, &object, e);
	rc = rc != 0 ? rc : events_parse(object, ret_events, ret_n, &next, e);
	if (rc == 0) {
		*ret_cursor = x_strdup(next);
	}
	return rc;
}

int api_call_signal(
	struct client *client, const uint8_t conv_id[ID_BYTES], struct bytes data, struct err *e)
{
	_cleanup_(http_answer_release) struct http_answer answer = {0};
	char target[EVENT_TARGET_MAX], id[HEX_LEN(ID_BYTES) + 1];
	struct client_request request = {.method = "POST",
		.target = target,
		.type = "application/octet-stream",
		.body = data,
		.flags = CLIENT_AUTH};

	hex_encode(bytes_of(conv_id, ID_BYTES), id);
	(void)snprintf(target, sizeof target, "/v1/calls/%s/signal", id);
	return client_call(client, &request, &answer, e);
}

int api_call_ice(struct client *client, json_t **ret_ice, struct err *e)
{
	json_t *object = NULL;
	const json_t *uris;
	struct json_reader r;
	int rc = api_json(client, "GET", "/v1/calls/ice", NULL, CLIENT_AUTH, &object, e);

	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	uris = json_reader_array(&r, "uris");
	(void)json_reader_string(&r, "username");
	(void)json_reader_string(&r, "credential");
	(void)json_reader_u64(&r, "ttl_s");
	for (size_t i = 0; r.failed == NULL && i < json_array_size(uris); i++) {
		if (i == API_ICE_URIS_MAX || !json_is_string(json_array_get(uris, i))) {
			r.failed = "uris";
		}
	}
	rc = json_reader_end(&r, "ice", e);
	if (rc != 0) {
		json_decref(object);
		return rc;
	}
	*ret_ice = object;
	return 0;
}
