/* Chat messages (docs/format-crypto.md, "Chat"): the keys of one epoch of a conversation, the
 * padding, the message with its device's signature. Who keeps chain keys: crypto/ratchet.h. */
#ifndef KLUIS_CRYPTO_CHAT_H
#define KLUIS_CRYPTO_CHAT_H

#include "crypto/seal.h"
#include "crypto/sign.h"

enum {
	CHAT_HEADER_BYTES = 132,
	CHAT_TAG_BYTES = HMAC_BYTES,
	CHAT_PLAINTEXT_BYTES_MIN = 64, /* Else a multiple of 256. */
	CHAT_PLAINTEXT_BYTES_MAX = 65536,
	CHAT_PAYLOAD_BYTES_MAX = CHAT_PLAINTEXT_BYTES_MAX - 6,
	CHAT_KEY_BYTES = 32, /* Epoch secret, chain key, message key. */
	CHAT_EPOCH_KEY_BYTES = CHAT_KEY_BYTES + 4 + HASH_BYTES,
	CHAT_TEXT = 1, /* Types of a payload: UTF-8 text. */
	CHAT_CALL = 2,
	CHAT_APPLICATION = 16, /* From here on an application's own. */
};

/* The chain of one device in one epoch of one conversation. */
struct chat_place {
	uint8_t conv_id[ID_BYTES];
	uint32_t epoch; /* From 1. */
	uint8_t user_id[ID_BYTES], device_id[ID_BYTES];
};
bool chat_place_equal(const struct chat_place *a, const struct chat_place *b);

/* A message as one without keys sees it. */
struct chat_message {
	struct chat_place place;
	uint8_t sym;
	uint32_t index;		      /* In its chain, from 0. */
	uint8_t prev_own[HASH_BYTES]; /* link of that device's message before; zero: none. */
	uint8_t seen[HASH_BYTES];     /* link of the last message it had seen; zero: none. */
	/* They point into the bytes parsed: */
	struct bytes header, ciphertext, tag, signature;
	uint8_t hash[HASH_BYTES];    /* SHA-256 of all bytes. */
	uint8_t link[HASH_BYTES];    /* ... without the signature, which can be another one. */
	uint8_t message[HASH_BYTES]; /* What is signed. */
};

/* The keyless view, for nodes and before anything is opened: exact length, every field in range.
 * KLUIS_EVERSION, KLUIS_ESUITE, else KLUIS_EINVAL; *ret_message is untouched on failure. No
 * allocation, any thread. The signature is NOT checked. */
KLUIS_MUST_CHECK int chat_parse(
	struct bytes encoded, struct chat_message *ret_message, struct err *e);
/* The signature of a parsed message by this device key: KLUIS_EVERIFY. That the key is that of
 * place.device_id, of place.user_id, is the caller's to know. Any thread. */
KLUIS_MUST_CHECK int chat_verify(
	const struct chat_message *message, const struct key_pub *device, struct err *e);

/* What a KeyPacket of purpose KEYPACKET_CHAT carries: secret32 | u32 epoch | members_hash32. */
struct chat_epoch_key {
	struct secret secret; /* CHAT_KEY_BYTES. Goes once every chain key is derived. */
	uint32_t epoch;
	uint8_t members_hash[HASH_BYTES];
};
void chat_epoch_key_encode(const struct chat_epoch_key *key, struct secret *ret_plaintext);
/* KLUIS_EVERIFY for another length, and for an epoch other than the packet's; *ret_key is written
 * over, not released. */
KLUIS_MUST_CHECK int chat_epoch_key_decode(struct bytes plaintext, uint32_t packet_epoch,
	struct chat_epoch_key *ret_key, struct err *e);
void chat_epoch_key_release(struct chat_epoch_key *key); /* For _cleanup_. */

/* CK_0 of a device: HKDF(0, epoch_secret, "kluis/v1/chat-chain" | conv | epoch | device, 32). */
void chat_chain_key(struct bytes epoch_secret, const uint8_t conv_id[ID_BYTES], uint32_t epoch,
	const uint8_t device_id[ID_BYTES], struct secret *ret_chain);
/* One step: the message key of chain (CHAT_KEY_BYTES), which becomes the next chain key; the one
 * before is gone. */
void chat_step(struct secret *chain, uint8_t ret_message_key[CHAT_KEY_BYTES]);

/* The plaintext's length for so many payload bytes: 64, or the next multiple of 256. At most
 * CHAT_PAYLOAD_BYTES_MAX (asserted). */
size_t chat_padded_bytes(size_t payload_bytes);
/* used | type | payload | zeros to `to`, chat_padded_bytes() long. */
void chat_pad(unsigned type, struct bytes payload, uint8_t *to);
/* The payload inside plaintext; KLUIS_EVERIFY for padding that chat_pad() does not make. */
KLUIS_MUST_CHECK int chat_unpad(
	struct bytes plaintext, unsigned *ret_type, struct bytes *ret_payload, struct err *e);

/* What a writer chooses. */
struct chat_spec {
	struct chat_place place;
	uint8_t sym; /* SYM_AES_256 unless the deployment says otherwise. */
	uint32_t index;
	uint8_t prev_own[HASH_BYTES], seen[HASH_BYTES];
	uint16_t type;
	struct bytes payload;
};
/* Appends the message to ret_message, signed by device (KEY_ECDSA_P256; asserted). message_key is
 * used for one message and never again: who keeps the chain takes care (ratchet_seal()).
 * KLUIS_ETOOLARGE, KLUIS_ESUITE, KLUIS_EINVAL (epoch 0), and what sign_make() gives; on failure
 * ret_message is as long as before. */
KLUIS_MUST_CHECK int chat_seal(const uint8_t message_key[CHAT_KEY_BYTES],
	const struct chat_spec *spec, const struct key *device, struct buf *ret_message,
	struct err *e);
/* Opens a parsed message after chat_verify(): KLUIS_EVERIFY when the tag is wrong, which is checked
 * before anything is decrypted, or the padding. */
KLUIS_MUST_CHECK int chat_open(const uint8_t message_key[CHAT_KEY_BYTES],
	const struct chat_message *message, unsigned *ret_type, struct secret *ret_payload,
	struct err *e);

#endif
