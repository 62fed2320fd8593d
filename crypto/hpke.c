#include "crypto/hpke.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/evp.h"
#include "crypto/ossl.h"

enum {
	HPKE_KDF = 1, /* HKDF-SHA256, of the key schedule. */
	HPKE_SUITE_BYTES_MAX = 10,
	HPKE_DERIVE_TRIES = 256,
};

/* The EC kems (RFC 9180 section 7.1). */
static const struct hpke_kem {
	unsigned id;
	enum hash_alg hash;
	size_t private_bytes, secret_bytes, dh_bytes;
} hpke_kems[] = {
	{KEY_KEM_P256, HASH_SHA256, 32, 32, 32},
	{KEY_KEM_P384, HASH_SHA384, 48, 48, 48},
	{KEY_KEM_X25519, HASH_SHA256, 32, 32, 32},
};

static const struct hpke_kem *hpke_kem(unsigned id)
{
	for (size_t i = 0; i < ARRAY_SIZE(hpke_kems); i++) {
		if (hpke_kems[i].id == id) {
			return &hpke_kems[i];
		}
	}
	return NULL;
}

/* suite_id of a kem, or of the whole suite. */
struct hpke_suite {
	uint8_t id[HPKE_SUITE_BYTES_MAX];
	size_t len;
	enum hash_alg hash;
};

static struct hpke_suite hpke_suite_kem(const struct hpke_kem *kem)
{
	struct hpke_suite suite = {.id = "KEM", .len = 5, .hash = kem->hash};

	store_u16(suite.id + 3, kem->id);
	return suite;
}

static struct hpke_suite hpke_suite_full(unsigned kem, unsigned aead)
{
	struct hpke_suite suite = {.id = "HPKE", .len = 10, .hash = HASH_SHA256};

	store_u16(suite.id + 4, kem);
	store_u16(suite.id + 6, HPKE_KDF);
	store_u16(suite.id + 8, aead);
	return suite;
}

static void hpke_extract(const struct hpke_suite *suite, struct bytes salt, const char *label,
	struct bytes ikm, uint8_t ret_prk[HASH_BYTES_MAX])
{
	const struct bytes parts[] = {
		bytes_str("HPKE-v1"), bytes_of(suite->id, suite->len), bytes_str(label), ikm};

	hkdf_extract_alg(suite->hash, salt, parts, ARRAY_SIZE(parts), ret_prk);
}

static void hpke_expand(const struct hpke_suite *suite, const uint8_t *prk, const char *label,
	struct bytes info, uint8_t *ret, size_t len)
{
	uint8_t prefix[2];
	const struct bytes parts[] = {bytes_of(prefix, sizeof prefix), bytes_str("HPKE-v1"),
		bytes_of(suite->id, suite->len), bytes_str(label), info};

	store_u16(prefix, (unsigned)len);
	hkdf_expand_alg(suite->hash, prk, parts, ARRAY_SIZE(parts), ret, len);
}

/* The candidates of one input, until one is a valid scalar: for P-256 once in 2^32 not the first.
 */
static int hpke_derive_ec(const struct hpke_kem *kem, const struct hpke_suite *suite,
	const uint8_t *prk, struct key **ret_key)
{
	uint8_t scalar[HASH_BYTES_MAX];
	int rc = KLUIS_EINVAL;

	for (unsigned i = 0; rc == KLUIS_EINVAL && i < HPKE_DERIVE_TRIES; i++) {
		uint8_t number = (uint8_t)i;

		hpke_expand(
			suite, prk, "candidate", bytes_of(&number, 1), scalar, kem->private_bytes);
		rc = key_decode(kem->id, bytes_of(scalar, kem->private_bytes), ret_key, NULL);
	}
	secret_clear(scalar, sizeof scalar);
	return rc;
}

int hpke_derive_key(unsigned kem_id, struct bytes ikm, struct key **ret_key, struct err *e)
{
	const struct hpke_kem *kem = hpke_kem(kem_id);
	struct hpke_suite suite;
	uint8_t prk[HASH_BYTES_MAX], scalar[32];
	int rc;

	if (kem == NULL) {
		return err_set(e, KLUIS_ESUITE, "unknown kem %u", kem_id);
	}
	suite = hpke_suite_kem(kem);
	hpke_extract(&suite, bytes_of(NULL, 0), "dkp_prk", ikm, prk);
	if (kem_id == KEY_KEM_X25519) {
		hpke_expand(&suite, prk, "sk", bytes_of(NULL, 0), scalar, sizeof scalar);
		rc = key_decode(kem_id, bytes_of(scalar, sizeof scalar), ret_key, e);
		secret_clear(scalar, sizeof scalar);
	} else {
		rc = hpke_derive_ec(kem, &suite, prk, ret_key);
	}
	secret_clear(prk, sizeof prk);
	return rc == 0 ? 0 : err_set(e, KLUIS_EINVAL, "no key can be derived");
}

int hpke_generate_key(unsigned kem_id, struct random *random, struct key **ret_key, struct err *e)
{
	const struct hpke_kem *kem = hpke_kem(kem_id);
	uint8_t ikm[HASH_BYTES_MAX];
	int rc;

	if (kem == NULL) {
		return err_set(e, KLUIS_ESUITE, "unknown kem %u", kem_id);
	}
	random_fill(random, ikm, kem->private_bytes);
	rc = hpke_derive_key(kem_id, bytes_of(ikm, kem->private_bytes), ret_key, e);
	secret_clear(ikm, sizeof ikm);
	return rc;
}

/* OpenSSL fails for an all-zero X25519 result. */
int hpke_dh(
	const struct key *key, const struct key_pub *pub, uint8_t *ret, size_t len, struct err *e)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key_evp(key), NULL);
	size_t got = len;
	bool ok;

	evp_must(ctx != NULL && EVP_PKEY_derive_init(ctx) == 1);
	ok = EVP_PKEY_derive_set_peer_ex(ctx, key_pub_evp(pub), 0) == 1 &&
	     EVP_PKEY_derive(ctx, ret, &got) == 1 && got == len;
	EVP_PKEY_CTX_free(ctx);
	return ok ? 0 : ossl_err(e, KLUIS_EVERIFY, "key agreement failed");
}

/* ExtractAndExpand(dh, enc | pkR). */
static int hpke_agree(const struct hpke_kem *kem, const struct key *key, const struct key_pub *peer,
	struct bytes enc, struct bytes recipient, struct secret *ret_shared, struct err *e)
{
	struct hpke_suite suite = hpke_suite_kem(kem);
	_cleanup_(buf_release) struct buf context = BUF_INIT;
	uint8_t dh[HASH_BYTES_MAX], prk[HASH_BYTES_MAX];
	int rc = hpke_dh(key, peer, dh, kem->dh_bytes, e);

	if (rc == 0) {
		buf_append_bytes(&context, enc);
		buf_append_bytes(&context, recipient);
		hpke_extract(
			&suite, bytes_of(NULL, 0), "eae_prk", bytes_of(dh, kem->dh_bytes), prk);
		secret_init(ret_shared, kem->secret_bytes);
		hpke_expand(&suite, prk, "shared_secret", buf_bytes(&context), ret_shared->data,
			kem->secret_bytes);
		secret_clear(prk, sizeof prk);
	}
	secret_clear(dh, sizeof dh);
	return rc;
}

int hpke_encap(const struct key_pub *pub, struct random *random, struct buf *ret_enc,
	struct secret *ret_shared, struct err *e)
{
	const struct hpke_kem *kem = hpke_kem(key_pub_alg(pub));
	_cleanup_(key_freep) struct key *ephemeral = NULL;
	struct bytes enc;
	int rc;

	if (kem == NULL) {
		return err_set(e, KLUIS_ESUITE, "not a key of an EC kem");
	}
	rc = hpke_generate_key(kem->id, random, &ephemeral, e);
	if (rc != 0) {
		return rc;
	}
	enc = key_pub_bytes(key_public(ephemeral));
	rc = hpke_agree(kem, ephemeral, pub, enc, key_pub_bytes(pub), ret_shared, e);
	if (rc == 0) {
		buf_append_bytes(ret_enc, enc);
	}
	return rc;
}

int hpke_decap(const struct key *key, struct bytes enc, struct secret *ret_shared, struct err *e)
{
	const struct hpke_kem *kem = hpke_kem(key_pub_alg(key_public(key)));
	_cleanup_(key_pub_freep) struct key_pub *ephemeral = NULL;
	int rc;

	if (kem == NULL) {
		return err_set(e, KLUIS_ESUITE, "not a key of an EC kem");
	}
	rc = key_pub_decode(kem->id, enc, &ephemeral, e);
	if (rc != 0) {
		return err_set(e, KLUIS_EVERIFY, "malformed encapsulated key");
	}
	return hpke_agree(kem, key, ephemeral, enc, key_pub_bytes(key_public(key)), ret_shared, e);
}

void hpke_schedule(unsigned kem, unsigned aead, struct bytes shared, struct bytes info,
	struct hpke_keys *ret_keys)
{
	struct hpke_suite suite = hpke_suite_full(kem, aead);
	uint8_t context[1 + 2 * HASH_BYTES] = {0}; /* Mode base, hashes of psk_id and info. */
	uint8_t secret[HASH_BYTES_MAX], psk_id_hash[HASH_BYTES_MAX], info_hash[HASH_BYTES_MAX];
	struct bytes whole = bytes_of(context, sizeof context), none = bytes_of(NULL, 0);

	assert(aead == AEAD_AES_128_GCM || aead == AEAD_AES_256_GCM);
	hpke_extract(&suite, none, "psk_id_hash", none, psk_id_hash);
	hpke_extract(&suite, none, "info_hash", info, info_hash);
	memcpy(context + 1, psk_id_hash, HASH_BYTES);
	memcpy(context + 1 + HASH_BYTES, info_hash, HASH_BYTES);
	hpke_extract(&suite, shared, "secret", none, secret);
	*ret_keys = (struct hpke_keys){.key = SECRET_INIT};
	secret_init(&ret_keys->key, aead == AEAD_AES_128_GCM ? 16 : 32);
	secret_init(&ret_keys->exporter, HASH_BYTES);
	hpke_expand(&suite, secret, "key", whole, ret_keys->key.data, ret_keys->key.len);
	hpke_expand(&suite, secret, "base_nonce", whole, ret_keys->base_nonce, AEAD_NONCE_BYTES);
	hpke_expand(&suite, secret, "exp", whole, ret_keys->exporter.data, HASH_BYTES);
	secret_clear(secret, sizeof secret);
}

void hpke_keys_release(struct hpke_keys *keys)
{
	secret_release(&keys->key);
	secret_release(&keys->exporter);
	secret_clear(keys->base_nonce, sizeof keys->base_nonce);
}

void hpke_seal_with(const struct hpke_keys *keys, struct bytes aad, struct bytes plaintext,
	struct buf *ret_ciphertext)
{
	_cleanup_(aead_freep) struct aead *aead = aead_new(secret_bytes(&keys->key));

	aead_seal(aead, keys->base_nonce, aad, plaintext,
		buf_extend(ret_ciphertext, plaintext.len + AEAD_TAG_BYTES));
}

int hpke_open_with(const struct hpke_keys *keys, struct bytes aad, struct bytes ciphertext,
	struct secret *ret_plaintext, struct err *e)
{
	_cleanup_(aead_freep) struct aead *aead = aead_new(secret_bytes(&keys->key));
	struct secret plaintext = SECRET_INIT;
	uint8_t none[1];
	int rc;

	if (ciphertext.len < AEAD_TAG_BYTES ||
		ciphertext.len > HPKE_MESSAGE_BYTES_MAX + (size_t)AEAD_TAG_BYTES) {
		return err_set(e, KLUIS_EVERIFY, "ciphertext of a wrong length");
	}
	secret_init(&plaintext, ciphertext.len - AEAD_TAG_BYTES);
	rc = aead_open(aead, keys->base_nonce, aad, ciphertext,
		plaintext.data == NULL ? none : plaintext.data);
	if (rc != 0) {
		secret_release(&plaintext);
		return err_set(e, rc, "ciphertext does not verify");
	}
	secret_move(ret_plaintext, &plaintext);
	return 0;
}

static bool hpke_aead_known(unsigned aead)
{
	return aead == AEAD_AES_128_GCM || aead == AEAD_AES_256_GCM;
}

int hpke_seal(const struct key_pub *pub, unsigned aead, struct bytes info, struct bytes aad,
	struct bytes plaintext, struct random *random, struct buf *ret_enc,
	struct buf *ret_ciphertext, struct err *e)
{
	_cleanup_(secret_release) struct secret shared = SECRET_INIT;
	_cleanup_(hpke_keys_release) struct hpke_keys keys = {.key = SECRET_INIT};
	int rc;

	if (!hpke_aead_known(aead)) {
		return err_set(e, KLUIS_ESUITE, "unknown aead %u", aead);
	}
	if (plaintext.len > HPKE_MESSAGE_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "message of %zu bytes", plaintext.len);
	}
	rc = hpke_encap(pub, random, ret_enc, &shared, e);
	if (rc != 0) {
		return rc;
	}
	hpke_schedule(key_pub_alg(pub), aead, secret_bytes(&shared), info, &keys);
	hpke_seal_with(&keys, aad, plaintext, ret_ciphertext);
	return 0;
}

int hpke_open(const struct key *key, unsigned aead, struct bytes enc, struct bytes info,
	struct bytes aad, struct bytes ciphertext, struct secret *ret_plaintext, struct err *e)
{
	_cleanup_(secret_release) struct secret shared = SECRET_INIT;
	_cleanup_(hpke_keys_release) struct hpke_keys keys = {.key = SECRET_INIT};
	int rc;

	if (!hpke_aead_known(aead)) {
		return err_set(e, KLUIS_ESUITE, "unknown aead %u", aead);
	}
	rc = hpke_decap(key, enc, &shared, e);
	if (rc != 0) {
		return rc;
	}
	hpke_schedule(key_pub_alg(key_public(key)), aead, secret_bytes(&shared), info, &keys);
	return hpke_open_with(&keys, aad, ciphertext, ret_plaintext, e);
}
