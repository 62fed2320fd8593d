/* Statements and KeyPackets of one change, as the cluster takes them. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/api.h"
#include "cli/client/json_reader.h"
#include "cli/client/share_impl.h"
#include "crypto/page.h"

/* How long a KeyPacket waits for its recipient. */
static const uint64_t share_year_ms = 365ull * 24 * 3600 * 1000;

struct share_pub {
	uint8_t group_id[ID_BYTES];
	struct key_pub *pub;
};

void share_change_init(struct share_change *change, struct people *people)
{
	*change = (struct share_change){.people = people, .unix_ms = clock_wall_ms(&clock_system)};
}

void share_change_not_before(struct share_change *change, uint64_t unix_ms)
{
	assert(change->n_statements == 0);
	if (unix_ms > change->unix_ms) {
		change->unix_ms = unix_ms;
	}
}

void share_change_release(struct share_change *change)
{
	for (size_t i = 0; i < change->n; i++) {
		membership_free(change->sections[i].membership);
		json_decref(change->sections[i].statements);
		json_decref(change->sections[i].packets);
		key_free(change->sections[i].group_key);
		secret_release(&change->sections[i].fresh);
	}
	for (size_t i = 0; i < change->n_pubs; i++) {
		key_pub_free(change->pubs[i].pub);
	}
	free(change->sections);
	free(change->pubs);
	*change = (struct share_change){.n = 0};
}

struct share_section *share_change_add(struct share_change *change, struct membership *membership)
{
	struct share_section *section;

	change->sections = x_realloc(change->sections, (change->n + 1) * sizeof *change->sections);
	section = &change->sections[change->n++];
	*section = (struct share_section){
		.membership = membership, .statements = json_array(), .packets = json_array()};
	return section;
}

int share_check_admin(const struct membership *membership, const struct profile *profile,
	const char *what, struct err *e)
{
	return membership_role(membership, profile->user_id, membership->members.seq) ==
			       MEMBER_ADMIN
		       ? 0
		       : err_set(e, KLUIS_EFORBIDDEN, "you are no admin of %s '%s'",
				 membership_kind_name(membership->members.kind), what);
}

void share_body_add(struct buf *body, const uint8_t id[ID_BYTES], unsigned kind, unsigned role)
{
	buf_append(body, id, ID_BYTES);
	buf_put_u8(body, kind);
	buf_put_u16(body, role);
}

void share_body_role(struct buf *body, const uint8_t id[ID_BYTES], unsigned role)
{
	buf_append(body, id, ID_BYTES);
	buf_put_u16(body, role);
}

int share_statement(struct share_change *change, struct share_section *section, unsigned type,
	struct bytes body, struct err *e)
{
	struct profile *profile = people_profile(change->people);
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	int rc = person_ready(profile, e);

	rc = rc != 0 ? rc
		     : members_make(&section->membership->members, type, body, profile->device,
			       change->unix_ms, &encoded, e);
	/* What readers would refuse is not sent. */
	rc = rc != 0 ? rc
		     : membership_extend(section->membership, buf_bytes(&encoded),
			       people_source(change->people), false, e);
	if (rc == 0) {
		(void)json_array_append_new(section->statements, json_base64(buf_bytes(&encoded)));
		change->n_statements++;
		change->bytes += BASE64_LEN(encoded.len);
	}
	return rc;
}

void share_packet(struct share_change *change, struct share_section *section, struct bytes packet)
{
	(void)json_array_append_new(section->packets, json_base64(packet));
	change->n_packets++;
	change->bytes += BASE64_LEN(packet.len);
}

static void pub_note(
	struct share_change *change, const uint8_t group_id[ID_BYTES], struct key_pub *pub)
{
	struct share_pub *row;

	change->pubs = x_realloc(change->pubs, (change->n_pubs + 1) * sizeof *change->pubs);
	row = &change->pubs[change->n_pubs++];
	memcpy(row->group_id, group_id, ID_BYTES);
	row->pub = pub;
}

/* As the cluster has it, and the group's chain names it by its kid. */
static int pub_fetch(struct share_change *change, const uint8_t group_id[ID_BYTES],
	struct key_pub **ret_pub, struct err *e)
{
	_cleanup_(membership_freep) struct membership *group = NULL;
	_cleanup_(json_dropp) json_t *object = NULL;
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	struct key_pub *pub = NULL;
	struct err why = {0};
	struct json_reader r;
	char target[API_TARGET_MAX], id[HEX_LEN(ID_BYTES) + 1];
	int rc = membership_load(change->people, MEMBER_OBJECT_GROUP, group_id, &group, e);

	hex_encode(bytes_of(group_id, ID_BYTES), id);
	api_target(target, "groups", group_id, "%s", "");
	rc = rc != 0 ? rc : api_get(people_client(change->people), target, &object, e);
	if (rc != 0) {
		return err_wrap(e, rc, "group %s", id);
	}
	r = json_reader_of(object);
	json_reader_base64(&r, "group_key", KEY_PUB_BYTES_MAX, &encoded);
	rc = json_reader_end(&r, "group", e);
	if (rc == 0 && key_pub_decode(key_kem_of_length(encoded.len), buf_bytes(&encoded), &pub,
			       &why) != 0) {
		rc = err_set(e, KLUIS_EVERIFY,
			"the cluster shows a key of group %s that is none: %s", id, why.text);
	}
	if (rc == 0 && memcmp(key_pub_kid(pub), group->members.group_kid, KID_BYTES) != 0) {
		key_pub_free(pub);
		rc = err_set(e, KLUIS_EVERIFY,
			"the cluster shows another key of group %s than the one that its chain "
			"names: a stale or a foreign one",
			id);
	}
	if (rc == 0) {
		*ret_pub = pub;
	}
	return rc;
}

int share_member_key(struct share_change *change, const uint8_t id[ID_BYTES], unsigned kind,
	const struct key_pub **ret_key, struct err *e)
{
	const struct identity *identity;
	struct key_pub *pub = NULL;
	int rc;

	if (kind == MEMBER_USER) {
		rc = people_get(change->people, id, true, &identity, e);
		return rc != 0 ? rc : people_keeping_key(identity, ret_key, e);
	}
	for (size_t i = 0; i < change->n_pubs; i++) {
		if (memcmp(change->pubs[i].group_id, id, ID_BYTES) == 0) {
			*ret_key = change->pubs[i].pub;
			return 0;
		}
	}
	rc = pub_fetch(change, id, &pub, e);
	if (rc == 0) {
		pub_note(change, id, pub);
		*ret_key = pub;
	}
	return rc;
}

int share_group_key(struct share_change *change, struct share_section *section, struct err *e)
{
	int rc = key_generate(KEY_KEM_P256, 0, &section->group_key, e);

	if (rc == 0) {
		pub_note(change, section->membership->members.object_id,
			key_pub_ref((struct key_pub *)key_public(section->group_key)));
	}
	return rc;
}

static unsigned section_purpose(const struct share_section *section)
{
	return section->membership->members.kind == MEMBER_OBJECT_GROUP ? KEYPACKET_GROUP
									: KEYPACKET_VAULT;
}

static int rotate_give(struct share_change *change, struct share_section *section,
	const struct member *member, struct bytes secret, struct err *e)
{
	const struct members *members = &section->membership->members;
	_cleanup_(buf_release) struct buf packet = BUF_INIT;
	struct packets_gift gift = {.purpose = section_purpose(section),
		.role = member->role,
		.object_id = members->object_id,
		.rcpt_id = member->id,
		.epoch = members->epoch,
		.secret = secret};
	int rc = share_member_key(change, member->id, member->kind, &gift.rcpt, e);

	rc = rc != 0 ? rc : packets_seal(people_profile(change->people), &gift, &packet, e);
	if (rc == 0) {
		share_packet(change, section, buf_bytes(&packet));
	}
	return rc;
}

/* Whom the cluster has in it. An account that was deleted is in the chain still, and takes no key:
 * who is left out by a lie misses the new key, and sees it. */
static int roster_fetch(struct share_change *change, const struct members *members,
	uint8_t (**ret_ids)[ID_BYTES], size_t *ret_n, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	char target[API_TARGET_MAX];
	int rc;

	api_target(target, membership_kind_path(members->kind), members->object_id, "/members");
	rc = api_list(people_client(change->people), target, CLIENT_AUTH | CLIENT_READ, MEMBERS_MAX,
		&items, e);
	ids = x_calloc(json_array_size(items) + 1, sizeof *ids);
	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		struct json_reader r = json_reader_of(json_array_get(items, i));

		json_reader_hex(&r, "id", ids[i], ID_BYTES);
		rc = json_reader_end(&r, "member", e);
	}
	if (rc == 0) {
		*ret_n = json_array_size(items);
		*ret_ids = ids;
		ids = NULL;
	}
	return rc;
}

int share_rotate(struct share_change *change, struct share_section *section, struct bytes secret,
	struct err *e)
{
	static const uint8_t none[KID_BYTES];
	const struct members *members = &section->membership->members;
	_cleanup_(x_freep) uint8_t(*roster)[ID_BYTES] = NULL;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	size_t n = 0;
	int rc;

	assert((section->group_key != NULL) == (members->kind == MEMBER_OBJECT_GROUP));
	buf_put_u32(&body, members->epoch + 1);
	buf_append(&body,
		section->group_key == NULL ? none : key_pub_kid(key_public(section->group_key)),
		KID_BYTES);
	rc = share_statement(change, section, MEMBER_ROTATE, buf_bytes(&body), e);
	rc = rc != 0 ? rc : roster_fetch(change, members, &roster, &n, e);
	secret_set(&section->fresh, secret);
	for (size_t i = 0; rc == 0 && i < members->count; i++) {
		if (vault_id_among(roster, n, members->member[i].id)) {
			rc = rotate_give(change, section, &members->member[i], secret, e);
		}
	}
	return rc;
}

int share_rotate_vault(struct share_change *change, struct share_section *section, struct err *e)
{
	_cleanup_(secret_release) struct secret vk = SECRET_INIT;

	secret_random(&vk, PAGE_KEY_BYTES, &random_system);
	return share_rotate(change, section, secret_bytes(&vk), e);
}

int share_give_all(struct share_change *change, struct share_section *section,
	const uint8_t id[ID_BYTES], unsigned kind, unsigned role, struct err *e)
{
	const struct members *members = &section->membership->members;
	struct profile *profile = people_profile(change->people);
	struct ring *ring = profile->person->ring;
	struct ring_gift gift = {.type = members->kind == MEMBER_OBJECT_GROUP ? KEYRING_GROUP_KEY
									      : KEYRING_VAULT_KEY,
		.role = role,
		.rcpt_id = id,
		.unix_ms = change->unix_ms,
		.expires_ms = change->unix_ms + share_year_ms};
	_cleanup_(x_freep) struct ring_place *places = NULL;
	bool current = false;
	size_t n = 0;
	int rc = share_member_key(change, id, kind, &gift.rcpt, e);

	rc = rc != 0 ? rc : ring->list(ring, gift.type, &places, &n, e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		_cleanup_(buf_release) struct buf packet = BUF_INIT;

		if (memcmp(places[i].object_id, members->object_id, ID_BYTES) != 0 ||
			places[i].epoch > members->epoch) {
			continue;
		}
		gift.place = places[i];
		rc = ring->give(ring, &gift, profile->signing, &packet, e);
		if (rc == 0) {
			current = current || places[i].epoch == members->epoch;
			share_packet(change, section, buf_bytes(&packet));
		}
	}
	if (rc == 0 && section->fresh.len > 0) {
		const struct member *member = members_find(members, id);

		assert(member != NULL);
		current = true;
		rc = rotate_give(change, section, member, secret_bytes(&section->fresh), e);
	}
	if (rc == 0 && !current) {
		rc = err_set(e, KLUIS_EFORBIDDEN,
			"its key of epoch %" PRIu32
			" has not reached you, so you cannot give it on",
			members->epoch);
	}
	return rc;
}

static json_t *section_json(const struct share_section *section, bool primary)
{
	json_t *object = json_pack(
		"{s:O, s:O}", "statements", section->statements, "packets", section->packets);

	if (!primary) {
		(void)json_object_set_new(object, "object",
			json_hex(bytes_of(section->membership->members.object_id, ID_BYTES)));
	}
	if (section->group_key != NULL) {
		(void)json_object_set_new(object, "group_key",
			json_base64(key_pub_bytes(key_public(section->group_key))));
	}
	return object;
}

int share_send(struct share_change *change, struct err *e)
{
	const struct members *first = &change->sections[0].membership->members;
	json_t *body = section_json(&change->sections[0], true), *also = json_array();
	char target[API_TARGET_MAX];
	int rc;

	assert(change->n > 0);
	for (size_t i = 1; i < change->n; i++) {
		(void)json_array_append_new(also, section_json(&change->sections[i], false));
	}
	(void)(json_array_size(also) > 0 ? json_object_set(body, "also", also) : 0);
	json_decref(also);
	api_target(target, membership_kind_path(first->kind), first->object_id, "/members");
	rc = api_create(people_client(change->people), target, body, CLIENT_AUTH, NULL, e);
	for (size_t i = 0; rc == 0 && i < change->n; i++) {
		rc = membership_store(
			change->sections[i].membership, people_profile(change->people), e);
	}
	return rc;
}
