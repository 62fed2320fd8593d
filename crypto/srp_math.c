#include "crypto/srp_math.h"

#include <assert.h>
#include <openssl/bn.h>

#include "crypto/evp.h"

struct srp_math {
	size_t bytes;
	BIGNUM *n, *g;
	BIGNUM *k_mont; /* k in Montgomery form: a product with it is one step, in constant time. */
	BN_MONT_CTX *mont;
};

static BIGNUM *number_new(struct bytes bytes)
{
	BIGNUM *number = BN_new();

	assert(bytes.len <= INT32_MAX);
	evp_must(number != NULL && BN_bin2bn(bytes.data, (int)bytes.len, number) != NULL);
	BN_set_flags(number, BN_FLG_CONSTTIME);
	return number;
}

static void number_freep(BIGNUM **number)
{
	BN_clear_free(*number);
}

static void ctx_freep(BN_CTX **ctx)
{
	BN_CTX_free(*ctx); /* Clears what it held. */
}

static BN_CTX *ctx_new(void)
{
	BN_CTX *ctx = BN_CTX_new();

	evp_must(ctx != NULL);
	return ctx;
}

struct srp_math *srp_math_new(struct bytes n, unsigned g, struct bytes k)
{
	_cleanup_(ctx_freep) BN_CTX *ctx = ctx_new();
	_cleanup_(number_freep) BIGNUM *multiplier = number_new(k);
	struct srp_math *math = x_calloc(1, sizeof *math);

	assert(n.len > 0 && n.data[0] != 0 && (n.data[n.len - 1] & 1) == 1 && g > 1);
	math->bytes = n.len;
	math->n = BN_new();
	math->g = BN_new();
	math->k_mont = BN_new();
	math->mont = BN_MONT_CTX_new();
	evp_must(math->n != NULL && math->g != NULL && math->k_mont != NULL && math->mont != NULL);
	evp_must(BN_bin2bn(n.data, (int)n.len, math->n) != NULL && BN_set_word(math->g, g) == 1);
	evp_must(BN_MONT_CTX_set(math->mont, math->n, ctx));
	evp_must(BN_nnmod(multiplier, multiplier, math->n, ctx));
	evp_must(BN_to_montgomery(math->k_mont, multiplier, math->mont, ctx));
	return math;
}

void srp_math_free(struct srp_math *math)
{
	if (math != NULL) {
		BN_free(math->n);
		BN_free(math->g);
		BN_free(math->k_mont);
		BN_MONT_CTX_free(math->mont);
		free(math);
	}
}

size_t srp_math_bytes(const struct srp_math *math)
{
	return math->bytes;
}

bool srp_math_public_ok(const struct srp_math *math, struct bytes value)
{
	_cleanup_(number_freep) BIGNUM *number = NULL;

	if (value.len != math->bytes) {
		return false;
	}
	number = number_new(value);
	return !BN_is_zero(number) && BN_ucmp(number, math->n) < 0;
}

static BIGNUM *public_new(const struct srp_math *math, struct bytes value)
{
	assert(srp_math_public_ok(math, value));
	(void)math;
	return number_new(value);
}

static void number_put(const struct srp_math *math, const BIGNUM *number, uint8_t *ret)
{
	int len = BN_bn2binpad(number, ret, (int)math->bytes);

	evp_must(len == (int)math->bytes);
}

/* base^exponent mod N; base < N. */
static void power(const struct srp_math *math, const BIGNUM *base, const BIGNUM *exponent,
	BN_CTX *ctx, BIGNUM *ret)
{
	evp_must(BN_mod_exp_mont_consttime(ret, base, exponent, math->n, ctx, math->mont));
}

void srp_math_power(const struct srp_math *math, struct bytes exponent, uint8_t *ret)
{
	_cleanup_(ctx_freep) BN_CTX *ctx = ctx_new();
	_cleanup_(number_freep) BIGNUM *e = number_new(exponent), *r = BN_new();

	evp_must(r != NULL);
	power(math, math->g, e, ctx, r);
	number_put(math, r, ret);
}

void srp_math_server_public(
	const struct srp_math *math, struct bytes v, struct bytes b, uint8_t *ret)
{
	_cleanup_(ctx_freep) BN_CTX *ctx = ctx_new();
	_cleanup_(number_freep) BIGNUM *verifier = public_new(math, v), *e = number_new(b);
	_cleanup_(number_freep) BIGNUM *r = BN_new();

	evp_must(r != NULL);
	power(math, math->g, e, ctx, r);
	evp_must(BN_mod_mul_montgomery(verifier, verifier, math->k_mont, math->mont, ctx));
	evp_must(BN_mod_add_quick(r, r, verifier, math->n));
	number_put(math, r, ret);
}

void srp_math_server_secret(const struct srp_math *math, struct bytes a_public, struct bytes v,
	struct bytes u, struct bytes b, uint8_t *ret)
{
	_cleanup_(ctx_freep) BN_CTX *ctx = ctx_new();
	_cleanup_(number_freep) BIGNUM *a = public_new(math, a_public);
	_cleanup_(number_freep) BIGNUM *verifier = public_new(math, v);
	_cleanup_(number_freep) BIGNUM *scramble = number_new(u), *e = number_new(b);
	_cleanup_(number_freep) BIGNUM *r = BN_new();

	evp_must(r != NULL);
	power(math, verifier, scramble, ctx, r);
	evp_must(BN_to_montgomery(a, a, math->mont, ctx));
	evp_must(BN_mod_mul_montgomery(a, a, r, math->mont, ctx));
	power(math, a, e, ctx, r);
	number_put(math, r, ret);
}

void srp_math_client_secret(const struct srp_math *math, struct bytes b_public, struct bytes x,
	struct bytes u, struct bytes a, uint8_t *ret)
{
	_cleanup_(ctx_freep) BN_CTX *ctx = ctx_new();
	_cleanup_(number_freep) BIGNUM *base = public_new(math, b_public), *private = number_new(x);
	_cleanup_(number_freep) BIGNUM *e = number_new(u), *secret = number_new(a);
	_cleanup_(number_freep) BIGNUM *r = BN_new();

	evp_must(r != NULL);
	power(math, math->g, private, ctx, r);
	evp_must(BN_mod_mul_montgomery(r, r, math->k_mont, math->mont, ctx));
	evp_must(BN_mod_sub_quick(base, base, r, math->n));
	evp_must(BN_mul(e, e, private, ctx));
	evp_must(BN_add(e, e, secret));
	power(math, base, e, ctx, r);
	number_put(math, r, ret);
}

void srp_math_reduce(const struct srp_math *math, struct bytes number, uint8_t *ret)
{
	_cleanup_(ctx_freep) BN_CTX *ctx = ctx_new();
	_cleanup_(number_freep) BIGNUM *r = number_new(number);

	evp_must(BN_nnmod(r, r, math->n, ctx));
	number_put(math, r, ret);
}
