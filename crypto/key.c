#include "crypto/key.h"

#include <assert.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/evp.h"
#include "crypto/ossl.h"

enum key_family { KEY_FAMILY_EC, KEY_FAMILY_RAW, KEY_FAMILY_RSA };

/* What differs between the algorithms; sig 3 and every other number have no row. */
static const struct key_kind {
	unsigned alg;
	enum key_family family;
	const char *name; /* OpenSSL's: of the curve, or of the key type. */
	int nid;
	size_t pub_bytes, private_bytes;
} key_kinds[] = {
	{KEY_RSA_PSS, KEY_FAMILY_RSA, "RSA", 0, 0, 0},
	{KEY_ECDSA_P256, KEY_FAMILY_EC, "P-256", NID_X9_62_prime256v1, 65, 32},
	{KEY_KEM_P256, KEY_FAMILY_EC, "P-256", NID_X9_62_prime256v1, 65, 32},
	{KEY_KEM_P384, KEY_FAMILY_EC, "P-384", NID_secp384r1, 97, 48},
	{KEY_KEM_X25519, KEY_FAMILY_RAW, "X25519", 0, 32, 32},
	{KEY_ED25519, KEY_FAMILY_RAW, "ED25519", 0, 32, 32},
	{KEY_KEM_RSA, KEY_FAMILY_RSA, "RSA", 0, 0, 0},
};

struct key_pub {
	const struct key_kind *kind;
	EVP_PKEY *pkey;
	struct buf encoded;
	uint8_t kid[KID_BYTES];
	unsigned refs; /* Atomic. */
};

struct key {
	EVP_PKEY *pkey; /* NULL: it lies with holder. */
	struct key_holder *holder;
	struct key_pub *pub;
};

static const struct key_kind *key_kind(unsigned alg)
{
	for (size_t i = 0; i < ARRAY_SIZE(key_kinds); i++) {
		if (key_kinds[i].alg == alg) {
			return &key_kinds[i];
		}
	}
	return NULL;
}

void key_kid(unsigned alg, struct bytes encoded, uint8_t ret_kid[KID_BYTES])
{
	uint8_t id[2], hash[HASH_BYTES];

	store_u16(id, alg);
	HASH_TH(hash, "kluis/v1/key-fp", bytes_of(id, sizeof id), encoded);
	memcpy(ret_kid, hash, KID_BYTES);
}

unsigned key_kem_of_length(size_t pub_bytes)
{
	switch (pub_bytes) {
	case 65:
		return KEY_KEM_P256;
	case 97:
		return KEY_KEM_P384;
	case 32:
		return KEY_KEM_X25519;
	default:
		return 0;
	}
}

/* The encoding of section 1 of any key's public half. */
static void key_pub_encode(const struct key_kind *kind, EVP_PKEY *pkey, struct buf *ret_encoded)
{
	uint8_t *der = NULL;
	size_t got = 0;
	int len;

	if (kind->family == KEY_FAMILY_RSA) {
		len = i2d_PUBKEY(pkey, &der);
		evp_must(len > 0);
		buf_append(ret_encoded, der, (size_t)len);
		OPENSSL_free(der);
		return;
	}
	buf_extend(ret_encoded, kind->pub_bytes);
	evp_must(EVP_PKEY_get_octet_string_param(
		pkey, OSSL_PKEY_PARAM_PUB_KEY, ret_encoded->data, ret_encoded->len, &got));
	assert(got == kind->pub_bytes);
}

/* Takes pkey. */
static struct key_pub *key_pub_new(const struct key_kind *kind, EVP_PKEY *pkey)
{
	struct key_pub *pub = x_calloc(1, sizeof *pub);

	pub->kind = kind;
	pub->pkey = pkey;
	pub->refs = 1;
	key_pub_encode(kind, pkey, &pub->encoded);
	key_kid(kind->alg, buf_bytes(&pub->encoded), pub->kid);
	return pub;
}

/* An EC key from its parts; scalar NULL for a public one. */
static EVP_PKEY *key_ec_build(const struct key_kind *kind, struct bytes point, const BIGNUM *scalar)
{
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM *params = NULL;
	EVP_PKEY *pkey = NULL;
	int selection = scalar == NULL ? EVP_PKEY_PUBLIC_KEY : EVP_PKEY_KEYPAIR;

	evp_must(build != NULL && ctx != NULL &&
		 OSSL_PARAM_BLD_push_utf8_string(
			 build, OSSL_PKEY_PARAM_GROUP_NAME, kind->name, 0) == 1 &&
		 OSSL_PARAM_BLD_push_octet_string(
			 build, OSSL_PKEY_PARAM_PUB_KEY, point.data, point.len) == 1 &&
		 (scalar == NULL ||
			 OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, scalar) == 1));
	params = OSSL_PARAM_BLD_to_param(build);
	evp_must(params != NULL && EVP_PKEY_fromdata_init(ctx) == 1);
	if (EVP_PKEY_fromdata(ctx, &pkey, selection, params) != 1) {
		pkey = NULL; /* The point is not on the curve. */
	}
	OSSL_PARAM_free(params); /* Clears what was secure. */
	OSSL_PARAM_BLD_free(build);
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

static bool key_rsa_allowed(unsigned alg, EVP_PKEY *pkey)
{
	int bits = EVP_PKEY_get_bits(pkey);
	BIGNUM *exponent = NULL;
	bool allowed = EVP_PKEY_is_a(pkey, "RSA") == 1 &&
		       EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1 &&
		       BN_is_word(exponent, RSA_F4);

	BN_free(exponent);
	if (alg == KEY_KEM_RSA) {
		return allowed && bits == 4096;
	}
	return allowed && (bits == 2048 || bits == 3072 || bits == 4096);
}

static EVP_PKEY *key_rsa_parse(struct bytes encoded)
{
	const uint8_t *at = encoded.data;

	if (encoded.len == 0 || encoded.len > KEY_PUB_BYTES_MAX) {
		return NULL;
	}
	return d2i_PUBKEY(NULL, &at, (long)encoded.len);
}

static EVP_PKEY *key_pub_parse(const struct key_kind *kind, struct bytes encoded)
{
	if (kind->family == KEY_FAMILY_RSA) {
		return key_rsa_parse(encoded);
	}
	if (encoded.len != kind->pub_bytes) {
		return NULL;
	}
	if (kind->family == KEY_FAMILY_RAW) {
		return EVP_PKEY_new_raw_public_key_ex(
			NULL, kind->name, NULL, encoded.data, encoded.len);
	}
	return encoded.data[0] == POINT_CONVERSION_UNCOMPRESSED ? key_ec_build(kind, encoded, NULL)
								: NULL;
}

int key_pub_decode(unsigned alg, struct bytes encoded, struct key_pub **ret_pub, struct err *e)
{
	const struct key_kind *kind = key_kind(alg);
	struct key_pub *pub;
	EVP_PKEY *pkey;

	if (kind == NULL) {
		return err_set(e, KLUIS_ESUITE, "unknown key algorithm %u", alg);
	}
	pkey = key_pub_parse(kind, encoded);
	if (pkey == NULL) {
		return ossl_err(e, KLUIS_EINVAL, "malformed public key");
	}
	pub = key_pub_new(kind, pkey);
	/* One key has one encoding, or two kids could name it. */
	if (!bytes_equal(buf_bytes(&pub->encoded), encoded) ||
		(kind->family == KEY_FAMILY_RSA && !key_rsa_allowed(alg, pkey))) {
		key_pub_free(pub);
		return err_set(e, KLUIS_EINVAL, "public key of a form or size that is not allowed");
	}
	*ret_pub = pub;
	return 0;
}

struct key_pub *key_pub_ref(struct key_pub *pub)
{
	unsigned before = __atomic_fetch_add(&pub->refs, 1, __ATOMIC_RELAXED);

	assert(before > 0);
	return pub;
}

void key_pub_free(struct key_pub *pub)
{
	if (pub == NULL || __atomic_fetch_sub(&pub->refs, 1, __ATOMIC_ACQ_REL) > 1) {
		return;
	}
	EVP_PKEY_free(pub->pkey);
	buf_release(&pub->encoded);
	free(pub);
}

void key_pub_freep(struct key_pub **pub)
{
	key_pub_free(*pub);
}

unsigned key_pub_alg(const struct key_pub *pub)
{
	return pub->kind->alg;
}

struct bytes key_pub_bytes(const struct key_pub *pub)
{
	return buf_bytes(&pub->encoded);
}

const uint8_t *key_pub_kid(const struct key_pub *pub)
{
	return pub->kid;
}

bool key_pub_equal(const struct key_pub *a, const struct key_pub *b)
{
	return a->kind == b->kind && bytes_equal(buf_bytes(&a->encoded), buf_bytes(&b->encoded));
}

void *key_pub_evp(const struct key_pub *pub)
{
	return pub->pkey;
}

/* Takes pkey. */
static struct key *key_new(const struct key_kind *kind, EVP_PKEY *pkey)
{
	struct key *key = x_calloc(1, sizeof *key);

	assert(pkey != NULL);
	evp_must(EVP_PKEY_up_ref(pkey));
	key->pkey = pkey;
	key->pub = key_pub_new(kind, pkey);
	return key;
}

int key_generate(unsigned alg, unsigned rsa_bits, struct key **ret_key, struct err *e)
{
	const struct key_kind *kind = key_kind(alg);
	EVP_PKEY *pkey;

	if (kind == NULL) {
		return err_set(e, KLUIS_ESUITE, "unknown key algorithm %u", alg);
	}
	if (kind->family == KEY_FAMILY_RSA) {
		size_t bits = rsa_bits != 0 ? rsa_bits : alg == KEY_KEM_RSA ? 4096 : KEY_RSA_BITS;

		pkey = EVP_RSA_gen(bits);
	} else if (kind->family == KEY_FAMILY_EC) {
		pkey = EVP_EC_gen(kind->name);
	} else {
		pkey = EVP_PKEY_Q_keygen(NULL, NULL, kind->name);
	}
	if (pkey == NULL) {
		return ossl_err(e, KLUIS_EINTERNAL, "cannot generate a key");
	}
	if (kind->family == KEY_FAMILY_RSA && !key_rsa_allowed(alg, pkey)) {
		EVP_PKEY_free(pkey);
		return err_set(e, KLUIS_ESUITE, "RSA keys of %u bits are not allowed", rsa_bits);
	}
	*ret_key = key_new(kind, pkey);
	return 0;
}

/* The point of a scalar in 1..n-1, else false. */
static bool key_ec_point(
	const struct key_kind *kind, const BIGNUM *scalar, uint8_t *ret, size_t len)
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(kind->nid);
	EC_POINT *point = group == NULL ? NULL : EC_POINT_new(group);
	bool ok;

	evp_must(point != NULL);
	ok = !BN_is_zero(scalar) && BN_cmp(scalar, EC_GROUP_get0_order(group)) < 0;
	if (ok) {
		evp_must(EC_POINT_mul(group, point, scalar, NULL, NULL, NULL));
		evp_must(EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, ret, len,
				 NULL) == len);
	}
	EC_POINT_clear_free(point);
	EC_GROUP_free(group);
	return ok;
}

static EVP_PKEY *key_ec_decode(const struct key_kind *kind, struct bytes encoded)
{
	uint8_t point[97];
	BIGNUM *scalar = BN_secure_new();
	EVP_PKEY *pkey = NULL;

	assert(kind->pub_bytes <= sizeof point && encoded.len == kind->private_bytes);
	evp_must(scalar != NULL && BN_bin2bn(encoded.data, (int)encoded.len, scalar) != NULL);
	BN_set_flags(scalar, BN_FLG_CONSTTIME);
	if (key_ec_point(kind, scalar, point, kind->pub_bytes)) {
		pkey = key_ec_build(kind, bytes_of(point, kind->pub_bytes), scalar);
	}
	BN_clear_free(scalar);
	return pkey;
}

static EVP_PKEY *key_rsa_decode(struct bytes encoded)
{
	const uint8_t *at = encoded.data;
	PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)encoded.len);
	EVP_PKEY *pkey = NULL;

	if (info != NULL && at == encoded.data + encoded.len) {
		pkey = EVP_PKCS82PKEY(info);
	}
	PKCS8_PRIV_KEY_INFO_free(info);
	return pkey;
}

static EVP_PKEY *key_private_parse(const struct key_kind *kind, struct bytes encoded)
{
	if (encoded.len == 0 || encoded.len > KEY_PRIVATE_BYTES_MAX) {
		return NULL;
	}
	if (kind->family == KEY_FAMILY_RSA) {
		return key_rsa_decode(encoded);
	}
	if (encoded.len != kind->private_bytes) {
		return NULL;
	}
	if (kind->family == KEY_FAMILY_EC) {
		return key_ec_decode(kind, encoded);
	}
	return EVP_PKEY_new_raw_private_key_ex(NULL, kind->name, NULL, encoded.data, encoded.len);
}

int key_decode(unsigned alg, struct bytes encoded, struct key **ret_key, struct err *e)
{
	const struct key_kind *kind = key_kind(alg);
	_cleanup_(ossl_key_freep) EVP_PKEY *pkey = NULL;

	if (kind == NULL) {
		return err_set(e, KLUIS_ESUITE, "unknown key algorithm %u", alg);
	}
	pkey = key_private_parse(kind, encoded);
	if (pkey == NULL) {
		return ossl_err(e, KLUIS_EINVAL, "malformed private key");
	}
	if (kind->family == KEY_FAMILY_RSA && !key_rsa_allowed(alg, pkey)) {
		return err_set(e, KLUIS_EINVAL, "RSA key of a size or exponent not allowed");
	}
	evp_must(EVP_PKEY_up_ref(pkey));
	*ret_key = key_new(kind, pkey);
	return 0;
}

static void key_rsa_encode(EVP_PKEY *pkey, struct secret *ret_encoded)
{
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pkey);
	uint8_t *at;
	int len;

	evp_must(info != NULL);
	len = i2d_PKCS8_PRIV_KEY_INFO(info, NULL);
	evp_must(len > 0);
	secret_init(ret_encoded, (size_t)len);
	at = ret_encoded->data;
	evp_must(i2d_PKCS8_PRIV_KEY_INFO(info, &at) == len);
	PKCS8_PRIV_KEY_INFO_free(info);
}

void key_encode(const struct key *key, struct secret *ret_encoded)
{
	const struct key_kind *kind = key->pub->kind;
	BIGNUM *scalar = NULL;
	size_t len = kind->private_bytes;

	assert(key->pkey != NULL);
	if (kind->family == KEY_FAMILY_RSA) {
		key_rsa_encode(key->pkey, ret_encoded);
		return;
	}
	secret_init(ret_encoded, len);
	if (kind->family == KEY_FAMILY_RAW) {
		evp_must(EVP_PKEY_get_raw_private_key(key->pkey, ret_encoded->data, &len));
		assert(len == kind->private_bytes);
		return;
	}
	evp_must(EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_PRIV_KEY, &scalar));
	evp_must(BN_bn2binpad(scalar, ret_encoded->data, (int)len) == (int)len);
	BN_clear_free(scalar);
}

struct key *key_held(struct key_pub *pub, struct key_holder *holder)
{
	struct key *key = x_calloc(1, sizeof *key);
	unsigned alg = key_pub_alg(pub);

	assert(alg == KEY_RSA_PSS || alg == KEY_ECDSA_P256 || alg == KEY_ED25519);
	assert(holder != NULL && holder->sign != NULL);
	key->holder = holder;
	key->pub = pub;
	return key;
}

struct key_holder *key_holder(const struct key *key)
{
	return key->holder;
}

void key_free(struct key *key)
{
	if (key == NULL) {
		return;
	}
	EVP_PKEY_free(key->pkey);
	key_pub_free(key->pub);
	free(key);
}

void key_freep(struct key **key)
{
	key_free(*key);
}

const struct key_pub *key_public(const struct key *key)
{
	return key->pub;
}

void *key_evp(const struct key *key)
{
	assert(key->pkey != NULL);
	return key->pkey;
}
