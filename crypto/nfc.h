/* Unicode normalization form C of secret text. Not for other folders. */
#ifndef KLUIS_CRYPTO_NFC_H
#define KLUIS_CRYPTO_NFC_H

#include "crypto/secret.h"

/* NFC (UAX #15) of strict UTF-8 of at most NFC_BYTES_MAX bytes (both asserted), by libunistring; a
 * code point that its Unicode version does not know stays as it is. Any thread. */
enum { NFC_BYTES_MAX = 16384 };
void nfc_normalize(struct bytes text, struct secret *ret_normal);

#endif
