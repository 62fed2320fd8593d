/* A chat message as a node and as a receiver sees it before the signature is known to be wrong, and
 * the stored state of a chain: { u8 which | bytes }. */
#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "crypto/ratchet.h"

static struct key *device;

static void fuzz_message(struct bytes encoded)
{
	static const uint8_t epoch_secret[CHAT_KEY_BYTES] = {1};
	_cleanup_(ratchet_release) struct ratchet chain = {.sends = false};
	_cleanup_(secret_release) struct secret before = SECRET_INIT, after = SECRET_INIT;
	struct ratchet_opened opened;
	struct secret payload = SECRET_INIT;
	struct chat_message m;
	unsigned type;
	int rc;

	if (chat_parse(encoded, &m, NULL) != 0) {
		return;
	}
	assert(m.header.len + m.ciphertext.len + m.tag.len + m.signature.len == encoded.len);
	assert(encoded.len <= CHAT_MESSAGE_BYTES_MAX && m.place.epoch > 0);
	assert(memcmp(m.hash, m.link, HASH_BYTES) != 0);
	rc = chat_verify(&m, key_public(device), NULL);
	assert(rc == KLUIS_EVERIFY);
	rc = chat_open(epoch_secret, &m, &type, &payload, NULL);
	assert(rc == KLUIS_EVERIFY);
	ratchet_init(&chain, false, &m.place, bytes_of(epoch_secret, sizeof epoch_secret), NULL);
	ratchet_encode(&chain, &before);
	rc = ratchet_open(&chain, &m, key_public(device), &opened, NULL);
	assert(rc == KLUIS_EVERIFY);
	ratchet_encode(&chain, &after);
	assert(secret_equal(secret_bytes(&before), secret_bytes(&after)));
}

static void fuzz_state(struct bytes encoded)
{
	_cleanup_(ratchet_release) struct ratchet r = {.sends = false};
	_cleanup_(secret_release) struct secret again = SECRET_INIT;

	if (ratchet_decode(encoded, &r, NULL) == 0) {
		assert(ratchet_skipped(&r) <= RATCHET_SKIPPED_MAX);
		ratchet_encode(&r, &again);
		assert(secret_equal(secret_bytes(&again), encoded));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int rc;

	if (device == NULL) {
		rc = key_generate(KEY_ECDSA_P256, 0, &device, NULL);
		assert(rc == 0);
	}
	if (size == 0) {
		return 0;
	}
	if ((data[0] & 1) != 0) {
		fuzz_state(bytes_of(data + 1, size - 1));
	} else {
		fuzz_message(bytes_of(data + 1, size - 1));
	}
	return 0;
}
