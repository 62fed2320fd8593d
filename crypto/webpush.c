#include "crypto/webpush.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/hpke.h"

enum {
	WEBPUSH_DELIMITER = 2, /* Of the last record. */
	WEBPUSH_KEY_BYTES = 16,
	WEBPUSH_SHARED_BYTES = 32,
};
static_assert((int)WEBPUSH_PLAINTEXT_BYTES_MAX == 3993, "as RFC 8291 section 4 has it");

/* "Content-Encoding: aes128gcm" and "... nonce", each with the NUL behind it. */
static void webpush_keys(struct bytes ikm, const uint8_t salt[WEBPUSH_SALT_BYTES],
	uint8_t ret_key[WEBPUSH_KEY_BYTES], uint8_t ret_nonce[AEAD_NONCE_BYTES])
{
	static const char key_info[] = "Content-Encoding: aes128gcm";
	static const char nonce_info[] = "Content-Encoding: nonce";
	const struct bytes key = bytes_of(key_info, sizeof key_info);
	const struct bytes nonce = bytes_of(nonce_info, sizeof nonce_info);
	uint8_t prk[HASH_BYTES];

	hkdf_extract(bytes_of(salt, WEBPUSH_SALT_BYTES), ikm, prk);
	hkdf_expand(prk, &key, 1, ret_key, WEBPUSH_KEY_BYTES);
	hkdf_expand(prk, &nonce, 1, ret_nonce, AEAD_NONCE_BYTES);
	secret_clear(prk, sizeof prk);
}

void webpush_record(struct bytes ikm, const uint8_t salt[WEBPUSH_SALT_BYTES], struct bytes keyid,
	struct bytes plaintext, size_t padded_bytes, struct buf *ret_body)
{
	uint8_t key[WEBPUSH_KEY_BYTES], nonce[AEAD_NONCE_BYTES], *record;
	struct aead *aead;

	assert(plaintext.len <= padded_bytes && padded_bytes <= WEBPUSH_PLAINTEXT_BYTES_MAX);
	assert(keyid.len <= UINT8_MAX);
	webpush_keys(ikm, salt, key, nonce);
	buf_append(ret_body, salt, WEBPUSH_SALT_BYTES);
	buf_put_u32(ret_body, WEBPUSH_BODY_BYTES_MAX);
	buf_put_u8(ret_body, (unsigned)keyid.len);
	buf_append_bytes(ret_body, keyid);
	record = buf_extend(ret_body, padded_bytes + 1 + AEAD_TAG_BYTES);
	memset(record, 0, padded_bytes + 1);
	if (plaintext.len > 0) {
		memcpy(record, plaintext.data, plaintext.len);
	}
	record[plaintext.len] = WEBPUSH_DELIMITER;
	aead = aead_new(bytes_of(key, sizeof key));
	aead_seal(aead, nonce, bytes_of(NULL, 0), bytes_of(record, padded_bytes + 1), record);
	aead_free(aead);
	secret_clear(key, sizeof key);
	secret_clear(nonce, sizeof nonce);
}

int webpush_seal_as(const struct key *own, const uint8_t salt[WEBPUSH_SALT_BYTES],
	const struct key_pub *agent, const uint8_t auth[WEBPUSH_AUTH_BYTES], struct bytes plaintext,
	size_t padded_bytes, struct buf *ret_body, struct err *e)
{
	static const char label[] = "WebPush: info"; /* With the NUL behind it. */
	const struct bytes public = key_pub_bytes(key_public(own));
	const struct bytes info[] = {bytes_of(label, sizeof label), key_pub_bytes(agent), public};
	uint8_t shared[WEBPUSH_SHARED_BYTES], prk[HASH_BYTES], ikm[HASH_BYTES];
	int rc;

	assert(key_pub_alg(agent) == KEY_KEM_P256 && key_pub_alg(key_public(own)) == KEY_KEM_P256);
	rc = hpke_dh(own, agent, shared, sizeof shared, e);
	if (rc == 0) {
		hkdf_extract(
			bytes_of(auth, WEBPUSH_AUTH_BYTES), bytes_of(shared, sizeof shared), prk);
		hkdf_expand(prk, info, ARRAY_SIZE(info), ikm, sizeof ikm);
		webpush_record(
			bytes_of(ikm, sizeof ikm), salt, public, plaintext, padded_bytes, ret_body);
		secret_clear(prk, sizeof prk);
		secret_clear(ikm, sizeof ikm);
	}
	secret_clear(shared, sizeof shared);
	return rc;
}

int webpush_seal(const struct key_pub *agent, const uint8_t auth[WEBPUSH_AUTH_BYTES],
	struct bytes plaintext, size_t padded_bytes, struct random *random, struct buf *ret_body,
	struct err *e)
{
	_cleanup_(key_freep) struct key *own = NULL;
	uint8_t salt[WEBPUSH_SALT_BYTES];
	int rc = hpke_generate_key(KEY_KEM_P256, random, &own, e);

	if (rc != 0) {
		return rc;
	}
	random_fill(random, salt, sizeof salt);
	return webpush_seal_as(own, salt, agent, auth, plaintext, padded_bytes, ret_body, e);
}
