#include "storage/event.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/wire.h"
#include "crypto/member.h"

/* Instead of a type: a group's or a conversation's, as the row's value says. */
enum { EVENT_BY_KIND = EVENT_TYPES };
/* All these keys begin { u8 family | topic16 }. */
enum { AT_NONE = 0, AT_TOPIC = 1, AT_SECOND = 17, AT_BEHIND_KIND = 18 };
/* In the value of a chat row: { u8 format | u64 first | u64 last | ... }. */
enum { AT_CHAT_LAST = 9 };

static const struct event_source {
	enum key_family family;
	unsigned type; /* enum event_type, EVENT_BY_KIND */
	unsigned audience;
	unsigned object_at; /* Where in the key it stands. */
	unsigned seq_at;    /* Of a u64; AT_NONE */
	unsigned seq_in;    /* The same, in the value. */
	bool reaches;
	bool put_only; /* That it goes is no news. */
} event_sources[] = {
	{KEY_USER, EVENT_OF_NONE, EVENT_TO_USER, .object_at = AT_TOPIC, .reaches = true},
	{KEY_DEVICE, EVENT_OF_DEVICE, EVENT_TO_USER, .object_at = AT_SECOND, .reaches = true},
	{KEY_PENDING, EVENT_OF_DEVICE, EVENT_TO_USER, .object_at = AT_SECOND},
	{KEY_USER_SESSION, EVENT_OF_SESSION, EVENT_TO_USER, .object_at = AT_SECOND,
		.reaches = true},
	{KEY_KEYRING, EVENT_OF_KEYRING, EVENT_TO_USER, .object_at = AT_TOPIC, .seq_at = AT_SECOND,
		.put_only = true},
	{KEY_INBOX, EVENT_OF_INBOX, EVENT_TO_USER, .object_at = AT_SECOND},
	{KEY_PACKET, EVENT_OF_PACKET, EVENT_TO_USER | EVENT_TO_DEVICE | EVENT_TO_GROUP,
		.object_at = AT_SECOND, .put_only = true},
	{KEY_VAULT, EVENT_OF_VAULT, EVENT_TO_OBJECT, .object_at = AT_TOPIC},
	{KEY_MEMBER, EVENT_OF_MEMBERS, EVENT_TO_OBJECT, .object_at = AT_TOPIC},
	/* Whoever loses his role is told as well: by his own row, for the object's tells members.
	 */
	{KEY_MEMBER_VAULT, EVENT_OF_MEMBERS, EVENT_TO_USER | EVENT_TO_GROUP, .object_at = AT_SECOND,
		.reaches = true},
	{KEY_MEMBER_OF, EVENT_OF_MEMBERS, EVENT_TO_USER, .object_at = AT_BEHIND_KIND,
		.reaches = true},
	{KEY_OBJECT, EVENT_BY_KIND, EVENT_TO_OBJECT, .object_at = AT_TOPIC},
	/* One row for all messages: what was missed is found without a walk over them. It may speak
	 * of the same seq again, when old ones go. */
	{KEY_CHAT, EVENT_OF_MESSAGE, EVENT_TO_OBJECT, .object_at = AT_TOPIC, .seq_in = AT_CHAT_LAST,
		.put_only = true},
	{KEY_CHAT_DEVICE, EVENT_OF_RECEIPT, EVENT_TO_OBJECT, .object_at = AT_TOPIC},
};

const char *event_type_name(enum event_type type)
{
	static const char *const names[EVENT_TYPES] = {
		[EVENT_OF_NONE] = "none",
		[EVENT_OF_VAULT] = "vault",
		[EVENT_OF_MEMBERS] = "members",
		[EVENT_OF_GROUP] = "group",
		[EVENT_OF_CONVERSATION] = "conversation",
		[EVENT_OF_MESSAGE] = "message",
		[EVENT_OF_RECEIPT] = "receipt",
		[EVENT_OF_PACKET] = "packet",
		[EVENT_OF_INBOX] = "inbox",
		[EVENT_OF_DEVICE] = "device",
		[EVENT_OF_SESSION] = "session",
		[EVENT_OF_KEYRING] = "keyring",
		[EVENT_OF_RESYNC] = "resync",
	};

	assert((unsigned)type < EVENT_TYPES);
	return names[type];
}

static const struct event_source *event_source_of(unsigned family)
{
	for (size_t i = 0; i < ARRAY_SIZE(event_sources); i++) {
		if (event_sources[i].family == family) {
			return &event_sources[i];
		}
	}
	return NULL;
}

/* An object's row is never deleted: { u8 format | u8 kind | ... }. */
static bool event_by_kind(struct bytes value, struct event *event)
{
	if (value.len < 2) {
		return false;
	}
	event->type = value.data[1] == MEMBER_OBJECT_GROUP ? EVENT_OF_GROUP : EVENT_OF_CONVERSATION;
	return true;
}

bool event_needs_value(enum key_family family)
{
	const struct event_source *source = event_source_of(family);

	return source != NULL && (source->type == EVENT_BY_KIND || source->seq_in != AT_NONE);
}

bool event_of_row(struct bytes key, struct bytes value, struct event *ret_event)
{
	const struct event_source *source = key.len == 0 ? NULL : event_source_of(key.data[0]);
	struct event event = {0};

	if (source == NULL || (value.len == 0 && source->put_only) ||
		key.len < source->object_at + sizeof event.object ||
		(source->seq_at != AT_NONE && key.len < source->seq_at + 8) ||
		(source->seq_in != AT_NONE && value.len < source->seq_in + 8)) {
		return false;
	}
	event.type = (uint8_t)source->type;
	if (source->type == EVENT_BY_KIND && !event_by_kind(value, &event)) {
		return false;
	}
	event.audience = (uint8_t)source->audience;
	event.reaches = source->reaches;
	memcpy(event.topic, key.data + AT_TOPIC, sizeof event.topic);
	memcpy(event.object, key.data + source->object_at, sizeof event.object);
	if (source->seq_at != AT_NONE) {
		event.has_seq = true;
		event.seq = load_u64(key.data + source->seq_at);
	}
	if (source->seq_in != AT_NONE) {
		event.has_seq = true;
		event.seq = load_u64(value.data + source->seq_in);
	}
	*ret_event = event;
	return true;
}

size_t event_families(
	enum event_audience audience, enum key_family ret_families[EVENT_FAMILIES_MAX])
{
	size_t n = 0;

	static_assert(ARRAY_SIZE(event_sources) <= EVENT_FAMILIES_MAX, "grow it");
	for (size_t i = 0; i < ARRAY_SIZE(event_sources); i++) {
		if ((event_sources[i].audience & (unsigned)audience) != 0 &&
			event_sources[i].type != EVENT_OF_NONE) {
			ret_families[n++] = event_sources[i].family;
		}
	}
	return n;
}

void event_list_add(struct event_list *list, const struct event *event)
{
	if (list->n == list->cap) {
		list->cap = list->cap == 0 ? 64 : 2 * list->cap;
		list->event = x_realloc(list->event, list->cap * sizeof *list->event);
	}
	list->event[list->n++] = *event;
}

void event_list_put(struct event_list *list, const struct event *event)
{
	struct event *last = list->n == 0 ? NULL : &list->event[list->n - 1];

	if (last == NULL || last->type != event->type || last->audience != event->audience ||
		memcmp(last->topic, event->topic, sizeof last->topic) != 0 ||
		memcmp(last->object, event->object, sizeof last->object) != 0) {
		event_list_add(list, event);
	} else if (last->index < event->index ||
		   (last->index == event->index && last->seq < event->seq)) {
		*last = *event;
	}
}

void event_list_clear(struct event_list *list)
{
	list->n = 0;
}

void event_list_release(struct event_list *list)
{
	free(list->event);
	*list = (struct event_list){0};
}
