/* Signed tokens (RFC 7519, 7515) that push services ask for: ES256 (VAPID, RFC 8292; APNs) and
 * RS256 (an OAuth assertion, RFC 7523). Only made here, never taken. */
#ifndef KLUIS_CRYPTO_JWT_H
#define KLUIS_CRYPTO_JWT_H

#include "crypto/key.h"

enum { JWT_KID_BYTES_MAX = 128, JWT_CLAIMS_BYTES_MAX = 4096 };

/* Appends base64url(header).base64url(claims).base64url(signature). key: KEY_ECDSA_P256 makes
 * ES256; KEY_RSA_PSS is an RSA key, which signs this one kind of thing by PKCS #1 v1.5, for RS256
 * is that (asserted). kid: NULL, or letters, digits, '-' and '_', which the header then names;
 * claims: a JSON object. KLUIS_EINVAL for another kid, KLUIS_EINTERNAL when OpenSSL fails. Any
 * thread; RSA takes milliseconds. */
KLUIS_MUST_CHECK int jwt_make(const struct key *key, const char *kid, struct bytes claims,
	struct buf *ret_token, struct err *e);

#endif
