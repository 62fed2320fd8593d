/* From one keyring to the next: what a rotation must change, and KRK on its way to a device. */
#include <assert.h>
#include <string.h>

#include "crypto/keyring_impl.h"

/* All salts of an object, SEAL_SALT_BYTES each. */
static void keyring_salts(const struct keyring_view *v, struct buf *to)
{
	struct wire w = wire_of(v->entries);

	buf_append(to, v->core.data, SEAL_SALT_BYTES);
	for (size_t i = 0; i < v->n_slots; i++) {
		struct keyring_slot slot;
		struct bytes bytes = keyring_view_slot(v, i, &slot);

		if (slot.type != KEYRING_SLOT_DEVICE) {
			buf_append(to, bytes.data + KEYRING_SLOT_FIXED_BYTES, SEAL_SALT_BYTES);
		}
	}
	for (uint32_t i = 0; i < v->n_entries; i++) {
		buf_append(to, keyring_entry_next(&w).data + KEYRING_ENTRY_FIXED_BYTES,
			SEAL_SALT_BYTES);
	}
}

static bool salts_meet(const struct keyring_view *a, const struct keyring_view *b)
{
	_cleanup_(buf_release) struct buf one = BUF_INIT, other = BUF_INIT;

	keyring_salts(a, &one);
	keyring_salts(b, &other);
	for (size_t i = 0; i < one.len; i += SEAL_SALT_BYTES) {
		for (size_t j = 0; j < other.len; j += SEAL_SALT_BYTES) {
			if (memcmp(one.data + i, other.data + j, SEAL_SALT_BYTES) == 0) {
				return true;
			}
		}
	}
	return false;
}

static bool half_equal(const struct secret *a, const struct secret *b, size_t at)
{
	return secret_equal(
		bytes_of(a->data + at, SEAL_KEY_BYTES), bytes_of(b->data + at, SEAL_KEY_BYTES));
}

static bool field_equal(const struct keyring *a, const struct keyring *b, unsigned type)
{
	return secret_equal(keyring_field(a, type), keyring_field(b, type));
}

int keyring_rotated(struct bytes old, struct bytes old_krk, struct bytes fresh,
	struct bytes fresh_krk, const uint8_t user_id[ID_BYTES], struct err *e)
{
	_cleanup_(keyring_release) struct keyring was = {0}, is = {0};
	struct keyring_view old_view, fresh_view;
	int rc = keyring_parse(old, &old_view, e);

	rc = rc != 0 ? rc : keyring_parse(fresh, &fresh_view, e);
	rc = rc != 0 ? rc
		     : keyring_follows(&fresh_view, user_id, old_view.revision, old_view.hash, e);
	rc = rc != 0 ? rc : keyring_open(&old_view, user_id, old_krk, &was, e);
	rc = rc != 0 ? rc : keyring_open(&fresh_view, user_id, fresh_krk, &is, e);
	if (rc == KLUIS_EPRECONDITION) {
		return err_set(e, KLUIS_EVERIFY, "keyring: a rotation of another object");
	}
	if (rc != 0) {
		return rc;
	}
	if (half_equal(&was.krk, &is.krk, 0) || half_equal(&was.krk, &is.krk, SEAL_KEY_BYTES) ||
		field_equal(&was, &is, KEYRING_K1) || field_equal(&was, &is, KEYRING_K2) ||
		salts_meet(&old_view, &fresh_view)) {
		return err_set(e, KLUIS_EVERIFY, "keyring: a key or a salt was not made anew");
	}
	return 0;
}

int keyring_device_packet(const struct keyring *keyring, const struct keyring_slot *slot,
	const struct key_pub *device_hpke, uint64_t unix_ms, uint64_t expires_ms,
	struct random *random, struct buf *ret_packet, struct err *e)
{
	struct keypacket fields = {.aead = AEAD_AES_256_GCM,
		.purpose = KEYPACKET_DEVICE,
		.epoch = (uint32_t)(keyring->revision + 1),
		.unix_ms = unix_ms,
		.expires_ms = expires_ms};

	assert(slot->type == KEYRING_SLOT_DEVICE);
	random_fill(random, fields.packet_id, ID_BYTES);
	memcpy(fields.sender_user, keyring->user_id, ID_BYTES);
	memcpy(fields.rcpt_id, slot->ref, ID_BYTES);
	memcpy(fields.object_id, slot->slot_id, ID_BYTES);
	return keypacket_seal(&fields, device_hpke, secret_bytes(&keyring->krk), keyring->signing,
		random, ret_packet, e);
}

int keyring_device_open(struct bytes packet, const struct keyring_view *view,
	const struct keyring_slot *slot, const struct key *device_hpke,
	const struct key_pub *signing, uint64_t now_ms, struct secret *ret_krk, struct err *e)
{
	_cleanup_(secret_release) struct secret krk = SECRET_INIT;
	struct keypacket p;
	bool current;
	int rc = keypacket_parse(packet, &p, e);

	if (rc != 0) {
		return rc;
	}
	if (p.purpose != KEYPACKET_DEVICE || slot->type != KEYRING_SLOT_DEVICE ||
		memcmp(p.sender_user, view->user_id, ID_BYTES) != 0 ||
		memcmp(p.object_id, slot->slot_id, ID_BYTES) != 0 ||
		p.epoch > (uint32_t)view->revision) { /* KRK outlives revisions. */
		return err_set(e, KLUIS_EVERIFY, "key packet: of another keyring or slot");
	}
	rc = keypacket_fresh(&p, now_ms, NULL, 0, &current, e);
	rc = rc != 0 ? rc : keypacket_verify(&p, signing, e);
	rc = rc != 0 ? rc : keypacket_open(&p, slot->ref, device_hpke, &krk, e);
	if (rc == 0 && krk.len != KEYRING_KRK_BYTES) {
		rc = err_set(e, KLUIS_EVERIFY, "key packet: malformed inside");
	}
	if (rc == 0) {
		secret_move(ret_krk, &krk);
	}
	return rc;
}
