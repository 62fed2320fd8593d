/* Devices that ask to be enrolled: keys that an enrolled device of the same user may approve by a
 * statement of its own. */
#ifndef KLUIS_STORAGE_PENDING_STORE_H
#define KLUIS_STORAGE_PENDING_STORE_H

#include "storage/account_store.h"
#include "storage/kv.h"
#include "storage/txn.h"

enum {
	PENDING_DEVICES_MAX = 8,
	PENDING_DEVICE_MS = 3600 * 1000,
	PENDING_STATEMENT_BYTES_MAX = 1024, /* One that adds a device: 851 with RSA-4096. */
};

struct pending_row {
	struct device_row device; /* revoked is false; added_ms is when it asked. */
	uint64_t expires_ms;
	uint8_t session_id[16]; /* Who asked. */
	/* As it was asked: shows who approves that the user's own key did, whatever a node says. */
	uint16_t statement_bytes;
	uint8_t statement[PENDING_STATEMENT_BYTES_MAX];
};
void pending_row_encode(const struct pending_row *row, struct buf *to);
KLUIS_MUST_CHECK int pending_row_decode(
	struct bytes key, struct bytes value, struct pending_row *ret_row, struct err *e);
/* KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int pending_store_get(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t device_id[16], struct pending_row *ret_row, struct err *e);
/* All of the user, ascending by device id. */
KLUIS_MUST_CHECK int pending_store_list(const struct kv_view *view, const uint8_t user_id[16],
	struct pending_row ret_rows[PENDING_DEVICES_MAX], size_t *ret_n, struct err *e);
/* Both with the place in the expiry queue. */
void pending_store_put(struct txn *txn, const struct pending_row *row);
void pending_store_delete(struct txn *txn, const struct pending_row *row);

#endif
