#include "tests/lib/test.h"
#include "tests/lib/webpush_open.h"

#include "crypto/hpke.h"

void webpush_open(const struct key *agent, const uint8_t auth[WEBPUSH_AUTH_BYTES],
	struct bytes body, struct buf *ret_record)
{
	static const char label[] = "WebPush: info", key_label[] = "Content-Encoding: aes128gcm",
			  nonce_label[] = "Content-Encoding: nonce";
	static const uint8_t numbers[] = {0, 0, 0x10, 0, WEBPUSH_PUBLIC_BYTES};
	_cleanup_(key_pub_freep) struct key_pub *sender = NULL;
	struct bytes info[] = {bytes_of(label, sizeof label), key_pub_bytes(key_public(agent)),
		bytes_of(body.data + 21, WEBPUSH_PUBLIC_BYTES)};
	const struct bytes key_info = bytes_of(key_label, sizeof key_label);
	const struct bytes nonce_info = bytes_of(nonce_label, sizeof nonce_label);
	uint8_t shared[32], prk[32], ikm[32], key[16], nonce[12];
	struct aead *aead;
	int rc;

	assert_true(body.len > WEBPUSH_HEADER_BYTES + AEAD_TAG_BYTES);
	assert_memory_equal(body.data + WEBPUSH_SALT_BYTES, numbers, sizeof numbers);
	assert_int_equal(key_pub_decode(KEY_KEM_P256, info[2], &sender, NULL), 0);
	assert_int_equal(hpke_dh(agent, sender, shared, sizeof shared, NULL), 0);
	hkdf_extract(bytes_of(auth, WEBPUSH_AUTH_BYTES), bytes_of(shared, sizeof shared), prk);
	hkdf_expand(prk, info, 3, ikm, sizeof ikm);
	hkdf_extract(bytes_of(body.data, WEBPUSH_SALT_BYTES), bytes_of(ikm, sizeof ikm), prk);
	hkdf_expand(prk, &key_info, 1, key, sizeof key);
	hkdf_expand(prk, &nonce_info, 1, nonce, sizeof nonce);
	aead = aead_new(bytes_of(key, sizeof key));
	body = bytes_of(body.data + WEBPUSH_HEADER_BYTES, body.len - WEBPUSH_HEADER_BYTES);
	rc = aead_open(aead, nonce, bytes_of(NULL, 0), body,
		buf_extend(ret_record, body.len - AEAD_TAG_BYTES));
	aead_free(aead);
	assert_int_equal(rc, 0);
}
