/* The keys that travel: what must come with a change of members, and packets by themselves. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "raft/fsm_members.h"
#include "storage/page_store.h"

int apply_packet_row(struct apply *a, const struct session_row *session,
	const struct keypacket *packet, struct bytes encoded, unsigned to,
	struct packet_row *ret_row)
{
	struct packet_row row = {.sent_ms = a->now_ms,
		.expires_ms = a->now_ms + PACKET_KEPT_MS,
		.to = (uint8_t)to,
		.purpose = packet->purpose,
		.epoch = packet->epoch,
		.packet = encoded};

	if (memcmp(packet->sender_user, session->user_id, 16) != 0) {
		return err_set(a->e, KLUIS_EFORBIDDEN, "a key packet of another sender");
	}
	if (packet->expires_ms <= a->now_ms) {
		return err_set(a->e, KLUIS_EINVAL, "a key packet that has expired");
	}
	if (packet->expires_ms < row.expires_ms) {
		row.expires_ms = packet->expires_ms;
	}
	memcpy(row.rcpt, packet->rcpt_id, 16);
	memcpy(row.packet_id, packet->packet_id, 16);
	memcpy(row.object_id, packet->object_id, 16);
	memcpy(row.sender, packet->sender_user, 16);
	*ret_row = row;
	return 0;
}

/* A group's packet is for the key that it has now. */
static int packet_check_kid(struct apply *a, const struct keypacket *packet)
{
	struct object_row group;
	int rc = object_store_get(a->view, packet->rcpt_id, &group, a->e);

	if (rc == 0 && memcmp(packet->rcpt_kid, group.group_kid, KID_BYTES) != 0) {
		rc = err_set(a->e, KLUIS_EPRECONDITION, "a key packet for an older key of a group");
	}
	return rc;
}

/* --- with a change of members --- */

/* Somebody who may, and mostly must, be given the key. */
struct need {
	uint8_t id[16];
	uint8_t kind, state;
	bool added, got;
};
struct needs {
	struct need *need; /* Ascending by id. */
	size_t n;
};

static int need_compare(const void *a, const void *b)
{
	return memcmp(((const struct need *)a)->id, ((const struct need *)b)->id, 16);
}

static struct need *needs_find(const struct needs *needs, const uint8_t id[16])
{
	struct need key;

	memcpy(key.id, id, 16);
	return needs->n == 0 ? NULL
			     : bsearch(&key, needs->need, needs->n, sizeof key, need_compare);
}

static void needs_add(struct needs *needs, const struct member_row *member)
{
	struct need *need = &needs->need[needs->n++];

	memcpy(need->id, member->member_id, 16);
	need->kind = member->kind;
	need->state = member->state;
}

static int needs_all(struct members_change *ch, const struct change_object *o, struct needs *needs)
{
	_cleanup_(x_freep) struct member_row *rows = x_calloc(OBJECT_MEMBERS_MAX, sizeof *rows);
	size_t n = 0;
	int rc = change_list(ch, o->section.object_id, rows, OBJECT_MEMBERS_MAX, &n);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		needs_add(needs, &rows[i]);
	}
	return rc;
}

/* Those added, as far as they are members still. */
static int needs_added(
	struct members_change *ch, const struct change_object *o, struct needs *needs)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && !o->rotated && i < o->n_added; i++) {
		struct member_row row;

		rc = member_store_get(ch->a->view, o->section.object_id,
			ch->added[o->added_first + i], &row, ch->a->e);
		if (rc == 0) {
			needs_add(needs, &row);
		}
		rc = rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	if (!o->rotated && needs->n > 1) {
		qsort(needs->need, needs->n, sizeof *needs->need, need_compare);
	}
	for (size_t i = 0; rc == 0 && i < o->n_added; i++) {
		struct need *need = needs_find(needs, ch->added[o->added_first + i]);

		if (need != NULL) {
			need->added = true;
		}
	}
	return rc;
}

/* Older epochs are history, for those who come new; the current one is given once. */
static int packet_check_epoch(struct apply *a, const struct change_object *o,
	const struct keypacket *packet, struct need *need)
{
	bool current = packet->epoch == o->epoch;

	if (packet->epoch == 0 || packet->epoch > o->epoch || (!current && !need->added) ||
		(current && need->got)) {
		return err_set(a->e, KLUIS_EINVAL, "a key packet of another epoch, or twice");
	}
	need->got |= current;
	return 0;
}

/* Whoever declines while the packets are made does not hold the command up; nor does a box that is
 * full, or one who is to go could stay by filling another's: she is sent the key again later. */
static int change_store_packet(
	struct members_change *ch, const struct need *need, const struct packet_row *row)
{
	struct apply *a = ch->a;
	int rc;

	if (need->state == MEMBER_DECLINED) {
		return 0;
	}
	rc = need->state == MEMBER_ACCEPTED ? packet_store_put_accepted(a->txn, row, a->e)
					    : packet_store_put(a->txn, row, a->e);
	return rc == KLUIS_EQUOTA && !need->added ? 0 : rc;
}

static int change_take_packet(struct members_change *ch, const struct change_object *o,
	const struct needs *needs, struct bytes encoded)
{
	unsigned purpose = o->kind == MEMBER_OBJECT_VAULT ? KEYPACKET_VAULT : KEYPACKET_GROUP;
	struct apply *a = ch->a;
	struct keypacket packet;
	struct packet_row row;
	struct need *need = NULL;
	int rc = apply_refusal(keypacket_parse(encoded, &packet, a->e));

	if (rc == 0 && (packet.purpose != purpose ||
			       memcmp(packet.object_id, o->section.object_id, 16) != 0)) {
		rc = err_set(a->e, KLUIS_EINVAL, "a key packet of another object");
	}
	if (rc == 0) {
		need = needs_find(needs, packet.rcpt_id);
		rc = need == NULL ? err_set(a->e, KLUIS_EINVAL,
					    "a key packet for nobody who gets the key")
				  : packet_check_epoch(a, o, &packet, need);
	}
	if (rc == 0 && need->kind == MEMBER_GROUP) {
		rc = packet_check_kid(a, &packet);
	}
	if (rc == 0) {
		rc = apply_packet_row(a, &ch->session, &packet, encoded,
			need->kind == MEMBER_GROUP ? PACKET_TO_GROUP : PACKET_TO_USER, &row);
	}
	return rc == 0 ? change_store_packet(ch, need, &row) : rc;
}

/* The session's own user has the key: she made it. */
static int change_check_complete(
	struct members_change *ch, const struct change_object *o, const struct needs *needs)
{
	char id[HEX_LEN(16) + 1];
	size_t missing = 0;

	for (size_t i = 0; i < needs->n; i++) {
		const struct need *need = &needs->need[i];

		missing += !need->got && need->state != MEMBER_DECLINED &&
			   memcmp(need->id, ch->session.user_id, 16) != 0;
	}
	hex_encode(bytes_of(o->section.object_id, 16), id);
	return missing == 0 ? 0
			    : err_set(ch->a->e, KLUIS_EPRECONDITION,
				      "object %s: %zu of %zu key packets are missing", id, missing,
				      needs->n);
}

int change_take_packets(struct members_change *ch, const struct change_object *o)
{
	_cleanup_(x_freep) struct need *space = NULL;
	struct bytes packets = o->section.packets, encoded;
	struct needs needs = {.n = 0};
	int rc = 0;

	if (o->kind == MEMBER_OBJECT_CONVERSATION || (!o->rotated && o->n_added == 0)) {
		return packets.len == 0 ? 0
					: err_set(ch->a->e, KLUIS_EINVAL,
						  "key packets where there is no new key");
	}
	space = x_calloc(OBJECT_MEMBERS_MAX, sizeof *space);
	needs.need = space;
	if (o->rotated) {
		rc = needs_all(ch, o, &needs);
	}
	rc = rc != 0 ? rc : needs_added(ch, o, &needs);
	while (rc == 0 && members_item_next(&packets, &encoded)) {
		rc = change_take_packet(ch, o, &needs, encoded);
	}
	return rc != 0 ? rc : change_check_complete(ch, o, &needs);
}

static bool change_rotates(const struct members_change *ch, const uint8_t vault_id[16])
{
	for (size_t i = 0; i < ch->n; i++) {
		if (ch->object[i].rotated &&
			memcmp(ch->object[i].section.object_id, vault_id, 16) == 0) {
			return true;
		}
	}
	return false;
}

int change_check_vaults(struct members_change *ch, const struct change_object *group)
{
	_cleanup_(x_freep) struct member_of *vaults = x_calloc(GROUP_VAULTS_MAX, sizeof *vaults);
	char id[HEX_LEN(16) + 1];
	size_t n = 0, missing = 0;
	int rc = member_store_objects(ch->a->view, MEMBER_OBJECT_VAULT, group->section.object_id,
		NULL, vaults, GROUP_VAULTS_MAX, &n, ch->a->e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		missing += !change_rotates(ch, vaults[i].object_id);
	}
	hex_encode(bytes_of(group->section.object_id, 16), id);
	return rc == 0 && missing > 0
		       ? err_set(ch->a->e, KLUIS_EPRECONDITION,
				 "group %s: %zu of its %zu vaults are not rotated", id, missing, n)
		       : rc;
}

/* --- by themselves --- */

/* Whom it goes to. */
struct send_to {
	unsigned to;   /* enum packet_to */
	bool accepted; /* That such packets come. */
};

/* Who of the object's own is to have it. */
static int send_to_member(
	struct apply *a, const struct keypacket *packet, uint32_t epoch, struct send_to *ret_to)
{
	struct member_row member;
	int rc = member_store_get(a->view, packet->object_id, packet->rcpt_id, &member, a->e);

	if (rc == KLUIS_ENOTFOUND || (rc == 0 && member.state == MEMBER_DECLINED)) {
		return err_set(a->e, KLUIS_ENOTFOUND, "the recipient is no member");
	}
	if (rc == 0 && (packet->epoch == 0 || packet->epoch > epoch)) {
		rc = err_set(a->e, KLUIS_EINVAL, "a key packet of another epoch");
	}
	if (rc == 0 && member.kind == MEMBER_GROUP) {
		rc = packet_check_kid(a, packet);
	}
	if (rc == 0) {
		ret_to->to = member.kind == MEMBER_GROUP ? PACKET_TO_GROUP : PACKET_TO_USER;
		ret_to->accepted = member.state == MEMBER_ACCEPTED;
	}
	return rc;
}

static int send_vault_key(struct apply *a, const struct session_row *session,
	const struct keypacket *packet, struct send_to *ret_to)
{
	struct vault_row vault;
	unsigned role;
	int rc = vault_store_check(
		a->view, packet->object_id, session->user_id, MEMBER_ADMIN, &vault, &role, a->e);

	return rc == 0 ? send_to_member(a, packet, vault.key_epoch, ret_to) : rc;
}

static int send_group_key(struct apply *a, const struct session_row *session,
	const struct keypacket *packet, struct send_to *ret_to)
{
	struct object_row group;
	struct member_row me;
	int rc = object_store_check(a->view, MEMBER_OBJECT_GROUP, packet->object_id,
		session->user_id, MEMBER_ADMIN, false, &group, &me, a->e);

	return rc == 0 ? send_to_member(a, packet, group.epoch, ret_to) : rc;
}

static int send_page_key(struct apply *a, const struct session_row *session,
	const struct keypacket *packet, struct send_to *ret_to)
{
	struct vault_row vault;
	struct user_row user;
	unsigned role;
	int rc = vault_store_check(
		a->view, packet->object_id, session->user_id, MEMBER_ADMIN, &vault, &role, a->e);

	rc = rc != 0 ? rc : user_store_get(a->view, packet->rcpt_id, &user, a->e);
	ret_to->to = PACKET_TO_USER;
	return rc == 0 && user.disabled ? err_set(a->e, KLUIS_ENOTFOUND, "no such user") : rc;
}

static int send_device_key(struct apply *a, const struct session_row *session,
	const struct keypacket *packet, struct send_to *ret_to)
{
	struct device_row device;
	int rc = device_store_get(a->view, session->user_id, packet->rcpt_id, &device, a->e);

	ret_to->to = PACKET_TO_DEVICE;
	return rc == 0 && device.revoked ? err_set(a->e, KLUIS_ENOTFOUND, "no such device") : rc;
}

typedef int send_fn(struct apply *a, const struct session_row *session,
	const struct keypacket *packet, struct send_to *ret_to);
static send_fn *const send_fns[] = {
	[KEYPACKET_VAULT] = send_vault_key,
	[KEYPACKET_PAGE] = send_page_key,
	[KEYPACKET_GROUP] = send_group_key,
	[KEYPACKET_DEVICE] = send_device_key,
};

static int send_packet(struct apply *a, const struct session_row *session, struct bytes encoded)
{
	struct keypacket packet;
	struct packet_row row;
	struct send_to to = {.to = 0};
	int rc = apply_refusal(keypacket_parse(encoded, &packet, a->e));

	if (rc == 0 &&
		(packet.purpose >= ARRAY_SIZE(send_fns) || send_fns[packet.purpose] == NULL)) {
		rc = err_set(a->e, KLUIS_EINVAL, "a key packet that travels another way");
	}
	rc = rc != 0 ? rc : send_fns[packet.purpose](a, session, &packet, &to);
	rc = rc != 0 ? rc : apply_packet_row(a, session, &packet, encoded, to.to, &row);
	if (rc == 0 && to.to == PACKET_TO_DEVICE) {
		packet_device(session->user_id, packet.rcpt_id, row.rcpt);
	}
	if (rc != 0) {
		return rc;
	}
	return to.accepted ? packet_store_put_accepted(a->txn, &row, a->e)
			   : packet_store_put(a->txn, &row, a->e);
}

/* The end of the grant is that of the packet that opens the page. */
static int grant_packet(struct apply *a, const struct command_packet_send *c,
	const struct command_grant *grant, uint64_t *ret_expires_ms)
{
	struct bytes packets = c->packets, encoded;
	struct keypacket packet;
	uint64_t last = a->now_ms + PACKET_KEPT_MS;
	bool found = false;

	while (!found && members_item_next(&packets, &encoded)) {
		found = keypacket_parse(encoded, &packet, NULL) == 0 &&
			packet.purpose == KEYPACKET_PAGE &&
			memcmp(packet.rcpt_id, grant->user_id, 16) == 0 &&
			memcmp(packet.object_id, grant->vault_id, 16) == 0;
	}
	if (!found) {
		return err_set(a->e, KLUIS_EINVAL, "a page is opened without its key");
	}
	*ret_expires_ms = packet.expires_ms < last ? packet.expires_ms : last;
	return 0;
}

static int send_grant(struct apply *a, const struct session_row *session,
	const struct command_packet_send *c, const struct command_grant *grant)
{
	struct page_grant row = {.page_no = grant->page_no, .revision = grant->revision};
	struct page_row page;
	int rc = grant_packet(a, c, grant, &row.expires_ms);

	if (rc == 0) {
		rc = page_store_revision(
			a->view, grant->vault_id, grant->page_no, grant->revision, &page, a->e);
	}
	if (rc != 0) {
		return rc;
	}
	memcpy(row.user_id, grant->user_id, 16);
	memcpy(row.vault_id, grant->vault_id, 16);
	memcpy(row.granter, session->user_id, 16);
	return grant_store_put(a->txn, &row, a->e);
}

int apply_packet_send(struct apply *a, const struct command_packet_send *c)
{
	struct bytes packets = c->packets, grants = c->grants, encoded;
	struct command_grant grant = {.page_no = 0};
	struct session_row session;
	int rc = apply_device_session(a, &c->session, &session);

	rc = rc != 0 ? rc : apply_writable(a);
	while (rc == 0 && members_item_next(&packets, &encoded)) {
		rc = send_packet(a, &session, encoded);
		a->reply.number++;
	}
	/* Each has a packet, whose sender was held to be the vault's admin. */
	while (rc == 0 && command_grant_next(&grants, &grant)) {
		rc = send_grant(a, &session, c, &grant);
	}
	return rc == 0 && c->grants.len > 0 ? apply_access(a, &session, ACCESS_PAGES_SHARED,
						      bytes_of(grant.vault_id, 16))
					    : rc;
}

/* What the session's user sent for it. */
static int unshare_packet(struct apply *a, const struct session_row *session,
	const struct command_pages_unshare *c, const struct command_unshared *page)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct packet_row row;
	int rc = packet_store_get(a->view, c->user_id, page->packet_id, &value, &row, a->e);

	if (rc == KLUIS_ENOTFOUND) {
		return 0;
	}
	if (rc != 0 || row.purpose != KEYPACKET_PAGE ||
		memcmp(row.sender, session->user_id, 16) != 0 ||
		memcmp(row.object_id, c->vault_id, 16) != 0) {
		return rc;
	}
	a->reply.number++;
	return packet_store_delete(a->txn, &row, a->e);
}

static int unshare_grant(struct apply *a, const struct session_row *session,
	const struct command_pages_unshare *c, const struct command_unshared *page, bool admin)
{
	struct page_grant row;
	int rc = grant_store_get(
		a->view, c->user_id, c->vault_id, page->page_no, page->revision, &row, a->e);

	if (rc == KLUIS_ENOTFOUND) {
		return 0;
	}
	if (rc != 0 || (!admin && memcmp(row.granter, session->user_id, 16) != 0)) {
		return rc;
	}
	a->reply.number++;
	return grant_store_delete(a->txn, &row, a->e);
}

/* Also who is no admin any more ends what she gave; also of a vault that is gone. */
static int unshare_admin(struct apply *a, const struct session_row *session,
	const uint8_t vault_id[16], bool *ret_admin)
{
	struct vault_row vault;
	unsigned role;
	int rc = vault_store_check(
		a->view, vault_id, session->user_id, MEMBER_ADMIN, &vault, &role, a->e);

	*ret_admin = rc == 0;
	return rc == KLUIS_ENOTFOUND || rc == KLUIS_EFORBIDDEN || rc == KLUIS_EGONE ? 0 : rc;
}

int apply_pages_unshare(struct apply *a, const struct command_pages_unshare *c)
{
	struct bytes pages = c->pages;
	struct command_unshared page;
	struct session_row session;
	bool admin = false;
	int rc = apply_session(a, &c->session, &session);

	rc = rc != 0 ? rc : unshare_admin(a, &session, c->vault_id, &admin);
	while (rc == 0 && command_unshared_next(&pages, &page)) {
		rc = unshare_grant(a, &session, c, &page, admin);
		rc = rc != 0 ? rc : unshare_packet(a, &session, c, &page);
	}
	return rc == 0 && a->reply.number > 0
		       ? apply_access(a, &session, ACCESS_PAGES_UNSHARED, bytes_of(c->vault_id, 16))
		       : rc;
}

int apply_packet_ack(struct apply *a, const struct command_packet_ack *c)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct session_row session;
	struct packet_row row;
	uint8_t device[16];
	int rc = apply_session(a, &c->session, &session);

	if (rc != 0) {
		return rc;
	}
	rc = packet_store_get(a->view, session.user_id, c->packet_id, &value, &row, a->e);
	if (rc == KLUIS_ENOTFOUND && session_has_device(&session)) {
		packet_device(session.user_id, session.device_id, device);
		rc = packet_store_get(a->view, device, c->packet_id, &value, &row, a->e);
	}
	return rc == 0 ? packet_store_delete(a->txn, &row, a->e) : rc;
}
