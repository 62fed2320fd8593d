/* Message encryption of web push (RFC 8291) in the aes128gcm content coding (RFC 8188): what a push
 * service gets, and only the subscribed browser opens. One record a message. */
#ifndef KLUIS_CRYPTO_WEBPUSH_H
#define KLUIS_CRYPTO_WEBPUSH_H

#include "crypto/key.h"

enum {
	WEBPUSH_AUTH_BYTES = 16,   /* The subscription's authentication secret. */
	WEBPUSH_PUBLIC_BYTES = 65, /* Its key, p256dh. */
	WEBPUSH_SALT_BYTES = 16,
	WEBPUSH_BODY_BYTES_MAX = 4096, /* That every push service takes (RFC 8030, 7.2). */
	WEBPUSH_HEADER_BYTES = WEBPUSH_SALT_BYTES + 4 + 1 + WEBPUSH_PUBLIC_BYTES,
	/* Behind the header: padding delimiter and tag. */
	WEBPUSH_PLAINTEXT_BYTES_MAX = WEBPUSH_BODY_BYTES_MAX - WEBPUSH_HEADER_BYTES - 1 - 16,
};

/* One record of the content coding: salt | u32 4096 | u8 length of keyid | keyid | ciphertext. ikm
 * is the input keying material; plaintext is followed by a delimiter and zeros up to padded_bytes,
 * which is at least its length. padded_bytes is at most WEBPUSH_PLAINTEXT_BYTES_MAX, keyid at most
 * 255 bytes (asserted). Appends. Any thread. */
void webpush_record(struct bytes ikm, const uint8_t salt[WEBPUSH_SALT_BYTES], struct bytes keyid,
	struct bytes plaintext, size_t padded_bytes, struct buf *ret_body);
/* The body for a subscription: agent is its key (KEY_KEM_P256; asserted), auth its secret. own is
 * the sender's key for this message alone and salt random: webpush_seal() makes both. Appends.
 * KLUIS_EVERIFY when the keys do not agree. */
KLUIS_MUST_CHECK int webpush_seal_as(const struct key *own, const uint8_t salt[WEBPUSH_SALT_BYTES],
	const struct key_pub *agent, const uint8_t auth[WEBPUSH_AUTH_BYTES], struct bytes plaintext,
	size_t padded_bytes, struct buf *ret_body, struct err *e);
KLUIS_MUST_CHECK int webpush_seal(const struct key_pub *agent,
	const uint8_t auth[WEBPUSH_AUTH_BYTES], struct bytes plaintext, size_t padded_bytes,
	struct random *random, struct buf *ret_body, struct err *e);

#endif
