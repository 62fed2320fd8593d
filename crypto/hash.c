#include "crypto/hash.h"

#include <assert.h>
#include <limits.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/evp.h"
#include "crypto/secret.h"

void hash_sha256(struct bytes bytes, uint8_t ret[HASH_BYTES])
{
	hash_sha256_parts(&bytes, 1, ret);
}

void hash_sha256_parts(const struct bytes *parts, size_t count, uint8_t ret[HASH_BYTES])
{
	EVP_MD_CTX *ctx = evp_thread_md();

	evp_must(EVP_DigestInit_ex2(ctx, evp_algs()->sha256, NULL));
	for (size_t i = 0; i < count; i++) {
		evp_must(EVP_DigestUpdate(ctx, parts[i].data, parts[i].len));
	}
	evp_must(EVP_DigestFinal_ex(ctx, ret, NULL));
}

void hash_sha1_parts(const struct bytes *parts, size_t count, uint8_t ret[HASH_SHA1_BYTES])
{
	EVP_MD_CTX *ctx = evp_thread_md();

	evp_must(EVP_DigestInit_ex2(ctx, EVP_sha1(), NULL));
	for (size_t i = 0; i < count; i++) {
		evp_must(EVP_DigestUpdate(ctx, parts[i].data, parts[i].len));
	}
	evp_must(EVP_DigestFinal_ex(ctx, ret, NULL));
}

void hash_hmac_sha1(struct bytes key, struct bytes bytes, uint8_t ret[HASH_SHA1_BYTES])
{
	unsigned len = 0;

	assert(key.len > 0 && key.len <= INT_MAX);
	evp_must(
		HMAC(EVP_sha1(), key.data, (int)key.len, bytes.data, bytes.len, ret, &len) != NULL);
	assert(len == HASH_SHA1_BYTES);
}

void hash_init(struct hash *hash)
{
	hash->ctx = EVP_MD_CTX_new();
	evp_must(hash->ctx != NULL && EVP_DigestInit_ex2(hash->ctx, evp_algs()->sha256, NULL) == 1);
}

void hash_update(struct hash *hash, struct bytes bytes)
{
	assert(hash->ctx != NULL);
	evp_must(EVP_DigestUpdate(hash->ctx, bytes.data, bytes.len));
}

void hash_final(struct hash *hash, uint8_t ret[HASH_BYTES])
{
	assert(hash->ctx != NULL);
	evp_must(EVP_DigestFinal_ex(hash->ctx, ret, NULL));
	evp_must(EVP_DigestInit_ex2(hash->ctx, evp_algs()->sha256, NULL));
}

void hash_release(struct hash *hash)
{
	EVP_MD_CTX_free(hash->ctx);
	hash->ctx = NULL;
}

void hash_th(const char *label, const struct bytes *fields, size_t count, uint8_t ret[HASH_BYTES])
{
	EVP_MD_CTX *ctx = evp_thread_md();
	size_t label_len = strlen(label);
	uint8_t len[4];

	assert(strncmp(label, "kluis/v1/", 9) == 0 && label_len <= UINT16_MAX);
	evp_must(EVP_DigestInit_ex2(ctx, evp_algs()->sha256, NULL));
	store_u16(len, (unsigned)label_len);
	evp_must(EVP_DigestUpdate(ctx, len, 2));
	evp_must(EVP_DigestUpdate(ctx, label, label_len));
	for (size_t i = 0; i < count; i++) {
		assert(fields[i].len <= UINT32_MAX);
		store_u32(len, (uint32_t)fields[i].len);
		evp_must(EVP_DigestUpdate(ctx, len, 4));
		evp_must(EVP_DigestUpdate(ctx, fields[i].data, fields[i].len));
	}
	evp_must(EVP_DigestFinal_ex(ctx, ret, NULL));
}

size_t hash_alg_bytes(enum hash_alg alg)
{
	assert(alg == HASH_SHA256 || alg == HASH_SHA384);
	return alg == HASH_SHA256 ? HASH_BYTES : HASH_BYTES_MAX;
}

static void hash_hmac_alg(
	enum hash_alg alg, struct bytes key, const struct bytes *parts, size_t count, uint8_t *ret)
{
	EVP_MAC_CTX *ctx = evp_hmac_begin(alg, key);

	for (size_t i = 0; i < count; i++) {
		evp_hmac_update(ctx, parts[i]);
	}
	evp_hmac_end(ctx, ret, hash_alg_bytes(alg));
}

void hash_hmac(struct bytes key, const struct bytes *parts, size_t count, uint8_t ret[HMAC_BYTES])
{
	hash_hmac_alg(HASH_SHA256, key, parts, count, ret);
}

void hkdf_extract_alg(enum hash_alg alg, struct bytes salt, const struct bytes *ikm, size_t count,
	uint8_t *ret_prk)
{
	static const uint8_t zero[HASH_BYTES_MAX];

	if (salt.len == 0) {
		salt = bytes_of(zero, hash_alg_bytes(alg));
	}
	hash_hmac_alg(alg, salt, ikm, count, ret_prk);
}

void hkdf_expand_alg(enum hash_alg alg, const uint8_t *prk, const struct bytes *info, size_t count,
	uint8_t *ret, size_t len)
{
	size_t block_bytes = hash_alg_bytes(alg), done = 0;
	uint8_t block[HASH_BYTES_MAX], number = 0;

	assert(len > 0 && len <= 255 * block_bytes);
	while (done < len) {
		EVP_MAC_CTX *ctx = evp_hmac_begin(alg, bytes_of(prk, block_bytes));
		size_t take = len - done < block_bytes ? len - done : block_bytes;

		evp_hmac_update(ctx, bytes_of(block, number == 0 ? 0 : block_bytes));
		for (size_t i = 0; i < count; i++) {
			evp_hmac_update(ctx, info[i]);
		}
		number++;
		evp_hmac_update(ctx, bytes_of(&number, 1));
		evp_hmac_end(ctx, block, block_bytes);
		memcpy(ret + done, block, take);
		done += take;
	}
	secret_clear(block, sizeof block);
}

void hkdf_extract(struct bytes salt, struct bytes ikm, uint8_t ret_prk[HASH_BYTES])
{
	hkdf_extract_alg(HASH_SHA256, salt, &ikm, 1, ret_prk);
}

void hkdf_expand(const uint8_t prk[HASH_BYTES], const struct bytes *info, size_t count,
	uint8_t *ret, size_t len)
{
	hkdf_expand_alg(HASH_SHA256, prk, info, count, ret, len);
}

void hkdf(struct bytes salt, struct bytes ikm, const struct bytes *info, size_t count, uint8_t *ret,
	size_t len)
{
	uint8_t prk[HASH_BYTES];

	hkdf_extract(salt, ikm, prk);
	hkdf_expand(prk, info, count, ret, len);
	secret_clear(prk, sizeof prk);
}
