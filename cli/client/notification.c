#include "cli/client/notification.h"

#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "cli/client/json_reader.h"
#include "crypto/notify.h"

enum { NOTIFICATION_VERSION = 1 };

struct notifying {
	struct conversation *c;
	uint64_t unix_ms;
	struct buf content;
	struct api_push_item items[API_PUSH_ITEMS_MAX];
	size_t n, sent;
};

static void notifying_clear(struct notifying *to)
{
	for (size_t i = 0; i < to->n; i++) {
		buf_release(&to->items[i].payload);
	}
	to->n = 0;
}

/* Who has left by the cluster's word cannot be notified: all others are then, one by one. */
static int notifying_send(struct notifying *to, size_t from, size_t n, struct err *e)
{
	struct client *client = conversation_client(to->c);
	size_t users = 1;
	struct err why = {0};
	int rc = api_push_send(client, to->c->id, &to->items[from], n, &why);

	for (size_t i = from + 1; i < from + n; i++) {
		users += memcmp(to->items[i].user_id, to->items[i - 1].user_id, ID_BYTES) != 0;
	}
	if (rc != KLUIS_EFORBIDDEN) {
		to->sent += rc == 0 ? n : 0;
		return rc == 0 ? 0 : err_set(e, rc, "%s", why.text);
	}
	for (size_t i = from, end; users > 1 && i < from + n; i = end) {
		for (end = i + 1; end < from + n && memcmp(to->items[end].user_id,
							    to->items[i].user_id, ID_BYTES) == 0;
			end++) {
		}
		rc = notifying_send(to, i, end - i, e);
		if (rc != 0) {
			return rc;
		}
	}
	return 0;
}

static int notifying_flush(struct notifying *to, struct err *e)
{
	int rc = to->n == 0 ? 0 : notifying_send(to, 0, to->n, e);

	notifying_clear(to);
	return rc;
}

static int notifying_device(struct notifying *to, const uint8_t user_id[ID_BYTES],
	const struct identity_device *device, struct err *e)
{
	struct api_push_item *item = &to->items[to->n];
	int rc;

	*item = (struct api_push_item){.payload = BUF_INIT};
	memcpy(item->user_id, user_id, ID_BYTES);
	memcpy(item->device_id, device->device_id, ID_BYTES);
	to->n++;
	rc = notify_seal(device->device_id, device->hpke, to->unix_ms, buf_bytes(&to->content),
		&random_system, &item->payload, e);
	return rc == 0 && to->n == API_PUSH_ITEMS_MAX ? notifying_flush(to, e) : rc;
}

static int notifying_user(struct notifying *to, const uint8_t user_id[ID_BYTES], struct err *e)
{
	const struct profile *profile = conversation_profile(to->c);
	const struct identity *user;
	int rc = people_get(to->c->people, user_id, true, &user, e);

	for (size_t i = 0; rc == 0 && i < user->device_count; i++) {
		const struct identity_device *device = &user->devices[i];

		if (!device->revoked &&
			memcmp(device->device_id, profile->device_id, ID_BYTES) != 0) {
			rc = notifying_device(to, user_id, device, e);
		}
	}
	return rc;
}

int notification_send(struct conversation *c, uint64_t seq, size_t *ret_n, struct err *e)
{
	_cleanup_(x_freep) struct notifying *to = x_calloc(1, sizeof *to);
	const struct members *members = &c->members->members;
	int rc = 0;

	to->c = c;
	to->unix_ms = clock_wall_ms(&clock_system);
	json_take_text(
		json_pack("{s:i, s:s, s:o, s:I}", "v", NOTIFICATION_VERSION, "kind", "message",
			"object", json_hex(bytes_of(c->id, ID_BYTES)), "seq", (json_int_t)seq),
		&to->content);
	for (size_t i = 0; rc == 0 && i < members->count; i++) {
		rc = notifying_user(to, members->member[i].id, e);
	}
	rc = rc != 0 ? rc : notifying_flush(to, e);
	notifying_clear(to);
	buf_release(&to->content);
	if (rc == 0) {
		*ret_n = to->sent;
	}
	return rc;
}

static int notification_content(const struct profile *profile, struct bytes payload,
	struct secret *ret_content, uint64_t *ret_unix_ms, struct err *e)
{
	const struct person_keys *person = profile->person;
	struct notify notify;
	int rc = notify_parse(payload, &notify, e);

	if (rc != 0) {
		return rc;
	}
	*ret_unix_ms = notify.unix_ms;
	if (profile->device_hpke != NULL) {
		return notify_open(
			&notify, profile->device_id, profile->device_hpke, ret_content, e);
	}
	return person == NULL || person->ring == NULL
		       ? err_set(e, KLUIS_EUNAUTHENTICATED, "the profile of '%s' is locked",
				 profile->account)
		       : person->ring->notify(person->ring, payload, ret_content, e);
}

int notification_open(const struct profile *profile, struct bytes payload,
	struct notification *ret_notification, struct err *e)
{
	_cleanup_(secret_release) struct secret content = SECRET_INIT;
	_cleanup_(json_dropp) json_t *object = NULL;
	struct notification n = {.seq = 0};
	struct json_reader r;
	uint64_t version;
	int rc = notification_content(profile, payload, &content, &n.unix_ms, e);

	rc = rc != 0 ? rc : json_object_parse(secret_bytes(&content), &object, e);
	if (rc != 0) {
		return rc == KLUIS_EPROTO || rc == KLUIS_EINVAL
			       ? err_set(e, KLUIS_EVERIFY, "this is no notification")
			       : rc;
	}
	r = json_reader_of(object);
	version = json_reader_u64(&r, "v");
	if (r.failed == NULL && version != NOTIFICATION_VERSION) {
		return err_set(e, KLUIS_EVERSION, "a notification of a newer program");
	}
	json_reader_hex(&r, "object", n.object_id, ID_BYTES);
	n.seq = json_reader_u64(&r, "seq");
	if (r.failed != NULL) {
		return err_set(e, KLUIS_EVERIFY, "this is no notification");
	}
	*ret_notification = n;
	return 0;
}
