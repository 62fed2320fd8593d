/* Notification payloads (docs/format-crypto.md, "Notification"): what a sending client seals to one
 * device of a recipient, and the node hands to a push service without being able to read it. */
#ifndef KLUIS_CRYPTO_NOTIFY_H
#define KLUIS_CRYPTO_NOTIFY_H

#include "crypto/hpke.h"

enum {
	NOTIFY_BYTES_MAX = 2867, /* 4,096 of a push service, in base64. */
	NOTIFY_HEADER_BYTES = 16,
	NOTIFY_CONTENT_BYTES_MAX = NOTIFY_BYTES_MAX - NOTIFY_HEADER_BYTES - 2 - HPKE_ENC_BYTES_MAX -
				   2 - AEAD_TAG_BYTES,
};

struct notify {
	uint64_t unix_ms;
	struct bytes enc, ciphertext; /* They point into the bytes parsed. */
};

/* The keyless view, for nodes: exact length, at most NOTIFY_BYTES_MAX. KLUIS_EVERSION,
 * KLUIS_ETOOLARGE, else KLUIS_EINVAL; *ret_notify is untouched on failure. No allocation, any
 * thread. */
KLUIS_MUST_CHECK int notify_parse(struct bytes encoded, struct notify *ret_notify, struct err *e);
/* Appends the payload for this device, whose HPKE key (EC; its length tells the kem) is in its
 * owner's identity chain. KLUIS_ETOOLARGE, KLUIS_ESUITE; on failure ret_encoded is as long as
 * before. */
KLUIS_MUST_CHECK int notify_seal(const uint8_t device_id[ID_BYTES], const struct key_pub *device,
	uint64_t unix_ms, struct bytes content, struct random *random, struct buf *ret_encoded,
	struct err *e);
/* Opens a parsed payload with the device's own key: KLUIS_EVERIFY. */
KLUIS_MUST_CHECK int notify_open(const struct notify *notify, const uint8_t device_id[ID_BYTES],
	const struct key *device, struct secret *ret_content, struct err *e);

#endif
