/* KeyPackets (docs/format-crypto.md, "KeyPacket"): one key for one recipient, sealed to the
 * recipient's transfer key and signed by the sender's user key. */
#ifndef KLUIS_CRYPTO_KEYPACKET_H
#define KLUIS_CRYPTO_KEYPACKET_H

#include "crypto/hpke.h"
#include "crypto/sign.h"

enum {
	KEYPACKET_HEADER_BYTES = 136,
	KEYPACKET_HPKE = 1, /* Modes. */
	KEYPACKET_RSA = 3,
	KEYPACKET_VAULT = 1, /* Purposes. */
	KEYPACKET_PAGE = 2,
	KEYPACKET_GROUP = 3,
	KEYPACKET_CHAT = 4,
	KEYPACKET_DEVICE = 5,
	KEYPACKET_CALL = 6,
	KEYPACKET_SECRET_BYTES_MAX = 4096,
	KEYPACKET_BYTES_MAX = 8192,
};

struct keypacket {
	uint8_t mode; /* Set by keypacket_seal() from the recipient's key, as are kem and the kids.
		       */
	uint16_t kem;
	uint16_t aead; /* AEAD_AES_256_GCM by default. */
	uint8_t purpose;
	uint16_t role; /* The role given, 0 where none is. */
	uint8_t packet_id[ID_BYTES];
	uint8_t sender_user[ID_BYTES], sender_kid[KID_BYTES];
	uint8_t rcpt_id[ID_BYTES], rcpt_kid[KID_BYTES]; /* User, group or device. */
	uint8_t object_id[ID_BYTES];
	uint32_t epoch;
	uint64_t unix_ms, expires_ms;
	/* Only in what keypacket_parse() gives; they point into the bytes parsed: */
	struct bytes header, enc, ciphertext, signature;
	uint8_t message[HASH_BYTES]; /* What is signed. */
};

/* The keyless view: every field in range, exact length. KLUIS_EVERSION, KLUIS_ESUITE, KLUIS_EINVAL.
 */
KLUIS_MUST_CHECK int keypacket_parse(
	struct bytes encoded, struct keypacket *ret_packet, struct err *e);
/* The signature by the sender's user key, and that sender_kid names it: KLUIS_EVERIFY. */
KLUIS_MUST_CHECK int keypacket_verify(
	const struct keypacket *packet, const struct key_pub *sender, struct err *e);
/* Opens a parsed packet with the recipient's private key, after keypacket_verify(): KLUIS_EVERIFY
 * when rcpt_id or rcpt_kid is not this one's, or it does not open. What only the receiver knows
 * stays the caller's: that the sender is entitled, the packet unseen, the epoch not held, the time
 * before expires_ms (keypacket_fresh()). */
KLUIS_MUST_CHECK int keypacket_open(const struct keypacket *packet, const uint8_t rcpt_id[ID_BYTES],
	const struct key *rcpt, struct secret *ret_secret, struct err *e);
/* The two steps inside keypacket_open(), for tests and for who caches the key: the shared secret of
 * the packet's kem, and the schedule that opens its ciphertext. */
KLUIS_MUST_CHECK int keypacket_shared(const struct keypacket *packet, const struct key *rcpt,
	struct secret *ret_shared, struct err *e);
void keypacket_keys(
	const struct keypacket *packet, struct bytes shared, struct hpke_keys *ret_keys);
/* expires_ms > now; and for purposes other than 2 and 6, epoch not among held[]: KLUIS_EVERIFY.
 * *ret_current: the epoch lies above all held. */
KLUIS_MUST_CHECK int keypacket_fresh(const struct keypacket *packet, uint64_t now_ms,
	const uint32_t *held, size_t held_count, bool *ret_current, struct err *e);
/* Appends the packet that gives `secret` to rcpt; fields that are not derived come from `fields`.
 */
KLUIS_MUST_CHECK int keypacket_seal(const struct keypacket *fields, const struct key_pub *rcpt,
	struct bytes secret, const struct key *sender, struct random *random,
	struct buf *ret_encoded, struct err *e);

#endif
