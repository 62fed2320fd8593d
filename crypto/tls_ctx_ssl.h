/* The SSL_CTX of a struct tls_ctx. For crypto/ only. */
#ifndef KLUIS_CRYPTO_TLS_CTX_SSL_H
#define KLUIS_CRYPTO_TLS_CTX_SSL_H

#include <openssl/ssl.h>

#include "crypto/tls_ctx.h"

SSL_CTX *tls_ctx_ssl(struct tls_ctx *ctx);
/* The peer must show the certificate of this DNS name or address; a DNS name goes into SNI, too.
 * KLUIS_EINVAL. */
KLUIS_MUST_CHECK int tls_ctx_expect(SSL *ssl, const char *server_name, struct err *e);
/* Why a handshake, read or write on ssl that returned `ret` failed: KLUIS_EVERIFY, KLUIS_EPROTO,
 * KLUIS_ECLOSED; empties OpenSSL's error queue. */
int tls_ctx_failure(const SSL *ssl, int ret, struct err *e);

#endif
