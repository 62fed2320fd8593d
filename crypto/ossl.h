/* What every user of OpenSSL here needs: its error queue as struct err, and scoped clean-up. */
#ifndef KLUIS_CRYPTO_OSSL_H
#define KLUIS_CRYPTO_OSSL_H

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/err.h"

/* Sets "what: OpenSSL's first reason" and code, and empties the queue; returns code. e may be NULL.
 */
int ossl_err(struct err *e, int code, const char *what);

/* For _cleanup_. */
void ossl_bio_freep(BIO **bio);
void ossl_x509_freep(X509 **cert);
void ossl_x509s_freep(STACK_OF(X509) * *certs);
void ossl_key_freep(EVP_PKEY **key);

#endif
