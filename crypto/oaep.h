/* RSAES-OAEP (RFC 8017) with SHA-256 for hash and MGF1, KEY_KEM_RSA keys alone. */
#ifndef KLUIS_CRYPTO_OAEP_H
#define KLUIS_CRYPTO_OAEP_H

#include "crypto/key.h"

enum {
	OAEP_BYTES = 512,
	OAEP_MESSAGE_BYTES_MAX = OAEP_BYTES - 2 * HASH_BYTES - 2,
	OAEP_LABEL_BYTES_MAX = 4096,
};

/* Appends OAEP_BYTES. message.len <= OAEP_MESSAGE_BYTES_MAX (asserted). */
KLUIS_MUST_CHECK int oaep_seal(const struct key_pub *pub, struct bytes label, struct bytes message,
	struct buf *ret_sealed, struct err *e);
/* KLUIS_EVERIFY for whatever is wrong: one answer, so that there is no padding oracle. */
KLUIS_MUST_CHECK int oaep_open(const struct key *key, struct bytes label, struct bytes sealed,
	struct secret *ret_message, struct err *e);

#endif
