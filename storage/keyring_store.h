/* Keyring objects (CRYPTO formats section 6), opaque but for their header: the current one and the
 * versions before it. */
#ifndef KLUIS_STORAGE_KEYRING_STORE_H
#define KLUIS_STORAGE_KEYRING_STORE_H

#include "base/limits.h"
#include "storage/kv.h"
#include "storage/txn.h"

enum { KEYRING_VERSIONS_MAX = 10 }; /* With the current one. */

struct keyring_row {
	uint64_t revision;
	uint64_t committed_ms; /* Cluster time. */
	uint8_t hash[32];      /* SHA-256 of the object: what the next one names as prev_hash. */
	uint32_t bytes;	       /* Of the object. */
};
/* The object has a row of its own: to list the versions must not read them. */
void keyring_row_encode(const struct keyring_row *row, struct buf *to);
KLUIS_MUST_CHECK int keyring_row_decode(
	struct bytes key, struct bytes value, struct keyring_row *ret_row, struct err *e);
/* Appends the object of that revision to `to`. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int keyring_store_get(const struct kv_view *view, const uint8_t user_id[16],
	uint64_t revision, struct keyring_row *ret_row, struct buf *to, struct err *e);
/* All that are kept, ascending by revision. */
KLUIS_MUST_CHECK int keyring_store_list(const struct kv_view *view, const uint8_t user_id[16],
	struct keyring_row ret_rows[KEYRING_VERSIONS_MAX], size_t *ret_n, struct err *e);
void keyring_store_put(struct txn *txn, const uint8_t user_id[16], const struct keyring_row *row,
	struct bytes keyring);
void keyring_store_delete(struct txn *txn, const uint8_t user_id[16], uint64_t revision);

#endif
