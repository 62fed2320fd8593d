/* KeyPackets beside changes of members: who they wait for, sending some, having taken one. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "crypto/member.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/share_in.h"
#include "storage/object_store.h"
#include "storage/packet_store.h"

/* Who the session's user is to senders: herself, this device, her groups; each as packets are kept
 * for it. */
struct rcpts {
	uint8_t (*id)[16];
	size_t n;
	uint8_t device[16]; /* Among them; zero: the session has none. */
};

static int rcpts_groups(struct api_call *call, struct rcpts *to)
{
	_cleanup_(x_freep) struct member_of *rows = x_calloc(LIST_LIMIT_MAX, sizeof *rows);
	uint8_t last[16];
	const uint8_t *after = NULL;
	size_t n, seen = 0;

	do {
		int rc = member_store_objects(call->view, MEMBER_OBJECT_GROUP,
			call->session.user_id, after, rows, LIST_LIMIT_MAX, &n, &call->e);

		if (rc != 0) {
			return rc;
		}
		for (size_t i = 0; i < n; i++) {
			if (rows[i].state == MEMBER_ACCEPTED && to->n < USER_GROUPS_MAX + 2) {
				memcpy(to->id[to->n++], rows[i].object_id, 16);
			}
			after = memcpy(last, rows[i].object_id, 16);
		}
		seen += n;
	} while (n == LIST_LIMIT_MAX && seen < USER_INVITED_MAX);
	return 0;
}

static int rcpt_order(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

static int rcpts_get(struct api_call *call, struct rcpts *to)
{
	int rc;

	*to = (struct rcpts){.id = x_calloc(USER_GROUPS_MAX + 2, 16)};
	memcpy(to->id[to->n++], call->session.user_id, 16);
	if (session_has_device(&call->session)) {
		packet_device(call->session.user_id, call->session.device_id, to->device);
		memcpy(to->id[to->n++], to->device, 16);
	}
	rc = rcpts_groups(call, to);
	qsort(to->id, to->n, 16, rcpt_order);
	return rc;
}

/* A list under way. */
struct packet_page {
	const struct rcpts *rcpts;
	json_t *items;
	uint8_t key[32]; /* Recipient and id of the last row that was looked at. */
	size_t scanned, bytes;
	bool full; /* There may be more behind it. */
};

static json_t *packet_json(
	const struct api_call *call, const struct packet_row *row, const struct rcpts *rcpts)
{
	bool device = memcmp(row->rcpt, rcpts->device, 16) == 0;
	json_t *item = json_object();

	json_put(item, "packet_id", json_make_id(row->packet_id));
	json_put(item, "rcpt", json_make_id(device ? call->session.device_id : row->rcpt));
	json_put(item, "purpose", json_make_number(row->purpose));
	json_put(item, "object", json_make_id(row->object_id));
	json_put(item, "epoch", json_make_number(row->epoch));
	json_put(item, "sender", json_make_id(row->sender));
	json_put(item, "packet", json_make_base64(row->packet));
	return item;
}

static void packet_page_take(
	const struct api_call *call, struct packet_page *page, const struct packet_row *row)
{
	bool wanted = !call->has_object || memcmp(row->object_id, call->id, 16) == 0;

	page->scanned++;
	memcpy(page->key, row->rcpt, 16);
	memcpy(page->key + 16, row->packet_id, 16);
	if (wanted) {
		page->bytes += row->packet.len;
		(void)json_array_append_new(page->items, packet_json(call, row, page->rcpts));
	}
	page->full = page->scanned >= PACKET_SCAN_MAX || page->bytes >= API_STATEMENTS_BYTES_MAX ||
		     json_array_size(page->items) >= call->limit;
}

/* Those of one recipient, behind `after` unless that is NULL. */
static int packet_page_read(struct api_call *call, struct packet_page *page, const uint8_t rcpt[16],
	const uint8_t *after)
{
	struct packet_iter *iter = packet_iter_new(call->view, rcpt, after);
	struct packet_row row;
	int rc;

	while (!page->full && packet_iter_next(iter, &row)) {
		packet_page_take(call, page, &row);
	}
	rc = page->full ? 0 : packet_iter_status(iter, &call->e);
	packet_iter_free(iter);
	return rc;
}

int packet_list_read(struct api_call *call)
{
	struct rcpts rcpts = {.id = NULL};
	struct packet_page page = {.rcpts = &rcpts};
	const uint8_t *cursor = NULL;
	int rc = call_cursor(call, sizeof page.key, &cursor);

	rc = rc != 0 ? rc : rcpts_get(call, &rcpts);
	page.items = json_array();
	for (size_t i = 0; rc == 0 && !page.full && i < rcpts.n; i++) {
		int order = cursor == NULL ? 1 : memcmp(rcpts.id[i], cursor, 16);

		if (order >= 0) {
			rc = packet_page_read(
				call, &page, rcpts.id[i], order == 0 ? cursor + 16 : NULL);
		}
	}
	free(rcpts.id);
	if (rc != 0) {
		json_decref(page.items);
		return rc;
	}
	call_list(call, page.items, bytes_of(page.key, page.full ? sizeof page.key : 0));
	return 0;
}

/* Sending. */

struct sending {
	size_t n_packets;
	struct buf packets, grants;
};

static void sending_release(void *extra)
{
	struct sending *s = extra;

	buf_release(&s->packets);
	buf_release(&s->grants);
}

static void sending_grants(struct sending *s, struct json_in *reader)
{
	size_t n = json_in_objects(reader, "grants", GRANTS_SEND_MAX);

	for (size_t i = 0; i < n; i++) {
		struct command_grant grant = {.page_no = 0};
		struct json_in inner;

		json_in_enter_nth(reader, "grants", i, &inner);
		json_in_hex(&inner, "user", grant.user_id, sizeof grant.user_id);
		json_in_hex(&inner, "vault", grant.vault_id, sizeof grant.vault_id);
		grant.page_no = json_in_u64(&inner, "page", 0, INT64_MAX);
		grant.revision = json_in_u64(&inner, "revision", 1, INT64_MAX);
		json_in_leave(reader, &inner);
		command_grant_append(&s->grants, &grant);
	}
}

int packet_send_parse(struct api_call *call)
{
	struct sending *s = call_extra(call, sizeof *s);
	struct json_in reader;
	int rc;

	call->extra_release = sending_release;
	json_in_begin(&reader, call_body(call), &call->e);
	s->n_packets = json_in_binaries(
		&reader, "packets", PACKETS_SEND_MAX, KEYPACKET_BYTES_MAX, &s->packets);
	if (json_in_has(&reader, "grants")) {
		sending_grants(s, &reader);
	}
	rc = json_in_end(&reader);
	return rc == 0 && s->n_packets == 0 ? call_fail(call, KLUIS_EINVAL, "no packets") : rc;
}

int packet_send_read(struct api_call *call)
{
	return call_need_device(call);
}

/* Users by their chains; for purpose 5 the sender's own devices. */
struct sending_rcpts {
	struct packet_rcpts rcpts;
	struct packet_users users;
};

static int sending_current(struct packet_rcpts *rcpts, struct api_call *call,
	const struct keypacket *packet, bool *ret_current)
{
	struct sending_rcpts *to = CONTAINER_OF(rcpts, struct sending_rcpts, rcpts);
	struct device_row device;
	int rc;

	if (packet->purpose != KEYPACKET_DEVICE) {
		return to->users.rcpts.current(&to->users.rcpts, call, packet, ret_current);
	}
	rc = device_store_get(
		call->view, call->session.user_id, packet->rcpt_id, &device, &call->e);
	if (rc == 0) {
		*ret_current = packet_is_to_device(packet, &device);
	}
	return rc;
}

int packet_send_check(struct api_call *call)
{
	const struct sending *s = call->extra;
	struct command command = {.type = COMMAND_PACKET_SEND};
	struct sending_rcpts to = {.rcpts = {sending_current}};
	struct packet_list list = {NULL, 0};
	int rc = packet_list_add(call, &list, buf_bytes(&s->packets), s->n_packets);

	packet_users_init(&to.users);
	rc = rc != 0 ? rc : packet_list_verify(call, &list, &to.rcpts);
	packet_users_release(&to.users);
	packet_list_release(&list);
	if (rc != 0) {
		return rc;
	}
	command.packet_send.session = call_session(call);
	command.packet_send.packets = buf_bytes(&s->packets);
	command.packet_send.grants = buf_bytes(&s->grants);
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}

/* Ending what was opened. */

struct unsharing {
	uint8_t user_id[16];
	struct buf pages;
};

static void unsharing_release(void *extra)
{
	struct unsharing *u = extra;

	buf_release(&u->pages);
}

static void unsharing_page(struct unsharing *u, struct json_in *reader)
{
	struct command_unshared page = {.page_no = json_in_u64(reader, "page", 0, INT64_MAX),
		.revision = json_in_u64(reader, "revision", 1, INT64_MAX)};

	json_in_hex(reader, "packet", page.packet_id, sizeof page.packet_id);
	command_unshared_append(&u->pages, &page);
}

int pages_unshare_parse(struct api_call *call)
{
	struct unsharing *u = call_extra(call, sizeof *u);
	struct json_in reader, inner;
	size_t n;
	int rc;

	call->extra_release = unsharing_release;
	json_in_begin(&reader, call_body(call), &call->e);
	json_in_hex(&reader, "user", u->user_id, sizeof u->user_id);
	n = json_in_objects(&reader, "pages", GRANTS_SEND_MAX);
	for (size_t i = 0; i < n; i++) {
		json_in_enter_nth(&reader, "pages", i, &inner);
		unsharing_page(u, &inner);
		json_in_leave(&reader, &inner);
	}
	rc = json_in_end(&reader);
	return rc == 0 ? vault_id_parse(call) : rc;
}

int pages_unshare_read(struct api_call *call)
{
	const struct unsharing *u = call->extra;
	struct command command = {.type = COMMAND_PAGES_UNSHARE};

	command.pages_unshare.session = call_session(call);
	memcpy(command.pages_unshare.user_id, u->user_id, 16);
	memcpy(command.pages_unshare.vault_id, call->vault_id, 16);
	command.pages_unshare.pages = buf_bytes(&u->pages);
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}

/* Having taken one. */

int packet_ack_parse(struct api_call *call)
{
	return call_param_id(call, 0, call->id);
}

/* Whether one of this id waits for the user or the session's device. What is a group's stays for
 * its other members. */
static int ack_find(struct api_call *call)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct packet_row row;
	uint8_t device[16];
	int rc = packet_store_get(
		call->view, call->session.user_id, call->id, &value, &row, &call->e);

	if (rc == KLUIS_ENOTFOUND && session_has_device(&call->session)) {
		packet_device(call->session.user_id, call->session.device_id, device);
		rc = packet_store_get(call->view, device, call->id, &value, &row, &call->e);
	}
	return rc;
}

int packet_ack_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_PACKET_ACK};
	int rc = ack_find(call);

	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	call->e = (struct err){0};
	call_no_content(call);
	if (rc == 0) {
		command.packet_ack.session = call_session(call);
		memcpy(command.packet_ack.packet_id, call->id, 16);
		call_propose(call, &command);
	}
	return 0;
}
