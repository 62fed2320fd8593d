/* Between the files of the keyring. */
#ifndef KLUIS_CRYPTO_KEYRING_IMPL_H
#define KLUIS_CRYPTO_KEYRING_IMPL_H

#include "base/wire.h"
#include "crypto/keyring.h"

/* The next entry's bytes, by the length it tells; fails w when it is cut. */
struct bytes keyring_entry_next(struct wire *w);
/* The fields before the salt, and the exact length; the value is not touched. */
KLUIS_MUST_CHECK int keyring_entry_parse(
	struct bytes encoded, struct keyring_entry *entry, struct err *e);
/* Whether a value of this type may have this length. */
bool keyring_entry_valid(unsigned type, size_t len);
/* Appends KEYRING_HEADER_BYTES. */
void keyring_put_header(const struct keyring_view *view, struct buf *to);

#endif
