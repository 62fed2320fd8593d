/* The memory BIO of a TLS stream: OpenSSL reads what lies in `in` where it lies and writes to the
 * end of `out`; neither side ever waits for a socket. For crypto/ only. */
#ifndef KLUIS_CRYPTO_TLS_BIO_H
#define KLUIS_CRYPTO_TLS_BIO_H

#include <openssl/bio.h>

#include "crypto/tls_output.h"

struct tls_bio {
	struct bytes in; /* Received and not yet read by OpenSSL. */
	struct tls_output *out;
};

/* io must outlive it; a read of an empty `in` asks to be tried again. */
BIO *tls_bio_new(struct tls_bio *io);

#endif
