#include "crypto/recovery.h"

#include <assert.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <string.h>

#include "crypto/evp.h"
#include "crypto/sign.h"

enum {
	RECOVERY_GROUP_CHARS = 4,
	RECOVERY_CODE_CHARS = 52,
	RECOVERY_CHECK_CHARS = RECOVERY_CHARS - RECOVERY_CODE_CHARS,
	RECOVERY_CHECK_BITS = 5 * RECOVERY_CHECK_CHARS,
	RECOVERY_PADDING_BITS = 5 * RECOVERY_CODE_CHARS - 8 * RECOVERY_SECRET_BYTES,
	RECOVERY_KEK_BYTES = 64,
	RECOVERY_WIDE_BYTES = 48, /* 128 bits more than the order: the remainder is uniform. */
	RECOVERY_SCALAR_BYTES = 32,
};

static const char recovery_digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* Five bits of data from bit `at`; zeros behind the end. */
static unsigned recovery_bits(struct bytes data, size_t at)
{
	unsigned bits = 0;

	for (size_t i = at; i < at + 5; i++) {
		unsigned bit =
			i / 8 < data.len ? (unsigned)data.data[i / 8] >> (7 - i % 8) & 1U : 0;

		bits = bits << 1 | bit;
	}
	return bits;
}

/* All RECOVERY_CHARS characters without their dashes. */
static void recovery_encode(struct bytes secret, char *to)
{
	uint8_t hash[HASH_BYTES];

	hash_sha256(secret, hash);
	for (size_t i = 0; i < RECOVERY_CODE_CHARS; i++) {
		to[i] = recovery_digits[recovery_bits(secret, 5 * i)];
	}
	for (size_t i = 0; i < RECOVERY_CHECK_CHARS; i++) {
		to[RECOVERY_CODE_CHARS + i] =
			recovery_digits[recovery_bits(bytes_of(hash, sizeof hash), 5 * i)];
	}
	secret_clear(hash, sizeof hash);
}

void recovery_text(struct bytes secret, char ret_text[RECOVERY_TEXT_CHARS + 1])
{
	char chars[RECOVERY_CHARS];
	size_t at = 0;

	assert(secret.len == RECOVERY_SECRET_BYTES);
	recovery_encode(secret, chars);
	for (size_t i = 0; i < RECOVERY_CHARS; i++) {
		if (i > 0 && i % RECOVERY_GROUP_CHARS == 0) {
			ret_text[at++] = '-';
		}
		ret_text[at++] = chars[i];
	}
	assert(at == RECOVERY_TEXT_CHARS);
	ret_text[at] = 0;
	secret_clear(chars, sizeof chars);
}

/* What a typed character stands for, or -1. */
static int recovery_digit(char c)
{
	const char *at;

	if (c >= 'a' && c <= 'z') {
		c = (char)(c - 'a' + 'A');
	}
	if (c == 'I' || c == 'L') {
		c = '1';
	} else if (c == 'O') {
		c = '0';
	}
	at = c == 0 ? NULL : strchr(recovery_digits, c);
	return at == NULL ? -1 : (int)(at - recovery_digits);
}

/* The digits of what was typed, RECOVERY_CHARS of them. */
static bool recovery_read(struct bytes typed, uint8_t digits[RECOVERY_CHARS])
{
	size_t n = 0;

	for (size_t i = 0; i < typed.len && i < RECOVERY_TYPED_BYTES_MAX; i++) {
		char c = (char)typed.data[i];
		int digit = recovery_digit(c);

		if (c == ' ' || c == '-') {
			continue;
		}
		if (digit < 0 || n == RECOVERY_CHARS) {
			return false;
		}
		digits[n++] = (uint8_t)digit;
	}
	return n == RECOVERY_CHARS && typed.len <= RECOVERY_TYPED_BYTES_MAX;
}

/* The 256 bits; false when a padding bit is set. */
static bool recovery_decode(const uint8_t digits[RECOVERY_CHARS], uint8_t *to)
{
	unsigned left = 0, n_left = 0;
	size_t at = 0;

	for (size_t i = 0; i < RECOVERY_CODE_CHARS; i++) {
		left = (left << 5 | digits[i]) & 0xfff;
		n_left += 5;
		if (n_left >= 8) {
			n_left -= 8;
			to[at++] = (uint8_t)(left >> n_left);
		}
	}
	assert(at == RECOVERY_SECRET_BYTES && n_left == RECOVERY_PADDING_BITS);
	return (left & (BIT(RECOVERY_PADDING_BITS) - 1)) == 0;
}

int recovery_parse(struct bytes typed, struct secret *ret_secret, struct err *e)
{
	_cleanup_(secret_release) struct secret secret = SECRET_INIT;
	uint8_t digits[RECOVERY_CHARS], hash[HASH_BYTES];
	bool ok = recovery_read(typed, digits);

	secret_init(&secret, RECOVERY_SECRET_BYTES);
	ok = ok && recovery_decode(digits, secret.data);
	hash_sha256(secret_bytes(&secret), hash);
	for (size_t i = 0; ok && i < RECOVERY_CHECK_CHARS; i++) {
		ok = digits[RECOVERY_CODE_CHARS + i] ==
		     recovery_bits(bytes_of(hash, sizeof hash), 5 * i);
	}
	secret_clear(digits, sizeof digits);
	secret_clear(hash, sizeof hash);
	if (!ok) {
		return err_set(e, KLUIS_EINVAL,
			"that is no recovery code: look for a character typed wrong or left out");
	}
	secret_move(ret_secret, &secret);
	return 0;
}

/* (wide mod (n - 1)) + 1: a private scalar of P-256, uniform in 1..n-1. */
static void recovery_scalar(const uint8_t wide[RECOVERY_WIDE_BYTES], uint8_t *to)
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	BN_CTX *ctx = BN_CTX_secure_new();
	BIGNUM *below = BN_new(), *scalar = BN_secure_new(), *number = BN_secure_new();

	evp_must(group != NULL && ctx != NULL && below != NULL && scalar != NULL &&
		 number != NULL && BN_copy(below, EC_GROUP_get0_order(group)) != NULL &&
		 BN_sub_word(below, 1) == 1 &&
		 BN_bin2bn(wide, RECOVERY_WIDE_BYTES, number) != NULL);
	BN_set_flags(number, BN_FLG_CONSTTIME);
	evp_must(BN_mod(scalar, number, below, ctx) == 1 && BN_add_word(scalar, 1) == 1 &&
		 BN_bn2binpad(scalar, to, RECOVERY_SCALAR_BYTES) == RECOVERY_SCALAR_BYTES);
	BN_clear_free(number);
	BN_clear_free(scalar);
	BN_free(below);
	BN_CTX_free(ctx);
	EC_GROUP_free(group);
}

void recovery_derive(
	struct bytes secret, const uint8_t user_id[ID_BYTES], struct recovery *ret_recovery)
{
	_cleanup_(secret_release) struct secret wide = SECRET_INIT, scalar = SECRET_INIT;
	const struct bytes info[] = {bytes_str("kluis/v1/recovery"), bytes_of(user_id, ID_BYTES)};
	const struct bytes kek = bytes_str("kek"), auth = bytes_str("kluis/v1/rec-auth");
	struct recovery r = {.r_rec = SECRET_INIT};
	int rc;

	assert(secret.len == RECOVERY_SECRET_BYTES);
	secret_init(&r.r_rec, HASH_BYTES);
	secret_init(&r.kek, RECOVERY_KEK_BYTES);
	secret_init(&wide, RECOVERY_WIDE_BYTES);
	secret_init(&scalar, RECOVERY_SCALAR_BYTES);
	hkdf(bytes_of(NULL, 0), secret, info, ARRAY_SIZE(info), r.r_rec.data, r.r_rec.len);
	hkdf_expand(r.r_rec.data, &kek, 1, r.kek.data, r.kek.len);
	hkdf_expand(r.r_rec.data, &auth, 1, wide.data, wide.len);
	recovery_scalar(wide.data, scalar.data);
	rc = key_decode(KEY_ECDSA_P256, secret_bytes(&scalar), &r.auth, NULL);
	assert(rc == 0); /* Every scalar in 1..n-1 is a key. */
	recovery_release(ret_recovery);
	*ret_recovery = r;
}

void recovery_release(struct recovery *recovery)
{
	secret_release(&recovery->r_rec);
	secret_release(&recovery->kek);
	key_free(recovery->auth);
	recovery->auth = NULL;
}

static void recovery_message(const struct recovery_proof *p, uint8_t ret[HASH_BYTES])
{
	HASH_TH(ret, "kluis/v1/recover", bytes_of(p->cluster_id, ID_BYTES),
		bytes_of(p->user_id, ID_BYTES), bytes_of(p->challenge, RECOVERY_CHALLENGE_BYTES));
}

int recovery_sign(const struct recovery_proof *proof, const struct key *auth,
	struct buf *ret_signature, struct err *e)
{
	uint8_t message[HASH_BYTES];

	assert(key_pub_alg(key_public(auth)) == KEY_ECDSA_P256);
	recovery_message(proof, message);
	return sign_make(auth, bytes_of(message, sizeof message), ret_signature, e);
}

int recovery_verify(const struct recovery_proof *proof, const struct key_pub *auth,
	struct bytes signature, struct err *e)
{
	uint8_t message[HASH_BYTES];

	if (key_pub_alg(auth) != KEY_ECDSA_P256) {
		return err_set(e, KLUIS_ESUITE, "recovery: not a recovery key");
	}
	recovery_message(proof, message);
	return sign_verify(auth, bytes_of(message, sizeof message), signature, e);
}
