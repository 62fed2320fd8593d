#include "node/share_in.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "crypto/member.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "storage/object_store.h"

/* Sections. */

static void sections_release(struct share_in *share)
{
	for (size_t i = 0; i < share->n; i++) {
		buf_release(&share->sections[i].statements);
		buf_release(&share->sections[i].packets);
		buf_release(&share->sections[i].label);
		buf_release(&share->sections[i].group_key);
	}
	free(share->sections);
}

void share_in_release(void *share)
{
	sections_release(share);
}

struct share_in *share_in_new(struct api_call *call)
{
	struct share_in *share = call_extra(call, sizeof *share);

	share->n = 1;
	share->sections = x_calloc(1, sizeof *share->sections);
	call->extra_release = share_in_release;
	return share;
}

void share_in_section(struct json_in *reader, struct share_section *section)
{
	if (json_in_has(reader, "statements")) {
		section->n_statements = json_in_binaries(reader, "statements",
			MEMBERS_STATEMENTS_MAX, MEMBERS_STATEMENT_BYTES_MAX, &section->statements);
	}
	if (json_in_has(reader, "packets")) {
		section->n_packets = json_in_binaries(reader, "packets", SHARE_PACKETS_MAX,
			KEYPACKET_BYTES_MAX, &section->packets);
	}
	if (json_in_has(reader, "label")) {
		json_in_binary(reader, "label", OBJECT_LABEL_BYTES_MAX, &section->label);
	}
	if (json_in_has(reader, "group_key")) {
		json_in_binary(reader, "group_key", GROUP_KEY_BYTES_MAX, &section->group_key);
	}
}

void share_in_also(struct api_call *call, struct json_in *reader)
{
	struct share_in *share = call->extra;
	size_t n = json_in_has(reader, "also")
			   ? json_in_objects(reader, "also", MEMBERS_SECTIONS_MAX - 1)
			   : 0;

	share->sections = x_realloc(share->sections, (1 + n) * sizeof *share->sections);
	for (size_t i = 0; i < n; i++) {
		struct share_section *section = &share->sections[share->n++];
		struct json_in inner;

		*section = (struct share_section){.n_statements = 0};
		json_in_enter_nth(reader, "also", i, &inner);
		json_in_hex(&inner, "object", section->object_id, sizeof section->object_id);
		share_in_section(&inner, section);
		json_in_leave(reader, &inner);
	}
}

static int sections_too_large(struct api_call *call, const char *what, size_t max)
{
	call->problem_limit = max;
	return call_fail(call, KLUIS_ETOOLARGE, "more than %zu %s in one request", max, what);
}

/* What comes twice would be of two states of one chain. */
static bool sections_differ(const struct share_in *share)
{
	for (size_t i = 0; i < share->n; i++) {
		for (size_t j = i + 1; j < share->n; j++) {
			if (memcmp(share->sections[i].object_id, share->sections[j].object_id,
				    16) == 0) {
				return false;
			}
		}
	}
	return true;
}

int share_in_check(struct api_call *call)
{
	const struct share_in *share = call->extra;
	size_t statements = 0, packets = 0;

	for (size_t i = 0; i < share->n; i++) {
		if (share->sections[i].n_statements == 0) {
			return call_fail(call, KLUIS_EINVAL, "an object without a statement");
		}
		statements += share->sections[i].n_statements;
		packets += share->sections[i].n_packets;
	}
	if (statements > MEMBERS_STATEMENTS_MAX) {
		return sections_too_large(call, "statements", MEMBERS_STATEMENTS_MAX);
	}
	if (packets > SHARE_PACKETS_MAX) {
		return sections_too_large(call, "packets", SHARE_PACKETS_MAX);
	}
	for (size_t i = 0; i < share->n; i++) {
		size_t key = share->sections[i].group_key.len;

		if (key != 0 && key_kem_of_length(key) == 0) {
			return call_fail(call, KLUIS_EINVAL, "'group_key' is of no known kind");
		}
	}
	return sections_differ(share) ? 0 : call_fail(call, KLUIS_EINVAL, "an object comes twice");
}

/* Statements. */

/* "statement 3 of 5f2a...": what a refusal is about. */
static int statement_refused(struct api_call *call, int rc, const struct share_section *section,
	size_t i, const char *what)
{
	char object[HEX_LEN(16) + 1];

	hex_encode(bytes_of(section->object_id, 16), object);
	return call_fail(call, rc, "statement %zu of %s %s", i + 1, object, what);
}

static int statement_check(struct api_call *call, const struct share_section *section, size_t i,
	struct bytes encoded, const struct key_pub *key)
{
	struct statement s;
	int rc = statement_parse(CHAIN_MEMBERS, encoded, &s, &call->e);

	if (rc != 0) {
		return call_refusal(call, rc, "statement");
	}
	if (memcmp(s.object_id, section->object_id, ID_BYTES) != 0) {
		return statement_refused(call, KLUIS_EINVAL, section, i, "is of another object");
	}
	rc = statement_verify(&s, key, &call->e);
	return rc == KLUIS_EVERIFY ? statement_refused(call, KLUIS_EFORBIDDEN, section, i,
					     "is not signed by this session's device")
				   : rc;
}

static int section_check(
	struct api_call *call, const struct share_section *section, const struct key_pub *key)
{
	struct wire w = wire_of(buf_bytes(&section->statements));
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < section->n_statements; i++) {
		struct bytes one = wire_lp16(&w, MEMBERS_STATEMENT_BYTES_MAX);

		assert(wire_ok(&w));
		rc = statement_check(call, section, i, one, key);
	}
	assert(rc != 0 || wire_end(&w));
	return rc;
}

int share_in_statements(struct api_call *call)
{
	const struct share_in *share = call->extra;
	_cleanup_(key_pub_freep) struct key_pub *key = NULL;
	int rc = key_cache_get(call->api->device_keys,
		bytes_of(share->device_key, sizeof share->device_key), &key, &call->e);

	if (rc != 0) {
		return err_set(&call->e, KLUIS_EINTERNAL, "stored device key is malformed");
	}
	for (size_t i = 0; rc == 0 && i < share->n; i++) {
		rc = section_check(call, &share->sections[i], key);
	}
	return rc;
}

void share_in_propose(struct api_call *call)
{
	const struct share_in *share = call->extra;
	struct command command = {.type = COMMAND_MEMBERS_CHANGE};
	_cleanup_(buf_release) struct buf sections = BUF_INIT;

	for (size_t i = 0; i < share->n; i++) {
		const struct share_section *from = &share->sections[i];
		struct members_section section = {.label = buf_bytes(&from->label),
			.group_key = buf_bytes(&from->group_key),
			.n_statements = (uint16_t)from->n_statements,
			.statements = buf_bytes(&from->statements),
			.n_packets = (uint16_t)from->n_packets,
			.packets = buf_bytes(&from->packets)};

		memcpy(section.object_id, from->object_id, 16);
		members_section_append(&sections, &section);
	}
	command.members_change.session = call_session(call);
	command.members_change.once = call_once(call);
	command.members_change.sections = buf_bytes(&sections);
	call_propose(call, &command);
}

/* Packets. */

void packet_list_release(struct packet_list *list)
{
	free(list->packets);
	*list = (struct packet_list){NULL, 0};
}

int packet_list_add(struct api_call *call, struct packet_list *list, struct bytes run, size_t n)
{
	struct wire w = wire_of(run);
	int rc = 0;

	if (n == 0) {
		return 0;
	}
	list->packets = x_realloc(list->packets, (list->n + n) * sizeof *list->packets);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = keypacket_parse(
			wire_lp16(&w, KEYPACKET_BYTES_MAX), &list->packets[list->n], &call->e);
		list->n += rc == 0;
	}
	return rc == 0 ? 0 : call_refusal(call, rc, "packet");
}

static int packet_order(const void *a, const void *b)
{
	const struct keypacket *p = a, *q = b;

	return memcmp(p->rcpt_id, q->rcpt_id, ID_BYTES);
}

static int users_current(struct packet_rcpts *rcpts, struct api_call *call,
	const struct keypacket *packet, bool *ret_current)
{
	struct packet_users *users = CONTAINER_OF(rcpts, struct packet_users, rcpts);
	const struct key_pub *key;
	int rc = 0;

	if (!users->loaded || memcmp(users->identity.user_id, packet->rcpt_id, ID_BYTES) != 0) {
		identity_release(&users->identity);
		identity_init(&users->identity);
		rc = call_identity(call, packet->rcpt_id, &users->identity);
		users->loaded = rc == 0;
	}
	if (rc == 0) {
		key = identity_transfer(&users->identity, packet->kem);
		*ret_current =
			key != NULL && memcmp(key_pub_kid(key), packet->rcpt_kid, KID_BYTES) == 0;
	}
	return rc;
}

void packet_users_init(struct packet_users *users)
{
	*users = (struct packet_users){.rcpts = {users_current}};
	identity_init(&users->identity);
}

void packet_users_release(struct packet_users *users)
{
	identity_release(&users->identity);
}

bool packet_is_to_device(const struct keypacket *packet, const struct device_row *device)
{
	struct bytes key = bytes_of(device->hpke_key, device->hpke_key_bytes);
	unsigned kem = key_kem_of_length(key.len);
	uint8_t kid[KID_BYTES];

	key_kid(kem, key, kid);
	return !device->revoked && packet->kem == kem &&
	       memcmp(packet->rcpt_id, device->device_id, ID_BYTES) == 0 &&
	       memcmp(packet->rcpt_kid, kid, sizeof kid) == 0;
}

/* "packet 5f2a...": what a refusal is about. */
static int packet_refused(
	struct api_call *call, int rc, const struct keypacket *packet, const char *what)
{
	char id[HEX_LEN(16) + 1];

	hex_encode(bytes_of(packet->packet_id, 16), id);
	return call_fail(call, rc, "packet %s %s", id, what);
}

static int packet_check_rcpt(
	struct api_call *call, const struct keypacket *packet, struct packet_rcpts *rcpts)
{
	bool current = false;
	int rc = rcpts->current(rcpts, call, packet, &current);

	if (rc == KLUIS_ENOTFOUND) {
		call->e = (struct err){0};
		return 0;
	}
	return rc != 0 || current ? rc
				  : packet_refused(call, KLUIS_EPRECONDITION, packet,
					    "is sealed to a key that is not its recipient's now");
}

static int packet_check(
	struct api_call *call, const struct keypacket *packet, const struct key_pub *sender)
{
	int rc;

	if (memcmp(packet->sender_user, call->session.user_id, ID_BYTES) != 0) {
		return packet_refused(call, KLUIS_EFORBIDDEN, packet, "is by another user");
	}
	if (packet->expires_ms <= call->now_ms) {
		return packet_refused(call, KLUIS_EINVAL, packet, "has expired");
	}
	rc = keypacket_verify(packet, sender, &call->e);
	return rc == KLUIS_EVERIFY ? packet_refused(call, KLUIS_EFORBIDDEN, packet,
					     "is not signed by its sender's current key")
				   : rc;
}

int packet_list_verify(struct api_call *call, struct packet_list *list, struct packet_rcpts *rcpts)
{
	struct identity sender;
	int rc;

	if (list->n == 0) {
		return 0;
	}
	qsort(list->packets, list->n, sizeof *list->packets, packet_order);
	identity_init(&sender);
	rc = call_identity(call, call->session.user_id, &sender);
	for (size_t i = 0; rc == 0 && i < list->n; i++) {
		rc = packet_check(call, &list->packets[i], sender.signing);
		rc = rc != 0 ? rc : packet_check_rcpt(call, &list->packets[i], rcpts);
	}
	identity_release(&sender);
	return rc;
}
