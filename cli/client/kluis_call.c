/* The public face of events, and of calls between devices, which are told as events. */
#include <string.h>

#include "base/text.h"
#include "cli/client/conversation.h"
#include "cli/client/json_reader.h"
#include "cli/client/kluis_chat.h"
#include "cli/client/kluis_impl.h"

enum { EVENTS_WAIT_MS_MAX = 25 * 1000 };

static void event_give(const struct api_event *event, kluis_event_fn *each, void *arg)
{
	char object[HEX_LEN(ID_BYTES) + 1] = "";
	struct kluis_event shown = {.cursor = event->cursor,
		.type = event->type,
		.object = object,
		.seq = event->seq,
		.data = event->data.data,
		.data_len = event->data.len};

	if (event->has_object) {
		hex_encode(bytes_of(event->object, ID_BYTES), object);
	}
	memcpy(shown.user_id, event->user_id, ID_BYTES);
	memcpy(shown.device_id, event->device_id, ID_BYTES);
	each(arg, &shown);
}

int kluis_events(struct kluis *k, const char *since, unsigned wait_ms, kluis_event_fn *each,
	void *arg, struct kluis_failure *error)
{
	_cleanup_(x_freep) char *cursor = NULL;
	struct api_event *events = NULL;
	struct err e = {0};
	size_t n = 0;
	int rc = since == NULL || api_cursor_valid(since)
			 ? kluis_refresh(k, &e)
			 : err_set(&e, KLUIS_EINVAL, "'%s' is no cursor of an event", since);

	rc = rc != 0 ? rc
		     : api_events(k->client, since == NULL ? "" : since,
			       wait_ms < EVENTS_WAIT_MS_MAX ? wait_ms : EVENTS_WAIT_MS_MAX, &events,
			       &n, &cursor, &e);
	for (size_t i = 0; i < n; i++) {
		event_give(&events[i], each, arg);
	}
	api_events_free(events, n);
	return kluis_give(rc, &e, error);
}

int kluis_call_signal(struct kluis *k, const char *chat, const void *data, size_t len,
	struct kluis_failure *error)
{
	struct people *people = NULL;
	uint8_t id[ID_BYTES];
	struct err e = {0};
	int rc = len > 0 && len <= API_SIGNAL_BYTES_MAX
			 ? kluis_people(k, &people, &e)
			 : err_set(&e, KLUIS_EINVAL, "a signal has 1 to %d bytes",
				   API_SIGNAL_BYTES_MAX);

	rc = rc != 0 ? rc : conversation_find(people, chat, id, &e);
	rc = rc != 0 ? rc : api_call_signal(k->client, id, bytes_of(data, len), &e);
	people_free(people);
	return kluis_give(rc, &e, error);
}

int kluis_call_ice(struct kluis *k, kluis_call_ice_fn *take, void *arg, struct kluis_failure *error)
{
	_cleanup_(json_dropp) json_t *object = NULL;
	const char *uris[API_ICE_URIS_MAX];
	struct kluis_call_ice ice = {.uris = uris};
	struct err e = {0};
	const json_t *list;
	int rc = kluis_refresh(k, &e);

	rc = rc != 0 ? rc : api_call_ice(k->client, &object, &e);
	if (rc == 0) {
		list = json_object_get(object, "uris");
		ice.n_uris = json_array_size(list);
		for (size_t i = 0; i < ice.n_uris; i++) {
			uris[i] = json_string_value(json_array_get(list, i));
		}
		ice.username = json_string_value(json_object_get(object, "username"));
		ice.credential = json_string_value(json_object_get(object, "credential"));
		ice.ttl_s = (uint64_t)json_integer_value(json_object_get(object, "ttl_s"));
		take(arg, &ice);
	}
	return kluis_give(rc, &e, error);
}
