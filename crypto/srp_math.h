/* The arithmetic of SRP-6a over one group, numbers as bytes padded to the length of N; which hashes
 * make k, u and x is crypto/srp's. Not for other folders. */
#ifndef KLUIS_CRYPTO_SRP_MATH_H
#define KLUIS_CRYPTO_SRP_MATH_H

#include <stdbool.h>

#include "base/buf.h"

/* A safe prime with its generator and multiplier. Immutable: any number of threads may use one. */
struct srp_math;

/* n: odd, without leading zeros; k: the multiplier. Both big-endian. */
struct srp_math *srp_math_new(struct bytes n, unsigned g, struct bytes k);
void srp_math_free(struct srp_math *math);
size_t srp_math_bytes(const struct srp_math *math); /* Of N, and of every padded number. */
/* Whether value is srp_math_bytes() long and 0 < value < N. */
bool srp_math_public_ok(const struct srp_math *math, struct bytes value);

/* In what follows every number that was sent or stored has passed srp_math_public_ok() (asserted),
 * and secret exponents are used in constant time. `ret` are srp_math_bytes() long. */

/* g^exponent: A, and v from x. */
void srp_math_power(const struct srp_math *math, struct bytes exponent, uint8_t *ret);
/* B = (k v + g^b) mod N. */
void srp_math_server_public(
	const struct srp_math *math, struct bytes v, struct bytes b, uint8_t *ret);
/* S = (A v^u)^b. */
void srp_math_server_secret(const struct srp_math *math, struct bytes a_public, struct bytes v,
	struct bytes u, struct bytes b, uint8_t *ret);
/* S = (B - k g^x)^(a + u x). */
void srp_math_client_secret(const struct srp_math *math, struct bytes b_public, struct bytes x,
	struct bytes u, struct bytes a, uint8_t *ret);
/* number mod N, of any length. */
void srp_math_reduce(const struct srp_math *math, struct bytes number, uint8_t *ret);

#endif
