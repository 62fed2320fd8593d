#include "crypto/seal.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/evp.h"

void sym_derive(unsigned sym, struct bytes salt, struct bytes ikm, const struct bytes *info,
	size_t count, struct sym_keys *ret_keys)
{
	assert(sym == SYM_AES_128 || sym == SYM_AES_256);
	ret_keys->enc_bytes = sym == SYM_AES_128 ? 16 : 32;
	hkdf(salt, ikm, info, count, ret_keys->okm,
		ret_keys->enc_bytes + SYM_IV_BYTES + HMAC_BYTES);
}

void sym_keys_clear(struct sym_keys *keys)
{
	secret_clear(keys, sizeof *keys);
}

struct bytes sym_enc_key(const struct sym_keys *keys)
{
	return bytes_of(keys->okm, keys->enc_bytes);
}

struct bytes sym_iv(const struct sym_keys *keys)
{
	return bytes_of(keys->okm + keys->enc_bytes, SYM_IV_BYTES);
}

struct bytes sym_mac_key(const struct sym_keys *keys)
{
	return bytes_of(keys->okm + keys->enc_bytes + SYM_IV_BYTES, HMAC_BYTES);
}

void sym_ctr(const struct sym_keys *keys, struct bytes from, uint8_t *ret)
{
	EVP_CIPHER_CTX *ctx = evp_ctr_begin(sym_enc_key(keys), sym_iv(keys).data);

	evp_ctr_update(ctx, from, ret);
	evp_ctr_end(ctx);
}

static void seal_derive(
	struct bytes key, struct bytes ctx, const uint8_t *salt, struct sym_keys *ret_keys)
{
	const struct bytes info[] = {bytes_str("kluis/v1/seal"), ctx};

	assert(key.len == SEAL_KEY_BYTES && ctx.len <= UINT16_MAX);
	sym_derive(SYM_AES_256, bytes_of(salt, SEAL_SALT_BYTES), key, info, ARRAY_SIZE(info),
		ret_keys);
}

static void seal_tag(const struct sym_keys *keys, struct bytes ctx, struct bytes salted,
	uint8_t ret_tag[HMAC_BYTES])
{
	uint8_t len[2];

	store_u16(len, (unsigned)ctx.len);
	hash_hmac(sym_mac_key(keys), (const struct bytes[]){bytes_of(len, 2), ctx, salted}, 3,
		ret_tag);
}

void seal_make(struct bytes key, struct bytes ctx, struct bytes plaintext, struct random *random,
	struct buf *ret_sealed)
{
	struct sym_keys keys;
	uint8_t *salt;

	assert(plaintext.len <= SEAL_BYTES_MAX);
	salt = buf_extend(ret_sealed, SEAL_OVERHEAD_BYTES + plaintext.len);
	random_fill(random, salt, SEAL_SALT_BYTES);
	seal_derive(key, ctx, salt, &keys);
	sym_ctr(&keys, plaintext, salt + SEAL_SALT_BYTES);
	seal_tag(&keys, ctx, bytes_of(salt, SEAL_SALT_BYTES + plaintext.len),
		salt + SEAL_SALT_BYTES + plaintext.len);
	sym_keys_clear(&keys);
}

int seal_open(struct bytes key, struct bytes ctx, struct bytes sealed, struct secret *ret_plaintext,
	struct err *e)
{
	struct sym_keys keys;
	struct secret plaintext = SECRET_INIT;
	uint8_t tag[HMAC_BYTES];
	size_t len;
	bool ok;

	if (sealed.len < SEAL_OVERHEAD_BYTES ||
		sealed.len > SEAL_OVERHEAD_BYTES + (size_t)SEAL_BYTES_MAX) {
		return err_set(e, KLUIS_EVERIFY, "sealed value of a wrong length");
	}
	len = sealed.len - SEAL_OVERHEAD_BYTES;
	seal_derive(key, ctx, sealed.data, &keys);
	seal_tag(&keys, ctx, bytes_of(sealed.data, SEAL_SALT_BYTES + len), tag);
	ok = secret_equal(bytes_of(tag, sizeof tag),
		bytes_of(sealed.data + SEAL_SALT_BYTES + len, sizeof tag));
	if (ok) {
		secret_init(&plaintext, len);
		sym_ctr(&keys, bytes_of(sealed.data + SEAL_SALT_BYTES, len), plaintext.data);
		secret_move(ret_plaintext, &plaintext);
	}
	sym_keys_clear(&keys);
	return ok ? 0 : err_set(e, KLUIS_EVERIFY, "sealed value does not verify");
}
