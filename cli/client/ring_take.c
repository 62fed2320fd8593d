/* Keys that came by KeyPackets, into a keyring; and what of a group's key others may have. */
#include <assert.h>
#include <string.h>

#include "base/random.h"
#include "base/wire.h"
#include "cli/client/ring.h"

enum { TAKE_VAULT_KEY_BYTES = 32, TAKE_KEM_BYTES = 2 };

/* The value of a group's entry, and the plaintext of a packet of purpose 3. */
static int group_decode(struct bytes value, struct key **ret_key, struct err *e)
{
	struct wire w = wire_of(value);
	unsigned kem = wire_u16(&w);
	struct bytes private = wire_rest(&w);

	if (kem != KEY_KEM_P256 && kem != KEY_KEM_P384 && kem != KEY_KEM_X25519) {
		return err_set(e, KLUIS_EVERIFY, "a group's key of kem %u", kem);
	}
	return key_decode(kem, private, ret_key, e) == 0
		       ? 0
		       : err_set(e, KLUIS_EVERIFY, "a group's key is malformed");
}

int ring_group_key(struct bytes value, const uint8_t group_id[ID_BYTES], struct key_pub **ret_pub,
	struct secret *ret_name_key, struct err *e)
{
	_cleanup_(key_freep) struct key *key = NULL;
	const struct bytes info[] = {
		bytes_str("kluis/v1/group-name"), bytes_of(group_id, ID_BYTES)};
	int rc = group_decode(value, &key, e);

	if (rc != 0) {
		return rc;
	}
	*ret_pub = key_pub_ref((struct key_pub *)key_public(key));
	secret_init(ret_name_key, SEAL_KEY_BYTES);
	hkdf(bytes_of(NULL, 0), bytes_of(value.data + TAKE_KEM_BYTES, value.len - TAKE_KEM_BYTES),
		info, ARRAY_SIZE(info), ret_name_key->data, ret_name_key->len);
	return 0;
}

/* The group's key that a packet is sealed to, of whatever epoch. */
static int take_group_recipient(const struct keyring *keyring, const struct keypacket *packet,
	struct key **ret_key, struct err *e)
{
	for (size_t i = 0; i < keyring->n_entries; i++) {
		const struct keyring_entry *entry = &keyring->entries[i];
		struct key *key = NULL;

		if (entry->type != KEYRING_GROUP_KEY ||
			memcmp(entry->object_id, packet->rcpt_id, ID_BYTES) != 0 ||
			group_decode(secret_bytes(&entry->value), &key, NULL) != 0) {
			continue;
		}
		if (memcmp(key_pub_kid(key_public(key)), packet->rcpt_kid, KID_BYTES) == 0) {
			*ret_key = key;
			return 0;
		}
		key_free(key);
	}
	return err_set(e, KLUIS_EVERIFY, "a KeyPacket to a key that is not held");
}

static int take_open(const struct keyring *keyring, const struct keypacket *packet,
	struct secret *ret_secret, struct err *e)
{
	_cleanup_(key_freep) struct key *group = NULL;
	int rc;

	if (memcmp(packet->rcpt_id, keyring->user_id, ID_BYTES) == 0) {
		return keypacket_open(packet, keyring->user_id,
			keyring_recipient(keyring, packet->rcpt_kid), ret_secret, e);
	}
	rc = take_group_recipient(keyring, packet, &group, e);
	return rc != 0 ? rc : keypacket_open(packet, packet->rcpt_id, group, ret_secret, e);
}

/* That it is a key of its kind; a group's must be the one that the group's chain names. */
static int take_check(const struct keypacket *packet, const struct secret *secret,
	const uint8_t kid[KID_BYTES], struct err *e)
{
	_cleanup_(key_freep) struct key *key = NULL;
	int rc;

	if (packet->purpose == KEYPACKET_VAULT) {
		return secret->len == TAKE_VAULT_KEY_BYTES
			       ? 0
			       : err_set(e, KLUIS_EVERIFY, "no vault's key in a KeyPacket");
	}
	rc = group_decode(secret_bytes(secret), &key, e);
	if (rc == 0 && memcmp(key_pub_kid(key_public(key)), kid, KID_BYTES) != 0) {
		rc = err_set(e, KLUIS_EVERIFY,
			"a KeyPacket gives another key than the one that the group's chain names");
	}
	return rc;
}

static int take_one(struct keyring *keyring, const struct ring_packet *from, struct err *e)
{
	_cleanup_(secret_release) struct secret secret = SECRET_INIT;
	struct keypacket packet;
	int rc = keypacket_parse(from->packet, &packet, e);

	if (rc == 0 && packet.purpose != KEYPACKET_VAULT && packet.purpose != KEYPACKET_GROUP) {
		rc = err_set(e, KLUIS_EINVAL, "a KeyPacket of another purpose");
	}
	rc = rc != 0 ? rc : take_open(keyring, &packet, &secret, e);
	rc = rc != 0 ? rc : take_check(&packet, &secret, from->kid, e);
	return rc != 0 ? rc
		       : keyring_put_entry(keyring,
				 packet.purpose == KEYPACKET_VAULT ? KEYRING_VAULT_KEY
								   : KEYRING_GROUP_KEY,
				 packet.object_id, packet.epoch, secret_bytes(&secret),
				 &random_system, e);
}

int ring_take_object(const uint8_t user_id[ID_BYTES], struct bytes krk, struct bytes object,
	const struct ring_packet *packets, size_t n, uint64_t unix_ms, struct buf *ret_object,
	struct err *e)
{
	_cleanup_(keyring_release) struct keyring keyring = {0};
	int rc = ring_open(object, user_id, krk, &keyring, e);

	assert(n <= RING_CHANGES_MAX);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = take_one(&keyring, &packets[i], e);
	}
	return rc != 0 ? rc : keyring_seal(&keyring, unix_ms, &random_system, ret_object, e);
}

int ring_gift_seal(const struct ring_gift *gift, const uint8_t sender_id[ID_BYTES],
	struct bytes value, const struct key *signing, struct buf *ret_packet, struct err *e)
{
	struct keypacket fields = {.aead = AEAD_AES_256_GCM,
		.purpose = gift->type == KEYRING_GROUP_KEY ? KEYPACKET_GROUP : KEYPACKET_VAULT,
		.role = (uint16_t)gift->role,
		.epoch = gift->place.epoch,
		.unix_ms = gift->unix_ms,
		.expires_ms = gift->expires_ms};

	assert(gift->type == KEYRING_GROUP_KEY || gift->type == KEYRING_VAULT_KEY);
	random_fill(&random_system, fields.packet_id, ID_BYTES);
	memcpy(fields.sender_user, sender_id, ID_BYTES);
	memcpy(fields.rcpt_id, gift->rcpt_id, ID_BYTES);
	memcpy(fields.object_id, gift->place.object_id, ID_BYTES);
	return keypacket_seal(&fields, gift->rcpt, value, signing, &random_system, ret_packet, e);
}
