/* Keys of key.h out of PEM: a certificate's public key, a PKCS#8 private key. RFC 7468. Blocking
 * only in the sense that parsing an RSA key takes a while. Any thread. */
#ifndef KLUIS_CRYPTO_PEM_H
#define KLUIS_CRYPTO_PEM_H

#include "crypto/key.h"

/* alg: what the key is to be used as (key.h); KLUIS_EINVAL when the PEM holds another kind of key,
 * or none. The first certificate of cert_pem counts. */
KLUIS_MUST_CHECK int pem_certificate_key(
	struct bytes cert_pem, unsigned alg, struct key_pub **ret_pub, struct err *e);
/* "PUBLIC KEY" (RFC 5480), EC kinds only; KLUIS_EINVAL as above. */
KLUIS_MUST_CHECK int pem_public_key(
	struct bytes pub_pem, unsigned alg, struct key_pub **ret_pub, struct err *e);
/* Of EC kinds, or an RSA key that is to sign (KEY_RSA_PSS). */
KLUIS_MUST_CHECK int pem_private_key(
	struct bytes key_pem, unsigned alg, struct key **ret_key, struct err *e);

/* The two forms again, appended: "PUBLIC KEY" (RFC 5480) and unencrypted "PRIVATE KEY" (RFC 5958;
 * the caller clears it). EC kinds only (asserted). KLUIS_EINTERNAL when OpenSSL fails. */
KLUIS_MUST_CHECK int pem_write_public(
	const struct key_pub *pub, struct buf *ret_pem, struct err *e);
KLUIS_MUST_CHECK int pem_write_private(const struct key *key, struct buf *ret_pem, struct err *e);

#endif
