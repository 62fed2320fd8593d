#include "raft/chat_check.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/keypacket.h"
#include "storage/member_store.h"

enum { CHECK_SOME = 64 }; /* Rows at a time. */

void chat_devices_release(struct chat_devices *devices)
{
	free(devices->device);
	*devices = (struct chat_devices){0};
}

static int devices_add(
	struct chat_devices *devices, const struct device_row *row, bool accepted, struct err *e)
{
	struct chat_device_id *id;

	if (devices->n == CHAT_DEVICES_MAX) {
		return err_set(
			e, KLUIS_EQUOTA, "the members have more than %d devices", CHAT_DEVICES_MAX);
	}
	if (devices->device == NULL) {
		devices->device = x_calloc(CHAT_DEVICES_MAX, sizeof *devices->device);
	}
	id = &devices->device[devices->n++];
	memcpy(id->user_id, row->user_id, sizeof id->user_id);
	memcpy(id->device_id, row->device_id, sizeof id->device_id);
	id->accepted = accepted;
	return 0;
}

/* The active devices of one member; *seen counts those that are revoked, too. */
static int devices_of_user(const struct kv_view *view, const struct member_row *member,
	struct chat_devices *devices, size_t *seen, struct err *e)
{
	_cleanup_(x_freep) struct device_row *rows = x_calloc(CHECK_SOME, sizeof *rows);
	bool accepted = member->state == MEMBER_ACCEPTED;
	uint8_t last[16];
	size_t n = CHECK_SOME;
	int rc = 0;

	for (const uint8_t *after = NULL; rc == 0 && n == CHECK_SOME; after = last) {
		rc = device_store_list(view, member->member_id, after, rows, CHECK_SOME, &n, e);
		for (size_t i = 0; rc == 0 && i < n; i++) {
			rc = rows[i].revoked ? 0 : devices_add(devices, &rows[i], accepted, e);
			memcpy(last, rows[i].device_id, sizeof last);
		}
		*seen += n;
		if (rc == 0 && *seen > CHAT_DEVICES_SEEN_MAX) {
			rc = err_set(e, KLUIS_EQUOTA, "the members had too many devices");
		}
	}
	return rc;
}

/* Whose account is disabled, or being deleted, can read nothing. */
static int devices_of_member(const struct kv_view *view, const struct member_row *member,
	struct chat_devices *devices, size_t *seen, struct err *e)
{
	struct user_row user;
	int rc;

	if (member->kind != MEMBER_USER || member->state == MEMBER_DECLINED) {
		return 0;
	}
	rc = user_store_get(view, member->member_id, &user, e);
	if (rc != 0 || user.disabled) {
		return rc == KLUIS_ENOTFOUND ? err_set(e, KLUIS_ECORRUPT, "a member has no user")
					     : rc;
	}
	return devices_of_user(view, member, devices, seen, e);
}

int chat_devices_get(const struct kv_view *view, const uint8_t conv_id[16],
	struct chat_devices *ret_devices, struct err *e)
{
	struct member_row rows[CHECK_SOME];
	uint8_t last[16];
	size_t n = CHECK_SOME, seen = 0;
	int rc = 0;

	*ret_devices = (struct chat_devices){0};
	for (const uint8_t *after = NULL; rc == 0 && n == CHECK_SOME; after = last) {
		rc = member_store_list(view, conv_id, after, rows, CHECK_SOME, &n, e);
		for (size_t i = 0; rc == 0 && i < n; i++) {
			rc = devices_of_member(view, &rows[i], ret_devices, &seen, e);
			memcpy(last, rows[i].member_id, sizeof last);
		}
	}
	return rc;
}

static int device_id_compare(const void *a, const void *b)
{
	const struct chat_device_id *x = a, *y = b;
	int order = memcmp(x->user_id, y->user_id, sizeof x->user_id);

	return order != 0 ? order : memcmp(x->device_id, y->device_id, sizeof x->device_id);
}

bool chat_devices_have(
	const struct chat_devices *devices, const uint8_t user_id[16], const uint8_t device_id[16])
{
	struct chat_device_id id = {.accepted = false};

	memcpy(id.user_id, user_id, sizeof id.user_id);
	memcpy(id.device_id, device_id, sizeof id.device_id);
	return devices->n > 0 &&
	       bsearch(&id, devices->device, devices->n, sizeof id, device_id_compare) != NULL;
}

static int packet_check(const uint8_t user_id[16], const struct command_chat_epoch *c,
	struct bytes encoded, uint8_t ret_rcpt[16], struct err *e)
{
	struct keypacket packet;
	int rc = keypacket_parse(encoded, &packet, e);

	if (rc != 0) {
		return rc;
	}
	if (packet.purpose != KEYPACKET_CHAT || packet.epoch != c->epoch ||
		memcmp(packet.object_id, c->conv_id, 16) != 0 ||
		memcmp(packet.sender_user, user_id, 16) != 0) {
		return err_set(e, KLUIS_EINVAL, "a KeyPacket is not of this epoch");
	}
	memcpy(ret_rcpt, packet.rcpt_id, 16);
	return 0;
}

static int id_compare(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

/* Both ascending, repeats and all: two users may have devices of one id. */
static void need_count(const uint8_t (*want)[16], size_t n_want, const uint8_t (*got)[16],
	size_t n_got, struct chat_need *need)
{
	size_t i = 0, j = 0;

	while (i < n_want || j < n_got) {
		int order = i == n_want ? 1 : j == n_got ? -1 : memcmp(want[i], got[j], 16);

		need->missing += order < 0;
		need->surplus += order > 0;
		i += order <= 0;
		j += order >= 0;
	}
}

int chat_packets_check(const uint8_t user_id[16], const struct command_chat_epoch *c,
	const struct chat_devices *devices, struct chat_need *ret_need, struct err *e)
{
	_cleanup_(x_freep) uint8_t(*want)[16] = x_calloc(CHAT_DEVICES_MAX, 16);
	_cleanup_(x_freep) uint8_t(*got)[16] = x_calloc(CHAT_DEVICES_MAX, 16);
	struct bytes rest = c->packets, packet;
	struct chat_need need = {.devices = devices->n};
	size_t n = 0;
	int rc = 0;

	while (rc == 0 && members_item_next(&rest, &packet)) {
		rc = n == CHAT_DEVICES_MAX ? err_set(e, KLUIS_EINVAL, "too many KeyPackets")
					   : packet_check(user_id, c, packet, got[n++], e);
	}
	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; i < devices->n; i++) {
		memcpy(want[i], devices->device[i].device_id, 16);
	}
	qsort(want, devices->n, 16, id_compare);
	qsort(got, n, 16, id_compare);
	need_count(want, devices->n, got, n, &need);
	*ret_need = need;
	if (need.missing == 0 && need.surplus == 0) {
		return 0;
	}
	return err_set(e, KLUIS_EPRECONDITION,
		"the members have %zu devices: %zu KeyPackets are missing, %zu are for others",
		need.devices, need.missing, need.surplus);
}

int chat_epoch_check(const struct kv_view *view, const uint8_t user_id[16],
	const struct command_chat_epoch *c, struct chat_need *ret_need, struct err *e)
{
	struct chat_devices devices;
	int rc = chat_devices_get(view, c->conv_id, &devices, e);

	rc = rc != 0 ? rc : chat_packets_check(user_id, c, &devices, ret_need, e);
	chat_devices_release(&devices);
	return rc;
}
