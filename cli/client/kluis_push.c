/* The public face of notifications. */
#include <string.h>

#include "base/text.h"
#include "cli/client/kluis_chat.h"
#include "cli/client/kluis_impl.h"
#include "cli/client/notification.h"

int kluis_push_services(
	struct kluis *k, struct kluis_push_services *ret_services, struct kluis_failure *error)
{
	struct api_push_services services = {.vapid = BUF_INIT};
	struct kluis_push_services given = {.vapid_len = 0};
	struct err e = {0};
	int rc = kluis_refresh(k, &e);

	rc = rc != 0 ? rc : api_push_services(k->client, &services, &e);
	if (rc == 0) {
		given.vapid_len = services.vapid.len;
		given.fcm = services.fcm;
		given.apns = services.apns;
		if (services.vapid.len > 0) {
			memcpy(given.vapid, services.vapid.data, services.vapid.len);
		}
		*ret_services = given;
	}
	buf_release(&services.vapid);
	return kluis_give(rc, &e, error);
}

static int push_add(struct kluis *k, const struct api_push_target *target, char ret_id[33],
	struct kluis_failure *error)
{
	uint8_t id[ID_BYTES];
	struct err e = {0};
	int rc = kluis_refresh(k, &e);

	rc = rc != 0 ? rc : api_push_add(k->client, target, id, &e);
	if (rc == 0) {
		hex_encode(bytes_of(id, ID_BYTES), ret_id);
	}
	return kluis_give(rc, &e, error);
}

int kluis_push_add_web(struct kluis *k, const char *endpoint, const unsigned char p256dh[65],
	const unsigned char auth[16], char ret_id[33], struct kluis_failure *error)
{
	const struct api_push_target target = {.kind = "web",
		.place = endpoint,
		.p256dh = bytes_of(p256dh, API_PUSH_KEY_BYTES),
		.auth = bytes_of(auth, 16)};

	return push_add(k, &target, ret_id, error);
}

int kluis_push_add_token(struct kluis *k, const char *kind, const char *token, char ret_id[33],
	struct kluis_failure *error)
{
	const struct api_push_target target = {.kind = kind, .place = token};
	struct err e = {0};

	return strcmp(kind, "fcm") == 0 || strcmp(kind, "apns") == 0
		       ? push_add(k, &target, ret_id, error)
		       : kluis_give(err_set(&e, KLUIS_EINVAL, "'%s' is neither fcm nor apns", kind),
				 &e, error);
}

int kluis_push_list(struct kluis *k, kluis_push_fn *each, void *arg, struct kluis_failure *error)
{
	_cleanup_(x_freep) struct api_push_row *rows = NULL;
	struct err e = {0};
	size_t n = 0;
	int rc = kluis_refresh(k, &e);

	rc = rc != 0 ? rc : api_push_list(k->client, &rows, &n, &e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		char id[HEX_LEN(ID_BYTES) + 1];
		struct kluis_push shown = {
			.id = id, .kind = rows[i].kind, .created_ms = rows[i].created_ms};

		hex_encode(bytes_of(rows[i].id, ID_BYTES), id);
		memcpy(shown.device_id, rows[i].device_id, ID_BYTES);
		each(arg, &shown);
	}
	return kluis_give(rc, &e, error);
}

int kluis_push_remove(struct kluis *k, const char *text, struct kluis_failure *error)
{
	uint8_t id[ID_BYTES];
	struct err e = {0};
	int rc = hex_decode(text, id, ID_BYTES) == 0
			 ? kluis_refresh(k, &e)
			 : err_set(&e, KLUIS_EINVAL, "'%s' is no id of a subscription", text);

	rc = rc != 0 ? rc : api_push_delete(k->client, id, &e);
	return kluis_give(rc, &e, error);
}

int kluis_push_open(struct kluis *k, const void *payload, size_t len,
	struct kluis_notification *ret_notification, struct kluis_failure *error)
{
	struct notification n;
	struct err e = {0};
	int rc = notification_open(k->profile, bytes_of(payload, len), &n, &e);

	if (rc == 0) {
		hex_encode(bytes_of(n.object_id, ID_BYTES), ret_notification->conversation);
		ret_notification->seq = n.seq;
		ret_notification->unix_ms = n.unix_ms;
	}
	return kluis_give(rc, &e, error);
}
