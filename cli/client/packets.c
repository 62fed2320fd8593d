#include "cli/client/packets.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "cli/client/account.h"
#include "cli/client/json_reader.h"

enum { PACKETS_BATCH_BYTES_MAX = 128 * 1024 };
static const uint64_t packets_year_ms = 365ull * 24 * 3600 * 1000;

static unsigned packet_object_kind(unsigned purpose)
{
	switch (purpose) {
	case KEYPACKET_GROUP:
		return MEMBER_OBJECT_GROUP;
	case KEYPACKET_CHAT:
		return MEMBER_OBJECT_CONVERSATION;
	default:
		return MEMBER_OBJECT_VAULT;
	}
}

static bool was_member(const struct membership *object, const uint8_t id[ID_BYTES])
{
	bool was = false;

	for (uint64_t rev = 1; !was && rev <= object->members.seq; rev++) {
		was = memcmp(object->steps[rev - 1].member_id, id, ID_BYTES) == 0 &&
		      object->steps[rev - 1].role != 0;
	}
	return was;
}

/* Whether the sender might give that, and the recipient may have it, by the object's chain. */
static int check_entitled(const struct keypacket *packet, const struct membership *object,
	const struct membership *group, const uint8_t user_id[ID_BYTES], const char *sender,
	struct err *e)
{
	const struct members *members = &object->members;
	bool to_group =
		group != NULL && memcmp(packet->rcpt_id, group->members.object_id, ID_BYTES) == 0;
	const char *what = membership_kind_name(members->kind);
	/* Of a conversation: as of the members that the secret names, says who opens it. */
	bool may = packet->purpose == KEYPACKET_CHAT
			   ? was_member(object, packet->sender_user)
			   : membership_may_give(object, packet->sender_user, packet->epoch);

	if (memcmp(packet->object_id, members->object_id, ID_BYTES) != 0 ||
		members->kind != packet_object_kind(packet->purpose)) {
		return err_set(e, KLUIS_EVERIFY, "a KeyPacket about something else");
	}
	if (!may) {
		return err_set(e, KLUIS_EVERIFY,
			"'%s' sends a key of a %s without being one of its %s: it is not taken",
			sender, what, packet->purpose == KEYPACKET_CHAT ? "members" : "admins");
	}
	if (packet->purpose == KEYPACKET_PAGE) {
		return 0; /* To whomever its admin likes; a page may stand under a later key. */
	}
	if (packet->purpose != KEYPACKET_CHAT && packet->epoch > members->epoch) {
		return err_set(e, KLUIS_EVERIFY,
			"'%s' sends a key of epoch %" PRIu32
			" of a %s whose members are at epoch %" PRIu32,
			sender, packet->epoch, what, members->epoch);
	}
	return membership_role(object, to_group ? packet->rcpt_id : user_id, members->seq) != 0 &&
			       (!to_group ||
				       membership_role(group, user_id, group->members.seq) != 0)
		       ? 0
		       : err_set(e, KLUIS_EVERIFY,
				 "'%s' sends a key of a %s to somebody who is no member of it",
				 sender, what);
}

int packets_check(const struct keypacket *packet, const struct membership *object,
	const struct membership *group, const uint8_t user_id[ID_BYTES],
	struct people_source *people, uint64_t now_ms, struct err *e)
{
	const struct identity *sender;
	bool current;
	int rc = people->get(people, packet->sender_user, true, &sender, e);

	rc = rc != 0 ? rc : keypacket_verify(packet, sender->signing, e);
	rc = rc != 0 ? rc : keypacket_fresh(packet, now_ms, NULL, 0, &current, e);
	if (rc != 0) {
		return rc;
	}
	if (packet->purpose == KEYPACKET_DEVICE) {
		return memcmp(packet->sender_user, user_id, ID_BYTES) == 0
			       ? 0
			       : err_set(e, KLUIS_EVERIFY, "the keyring's key by somebody else");
	}
	assert(object != NULL);
	return check_entitled(packet, object, group, user_id, sender->name, e);
}

int packets_open(
	struct people *people, struct bytes packet, struct secret *ret_secret, struct err *e)
{
	const struct profile *profile = people_profile(people);
	struct keypacket parsed;
	bool to_device;
	int rc = keypacket_parse(packet, &parsed, e);

	if (rc != 0) {
		return rc;
	}
	to_device = memcmp(parsed.rcpt_id, profile->device_id, ID_BYTES) == 0;
	if (to_device && profile->device_hpke != NULL) {
		return keypacket_open(
			&parsed, profile->device_id, profile->device_hpke, ret_secret, e);
	}
	if (!to_device && profile->transfer != NULL) {
		return keypacket_open(&parsed, profile->user_id, profile->transfer, ret_secret, e);
	}
	return profile->person == NULL || profile->person->ring == NULL
		       ? err_set(e, KLUIS_EUNAUTHENTICATED, "the profile of '%s' is locked",
				 profile->account)
		       : profile->person->ring->open(
				 profile->person->ring, to_device, packet, ret_secret, e);
}

int packets_ack(struct client *client, const uint8_t packet_id[ID_BYTES], struct err *e)
{
	char target[API_TARGET_MAX];
	struct err why = {0};
	int rc;

	api_target(target, "packets", packet_id, "/ack");
	rc = api_json(client, "POST", target, NULL, CLIENT_AUTH, NULL, &why);
	return rc == 0 || rc == KLUIS_ENOTFOUND || rc == KLUIS_EGONE
		       ? 0
		       : err_set(e, rc, "%s", why.text);
}

int packets_seal(const struct profile *profile, const struct packets_gift *gift,
	struct buf *ret_packet, struct err *e)
{
	struct keypacket fields = {.aead = AEAD_AES_256_GCM,
		.purpose = (uint8_t)gift->purpose,
		.role = (uint16_t)gift->role,
		.epoch = gift->epoch,
		.unix_ms = clock_wall_ms(&clock_system)};

	if (profile->signing == NULL) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "the profile of '%s' is locked",
			profile->account);
	}
	fields.expires_ms =
		gift->expires_ms != 0 ? gift->expires_ms : fields.unix_ms + packets_year_ms;
	random_fill(&random_system, fields.packet_id, ID_BYTES);
	memcpy(fields.sender_user, profile->user_id, ID_BYTES);
	memcpy(fields.rcpt_id, gift->rcpt_id, ID_BYTES);
	memcpy(fields.object_id, gift->object_id, ID_BYTES);
	return keypacket_seal(
		&fields, gift->rcpt, gift->secret, profile->signing, &random_system, ret_packet, e);
}

/* One that was fetched. */
struct incoming {
	struct buf bytes;
	struct keypacket packet; /* Points into them. */
	bool held, done;
};
struct taking {
	struct people *people;
	struct incoming *packets;
	size_t n;
	struct membership **chains; /* Loaded on the way. */
	size_t n_chains;
	struct packets_taken *taken;
};

static void taking_release(struct taking *t)
{
	for (size_t i = 0; i < t->n; i++) {
		buf_release(&t->packets[i].bytes);
	}
	for (size_t i = 0; i < t->n_chains; i++) {
		membership_free(t->chains[i]);
	}
	free(t->packets);
	free(t->chains);
}

/* One that does not hold is somebody's lie, and keeps no other from being taken. */
static int taking_refuse(struct taking *t, int rc, const struct err *why, struct err *e)
{
	bool verdict = rc == KLUIS_EVERIFY || rc == KLUIS_EINVAL || rc == KLUIS_ESUITE ||
		       rc == KLUIS_EVERSION || rc == KLUIS_ENOTFOUND || rc == KLUIS_EFORBIDDEN ||
		       rc == KLUIS_ECONFLICT || rc == KLUIS_EGONE;

	if (!verdict) {
		return err_set(e, rc, "%s", why->text);
	}
	if (t->taken->refused++ == 0) {
		t->taken->why = *why;
	}
	return 0;
}

static int taking_fetch(struct taking *t, const uint8_t *object_id, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	char target[64] = "/v1/packets", id[HEX_LEN(ID_BYTES) + 1];
	size_t count;
	int rc;

	if (object_id != NULL) {
		hex_encode(bytes_of(object_id, ID_BYTES), id);
		(void)snprintf(target, sizeof target, "/v1/packets?object=%s", id);
	}
	rc = api_list(people_client(t->people), target, CLIENT_AUTH | CLIENT_READ,
		PACKETS_FETCHED_MAX, &items, e);
	if (rc != 0) {
		return rc;
	}
	count = json_array_size(items);
	t->packets = x_calloc(count + 1, sizeof *t->packets);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct json_reader r = json_reader_of(json_array_get(items, i));
		struct incoming *in = &t->packets[t->n++];
		struct err why = {0};

		json_reader_base64(&r, "packet", KEYPACKET_BYTES_MAX, &in->bytes);
		rc = json_reader_end(&r, "KeyPackets", e);
		if (rc == 0 && keypacket_parse(buf_bytes(&in->bytes), &in->packet, &why) != 0) {
			rc = taking_refuse(t, why.code, &why, e);
			in->done = true;
		}
	}
	return rc;
}

static int taking_chain(struct taking *t, unsigned kind, const uint8_t id[ID_BYTES],
	struct membership **ret_chain, struct err *e)
{
	struct membership *m;
	int rc;

	for (size_t i = 0; i < t->n_chains; i++) {
		if (memcmp(t->chains[i]->members.object_id, id, ID_BYTES) == 0) {
			*ret_chain = t->chains[i];
			return 0;
		}
	}
	rc = membership_load(t->people, kind, id, &m, e);
	if (rc == 0) {
		t->chains = x_realloc(t->chains, (t->n_chains + 1) * sizeof(struct membership *));
		t->chains[t->n_chains++] = *ret_chain = m;
	}
	return rc;
}

/* A group and its vaults get new keys in one step: the newest key of a vault is never given to a
 * group's key of before. Looked at again first: both may just have been renewed. */
static int check_group_key(struct taking *t, const struct keypacket *packet,
	struct membership *object, const struct membership *group, struct err *e)
{
	char id[HEX_LEN(ID_BYTES) + 1];
	bool stale = memcmp(packet->rcpt_kid, group->members.group_kid, KID_BYTES) != 0;
	int rc = stale && packet->epoch == object->members.epoch
			 ? membership_refresh(object, t->people, e)
			 : 0;

	if (rc != 0 || !stale || packet->epoch != object->members.epoch) {
		return rc;
	}
	hex_encode(bytes_of(group->members.object_id, ID_BYTES), id);
	return err_set(e, KLUIS_EVERIFY,
		"it is sealed to an old key of group %s, which who was removed from it may have: "
		"the cluster showed the sender a stale group. Have the vault re-keyed",
		id);
}

static int taking_check(
	struct taking *t, const struct incoming *in, struct membership **ret_object, struct err *e)
{
	const uint8_t *me = people_profile(t->people)->user_id;
	const struct keypacket *packet = &in->packet;
	struct membership *object, *group = NULL;
	int rc =
		taking_chain(t, packet_object_kind(packet->purpose), packet->object_id, &object, e);

	if (rc == 0 && memcmp(packet->rcpt_id, me, ID_BYTES) != 0 &&
		packet->purpose == KEYPACKET_VAULT) {
		rc = taking_chain(t, MEMBER_OBJECT_GROUP, packet->rcpt_id, &group, e);
	}
	rc = rc != 0 ? rc
		     : packets_check(packet, object, group, me, people_source(t->people),
			       clock_wall_ms(&clock_system), e);
	rc = rc != 0 || group == NULL ? rc : check_group_key(t, packet, object, group, e);
	if (rc == 0) {
		*ret_object = object;
	}
	return rc;
}

static bool place_held(const struct ring_place *places, size_t n, const struct keypacket *packet)
{
	for (size_t i = 0; i < n; i++) {
		if (places[i].epoch == packet->epoch &&
			memcmp(places[i].object_id, packet->object_id, ID_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

static int taking_mark_held(struct taking *t, unsigned purpose, unsigned type, struct err *e)
{
	struct ring *ring = people_profile(t->people)->person->ring;
	_cleanup_(x_freep) struct ring_place *places = NULL;
	size_t n = 0;
	int rc = ring->list(ring, type, &places, &n, e);

	for (size_t i = 0; rc == 0 && i < t->n; i++) {
		struct incoming *in = &t->packets[i];

		if (!in->done && in->packet.purpose == purpose &&
			place_held(places, n, &in->packet)) {
			in->held = in->done = true;
			t->taken->held++;
		}
	}
	return rc;
}

/* Of one object and epoch only the first is taken: the others say the same, or are refused. */
static bool batch_has(const struct ring_packet *batch, size_t n, const struct keypacket *packet)
{
	for (size_t i = 0; i < n; i++) {
		struct keypacket other;

		if (keypacket_parse(batch[i].packet, &other, NULL) == 0 &&
			other.purpose == packet->purpose && other.epoch == packet->epoch &&
			memcmp(other.object_id, packet->object_id, ID_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

/* The next ones of this purpose that hold. */
static int batch_fill(struct taking *t, unsigned purpose, struct ring_packet *batch,
	struct incoming **of, size_t *ret_n, struct err *e)
{
	size_t n = 0, bytes = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < t->n && n < RING_CHANGES_MAX; i++) {
		struct incoming *in = &t->packets[i];
		struct membership *object;
		struct err why = {0};

		if (in->done || in->packet.purpose != purpose || batch_has(batch, n, &in->packet)) {
			continue;
		}
		rc = taking_check(t, in, &object, &why);
		if (rc != 0) {
			in->done = true;
			rc = taking_refuse(t, rc, &why, e);
			continue;
		}
		if (bytes + in->bytes.len > PACKETS_BATCH_BYTES_MAX) {
			break;
		}
		bytes += in->bytes.len;
		batch[n] = (struct ring_packet){.packet = buf_bytes(&in->bytes)};
		(void)membership_group_kid(object, in->packet.epoch, batch[n].kid);
		of[n++] = in;
	}
	*ret_n = n;
	return rc;
}

static int batch_take(struct taking *t, const struct ring_packet *batch, struct incoming **of,
	size_t n, struct err *e)
{
	struct profile *profile = people_profile(t->people);
	struct err why = {0};
	int rc = account_take_packets(profile, people_client(t->people), batch, n, &why);

	if (rc != 0 && n > 1) { /* One of them: which? */
		rc = 0;
		for (size_t i = 0; rc == 0 && i < n; i++) {
			rc = batch_take(t, &batch[i], &of[i], 1, e);
		}
		return rc;
	}
	for (size_t i = 0; i < n; i++) {
		of[i]->done = true;
		of[i]->held = rc == 0;
	}
	if (rc == 0) {
		t->taken->taken += n;
		return 0;
	}
	return taking_refuse(t, rc, &why, e);
}

static int taking_purpose(struct taking *t, unsigned purpose, unsigned type, struct err *e)
{
	struct ring_packet batch[RING_CHANGES_MAX];
	struct incoming *of[RING_CHANGES_MAX];
	size_t n = 0;
	int rc;

	do {
		rc = taking_mark_held(t, purpose, type, e);
		rc = rc != 0 ? rc : batch_fill(t, purpose, batch, of, &n, e);
		rc = rc != 0 || n == 0 ? rc : batch_take(t, batch, of, n, e);
	} while (rc == 0 && n > 0);
	return rc;
}

/* Those to a group are for all its members, and stay. */
static int taking_ack(struct taking *t, struct err *e)
{
	const uint8_t *me = people_profile(t->people)->user_id;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < t->n; i++) {
		const struct incoming *in = &t->packets[i];

		if (in->held && memcmp(in->packet.rcpt_id, me, ID_BYTES) == 0) {
			rc = packets_ack(people_client(t->people), in->packet.packet_id, e);
		}
	}
	return rc;
}

int packets_take(struct people *people, const uint8_t *object_id, struct packets_taken *ret_taken,
	struct err *e)
{
	struct profile *profile = people_profile(people);
	struct packets_taken taken = {.taken = 0};
	struct taking t = {.people = people, .taken = &taken};
	int rc;

	if (profile->person == NULL || profile->person->ring == NULL) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "the profile of '%s' is locked",
			profile->account);
	}
	rc = taking_fetch(&t, object_id, e);
	/* Groups first: their keys open what was sent to them. */
	rc = rc != 0 ? rc : taking_purpose(&t, KEYPACKET_GROUP, KEYRING_GROUP_KEY, e);
	rc = rc != 0 ? rc : taking_purpose(&t, KEYPACKET_VAULT, KEYRING_VAULT_KEY, e);
	rc = rc != 0 ? rc : taking_ack(&t, e);
	taking_release(&t);
	if (rc == 0) {
		*ret_taken = taken;
	}
	return rc;
}

static int chat_one(struct taking *t, const struct membership *conversation, struct incoming *in,
	packets_chat_fn *take, void *arg, struct err *e)
{
	const struct profile *profile = people_profile(t->people);
	_cleanup_(secret_release) struct secret secret = SECRET_INIT;
	struct err why = {0};
	int rc = packets_check(&in->packet, conversation, NULL, profile->user_id,
		people_source(t->people), clock_wall_ms(&clock_system), &why);

	rc = rc != 0 ? rc : packets_open(t->people, buf_bytes(&in->bytes), &secret, &why);
	rc = rc != 0 ? rc : take(arg, &in->packet, &secret, &why);
	t->taken->taken += rc == 0;
	return rc == 0 ? 0 : taking_refuse(t, rc, &why, e);
}

int packets_fetch_chat(struct people *people, const struct membership *conversation,
	packets_chat_fn *take, void *arg, struct packets_taken *ret_taken, struct err *e)
{
	const struct profile *profile = people_profile(people);
	struct packets_taken taken = {.taken = 0};
	struct taking t = {.people = people, .taken = &taken};
	int rc = taking_fetch(&t, conversation->members.object_id, e);

	for (size_t i = 0; rc == 0 && i < t.n; i++) {
		struct incoming *in = &t.packets[i];

		if (!in->done && in->packet.purpose == KEYPACKET_CHAT &&
			memcmp(in->packet.rcpt_id, profile->device_id, ID_BYTES) == 0) {
			rc = chat_one(&t, conversation, in, take, arg, e);
		}
	}
	taking_release(&t);
	if (rc == 0) {
		*ret_taken = taken;
	}
	return rc;
}

static int page_packet_check(struct people *people, const struct membership *vault,
	const uint8_t sender[ID_BYTES], const struct incoming *in, struct err *e)
{
	const uint8_t *me = people_profile(people)->user_id;
	int rc;

	if (in->packet.purpose != KEYPACKET_PAGE ||
		memcmp(in->packet.sender_user, sender, ID_BYTES) != 0 ||
		memcmp(in->packet.rcpt_id, me, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY,
			"the cluster shows another KeyPacket under the id of a page's");
	}
	rc = packets_check(&in->packet, vault, NULL, me, people_source(people),
		clock_wall_ms(&clock_system), e);
	return rc != KLUIS_EVERIFY
		       ? rc
		       : err_wrap(e, rc, "the key that the cluster brings for it does not hold");
}

int packets_fetch_pages(struct people *people, const struct membership *vault,
	const uint8_t sender[ID_BYTES], uint8_t (*ids)[ID_BYTES], size_t n, struct buf *ret_packets,
	struct err *e)
{
	struct packets_taken taken = {.taken = 0};
	struct taking t = {.people = people, .taken = &taken};
	int rc = taking_fetch(&t, vault->members.object_id, e);

	for (size_t i = 0; rc == 0 && i < t.n; i++) {
		struct incoming *in = &t.packets[i];

		for (size_t k = 0; rc == 0 && !in->done && k < n; k++) {
			if (memcmp(in->packet.packet_id, ids[k], ID_BYTES) == 0) {
				rc = page_packet_check(people, vault, sender, in, e);
				buf_clear(&ret_packets[k]);
				buf_append_bytes(&ret_packets[k], buf_bytes(&in->bytes));
				in->done = true;
			}
		}
	}
	taking_release(&t);
	return rc;
}
